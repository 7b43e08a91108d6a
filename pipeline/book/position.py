"""Where orders stand in their queues: for one order of a book, or for a whole table of orders.

Inside kernels use ``queue_ahead`` and ``unfilled_ahead`` of :mod:`pipeline.book.orders`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.book import orders as ob
from pipeline.book.layout import Book
from pipeline.jit import kernel

_QUEUE_KEYS = ("publisher_id", "instrument_id", "side", "price")


@kernel
def _position(book: Book, order_id: np.int64) -> Any:
    slot = ob.find(book, order_id)
    if slot < 0:
        return np.int64(-1), np.int64(-1)
    return ob.queue_ahead(book, slot)


def queue_position(book: Book, order_id: int) -> tuple[int, int] | None:
    """Orders and size ahead of a resting order at its price, or None where it does not rest.

    Parameters
    ----------
    book
        A book as it is after any record.
    order_id
        The venue's order number, below 2**64.
    """
    orders, size = _position(book, np.uint64(order_id).astype(np.int64))
    return None if orders < 0 else (int(orders), int(size))


def ahead_columns(orders: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Orders and size ahead of each row of a table of resting orders.

    Parameters
    ----------
    orders
        Rows as in ``book_state``: ``publisher_id instrument_id side price size``, the orders of a
        queue one after another in priority.

    Returns
    -------
    (orders_ahead, size_ahead)
        int64[rows] each.
    """
    rows = orders.num_rows
    starts = np.zeros(rows, np.bool_)
    starts[:1] = True
    for name in _QUEUE_KEYS:
        column = orders[name].combine_chunks()
        if pa.types.is_string(column.type):
            column = column.dictionary_encode().indices
        values = column.to_numpy(zero_copy_only=False)
        starts[1:] |= values[1:] != values[:-1]
    first = np.flatnonzero(starts)
    queue = np.cumsum(starts) - 1
    sizes = orders["size"].to_numpy().astype(np.int64)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])[:rows]
    return np.arange(rows) - first[queue], before - before[first[queue]]
