"""Trend following: in with the gap, a stop that trails, one way out at a time."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay, Rows
from pipeline.errors import RequestError
from pipeline.units import NS_PER_S, PRICE_SCALE
from strategies.event import Duration
from strategies.running import Program
from strategies.trend_following import TrendFollowing
from tests.backtest.scenario import RULE, Session, Tape

TICK = PRICE_SCALE // 4
CLOSE = 300 * NS_PER_S
STOP = 2


class Momentum:
    """A decision point a second, all with one momentum."""

    def __init__(self, value: float) -> None:
        self.value = value

    def start(self, session: int) -> None:
        del session

    def more(self):
        rows = np.zeros((100, 5), np.int64)
        rows[:, st.D_TS] = np.arange(100) * NS_PER_S + 2000
        rows[:, st.D_EVENT] = np.arange(100) + 1
        return rows, np.full((100, 1), self.value), False


def path(second: int, dip: int) -> float:
    """Down a point a second until 20, up until 60, down again; ``dip`` points lower at 45."""
    price = 100.0 + (-second if second < 20 else second - 40 if second < 60 else 80 - second)
    return price - (dip if second == 45 else 0)


def market(dip: int) -> Tape:
    """A touch one point wide along the path, with a print at the bid every second."""
    tape = Tape()
    tape.add(-500, "R N - 0 #0")
    number = 10
    last: list[tuple[str, float, int]] = []
    for second in range(100):
        bid = path(second, dip)
        ts = second * NS_PER_S + 1000
        texts = [f"C {side} {price} {50 - (side == 'B')} #{order}" for side, price, order in last]
        last = [("B", bid, number), ("A", bid + 1, number + 1)]
        texts += [f"A {side} {price} 50 #{order}" for side, price, order in last]
        number += 2
        tape.event(ts, *texts)
        _, price, order = last[0]
        tape.event(
            ts + 5000, f"T A {price} 1 #0", f"F B {price} 1 #{order}", f"C B {price} 1 #{order}"
        )
    return tape


@cache
def program(*, interpret: bool = False, width: float = 1.0, cover: float = 1.0) -> Program:
    strategy = TrendFollowing(
        bar=Duration(5 * NS_PER_S),
        fast=1,
        slow=4,
        bars=2,
        stop_atr=width,
        trail_atr=width,
        cover=cover,
        flatten_before=Duration(10 * NS_PER_S),
    )
    return Program(strategy, interpret=interpret)


@cache
def run(*, momentum: float = 2.0, dip: int = 0, fee: float = 0, **how: Any) -> Rows:
    sessions = [Session(-NS_PER_S, CLOSE, ((0, CLOSE),))]
    money = Money(tick=TICK, fees=((0, int(fee * TICK), 0),))
    options = SimOptions("exact", 1000, 1000, money=money)
    schedule = timetable(sessions, 10 * NS_PER_S)
    replay = Replay(options, schedule, RULE, features=(Momentum(momentum), 1))
    replay.employ(program(**how).run([replay.market()]), sessions)
    replay.start_day(19700101)
    replay.feed(market(dip).chunk())
    replay.finish(CLOSE)
    return replay.take(last=True)


def stops(rows: Rows) -> Any:
    return rows.orders[rows.orders[:, st.O_TYPE] == STOP]


def test_the_stop_trails_the_climb_and_takes_it_out_after_the_peak():
    rows = run()
    (stop,) = stops(rows)

    assert rows.fills[:, st.F_SIDE].tolist() == [0, 1]
    assert stop[st.O_FILLED] == 1
    assert stop[st.O_REPLACED] > 10
    bought, sold = rows.fills[:, st.F_PRICE]
    assert sold > bought + 10 * PRICE_SCALE
    assert 20 * NS_PER_S < rows.fills[0, st.F_TS] <= 35 * NS_PER_S
    assert 60 * NS_PER_S < rows.fills[1, st.F_TS] < 70 * NS_PER_S


def test_entries_are_at_the_end_of_a_bar():
    (entry, *_) = run().orders

    assert entry[st.O_DECIDED] % (5 * NS_PER_S) == 0


def test_averages_that_cross_back_end_the_stop_first_and_then_the_position():
    rows = run(width=10.0)
    (stop,) = stops(rows)

    assert rows.fills[:, st.F_POSITION].tolist() == [1, 0]
    assert (stop[st.O_FILLED], stop[st.O_STATUS]) == (0, st.CANCELLED)
    assert 65 * NS_PER_S < stop[st.O_ENDED] <= rows.fills[1, st.F_TS] < 80 * NS_PER_S


def test_a_crossing_is_traded_once():
    rows = run(dip=15)

    assert rows.fills[:, st.F_POSITION].tolist() == [1, 0]
    assert rows.fills[1, st.F_TS] // NS_PER_S == 45  # the climb goes on for 15 seconds


@pytest.mark.parametrize("momentum", [0.4, math.nan])
def test_nothing_is_begun_without_the_momentum_to_confirm_it(momentum):
    assert len(run(momentum=momentum).orders) == 0


def test_it_sells_what_falls():
    rows = run(momentum=-2.0)

    assert rows.fills[:, st.F_POSITION].tolist() == [-1, 0]
    assert rows.fills[0, st.F_TS] > 60 * NS_PER_S


def test_nothing_is_begun_where_the_stop_is_nearer_than_costs_are_large():
    # A true range of some 20 ticks, a spread of 4.
    assert len(run(cover=3.0).fills) == 2
    assert len(run(cover=3.0, fee=4).orders) == 0


@pytest.mark.parametrize("width", [1.0, 10.0])
def test_interpreted_is_the_same(width):
    compiled, interpreted = run(width=width), run(width=width, interpret=True)

    assert np.array_equal(compiled.orders, interpreted.orders)
    assert np.array_equal(compiled.fills, interpreted.fills)


def test_averages_in_the_wrong_order_are_refused():
    with pytest.raises(RequestError, match="fast 16 must be below slow 16"):
        TrendFollowing(fast=16)
