"""Spells of resting orders: from an order's entry until it is filled, withdrawn or out of sight.

The rows of `order_life` become spells of the queue that each order joined first::

    entry ----------------------------- end
            filled      its first fill there by an aggressor
            cancelled   it was cancelled before any fill
            censored    else: it lost its place by a modify, was filled in an auction or as it was
                        modified to cross, was cleared or replaced; its trading hours or the UTC
                        day came to an end

What a fill ends is the wait of whoever would have stood at the front of the order, with what was
before it: of a single contract at its place.  Only what entered by an add counts, into a book
that was complete and two-sided, and not marketable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

FILLED, CANCELLED, CENSORED = range(3)
"""How a spell ended: codes of ``end``."""

LIFE_COLUMNS: Final = (
    "side",
    "entered",
    "entered_event",
    "entered_ts_recv",
    "entered_distance",
    "entered_opposite",
    "valid",
    "first_fill_ts_recv",
    "first_fill_ahead_orders",
    "lost_ts_recv",
    "outcome",
    "known_at",
)
"""Columns of `order_life` that spells are made of."""


def spells(lives: pl.DataFrame, tick: int, segments: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """The spells of rows of `order_life`, in their order; rows that begin none are left out.

    Parameters
    ----------
    lives
        :data:`LIFE_COLUMNS` of the table.
    tick
        Price step in 1e-9.
    segments
        Trading hours, ns, half-open: a spell begins and ends within one of them.

    Returns
    -------
    ``event`` (of the entry), ``ask`` (its side), ``behind`` (whole ticks behind its side's touch
    before the event; negative: better), ``time`` (ns from entry to end), ``end``; all Int64 but
    ``ask``.
    """
    entry = pl.col("entered_ts_recv").cast(pl.Int64)
    starts = [begin for begin, _ in segments]
    at = np.searchsorted(starts, lives.select(entry.fill_null(-1)).to_series().to_numpy(), "right")
    closes = np.array([-1, *(end for _, end in segments)])[at]
    fill, lost, known = (
        pl.col(name).cast(pl.Int64) for name in ("first_fill_ts_recv", "lost_ts_recv", "known_at")
    )
    moved = pl.min_horizontal(lost, known)  # a row is known when its order has left
    first = fill.is_not_null() & (fill <= moved)  # who is filled whole leaves in the same event
    met = pl.col("first_fill_ahead_orders").is_not_null()
    cancelled = (pl.col("outcome").cast(pl.String) == "cancelled") & lost.is_null()
    until = pl.when(first).then(fill).otherwise(moved)
    end = (
        pl.when(until >= pl.col("closes"))
        .then(CENSORED)
        .when(first)
        .then(pl.when(met).then(FILLED).otherwise(CENSORED))
        .when(cancelled)
        .then(CANCELLED)
        .otherwise(CENSORED)
    )
    begins = (
        (pl.col("entered").cast(pl.String) == "add")
        & pl.col("valid")
        & (entry < pl.col("closes"))
        & (pl.col("entered_distance") % tick == 0)
        & (pl.col("entered_opposite") > 0)
    )
    return (
        lives.with_columns(pl.Series("closes", closes, dtype=pl.Int64))
        .filter(begins)
        .select(
            pl.col("entered_event").alias("event"),
            (pl.col("side").cast(pl.String) == "A").alias("ask"),
            (pl.col("entered_distance") // tick).alias("behind"),
            (pl.min_horizontal(until, pl.col("closes")) - entry).alias("time"),
            end.cast(pl.Int64).alias("end"),
        )
    )
