"""The kernel of `queue`: plays records through a book of its own and writes the rows asked for.

Like the kernel of `order_life` it leaves the book's own kernel alone; unlike it, it writes a row
at given event ends: those of the rows of `book`.  Integers only, no I/O.

A snapshot starts everything anew: its orders are there, and how old they are nobody knows.
"""

from __future__ import annotations

import numpy as np

from pipeline.book import orders as ob
from pipeline.book import queue_facts as qf
from pipeline.book import queue_tape as qt
from pipeline.book.emit import clock_at_end
from pipeline.book.layout import I64, Book, Scalar
from pipeline.book.queue_tape import Facts
from pipeline.book.tape import NO_TIME, NULL, Records
from pipeline.jit import inline, inner, kernel
from pipeline.units import F_LAST, F_MBP, F_SNAPSHOT, F_TOB

# --- rows --------------------------------------------------------------------------------------


@inline
def _select(values: I64, n: Scalar, k: Scalar) -> Scalar:
    """The k-th smallest of the first n values, which change places."""
    low, high = np.int64(0), n - 1
    while low < high:
        pivot, i, j = values[(low + high) >> 1], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@inner
def _look(book: Book, facts: Facts, side: Scalar) -> None:
    """What takes a walk: medians and sizes of the touch, the largest order near it."""
    cursor, sizes = facts.cursor, facts.sizes
    level = ob.level_at(book, side, np.int64(0))
    count = book.levels[level, ob.COUNT]
    cursor[qt.MEDIAN_PLACE + side] = cursor[qt.MEDIAN_SZ + side] = NULL
    counts, classes = facts.counts[side], facts.classes
    counts[:] = NULL
    if count <= qt.LONGEST_WALK:
        counts[:] = 0
        slot, middle = ob.first_order(book, level), (count - 1) // 2
        for k in range(count):
            sizes[k] = book.orders[slot, ob.SIZE]
            number = np.int64(0)
            while number < classes.shape[0] and sizes[k] >= classes[number]:
                counts[number] += 1
                number += 1
            if k == middle:
                cursor[qt.MEDIAN_PLACE + side] = facts.orders[slot, qt.L_PLACE]
            slot = ob.next_order(book, slot)
        cursor[qt.MEDIAN_SZ + side] = _select(sizes, count, middle)
    tick = cursor[qt.TICK]
    if tick == 0:
        return
    touch = book.levels[level, ob.PRICE]
    cursor[qt.LARGE_SZ + side] = 0
    for depth in range(ob.n_levels(book, side)):
        level = ob.level_at(book, side, np.int64(depth))
        price = book.levels[level, ob.PRICE]
        if depth > 0 and (abs(touch) >= qf.FAR or abs(price) >= qf.FAR):
            break
        ticks = abs(touch - price) // tick
        if ticks > qt.NEAR_TICKS:
            break
        slot = qf.largest(book, facts, level)
        if book.orders[slot, ob.SIZE] > cursor[qt.LARGE_SZ + side]:
            cursor[qt.LARGE_SZ + side] = book.orders[slot, ob.SIZE]
            cursor[qt.LARGE_TICKS + side] = ticks
            cursor[qt.LARGE_PLACE + side] = facts.orders[slot, qt.L_PLACE]


@inline
def _age(ts: Scalar, place: Scalar) -> Scalar:
    return np.int64(NULL) if place == NULL else ts - place


