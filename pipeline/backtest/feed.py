"""What reaches the strategy, and when: events on their way to us, and the book as received.

The venue's book runs ahead of ours by the time between ``ts_event`` and ``ts_recv``.  A strategy
must not see what is under way: the touch and the prints of every event travel in ``arrivals``,
and where a strategy reads beyond the touch the records travel in ``pending`` and make a second
book, ``seen``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.desk import ASK, BID, EVENT, ask_strategy
from pipeline.backtest.state import Sim
from pipeline.backtest.wire import latency
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.book.tape import Records
from pipeline.jit import inline, inner
from pipeline.units import F_SNAPSHOT
from strategies import layout as la

BID_SIZE, ASK_SIZE = la.WORD["bid_size"], la.WORD["ask_size"]
BID_ORDERS, ASK_ORDERS = la.WORD["bid_orders"], la.WORD["ask_orders"]
VALID, CROSSED, TRADED = la.WORD["valid"], la.WORD["crossed"], la.WORD["traded"]
LAST_PRICE, LAST_SIZE = la.WORD["last_price"], la.WORD["last_size"]
LAST_SIDE, LAST_TS = la.WORD["last_side"], la.WORD["last_ts"]
_BEGINS: Final = 256
"""In ``P_FLAGS``, beyond the record's own: it begins an execution."""


@inline
def travel(sim: Sim, records: Records, i: Scalar) -> None:
    """A record the venue has applied is on its way to us."""
    meta, out = sim.meta, sim.pending
    k = meta[st.N_PENDING]
    out[k, st.P_FLAGS] = np.int64(records.flags[i]) | (_BEGINS if meta[st.E_BEGINS] else 0)
    meta[st.E_BEGINS] = 0
    out[k, st.P_ACTION] = records.action[i]
    out[k, st.P_SIDE] = records.side[i]
    out[k, st.P_PRICE] = records.price[i]
    out[k, st.P_SIZE] = records.size[i]
    out[k, st.P_ORDER] = records.order_id[i]
    out[k, st.P_TS_EVENT] = records.ts_event[i]
    out[k, st.P_TS_RECV] = records.ts_recv[i]
    meta[st.N_PENDING] = k + 1


@inner
def places_travel(sim: Sim) -> None:
    """At a snapshot's end: the places it does not show, see ``restore_queues``."""
    meta, out, saved = sim.meta, sim.pending, sim.saved
    for i in range(meta[st.N_SAVED]):
        k = meta[st.N_PENDING]
        meta[st.N_PENDING] = k + 1
        out[k, st.P_FLAGS] = 0
        out[k, st.P_ACTION] = st.P_PLACE
        out[k, st.P_ORDER] = saved[i, 0]
        out[k, st.P_SIZE] = saved[i, 1]
        out[k, st.P_PRICE] = saved[i, 2]
        out[k, st.P_SIDE] = saved[i, 3]


@inline
def depart(sim: Sim, ts_recv: Scalar) -> None:
    """An event has ended at the venue: note what it left, and when it reaches us."""
    meta, book, out = sim.meta, sim.book, sim.arrivals
    k = meta[st.N_ARRIVALS]
    meta[st.N_ARRIVALS] = k + 1
    time = max(meta[st.RECEIVED], ts_recv + latency(sim, np.int64(st.TO_US), ts_recv))
    time = max(time, meta[st.CLOCK])  # clocks that differ: nothing is heard before it happens
    meta[st.RECEIVED] = time
    out[k, st.A_TIME] = time
    out[k, st.A_RECORDS] = meta[st.N_PENDING]
    out[k, st.A_EVENT] = meta[st.LAST_EVENT]
    out[k, st.A_BID] = meta[st.LAST_BID]
    out[k, st.A_ASK] = meta[st.LAST_ASK]
    for side in range(2):
        size, orders = np.int64(0), np.int64(0)
        if ob.n_levels(book, side) > 0:
            level = ob.level_at(book, side, np.int64(0))
            size, orders = book.levels[level, ob.TOTAL], book.levels[level, ob.COUNT]
        out[k, st.A_BID_SIZE + side] = size
        out[k, st.A_BID_ORDERS + side] = orders
    out[k, st.A_VALID] = meta[st.VALID]
    out[k, st.A_CROSSED] = meta[st.CROSSED]
    out[k, st.A_TRADED] = meta[st.E_TRADED]
    out[k, st.A_LAST_PRICE] = meta[st.TRADE_PRICE]
    out[k, st.A_LAST_SIZE] = meta[st.TRADE_SIZE]
    out[k, st.A_LAST_SIDE] = meta[st.TRADE_SIDE]
    meta[st.NEXT_RECEIPT] = min(meta[st.NEXT_RECEIPT], time)
    meta[st.NEXT_DUE] = min(meta[st.NEXT_DUE], time)


@inner
def _see(sim: Sim, until: Scalar) -> None:
    """Records that have reached us change the book as received."""
    meta, rows, book = sim.meta, sim.pending, sim.seen
    for k in range(meta[st.AT_PENDING], until):
        flags, action = rows[k, st.P_FLAGS], rows[k, st.P_ACTION]
        slot = ob.find(book, rows[k, st.P_ORDER]) if action in (st.P_PLACE, ob.F) else np.int64(-1)
        if action == st.P_PLACE:
            if (
                slot >= 0
                and ob.order_price(book, slot) == rows[k, st.P_PRICE]
                and ob.order_side(book, slot) == rows[k, st.P_SIDE]
            ):
                book.orders[slot, ob.PRIORITY] = rows[k, st.P_SIZE]
            continue
        if ob.starts_snapshot(book, flags, rows[k, st.P_TS_RECV]):
            ob.clear(book)
        if flags & _BEGINS:
            ob.next_execution(book)
        if slot >= 0:  # an F: what leaves with the next C or M; a refill loses its place
            ob.note_fill(book, slot, rows[k, st.P_SIZE])
        side = ob.side_code(rows[k, st.P_SIDE])
        ob.apply(
            book, action, side, flags, rows[k, st.P_PRICE], rows[k, st.P_SIZE],
            rows[k, st.P_ORDER], rows[k, st.P_TS_EVENT],
        )  # fmt: skip
    meta[st.AT_PENDING] = until


