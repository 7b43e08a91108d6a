"""The commands of a working day, on the sample: results, stored tables, looking around."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline import open_lake
from pipeline.errors import RequestError
from tests.e2e.running import ROOT, Result, digest, mbo


@pytest.fixture(scope="module")
def traded(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A lake with one backtest in three readings, and what the command printed."""
    lake = tmp_path_factory.mktemp("traded") / "lake"
    shutil.copytree(feature_lake, lake)
    readings = ("--readings", "optimistic,exact,pessimistic")
    strategy = ("mean_reversion", "-p", "entry_z=1.5", "-p", "cover=0", "-p", "window=60s")
    result = mbo("backtest", *strategy, *readings, "--lake", lake, "--workers", "1")
    return lake, result.checked()


def test_the_summary_says_what_it_must(traded: tuple[Path, Result]) -> None:
    text = traded[1].out
    for words in (
        "SIMULATED",
        "net profit",
        "fees",
        "max drawdown",
        "hit rate",
        "profit factor",
        "ahead at entry",
        "markout",
        "does not react to our orders",
        "Try next",
    ):
        assert words in text, words


def test_ratios_are_null_where_sessions_are_few(traded: tuple[Path, Result]) -> None:
    lake = open_lake(traded[0])
    summary = lake.run(lake.run_ids()[0]).summary
    assert summary["sessions"] < 20
    assert summary["sharpe"] is None
    assert summary["sortino"] is None


def test_the_ledger_adds_up(traded: tuple[Path, Result]) -> None:
    """Cash + value - fees = equity at every mark, and the last mark is the printed profit."""
    lake = open_lake(traded[0])
    run = lake.run(lake.run_ids()[0])
    equity = run.equity.collect()
    assert equity.height > 10
    exact = equity.select(
        (pl.col("cash") + pl.col("value") - pl.col("fees") == pl.col("equity")).all()
    )
    assert exact.item()
    fills = run.fills.collect()
    for row in run.readings.iter_rows(named=True):
        mine = fills.filter(pl.col("reading") == row["reading"])
        signed = pl.when(pl.col("side") == "B").then(1).otherwise(-1) * pl.col("size").cast(
            pl.Int64
        )
        assert mine.select(signed.sum()).item() == 0, "flat at the end"
        assert row["fees"] == mine["fee"].sum()
        assert row["net"] == row["gross"] - row["fees"]
        last = (
            equity.filter(pl.col("reading") == row["reading"])
            .group_by("symbol")
            .agg(pl.col("equity").sort_by("ts").last())
        )
        assert row["net"] == sum(last["equity"].to_list(), Decimal(0))


def test_readings_are_ordered(traded: tuple[Path, Result]) -> None:
    """Whoever assumes to be ahead of the queue is filled resting at least as often."""
    lake = open_lake(traded[0])
    frame = lake.run(lake.run_ids()[0]).readings
    share = dict(zip(frame["reading"], frame["maker_share"], strict=True))
    assert share["optimistic"] >= share["exact"] >= share["pessimistic"]


def test_the_same_backtest_again_computes_nothing(traded: tuple[Path, Result]) -> None:
    lake, first = traded
    before = digest(lake)
    arguments = ("--readings", "optimistic,exact,pessimistic", "--lake", lake, "--workers", "1")
    strategy = ("mean_reversion", "-p", "entry_z=1.5", "-p", "cover=0", "-p", "window=60s")
    again = mbo("backtest", *strategy, *arguments).checked()
    assert digest(lake) == before
    assert again.out == first.out


