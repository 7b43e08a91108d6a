"""The matching engine: price, then time; what a match publishes.

A match publishes T (the aggressor, once a price level) with an F for each resting order it
met, then what became of those orders: C if filled, M with the rest.  T and F go in one packet,
the changes in a later one, as the venue does.  An iceberg whose shown part is filled shows the
next part at the end of the queue: as M where that is larger than what was shown before (an
increase loses priority), else as C and A under the same order id.
"""

from __future__ import annotations

from pipeline.jit import inner
from pipeline.sample.emit import A, C, F, M, next_packet, put, put_trade, set_size, set_trade_size
from pipeline.sample.ladder import free_order, link, mark, new_order, refresh, unlink
from pipeline.sample.rng import below, chance
from pipeline.sample.state import (
    BEST_ASK,
    BEST_BID,
    BUY,
    HEAD,
    HIDDEN,
    I64,
    ID,
    INST,
    LADDER,
    N_TOUCHED,
    NEXT_ID,
    NO,
    PLACE,
    SIDE,
    SIZE,
    T_BEFORE,
    T_REFILLED,
    T_SLOT,
    TOTAL,
    TOUCH,
    YES,
    ZERO,
    Market,
)


@inner
def next_id(clock: I64) -> int:
    clock[NEXT_ID] += 1
    return int(clock[NEXT_ID])


@inner
def touch_order(m: Market, slot: int) -> int:
    """Remember the order as it was before the event; returns its entry."""
    if m.orders[slot, TOUCH] == 0:
        n = m.clock[N_TOUCHED]
        m.touched[n, T_SLOT] = slot
        m.touched[n, T_BEFORE] = m.orders[slot, SIZE]
        m.touched[n, T_REFILLED] = 0
        m.orders[slot, TOUCH] = n + 1
        m.clock[N_TOUCHED] = n + 1
    return int(m.orders[slot, TOUCH] - 1)


@inner
def take(m: Market, slot: int, size: int) -> None:
    """Fill ``size`` of a resting order; its C or M is published by :func:`settle`."""
    entry = touch_order(m, slot)
    order = m.orders[slot]
    left = order[SIZE] - size
    if left > 0:
        m.levels[order[INST], order[SIDE], order[PLACE], TOTAL] -= size
        order[SIZE] = left
        mark(m, order[INST], order[SIDE], order[PLACE])
        return
    unlink(m, slot)
    order[SIZE] = 0
    if order[HIDDEN] == 0:
        return
    before = m.touched[entry, T_BEFORE]
    part = min(order[HIDDEN], 1 + below(m.rng, 2 * before + 2))
    order[HIDDEN] -= part
    order[SIZE] = part
    link(m, slot)
    # Entries are settled in order of the last refill, which is the order of the new queue.
    n = m.clock[N_TOUCHED]
    m.touched[n, T_SLOT] = slot
    m.touched[n, T_BEFORE] = before
    m.touched[n, T_REFILLED] = 1
    m.touched[entry, T_SLOT] = -1
    order[TOUCH] = n + 1
    m.clock[N_TOUCHED] = n + 1


@inner
def settle(m: Market, i: int) -> None:
    """Publish what became of the orders that the event touched."""
    if m.clock[N_TOUCHED] == 0:
        return
    if chance(m.rng, 0.85):
        next_packet(m)
    for n in range(m.clock[N_TOUCHED]):
        slot = m.touched[n, T_SLOT]
        if slot < 0:
            continue
        order = m.orders[slot]
        order[TOUCH] = 0
        before, left = m.touched[n, T_BEFORE], order[SIZE]
        side, place = order[SIDE], order[PLACE]
        if left == 0:
            put(m, i, C, side, place, before, order[ID])
            free_order(m, slot)
        elif m.touched[n, T_REFILLED] == 1 and left <= before:
            put(m, i, C, side, place, before, order[ID])
            put(m, i, A, side, place, left, order[ID])
        else:
            put(m, i, M, side, place, left, order[ID])
    m.clock[N_TOUCHED] = 0


@inner
def execute(
    m: Market, i: int, side: int, limit: int, size: int, order_id: int, own: int, stepwise: bool
) -> int:
    """Match an incoming order against the other side, down to its limit; returns the rest.

    ``own`` is true when the order rested before (a modify that crosses): it then prints its
    own F, on its own side, before those it meets.  ``stepwise`` settles each level before the
    next one is matched (`T F C T F C`), otherwise all is settled later by the caller.
    """
    while size > 0:
        place = m.inst[i, BEST_ASK] if side == BUY else m.inst[i, BEST_BID]
        if side == BUY:
            if place >= LADDER or place > limit:
                break
        elif place < 0 or place < limit:
            break
        trade, row = put_trade(m, i, side, place, order_id)
        mine = put(m, i, F, side, place, ZERO, order_id) if own else -1
        level = m.levels[i, 1 - side, place]
        done = 0
        while size > 0 and level[HEAD] >= 0:
            slot = level[HEAD]
            part = min(size, m.orders[slot, SIZE])
            put(m, i, F, 1 - side, place, part, m.orders[slot, ID])
            take(m, slot, part)
            size -= part
            done += part
        set_trade_size(m, trade, row, done)
        if own:
            set_size(m, mine, done)
        if stepwise:
            settle(m, i)
            refresh(m, i)
            if size > 0:
                next_packet(m)
    return size


@inner
def rest(m: Market, i: int, side: int, place: int, size: int, order_id: int) -> int:
    """Add a resting order and publish its A; returns its slot."""
    slot = new_order(m, i, side, place, size, order_id)
    link(m, slot)
    put(m, i, A, side, place, size, order_id)
    return slot


@inner
def submit(m: Market, i: int, side: int, limit: int, size: int, rests: bool, stepwise: bool) -> int:
    """An incoming order, whole: match, settle, rest what is left.  Returns what is left."""
    order_id = next_id(m.clock)
    left = execute(m, i, side, limit, size, order_id, NO, stepwise)
    # The venue publishes the rest before or after the orders it filled: both occur.
    early = chance(m.rng, 0.4)
    if rests and left > 0 and early:
        rest(m, i, side, limit, left, order_id)
    settle(m, i)
    if rests and left > 0 and not early:
        rest(m, i, side, limit, left, order_id)
    return left


@inner
def cancel(m: Market, slot: int) -> None:
    """Take a resting order away and publish its C."""
    order = m.orders[slot]
    put(m, order[INST], C, order[SIDE], order[PLACE], order[SIZE], order[ID])
    unlink(m, slot)
    free_order(m, slot)


@inner
def replace(m: Market, slot: int, place: int, size: int) -> None:
    """Change price or raise the size: priority is lost.  The new price may cross."""
    order = m.orders[slot]
    i, side = order[INST], order[SIDE]
    crosses = place >= m.inst[i, BEST_ASK] if side == BUY else place <= m.inst[i, BEST_BID]
    old_place, old_size = order[PLACE], order[SIZE]
    unlink(m, slot)
    left = size
    if crosses:
        left = execute(m, i, side, place, size, order[ID], YES, NO)
        settle(m, i)
    if left == 0:
        put(m, i, C, side, old_place, old_size, order[ID])
        free_order(m, slot)
        return
    order[PLACE] = place
    order[SIZE] = left
    link(m, slot)
    put(m, i, M, side, place, left, order[ID])
