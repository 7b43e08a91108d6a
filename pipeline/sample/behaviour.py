"""What participants do, one action a call: add, cancel, change, trade.

``lean`` is the pressure they feel: positive for buying.  In the null market it is always 0 and
``hold`` is true: no action then changes a touch price, because prices move only by
:func:`pipeline.sample.null.move`.
"""

from __future__ import annotations

import math

from pipeline.jit import inner
from pipeline.sample.emit import BOTH, M, N, begin, put, put_trade, set_trade_size
from pipeline.sample.ladder import resize
from pipeline.sample.matching import (
    cancel,
    execute,
    next_id,
    replace,
    rest,
    settle,
    submit,
)
from pipeline.sample.rng import below, chance, coin, geometric, uniform
from pipeline.sample.state import (
    BEST_ASK,
    BEST_BID,
    BUY,
    COUNT,
    HIDDEN,
    ID,
    INST,
    LADDER,
    N_MBO,
    N_ORDERS,
    NEAR,
    NO,
    ONE,
    ORDER_MEAN,
    OWNER,
    PLACE,
    PREV,
    SIDE,
    SIZE,
    STAYS,
    TAIL,
    TARGET,
    TARGET_FAR,
    TOTAL,
    TRADE_MEAN,
    USED,
    YES,
    ZERO,
    Market,
)
from pipeline.units import UNDEF_PRICE


@inner
def touch(m: Market, i: int, side: int) -> int:
    """Place of the best price of a side; -1 or LADDER where it is empty."""
    return int(m.inst[i, BEST_BID] if side == BUY else m.inst[i, BEST_ASK])


@inner
def behind(place: int, side: int, ticks: int) -> int:
    """The place so many ticks worse, kept on the ladder."""
    at = place - ticks if side == BUY else place + ticks
    return min(max(at, 1), LADDER - 2)


@inner
def order_size(m: Market, i: int) -> int:
    """Mostly small, some round lots, a few large."""
    mean = m.params[i, ORDER_MEAN]
    size = geometric(m.rng, mean)
    if chance(m.rng, 0.06):
        size = 5 * (1 + below(m.rng, 4)) * max(1, int(mean / 2.0))
    return size


@inner
def logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


@inner
def pick(m: Market, i: int, side: int, place: int) -> int:
    """An order of a level, more likely from the end of its queue; -1 if it is empty."""
    slot = m.levels[i, side, place, TAIL]
    while slot >= 0 and m.orders[slot, PREV] >= 0 and chance(m.rng, 0.75):
        slot = m.orders[slot, PREV]
    return int(slot)


@inner
def pick_any(m: Market, i: int) -> int:
    """Any resting order of the instrument, all equally likely; -1 after many vain tries."""
    for _ in range(64):
        slot = below(m.rng, m.clock[USED])
        if m.orders[slot, OWNER] == 1 and m.orders[slot, INST] == i:
            return slot
    return -1


@inner
def holds_touch(m: Market, slot: int) -> bool:
    """Whether the order is the only one at its side's best price."""
    order = m.orders[slot]
    i, side, place = order[INST], order[SIDE], order[PLACE]
    return bool(place == touch(m, i, side) and m.levels[i, side, place, COUNT] == 1)


@inner
def visit(m: Market, i: int, lean: float, hold: bool) -> None:
    """Somebody looks at a level near the touch and adds to it or cancels from it.

    Level ``k`` aims at ``targets[i, k]`` orders, more on the side the pressure supports and
    fewer on the other: the number of orders is then near the target, and thin queues under
    pressure empty.
    """
    side = BUY if chance(m.rng, 0.5 + 0.08 * math.tanh(lean)) else 1 - BUY
    best = touch(m, i, side)
    if best < 0 or best >= LADDER:
        other = touch(m, i, 1 - side)
        if other < 0 or other >= LADDER:
            return
        best = behind(other, side, ONE)
    # A new, thin touch draws others: whoever joins early is first in the queue.
    thin = m.levels[i, side, best, COUNT] < 0.4 * m.params[i, TARGET]
    k = 0 if chance(m.rng, 0.75 if thin else 0.4) else min(geometric(m.rng, 5.0), NEAR - 1)
    place = behind(best, side, k)
    for_us = lean if side == BUY else -lean
    aim = m.params[i, TARGET + k] * math.exp(for_us * (0.75 if k == 0 else 0.3 / k**0.5))
    present = m.levels[i, side, place, COUNT]
    if chance(m.rng, aim / (aim + present)):
        slot = rest(m, i, side, place, order_size(m, i), next_id(m.clock))
        if chance(m.rng, 0.012):
            m.orders[slot, HIDDEN] = m.orders[slot, SIZE] * (2 + below(m.rng, 9))
        return
    slot = pick(m, i, side, place)
    if hold and holds_touch(m, slot):
        rest(m, i, side, place, order_size(m, i), next_id(m.clock))
        return
    if chance(m.rng, 0.03):  # cancelled and entered again under a new number, in one event
        size = m.orders[slot, SIZE]
        back = behind(place, side, below(m.rng, 3))
        cancel(m, slot)
        rest(m, i, side, back, size, next_id(m.clock))
        return
    cancel(m, slot)


