"""Resting orders on their ladders: put in, take out, read the top ten."""

from __future__ import annotations

from pipeline.jit import inline, inner
from pipeline.sample.state import (
    BASE,
    BEST_ASK,
    BEST_BID,
    BUY,
    CAPACITY,
    COUNT,
    DEPTH,
    DIRTY,
    FREE,
    HEAD,
    HIDDEN,
    I64,
    ID,
    INST,
    LADDER,
    LEVELS_BID,
    N_ORDERS,
    NEXT,
    NEXT_RANK,
    NOW,
    OWNER,
    PLACE,
    PREV,
    RANK,
    SEQ,
    SEQUENCE,
    SIDE,
    SINCE,
    SIZE,
    STAYS,
    TAIL,
    TENTH_ASK,
    TENTH_BID,
    TICK,
    TOTAL,
    TOUCH,
    USED,
    Market,
)
from pipeline.units import UNDEF_PRICE

_HIGH = 32
_LOW_MASK = (1 << 32) - 1


@inline
def price_of(inst: I64, i: int, place: int) -> int:
    """Price in 1e-9 of a place on an instrument's ladder."""
    return int((inst[i, BASE] + place) * inst[i, TICK])


@inline
def mark(m: Market, i: int, side: int, place: int) -> None:
    """Remember that the published book may differ, if the place is inside the top ten."""
    if side == BUY:
        if place >= m.inst[i, TENTH_BID]:
            m.inst[i, DIRTY] = 1
    elif place <= m.inst[i, TENTH_ASK]:
        m.inst[i, DIRTY] = 1


@inner
def link(m: Market, slot: int) -> None:
    """Join the queue of the order's side and place, at its end; sets its priority."""
    order = m.orders[slot]
    i, side, place = order[INST], order[SIDE], order[PLACE]
    level = m.levels[i, side, place]
    order[PREV] = level[TAIL]
    order[NEXT] = -1
    if level[TAIL] >= 0:
        m.orders[level[TAIL], NEXT] = slot
    else:
        level[HEAD] = slot
        m.inst[i, LEVELS_BID + side] += 1
        if side == BUY:
            m.inst[i, BEST_BID] = max(m.inst[i, BEST_BID], place)
        else:
            m.inst[i, BEST_ASK] = min(m.inst[i, BEST_ASK], place)
    level[TAIL] = slot
    level[TOTAL] += order[SIZE]
    level[COUNT] += 1
    order[SINCE] = m.clock[NOW]
    order[SEQ] = m.clock[SEQUENCE]
    order[RANK] = m.clock[NEXT_RANK]
    m.clock[NEXT_RANK] += 1
    mark(m, i, side, place)


@inner
def unlink(m: Market, slot: int) -> None:
    """Leave the queue; the order keeps its fields."""
    order = m.orders[slot]
    i, side, place = order[INST], order[SIDE], order[PLACE]
    level = m.levels[i, side, place]
    if order[PREV] >= 0:
        m.orders[order[PREV], NEXT] = order[NEXT]
    else:
        level[HEAD] = order[NEXT]
    if order[NEXT] >= 0:
        m.orders[order[NEXT], PREV] = order[PREV]
    else:
        level[TAIL] = order[PREV]
    level[TOTAL] -= order[SIZE]
    level[COUNT] -= 1
    mark(m, i, side, place)
    if level[COUNT] == 0:
        m.inst[i, LEVELS_BID + side] -= 1
        if side == BUY:
            if m.inst[i, BEST_BID] == place:
                m.inst[i, BEST_BID] = next_level(m, i, side, place)
        elif m.inst[i, BEST_ASK] == place:
            m.inst[i, BEST_ASK] = next_level(m, i, side, place)


