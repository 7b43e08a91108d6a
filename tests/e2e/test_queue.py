"""`mbo book --queue`, and features that need it: from the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline import open_lake
from tests.e2e.running import mbo


def test_features_of_single_orders_of_the_sample(sample_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(sample_lake, lake)
    config = tmp_path / "research.toml"
    names = ["mid", "queue_age_bid", "refill_rate_ask_h10s", "executed_share_bid_10s"]
    config.write_text(f"[features.sets.orders]\nfeatures = {names}\n".replace("'", '"'))
    ask = ("features", "--set", "orders", "--lake", lake, "--config", config, "--workers", "1")

    refused = mbo(*ask)
    assert refused.code == 2
    assert "queue_age_bid, refill_rate_ask_h10s need the table `queue`" in refused.err
    assert "run `mbo book --queue`" in refused.err

    mbo("book", "--queue", "--lake", lake, "--workers", "1").checked()
    opened = open_lake(lake)
    queue, book = (opened.scan(name).collect() for name in ("queue", "book"))
    assert queue["event"].equals(book["event"])
    mbo(*ask).checked()
    found = open_lake(lake).scan("features", set="orders").collect()
    assert found.height > 0
    assert all(found[name].null_count() < found.height for name in names)
