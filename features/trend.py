"""Trends, ranges and reversion over windows (catalogue R03, R05, R10, R11)."""

from __future__ import annotations

import math

import polars as pl

from features.bars import highest, lowest
from features.columns import if_ok, mid_ticks, ratio, seconds
from features.registry import Windows, feature
from features.windows import Regression, ago, last, on_grid, previous, regression, total

RANGE_WINDOWS = Windows(("10s", "60s", "300s"), (50, 200))


@feature(
    "autocorrelation_{window}",
    catalogue="R03",
    source="Roll 1984",
    tier=2,
    params={"window": Windows(rows=(200, 500))},
    range=(-1, 1),
)
def autocorrelation(window: str) -> pl.Expr:
    """Autocorrelation at lag 1 of the last moves of the mid; negative where it bounces.

    Null where all moves are alike.
    """
    mid = mid_ticks()
    change = mid - previous(mid)
    move = pl.when(change != 0).then(change)
    return regression(move, previous(move), window).correlation


@feature(
    "ou_half_life_{grid}_{window}",
    catalogue="R05",
    unit="grid steps",
    source="convention; see Chan 2013",
    tier=2,
    params={"grid": Windows(("1s", "10s")), "window": Windows(rows=(200, 1000))},
    range=(0, None),
)
def ou_half_life(grid: str, window: str) -> pl.Expr:
    """Half-life of reversion: ln 2 / -ln(1 + phi), phi the slope of changes on the mid before.

    Over the last samples of a grid; null where there is no reversion (phi not between -1 and 0).
    """

    def slope(sample: pl.Expr) -> pl.Expr:
        before = previous(sample)
        return regression(sample - before, before, window).slope

    phi = on_grid(grid, last(mid_ticks()), slope)
    # A slope that is 0 or -1 but for rounding is neither reversion nor a half-life.
    reverts = (phi < -1e-9) & (phi > -1 + 1e-9)
    kept = pl.when(reverts).then(1 + phi)
    return math.log(2) / -kept.log()


@feature(
    "range_position_{window}",
    catalogue="R10",
    unit="0 to 1",
    source="Donchian; Lane's stochastic oscillator",
    params={"window": RANGE_WINDOWS},
    range=(0, 1),
    mirror="complement",
)
def range_position(window: str) -> pl.Expr:
    """Where the mid stands in the window's range: (m - min) / (max - min); 0.5 in a range of 0."""
    mid = mid_ticks()
    low, high = lowest(mid, window), highest(mid, window)
    return (
        pl.when(high > low)
        .then((mid - low) / (high - low))
        .when(high == low)
        .then(if_ok(pl.lit(0.5)))
    )


@feature(
    "efficiency_{window}",
    catalogue="R10",
    unit="0 to 1",
    source="Kaufman 1995",
    params={"window": RANGE_WINDOWS},
    range=(0, 1),
)
def efficiency(window: str) -> pl.Expr:
    """Kaufman's efficiency: |m - m(t - w)| over the sum of |changes|; null where nothing moved.

    The catalogue says 0 there; here undefined is null, never 0.
    """
    mid = mid_ticks()
    change = (mid - previous(mid)).abs()
    return ratio((mid - ago(mid, window)).abs(), total(change, window))


def _fit(window: str) -> Regression:
    since_open = seconds(pl.col("ts") - pl.col("session_open"))
    return regression(mid_ticks(), since_open, window)


@feature(
    "trend_slope_{window}",
    catalogue="R11",
    unit="ticks/s",
    source="Lopez de Prado 2020",
    tier=2,
    params={"window": RANGE_WINDOWS},
    mirror="odd",
)
def trend_slope(window: str) -> pl.Expr:
    """Least-squares slope of the mid in time over a window's rows."""
    return _fit(window).slope


@feature(
    "trend_t_{window}",
    catalogue="R11",
    unit="t",
    source="Lopez de Prado 2020",
    tier=2,
    params={"window": RANGE_WINDOWS},
    mirror="odd",
)
def trend_t(window: str) -> pl.Expr:
    """t-value of the trend's slope over a window's rows; null where the fit is perfect."""
    fit = _fit(window)
    # What is left of a perfect fit is rounding.
    return pl.when(fit.r2 < 1 - 1e-9).then(fit.t)
