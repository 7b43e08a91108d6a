"""Orders in their queues: who joins, leaves, moves, and what F records announced."""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.book.idmap import EMPTY, enter, erase, locate, slot_at
from pipeline.book.ladder import close_level, open_level
from pipeline.book.layout import (
    ASK,
    BID,
    COUNT,
    ENTRY,
    EXECUTION,
    FILLED,
    FREE_LEVEL,
    FREE_ORDER,
    HEAD,
    LAST_PRIORITY,
    LEVEL,
    N_LEVELS,
    N_ORDERS,
    N_SIDE,
    NEXT,
    ORDER_ID,
    PREV,
    PRICE,
    PRIORITY,
    SIDE,
    SIZE,
    TAIL,
    TOTAL,
    USED_LEVELS,
    USED_ORDERS,
    Book,
    Scalar,
)
from pipeline.jit import inline, inner

_LOW: Final = 0xFFFFFFFF


@inline
def find(book: Book, order_id: Scalar) -> Scalar:
    """Slot of the resting order of that id, or -1."""
    return slot_at(book.table, locate(book.table, book.orders, order_id))


@inline
def order_side(book: Book, slot: Scalar) -> Scalar:
    """BID or ASK."""
    return book.levels[book.orders[slot, LEVEL], SIDE]


@inline
def order_price(book: Book, slot: Scalar) -> Scalar:
    """Limit price, 1e-9."""
    return book.levels[book.orders[slot, LEVEL], PRICE]


@inline
def order_size(book: Book, slot: Scalar) -> Scalar:
    """Remaining size."""
    return book.orders[slot, SIZE]


@inline
def order_entry(book: Book, slot: Scalar) -> Scalar:
    """``ts_event`` of the record that gave the order its place."""
    return book.orders[slot, ENTRY]


@inline
def first_order(book: Book, level: Scalar) -> Scalar:
    """Slot of the order at the head of a level's queue."""
    return book.levels[level, HEAD]


@inline
def next_order(book: Book, slot: Scalar) -> Scalar:
    """Slot of the next order in the same queue, or -1."""
    return book.orders[slot, NEXT]


@inline
def queue_of(book: Book, slot: Scalar) -> tuple[Scalar, Scalar]:
    """Orders and size of the whole queue an order stands in, itself included."""
    level = book.orders[slot, LEVEL]
    return book.levels[level, COUNT], book.levels[level, TOTAL]


@inline
def queue_ahead(book: Book, slot: Scalar) -> tuple[Scalar, Scalar]:
    """Orders and size that stand before an order at its price.

    Walks both ways at once, to the nearer end of the queue: orders that have just joined, and
    those about to be filled, cost a step or two however long the queue is.
    """
    orders = book.orders
    before, after = orders[slot, PREV], orders[slot, NEXT]
    n_before, size_before = np.int64(0), np.int64(0)
    n_after, size_after = np.int64(0), np.int64(0)
    while before >= 0 and after >= 0:
        n_before += 1
        size_before += orders[before, SIZE]
        n_after += 1
        size_after += orders[after, SIZE]
        before, after = orders[before, PREV], orders[after, NEXT]
    if before < 0:
        return n_before, size_before
    count, total = queue_of(book, slot)
    return count - 1 - n_after, total - orders[slot, SIZE] - size_after


@inline
def _join(
    book: Book, slot: Scalar, side: Scalar, price: Scalar, size: Scalar, entry: Scalar
) -> None:
    """Put an order at the tail of the queue at a price."""
    orders, levels, meta = book.orders, book.levels, book.meta
    level = open_level(book, side, price)
    at, of = np.uint64(slot), np.uint64(level)
    tail = levels[of, TAIL]
    priority = meta[LAST_PRIORITY] + 1
    meta[LAST_PRIORITY] = priority
    orders[at, SIZE] = size
    orders[at, LEVEL] = level
    orders[at, PREV] = tail
    orders[at, NEXT] = -1
    orders[at, PRIORITY] = priority
    orders[at, ENTRY] = entry
    orders[at, FILLED] = 0
    if tail >= 0:
        orders[np.uint64(tail), NEXT] = slot
    else:
        levels[of, HEAD] = slot
    levels[of, TAIL] = slot
    levels[of, TOTAL] += size
    levels[of, COUNT] += 1


@inline
def _leave(book: Book, slot: Scalar) -> None:
    """Take an order out of its queue; an emptied level goes."""
    orders, levels = book.orders, book.levels
    at = np.uint64(slot)
    level = orders[at, LEVEL]
    of = np.uint64(level)
    count = levels[of, COUNT] - 1
    if count == 0:
        close_level(book, level)
        return
    before, after = orders[at, PREV], orders[at, NEXT]
    if before >= 0:
        orders[np.uint64(before), NEXT] = after
    else:
        levels[of, HEAD] = after
    if after >= 0:
        orders[np.uint64(after), PREV] = before
    else:
        levels[of, TAIL] = before
    levels[of, COUNT] = count
    levels[of, TOTAL] -= orders[at, SIZE]


