"""Continuous trading: who acts when, and what moves them.

Arrivals are a Poisson process whose rate aims at the segment's number of records, multiplied
by a heat that rises with moves and trades and cools in seconds (bursts); one in five follows
its predecessor within microseconds.  What is done depends on the book and on recent flow:

    lean = 0.5 queue imbalance + 1.8 imbalance of levels 2 to 5 + 0.1 recent signed trades
           - 0.008 older ones + 1.2 news + pull of the leading instrument

raises the target of the queues it supports, lowers the others', and tilts the sign of
market orders, half of which are children of metaorders while one is at work.  The regularities
that the literature reports then follow: queue imbalance foretells the next move and deeper
levels add to it, order flow imbalance explains moves better than trade imbalance, signs of
trades are persistent, volatility clusters.
"""

from __future__ import annotations

import math

from pipeline.jit import inner, kernel
from pipeline.sample.behaviour import (
    behind,
    change,
    implied,
    logistic,
    order_size,
    touch,
    trade,
    visit,
    visit_far,
)
from pipeline.sample.emit import begin, finish
from pipeline.sample.ladder import deep_shown, shown
from pipeline.sample.matching import cancel, next_id, rest
from pipeline.sample.null import move
from pipeline.sample.rng import chance, coin, exponential, geometric, uniform
from pipeline.sample.state import (
    BEST_ASK,
    BEST_BID,
    BLOCK,
    BUY,
    CENTRE,
    COUNT,
    HALT_FROM,
    HALT_TO,
    HEAT,
    LADDER,
    LAST_DIRECTION,
    LEAD,
    META_LEFT,
    META_SIGN,
    MID2,
    N_MBO,
    NEWS_LEFT,
    NEWS_SIGN,
    NOW,
    ONE,
    PULL_LEFT,
    PULL_SIDE,
    QUOTA,
    SELL,
    SIGNED,
    SLOW,
    TAIL,
    TRADE_SHARE,
    WEIGHT,
    ZERO,
    Market,
)

RECORDS_PER_EVENT = 1.3
_COOLING_NS = 2.0e9
_NULL_MOVE = 0.012
_QUEUE, _DEEP, _RECENT, _PAST, _NEWS = 0.5, 1.8, 0.1, 0.008, 1.2
_PULL = 0.006


@inner
def pressure(m: Market, i: int) -> float:
    """What pushes participants to buy (positive) or to sell."""
    bid, ask = shown(m, i, BUY, ZERO), shown(m, i, SELL, ZERO)
    total = bid + ask
    lean = _QUEUE * (bid - ask) / total if total > 0 else 0.0
    bid, ask = deep_shown(m, i, BUY), deep_shown(m, i, SELL)
    total = bid + ask
    if total > 0:
        lean += _DEEP * (bid - ask) / total
    lean += _RECENT * m.params[i, SIGNED] - _PAST * m.params[i, SLOW]
    if m.inst[i, NEWS_LEFT] > 0:
        lean += _NEWS * m.inst[i, NEWS_SIGN]
    lead = m.params[i, LEAD]
    if lead > 0.0:  # a follower is drawn to the leader, instrument 0
        gap = 0.5 * (m.inst[0, MID2] - m.inst[i, MID2])
        lean += lead * min(max(gap, -8.0), 8.0)
    elif lead < 0.0:  # a spread is drawn to its centre
        lean += lead * (0.5 * m.inst[i, MID2] - CENTRE)
    return float(min(max(lean, -2.5), 2.5))


@inner
def improve(m: Market, i: int, lean: float) -> bool:
    """Quote inside a spread of several ticks: follow the last move, or go back."""
    bid, ask = m.inst[i, BEST_BID], m.inst[i, BEST_ASK]
    if bid < 0 or ask >= LADDER or ask - bid < 2:
        return False
    tilt = 0.9 * m.inst[i, LAST_DIRECTION] + 1.2 * lean
    side = BUY if chance(m.rng, logistic(tilt)) else 1 - BUY
    best = touch(m, i, side)
    rest(m, i, side, behind(best, side, -ONE), order_size(m, i), next_id(m.clock))
    return True


@inner
def pull(m: Market, i: int, lean: float) -> bool:
    """Makers take their orders off a touch, one after the other; often the side under pressure.

    Prices then move without a trade.
    """
    inst = m.inst[i]
    if inst[PULL_LEFT] == 0:
        if chance(m.rng, _PULL):
            inst[PULL_SIDE] = BUY if chance(m.rng, logistic(-lean)) else SELL
            best = touch(m, i, inst[PULL_SIDE])
            if 0 <= best < LADDER:
                present = m.levels[i, inst[PULL_SIDE], best, COUNT]
                inst[PULL_LEFT] = 1 + int(present * (0.4 + uniform(m.rng)))
        return False
    if chance(m.rng, 0.3):
        return False
    inst[PULL_LEFT] -= 1
    best = touch(m, i, inst[PULL_SIDE])
    if best < 0 or best >= LADDER:
        return False
    cancel(m, m.levels[i, inst[PULL_SIDE], best, TAIL])
    return True


