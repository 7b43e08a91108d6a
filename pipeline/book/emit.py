"""From the state of a book to rows: zones, flow, and the columns of `book`.

Pieces of :mod:`pipeline.book.kernel`'s loop.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.book import orders as ob
from pipeline.book import tape
from pipeline.book.layout import I64, Book, Scalar
from pipeline.book.tape import BEST, NULL, WORST, Records, Rows, Run
from pipeline.jit import inline, kernel
from pipeline.units import F_BAD_TS_RECV, F_LAST, F_SNAPSHOT

LARGEST: Final = 2**32 - 1
"""Sums that do not fit the tables' UInt32 stay here."""
TENTH_LEVEL: Final = 10
"""Levels of the zones l1 and l2_10."""


@inline
def advance(clock: Scalar, ts_recv: Scalar, flags: Scalar) -> Scalar:
    """The running maximum of ts_recv after a record."""
    if clock != tape.NO_TIME and flags & (F_BAD_TS_RECV | F_SNAPSHOT) == F_BAD_TS_RECV:
        return clock
    return max(clock, ts_recv)


@inline
def clock_at_end(records: Records, i: Scalar, clock: Scalar) -> Scalar:
    """The running maximum of ts_recv at the end of the event that starts at record ``i``."""
    j = i
    snapshot = np.int64(records.flags[i]) & F_SNAPSHOT
    while j < records.flags.shape[0]:
        flags = np.int64(records.flags[j])
        if snapshot and flags & F_SNAPSHOT == 0:
            break
        snapshot = flags & F_SNAPSHOT
        clock = advance(clock, records.ts_recv[j], flags)
        if flags & F_LAST:
            break
        j += 1
    return clock


@inline
def key_at(book: Book, side: Scalar, level: Scalar) -> Scalar:
    """Ladder key of the level that many steps from the best, or the worst key there is."""
    at = book.meta[ob.N_SIDE + side] - 1 - level
    return book.ladder[side, 0, np.uint64(at)] if at >= 0 else np.int64(WORST)


# --- flow --------------------------------------------------------------------------------------


@inline
def _zone(cursor: I64, side: Scalar, price: Scalar) -> Scalar:
    """0 l1, 1 l2_10, 2 deep, relative to the side's touch before the event."""
    key = ob.key_of(side, price)
    return np.int64(key < cursor[tape.TOUCH + side]) + np.int64(key < cursor[tape.TENTH + side])


@inline
def _count(run: Run, column: Scalar, size: Scalar) -> None:
    """Add one order of a size to a kind of flow; nothing where the size is zero."""
    if size > 0:
        flow, flowed, at = run.flow, run.flowed, np.uint64(column)
        # Written in any case, kept where the column was not in the list.
        flowed[np.uint64(flowed[0] + 1)] = column
        flowed[0] += flow[at] == 0
        flow[at] += np.uint32(1)
        total = np.int64(flow[at + np.uint64(1)]) + size
        flow[at + np.uint64(1)] = min(total, LARGEST)


@inline
def enter_flow(run: Run, change: ob.Change) -> None:
    """Enter a change of the book into the flow of the row that comes next."""
    cursor, effect = run.cursor, change.effect
    if effect >= ob.REPLACED and effect != ob.ADDED_BY_MODIFY:
        side = change.old_side
        at = (side * 3 + _zone(cursor, side, change.old_price)) * tape.ZONE_FLOWS
        _count(run, at + 2 * tape.K_FILL, change.filled)
        left = change.old_size - change.filled
        kind = np.int64(tape.K_CANCEL)
        if effect == ob.KEPT:
            kind = np.int64(tape.K_KEEP)
        elif effect == ob.MOVED:
            kind = np.int64(tape.K_LOSE)
        if effect in (ob.KEPT, ob.REDUCED):
            left -= change.new_size
        _count(run, at + 2 * kind, left)
    if effect <= ob.ADDED_BY_MODIFY or effect == ob.MOVED:
        side = change.new_side
        at = (side * 3 + _zone(cursor, side, change.new_price)) * tape.ZONE_FLOWS
        kind = np.int64(tape.K_JOIN if effect == ob.MOVED else tape.K_ADD)
        _count(run, at + 2 * kind, change.new_size)


