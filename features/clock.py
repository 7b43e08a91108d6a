"""Clock, session and durations (catalogue group S).

Sessions, regular hours and expiry come from the calendar and the instrument's definition, never
from the data's own times.
"""

from __future__ import annotations

import math

import polars as pl

from features.columns import TOUCH, mid_ticks, ratio, seconds
from features.registry import Choice, Windows, feature
from features.windows import ew_sum, previous, since
from pipeline.units import NS_PER_DAY, NS_PER_HOUR

T = pl.col("t")


@feature(
    "session_date",
    catalogue="S01",
    unit="YYYYMMDD",
    source="the exchange's calendar",
    dtype=pl.Int32,
)
def session_date() -> pl.Expr:
    """Date of the trading session: that of its close, pre-open and evening included."""
    return pl.col("session_date")


@feature(
    "seconds_since_open",
    catalogue="S02",
    unit="s",
    source="the exchange's calendar",
    range=(0, None),
    dtype=pl.Float64,
)
def seconds_since_open() -> pl.Expr:
    """Seconds since the session opened."""
    return seconds(T - pl.col("session_open"))


@feature(
    "seconds_to_close",
    catalogue="S02",
    unit="s",
    source="the exchange's calendar",
    range=(0, None),
    dtype=pl.Float64,
)
def seconds_to_close() -> pl.Expr:
    """Seconds until the session closes, early closes included."""
    return seconds(pl.col("session_close") - T)


@feature(
    "is_rth",
    catalogue="S03",
    unit="0 or 1",
    source="the exchange's calendar",
    range=(0, 1),
    dtype=pl.Int8,
)
def is_rth() -> pl.Expr:
    """1 in regular trading hours; null where the product has none (or not on that day)."""
    return (pl.col("rth_open") <= T) & (pl.col("rth_close") > T)


