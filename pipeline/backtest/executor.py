"""Working a signal: from the position a strategy wants to the orders that get there.

The executor sits on our side of the wire: it knows decisions, and of the venue only what came
back.  One order is worked at a time.  Passive: a limit joins the touch of the decision; when the
touch leaves (it is no longer at the best price) it is replaced to the new touch; when the goal
has not been reached after ``patience`` it is cancelled and the rest sent as a market order.
Aggressive: market orders at once.  To flatten is always aggressive.

An order that came back undone (no depth, book crossed, closed) is tried again after a second.
"""

from __future__ import annotations

import numpy as np

from pipeline.backtest import desk
from pipeline.backtest import state as st
from pipeline.backtest.desk import place, risk
from pipeline.backtest.queue import push
from pipeline.backtest.state import Sim
from pipeline.backtest.wire import send
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.jit import inner
from pipeline.units import UNDEF_PRICE
from strategies import layout as la


@inner
def _new_order(
    sim: Sim, time: Scalar, side: Scalar, type_: Scalar, price: Scalar, size: Scalar
) -> None:
    meta = sim.meta
    tif = np.int64(la.IOC if type_ == la.MARKET else la.DAY)
    none = np.int64(UNDEF_PRICE)
    refusal = np.int64(st.WHY_NONE)
    if meta[st.X_FLATTEN] == 0:
        refusal = risk(sim, time, side, size)
    order = place(sim, time, side, type_, tif, price, size, none, np.int64(0), none, refusal)
    meta[st.X_WORKING] = order
    meta[st.X_STATE] = st.X_SENT
    meta[st.X_SIDE] = side
    meta[st.X_PRICE] = price
    meta[st.X_SIZE] = size
    meta[st.X_KNOWN_FILLED] = 0
    meta[st.X_END_FILLED] = -1
    meta[st.X_TYPE] = type_


@inner
def work(sim: Sim, time: Scalar) -> None:
    """Compare goal and position as we know them, and send what is needed."""
    meta = sim.meta
    goal = meta[st.X_TARGET]
    if meta[st.X_FLATTEN]:
        goal = np.int64(0)
    if meta[st.X_ACTIVE] == 0 or goal == st.NO_TARGET:
        return
    if goal != meta[st.X_GOAL]:
        meta[st.X_GOAL] = goal
        meta[st.X_CROSS] = 0
        meta[st.X_GENERATION] += 1
        if sim.conf[st.PASSIVE]:
            push(
                sim, time + sim.conf[st.PATIENCE], np.int64(st.CLASS_TIMER),
                np.int64(st.TIMER_PATIENCE), np.int64(-1), meta[st.X_GENERATION], np.int64(0),
                np.int64(0),
            )  # fmt: skip
    delta = goal - meta[st.X_KNOWN]
    side = np.int64(ob.BID if delta > 0 else ob.ASK)
    cross = meta[st.X_FLATTEN] or meta[st.X_CROSS] or sim.conf[st.PASSIVE] == 0
    touch = meta[st.X_BID] if side == ob.BID else meta[st.X_ASK]
    order = meta[st.X_WORKING]
    if order < 0:
        if delta == 0 or meta[st.X_HOLD]:
            return
        if cross:
            _new_order(sim, time, side, np.int64(la.MARKET), np.int64(UNDEF_PRICE), abs(delta))
        elif touch != UNDEF_PRICE:
            _new_order(sim, time, side, np.int64(la.LIMIT), touch, abs(delta))
        return
    if meta[st.X_STATE] != st.X_RESTING:
        return  # wait for the venue's word
    if delta == 0 or side != meta[st.X_SIDE] or cross:
        meta[st.X_STATE] = st.X_CANCELLING
        send(sim, time, np.int64(st.ARRIVE_CANCEL), order, np.int64(0), np.int64(0))
        return
    price, size = meta[st.X_PRICE], meta[st.X_KNOWN_FILLED] + abs(delta)
    left = touch != UNDEF_PRICE and ob.key_of(side, touch) > ob.key_of(side, price)
    if left:
        price = touch
    if left or size != meta[st.X_SIZE]:
        meta[st.X_STATE] = st.X_REPLACING
        meta[st.X_PRICE] = price
        meta[st.X_SIZE] = size
        send(sim, time, np.int64(st.ARRIVE_REPLACE), order, price, size)


@inner
def _check_ended(sim: Sim, time: Scalar) -> None:
    """The worked order is over once its end and all its fills are known."""
    meta = sim.meta
    if meta[st.X_END_FILLED] < 0 or meta[st.X_KNOWN_FILLED] < meta[st.X_END_FILLED]:
        return
    undone = meta[st.X_KNOWN_FILLED] < meta[st.X_SIZE]
    if undone and meta[st.X_STATE] != st.X_CANCELLING:
        meta[st.X_HOLD] = 1
        push(
            sim, time + sim.conf[st.RETRY], np.int64(st.CLASS_TIMER), np.int64(st.TIMER_RETRY),
            np.int64(-1), meta[st.X_WORKING], np.int64(0), np.int64(0),
        )  # fmt: skip
    meta[st.X_WORKING] = -1


