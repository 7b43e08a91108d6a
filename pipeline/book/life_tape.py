"""What the kernel of `order_life` reads and writes: fields of a life, its cursor, its codes.

A life is a row of int64: the fields of :data:`FIELDS` in the order of the table's columns.  Those
before ``OUTCOME`` are kept for every resting order, at the place of its slot in the book; when it
leaves they are copied to the output and the rest is filled in.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.book.layout import I64, NO_SIDE
from pipeline.book.tape import NO_TIME, NULL

FIELDS: Final = (
    "order_id", "side", "entered", "entered_event", "entered_ts_recv", "entered_ts_event",
    "entered_ahead_orders", "entered_ahead_size", "entered_distance", "entered_opposite",
    "first_price", "first_size",
    "place_event", "place_ts_recv", "place_ts_event", "price", "place_size",
    "place_ahead_orders", "place_ahead_size", "place_distance", "place_opposite", "valid",
    "modifies_kept", "modifies_lost", "reprices", "partial_cancels", "refills", "refill_size",
    "fills", "fill_size", "queue_fills", "fills_out_of_turn",
    "first_fill_event", "first_fill_ts_recv", "first_fill_ts_event",
    "first_fill_ahead_orders", "first_fill_ahead_size", "lost_ts_recv",
    "max_size", "size_added", "size_executed", "size_cancelled",
    "outcome", "left_event", "left_ts_recv", "left_ts_event", "left_size",
    "left_ahead_orders", "left_ahead_size", "left_queue_orders", "left_queue_size",
    "known_at",
    "written",
)  # fmt: skip
"""Fields of a row; ``written`` (the event during which the row was made) is no column."""

(
    ORDER_ID, SIDE, ENTERED, E_EVENT, E_RECV, E_TS,
    E_AHEAD_ORDERS, E_AHEAD_SIZE, E_DISTANCE, E_OPPOSITE,
    FIRST_PRICE, FIRST_SIZE,
    P_EVENT, P_RECV, P_TS, PRICE, P_SIZE,
    P_AHEAD_ORDERS, P_AHEAD_SIZE, P_DISTANCE, P_OPPOSITE, VALID,
    KEPT, LOST, REPRICES, PARTIAL_CANCELS, REFILLS, REFILL_SIZE,
    FILLS, FILL_SIZE, QUEUE_FILLS, OUT_OF_TURN,
    F_EVENT, F_RECV, F_TS,
    F_AHEAD_ORDERS, F_AHEAD_SIZE, LOST_RECV,
    MAX_SIZE, ADDED, EXECUTED, CANCELLED,
    OUTCOME, L_EVENT, L_RECV, L_TS, L_SIZE,
    L_AHEAD_ORDERS, L_AHEAD_SIZE, L_QUEUE_ORDERS, L_QUEUE_SIZE,
    KNOWN_AT,
    WRITTEN,
) = range(len(FIELDS))  # fmt: skip

LIVE_FIELDS: Final = OUTCOME
"""Fields kept while an order rests."""

BY_ADD, BY_MODIFY, BY_SNAPSHOT, CARRIED = range(4)
"""Codes of ``tables.LIFE_ENTERED``."""
NO_LIFE: Final = -1
"""In ENTERED: no row is to be written.  On the shelf the snapshot has the order, and its life
goes on; in the book it is no order but the level of a TOB record.
"""

L_FILLED, L_CANCELLED, L_REPLACED, L_CLEARED, L_SNAPSHOT, L_RESTING = range(6)
"""Codes of ``tables.LIFE_OUTCOMES``."""

CURSOR: Final = (
    # settings
    "assume_after",
    # contents known to be complete, MAYBE_BAD_BOOK seen
    "known", "bad",
    # running maximum of ts_recv at the last event end, first of the book; the last record
    "clock", "first_clock", "ts_event", "action", "aggressor",
    # the event under way: its key, its clock at its end, the touch before it
    "open", "event", "event_clock", "touch_bid", "touch_ask",
    # places in the numbers of this call's events and in the output; orders on the shelf
    "at_event", "rows", "shelf",
    # orders have just been put there; why the kernel stopped
    "fresh", "reason",
)  # fmt: skip

(
    ASSUME_AFTER, BOOK_KNOWN, BOOK_BAD, CLOCK, FIRST_CLOCK, TS_EVENT, ACTION, AGGRESSOR,
    OPEN, EVENT, EVENT_CLOCK, TOUCH, _TOUCH_ASK, AT_EVENT, ROWS, SHELF, FRESH,
    REASON,
) = range(len(CURSOR))  # fmt: skip

DONE, MUST_GROW, MUST_SHELVE, MUST_DRAIN = range(4)
"""Why the kernel stopped: all records done, the book is full, a snapshot begins over resting
orders, the output is full.
"""


def new_cursor(assume_after: int) -> I64:
    """The cursor of a book nothing is known about yet."""
    cursor = np.zeros(len(CURSOR), np.int64)
    cursor[ASSUME_AFTER] = assume_after
    cursor[CLOCK] = cursor[FIRST_CLOCK] = NO_TIME
    cursor[TS_EVENT] = NULL
    cursor[AGGRESSOR] = NO_SIDE
    return cursor
