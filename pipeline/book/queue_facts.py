"""What one record does to the facts of orders and levels, and to the flow since the last row.

The pieces of :mod:`pipeline.book.queue_kernel`'s loop; fields are in
:mod:`pipeline.book.queue_tape`.  Integers only, no I/O.

Sums over a queue are kept as its orders come and go.  Its largest order is kept, too: where that
one leaves, its size stays as an upper bound, and whoever asks walks from the head only until an
order reaches the bound.
"""

from __future__ import annotations

import numpy as np

from pipeline.book import orders as ob
from pipeline.book import queue_tape as qt
from pipeline.book.layout import I64, Book, Scalar
from pipeline.book.queue_tape import Facts
from pipeline.book.tape import NULL
from pipeline.jit import inline, inner

FAR = 2**62
"""Prices beyond have no distances: their differences need not fit."""

# --- sums of a level ---------------------------------------------------------------------------


@inline
def micros(cursor: I64, ts: Scalar) -> Scalar:
    """Whole microseconds since UTC midnight."""
    return (ts - cursor[qt.MIDNIGHT]) // 1000


@inline
def _aged(facts: Facts, level: Scalar, slot: Scalar, size: Scalar, n: Scalar) -> None:
    """Add ``size`` contracts, and ``n`` orders, of an order to the sums of ages of its level."""
    place = facts.orders[slot, qt.L_PLACE]
    if place != NULL:
        facts.levels[level, qt.V_KNOWN_SZ] += size
        facts.levels[level, qt.V_KNOWN_CT] += n
        facts.levels[level, qt.V_TIME] += size * micros(facts.cursor, place)


@inner
def join_level(book: Book, facts: Facts, slot: Scalar) -> Scalar:
    """An order has joined the tail of a queue; true where it opened the level."""
    levels = facts.levels
    level, size = book.orders[slot, ob.LEVEL], book.orders[slot, ob.SIZE]
    opened = book.levels[level, ob.COUNT] == 1
    if opened:
        for field in range(qt.LEVEL_FACTS):
            levels[level, field] = 0
        levels[level, qt.V_MAX_SLOT] = levels[level, qt.V_MOST_SLOT] = -1
        facts.cursor[qt.LIVES] += 1
        levels[level, qt.V_LIFE] = facts.cursor[qt.LIVES]
    _aged(facts, level, slot, size, np.int64(1))
    mods = facts.orders[slot, qt.L_MODS]
    levels[level, qt.V_SQUARE] += size * size
    levels[level, qt.V_MODS] += mods
    if size > levels[level, qt.V_MAX]:
        levels[level, qt.V_MAX] = size
        levels[level, qt.V_MAX_SLOT] = slot
    if mods > levels[level, qt.V_MOST]:
        levels[level, qt.V_MOST] = mods
        levels[level, qt.V_MOST_SLOT] = slot
    return opened


@inner
def leave_level(facts: Facts, level: Scalar, slot: Scalar, size: Scalar) -> None:
    """An order of a size has left a queue; its facts are still those it had there."""
    levels = facts.levels
    _aged(facts, level, slot, -size, np.int64(-1))
    levels[level, qt.V_SQUARE] -= size * size
    levels[level, qt.V_MODS] -= facts.orders[slot, qt.L_MODS]
    if levels[level, qt.V_MAX_SLOT] == slot:
        levels[level, qt.V_MAX_SLOT] = -1
    if levels[level, qt.V_MOST_SLOT] == slot:
        levels[level, qt.V_MOST_SLOT] = -1


@inline
def _resize(facts: Facts, level: Scalar, slot: Scalar, old: Scalar, new: Scalar) -> None:
    """An order has become smaller in its place."""
    levels = facts.levels
    _aged(facts, level, slot, new - old, np.int64(0))
    levels[level, qt.V_SQUARE] += new * new - old * old
    if levels[level, qt.V_MAX_SLOT] == slot and new < old:
        levels[level, qt.V_MAX_SLOT] = -1


