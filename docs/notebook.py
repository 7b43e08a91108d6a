"""From a folder of files to charts: open with ``marimo edit docs/notebook.py``.

Run as a script (``python docs/notebook.py FOLDER``) it computes every cell and prints the figures.
Without a folder it works on a small simulated market.
"""

import marimo

app = marimo.App(width="medium", app_title="From a folder of files to a chart")


@app.cell
def _():
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    import altair as alt
    import marimo as mo
    import polars as pl

    from pipeline import open_lake

    return Path, alt, mo, open_lake, pl, subprocess, sys, tempfile


@app.cell
def _(mo):
    mo.md(
        """
        # From a folder of files to a chart

        Every step is a command you could type; the charts are a few lines of polars each. Point
        `raw` at a folder of your own `.dbn.zst` files, and `symbols` at what to look at.
        """
    )


@app.cell
def _(Path, subprocess, sys, tempfile):
    def mbo(*words):
        """Run a command of the pipeline; its last words if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return done.stdout

    given = [Path(word) for word in sys.argv[1:] if Path(word).is_dir()]
    work = Path(tempfile.mkdtemp(prefix="mbo-notebook-"))
    simulated = not given
    if simulated:
        mbo("sample", "--out", work / "raw", "--days", "2", "--records", "40000")
    raw = given[0] if given else work / "raw"
    lake_path = work / "lake"
    return lake_path, mbo, raw, simulated


@app.cell
def _(lake_path, mbo, open_lake, raw):
    mbo("ingest", raw, "--lake", lake_path)
    mbo("features", "--lake", lake_path)
    lake = open_lake(lake_path)
    days = lake.scan("quality").select("date", "symbol", "records", "start").collect()
    symbol = days.sort("records")["symbol"][-1]
    return days, lake, symbol


@app.cell
def _(days, mo, simulated, symbol):
    note = (
        "**SIMULATED market**: it shows how things work, not how markets are. " if simulated else ""
    )
    mo.vstack([mo.md(f"{note}The busiest instrument is `{symbol}`."), days])


@app.cell
def _(alt, lake, pl, symbol):
    # A point a minute is enough for a picture.
    touch = (
        lake.scan("book", symbols=symbol)
        .filter(pl.col("valid"), pl.col("state") == "normal")
        .select(
            pl.col("ts_recv").dt.truncate("1m").alias("minute"),
            ((pl.col("bid_px_00") + pl.col("ask_px_00")) / 2e9).alias("mid"),
            (pl.col("ask_px_00") - pl.col("bid_px_00")).alias("spread"),
        )
        .group_by("minute")
        .agg(pl.col("mid").last(), (pl.col("spread") / 1e9).mean())
        .sort("minute")
        .collect()
    )
    price_chart = (
        alt.Chart(touch)
        .mark_line()
        .encode(x="minute:T", y=alt.Y("mid:Q", scale=alt.Scale(zero=False)))
        .properties(title=f"{symbol}: mid, a point a minute", width=700, height=220)
    )
    price_chart
    return price_chart, touch


@app.cell
def _(alt, lake, pl, symbol):
    # Does the heavier side of the touch win?  Features and labels share their keys.
    joined = lake.scan("features", symbols=symbol).join(
        lake.scan("labels", symbols=symbol), on=["symbol", "session", "event"]
    )
    deciles = (
        joined.select("queue_imbalance", "y_return_1s")
        .drop_nulls()
        .collect()
        .with_columns(
            (pl.col("queue_imbalance").rank("ordinal") * 10 / pl.len())
            .ceil()
            .cast(pl.Int32)
            .alias("decile")
        )
        .group_by("decile")
        .agg(pl.len().alias("rows"), pl.col("y_return_1s").mean().alias("ticks in a second"))
        .sort("decile")
    )
    decile_chart = (
        alt.Chart(deciles)
        .mark_bar()
        .encode(x=alt.X("decile:O", sort=None), y="ticks in a second:Q")
        .properties(title="Return of the next second by queue imbalance", width=700, height=220)
    )
    decile_chart
    return decile_chart, deciles


@app.cell
def _(lake_path, mbo, open_lake, pl, symbol):
    readings = "optimistic,exact,pessimistic"
    options = ["--readings", readings, "--symbols", symbol, "--fees", "0.62", "--partial"]
    mbo("backtest", "market_making", "--lake", lake_path, *options)
    traded = open_lake(lake_path)
    run = traded.run(traded.run_ids()[0])
    equity = (
        run.equity.filter(pl.col("kind") == "clock")
        .select("reading", "ts", pl.col("equity").cast(pl.Float64))
        .sort("reading", "ts")
        .collect()
    )
    result = run.readings.select("reading", "net", "fills", "fill_ratio", "ahead_at_fill")
    return equity, result


@app.cell
def _(alt, equity, mo, result):
    equity_chart = (
        alt.Chart(equity.gather_every(5))
        .mark_line()
        .encode(x="ts:T", y="equity:Q", color="reading:N")
        .properties(title="One strategy, three readings of the queue", width=700, height=260)
    )
    mo.vstack([equity_chart, result])
    return (equity_chart,)


@app.cell
def _(mo):
    mo.md(
        """
        If only the optimistic reading earns money, the queue would have taken it. Next: a fill's
        story (`mbo explain`), a page about the run (`mbo report`), features of your own
        (`docs/writing-features.md`), a strategy of your own (`docs/strategies.md`).
        """
    )


if __name__ == "__main__":
    _, found = app.run()
    for name in ("days", "deciles", "result"):
        print(found[name])
