"""The touch over time: imbalance now against before, age and refill of queues (B15, B16)."""

from __future__ import annotations

import polars as pl

from features.book_shape import queue_imbalance
from features.columns import OK_FLOW, TICK, if_ok_flow, px, ratio, size
from features.grids import SIDES, TIME_AND_ROWS, TIME_WINDOWS
from features.order_flow import FAR, before
from features.registry import Numbers, feature
from features.windows import ago, last, since, time_mean


@feature(
    "queue_imbalance_change_{window}",
    catalogue="B15",
    source="catalogue",
    params={"window": TIME_AND_ROWS},
    range=(-2, 2),
    mirror="odd",
)
def queue_imbalance_change(window: str) -> pl.Expr:
    """Queue imbalance less what it was a window ago: QI - QI(t - w), or QI_i - QI_(i-N)."""
    return queue_imbalance() - ago(queue_imbalance(), window)


@feature(
    "queue_imbalance_mean_{window}",
    catalogue="B15",
    source="catalogue",
    params={"window": TIME_WINDOWS},
    range=(-1, 1),
    mirror="odd",
)
def queue_imbalance_mean(window: str) -> pl.Expr:
    """Queue imbalance averaged over a window, each value by the time it stood."""
    return time_mean(queue_imbalance(), window)


@feature(
    "queue_imbalance_dev_{window}",
    catalogue="B15",
    source="catalogue",
    params={"window": TIME_WINDOWS},
    range=(-2, 2),
    mirror="odd",
)
def queue_imbalance_dev(window: str) -> pl.Expr:
    """Queue imbalance less its average over a window by time."""
    return queue_imbalance() - time_mean(queue_imbalance(), window)


def _born(side: str) -> pl.Expr:
    """True at an event whose touch price is not that of the last row neither locked nor crossed.

    The first row of a segment counts: nothing older is known.
    """
    price, _ = before(side)
    moved = px(side).fill_null(FAR[side]) != price
    return OK_FLOW & (moved.fill_null(value=False) | pl.col("first"))


def _where_there(side: str, x: pl.Expr) -> pl.Expr:
    return if_ok_flow(pl.when(px(side).is_not_null()).then(x))


@feature(
    "touch_age_{side}",
    catalogue="B16",
    unit="s",
    source="Cont and de Larrard 2013",
    params={"side": SIDES},
    range=(0, None),
    mirror="swap",
)
def touch_age(side: str) -> pl.Expr:
    """Seconds since the side's best price became what it is, or since the segment's start."""
    return _where_there(side, since(_born(side)))


@feature(
    "queue_growth_{side}",
    catalogue="B16",
    source="Cont and de Larrard 2013",
    params={"side": SIDES},
    range=(0, None),
    mirror="swap",
)
def queue_growth(side: str) -> pl.Expr:
    """Size at the touch over what it was when its price became the best: B_0 / B_0(birth)."""
    birth = last(pl.when(_born(side)).then(size(side)))
    return _where_there(side, ratio(size(side), birth))


@feature(
    "empty_ticks_{side}_{levels}",
    catalogue="B16",
    unit="ticks",
    source="catalogue",
    params={"side": SIDES, "levels": Numbers((10,), 2, 50)},
    dtype=pl.Int64,
    range=(0, None),
    mirror="swap",
)
def empty_ticks(side: str, levels: int) -> pl.Expr:
    """Prices without orders between the touch and the last of the side's best levels."""
    prices = [px(side, i) for i in range(levels)]
    last_price = pl.min_horizontal(prices) if side == "bid" else pl.max_horizontal(prices)
    span = (last_price - px(side)).abs() // TICK
    between = span + 1 - sum(price.is_not_null().cast(pl.Int64) for price in prices)
    return _where_there(side, between)
