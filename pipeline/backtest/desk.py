"""Our side of the wire: orders sent, what we have heard of them, limits of risk, the strategy.

Everything that wants to trade, the executor of signals and event strategies alike, sends its
orders through :func:`place`.
"""

from __future__ import annotations

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.callback import call
from pipeline.backtest.queue import push
from pipeline.backtest.state import Sim
from pipeline.backtest.wire import send
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.jit import inline, inner
from pipeline.units import NS_PER_S, UNDEF_PRICE
from strategies import layout as la

NOW, EVENT, BID, ASK = (la.WORD[name] for name in ("now", "event", "bid", "ask"))
INSTRUMENT = la.WORD["instrument"]
POSITION, CASH, FEES = (la.WORD[name] for name in ("position", "cash", "fees"))
WORKING, FIRST_KNOWN, NEXT_ORDER = (la.WORD[n] for n in ("working", "first_known", "next_order"))
N_COMMANDS, OVERFLOW, TIMER = (la.WORD[name] for name in ("n_commands", "overflow", "timer"))
(
    FILL_ORDER, FILL_PRICE, FILL_SIZE, FILL_SIDE, FILL_ROLE, FILL_LEFT,
    UPDATE_ORDER, UPDATE_STATE, UPDATE_REASON,
) = (
    la.WORD[name]
    for name in (
        "fill_order", "fill_price", "fill_size", "fill_side", "fill_role", "fill_left",
        "update_order", "update_state", "update_reason",
    )
)  # fmt: skip


@inline
def is_event_strategy(sim: Sim) -> Scalar:
    return sim.conf[st.CALLBACK] != 0


@inline
def known_row(sim: Sim, order: Scalar) -> Scalar:
    """Row of an order in ``own`` and ``known``; -1 where it ended long ago, or never was."""
    row = order - sim.meta[st.BASE]
    return row if row < sim.meta[st.N_OWN] else np.int64(-1)


# --- risk -----------------------------------------------------------------------------------------


@inner
def net_result(sim: Sim) -> Scalar:
    """Net result by what we have heard, at the mid we have seen, in money of 1e-9 (float64)."""
    meta, block, conf = sim.meta, sim.block, sim.conf
    value = float(block[CASH])
    if meta[st.X_KNOWN] != 0:
        bid, ask = block[BID], block[ASK]
        if conf[st.FEED] == st.FEED_NONE:
            bid, ask = meta[st.X_BID], meta[st.X_ASK]
        if bid == UNDEF_PRICE or ask == UNDEF_PRICE:
            return np.nan
        value += meta[st.X_KNOWN] * (0.5 * bid + 0.5 * ask)
    ratio = conf[st.PRODUCT_NUMERATOR] / conf[st.PRODUCT_DENOMINATOR]
    return value * ratio - sim.reals[FEES] * 1e9


@inner
def reckon(sim: Sim) -> Scalar:
    """Note our net result for those we share limits with; whether it is known."""
    worth = net_result(sim)
    if np.isnan(worth):
        return False
    sim.worth[sim.block[INSTRUMENT], 0] = worth
    return True


@inner
def purse(sim: Sim) -> tuple[Scalar, Scalar]:
    """Net result of all instruments whose money is ours: of the run, and of their sessions."""
    whole, of_sessions = 0.0, 0.0
    ours = sim.purses[sim.block[INSTRUMENT]]
    for k in range(sim.purses.shape[0]):
        if sim.purses[k] == ours:
            whole += sim.worth[k, 0]
            of_sessions += sim.worth[k, 0] - sim.worth[k, 1]
    return whole, of_sessions


@inner
def stop_others(sim: Sim, time: Scalar) -> None:
    """Tell all instruments whose money is ours that the kill switch has tripped."""
    me = sim.block[INSTRUMENT]
    word = np.int64(st.STOP_RUN if sim.meta[st.RUN_LOST] else st.STOP_SESSION)
    for k in range(sim.purses.shape[0]):
        if k != me and sim.purses[k] == sim.purses[me]:
            sim.stops[k] = max(sim.stops[k], word)
            sim.mail[k] = 1
            sim.meta[st.LETTERS] = 1
            sim.block[NOW] = time  # when the letter is written


