"""What reaches the venue from us: new orders, cancels, replacements; stops and pegs after events.

What becomes of an order once it rests is in :mod:`pipeline.backtest.venue`.
"""

from __future__ import annotations

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.state import Sim
from pipeline.backtest.venue import (
    available,
    end_order,
    is_special,
    join_queue,
    join_special,
    leave_queue,
    leave_special,
    remaining,
    row_of,
    take_depth,
)
from pipeline.backtest.wire import tell
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.jit import inline, inner
from pipeline.units import UNDEF_PRICE
from strategies import layout as la


@inline
def _at_once(sim: Sim, row: Scalar) -> Scalar:
    """Whether an order can wait neither in a queue nor for its trigger."""
    own = sim.own
    if is_special(sim, row):
        return False
    tif = own[row, st.O_TIF]
    return own[row, st.O_PRICE] == UNDEF_PRICE or tif == la.IOC or tif == la.FOK


@inner
def _meets_ourselves(sim: Sim, side: Scalar, limit: Scalar) -> Scalar:
    """Whether an order would trade with one of ours that rests before the rest of the market."""
    own, meta, book = sim.own, sim.meta, sim.book
    if meta[st.N_LIVE + 1 - side] == 0:
        return False
    ours = own[sim.live[1 - side, 0], st.O_PRICE]
    if limit != UNDEF_PRICE:
        return ob.key_of(side, limit) >= ob.key_of(side, ours)
    best = ob.best_price(book, 1 - side)
    return best == UNDEF_PRICE or ob.key_of(1 - side, ours) > ob.key_of(1 - side, best)


@inline
def _passed(sim: Sim, row: Scalar) -> Scalar:
    """Whether the last print is at a stop's trigger or beyond it."""
    last = sim.meta[st.TRADE_PRICE]
    side = sim.own[row, st.O_SIDE]
    if last == UNDEF_PRICE:
        return False
    return ob.key_of(side, last) >= ob.key_of(side, sim.own[row, st.O_STOP])


@inner
def _peg_price(sim: Sim, row: Scalar) -> Scalar:
    """Where a pegged order belongs; UNDEF_PRICE: nowhere now."""
    own, meta = sim.own, sim.meta
    side = own[row, st.O_SIDE]
    best = ob.best_price(sim.book, side)
    if best == UNDEF_PRICE or meta[st.CROSSED] != 0 or meta[st.VALID] == 0:
        return np.int64(UNDEF_PRICE)
    offset = own[row, st.O_OFFSET]
    return best - offset if side == ob.BID else best + offset


@inner
def _refusal(sim: Sim, row: Scalar) -> Scalar:
    """Why an order that arrives now cannot be accepted; WHY_NONE if it can."""
    own, meta = sim.own, sim.meta
    at_once = _at_once(sim, row)
    if meta[st.PHASE] == st.PHASE_CLOSED or (at_once and meta[st.PHASE] != st.PHASE_OPEN):
        return np.int64(st.WHY_CLOSED)
    if meta[st.VALID] == 0:
        return np.int64(st.WHY_INVALID)
    if is_special(sim, row) and own[row, st.O_TYPE] != la.PEGGED:
        return np.int64(st.WHY_STOP_PASSED if _passed(sim, row) else st.WHY_NONE)
    if at_once and meta[st.CROSSED] != 0:
        return np.int64(st.WHY_CROSSED)
    side = own[row, st.O_SIDE]
    if own[row, st.O_TYPE] == la.PEGGED:
        price = _peg_price(sim, row)
        meets = price != UNDEF_PRICE and _meets_ourselves(sim, side, price)
        return np.int64(st.WHY_SELF_MATCH if meets else st.WHY_NONE)
    if _meets_ourselves(sim, side, own[row, st.O_PRICE]):
        return np.int64(st.WHY_SELF_MATCH)
    matching = meta[st.PHASE] == st.PHASE_OPEN and meta[st.CROSSED] == 0
    if own[row, st.O_POST_ONLY] != 0 and matching and available(sim, row) > 0:
        return np.int64(st.WHY_WOULD_TAKE)
    return np.int64(st.WHY_NONE)


@inner
def match(sim: Sim, row: Scalar) -> None:
    """Take what can be taken; the rest waits in the queue, or goes."""
    own, meta = sim.own, sim.meta
    if own[row, st.O_TIF] == la.FOK and available(sim, row) < remaining(sim, row):
        end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_NOT_WHOLE))
        return
    if meta[st.PHASE] == st.PHASE_OPEN and meta[st.CROSSED] == 0:
        take_depth(sim, row)
    if own[row, st.O_STATUS] == st.FILLED:
        return
    if _at_once(sim, row):
        end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_NO_DEPTH))
    else:
        join_queue(sim, row)


@inner
def _tell_place(sim: Sim, row: Scalar) -> None:
    """Where an order rests now that did not a moment ago."""
    own = sim.own
    if own[row, st.O_STATUS] == st.RESTING:
        tell(
            sim, np.int64(st.CLASS_ACK), np.int64(st.TELL_PLACE), row + sim.meta[st.BASE],
            own[row, st.O_PRICE], own[row, st.O_MARKER], np.int64(0),
        )  # fmt: skip


