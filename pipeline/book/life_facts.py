"""What happens to one order, as its row of facts records it: it enters, rests, leaves.

The pieces of :mod:`pipeline.book.life`'s loop that fill the rows; columns and codes are in
:mod:`pipeline.book.life_tape`.  Integers only, no I/O.
"""

from __future__ import annotations

import numpy as np

from pipeline.book import life_tape as lt
from pipeline.book import orders as ob
from pipeline.book.layout import I64, Book, Scalar
from pipeline.book.tape import NULL, Records
from pipeline.jit import inline

_FAR = 2**62
"""Prices beyond have no distances: their differences need not fit."""


# --- entering ----------------------------------------------------------------------------------


@inline
def _distance(side: Scalar, touch: Scalar, price: Scalar) -> Scalar:
    """How far a price is behind a touch (negative: better than it); NULL where undefined."""
    if touch == NULL or abs(touch) >= _FAR or abs(price) >= _FAR:
        return np.int64(NULL)
    return touch - price if side == ob.BID else price - touch


@inline
def _take_place(
    book: Book, live: I64, cursor: I64, slot: Scalar, side: Scalar, price: Scalar, ts: Scalar
) -> None:
    """An order has joined the tail of a queue."""
    size = ob.order_size(book, slot)
    count, total = ob.queue_of(book, slot)
    live[slot, lt.SIDE] = side
    live[slot, lt.PRICE] = price
    live[slot, lt.P_EVENT] = cursor[lt.EVENT]
    live[slot, lt.P_RECV] = cursor[lt.EVENT_CLOCK]
    live[slot, lt.P_TS] = ts
    live[slot, lt.P_SIZE] = size
    live[slot, lt.P_AHEAD_ORDERS] = count - 1
    live[slot, lt.P_AHEAD_SIZE] = total - size
    live[slot, lt.P_DISTANCE] = _distance(side, cursor[lt.TOUCH + side], price)
    live[slot, lt.P_OPPOSITE] = _distance(side, cursor[lt.TOUCH + 1 - side], price)
    live[slot, lt.VALID] = cursor[lt.BOOK_KNOWN] & (1 - cursor[lt.BOOK_BAD])


@inline
def _start(live: I64, slot: Scalar, entered: Scalar, order_id: Scalar) -> None:
    """A life about which nothing is known yet."""
    for field in range(lt.LIVE_FIELDS):
        live[slot, field] = 0
    for field in range(lt.E_EVENT, lt.E_OPPOSITE + 1):
        live[slot, field] = NULL
    for field in range(lt.F_EVENT, lt.LOST_RECV + 1):
        live[slot, field] = NULL
    live[slot, lt.ORDER_ID] = order_id
    live[slot, lt.ENTERED] = entered


@inline
def enter(
    book: Book, live: I64, cursor: I64, slot: Scalar, entered: Scalar, order_id: Scalar,
    side: Scalar, price: Scalar, ts: Scalar,
) -> None:  # fmt: skip
    """An order enters the book by a record."""
    _start(live, slot, entered, order_id)
    _take_place(book, live, cursor, slot, side, price, ts)
    size = live[slot, lt.P_SIZE]
    live[slot, lt.FIRST_PRICE] = price
    live[slot, lt.FIRST_SIZE] = size
    live[slot, lt.MAX_SIZE] = size
    live[slot, lt.E_EVENT] = live[slot, lt.P_EVENT]
    live[slot, lt.E_RECV] = live[slot, lt.P_RECV]
    live[slot, lt.E_TS] = live[slot, lt.P_TS]
    live[slot, lt.E_AHEAD_ORDERS] = live[slot, lt.P_AHEAD_ORDERS]
    live[slot, lt.E_AHEAD_SIZE] = live[slot, lt.P_AHEAD_SIZE]
    live[slot, lt.E_DISTANCE] = live[slot, lt.P_DISTANCE]
    live[slot, lt.E_OPPOSITE] = live[slot, lt.P_OPPOSITE]


