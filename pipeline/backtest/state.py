"""The simulator's state: arrays with named columns, one page to know them all.

Like the book it is integers only, can be copied and resumed after any record, and grows in the
driver: a kernel that might run out of room stops *before* the step and says which array.

Times are ns.  The **venue's clock** is the running maximum of ``ts_event`` (snapshot rows
apart); **our clock** is ``ts_recv`` and the latencies.  Both tell UTC, and one queue orders
everything; at equal times: the market, our receipt of it (decisions at events), arrivals at the
venue, acknowledgements, fills, ends and refusals, timers (decisions on a grid among them); then as
they were sent.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.book.layout import I64, Book, grow, new_book, resized
from pipeline.structs import Floats1, Floats2, Ints1, Ints2, Struct
from pipeline.units import UNDEF_PRICE
from strategies import layout as la

NEVER: Final = 2**62
"""A time that does not come."""
NO_TARGET: Final = UNDEF_PRICE
"""A decision that keeps the last target."""

# --- our orders: ``own`` int64[n, 28], one row an order, row = order number - BASE -------------
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
    O_STOP,  # trigger of a stop
    O_POST_ONLY,
    O_OFFSET,  # of a pegged order: how far behind the touch of its side
    O_TRIGGERED,
    O_HEARD,  # its end has reached us
    O_SEEN_BID,  # the touch as we knew it when we decided
    O_SEEN_ASK,
) = range(27)
OWN_COLUMNS: Final = 28

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
    WHY_WOULD_TAKE,
    WHY_NOT_WHOLE,
    WHY_SELF_MATCH,
    WHY_STOP_PASSED,
    WHY_RISK_SIZE,
    WHY_RISK_POSITION,
    WHY_RISK_RATE,
    WHY_RISK_LOSS,
    WHY_FLATTENING,
    WHY_BAD_ORDER,
) = range(20)

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
MARK_CLOCK, MARK_SESSION_END, MARK_KILL = range(3)

# --- the queue of what is under way: a heap, int64[n, 8] -----------------------------------------
H_TIME, H_CLASS, H_SEQ, H_KIND, H_ORDER, H_A, H_B, H_C = range(8)
HEAP_COLUMNS: Final = 8
(
    CLASS_MARKET,
    CLASS_RECEIPT,
    CLASS_ARRIVAL,
    CLASS_ACK,
    CLASS_FILL,
    CLASS_END,  # an order's end is heard after its fills, a refusal after what explains it
    CLASS_TIMER,
) = range(7)
(
    ARRIVE_NEW,
    ARRIVE_CANCEL,
    ARRIVE_REPLACE,  # A price, B size in all
    TELL_RESTING,  # A price, B place in the queue (a priority number)
    TELL_ENDED,  # A filled in all, B status, C reason
    TELL_REPLACED,  # A price, B place in the queue, C size in all
    TELL_PLACE,  # A price, B place in the queue
    TELL_TOO_LATE,
    TELL_FILL,  # A signed size, B price, C role
    TIMER_PATIENCE,  # A generation
    TIMER_RETRY,  # A generation
    TIMER_STRATEGY,  # order: the tag, A session
) = range(12)

# --- the timetable, from the calendar: int64[n, 3] ------------------------------------------------
S_TIME, S_KIND, S_SESSION = range(3)
AT_LOAD, AT_OPEN, AT_CLOSE, AT_FLATTEN, AT_END = range(5)
"""Preparations (pre-open), a segment opens, a segment closes, time to flatten, session ends."""
PHASE_CLOSED, PHASE_PREOPEN, PHASE_OPEN = range(3)

# --- decisions of a session: int64[n, 5] ----------------------------------------------------------
D_TS, D_EVENT, D_TARGET, D_BID, D_ASK = range(5)

# --- what the strategy has not received yet ---------------------------------------------------
P_FLAGS, P_ACTION, P_SIDE, P_PRICE, P_SIZE, P_ORDER, P_TS_EVENT, P_TS_RECV = range(8)
"""``pending`` int64[n, 8]: records the venue has applied, for the book as received; and, after a
snapshot's, with action ``P_PLACE``, the places that orders ahead of ours have got back.
"""
P_PLACE: Final = 0
"""Order, price and side code of its record; ``P_SIZE`` is the priority number."""
(
    A_TIME,
    A_RECORDS,  # records of ``pending`` up to this event's end
    A_EVENT,
    A_BID,
    A_ASK,
    A_BID_SIZE,
    A_ASK_SIZE,
    A_BID_ORDERS,
    A_ASK_ORDERS,
    A_VALID,
    A_CROSSED,
    A_TRADED,
    A_LAST_PRICE,
    A_LAST_SIZE,
    A_LAST_SIDE,
) = range(15)
ARRIVAL_COLUMNS: Final = 16
"""``arrivals`` int64[n, 16]: events on their way to us."""

# --- settings: ``conf`` int64[64], constant during a run -----------------------------------------
(
    READING,
    PASSIVE,
    PATIENCE,
    MARK_STEP,
    DECISION_CLASS,
    ASSUME_AFTER,  # an unknown book counts as known so long after its first record; -1 never
    RETRY,  # how long after an order that could not be done
    CONF_HORIZON,  # four places
    _H1,
    _H2,
    _H3,
    LATENCY,  # nine places: kind, ns or median, sigma in 1e-9 of feed, entry, response
    _L1,
    _L2,
    _L3,
    _L4,
    _L5,
    _L6,
    _L7,
    _L8,
    CALLBACK,  # address of the strategy's function, 0 for signals
    INSTANCE,  # address of its memory
    MARKET_AT,  # address of the market it sees
    WAKE,
    FEED,
    TICK,
    MAX_SIZE,  # limits of risk; -1 where there is none
    MAX_POSITION,
    MAX_RATE,  # orders in a second
    MAX_LOSS,  # a session, in money of 1e-9
    MAX_LOSS_RUN,
    PRODUCT_NUMERATOR,  # money of one price unit
    PRODUCT_DENOMINATOR,
) = range(33)
CONF_SIZE: Final = 64
FEED_NONE, FEED_TOUCH, FEED_BOOK = range(3)
CONSTANT, LOGNORMAL, TABLE = range(3)
TO_US, TO_VENUE, FROM_VENUE = range(3)
"""Directions of latency: the feed, our orders, the venue's word."""
OPTIMISTIC, EXACT, PESSIMISTIC = range(3)

