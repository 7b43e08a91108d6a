"""From the state of a book to rows: zones, flow, and the columns of `book`.

Pieces of :mod:`pipeline.book.kernel`'s loop.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.book import orders as ob
from pipeline.book import tape
from pipeline.book.layout import I64, Book, Scalar
from pipeline.book.tape import Rows, Run
from pipeline.jit import inline, kernel
from pipeline.units import F_BAD_TS_RECV, F_SNAPSHOT

WORST: Final = -(2**63)
"""A ladder key no price is below."""
BEST: Final = 2**63 - 1
"""One that no price is above."""
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
def key_at(book: Book, side: Scalar, level: Scalar) -> Scalar:
    """Ladder key of the level that many steps from the best, or the worst key there is."""
    at = book.meta[ob.N_SIDE + side] - 1 - level
    return book.ladder[side, at, 0] if at >= 0 else np.int64(WORST)


# --- flow --------------------------------------------------------------------------------------


@inline
def _zone(cursor: I64, side: Scalar, price: Scalar) -> Scalar:
    """0 l1, 1 l2_10, 2 deep, relative to the side's touch before the event."""
    key = ob.key_of(side, price)
    if key >= cursor[tape.TOUCH + side]:
        return np.int64(0)
    return np.int64(1) if key >= cursor[tape.TENTH + side] else np.int64(2)


@inline
def _count(run: Run, at: Scalar, kind: Scalar, size: Scalar) -> None:
    """Add one order of a size to a kind of flow; nothing where the size is zero."""
    if size > 0:
        row, column = run.cursor[tape.TILE_ROW], at + 2 * kind
        run.flow_used[column >> 1] = 1
        run.tile_flow[row, column] += np.uint32(1)
        total = np.int64(run.tile_flow[row, column + 1]) + size
        run.tile_flow[row, column + 1] = min(total, LARGEST)


@inline
def enter_flow(run: Run, change: ob.Change) -> None:
    """Enter a change of the book into the flow of the row that comes next."""
    cursor, effect = run.cursor, change.effect
    if effect >= ob.REPLACED and effect != ob.ADDED_BY_MODIFY:
        side = change.old_side
        at = (side * 3 + _zone(cursor, side, change.old_price)) * tape.ZONE_FLOWS
        _count(run, at, tape.K_FILL, change.filled)
        if effect == ob.KEPT:
            _count(run, at, tape.K_KEEP, change.old_size - change.new_size - change.filled)
        elif effect == ob.REDUCED:
            _count(run, at, tape.K_CANCEL, change.old_size - change.new_size - change.filled)
        elif effect == ob.MOVED:
            _count(run, at, tape.K_LOSE, change.old_size - change.filled)
        else:
            _count(run, at, tape.K_CANCEL, change.old_size - change.filled)
    if effect <= ob.ADDED_BY_MODIFY or effect == ob.MOVED:
        side = change.new_side
        at = (side * 3 + _zone(cursor, side, change.new_price)) * tape.ZONE_FLOWS
        _count(run, at, tape.K_JOIN if effect == ob.MOVED else tape.K_ADD, change.new_size)


# --- rows --------------------------------------------------------------------------------------


@inline
def reread(book: Book, top: I64, side: Scalar, high: Scalar, low: Scalar) -> Scalar:
    """Bring the remembered top levels of a side up to date; true where any differed.

    Only levels whose ladder key lies between ``low`` and ``high`` have changed, opened or closed:
    better ones are skipped, and reading stops behind them unless the ladder has shifted.
    """
    count, depth = book.meta[ob.N_SIDE + side], top.shape[1] >> 1
    changed, shifted, level = np.int64(0), False, np.int64(0)
    while level < depth:
        at = 2 * level + side
        seen = top[0, at]
        if not shifted and seen != tape.NULL and ob.key_of(side, seen) > high:
            level += 1
            continue
        price, size, orders = np.int64(tape.NULL), np.int64(0), np.int64(0)
        if level < count:
            slot = book.ladder[side, count - 1 - level, 1]
            price = book.levels[slot, ob.PRICE]
            size = book.levels[slot, ob.TOTAL]
            orders = book.levels[slot, ob.COUNT]
        if price != seen:
            shifted = True
        elif not shifted and (price == tape.NULL or ob.key_of(side, price) < low):
            break
        changed |= (seen ^ price) | (top[1, at] ^ size) | (top[2, at] ^ orders)
        top[0, at] = price
        top[1, at] = size
        top[2, at] = orders
        level += 1
    return changed != 0


