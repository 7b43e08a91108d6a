"""Volatility (catalogue group V).

Prices are in ticks, so that instruments with negative prices have volatilities too.  Grid
versions sample the last defined mid at fixed times; the exponential version uses every change of
the mid at event time, bounce included.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from features.columns import mid_ticks, px, ratio
from features.nodes import LN2
from features.nodes import window as parse_window
from features.registry import Windows, feature
from features.windows import ew_sum, last, on_grid, previous, window_sum

STEPS = Windows(("1s", "10s", "5m"))
LENGTHS = Windows(("60s", "300s", "30m", "1h"))
EW_HALF_LIVES = Windows(half_life=("10s", "60s", "300s", "600s"))
SESSIONS_A_YEAR = 252


@cache
def squared_change() -> pl.Expr:
    """Squared change of the mid since the last row with a mid (ticks^2)."""
    mid = mid_ticks()
    change = mid - previous(mid)
    return change * change


@cache
def realised(grid: str, length: str) -> pl.Expr:
    """Sum of squared mid changes between grid points of the last ``length`` (ticks^2)."""

    def squares(sample: pl.Expr) -> pl.Expr:
        change = sample - previous(sample)
        return window_sum(change * change, length)

    return on_grid(grid, last(mid_ticks()), squares)


def ew_variance(half_life: str) -> pl.Expr:
    """ln2/h times the decayed sum of squared mid changes (ticks^2 a second)."""
    return ew_sum(squared_change(), half_life) * (LN2 / parse_window(half_life).seconds)


def ew_volatility(half_life: str) -> pl.Expr:
    """Root of :func:`ew_variance` (ticks a root second)."""
    return ew_variance(half_life).sqrt()


_GRID = {"grid": STEPS, "window": LENGTHS}


@feature(
    "rv_{grid}_{window}",
    catalogue="V01",
    unit="ticks^2",
    source="Andersen and Bollerslev 1998",
    params=_GRID,
    range=(0, None),
)
def rv(grid: str, window: str) -> pl.Expr:
    """Realised variance: sum of squared changes of the mid sampled on a grid, over a window."""
    return realised(grid, window)


@feature(
    "vol_{grid}_{window}",
    catalogue="V01",
    unit="ticks",
    source="Andersen and Bollerslev 1998",
    params=_GRID,
    range=(0, None),
)
def vol(grid: str, window: str) -> pl.Expr:
    """Realised volatility of a window: the root of the realised variance."""
    return realised(grid, window).sqrt()


@feature(
    "vol_annual_{grid}_{window}",
    catalogue="V01",
    unit="per year",
    source="Andersen and Bollerslev 1998",
    params=_GRID,
    range=(0, None),
    shift="other",
)
def vol_annual(grid: str, window: str) -> pl.Expr:
    """Realised volatility as a return, annualised: sqrt(RV T_year / w) / |mid|.

    The year has 252 sessions of this one's length; r = change / mid stands for the log return.
    """
    opened, closed = pl.col("session_open"), pl.col("session_close")
    year = (closed - opened) * SESSIONS_A_YEAR
    tick_return = ratio(pl.lit(2.0) * pl.col("tick"), (px("bid") + px("ask")).abs())
    scaled = (realised(grid, window) * (year / parse_window(window).size)).sqrt()
    return pl.when(pl.col("ok")).then(scaled * tick_return)


@feature(
    "vol_{half_life}",
    catalogue="V10",
    unit="ticks/sqrt(s)",
    source="RiskMetrics 1996",
    params={"half_life": EW_HALF_LIVES},
    range=(0, None),
)
def vol_ew(half_life: str) -> pl.Expr:
    """Exponentially weighted volatility: root of ln2/h times the decayed sum of r^2."""
    return ew_volatility(half_life)


@feature(
    "signature_ratio_{window}",
    catalogue="V07",
    source="Lo and MacKinlay 1988",
    params={"window": Windows(("300s", "30m", "1h"))},
    range=(0, None),
)
def signature_ratio(window: str) -> pl.Expr:
    """RV sampled every second over RV sampled every minute; null where the latter is 0."""
    return ratio(realised("1s", window), realised("60s", window))
