"""Our orders at the venue: joining a queue, being filled, taking depth, leaving.

These are small compiled functions; which market record fills which order is the business of
:mod:`pipeline.backtest.rules`.
"""

from __future__ import annotations

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.queue import push
from pipeline.backtest.state import Sim
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.jit import inline, inner
from pipeline.units import UNDEF_PRICE


@inline
def row_of(sim: Sim, order: Scalar) -> Scalar:
    """Row of ``own`` of an order's number; negative where it was written out already."""
    return order - sim.meta[st.BASE]


@inline
def remaining(sim: Sim, row: Scalar) -> Scalar:
    return sim.own[row, st.O_SIZE] - sim.own[row, st.O_FILLED]


@inner
def tell(sim: Sim, class_: Scalar, kind: Scalar, order: Scalar, a: Scalar) -> None:
    """Send word to us: it arrives after the response latency."""
    time = sim.meta[st.CLOCK] + sim.conf[st.RESPONSE_LATENCY]
    push(sim, time, class_, kind, order, a, np.int64(0))


@inner
def leave_queue(sim: Sim, row: Scalar) -> None:
    """Take an order out of the resting ones, if it is among them."""
    side = sim.own[row, st.O_SIDE]
    n = sim.meta[st.N_LIVE + side]
    for i in range(n):
        if sim.live[side, i] == row:
            for j in range(i, n - 1):
                sim.live[side, j] = sim.live[side, j + 1]
            sim.meta[st.N_LIVE + side] = n - 1
            return


@inner
def end_order(sim: Sim, row: Scalar, status: Scalar, reason: Scalar) -> None:
    """An order ends: filled whole, cancelled, rejected or expired.  We hear of it."""
    own, meta = sim.own, sim.meta
    if own[row, st.O_STATUS] == st.RESTING:
        leave_queue(sim, row)
    own[row, st.O_STATUS] = status
    own[row, st.O_REASON] = reason
    own[row, st.O_ENDED] = meta[st.CLOCK]
    order = row + meta[st.BASE]
    tell(sim, np.int64(st.CLASS_ACK), np.int64(st.TELL_ENDED), order, own[row, st.O_FILLED])


@inner
def fill(
    sim: Sim, row: Scalar, size: Scalar, price: Scalar, role: Scalar, reason: Scalar, event: Scalar,
    record: Scalar,
) -> None:  # fmt: skip
    """Execute part or all of an order of ours."""
    own, meta = sim.own, sim.meta
    side = own[row, st.O_SIDE]
    signed = size if side == ob.BID else -size
    own[row, st.O_FILLED] += size
    meta[st.POSITION] += signed
    k = meta[st.N_FILLS]
    meta[st.N_FILLS] = k + 1
    out = sim.fills
    order = row + meta[st.BASE]
    rested = own[row, st.O_MARKER] >= 0
    out[k, st.F_ORDER] = order
    out[k, st.F_SESSION] = own[row, st.O_SESSION]
    out[k, st.F_TS] = meta[st.CLOCK]
    out[k, st.F_KNOWN] = meta[st.CLOCK] + sim.conf[st.RESPONSE_LATENCY]
    out[k, st.F_EVENT] = event
    out[k, st.F_RECORD] = record
    out[k, st.F_SIDE] = side
    out[k, st.F_PRICE] = price
    out[k, st.F_SIZE] = size
    out[k, st.F_ROLE] = role
    out[k, st.F_REASON] = reason
    out[k, st.F_ENTRY_AHEAD] = own[row, st.O_ENTRY_AHEAD] if rested else UNDEF_PRICE
    out[k, st.F_AHEAD] = own[row, st.O_AHEAD] if rested else UNDEF_PRICE
    out[k, st.F_POSITION] = meta[st.POSITION]
    out[k, st.F_BID] = meta[st.LAST_BID]
    out[k, st.F_ASK] = meta[st.LAST_ASK]
    for h in range(st.HORIZONS):
        out[k, st.F_MARK + h] = UNDEF_PRICE
        meta[st.NEXT_DUE] = min(meta[st.NEXT_DUE], meta[st.CLOCK] + sim.conf[st.CONF_HORIZON + h])
    tell(sim, np.int64(st.CLASS_FILL), np.int64(st.TELL_FILL), order, signed)
    if own[row, st.O_FILLED] >= own[row, st.O_SIZE]:
        end_order(sim, row, np.int64(st.FILLED), np.int64(st.WHY_NONE))


@inner
def join_queue(sim: Sim, row: Scalar) -> None:
    """Rest at the tail of the queue at the order's price: all that rests there is ahead."""
    own, meta, book = sim.own, sim.meta, sim.book
    side, price = own[row, st.O_SIDE], own[row, st.O_PRICE]
    level = ob.find_level(book, side, price)
    ahead, orders = np.int64(0), np.int64(0)
    if level >= 0:
        ahead, orders = book.levels[level, ob.TOTAL], book.levels[level, ob.COUNT]
    own[row, st.O_MARKER] = book.meta[ob.LAST_PRIORITY]
    own[row, st.O_AHEAD] = ahead
    own[row, st.O_ENTRY_AHEAD] = ahead
    own[row, st.O_ENTRY_ORDERS] = orders
    own[row, st.O_STATUS] = st.RESTING
    n = meta[st.N_LIVE + side]
    at = n
    key = ob.key_of(side, price)
    while at > 0 and ob.key_of(side, own[sim.live[side, at - 1], st.O_PRICE]) < key:
        sim.live[side, at] = sim.live[side, at - 1]
        at -= 1
    sim.live[side, at] = row
    meta[st.N_LIVE + side] = n + 1


