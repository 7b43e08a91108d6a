"""The stage: by session, over midnight, incomplete days, up-to-date checks, processes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from features.engine import compute
from features.registry import FEATURES
from features.sets import feature_set
from pipeline.calendar import calendar_for
from pipeline.catalog import LakeCatalog
from pipeline.config import BookSettings, FeaturesSettings, Settings
from pipeline.errors import RequestError
from pipeline.featurise import FeatureStage
from pipeline.progress import Quiet
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Selection, Stage, Stored
from pipeline.storage import lake_lock
from tests.features.upstream import DATASET, DAYS, SYMBOL, Upstream, market

SESSIONS = 3
"""Sessions that the two UTC days overlap: the market lies in the one in the middle."""

SETS = {
    "small": {
        "features": ["mid", "ofi_1s", "ofi_n10", "cvd", "ema_gap_h1s", "vwap_dev_60s"],
        "labels": ["y_return_1s", "y_return_n10"],
    },
    "grid": {
        "clock": "grid:1s",
        "features": ["mid", "rv_1s_60s", "add_rate_bid_l1_1s", "is_rth"],
    },
}


def with_set(name: str, sets: object = SETS, **features: object) -> Settings:
    return Settings(features=FeaturesSettings(set=name, sets=sets, **features))  # type: ignore[arg-type]


def run(
    stage: Stage, lake: Path, settings: Settings | None = None, *, workers: int = 1
) -> StageSummary:
    with lake_lock(lake):
        return run_stage(
            stage,
            LakeCatalog(lake),
            settings or with_set("small"),
            Selection(),
            RunOptions(workers=workers),
            Quiet(),
        )


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    run(Upstream(), tmp_path / "lake")
    return tmp_path / "lake"


def stored(lake: Path, table: str = "features") -> list[Stored]:
    """Partitions of the session that has the market's rows, one a set."""
    found = LakeCatalog(lake).partitions(table)
    return [item for item in found if item.partition["session"] == "2025-03-05"]


def read(item: Stored) -> pl.DataFrame:
    return pl.read_parquet(item.files[0], hive_partitioning=False)


def digest(lake: Path) -> dict[str, str]:
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for table in ("features", "labels")
        for path in sorted((lake / table).rglob("*.parquet"))
    }


@pytest.mark.parametrize("name", ["small", "grid"])
def test_the_tables_hold_what_the_engine_computes_over_midnight(lake: Path, name: str) -> None:
    assert run(FeatureStage(), lake, with_set(name)).done == SESSIONS
    session = calendar_for(DATASET, SYMBOL).session(date(2025, 3, 5))
    assert session is not None
    world = market()
    context = replace(
        world.context,
        segments=session.segments,
        rth=session.rth,
        expiration=None,
        business_days_left=None,
    )
    chosen = feature_set(name, SETS)
    expected = pl.concat(
        list(compute(replace(world, context=context), chosen.features, chosen.clock))
    )
    (item,) = stored(lake)
    assert item.partition["session"] == "2025-03-05"
    assert item.notes["complete"] is True
    found = read(item)
    assert found.equals(expected)
    assert found["ts"].is_sorted()
    midnight = pl.lit("2025-03-05T00:00:00Z").str.to_datetime(time_zone="UTC")
    sides = found.select(
        before=(pl.col("ts") < midnight).sum(), after=(pl.col("ts") > midnight).sum()
    )
    assert min(sides.row(0)) > 50


def test_labels_stand_beside_the_features_row_for_row(lake: Path) -> None:
    run(FeatureStage(), lake)
    (features,), (labels,) = stored(lake), stored(lake, "labels")
    assert read(labels).columns[5:] == [
        *("t_end", "after_y_return_1s", "after_y_return_n10", "y_return_1s", "y_return_n10")
    ]
    keys = ["ts", "event", "bid_px", "ask_px", "mid_ticks"]
    assert read(features).select(keys).equals(read(labels).select(keys))
    late = read(labels).filter(pl.col("y_return_1s").is_not_null())
    assert (late["t_end"] > late["ts"]).all()
    assert (late["after_y_return_1s"] == 10**9).all()
    slow = read(labels).filter(pl.col("after_y_return_n10").is_not_null())
    ends = slow["ts"].cast(pl.Int64) + slow["after_y_return_n10"]
    assert (slow["t_end"].cast(pl.Int64) >= ends).all()


def test_types_and_units_are_in_the_file(lake: Path) -> None:
    run(FeatureStage(), lake)
    schema = pq.read_schema(stored(lake)[0].files[0])
    assert str(schema.field("ts").type) == "timestamp[ns, tz=UTC]"
    assert str(schema.field("ema_gap_h1s").type) == "float"
    assert str(schema.field("mid").type) == "double"
    assert str(schema.field("cvd").type) == "int64"


def test_a_second_run_recomputes_nothing_and_another_set_stands_beside(lake: Path) -> None:
    assert run(FeatureStage(), lake).done == SESSIONS
    assert run(FeatureStage(), lake).up_to_date == SESSIONS
    assert run(FeatureStage(), lake, with_set("grid")).done == SESSIONS
    assert {item.partition["set"] for item in stored(lake)} == {"small", "grid"}


