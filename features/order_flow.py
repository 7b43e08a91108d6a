"""Order-flow imbalance (catalogue group F).

The contribution of an event compares the touch after it with the touch after the last row that
was neither locked nor crossed.  An empty side counts as a price infinitely far away with size 0,
so that a depleted side is counted; rows that are locked or crossed contribute nothing.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from features.columns import OK_FLOW, depth, if_ok_flow, px, ratio, size
from features.grids import ALL_WINDOWS, TIME_AND_DECAY, TIME_WINDOWS
from features.registry import Numbers, feature
from features.windows import previous, time_mean, total, window_sum

_FAR = 2**62
"""Stands for the price of an empty side, in 1e-9: beyond any real one, and no sum overflows."""


@cache
def contribution(level: int = 0) -> pl.Expr:
    """E = 1{b >= b-} B - 1{b <= b-} B- - 1{a <= a-} A + 1{a >= a-} A- at one level.

    Null on rows that are not ok_flow, and on the first of a segment.
    """
    far = {"bid": -_FAR, "ask": _FAR}
    now, before = {}, {}
    for side, sentinel in far.items():
        now[side] = px(side, level).fill_null(sentinel), size(side, level)
        kept = (if_ok_flow(x) for x in now[side])
        before[side] = tuple(previous(x) for x in kept)
    (bid, bid_size), (ask, ask_size) = now["bid"], now["ask"]
    (bid0, bid_size0), (ask0, ask_size0) = before["bid"], before["ask"]
    value = (
        pl.when(bid >= bid0).then(bid_size).otherwise(0)
        - pl.when(bid <= bid0).then(bid_size0).otherwise(0)
        - pl.when(ask <= ask0).then(ask_size).otherwise(0)
        + pl.when(ask >= ask0).then(ask_size0).otherwise(0)
    )
    # A comparison with null falls to `otherwise`: rows without a past must be masked.
    return pl.when(OK_FLOW & bid0.is_not_null()).then(value)


@feature(
    "ofi_event",
    catalogue="F01",
    unit="contracts",
    source="Cont, Kukanov and Stoikov 2014, eq 10",
    dtype=pl.Int64,
    mirror="odd",
    size_power=1,
)
def ofi_event() -> pl.Expr:
    """Order-flow imbalance of the last event at the touch: e_n.

    e = 1{b >= b-} B - 1{b <= b-} B- - 1{a <= a-} A + 1{a >= a-} A-, against the row before.
    """
    return contribution()


@feature(
    "ofi_{window}",
    catalogue="F02",
    unit="contracts",
    source="Cont, Kukanov and Stoikov 2014, eq 12",
    params={"window": ALL_WINDOWS},
    dtype=pl.Float64,
    mirror="odd",
    size_power=1,
)
def ofi(window: str) -> pl.Expr:
    """Order-flow imbalance: sum of the events' contributions over a window."""
    return if_ok_flow(total(contribution(), window))


@feature(
    "ofi_level_{level}_{window}",
    catalogue="F04",
    unit="contracts",
    source="Xu, Gould and Howison 2019; Cont, Kukanov and Stoikov 2014, eq 26",
    params={"level": Numbers(tuple(range(10)), 0, 49), "window": ALL_WINDOWS},
    dtype=pl.Float64,
    mirror="odd",
    size_power=1,
)
def ofi_level(level: int, window: str) -> pl.Expr:
    """Order-flow imbalance of one level over a window: the components of multi-level OFI.

    Levels are relabelled when the touch moves, which gives large offsetting terms deep down.
    """
    return if_ok_flow(total(contribution(level), window))


@feature(
    "ofi_normalised_{window}",
    catalogue="F03",
    source="Cont, Kukanov and Stoikov 2014, section 3.2, with the simple depth",
    params={"window": TIME_WINDOWS},
    mirror="odd",
)
def ofi_normalised(window: str) -> pl.Expr:
    """OFI over a window divided by the touch's average size.

    The average is over the last 30 minutes, weighted by time, of (B_0 + A_0) / 2.
    """
    average = time_mean(if_ok_flow((depth("bid", 1) + depth("ask", 1)) / 2), "30m")
    return if_ok_flow(ratio(window_sum(contribution(), window), average))


_CAUSES = {
    "add": ("add", "modify_join"),
    "cancel": ("cancel", "modify_keep", "modify_lose"),
    "trade": ("fill",),
}


def _at_touch(side: str, cause: str) -> pl.Expr:
    parts = [pl.col(f"{side}_l1_{kind}_sz") for kind in _CAUSES[cause]]
    return sum(parts[1:], parts[0])


@feature(
    "ofi_cause_{window}",
    catalogue="F07",
    unit="contracts",
    source="Cont, Kukanov and Stoikov 2014, eq 4",
    params={"window": TIME_AND_DECAY},
    dtype=pl.Float64,
    mirror="odd",
    size_power=1,
)
def ofi_cause(window: str) -> pl.Expr:
    """OFI from messages: what joined the bid's touch less what left it, minus the ask's.

    Joins are adds and arriving modifies, leavings are cancels, size cuts, leaving modifies and
    fills, each at or better than its side's touch before the event.
    """
    sides = {
        side: _at_touch(side, "add") - _at_touch(side, "cancel") - _at_touch(side, "trade")
        for side in ("bid", "ask")
    }
    return total(sides["bid"] - sides["ask"], window)


@feature(
    "ofi_ratio_{window}",
    catalogue="F09",
    source="catalogue",
    params={"window": TIME_WINDOWS},
    range=(-1, 1),
    mirror="odd",
)
def ofi_ratio(window: str) -> pl.Expr:
    """Sum of contributions over sum of their absolute values; null where nothing contributed."""
    e = contribution()
    return if_ok_flow(ratio(window_sum(e, window), window_sum(e.abs(), window)))
