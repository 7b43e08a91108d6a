"""The order book itself: resting orders in exact priority, as arrays and inline functions.

Everything that keeps a book (the ``book`` stage, the simulator) calls these functions from its
own compiled loop; there is no second book.  Integers only, no I/O, no objects: a book is a
:class:`Book` of five arrays that can be copied, saved and resumed after any record.

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

``table`` int64[power of two, 2]: order id -> order slot, open addressing, key beside value; a
negative value is an empty place, so that every id works as a key.

``levels`` int64[capacity, 8], one cache line a price level, columns ``PRICE TOTAL COUNT HEAD
TAIL SIDE``; two columns are free for a caller's own marks (``MARK_1``, ``MARK_2``: zero when a
level opens).

``ladder`` int64[2, capacity, 2]: by side, (key, level slot) sorted by key with the best level
last; key = price for bids, ~price for asks, so that both sides share all code.

``meta`` int64[16]: counters, named below.

Records of which action change what
-----------------------------------
A adds (replacing an order of the same id), C takes away (part of the size keeps priority), M
changes (price change or size increase loses priority; a size decrease keeps it where the
venue's rule says so; an unknown id is an add), R clears.  T, F and N change nothing.  The first
SNAPSHOT row starts a new book.  TOB and MBP records are no orders: ignored.  A or M without a
side, a price or a size cannot rest: an A is ignored, an M to size 0 takes its order away.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.jit import inline, njit
from pipeline.units import F_LAST, F_MBP, F_SNAPSHOT, F_TOB, UNDEF_PRICE

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
META_SIZE: Final = 16

BID: Final = 0
ASK: Final = 1
NO_SIDE: Final = 2

A, C, F, M, N, R, T = (ord(letter) for letter in "ACFMNRT")
"""Action bytes of the records."""

DECREASE_KEEPS: Final = 1
"""Rule bit: a smaller size at the same price keeps the place in the queue."""
PARTIAL_CANCELS: Final = 2
"""Rule bit: a C of less than the order's size leaves the rest in place."""
DEFAULT_RULE: Final = DECREASE_KEEPS | PARTIAL_CANCELS

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

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)
_LOW: Final = 0xFFFFFFFF
_NEAR: Final = 8
"""Levels from the best that are searched one by one before bisection."""


class Book(NamedTuple):
    """The arrays of one book; see the module's docstring."""

    orders: I64
    table: I64
    levels: I64
    ladder: I64
    meta: I64


class Change(NamedTuple):
    """What :func:`apply` did.  ``old_*`` is what left or stood before, ``new_*`` what stands now;
    sizes are the order's whole sizes; ``filled`` is the part of ``old_size`` that F records of
    the same execution had printed.  ``slot`` is -1 where there is no order.
    """

    effect: int
    slot: int
    old_side: int
    old_price: int
    old_size: int
    old_priority: int
    new_side: int
    new_price: int
    new_size: int
    filled: int


# --- making and growing ------------------------------------------------------------------------


def new_book(*, orders: int = 256, levels: int = 64, rule: int = DEFAULT_RULE) -> Book:
    """An empty book with room for some orders and levels (rounded up to powers of two)."""
    capacity = 1 << max(4, (orders - 1).bit_length())
    level_capacity = 1 << max(4, (levels - 1).bit_length())
    table = np.empty((2 * capacity, 2), np.int64)
    table[:, 1] = -1
    meta = np.zeros(META_SIZE, np.int64)
    meta[FREE_ORDER] = meta[FREE_LEVEL] = -1
    meta[RULE] = rule
    return Book(
        orders=np.zeros((capacity, 8), np.int64),
        table=table,
        levels=np.zeros((level_capacity, 8), np.int64),
        ladder=np.zeros((2, level_capacity, 2), np.int64),
        meta=meta,
    )


def grow(book: Book) -> Book:
    """A book with the same contents and room for more; called where :func:`room` is false."""
    orders, table, levels, ladder = book.orders, book.table, book.levels, book.ladder
    if int(book.meta[N_ORDERS]) >= len(orders):
        orders = np.zeros((2 * len(orders), 8), np.int64)
        orders[: len(book.orders)] = book.orders
        table = np.empty((2 * len(orders), 2), np.int64)
        table[:, 1] = -1
        _rehash(book.table, table)
    if int(book.meta[N_LEVELS]) >= len(levels):
        levels = np.zeros((2 * len(levels), 8), np.int64)
        levels[: len(book.levels)] = book.levels
        ladder = np.zeros((2, len(levels), 2), np.int64)
        ladder[:, : len(book.levels)] = book.ladder
    return Book(orders, table, levels, ladder, book.meta)