@inner
def visit_far(m: Market, i: int) -> None:
    """An order up to hundreds of ticks from the touch comes or goes."""
    present = m.inst[i, N_ORDERS]
    aim = m.inst[i, TARGET_FAR]
    slot = -1 if chance(m.rng, aim / (aim + present)) else pick_any(m, i)
    if slot >= 0:
        order = m.orders[slot]
        best = touch(m, i, order[SIDE])
        if abs(order[PLACE] - best) >= NEAR // 2:
            cancel(m, slot)
            return
    side = coin(m.rng)
    best = touch(m, i, side)
    if best < 0 or best >= LADDER:
        return
    distance = int(NEAR * (1.0 - uniform(m.rng)) ** -0.8)
    place = behind(best, side, min(distance, 900))
    slot = rest(m, i, side, place, order_size(m, i) + below(m.rng, 10), next_id(m.clock))
    m.orders[slot, STAYS] = coin(m.rng)


@inner
def change(m: Market, i: int, lean: float, hold: bool) -> None:
    """An order is made smaller (keeps its place), larger, or moved (both lose it)."""
    side = coin(m.rng)
    best = touch(m, i, side)
    other = touch(m, i, 1 - side)
    if best < 0 or best >= LADDER or other < 0 or other >= LADDER:
        visit(m, i, lean, hold)
        return
    slot = pick(m, i, side, behind(best, side, geometric(m.rng, 3.0) - 1))
    if slot < 0:
        visit(m, i, lean, hold)
        return
    order = m.orders[slot]
    size = order[SIZE]
    what = uniform(m.rng)
    if what < 0.38:
        if size > 1:
            resize(m, slot, size - 1 - below(m.rng, size - 1))
            put(m, i, M, side, order[PLACE], order[SIZE], order[ID])
            return
        what = 0.6
    if what < 0.5:
        replace(m, slot, order[PLACE], size + 1 + below(m.rng, 4))
        return
    if hold and holds_touch(m, slot):
        visit(m, i, lean, hold)
        return
    if what > 0.97:  # becomes marketable
        room = m.levels[i, 1 - side, other, TOTAL] - 1
        if not hold:
            replace(m, slot, other, size)
            return
        if room > 0 and size <= room:
            replace(m, slot, other, size)
            return
    for_us = lean if side == BUY else -lean
    ticks = geometric(m.rng, 1.6)
    if chance(m.rng, logistic(0.8 * for_us)):
        ticks = -ticks
    place = behind(order[PLACE], side, ticks)
    limit = behind(other, side, ONE)
    place = min(place, limit) if side == BUY else max(place, limit)
    if place == order[PLACE]:
        place = behind(place, side, ONE)
    replace(m, slot, place, size)


@inner
def trade(m: Market, i: int, side: int, hold: bool) -> None:
    """An aggressive order; sometimes it sweeps, sometimes its rest stays in the book."""
    other = touch(m, i, 1 - side)
    if other < 0 or other >= LADDER:
        visit(m, i, 0.0, hold)
        return
    at_touch = m.levels[i, 1 - side, other, TOTAL]
    size = geometric(m.rng, m.params[i, TRADE_MEAN])
    if chance(m.rng, 0.05):
        size *= 5 + below(m.rng, 12)
    if hold:
        if at_touch < 2:
            visit(m, i, 0.0, hold)
            return
        size = min(size, at_touch - 1)
        submit(m, i, side, other, size, NO, NO)
        return
    if at_touch < 5.0 * m.params[i, TRADE_MEAN] and chance(m.rng, 0.1):
        # Take a short queue whole and be the first on the other side of the price.
        submit(m, i, side, other, at_touch + order_size(m, i), YES, NO)
        return
    if chance(m.rng, 0.1 if size <= at_touch else 0.5):  # all that is shown, no more
        size = at_touch
    reach = 0 if chance(m.rng, 0.5) else geometric(m.rng, 3.0)
    limit = behind(other, 1 - side, reach)
    kind = uniform(m.rng)
    if kind < 0.06 and size > 1:  # two aggressors in one event: an order and the stop it sets off
        first = 1 + below(m.rng, size - 1)
        execute(m, i, side, limit, first, next_id(m.clock), NO, NO)
        execute(m, i, side, limit, size - first, next_id(m.clock), NO, NO)
        settle(m, i)
        return
    submit(m, i, side, limit, size, kind > 0.6, kind > 0.9)


@inner
def implied(m: Market, i: int, now: int) -> bool:
    """A print without a fill: matched against an implied order, which no book shows."""
    side = coin(m.rng)
    other = touch(m, i, 1 - side)
    if other < 0 or other >= LADDER:
        return False
    begin(m, now)
    record, row = put_trade(m, i, side, other, next_id(m.clock))
    set_trade_size(m, record, row, 1 + below(m.rng, 3))
    put(m, i, N, BOTH, ZERO, ZERO, ZERO)
    m.mbo[m.clock[N_MBO] - 1, 3] = UNDEF_PRICE
    return True
