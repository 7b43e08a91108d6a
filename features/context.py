"""Where the price stands in its session (catalogue group X).

Highs and lows are of prints; auctions and what else came before a segment's first row apart.

Of the session before (X03) the prices are those of its trades, and its settlement as the vendor's
`statistics` published it: after the close, perhaps hours into the session, and revised. A lake need
not have them.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from features.bars import session_highest, session_lowest
from features.columns import TICK, if_ok, mid_ticks, px
from features.components import Component, Statistic, declare
from features.gatherers import LastValues
from features.registry import Choice, Numbers, feature
from features.trades import vwap_session
from features.windows import last, session_first
from pipeline.units import NS_PER_MINUTE, PRICE_SCALE


def _print() -> pl.Expr:
    """Price of an event's last print in ticks."""
    return pl.col("trade_px") / TICK


def _highest() -> pl.Expr:
    return pl.col("print_px").list.max() / TICK


def _lowest() -> pl.Expr:
    return pl.col("print_px").list.min() / TICK


@feature(
    "session_high_dist",
    catalogue="X01",
    unit="ticks",
    source="catalogue",
    mirror="swap_odd",
)
def session_high_dist() -> pl.Expr:
    """Mid less the session's highest trade so far; null before the first trade."""
    return mid_ticks() - session_highest(_highest())


@feature(
    "session_low_dist",
    catalogue="X01",
    unit="ticks",
    source="catalogue",
    mirror="swap_odd",
)
def session_low_dist() -> pl.Expr:
    """Mid less the session's lowest trade so far; null before the first trade."""
    return mid_ticks() - session_lowest(_lowest())


@feature(
    "session_range_position",
    catalogue="X01",
    unit="0 to 1",
    source="catalogue",
    range=(0, 1),
    mirror="complement",
)
def session_range_position() -> pl.Expr:
    """Where the segment's last trade stands in the session's range; 0.5 in a range of 0."""
    high, low, now = session_highest(_highest()), session_lowest(_lowest()), last(_print())
    inside = (now - low) / (high - low)
    return pl.when(high > low).then(inside).when((high == low) & now.is_not_null()).then(0.5)


MINUTES = {"minutes": Numbers((5, 15, 30), 1, 600)}


def _opening_range(minutes: int) -> tuple[pl.Expr, pl.Expr]:
    """High and low of the first minutes of regular trading, once they are over.

    Null where the session's data begin after regular trading did.
    """
    opened, ts = pl.col("rth_open"), pl.col("ts")
    until = opened + minutes * NS_PER_MINUTE
    inside = (ts >= opened) & (ts < until)
    over = (pl.col("t") >= until) & (session_first(ts) <= opened)
    high = pl.when(over).then(session_highest(pl.when(inside).then(_highest())))
    return high, pl.when(over).then(session_lowest(pl.when(inside).then(_lowest())))


@feature(
    "opening_high_dist_{minutes}",
    catalogue="X02",
    unit="ticks",
    source="Crabel 1990",
    tier=2,
    params=MINUTES,
    mirror="swap_odd",
)
def opening_high_dist(minutes: int) -> pl.Expr:
    """Mid less the highest trade of the first minutes of regular hours; null until they end."""
    return mid_ticks() - _opening_range(minutes)[0]


@feature(
    "opening_low_dist_{minutes}",
    catalogue="X02",
    unit="ticks",
    source="Crabel 1990",
    tier=2,
    params=MINUTES,
    mirror="swap_odd",
)
def opening_low_dist(minutes: int) -> pl.Expr:
    """Mid less the lowest trade of the first minutes of regular hours; null until they end."""
    return mid_ticks() - _opening_range(minutes)[1]


@feature(
    "opening_breakout_{minutes}",
    catalogue="X02",
    unit="-1, 0 or 1",
    source="Crabel 1990",
    tier=2,
    params=MINUTES,
    range=(-1, 1),
    dtype=pl.Int8,
    mirror="odd",
)
def opening_breakout(minutes: int) -> pl.Expr:
    """1 while the mid is above the opening range, -1 below, 0 inside; null until it ends."""
    (high, low), mid = _opening_range(minutes), mid_ticks()
    known = mid.is_not_null() & high.is_not_null()
    side = pl.when(mid > high).then(1).when(mid < low).then(-1).otherwise(0)
    return pl.when(known).then(side)


# --- the session before (X03) ------------------------------------------------------------------

PRIOR = ("high", "low", "close", "vwap")
SETTLED = "settle_px"
"""The settlement price of the session before, as it had been published."""


@cache
def _prior_session() -> Component:
    """Highest, lowest, last and average price (1e-9) of the trades of the session before."""
    prices = (session_highest(_highest()), session_lowest(_lowest()), _print(), vwap_session())
    inputs = tuple(price * TICK for price in prices)
    statistic = Statistic("session_prices", inputs, LastValues, whole=True)
    return declare(
        Component(
            "prior_session",
            statistic,
            lambda past, _: past[-1],
            sessions=1,
            min_sessions=1,
            alone=True,
        )
    )


def _prior(part: str) -> pl.Expr:
    """A price of the session before in ticks."""
    return _prior_session().at(pl.lit(PRIOR.index(part))) / TICK


@feature(
    "prior_{part}_dist",
    catalogue="X03",
    unit="ticks",
    source="catalogue",
    tier=2,
    params={"part": Choice(PRIOR)},
    mirror="swap_odd",
    tags=("fitted",),
)
def prior_dist(part: str) -> pl.Expr:
    """Mid less the highest, lowest, last or average price of the session before.

    Of trades; null where that session's data are not complete.
    """
    return mid_ticks() - _prior(part)


@feature(
    "prior_settle_dist",
    catalogue="X03",
    unit="ticks",
    source="catalogue",
    mirror="odd",
)
def prior_settle_dist() -> pl.Expr:
    """Mid less the settlement price of the session before.

    Of the vendor's `statistics`: null until it is published, which may be hours into the session,
    then the latest revision an event could know; null without such records.
    """
    return mid_ticks() - pl.col(SETTLED) / TICK


@feature(
    "overnight_gap",
    catalogue="X03",
    unit="ticks",
    source="catalogue",
    tier=2,
    mirror="odd",
    tags=("fitted",),
)
def overnight_gap() -> pl.Expr:
    """The session's first mid less the last trade of the session before."""
    return session_first(mid_ticks()) - _prior("close")


# --- round numbers (X04) -----------------------------------------------------------------------


@feature(
    "round_dist_{points}",
    catalogue="X04",
    unit="ticks",
    source="Osler 2003",
    tier=3,
    params={"points": Numbers((10, 25, 100), 1, 1_000_000)},
    mirror="odd",
    shift="other",
)
def round_dist(points: int) -> pl.Expr:
    """Mid less the nearest multiple of some points: within half of them on either side."""
    # Twice the mid in 1e-9, so that all is whole.  A whole column of steps: polars divides by a
    # literal through its reciprocal.
    twice = px("bid") + px("ask")
    step = TICK * 0 + 2 * points * PRICE_SCALE
    nearest = (twice / step).round(mode="half_away_from_zero").cast(pl.Int64)
    return if_ok((twice - nearest * step) / (2 * TICK))
