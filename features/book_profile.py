"""How depth spreads over prices: slopes, centres, walls (catalogue group B, from B08 on).

Distances are in ticks from the side's own touch unless it says otherwise, so that nothing jumps
when levels are relabelled.  What compares both sides is null unless the touch is two-sided and
normal; what concerns one side is null where the touch is locked or crossed, or the side empty.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from features.book_shape import depth_upto
from features.columns import (
    TICK,
    add,
    if_ok,
    if_ok_flow,
    imbalance,
    mid_ticks,
    px,
    ratio,
    size,
    ticks,
)
from features.grids import SIDES
from features.registry import Numbers, feature
from features.windows import level_median, shared

DISTANCES = Numbers((1, 2, 5, 10), 1, 100_000)
TEN = Numbers((10,), 2, 50)
WALL = 3
"""A wall is a level of more than so many times the side's median size."""


def _away(side: str, level: int) -> pl.Expr:
    """Ticks between a level and its side's touch; null where the level is missing."""
    return shared((px(side, level) - px(side)).abs() / TICK)


def _over(levels: int, term: Callable[[int], pl.Expr]) -> pl.Expr:
    """Sum of a term over levels; those that are missing add nothing."""
    return add(term(i).fill_null(0.0) for i in range(levels))


def _there(side: str, level: int) -> pl.Expr:
    return px(side, level).is_not_null()


def _count(side: str, levels: int) -> pl.Expr:
    """How many of the levels there are."""
    return add(_there(side, i).cast(pl.Int64) for i in range(levels))


