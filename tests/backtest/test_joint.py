"""Several instruments in one simulation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.joint import _employ, _interleave, _Stream, session_numbers
from pipeline.backtest.leg import SessionSpec
from pipeline.backtest.options import Limits, Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.backtest.together import ENDED, interleave
from pipeline.backtest.together import Tape as Columns
from pipeline.book.columns import Chunk, take
from pipeline.book.tape import no_records
from pipeline.units import PRICE_SCALE
from strategies.event import EventStrategy, Ints1, Market, state, state_array
from strategies.running import Program
from tests.backtest.scenario import END, RULE, Session, Tape, opening
from tests.backtest.test_reference import draw


@dataclass
class Lead(EventStrategy):
    """When the first instrument's bid rises, buys the second; notes what it sees of all."""

    bid: int = state(0)
    n: int = state(0)
    seen: Ints1 = state_array(int, 65536)

    def on_market_event(self, m: Market) -> None:
        k = 4 * (self.n % 16384)
        self.seen[k] = m.now
        self.seen[k + 1] = m.instrument
        self.seen[k + 2] = m.of(0).event
        self.seen[k + 3] = m.of(m.instruments - 1).event
        self.n += 1
        if m.instrument == 0 and m.two_sided():
            if self.bid != 0 and m.bid > self.bid:
                other = m.of(m.instruments - 1)
                other.market(1, 1)
            self.bid = m.bid


@cache
def program(*, interpret: bool = False) -> Program:
    return Program(Lead(), interpret=interpret)