@inline
def largest(book: Book, facts: Facts, level: Scalar) -> Scalar:
    """Slot of the first of a level's largest orders."""
    levels = facts.levels
    if levels[level, qt.V_MAX_SLOT] < 0:
        bound, best = levels[level, qt.V_MAX], np.int64(0)
        slot = ob.first_order(book, level)
        while slot >= 0:
            size = book.orders[slot, ob.SIZE]
            if size > best:
                best = size
                levels[level, qt.V_MAX_SLOT] = slot
                if size == bound:
                    break
            slot = ob.next_order(book, slot)
        levels[level, qt.V_MAX] = best
    return levels[level, qt.V_MAX_SLOT]


@inline
def most_modified(book: Book, facts: Facts, level: Scalar) -> Scalar:
    """Most modifications of any order of a level."""
    levels = facts.levels
    if levels[level, qt.V_MOST_SLOT] < 0:
        bound, best = levels[level, qt.V_MOST], np.int64(-1)
        slot = ob.first_order(book, level)
        while slot >= 0:
            mods = facts.orders[slot, qt.L_MODS]
            if mods > best:
                best = mods
                levels[level, qt.V_MOST_SLOT] = slot
                if mods == bound:
                    break
            slot = ob.next_order(book, slot)
        levels[level, qt.V_MOST] = best
    return levels[level, qt.V_MOST]


# --- what is remembered ------------------------------------------------------------------------


@inline
def _remember(
    ring: I64, n: Scalar, side: Scalar, price: Scalar, size: Scalar, ts: Scalar, number: Scalar
) -> None:
    at = n % ring.shape[0]
    ring[at, qt.R_SIDE] = side
    ring[at, qt.R_PRICE] = price
    ring[at, qt.R_SIZE] = size
    ring[at, qt.R_TS] = ts
    ring[at, qt.R_NUMBER] = number
    ring[at, qt.R_USED] = 0


@inner
def _match(
    ring: I64, n: Scalar, side: Scalar, price: Scalar, size: Scalar, ts: Scalar, same: Scalar
) -> Scalar:
    """The latest entry of a side and size that nothing followed yet, at the price or elsewhere.

    Its place in the ring, or -1 where there is none of the last 50 ms.
    """
    for k in range(n - 1, max(n - ring.shape[0], 0) - 1, -1):
        at = k % ring.shape[0]
        if ts - ring[at, qt.R_TS] > qt.REPLACED_WITHIN:
            break
        fits = ring[at, qt.R_SIDE] == side and ring[at, qt.R_SIZE] == size
        if fits and ring[at, qt.R_USED] == 0 and (ring[at, qt.R_PRICE] == price) == same:
            ring[at, qt.R_USED] = 1
            return np.int64(at)
    return np.int64(-1)


@inner
def see_births(book: Book, facts: Facts) -> None:
    """Look at the levels that opened long enough before the event that begins."""
    cursor, births = facts.cursor, facts.births
    while cursor[qt.FIRST_BIRTH] < cursor[qt.N_BIRTHS]:
        at = cursor[qt.FIRST_BIRTH] % qt.BIRTHS
        if births[at, qt.R_TS] + qt.BORN_AFTER >= cursor[qt.EVENT_CLOCK]:
            break
        cursor[qt.FIRST_BIRTH] += 1
        side = births[at, qt.R_SIDE]
        flow = side * qt.FLOWS
        facts.flows[flow + qt.F_BORN] += 1
        facts.flows[flow + qt.F_BORN_FIRST] += births[at, qt.R_SIZE]
        level = ob.find_level(book, side, births[at, qt.R_PRICE])
        if level >= 0 and facts.levels[level, qt.V_LIFE] == births[at, qt.R_NUMBER]:
            facts.flows[flow + qt.F_BORN_SZ] += book.levels[level, ob.TOTAL]
            facts.flows[flow + qt.F_BORN_ORDERS] += book.levels[level, ob.COUNT]


