"""Labels (catalogue 13): what a model may be asked to predict.  They look forward, so they live
in a table of their own, and no feature set can name them.
"""

from __future__ import annotations

import polars as pl

from features.columns import mid_ticks
from features.grids import HORIZONS, LABEL_ROWS
from features.registry import Windows, label
from features.windows import ahead


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
