"""From MBO records to the rows of the vendor's MBP schemas: one pass over the records of a book.

The rules (docs/verify.md): every T gives a row with the levels as they stand before it; any
other row comes at an event end, and only if the top levels differ from those at the last event
end that gave one.  A snapshot's end always gives a row: the vendor repeats the book there.

The book is that of :mod:`pipeline.book.orders`; what is read from it, and when a row is due, is
written here anew and shares nothing with the `book` stage.  Integers only, no I/O.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.book import orders as ob
from pipeline.book.layout import Book, Scalar
from pipeline.book.tape import NO_TIME, NULL, Records
from pipeline.jit import inline, kernel
from pipeline.units import F_BAD_TS_RECV, F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

KNOWN, BAD, CHANGED, STALE, SNAPSHOT, CLOCK, N_ROWS, N_ENDS = range(8)
"""Places of ``Tracker.cursor``: the contents are complete; MAYBE_BAD_BOOK since; the book changed
in the event under way, and since ``now`` was read; snapshot rows without an F_LAST so far; running
maximum of ts_recv; rows and event ends written by this call."""

UNCHANGED: Final = 255
"""``Emitted.first`` where no level of the side differs."""


class Tracker(NamedTuple):
    """What goes on from call to call, besides the book.

    ``seen`` and ``now`` int64[3, 2 * depth] hold price, size and number of orders of the levels,
    at [.., 2 * level + side]: as the last event-end row showed them, and as they are.
    """

    cursor: I64
    seen: I64
    now: I64


class Emitted(NamedTuple):
    """Columns of the rows, and the event ends.

    ``at`` is the index of the record (-1: the one before the first of this call), ``end`` the
    number of event ends before the row in this call, ``first`` uint8[2, rows] the first level
    of each side that differs, ``level`` int64[3, 2 * depth, rows] price, size and orders.
    ``ends`` is twice the index of what ended each event, plus one where that record belongs to
    it.
    """

    at: I64
    end: I64
    clock: I64
    trade: U8
    snapshot: U8
    valid: U8
    first: U8
    level: I64
    ends: I64


def new_tracker(depth: int) -> Tracker:
    """The tracker of a book that is empty and of which nothing is known."""
    cursor = np.zeros(8, np.int64)
    cursor[CLOCK] = NO_TIME
    empty = np.zeros((3, 2 * depth), np.int64)
    empty[0] = NULL
    return Tracker(cursor, empty, empty.copy())


def new_rows(depth: int, rows: int, ends: int) -> Emitted:
    """Room for so many rows and event ends."""
    return Emitted(
        at=np.empty(rows, np.int64),
        end=np.empty(rows, np.int64),
        clock=np.empty(rows, np.int64),
        trade=np.empty(rows, np.uint8),
        snapshot=np.empty(rows, np.uint8),
        valid=np.empty(rows, np.uint8),
        first=np.empty((2, rows), np.uint8),
        level=np.empty((3, 2 * depth, rows), np.int64),
        ends=np.empty(ends, np.int64),
    )


@inline
def _read(book: Book, now: I64) -> None:
    """The top levels as they are."""
    depth = now.shape[1] >> 1
    for side in range(2):
        count = ob.n_levels(book, side)
        for level in range(depth):
            at = 2 * level + side
            now[0, at], now[1, at], now[2, at] = NULL, 0, 0
            if level < count:
                slot = ob.level_at(book, side, level)
                now[0, at] = book.levels[slot, ob.PRICE]
                now[1, at] = book.levels[slot, ob.TOTAL]
                now[2, at] = book.levels[slot, ob.COUNT]


@inline
def _first_difference(track: Tracker, side: Scalar) -> Scalar:
    """The first level of a side that differs from the last event-end row."""
    now, seen = track.now, track.seen
    for level in range(now.shape[1] >> 1):
        at = 2 * level + side
        for what in range(3):
            if now[what, at] != seen[what, at]:
                return np.int64(level)
    return np.int64(UNCHANGED)


@inline
def _write(
    track: Tracker, out: Emitted, at: Scalar, trade: Scalar, bids: Scalar, asks: Scalar
) -> None:
    cursor = track.cursor
    n = cursor[N_ROWS]
    out.at[n] = at
    out.end[n] = cursor[N_ENDS]
    out.clock[n] = cursor[CLOCK]
    out.trade[n] = trade
    out.snapshot[n] = cursor[SNAPSHOT]
    out.valid[n] = cursor[KNOWN] & (1 - cursor[BAD])
    out.first[0, n] = bids
    out.first[1, n] = asks
    for what in range(3):
        for column in range(track.now.shape[1]):
            out.level[what, column, n] = track.now[what, column]
    cursor[N_ROWS] = n + 1


@inline
def _end(book: Book, track: Tracker, out: Emitted, at: Scalar, trigger: Scalar) -> None:
    """An event end; ``trigger`` goes to ``Emitted.ends``."""
    cursor = track.cursor
    if cursor[CHANGED] or cursor[SNAPSHOT]:
        if cursor[STALE]:
            _read(book, track.now)
            cursor[STALE] = 0
        bids, asks = _first_difference(track, 0), _first_difference(track, 1)
        if bids != UNCHANGED or asks != UNCHANGED or cursor[SNAPSHOT]:
            _write(track, out, at, 0, bids, asks)
            for what in range(3):
                for column in range(track.now.shape[1]):
                    track.seen[what, column] = track.now[what, column]
    out.ends[cursor[N_ENDS]] = trigger
    cursor[N_ENDS] += 1
    cursor[CHANGED] = 0
    cursor[SNAPSHOT] = 0


@kernel
def look(book: Book, track: Tracker) -> None:
    """Take the book as it stands for what the last row showed: before the first record."""
    _read(book, track.now)
    for what in range(3):
        for column in range(track.now.shape[1]):
            track.seen[what, column] = track.now[what, column]


@kernel
def emit(book: Book, track: Tracker, records: Records, out: Emitted, start: Scalar) -> Scalar:
    """Apply records of one book from ``start`` on and write the rows they give.

    Parameters
    ----------
    book, track
        State; changed in place.
    records
        Any consecutive records of the book, events cut anywhere.
    out
        Filled from ``cursor[N_ROWS]`` and ``cursor[N_ENDS]`` on; needs room for as many event
        ends as records + 1, and for the T records besides as rows.
    start
        Index of the first record to apply.

    Returns
    -------
    int
        ``len(records)``, or less where the book must grow first.
    """
    cursor = track.cursor
    i = np.int64(start)
    while i < records.flags.shape[0] and ob.room(book):
        flags, action = np.int64(records.flags[i]), np.int64(records.action[i])
        if cursor[SNAPSHOT] and flags & F_SNAPSHOT == 0:
            _end(book, track, out, i - 1, 2 * i)
        if flags & (F_BAD_TS_RECV | F_SNAPSHOT) != F_BAD_TS_RECV or cursor[CLOCK] == NO_TIME:
            cursor[CLOCK] = max(cursor[CLOCK], records.ts_recv[i])
        if ob.starts_snapshot(book, flags, records.ts_recv[i]):
            ob.clear(book)
            cursor[KNOWN], cursor[BAD], cursor[CHANGED], cursor[STALE] = 1, 0, 1, 1
        if flags & F_SNAPSHOT:
            cursor[SNAPSHOT] = 1
        if action == ob.R:
            cursor[KNOWN], cursor[BAD] = 1, 0
        if flags & F_MAYBE_BAD_BOOK:
            cursor[BAD] = 1
        if action == ob.T:
            if cursor[STALE]:
                _read(book, track.now)
                cursor[STALE] = 0
            _write(track, out, i, 1, UNCHANGED, UNCHANGED)
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
            if change.effect not in (ob.NOTHING, ob.ORPHAN_CANCEL, ob.IGNORED):
                cursor[CHANGED], cursor[STALE] = 1, 1
        if flags & F_LAST:
            _end(book, track, out, i, 2 * i + 1)
        i += 1
    return i
