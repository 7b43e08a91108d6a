"""The day apart from continuous trading: carried orders, pre-open, auction, close."""

from __future__ import annotations

from pipeline.jit import inner, kernel
from pipeline.sample.behaviour import behind, order_size, pick_any
from pipeline.sample.emit import (
    BOTH,
    F,
    M,
    begin,
    finish,
    keep_published,
    next_packet,
    put,
    put_trade,
    set_size,
    set_trade_size,
)
from pipeline.sample.ladder import link, new_order, refresh, unlink
from pipeline.sample.matching import cancel, next_id, rest, settle, take
from pipeline.sample.null import close_up
from pipeline.sample.rng import below, chance, coin, exponential, normal, uniform
from pipeline.sample.state import (
    ANCHOR,
    BEST_ASK,
    BEST_BID,
    BLOCK,
    EVENT_START,
    HEAD,
    HIDDEN,
    ID,
    INST,
    LADDER,
    MID2,
    N_MBO,
    NEAR,
    NOW,
    OWNER,
    PLACE,
    QUOTA,
    SIDE,
    SIZE,
    STAYS,
    TOTAL,
    USED,
    WEIGHT,
    ZERO,
    Market,
)


@kernel
def seed_orders(m: Market, i: int, count: int) -> None:
    """Orders from earlier sessions, good till cancelled, not published yet."""
    for _ in range(count):
        side = coin(m.rng)
        u = uniform(m.rng)
        if u < 0.6:
            distance = 2 + below(m.rng, NEAR)
        else:
            distance = min(int(NEAR * (1.0 - uniform(m.rng)) ** -0.8), 900)
        place = behind(m.inst[i, ANCHOR], side, distance)
        slot = new_order(m, i, side, place, order_size(m, i), next_id(m.clock))
        m.orders[slot, STAYS] = 1
        link(m, slot)


@kernel
def publish_whole(m: Market, i: int) -> None:
    """Take the book as published: after a snapshot, or after carried orders are loaded."""
    refresh(m, i)
    keep_published(m, i)
    if m.inst[i, BEST_BID] >= 0 and m.inst[i, BEST_ASK] < LADDER:
        m.inst[i, MID2] = m.inst[i, BEST_BID] + m.inst[i, BEST_ASK]


@inner
def _pre_open_place(m: Market, i: int, side: int) -> int:
    """Around the anchor, some through it: the book crosses until the auction."""
    distance = 3.0 + 5.0 * normal(m.rng)
    if chance(m.rng, 0.1):
        distance = 12.0 + exponential(m.rng, 60.0)
    return behind(m.inst[i, ANCHOR], side, int(distance))


@inner
def _pre_open_act(m: Market, i: int, may_cancel: bool) -> None:
    what = uniform(m.rng)
    slot = pick_any(m, i) if may_cancel and what < 0.28 else -1
    if slot < 0:
        side = coin(m.rng)
        rest(m, i, side, _pre_open_place(m, i, side), order_size(m, i), next_id(m.clock))
    elif what < 0.14:
        cancel(m, slot)
    else:
        order = m.orders[slot]
        place = _pre_open_place(m, i, order[SIDE])
        if place == order[PLACE]:  # no change would keep its priority
            cancel(m, slot)
            return
        unlink(m, slot)
        order[PLACE] = place
        link(m, slot)
        put(m, i, M, order[SIDE], order[PLACE], order[SIZE], order[ID])


@kernel
def run_pre_open(m: Market, end: int, may_cancel: bool) -> bool:
    """Orders come in and nothing matches, until ``end``; false when buffers are full."""
    clock = m.clock
    instruments = m.inst.shape[0]
    weights = 0.0
    for i in range(instruments):
        weights += m.params[i, WEIGHT]
    while clock[N_MBO] < BLOCK:
        mean = (end - clock[NOW]) / max(clock[QUOTA], 1)
        now = clock[NOW] + 1 + int(exponential(m.rng, mean))
        if now >= end:
            clock[NOW] = end
            return True
        clock[NOW] = now
        draw = uniform(m.rng) * weights
        i = 0
        while i < instruments - 1 and draw >= m.params[i, WEIGHT]:
            draw -= m.params[i, WEIGHT]
            i += 1
        begin(m, now)
        _pre_open_act(m, i, may_cancel)
        finish(m, i)
        clock[QUOTA] -= 1
    return False