@inner
def risk(sim: Sim, time: Scalar, side: Scalar, size: Scalar) -> Scalar:
    """Why an order may not be sent; WHY_NONE if it may."""
    meta, conf = sim.meta, sim.conf
    if meta[st.HALTED] != 0:
        return meta[st.HALTED]
    if conf[st.MAX_SIZE] >= 0 and size > conf[st.MAX_SIZE]:
        return np.int64(st.WHY_RISK_SIZE)
    if conf[st.MAX_POSITION] >= 0:
        # As if all that works on this side were filled.
        reached = meta[st.WORKING_BUY + side] + size
        reached += meta[st.X_KNOWN] if side == ob.BID else -meta[st.X_KNOWN]
        if reached > conf[st.MAX_POSITION]:
            return np.int64(st.WHY_RISK_POSITION)
    if conf[st.MAX_RATE] >= 0:
        if time - meta[st.SENT_SINCE] >= NS_PER_S:
            meta[st.SENT_SINCE] = time
            meta[st.SENT_RATE] = 0
        if meta[st.SENT_RATE] >= conf[st.MAX_RATE]:
            return np.int64(st.WHY_RISK_RATE)
        meta[st.SENT_RATE] += 1
    return np.int64(st.WHY_NONE)


@inner
def cancel_working(sim: Sim, time: Scalar, but: Scalar) -> None:
    """Ask for the end of all our orders whose end we have not heard of, but one."""
    meta = sim.meta
    for row in range(meta[st.N_OWN]):
        order = row + meta[st.BASE]
        if sim.known[row, la.K_STATE] <= la.WORKING and order != but:
            send(sim, time, np.int64(st.ARRIVE_CANCEL), order, np.int64(0), np.int64(0))


@inner
def mark(sim: Sim, time: Scalar, kind: Scalar) -> None:
    """Note position and mid for the equity curve."""
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


# --- sending --------------------------------------------------------------------------------------


@inner
def place(
    sim: Sim, time: Scalar, side: Scalar, type_: Scalar, tif: Scalar, price: Scalar, size: Scalar,
    stop: Scalar, post_only: Scalar, offset: Scalar, refusal: Scalar,
) -> Scalar:  # fmt: skip
    """Send a new order, or note that it was refused before the venue; returns its number.

    ``refusal``: a ``WHY_`` code that is known already, WHY_NONE to send it.
    """
    own, meta = sim.own, sim.meta
    row = meta[st.N_OWN]
    meta[st.N_OWN] = row + 1
    order = row + meta[st.BASE]
    own[row, :] = 0
    own[row, st.O_SIDE] = side
    own[row, st.O_TYPE] = type_
    own[row, st.O_TIF] = tif
    own[row, st.O_PRICE] = price
    own[row, st.O_SIZE] = size
    own[row, st.O_STATUS] = st.SENT
    own[row, st.O_DECIDED] = time
    own[row, st.O_ARRIVED] = UNDEF_PRICE
    own[row, st.O_EVENT] = UNDEF_PRICE
    own[row, st.O_MARKER] = -1
    own[row, st.O_SESSION] = meta[st.SESSION]
    own[row, st.O_BID] = UNDEF_PRICE
    own[row, st.O_ASK] = UNDEF_PRICE
    own[row, st.O_STOP] = stop
    own[row, st.O_POST_ONLY] = post_only
    own[row, st.O_OFFSET] = offset
    strategy = is_event_strategy(sim)
    own[row, st.O_SEEN_BID] = sim.block[BID] if strategy else meta[st.X_BID]
    own[row, st.O_SEEN_ASK] = sim.block[ASK] if strategy else meta[st.X_ASK]
    known = sim.known
    known[row, la.K_STATE] = la.PENDING
    known[row, la.K_SIDE] = 1 if side == ob.BID else -1
    known[row, la.K_PRICE] = price
    known[row, la.K_SIZE] = size
    known[row, la.K_FILLED] = 0
    known[row, la.K_MARKER] = -1
    sim.block[NEXT_ORDER] = order + 1
    sim.block[WORKING] += 1
    meta[st.WORKING_BUY + side] += size
    if refusal != st.WHY_NONE:
        own[row, st.O_STATUS] = st.REJECTED
        own[row, st.O_REASON] = refusal
        own[row, st.O_ENDED] = max(time, meta[st.CLOCK])
        push(
            sim, time, np.int64(st.CLASS_END), np.int64(st.TELL_ENDED), order, np.int64(0),
            np.int64(st.REJECTED), refusal,
        )  # fmt: skip
    else:
        send(sim, time, np.int64(st.ARRIVE_NEW), order, np.int64(0), np.int64(0))
    return order


