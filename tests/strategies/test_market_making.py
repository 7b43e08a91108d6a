"""Market making: the paper's formulas, and what its quotes do."""

from __future__ import annotations

import math
import random
from functools import cache

import numpy as np
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.units import NS_PER_S, PRICE_SCALE
from strategies.event import Duration
from strategies.market_making import MarketMaking, half_spread, reservation
from strategies.running import Program
from tests.backtest.scenario import RULE, Session, Tape

TICK = PRICE_SCALE // 4
CLOSE = 300 * NS_PER_S


def test_formulas_are_those_of_the_paper():
    # Section 3.3 of the paper: sigma 2, gamma 0.1, k 1.5, T 1: a spread of 1.29 + 0.4 (T - t).
    assert reservation(100.0, 3, 0.1, 2.0, 0.5) == pytest.approx(100 - 3 * 0.1 * 4 * 0.5)
    whole = 2 * half_spread(0.1, 2.0, 1.0, 1.5)
    assert whole == pytest.approx(0.1 * 4 + 2 / 0.1 * math.log(1 + 0.1 / 1.5))
    assert whole == pytest.approx(1.69, abs=0.005)
    assert 2 * half_spread(0.1, 2.0, 0.0, 1.5) == pytest.approx(1.29, abs=0.005)


def market(seed: int = 1) -> Tape:
    """Five minutes of a touch that wanders, with trades on both sides."""
    rng = random.Random(seed)
    tape, bid, number = Tape(), 100.0, 10
    tape.add(-500, "R N - 0 #0")
    resting: dict[str, tuple[float, int]] = {}
    for second in range(300):
        ts = second * NS_PER_S + 1000
        bid += rng.choice([-0.25, 0, 0, 0.25])
        for side, price in (("B", bid), ("A", bid + 0.5)):
            if side in resting:
                old, order = resting[side]
                tape.add(ts, f"C {side} {old} 10 #{order}")
            number += 1
            tape.add(ts, f"A {side} {price} 10 #{number}")
            resting[side] = (price, number)
        side = rng.choice("BA")
        price, order = resting[side]
        hits = "A" if side == "B" else "B"
        ts += NS_PER_S // 2
        tape.event(
            ts,
            f"T {hits} {price} 10 #0",
            f"F {side} {price} 10 #{order}",
            f"C {side} {price} 10 #{order}",
        )
        number += 1
        worse = price - 0.25 if side == "B" else price + 0.25
        sweep = number
        tape.add(ts + 1000, f"A {side} {worse} 3 #{sweep}")
        tape.event(
            ts + 2000, f"T {hits} {worse} 3 #0", f"F {side} {worse} 3 #{sweep}",
            f"C {side} {worse} 3 #{sweep}",
        )  # fmt: skip
        number += 1
        tape.add(ts + 3000, f"A {side} {price} 10 #{number}")
        resting[side] = (price, number)
    return tape


@cache
def program(*, interpret: bool) -> Program:
    strategy = MarketMaking(stop_before=Duration(30 * NS_PER_S), limit=3, tolerance=0)
    return Program(strategy, interpret=interpret)


@cache
def run(*, interpret: bool = False, reading: str = "exact"):
    sessions = [Session(-NS_PER_S, CLOSE, ((0, CLOSE),))]
    options = SimOptions(reading, 1000, 1000, money=Money(tick=TICK))
    replay = Replay(options, timetable(sessions, 10 * NS_PER_S), RULE)
    replay.employ(program(interpret=interpret).run([replay.market()]), sessions)
    replay.start_day(19700101)
    replay.feed(market().chunk())
    replay.finish(CLOSE)
    return replay.take(last=True)


def test_it_quotes_both_sides_and_earns_the_spread():
    rows = run()
    fills = rows.fills
    sides = fills[:, st.F_SIDE]
    assert len(fills) > 20
    assert set(sides.tolist()) == {0, 1}
    makers = fills[fills[:, st.F_ROLE] == 0]
    bought = makers[makers[:, st.F_SIDE] == 0]
    assert (bought[:, st.F_PRICE] <= bought[:, st.F_ASK]).mean() > 0.9


def test_position_stays_within_its_limit_and_ends_flat():
    position = run().fills[:, st.F_POSITION]

    assert np.abs(position).max() == 3
    assert position[-1] == 0


def test_no_quote_takes_and_none_comes_in_the_last_minutes():
    orders = run().orders
    quotes = orders[orders[:, st.O_TYPE] == 0]

    assert (quotes[:, st.O_POST_ONLY] == 1).all()
    assert quotes[:, st.O_DECIDED].max() < CLOSE - 30 * NS_PER_S
    assert quotes[:, st.O_DECIDED].min() > 29 * NS_PER_S


def test_interpreted_is_the_same():
    compiled, interpreted = run(), run(interpret=True)

    assert np.array_equal(compiled.orders, interpreted.orders)
    assert np.array_equal(compiled.fills, interpreted.fills)


def test_quotes_lean_against_what_is_held():
    gamma, sigma, left, k = 0.05, 1.0, 60.0, 1.5
    flat = reservation(0.0, 0, gamma, sigma, left)
    long = reservation(0.0, 2, gamma, sigma, left)

    assert flat == 0
    assert long == pytest.approx(-6.0)
    assert half_spread(gamma, 2 * sigma, left, k) > half_spread(gamma, sigma, left, k)