@inline
def room(book: Book) -> bool:
    """Whether any one record surely fits; if not, :func:`grow` first."""
    return bool(
        book.meta[N_ORDERS] < book.orders.shape[0] and book.meta[N_LEVELS] < book.levels.shape[0]
    )


# --- the map from order ids to slots -----------------------------------------------------------


@inline
def _home(order_id: int, mask: int) -> int:
    # The high half of a multiplicative hash: spreads runs of ids as well as random ones.
    return np.int64((np.uint64(order_id) * _GOLDEN) >> _HALF) & mask


@inline
def _locate(table: I64, order_id: int) -> int:
    """Place of the id in the table, or of the empty place where it would stand."""
    mask = table.shape[0] - 1
    place = _home(order_id, mask)
    while table[place, 1] >= 0 and table[place, 0] != order_id:
        place = (place + 1) & mask
    return place


@inline
def _erase(table: I64, place: int) -> None:
    """Empty a place and move later entries back, so that no search meets a hole."""
    mask = table.shape[0] - 1
    hole = place
    probe = place
    while True:
        probe = (probe + 1) & mask
        if table[probe, 1] < 0:
            break
        home = _home(table[probe, 0], mask)
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            table[hole, 0] = table[probe, 0]
            table[hole, 1] = table[probe, 1]
            hole = probe
    table[hole, 1] = -1


@njit
def _rehash(old: I64, new: I64) -> None:
    for i in range(old.shape[0]):
        if old[i, 1] >= 0:
            place = _locate(new, old[i, 0])
            new[place, 0] = old[i, 0]
            new[place, 1] = old[i, 1]


@inline
def find(book: Book, order_id: int) -> int:
    """Slot of the resting order of that id, or -1."""
    return book.table[_locate(book.table, order_id), 1]


# --- levels ------------------------------------------------------------------------------------


@inline
def key_of(side: int, price: int) -> int:
    """Ladder key of a price: larger is better on both sides.  Its own inverse."""
    return price ^ -side


@inline
def _search(book: Book, side: int, key: int) -> int:
    """Index in the ladder of the best level whose key is not above ``key``; -1 if none is."""
    ladder = book.ladder
    high = book.meta[N_SIDE + side] - 1
    stop = max(high - _NEAR, -1)
    while high > stop:
        if ladder[side, high, 0] <= key:
            return high
        high -= 1
    low = np.int64(0)
    while low <= high:
        middle = (low + high) >> 1
        if ladder[side, middle, 0] <= key:
            low = middle + 1
        else:
            high = middle - 1
    return high


@inline
def find_level(book: Book, side: int, price: int) -> int:
    """Slot in ``levels`` of the level at a price, or -1."""
    key = key_of(side, price)
    at = _search(book, side, key)
    if at >= 0 and book.ladder[side, at, 0] == key:
        return book.ladder[side, at, 1]
    return np.int64(-1)


@inline
def n_levels(book: Book, side: int) -> int:
    """Live price levels of a side."""
    return book.meta[N_SIDE + side]


@inline
def level_at(book: Book, side: int, depth: int) -> int:
    """Slot of the level ``depth`` steps from the best (0 is the touch); it must exist."""
    return book.ladder[side, book.meta[N_SIDE + side] - 1 - depth, 1]


@inline
def best_price(book: Book, side: int) -> int:
    """Price of the touch, or UNDEF_PRICE where the side is empty."""
    count = book.meta[N_SIDE + side]
    if count == 0:
        return np.int64(UNDEF_PRICE)
    return book.ladder[side, count - 1, 0] ^ -side


@inline
def best_size(book: Book, side: int) -> int:
    """Displayed size of the touch, 0 where the side is empty."""
    count = book.meta[N_SIDE + side]
    if count == 0:
        return np.int64(0)
    return book.levels[book.ladder[side, count - 1, 1], TOTAL]


@inline
def _open_level(book: Book, side: int, price: int) -> int:
    """Slot of the level at a price, made if it is not there."""
    meta, ladder, levels = book.meta, book.ladder, book.levels
    key = key_of(side, price)
    at = _search(book, side, key)
    if at >= 0 and ladder[side, at, 0] == key:
        return ladder[side, at, 1]
    slot = meta[FREE_LEVEL]
    if slot >= 0:
        meta[FREE_LEVEL] = levels[slot, HEAD]
    else:
        slot = meta[USED_LEVELS]
        meta[USED_LEVELS] = slot + 1
    levels[slot, PRICE] = price
    levels[slot, TOTAL] = 0
    levels[slot, COUNT] = 0
    levels[slot, HEAD] = -1
    levels[slot, TAIL] = -1
    levels[slot, SIDE] = side
    levels[slot, MARK_1] = 0
    levels[slot, MARK_2] = 0
    count = meta[N_SIDE + side]
    for i in range(count, at + 1, -1):
        ladder[side, i, 0] = ladder[side, i - 1, 0]
        ladder[side, i, 1] = ladder[side, i - 1, 1]
    ladder[side, at + 1, 0] = key
    ladder[side, at + 1, 1] = slot
    meta[N_SIDE + side] = count + 1
    meta[N_LEVELS] += 1
    return slot


