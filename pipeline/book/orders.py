"""The order book itself: resting orders in exact priority, as arrays and inline functions.

Everything that keeps a book (the ``book`` stage, the simulator) calls these functions from its
own compiled loop; there is no second book.  Integers only, no I/O, no objects: a book is a
:class:`Book` of five arrays that can be copied, saved and resumed after any record.

The arrays and their columns are described in :mod:`pipeline.book.layout`.  Compile loops over a
book with ``pipeline.jit.kernel``.

Records of which action change what
-----------------------------------
A adds (replacing an order of the same id), C takes away (part of the size keeps priority), M
changes (price change or size increase loses priority; a size decrease keeps it where the
venue's rule says so; an unknown id is an add), R clears.  T, F and N change nothing.  The first
SNAPSHOT row starts a new book.  A or M without a side, a price or a size cannot rest: an A is
ignored, an M to size 0 takes its order away.  An A or M flagged TOB is no order but the best
level of a venue that shows no more: it replaces all of its side, and an undefined price empties
it.  Records flagged MBP (whole levels among orders) are ignored.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from pipeline.book.idmap import locate, slot_at
from pipeline.book.ladder import (
    best_price,
    best_size,
    find_level,
    key_of,
    level_at,
    n_levels,
)
from pipeline.book.layout import (
    ASK,
    BID,
    COUNT,
    DECREASE_KEEPS,
    DEFAULT_RULE,
    ENTRY,
    EXECUTION,
    FILLED,
    HEAD,
    LAST_PRIORITY,
    LEVEL,
    MARK_1,
    MARK_2,
    N_LEVELS,
    N_ORDERS,
    N_SIDE,
    NEXT,
    NO_SIDE,
    ORDER_ID,
    PARTIAL_CANCELS,
    PREV,
    PRICE,
    PRIORITY,
    RULE,
    SIDE,
    SIZE,
    SNAPSHOT,
    SNAPSHOT_TS,
    TAIL,
    TOTAL,
    USED_ORDERS,
    Book,
    Scalar,
    grow,
    new_book,
    room,
)
from pipeline.book.queues import (
    add,
    add_at,
    clear,
    find,
    first_in_queue,
    first_order,
    move,
    next_execution,
    next_order,
    note_fill,
    order_entry,
    order_price,
    order_side,
    order_size,
    printed,
    queue_ahead,
    queue_of,
    remove,
    remove_at,
    resize,
    unfilled_ahead,
)
from pipeline.jit import inline, inner
from pipeline.units import F_LAST, F_MBP, F_SNAPSHOT, F_TOB, UNDEF_PRICE

__all__ = [  # the whole book from one import
    "ASK", "BID", "COUNT", "DECREASE_KEEPS", "DEFAULT_RULE", "ENTRY", "EXECUTION", "FILLED",
    "HEAD", "LAST_PRIORITY", "LEVEL", "MARK_1", "MARK_2", "NEXT", "NO_SIDE", "N_LEVELS",
    "N_ORDERS", "N_SIDE", "ORDER_ID", "PARTIAL_CANCELS", "PREV", "PRICE", "PRIORITY", "RULE",
    "SIDE", "SIZE", "SNAPSHOT", "SNAPSHOT_TS", "TAIL", "TOTAL", "USED_ORDERS", "Book", "Change",
    "add", "apply", "best_price", "best_size", "clear", "find", "find_level", "first_in_queue",
    "first_order", "grow", "key_of", "level_at", "move", "n_levels", "new_book",
    "next_execution", "next_order", "note_fill", "order_entry", "order_price", "order_side",
    "order_size", "printed", "queue_ahead", "queue_of", "remove", "resize", "room", "side_code",
    "starts_snapshot", "unfilled_ahead",
]  # fmt: skip

A, C, F, M, N, R, T = (ord(letter) for letter in "ACFMNRT")
"""Action bytes of the records."""

TOB_ORDER: Final = -2
"""Order id (its bits) of a bid level from a TOB record; one less for an ask level."""

# Effects: what a record did to the book
NOTHING: Final = 0
ADDED: Final = 1
REPLACED: Final = 2
"""A of an id that rests: the old order left, the new one joined."""
ADDED_BY_MODIFY: Final = 3
"""M of an unknown id, taken as an add."""
CANCELLED: Final = 4
"""The whole order left."""
REDUCED: Final = 5
"""Part of the size left by C; the place is kept."""
KEPT: Final = 6
"""M with the same price: size unchanged or smaller, the place is kept."""
MOVED: Final = 7
"""M that lost priority: the old order left its queue and joined another's (or its) tail."""
CLEARED: Final = 8
ORPHAN_CANCEL: Final = 9
IGNORED: Final = 10


class Change(NamedTuple):
    """What :func:`apply` did.  ``old_*`` is what left or stood before, ``new_*`` what stands now;
    sizes are the order's whole sizes; ``filled`` is the part of ``old_size`` that F records of
    the same execution had printed.  ``slot`` is -1 where there is no order.
    """

    effect: Scalar
    slot: Scalar
    old_side: Scalar
    old_price: Scalar
    old_size: Scalar
    old_priority: Scalar
    new_side: Scalar
    new_price: Scalar
    new_size: Scalar
    filled: Scalar


@inline
def side_code(side: Scalar) -> Scalar:
    """BID, ASK or NO_SIDE of a side byte."""
    if side == 66:  # B
        return np.int64(BID)
    if side == 65:  # A
        return np.int64(ASK)
    return np.int64(NO_SIDE)


