"""Queues at the touch: who stands there, since when, and how it empties (catalogue group Q).

What single orders tell comes from the table ``queue``, made on request (``mbo book --queue``).
An order's age is the time it has stood in its queue; orders found in a snapshot, or carried over
from the day before, have none and are left out.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import polars as pl

from features.columns import add, if_ok, imbalance, orders, ratio, size
from features.combine import histogram_quantiles
from features.components import Component, Statistic, declare
from features.gatherers import Histogram
from features.grids import SIDES, TIME_AND_DECAY, ZONES
from features.registry import Choice, Windows, feature
from features.windows import rate, total
from pipeline.book.queue_columns import ORDER_SIZES
from pipeline.units import NS_PER_S

OVER: Final = Windows(("10s", "60s"), half_life=("10s",))
HALF_LIVES: Final = Windows(half_life=("1s", "10s", "60s"))
HOUR: Final = 3600.0
"""Longest time to be filled in seconds: where nothing leaves, nobody knows."""

MICROS: Final = 1e6


def of(side: str, name: str) -> pl.Expr:
    """A column of the table ``queue`` for one side."""
    return pl.col(f"{side}_{name}")


def _since_row() -> pl.Expr:
    """Nanoseconds from the last row to the decision."""
    return pl.col("t") - pl.col("ts")


# --- Q01: what stands before an order that joins now ---------------------------------------------


@feature(
    "join_ahead_{side}",
    catalogue="Q01",
    unit="contracts",
    source="Moallemi and Yuan 2017",
    params={"side": SIDES},
    dtype=pl.Int64,
    range=(1, None),
    mirror="swap",
    size_power=1,
)
def join_ahead(side: str) -> pl.Expr:
    """Contracts ahead of an order that joined the touch now: B_0 or A_0; null without a touch."""
    return if_ok(size(side))


@feature(
    "join_ahead_orders_{side}",
    catalogue="Q01",
    unit="orders",
    source="Moallemi and Yuan 2017",
    params={"side": SIDES},
    dtype=pl.Int64,
    range=(1, None),
    mirror="swap",
)
def join_ahead_orders(side: str) -> pl.Expr:
    """Orders ahead of one that joined the touch now: nb_0 or na_0; null without a touch."""
    return if_ok(orders(side))


# --- Q02: ages ----------------------------------------------------------------------------------


def mean_age(side: str) -> pl.Expr:
    """Mean age of a side's touch in seconds, weighted by size; null where none is known."""
    known = of(side, "known_sz")
    return if_ok(ratio(of(side, "age_sum"), known) / MICROS + _since_row() / NS_PER_S)


@feature(
    "queue_age_{side}",
    catalogue="Q02",
    unit="s",
    source="catalogue",
    params={"side": SIDES},
    range=(0, None),
    mirror="swap",
)
def queue_age(side: str) -> pl.Expr:
    """Mean time the touch's orders have stood in the queue, weighted by size."""
    return mean_age(side)


@feature("queue_age_ratio", catalogue="Q02", unit="log", source="catalogue", mirror="odd")
def queue_age_ratio() -> pl.Expr:
    """Ln of the bid's mean age over the ask's; null where either is 0."""
    bid, ask = mean_age("bid"), mean_age("ask")
    return pl.when((bid > 0) & (ask > 0)).then((bid / ask).log())


@feature(
    "front_age_{side}",
    catalogue="Q02",
    unit="s",
    source="catalogue",
    params={"side": SIDES},
    range=(0, None),
    mirror="swap",
)
def front_age(side: str) -> pl.Expr:
    """Time the order at the front of the touch has stood there; null where nobody saw it come."""
    return if_ok((of(side, "front_age") + _since_row()) / NS_PER_S)


@feature(
    "median_age_{side}",
    catalogue="Q02",
    unit="s",
    source="catalogue",
    params={"side": SIDES},
    range=(0, None),
    mirror="swap",
)
def median_age(side: str) -> pl.Expr:
    """Age of the order in the middle of the touch's queue (of two the earlier)."""
    return if_ok((of(side, "median_age") + _since_row()) / NS_PER_S)


