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
from pipeline.backtest.queue import pop
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
from pipeline.backtest.venue import arrive_cancel, arrive_new, arrive_replace, end_all
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.book.tape import Records
from pipeline.jit import inline, kernel
from pipeline.units import F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT, UNDEF_PRICE

# --- what is due ----------------------------------------------------------------------------------

_MARKOUT, _HEAP, _SCHEDULE, _MARK, _DECISION = range(5)


@kernel
def _take_markouts(sim: Sim, before: Scalar) -> Scalar:
    """Note the mid for fills whose horizons end before a time; returns when the next ends."""
    meta, fills = sim.meta, sim.fills
    due = np.int64(st.NEVER)
    for h in range(st.HORIZONS):
        k = meta[st.MARKOUT + h]
        while k < meta[st.N_FILLS]:
            time = fills[k, st.F_TS] + sim.conf[st.CONF_HORIZON + h]
            if time >= before:
                due = min(due, time)
                break
            if meta[st.GOOD_BID] != UNDEF_PRICE and meta[st.PHASE] == st.PHASE_OPEN:
                fills[k, st.F_MARK + h] = meta[st.GOOD_BID] + meta[st.GOOD_ASK]
            k += 1
        meta[st.MARKOUT + h] = k
    return due


@kernel
def _mark(sim: Sim, time: Scalar, kind: Scalar) -> None:
    meta, marks = sim.meta, sim.marks
    k = meta[st.N_MARKS]
    meta[st.N_MARKS] = k + 1
    marks[k, st.M_TS] = time
    marks[k, st.M_EVENT] = meta[st.LAST_EVENT]
    marks[k, st.M_KIND] = kind
    marks[k, st.M_POSITION] = meta[st.POSITION]
    marks[k, st.M_MARK] = UNDEF_PRICE
    if meta[st.GOOD_BID] != UNDEF_PRICE:
        marks[k, st.M_MARK] = meta[st.GOOD_BID] + meta[st.GOOD_ASK]
    marks[k, st.M_SESSION] = meta[st.SESSION]
    marks[k, st.M_FILLS] = meta[st.FILL_BASE] + meta[st.N_FILLS]


