"""What the book kernel reads and writes besides the book: records, running state, rows.

``Records`` are the columns of whole events of one book, ``Run`` what must survive from one call
to the next, ``Rows`` and ``Prints`` the columns of the tables being filled.  Everything is
preallocated; the kernel only fills.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.units import UNDEF_PRICE

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]

NO_TIME: Final = -(2**63)
"""A clock that has not started."""
NULL: Final = UNDEF_PRICE
"""Null of Int64 columns inside kernels: prices and ``ts_event``."""
WORST: Final = -(2**63)
"""A ladder key no price is below."""
BEST: Final = 2**63 - 1
"""One that no price is above."""

FULL: Final = 0
"""A row where the top levels changed or a trade printed."""
GRID: Final = 1
NO_ROWS: Final = 2
TOUCH_ONLY: Final = 3
"""FULL with one level a side: the same rows, found by comparing instead of by marks."""

ZONE_FLOWS: Final = 12
"""Flow columns of a side and zone: six kinds, count and size each."""
FLOW_COLUMNS: Final = 72
STRIP: Final = 32
"""Rows of a level that are written together."""
K_ADD, K_CANCEL, K_KEEP, K_LOSE, K_JOIN, K_FILL = range(6)
"""Flow kinds, in the order of ``tables.FLOW_KINDS``."""

NORMAL, ONE_SIDED, LOCKED, CROSSED = range(4)
"""Codes of ``tables.BOOK_STATES``."""
EMPTY_START, CLEAR_START, SNAPSHOT_START, CARRIED_START, UNKNOWN_START = range(5)
"""Codes of ``tables.BOOK_STARTS``."""

CURSOR: Final = (
    # settings
    "mode", "grid_step", "assume_after", "flow",
    # what is known about the contents
    "known", "bad", "start", "valid", "state",
    # clocks: running maximum of ts_recv, first of the book, of the last event end (day only)
    "clock", "first_clock", "end_clock",
    # the last record and the last event
    "ts_event", "sequence", "action", "number", "aggressor",
    # the event under way
    "open", "traded", "filled", "rebuilt", "first_print", "dirty_bid", "dirty_ask",
    "high_bid", "high_ask", "low_bid", "low_ask",
    "touch_bid", "touch_ask", "tenth_bid", "tenth_ask",
    "size_bid", "size_ask", "size_none", "fills_bid", "fills_ask", "fills_none",
    # places in the output, and in the numbers of this call's events
    "rows", "prints", "event",
    # the grid: next time of a row, events since the last
    "grid_next", "grid_events",
    # true once anything but R and N has been seen (a snapshot after a clear is the start)
    "begun",
)  # fmt: skip
"""Names of ``Run.cursor``; all int64."""

(
    MODE, GRID_STEP, ASSUME_AFTER, WITH_FLOW,
    KNOWN, BAD, START, VALID, STATE,
    CLOCK, FIRST_CLOCK, END_CLOCK,
    TS_EVENT, SEQUENCE, ACTION, NUMBER, AGGRESSOR,
    OPEN, TRADED, FILLED, REBUILT, FIRST_PRINT, DIRTY, _DIRTY_ASK,
    HIGH, _HIGH_ASK, LOW, _LOW_ASK,
    TOUCH, _TOUCH_ASK, TENTH, _TENTH_ASK,
    SUM_SIZE, _SUM_ASK, _SUM_NONE, SUM_FILLS, _FILLS_ASK, _FILLS_NONE,
    N_ROWS, N_PRINTS, AT_EVENT,
    GRID_NEXT, GRID_EVENTS,
    BEGUN,
) = range(len(CURSOR))  # fmt: skip

COUNTERS: Final = (
    "events", "book_rows", "adds", "cancels", "modifies", "clears", "trades", "fills",
    "orphan_cancels", "orphan_modifies", "orphan_fills", "duplicate_adds", "crossed_ns",
    "locked_ns", "sequence_regressions", "ts_recv_regressions", "snapshot_rows", "bad_ts_rows",
    "fifo_fills", "fifo_consistent", "ignored",
)  # fmt: skip
"""Names of ``Run.counters``: the numbers of ``quality`` that the kernel counts."""

(
    Q_EVENTS, Q_ROWS, Q_ADDS, Q_CANCELS, Q_MODIFIES, Q_CLEARS, Q_TRADES, Q_FILLS,
    Q_ORPHAN_CANCELS, Q_ORPHAN_MODIFIES, Q_ORPHAN_FILLS, Q_DUPLICATE_ADDS, Q_CROSSED_NS,
    Q_LOCKED_NS, Q_SEQUENCE, Q_TS_RECV, Q_SNAPSHOT_ROWS, Q_BAD_TS,
    Q_FIFO_FILLS, Q_FIFO_CONSISTENT, Q_IGNORED,
) = range(len(COUNTERS))  # fmt: skip


class Records(NamedTuple):
    """Columns of MBO records, equal lengths, contiguous.

    ``order_id`` and ``record`` are the bits of uint64; undefined prices and ``ts_event`` are
    :data:`NULL`; ``action`` and ``side`` are bytes.
    """

    ts_recv: I64
    ts_event: I64
    sequence: U32
    order_id: I64
    price: I64
    size: U32
    flags: U8
    channel: U8
    action: U8
    side: U8
    record: I64


def no_records() -> Records:
    """Records without a row."""
    wide, narrow, byte = np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0, np.uint8)
    return Records(wide, wide, narrow, wide, wide, narrow, byte, byte, byte, byte, wide)


class Run(NamedTuple):
    """What goes on from call to call, besides the book.

    ``top`` int64[2, 3, depth]: by side, ladder key, size and count of the levels as the last row
    showed them; the key is :data:`WORST` where there is no level.  ``since`` int64[2, depth]:
    the first row of the output under way that shows a level as it stands in ``top`` and that is
    not in the columns yet.  From row to row most levels stay as they are, so a column is filled
    only where its value changes, all rows of the old value at once.

    ``flow`` uint32[72] is the flow since the last row; ``flowed`` int64[37] lists the columns of
    counts that are not zero, their number first.  ``sequences`` int64[256] holds the last
    sequence of each channel, -1 none.
    """

    cursor: I64
    counters: I64
    top: I64
    since: I64
    flow: U32
    flowed: I64
    sequences: I64


class Rows(NamedTuple):
    """Columns of `book` and `flow`.  Levels are [2 * level + side, row], flow is
    [(side * 3 + zone) * 12 + kind * 2 + (0 count, 1 size), row], and starts as zeros.  There are
    :data:`STRIP` rows more than can be due: levels are written in strips.
    """

    event: I64
    ts_recv: I64
    ts_event: I64
    sequence: U32
    valid: U8
    state: U8
    price: I64
    size: U32
    orders: U32
    flow: U32


class Prints(NamedTuple):
    """Columns of `trades`."""

    event: I64
    ts_recv: I64
    ts_event: I64
    price: I64
    size: U32
    side: U8
    bid_px: I64
    ask_px: I64
    bid_sz: U32
    ask_sz: U32
    aggressor_size: U32
    aggressor_fills: U32
    record: I64


def new_run(
    *, depth: int, mode: int, grid_step: int = 0, assume_after: int = -1, flow: bool = True
) -> Run:
    """The running state of a book nothing is known about yet."""
    cursor = np.zeros(len(CURSOR), np.int64)
    cursor[MODE] = mode
    cursor[GRID_STEP] = grid_step
    cursor[ASSUME_AFTER] = assume_after
    cursor[WITH_FLOW] = flow and mode != NO_ROWS
    cursor[START] = UNKNOWN_START
    cursor[CLOCK] = cursor[FIRST_CLOCK] = cursor[END_CLOCK] = NO_TIME
    cursor[TS_EVENT] = NULL
    cursor[AGGRESSOR] = 2
    cursor[STATE] = ONE_SIDED
    top = np.zeros((2, 3, depth), np.int64)
    top[:, 0] = WORST
    return Run(
        cursor=cursor,
        counters=np.zeros(len(COUNTERS), np.int64),
        top=top,
        since=np.zeros((2, depth), np.int64),
        flow=np.zeros(FLOW_COLUMNS, np.uint32),
        flowed=np.zeros(1 + FLOW_COLUMNS // 2, np.int64),
        sequences=np.full(256, -1, np.int64),
    )


def _stride(rows: int, item: int) -> int:
    """Rows to allocate: columns must start in different cache sets, or they evict each other."""
    lines = -(-rows * item // 64) | 1
    return lines * 64 // item


def new_rows(depth: int, rows: int, *, flow: bool = True) -> Rows:
    """Room for so many rows, and for those that are written but not due yet."""
    wide, narrow = _stride(rows + STRIP, 8), _stride(rows + STRIP, 4)
    return Rows(
        event=np.empty(wide, np.int64),
        ts_recv=np.empty(wide, np.int64),
        ts_event=np.empty(wide, np.int64),
        sequence=np.empty(narrow, np.uint32),
        valid=np.empty(narrow, np.uint8),
        state=np.empty(narrow, np.uint8),
        price=np.empty((2 * depth, wide), np.int64),
        size=np.empty((2 * depth, narrow), np.uint32),
        orders=np.empty((2 * depth, narrow), np.uint32),
        flow=np.zeros((FLOW_COLUMNS, narrow if flow else 0), np.uint32),
    )


def new_prints(rows: int) -> Prints:
    """Room for so many trade prints."""

    def wide() -> I64:
        return np.empty(rows, np.int64)

    def narrow() -> U32:
        return np.empty(rows, np.uint32)

    return Prints(
        wide(), wide(), wide(), wide(), narrow(), np.empty(rows, np.uint8), wide(), wide(),
        narrow(), narrow(), narrow(), narrow(), wide(),
    )  # fmt: skip
