"""The simulator's state: arrays with named columns, one page to know them all.

Like the book it is integers only, can be copied and resumed after any record, and grows in the
driver: a kernel that might run out of room stops *before* the step and says which array.

Times are ns.  The **venue's clock** is the running maximum of ``ts_event`` (snapshot rows
apart); **our clock** is ``ts_recv`` and the latencies.  Both tell UTC, and one queue orders
everything; at equal times: the market, our receipt of it (decisions at events), arrivals at the
venue, acknowledgements, fills, timers (decisions on a grid among them); then as they were sent.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.book.layout import I64, Book, grow, new_book
from pipeline.units import UNDEF_PRICE

NEVER: Final = 2**62
"""A time that does not come."""
NO_TARGET: Final = UNDEF_PRICE
"""A decision that keeps the last target."""

# --- our orders: ``own`` int64[n, 24], one row an order, row = order number - BASE ---------------
(
    O_SIDE,  # BID buys, ASK sells
    O_TYPE,
    O_TIF,
    O_PRICE,
    O_SIZE,  # in all
    O_FILLED,
    O_STATUS,
    O_REASON,
    O_DECIDED,
    O_ARRIVED,
    O_ENDED,
    O_EVENT,  # last event before it arrived
    O_MARKER,  # the last priority number given when it joined: those up to it are ahead
    O_AHEAD,
    O_ENTRY_AHEAD,
    O_ENTRY_ORDERS,
    O_REPLACED,
    O_BID,
    O_ASK,
    O_SESSION,
) = range(20)
OWN_COLUMNS: Final = 24

LIMIT, MARKET = range(2)
GTC, IOC = range(2)
SENT, RESTING, FILLED, CANCELLED, REJECTED, EXPIRED = range(6)
(
    WHY_NONE,
    WHY_ASKED,
    WHY_NO_DEPTH,
    WHY_SESSION_END,
    WHY_CLEARED,
    WHY_CLOSED,
    WHY_CROSSED,
    WHY_INVALID,
    WHY_END_OF_DATA,
    WHY_TOO_LATE,
) = range(10)

# --- fills: int64[n, 20] --------------------------------------------------------------------------
(
    F_ORDER,
    F_SESSION,
    F_TS,
    F_KNOWN,
    F_EVENT,
    F_RECORD,
    F_SIDE,
    F_PRICE,
    F_SIZE,
    F_ROLE,
    F_REASON,
    F_ENTRY_AHEAD,
    F_AHEAD,
    F_POSITION,
    F_BID,
    F_ASK,
    F_MARK,  # four columns: bid + ask at each horizon, UNDEF_PRICE where there is none
) = range(17)
FILL_COLUMNS: Final = 20
HORIZONS: Final = 4

MAKER, TAKER, AUCTION = range(3)
(
    BY_BEHIND,
    BY_WORSE_PRICE,
    BY_CAME_TO_REST,
    BY_AUCTION,
    BY_AUCTION_QUEUE,
    BY_NOTHING_AHEAD,
    BY_PRINT_ONLY,
    BY_TOOK_DEPTH,
) = range(8)

# --- marks: int64[n, 8] ---------------------------------------------------------------------------
M_TS, M_EVENT, M_KIND, M_POSITION, M_MARK, M_SESSION, M_FILLS = range(7)
MARK_COLUMNS: Final = 8
MARK_CLOCK, MARK_SESSION_END = range(2)

# --- the queue of what is under way: a heap, int64[n, 8] -----------------------------------------
H_TIME, H_CLASS, H_SEQ, H_KIND, H_ORDER, H_A, H_B = range(7)
HEAP_COLUMNS: Final = 8
CLASS_MARKET, CLASS_RECEIPT, CLASS_ARRIVAL, CLASS_ACK, CLASS_FILL, CLASS_TIMER = range(6)
(
    ARRIVE_NEW,
    ARRIVE_CANCEL,
    ARRIVE_REPLACE,  # A price, B size in all
    TELL_RESTING,
    TELL_ENDED,  # A filled in all
    TELL_REPLACED,
    TELL_TOO_LATE,
    TELL_FILL,  # A signed size
    TIMER_PATIENCE,  # A generation
    TIMER_RETRY,  # A generation
) = range(10)

# --- the timetable, from the calendar: int64[n, 3] ------------------------------------------------
S_TIME, S_KIND, S_SESSION = range(3)
AT_LOAD, AT_OPEN, AT_CLOSE, AT_FLATTEN, AT_END = range(5)
"""Preparations (pre-open), a segment opens, a segment closes, time to flatten, session ends."""
PHASE_CLOSED, PHASE_PREOPEN, PHASE_OPEN = range(3)

# --- decisions of a session: int64[n, 5] ----------------------------------------------------------
D_TS, D_EVENT, D_TARGET, D_BID, D_ASK = range(5)

# --- settings: ``conf`` int64[16], constant during a run -----------------------------------------
(
    READING,
    ENTRY_LATENCY,
    RESPONSE_LATENCY,
    PASSIVE,
    PATIENCE,
    MARK_STEP,
    DECISION_CLASS,
    ASSUME_AFTER,  # an unknown book counts as known so long after its first record; -1 never
    RETRY,  # how long after an order that could not be done
    CONF_HORIZON,  # four places
) = range(10)
CONF_SIZE: Final = 16
OPTIMISTIC, EXACT, PESSIMISTIC = range(3)

# --- scalars: ``meta`` int64[80] ------------------------------------------------------------------
(
    CLOCK,  # the venue's clock
    EVENT_BASE,
    EVENT_NUMBER,
    LAST_EVENT,
    LAST_RECORD,
    IN_EVENT,
    NEXT_DUE,
    SEQ,
    BASE,  # number of the order in row 0 of ``own``
    N_OWN,
    N_LIVE,  # and the next: by side
    _N_LIVE_ASK,
    FILL_BASE,  # number of the fill in row 0 of ``fills``
    N_FILLS,
    N_MARKS,
    N_HEAP,
    N_SAVED,
    N_SAVED_ALL,
    N_RESTED,
    N_PRINTS,
    NEXT_SCHEDULE,
    NEXT_DECISION,
    NEXT_MARK,
    LOADED,
    PHASE,
    SESSION,
    VALID,  # KNOWN and not BAD
    KNOWN,
    BAD,
    FIRST_RECV,  # ts_recv of the book's first record, NEVER before it
    CROSSED,
    LAST_BID,  # touch at the last event end, UNDEF_PRICE where a side is empty
    LAST_ASK,
    GOOD_BID,  # the last touch of a valid, uncrossed book with both sides
    GOOD_ASK,
    POSITION,
    TAKEN_ANY,
    SNAPPING,
    E_ALLOWED,  # event: ordinary fills may happen
    E_PRINT_SIDE,  # side of its last T
    E_HAS_PRINT,
    E_HAS_FILL,
    E_ACTION,  # last record: its action and ts_event, to tell one execution from the next
    E_TS_EVENT,
    E_AUCTION_PRICE,
    E_AUCTION_SIZE,
    E_AUCTION_USED,  # and the next: by side
    _E_AUCTION_USED_ASK,
    X_KNOWN,  # executor: position by the fills we know of
    X_TARGET,
    X_BID,
    X_ASK,
    X_FLATTEN,
    X_GOAL,
    X_CROSS,  # patience is over
    X_GENERATION,
    X_WORKING,  # order being worked, or -1
    X_STATE,
    X_SIDE,
    X_PRICE,
    X_SIZE,
    X_KNOWN_FILLED,
    X_END_FILLED,  # -1 while it has not ended
    X_TYPE,
    X_HOLD,
    X_ACTIVE,
    MARKOUT,  # four places: first fill whose markout at that horizon is not taken
) = range(67)
META_SIZE: Final = 80

X_SENT, X_RESTING, X_CANCELLING, X_REPLACING = range(4)

# --- what a kernel returns ------------------------------------------------------------------------
(
    DONE,
    NEED_SESSION,
    GROW_BOOK,
    GROW_OWN,
    GROW_LIVE,
    GROW_FILLS,
    GROW_MARKS,
    GROW_HEAP,
    GROW_SAVED,
    GROW_RESTED,
    GROW_PRINTS,
) = range(11)


class Sim(NamedTuple):
    """One simulation of one instrument; see the module for the columns."""

    book: Book
    taken: I64
    """[order slots of the book]: size we took of a resting order since it last changed."""
    own: I64
    live: I64
    """[2, n] rows of ``own`` that rest, by side, best price first, then the earliest."""
    fills: I64
    marks: I64
    heap: I64
    saved: I64
    """[n, 4] order id, priority, level key x 2 + side, taken: what a snapshot must restore."""
    rested: I64
    """[n] ids of the event's orders that may have come to rest at or through our prices."""
    prints: I64
    """[n, 3] price, size, aggressor of the event's T records (optimistic reading)."""
    schedule: I64
    decisions: I64
    conf: I64
    meta: I64


