"""What is fitted on past sessions, through the commands: the sample market, two sessions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipeline import open_lake
from tests.e2e.running import mbo

FIRST, LAST = "2025-06-02", "2025-06-03"
SYMBOL = "SIMM5"
CONFIG = """
[features.fits]
min_sessions = 1

[features.sets.fitted]
clock = "touch"
features = [
    "mid", "T08", "P05", "F06", "S05", "T18", "X05", "X06", "volatility_percentile",
    "spread__winsor", "depth_bid_1__robust", "depth_bid_1__diurnal",
]
labels = ["y_return_10s"]
"""


@pytest.fixture(scope="module")
def lake(sample_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fits")
    shutil.copytree(sample_lake, folder / "lake")
    (folder / "research.toml").write_text(CONFIG)
    features(folder / "lake")
    return folder / "lake"


def features(lake: Path, *more: str) -> str:
    config = ("--config", lake.parent / "research.toml", "--lake", lake)
    options = ("--set", "fitted", "--symbols", SYMBOL, "--workers", "1")
    return mbo("features", *config, *options, *more).checked().err


def session(lake: Path, day: str) -> pl.DataFrame:
    return open_lake(lake).scan("features", set="fitted", start=day, end=day).collect()


def test_the_second_session_knows_the_first(lake: Path) -> None:
    first, last = session(lake, FIRST), session(lake, LAST)
    names = [n for n in last.columns if n != "mid" and last[n].dtype.is_float()]
    fitted = [n for n in names if "micro" in n or "diurnal" in n or "large" in n or "__" in n]
    assert len(fitted) > 20
    assert all(first[n].null_count() == first.height for n in fitted)
    some = ["micro_3", "micro_dev_2", "ofi_integrated_10s", "depth_percentile", "relative_volume"]
    some += ["large_trade_size_q95", "diurnal_depth", "spread__winsor", "depth_bid_1__robust"]
    for name in some:
        assert last[name].null_count() < last.height / 2, name


def test_sql_tells_what_a_fit_rests_on(lake: Path) -> None:
    query = (
        "SELECT DISTINCT session, sessions, first_session, last_session FROM fits_fitted "
        f"WHERE symbol = '{SYMBOL}' AND session <= '{LAST}'"
    )
    rows = json.loads(mbo("sql", query, "--lake", lake, "--json").checked().out)
    assert [str(row["session"])[:10] for row in rows] == [LAST]
    assert {str(rows[0][n])[:10] for n in ("first_session", "last_session")} == {FIRST}
    assert rows[0]["sessions"] == 1


def test_nothing_is_done_twice_and_a_dry_run_does_nothing(lake: Path) -> None:
    assert "features: 3 up to date" in features(lake)
    assert "statistics: 2 up to date" in features(lake, "--dry-run")


def test_lineage_leads_to_the_past_and_status_and_gc_agree(lake: Path) -> None:
    path = lake / "features" / "set=fitted" / "dataset=SIM.MDP3" / f"session={LAST}"
    shown = mbo("lineage", path / f"symbol={SYMBOL}", "--lake", lake).checked().out
    assert f"fits fitted SIM.MDP3 {LAST} {SYMBOL}" in shown
    assert f"statistics fitted SIM.MDP3 {FIRST} {SYMBOL}" in shown
    assert "statistics" in mbo("status", "--lake", lake).out
    before = sorted(lake.rglob("*.parquet"))
    mbo("gc", "--lake", lake)
    assert sorted(lake.rglob("*.parquet")) == before


def test_check_and_describe_know_fitted_features(lake: Path) -> None:
    config = ("--config", lake.parent / "research.toml", "--lake", lake)
    result = mbo("check", "micro_3", "relative_volume", *config, "--set", "fitted")
    assert result.code == 0, result.out + result.err
    assert "past sessions" in mbo("describe", "micro_3", *config).checked().out


def test_a_fit_of_a_fit_is_one_clear_line(lake: Path) -> None:
    text = CONFIG.replace('"spread__winsor"', '"relative_volume__robust"')
    (lake.parent / "wrong.toml").write_text(text)
    config = ("--config", lake.parent / "wrong.toml", "--lake", lake)
    result = mbo("features", *config, "--set", "fitted")
    assert result.code == 2
    assert "rests on a fit itself" in result.err
