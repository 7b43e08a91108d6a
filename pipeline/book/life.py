"""The kernel of `order_life`: follows every resting order from its entry to its end.

It plays the records through a book of its own (:mod:`pipeline.book.orders`) and keeps, beside
each resting order, a row of facts about its life (:mod:`pipeline.book.life_facts`); the row
goes out when the order leaves.  Integers only, no I/O.

A snapshot over resting orders does not end their lives.  The driver puts the old book and its
lives on a shelf; snapshot rows with the same id, side and price take their lives up again, and
what is left on the shelf when the snapshot is over has left the book unseen.
"""

from __future__ import annotations

import numpy as np

from pipeline.book import life_facts as facts
from pipeline.book import life_tape as lt
from pipeline.book import orders as ob
from pipeline.book.emit import advance, clock_at_end
from pipeline.book.layout import I64, Book, Scalar
from pipeline.book.tape import NO_TIME, NULL, Records
from pipeline.jit import inline, kernel
from pipeline.units import F_LAST, F_MAYBE_BAD_BOOK, F_MBP, F_SNAPSHOT, F_TOB


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
        facts.clear_shelf(shelf, shelf_live, cursor, out)
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
        facts.side_leaves(book, live, cursor, out, side, np.int64(lt.L_REPLACED), ts)
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
        facts.all_leave(book, live, cursor, out, np.int64(lt.L_CLEARED), ts)
    change = ob.apply(book, action, side, flags, records.price[i], size, order_id, ts)
    effect = change.effect
    if effect in (ob.KEPT, ob.REDUCED, ob.MOVED):
        facts.stays(book, live, cursor, change, ts)
    if effect in (ob.CANCELLED, ob.REPLACED):
        outcome = lt.L_REPLACED
        if effect == ob.CANCELLED:
            outcome = lt.L_FILLED if change.filled == change.old_size else lt.L_CANCELLED
            live[slot, lt.EXECUTED] += change.filled
            live[slot, lt.CANCELLED] += change.old_size - change.filled
        facts.leave(
            live, slot, cursor, out, np.int64(outcome), ts, change.old_size,
            ahead_orders, ahead_size, queue_orders, queue_size,
        )  # fmt: skip
    if effect in (ob.ADDED, ob.REPLACED, ob.ADDED_BY_MODIFY):
        slot = change.slot
        if flags & F_SNAPSHOT == 0:
            entered = np.int64(lt.BY_MODIFY if action == ob.M else lt.BY_ADD)
            facts.enter(
                book, live, cursor, slot, entered, order_id,
                change.new_side, change.new_price, ts,
            )  # fmt: skip
        elif not facts.take_up(book, live, cursor, slot, order_id, shelf, shelf_live):
            facts.find_there(book, live, cursor, slot, np.int64(lt.BY_SNAPSHOT), order_id)


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
        facts.fill(book, live, cursor, records, i)
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
            facts.find_there(book, live, cursor, slot, np.int64(lt.CARRIED), order_ids[k])


@kernel
def finish(book: Book, live: I64, shelf: Book, shelf_live: I64, cursor: I64, out: I64) -> None:
    """Write the rows of what a last snapshot did not have, and of what still rests."""
    if cursor[lt.SHELF] > 0:
        facts.clear_shelf(shelf, shelf_live, cursor, out)
    facts.all_leave(book, live, cursor, out, np.int64(lt.L_RESTING), np.int64(NULL))