@feature(
    "session_part",
    catalogue="S03",
    unit="0 to 5",
    source="catalogue",
    range=(0, 5),
    dtype=pl.Int8,
)
def session_part() -> pl.Expr:
    """Part of the session: 0 Asia, 1 Europe, 2 first hour, 3 middle, 4 last hour, 5 after.

    Europe begins 6.5 hours before regular trading; null where there are no regular hours.
    """
    opened, closed = pl.col("rth_open"), pl.col("rth_close")
    return (
        pl.when(opened.is_null())
        .then(None)
        .when(opened - 13 * NS_PER_HOUR // 2 > T)
        .then(0)
        .when(opened > T)
        .then(1)
        .when(closed <= T)
        .then(5)
        .when(closed - NS_PER_HOUR <= T)
        .then(4)
        .when(opened + NS_PER_HOUR > T)
        .then(2)
        .otherwise(3)
    )


def _phase(cycle: str) -> pl.Expr:
    """Fraction of the 24 hours of local time, or of the session, that has passed, times 2 pi."""
    if cycle == "day":
        share = (T + pl.col("local_offset")) % NS_PER_DAY / NS_PER_DAY
    else:
        length = pl.col("session_close") - pl.col("session_open")
        share = (T - pl.col("session_open")) / length
    return share * (2 * math.pi)


@feature(
    "time_sin_{cycle}",
    catalogue="S04",
    source="convention",
    params={"cycle": Choice(("day", "session"))},
    range=(-1, 1),
)
def time_sin(cycle: str) -> pl.Expr:
    """Sine of the time of day: of the exchange's 24 hours, or of the session's length."""
    return _phase(cycle).sin()


@feature(
    "time_cos_{cycle}",
    catalogue="S04",
    source="convention",
    params={"cycle": Choice(("day", "session"))},
    range=(-1, 1),
)
def time_cos(cycle: str) -> pl.Expr:
    """Cosine of the time of day: of the exchange's 24 hours, or of the session's length."""
    return _phase(cycle).cos()


def changed(x: pl.Expr) -> pl.Expr:
    """True at rows whose value differs from the last row's that had one."""
    return x != previous(x)


@feature("since_trade", catalogue="S06", unit="s", source="Engle and Russell 1998", range=(0, None))
def since_trade() -> pl.Expr:
    """Seconds since the last trade; before the first, since the segment's start."""
    return since(pl.col("trade_ct") > 0)


@feature(
    "since_trade_{aggressor}",
    catalogue="S06",
    unit="s",
    source="Engle and Russell 1998",
    params={"aggressor": Choice(("buy", "sell"))},
    range=(0, None),
    mirror="swap",
)
def since_trade_side(aggressor: str) -> pl.Expr:
    """Seconds since the last trade of one aggressor; before the first, since the start."""
    return since(pl.col(f"{aggressor}_ct") > 0)


@feature(
    "since_mid_move", catalogue="S06", unit="s", source="Engle and Russell 1998", range=(0, None)
)
def since_mid_move() -> pl.Expr:
    """Seconds since the mid last changed; before the first change, since the start."""
    return since(changed(mid_ticks()))


@feature(
    "since_touch_update",
    catalogue="S06",
    unit="s",
    source="Engle and Russell 1998",
    range=(0, None),
)
def since_touch_update() -> pl.Expr:
    """Seconds since a best price or its size last changed; before that, since the start."""
    far = -(2**62)
    changes = [changed(pl.col(name).fill_null(far)) for name in TOUCH]
    return since(pl.any_horizontal(changes))


_DURATIONS = {"half_life": Windows(half_life=("10s", "60s", "300s"))}


def _mean_gap(condition: pl.Expr, half_life: str) -> pl.Expr:
    """Decayed mean of the seconds between events at which the condition holds."""
    when = pl.when(condition).then(pl.col("ts"))
    gap = seconds(when - previous(when))
    ones = pl.when(gap.is_not_null()).then(1.0)
    return ratio(ew_sum(gap, half_life), ew_sum(ones, half_life))


@feature(
    "trade_duration_{half_life}",
    catalogue="S07",
    unit="s",
    source="Engle and Russell 1998",
    tier=2,
    params=_DURATIONS,
    range=(0, None),
)
def trade_duration(half_life: str) -> pl.Expr:
    """Exponentially weighted mean time between events with trades; null without two."""
    return _mean_gap(pl.col("trade_ct") > 0, half_life)


@feature(
    "mid_duration_{half_life}",
    catalogue="S07",
    unit="s",
    source="Engle and Russell 1998",
    tier=2,
    params=_DURATIONS,
    range=(0, None),
)
def mid_duration(half_life: str) -> pl.Expr:
    """Exponentially weighted mean time between moves of the mid; null without two."""
    return _mean_gap(changed(mid_ticks()), half_life)


@feature(
    "trade_duration_ratio_{half_life}",
    catalogue="S07",
    source="Engle and Russell 1998",
    tier=2,
    params=_DURATIONS,
    range=(0, None),
)
def trade_duration_ratio(half_life: str) -> pl.Expr:
    """Time since the last trade over the mean time between trades."""
    current = since(pl.col("trade_ct") > 0)
    return ratio(current, _mean_gap(pl.col("trade_ct") > 0, half_life))


@feature(
    "days_to_expiry",
    catalogue="S08",
    unit="d",
    source="the instrument's definition",
)
def days_to_expiry() -> pl.Expr:
    """Days until the last trading moment; null where the expiry is unknown."""
    return (pl.col("expiration") - T) / NS_PER_DAY


@feature(
    "business_days_to_expiry",
    catalogue="S08",
    unit="d",
    source="the exchange's calendar",
    dtype=pl.Int32,
)
def business_days_to_expiry() -> pl.Expr:
    """Trading sessions left after this one until the one in which the instrument expires."""
    return pl.col("business_days_left")


@feature(
    "is_expiry_week",
    catalogue="S08",
    unit="0 or 1",
    source="the exchange's calendar",
    range=(0, 1),
    dtype=pl.Int8,
)
def is_expiry_week() -> pl.Expr:
    """1 in the calendar week of the instrument's last session; null where that is unknown."""
    return pl.col("expiry_week")


@feature("roll_activity", catalogue="S08", source="catalogue", range=(0, 1))
def roll_activity() -> pl.Expr:
    """Next delivery's share of the volume of both: v_next / (v_own + v_next), previous session.

    Null without a next delivery in the lake, or where the previous session is not in it.
    """
    own, later = pl.col("volume_before"), pl.col("next_volume_before")
    return ratio(later, own + later)


@feature(
    "roll_flag",
    catalogue="S08",
    unit="0 or 1",
    source="catalogue",
    range=(0, 1),
    dtype=pl.Int8,
)
def roll_flag() -> pl.Expr:
    """1 once the next delivery traded more than this one in the previous session."""
    return pl.col("next_volume_before") > pl.col("volume_before")