@inner
def _state(book: Book, facts: Facts, side: Scalar, ts: Scalar, out: I64) -> None:
    """The columns of a side's touch; ``out`` is the part of the row that they fill."""
    cursor, levels = facts.cursor, facts.levels
    for k in range(qt.STATES):
        out[k] = 0
    if cursor[qt.TICK] == 0:
        out[qt.S_LARGE_SZ] = NULL
    if ob.n_levels(book, side) == 0:
        out[qt.S_FRONT_AGE] = out[qt.S_MEDIAN_AGE] = out[qt.S_MEDIAN_SZ] = NULL
        out[qt.S_LARGE_TICKS] = out[qt.S_LARGE_AGE] = NULL
        return
    if cursor[qt.DIRTY + side] != 0:
        _look(book, facts, side)
        cursor[qt.DIRTY + side] = 0
    level = ob.level_at(book, side, np.int64(0))
    first = ob.first_order(book, level)
    known = levels[level, qt.V_KNOWN_SZ]
    out[qt.S_KNOWN_SZ] = known
    out[qt.S_KNOWN_CT] = levels[level, qt.V_KNOWN_CT]
    out[qt.S_AGE_SUM] = NULL
    if known < qt.KNOWN_LIMIT:
        out[qt.S_AGE_SUM] = known * qf.micros(cursor, ts) - levels[level, qt.V_TIME]
    out[qt.S_FRONT_AGE] = _age(ts, facts.orders[first, qt.L_PLACE])
    out[qt.S_FRONT_SZ] = book.orders[first, ob.SIZE]
    out[qt.S_MEDIAN_AGE] = _age(ts, cursor[qt.MEDIAN_PLACE + side])
    out[qt.S_MEDIAN_SZ] = cursor[qt.MEDIAN_SZ + side]
    out[qt.S_MAX_SZ] = book.orders[qf.largest(book, facts, level), ob.SIZE]
    out[qt.S_SQUARE] = NULL
    if book.levels[level, ob.TOTAL] < qt.SQUARE_LIMIT:
        out[qt.S_SQUARE] = levels[level, qt.V_SQUARE]
    out[qt.S_MODS] = levels[level, qt.V_MODS]
    out[qt.S_MODS_MAX] = qf.most_modified(book, facts, level)
    out[qt.S_REFILLS] = levels[level, qt.V_REFILLS]
    out[qt.S_TRADED] = levels[level, qt.V_TRADED]
    out[qt.S_FILLED] = levels[level, qt.V_FILLED]
    for k in range(facts.counts.shape[1]):
        out[qt.S_FROM + k] = facts.counts[side, k]
    out[qt.S_LARGE_TICKS] = out[qt.S_LARGE_AGE] = NULL
    if cursor[qt.TICK] != 0:
        out[qt.S_LARGE_SZ] = cursor[qt.LARGE_SZ + side]
        out[qt.S_LARGE_TICKS] = cursor[qt.LARGE_TICKS + side]
        out[qt.S_LARGE_AGE] = _age(ts, cursor[qt.LARGE_PLACE + side])


@inner
def _write(book: Book, facts: Facts, number: Scalar, ts: Scalar, out: I64) -> None:
    """The row of an event end, as of the time ``ts`` of the row of `book`."""
    out[0] = number
    for side in range(2):
        at = 1 + side * qt.STATES
        _state(book, facts, np.int64(side), ts, out[at : at + qt.STATES])
    at = 1 + 2 * qt.STATES
    for k in range(facts.flows.shape[0]):
        out[at + k] = facts.flows[k]
        facts.flows[k] = 0
    if facts.cursor[qt.TICK] == 0:
        for side in range(2):
            for k in range(qt.F_ADD_1, qt.F_DISTANCE + 1):
                out[at + side * qt.FLOWS + k] = NULL


# --- events ------------------------------------------------------------------------------------


@inline
def _begin(book: Book, facts: Facts, records: Records, i: Scalar) -> None:
    """The first record of an event: its time, the touch before it, levels that are due."""
    cursor = facts.cursor
    cursor[qt.EVENT_CLOCK] = clock_at_end(records, i, cursor[qt.CLOCK])
    if cursor[qt.FIRST_BIRTH] < cursor[qt.N_BIRTHS]:
        qf.see_births(book, facts)
    # As in the book's kernel: an execution may go on in the next event.
    after_fill = cursor[qt.ACTION] == ob.F or cursor[qt.ACTION] == ob.T
    if not (after_fill and cursor[qt.TS_EVENT] == records.ts_event[i]):
        ob.next_execution(book)
    cursor[qt.OPEN] = 1
    for side in range(2):
        cursor[qt.TOUCH + side] = ob.best_price(book, np.int64(side))


