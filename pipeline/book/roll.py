"""The book a day opens with: its leading snapshot alone, to be compared with the carried state."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from pipeline.book.columns import Chunk, join, take
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.state import orders_table
from pipeline.units import F_LAST, F_SNAPSHOT


def opening_orders(chunks: Iterable[Chunk], rule: int) -> pa.Table:
    """Orders of the snapshot rows at the start of a day, as rows of `book_state`.

    Reads no further than the first record that is no snapshot row (an R may stand before it);
    there must be at least one chunk.
    """
    engine = BookEngine(20000101, BookOptions(materialise="none"), rule)
    leading: list[Chunk] = []
    for chunk in chunks:
        flags, action = chunk.records.flags, chunk.records.action
        opening = ((flags & F_SNAPSHOT) != 0) | (action == ord("R"))
        stop = len(flags) if opening.all() else int(np.argmin(opening))
        leading.append(take(chunk, slice(0, stop)))
        if stop < len(flags):
            break
    rows = Chunk(
        join([chunk.records for chunk in leading]),
        np.concatenate([chunk.publisher for chunk in leading]),
        np.concatenate([chunk.instrument for chunk in leading]),
    )
    # The vendor's snapshots may lack F_LAST, and end where the first other record follows.
    flags = rows.records.flags.copy()
    keys = rows.publisher.astype(np.int64) << 32 | rows.instrument.astype(np.int64)
    last = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
    flags[last] |= np.uint8(F_LAST)
    for _ in engine.feed(rows._replace(records=rows.records._replace(flags=flags))):
        pass
    return orders_table([engine.books[key] for key in sorted(engine.books)])