def test_a_missing_day_is_noted_and_made_good_when_it_arrives(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run(Upstream(days=DAYS[:1]), lake)
    assert run(FeatureStage(), lake).done == SESSIONS - 1
    (item,) = stored(lake)
    assert item.notes["complete"] is False
    before = read(item)
    run(Upstream(), lake)
    assert run(FeatureStage(), lake).done == SESSIONS - 1  # not the one that was whole
    (item,) = stored(lake)
    assert item.notes["complete"] is True
    assert read(item).head(before.height).equals(before)
    assert read(item).height > before.height


def test_one_and_two_workers_write_the_same_bytes(tmp_path: Path) -> None:
    for workers in (1, 2):
        lake = tmp_path / f"lake{workers}"
        run(Upstream(), lake)
        run(FeatureStage(), lake, workers=workers)
    assert digest(tmp_path / "lake1") == digest(tmp_path / "lake2")


def test_an_unknown_tick_size_is_one_clear_line(tmp_path: Path) -> None:
    run(Upstream(tick=None), tmp_path / "lake")
    summary = run(FeatureStage(), tmp_path / "lake")
    assert summary.exit_code == 1
    message = summary.failed[0][1]
    assert "no tick size known" in message
    assert 'add to research.toml: [instruments."ESH5"] tick_size' in message


def test_dollar_bars_without_a_multiplier_are_one_clear_line(lake: Path) -> None:
    sets = {"money": {"clock": "dollar:5000000", "features": ["mid"]}}
    summary = run(FeatureStage(), lake, with_set("money", sets))
    assert summary.exit_code == 1
    assert "no multiplier known" in summary.failed[0][1]


def test_an_empty_lake_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="mbo book"):
        run(FeatureStage(), tmp_path / "lake")


@pytest.mark.parametrize(
    ("book", "message"),
    [
        (BookSettings(materialise="none"), "book.materialise is 'none'"),
        (BookSettings(flow=False), "book.flow is false"),
        (BookSettings(depth=3), r"feature set 'deep': depth_imbalance_10.*needs? 10 levels"),
        (BookSettings(materialise="touch"), "book.depth = 10"),
    ],
)
def test_a_book_that_cannot_serve_the_set(lake: Path, book: BookSettings, message: str) -> None:
    settings = replace(with_set("deep", {"deep": {"features": ["depth_imbalance_10"]}}), book=book)
    with pytest.raises(RequestError, match=message):
        run(FeatureStage(), lake, settings)


def test_a_changed_file_of_the_users_own_is_computed_again(lake: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    text = (
        "from features.registry import feature\nfrom features.columns import mid_ticks\n"
        '@feature("doubled_mid", source="me")\ndef doubled_mid():\n    """Mine."""\n'
        "    return {} * mid_ticks()\n"
    )
    path.write_text(text.format(2))
    settings = with_set("own", {"own": {"features": ["doubled_mid"]}}, files=(str(path),))
    try:
        assert run(FeatureStage(), lake, settings).done == SESSIONS
        assert run(FeatureStage(), lake, settings).up_to_date == SESSIONS
        first = read(stored(lake)[0])
        path.write_text(text.format(-2))
        assert run(FeatureStage(), lake, settings).done == SESSIONS
        assert read(stored(lake)[0])["doubled_mid"].equals(-first["doubled_mid"], check_names=False)
    finally:
        FEATURES.forget(str(path.resolve()))


ORDERS = {"orders": {"features": ["mid", "max_share_bid", "refill_rate_ask_10s"]}}


def test_features_of_single_orders_need_their_table(lake: Path) -> None:
    message = "set 'orders': max_share_bid, refill_rate_ask_10s need the table `queue`.*--queue`"
    with pytest.raises(RequestError, match=message):
        run(FeatureStage(), lake, with_set("orders", ORDERS))


def test_features_of_single_orders_over_midnight(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run(Upstream(queue=True), lake)
    assert run(FeatureStage(), lake, with_set("orders", ORDERS)).done == SESSIONS
    session = calendar_for(DATASET, SYMBOL).session(date(2025, 3, 5))
    assert session is not None
    world = market()
    context = replace(world.context, segments=session.segments, rth=session.rth)
    chosen = feature_set("orders", ORDERS).features
    expected = pl.concat(list(compute(replace(world, context=context), chosen)))
    (item,) = stored(lake)
    assert read(item).equals(expected)
    assert expected["max_share_bid"].null_count() < expected.height
    # Sets that do not need the table do not read it.
    run(FeatureStage(), lake)
    run(Upstream(queue=True, short=1), lake)
    assert run(FeatureStage(), lake).up_to_date == SESSIONS


def test_a_queue_that_does_not_fit_its_book_is_one_clear_line(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run(Upstream(queue=True, short=1), lake)
    summary = run(FeatureStage(), lake, with_set("orders", ORDERS))
    assert summary.exit_code == 1
    assert "rows of queue beside" in summary.failed[0][1]
    assert "run `mbo book --queue --force`" in summary.failed[0][1]