@inline
def _end(book: Book, facts: Facts, numbers: I64, due: I64, out: I64) -> None:
    cursor = facts.cursor
    cursor[qt.CLOCK] = cursor[qt.EVENT_CLOCK]
    at = cursor[qt.AT_EVENT]
    if due[at] != NO_TIME:
        _write(book, facts, numbers[at], due[at], out[cursor[qt.ROWS]])
        cursor[qt.ROWS] += 1
    cursor[qt.AT_EVENT] = at + 1
    cursor[qt.OPEN] = 0


# --- records -----------------------------------------------------------------------------------


@inner
def _join(book: Book, facts: Facts, change: ob.Change, alone: Scalar, quiet: Scalar) -> None:
    """An order stands in a queue it joined; ``alone``: it was all of its old one."""
    opened = qf.join_level(book, facts, change.slot)
    if not opened:
        return
    here = change.new_price == change.old_price and change.new_side == change.old_side
    if alone and here:  # for the market the level never closed
        level = book.orders[change.slot, ob.LEVEL]
        for k in range(qt.V_LIFE - qt.V_REFILLS + 1):
            facts.levels[level, qt.V_REFILLS + k] = facts.cursor[qt.KEPT + k]
    elif not quiet:
        qf.opened_level(book, facts, change)


@inline
def _change(book: Book, facts: Facts, records: Records, i: Scalar) -> None:
    """A record that may change the book."""
    cursor = facts.cursor
    action, flags = np.int64(records.action[i]), np.int64(records.flags[i])
    size, side = np.int64(records.size[i]), ob.side_code(records.side[i])
    order_id, quiet = records.order_id[i], flags & F_SNAPSHOT != 0
    slot, level, ahead = np.int64(-1), np.int64(-1), np.int64(-1)
    count = printed = np.int64(0)
    if flags & (F_TOB | F_MBP) == 0 and action in (ob.A, ob.C, ob.M):
        slot = ob.find(book, order_id)
    if slot >= 0:
        level, printed = book.orders[slot, ob.LEVEL], ob.printed(book, slot)
        count = book.levels[level, ob.COUNT]
        if count == 1:
            for k in range(qt.V_LIFE - qt.V_REFILLS + 1):
                cursor[qt.KEPT + k] = facts.levels[level, qt.V_REFILLS + k]
        touch = cursor[qt.TOUCH + book.levels[level, ob.SIDE]]
        leaves = action == ob.C or (action == ob.M and size == 0)
        if leaves and book.levels[level, ob.PRICE] == touch:
            ahead, _ = ob.queue_ahead(book, slot)
    price, ts = records.price[i], records.ts_event[i]
    change = ob.apply(book, action, side, flags, price, size, order_id, ts)
    effect = change.effect
    if effect == ob.CLEARED:
        cursor[qt.DIRTY] = cursor[qt.DIRTY + 1] = 1
    if effect < ob.ADDED or effect > ob.MOVED:
        return
    if change.old_side != ob.NO_SIDE:
        cursor[qt.DIRTY + change.old_side] = 1
    if change.new_side != ob.NO_SIDE:
        cursor[qt.DIRTY + change.new_side] = 1
    if flags & F_TOB:
        if change.slot >= 0:
            qf.unknown(facts, change.slot, change.new_size)
            qf.join_level(book, facts, change.slot)
        return
    if effect in (ob.KEPT, ob.REDUCED):
        qf.stayed(facts, level, change, quiet)
        if effect == ob.REDUCED and not quiet:
            qf.cancelled(facts, change, ahead, count, printed)
        return
    if level >= 0:
        qf.leave_level(facts, level, slot, change.old_size)
        facts.levels[level, qt.V_FILLED] += change.filled
        if count == 1:
            cursor[qt.KEPT + 2] += change.filled
    refill = False
    if effect == ob.CANCELLED:
        if not quiet:
            qf.cancelled(facts, change, ahead, count, printed)
        return
    if quiet or effect == ob.ADDED_BY_MODIFY:
        qf.unknown(facts, change.slot, change.new_size)
    elif effect == ob.MOVED:
        refill = qf.moved(facts, change, printed)
    else:
        qf.added(facts, change.slot, change.new_side, change.new_price, change.new_size)
    _join(book, facts, change, count == 1, quiet)
    if refill:
        facts.levels[book.orders[change.slot, ob.LEVEL], qt.V_REFILLS] += 1