@inline
def _close_level(book: Book, slot: int) -> None:
    meta, ladder, levels = book.meta, book.ladder, book.levels
    side = levels[slot, SIDE]
    at = _search(book, side, key_of(side, levels[slot, PRICE]))
    count = meta[N_SIDE + side] - 1
    for i in range(at, count):
        ladder[side, i, 0] = ladder[side, i + 1, 0]
        ladder[side, i, 1] = ladder[side, i + 1, 1]
    meta[N_SIDE + side] = count
    meta[N_LEVELS] -= 1
    levels[slot, HEAD] = meta[FREE_LEVEL]
    meta[FREE_LEVEL] = slot


# --- orders ------------------------------------------------------------------------------------


@inline
def order_side(book: Book, slot: int) -> int:
    """BID or ASK."""
    return book.levels[book.orders[slot, LEVEL], SIDE]


@inline
def order_price(book: Book, slot: int) -> int:
    """Limit price, 1e-9."""
    return book.levels[book.orders[slot, LEVEL], PRICE]


@inline
def first_order(book: Book, level: int) -> int:
    """Slot of the order at the head of a level's queue."""
    return book.levels[level, HEAD]


@inline
def next_order(book: Book, slot: int) -> int:
    """Slot of the next order in the same queue, or -1."""
    return book.orders[slot, NEXT]


@inline
def _join(book: Book, slot: int, side: int, price: int, size: int, entry: int) -> None:
    """Put an order at the tail of the queue at a price."""
    orders, levels, meta = book.orders, book.levels, book.meta
    level = _open_level(book, side, price)
    tail = levels[level, TAIL]
    priority = meta[LAST_PRIORITY] + 1
    meta[LAST_PRIORITY] = priority
    orders[slot, SIZE] = size
    orders[slot, LEVEL] = level
    orders[slot, PREV] = tail
    orders[slot, NEXT] = -1
    orders[slot, PRIORITY] = priority
    orders[slot, ENTRY] = entry
    orders[slot, FILLED] = 0
    if tail >= 0:
        orders[tail, NEXT] = slot
    else:
        levels[level, HEAD] = slot
    levels[level, TAIL] = slot
    levels[level, TOTAL] += size
    levels[level, COUNT] += 1


@inline
def _leave(book: Book, slot: int) -> None:
    """Take an order out of its queue; an emptied level goes."""
    orders, levels = book.orders, book.levels
    level = orders[slot, LEVEL]
    count = levels[level, COUNT] - 1
    if count == 0:
        _close_level(book, level)
        return
    before, after = orders[slot, PREV], orders[slot, NEXT]
    if before >= 0:
        orders[before, NEXT] = after
    else:
        levels[level, HEAD] = after
    if after >= 0:
        orders[after, PREV] = before
    else:
        levels[level, TAIL] = before
    levels[level, COUNT] = count
    levels[level, TOTAL] -= orders[slot, SIZE]


@inline
def _add_at(
    book: Book, place: int, side: int, price: int, size: int, order_id: int, entry: int
) -> int:
    """:func:`add` where the id's empty place in the table is known."""
    orders, meta = book.orders, book.meta
    slot = meta[FREE_ORDER]
    if slot >= 0:
        meta[FREE_ORDER] = orders[slot, NEXT]
    else:
        slot = meta[USED_ORDERS]
        meta[USED_ORDERS] = slot + 1
    meta[N_ORDERS] += 1
    book.table[place, 0] = order_id
    book.table[place, 1] = slot
    orders[slot, ORDER_ID] = order_id
    _join(book, slot, side, price, size, entry)
    return slot


@inline
def _remove_at(book: Book, place: int) -> None:
    """:func:`remove` where the id's place in the table is known."""
    slot = book.table[place, 1]
    _leave(book, slot)
    _erase(book.table, place)
    book.orders[slot, NEXT] = book.meta[FREE_ORDER]
    book.meta[FREE_ORDER] = slot
    book.meta[N_ORDERS] -= 1