@inner
def hear(sim: Sim, time: Scalar, kind: Scalar, order: Scalar, a: Scalar) -> None:
    """Word from the venue, or a timer of ours."""
    meta = sim.meta
    ours = order == meta[st.X_WORKING]
    if kind == st.TELL_FILL:
        meta[st.X_KNOWN] += a
        if ours:
            meta[st.X_KNOWN_FILLED] += abs(a)
            _check_ended(sim, time)
    elif kind == st.TIMER_PATIENCE:
        if a == meta[st.X_GENERATION]:
            meta[st.X_CROSS] = 1
    elif kind == st.TIMER_RETRY:
        meta[st.X_HOLD] = 0
    elif ours:
        if kind == st.TELL_ENDED:
            meta[st.X_END_FILLED] = a
            _check_ended(sim, time)
        elif kind == st.TELL_TOO_LATE:
            meta[st.X_STATE] = st.X_SENT  # its end is known, or on its way
        elif kind != st.TELL_PLACE and meta[st.X_STATE] != st.X_CANCELLING:
            meta[st.X_STATE] = st.X_RESTING
    work(sim, time)


@inner
def decide(sim: Sim, time: Scalar, target: Scalar, bid: Scalar, ask: Scalar) -> None:
    """A row of the feature table: a target (or none) and the touch the strategy saw."""
    meta = sim.meta
    meta[st.X_BID] = bid
    meta[st.X_ASK] = ask
    if target != st.NO_TARGET:
        meta[st.X_TARGET] = target
    work(sim, time)


@inner
def start_session(sim: Sim) -> None:
    """Nothing is wanted before the session's first decision."""
    meta = sim.meta
    meta[st.X_ACTIVE] = 1
    meta[st.X_FLATTEN] = 0
    meta[st.X_TARGET] = st.NO_TARGET
    meta[st.X_GOAL] = st.NO_TARGET
    meta[st.X_HOLD] = 0
    meta[st.X_CROSS] = 0
    meta[st.X_GENERATION] += 1
    meta[st.X_BID] = UNDEF_PRICE
    meta[st.X_ASK] = UNDEF_PRICE


@inner
def end_session(sim: Sim) -> None:
    """Orders die with their session: stop working."""
    sim.meta[st.X_ACTIVE] = 0
    sim.meta[st.X_WORKING] = -1


# --- getting out ----------------------------------------------------------------------------------


@inner
def flatten(sim: Sim, time: Scalar, why: Scalar) -> None:
    """Cancel what works, sell or buy back what is held, and send nothing else."""
    meta = sim.meta
    if meta[st.HALTED] != st.WHY_RISK_LOSS:  # which trips once, also where the session ends soon
        meta[st.HALTED] = why
    meta[st.X_FLATTEN] = 1
    if desk.is_event_strategy(sim):
        desk.cancel_working(sim, time, meta[st.X_WORKING])
    work(sim, time)


@inner
def watch_losses(sim: Sim, time: Scalar) -> None:
    """The kill switch: a loss beyond its limit ends the session's, or the run's, trading."""
    meta, conf = sim.meta, sim.conf
    if conf[st.MAX_LOSS] < 0 and conf[st.MAX_LOSS_RUN] < 0:
        return
    known = desk.reckon(sim)
    if meta[st.HALTED] == st.WHY_RISK_LOSS or meta[st.X_ACTIVE] == 0 or not known:
        return
    whole, of_sessions = desk.purse(sim)
    if conf[st.MAX_LOSS_RUN] >= 0 and -whole > conf[st.MAX_LOSS_RUN]:
        # For good, even if getting out makes up for it.
        meta[st.RUN_LOST] = 1
    if meta[st.RUN_LOST] or (conf[st.MAX_LOSS] >= 0 and -of_sessions > conf[st.MAX_LOSS]):
        desk.stop_others(sim, time)
        stop(sim, time)


@inner
def stop(sim: Sim, time: Scalar) -> None:
    """The kill switch trips here."""
    desk.mark(sim, time, np.int64(st.MARK_KILL))
    flatten(sim, time, np.int64(st.WHY_RISK_LOSS))


@inner
def heed(sim: Sim, time: Scalar) -> None:
    """Stop, where another instrument's loss has tripped the kill switch of all."""
    meta, me = sim.meta, sim.block[desk.INSTRUMENT]
    word = sim.stops[me]
    sim.stops[me] = 0
    if word == st.STOP_RUN:
        meta[st.RUN_LOST] = 1
    if word != 0 and meta[st.X_ACTIVE] != 0 and meta[st.HALTED] != st.WHY_RISK_LOSS:
        stop(sim, time)