@inline
def _record(book: Book, facts: Facts, records: Records, i: Scalar) -> None:
    cursor = facts.cursor
    action, flags = np.int64(records.action[i]), np.int64(records.flags[i])
    if ob.starts_snapshot(book, flags, records.ts_recv[i]):
        ob.clear(book)
        cursor[qt.DIRTY] = cursor[qt.DIRTY + 1] = 1
    cursor[qt.TS_EVENT] = records.ts_event[i]
    cursor[qt.ACTION] = action
    if action == ob.F:
        slot = ob.find(book, records.order_id[i])
        if slot >= 0:
            ob.note_fill(book, slot, np.int64(records.size[i]))
    elif action == ob.T:
        side = ob.side_code(records.side[i])
        if side != ob.NO_SIDE:
            level = ob.find_level(book, 1 - side, records.price[i])
            if level >= 0:
                facts.levels[level, qt.V_TRADED] += np.int64(records.size[i])
    else:
        _change(book, facts, records, i)


@kernel
def observe(
    book: Book, facts: Facts, records: Records, numbers: I64, due: I64, out: I64, start: Scalar
) -> Scalar:
    """Play records through one book from ``start`` on.

    Parameters
    ----------
    book, facts
        State; changed in place.
    records
        Whole events of one book.  An event still open after the last record is a snapshot that
        ends there without an F_LAST.
    numbers, due
        Event keys of the event ends in ``records``, in order, and the time of the row that is
        due there, NO_TIME where none is.
    out
        int64[rows, ALL] to fill from ``cursor[ROWS]`` on.

    Returns
    -------
    int
        Index of the first record not applied; ``cursor[REASON]`` says why.
    """
    cursor, end = facts.cursor, records.flags.shape[0]
    i = np.int64(start)
    cursor[qt.REASON] = qt.DONE
    while True:
        # A snapshot without F_LAST ends where another record follows.
        rows_arrive = cursor[qt.OPEN] != 0 and book.meta[ob.SNAPSHOT] == 1
        if not (rows_arrive and (i == end or records.flags[i] & F_SNAPSHOT == 0)):
            if i == end:
                break
            if not ob.room(book):
                cursor[qt.REASON] = qt.MUST_GROW
                break
            if cursor[qt.ROWS] == out.shape[0]:
                cursor[qt.REASON] = qt.MUST_DRAIN
                break
            if cursor[qt.OPEN] == 0:
                _begin(book, facts, records, i)
            _record(book, facts, records, i)
            i += 1
            if records.flags[i - 1] & F_LAST == 0:
                continue
        _end(book, facts, numbers, due, out)
    return i


@kernel
def adopt(book: Book, facts: Facts) -> None:
    """Take over the orders of a book whose past nobody saw: those of the day before."""
    for side in range(2):
        for depth in range(ob.n_levels(book, np.int64(side))):
            level = ob.level_at(book, np.int64(side), np.int64(depth))
            count = book.levels[level, ob.COUNT]
            book.levels[level, ob.COUNT] = 1  # the first opens it
            slot = ob.first_order(book, level)
            while slot >= 0:
                qf.unknown(facts, slot, book.orders[slot, ob.SIZE])
                qf.join_level(book, facts, slot)
                book.levels[level, ob.COUNT] = count + 1
                slot = ob.next_order(book, slot)
            book.levels[level, ob.COUNT] = count
