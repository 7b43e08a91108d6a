"""The time of the day: what is usual at this minute, and how far now is from it (S05, T18, X, V11).

One value a minute and session is kept, the mean of samples taken every second; past sessions give
a minute as many values as there are sessions.  Minutes are those of the exchange's clock.  Where
fewer than the minimum of sessions know a minute, those around it stand in.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from features.columns import depth, if_ok, ratio, ticks
from features.combine import mean_by_key
from features.components import Component, Statistic, declare
from features.gatherers import MINUTES, RunningTotal
from features.profiles import LOCAL, MINUTE, minutes, profile
from features.registry import Choice, feature
from features.volatility import ew_volatility
from features.windows import session_cum, window_sum
from pipeline.units import NS_PER_DAY, NS_PER_MINUTE


@cache
def measures() -> dict[str, pl.Expr]:
    """What has a profile: depth of five levels, spread, volume of a minute, volatility."""
    return {
        "depth": if_ok(depth("bid", 5) + depth("ask", 5)),
        "spread": if_ok(ticks("ask") - ticks("bid")),
        "volume": window_sum(pl.col("trade_sz"), "60s"),
        "volatility": ew_volatility("h60s"),
    }


MEASURES = Choice(("depth", "spread", "volume", "volatility"))


def usual(measure: str) -> pl.Expr:
    """The measure's usual value at this minute."""
    return profile(measure, measures()[measure]).at(MINUTE)


def percentile(measure: str) -> pl.Expr:
    """Where the measure stands among the past sessions' values at this minute, in [0, 1]."""
    x = measures()[measure]
    return minutes(measure, x).rank(MINUTE, x)


@feature(
    "diurnal_{measure}",
    catalogue="S05",
    unit="of the measure",
    source="Cont, Kukanov and Stoikov 2014, section 4.2",
    params={"measure": MEASURES},
    dtype=pl.Float64,
    range=(0, None),
    size_power=None,
    tags=("fitted",),
)
def diurnal(measure: str) -> pl.Expr:
    """What is usual at this minute of the day: median over past sessions of the minute's mean.

    Depth of five levels of both sides (contracts), spread (ticks), volume of the last minute
    (contracts), volatility (``vol_h60s``).
    """
    return usual(measure)


@feature(
    "{measure}_to_diurnal",
    catalogue="S05",
    unit="ratio",
    source="Cont, Kukanov and Stoikov 2014, section 4.2",
    params={"measure": MEASURES},
    range=(0, None),
    tags=("fitted",),
)
def to_diurnal(measure: str) -> pl.Expr:
    """The measure over what is usual at this minute of the day; null where that is 0."""
    return ratio(measures()[measure], usual(measure))


@cache
def running_volume() -> Component:
    """Volume from the open to the first instant of a minute: mean over the past sessions."""
    opened, closed = pl.col("session_open"), pl.col("session_close")
    first = (opened + pl.col("local_offset")) % NS_PER_DAY // NS_PER_MINUTE
    inputs = (MINUTE, pl.col("trade_sz"), first, (closed - opened) // NS_PER_MINUTE)
    statistic = Statistic("running_volume", inputs, RunningTotal, whole=True)
    return declare(Component("running_volume", statistic, mean_by_key))


@feature(
    "relative_volume",
    catalogue="T18",
    unit="ratio",
    source="catalogue",
    range=(0, None),
    tags=("fitted",),
)
def relative_volume() -> pl.Expr:
    """Volume since the open over the mean of past sessions up to the same time of the day.

    Within a minute the past is interpolated; sessions with a day missing do not count.
    """
    component = running_volume()
    begun = component.at(MINUTE)
    ended = component.at((MINUTE + 1) % MINUTES).fill_null(begun)
    share = (LOCAL % NS_PER_MINUTE) / NS_PER_MINUTE
    return ratio(session_cum(pl.col("trade_sz")), begun + share * (ended - begun))


@feature(
    "vol_ratio_{short}_{long}",
    catalogue="V11",
    unit="ratio",
    source="catalogue",
    params={"short": Choice(("h10s",)), "long": Choice(("h60s", "h300s"))},
    range=(0, None),
)
def vol_ratio(short: str, long: str) -> pl.Expr:
    """Exponentially weighted volatility at a short half-life over that at a long one."""
    return ratio(ew_volatility(short), ew_volatility(long))


@feature(
    "volatility_percentile",
    catalogue="V11",
    source="catalogue",
    range=(0, 1),
    tags=("fitted",),
)
def volatility_percentile() -> pl.Expr:
    """Share of the past sessions' volatilities at this minute that lie below the present one.

    Volatility is ``vol_h60s``; of equal values a half counts.
    """
    return percentile("volatility")


@feature(
    "{measure}_percentile",
    catalogue="X05",
    source="catalogue",
    params={"measure": Choice(("depth", "spread"))},
    range=(0, 1),
    tags=("fitted",),
)
def liquidity_percentile(measure: str) -> pl.Expr:
    """Share of the past sessions' depths (spreads) at this minute that lie below the present one.

    Depth is that of five levels of both sides; of equal values a half counts.
    """
    return percentile(measure)


@feature(
    "regime",
    catalogue="X06",
    unit="0 to 8",
    source="catalogue",
    tier=2,
    dtype=pl.Int8,
    range=(0, 8),
    tags=("fitted",),
)
def regime() -> pl.Expr:
    """3 v + l: thirds of the percentiles of volatility (v) and depth (l), 0 low to 2 high."""

    def third(share: pl.Expr) -> pl.Expr:
        return pl.when(share < 1 / 3).then(0).when(share < 2 / 3).then(1).otherwise(2)

    volatility, liquidity = percentile("volatility"), percentile("depth")
    return pl.when(volatility.is_not_null() & liquidity.is_not_null()).then(
        3 * third(volatility) + third(liquidity)
    )
