"""The simulator's loop: market records through the book, and everything of ours in its time.

Order of things: before an event of the venue's time v is applied, everything that is due before
v happens (arrivals, word from the venue, timers, decisions), each in its time; what is due at v
itself happens after the event.  A decision is due at its row's time, and never before the event
it was made on has been applied: nothing can jump a queue it had already seen.
"""

from __future__ import annotations

import numpy as np

from pipeline.backtest import executor
from pipeline.backtest import state as st
from pipeline.backtest.arriving import after_event
from pipeline.backtest.desk import obey
from pipeline.backtest.due import end_session, lacking, run_due
from pipeline.backtest.feed import depart, feed_lacks, places_travel, travel
from pipeline.backtest.rules import (
    any_live,
    came_to_rest,
    lose_book,
    on_change,
    on_fill,
    on_trade,
    prints_alone,
    restore_queues,
    save_queues,
)
from pipeline.backtest.state import Sim
from pipeline.backtest.venue import expire_unarrived
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.book.tape import Records
from pipeline.jit import inline, inner, kernel
from pipeline.units import F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT, UNDEF_PRICE


@inline
def _begin(sim: Sim, records: Records, i: Scalar) -> None:
    """The first record of an event."""
    meta = sim.meta
    flags = np.int64(records.flags[i])
    after_fill = meta[st.E_ACTION] == ob.F or meta[st.E_ACTION] == ob.T
    if not (after_fill and meta[st.E_TS_EVENT] == records.ts_event[i]):
        ob.next_execution(sim.book)
        meta[st.E_BEGINS] = 1
        meta[st.E_PRINT_SIDE] = ob.NO_SIDE
        meta[st.E_HAS_PRINT] = meta[st.E_HAS_FILL] = 0
        meta[st.E_AUCTION_SIZE] = meta[st.E_AUCTION_USED] = meta[st.E_AUCTION_USED + 1] = 0
    if flags & F_SNAPSHOT:
        meta[st.CLOCK] = max(meta[st.CLOCK], records.ts_recv[i])
    elif records.ts_event[i] != UNDEF_PRICE:
        meta[st.CLOCK] = max(meta[st.CLOCK], records.ts_event[i])
    open_ = meta[st.PHASE] == st.PHASE_OPEN
    meta[st.E_ALLOWED] = open_ and meta[st.VALID] != 0 and meta[st.CROSSED] == 0
    meta[st.IN_EVENT] = 1
    meta[st.E_TRADED] = 0


@inner
def _end(sim: Sim, record: Scalar, ts_recv: Scalar) -> None:
    """An event end: here the book is a state."""
    meta, book = sim.meta, sim.book
    bid, ask = ob.best_price(book, ob.BID), ob.best_price(book, ob.ASK)
    both = ob.n_levels(book, ob.BID) > 0 and ob.n_levels(book, ob.ASK) > 0
    crossed = both and bid > ask
    meta[st.CROSSED] = crossed
    if meta[st.N_RESTED] > 0:
        if meta[st.E_ALLOWED] and not crossed and sim.conf[st.READING] != st.PESSIMISTIC:
            came_to_rest(sim, record)
        meta[st.N_RESTED] = 0
    meta[st.LAST_BID] = bid
    meta[st.LAST_ASK] = ask
    if both and not crossed and meta[st.VALID]:
        meta[st.GOOD_BID] = bid
        meta[st.GOOD_ASK] = ask
    meta[st.EVENT_NUMBER] += 1
    meta[st.LAST_EVENT] = meta[st.EVENT_BASE] + meta[st.EVENT_NUMBER]
    meta[st.LAST_RECORD] = record
    meta[st.IN_EVENT] = 0
    if meta[st.N_SPECIAL] > 0:
        after_event(sim)
    if sim.conf[st.FEED] != st.FEED_NONE:
        depart(sim, ts_recv)
    at = meta[st.NEXT_DECISION]
    if at < sim.decisions.shape[0] and sim.decisions[at, st.D_EVENT] <= meta[st.LAST_EVENT]:
        meta[st.NEXT_DUE] = min(meta[st.NEXT_DUE], sim.decisions[at, st.D_TS])


@inner
def _end_snapshot(sim: Sim) -> None:
    if sim.conf[st.FEED] == st.FEED_BOOK:
        places_travel(sim)
    restore_queues(sim)


@inline
def _restart(sim: Sim) -> None:
    """A clear or a snapshot: the contents are known from here."""
    meta = sim.meta
    meta[st.KNOWN] = 1
    meta[st.BAD] = 0
    meta[st.VALID] = 1


@inline
def _assume_known(sim: Sim, ts_recv: Scalar) -> None:
    """A book with an unknown start counts as known after a while, if the settings say so."""
    meta, after = sim.meta, sim.conf[st.ASSUME_AFTER]
    meta[st.FIRST_RECV] = min(meta[st.FIRST_RECV], ts_recv)
    if after >= 0 and ts_recv - meta[st.FIRST_RECV] >= after:
        meta[st.KNOWN] = 1
        meta[st.VALID] = 1 - meta[st.BAD]