@kernel
def reread_all(book: Book, top: I64) -> None:
    """Bring both sides up to date."""
    for side in range(2):
        reread(book, top, np.int64(side), np.int64(BEST), np.int64(WORST))


@inline
def write_row(run: Run, rows: Rows, ts_recv: Scalar) -> None:
    """Write the state after the last event end as the next row."""
    cursor, top = run.cursor, run.top
    row = cursor[tape.N_ROWS]
    rows.event[row] = cursor[tape.NUMBER]
    rows.ts_recv[row] = ts_recv
    rows.ts_event[row] = cursor[tape.TS_EVENT]
    rows.sequence[row] = cursor[tape.SEQUENCE]
    rows.valid[row] = cursor[tape.VALID]
    rows.state[row] = cursor[tape.STATE]
    at = cursor[tape.TILE_ROW]
    for column in range(top.shape[1]):
        run.tile_price[at, column] = top[0, column]
        run.tile_size[at, column] = min(top[1, column], LARGEST)
        run.tile_orders[at, column] = top[2, column]
    cursor[tape.N_ROWS] = row + 1
    cursor[tape.TILE_ROW] = at + 1
    run.counters[tape.Q_ROWS] += 1
    if at + 1 == tape.TILE:
        flush_tile(run, rows)


@kernel
def flush_tile(run: Run, rows: Rows) -> None:
    """Turn the rows of the tile into columns; the flow since the last row stays."""
    cursor = run.cursor
    n = cursor[tape.TILE_ROW]
    first = cursor[tape.N_ROWS] - n
    for column in range(run.top.shape[1]):
        for i in range(n):
            rows.price[column, first + i] = run.tile_price[i, column]
        for i in range(n):
            rows.size[column, first + i] = run.tile_size[i, column]
        for i in range(n):
            rows.orders[column, first + i] = run.tile_orders[i, column]
    for pair in range(run.flow_used.shape[0]):
        if run.flow_used[pair] != 0:
            used = np.int64(0)
            for column in range(2 * pair, 2 * pair + 2):
                for i in range(n):
                    rows.flow[column, first + i] = run.tile_flow[i, column]
                rest = run.tile_flow[n, column] if n < tape.TILE else np.uint32(0)
                for i in range(min(n + 1, tape.TILE)):
                    run.tile_flow[i, column] = 0
                run.tile_flow[0, column] = rest
                used |= np.int64(rest)
            run.flow_used[pair] = used != 0
    cursor[tape.TILE_ROW] = 0


@inline
def grid_row(book: Book, run: Run, rows: Rows, until: Scalar) -> None:
    """Write the grid row that is due once an event ends at ``until``.

    The row at t holds the events with ts_recv < t.  Steps without any event have no row: the
    last one still stands, and ``event`` stays a key.
    """
    cursor = run.cursor
    if cursor[tape.GRID_EVENTS] > 0 and until >= cursor[tape.GRID_NEXT]:
        reread_all(book, run.top)
        write_row(run, rows, cursor[tape.GRID_NEXT])
        cursor[tape.GRID_EVENTS] = 0


@kernel
def flush_grid(book: Book, run: Run, rows: Rows) -> None:
    """The last grid row of a day, due after its last event."""
    grid_row(book, run, rows, run.cursor[tape.GRID_NEXT])
    flush_tile(run, rows)