@inline
def _born(book: Book, facts: Facts, side: Scalar, price: Scalar, size: Scalar) -> None:
    """A level has opened: it is waited for where it is better than its side's touch was."""
    cursor = facts.cursor
    touch = cursor[qt.TOUCH + side]
    if touch == NULL or ob.key_of(side, price) <= ob.key_of(side, touch):
        return
    if cursor[qt.N_BIRTHS] - cursor[qt.FIRST_BIRTH] == qt.BIRTHS:
        cursor[qt.FIRST_BIRTH] += 1
    clock = cursor[qt.EVENT_CLOCK]
    life = facts.levels[ob.find_level(book, side, price), qt.V_LIFE]
    _remember(facts.births, cursor[qt.N_BIRTHS], side, price, size, clock, life)
    cursor[qt.N_BIRTHS] += 1


# --- records -----------------------------------------------------------------------------------


@inline
def unknown(facts: Facts, slot: Scalar, size: Scalar) -> None:
    """An order whose past nobody saw."""
    orders = facts.orders
    orders[slot, qt.L_ENTRY] = orders[slot, qt.L_PLACE] = NULL
    orders[slot, qt.L_SIZE] = size
    orders[slot, qt.L_MODS] = orders[slot, qt.L_CHAIN] = 0


@inner
def _placed(facts: Facts, side: Scalar, price: Scalar) -> None:
    """Count an A by its distance from its side's touch before the event."""
    cursor, flows = facts.cursor, facts.flows
    touch = cursor[qt.TOUCH + side]
    if touch == NULL or abs(touch) >= FAR or abs(price) >= FAR:
        return
    behind = touch - price if side == ob.BID else price - touch
    flow = side * qt.FLOWS
    if behind < 0:
        flows[flow + qt.F_BETTER] += 1
    elif behind == 0:
        flows[flow + qt.F_TOUCH] += 1
    tick = cursor[qt.TICK]
    if tick == 0:
        return
    ticks = min(max(behind // tick, -qt.FAR_TICKS), qt.FAR_TICKS)
    flows[flow + qt.F_DISTANCE] += ticks
    if behind > 0:
        kind = np.int64(qt.F_ADD_1)
        if ticks > 10:
            kind = np.int64(qt.F_ADD_FAR)
        elif ticks > 5:
            kind = np.int64(qt.F_ADD_6_10)
        elif ticks > 2:
            kind = np.int64(qt.F_ADD_3_5)
        elif ticks == 2:
            kind = np.int64(qt.F_ADD_2)
        flows[flow + kind] += 1


@inner
def added(facts: Facts, slot: Scalar, side: Scalar, price: Scalar, size: Scalar) -> None:
    """A new order by an A: where it stands, and whether it follows one that has just gone."""
    cursor, orders, flows = facts.cursor, facts.orders, facts.flows
    clock, flow = cursor[qt.EVENT_CLOCK], side * qt.FLOWS
    orders[slot, qt.L_ENTRY] = orders[slot, qt.L_PLACE] = clock
    orders[slot, qt.L_SIZE] = size
    orders[slot, qt.L_MODS] = orders[slot, qt.L_CHAIN] = 0
    _placed(facts, side, price)
    at = _match(facts.fills, cursor[qt.N_FILLS], side, price, size, clock, np.bool_(True))
    if at >= 0:
        chain = facts.fills[at, qt.R_NUMBER] + 1
        orders[slot, qt.L_CHAIN] = chain
        flows[flow + qt.F_RELOAD_50MS] += 1
        flows[flow + qt.F_RELOAD_10MS] += clock - facts.fills[at, qt.R_TS] <= qt.RELOADED_WITHIN
        flows[flow + qt.F_RELOAD_SZ] += size
        flows[flow + qt.F_RELOAD_CHAIN] += chain
    at = _match(facts.cancels, cursor[qt.N_CANCELS], side, price, size, clock, np.bool_(False))
    if at >= 0:
        flows[flow + qt.F_REPLACE] += 1


@inline
def opened_level(book: Book, facts: Facts, change: ob.Change) -> None:
    """An order that is no snapshot's has opened a level."""
    _born(book, facts, change.new_side, change.new_price, change.new_size)


@inner
def cancelled(
    facts: Facts, change: ob.Change, ahead: Scalar, count: Scalar, printed: Scalar
) -> None:
    """All or a part of an order left by C, or by M to nothing.

    ``ahead`` of ``count`` orders stood before it at its side's touch; -1: not at the touch.
    """
    cursor, flows = facts.cursor, facts.flows
    side, slot, clock = change.old_side, change.slot, cursor[qt.EVENT_CLOCK]
    flow = side * qt.FLOWS
    gone = change.old_size - change.filled
    if change.effect == ob.REDUCED:
        gone -= change.new_size
    if ahead >= 0 and gone > 0:
        third = 3 * ahead // count
        flows[flow + qt.F_CANCEL + 2 * third] += 1
        flows[flow + qt.F_CANCEL + 2 * third + 1] += gone
    if change.effect == ob.REDUCED:
        return
    flows[flow + qt.F_HIDDEN] += max(printed - change.old_size, 0)
    outcome = np.int64(qt.FILLED) if gone == 0 else np.int64(qt.CANCELLED)
    entry = facts.orders[slot, qt.L_ENTRY]
    if entry != NULL:
        life, kind = clock - entry, np.int64(0)
        for edge in qt.LIFE_EDGES:
            kind += life >= edge
        at = qt.AT_BOTH + outcome * qt.OUTCOME
        flows[at + kind] += 1
        flows[at + qt.OUTCOME - 1] += life // 1000
    if gone == 0:
        size, chain = facts.orders[slot, qt.L_SIZE], facts.orders[slot, qt.L_CHAIN]
        _remember(facts.fills, cursor[qt.N_FILLS], side, change.old_price, size, clock, chain)
        cursor[qt.N_FILLS] += 1
    else:
        size = change.old_size
        price = change.old_price
        _remember(facts.cancels, cursor[qt.N_CANCELS], side, price, size, clock, np.int64(0))
        cursor[qt.N_CANCELS] += 1


@inline
def stayed(facts: Facts, level: Scalar, change: ob.Change, quiet: Scalar) -> None:
    """An order became smaller, or was modified to nothing new, in its place."""
    slot = change.slot
    _resize(facts, level, slot, change.old_size, change.new_size)
    facts.levels[level, qt.V_FILLED] += change.filled
    grew = change.new_size - (change.old_size - change.filled)
    if change.effect == ob.KEPT and (grew != 0 or change.filled == 0) and not quiet:
        mods = facts.orders[slot, qt.L_MODS] + 1
        facts.orders[slot, qt.L_MODS] = mods
        facts.levels[level, qt.V_MODS] += 1
        if mods > facts.levels[level, qt.V_MOST]:
            facts.levels[level, qt.V_MOST] = mods
            facts.levels[level, qt.V_MOST_SLOT] = slot


@inner
def moved(facts: Facts, change: ob.Change, printed: Scalar) -> Scalar:
    """An order lost its place by M: its facts where it goes; true where that was a refill."""
    flows, orders, slot = facts.flows, facts.orders, change.slot
    flow = change.new_side * qt.FLOWS
    flows[change.old_side * qt.FLOWS + qt.F_HIDDEN] += max(printed - change.old_size, 0)
    orders[slot, qt.L_PLACE] = facts.cursor[qt.EVENT_CLOCK]
    orders[slot, qt.L_SIZE] = change.new_size
    grew = change.new_size - (change.old_size - change.filled)
    if change.new_price != change.old_price or change.new_side != change.old_side:
        flows[flow + qt.F_REPEG] += 1
    elif change.filled > 0 and grew > 0:
        flows[flow + qt.F_REFILL_CT] += 1
        flows[flow + qt.F_REFILL_SZ] += grew
        return True
    orders[slot, qt.L_MODS] += 1
    return False