class FakeLeg:
    """What the loop needs of an instrument of a task."""

    until: int | None = END
    currency = "USD"

    def __init__(
        self,
        tape: Tape,
        cut: int = 10**9,
        sessions: Sequence[Session] = (Session(),),
        **options: Any,
    ) -> None:
        money = Money(tick=PRICE_SCALE // 4)
        self.sessions = list(sessions)
        self.replay = Replay(
            SimOptions("exact", money=money, **options), timetable(self.sessions, None), RULE
        )
        self.whole, self.cut = tape.chunk(), cut

    def chunks(self, replays: Sequence[Replay]) -> Iterator[Chunk]:
        for replay in replays:
            replay.start_day(19700101)
        for start in range(0, len(self.whole.publisher), self.cut):
            yield take(self.whole, slice(start, start + self.cut))


def run(legs: list[FakeLeg], own: Program | None = None, *, interpret: bool = False):
    streams = [_Stream(leg, leg.replay) for leg in legs]
    _employ(own or program(interpret=interpret), streams)
    moved = sum(_interleave(streams))
    assert moved == sum(len(leg.whole.publisher) for leg in legs)
    for leg in legs:
        leg.replay.finish(leg.until)
    memory = legs[0].replay.running.memory
    return [leg.replay.take(last=True) for leg in legs], memory


def options(latency: int = 5) -> dict[str, int]:
    return {"entry_latency": latency, "response_latency": 0}


@pytest.mark.parametrize("interpret", [False, True])
def test_one_instrument_trades_another(interpret):
    first = opening().add(50, "A B 100.5 1 #9")
    second = opening().add(51, "A A 100.5 2 #8").add(57, "A A 100.25 2 #9").add(99, "A B 1 1 #10")
    rows, _ = run([FakeLeg(first, **options()), FakeLeg(second, **options())], interpret=interpret)

    assert len(rows[0].orders) == 0
    # Seen at 51, at the venue at 56: after what happened there at 51, before what did at 57.
    assert rows[1].fills[:, st.F_PRICE].tolist() == [int(100.5 * PRICE_SCALE)]
    assert rows[1].fills[:, st.F_TS].tolist() == [56]


def test_callbacks_see_every_instrument_as_received_by_then():
    tapes = [draw(seed)[0] for seed in (1, 2, 3)]
    whole, memory = run([FakeLeg(tape, 23, **options()) for tape in tapes])
    seen = memory.seen.reshape(-1, 4)[: memory.n]
    assert len(seen) > 300
    assert (np.diff(seen[:, 0]) >= 0).all()
    ends = []
    for tape in tapes:
        chunk = tape.chunk()
        last = chunk.records.flags & 128 != 0
        ends.append(np.maximum.accumulate(chunk.records.ts_recv[last]))
    for now, who, first, last in seen.tolist():
        for number, event in ((0, first), (2, last)):
            received = event % 10**10
            before = np.searchsorted(ends[number], now, "left")
            upto = np.searchsorted(ends[number], now, "right")
            assert before <= received <= upto or who == number
    assert sum(len(rows.orders) for rows in whole) > 0


def test_chunks_do_not_matter_together():
    tapes = [draw(seed)[0] for seed in (4, 5)]
    results = []
    for cut in (10**9, 17, 1):
        rows, memory = run([FakeLeg(tape, cut, **options()) for tape in tapes])
        results.append(
            [part.tobytes() for one in rows for part in (one.orders, one.fills)]
            + [memory.seen.tobytes()]
        )
    assert results[0] == results[1] == results[2]


@dataclass
class Quote(EventStrategy):
    """Joins the bid of each instrument, knowing nothing of the others."""

    def on_market_event(self, m: Market) -> None:
        if m.two_sided() and m.working == 0:
            if m.position <= 0:
                m.buy(m.bid, 1 - m.position)
            else:
                m.sell(m.ask, m.position)


def test_instruments_that_ignore_one_another_trade_as_if_alone():
    tapes = [draw(seed)[0] for seed in (6, 7, 8)]
    quote = Program(Quote())
    together, _ = run([FakeLeg(tape, 50, **options()) for tape in tapes], quote)
    for tape, rows in zip(tapes, together, strict=True):
        alone, _ = run([FakeLeg(tape, 50, **options())], quote)
        assert len(rows.orders) > 0
        assert np.array_equal(rows.orders, alone[0].orders)
        assert np.array_equal(rows.fills, alone[0].fills)


@dataclass
class Closing(EventStrategy):
    """After the last record: timers of each instrument, one of which buys the other."""

    n: int = state(0)
    seen: Ints1 = state_array(int, 64)

    def on_session_start(self, m: Market) -> None:
        for k in range(1, 4):
            m.set_timer(1000 * k + m.instrument, k)

    def on_timer(self, m: Market) -> None:
        k = 4 * self.n
        self.seen[k], self.seen[k + 1] = m.now, m.instrument
        self.seen[k + 2], self.seen[k + 3] = m.of(0).valid, m.of(1).valid
        self.n += 1
        if m.instrument == 0 and m.timer == 2:
            m.of(1).market(1, 3)


def test_what_comes_after_the_last_records_is_in_order_too():
    tapes = [opening(), opening().add(500, "A A 100.5 3 #9")]
    rows, memory = run([FakeLeg(tape, **options()) for tape in tapes], Program(Closing()))
    said = memory.seen.reshape(-1, 4)[: memory.n]
    assert said[:, 0].tolist() == [1000, 1001, 2000, 2001, 3000, 3001]
    assert said[:, 1].tolist() == [0, 1] * 3
    assert said[:, 2:].all()
    assert rows[1].fills[:, st.F_TS].tolist() == [2005]


def test_an_instrument_whose_data_stop_has_no_book_any_more_and_takes_no_order():
    first, second = FakeLeg(opening(), **options()), FakeLeg(opening(), **options())
    second.whole = opening().add(1200, "A A 100.5 3 #9").chunk()
    second.until = None
    rows, memory = run([first, second], Program(Closing()))
    said = memory.seen.reshape(-1, 4)[: memory.n]
    assert said[:, 0].tolist() == [1000, 1001, 2000, 3000]  # the rest of the second's never came
    assert said[:, 2].all()
    assert said[:, 3].tolist() == [1, 1, 0, 0]
    assert rows[1].orders[:, st.O_REASON].tolist() == [st.WHY_CLOSED]


def test_nothing_is_left_to_do_where_all_are_over():
    replay = FakeLeg(opening()).replay
    sims, one = np.array([replay.sim.address], np.int64), np.zeros(1, np.int64)
    tape = Columns(**no_records()._asdict())
    replay.finish(END)
    over, tapes = one + ENDED, np.array([tape.address], np.int64)

    assert interleave(sims, tapes, one, over, one.copy(), one.copy()) == (st.DONE, -1)


@dataclass
class Buys(EventStrategy):
    """Holds one contract of each instrument, and keeps trying to."""

    def on_market_event(self, m: Market) -> None:
        if m.two_sided() and m.working == 0 and m.position == 0:
            m.market(1, 1)


def lose_together(currencies: tuple[str, str], **limits: float):
    """Two instruments bought at 101; at 500 the mid of the first falls to 100, known at 501.

    Their results: -0.5 and -0.5, then -1 and -0.5.
    """
    money = {name: int(value * PRICE_SCALE) for name, value in limits.items()}
    first = opening().add(50, "A B 98 1 #8").add(500, "C B 100 10 #1").add(600, "A B 98 1 #9")
    second = opening().add(51, "A B 98 1 #8").add(601, "A B 98 1 #9")
    tapes = [first, second]
    legs = [FakeLeg(tape, limits=Limits(**money), **options()) for tape in tapes]
    for leg, currency in zip(legs, currencies, strict=True):
        leg.currency = currency
    rows, _ = run(legs, buys())
    kills = [one.marks[one.marks[:, st.M_KIND] == st.MARK_KILL, st.M_TS].tolist() for one in rows]
    return rows, kills


@cache
def buys() -> Program:
    return Program(Buys())


@pytest.mark.parametrize("limit", ["run_loss", "session_loss"])
def test_a_loss_of_all_together_stops_all(limit):
    rows, kills = lose_together(("USD", "USD"), **{limit: 1.2})

    assert kills == [[501], [501]]
    for one in rows:
        assert one.fills[:, st.F_POSITION].tolist() == [1, 0]
        assert one.fills[1, st.F_TS] == 506
        assert one.orders[-1, st.O_REASON] == st.WHY_RISK_LOSS


def test_a_run_that_was_lost_is_over_for_all_even_if_getting_out_makes_up_for_it():
    # As above; but while the way out of the first is on its way, somebody bids 100.75.
    first = opening().add(50, "A B 98 1 #8").add(500, "C B 100 10 #1").add(503, "A B 100.75 9 #9")
    second = opening().add(51, "A B 98 1 #8")
    sessions = (Session(close_ns=700, segments=((0, 700),)), Session(800, END, ((900, END),)))
    legs = []
    for tape in (first, second):
        tape.add(950, "A B 97 1 #20").add(960, "A B 97 1 #21")
        limits = Limits(run_loss=int(1.4 * PRICE_SCALE))
        legs.append(FakeLeg(tape, sessions=sessions, limits=limits, **options()))
    rows, _ = run(legs, buys())

    lost = [int(101 * PRICE_SCALE - one.fills[1, st.F_PRICE]) for one in rows]
    assert lost == [PRICE_SCALE // 4, PRICE_SCALE]  # 1.25: within the limit again
    for one in rows:
        late = one.orders[one.orders[:, st.O_DECIDED] > 900]
        assert len(late) >= 2
        assert set(late[:, st.O_REASON].tolist()) == {st.WHY_RISK_LOSS}


def test_nobody_stops_for_a_loss_within_the_limit_or_in_another_currency():
    assert lose_together(("USD", "USD"), run_loss=1.5)[1] == [[], []]
    assert lose_together(("USD", "EUR"), run_loss=1.2)[1] == [[], []]
    assert lose_together(("USD", "EUR"), run_loss=0.8)[1] == [[501], []]


def test_sessions_are_numbered_by_the_dates_of_all():
    def spec(day: int) -> SessionSpec:
        return SessionSpec(date(2025, 6, day), 0, 9, 9, ((1, 9),))

    sessions = [[spec(2), spec(3), spec(5)], [spec(3), spec(4)], [spec(5)]]
    assert session_numbers(sessions) == [[0, 1, 3], [1, 2], [3]]


@dataclass
class Numbers(EventStrategy):
    """Sends an order whose size is the number of its session and one."""

    def on_session_start(self, m: Market) -> None:
        m.market(1, m.session + 1)


def test_a_strategy_is_told_those_numbers():
    legs = [FakeLeg(opening(), **options()) for _ in range(2)]
    streams = [_Stream(leg, leg.replay) for leg in legs]
    _employ(Program(Numbers()), streams, [[4], [7]])
    sum(_interleave(streams))
    for leg, number in zip(legs, (4, 7), strict=True):
        leg.replay.finish(leg.until)
        assert leg.replay.take(last=True).orders[0, st.O_SIZE] == number + 1