@feature(
    "age_censored_{side}",
    catalogue="Q02",
    source="catalogue",
    params={"side": SIDES},
    range=(0, 1),
    mirror="swap",
)
def age_censored(side: str) -> pl.Expr:
    """Share of the touch's orders whose age is not known."""
    return if_ok(1 - ratio(of(side, "known_ct"), orders(side)))


# --- Q03, Q04: sizes ----------------------------------------------------------------------------


@feature(
    "max_share_{side}",
    catalogue="Q03",
    source="catalogue",
    params={"side": SIDES},
    range=(0, 1),
    mirror="swap",
)
def max_share(side: str) -> pl.Expr:
    """Share of the touch's size that its largest order has."""
    return if_ok(ratio(of(side, "max_sz"), size(side)))


@feature(
    "order_herfindahl_{side}",
    catalogue="Q03",
    source="catalogue",
    params={"side": SIDES},
    range=(0, 1),
    mirror="swap",
)
def order_herfindahl(side: str) -> pl.Expr:
    """Herfindahl index of the touch's order sizes: sum q_i^2 / (sum q_i)^2."""
    return if_ok(ratio(of(side, "square_sz"), size(side) * size(side)))


@feature(
    "median_order_{side}",
    catalogue="Q03",
    unit="contracts",
    source="catalogue",
    params={"side": SIDES},
    dtype=pl.Int64,
    range=(1, None),
    mirror="swap",
    size_power=1,
)
def median_order(side: str) -> pl.Expr:
    """Median order size of the touch (of two the smaller); null above 512 orders."""
    return if_ok(of(side, "median_sz"))


@feature(
    "large_order_{side}",
    catalogue="Q04",
    unit="contracts",
    source="catalogue",
    params={"side": SIDES},
    dtype=pl.Int64,
    range=(1, None),
    mirror="swap",
    size_power=1,
)
def large_order(side: str) -> pl.Expr:
    """Size of the largest order within ten ticks of its side's touch (of equals the nearest)."""
    return if_ok(of(side, "large_sz"))


@feature(
    "large_order_ticks_{side}",
    catalogue="Q04",
    unit="ticks",
    source="catalogue",
    params={"side": SIDES},
    dtype=pl.Int64,
    range=(0, 10),
    mirror="swap",
)
def large_order_ticks(side: str) -> pl.Expr:
    """How far behind the touch the largest order within ten ticks stands."""
    return if_ok(of(side, "large_ticks"))


@feature(
    "large_order_age_{side}",
    catalogue="Q04",
    unit="s",
    source="catalogue",
    params={"side": SIDES},
    range=(0, None),
    mirror="swap",
)
def large_order_age(side: str) -> pl.Expr:
    """Time the largest order within ten ticks has stood in its queue."""
    return if_ok((of(side, "large_age") + _since_row()) / NS_PER_S)


@feature(
    "large_order_balance",
    catalogue="Q04",
    source="catalogue",
    range=(-1, 1),
    mirror="odd",
)
def large_order_balance() -> pl.Expr:
    """(q_b - q_a) / (q_b + q_a) of the sides' largest orders within ten ticks."""
    return if_ok(imbalance(of("bid", "large_sz"), of("ask", "large_sz")))


@cache
def _order_sizes(percent: int) -> Component:
    """A quantile of the sizes of new orders of five sessions.

    Seen in rows since whose predecessor a zone has one new order, whose size the sum then is.
    """
    sizes = tuple(
        pl.when(of(side, f"{zone}_add_ct") == 1).then(of(side, f"{zone}_add_sz"))
        for side in SIDES.values
        for zone in ZONES.values
    )
    statistic = Statistic("new_order_sizes", sizes, Histogram)
    return declare(
        Component(
            f"new_order_q{percent}",
            statistic,
            histogram_quantiles(percent / 100),
            sessions=5,
            min_sessions=3,
        )
    )


