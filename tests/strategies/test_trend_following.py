"""Trend following: in with the gap, a stop that trails, one way out at a time."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.errors import RequestError
from pipeline.units import NS_PER_S, PRICE_SCALE
from strategies.event import Duration
from strategies.running import Program
from strategies.trend_following import TrendFollowing
from tests.backtest.scenario import RULE, Session, Tape

TICK = PRICE_SCALE // 4
CLOSE = 300 * NS_PER_S
STOP = 2


class Rows:
    """A decision point a second: the gap and the momentum."""

    def __init__(self, gaps: list[float]) -> None:
        self.gaps = gaps

    def start(self, session: int) -> None:
        del session

    def more(self):
        n = len(self.gaps)
        rows = np.zeros((n, 5), np.int64)
        rows[:, st.D_TS] = np.arange(n) * NS_PER_S + 2000
        rows[:, st.D_EVENT] = np.arange(n) + 1
        return rows, np.column_stack([self.gaps, np.full(n, 2.0)]), False


def climb(peak: int) -> Tape:
    """A touch one point wide that rises a point a second up to a peak, then falls by prints."""
    tape = Tape()
    tape.add(-500, "R N - 0 #0")
    number = 10
    last: list[tuple[str, float, int]] = []
    for second in range(100):
        bid = 100.0 + min(second, 2 * peak - second)
        ts = second * NS_PER_S + 1000
        texts = [f"C {side} {price} {50 - (side == 'B')} #{order}" for side, price, order in last]
        last = [("B", bid, number), ("A", bid + 1, number + 1)]
        texts += [f"A {side} {price} 50 #{order}" for side, price, order in last]
        number += 2
        tape.event(ts, *texts)
        side, price, order = last[0]
        tape.event(
            ts + 5000, f"T A {price} 1 #0", f"F B {price} 1 #{order}", f"C B {price} 1 #{order}"
        )
        last[0] = (side, price, order)
    return tape


@cache
def program(*, interpret: bool) -> Program:
    strategy = TrendFollowing(
        bar=Duration(5 * NS_PER_S),
        bars=2,
        stop_atr=1.0,
        trail_atr=1.0,
        flatten_before=Duration(10 * NS_PER_S),
    )
    return Program(strategy, interpret=interpret)


@cache
def run(*, closes: bool = False, interpret: bool = False):
    gaps = [3.0] * 30 + ([0.0] * 70 if closes else [3.0] * 70)
    sessions = [Session(-NS_PER_S, CLOSE, ((0, CLOSE),))]
    options = SimOptions("exact", 1000, 1000, money=Money(tick=TICK))
    replay = Replay(options, timetable(sessions, 10 * NS_PER_S), RULE, features=(Rows(gaps), 2))
    replay.employ(program(interpret=interpret).run([replay.market()]), sessions)
    replay.start_day(19700101)
    replay.feed(climb(peak=40).chunk())
    replay.finish(CLOSE)
    return replay.take(last=True)


def test_the_stop_trails_the_climb_and_takes_it_out_after_the_peak():
    rows = run()
    stops = rows.orders[rows.orders[:, st.O_TYPE] == STOP]

    assert rows.fills[:, st.F_SIDE].tolist() == [0, 1]
    assert len(stops) == 1
    assert stops[0, st.O_FILLED] == 1
    assert stops[0, st.O_REPLACED] > 10
    bought, sold = rows.fills[:, st.F_PRICE]
    assert sold > bought + 10 * PRICE_SCALE
    assert rows.fills[1, st.F_TS] > 40 * NS_PER_S


def test_a_closed_gap_ends_the_stop_first_and_then_the_position():
    rows = run(closes=True)
    stop = rows.orders[rows.orders[:, st.O_TYPE] == STOP][0]

    assert rows.fills[:, st.F_POSITION].tolist() == [1, 0]
    assert stop[st.O_FILLED] == 0
    assert stop[st.O_STATUS] == st.CANCELLED
    assert 30 * NS_PER_S < stop[st.O_ENDED] <= rows.fills[1, st.F_TS] < 33 * NS_PER_S


@pytest.mark.parametrize("closes", [False, True])
def test_interpreted_is_the_same(closes):
    compiled, interpreted = run(closes=closes), run(closes=closes, interpret=True)

    assert np.array_equal(compiled.orders, interpreted.orders)
    assert np.array_equal(compiled.fills, interpreted.fills)


def test_gaps_in_the_wrong_order_are_refused():
    with pytest.raises(RequestError, match="must be below entry_z"):
        TrendFollowing(exit_z=2.0)
