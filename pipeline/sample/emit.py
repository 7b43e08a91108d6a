"""What the venue publishes: MBO records, and the MBP-10 rows that follow from them.

An event is ``begin`` - records - ``finish``.  Records are written as 64-bit words in DBN's
layout (little-endian):

=====  ==============================================================================
word   MBO record                                 MBP row
=====  ==============================================================================
0      length, rtype, publisher, instrument       the same
1      ts_event                                   ts_event
2      order id                                   price
3      price                                      size, action, side, flags, depth
4      size, flags, channel, action, side         ts_recv
5      ts_recv                                    ts_in_delta, sequence
6      ts_in_delta, sequence                      level 0: bid price
7...                                              ask price, sizes, counts; level 1 ...
=====  ==============================================================================

The rules of MBP rows are the vendor's: every T gives a row with the book just before it
(changes already published within its event included); any other record gives a row only
with F_LAST and only if the top ten changed, with side N if both sides did.
"""

from __future__ import annotations

from pipeline.jit import inline, inner
from pipeline.sample.ladder import price_of, refresh
from pipeline.sample.rng import chance, exponential, uniform
from pipeline.sample.state import (
    BEST_ASK,
    BEST_BID,
    BUY,
    DELTA,
    DEPTH,
    EVENT_START,
    EVENTS,
    INSTRUMENT_ID,
    LADDER,
    LAST_EVENT,
    MID2,
    N_MBO,
    N_MBP,
    N_TOUCHED,
    NOW,
    RECV,
    SELL,
    SEQUENCE,
    ZERO,
    Market,
    constant,
)
from pipeline.units import F_LAST

A, C, F, M, N, R, T = (constant(ord(letter)) for letter in "ACFMNRT")
SIDES = (ord("B"), ord("A"), ord("N"))
BOTH = constant(2)
"""Side N."""

PUBLISHER = 1
"""Publisher number of every record: the first of the vendor's list, as on GLBX."""
_LENGTH_MBO = 14
_LENGTH_MBP10 = 92
_RTYPE_MBO = 160
_RTYPE_MBP10 = 10
_LOW_MASK = (1 << 32) - 1


@inline
def head(length: int, rtype: int, instrument_id: int) -> int:
    """Word 0 of a record."""
    return length | rtype << 8 | PUBLISHER << 16 | instrument_id << 32


@inner
def begin(m: Market, now: int) -> None:
    """Open an event at venue time ``now`` and choose its packet.

    Events close to each other may share a packet: the same ``ts_recv`` and ``sequence``.
    """
    clock = m.clock
    gap = now - clock[LAST_EVENT]
    clock[NOW] = now
    clock[LAST_EVENT] = now
    clock[EVENT_START] = clock[N_MBO]
    clock[N_TOUCHED] = 0
    clock[EVENTS] += 1
    joins = gap < 60_000 and clock[RECV] - clock[DELTA] >= now and chance(m.rng, 0.8)
    if not joins:
        delay = 80_000.0 + exponential(m.rng, 25_000.0)
        if chance(m.rng, 0.02):
            delay += min(exponential(m.rng, 800_000.0), 10_000_000.0)
        _send(m, now + int(delay))


@inner
def _send(m: Market, recv: int) -> None:
    clock = m.clock
    if recv <= clock[RECV]:
        recv = clock[RECV] + 4_000 + int(uniform(m.rng) * 9_000.0)
    clock[RECV] = recv
    # Sent after it happened, received some 15 us after it was sent.
    clock[DELTA] = min(11_800 + int(exponential(m.rng, 3_000.0)), recv - clock[NOW])
    clock[SEQUENCE] += 1
    if chance(m.rng, 0.08):  # packets of instruments that are not in the file
        clock[SEQUENCE] += 1 + int(uniform(m.rng) * 6.0)


@inner
def next_packet(m: Market) -> None:
    """The event goes on in a later packet."""
    _send(m, m.clock[RECV] + 6_000 + int(uniform(m.rng) * 40_000.0))


@inner
def put(m: Market, i: int, action: int, side: int, place: int, size: int, order_id: int) -> int:
    """Append a record without F_LAST; returns its position in the buffer."""
    n = m.clock[N_MBO]
    row = m.mbo[n]
    row[0] = head(_LENGTH_MBO, _RTYPE_MBO, m.inst[i, INSTRUMENT_ID])
    row[1] = m.clock[NOW]
    row[2] = order_id
    row[3] = price_of(m.inst, i, place)
    row[4] = size | action << 48 | SIDES[side] << 56
    row[5] = m.clock[RECV]
    row[6] = m.clock[DELTA] | m.clock[SEQUENCE] << 32
    m.clock[N_MBO] = n + 1
    return int(n)


@inner
def _row(m: Market, i: int, n: int, side: int, depth: int) -> int:
    """Append an MBP row for record ``n`` with the book as in ``book``."""
    record = m.mbo[n]
    k = m.clock[N_MBP]
    row = m.mbp[k]
    row[0] = head(_LENGTH_MBP10, _RTYPE_MBP10, m.inst[i, INSTRUMENT_ID])
    row[1] = record[1]
    row[2] = record[3]
    size = record[4] & _LOW_MASK
    flags = (record[4] >> 32) & 255
    action = (record[4] >> 48) & 255
    row[3] = size | action << 32 | SIDES[side] << 40 | flags << 48 | depth << 56
    row[4] = record[5]
    row[5] = record[6]
    for w in range(4 * DEPTH):
        row[6 + w] = m.book[0, i, w]
    m.clock[N_MBP] = k + 1
    return int(k)


@inner
def put_trade(m: Market, i: int, side: int, place: int, order_id: int) -> tuple[int, int]:
    """Append a T whose size is filled in later, and its row; returns both positions."""
    n = put(m, i, T, side, place, ZERO, order_id)
    return n, _row(m, i, n, side, ZERO)


@inner
def set_size(m: Market, n: int, size: int) -> None:
    m.mbo[n, 4] |= size


@inner
def set_trade_size(m: Market, n: int, row: int, size: int) -> None:
    m.mbo[n, 4] |= size
    m.mbp[row, 3] |= size


@inner
def keep_published(m: Market, i: int) -> None:
    """The book as published now is what the next event is compared with."""
    for w in range(4 * DEPTH):
        m.book[1, i, w] = m.book[0, i, w]


@inner
def finish(m: Market, i: int) -> int:
    """Close the event: F_LAST on its last record, an MBP row if the top ten changed.

    Returns the move of twice the mid, in ticks (0 where a side is or was empty).
    """
    n = m.clock[N_MBO] - 1
    m.mbo[n, 4] |= F_LAST << 32
    refresh(m, i)
    now, old = m.book[0, i], m.book[1, i]
    depth = -1
    bids = False
    asks = False
    for k in range(DEPTH):
        w = 4 * k
        differs = (now[w + 2] ^ old[w + 2]) | (now[w + 3] ^ old[w + 3])
        if now[w] != old[w] or (differs & _LOW_MASK) != 0:
            bids = True
        if now[w + 1] != old[w + 1] or (differs >> 32) != 0:
            asks = True
        if depth < 0 and (bids or asks):
            depth = k
    if depth < 0:
        return 0
    keep_published(m, i)
    _row(m, i, n, BOTH if bids and asks else (BUY if bids else SELL), depth)
    bid, ask = m.inst[i, BEST_BID], m.inst[i, BEST_ASK]
    if bid < 0 or ask >= LADDER:
        return 0
    move = bid + ask - m.inst[i, MID2]
    m.inst[i, MID2] = bid + ask
    return int(move)
