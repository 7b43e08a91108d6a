"""What is due, and in which order: arrivals, word from the venue, timers, decisions, marks.

One queue of everything under way, the calendar's timetable, the marks' clock and the decisions of
the session are merged by (time, class); see :mod:`pipeline.backtest.state` for the classes.
"""

from __future__ import annotations

import numpy as np

from pipeline.backtest import desk, executor
from pipeline.backtest import state as st
from pipeline.backtest.arriving import arrive_cancel, arrive_new, arrive_replace
from pipeline.backtest.feed import learn, next_features, receive
from pipeline.backtest.queue import pop
from pipeline.backtest.state import Sim
from pipeline.backtest.venue import end_all
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.jit import inline, inner
from pipeline.units import UNDEF_PRICE
from strategies import layout as la

_OPEN, _SESSION = la.WORD["open"], la.WORD["session"]
_OPENS, _CLOSES = la.WORD["opens_at"], la.WORD["closes_at"]
_MAKER_FEE, _TAKER_FEE = la.WORD["maker_fee"], la.WORD["taker_fee"]

_MARKOUT, _HEAP, _SCHEDULE, _MARK, _DECISION, _RECEIPT = range(6)


@inner
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


@inner
def _timetable(sim: Sim, kind: Scalar, session: Scalar, time: Scalar) -> None:
    """An entry of the calendar's timetable."""
    meta = sim.meta
    if kind == st.AT_LOAD:
        meta[st.SESSION] = session
        meta[st.PHASE] = st.PHASE_PREOPEN
        executor.start_session(sim)
        _start_session(sim, session, time)
    elif kind == st.AT_OPEN:
        meta[st.PHASE] = st.PHASE_OPEN
        sim.block[_OPEN] = 1
        if meta[st.NEXT_MARK] == st.NEVER:
            step = sim.conf[st.MARK_STEP]
            meta[st.NEXT_MARK] = ((time + 1) // step + 1) * step
    elif kind == st.AT_CLOSE:
        meta[st.PHASE] = st.PHASE_PREOPEN
        sim.block[_OPEN] = 0
    elif kind == st.AT_FLATTEN:
        executor.flatten(sim, time, np.int64(st.WHY_FLATTENING))
    else:
        end_session(sim, time, np.int64(st.WHY_SESSION_END), np.int64(la.GTC))


@inline
def _only_leaves(sim: Sim) -> Scalar:
    """Whether the session that starts is there to close, as it opens, what a roll left."""
    schedule, at = sim.schedule, sim.meta[st.NEXT_SCHEDULE]
    if at + 1 >= schedule.shape[0] or schedule[at + 1, st.S_KIND] != st.AT_FLATTEN:
        return False
    return schedule[at + 1, st.S_TIME] == schedule[at, st.S_TIME] + 1


@inner
def _start_session(sim: Sim, session: Scalar, time: Scalar) -> None:
    """What a strategy is told of a session before it begins."""
    meta, block = sim.meta, sim.block
    block[_SESSION] = sim.hours[session, 2]
    block[_OPENS], block[_CLOSES] = sim.hours[session, 0], sim.hours[session, 1]
    a_tick = sim.conf[st.TICK] * sim.conf[st.PRODUCT_NUMERATOR] / sim.conf[st.PRODUCT_DENOMINATOR]
    sim.reals[_MAKER_FEE] = sim.rates[session, 0] / a_tick
    sim.reals[_TAKER_FEE] = sim.rates[session, 1] / a_tick
    me = block[desk.INSTRUMENT]
    if desk.reckon(sim):
        sim.worth[me, 1] = sim.worth[me, 0]
    whole, _ = desk.purse(sim)
    if sim.conf[st.MAX_LOSS_RUN] >= 0 and -whole > sim.conf[st.MAX_LOSS_RUN]:
        meta[st.RUN_LOST] = 1
    meta[st.HALTED] = st.WHY_RISK_LOSS if meta[st.RUN_LOST] else st.WHY_NONE
    if _only_leaves(sim):
        meta[st.HALTED] = st.WHY_FLATTENING
        desk.cancel_working(sim, time, np.int64(-1))
    if desk.is_event_strategy(sim):
        if meta[st.STARTED] == 0:
            meta[st.STARTED] = 1
            desk.ask_strategy(sim, np.int64(la.INITIALIZE), time)
        if meta[st.FAILED] == 0:
            desk.ask_strategy(sim, np.int64(la.SESSION_START), time)


@inner
def end_session(sim: Sim, time: Scalar, reason: Scalar, kept: Scalar) -> None:
    meta = sim.meta
    end_all(sim, np.int64(st.EXPIRED), reason, kept)
    executor.end_session(sim)
    _take_markouts(sim, time + 1)
    for h in range(st.HORIZONS):  # horizons beyond the session have no mid
        meta[st.MARKOUT + h] = meta[st.N_FILLS]
    desk.mark(sim, time, np.int64(st.MARK_SESSION_END))
    meta[st.NEXT_MARK] = st.NEVER
    meta[st.PHASE] = st.PHASE_CLOSED
    meta[st.LOADED] = 0


@inner
def _deliver(sim: Sim) -> None:
    """The first of the queue happens."""
    heap = sim.heap
    time, kind, order = heap[0, st.H_TIME], heap[0, st.H_KIND], heap[0, st.H_ORDER]
    a, b, c = heap[0, st.H_A], heap[0, st.H_B], heap[0, st.H_C]
    pop(sim)
    if kind == st.ARRIVE_NEW:
        arrive_new(sim, order)
    elif kind == st.ARRIVE_CANCEL:
        arrive_cancel(sim, order)
    elif kind == st.ARRIVE_REPLACE:
        arrive_replace(sim, order, a, b)
    elif kind == st.TIMER_STRATEGY:
        if a == sim.meta[st.SESSION] and sim.meta[st.LOADED]:
            sim.block[desk.TIMER] = order
            desk.ask_strategy(sim, np.int64(la.TIMER), time)
    else:
        if kind <= st.TELL_FILL:
            desk.note(sim, kind, order, a, b, c)
        executor.hear(sim, time, kind, order, a)
        if kind <= st.TELL_FILL and desk.is_event_strategy(sim):
            desk.tell_strategy(sim, time, kind, order, a, b, c)
        executor.watch_losses(sim, time)


@inner
def lacking(sim: Sim) -> Scalar:
    """Which array might not take the next step; DONE if all do."""
    meta, book = sim.meta, sim.book
    live = meta[st.N_LIVE] + meta[st.N_LIVE + 1] + meta[st.N_SPECIAL]
    pieces = live + meta[st.N_RESTED] + meta[st.N_PRINTS] + 16
    pieces += max(ob.n_levels(book, ob.BID), ob.n_levels(book, ob.ASK))
    # A callback may give as many commands as there are rows for them.
    commands = sim.commands.shape[0] if sim.conf[st.CALLBACK] != 0 else 0
    commands += meta[st.N_OWN] if sim.conf[st.MAX_LOSS] >= 0 or commands else 0
    if meta[st.N_OWN] + commands + 4 > sim.own.shape[0]:
        return np.int64(st.GROW_OWN)
    if live + 2 > sim.live.shape[1]:
        return np.int64(st.GROW_LIVE)
    if meta[st.N_FILLS] + pieces > sim.fills.shape[0]:
        return np.int64(st.GROW_FILLS)
    if live + 2 > sim.special.shape[0]:
        return np.int64(st.GROW_SPECIAL)
    if meta[st.N_MARKS] + 4 > sim.marks.shape[0]:
        return np.int64(st.GROW_MARKS)
    # Each piece may tell of a fill and of an end.
    if meta[st.N_HEAP] + 3 * pieces + 2 * commands + 8 > sim.heap.shape[0]:
        return np.int64(st.GROW_HEAP)
    if meta[st.N_RESTED] + 2 > sim.rested.shape[0]:
        return np.int64(st.GROW_RESTED)
    if meta[st.N_PRINTS] + 2 > sim.prints.shape[0]:
        return np.int64(st.GROW_PRINTS)
    if 2 * book.meta[ob.N_ORDERS] + 2 > sim.saved.shape[0]:
        return np.int64(st.GROW_SAVED)
    return np.int64(st.DONE)


@inline
def _next_turn(sim: Sim) -> Scalar:
    """When the timetable next changes the phase: markouts before it belong to this one."""
    at = sim.meta[st.NEXT_SCHEDULE]
    if at < sim.schedule.shape[0]:
        return sim.schedule[at, st.S_TIME]
    return np.int64(st.NEVER)


@inline
def _next_decision(sim: Sim) -> Scalar:
    """When the next row of features or decisions is due, never before its event."""
    if desk.is_event_strategy(sim):
        return next_features(sim)
    at = sim.meta[st.NEXT_DECISION]
    if at < sim.decisions.shape[0] and sim.decisions[at, st.D_EVENT] <= sim.meta[st.LAST_EVENT]:
        return sim.decisions[at, st.D_TS]
    return np.int64(st.NEVER)


@inner
def run_due(sim: Sim, before: Scalar) -> Scalar:
    """Let everything happen that is due before a time.

    Returns DONE, NEED_SESSION where the decisions of the session that starts now must be loaded
    first, or the array that must grow; in these cases call again.
    """
    meta = sim.meta
    while True:
        markout = np.int64(st.NEVER)
        if meta[st.MARKOUT + st.HORIZONS - 1] < meta[st.N_FILLS]:
            markout = _take_markouts(sim, min(before, _next_turn(sim)))
        what, time, class_ = np.int64(_MARKOUT), np.int64(st.NEVER), np.int64(9)
        if meta[st.N_HEAP] > 0:
            what, time, class_ = np.int64(_HEAP), sim.heap[0, st.H_TIME], sim.heap[0, st.H_CLASS]
        due = meta[st.NEXT_RECEIPT]
        if due < time or (due == time and class_ > st.CLASS_RECEIPT):
            what, time, class_ = np.int64(_RECEIPT), due, np.int64(st.CLASS_RECEIPT)
        timer = np.int64(st.CLASS_TIMER)
        at = meta[st.NEXT_SCHEDULE]
        if at < sim.schedule.shape[0]:
            due = sim.schedule[at, st.S_TIME]
            if due < time or (due == time and timer < class_):
                what, time, class_ = np.int64(_SCHEDULE), due, timer
        due = meta[st.NEXT_MARK]
        if due < time or (due == time and timer < class_):
            what, time, class_ = np.int64(_MARK), due, timer
        due, own_class = _next_decision(sim), sim.conf[st.DECISION_CLASS]
        if due < time or (due == time and own_class < class_):
            what, time, class_ = np.int64(_DECISION), due, own_class
        if time >= before:
            meta[st.NEXT_DUE] = min(time, markout)
            return np.int64(st.DONE)
        if meta[st.NEXT_DECISION] >= sim.decisions.shape[0] and meta[st.MORE_ROWS]:
            return np.int64(st.NEED_ROWS)
        lack = lacking(sim)
        if lack != st.DONE:
            return lack
        if what == _RECEIPT:
            receive(sim, time)
            executor.watch_losses(sim, time)
        elif what == _SCHEDULE:
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
            desk.mark(sim, time, np.int64(st.MARK_CLOCK))
            meta[st.NEXT_MARK] = time + sim.conf[st.MARK_STEP]
        else:
            if desk.is_event_strategy(sim):
                learn(sim)
                continue
            at, rows = meta[st.NEXT_DECISION], sim.decisions
            meta[st.NEXT_DECISION] = at + 1
            executor.decide(
                sim, time, rows[at, st.D_TARGET], rows[at, st.D_BID], rows[at, st.D_ASK]
            )
            executor.watch_losses(sim, time)
        if meta[st.FAILED] != 0:
            return np.int64(st.STRATEGY_FAILED)
        if meta[st.LETTERS] != 0:
            meta[st.LETTERS] = 0
            return np.int64(st.FOREIGN)