@feature(
    "depth_within_{side}_{distance}",
    catalogue="B08",
    unit="contracts",
    source="catalogue",
    params={"side": SIDES, "distance": DISTANCES},
    dtype=pl.Int64,
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def depth_within(side: str, distance: int) -> pl.Expr:
    """Displayed size less than d ticks from the side's touch: sum B_i 1{b_0 - b_i < d}.

    Of ten levels; where these do not reach so far, ``depth_within_cut`` says so.
    """
    near = (
        pl.when((px(side, i) - px(side)).abs() < distance * TICK).then(size(side, i)).otherwise(0)
        for i in range(10)
    )
    return if_ok_flow(add(near))


@feature(
    "depth_within_cut_{side}_{distance}",
    catalogue="B08",
    unit="0 or 1",
    source="catalogue",
    params={"side": SIDES, "distance": DISTANCES},
    dtype=pl.Int8,
    range=(0, 1),
    mirror="swap",
)
def depth_within_cut(side: str, distance: int) -> pl.Expr:
    """1 while ten levels reach less than d ticks: there may be more that is not seen.

    0 where the side has fewer than ten levels, all of which are seen.
    """
    reach = (px(side, 9) - px(side)).abs()
    return if_ok_flow((reach < (distance - 1) * TICK).fill_null(value=False))


def _elasticity(side: str, levels: int) -> pl.Expr:
    logs = [shared((1 + depth_upto(side, i + 1)).log()) for i in range(levels)]
    mid = mid_ticks()
    first = pl.when(mid != 0).then(logs[0] / ((ticks(side) - mid) / mid).abs())
    terms: list[pl.Expr] = [first]
    for i in range(1, levels):
        step = ((ticks(side, i) - ticks(side, i - 1)) / ticks(side, i - 1)).abs()
        term = pl.when(ticks(side, i - 1) != 0).then((logs[i] / logs[i - 1] - 1) / step)
        terms.append(pl.when(_there(side, i)).then(term).otherwise(0.0))
    return add(terms) / _count(side, levels)


@feature(
    "elasticity_{levels}",
    catalogue="B09",
    unit="elasticity",
    source="Naes and Skjeltorp 2006",
    tier=2,
    params={"levels": Numbers((5, 10), 1, 50)},
    range=(0, None),
    size_power=None,
    shift="other",
)
def elasticity(levels: int) -> pl.Expr:
    """Slope of the book as an elasticity of depth to price, the mean of both sides.

    Side: (1/K) {v_1 / |p_1/m - 1| + sum_i (v_(i+1)/v_i - 1) / |p_(i+1)/p_i - 1|}, where
    v_i = ln(1 + size up to level i) and K counts the levels there are.  Null where a price is 0.
    """
    return if_ok((_elasticity("bid", levels) + _elasticity("ask", levels)) / 2)


def _slope(side: str, levels: int) -> pl.Expr:
    """Least-squares slope of the size up to a level on the level's distance."""
    n = shared(_count(side, levels))

    def upto(i: int) -> pl.Expr:
        return pl.when(_there(side, i)).then(depth_upto(side, i + 1))

    x = shared(_over(levels, lambda i: _away(side, i)))
    xx = _over(levels, lambda i: _away(side, i) * _away(side, i))
    y = _over(levels, upto)
    xy = _over(levels, lambda i: _away(side, i) * upto(i))
    return shared(pl.when(n >= 3).then((n * xy - x * y) / (n * xx - x * x)))


@feature(
    "depth_slope_{side}_{levels}",
    catalogue="B10",
    unit="contracts/tick",
    source="catalogue",
    params={"side": SIDES, "levels": TEN},
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def depth_slope(side: str, levels: int) -> pl.Expr:
    """Slope of cumulative size on distance by least squares; null with fewer than 3 levels."""
    return if_ok_flow(_slope(side, levels))


@feature(
    "depth_slope_asymmetry_{levels}",
    catalogue="B10",
    source="catalogue",
    params={"levels": TEN},
    range=(-1, 1),
    mirror="odd",
)
def depth_slope_asymmetry(levels: int) -> pl.Expr:
    """(slope_b - slope_a) / (slope_b + slope_a); null where either side's is."""
    return if_ok(imbalance(_slope("bid", levels), _slope("ask", levels)))


@feature(
    "depth_convexity_{side}_{levels}",
    catalogue="B11",
    source="catalogue",
    tier=2,
    params={"side": SIDES, "levels": TEN},
    range=(-1, 1),
    mirror="swap",
)
def depth_convexity(side: str, levels: int) -> pl.Expr:
    """Curvature of cumulative size over levels: (D_K - 2 D_(K/2)) / D_K; null on an empty side.

    1 with nothing in the nearer half, -1 with all of it there.  Half of an odd K is rounded down.
    """
    whole = depth_upto(side, levels)
    return if_ok_flow(ratio(whole - 2 * depth_upto(side, levels // 2), whole))


@feature(
    "book_pressure_{levels}",
    catalogue="B12",
    unit="log",
    source="practitioners",
    tier=2,
    params={"levels": Numbers((5, 10), 1, 50)},
    mirror="odd",
)
def book_pressure(levels: int) -> pl.Expr:
    """Ln of the bid's pressure over the ask's: sum B_i / (m - b_i) against sum A_i / (a_i - m)."""
    mid = mid_ticks()
    bid = _over(levels, lambda i: size("bid", i) / (mid - ticks("bid", i)))
    ask = _over(levels, lambda i: size("ask", i) / (ticks("ask", i) - mid))
    return if_ok((bid / ask).log())


def _centre(side: str, levels: int) -> pl.Expr:
    moment = _over(levels, lambda i: _away(side, i) * size(side, i))
    return shared(ratio(moment, depth_upto(side, levels)))


@feature(
    "depth_centre_{side}_{levels}",
    catalogue="B13",
    unit="ticks",
    source="catalogue",
    tier=2,
    params={"side": SIDES, "levels": TEN},
    range=(0, None),
    mirror="swap",
)
def depth_centre(side: str, levels: int) -> pl.Expr:
    """Centre of mass of one side's size: sum dist_i sz_i / sum sz_i; null on an empty side."""
    return if_ok_flow(_centre(side, levels))


@feature(
    "depth_centre_diff_{levels}",
    catalogue="B13",
    unit="ticks",
    source="catalogue",
    tier=2,
    params={"levels": TEN},
    mirror="odd",
)
def depth_centre_diff(levels: int) -> pl.Expr:
    """Centre of mass of the bid less the ask's, each from its own touch."""
    return if_ok(_centre("bid", levels) - _centre("ask", levels))


@feature(
    "depth_herfindahl_{side}_{levels}",
    catalogue="B14",
    source="catalogue",
    tier=2,
    params={"side": SIDES, "levels": TEN},
    range=(0, 1),
    mirror="swap",
)
def depth_herfindahl(side: str, levels: int) -> pl.Expr:
    """Concentration of one side's size: sum (sz_i / sum sz)^2; null on an empty side."""
    whole = depth_upto(side, levels)
    squares = add(size(side, i) * size(side, i) for i in range(levels))
    return if_ok_flow(ratio(squares, whole * whole))


@feature(
    "wall_distance_{side}_{levels}",
    catalogue="B14",
    unit="ticks",
    source="catalogue",
    tier=2,
    params={"side": SIDES, "levels": TEN},
    range=(0, None),
    mirror="swap",
)
def wall_distance(side: str, levels: int) -> pl.Expr:
    """Ticks from the touch to the nearest level of more than 3 times the side's median size.

    Without one: ticks to the last level plus 1.  Null on an empty side.
    """
    median = level_median([size(side, i) for i in range(levels)])
    walls = (pl.when(size(side, i) > WALL * median).then(_away(side, i)) for i in range(levels))
    furthest = pl.max_horizontal(_away(side, i) for i in range(levels))
    return if_ok_flow(pl.min_horizontal(walls).fill_null(furthest + 1))