@inline
def next_features(sim: Sim) -> Scalar:
    """When the next row of features is due; NEVER while its event has not been received."""
    at = sim.meta[st.NEXT_DECISION]
    if at < sim.decisions.shape[0] and sim.decisions[at, st.D_EVENT] <= sim.block[EVENT]:
        return sim.decisions[at, st.D_TS]
    return np.int64(st.NEVER)


@inner
def learn(sim: Sim) -> None:
    """The strategy's features are those of the next row."""
    at = sim.meta[st.NEXT_DECISION]
    sim.meta[st.NEXT_DECISION] = at + 1
    for column in range(sim.features.shape[0]):
        sim.features[column] = sim.values[at, column]


@inner
def receive(sim: Sim, time: Scalar) -> None:
    """The next event reaches us."""
    meta, rows, block = sim.meta, sim.arrivals, sim.block
    k = meta[st.AT_ARRIVAL]
    if sim.conf[st.FEED] == st.FEED_BOOK:
        _see(sim, rows[k, st.A_RECORDS])
    block[EVENT] = rows[k, st.A_EVENT]
    block[BID] = rows[k, st.A_BID]
    block[ASK] = rows[k, st.A_ASK]
    block[BID_SIZE] = rows[k, st.A_BID_SIZE]
    block[ASK_SIZE] = rows[k, st.A_ASK_SIZE]
    block[BID_ORDERS] = rows[k, st.A_BID_ORDERS]
    block[ASK_ORDERS] = rows[k, st.A_ASK_ORDERS]
    block[VALID] = rows[k, st.A_VALID]
    block[CROSSED] = rows[k, st.A_CROSSED]
    traded = rows[k, st.A_TRADED]
    block[TRADED] = traded
    if traded > 0:
        block[LAST_PRICE] = rows[k, st.A_LAST_PRICE]
        block[LAST_SIZE] = rows[k, st.A_LAST_SIZE]
        block[LAST_SIDE] = rows[k, st.A_LAST_SIDE]
        block[LAST_TS] = time
    k += 1
    if k == meta[st.N_ARRIVALS]:
        meta[st.N_ARRIVALS] = meta[st.AT_ARRIVAL] = 0
        # Records of the event under way may be there already.
        if meta[st.AT_PENDING] == meta[st.N_PENDING]:
            meta[st.N_PENDING] = meta[st.AT_PENDING] = 0
        meta[st.NEXT_RECEIPT] = st.NEVER
    else:
        meta[st.AT_ARRIVAL] = k
        meta[st.NEXT_RECEIPT] = rows[k, st.A_TIME]
    # The features of an event are there with it, those of a later one of its time are not; a
    # grid's come after all that is received at their time.
    known = time - 1 if sim.conf[st.DECISION_CLASS] == st.CLASS_TIMER else time
    while next_features(sim) <= known:
        learn(sim)
    wake = sim.conf[st.WAKE]
    if meta[st.LOADED] == 0 or wake == la.WAKE_NEVER:
        return
    if wake == la.WAKE_TRADE and traded == 0:
        return
    if wake == la.WAKE_TOUCH:
        if block[BID] == meta[st.SEEN_BID] and block[ASK] == meta[st.SEEN_ASK]:
            return
        meta[st.SEEN_BID] = block[BID]
        meta[st.SEEN_ASK] = block[ASK]
    ask_strategy(sim, np.int64(la.MARKET_EVENT), time)


@inner
def compact(sim: Sim) -> None:
    """Forget what has been received; called where arrays run full before they grow."""
    meta = sim.meta
    done = meta[st.AT_PENDING]
    if done > 0:
        n = meta[st.N_PENDING] - done
        for k in range(n):
            for column in range(8):
                sim.pending[k, column] = sim.pending[k + done, column]
        meta[st.N_PENDING] = n
        meta[st.AT_PENDING] = 0
        for k in range(meta[st.AT_ARRIVAL], meta[st.N_ARRIVALS]):
            sim.arrivals[k, st.A_RECORDS] -= done
    done = meta[st.AT_ARRIVAL]
    if done > 0:
        n = meta[st.N_ARRIVALS] - done
        for k in range(n):
            for column in range(st.ARRIVAL_COLUMNS):
                sim.arrivals[k, column] = sim.arrivals[k + done, column]
        meta[st.N_ARRIVALS] = n
        meta[st.AT_ARRIVAL] = 0


@inner
def feed_lacks(sim: Sim, flags: Scalar) -> Scalar:
    """Which array of the feed cannot take one more record; DONE if all can."""
    meta = sim.meta
    more = np.int64(2)
    if flags & F_SNAPSHOT:  # its end puts orders back in their places
        more += sim.book.meta[ob.N_ORDERS] + meta[st.N_SAVED]
    full = meta[st.N_PENDING] + more > sim.pending.shape[0]
    if full or meta[st.N_ARRIVALS] + 2 > sim.arrivals.shape[0]:
        compact(sim)
    rows = max(2 * meta[st.N_PENDING], meta[st.N_PENDING] + more)
    if rows > sim.pending.shape[0]:
        return np.int64(st.GROW_PENDING)
    if 2 * meta[st.N_ARRIVALS] > sim.arrivals.shape[0]:
        return np.int64(st.GROW_ARRIVALS)
    return np.int64(st.DONE)