# --- scalars: ``meta`` int64[128] -----------------------------------------------------------------
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
    _M1,
    _M2,
    _M3,
    RANDOM,  # and the next: the state of the latencies' generator
    _R2,
    LAST_SENT,  # when the last of our messages gets there; they do not overtake one another
    LAST_TOLD,
    NEXT_RECEIPT,
    RECEIVED,  # running maximum of when events reached us
    N_PENDING,
    AT_PENDING,
    N_ARRIVALS,
    AT_ARRIVAL,
    E_TRADED,
    TRADE_PRICE,  # the last print, at the venue
    TRADE_SIZE,
    TRADE_SIDE,
    TRADE_HIGH,  # of the event under way
    TRADE_LOW,
    N_SPECIAL,  # stops waiting and pegged orders resting
    MORE_ROWS,  # the decision points at hand are not all of the session
    WORKING_BUY,  # size of our orders whose end we have not heard of
    WORKING_SELL,
    SENT_RATE,  # orders sent in the second under way, and its start
    SENT_SINCE,
    HALTED,  # why nothing but flattening is allowed; 0 is free
    FAILED,  # the strategy failed: 1 + the callback's number
    STARTED,  # initialize has been called
    SEEN_BID,  # the touch of the last on_market_event
    SEEN_ASK,
    LETTERS,  # there is something for another instrument
    E_BEGINS,  # the record under way begins an execution
    SNAP_RECORD,  # the last row of a snapshot: its record and ts_recv
    SNAP_RECV,
    RUN_LOST,  # the run's loss went beyond its limit once: nothing more is traded
) = range(102)
META_SIZE: Final = 128

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
    GROW_PENDING,
    GROW_ARRIVALS,
    GROW_SPECIAL,
    NEED_ROWS,
    STRATEGY_FAILED,
    PAUSED,
    FOREIGN,  # there are orders for another instrument, or word of the kill switch
    NEW_PART,  # of several instruments: one is about to begin the records at hand
) = range(19)
STOP_SESSION, STOP_RUN = 1, 2
"""What the kill switch of another instrument ends."""
CUT_OFF, AT_ITS_END, ONLY_WAIT, ONLY_OBEY, ONLY_CUT = range(5)
"""What :func:`~pipeline.backtest.kernel.finish` is to do."""


class Sim(Struct):
    """One simulation of one instrument; see the module for the columns."""

    book: Book
    taken: Ints1
    """[order slots of the book]: size we took of a resting order since it last changed."""
    own: Ints2
    live: Ints2
    """[2, n] rows of ``own`` that rest, by side, best price first, then the earliest."""
    fills: Ints2
    marks: Ints2
    heap: Ints2
    saved: Ints2
    """[n, 4] order id, priority, level key x 2 + side, taken: what a snapshot must restore."""
    rested: Ints1
    """[n] ids of the event's orders that may have come to rest at or through our prices."""
    prints: Ints2
    """[n, 3] price, size, aggressor of the event's T records (optimistic reading)."""
    schedule: Ints2
    decisions: Ints2
    conf: Ints1
    meta: Ints1
    special: Ints1
    """[n] rows of ``own``: stops that wait, pegged orders that rest."""
    latencies: Ints2
    """[n, 4] from when, then ns to us, to the venue, from the venue."""
    rates: Ints2
    """[sessions, 3] fee a contract, money of 1e-9, by role."""
    hours: Ints2
    """[sessions, 3] opens at, is announced to close at, number that the strategy is told."""
    pending: Ints2
    arrivals: Ints2
    # What the strategy sees; the same arrays as its Market's.
    block: Ints1
    reals: Floats1
    commands: Ints2
    known: Ints2
    values: Floats2
    """[decision points, features] of the session, beside ``decisions``."""
    features: Floats1
    seen: Book
    # What the instruments of a run share: [instruments of the run], one where it is alone.
    mail: Ints1
    """Who has been sent commands."""
    purses: Ints1
    """Number of the currency; limits of loss hold for all of one."""
    worth: Floats2
    """[instruments, 2] net result as last known, and as the session began, money of 1e-9."""
    stops: Ints1
    """Word of another's kill switch: STOP_SESSION, STOP_RUN, or 0."""


