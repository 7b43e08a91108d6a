"""Peers through the command: books made for them, workers, days they lack."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline import open_lake
from pipeline.catalog import LakeCatalog
from pipeline.config import FeaturesSettings, Settings
from pipeline.featurise import FeatureStage
from pipeline.progress import Quiet
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions
from pipeline.stage import Selection
from tests.e2e.running import digest, mbo

CONFIG = """
[features.sets.cross]
clock = "grid:10s"
tolerance = "60s"
peers = { far = "SIMU5", front = "SIM.v.0" }
features = ["mid", "mid_of", "return_of_far_60s", "lagged_ofi_of_far_60s_10s",
            "correlation_with_far_1s_300s", "price_gap_to_front", "age_of_far",
            "lead_over_far", "hy_correlation_with_far", "lead_over_front", "lead_ratio_over_front",
            "hy_correlation_with_front"]
"""


def features(lake: Path, raw: Path, *, workers: int = 1) -> Path:
    config = lake.parent / "research.toml"
    config.write_text(CONFIG)
    shared = ("--lake", lake, "--config", config, "--workers", str(workers), "--quiet")
    mbo("ingest", raw, *shared).checked()
    mbo("features", "--set", "cross", "--symbols", "SIMM5", *shared).checked()
    return lake


@pytest.fixture(scope="module")
def lake(sample_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return features(tmp_path_factory.mktemp("peers") / "lake", sample_raw)


def test_columns_of_peers_stand_beside_ours(lake: Path) -> None:
    """The peer's book was made, too, though only ours was asked for."""
    found = open_lake(lake)
    assert {item.partition["symbol"] for item in found.partitions("book")} == {"SIMM5", "SIMU5"}
    assert {item.partition["symbol"] for item in found.partitions("features")} == {"SIMM5"}
    frame = found.scan("features").collect()
    gap = (frame["mid_of_far"] - frame["mid"]).drop_nulls()
    assert gap.len() > 1000
    assert gap.is_between(150, 260).all()
    # The front by volume is the contract itself, as it was strictly before.
    assert (frame["price_gap_to_front"].drop_nulls() == 0).all()
    assert (frame["age_of_far"].drop_nulls() > 0).all()


def test_which_moves_first_is_known_from_the_session_before(lake: Path) -> None:
    found = open_lake(lake)
    first = found.scan("features", start="2025-06-02", end="2025-06-02").collect()
    last = found.scan("features", start="2025-06-03", end="2025-06-03").collect()
    names = [name for name in last.columns if "lead" in name or "hy_" in name]
    assert all(first[name].null_count() == first.height for name in names)
    # The front is the contract itself: it neither leads nor follows.
    assert last.select("lead_over_front", "hy_correlation_with_front").unique().rows() == [(0, 1.0)]
    # The other deliveries of the sample market follow the same price.
    (correlation,) = set(last["hy_correlation_with_far"])
    assert 0.05 < correlation <= 1.1


def test_two_workers_write_the_same_bytes(lake: Path, sample_raw: Path, tmp_path: Path) -> None:
    other = features(tmp_path / "lake", sample_raw, workers=2)
    assert digest(lake) == digest(other)


def test_a_session_without_its_peer_is_incomplete(sample_raw: Path, tmp_path: Path) -> None:
    """Only the last day of the peer has a book, and the command is not there to make the others."""
    lake, quiet = tmp_path / "lake", ("--workers", "1", "--quiet")
    mbo("ingest", sample_raw, "--lake", lake, *quiet).checked()
    mbo("book", "--symbols", "SIMM5", "--lake", lake, *quiet).checked()
    mbo("book", "--symbols", "SIMU5", "--start", "2025-06-03", "--lake", lake, *quiet).checked()
    sets = {"cross": {"features": ["mid", "mid_of"], "peers": {"far": "SIMU5"}}}
    settings = Settings(features=FeaturesSettings(set="cross", sets=sets))
    selection = Selection(symbols="SIMM5")
    run_stage(FeatureStage(), LakeCatalog(lake), settings, selection, RunOptions(), Quiet())
    items = {i.partition["session"]: i for i in open_lake(lake).partitions("features")}
    assert [items[f"2025-06-0{n}"].notes["complete"] for n in (2, 3)] == [False, False]
    frame = pl.read_parquet(items["2025-06-02"].files[0], hive_partitioning=False)
    assert frame["mid_of_far"].null_count() == frame.height > 0
    assert frame["mid"].null_count() < frame.height
    frame = pl.read_parquet(items["2025-06-03"].files[0], hive_partitioning=False)
    assert 0 < frame["mid_of_far"].null_count() < frame.height