@inner
def _follow(sim: Sim, row: Scalar) -> Scalar:
    """Put a pegged order where it belongs; whether it moved.  It never moves to meet ours."""
    own = sim.own
    price = _peg_price(sim, row)
    placed = own[row, st.O_MARKER] >= 0
    if price == UNDEF_PRICE or (placed and price == own[row, st.O_PRICE]):
        return False
    if _meets_ourselves(sim, own[row, st.O_SIDE], price):
        return False
    if placed:
        leave_queue(sim, row)
        own[row, st.O_REPLACED] += 1
    own[row, st.O_PRICE] = price
    join_queue(sim, row)
    return True


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
    if is_special(sim, row):
        join_special(sim, row)
        if own[row, st.O_TYPE] == la.PEGGED:
            _follow(sim, row)
    else:
        match(sim, row)
    if own[row, st.O_STATUS] == st.RESTING:
        tell(
            sim, np.int64(st.CLASS_ACK), np.int64(st.TELL_RESTING), order,
            own[row, st.O_PRICE], own[row, st.O_MARKER], np.int64(0),
        )  # fmt: skip


@inner
def after_event(sim: Sim) -> None:
    """At an event's end: stops that its prints reached become orders, pegs follow the touch."""
    own, meta = sim.own, sim.meta
    able = meta[st.PHASE] == st.PHASE_OPEN and meta[st.CROSSED] == 0 and meta[st.VALID] != 0
    i = np.int64(0)
    while i < meta[st.N_SPECIAL]:
        row = sim.special[i]
        if own[row, st.O_TYPE] == la.PEGGED:
            if _follow(sim, row):
                _tell_place(sim, row)
            i += 1
            continue
        side = own[row, st.O_SIDE]
        reached = meta[st.TRADE_HIGH] if side == ob.BID else meta[st.TRADE_LOW]
        hit = meta[st.E_TRADED] > 0 and ob.key_of(side, reached) >= ob.key_of(
            side, own[row, st.O_STOP]
        )
        if not hit or not able:  # a stop waits for a print that could be traded on
            i += 1
            continue
        leave_special(sim, row)
        own[row, st.O_TRIGGERED] = meta[st.CLOCK]
        if _meets_ourselves(sim, side, own[row, st.O_PRICE]):
            end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_SELF_MATCH))
            continue
        match(sim, row)
        _tell_place(sim, row)


@inner
def _too_late(sim: Sim, order: Scalar) -> Scalar:
    """Tell us that an order is no longer there to be cancelled or replaced."""
    row = row_of(sim, order)
    gone = row < 0 or row >= sim.meta[st.N_OWN] or sim.own[row, st.O_STATUS] != st.RESTING
    if gone:
        zero = np.int64(0)
        tell(sim, np.int64(st.CLASS_END), np.int64(st.TELL_TOO_LATE), order, zero, zero, zero)
    return gone


@inner
def arrive_cancel(sim: Sim, order: Scalar) -> None:
    """A cancel reaches the venue."""
    if not _too_late(sim, order):
        row = row_of(sim, order)
        end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_ASKED))


@inner
def arrive_replace(sim: Sim, order: Scalar, price: Scalar, size: Scalar) -> None:
    """New price and size in all.  A smaller size at the same price keeps the place.

    Of a stop that waits the price is its trigger, of a pegged order its offset.
    """
    if _too_late(sim, order):
        return
    own = sim.own
    row = row_of(sim, order)
    if size <= own[row, st.O_FILLED]:
        end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_ASKED))
        return
    waits = is_special(sim, row) and own[row, st.O_TYPE] != la.PEGGED
    pegged = own[row, st.O_TYPE] == la.PEGGED
    keeps = size <= own[row, st.O_SIZE] and price == own[row, st.O_OFFSET if pegged else st.O_PRICE]
    own[row, st.O_SIZE] = size
    own[row, st.O_REPLACED] += 1
    if waits:
        own[row, st.O_STOP] = price
        if _passed(sim, row):
            end_order(sim, row, np.int64(st.CANCELLED), np.int64(st.WHY_STOP_PASSED))
            return
    elif not keeps:
        leave_queue(sim, row)
        own[row, st.O_MARKER] = -1
        if pegged:
            own[row, st.O_OFFSET] = price
        else:
            own[row, st.O_PRICE] = price
            own[row, st.O_STATUS] = st.SENT
    tell(
        sim, np.int64(st.CLASS_ACK), np.int64(st.TELL_REPLACED), order,
        own[row, st.O_PRICE], own[row, st.O_MARKER], size,
    )  # fmt: skip
    if keeps or waits:
        return
    if pegged:
        if _follow(sim, row):
            _tell_place(sim, row)
        return
    refusal = _refusal(sim, row)
    if refusal != st.WHY_NONE:
        end_order(sim, row, np.int64(st.CANCELLED), refusal)
        return
    match(sim, row)
    _tell_place(sim, row)