def new_sim(
    conf: I64, schedule: I64, *, rule: int, rates: I64 | None = None, hours: I64 | None = None,
    latencies: I64 | None = None, features: int = 0, seed: int = 1,
) -> Sim:  # fmt: skip
    """A simulation before its first record: book empty and not valid, nothing sent."""
    book = new_book(orders=4096, levels=1024, rule=rule)
    meta = np.zeros(META_SIZE, np.int64)
    meta[[CLOCK, RECEIVED, LAST_SENT, LAST_TOLD, SENT_SINCE]] = -NEVER
    meta[[NEXT_DUE, NEXT_MARK, FIRST_RECV, NEXT_RECEIPT]] = -NEVER, NEVER, NEVER, NEVER
    meta[[LAST_EVENT, X_WORKING, X_END_FILLED, SESSION]] = -1
    meta[[LAST_BID, LAST_ASK, GOOD_BID, GOOD_ASK, X_BID, X_ASK, X_TARGET, X_GOAL]] = UNDEF_PRICE
    meta[[TRADE_PRICE, SEEN_BID, SEEN_ASK]] = UNDEF_PRICE
    # Two generators' states, neither of which may be 0.
    meta[[RANDOM, RANDOM + 1]] = 1 + seed % 2147483562, 1 + seed // 2147483562 % 2147483398
    block = np.zeros(la.BLOCK_WORDS, np.int64)
    block[[la.WORD["bid"], la.WORD["ask"], la.WORD["last_price"]]] = UNDEF_PRICE
    block[la.WORD["commands_rows"]] = la.COMMANDS
    block[la.WORD["known_rows"]] = 256
    sessions = max(1, len(schedule))
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
        special=np.zeros(16, np.int64),
        latencies=np.zeros((0, 4), np.int64) if latencies is None else latencies,
        rates=np.zeros((sessions, 3), np.int64) if rates is None else rates,
        hours=np.zeros((sessions, 3), np.int64) if hours is None else hours,
        pending=np.zeros((4096, 8), np.int64),
        arrivals=np.zeros((1024, ARRIVAL_COLUMNS), np.int64),
        block=block,
        reals=block.view(np.float64),
        commands=np.zeros((la.COMMANDS, la.COMMAND_COLUMNS), np.int64),
        known=np.zeros((256, la.KNOWN_COLUMNS), np.int64),
        values=np.zeros((0, features), np.float64),
        features=np.full(features, np.nan),
        seen=new_book(orders=4096, levels=1024, rule=rule),
        mail=np.zeros(1, np.int64),
        purses=np.zeros(1, np.int64),
        worth=np.zeros((1, 2)),
        stops=np.zeros(1, np.int64),
    )


def _longer(array: I64, axis: int = 0) -> I64:
    shape = list(array.shape)
    shape[axis] *= 2
    bigger = np.zeros(shape, np.int64)
    bigger[tuple(slice(0, n) for n in array.shape)] = array
    return bigger


_GROWS: Final = {
    GROW_OWN: (("own", 0), ("known", 0)),
    GROW_LIVE: (("live", 1),),
    GROW_FILLS: (("fills", 0),),
    GROW_MARKS: (("marks", 0),),
    GROW_HEAP: (("heap", 0),),
    GROW_SAVED: (("saved", 0),),
    GROW_RESTED: (("rested", 0),),
    GROW_PRINTS: (("prints", 0),),
    GROW_PENDING: (("pending", 0),),
    GROW_ARRIVALS: (("arrivals", 0),),
    GROW_SPECIAL: (("special", 0),),
}


def grow_sim(sim: Sim, status: int) -> None:
    """Double the array that ran full."""
    if status == GROW_BOOK:
        sim.book = grow(sim.book)
        taken = np.zeros(len(sim.book.orders), np.int64)
        taken[: len(sim.taken)] = sim.taken
        sim.taken = taken
        # The book as received is one the venue's once was: it fits where that one does.
        sim.seen = resized(sim.seen, len(sim.book.orders), len(sim.book.levels))
    else:
        for name, axis in _GROWS[status]:
            setattr(sim, name, _longer(getattr(sim, name), axis))
        sim.block[la.WORD["known_rows"]] = len(sim.known)