@feature(
    "large_order_there_{side}",
    catalogue="Q04",
    unit="0 or 1",
    source="catalogue",
    params={"side": SIDES},
    dtype=pl.Int8,
    range=(0, 1),
    mirror="swap",
    tags=("fitted",),
)
def large_order_there(side: str) -> pl.Expr:
    """1 if an order within ten ticks is at least the past's 99 % quantile of new orders."""
    threshold = _order_sizes(99).at(pl.lit(0))
    return if_ok((of(side, "large_sz") >= threshold).cast(pl.Int8))


@feature(
    "large_orders_{side}",
    catalogue="Q03",
    unit="orders",
    source="catalogue",
    params={"side": SIDES},
    dtype=pl.Int64,
    range=(0, None),
    mirror="swap",
    size_power=None,
    tags=("fitted",),
)
def large_orders(side: str) -> pl.Expr:
    """Orders at the touch of at least the past's 95 % quantile of new orders, rounded up.

    To 1, 2, 3, 5, 10, 20, 50, 100, 200 or 500 contracts, from which orders are counted; null
    where it is larger, and above 512 orders.
    """
    threshold = _order_sizes(95).at(pl.lit(0))
    found: pl.Expr = pl.lit(None, pl.Int64)
    for least in reversed(ORDER_SIZES):
        found = pl.when(threshold <= least).then(of(side, f"from_{least}_ct")).otherwise(found)
    return if_ok(pl.when(threshold <= 1).then(orders(side)).otherwise(found))


# --- Q08, Q09, Q10: how the touch empties ---------------------------------------------------------

_LOST: Final = ("fill", "cancel", "modify_keep", "modify_lose")


def lost(side: str) -> pl.Expr:
    """Contracts that left the touch since the row before, by whatever cause."""
    return add(of(side, f"l1_{kind}_sz") for kind in _LOST)


@feature(
    "time_to_fill_{side}_{half_life}",
    catalogue="Q08",
    unit="s",
    source="catalogue",
    params={"side": SIDES, "half_life": HALF_LIVES},
    range=(0, HOUR),
    mirror="swap",
)
def time_to_fill(side: str, half_life: str) -> pl.Expr:
    """Touch size over the decayed rate at which the touch empties; an hour at most."""
    speed = rate(lost(side), half_life)
    waited = pl.when(speed * HOUR > size(side)).then(size(side) / speed).otherwise(HOUR)
    return if_ok(pl.when(speed.is_not_null()).then(waited))


@feature(
    "executed_share_{side}_{window}",
    catalogue="Q09",
    source="Cont and de Larrard 2013",
    params={"side": SIDES, "window": TIME_AND_DECAY},
    range=(0, 1),
    mirror="swap",
)
def executed_share(side: str, window: str) -> pl.Expr:
    """Executed share of the size the touch lost: v_exec / (v_exec + v_cancel).

    Cancels are C, size cuts and leaving modifies; null where nothing left.
    """
    everything = total(lost(side), window)
    return ratio(total(of(side, "l1_fill_sz"), window), everything)


THIRDS: Final = Choice(("front", "middle", "back"))


@feature(
    "cancel_share_{third}_{side}_{window}",
    catalogue="Q10",
    source="catalogue",
    params={"third": THIRDS, "side": SIDES, "window": OVER},
    range=(0, 1),
    mirror="swap",
)
def cancel_share(third: str, side: str, window: str) -> pl.Expr:
    """Share of the touch's cancels (C by their owners) that were in one third of its queue."""
    counts = [of(side, f"cancel_{name}_ct") for name in THIRDS.values]
    return ratio(total(of(side, f"cancel_{third}_ct"), window), total(add(counts), window))


@feature(
    "cancel_ahead_rate_{side}_{window}",
    catalogue="Q10",
    unit="contracts/s",
    source="catalogue",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def cancel_ahead_rate(side: str, window: str) -> pl.Expr:
    """Contracts a second cancelled at the touch, ahead of whoever was at its back."""
    return rate(add(of(side, f"cancel_{name}_sz") for name in THIRDS.values), window)
