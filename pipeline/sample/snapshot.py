"""Whole books as records: the midnight snapshot and the orders carried at start-up."""

from __future__ import annotations

import numpy as np

from pipeline.sample.emit import SIDES, A, R, head
from pipeline.sample.state import (
    BASE,
    DEPTH,
    I64,
    ID,
    INST,
    INSTRUMENT_ID,
    MBO_WORDS,
    MBP_WORDS,
    OWNER,
    PLACE,
    RANK,
    SEQ,
    SIDE,
    SINCE,
    SIZE,
    TICK,
    USED,
    Market,
)
from pipeline.units import F_BAD_TS_RECV, F_LAST, F_SNAPSHOT, UNDEF_PRICE

_LENGTH_MBO, _RTYPE_MBO = 14, 160
_LENGTH_MBP10, _RTYPE_MBP10 = 92, 10


def live_orders(market: Market, i: int) -> I64:
    """Resting orders of an instrument in time priority: rows of ``orders``."""
    rows = market.orders[: market.clock[USED]]
    rows = rows[(rows[:, OWNER] == 1) & (rows[:, INST] == i)]
    in_order: I64 = rows[np.argsort(rows[:, RANK], kind="stable")]
    return in_order


def book_records(
    market: Market, i: int, ts_recv: int, *, snapshot: bool, ts_event: int, sequence: int
) -> I64:
    """R, then an A for every resting order, as MBO words; the last one carries F_LAST.

    A snapshot has the flags of one and the orders' own times and sequences; without it these
    are ordinary records of one moment, and the clear is an event of its own.
    """
    rows = live_orders(market, i)
    inst = market.inst[i]
    out = np.zeros((len(rows) + 1, MBO_WORDS), dtype=np.int64)
    out[:, 0] = head(_LENGTH_MBO, _RTYPE_MBO, int(inst[INSTRUMENT_ID]))
    out[0, 1] = rows[0, SINCE] if snapshot and len(rows) else ts_event
    out[0, 3] = UNDEF_PRICE
    out[0, 4] = R << 48 | SIDES[2] << 56
    out[1:, 1] = rows[:, SINCE] if snapshot else ts_event
    out[1:, 2] = rows[:, ID]
    out[1:, 3] = (inst[BASE] + rows[:, PLACE]) * inst[TICK]
    out[1:, 4] = rows[:, SIZE] | A << 48 | np.array(SIDES)[rows[:, SIDE]] << 56
    out[:, 5] = ts_recv
    out[1:, 6] = rows[:, SEQ] << 32
    flags = 0
    if snapshot:
        flags = F_SNAPSHOT | F_BAD_TS_RECV
    else:
        out[:, 6] = 14_000 | sequence << 32
        out[0, 4] |= F_LAST << 32
    out[:, 4] |= flags << 32
    out[-1, 4] |= F_LAST << 32
    return out


def book_row(market: Market, i: int, record: I64) -> I64:
    """The MBP row of a whole book's last record; none if the book is empty.

    A day's file starts from an empty book, so the rows of a whole book are one change: of both
    sides (side N), or of the one that has orders.
    """
    levels = market.book[0, i]
    bids, asks = levels[0] != UNDEF_PRICE, levels[1] != UNDEF_PRICE
    if not bids and not asks:
        return np.zeros((0, MBP_WORDS), dtype=np.int64)
    side = SIDES[2] if bids and asks else SIDES[0 if bids else 1]
    row = np.zeros((1, MBP_WORDS), dtype=np.int64)
    row[0, 0] = head(_LENGTH_MBP10, _RTYPE_MBP10, int(market.inst[i, INSTRUMENT_ID]))
    size = int(record[4]) & 0xFFFF_FFFF
    flags = int(record[4]) >> 32 & 255
    action = int(record[4]) >> 48 & 255
    row[0, 1] = record[1]
    row[0, 2] = record[3]
    row[0, 3] = size | action << 32 | side << 40 | flags << 48
    row[0, 4] = record[5]
    row[0, 5] = record[6]
    row[0, 6 : 6 + 4 * DEPTH] = levels
    return row
