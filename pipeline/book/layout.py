"""How a book lies in memory: five arrays, their columns, and how they grow.

Arrays
------
``orders`` int64[capacity, 8], one cache line an order, columns:

==========  =====================================================================
ORDER_ID    the venue's order number, the bits of a uint64
SIZE        remaining size
LEVEL       slot of its price level in ``levels``
PREV, NEXT  neighbours in the level's queue (towards its head, its tail); -1 none
PRIORITY    rises by one with every order that joins a queue: smaller = earlier
ENTRY       ts_event of the record that gave it its place (add, or priority lost)
FILLED      execution number << 32 | size printed by F in that execution
==========  =====================================================================

``table`` int64[power of two]: order id -> order slot; see :mod:`pipeline.book.idmap`.

``levels`` int64[capacity, 8], one cache line a price level, columns ``PRICE TOTAL COUNT HEAD
TAIL SIDE``; two columns are free for a caller's own marks (``MARK_1``, ``MARK_2``: zero when a
level opens).

``ladder`` int64[2, 2, capacity]: by side, the levels' keys and their slots in ``levels``, sorted
by key with the best last; key = price for bids, ~price for asks, so that both sides share all
code.

``meta`` int64[16]: counters, named below.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.book.idmap import empty_table, rehash
from pipeline.jit import inline
from pipeline.structs import Ints1, Ints2, Ints3

Scalar: TypeAlias = Any
"""A number inside kernels: int64 (or bool) when compiled, numpy's or Python's when interpreted."""

I64 = npt.NDArray[np.int64]

# Columns of ``orders``
ORDER_ID, SIZE, LEVEL, PREV, NEXT, PRIORITY, ENTRY, FILLED = range(8)
# Columns of ``levels``
PRICE, TOTAL, COUNT, HEAD, TAIL, SIDE, MARK_1, MARK_2 = range(8)
# Places of ``meta``; sides are indexed as N_SIDE + side
N_SIDE: Final = 0
"""Live levels: bids at 0, asks at 1."""
N_ORDERS, USED_ORDERS, FREE_ORDER, N_LEVELS, USED_LEVELS, FREE_LEVEL = range(2, 8)
LAST_PRIORITY: Final = 8
EXECUTION: Final = 9
"""Number of the execution that F records belong to; see :func:`next_execution`."""
SNAPSHOT: Final = 10
"""0: no snapshot; 1: snapshot rows are arriving; 2: its F_LAST has been seen."""
SNAPSHOT_TS: Final = 11
RULE: Final = 12
"""Bits of the venue's priority rule, from :mod:`pipeline.book.venues`."""
SCRATCH: Final = 15
"""Never read: where loads made ahead of time leave something, so that they are made."""
META_SIZE: Final = 16

BID: Final = 0
ASK: Final = 1
NO_SIDE: Final = 2

DECREASE_KEEPS: Final = 1
"""Rule bit: a smaller size at the same price keeps the place in the queue."""
PARTIAL_CANCELS: Final = 2
"""Rule bit: a C of less than the order's size leaves the rest in place."""
DEFAULT_RULE: Final = DECREASE_KEEPS | PARTIAL_CANCELS


class Book(NamedTuple):
    """The arrays of one book; see the module's docstring."""

    orders: Ints2
    table: Ints1
    levels: Ints2
    ladder: Ints3
    meta: Ints1


def new_book(*, orders: int = 256, levels: int = 64, rule: int = DEFAULT_RULE) -> Book:
    """An empty book with room for some orders and levels (rounded up to powers of two)."""
    capacity = 1 << max(4, (orders - 1).bit_length())
    level_capacity = 1 << max(4, (levels - 1).bit_length())
    meta = np.zeros(META_SIZE, np.int64)
    meta[FREE_ORDER] = meta[FREE_LEVEL] = -1
    meta[RULE] = rule
    return Book(
        orders=np.zeros((capacity, 8), np.int64),
        table=empty_table(capacity),
        levels=np.zeros((level_capacity, 8), np.int64),
        ladder=np.zeros((2, 2, level_capacity), np.int64),
        meta=meta,
    )


def grow(book: Book) -> Book:
    """A book with the same contents and room for more; called where :func:`room` is false."""
    orders, levels = len(book.orders), len(book.levels)
    return resized(
        book,
        2 * orders if int(book.meta[N_ORDERS]) >= orders else orders,
        2 * levels if int(book.meta[N_LEVELS]) >= levels else levels,
    )


def resized(book: Book, n_orders: int, n_levels: int) -> Book:
    """A book with the same contents and these capacities, powers of two and not below its own."""
    orders, table, levels, ladder = book.orders, book.table, book.levels, book.ladder
    if n_orders > len(orders):
        orders = np.zeros((n_orders, 8), np.int64)
        orders[: len(book.orders)] = book.orders
        table = empty_table(n_orders)
        rehash(book.table, table)
    if n_levels > len(levels):
        levels = np.zeros((n_levels, 8), np.int64)
        levels[: len(book.levels)] = book.levels
        ladder = np.zeros((2, 2, n_levels), np.int64)
        ladder[:, :, : len(book.levels)] = book.ladder
    return Book(orders, table, levels, ladder, book.meta)


@inline
def room(book: Book) -> Scalar:
    """Whether any one record surely fits; if not, :func:`grow` first."""
    return book.meta[N_ORDERS] < book.orders.shape[0] and book.meta[N_LEVELS] < book.levels.shape[0]