@kernel
def _timetable(sim: Sim, kind: Scalar, session: Scalar, time: Scalar) -> None:
    """An entry of the calendar's timetable."""
    meta = sim.meta
    if kind == st.AT_LOAD:
        meta[st.SESSION] = session
        meta[st.PHASE] = st.PHASE_PREOPEN
        executor.start_session(sim)
    elif kind == st.AT_OPEN:
        meta[st.PHASE] = st.PHASE_OPEN
        if meta[st.NEXT_MARK] == st.NEVER:
            step = sim.conf[st.MARK_STEP]
            meta[st.NEXT_MARK] = ((time + 1) // step + 1) * step
    elif kind == st.AT_CLOSE:
        meta[st.PHASE] = st.PHASE_PREOPEN
    elif kind == st.AT_FLATTEN:
        meta[st.X_FLATTEN] = 1
        executor.work(sim, time)
    else:
        _end_session(sim, time, np.int64(st.WHY_SESSION_END))


@kernel
def _end_session(sim: Sim, time: Scalar, reason: Scalar) -> None:
    meta = sim.meta
    end_all(sim, np.int64(st.EXPIRED), reason)
    executor.end_session(sim)
    _take_markouts(sim, time + 1)
    for h in range(st.HORIZONS):  # horizons beyond the session have no mid
        meta[st.MARKOUT + h] = meta[st.N_FILLS]
    _mark(sim, time, np.int64(st.MARK_SESSION_END))
    meta[st.NEXT_MARK] = st.NEVER
    meta[st.PHASE] = st.PHASE_CLOSED
    meta[st.LOADED] = 0


@kernel
def _deliver(sim: Sim) -> None:
    """The first of the queue happens."""
    heap = sim.heap
    time, kind, order = heap[0, st.H_TIME], heap[0, st.H_KIND], heap[0, st.H_ORDER]
    a, b = heap[0, st.H_A], heap[0, st.H_B]
    pop(sim)
    if kind == st.ARRIVE_NEW:
        arrive_new(sim, order)
    elif kind == st.ARRIVE_CANCEL:
        arrive_cancel(sim, order)
    elif kind == st.ARRIVE_REPLACE:
        arrive_replace(sim, order, a, b)
    else:
        executor.hear(sim, time, kind, order, a)


@kernel
def _lacking(sim: Sim) -> Scalar:
    """Which array might not take the next step; DONE if all do."""
    meta, book = sim.meta, sim.book
    live = meta[st.N_LIVE] + meta[st.N_LIVE + 1]
    pieces = live + meta[st.N_RESTED] + meta[st.N_PRINTS] + 16
    pieces += max(ob.n_levels(book, ob.BID), ob.n_levels(book, ob.ASK))
    if meta[st.N_OWN] + 4 > sim.own.shape[0]:
        return np.int64(st.GROW_OWN)
    if live + 2 > sim.live.shape[1]:
        return np.int64(st.GROW_LIVE)
    if meta[st.N_FILLS] + pieces > sim.fills.shape[0]:
        return np.int64(st.GROW_FILLS)
    if meta[st.N_MARKS] + 2 > sim.marks.shape[0]:
        return np.int64(st.GROW_MARKS)
    # Each piece may tell of a fill and of an end.
    if meta[st.N_HEAP] + 2 * pieces + 8 > sim.heap.shape[0]:
        return np.int64(st.GROW_HEAP)
    if meta[st.N_RESTED] + 2 > sim.rested.shape[0]:
        return np.int64(st.GROW_RESTED)
    if meta[st.N_PRINTS] + 2 > sim.prints.shape[0]:
        return np.int64(st.GROW_PRINTS)
    if 2 * book.meta[ob.N_ORDERS] + 2 > sim.saved.shape[0]:
        return np.int64(st.GROW_SAVED)
    return np.int64(st.DONE)


@kernel
def run_due(sim: Sim, before: Scalar) -> Scalar:
    """Let everything happen that is due before a time.

    Returns DONE, NEED_SESSION where the decisions of the session that starts now must be loaded
    first, or the array that must grow; in these cases call again.
    """
    meta = sim.meta
    while True:
        markout = _take_markouts(sim, min(before, _next_due(sim)))
        what, time, class_ = np.int64(_MARKOUT), np.int64(st.NEVER), np.int64(9)
        if meta[st.N_HEAP] > 0:
            what, time, class_ = np.int64(_HEAP), sim.heap[0, st.H_TIME], sim.heap[0, st.H_CLASS]
        timer = np.int64(st.CLASS_TIMER)
        at = meta[st.NEXT_SCHEDULE]
        if at < sim.schedule.shape[0]:
            due = sim.schedule[at, st.S_TIME]
            if due < time or (due == time and timer < class_):
                what, time, class_ = np.int64(_SCHEDULE), due, timer
        due = meta[st.NEXT_MARK]
        if due < time or (due == time and timer < class_):
            what, time, class_ = np.int64(_MARK), due, timer
        at = meta[st.NEXT_DECISION]
        if at < sim.decisions.shape[0] and sim.decisions[at, st.D_EVENT] <= meta[st.LAST_EVENT]:
            due = sim.decisions[at, st.D_TS]
            own_class = sim.conf[st.DECISION_CLASS]
            if due < time or (due == time and own_class < class_):
                what, time, class_ = np.int64(_DECISION), due, own_class
        if time >= before:
            meta[st.NEXT_DUE] = min(time, markout)
            return np.int64(st.DONE)
        lacking = _lacking(sim)
        if lacking != st.DONE:
            return lacking
        if what == _SCHEDULE:
            at = meta[st.NEXT_SCHEDULE]
            kind, session = sim.schedule[at, st.S_KIND], sim.schedule[at, st.S_SESSION]
            if kind == st.AT_LOAD and meta[st.LOADED] == 0:
                return np.int64(st.NEED_SESSION)
            meta[st.NEXT_SCHEDULE] = at + 1
            meta[st.CLOCK] = max(meta[st.CLOCK], time)
            _timetable(sim, kind, session, time)
        elif what == _HEAP:
            # Only the venue's own happenings move its clock.
            if sim.heap[0, st.H_CLASS] == st.CLASS_ARRIVAL:
                meta[st.CLOCK] = max(meta[st.CLOCK], time)
            _deliver(sim)
        elif what == _MARK:
            _mark(sim, time, np.int64(st.MARK_CLOCK))
            meta[st.NEXT_MARK] = time + sim.conf[st.MARK_STEP]
        else:
            at = meta[st.NEXT_DECISION]
            meta[st.NEXT_DECISION] = at + 1
            rows = sim.decisions
            executor.decide(
                sim, time, rows[at, st.D_TARGET], rows[at, st.D_BID], rows[at, st.D_ASK]
            )


@kernel
def _next_due(sim: Sim) -> Scalar:
    """When the timetable next changes the phase: markouts before it belong to this one."""
    at = sim.meta[st.NEXT_SCHEDULE]
    if at < sim.schedule.shape[0]:
        return sim.schedule[at, st.S_TIME]
    return np.int64(st.NEVER)


# --- events ---------------------------------------------------------------------------------------


@inline
def _begin(sim: Sim, records: Records, i: Scalar) -> None:
    """The first record of an event."""
    meta = sim.meta
    flags = np.int64(records.flags[i])
    after_fill = meta[st.E_ACTION] == ob.F or meta[st.E_ACTION] == ob.T
    if not (after_fill and meta[st.E_TS_EVENT] == records.ts_event[i]):
        ob.next_execution(sim.book)
        meta[st.E_PRINT_SIDE] = ob.NO_SIDE
        meta[st.E_HAS_PRINT] = meta[st.E_HAS_FILL] = 0
        meta[st.E_AUCTION_SIZE] = meta[st.E_AUCTION_USED] = meta[st.E_AUCTION_USED + 1] = 0
    if flags & F_SNAPSHOT == 0 and records.ts_event[i] != UNDEF_PRICE:
        meta[st.CLOCK] = max(meta[st.CLOCK], records.ts_event[i])
    open_ = meta[st.PHASE] == st.PHASE_OPEN
    meta[st.E_ALLOWED] = open_ and meta[st.VALID] != 0 and meta[st.CROSSED] == 0
    meta[st.IN_EVENT] = 1


@inline
def _end(sim: Sim, record: Scalar) -> None:
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
    at = meta[st.NEXT_DECISION]
    if at < sim.decisions.shape[0] and sim.decisions[at, st.D_EVENT] <= meta[st.LAST_EVENT]:
        meta[st.NEXT_DUE] = min(meta[st.NEXT_DUE], sim.decisions[at, st.D_TS])


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
    if ob.starts_snapshot(book, flags, records.ts_recv[i]):
        save_queues(sim)
        ob.clear(book)
        _restart(sim)
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
def replay(sim: Sim, records: Records, start: Scalar) -> tuple[Scalar, Scalar]:
    """Run records from ``start`` on through the simulation.

    Parameters
    ----------
    sim
        State; changed in place.
    records
        Records of one publisher and instrument in file order; events may be cut anywhere.
    start
        Index of the first record to apply.

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
            restore_queues(sim)
            if meta[st.IN_EVENT]:
                _end(sim, meta[st.LAST_RECORD])
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
                lacking = _lacking(sim)
                if lacking != st.DONE:
                    return lacking, i
                prints_alone(sim, meta[st.LAST_RECORD])
            if time > meta[st.NEXT_DUE]:
                status = run_due(sim, time)
                if status != st.DONE:
                    return status, i
        if not ob.room(sim.book):
            return np.int64(st.GROW_BOOK), i
        if any_live(sim) > 0 or flags & F_SNAPSHOT:
            lacking = _lacking(sim)
            if lacking != st.DONE:
                return lacking, i
        if meta[st.IN_EVENT] == 0:
            _begin(sim, records, i)
        _record(sim, records, i)
        i += 1
        if flags & F_LAST:
            if meta[st.SNAPPING]:
                restore_queues(sim)
            if meta[st.KNOWN] == 0:
                _assume_known(sim, records.ts_recv[i - 1])
            _end(sim, records.record[i - 1])
    return np.int64(st.DONE), i


@kernel
def finish(sim: Sim, until: Scalar, complete: Scalar) -> Scalar:
    """After the last record: let everything happen up to a time, then stop.

    ``complete``: the timetable itself ended the last session; otherwise what still rests ends
    with the data.
    """
    status = run_due(sim, until)
    if status != st.DONE:
        return status
    if complete == 0 and sim.meta[st.LOADED]:
        lacking = _lacking(sim)
        if lacking != st.DONE:
            return lacking
        _end_session(sim, until - 1, np.int64(st.WHY_END_OF_DATA))
    return np.int64(st.DONE)
