"""Order flow of more levels than the touch: scaled, one-sided, keyed by price (group F)."""

from __future__ import annotations

from functools import cache

import polars as pl

from features.columns import OK_FLOW, depth, if_ok_flow, px, size
from features.grids import SIDES
from features.order_flow import FAR, contribution, side_flow
from features.registry import Numbers, Windows, feature
from features.windows import keyed_change, mean, total

WINDOWS = Windows(("1s", "10s", "60s"), (50,), ("10s",))
FEW = Windows(("10s",), (50,), ("10s",))
LEVELS = 10
"""Levels whose common depth the flow of each is divided by."""


@cache
def common_depth(window: str) -> pl.Expr:
    """Mean over ten levels and the window's events of (B_m + A_m) / 2; missing levels count 0.

    At least 1, so that division by it is harmless; null without an event.
    """
    sizes = if_ok_flow(depth("bid", LEVELS) + depth("ask", LEVELS))
    average = mean(sizes, window) / (2 * LEVELS)
    return pl.when(average < 1).then(1.0).otherwise(average)


@feature(
    "ofi_scaled_{level}_{window}",
    catalogue="F05",
    source="Cont, Cucuringu and Zhang 2023, eq 2-3",
    params={"level": Numbers(tuple(range(LEVELS)), 0, LEVELS - 1), "window": WINDOWS},
    mirror="odd",
)
def ofi_scaled(level: int, window: str) -> pl.Expr:
    """OFI of one level over a window divided by the window's average size of ten levels.

    Q = mean over levels and events of (B_m + A_m) / 2 is common to all levels, so that their
    profile stays as it is; it is at least 1.  Null where the window has no event.
    """
    return if_ok_flow(total(contribution(level), window) / common_depth(window))


@feature(
    "order_flow_{side}_{level}_{window}",
    catalogue="F08",
    unit="contracts",
    source="Kolm, Turiel and Westray 2023",
    tier=2,
    params={"side": SIDES, "level": Numbers(tuple(range(LEVELS)), 0, 49), "window": FEW},
    dtype=pl.Float64,
    mirror="swap",
    size_power=1,
)
def order_flow(side: str, level: int, window: str) -> pl.Expr:
    """Flow of one side's level over a window, not netted: sum of what came less what left.

    Bid: 1{b >= b-} B - 1{b <= b-} B-; ask: 1{a <= a-} A - 1{a >= a-} A-.  The bid's less the
    ask's is the level's OFI.
    """
    return if_ok_flow(total(side_flow(side, level), window))


@cache
def keyed_flow(side: str, distance: int) -> pl.Expr:
    """Change of one side's size within a distance of the touch, on one grid of prices.

    So many levels suffice: on the tick no more fit into the distance.
    """
    sign = 1 if side == "bid" else -1
    prices = [sign * px(side, i).fill_null(FAR[side]) for i in range(distance)]
    sizes = [size(side, i) for i in range(distance)]
    usable = pl.when(OK_FLOW).then(1)
    return keyed_change(usable, prices, sizes, distance)


@feature(
    "ofi_within_{distance}_{window}",
    catalogue="F10",
    unit="contracts",
    source="catalogue",
    tier=2,
    params={"distance": Numbers((2, 5, 10), 1, 50), "window": WINDOWS},
    dtype=pl.Float64,
    mirror="odd",
    size_power=1,
)
def ofi_within(distance: int, window: str) -> pl.Expr:
    """OFI by price: change of the bid's size less than d ticks from its touch, minus the ask's.

    Both books of an event are compared on the same prices, those within d ticks of the better of
    the two touches, so that nothing is relabelled; with d = 1 it is the OFI of the touch.
    """
    return if_ok_flow(total(keyed_flow("bid", distance) - keyed_flow("ask", distance), window))
