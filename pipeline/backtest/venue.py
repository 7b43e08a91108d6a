"""Our orders at the venue: joining a queue, being filled, taking depth, leaving.

These are small compiled functions; which market record fills which order is the business of
:mod:`pipeline.backtest.rules`.
"""

from __future__ import annotations

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.state import Sim
from pipeline.backtest.wire import tell
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.jit import inline, inner
from pipeline.units import UNDEF_PRICE
from strategies import layout as la


@inline
def row_of(sim: Sim, order: Scalar) -> Scalar:
    """Row of ``own`` of an order's number; negative where it was written out already."""
    return order - sim.meta[st.BASE]


@inline
def remaining(sim: Sim, row: Scalar) -> Scalar:
    return sim.own[row, st.O_SIZE] - sim.own[row, st.O_FILLED]


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


@inline
def is_special(sim: Sim, row: Scalar) -> Scalar:
    """A stop that waits, or a pegged order."""
    type_ = sim.own[row, st.O_TYPE]
    stop = type_ == la.STOP or type_ == la.STOP_LIMIT
    return type_ == la.PEGGED or (stop and sim.own[row, st.O_TRIGGERED] == 0)


@inner
def leave_special(sim: Sim, row: Scalar) -> None:
    """Take an order out of the list of stops and pegged orders, if it is in it."""
    n, list_ = sim.meta[st.N_SPECIAL], sim.special
    for i in range(n):
        if list_[i] == row:
            for j in range(i, n - 1):
                list_[j] = list_[j + 1]
            sim.meta[st.N_SPECIAL] = n - 1
            return


@inner
def join_special(sim: Sim, row: Scalar) -> None:
    """Wait at the venue's, in the order of arrival."""
    sim.own[row, st.O_STATUS] = st.RESTING
    sim.special[sim.meta[st.N_SPECIAL]] = row
    sim.meta[st.N_SPECIAL] += 1


@inner
def end_order(sim: Sim, row: Scalar, status: Scalar, reason: Scalar) -> None:
    """An order ends: filled whole, cancelled, rejected or expired.  We hear of it."""
    own, meta = sim.own, sim.meta
    if own[row, st.O_STATUS] == st.RESTING:
        leave_queue(sim, row)
        leave_special(sim, row)
    own[row, st.O_STATUS] = status
    own[row, st.O_REASON] = reason
    own[row, st.O_ENDED] = meta[st.CLOCK]
    tell(
        sim, np.int64(st.CLASS_END), np.int64(st.TELL_ENDED), row + meta[st.BASE],
        own[row, st.O_FILLED], status, reason,
    )  # fmt: skip


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
    out[k, st.F_KNOWN] = tell(
        sim, np.int64(st.CLASS_FILL), np.int64(st.TELL_FILL), order, signed, price, role
    )
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
    limit = own[row, st.O_PRICE]
    bound = limit != UNDEF_PRICE
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


@inner
def available(sim: Sim, row: Scalar) -> Scalar:
    """Displayed size of the other side within the limit, what we took left out; at most what
    the order asks for.
    """
    own, book = sim.own, sim.book
    side = own[row, st.O_SIDE]
    limit, wanted = own[row, st.O_PRICE], remaining(sim, row)
    found = np.int64(0)
    for depth in range(ob.n_levels(book, 1 - side)):
        level = ob.level_at(book, 1 - side, depth)
        price = book.levels[level, ob.PRICE]
        if limit != UNDEF_PRICE and ob.key_of(side, price) > ob.key_of(side, limit):
            break
        slot = ob.first_order(book, level)
        while slot >= 0 and found < wanted:
            found += book.orders[slot, ob.SIZE] - sim.taken[slot]
            slot = ob.next_order(book, slot)
        if found >= wanted:
            return wanted
    return found


@inner
def end_all(sim: Sim, status: Scalar, reason: Scalar, kept: Scalar) -> None:
    """All our orders at the venue end at once; those of time in force ``kept`` (or -1) stay."""
    own, meta = sim.own, sim.meta
    for side in range(2):
        i = np.int64(0)
        while i < meta[st.N_LIVE + side]:
            if own[sim.live[side, i], st.O_TIF] == kept:
                i += 1
            else:
                end_order(sim, sim.live[side, i], status, reason)
    i = np.int64(0)
    while i < meta[st.N_SPECIAL]:
        if own[sim.special[i], st.O_TIF] == kept:
            i += 1
        else:
            end_order(sim, sim.special[i], status, reason)


@inner
def expire_unarrived(sim: Sim, time: Scalar) -> None:
    """The data are over: orders still on their way to the venue never were anywhere."""
    own = sim.own
    for row in range(sim.meta[st.N_OWN]):
        if own[row, st.O_STATUS] == st.SENT:
            own[row, st.O_STATUS] = st.EXPIRED
            own[row, st.O_REASON] = st.WHY_END_OF_DATA
            own[row, st.O_ENDED] = time
