"""The loop over records: applies them to a book and fills the rows of its tables.

Integers only, no I/O.  One call takes whole events of one book; it stops before a record that
might not fit the book's arrays and says where, the driver grows them and calls again.

The event number counts event ends: F_LAST, or the end of a snapshot without F_LAST where the
first other record follows.  ``ts_recv`` is followed as a running maximum; rows flagged
BAD_TS_RECV do not move it, except snapshot rows, whose time is the vendor's own.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.book import orders as ob
from pipeline.book import tape
from pipeline.book.emit import (
    LARGEST,
    TENTH_LEVEL,
    advance,
    begin_output,
    clock_at_end,
    end_output,
    enter_flow,
    grid_row,
    key_at,
    reread,
    touch_row,
    write_row,
)
from pipeline.book.idmap import foresee
from pipeline.book.layout import I64, SCRATCH, Book, Scalar
from pipeline.book.tape import BEST, WORST, Prints, Records, Rows, Run
from pipeline.jit import inline, inner, kernel
from pipeline.units import F_BAD_TS_RECV, F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT, F_TOB

_AHEAD: Final = 16
"""Records whose orders are looked for ahead of time, together."""

# --- events ------------------------------------------------------------------------------------


@inner
def _grid_before(book: Book, run: Run, rows: Rows, records: Records, i: Scalar) -> None:
    """Write the grid row that is due before the event that starts at record ``i``."""
    grid_row(book, run, rows, clock_at_end(records, i, run.cursor[tape.CLOCK]))


@inline
def _begin(
    book: Book, run: Run, rows: Rows, records: Records, i: Scalar, mode: Scalar, flow: Scalar
) -> None:
    """The first record of an event: what was before it, for everything relative to it."""
    cursor = run.cursor
    if mode == tape.GRID:
        _grid_before(book, run, rows, records, i)
    # On some venues T, F and C of one execution are events of their own: what F announced
    # holds on as long as the venue's clock stands still.
    after_fill = cursor[tape.ACTION] == ob.F or cursor[tape.ACTION] == ob.T
    if not (after_fill and cursor[tape.TS_EVENT] == records.ts_event[np.uint64(i)]):
        ob.next_execution(book)
        cursor[tape.AGGRESSOR] = ob.NO_SIDE
    cursor[tape.OPEN] = 1
    cursor[tape.TRADED] = 0
    cursor[tape.REBUILT] = 0
    cursor[tape.FIRST_PRINT] = cursor[tape.N_PRINTS]
    cursor[tape.DIRTY] = cursor[tape.DIRTY + 1] = 0
    if flow:
        for side in range(2):
            cursor[tape.TOUCH + side] = key_at(book, side, 0)
            cursor[tape.TENTH + side] = key_at(book, side, TENTH_LEVEL - 1)


@inline
def _state(book: Book) -> Scalar:
    if book.meta[ob.N_SIDE] == 0 or book.meta[ob.N_SIDE + 1] == 0:
        return np.int64(tape.ONE_SIDED)
    bid, ask = ob.best_price(book, 0), ob.best_price(book, 1)
    if bid < ask:
        return np.int64(tape.NORMAL)
    return np.int64(tape.LOCKED) if bid == ask else np.int64(tape.CROSSED)


@inline
def _end(book: Book, run: Run, rows: Rows, prints: Prints, number: Scalar, mode: Scalar) -> None:
    """An event end: here the book is a state, and here a row may be due."""
    cursor, counters = run.cursor, run.counters
    clock = cursor[tape.CLOCK]
    cursor[tape.NUMBER] = number
    counters[tape.Q_EVENTS] += 1
    if cursor[tape.END_CLOCK] != tape.NO_TIME:
        if cursor[tape.STATE] == tape.CROSSED:
            counters[tape.Q_CROSSED_NS] += clock - cursor[tape.END_CLOCK]
        elif cursor[tape.STATE] == tape.LOCKED:
            counters[tape.Q_LOCKED_NS] += clock - cursor[tape.END_CLOCK]
    cursor[tape.END_CLOCK] = clock
    cursor[tape.STATE] = _state(book)
    after = cursor[tape.ASSUME_AFTER]
    if after >= 0 and clock - cursor[tape.FIRST_CLOCK] >= after:
        cursor[tape.KNOWN] = 1
    valid = cursor[tape.KNOWN] & (1 - cursor[tape.BAD])
    validity_changed = valid != cursor[tape.VALID]
    cursor[tape.VALID] = valid
    if mode == tape.FULL:
        changed = False
        bid, ask = cursor[tape.DIRTY], cursor[tape.DIRTY + 1]
        for k in range(bid + ask):
            # Computed, not asked for: which side it is cannot be predicted.
            side = k + (1 - bid)
            high, low = cursor[tape.HIGH + side], cursor[tape.LOW + side]
            if reread(book, run, rows, side, high, low):
                changed = True
        if changed or validity_changed or cursor[tape.TRADED] or cursor[tape.REBUILT]:
            write_row(run, rows, clock, np.int64(1))
    elif mode == tape.TOUCH_ONLY:
        due = np.int64(validity_changed) | cursor[tape.TRADED] | cursor[tape.REBUILT]
        touch_row(book, run, rows, clock, due)
    elif mode == tape.GRID:
        cursor[tape.GRID_EVENTS] += 1
        cursor[tape.GRID_NEXT] = (clock // cursor[tape.GRID_STEP] + 1) * cursor[tape.GRID_STEP]
    if cursor[tape.TRADED]:
        all_fills = np.int64(0)
        for side in range(3):
            all_fills += cursor[tape.SUM_FILLS + side]
        for k in range(cursor[tape.FIRST_PRINT], cursor[tape.N_PRINTS]):
            side = ob.side_code(prints.side[k])
            prints.event[k] = number
            prints.aggressor_size[k] = min(cursor[tape.SUM_SIZE + side], LARGEST)
            fills = all_fills if side == ob.NO_SIDE else cursor[tape.SUM_FILLS + 1 - side]
            prints.aggressor_fills[k] = min(fills, LARGEST)
    if cursor[tape.TRADED] | cursor[tape.FILLED]:
        for side in range(3):
            cursor[tape.SUM_SIZE + side] = 0
            cursor[tape.SUM_FILLS + side] = 0
        cursor[tape.FILLED] = 0
    cursor[tape.OPEN] = 0


# --- records -----------------------------------------------------------------------------------


@inline
def _trade(book: Book, run: Run, prints: Prints, records: Records, i: Scalar, mode: Scalar) -> None:
    """A T record: one row of `trades`, with the touch as it is at this record."""
    cursor = run.cursor
    side = ob.side_code(records.side[i])
    cursor[tape.AGGRESSOR] = side
    cursor[tape.TRADED] = 1
    if mode == tape.NO_ROWS:
        return
    cursor[tape.SUM_SIZE + side] += np.int64(records.size[i])
    k = cursor[tape.N_PRINTS]
    prints.ts_recv[k] = cursor[tape.CLOCK]
    prints.ts_event[k] = records.ts_event[i]
    prints.price[k] = records.price[i]
    prints.size[k] = records.size[i]
    prints.side[k] = records.side[i]
    prints.bid_px[k] = ob.best_price(book, 0)
    prints.ask_px[k] = ob.best_price(book, 1)
    prints.bid_sz[k] = min(ob.best_size(book, 0), LARGEST)
    prints.ask_sz[k] = min(ob.best_size(book, 1), LARGEST)
    prints.record[k] = records.record[i]
    cursor[tape.N_PRINTS] = k + 1


@inline
def _fill(book: Book, run: Run, records: Records, i: Scalar) -> None:
    """An F record: announces what a C or M takes away; tells whether the queue was honoured."""
    cursor, counters = run.cursor, run.counters
    side = ob.side_code(records.side[i])
    cursor[tape.SUM_FILLS + side] += 1
    cursor[tape.FILLED] = 1
    slot = ob.find(book, records.order_id[i])
    if slot < 0:
        counters[tape.Q_ORPHAN_FILLS] += 1
        return
    # An aggressor that was resting before (modified to cross) prints an F on its own side.
    against = cursor[tape.AGGRESSOR] != ob.NO_SIDE and side == 1 - cursor[tape.AGGRESSOR]
    if against and cursor[tape.STATE] == tape.NORMAL:
        counters[tape.Q_FIFO_FILLS] += 1
        if ob.first_in_queue(book, slot):
            counters[tape.Q_FIFO_CONSISTENT] += 1
    ob.note_fill(book, slot, np.int64(records.size[i]))


@inline
def _marks(mode: Scalar) -> Scalar:
    """Whether rows follow the levels that were marked."""
    return mode in (tape.FULL, tape.GRID)


@inline
def _mark_key(run: Run, side: Scalar, key: Scalar) -> None:
    """Mark a level of a side as changed, unless it lies below the levels of the last row.

    Once a level was marked, deeper ones count too: one that opened may close again within the
    event, and what it had pushed out is shown again.
    """
    cursor = run.cursor
    clean = cursor[tape.DIRTY + side] == 0
    if not clean or key >= run.top[side, 0, run.top.shape[2] - 1]:
        cursor[tape.DIRTY + side] = 1
        cursor[tape.HIGH + side] = key if clean else max(key, cursor[tape.HIGH + side])
        cursor[tape.LOW + side] = key if clean else min(key, cursor[tape.LOW + side])


@inline
def _mark(run: Run, change: ob.Change) -> None:
    """Mark the levels that a change touched."""
    if change.old_side != ob.NO_SIDE:
        _mark_key(run, change.old_side, ob.key_of(change.old_side, change.old_price))
    if change.new_side != ob.NO_SIDE and (
        change.new_price != change.old_price or change.new_side != change.old_side
    ):
        _mark_key(run, change.new_side, ob.key_of(change.new_side, change.new_price))


@inner
def _mark_all(run: Run) -> None:
    """Mark everything as changed."""
    cursor = run.cursor
    for side in range(2):
        cursor[tape.DIRTY + side] = 1
        cursor[tape.HIGH + side] = BEST
        cursor[tape.LOW + side] = WORST


@inner
def _follow_snapshot(book: Book, run: Run, flags: Scalar, ts_recv: Scalar) -> None:
    """Where a snapshot starts, the book starts anew."""
    if ob.starts_snapshot(book, flags, ts_recv):
        ob.clear(book)
        _restart(run, np.int64(tape.SNAPSHOT_START))


@inner
def _restart(run: Run, start: Scalar) -> None:
    """A clear or a snapshot: the contents are known from here."""
    cursor = run.cursor
    if cursor[tape.START] == tape.UNKNOWN_START and cursor[tape.BEGUN] == 0:
        cursor[tape.START] = start
    elif cursor[tape.START] == tape.CLEAR_START and cursor[tape.BEGUN] == 0:
        cursor[tape.START] = max(start, cursor[tape.START])
    cursor[tape.KNOWN] = 1
    cursor[tape.BAD] = 0
    _mark_all(run)


@inline
def _tally(run: Run, change: ob.Change, action: Scalar, flags: Scalar) -> None:
    """The counters of a record."""
    counters = run.counters
    if action == ob.A:
        if flags & F_SNAPSHOT == 0:
            counters[tape.Q_ADDS] += 1
        if change.effect == ob.REPLACED and flags & F_TOB == 0:
            counters[tape.Q_DUPLICATE_ADDS] += 1
    elif action == ob.C:
        counters[tape.Q_CANCELS] += 1
        if change.effect == ob.ORPHAN_CANCEL:
            counters[tape.Q_ORPHAN_CANCELS] += 1
    elif action == ob.M:
        counters[tape.Q_MODIFIES] += 1
        if change.effect == ob.ADDED_BY_MODIFY:
            counters[tape.Q_ORPHAN_MODIFIES] += 1
    elif action == ob.R:
        counters[tape.Q_CLEARS] += 1
    if change.effect == ob.IGNORED:
        counters[tape.Q_IGNORED] += 1


@inline
def _record(
    book: Book, run: Run, records: Records, prints: Prints, i: Scalar, mode: Scalar, flow: Scalar
) -> None:
    """One record: clocks, counters, the book, flow, prints."""
    cursor, counters = run.cursor, run.counters
    flags, action = np.int64(records.flags[i]), np.int64(records.action[i])
    ts_recv, sequence = records.ts_recv[i], np.int64(records.sequence[i])
    if flags & F_BAD_TS_RECV:
        counters[tape.Q_BAD_TS] += 1
    elif ts_recv < cursor[tape.CLOCK]:
        counters[tape.Q_TS_RECV] += 1
    cursor[tape.CLOCK] = advance(cursor[tape.CLOCK], ts_recv, flags)
    if cursor[tape.FIRST_CLOCK] == tape.NO_TIME:
        cursor[tape.FIRST_CLOCK] = cursor[tape.CLOCK]
    if flags & F_SNAPSHOT:
        counters[tape.Q_SNAPSHOT_ROWS] += 1
        cursor[tape.REBUILT] = 1
    else:
        channel = records.channel[i]
        if sequence < run.sequences[channel]:
            counters[tape.Q_SEQUENCE] += 1
        run.sequences[channel] = sequence
    if flags & F_SNAPSHOT or book.meta[ob.SNAPSHOT] != 0:
        _follow_snapshot(book, run, flags, ts_recv)
    if action == ob.R:
        _restart(run, np.int64(tape.CLEAR_START))
    elif action != ob.N:
        cursor[tape.BEGUN] = 1
    if flags & F_MAYBE_BAD_BOOK:
        cursor[tape.BAD] = 1
    cursor[tape.TS_EVENT] = records.ts_event[i]
    cursor[tape.SEQUENCE] = sequence
    cursor[tape.ACTION] = action
    if action == ob.T:
        counters[tape.Q_TRADES] += 1
        _trade(book, run, prints, records, i, mode)
    elif action == ob.F:
        counters[tape.Q_FILLS] += 1
        _fill(book, run, records, i)
    else:
        change = ob.apply(
            book,
            action,
            ob.side_code(records.side[i]),
            flags,
            records.price[i],
            np.int64(records.size[i]),
            records.order_id[i],
            records.ts_event[i],
        )
        _tally(run, change, action, flags)
        if ob.ADDED <= change.effect <= ob.MOVED:
            if _marks(mode):
                _mark(run, change)
                if flags & F_TOB:
                    _mark_all(run)
            if flow and flags & F_SNAPSHOT == 0:
                enter_flow(run, change)


@inline
def _loop(
    book: Book,
    run: Run,
    records: Records,
    numbers: I64,
    rows: Rows,
    prints: Prints,
    start: Scalar,
    mode: Scalar,
    flow: Scalar,
) -> Scalar:
    """:func:`process` for one way of materialising: where it is a constant, nothing asks for it."""
    cursor, end = run.cursor, records.flags.shape[0]
    i = ahead = np.int64(start)
    if _marks(mode):
        begin_output(run)
    while True:
        ends = False
        if i == end:
            if cursor[tape.OPEN] == 0:
                break
            ends = True
        elif not ob.room(book):
            break
        elif cursor[tape.OPEN] != 0 and book.meta[ob.SNAPSHOT] == 1:
            ends = records.flags[i] & F_SNAPSHOT == 0
        if not ends:
            if i >= ahead:
                ahead = i + _AHEAD
                book.meta[SCRATCH] = foresee(
                    book.table, book.orders, records.order_id, i, ahead, end
                )
            if cursor[tape.OPEN] == 0:
                _begin(book, run, rows, records, i, mode, flow)
            _record(book, run, records, prints, np.uint64(i), mode, flow)
            i += 1
            if records.flags[i - 1] & F_LAST == 0:
                continue
        _end(book, run, rows, prints, numbers[cursor[tape.AT_EVENT]], mode)
        cursor[tape.AT_EVENT] += 1
    if _marks(mode):
        end_output(run, rows)
    return i


@kernel
def process(
    book: Book, run: Run, records: Records, numbers: I64, rows: Rows, prints: Prints, start: Scalar
) -> Scalar:
    """Apply records from ``start`` on; returns the index of the first that was not applied.

    Parameters
    ----------
    book, run
        State; changed in place.
    records
        Whole events of one book.  An event still open after the last record is a snapshot that
        ends there without an F_LAST.
    numbers
        Event keys of the event ends in ``records``, in order.
    rows, prints
        Columns to fill from ``cursor[N_ROWS]`` and ``cursor[N_PRINTS]`` on; room for as many rows
        as event ends, and as many prints as T records.
    start
        Index of the first record to apply.

    Returns
    -------
    int
        ``len(records)``, or less where the book must grow first.
    """
    mode, flow = run.cursor[tape.MODE], run.cursor[tape.WITH_FLOW]
    return _loop(book, run, records, numbers, rows, prints, start, mode, flow)


@kernel
def process_touch(
    book: Book, run: Run, records: Records, numbers: I64, rows: Rows, prints: Prints, start: Scalar
) -> Scalar:
    """:func:`process` for runs with the touch alone and no flow: a twentieth faster."""
    mode, flow = np.int64(tape.TOUCH_ONLY), np.int64(0)
    return _loop(book, run, records, numbers, rows, prints, start, mode, flow)