@inner
def take_depth(sim: Sim, row: Scalar) -> None:
    """Walk the displayed depth of the other side, as far as limit and size go.

    What we took of a resting order stays taken until that order changes.
    """
    own, meta, book = sim.own, sim.meta, sim.book
    side = own[row, st.O_SIDE]
    other = 1 - side
    bound = own[row, st.O_TYPE] == st.LIMIT
    limit = own[row, st.O_PRICE]
    for depth in range(ob.n_levels(book, other)):
        left = remaining(sim, row)
        if left == 0:
            return
        level = ob.level_at(book, other, depth)
        price = book.levels[level, ob.PRICE]
        if bound and ob.key_of(side, price) > ob.key_of(side, limit):
            return
        taken = np.int64(0)
        slot = ob.first_order(book, level)
        while slot >= 0 and taken < left:
            size = min(book.orders[slot, ob.SIZE] - sim.taken[slot], left - taken)
            if size > 0:
                sim.taken[slot] += size
                taken += size
            slot = ob.next_order(book, slot)
        if taken > 0:
            meta[st.TAKEN_ANY] = 1
            fill(
                sim, row, taken, price, np.int64(st.TAKER), np.int64(st.BY_TOOK_DEPTH),
                meta[st.LAST_EVENT], meta[st.LAST_RECORD],
            )  # fmt: skip


@inline
def _refusal(sim: Sim, row: Scalar) -> Scalar:
    """Why an order that arrives now cannot be accepted; WHY_NONE if it can."""
    meta = sim.meta
    market = sim.own[row, st.O_TYPE] == st.MARKET or sim.own[row, st.O_TIF] == st.IOC
    if meta[st.PHASE] == st.PHASE_CLOSED or (market and meta[st.PHASE] != st.PHASE_OPEN):
        return np.int64(st.WHY_CLOSED)
    if meta[st.VALID] == 0:
        return np.int64(st.WHY_INVALID)
    if market and meta[st.CROSSED] != 0:
        return np.int64(st.WHY_CROSSED)
    return np.int64(st.WHY_NONE)


@inner
def _match(sim: Sim, row: Scalar) -> None:
    """Take what can be taken; the rest waits in the queue, or goes."""
    own, meta = sim.own, sim.meta
    if meta[st.PHASE] == st.PHASE_OPEN and meta[st.CROSSED] == 0:
        take_depth(sim, row)
    if own[row, st.O_STATUS] == st.FILLED:
        return
    if own[row, st.O_TYPE] == st.MARKET or own[row, st.O_TIF] == st.IOC:
        end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_NO_DEPTH))
    else:
        join_queue(sim, row)


@inner
def arrive_new(sim: Sim, order: Scalar) -> None:
    """A new order reaches the venue."""
    own, meta = sim.own, sim.meta
    row = row_of(sim, order)
    own[row, st.O_ARRIVED] = meta[st.CLOCK]
    own[row, st.O_EVENT] = meta[st.LAST_EVENT]
    own[row, st.O_BID] = meta[st.LAST_BID]
    own[row, st.O_ASK] = meta[st.LAST_ASK]
    refusal = _refusal(sim, row)
    if refusal != st.WHY_NONE:
        end_order(sim, row, np.int64(st.REJECTED), refusal)
        return
    _match(sim, row)
    if own[row, st.O_STATUS] == st.RESTING:
        tell(sim, np.int64(st.CLASS_ACK), np.int64(st.TELL_RESTING), order, np.int64(0))


@inline
def _too_late(sim: Sim, order: Scalar) -> Scalar:
    """Tell us that an order is no longer there to be cancelled or replaced."""
    row = row_of(sim, order)
    gone = row < 0 or sim.own[row, st.O_STATUS] != st.RESTING
    if gone:
        tell(sim, np.int64(st.CLASS_ACK), np.int64(st.TELL_TOO_LATE), order, np.int64(0))
    return gone


@inner
def arrive_cancel(sim: Sim, order: Scalar) -> None:
    """A cancel reaches the venue."""
    if not _too_late(sim, order):
        row = row_of(sim, order)
        end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_ASKED))


@inner
def arrive_replace(sim: Sim, order: Scalar, price: Scalar, size: Scalar) -> None:
    """New price and size in all.  A smaller size at the same price keeps the place."""
    if _too_late(sim, order):
        return
    own, meta = sim.own, sim.meta
    row = row_of(sim, order)
    if size <= own[row, st.O_FILLED]:
        end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_ASKED))
        return
    keeps = price == own[row, st.O_PRICE] and size <= own[row, st.O_SIZE]
    own[row, st.O_SIZE] = size
    own[row, st.O_REPLACED] += 1
    tell(sim, np.int64(st.CLASS_ACK), np.int64(st.TELL_REPLACED), order, np.int64(0))
    if keeps:
        return
    leave_queue(sim, row)
    own[row, st.O_PRICE] = price
    own[row, st.O_STATUS] = st.SENT
    if meta[st.PHASE] == st.PHASE_CLOSED:
        end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_CLOSED))
    elif meta[st.VALID] == 0:
        end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_INVALID))
    else:
        _match(sim, row)


@inner
def end_all(sim: Sim, status: Scalar, reason: Scalar) -> None:
    """All our resting orders end at once."""
    for side in range(2):
        while sim.meta[st.N_LIVE + side] > 0:
            end_order(sim, sim.live[side, 0], status, reason)


@inner
def expire_unarrived(sim: Sim, time: Scalar) -> None:
    """The data are over: orders still on their way to the venue never were anywhere."""
    own = sim.own
    for row in range(sim.meta[st.N_OWN]):
        if own[row, st.O_STATUS] == st.SENT:
            own[row, st.O_STATUS] = st.EXPIRED
            own[row, st.O_REASON] = st.WHY_END_OF_DATA
            own[row, st.O_ENDED] = time
