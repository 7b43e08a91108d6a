"""The null market: prices move by themselves, and nothing else moves them.

In any market where queues empty, a thin queue foretells a move, however random the orders.
So here no ordinary action empties a touch (``hold``); the price makes independent fair jumps
at independent times, each within one event, the spread always one tick at event ends.  A jump
is a sweep whose rest stays, or makers moving their quotes.  The book before a jump therefore
says nothing about its time or its direction.
"""

from __future__ import annotations

from pipeline.jit import inner
from pipeline.sample.behaviour import behind, order_size, touch
from pipeline.sample.matching import cancel, execute, next_id, replace, rest, settle
from pipeline.sample.rng import below, chance, coin
from pipeline.sample.state import (
    BEST_ASK,
    BEST_BID,
    BUY,
    HEAD,
    LADDER,
    NEXT,
    NO,
    ONE,
    SELL,
    SIZE,
    TARGET,
    Market,
    constant,
)

_ENOUGH = constant(1 << 30)


@inner
def join(m: Market, i: int, side: int, place: int) -> None:
    """Orders of several makers at one place."""
    for _ in range(2 + below(m.rng, 2 + int(m.params[i, TARGET + 0]))):
        rest(m, i, side, place, order_size(m, i), next_id(m.clock))


@inner
def close_up(m: Market, i: int) -> None:
    """Make the spread one tick, by joining the side that is missing or away."""
    bid, ask = m.inst[i, BEST_BID], m.inst[i, BEST_ASK]
    if bid < 0 and ask >= LADDER:
        return
    if bid < 0 or (ask < LADDER and coin(m.rng) == 0):
        if bid != ask - 1:
            join(m, i, BUY, ask - 1)
    elif ask != bid + 1:
        join(m, i, SELL, bid + 1)


@inner
def move(m: Market, i: int) -> None:
    """One fair jump, up or down, as one event; needs a book with both sides."""
    side = coin(m.rng)
    other = touch(m, i, 1 - side)
    if chance(m.rng, 0.4):
        reach = below(m.rng, 4) if chance(m.rng, 0.3) else 0
        limit = behind(other, 1 - side, reach)
        order_id = next_id(m.clock)
        execute(m, i, side, limit, _ENOUGH, order_id, NO, chance(m.rng, 0.1))
        early = chance(m.rng, 0.4)
        if early:
            rest(m, i, side, limit, order_size(m, i), order_id)
        settle(m, i)
        if not early:
            rest(m, i, side, limit, order_size(m, i), order_id)
        new = limit
    else:
        slot = m.levels[i, 1 - side, other, HEAD]
        while slot >= 0:
            following = m.orders[slot, NEXT]
            if chance(m.rng, 0.7):
                # ``replace`` joins another queue: the walk goes on in the old one.
                replace(m, slot, behind(other, 1 - side, ONE), m.orders[slot, SIZE])
            else:
                cancel(m, slot)
            slot = following
        new = other
    join(m, i, side, new)
    opposite = behind(new, 1 - side, ONE)
    if touch(m, i, 1 - side) != opposite:
        join(m, i, 1 - side, opposite)
