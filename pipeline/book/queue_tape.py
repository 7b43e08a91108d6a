"""What the kernel of `queue` keeps beside a book: facts of orders and levels, recent events.

All of it is int64; times are ns on the clock of ``ts_recv`` (running maximum at the end of the
event), :data:`pipeline.book.tape.NULL` where unknown.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from pipeline.book.layout import I64, Book
from pipeline.book.queue_columns import (
    BOTH_NAMES,
    FLOW_NAMES,
    ORDER_SIZES,
    QUEUE_FIELDS,
    STATE_NAMES,
)
from pipeline.book.tape import NO_TIME, NULL

MS: Final = 1_000_000
REPLACED_WITHIN: Final = 50 * MS
"""An order that comes so soon after an equal one went is taken for its successor."""
RELOADED_WITHIN: Final = 10 * MS
BORN_AFTER: Final = 100 * MS
"""Age at which a new level is looked at."""
RECENT: Final = 256
"""Fills and cancels remembered; more within 50 ms push out the oldest."""
BIRTHS: Final = 64
"""New levels waited for at once; more push out the oldest."""
LONGEST_WALK: Final = 512
"""Queues with more orders have no medians."""
NEAR_TICKS: Final = 10
FAR_TICKS: Final = 1_000
KNOWN_LIMIT: Final = 50_000_000
"""Contracts of known age from which their sum of ages might not fit 63 bits within a day."""
SQUARE_LIMIT: Final = 3_000_000_000
"""The same of squared sizes."""

LIFE_EDGES: Final = (2 * MS, 50 * MS, 1_000 * MS, 10_000 * MS, 60_000 * MS)

# Fields of an order: entered the book, joined its queue, its size then, modifications, place in
# a chain of orders that follow one another
L_ENTRY, L_PLACE, L_SIZE, L_MODS, L_CHAIN = range(5)
ORDER_FACTS: Final = 8

# Fields of a level: of orders of known age their size, number and sum of size x time of joining
# (us since midnight); sum of squared sizes; modifications; the largest order (-1: not known, the
# size is an upper bound), the most modified one; since it opened: refills, printed, filled; the
# number of its life
(
    V_KNOWN_SZ, V_KNOWN_CT, V_TIME, V_SQUARE, V_MODS,
    V_MAX, V_MAX_SLOT, V_MOST, V_MOST_SLOT,
    V_REFILLS, V_TRADED, V_FILLED, V_LIFE,
) = range(13)  # fmt: skip
LEVEL_FACTS: Final = 16

# Columns of a row, by side and for both
(
    S_KNOWN_SZ, S_KNOWN_CT, S_AGE_SUM, S_FRONT_AGE, S_FRONT_SZ, S_MEDIAN_AGE, S_MEDIAN_SZ,
    S_MAX_SZ, S_SQUARE, S_MODS, S_MODS_MAX, S_REFILLS, S_TRADED, S_FILLED,
    S_LARGE_SZ, S_LARGE_TICKS, S_LARGE_AGE,
) = range(len(STATE_NAMES) - len(ORDER_SIZES))  # fmt: skip
S_FROM: Final = len(STATE_NAMES) - len(ORDER_SIZES)
"""The first of the counts of orders by size."""
(
    F_CANCEL, _, _, _, _, _,
    F_REFILL_CT, F_REFILL_SZ, F_HIDDEN, F_RELOAD_10MS, F_RELOAD_50MS, F_RELOAD_SZ, F_RELOAD_CHAIN,
    F_REPEG, F_REPLACE, F_BETTER, F_TOUCH, F_ADD_1, F_ADD_2, F_ADD_3_5, F_ADD_6_10, F_ADD_FAR,
    F_DISTANCE, F_BORN, F_BORN_FIRST, F_BORN_SZ, F_BORN_ORDERS,
) = range(len(FLOW_NAMES))  # fmt: skip
STATES: Final = len(STATE_NAMES)
FLOWS: Final = len(FLOW_NAMES)
OUTCOME: Final = len(BOTH_NAMES) // 2
"""Columns of an outcome: its classes of lifetimes, then their sum."""
AT_BOTH: Final = 2 * FLOWS
"""Where the flows of both sides begin in ``flows``."""
FILLED: Final = 0
CANCELLED: Final = 1
ALL: Final = len(QUEUE_FIELDS)

# Fields of what is remembered: side, price, size, time, then place in a chain (fills), number of
# the life (births); whether something followed already
R_SIDE, R_PRICE, R_SIZE, R_TS, R_NUMBER, R_USED = range(6)

CURSOR: Final = (
    # settings: 0 where the tick size is not known; UTC midnight
    "tick", "midnight",
    # running maximum of ts_recv at the last event end; the last record
    "clock", "ts_event", "action",
    # the event under way: its clock at its end, the touch before it
    "open", "event_clock", "touch_bid", "touch_ask",
    # places in this call's events and in the output; why the kernel stopped
    "at_event", "rows", "reason",
    # levels opened, fills and cancels remembered, births: first waited for, all
    "lives", "fills", "cancels", "first_birth", "births",
    # facts of the one order's level that a record is about to move
    "kept_refills", "kept_traded", "kept_filled", "kept_life",
    # by side: changed since the last row; and what was found then
    "dirty_bid", "dirty_ask",
    "median_place_bid", "median_place_ask", "median_sz_bid", "median_sz_ask",
    "large_sz_bid", "large_sz_ask", "large_ticks_bid", "large_ticks_ask",
    "large_place_bid", "large_place_ask",
)  # fmt: skip
(
    TICK, MIDNIGHT, CLOCK, TS_EVENT, ACTION, OPEN, EVENT_CLOCK, TOUCH, _TOUCH_ASK,
    AT_EVENT, ROWS, REASON, LIVES, N_FILLS, N_CANCELS, FIRST_BIRTH, N_BIRTHS,
    KEPT, _KEPT_TRADED, _KEPT_FILLED, KEPT_LIFE,
    DIRTY, _DIRTY_ASK, MEDIAN_PLACE, _MEDIAN_PLACE_ASK, MEDIAN_SZ, _MEDIAN_SZ_ASK,
    LARGE_SZ, _LARGE_SZ_ASK, LARGE_TICKS, _LARGE_TICKS_ASK, LARGE_PLACE, _LARGE_PLACE_ASK,
) = range(len(CURSOR))  # fmt: skip

DONE, MUST_GROW, MUST_DRAIN = range(3)
"""Why the kernel stopped: all records done, the book is full, the output is full."""


class Facts(NamedTuple):
    """What is known of a book's orders and levels beyond the book.

    ``orders`` int64[order slots, 8] and ``levels`` int64[level slots, 16] stand beside the
    book's own; ``flows`` int64[68] adds up since the last row; ``fills``, ``cancels``
    int64[256, 6] and ``births`` int64[64, 6] are rings; ``sizes`` int64[512] is scratch;
    ``counts`` int64[2, 9] has the orders of each side's touch from the sizes ``classes`` on.
    """

    orders: I64
    levels: I64
    cursor: I64
    flows: I64
    fills: I64
    cancels: I64
    births: I64
    sizes: I64
    counts: I64
    classes: I64


def new_facts(book: Book, tick: int, midnight: int) -> Facts:
    """Nothing known yet; ``tick`` in 1e-9, 0 where not known; UTC midnight in ns."""
    cursor = np.zeros(len(CURSOR), np.int64)
    cursor[TICK] = tick
    cursor[MIDNIGHT] = midnight
    cursor[CLOCK] = NO_TIME
    cursor[TS_EVENT] = NULL
    cursor[DIRTY] = cursor[DIRTY + 1] = 1
    return Facts(
        orders=np.zeros((len(book.orders), ORDER_FACTS), np.int64),
        levels=np.zeros((len(book.levels), LEVEL_FACTS), np.int64),
        cursor=cursor,
        flows=np.zeros(AT_BOTH + 2 * OUTCOME, np.int64),
        fills=np.zeros((RECENT, 6), np.int64),
        cancels=np.zeros((RECENT, 6), np.int64),
        births=np.zeros((BIRTHS, 6), np.int64),
        sizes=np.zeros(LONGEST_WALK, np.int64),
        counts=np.zeros((2, len(ORDER_SIZES)), np.int64),
        classes=np.array(ORDER_SIZES, np.int64),
    )


def grown(facts: Facts, book: Book) -> Facts:
    """The same facts beside a book that has grown."""
    orders = np.zeros((len(book.orders), ORDER_FACTS), np.int64)
    orders[: len(facts.orders)] = facts.orders
    levels = np.zeros((len(book.levels), LEVEL_FACTS), np.int64)
    levels[: len(facts.levels)] = facts.levels
    return facts._replace(orders=orders, levels=levels)