@inner
def next_level(m: Market, i: int, side: int, place: int) -> int:
    """The next live place behind ``place``; -1 or LADDER where there is none."""
    if side == BUY:
        if m.inst[i, LEVELS_BID] == 0:
            return -1
        place -= 1
        while place >= 0 and m.levels[i, side, place, COUNT] == 0:
            place -= 1
        return place
    if m.inst[i, LEVELS_BID + side] == 0:
        return LADDER
    place += 1
    while place < LADDER and m.levels[i, side, place, COUNT] == 0:
        place += 1
    return place


@inner
def resize(m: Market, slot: int, size: int) -> None:
    """Change the displayed size in place: priority is kept."""
    order = m.orders[slot]
    m.levels[order[INST], order[SIDE], order[PLACE], TOTAL] += size - order[SIZE]
    order[SIZE] = size
    mark(m, order[INST], order[SIDE], order[PLACE])


@inner
def new_order(m: Market, i: int, side: int, place: int, size: int, order_id: int) -> int:
    """A slot for an order that does not rest yet."""
    slot = m.clock[FREE]
    if slot >= 0:
        m.clock[FREE] = m.orders[slot, NEXT]
    else:
        slot = m.clock[USED]
        if slot >= CAPACITY:
            raise OverflowError("the simulated venue has no room for another order")
        m.clock[USED] += 1
    order = m.orders[slot]
    order[ID] = order_id
    order[SIZE] = size
    order[PLACE] = place
    order[SIDE] = side
    order[INST] = i
    order[HIDDEN] = 0
    order[STAYS] = 0
    order[TOUCH] = 0
    order[OWNER] = 1
    m.inst[i, N_ORDERS] += 1
    return int(slot)


@inner
def free_order(m: Market, slot: int) -> None:
    """Give the slot of an order back that has left its queue."""
    m.inst[m.orders[slot, INST], N_ORDERS] -= 1
    m.orders[slot, OWNER] = 0
    m.orders[slot, NEXT] = m.clock[FREE]
    m.clock[FREE] = slot


@inner
def refresh(m: Market, i: int) -> None:
    """Read the top ten of both sides into ``book``, if it may have changed."""
    if m.inst[i, DIRTY] == 0:
        return
    m.inst[i, DIRTY] = 0
    words = m.book[0, i]
    bid, ask = m.inst[i, BEST_BID], m.inst[i, BEST_ASK]
    bids, asks = m.inst[i, LEVELS_BID], m.inst[i, LEVELS_BID + 1]
    m.inst[i, TENTH_BID] = -1
    m.inst[i, TENTH_ASK] = LADDER
    for k in range(DEPTH):
        w = 4 * k
        if k < bids:
            level = m.levels[i, 0, bid]
            words[w] = price_of(m.inst, i, bid)
            words[w + 2] = level[TOTAL]
            words[w + 3] = level[COUNT]
            if k == DEPTH - 1:
                m.inst[i, TENTH_BID] = bid
            elif k + 1 < bids:
                bid = next_level(m, i, 0, bid)
        else:
            words[w] = UNDEF_PRICE
            words[w + 2] = 0
            words[w + 3] = 0
        if k < asks:
            level = m.levels[i, 1, ask]
            words[w + 1] = price_of(m.inst, i, ask)
            words[w + 2] |= level[TOTAL] << _HIGH
            words[w + 3] |= level[COUNT] << _HIGH
            if k == DEPTH - 1:
                m.inst[i, TENTH_ASK] = ask
            elif k + 1 < asks:
                ask = next_level(m, i, 1, ask)
        else:
            words[w + 1] = UNDEF_PRICE


@inline
def shown(m: Market, i: int, side: int, k: int) -> int:
    """Published size of level ``k``."""
    return int((m.book[0, i, 4 * k + 2] >> (_HIGH * side)) & _LOW_MASK)


@inner
def deep_shown(m: Market, i: int, side: int) -> int:
    """Published size of the second to the fifth level."""
    total = 0
    for k in range(1, 5):
        total += shown(m, i, side, k)
    return total
