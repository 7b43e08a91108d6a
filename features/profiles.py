"""What any value is compared with in past sessions: a profile of the day, ranks, quantiles.

A minute's value is the mean of samples taken every second; minutes are those of the exchange's
clock.  Names are those of what is measured: a column's, for example.
"""

from __future__ import annotations

import polars as pl

from features.combine import minute_medians, minute_values, robust
from features.components import Component, Statistic, declare
from features.gatherers import MinuteMeans, Sketch
from pipeline.units import NS_PER_DAY, NS_PER_MINUTE

SAMPLING = "grid:1s"

LOCAL = (pl.col("t") + pl.col("local_offset")) % NS_PER_DAY
"""Time of the day by the exchange's clock, in ns."""

MINUTE = LOCAL // NS_PER_MINUTE
"""Minute of the day, 0 to 1439, by the exchange's clock."""


def _means(name: str, x: pl.Expr) -> Statistic:
    return Statistic(f"minute_means:{name}", (MINUTE, x), MinuteMeans, clock=SAMPLING)


def profile(name: str, x: pl.Expr, *, alone: bool = False) -> Component:
    """The usual value of ``x`` by minute of the day: median over sessions of the minute's mean.

    ``name`` is that of what is profiled, a column's for example; ``alone`` as of a component.
    """
    return declare(Component(f"profile:{name}", _means(name, x), minute_medians, alone=alone))


def minutes(name: str, x: pl.Expr) -> Component:
    """The means of ``x`` at each minute of the day in past sessions, to be ranked among."""
    return declare(Component(f"minutes:{name}", _means(name, x), minute_values))


def quantiles(name: str, x: pl.Expr, *, alone: bool = False) -> Component:
    """Median, scaled median absolute deviation, q01 and q99 of ``x`` over past sessions.

    Keys are those of :func:`features.combine.robust`; of samples taken every second; ``alone`` as
    of a component.
    """
    statistic = Statistic(f"sketch:{name}", (x,), Sketch, SAMPLING)
    return declare(Component(f"robust:{name}", statistic, robust, alone=alone))