# --- rows --------------------------------------------------------------------------------------


@inline
def _fill(run: Run, rows: Rows, side: Scalar, level: Scalar, until: Scalar) -> None:
    """Write a level as ``top`` has it into the rows before ``until`` that lack it.

    Whole strips are written, past ``until`` too: those rows are not due yet and written again.
    So the lengths, which nothing predicts, mostly cost no branch.
    """
    top, deep = run.top, np.uint64(level)
    column = np.uint64(2 * level + side)
    key = top[side, 0, deep]
    price = key ^ -side if key != WORST else np.int64(NULL)
    size = np.uint32(min(top[side, 1, deep], LARGEST))
    count = np.uint32(top[side, 2, deep])
    start = run.since[side, deep]
    # Lengths that whole vector stores make up: no compiler leaves a rest to be done one by one.
    wide = start + (((until - start) + 15) >> 4 << 4)
    narrow = start + (((until - start) + 31) >> 5 << 5)
    for row in range(start, wide):
        rows.price[column, np.uint64(row)] = price
    for row in range(start, narrow):
        rows.size[column, np.uint64(row)] = size
    for row in range(start, narrow):
        rows.orders[column, np.uint64(row)] = count
    run.since[side, deep] = until


@inline
def _see(book: Book, run: Run, rows: Rows, side: Scalar, level: Scalar) -> Scalar:
    """Bring a level of ``top`` up to date: 0 it was, 1 its size or count differed, 2 its price."""
    top, deep = run.top, np.uint64(level)
    at = book.meta[ob.N_SIDE + side] - 1 - level
    key, size, orders = np.int64(WORST), np.int64(0), np.int64(0)
    if at >= 0:
        key = book.ladder[side, 0, np.uint64(at)]
        slot = np.uint64(book.ladder[side, 1, np.uint64(at)])
        size = book.levels[slot, ob.TOTAL]
        orders = book.levels[slot, ob.COUNT]
    moved = key != top[side, 0, deep]
    if not moved and (top[side, 1, deep] ^ size) | (top[side, 2, deep] ^ orders) == 0:
        return np.int64(0)
    _fill(run, rows, side, level, run.cursor[tape.N_ROWS])
    top[side, 0, deep] = key
    top[side, 1, deep] = size
    top[side, 2, deep] = orders
    return np.int64(2) if moved else np.int64(1)


@inline
def reread(book: Book, run: Run, rows: Rows, side: Scalar, high: Scalar, low: Scalar) -> Scalar:
    """Bring the remembered top levels of a side up to date; true where any differed.

    Only levels whose ladder key lies between ``low`` and ``high`` have changed, opened or closed:
    better ones are skipped, and reading stops behind them where the ladder stands as before.
    """
    top, depth = run.top, run.top.shape[2]
    level = np.int64(top[side, 0, 0] > high)
    for i in range(1, depth):
        level += top[side, 0, i] > high
    changed = np.int64(0)
    while level < depth:
        differs = _see(book, run, rows, side, level)
        changed |= differs
        if differs != 2 and top[side, 0, np.uint64(level)] <= low:
            break
        level += 1
    return changed != 0


@kernel
def see_top(book: Book, run: Run) -> None:
    """Remember the top levels as they are; nothing is written."""
    for side in range(2):
        for level in range(run.top.shape[2]):
            key = key_at(book, side, level)
            run.top[side, 0, level] = key
            run.top[side, 1, level] = run.top[side, 2, level] = 0
            if key != WORST:
                slot = ob.level_at(book, side, level)
                run.top[side, 1, level] = book.levels[slot, ob.TOTAL]
                run.top[side, 2, level] = book.levels[slot, ob.COUNT]


