"""Order-flow imbalance (catalogue group F).

The contribution of an event compares the touch after it with the touch after the last row that
was neither locked nor crossed.  An empty side counts as a price infinitely far away with size 0,
so that a depleted side is counted; rows that are locked or crossed contribute nothing.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from features.columns import OK_FLOW, add, depth, if_ok_flow, px, ratio, size
from features.grids import ALL_WINDOWS, SIDES, TIME_AND_DECAY, TIME_WINDOWS
from features.registry import Choice, Numbers, Windows, feature
from features.windows import mean, previous, shared, time_mean, total, window_sum

FAR = {"bid": -(2**62), "ask": 2**62}
"""Stands for the price of an empty side, in 1e-9: beyond any real one, and no sum overflows."""


@cache
def before(side: str, level: int = 0) -> tuple[pl.Expr, pl.Expr]:
    """Price (``FAR`` where there is none) and size of a level at the last row that was ok_flow."""
    price = px(side, level).fill_null(FAR[side])
    return previous(if_ok_flow(price)), previous(if_ok_flow(size(side, level)))


@cache
def side_flow(side: str, level: int = 0) -> pl.Expr:
    """What came to one side's level less what left it, against the last row that was ok_flow.

    Bid: 1{b >= b-} B - 1{b <= b-} B-; ask: 1{a <= a-} A - 1{a >= a-} A-.  Null on rows that are
    not ok_flow, and on the first of a segment.
    """
    price = px(side, level).fill_null(FAR[side])
    price0, size0 = before(side, level)
    as_good, as_bad = price >= price0, price <= price0
    if side == "ask":
        as_good, as_bad = as_bad, as_good
    came = pl.when(as_good).then(size(side, level)).otherwise(0)
    left = pl.when(as_bad).then(size0).otherwise(0)
    # A comparison with null falls to `otherwise`: rows without a past must be masked.
    return pl.when(OK_FLOW & price0.is_not_null()).then(came - left)


@cache
def contribution(level: int = 0) -> pl.Expr:
    """E = 1{b >= b-} B - 1{b <= b-} B- - 1{a <= a-} A + 1{a >= a-} A- at one level.

    Null on rows that are not ok_flow, and on the first of a segment.
    """
    return shared(side_flow("bid", level) - side_flow("ask", level))


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
    "ofi_left_out_{window}",
    catalogue="F02",
    unit="events",
    source="catalogue",
    tier=2,
    params={"window": TIME_WINDOWS},
    dtype=pl.Int64,
    range=(0, None),
)
def ofi_left_out(window: str) -> pl.Expr:
    """Events of a window that contribute nothing to OFI: the touch was locked or crossed."""
    return window_sum((~OK_FLOW).cast(pl.Int64), window)


@feature(
    "ofi_nopx_{window}",
    catalogue="F11",
    unit="contracts",
    source="Cont, Kukanov and Stoikov 2014, footnote 9",
    tier=2,
    params={"window": TIME_WINDOWS},
    dtype=pl.Float64,
    mirror="odd",
    size_power=1,
)
def ofi_nopx(window: str) -> pl.Expr:
    """OFI over a window without the events that moved the bid or the ask.

    What is left does not contain the price move it is to explain.
    """
    still = [px(side).fill_null(FAR[side]) == before(side)[0] for side in ("bid", "ask")]
    quiet = pl.when(still[0] & still[1]).then(contribution())
    return if_ok_flow(window_sum(quiet, window))


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


def _moved_depth(side: str) -> pl.Expr:
    """The queue after the side's price got worse, or before it got better; else null."""
    price = px(side).fill_null(FAR[side])
    price0, size0 = before(side)
    worse, better = price < price0, price > price0
    if side == "ask":
        worse, better = better, worse
    queue = pl.when(worse).then(size(side)).when(better).then(size0)
    # The queue of a side that is or was empty is none.
    return pl.when(OK_FLOW & (queue > 0)).then(queue)


@feature(
    "ofi_normalised_moves_{window}",
    catalogue="F03",
    source="Cont, Kukanov and Stoikov 2014, section 3.2",
    tier=2,
    params={"window": TIME_WINDOWS},
    mirror="odd",
)
def ofi_normalised_moves(window: str) -> pl.Expr:
    """OFI over a window divided by the queues at moves of the touch: the paper's depth.

    Each side's depth is the mean, over its price moves of the last 30 minutes, of the queue
    just after a move away or just before a move inwards; null unless both sides moved.
    """
    depths = [mean(_moved_depth(side), "30m") for side in ("bid", "ask")]
    return if_ok_flow(ratio(window_sum(contribution(), window), (depths[0] + depths[1]) / 2))


_CAUSES = {
    "add": ("add", "modify_join"),
    "cancel": ("cancel", "modify_keep", "modify_lose"),
    "trade": ("fill",),
}


def _at_touch(side: str, cause: str) -> pl.Expr:
    """Part of F07 by side and cause, with the sign it has there."""
    parts = [pl.col(f"{side}_l1_{kind}_sz") for kind in _CAUSES[cause]]
    sign = (1 if side == "bid" else -1) * (1 if cause == "add" else -1)
    return sign * add(parts)


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
    fills, each at or better than its side's touch before the event.  Messages at a locked or
    crossed touch count.
    """
    return total(add(_at_touch(side, cause) for side in SIDES.values for cause in _CAUSES), window)


@feature(
    "ofi_cause_{side}_{cause}_{window}",
    catalogue="F07",
    unit="contracts",
    source="Eisler, Bouchaud and Kockelkoren 2012",
    params={
        "side": SIDES,
        "cause": Choice(("add", "cancel", "trade")),
        "window": Windows(("1s", "10s", "60s"), half_life=("10s",)),
    },
    dtype=pl.Float64,
    mirror="swap_odd",
    size_power=1,
)
def ofi_cause_part(side: str, cause: str, window: str) -> pl.Expr:
    """One of the six parts of ``ofi_cause``, which they sum to: L_b - C_b - M_s - L_s + C_s + M_b.

    Positive where it pushes the price up; ``trade`` at the bid is what sellers took there.
    """
    return total(_at_touch(side, cause), window)


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
