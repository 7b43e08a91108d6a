"""A6: what must hold between features of the book's shape and of order flow, on any data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import polars as pl
import pytest

from features.engine import compute
from features.events import Tables
from features.registry import FEATURES
from tests.features.worlds import FAST, make_world

CAUSES = [f"{side}_{cause}" for side in ("bid", "ask") for cause in ("add", "cancel", "trade")]


@cache
def world() -> Tables:
    return make_world(4, 600, FAST, invalid=0.0)


def run(names: list[str], tables: Tables | None = None) -> pl.DataFrame:
    return pl.concat(list(compute(tables or world(), FEATURES.resolve(names))))


def equal(left: pl.Series, right: pl.Series, tolerance: float = 0.0) -> None:
    """Null at the same rows, values no further apart; and there must be some."""
    assert left.len() - left.null_count() > 30
    assert (left.is_null() == right.is_null()).all()
    assert (left.cast(pl.Float64) - right.cast(pl.Float64)).abs().max() <= tolerance  # type: ignore[operator]


def test_the_weighted_mids_place_in_the_spread_is_the_queue_imbalance() -> None:
    frame = run(["wmid_disp", "queue_imbalance"])
    equal(frame["wmid_disp"], frame["queue_imbalance"], 1e-6)


@pytest.mark.parametrize("window", ["1s", "10s", "h10s"])
def test_six_causes_sum_to_the_ofi_by_cause(window: str) -> None:
    names = [f"ofi_cause_{cause}_{window}" for cause in CAUSES]
    frame = run([*names, f"ofi_cause_{window}"])
    assert all(frame[name].drop_nulls().n_unique() > 5 for name in names)
    equal(frame.select(pl.sum_horizontal(names, ignore_nulls=False)).to_series(),
          frame[f"ofi_cause_{window}"], 1e-9)  # fmt: skip


@pytest.mark.parametrize("level", [0, 4])
@pytest.mark.parametrize("window", ["n50", "1s", "h10s"])
def test_one_sided_flows_net_to_the_ofi(level: int, window: str) -> None:
    tail = f"{level}_{window}"
    frame = run([f"order_flow_bid_{tail}", f"order_flow_ask_{tail}", f"ofi_level_{tail}"])
    net = frame[f"order_flow_bid_{tail}"] - frame[f"order_flow_ask_{tail}"]
    equal(net, frame[f"ofi_level_{tail}"], 1e-9)


@pytest.mark.parametrize("window", ["n10", "1s"])
def test_price_keyed_ofi_of_one_tick_is_the_ofi_of_the_touch(window: str) -> None:
    frame = run([f"ofi_within_1_{window}", f"ofi_{window}"])
    equal(frame[f"ofi_within_1_{window}"], frame[f"ofi_{window}"])


def test_at_a_still_touch_flow_is_the_change_of_depth() -> None:
    """With the touch prices still: OFI without moves is OFI, price-keyed OFI the change of B08."""
    tables = world()
    first = tables.book.filter(pl.col("state") == "normal")[0]
    still = tables.book.with_columns(
        pl.lit(value=True).alias("valid"),
        pl.lit("normal").alias("state"),
        *(pl.lit(first[c][0]).alias(c) for c in tables.book.columns if "_px_" in c),
    )
    frame = run(
        ["ofi_1s", "ofi_nopx_1s", "ofi_within_5_n1", "depth_within_bid_5", "depth_within_ask_5"],
        replace(tables, book=still),
    )
    equal(frame["ofi_nopx_1s"], frame["ofi_1s"])
    known = frame["ofi_within_5_n1"].is_not_null()
    change = (frame["depth_within_bid_5"] - frame["depth_within_ask_5"]).diff()
    equal(frame["ofi_within_5_n1"].filter(known), change.filter(known))


def test_ofi_without_moves_differs_only_by_the_events_that_moved_the_touch() -> None:
    frame = run(["ofi_nopx_1s", "ofi_1s", "touch_age_bid", "touch_age_ask"])
    assert (frame["ofi_nopx_1s"] - frame["ofi_1s"]).abs().max() > 0  # type: ignore[operator]
    quiet = frame.filter((pl.col("touch_age_bid") > 1) & (pl.col("touch_age_ask") > 1))
    equal(quiet["ofi_nopx_1s"], quiet["ofi_1s"])


def test_depth_far_away_is_all_depth() -> None:
    frame = run(["depth_within_bid_1000", "depth_bid_10", "depth_within_ask_1", "depth_ask_1"])
    equal(frame["depth_within_bid_1000"], frame["depth_bid_10"])
    equal(frame["depth_within_ask_1"], frame["depth_ask_1"])


def test_a_small_order_sweeps_the_touch_alone() -> None:
    frame = run(["sweep_price_buy_1", "sweep_price_sell_1", "impact_mid_1", "mid", "spread"])
    equal(frame["impact_mid_1"], frame["mid"])
    equal(frame["sweep_price_buy_1"] - frame["sweep_price_sell_1"], frame["spread"], 1e-6)


def test_sweeps_get_dearer_and_are_null_where_the_book_is_thin() -> None:
    sizes = [10, 50, 100, 200]
    frame = run([f"{n}_{q}" for n in ("sweep_price_buy", "impact_mid", "thin") for q in sizes])
    for less, more in pairwise(sizes):
        step = frame[f"sweep_price_buy_{more}"] - frame[f"sweep_price_buy_{less}"]
        assert (step.drop_nulls() >= 0).all()
        assert (frame[f"thin_{more}"] >= frame[f"thin_{less}"]).all()
    filled = frame.filter(pl.col("thin_50") == 0)
    ok = run(["mid", "thin_50"]).filter(pl.col("thin_50") == 0)["mid"]
    assert (filled["impact_mid_50"].is_null() == ok.is_null()).all()
    assert frame.filter(pl.col("thin_50") == 1)["impact_mid_50"].null_count() > 0
    assert frame.filter(pl.col("thin_50") == 1)["impact_mid_50"].drop_nulls().is_empty()


def test_races_of_equal_queues_are_open_and_small_correlations_change_little() -> None:
    names = ["race_probability", "race_probability_neg1", "race_probability_pos1"]
    frame = run([*names, "depth_bid_1", "depth_ask_1"])
    equal(frame[names[1]], frame[names[0]], 0.005)
    between = pl.min_horizontal(names[1:]) <= pl.col(names[0]) + 1e-6
    assert frame.drop_nulls(names).select(between.all()).item()
    level = frame.filter(pl.col("depth_bid_1") == pl.col("depth_ask_1")).drop_nulls(names)
    assert level.height
    assert (level.select(names).to_numpy() == 0.5).all()


def test_imbalance_is_its_mean_and_its_deviation() -> None:
    frame = run(["queue_imbalance", "queue_imbalance_mean_1s", "queue_imbalance_dev_1s"])
    both = frame.drop_nulls()
    left = both["queue_imbalance_mean_1s"] + both["queue_imbalance_dev_1s"]
    equal(left, both["queue_imbalance"], 1e-6)


def test_events_left_out_are_those_of_locked_and_crossed_books() -> None:
    frame = run(["ofi_left_out_1s", "ofi_event", "ofi_1s"])
    assert frame["ofi_left_out_1s"].max() > 0  # type: ignore[operator]
    left_out = frame.filter(pl.col("ofi_1s").is_null() & pl.col("ofi_left_out_1s").is_not_null())
    # At a row with a warm window and no OFI the touch itself is locked or crossed.
    assert (left_out["ofi_left_out_1s"] >= 1).all()
    assert left_out.height


def test_depth_is_cut_where_ten_levels_end_before_the_distance() -> None:
    """Ten levels at ten prices in a row: all within 10 ticks are seen, of 11 not."""
    dense = world().book.with_columns(
        *((pl.col("bid_px_00") - i * 250_000_000).alias(f"bid_px_{i:02d}") for i in range(10)),
        *(pl.lit(7, pl.UInt32).alias(f"bid_sz_{i:02d}") for i in range(10)),
    )
    names = [f"depth_within{cut}_bid_{d}" for cut in ("", "_cut") for d in (9, 10, 11)]
    frame = run(names, replace(world(), book=dense)).drop_nulls()
    there = frame.filter(pl.col("depth_within_bid_9") > 7)
    assert there.height > 100
    assert there.select(names).unique().rows() == [(63, 70, 70, 0, 0, 1)]
    short = dense.with_columns(pl.lit(None, pl.Int64).alias("bid_px_09"))
    frame = run(["depth_within_cut_bid_11"], replace(world(), book=short))
    assert frame["depth_within_cut_bid_11"].drop_nulls().unique().to_list() == [0]


GROUPS = ("prices", "book_shape", "book_profile", "touch_state", "order_flow", "level_flow")


def test_prices_around_zero_give_no_infinities() -> None:
    """Spreads between contracts have such prices; what would divide by one is null."""
    near_zero = make_world(5, 400, FAST, level=1, invalid=0.0)
    assert (near_zero.book["bid_px_00"] == 0).any()
    frame = run(list(GROUPS), near_zero)
    for name in frame.columns[5:]:
        values = frame[name].drop_nulls()
        assert values.cast(pl.Float64).is_finite().all(), name
    assert 0 < frame["elasticity_5"].count() < frame["mid"].count()
    assert frame["spread_bps"].count() > 0
