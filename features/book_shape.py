"""The shape of the displayed book (catalogue group B).

Imbalances are null unless the touch is two-sided and normal; depths are null only where it is
locked or crossed, and count 0 for missing levels.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from features.columns import (
    add,
    depth,
    if_ok,
    if_ok_flow,
    imbalance,
    px,
    ratio,
    resting,
    size,
    ticks,
)
from features.grids import SIDES
from features.registry import Numbers, feature
from features.windows import shared


def _weighted(side: str, weight: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """Size of ten levels, each weighted by its distance in ticks from the own touch."""
    distances = ((ticks(side, i) - ticks(side)).abs() for i in range(10))
    parts = (weight(d) * size(side, i) for i, d in enumerate(distances))
    return shared(add(part.fill_null(0.0) for part in parts))


def depth_upto(side: str, levels: int) -> pl.Expr:
    """``depth``, each number of levels from the one before: for features that need them all."""
    if levels == 1:
        return size(side)
    return shared(depth_upto(side, levels - 1) + size(side, levels - 1))


@feature(
    "queue_imbalance",
    catalogue="B01",
    source="Gould and Bonart 2016",
    range=(-1, 1),
    mirror="odd",
)
def queue_imbalance() -> pl.Expr:
    """Queue imbalance: (B_0 - A_0) / (B_0 + A_0)."""
    return if_ok(imbalance(size("bid"), size("ask")))


@feature(
    "queue_imbalance_level_{level}",
    catalogue="B02",
    source="catalogue",
    tier=2,
    params={"level": Numbers(tuple(range(1, 10)), 0, 49)},
    range=(-1, 1),
    mirror="odd",
)
def queue_imbalance_level(level: int) -> pl.Expr:
    """(B_i - A_i) / (B_i + A_i) at one level; null where either side lacks it.

    Levels are relabelled when the touch moves.
    """
    both = px("bid", level).is_not_null() & px("ask", level).is_not_null()
    return if_ok(pl.when(both).then(imbalance(size("bid", level), size("ask", level))))


@feature(
    "depth_imbalance_{levels}",
    catalogue="B03",
    source="Cao, Hansch and Wang 2009",
    params={"levels": Numbers((3, 5, 10), 1, 50)},
    range=(-1, 1),
    mirror="odd",
)
def depth_imbalance(levels: int) -> pl.Expr:
    """Depth imbalance: (sum B - sum A) / (sum B + sum A) over the best levels."""
    return if_ok(imbalance(depth("bid", levels), depth("ask", levels)))


@feature(
    "decayed_imbalance_{percent}",
    catalogue="B04",
    source="Lehalle and Mounjid 2017",
    params={"percent": Numbers((30, 50, 100), 1, 10_000)},
    range=(-1, 1),
    mirror="odd",
)
def decayed_imbalance(percent: int) -> pl.Expr:
    """Imbalance of ten levels weighted by exp(-lambda x ticks from the own touch).

    ``percent`` is 100 lambda.  Keyed by price, it does not jump when levels are relabelled.
    """
    rate = percent / 100
    return if_ok(
        imbalance(*(_weighted(side, lambda d: (-rate * d).exp()) for side in SIDES.values))
    )


@feature(
    "inverse_imbalance",
    catalogue="B04",
    source="practitioners",
    range=(-1, 1),
    mirror="odd",
)
def inverse_imbalance() -> pl.Expr:
    """Imbalance of ten levels weighted by 1 / (1 + ticks from the own touch)."""
    return if_ok(imbalance(*(_weighted(side, lambda d: 1.0 / (1.0 + d)) for side in SIDES.values)))


@feature(
    "count_imbalance_{levels}",
    catalogue="B05",
    source="catalogue",
    params={"levels": Numbers((1, 5), 1, 50)},
    range=(-1, 1),
    mirror="odd",
)
def count_imbalance(levels: int) -> pl.Expr:
    """Imbalance of order counts: (nb - na) / (nb + na) over the best levels."""
    return if_ok(imbalance(resting("bid", levels), resting("ask", levels)))


@feature(
    "order_size_{side}_{levels}",
    catalogue="B06",
    unit="contracts",
    source="catalogue",
    params={"side": SIDES, "levels": Numbers((1, 5), 1, 50)},
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def order_size(side: str, levels: int) -> pl.Expr:
    """Average displayed order size of one side's best levels; null without orders."""
    return if_ok_flow(ratio(depth(side, levels), resting(side, levels)))


@feature(
    "order_size_ratio_{levels}",
    catalogue="B06",
    unit="log",
    source="catalogue",
    params={"levels": Numbers((1, 5), 1, 50)},
    mirror="odd",
)
def order_size_ratio(levels: int) -> pl.Expr:
    """Ln of the bid's average order size over the ask's."""
    bid = ratio(depth("bid", levels), resting("bid", levels))
    ask = ratio(depth("ask", levels), resting("ask", levels))
    return if_ok((bid / ask).log())


@feature(
    "depth_{side}_{levels}",
    catalogue="B07",
    unit="contracts",
    source="catalogue",
    params={"side": SIDES, "levels": Numbers((1, 5, 10), 1, 50)},
    dtype=pl.Int64,
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def side_depth(side: str, levels: int) -> pl.Expr:
    """Displayed size of one side's best levels; missing levels count 0."""
    return if_ok_flow(depth(side, levels))


@feature(
    "log_depth_{levels}",
    catalogue="B07",
    unit="log contracts",
    source="catalogue",
    params={"levels": Numbers((1, 5, 10), 1, 50)},
    range=(0, None),
    size_power=None,
)
def log_depth(levels: int) -> pl.Expr:
    """Ln of both sides' displayed size over the best levels; null where it is 0."""
    total = depth("bid", levels) + depth("ask", levels)
    return if_ok_flow(pl.when(total > 0).then(total.log()))