@inline
def find_there(
    book: Book, live: I64, cursor: I64, slot: Scalar, entered: Scalar, order_id: Scalar
) -> None:
    """An order that is there already: in a snapshot, or carried over from the day before."""
    _start(live, slot, entered, order_id)
    for field in range(lt.P_EVENT, lt.P_OPPOSITE + 1):
        live[slot, field] = NULL
    size = ob.order_size(book, slot)
    price = ob.order_price(book, slot)
    live[slot, lt.SIDE] = ob.order_side(book, slot)
    live[slot, lt.FIRST_PRICE] = price
    live[slot, lt.FIRST_SIZE] = size
    live[slot, lt.MAX_SIZE] = size
    live[slot, lt.PRICE] = price
    live[slot, lt.P_TS] = ob.order_entry(book, slot)
    live[slot, lt.VALID] = cursor[lt.BOOK_KNOWN] & (1 - cursor[lt.BOOK_BAD])


@inline
def take_up(
    book: Book, live: I64, cursor: I64, slot: Scalar, order_id: Scalar, shelf: Book,
    shelf_live: I64,
) -> Scalar:  # fmt: skip
    """Go on with the life of an order on the shelf; false where it has no such order."""
    if cursor[lt.SHELF] == 0:
        return False
    old = ob.find(shelf, order_id)
    if old < 0 or shelf_live[old, lt.ENTERED] == lt.NO_LIFE:
        return False
    side, price = ob.order_side(book, slot), ob.order_price(book, slot)
    if ob.order_side(shelf, old) != side or ob.order_price(shelf, old) != price:
        return False
    for field in range(lt.LIVE_FIELDS):
        live[slot, field] = shelf_live[old, field]
    shelf_live[old, lt.ENTERED] = lt.NO_LIFE
    cursor[lt.SHELF] -= 1
    size = ob.order_size(book, slot)
    _resized(live, slot, size - ob.order_size(shelf, old), size)
    return True


# --- resting -----------------------------------------------------------------------------------


@inline
def _resized(live: I64, slot: Scalar, growth: Scalar, size: Scalar) -> None:
    """The displayed size grew or shrank, fills apart."""
    if growth > 0:
        live[slot, lt.ADDED] += growth
    else:
        live[slot, lt.CANCELLED] -= growth
    live[slot, lt.MAX_SIZE] = max(live[slot, lt.MAX_SIZE], size)


@inline
def _met_in_queue(cursor: I64, side: Scalar) -> Scalar:
    """Whether an F is of an order that an aggressor met at its place: in normal trading, on the
    other side.  A resting order modified to cross prints an F on the aggressor's own side.
    """
    bid, ask = cursor[lt.TOUCH], cursor[lt.TOUCH + 1]
    normal = NULL not in (bid, ask) and bid < ask
    aggressor = cursor[lt.AGGRESSOR]
    return normal and aggressor != ob.NO_SIDE and side == 1 - aggressor


@inline
def fill(book: Book, live: I64, cursor: I64, records: Records, i: Scalar) -> None:
    """An F record of a resting order."""
    slot = ob.find(book, records.order_id[i])
    if slot < 0:
        return
    size = np.int64(records.size[i])
    first = live[slot, lt.FILLS] == 0
    if first:
        live[slot, lt.F_EVENT] = cursor[lt.EVENT]
        live[slot, lt.F_RECV] = cursor[lt.EVENT_CLOCK]
        live[slot, lt.F_TS] = records.ts_event[i]
    if _met_in_queue(cursor, ob.side_code(records.side[i])):
        live[slot, lt.QUEUE_FILLS] += 1
        if first:
            count, ahead = ob.unfilled_ahead(book, slot)
            live[slot, lt.F_AHEAD_ORDERS] = count
            live[slot, lt.F_AHEAD_SIZE] = ahead
        if not ob.first_in_queue(book, slot):
            live[slot, lt.OUT_OF_TURN] += 1
    live[slot, lt.FILLS] += 1
    live[slot, lt.FILL_SIZE] += size
    ob.note_fill(book, slot, size)