@inner
def clearing_place(m: Market, i: int) -> tuple[int, int]:
    """Place and volume of the auction: most volume, then least imbalance, then nearest the
    anchor, then lowest.  Volume 0 where the book does not cross.
    """
    bid, ask = m.inst[i, BEST_BID], m.inst[i, BEST_ASK]
    best_place, best_volume, best_rest = -1, 0, 0
    if bid < 0 or ask >= LADDER or bid < ask:
        return best_place, best_volume
    demand = 0
    for place in range(ask, bid + 1):
        demand += m.levels[i, 0, place, TOTAL]
    supply = 0
    anchor = m.inst[i, ANCHOR]
    for place in range(ask, bid + 1):
        supply += m.levels[i, 1, place, TOTAL]
        volume = min(demand, supply)
        rest_ = abs(demand - supply)
        better = volume > best_volume
        if volume == best_volume and volume > 0:
            nearer = abs(place - anchor) < abs(best_place - anchor)
            better = rest_ < best_rest or (rest_ == best_rest and nearer)
        if better:
            best_place, best_volume, best_rest = place, volume, rest_
        demand -= m.levels[i, 0, place, TOTAL]
    return best_place, best_volume


@kernel
def auction(m: Market, i: int, now: int, null: bool) -> None:
    """Uncross the pre-open book at one price, as one event: T and F carry side N.

    In the null market the event also leaves a spread of one tick.
    """
    place, volume = clearing_place(m, i)
    if volume == 0 and not null:
        return
    begin(m, now)
    if volume > 0:
        trade, row = put_trade(m, i, BOTH, place, ZERO)
        set_trade_size(m, trade, row, volume)
        left = volume
        buyer = seller = -1
        bought = sold = 0
        buyer_record = seller_record = -1
        while left > 0:
            if buyer < 0:
                buyer = m.levels[i, 0, m.inst[i, BEST_BID], HEAD]
                buyer_record, bought = put(m, i, F, BOTH, place, ZERO, m.orders[buyer, ID]), 0
            if seller < 0:
                seller = m.levels[i, 1, m.inst[i, BEST_ASK], HEAD]
                seller_record, sold = put(m, i, F, BOTH, place, ZERO, m.orders[seller, ID]), 0
            part = min(left, m.orders[buyer, SIZE], m.orders[seller, SIZE])
            left -= part
            bought += part
            sold += part
            take(m, buyer, part)
            take(m, seller, part)
            if m.orders[buyer, SIZE] == 0 or left == 0:
                set_size(m, buyer_record, bought)
                buyer = -1
            if m.orders[seller, SIZE] == 0 or left == 0:
                set_size(m, seller_record, sold)
                seller = -1
        next_packet(m)
        settle(m, i)
    if null:
        close_up(m, i)
    if m.clock[N_MBO] > m.clock[EVENT_START]:
        finish(m, i)


@kernel
def close(m: Market, i: int, now: int) -> None:
    """Day orders (and what is left of icebergs) expire, all in one event."""
    begin(m, now)
    gone = 0
    for slot in range(m.clock[USED]):
        order = m.orders[slot]
        if order[OWNER] == 1 and order[INST] == i and (order[STAYS] == 0 or order[HIDDEN] > 0):
            cancel(m, slot)
            gone += 1
    if gone > 0:
        finish(m, i)


@kernel
def draw_gap(m: Market) -> int:
    """Ticks between a close and the next pre-open."""
    return int(6.0 * normal(m.rng))


@kernel
def new_anchor(m: Market, i: int, gap: int) -> None:
    """Where the next pre-open gathers: the last mid, moved by a gap."""
    m.inst[i, ANCHOR] = min(max(m.inst[i, MID2] // 2 + gap, LADDER // 8), 7 * LADDER // 8)