@inline
def write_row(run: Run, rows: Rows, ts_recv: Scalar, due: Scalar) -> None:
    """The state after the last event end becomes a row; where ``due`` is 0, the next overwrites it.

    Whether the touch moved cannot be predicted: a row written for nothing costs less than asking.
    """
    cursor = run.cursor
    row = np.uint64(cursor[tape.N_ROWS])
    rows.event[row] = cursor[tape.NUMBER]
    rows.ts_recv[row] = ts_recv
    rows.ts_event[row] = cursor[tape.TS_EVENT]
    rows.sequence[row] = cursor[tape.SEQUENCE]
    rows.valid[row] = cursor[tape.VALID]
    rows.state[row] = cursor[tape.STATE]
    cursor[tape.N_ROWS] += due
    run.counters[tape.Q_ROWS] += due
    flow, flowed = run.flow, run.flowed
    if flowed[0] == 0 or due == 0:
        return
    for k in range(1, flowed[0] + 1):
        column = np.uint64(flowed[np.uint64(k)])
        size = column + np.uint64(1)
        rows.flow[column, row] = flow[column]
        rows.flow[size, row] = flow[size]
        flow[column] = 0
        flow[size] = 0
    flowed[0] = 0


@inline
def touch_row(book: Book, run: Run, rows: Rows, ts_recv: Scalar, due: Scalar) -> None:
    """A row with one level a side, if it is ``due`` or the touch differs from the last row's."""
    top, row, zero = run.top, np.uint64(run.cursor[tape.N_ROWS]), np.uint64(0)
    for side in range(2):
        at = book.meta[ob.N_SIDE + side] - 1
        key, size, orders = np.int64(WORST), np.int64(0), np.int64(0)
        price = np.int64(NULL)
        if at >= 0:
            key = book.ladder[side, 0, np.uint64(at)]
            price = key ^ -side
            slot = np.uint64(book.ladder[side, 1, np.uint64(at)])
            size = book.levels[slot, ob.TOTAL]
            orders = book.levels[slot, ob.COUNT]
        due |= top[side, 0, zero] ^ key | top[side, 1, zero] ^ size | top[side, 2, zero] ^ orders
        top[side, 0, zero] = key
        top[side, 1, zero] = size
        top[side, 2, zero] = orders
        rows.price[side, row] = price
        shown: Scalar = min(size, LARGEST)
        rows.size[side, row] = np.uint32(shown)
        rows.orders[side, row] = np.uint32(orders)
    write_row(run, rows, ts_recv, np.int64(due != 0))


@kernel
def begin_output(run: Run) -> None:
    """Where a call starts to write: none of its rows is in the columns yet."""
    run.since[:] = run.cursor[tape.N_ROWS]


@kernel
def end_output(run: Run, rows: Rows) -> None:
    """Where a call ends: the columns are whole up to the last row."""
    row = run.cursor[tape.N_ROWS]
    for side in range(2):
        for level in range(run.top.shape[2]):
            _fill(run, rows, side, level, row)


@inline
def grid_row(book: Book, run: Run, rows: Rows, until: Scalar) -> None:
    """Write the grid row that is due once an event ends at ``until``.

    The row at t holds the events with ts_recv < t.  Steps without any event have no row: the
    last one still stands, and ``event`` stays a key.
    """
    cursor = run.cursor
    if cursor[tape.GRID_EVENTS] > 0 and until >= cursor[tape.GRID_NEXT]:
        for side in range(2):
            reread(book, run, rows, np.int64(side), np.int64(BEST), np.int64(WORST))
        write_row(run, rows, cursor[tape.GRID_NEXT], np.int64(1))
        cursor[tape.GRID_EVENTS] = 0


@kernel
def flush_grid(book: Book, run: Run, rows: Rows) -> None:
    """The last grid row of a day, due after its last event."""
    begin_output(run)
    grid_row(book, run, rows, run.cursor[tape.GRID_NEXT])
    end_output(run, rows)