@inline
def starts_snapshot(book: Book, flags: Scalar, ts_recv: Scalar) -> Scalar:
    """Follow the snapshot flags; true at the row that starts a new book.

    A snapshot starts at its first row, with or without an R; after an F_LAST it goes on only
    with rows of the same ``ts_recv``.  To be called once a record, before :func:`apply`.
    """
    meta = book.meta
    if flags & F_SNAPSHOT == 0:
        meta[SNAPSHOT] = 0
        return False
    starts = meta[SNAPSHOT] == 0 or (meta[SNAPSHOT] == 2 and meta[SNAPSHOT_TS] != ts_recv)
    meta[SNAPSHOT] = 2 if flags & F_LAST else 1
    meta[SNAPSHOT_TS] = ts_recv
    return starts


@inline
def _change(effect: Scalar, slot: Scalar) -> Change:
    zero = np.int64(0)
    none = np.int64(NO_SIDE)
    return Change(np.int64(effect), slot, none, zero, zero, zero, none, zero, zero, zero)


@inner
def _top_of_book(book: Book, side: Scalar, price: Scalar, size: Scalar, entry: Scalar) -> Change:
    """A record flagged TOB: all that is known of its side is now this one level.

    An undefined price, or no size, empties the side.  The level is an order of its own, with an
    id that no venue gives.  What it replaces counts as one change at the best price.
    """
    none, zero = np.int64(NO_SIDE), np.int64(0)
    old_price, old_size, old_priority = best_price(book, side), zero, zero
    while n_levels(book, side) > 0:
        slot = first_order(book, level_at(book, side, zero))
        old_size += book.orders[slot, SIZE]
        old_priority = book.orders[slot, PRIORITY]
        remove(book, slot)
    old_side = side if old_size > 0 else none
    if old_size == 0:
        old_price = zero
    if price == UNDEF_PRICE or size <= 0:
        effect = np.int64(CANCELLED if old_size > 0 else NOTHING)
        return Change(
            effect, np.int64(-1), old_side, old_price, old_size, old_priority,
            none, zero, zero, zero,
        )  # fmt: skip
    slot = add(book, side, price, size, TOB_ORDER - side, entry)
    effect = np.int64(REPLACED if old_size > 0 else ADDED)
    return Change(
        effect, slot, old_side, old_price, old_size, old_priority, side, price, size, zero
    )


@inline
def apply(
    book: Book,
    action: Scalar,
    side: Scalar,
    flags: Scalar,
    price: Scalar,
    size: Scalar,
    order_id: Scalar,
    entry: Scalar,
) -> Change:
    """Apply one record to the book and say what changed.

    ``action`` is the record's byte, ``side`` a :func:`side_code`, ``order_id`` the bits of the id
    as int64, ``entry`` its ``ts_event``; all int64.  :func:`room` must hold.  Where
    :func:`starts_snapshot` was true the caller clears the book first.
    """
    nowhere = np.int64(-1)
    if action in (T, F, N):
        return _change(NOTHING, nowhere)
    if action == R:
        clear(book)
        return _change(CLEARED, nowhere)
    if flags & (F_TOB | F_MBP) or action not in (A, C, M):
        if flags & F_MBP == 0 and action in (A, M) and side != NO_SIDE:
            return _top_of_book(book, side, price, size, entry)
        return _change(IGNORED, nowhere)
    place = locate(book.table, book.orders, order_id)
    slot = slot_at(book.table, place)
    if slot < 0:
        if action == C:
            return _change(ORPHAN_CANCEL, nowhere)
        if side == NO_SIDE or price == UNDEF_PRICE or size <= 0:
            return _change(IGNORED, nowhere)
        slot = add_at(book, place, side, price, size, order_id, entry)
        none, zero = np.int64(NO_SIDE), np.int64(0)
        effect = np.int64(ADDED if action == A else ADDED_BY_MODIFY)
        return Change(effect, slot, none, zero, zero, zero, side, price, size, zero)
    at = np.uint64(slot)
    level = np.uint64(book.orders[at, LEVEL])
    old_side = book.levels[level, SIDE]
    old_price = book.levels[level, PRICE]
    old_size = book.orders[at, SIZE]
    old_priority = book.orders[at, PRIORITY]
    filled = min(printed(book, slot), old_size)
    if action == M and side == NO_SIDE:
        side = old_side
    if action == C or (action == M and size <= 0):
        if action == C and 0 < size < old_size and book.meta[RULE] & PARTIAL_CANCELS:
            left = old_size - size
            resize(book, slot, left)
            # The rest of a print that is larger than this C waits for the next one.
            note_fill(book, slot, -min(filled, size))
            return Change(
                np.int64(REDUCED), slot, old_side, old_price, old_size, old_priority,
                old_side, old_price, left, min(filled, size),
            )  # fmt: skip
        remove_at(book, place)
        return Change(
            np.int64(CANCELLED), slot, old_side, old_price, old_size, old_priority,
            np.int64(NO_SIDE), np.int64(0), np.int64(0), filled,
        )  # fmt: skip
    if side == NO_SIDE or price == UNDEF_PRICE or size <= 0:
        return _change(IGNORED, nowhere)
    if action == M and side == old_side and price == old_price:
        # What F printed has left already: a refill up to the old size is an increase.
        standing = old_size - filled if filled > 0 and size > old_size - filled else old_size
        if size <= standing and (size == old_size or book.meta[RULE] & DECREASE_KEEPS):
            resize(book, slot, size)
            taken = min(filled, old_size - size)
            note_fill(book, slot, -taken)
            return Change(
                np.int64(KEPT), slot, old_side, old_price, old_size, old_priority,
                side, price, size, taken,
            )  # fmt: skip
    move(book, slot, side, price, size, entry)
    effect = np.int64(REPLACED if action == A else MOVED)
    return Change(
        effect, slot, old_side, old_price, old_size, old_priority, side, price, size, filled
    )