@inner
def _malformed(sim: Sim, row: Scalar) -> Scalar:
    """Whether a command to place makes no sense."""
    c, tick = sim.commands, sim.conf[st.TICK]
    type_, price, stop = c[row, la.C_TYPE], c[row, la.C_PRICE], c[row, la.C_STOP]
    bad = c[row, la.C_SIZE] <= 0 or type_ < 0 or type_ > la.PEGGED
    bad = bad or c[row, la.C_TIF] < 0 or c[row, la.C_TIF] > la.FOK
    bad = bad or (c[row, la.C_SIDE] != 1 and c[row, la.C_SIDE] != -1)
    if type_ == la.LIMIT or type_ == la.STOP_LIMIT:
        bad = bad or price == UNDEF_PRICE or price % tick != 0
    if type_ == la.STOP or type_ == la.STOP_LIMIT:
        bad = bad or stop == UNDEF_PRICE or stop % tick != 0
    if type_ == la.PEGGED:
        bad = bad or c[row, la.C_OFFSET] < 0 or c[row, la.C_OFFSET] % tick != 0
    return bad


@inner
def _refused_replacement(
    sim: Sim, time: Scalar, order: Scalar, price: Scalar, size: Scalar
) -> Scalar:
    """Why a replacement may not be sent; WHY_NONE if it may."""
    row = known_row(sim, order)
    if row < 0:
        return np.int64(st.WHY_TOO_LATE)
    negative_offset = sim.own[row, st.O_TYPE] == la.PEGGED and price < 0
    if price == UNDEF_PRICE or price % sim.conf[st.TICK] != 0 or size <= 0 or negative_offset:
        return np.int64(st.WHY_BAD_ORDER)
    if sim.conf[st.MAX_SIZE] >= 0 and size > sim.conf[st.MAX_SIZE]:
        return np.int64(st.WHY_RISK_SIZE)
    side = np.int64(ob.BID if sim.known[row, la.K_SIDE] > 0 else ob.ASK)
    return risk(sim, time, side, max(size - sim.known[row, la.K_SIZE], np.int64(0)))


@inner
def obey(sim: Sim, time: Scalar) -> None:
    """Carry out the commands a callback left."""
    c, block, meta = sim.commands, sim.block, sim.meta
    for k in range(block[N_COMMANDS]):
        kind, order = c[k, la.C_KIND], c[k, la.C_ORDER]
        if kind == la.PLACE:
            side = np.int64(ob.BID if c[k, la.C_SIDE] > 0 else ob.ASK)
            refusal = np.int64(st.WHY_NONE)
            if meta[st.X_ACTIVE] == 0:
                refusal = np.int64(st.WHY_CLOSED)
            elif _malformed(sim, k):
                refusal = np.int64(st.WHY_BAD_ORDER)
            else:
                refusal = risk(sim, time, side, c[k, la.C_SIZE])
            place(
                sim, time, side, c[k, la.C_TYPE], c[k, la.C_TIF], c[k, la.C_PRICE],
                c[k, la.C_SIZE], c[k, la.C_STOP], c[k, la.C_POST_ONLY], c[k, la.C_OFFSET], refusal,
            )  # fmt: skip
        elif kind == la.CANCEL:
            send(sim, time, np.int64(st.ARRIVE_CANCEL), order, np.int64(0), np.int64(0))
        elif kind == la.REPLACE:
            price, size = c[k, la.C_PRICE], c[k, la.C_SIZE]
            refusal = _refused_replacement(sim, time, order, price, size)
            if refusal != st.WHY_NONE:
                push(
                    sim, time, np.int64(st.CLASS_END), np.int64(st.TELL_TOO_LATE), order,
                    np.int64(0), np.int64(0), refusal,
                )  # fmt: skip
            else:
                send(sim, time, np.int64(st.ARRIVE_REPLACE), order, price, size)
        elif kind == la.CANCEL_ALL:
            cancel_working(sim, time, np.int64(-1))
        else:
            at = max(c[k, la.C_PRICE], time)
            push(
                sim, at, np.int64(st.CLASS_TIMER), np.int64(st.TIMER_STRATEGY), order,
                meta[st.SESSION], np.int64(0), np.int64(0),
            )  # fmt: skip
    block[N_COMMANDS] = 0
    sim.mail[block[INSTRUMENT]] = 0