@inline
def stays(book: Book, live: I64, cursor: I64, change: ob.Change, ts: Scalar) -> None:
    """A change of an order that goes on resting, in its place or in another."""
    slot, filled, size = change.slot, change.filled, change.new_size
    growth = size - (change.old_size - filled)
    live[slot, lt.EXECUTED] += filled
    _resized(live, slot, growth, size)
    if change.effect == ob.MOVED:
        elsewhere = change.new_price != change.old_price or change.new_side != change.old_side
        if filled > 0 and growth > 0 and not elsewhere:
            live[slot, lt.REFILLS] += 1
            live[slot, lt.REFILL_SIZE] += growth
        else:
            live[slot, lt.LOST] += 1
            live[slot, lt.REPRICES] += elsewhere
            if live[slot, lt.LOST_RECV] == NULL:
                live[slot, lt.LOST_RECV] = cursor[lt.EVENT_CLOCK]
        _take_place(book, live, cursor, slot, change.new_side, change.new_price, ts)
    elif growth != 0 or filled == 0:  # what F alone took away is nobody's modification
        live[slot, lt.KEPT if change.effect == ob.KEPT else lt.PARTIAL_CANCELS] += 1


# --- leaving -----------------------------------------------------------------------------------


@inline
def leave(
    live: I64, slot: Scalar, cursor: I64, out: I64, outcome: Scalar, ts: Scalar, size: Scalar,
    ahead_orders: Scalar, ahead_size: Scalar, queue_orders: Scalar, queue_size: Scalar,
) -> None:  # fmt: skip
    """Write the row of a life that ends, or that the day's end cuts off."""
    n = cursor[lt.ROWS]
    for field in range(lt.LIVE_FIELDS):
        out[n, field] = live[slot, field]
    resting = outcome == lt.L_RESTING
    out[n, lt.OUTCOME] = outcome
    out[n, lt.L_EVENT] = NULL if resting else cursor[lt.EVENT]
    out[n, lt.L_RECV] = NULL if resting else cursor[lt.EVENT_CLOCK]
    out[n, lt.L_TS] = ts
    out[n, lt.L_SIZE] = size
    out[n, lt.L_AHEAD_ORDERS] = ahead_orders
    out[n, lt.L_AHEAD_SIZE] = ahead_size
    out[n, lt.L_QUEUE_ORDERS] = queue_orders
    out[n, lt.L_QUEUE_SIZE] = queue_size
    out[n, lt.KNOWN_AT] = out[n, lt.L_RECV]
    out[n, lt.WRITTEN] = cursor[lt.EVENT]
    cursor[lt.ROWS] = n + 1


@inline
def side_leaves(
    book: Book, live: I64, cursor: I64, out: I64, side: Scalar, outcome: Scalar, ts: Scalar
) -> None:
    """Write the rows of all orders of a side, queue by queue."""
    for depth in range(ob.n_levels(book, side)):
        slot = ob.first_order(book, ob.level_at(book, side, np.int64(depth)))
        count, total = ob.queue_of(book, slot)
        ahead_orders, ahead_size = np.int64(0), np.int64(0)
        while slot >= 0:
            size = ob.order_size(book, slot)
            if live[slot, lt.ENTERED] != lt.NO_LIFE:
                leave(
                    live, slot, cursor, out, outcome, ts, size,
                    ahead_orders, ahead_size, count, total,
                )  # fmt: skip
            ahead_orders += 1
            ahead_size += size
            slot = ob.next_order(book, slot)


@inline
def all_leave(book: Book, live: I64, cursor: I64, out: I64, outcome: Scalar, ts: Scalar) -> None:
    for side in range(2):
        side_leaves(book, live, cursor, out, np.int64(side), outcome, ts)


@inline
def clear_shelf(shelf: Book, shelf_live: I64, cursor: I64, out: I64) -> None:
    """The snapshot is over: orders that it did not have are gone."""
    all_leave(shelf, shelf_live, cursor, out, np.int64(lt.L_SNAPSHOT), np.int64(NULL))
    cursor[lt.SHELF] = 0
