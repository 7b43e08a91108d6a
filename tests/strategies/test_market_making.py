"""Market making: the paper's formulas, and what its quotes do."""

from __future__ import annotations

import math
import random
from functools import cache
from typing import Any

import numpy as np
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay, Rows
from pipeline.units import NS_PER_S, PRICE_SCALE
from strategies.event import Duration
from strategies.market_making import MarketMaking, half_spread, reservation
from strategies.running import Program
from tests.backtest.scenario import RULE, Session, Tape

TICK = PRICE_SCALE // 4
CLOSE = 300 * NS_PER_S


def test_formulas_are_those_of_the_paper():
    # Section 3.3 of the paper: sigma 2, gamma 0.1, k 1.5, T 1: a spread of 1.29 + 0.4 (T - t).
    assert reservation(100.0, 3, 0.1, 4 * 0.5) == pytest.approx(100 - 3 * 0.1 * 4 * 0.5)
    whole = 2 * half_spread(0.1, 4.0, 1.5)
    assert whole == pytest.approx(0.1 * 4 + 2 / 0.1 * math.log(1 + 0.1 / 1.5))
    assert whole == pytest.approx(1.69, abs=0.005)
    assert 2 * half_spread(0.1, 0.0, 1.5) == pytest.approx(1.29, abs=0.005)


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
def program(*, interpret: bool = False, **more: Any) -> Program:
    settings = {"stop_before": Duration(30 * NS_PER_S), "limit": 3, "tolerance": 0.0} | more
    return Program(MarketMaking(**settings), interpret=interpret)


def simulated(tape: Tape, reading: str = "exact", fee: float = 0.125, **how: Any) -> Rows:
    """A tape's orders and fills; ``fee`` in ticks a contract."""
    sessions = [Session(-NS_PER_S, CLOSE, ((0, CLOSE),))]
    fees = ((int(fee * TICK),) * 3,)
    options = SimOptions(reading, 1000, 1000, money=Money(tick=TICK, fees=fees))
    replay = Replay(options, timetable(sessions, 10 * NS_PER_S), RULE)
    replay.employ(program(**how).run([replay.market()]), sessions)
    replay.start_day(19700101)
    replay.feed(tape.chunk())
    replay.finish(CLOSE)
    return replay.take(last=True)


@cache
def run(**how: Any) -> Rows:
    return simulated(market(), **how)


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
    position = run(aversion=0.01).fills[:, st.F_POSITION]

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


def test_a_position_moves_both_quotes_against_it():
    risk, k = 60.0, 1.5

    assert reservation(0.0, 0, 0.05, risk) == 0
    assert reservation(0.0, 2, 0.05, risk) == pytest.approx(-6.0)
    assert half_spread(0.05, 4 * risk, k) > half_spread(0.05, risk, k)


def test_fees_make_quotes_wider_and_fills_fewer():
    free, dear = run(fee=0.0), run(fee=2.0)

    assert len(dear.fills) < 0.5 * len(free.fills)


def falling(ahead: int) -> Tape:
    """A still market; then the bid goes, and a second later the ask follows it.

    Our bid is a tick below the first one, behind ``ahead`` contracts, until it is the touch.
    """
    tape = Tape()
    tape.add(-500, "R N - 0 #0")
    for i, text in enumerate(
        ("B 100 10", f"B 99.75 {ahead}", "B 99.5 9", "A 100.25 10", "A 100.5 9", "A 101 9")
    ):
        tape.add(-400, f"A {text} #{i + 1}")
    tape.add(35 * NS_PER_S, "C B 100 10 #1")
    tape.add(36 * NS_PER_S, "A A 100 5 #7")
    return tape


def bid_of(rows: Rows) -> tuple[float, int]:
    """Price of the first bid, and how often it was moved."""
    bid = next(o for o in rows.orders if o[st.O_SIDE] == 0)
    return bid[st.O_PRICE] / PRICE_SCALE, int(bid[st.O_REPLACED])


def test_a_side_is_quoted_anew_when_word_of_its_orders_end_comes():
    tape = falling(ahead=3)
    sold = 200 * NS_PER_S + NS_PER_S // 2  # between two timers; the touch does not change again
    tape.event(sold, "T A 99.75 4 #0", "F B 99.75 3 #2", "C B 99.75 3 #2", "F B 99.5 1 #3",
               "C B 99.5 1 #3")  # fmt: skip
    rows = simulated(tape)

    assert rows.fills[0, st.F_TS] == sold
    heard = sold + 1000
    (again,) = rows.orders[rows.orders[:, st.O_DECIDED] == heard]
    assert again[st.O_SIDE] == 0
    assert again[st.O_PRICE] < rows.fills[0, st.F_PRICE]


def still(bid_size: int, ask: float) -> Tape:
    """Nothing happens in a touch of 100 to ``ask``, until somebody sells through our bid."""
    tape = Tape()
    tape.add(-500, "R N - 0 #0")
    for i, text in enumerate((f"B 100 {bid_size}", "B 99.5 9", f"A {ask} 10", "A 103 9")):
        tape.add(-400, f"A {text} #{i + 1}")
    return tape


def test_what_was_bought_is_offered_for_less():
    tape = still(bid_size=9, ask=102)
    # Mid 404, half spread 1.23: quotes at 402 and 406 ticks.  Holding one leans by 2 ticks.
    before = simulated(tape, fee=0, aversion=12)
    tape.event(40 * NS_PER_S, "T A 100 1 #0", "F B 100 1 #1", "C B 100 1 #1")
    after = simulated(tape, fee=0, aversion=12)

    def offers(rows: Rows) -> list[int]:
        sold = rows.orders[(rows.orders[:, st.O_SIDE] == 1) & (rows.orders[:, st.O_TYPE] == 0)]
        return (sold[:, st.O_PRICE] // TICK).tolist()

    assert after.fills[0, st.F_PRICE] == 402 * TICK
    assert (offers(before), offers(after)) == ([406], [404])


@pytest.mark.parametrize(
    ("ahead", "ask", "price", "moved"),
    [
        (3, 101.25, 100.0, 0),  # 0.8 ticks too high
        (4, 101.25, 99.75, 1),
        (3, 101.0, 99.5, 1),  # 1.3 ticks too high
    ],
)
def test_a_quote_near_its_turn_is_not_taken_back_by_a_tick(ahead, ask, price, moved):
    tape = still(bid_size=ahead, ask=101.75)
    tape.add(40 * NS_PER_S, f"A A {ask} 5 #7")

    rows = simulated(tape, fee=0, aversion=0.01, k=0.3, keep_ahead=3)

    assert bid_of(rows) == (price, moved)


def test_a_quote_off_by_its_tolerance_stays_in_its_queue():
    assert bid_of(simulated(falling(ahead=8), tolerance=0.4)) == (99.75, 0)


def test_a_quote_is_not_left_behind_for_the_sake_of_a_short_queue():
    tape = falling(ahead=2)
    tape.event(40 * NS_PER_S, "C A 100 5 #7", "C A 100.25 10 #4")
    for i, price in enumerate((100, 100.25)):
        tape.add(41 * NS_PER_S, f"A B {price} 10 #{20 + i}")

    price, moved = bid_of(simulated(tape, keep_ahead=3))

    assert price > 99.75
    assert moved > 0