@inline
def add_at(
    book: Book,
    place: Scalar,
    side: Scalar,
    price: Scalar,
    size: Scalar,
    order_id: Scalar,
    entry: Scalar,
) -> Scalar:
    """:func:`add` where the id's empty place in the table is known."""
    orders, meta = book.orders, book.meta
    slot = meta[FREE_ORDER]
    if slot >= 0:
        meta[FREE_ORDER] = orders[np.uint64(slot), NEXT]
    else:
        slot = meta[USED_ORDERS]
        meta[USED_ORDERS] = slot + 1
    meta[N_ORDERS] += 1
    enter(book.table, place, order_id, slot)
    orders[np.uint64(slot), ORDER_ID] = order_id
    _join(book, slot, side, price, size, entry)
    return slot


@inline
def remove_at(book: Book, place: Scalar) -> None:
    """:func:`remove` where the id's place in the table is known."""
    slot = slot_at(book.table, place)
    _leave(book, slot)
    erase(book.table, place)
    book.orders[np.uint64(slot), NEXT] = book.meta[FREE_ORDER]
    book.meta[FREE_ORDER] = slot
    book.meta[N_ORDERS] -= 1


@inline
def add(
    book: Book, side: Scalar, price: Scalar, size: Scalar, order_id: Scalar, entry: Scalar
) -> Scalar:
    """Add an order at the tail of its queue and return its slot.

    The id must not rest already, :func:`room` must hold, size must be positive.
    """
    return add_at(
        book, locate(book.table, book.orders, order_id), side, price, size, order_id, entry
    )


@inline
def remove(book: Book, slot: Scalar) -> None:
    """Take a resting order away."""
    remove_at(book, locate(book.table, book.orders, book.orders[slot, ORDER_ID]))


@inline
def resize(book: Book, slot: Scalar, size: Scalar) -> None:
    """Give a resting order another positive size; it keeps its place."""
    at = np.uint64(slot)
    book.levels[np.uint64(book.orders[at, LEVEL]), TOTAL] += size - book.orders[at, SIZE]
    book.orders[at, SIZE] = size


@inline
def move(
    book: Book, slot: Scalar, side: Scalar, price: Scalar, size: Scalar, entry: Scalar
) -> None:
    """Put a resting order at the tail of the queue at a price (its own price included)."""
    _leave(book, slot)
    _join(book, slot, side, price, size, entry)


@inner
def clear(book: Book) -> None:
    """Take all orders away.  Priority numbers go on rising."""
    meta, table = book.meta, book.table
    if meta[N_ORDERS] * 16 < table.shape[0]:
        # Erase one by one: clears of a nearly empty book must not cost the table's size.
        for side in range(2):
            for i in range(meta[N_SIDE + side]):
                slot = book.levels[book.ladder[side, 1, i], HEAD]
                while slot >= 0:
                    erase(table, locate(table, book.orders, book.orders[slot, ORDER_ID]))
                    slot = book.orders[slot, NEXT]
    else:
        for i in range(table.shape[0]):
            table[i] = EMPTY
    meta[N_SIDE + BID] = 0
    meta[N_SIDE + ASK] = 0
    meta[N_ORDERS] = 0
    meta[USED_ORDERS] = 0
    meta[FREE_ORDER] = -1
    meta[N_LEVELS] = 0
    meta[USED_LEVELS] = 0
    meta[FREE_LEVEL] = -1


# --- executions: F records announce what a following C or M takes away --------------------------


@inline
def next_execution(book: Book) -> None:
    """Forget what F records printed; called where an event starts."""
    book.meta[EXECUTION] = (book.meta[EXECUTION] + 1) & 0x7FFFFFFF


@inline
def printed(book: Book, slot: Scalar) -> Scalar:
    """Size that F records of this execution printed for a resting order."""
    word = book.orders[np.uint64(slot), FILLED]
    if word >> 32 != book.meta[EXECUTION]:
        return np.int64(0)
    return word & _LOW


@inline
def note_fill(book: Book, slot: Scalar, size: Scalar) -> None:
    """An F printed ``size`` of a resting order; the book itself does not change."""
    total = min(printed(book, slot) + size, _LOW)
    book.orders[np.uint64(slot), FILLED] = (book.meta[EXECUTION] << 32) | total


@inline
def first_in_queue(book: Book, slot: Scalar) -> Scalar:
    """Whether nothing is left ahead of an order at its price.

    Orders ahead that F records of this execution printed whole do not count: their C comes
    after all F of the event.
    """
    orders = book.orders
    ahead = orders[slot, PREV]
    while ahead >= 0:
        if printed(book, ahead) < orders[ahead, SIZE]:
            return False
        ahead = orders[ahead, PREV]
    return True


@inline
def unfilled_ahead(book: Book, slot: Scalar) -> tuple[Scalar, Scalar]:
    """Like :func:`queue_ahead`, without what F records of this execution have printed already;
    no orders where :func:`first_in_queue`.
    """
    orders = book.orders
    count, size = np.int64(0), np.int64(0)
    ahead = orders[slot, PREV]
    while ahead >= 0:
        left = orders[ahead, SIZE] - printed(book, ahead)
        if left > 0:
            count += 1
            size += left
        ahead = orders[ahead, PREV]
    return count, size
