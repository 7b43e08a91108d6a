"""Peak memory of models on long sessions: training on 20 M rows, predicting and judging 10 M.

    python -m benchmarks.wide_training [RECORDS]     # of each of two long sessions

Two sessions of 13.5 M synthetic records with the action mix of real ES (10 M rows of `features`
each) between two short ones go through ingest, book and features.  Every session is predicted by a
model of those before it.  Each command is a process of its own with one worker and one thread, so
that its peak memory is its own.  A model takes 200,000 rows of a session, evenly thinned; the last
lines let it take ten times as many.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.features import ONE_THREAD
from benchmarks.figures import MBO, Figure, Report, decompress, run_process
from benchmarks.rehearsal import DAY
from benchmarks.stages import ALONE
from benchmarks.symbol_days import day_of, write
from pipeline.lake import open_lake
from pipeline.units import NS_PER_DAY

RECORDS: Final = 13_500_000
SHORT: Final = 200_000
SYMBOL: Final = "MESM5"
KINDS: Final = ("linear", "lightgbm")
ROWS: Final = (200_000, 2_000_000)
"""Of a session, at most: the default, and many."""


def report_of(records: int, folder: Path) -> Report:
    """All figures; files are written to ``folder``."""
    files = []
    for number, count in enumerate((SHORT, records, records, SHORT), -2):  # from a Tuesday on
        day = replace(DAY, open_ns=DAY.open_ns + number * NS_PER_DAY)
        files.append(folder / f"{day.date}.mbo.dbn.zst")
        write(files[-1], [SYMBOL], day_of([count], day), day)
    lake, settings = folder / "lake", folder / "research.toml"
    settings.write_text(
        "".join(
            f'[models.{kind}_{rows}]\nestimator = "{kind}"\nrows = {rows}\nevery = 1\n'
            for kind in KINDS
            for rows in ROWS
        )
    )
    common = ["--lake", str(lake), "--config", str(settings), "--workers", "1", "--quiet"]
    environment = ALONE | ONE_THREAD | {"OMP_NUM_THREADS": "1"}
    for stage in (["ingest", *map(str, files)], ["features"]):
        run_process([*MBO, *stage, *common], **environment)
    rows = sum(item.rows for item in open_lake(lake).partitions("features"))
    report = Report(
        f"models: two sessions of {rows / 2e6:.1f} M rows, two short ones, default set, one thread",
        unit="rows",
    )
    report.add(Figure("zstd to nothing (the floor)", rows, sum(map(decompress, files))))
    for most in ROWS:
        for kind in KINDS:
            name = f"{kind}_{most}"
            command = ["train", name, "--no-backtest", *common]
            figures = run_process([*MBO, *command], **environment)
            models = open_lake(lake).model(name).models.filter(pl.col("part") == "model")
            trained = models.select(pl.col("rows").max()).collect().item()
            work = f"`mbo train {kind}`, {most:,} rows a session"
            report.add(Figure(work, rows, *figures, note=f"trained on up to {trained:,} rows"))
    return report


def main(arguments: list[str]) -> None:
    """Print the figures."""
    records = int(arguments[0]) if arguments else RECORDS
    with tempfile.TemporaryDirectory(prefix="mbo-bench-") as folder:
        print(report_of(records, Path(folder)).text())


if __name__ == "__main__":
    main(sys.argv[1:])
