"""The kernel of `order_life`: follows every resting order from its entry to its end.

It plays the records through a book of its own (:mod:`pipeline.book.orders`) and keeps, beside
each resting order, a row of facts about its life (:mod:`pipeline.book.life_tape`); the row goes
out when the order leaves.  Integers only, no I/O.

A snapshot over resting orders does not end their lives.  The driver puts the old book and its
lives on a shelf; snapshot rows with the same id, side and price take their lives up again, and
what is left on the shelf when the snapshot is over has left the book unseen.
"""

from __future__ import annotations

import numpy as np

from pipeline.book import life_tape as lt
from pipeline.book import orders as ob
from pipeline.book.emit import advance, clock_at_end
from pipeline.book.layout import I64, Book, Scalar
from pipeline.book.tape import NO_TIME, NULL, Records
from pipeline.jit import inline, kernel
from pipeline.units import F_LAST, F_MAYBE_BAD_BOOK, F_MBP, F_SNAPSHOT, F_TOB

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
    for field in range(lt.F_EVENT, lt.F_AHEAD_SIZE + 1):
        live[slot, field] = NULL
    live[slot, lt.ORDER_ID] = order_id
    live[slot, lt.ENTERED] = entered


@inline
def _enter(
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
def _find_there(
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
def _take_up(
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
def _fill(book: Book, live: I64, cursor: I64, records: Records, i: Scalar) -> None:
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
def _stays(book: Book, live: I64, cursor: I64, change: ob.Change, ts: Scalar) -> None:
    """A change of an order that goes on resting, in its place or in another."""
    slot, filled, size = change.slot, change.filled, change.new_size
    growth = size - (change.old_size - filled)
    live[slot, lt.EXECUTED] += filled
    _resized(live, slot, growth, size)
    if change.effect == ob.MOVED:
        if change.new_price != change.old_price or change.new_side != change.old_side:
            live[slot, lt.LOST] += 1
            live[slot, lt.REPRICES] += 1
        elif filled > 0 and growth > 0:
            live[slot, lt.REFILLS] += 1
            live[slot, lt.REFILL_SIZE] += growth
        else:
            live[slot, lt.LOST] += 1
        _take_place(book, live, cursor, slot, change.new_side, change.new_price, ts)
    elif growth != 0 or filled == 0:  # what F alone took away is nobody's modification
        live[slot, lt.KEPT if change.effect == ob.KEPT else lt.PARTIAL_CANCELS] += 1


# --- leaving -----------------------------------------------------------------------------------


@inline
def _leave(
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
def _side_leaves(
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
                _leave(
                    live, slot, cursor, out, outcome, ts, size,
                    ahead_orders, ahead_size, count, total,
                )  # fmt: skip
            ahead_orders += 1
            ahead_size += size
            slot = ob.next_order(book, slot)


@inline
def _all_leave(book: Book, live: I64, cursor: I64, out: I64, outcome: Scalar, ts: Scalar) -> None:
    for side in range(2):
        _side_leaves(book, live, cursor, out, np.int64(side), outcome, ts)


@inline
def _clear_shelf(shelf: Book, shelf_live: I64, cursor: I64, out: I64) -> None:
    """The snapshot is over: orders that it did not have are gone."""
    _all_leave(shelf, shelf_live, cursor, out, np.int64(lt.L_SNAPSHOT), np.int64(NULL))
    cursor[lt.SHELF] = 0


# --- records and events ------------------------------------------------------------------------


@inline
def _begin(book: Book, cursor: I64, records: Records, i: Scalar, number: Scalar) -> None:
    """The first record of an event: its key, its time, the touch before it."""
    clock = clock_at_end(records, i, cursor[lt.CLOCK])
    if cursor[lt.FIRST_CLOCK] == NO_TIME:
        cursor[lt.FIRST_CLOCK] = advance(
            cursor[lt.CLOCK], records.ts_recv[i], np.int64(records.flags[i])
        )
    # As in the book's kernel: an execution may go on in the next event.
    after_fill = cursor[lt.ACTION] == ob.F or cursor[lt.ACTION] == ob.T
    if not (after_fill and cursor[lt.TS_EVENT] == records.ts_event[i]):
        ob.next_execution(book)
        cursor[lt.AGGRESSOR] = ob.NO_SIDE
    cursor[lt.OPEN] = 1
    cursor[lt.EVENT] = number
    cursor[lt.EVENT_CLOCK] = clock
    for side in range(2):
        cursor[lt.TOUCH + side] = ob.best_price(book, np.int64(side))


@inline
def _end(cursor: I64) -> None:
    clock = cursor[lt.EVENT_CLOCK]
    cursor[lt.CLOCK] = clock
    after = cursor[lt.ASSUME_AFTER]
    if after >= 0 and clock - cursor[lt.FIRST_CLOCK] >= after:
        cursor[lt.BOOK_KNOWN] = 1
    cursor[lt.OPEN] = 0
    cursor[lt.AT_EVENT] += 1


@inline
def _snapshot_begins(book: Book, flags: Scalar, ts_recv: Scalar) -> Scalar:
    """What ``starts_snapshot`` would say, without following the flags yet."""
    state = book.meta[ob.SNAPSHOT]
    return flags & F_SNAPSHOT != 0 and (
        state == 0 or (state == 2 and book.meta[ob.SNAPSHOT_TS] != ts_recv)
    )


@inline
def _hindrance(
    book: Book, live: I64, shelf: Book, shelf_live: I64, cursor: I64, records: Records,
    out: I64, i: Scalar,
) -> Scalar:  # fmt: skip
    """Why a record cannot be applied yet; clears the shelf of a snapshot that is over."""
    flags = np.int64(records.flags[i])
    free = out.shape[0] - cursor[lt.ROWS]
    begins = _snapshot_begins(book, flags, records.ts_recv[i])
    over = flags & F_SNAPSHOT == 0 or (begins and cursor[lt.FRESH] == 0)
    if cursor[lt.SHELF] > 0 and over:
        if free < cursor[lt.SHELF]:
            return np.int64(lt.MUST_DRAIN)
        free -= cursor[lt.SHELF]
        _clear_shelf(shelf, shelf_live, cursor, out)
    resting = book.meta[ob.N_ORDERS]
    if begins and resting > 0:
        return np.int64(lt.MUST_SHELVE)
    if free < (resting if records.action[i] == ob.R or flags & F_TOB else 1):
        return np.int64(lt.MUST_DRAIN)
    if not ob.room(book) or resting >= live.shape[0]:
        return np.int64(lt.MUST_GROW)
    return np.int64(lt.DONE)


@inline
def _change(
    book: Book, live: I64, shelf: Book, shelf_live: I64, cursor: I64, records: Records,
    out: I64, i: Scalar,
) -> None:  # fmt: skip
    """A record that may change the book."""
    action, flags = np.int64(records.action[i]), np.int64(records.flags[i])
    order_id, ts = records.order_id[i], records.ts_event[i]
    size, side = np.int64(records.size[i]), ob.side_code(records.side[i])
    slot = np.int64(-1)
    top = flags & (F_TOB | F_MBP) == F_TOB and side != ob.NO_SIDE
    if top and action in (ob.A, ob.M):  # all its side is this one level now
        _side_leaves(book, live, cursor, out, side, np.int64(lt.L_REPLACED), ts)
        change = ob.apply(book, action, side, flags, records.price[i], size, order_id, ts)
        if change.slot >= 0:
            live[change.slot, lt.ENTERED] = lt.NO_LIFE
        return
    ahead_orders = ahead_size = queue_orders = queue_size = np.int64(0)
    if action in (ob.A, ob.C, ob.M):
        slot = ob.find(book, order_id)
        if slot >= 0 and (action != ob.M or size == 0):
            ahead_orders, ahead_size = ob.queue_ahead(book, slot)
            queue_orders, queue_size = ob.queue_of(book, slot)
    elif action == ob.R:
        _all_leave(book, live, cursor, out, np.int64(lt.L_CLEARED), ts)
    change = ob.apply(book, action, side, flags, records.price[i], size, order_id, ts)
    effect = change.effect
    if effect in (ob.KEPT, ob.REDUCED, ob.MOVED):
        _stays(book, live, cursor, change, ts)
    if effect in (ob.CANCELLED, ob.REPLACED):
        outcome = lt.L_REPLACED
        if effect == ob.CANCELLED:
            outcome = lt.L_FILLED if change.filled == change.old_size else lt.L_CANCELLED
            live[slot, lt.EXECUTED] += change.filled
            live[slot, lt.CANCELLED] += change.old_size - change.filled
        _leave(
            live, slot, cursor, out, np.int64(outcome), ts, change.old_size,
            ahead_orders, ahead_size, queue_orders, queue_size,
        )  # fmt: skip
    if effect in (ob.ADDED, ob.REPLACED, ob.ADDED_BY_MODIFY):
        slot = change.slot
        if flags & F_SNAPSHOT == 0:
            entered = np.int64(lt.BY_MODIFY if action == ob.M else lt.BY_ADD)
            _enter(
                book, live, cursor, slot, entered, order_id,
                change.new_side, change.new_price, ts,
            )  # fmt: skip
        elif not _take_up(book, live, cursor, slot, order_id, shelf, shelf_live):
            _find_there(book, live, cursor, slot, np.int64(lt.BY_SNAPSHOT), order_id)


@inline
def _record(
    book: Book, live: I64, shelf: Book, shelf_live: I64, cursor: I64, records: Records,
    out: I64, i: Scalar,
) -> None:  # fmt: skip
    action, flags = np.int64(records.action[i]), np.int64(records.flags[i])
    cursor[lt.FRESH] = 0
    if ob.starts_snapshot(book, flags, records.ts_recv[i]) or action == ob.R:
        cursor[lt.BOOK_KNOWN] = 1
        cursor[lt.BOOK_BAD] = 0
    if flags & F_MAYBE_BAD_BOOK:
        cursor[lt.BOOK_BAD] = 1
    cursor[lt.TS_EVENT] = records.ts_event[i]
    cursor[lt.ACTION] = action
    if action == ob.F:
        _fill(book, live, cursor, records, i)
    elif action == ob.T:
        cursor[lt.AGGRESSOR] = ob.side_code(records.side[i])
    else:
        _change(book, live, shelf, shelf_live, cursor, records, out, i)


@kernel
def follow(
    book: Book, live: I64, shelf: Book, shelf_live: I64, cursor: I64, records: Records,
    numbers: I64, out: I64, start: Scalar,
) -> Scalar:  # fmt: skip
    """Follow the orders of one book through records from ``start`` on.

    Parameters
    ----------
    book, live
        The book and the lives of its orders, int64[order slots, LIVE_FIELDS]; changed in place.
    shelf, shelf_live
        The same from before the snapshot under way; looked at where ``cursor[SHELF]`` > 0.
    cursor
        int64, see :mod:`pipeline.book.life_tape`.
    records
        Whole events of one book.  An event still open after the last record is a snapshot that
        ends there without an F_LAST.
    numbers
        Event keys of the event ends in ``records``, in order.
    out
        int64[rows, FIELDS] to fill from ``cursor[ROWS]`` on.

    Returns
    -------
    int
        Index of the first record not applied; ``cursor[REASON]`` says why.
    """
    end = records.flags.shape[0]
    i = np.int64(start)
    cursor[lt.REASON] = lt.DONE
    while True:
        # A snapshot without F_LAST ends where another record follows.
        rows_arrive = cursor[lt.OPEN] != 0 and book.meta[ob.SNAPSHOT] == 1
        if rows_arrive and (i == end or records.flags[i] & F_SNAPSHOT == 0):
            _end(cursor)
        if i == end:
            break
        if cursor[lt.OPEN] == 0:
            _begin(book, cursor, records, i, numbers[cursor[lt.AT_EVENT]])
        reason = _hindrance(book, live, shelf, shelf_live, cursor, records, out, i)
        if reason != lt.DONE:
            cursor[lt.REASON] = reason
            break
        _record(book, live, shelf, shelf_live, cursor, records, out, i)
        i += 1
        if records.flags[i - 1] & F_LAST:
            _end(cursor)
    return i


@kernel
def adopt(book: Book, live: I64, cursor: I64, order_ids: I64) -> None:
    """Start the lives of orders carried over from the day before."""
    for k in range(order_ids.shape[0]):
        slot = ob.find(book, order_ids[k])
        if slot >= 0 and order_ids[k] == ob.TOB_ORDER - ob.order_side(book, slot):
            live[slot, lt.ENTERED] = lt.NO_LIFE
        elif slot >= 0:
            _find_there(book, live, cursor, slot, np.int64(lt.CARRIED), order_ids[k])


@kernel
def finish(book: Book, live: I64, shelf: Book, shelf_live: I64, cursor: I64, out: I64) -> None:
    """Write the rows of what a last snapshot did not have, and of what still rests."""
    if cursor[lt.SHELF] > 0:
        _clear_shelf(shelf, shelf_live, cursor, out)
    _all_leave(book, live, cursor, out, np.int64(lt.L_RESTING), np.int64(NULL))
