"""Labels (catalogue 13): what a model may be asked to predict.  They look forward, so they live
in a table of their own, and no feature set can name them.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from features.columns import mid_ticks
from features.forward import (
    rows_ahead,
)
from features.grids import HORIZONS, LABEL_ROWS
from features.nodes import window as parse_window
from features.registry import Choice, Numbers, Parameter, Windows, label
from features.returns import expected_size
from features.windows import ahead, ahead_time, mean, previous, session_first
from pipeline.units import NS_PER_S


@label(
    "y_return_{horizon}",
    catalogue="L01",
    unit="ticks",
    source="convention",
    params={"horizon": Windows(rows=LABEL_ROWS)},
    mirror="odd",
)
def forward_return_rows(horizon: str) -> pl.Expr:
    """Forward mid return over events: m_(i+N) - m_i, counting rows with a mid.

    Null where the segment has fewer rows left.
    """
    return ahead(mid_ticks(), horizon) - mid_ticks()


@label(
    "y_return_{horizon}",
    catalogue="L02",
    unit="ticks",
    source="convention",
    params={"horizon": Windows(HORIZONS)},
    mirror="odd",
)
def forward_return(horizon: str) -> pl.Expr:
    """Forward mid return over time: m(t + tau) - m, with the last row at or before t + tau.

    Null where the segment's data do not reach t + tau.
    """
    return ahead(mid_ticks(), horizon) - mid_ticks()


@label(
    "y_return_z_{horizon}",
    catalogue="L03",
    unit="sigma",
    source="convention",
    params={"horizon": Windows(HORIZONS)},
    mirror="odd",
)
def forward_return_z(horizon: str) -> pl.Expr:
    """Forward mid return over its expected size: L02 / (V10(60 s) sqrt(tau)), at least 1/2 tick."""
    return (ahead(mid_ticks(), horizon) - mid_ticks()) / expected_size(horizon)


# --- the next move (L04, L05) ----------------------------------------------------------------


def _move() -> pl.Expr:
    """Change of the mid where it changed."""
    change = mid_ticks() - previous(mid_ticks())
    return pl.when(change != 0).then(change)


def _when_moved() -> pl.Expr:
    return ahead_time(_move(), "n1")


@label(
    "y_next_move",
    catalogue="L04",
    unit="-1 or 1",
    source="Gould and Bonart 2016",
    dtype=pl.Int8,
    range=(-1, 1),
    mirror="odd",
    known=_when_moved,
)
def next_move() -> pl.Expr:
    """Direction of the mid's next move; null where the segment has none left."""
    return ahead(_move(), "n1").sign()


@label(
    "y_next_move_size",
    catalogue="L05",
    unit="ticks",
    source="Gould and Bonart 2016",
    mirror="odd",
    known=_when_moved,
)
def next_move_size() -> pl.Expr:
    """Size of the mid's next move, signed; null where the segment has none left."""
    return ahead(_move(), "n1")


@label(
    "y_next_move_seconds",
    catalogue="L05",
    unit="s",
    source="Gould and Bonart 2016",
    range=(0, None),
    known=_when_moved,
)
def next_move_seconds() -> pl.Expr:
    """Seconds until the mid's next move; null where the segment has none left."""
    return (_when_moved() - pl.col("t")) / NS_PER_S


# --- smoothed directions (L06, L07) ----------------------------------------------------------

HUNDREDTHS = Numbers((25, 50), 0, 100_000)
"""Thresholds and costs in hundredths of a tick."""


ROUNDING = 1e-11
"""More than the rounding of a difference of two means of mids, in ticks; less than two such
differences can be apart: 1 / (200 k m) for means of k and m mids.
"""


def _sign_beyond(x: pl.Expr, alpha: int) -> pl.Expr:
    limit = alpha / 100 + ROUNDING  # a move of just the threshold is not beyond it
    side = pl.when(x > limit).then(1).when(x < -limit).then(-1).otherwise(0)
    return pl.when(x.is_not_null()).then(side)


def _centred() -> pl.Expr:
    return mid_ticks() - session_first(mid_ticks())


def _smoothed(base: str, horizon: str) -> pl.Expr:
    """Mean of the next k mids less that of the last k, or less the mid."""
    rows = parse_window(horizon).size
    before = _centred()
    if base == "mean":
        before = pl.when(before.is_not_null()).then(mean(before, horizon))
    return rows_ahead(mean(_centred(), horizon), rows) - before


SMOOTHED: Mapping[str, Parameter] = {
    "base": Choice(("mean", "mid")),
    "horizon": Windows(rows=LABEL_ROWS),
}


@label(
    "y_smooth_{base}_{horizon}",
    catalogue="L06",
    unit="ticks",
    source="Zhang, Zohren and Roberts 2019",
    params=SMOOTHED,
    mirror="odd",
)
def smoothed_move(base: str, horizon: str) -> pl.Expr:
    """Mean of the next k mids less the mean of the last k (or less the mid itself)."""
    return _smoothed(base, horizon)


@label(
    "y_smooth_class_{base}_{horizon}_a{alpha}",
    catalogue="L06",
    unit="-1, 0 or 1",
    source="Zhang, Zohren and Roberts 2019",
    params={**SMOOTHED, "alpha": HUNDREDTHS},
    dtype=pl.Int8,
    range=(-1, 1),
    mirror="odd",
)
def smoothed_class(base: str, horizon: str, alpha: int) -> pl.Expr:
    """Class of the smoothed move: 1 above alpha hundredths of a tick, -1 below minus that."""
    return _sign_beyond(_smoothed(base, horizon), alpha)


def _decoupled(horizon: str, rows: int) -> pl.Expr:
    """Mean of the k + 1 mids up to i + h less that of the k + 1 up to i."""
    average = mean(_centred(), f"n{rows + 1}")
    now = pl.when(mid_ticks().is_not_null()).then(average)
    return rows_ahead(average, parse_window(horizon).size) - now


DECOUPLED: Mapping[str, Parameter] = {
    "horizon": Windows(rows=(20, 100)),
    "rows": Numbers((5, 10), 1, 10_000),
}


@label(
    "y_decoupled_{horizon}_k{rows}",
    catalogue="L07",
    unit="ticks",
    source="Berti and Kasneci 2025",
    tier=2,
    params=DECOUPLED,
    mirror="odd",
)
def decoupled_move(horizon: str, rows: int) -> pl.Expr:
    """Mean of the k + 1 mids up to row i + h less the mean of the k + 1 up to row i."""
    return _decoupled(horizon, rows)


@label(
    "y_decoupled_class_{horizon}_k{rows}_a{alpha}",
    catalogue="L07",
    unit="-1, 0 or 1",
    source="Berti and Kasneci 2025",
    tier=2,
    params={**DECOUPLED, "alpha": HUNDREDTHS},
    dtype=pl.Int8,
    range=(-1, 1),
    mirror="odd",
)
def decoupled_class(horizon: str, rows: int, alpha: int) -> pl.Expr:
    """Class of the decoupled move: 1 above alpha hundredths of a tick, -1 below minus that."""
    return _sign_beyond(_decoupled(horizon, rows), alpha)