def test_trend_following_runs_too(feature_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(feature_lake, lake)
    result = mbo(
        "backtest", "trend_following", "--lake", lake, "--json", "--workers", "1"
    ).checked()
    assert json.loads(result.out)


def test_one_and_two_workers_compute_the_same_features(
    sample_lake: Path, feature_lake: Path, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(sample_lake, lake)
    mbo("features", "--lake", lake, "--workers", "2").checked()
    assert digest(lake) == digest(feature_lake)


@pytest.mark.parametrize(
    "name",
    # test_findings.py is about the one that needs hours of data, test_sweep.py about sweeps,
    # test_scores.py about models.
    sorted(
        {p.stem for p in (ROOT / "sql").glob("*.sql")}
        - {"views", "findings", "sweep_trials", "model_scores"}
    ),
)
def test_every_named_query_has_an_answer(traded: tuple[Path, Result], name: str) -> None:
    result = mbo("sql", name, "--lake", traded[0], "--json").checked()
    answer = json.loads(result.out)
    rows = answer["rows"] if isinstance(answer, dict) else answer
    assert rows, name


def test_fills_know_the_book_at_that_moment(traded: tuple[Path, Result]) -> None:
    frame = open_lake(traded[0]).sql("fills_at_touch")
    assert frame.height > 10
    assert frame["bid_px_00"].null_count() < frame.height / 10


def test_prices_and_sizes_can_be_subtracted(traded: tuple[Path, Result]) -> None:
    query = (
        "SELECT max(ask_px_00 - bid_px_00) AS spread, min(bid_sz_00 - ask_sz_00) AS least "
        "FROM book WHERE state = 'normal' AND symbol = 'SIMM5'"
    )
    row = open_lake(traded[0]).sql(query).row(0, named=True)
    assert isinstance(row["spread"], Decimal)
    assert row["spread"] > 0 > row["least"]


def test_status_lineage_list_describe(traded: tuple[Path, Result], sample_raw: Path) -> None:
    lake = traded[0]
    tables = json.loads(mbo("status", "--lake", lake, "--json").checked().out)["tables"]
    assert {"mbo", "book", "features", "fills"} <= {row["table"] for row in tables}
    path = next((lake / "features").rglob("part-0.parquet"))
    shown = mbo("lineage", path).checked().out
    assert "stage=features" in shown
    assert "stage=book" in shown
    assert str(next(sample_raw.rglob("*.mbo.dbn.zst")).parent) in shown
    for kind in ("features", "labels", "strategies", "tables", "runs", "queries"):
        assert json.loads(mbo("list", kind, "--lake", lake, "--json").checked().out), kind
    run = open_lake(lake).run_ids()[0]
    for name in ("ofi_1s", "ofi", "y_return_1s", "mean_reversion", "book", "volume_profile", run):
        assert name.split("_")[0] in mbo("describe", name, "--lake", lake).checked().out, name


def test_gc_removes_only_what_lost_its_origin(sample_raw: Path, tmp_path: Path) -> None:
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    raw.mkdir()
    for path in sample_raw.rglob("*.mbo.dbn.zst"):
        shutil.copy(path, raw)
    mbo("ingest", raw, "--lake", lake, "--workers", "1").checked()
    (lake / "mbo" / "stray.parquet").write_bytes(b"nobody's")
    before = digest(lake)
    assert mbo("gc", "--lake", lake, "--dry-run").checked()
    assert digest(lake) == before
    gone = min(raw.glob("*.mbo.dbn.zst"))
    day = gone.name.split("-")[2][:8]
    gone.unlink()
    assert gone.name in mbo("status", "--lake", lake).checked().out
    mbo("gc", "--lake", lake, "--yes").checked()
    left = {path for path in digest(lake) if path.startswith("mbo/")}
    assert left == {
        path
        for path in before
        if path.startswith("mbo/dataset") and f"date={day[:4]}-{day[4:6]}-{day[6:]}" not in path
    }


def test_gc_keeps_what_is_only_stale(sample_lake: Path, tmp_path: Path, sample_raw: Path) -> None:
    """One vanished day leaves the other days, and the instruments, where they are."""
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    shutil.copytree(sample_raw, raw)
    mbo("ingest", raw, "--lake", lake, "--workers", "1").checked()
    mbo("book", "--lake", lake, "--workers", "1").checked()
    before = digest(lake)
    for path in raw.rglob("*20250601*"):
        path.unlink()
    mbo("gc", "--lake", lake, "--yes").checked()
    after = digest(lake)
    assert set(after) == {
        path for path in before if "2025-06-01" not in path and "raw=" not in path
    } | {path for path in before if "raw=" in path and "20250601" not in path}
    assert "0 files" in mbo("gc", "--lake", lake, "--yes").checked().out


def test_two_feature_sets_do_not_mix(feature_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(feature_lake, lake)
    config = tmp_path / "mine.toml"
    config.write_text('[features.sets.mine]\nclock = "grid:1m"\nfeatures = ["mid"]\n')
    rows = open_lake(lake).scan("features").select(pl.len()).collect().item()
    mbo("features", "--set", "mine", "--lake", lake, "--config", config, "--workers", "1").checked()
    both = open_lake(lake)
    assert both.scan("features").select(pl.len()).collect().item() == rows
    assert both.scan("features", set="mine").select(pl.len()).collect().item() < rows
    listed = both.scan("features", symbols=["SIMM5", "SIMU5"]).select("symbol").unique().collect()
    assert sorted(listed["symbol"]) == ["SIMM5", "SIMU5"]


def test_without_a_lake_of_ones_own_the_sample_is_meant(feature_lake: Path, tmp_path: Path) -> None:
    shutil.copytree(feature_lake, tmp_path / "data" / "sample" / "lake")
    result = mbo("status").checked()
    assert result.err.count("SIMULATED") == 1
    assert "features" in result.out
    # What does not look into it does not speak of it.
    for arguments in (["download", "--symbols", "ES.FUT"], ["verify", "--sample", "nowhere"]):
        other = mbo(*arguments)
        assert other.code == 2
        assert "SIMULATED" not in other.err
    assert "SIMULATED" in mbo("doctor").err
    (tmp_path / "data" / "raw").mkdir()
    (tmp_path / "data" / "raw" / "mine.dbn").write_bytes(b"")
    assert mbo("status").code == 2


@pytest.mark.parametrize("command", ["book", "features"])
def test_a_selection_that_matches_nothing_is_an_error(sample_lake: Path, command: str) -> None:
    result = mbo(command, "--symbols", "NQ*", "--lake", sample_lake)
    assert result.code == 2
    assert "SIMM5" in result.err


def test_a_query_does_not_ignore_a_selection(sample_lake: Path) -> None:
    result = mbo("sql", "SELECT 1", "--symbols", "SIMM5", "--lake", sample_lake)
    assert result.code == 2
    assert "WHERE" in result.err


def test_suggestions_can_be_typed(feature_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(feature_lake, lake)
    given = ("--fees", "0.5", "--symbols", "SIMM5", "--partial", "-p", "entry_z=2.0")
    out = mbo("backtest", "mean_reversion", *given, "--lake", lake, "--workers", "1").checked().out
    line = next(line for line in out.splitlines() if "--readings" in line)
    for words in (f"--lake {lake}", "--fees 0.5", "--symbols SIMM5", "--partial", "-p entry_z=2.0"):
        assert words in line


def test_a_dry_run_says_what_it_would_do_and_does_nothing(sample_raw: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    result = mbo("ingest", sample_raw, "--lake", lake, "--dry-run").checked()
    assert result.out.count("would run ingest") > 5
    assert not list(lake.rglob("*.parquet"))


def test_options_are_taken_before_and_after_the_command(sample_lake: Path) -> None:
    one = mbo("--lake", sample_lake, "--json", "status").checked()
    two = mbo("status", "--lake", sample_lake, "--json").checked()
    assert json.loads(one.out) == json.loads(two.out)


def test_python_selects_what_it_is_asked_for(feature_lake: Path) -> None:
    lake = open_lake(feature_lake)
    frame = lake.scan("features", symbols="SIMM5", start="2025-06-02", end="2025-06-02").collect()
    assert set(frame["symbol"]) == {"SIMM5"}
    assert len(set(frame["session"])) == 1
    assert frame["mid_ticks"].is_nan().sum() == 0
    with pytest.raises(RequestError, match="did you mean 'features'"):
        lake.scan("featurs")
    with pytest.raises(RequestError, match="no partition matches symbols=ES"):
        lake.scan("book", symbols="ES*")
    assert lake.instrument("SIMM5")["multiplier"] == 50


def test_the_readmes_python_runs(traded: tuple[Path, Result], tmp_path: Path) -> None:
    (tmp_path / "data" / "sample").mkdir(parents=True)
    shutil.copytree(traded[0], tmp_path / "data" / "sample" / "lake")
    blocks = (ROOT / "README.md").read_text().split("```python\n")[1:]
    snippet = next(block.partition("```")[0] for block in blocks if "open_lake" in block)
    exec(compile(snippet, "README.md", "exec"), {})


def test_an_incomplete_session_is_not_traded_unless_asked(es_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(es_lake, lake)
    arguments = ("mean_reversion", "--fees", "0.85", "--lake", lake, "--workers", "1")
    refused = mbo("backtest", *arguments)
    assert refused.code == 2
    assert "--partial" in refused.err
    out = mbo("backtest", *arguments, "--partial").checked().out
    assert "net profit" in out
    assert "incomplete ones too" in out


def test_the_christmas_evening_belongs_to_the_26th(es_lake: Path) -> None:
    lake = open_lake(es_lake)
    sessions = {s.partition["session"] for s in lake.partitions("features", symbols="ESH4")}
    assert sessions == {"2023-12-26"}
    frame = lake.scan("features", symbols="ESH4").select(pl.col("ts").min()).collect()
    # The pre-open at 22:39 is of that session; decisions begin with its open at 23:00 UTC.
    assert str(frame.item()).startswith("2023-12-25 23:00:00")