def new_sim(conf: I64, schedule: I64, *, rule: int) -> Sim:
    """A simulation before its first record: book empty and not valid, nothing sent."""
    book = new_book(orders=4096, levels=1024, rule=rule)
    meta = np.zeros(META_SIZE, np.int64)
    meta[[CLOCK]] = -NEVER
    meta[[NEXT_DUE, NEXT_MARK, FIRST_RECV]] = -NEVER, NEVER, NEVER
    meta[[LAST_EVENT, X_WORKING, X_END_FILLED, SESSION]] = -1
    meta[[LAST_BID, LAST_ASK, GOOD_BID, GOOD_ASK, X_BID, X_ASK, X_TARGET, X_GOAL]] = UNDEF_PRICE
    return Sim(
        book=book,
        taken=np.zeros(len(book.orders), np.int64),
        own=np.zeros((256, OWN_COLUMNS), np.int64),
        live=np.zeros((2, 16), np.int64),
        fills=np.zeros((256, FILL_COLUMNS), np.int64),
        marks=np.zeros((256, MARK_COLUMNS), np.int64),
        heap=np.zeros((64, HEAP_COLUMNS), np.int64),
        saved=np.zeros((1024, 4), np.int64),
        rested=np.zeros(64, np.int64),
        prints=np.zeros((64, 3), np.int64),
        schedule=schedule,
        decisions=np.zeros((0, 5), np.int64),
        conf=conf,
        meta=meta,
    )


def _longer(array: I64, axis: int = 0) -> I64:
    shape = list(array.shape)
    shape[axis] *= 2
    bigger = np.zeros(shape, np.int64)
    bigger[tuple(slice(0, n) for n in array.shape)] = array
    return bigger


_GROWS: Final = {
    GROW_OWN: ("own", 0),
    GROW_LIVE: ("live", 1),
    GROW_FILLS: ("fills", 0),
    GROW_MARKS: ("marks", 0),
    GROW_HEAP: ("heap", 0),
    GROW_SAVED: ("saved", 0),
    GROW_RESTED: ("rested", 0),
    GROW_PRINTS: ("prints", 0),
}


def grow_sim(sim: Sim, status: int) -> Sim:
    """The same simulation with the array that ran full doubled."""
    if status == GROW_BOOK:
        book = grow(sim.book)
        taken = np.zeros(len(book.orders), np.int64)
        taken[: len(sim.taken)] = sim.taken
        return sim._replace(book=book, taken=taken)
    name, axis = _GROWS[status]
    changed: dict[str, Any] = {name: _longer(getattr(sim, name), axis)}
    return sim._replace(**changed)
