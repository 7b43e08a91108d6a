"""The whole state of the simulated venue, in arrays that a kernel can leave and re-enter.

Prices are places on a ladder of ticks: ``price = (base + place) * tick`` for an instrument's
``base``.  Each side of each instrument has its own ladder, so that the pre-open book may
cross.  Orders of a level form a list in time priority.

This is the venue's own book: it knows hidden sizes and matches orders.  It shares nothing with
the book that the pipeline rebuilds from records, and must not: the one checks the other.
"""

from __future__ import annotations

from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from pipeline.sample.rng import U64, new_rng

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


def constant(value: int) -> int:
    """A constant to be passed to kernels' functions.

    numba compiles a version of a function for every Python constant it is called with, but
    one for all numpy integers.
    """
    return cast("int", np.int64(value))


BUY: Final = constant(0)
SELL: Final = constant(1)
ZERO: Final = constant(0)
ONE: Final = constant(1)
YES: Final = cast("bool", np.bool_(True))
NO: Final = cast("bool", np.bool_(False))

LADDER: Final = 1 << 15
"""Places on a ladder; prices start in the middle."""
CENTRE: Final = LADDER // 2
CAPACITY: Final = 1 << 16
"""Resting orders of all instruments together."""
DEPTH: Final = 10
"""Levels a side in the published book."""
NEAR: Final = 48
"""Levels behind the touch that ordinary flow visits."""

# Columns of ``orders``
(ID, SIZE, PLACE, PREV, NEXT, SIDE, INST, HIDDEN, SINCE, RANK, SEQ, STAYS, TOUCH, OWNER) = range(14)
"""STAYS: good till cancelled (survives the close).  SINCE, RANK, SEQ: when the order got its
priority (time, number, sequence).  TOUCH: its entry in ``touched``, plus one.  OWNER is 1 while
the order rests, 0 for a free slot."""
ORDER_COLUMNS: Final = 16

# Columns of ``levels``
HEAD, TAIL, TOTAL, COUNT = range(4)

# Columns of ``inst``
(
    INSTRUMENT_ID,
    TICK,
    BASE,
    BEST_BID,
    BEST_ASK,
    LEVELS_BID,
    LEVELS_ASK,
    TENTH_BID,
    TENTH_ASK,
    DIRTY,
    N_ORDERS,
    TARGET_FAR,
    LAST_DIRECTION,
    HALT_FROM,
    HALT_TO,
    ANCHOR,
    META_LEFT,
    META_SIGN,
    NEWS_LEFT,
    NEWS_SIGN,
    MID2,
    PULL_LEFT,
    PULL_SIDE,
) = range(23)
"""BEST_x is -1 (bids) or LADDER (asks) where the side is empty; TENTH_x is the place of the
last published level, or beyond the ladder where fewer are published; LEVELS_x counts live
levels.  MID2 is twice the mid, in places, at the last event end with two sides."""
INST_COLUMNS: Final = 24

# Columns of ``params``
(WEIGHT, ORDER_MEAN, TRADE_MEAN, LEAD, TRADE_SHARE, SIGNED, SLOW, HEAT) = range(8)
"""Constants of an instrument, then what changes: SIGNED and SLOW, sums of the signs of market
orders that decay fast and slowly; HEAT (of the whole venue, in row 0), how busy the moment is."""
TARGET: Final = 8
"""From here on: orders that the levels behind the touch aim at."""
PARAM_COLUMNS: Final = TARGET + NEAR

# Places of ``clock``
(
    NOW,
    RECV,
    DELTA,
    SEQUENCE,
    LAST_EVENT,
    NEXT_ID,
    NEXT_RANK,
    N_MBO,
    N_MBP,
    FREE,
    USED,
    N_TOUCHED,
    EVENT_START,
    CURSOR,
    QUOTA,
    EVENTS,
) = range(16)
CLOCK_SIZE: Final = 16

# Columns of ``touched``
(T_SLOT, T_BEFORE, T_REFILLED) = range(3)

MBO_WORDS: Final = 7
"""A 56-byte MBO record as int64 words."""
MBP_WORDS: Final = 46
"""A 368-byte MBP-10 record as int64 words: six of header, four a level."""

BLOCK: Final = 1 << 15
"""Records after which a kernel returns for its output to be written."""
MARGIN: Final = 1 << 14
"""Records that one event may still add after that."""


class Market(NamedTuple):
    """State and output buffers; see the column names above."""

    orders: I64
    levels: I64
    inst: I64
    params: F64
    clock: I64
    rng: U64
    touched: I64
    book: I64
    """The published top ten now, and at the last event end: [2, instrument, words of a row]."""
    mbo: I64
    mbp: I64


def new_market(instruments: int, seed: int) -> Market:
    """An empty venue for so many instruments; the caller fills ``inst`` and the parameters."""
    n = instruments
    levels = np.zeros((n, 2, LADDER, 4), dtype=np.int64)
    levels[..., HEAD] = -1
    levels[..., TAIL] = -1
    market = Market(
        orders=np.zeros((CAPACITY, ORDER_COLUMNS), dtype=np.int64),
        levels=levels,
        inst=np.zeros((n, INST_COLUMNS), dtype=np.int64),
        params=np.zeros((n, PARAM_COLUMNS)),
        clock=np.zeros(CLOCK_SIZE, dtype=np.int64),
        rng=new_rng(seed),
        touched=np.zeros((MARGIN, 3), dtype=np.int64),
        book=np.zeros((2, n, 4 * DEPTH), dtype=np.int64),
        mbo=np.zeros((BLOCK + MARGIN, MBO_WORDS), dtype=np.int64),
        mbp=np.zeros((BLOCK + MARGIN, MBP_WORDS), dtype=np.int64),
    )
    market.inst[:, BEST_BID] = -1
    market.inst[:, BEST_ASK] = LADDER
    market.inst[:, TENTH_BID] = -1
    market.inst[:, TENTH_ASK] = LADDER
    market.clock[FREE] = -1
    undefined = 2**63 - 1
    market.book[..., 0::4] = undefined
    market.book[..., 1::4] = undefined
    return market
