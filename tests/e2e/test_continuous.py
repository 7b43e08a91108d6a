"""Continuous symbols through the commands: features, SQL, Python and a backtest over a roll."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipeline import open_lake
from tests.e2e.running import mbo

SESSIONS = ("2025-06-02", "2025-06-03")
CONFIG = """
[rolls.SIM]
days = 13
"""


@pytest.fixture(scope="module")
def lake(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, whose front by calendar changes between its two sessions."""
    folder = tmp_path_factory.mktemp("rolling")
    shutil.copytree(feature_lake, folder / "lake")
    (folder / "research.toml").write_text(CONFIG)
    config = ("--config", folder / "research.toml")
    mbo("features", *config, "--lake", folder / "lake", "--symbols", "SIM.c.0").checked()
    return folder / "lake"


def test_the_series_is_the_contract_of_each_session(lake: Path) -> None:
    frame = open_lake(lake).scan("features", symbols="SIM.c.0").collect()
    seen = frame.select("session", "symbol", "series", "roll").unique(maintain_order=True)
    assert [(str(s), *rest) for s, *rest in seen.iter_rows()] == [
        (SESSIONS[0], "SIMM5", "SIM.c.0", 0),
        (SESSIONS[1], "SIMU5", "SIM.c.0", 1),
    ]
    alone = open_lake(lake).scan("features", symbols="SIMU5", start=SESSIONS[1]).collect()
    same = frame.filter(pl.col("roll") == 1).drop("series", "roll")
    assert same.equals(alone), "the contract's own rows: no window saw another contract"
    query = "SELECT contract, count(*) AS n FROM continuous WHERE series = 'SIM.c.0' GROUP BY ALL"
    rows = json.loads(mbo("sql", query, "--lake", lake, "--json").checked().out)
    assert {row["contract"]: row["n"] for row in rows} == {
        "SIMM5": frame.height - alone.height,
        "SIMU5": alone.height,
    }


def test_a_backtest_trades_the_contract_and_leaves_it(lake: Path) -> None:
    arguments = ("-p", "entry_z=1.0", "-p", "cover=0", "-p", "flatten=false", "--config")
    config = lake.parent / "research.toml"
    result = mbo(
        "backtest", "mean_reversion", *arguments, config, "--lake", lake, "--symbols", "SIM.c.0"
    ).checked()
    assert "roll        2025-06-03 SIM.c.0: SIMM5 to SIMU5 (calendar)" in result.out
    found = open_lake(lake)
    run = found.run(found.run_ids()[0])
    ends = run.equity.filter(pl.col("kind") == "session_end").collect()
    rows = {(r["symbol"], str(r["session"])): r["position"] for r in ends.to_dicts()}
    assert set(rows) == {("SIMM5", SESSIONS[0]), ("SIMU5", SESSIONS[1])}
    assert rows["SIMM5", SESSIONS[0]] == 0
    assert run.fills.collect().filter(pl.col("symbol") == "SIMM5").height > 0


def test_a_series_that_is_not_there_is_one_line(lake: Path) -> None:
    result = mbo("features", "--lake", lake, "--symbols", "SIM.v.7")
    assert result.code == 2
    assert "unknown continuous symbol 'SIM.v.7'" in result.err
