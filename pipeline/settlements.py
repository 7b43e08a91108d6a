"""Settlement prices as they were published: from the vendor's `statistics`.

A venue publishes a settlement price some time after its session, first as preliminary, and revises
it, as late as in the next session's trading.  Each record says which trading date it is of
(``ts_ref``) and when it could be known (``ts_recv``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final

import polars as pl

from features.source import NOTHING, Publication
from pipeline.reading import read_table
from pipeline.stage import Partition, Stored, TableRef
from pipeline.units import NS_PER_DAY

SETTLEMENTS: Final = "vendor_statistics"
_SETTLEMENT_PRICE: Final = 3
"""``stat_type`` of the vendor's enumeration."""
_DELETE: Final = 2
"""``update_action``: what was published is withdrawn."""
_EPOCH: Final = date(1970, 1, 1)


def settlement_refs(dataset: str, symbol: str, session: date, last: date) -> Iterator[TableRef]:
    """The days in which a session's settlement can be published and revised: from its date up to
    and with a later one.  None of them need be there.
    """
    day = session
    while day <= last:
        keys = Partition.of(dataset=dataset, date=day, symbol=symbol)
        yield TableRef(SETTLEMENTS, keys, optional=True)
        day += timedelta(days=1)


def settlements(stored: Sequence[Stored], session: date) -> Publication:
    """The settlement prices of one session in the order in which they were published, 1e-9.

    Records of other dates, and those that do not say theirs, are left out.  A record whose time
    is not known, or goes back, counts from the latest time before it.
    """
    columns = ["ts_recv", "ts_ref", "price", "stat_type", "update_action"]
    frames = [
        pl.DataFrame(pl.from_arrow(read_table(item, columns)))
        for item in sorted(stored, key=lambda item: item.partition["date"])
    ]
    if not frames:
        return NOTHING
    found = (
        pl.concat(frames)
        .with_columns(pl.col("ts_recv", "ts_ref").cast(pl.Int64))
        .with_columns(pl.col("ts_recv").cum_max().forward_fill())
        .filter(
            pl.col("stat_type") == _SETTLEMENT_PRICE,
            pl.col("ts_ref") // NS_PER_DAY == (session - _EPOCH).days,
            pl.col("ts_recv").is_not_null(),
        )
        .with_columns(pl.when(pl.col("update_action") != _DELETE).then(pl.col("price")))
    )
    return Publication(tuple(found["ts_recv"].to_list()), tuple(found["price"].to_list()))
