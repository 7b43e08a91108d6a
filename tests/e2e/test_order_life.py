"""`mbo book --order-life`: on request, by flag or setting, and what can be asked of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl

from pipeline import open_lake
from tests.e2e.running import mbo


def test_lives_of_the_sample(sample_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(sample_lake, lake)
    assert "order_life" not in mbo("book", "--lake", lake).checked().err

    mbo("book", "--order-life", "--lake", lake, "--workers", "1").checked()

    opened = open_lake(lake)
    lives = opened.scan("order_life").collect()
    quality = opened.scan("quality").collect()
    assert lives.filter(entered="add").height == quality["adds"].sum()
    assert lives["fills"].sum() == quality["fills"].sum() - quality["orphan_fills"].sum()
    assert set(lives["outcome"]) >= {"filled", "cancelled", "resting"}
    assert lives["queue_fills"].sum() == quality["fifo_fills"].sum()
    # The simulated venue is first in, first out: nobody is filled out of turn.
    assert lives["fills_out_of_turn"].sum() == 0
    early = lives.filter(pl.col("place_ahead_orders") == 0, pl.col("outcome") == "filled").height
    assert early > 0

    query = (
        "SELECT outcome, count(*) AS n, avg(left_ahead_size) AS ahead FROM order_life "
        "WHERE entered_distance = 0 GROUP BY outcome ORDER BY outcome"
    )
    assert "filled" in mbo("sql", query, "--lake", lake).checked().out
