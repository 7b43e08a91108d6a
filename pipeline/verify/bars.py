"""OHLCV bars from trade prints, by the vendor's convention: intervals of ``ts_recv``, each print
of an instrument counted, no bar where nothing traded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from pipeline.book.tape import NULL
from pipeline.stage import Stored
from pipeline.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from pipeline.verify.align import CLOCK
from pipeline.verify.rows import BOOK_KEY, batches, with_clock

STEPS: Final = {
    "ohlcv-1s": NS_PER_S,
    "ohlcv-1m": NS_PER_MINUTE,
    "ohlcv-1h": NS_PER_HOUR,
    "ohlcv-1d": NS_PER_DAY,
}
"""Length of the bars of a schema, nanoseconds."""

BAR_KEY: Final = (*BOOK_KEY, "ts_event")
BAR_VALUES: Final = ("open", "high", "low", "close", "volume")


class Bars:
    """Bars of one length, from prints fed in order; at most a day's seconds of each book."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._parts: list[pl.DataFrame] = []

    def feed(self, prints: pl.DataFrame) -> None:
        """Prints with BOOK_KEY, ``ts_recv``, ``price`` and ``size``."""
        if prints.is_empty():
            return
        known = prints.filter(pl.col("price") != NULL)
        start = pl.col("ts_recv") // self._step * self._step
        part = known.group_by(*BOOK_KEY, start.alias("ts_event"), maintain_order=True).agg(
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            volume=pl.col("size").sum(),
        )
        self._parts.append(part)
        if len(self._parts) > 64:
            self._parts = [self._merged()]

    def _merged(self) -> pl.DataFrame:
        return (
            pl.concat(self._parts)
            .group_by(BAR_KEY, maintain_order=True)
            .agg(
                pl.col("open").first(),
                pl.col("high").max(),
                pl.col("low").min(),
                pl.col("close").last(),
                pl.col("volume").sum(),
            )
        )

    def bars(self) -> pl.DataFrame:
        """All bars, by time."""
        if not self._parts:
            names = [*BAR_KEY, *BAR_VALUES, CLOCK]
            return pl.DataFrame(schema=dict.fromkeys(names, pl.Int64))
        ordered = self._merged().sort("ts_event", *BOOK_KEY)
        return ordered.with_columns(pl.col("ts_event").alias(CLOCK))


def vendor_bars(stored: Stored) -> Iterator[pl.DataFrame]:
    """Rows of a ``vendor_ohlcv_`` table."""
    names = [*BAR_KEY, *BAR_VALUES]
    clock = None
    for batch in batches(stored, [*names, "record", "source"]):
        frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(
            pl.col(*names, "record").cast(pl.Int64)
        )
        frame = with_clock(frame, "ts_event", clock)
        clock = int(frame[CLOCK][-1])
        yield frame
