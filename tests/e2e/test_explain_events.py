"""`mbo explain` of every fill of an event strategy's run, against the ledger of the run."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline.backtest.explain import explain, find
from pipeline.backtest.telling import Telling
from pipeline.lake import Lake, open_lake
from tests.e2e.running import ROOT, mbo

STRATEGY = str(ROOT / "tests" / "e2e" / "all_seen.py:AllSeen")
FIRST = 15
"""Fills that the quick test explains."""


@pytest.fixture(scope="module")
def lake(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of one contract, traded by a strategy with all kinds of orders."""
    lake = tmp_path_factory.mktemp("explained") / "lake"
    shutil.copytree(feature_lake, lake)
    some = ("--symbols", "SIMM5", "--end", "2025-06-02", "--lake", lake, "--workers", "1")
    mbo("backtest", STRATEGY, *some, "--fees", "0.5").checked()
    return lake


def explained(lake: Lake, run_id: str, count: int | None) -> pl.DataFrame:
    """The fills; each of the first ``count`` was explained and agrees with what is stored."""
    fills = lake.run(run_id).fills.sort("fill").collect()
    position, realised, fees = 0, Decimal(0), Decimal(0)
    for row in fills.head(count or fills.height).iter_rows(named=True):
        story = explain(lake, find(lake, run_id, None, fill=row["fill"]), STRATEGY)
        assert story.disagreements == []
        assert Telling(story).text()
        told = story.fill
        assert told is not None
        position += told["size"] * (1 if told["side"] == "B" else -1)
        realised += told["realised"]
        fees += told["fee"]
        assert told["position"] == position
    if count is None:
        (ledger,) = lake.run(run_id).readings.to_dicts()
        assert (ledger["realised"], ledger["fees"]) == (realised, fees)
        assert lake.run(run_id).equity.collect().sort("ts")["position"][-1] == position
    return fills


def test_the_first_fills(lake: Path) -> None:
    opened = open_lake(lake)
    (run_id,) = opened.run_ids()
    fills = explained(opened, run_id, FIRST)
    assert set(fills.head(FIRST)["role"]) == {"maker", "taker"}

    asked = ("explain", "3", "--strategy", STRATEGY, "--lake", lake)
    said = mbo(*asked).checked().out
    assert f"position {fills['position'][3]:+d}, realised {fills['realised'][3]:.9f}" in said
    assert "The replay agrees with what the run stored." in said


@pytest.mark.slow
def test_every_fill(lake: Path) -> None:
    opened = open_lake(lake)
    (run_id,) = opened.run_ids()
    fills = explained(opened, run_id, None)
    assert set(fills["role"]) >= {"maker", "taker"}
    assert fills.height > 100