@inline
def add(book: Book, side: int, price: int, size: int, order_id: int, entry: int) -> int:
    """Add an order at the tail of its queue and return its slot.

    The id must not rest already, :func:`room` must hold, size must be positive.
    """
    return _add_at(book, _locate(book.table, order_id), side, price, size, order_id, entry)


@inline
def remove(book: Book, slot: int) -> None:
    """Take a resting order away."""
    _remove_at(book, _locate(book.table, book.orders[slot, ORDER_ID]))


@inline
def resize(book: Book, slot: int, size: int) -> None:
    """Give a resting order another positive size; it keeps its place."""
    book.levels[book.orders[slot, LEVEL], TOTAL] += size - book.orders[slot, SIZE]
    book.orders[slot, SIZE] = size


@inline
def move(book: Book, slot: int, side: int, price: int, size: int, entry: int) -> None:
    """Put a resting order at the tail of the queue at a price (its own price included)."""
    _leave(book, slot)
    _join(book, slot, side, price, size, entry)


@inline
def clear(book: Book) -> None:
    """Take all orders away.  Priority numbers go on rising."""
    meta, table = book.meta, book.table
    if meta[N_ORDERS] * 4 < table.shape[0]:
        # Erase one by one: clears of a nearly empty book must not cost the table's size.
        for side in range(2):
            for i in range(meta[N_SIDE + side]):
                slot = book.levels[book.ladder[side, i, 1], HEAD]
                while slot >= 0:
                    _erase(table, _locate(table, book.orders[slot, ORDER_ID]))
                    slot = book.orders[slot, NEXT]
    else:
        for i in range(table.shape[0]):
            table[i, 1] = -1
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
def printed(book: Book, slot: int) -> int:
    """Size that F records of this execution printed for a resting order."""
    word = book.orders[slot, FILLED]
    if word >> 32 != book.meta[EXECUTION]:
        return np.int64(0)
    return word & _LOW


@inline
def note_fill(book: Book, slot: int, size: int) -> None:
    """An F printed ``size`` of a resting order; the book itself does not change."""
    total = min(printed(book, slot) + size, _LOW)
    book.orders[slot, FILLED] = (book.meta[EXECUTION] << 32) | total


@inline
def first_in_queue(book: Book, slot: int) -> bool:
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


# --- records -----------------------------------------------------------------------------------


@inline
def side_code(side: int) -> int:
    """BID, ASK or NO_SIDE of a side byte."""
    if side == 66:  # B
        return np.int64(BID)
    if side == 65:  # A
        return np.int64(ASK)
    return np.int64(NO_SIDE)


@inline
def starts_snapshot(book: Book, flags: int, ts_recv: int) -> bool:
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
    return bool(starts)


@inline
def _change(effect: int, slot: int) -> Change:
    zero = np.int64(0)
    none = np.int64(NO_SIDE)
    return Change(np.int64(effect), slot, none, zero, zero, zero, none, zero, zero, zero)


@inline
def apply(
    book: Book, action: int, side: int, flags: int, price: int, size: int, order_id: int, entry: int
) -> Change:
    """Apply one record to the book and say what changed.

    ``action`` is the record's byte, ``side`` a :func:`side_code`, ``order_id`` the bits of the id
    as int64, ``entry`` its ``ts_event``; all int64.  :func:`room` must hold.  Where
    :func:`starts_snapshot` was true the caller clears the book first.
    """
    nowhere = np.int64(-1)
    if action == T or action == F or action == N:  # noqa: PLR1714 - `in` is slower when compiled
        return _change(NOTHING, nowhere)
    if action == R:
        clear(book)
        return _change(CLEARED, nowhere)
    if flags & (F_TOB | F_MBP) or (action != A and action != C and action != M):  # noqa: PLR1714
        return _change(IGNORED, nowhere)
    place = _locate(book.table, order_id)
    slot = book.table[place, 1]
    if slot < 0:
        if action == C:
            return _change(ORPHAN_CANCEL, nowhere)
        if side == NO_SIDE or price == UNDEF_PRICE or size <= 0:
            return _change(IGNORED, nowhere)
        slot = _add_at(book, place, side, price, size, order_id, entry)
        none, zero = np.int64(NO_SIDE), np.int64(0)
        effect = np.int64(ADDED if action == A else ADDED_BY_MODIFY)
        return Change(effect, slot, none, zero, zero, zero, side, price, size, zero)
    level = book.orders[slot, LEVEL]
    old_side = book.levels[level, SIDE]
    old_price = book.levels[level, PRICE]
    old_size = book.orders[slot, SIZE]
    old_priority = book.orders[slot, PRIORITY]
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
        _remove_at(book, place)
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