@inner
def ask_strategy(sim: Sim, kind: Scalar, time: Scalar) -> None:
    """Call the strategy and carry out what it wants."""
    block, conf, meta = sim.block, sim.conf, sim.meta
    block[NOW] = time
    failed = call(conf[st.CALLBACK], kind, conf[st.INSTANCE], conf[st.MARKET_AT])
    if failed != 0 or block[OVERFLOW] != 0:
        meta[st.FAILED] = 1 + kind
        block[N_COMMANDS] = 0
        return
    if block[N_COMMANDS] > 0:
        obey(sim, time)
    if sim.mail.shape[0] > 1:
        for k in range(sim.mail.shape[0]):
            if sim.mail[k] != 0:
                meta[st.LETTERS] = 1


# --- hearing --------------------------------------------------------------------------------------


@inner
def note(sim: Sim, kind: Scalar, order: Scalar, a: Scalar, b: Scalar, c: Scalar) -> None:
    """Keep what the venue says of an order."""
    known, meta, block = sim.known, sim.meta, sim.block
    row = known_row(sim, order)
    if row < 0:
        return  # its end was heard of long ago
    side = np.int64(ob.BID if known[row, la.K_SIDE] > 0 else ob.ASK)
    if kind == st.TELL_FILL:
        size = abs(a)
        known[row, la.K_FILLED] += size
        if known[row, la.K_STATE] <= la.WORKING:
            meta[st.WORKING_BUY + side] -= size
        block[POSITION] += a
        block[CASH] -= a * b
        session = max(sim.own[row, st.O_SESSION], np.int64(0))
        sim.reals[FEES] += sim.rates[session, c] * size * 1e-9
    elif kind == st.TELL_ENDED:
        left = known[row, la.K_SIZE] - known[row, la.K_FILLED]
        meta[st.WORKING_BUY + side] -= left
        known[row, la.K_STATE] = b
        sim.own[row, st.O_HEARD] = 1
        block[WORKING] -= 1
    elif kind == st.TELL_REPLACED:
        meta[st.WORKING_BUY + side] += c - known[row, la.K_SIZE]
        known[row, la.K_SIZE] = c
        known[row, la.K_PRICE] = a
        known[row, la.K_MARKER] = b
    elif kind == st.TELL_RESTING or kind == st.TELL_PLACE:
        known[row, la.K_STATE] = la.WORKING
        known[row, la.K_PRICE] = a
        known[row, la.K_MARKER] = b


@inner
def tell_strategy(
    sim: Sim, time: Scalar, kind: Scalar, order: Scalar, a: Scalar, b: Scalar, c: Scalar
) -> None:
    """Call the callback that a word from the venue belongs to."""
    block = sim.block
    row = known_row(sim, order)
    if kind == st.TELL_FILL:
        block[FILL_ORDER] = order
        block[FILL_PRICE] = b
        block[FILL_SIZE] = abs(a)
        block[FILL_SIDE] = 1 if a > 0 else -1
        block[FILL_ROLE] = c
        block[FILL_LEFT] = sim.known[row, la.K_SIZE] - sim.known[row, la.K_FILLED]
        ask_strategy(sim, np.int64(la.FILL), time)
        return
    block[UPDATE_ORDER] = order
    block[UPDATE_REASON] = c if kind == st.TELL_ENDED or kind == st.TELL_TOO_LATE else 0
    block[UPDATE_STATE] = np.int64(la.DONE) if row < 0 else sim.known[row, la.K_STATE]
    if kind == st.TELL_TOO_LATE:
        if block[UPDATE_REASON] == 0:
            block[UPDATE_REASON] = st.WHY_TOO_LATE
        ask_strategy(sim, np.int64(la.REJECT), time)
    elif kind == st.TELL_ENDED and b == st.REJECTED:
        ask_strategy(sim, np.int64(la.REJECT), time)
    else:
        ask_strategy(sim, np.int64(la.ORDER), time)
