"""Returns, mean reversion and trend (catalogue group R).  In ticks, or in standard deviations."""

from __future__ import annotations

from functools import cache

import polars as pl

from features.columns import if_ok, mid_ticks, ratio
from features.grids import DECAY, TIME_AND_ROWS
from features.nodes import window as parse_window
from features.registry import Windows, feature
from features.volatility import ew_volatility
from features.windows import ago, deviation, ew_sum, mean, session_first, value_at

FLOOR = 0.5
"""Smallest volatility that a distance is divided by: half a tick, the mid's own step."""


def at_least_half_a_tick(volatility: pl.Expr) -> pl.Expr:
    """The volatility, or the floor where it is smaller; null stays null (a maximum skips it)."""
    return pl.when(volatility < FLOOR).then(FLOOR).otherwise(volatility)


def expected_size(window: str) -> pl.Expr:
    """Expected size of a move over a time window: V10(60 s) sqrt(w), at least half a tick."""
    return at_least_half_a_tick(ew_volatility("h60s") * parse_window(window).seconds ** 0.5)


@feature(
    "return_{window}",
    catalogue="R01",
    unit="ticks",
    source="convention",
    params={"window": TIME_AND_ROWS},
    mirror="odd",
)
def past_return(window: str) -> pl.Expr:
    """Past return: m - m(t - w), or m_i - m_(i-N) over rows with a mid."""
    return mid_ticks() - ago(mid_ticks(), window)


@feature(
    "momentum_{window}",
    catalogue="R02",
    unit="sigma",
    source="catalogue",
    params={"window": Windows(("1s", "5s", "10s", "60s", "300s"))},
    mirror="odd",
)
def momentum(window: str) -> pl.Expr:
    """Past return over its expected size: R01 / (V10 sqrt(w)), V10 at a half-life of 60 s.

    The expected size is at least half a tick.
    """
    return (mid_ticks() - value_at(mid_ticks(), window)) / expected_size(window)


@feature(
    "zscore_{window}",
    catalogue="R04",
    unit="sigma",
    source="convention",
    params={"window": TIME_AND_ROWS},
    mirror="odd",
)
def zscore(window: str) -> pl.Expr:
    """(m - mean) / std of the mids of a window's rows (std with n - 1).

    Null with fewer than two rows or where all mids are equal (the catalogue says 0; here
    undefined is null, never 0).
    """
    mid = mid_ticks()
    centred = mid - session_first(mid)
    return (centred - mean(centred, window)) / deviation(mid, window)


@cache
def _ema(half_life: str) -> pl.Expr:
    """Exponential mean of the mid, relative to the session's first mid."""
    mid = mid_ticks()
    centred = mid - session_first(mid)
    ones = pl.when(mid.is_not_null()).then(1.0)
    return ratio(ew_sum(centred, half_life), ew_sum(ones, half_life))


@feature(
    "ema_{half_life}",
    catalogue="R06",
    unit="ticks",
    source="convention",
    params={"half_life": DECAY},
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def ema(half_life: str) -> pl.Expr:
    """Exponential moving average of the mid: decayed sum over decayed count of rows."""
    return _ema(half_life) + session_first(mid_ticks())


@feature(
    "ema_gap_{half_life}",
    catalogue="R06",
    unit="ticks",
    source="convention",
    params={"half_life": DECAY},
    mirror="odd",
)
def ema_gap(half_life: str) -> pl.Expr:
    """Mid less its exponential moving average."""
    mid = mid_ticks()
    return mid - session_first(mid) - _ema(half_life)


@feature(
    "ema_gap_z_{half_life}",
    catalogue="R06",
    unit="sigma",
    source="convention",
    params={"half_life": DECAY},
    mirror="odd",
)
def ema_gap_z(half_life: str) -> pl.Expr:
    """EMA gap over the volatility of its half-life: (m - EMA) / (V10(h) sqrt(h)).

    The volatility is at least half a tick.
    """
    expected = ew_volatility(half_life) * parse_window(half_life).seconds ** 0.5
    gap = mid_ticks() - session_first(mid_ticks()) - _ema(half_life)
    return if_ok(gap / at_least_half_a_tick(expected))
