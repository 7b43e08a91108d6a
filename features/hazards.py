"""What became of orders like these on past days: fills and cancels (catalogue Q06, Q07).

Both are fitted on the lives of orders (``mbo book --order-life``) by :mod:`features.survival`.
Sides are treated alike: what happened to orders at the ask says as much of the bid.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Final

import polars as pl

from features.columns import OK, TICK, add, if_ok, orders, px, size, ticks
from features.components import Component, Statistic, declare
from features.grids import SIDES
from features.queues import THIRDS, of
from features.registry import Choice, feature
from features.survival import (
    AGES,
    HORIZONS,
    PLACES,
    CancelsByAge,
    CancelsByThird,
    Waits,
    fill_probabilities,
    hazards_by_age,
    hazards_by_third,
)
from features.windows import previous

# --- Q07: would an order placed now be filled? --------------------------------------------------

IMBALANCES: Final = 5
SPREADS: Final = 3
QUEUES: Final = 16
CELLS: Final = IMBALANCES * SPREADS * QUEUES


def ahead_of(place: str, side: str) -> pl.Expr:
    """Contracts before an order that joined a side's touch, or the price one tick behind it."""
    if place == "touch":
        return size(side)
    gap = (px(side) - px(side, 1)) * (1 if side == "bid" else -1)
    return size(side) + pl.when(gap == TICK).then(size(side, 1)).otherwise(0)


def cell(place: str, side: str) -> pl.Expr:
    """(bin of imbalance x 3 + spread - 1, at most 2) x 16 + bin of the queue.

    Fifths of own / (own + other size of the touch); floor(log2) of the contracts ahead, at most
    15; null where the touch is not normal.
    """
    own, other = size(side), size("ask" if side == "bid" else "bid")
    fifth = (own * IMBALANCES // (own + other)).clip(0, IMBALANCES - 1)
    wide = (ticks("ask") - ticks("bid")).round().cast(pl.Int64).clip(1, SPREADS) - 1
    before = ahead_of(place, side)
    doubled = add((before >= 2**k).cast(pl.Int64) for k in range(1, QUEUES))
    return if_ok(pl.when(own + other > 0).then((fifth * SPREADS + wide) * QUEUES + doubled))


@cache
def _fills() -> Component:
    """Probability of a fill, by place, horizon and cell."""
    cells = [cell(place, side) for side in SIDES.values for place in PLACES]
    inputs = (pl.col("event"), *(previous(x.fill_null(-1)) for x in cells))
    statistic = Statistic("fills_by_cell", inputs, lambda: Waits(CELLS), lives=True)
    return declare(Component("fill_probability", statistic, fill_probabilities(CELLS)))


@feature(
    "fill_probability_{place}_{side}_{horizon}",
    catalogue="Q07",
    source="Lo, MacKinlay and Zhang 2002",
    params={"place": Choice(PLACES), "side": SIDES, "horizon": Choice(tuple(HORIZONS))},
    range=(0, 1),
    mirror="swap",
    size_power=None,
    tags=("fitted",),
)
def fill_probability(place: str, side: str, horizon: str) -> pl.Expr:
    """1 - S(horizon): fill of an order placed now at the back of the touch, or one tick behind.

    S is Kaplan and Meier's estimate over orders that joined such a cell (imbalance, spread, queue)
    on past days; orders that were cancelled or moved are censored.
    """
    group = PLACES.index(place) * len(HORIZONS) + list(HORIZONS).index(horizon)
    return _fills().at(group * CELLS + cell(place, side))


# --- Q06: how soon are orders cancelled? ---------------------------------------------------------


@cache
def _by_age() -> Component:
    statistic = Statistic("cancels_by_age", (), CancelsByAge, lives=True)
    return declare(
        Component("cancel_hazard_by_age", statistic, hazards_by_age, sessions=1, min_sessions=1)
    )


@feature(
    "cancel_hazard_{order}_{side}",
    catalogue="Q06",
    unit="1/s",
    source="Kaplan and Meier 1958",
    tier=2,
    params={"order": Choice(("front", "median")), "side": SIDES},
    range=(0, None),
    mirror="swap",
    tags=("fitted",),
)
def cancel_hazard(order: str, side: str) -> pl.Expr:
    """Cancels a second of order-time, on the past day, at the age of the touch's order.

    Of the order at the front, or in the middle; null where nobody saw it come.
    """
    age = of(side, f"{order}_age") + pl.col("t") - pl.col("ts")
    number = add((age >= int(edge)).cast(pl.Int64) for edge in AGES)
    return if_ok(_by_age().at(number))


def _in_thirds(side: str) -> list[pl.Expr]:
    """Orders in each third of a side's touch, front first; a third is 3 x ahead // orders."""
    count = pl.when(OK).then(orders(side)).otherwise(0)
    upto = [pl.lit(0), (count + 2) // 3, (2 * count + 2) // 3, count]
    return [after - before for before, after in pairwise(upto)]


@cache
def _by_third() -> Component:
    since = pl.col("ts") - previous(pl.col("ts"))
    # Where the touch was not normal nobody stood in it, so that cancels since do not count.
    there = [previous(x) for side in SIDES.values for x in _in_thirds(side)]
    normal = previous(OK.cast(pl.Int64)) == 1
    gone = [
        pl.when(normal).then(of(side, f"cancel_{third}_ct")).otherwise(0)
        for side in SIDES.values
        for third in THIRDS.values
    ]
    statistic = Statistic("cancels_by_third", (since, *there, *gone), CancelsByThird)
    return declare(
        Component("cancel_hazard_by_third", statistic, hazards_by_third, sessions=1, min_sessions=1)
    )


@feature(
    "cancel_hazard_third_{third}",
    catalogue="Q06",
    unit="1/s",
    source="catalogue",
    tier=2,
    params={"third": THIRDS},
    range=(0, None),
    tags=("fitted",),
)
def cancel_hazard_by_third(third: str) -> pl.Expr:
    """Cancels a second of order-time in one third of the touch's queues, on the past day."""
    return _by_third().at(pl.lit(THIRDS.values.index(third)))