@inline
def _record(sim: Sim, records: Records, i: Scalar) -> None:
    """One market record."""
    book, meta = sim.book, sim.meta
    flags, action = np.int64(records.flags[i]), np.int64(records.action[i])
    side, price = ob.side_code(records.side[i]), records.price[i]
    size, order_id = np.int64(records.size[i]), records.order_id[i]
    if flags & F_SNAPSHOT and meta[st.SNAPPING] == 0:
        save_queues(sim)  # also where a snapshot goes on after an F_LAST of it
    if ob.starts_snapshot(book, flags, records.ts_recv[i]):
        ob.clear(book)
        _restart(sim)
    if flags & F_SNAPSHOT:
        meta[st.SNAP_RECORD] = records.record[i]
        meta[st.SNAP_RECV] = records.ts_recv[i]
    if flags & F_MAYBE_BAD_BOOK:
        meta[st.BAD] = 1
        meta[st.VALID] = 0
    meta[st.E_ACTION] = action
    meta[st.E_TS_EVENT] = records.ts_event[i]
    if action == ob.T:
        on_trade(sim, side, price, size)
    elif action == ob.F:
        on_fill(sim, side, price, size, order_id, records.record[i])
    elif action == ob.R and flags & F_SNAPSHOT == 0:
        lose_book(sim)
        ob.clear(book)
        _restart(sim)
    else:
        change = ob.apply(book, action, side, flags, price, size, order_id, records.ts_event[i])
        if flags & F_SNAPSHOT == 0 and ob.ADDED <= change.effect <= ob.MOVED:
            on_change(sim, change, order_id)


@kernel
def replay(sim: Sim, records: Records, start: Scalar, limit: Scalar) -> tuple[Scalar, Scalar]:
    """Run records from ``start`` on through the simulation.

    Parameters
    ----------
    sim
        State; changed in place.
    records
        Records of one publisher and instrument in file order; events may be cut anywhere.
    start
        Index of the first record to apply.
    limit
        Nothing happens at this time or later: another instrument is first.

    Returns
    -------
    (int, int)
        DONE and the number of records, or what is needed and the index to go on from.
    """
    meta = sim.meta
    end = records.flags.shape[0]
    i = np.int64(start)
    while i < end:
        flags = np.int64(records.flags[i])
        if meta[st.SNAPPING] and flags & F_SNAPSHOT == 0:
            _end_snapshot(sim)
            if meta[st.IN_EVENT]:
                _end(sim, meta[st.SNAP_RECORD], meta[st.SNAP_RECV])
        if meta[st.IN_EVENT] == 0:
            time = records.ts_event[i]
            if flags & F_SNAPSHOT:
                time = records.ts_recv[i]  # its state is of then; its ts_event are of old
            elif time == UNDEF_PRICE:
                time = meta[st.CLOCK]
            if meta[st.N_PRINTS] > 0 and not (
                meta[st.E_TS_EVENT] == time
                and (meta[st.E_ACTION] == ob.F or meta[st.E_ACTION] == ob.T)
            ):
                lack = lacking(sim)
                if lack != st.DONE:
                    return lack, i
                prints_alone(sim, meta[st.LAST_RECORD])
            if time > meta[st.NEXT_DUE]:
                status = run_due(sim, min(time, limit))
                if status != st.DONE:
                    return status, i
            if time >= limit:
                return np.int64(st.PAUSED), i
        if not ob.room(sim.book):
            return np.int64(st.GROW_BOOK), i
        if any_live(sim) > 0 or meta[st.N_SPECIAL] > 0 or flags & F_SNAPSHOT:
            lack = lacking(sim)
            if lack != st.DONE:
                return lack, i
        if sim.conf[st.FEED] != st.FEED_NONE:
            lack = feed_lacks(sim, flags)
            if lack != st.DONE:
                return lack, i
        if meta[st.IN_EVENT] == 0:
            _begin(sim, records, i)
        _record(sim, records, i)
        if sim.conf[st.FEED] == st.FEED_BOOK:
            travel(sim, records, i)
        i += 1
        if flags & F_LAST:
            if meta[st.SNAPPING]:
                _end_snapshot(sim)
            if meta[st.KNOWN] == 0:
                _assume_known(sim, records.ts_recv[i - 1])
            _end(sim, records.record[i - 1], records.ts_recv[i - 1])
    return np.int64(st.DONE), i


@kernel
def finish(sim: Sim, until: Scalar, what: Scalar) -> Scalar:
    """After the last record: let everything happen up to a time, then stop.

    ``what``: AT_ITS_END, the timetable itself ended the last session; CUT_OFF, what still rests
    ends with the data; ONLY_WAIT, there will be more; ONLY_OBEY, at that time another
    instrument has left commands here, or word of its kill switch; ONLY_CUT, what rests ends,
    while others go on.
    """
    if what == st.ONLY_OBEY:
        lack = lacking(sim)
        if lack != st.DONE:
            return lack
        obey(sim, until)
        executor.heed(sim, until)
        return np.int64(st.DONE)
    if sim.meta[st.SNAPPING]:
        restore_queues(sim)  # no record of it is to come
    status = run_due(sim, until)
    if status != st.DONE or what == st.ONLY_WAIT:
        return status
    if (what == st.CUT_OFF or what == st.ONLY_CUT) and sim.meta[st.LOADED]:
        lack = lacking(sim)
        if lack != st.DONE:
            return lack
        end_session(sim, until - 1, np.int64(st.WHY_END_OF_DATA), np.int64(-1))
    if what != st.ONLY_CUT:
        expire_unarrived(sim, until - 1)
    return np.int64(st.DONE)
