"""Markets with a known law: quotes and prints from arrays, in the shape of the lake's tables."""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from features.engine import compute
from features.events import Tables
from features.registry import FEATURES
from features.source import Context
from pipeline.units import NS_PER_S

TICK = 250_000_000
OPEN = 1_741_140_000 * NS_PER_S

I64 = npt.NDArray[np.int64]


def quotes_and_prints(
    seconds: npt.NDArray[np.float64],
    *,
    bid: I64 | int = 20_000,
    ask: I64 | int = 20_001,
    price: I64 | int = 20_000,
    size: I64 | int = 1,
    sign: I64 | int = 1,
) -> Tables:
    """One print at every time, with the book after it; an event before them opens the session.

    Prices in ticks, sizes in contracts, sign +1 where a buyer was the aggressor.
    """
    n = seconds.size
    ts = OPEN + np.concatenate([[0], np.round(seconds * NS_PER_S).astype(np.int64)])
    event = np.arange(n + 1)

    def spread(x: I64 | int) -> I64:
        values = np.broadcast_to(np.asarray(x, dtype=np.int64), (n,))
        return np.concatenate([values[:1], values])

    book = pl.DataFrame(
        {
            "event": event,
            "ts_recv": ts,
            "bid_px_00": spread(bid) * TICK,
            "ask_px_00": spread(ask) * TICK,
            "bid_sz_00": 10,
            "ask_sz_00": 10,
            "valid": True,
            "state": "normal",
            "instrument_id": 1,
            "publisher_id": 1,
        }
    ).with_columns(pl.col("ts_recv").cast(pl.Datetime("ns", "UTC")))
    trades = pl.DataFrame(
        {
            "event": event[1:],
            "price": spread(price)[1:] * TICK,
            "size": spread(size)[1:],
            "side": np.where(spread(sign)[1:] > 0, "B", "A"),
        }
    )
    hours = ((OPEN, int(ts[-1]) + NS_PER_S),)
    context = Context("GLBX.MDP3", "ESH5", date(2025, 3, 5), TICK, hours, depth=1)
    return Tables(context, book, None, trades)


def values(tables: Tables, names: list[str], clock: str = "event") -> pl.DataFrame:
    """Features of a market at every decision point."""
    return pl.concat(list(compute(tables, FEATURES.resolve(names), clock)))