@inner
def act(m: Market, i: int, null: bool) -> None:
    """One action of somebody, the venue's answer included."""
    lean = 0.0 if null else pressure(m, i)
    what = uniform(m.rng)
    if null:
        if what < _NULL_MOVE:
            move(m, i)
            return
    elif (what < 0.6 and improve(m, i, lean)) or pull(m, i, lean):
        return
    what = uniform(m.rng)
    share = m.params[i, TRADE_SHARE]
    if what < share:
        if null:
            side = coin(m.rng)
        else:
            side = _side_of_trade(m, i, lean)
            sign = 1.0 if side == BUY else -1.0
            m.params[i, SIGNED] += sign
            m.params[i, SLOW] += sign
            m.params[0, HEAT] += 0.05
        trade(m, i, side, null)
    elif what < share + 0.19:
        change(m, i, lean, null)
    elif what < share + 0.23:
        visit_far(m, i)
    else:
        visit(m, i, lean, null)


@inner
def _side_of_trade(m: Market, i: int, lean: float) -> int:
    inst = m.inst[i]
    if inst[META_LEFT] > 0 and chance(m.rng, 0.5):
        inst[META_LEFT] -= 1
        return 0 if inst[META_SIGN] > 0 else 1
    side = BUY if chance(m.rng, logistic(1.1 * lean)) else 1 - BUY
    if inst[META_LEFT] == 0 and chance(m.rng, 0.12):
        # A large order to be worked in children: Pareto many, hence the long memory of signs.
        inst[META_LEFT] = min(int(4.0 * (1.0 - uniform(m.rng)) ** -0.7), 400)
        inst[META_SIGN] = 1 - 2 * coin(m.rng)
    return side


@inner
def after(m: Market, i: int, moved: int) -> None:
    """Memory of the flow: decay, last move, heat, news."""
    m.params[i, SIGNED] *= 0.985
    m.params[i, SLOW] *= 0.998
    if moved != 0:
        m.inst[i, LAST_DIRECTION] = 1 if moved > 0 else -1
        m.params[0, HEAT] = min(m.params[0, HEAT] + 0.35, 12.0)
    if m.inst[i, NEWS_LEFT] > 0:
        m.inst[i, NEWS_LEFT] -= 1
    elif chance(m.rng, 1.0 / 15_000.0):
        m.inst[i, NEWS_LEFT] = geometric(m.rng, 200.0)
        m.inst[i, NEWS_SIGN] = 1 - 2 * coin(m.rng)
        m.params[0, HEAT] = 12.0


@kernel
def run(m: Market, end: int, null: bool) -> bool:
    """Trade until ``end`` (venue time, ns); false when the output buffers must be emptied first.

    ``clock[NOW]`` is the time reached, ``clock[QUOTA]`` the records still to be made by ``end``.
    """
    clock = m.clock
    instruments = m.inst.shape[0]
    weights = 0.0
    for i in range(instruments):
        weights += m.params[i, WEIGHT]
    while clock[N_MBO] < BLOCK:
        start = clock[N_MBO]
        left = max(clock[QUOTA], 1) / RECORDS_PER_EVENT
        mean = (end - clock[NOW]) / left
        if chance(m.rng, 0.2):
            wait = 700.0 + exponential(m.rng, min(15_000.0, mean))
        else:
            wait = exponential(m.rng, 1.25 * mean / (1.0 if null else 0.6 + m.params[0, HEAT]))
        now = clock[NOW] + 1 + int(wait)
        if now >= end:
            clock[NOW] = end
            return True
        m.params[0, HEAT] *= math.exp(-wait / _COOLING_NS)
        clock[NOW] = now
        draw = uniform(m.rng) * weights
        i = 0
        while i < instruments - 1 and draw >= m.params[i, WEIGHT]:
            draw -= m.params[i, WEIGHT]
            i += 1
        if m.inst[i, HALT_FROM] <= now < m.inst[i, HALT_TO]:
            continue
        begin(m, now)
        act(m, i, null)
        if clock[N_MBO] == start:  # nobody found anything to do
            continue
        moved = finish(m, i)
        if not null:
            after(m, i, moved)
        if i > 0 and m.params[i, LEAD] < 0.0 and chance(m.rng, 0.004) and implied(m, ZERO, now):
            finish(m, ZERO)
        clock[QUOTA] -= clock[N_MBO] - start
    return False
