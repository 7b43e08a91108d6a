"""The hour of ES trading of 2023-12-25, from the raw files through every stage."""

from __future__ import annotations

import hashlib
import math
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from features.registry import FEATURES
from pipeline.catalog import LakeCatalog
from pipeline.config import FeaturesSettings, RawSettings, Settings
from pipeline.progress import Quiet
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions
from pipeline.stage import Selection
from pipeline.stages import load_stage, upstream
from pipeline.storage import lake_lock
from tests.reference.features.catalogue import SLOW_FEATURES
from tests.reference.features.session import prepare

OPEN = 1_703_545_200 * 10**9  # 2023-12-25 23:00 UTC, 17:00 in Chicago
ALL = {"clock": "event", "features": ["tier1", "tier2"], "labels": ["tier1"]}

LONGER = ("macd_", "opening_", "ou_half_life_10s_n1000")


def settings(real_data: Path, clock: str = "event") -> Settings:
    sets = {"all": ALL | {"clock": clock}}
    return Settings(
        raw=RawSettings(path=str(real_data / "esh4")),
        features=FeaturesSettings(set="all", sets=sets),
    )


def run(lake: Path, chosen: Settings, names: list[str], workers: int = 1) -> None:
    with lake_lock(lake):
        for name in names:
            options = RunOptions(workers=workers)
            summary = run_stage(
                load_stage(name), LakeCatalog(lake), chosen, Selection(), options, Quiet()
            )
            assert summary.exit_code == 0, summary.failed


@pytest.fixture(scope="module")
def lake(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("es") / "lake"
    run(path, settings(real_data), upstream("features"))
    return path


def table(lake: Path, name: str) -> pl.DataFrame:
    (item,) = [
        item
        for item in LakeCatalog(lake).partitions(name)
        if item.partition.get("session") == "2023-12-26"
    ]
    return pl.read_parquet(item.files[0], hive_partitioning=False)


def test_the_evening_belongs_to_the_next_session_and_begins_at_the_open(lake: Path) -> None:
    frame = table(lake, "features")
    assert frame.height > 30_000
    assert frame["ts"].cast(pl.Int64).min() >= OPEN
    assert frame["session_date"].unique().to_list() == [20231226]
    (item,) = LakeCatalog(lake).partitions("features")
    assert item.notes["complete"] is False  # 2023-12-26 itself is not there


def test_values_are_sane(lake: Path) -> None:
    """In range, no infinities, and null only while windows fill or where nothing happened."""
    frame = table(lake, "features")
    # The set names no other instruments.
    columns = [c for c in FEATURES.resolve(ALL["features"]) if not c.peers]
    assert {c.name for c in columns} <= set(frame.columns)
    for column in columns:
        values = frame[column.name]
        present = values.drop_nulls().cast(pl.Float64)
        assert present.is_finite().all(), column.name
        low, high = column.family.low, column.family.high
        assert low is None or (present >= low).all(), column.name
        assert high is None or (present <= high).all(), column.name
    # The folder has no definitions, and one contract on one day.
    unknown = {"days_to_expiry", "business_days_to_expiry", "is_expiry_week"}
    unknown |= {"roll_flag", "roll_activity", "prior_settle_dist"}
    unknown |= {c.name for c in columns if c.components}  # there is no session before
    hour_long = {n for n in frame.columns if n.endswith("_1h")}
    empty = {n for n in frame.columns if frame[n].null_count() == frame.height}
    # No regular hours lie in it; it has 60 bars of a minute, 30 of a thousand events, and few of
    # a thousand contracts.
    later = {n for n in frame.columns if n.startswith(LONGER)}
    later |= {n for n in empty if n.endswith("_c1000")}
    # Nor is much traded, and nobody sweeps the bid.
    scarce = ("vpin_", "kyle_lambda_trades_", "resilience_", "refill_time_")
    later |= {n for n in empty if n.startswith(scarce)}
    assert empty == unknown | hour_long | later | {"trade_duration_ratio_h300s"} & empty
    for name in ("mid", "queue_imbalance", "ofi_event", "cvd", "depth_imbalance_10"):
        assert frame[name].null_count() <= 1, name


def test_the_hour_equals_the_reference_at_some_rows(lake: Path, real_data: Path) -> None:
    """Point-in-time columns and short windows, from the tables by the slow way."""
    day = "dataset=GLBX.MDP3/date=2023-12-25/symbol=ESH4/part-0.parquet"
    book, flow, trades = (
        pl.read_parquet(lake / name / day, hive_partitioning=False)
        for name in ("book", "flow", "trades")
    )
    rows = 4_000
    start = int((book["ts_recv"].cast(pl.Int64) < OPEN).sum()) - 50
    book, flow = book.slice(start, rows), flow.slice(start, rows).drop("event")
    trades = trades.filter(pl.col("event").is_between(book["event"][0], book["event"][-1]))

    class Context:
        tick = 250_000_000
        segments = ((OPEN, OPEN + 23 * 3600 * 10**9),)
        session = date(2023, 12, 26)

    session = prepare(Context, book, flow, trades)
    frame = table(lake, "features").head(len(session.rows))
    assert frame["event"].to_list() == [row["event"] for row in session.rows]
    names = ["ofi_event", "wmid", "vamp_5", "depth_imbalance_10", "ofi_1s", "ofi_n50"]
    names += ["depth_within_bid_5", "depth_slope_asymmetry_10", "wall_distance_ask_10"]
    names += ["touch_age_bid", "queue_growth_ask", "ofi_within_5_1s", "ofi_scaled_3_1s"]
    names += ["trade_imbalance_1s", "return_1s", "zscore_n50", "add_rate_bid_l1_1s", "cvd"]
    for column in FEATURES.resolve(names):
        function = SLOW_FEATURES[column.family.name]
        for i in range(0, frame.height, 211):
            t = session.rows[i]["ts"]
            theirs, ours = function(session, i, t, **column.arguments), frame[column.name][i]
            if theirs is None or ours is None:
                assert theirs is ours, (column.name, i)
            else:
                assert math.isclose(ours, theirs, rel_tol=2e-6, abs_tol=2e-6), (column.name, i)


def test_at_a_still_touch_the_messages_give_the_order_flow_imbalance(lake: Path) -> None:
    """F07, from adds, cancels and fills, equals F02, from the sizes, where no price moved."""
    still = (pl.col("touch_age_bid") > 1) & (pl.col("touch_age_ask") > 1)
    quiet = table(lake, "features").filter(still).drop_nulls(["ofi_1s", "ofi_cause_1s"])
    assert quiet.height > 1_000
    assert quiet["ofi_cause_1s"].n_unique() > 50
    assert quiet["ofi_cause_1s"].equals(quiet["ofi_1s"])
    assert quiet["ofi_nopx_1s"].equals(quiet["ofi_1s"])


def test_one_and_two_workers_write_the_same_bytes(lake: Path, real_data: Path) -> None:
    def digest() -> dict[str, str]:
        paths = sorted((lake / "features").rglob("*.parquet"))
        return {p.name + str(p.parent): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}

    before = digest()
    with lake_lock(lake):
        options = RunOptions(workers=2, force=True)
        chosen = settings(real_data)
        stage = load_stage("features")
        run_stage(stage, LakeCatalog(lake), chosen, Selection(), options, Quiet())
    assert digest() == before
