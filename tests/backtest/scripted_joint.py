"""A strategy over several instruments that does what a test wrote down, and its plain twin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from pipeline.backtest.joint import _employ, _interleave, _Stream
from pipeline.backtest.options import SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.backtest.tables import ORDER_REASONS
from pipeline.book.columns import Chunk, take
from pipeline.units import UNDEF_PRICE
from strategies.event import EventStrategy, Ints1, Market, state, state_array
from strategies.running import Program
from tests.backtest.both import STATES, Case, _event, _known, of_compiled, of_plain
from tests.backtest.scenario import RULE
from tests.backtest.scripted import (
    CANCEL,
    LIMIT,
    MARKET,
    PEGGED,
    REPLACE,
    ROWS,
    STOP,
    STOP_LIMIT,
)
from tests.reference.plain_book import Record
from tests.reference.player import Player
from tests.reference.simulator import Options, Simulator
from tests.reference.together import One, play_together


@dataclass
class Joint(EventStrategy):
    """Rows as of :class:`tests.backtest.scripted.Script`, and two numbers more: of the instrument
    whose timer it is, and of the one that is told.
    """

    rows: Ints1 = state_array(int, 10 * ROWS)
    orders: Ints1 = state_array(int, ROWS)
    n: int = state(0)
    hedge: int = state(0)
    heard: Ints1 = state_array(int, 16 * ROWS)
    n_heard: int = state(0)

    def on_session_start(self, m: Market) -> None:
        self.hear(m, 4, m.session, 0, 0)
        for k in range(self.n):
            if self.rows[10 * k + 8] == m.instrument and self.rows[10 * k] >= m.now:
                m.set_timer(self.rows[10 * k], k)

    def hear(self, m: Market, kind: int, order: int, a: int, b: int) -> None:
        k = 16 * (self.n_heard % ROWS)
        other = m.of((m.instrument + 1) % m.instruments)
        self.heard[k] = m.now
        self.heard[k + 1] = m.instrument
        self.heard[k + 2] = kind
        self.heard[k + 3] = order
        self.heard[k + 4] = a
        self.heard[k + 5] = b
        self.heard[k + 6] = m.position
        self.heard[k + 7] = m.working
        self.heard[k + 8] = m.queue_ahead(order) if 1 <= kind <= 3 else -1
        self.heard[k + 9] = m.cash
        self.heard[k + 10] = m.bid
        self.heard[k + 11] = other.bid
        self.heard[k + 12] = other.ask
        self.heard[k + 13] = other.position
        self.heard[k + 14] = other.working
        self.heard[k + 15] = other.valid
        self.n_heard += 1

    def on_market_event(self, m: Market) -> None:
        self.hear(m, 0, m.event, 0, 0)

    def on_fill(self, m: Market) -> None:
        self.hear(m, 1, m.fill_order, m.fill_side * m.fill_size, m.fill_price)
        if self.hedge != 0 and m.instrument == 0:
            m.of(m.instruments - 1).market(-m.fill_side, m.fill_size)

    def on_order(self, m: Market) -> None:
        self.hear(m, 2, m.update_order, m.update_state, m.update_reason)

    def on_reject(self, m: Market) -> None:
        self.hear(m, 3, m.update_order, m.update_state, m.update_reason)

    def on_timer(self, m: Market) -> None:
        k = m.timer
        self.hear(m, 5, k, 0, 0)
        r = 10 * k
        to = m.of(self.rows[r + 9])
        kind, side, price, size = (
            self.rows[r + 1],
            self.rows[r + 2],
            self.rows[r + 3],
            self.rows[r + 4],
        )
        extra, tif, post = self.rows[r + 5], self.rows[r + 6], self.rows[r + 7] != 0
        if kind == LIMIT:
            self.orders[k] = to.limit(side, price, size, tif, post)
        elif kind == MARKET:
            self.orders[k] = to.market(side, size)
        elif kind == STOP:
            self.orders[k] = to.stop(side, extra, size, tif)
        elif kind == STOP_LIMIT:
            self.orders[k] = to.stop_limit(side, extra, price, size, tif)
        elif kind == PEGGED:
            self.orders[k] = to.pegged(side, extra, size, tif)
        elif kind == CANCEL:
            to.cancel(self.orders[size])
        elif kind == REPLACE:
            to.replace(self.orders[extra], price, size)
        else:
            to.cancel_all()


@dataclass
class JointCase:
    """Instruments, each with its market and settings (their own rows are not played), and rows."""

    cases: list[Case]
    rows: list[tuple[int, ...]]
    hedge: bool = False
    changes: list[tuple[int, ...]] = field(default_factory=list)
    """By instrument: numbers of the records from which on its id is another."""
    cut: int = 10**9
    currencies: tuple[str, ...] = ()
    """By instrument; all the same where it is empty."""

    def currency_of(self, number: int) -> str:
        return self.currencies[number] if self.currencies else "USD"

    def changes_of(self, number: int) -> tuple[int, ...]:
        return self.changes[number] if self.changes else ()


@cache
def program(*, interpret: bool = False) -> Program:
    return Program(Joint(), interpret=interpret)


class CaseLeg:
    """What the loop needs of an instrument of a task."""

    def __init__(self, case: Case, changes: Sequence[int], cut: int, currency: str) -> None:
        options = SimOptions(
            case.reading, case.latency, case.response, False, limits=case.limits,
            feed_latency=case.feed, jitter=case.jitter, latencies=case.latencies,
            assume_valid_after=case.assume_valid_after, seed=case.seed, money=case.money,
        )  # fmt: skip
        self.sessions, self.until, self.cut = case.sessions, case.until, cut
        self.currency = currency
        self.replay = Replay(options, timetable(case.sessions, case.flatten_before), RULE)
        self.whole = case.tape.chunk()
        for k in changes:
            self.whole.instrument[k:] += 1

    def chunks(self, replays: Sequence[Replay]) -> Iterator[Chunk]:
        for replay in replays:
            replay.start_day(19700101)
        for start in range(0, len(self.whole.publisher), self.cut):
            yield take(self.whole, slice(start, start + self.cut))


@dataclass
class _Result:
    rows: Any
    heard: tuple[()] = ()
    more: tuple[()] = ()
    seen: tuple[()] = ()


def compiled(joint: JointCase, *, interpret: bool = False) -> tuple[list[dict[str, Any]], Any]:
    """By instrument orders, fills, marks; and all that was heard, in its order."""
    legs = [
        CaseLeg(case, joint.changes_of(k), joint.cut, joint.currency_of(k))
        for k, case in enumerate(joint.cases)
    ]
    streams = [_Stream(leg, leg.replay) for leg in legs]
    own = program(interpret=interpret)
    _employ(own, streams)
    memory = legs[0].replay.running.memory
    table = np.array(joint.rows, np.int64).reshape(-1, 10)
    memory.rows[: table.size] = table.ravel()
    memory.n, memory.hedge = len(table), int(joint.hedge)
    for _ in _interleave(streams):
        pass
    for leg in legs:
        leg.replay.finish(leg.until)
    said = [of_compiled(_Result(leg.replay.take(last=True))) for leg in legs]
    heard = [_word([int(v) for v in row]) for row in memory.heard.reshape(-1, 16)[: memory.n_heard]]
    return said, heard


def _word(row: list[int]) -> tuple[Any, ...]:
    now, who, kind, order, a, b, *rest = row
    if kind in (2, 3):
        a, b = STATES[a], ORDER_REASONS[b]
    order = _event(order) if kind == 0 else order
    position, working, ahead, cash, *prices, at, working_there, valid = rest
    known = [_known(price) for price in prices]
    return (
        now, who, kind, order, a, b, position, working, ahead, cash, *known, at, working_there,
        bool(valid),
    )  # fmt: skip


class JointPlayer(Player):
    """The plain twin of :class:`Joint`; one for all instruments."""

    def __init__(self, rows: Sequence[tuple[int, ...]], *, hedge: bool) -> None:
        super().__init__([row[:8] for row in rows])
        self.where = [row[8:] for row in rows]
        self.hedge = hedge
        self.words: list[tuple[Any, ...]] = []

    def say(self, desk, now, kind, order, a=0, b=0):
        other = desk.peers[(desk.number + 1) % len(desk.peers)]
        self.words.append(
            (now, desk.number, kind, order, a, b, desk.known, desk.working,
             desk.queue_ahead(order) if 1 <= kind <= 3 else -1, desk.cash, desk.bid, other.bid,
             other.ask, other.known, other.working, bool(other.news and other.news.valid))
        )  # fmt: skip

    def on_session_start(self, desk, now):
        self.say(desk, now, 4, desk.session)
        return [
            ("timer", row[0], k)
            for k, row in enumerate(self.rows)
            if self.where[k][0] == desk.number and row[0] >= now
        ]

    def on_market_event(self, desk, now):
        self.say(desk, now, 0, desk.news.event)
        return []

    def on_timer(self, desk, now, k):
        self.say(desk, now, 5, k)
        to = desk.peers[self.where[k][1]]
        heard = self.heard
        commands = super().on_timer(to, now, k)
        self.heard = heard
        return self.sent(desk, to, commands)

    def sent(self, desk, to, commands):
        return commands if to is desk else [("to", to.number, command) for command in commands]

    def on_fill(self, desk, now, order, signed, price, role):
        self.say(desk, now, 1, order, signed, price)
        if not self.hedge or desk.number:
            return []
        market = ("place", signed < 0, "market", "ioc", UNDEF_PRICE, abs(signed), 0, 0, False)
        return self.sent(desk, desk.peers[-1], [market])

    def on_order(self, desk, now, order, state, reason):
        self.say(desk, now, 2, order, state, reason)
        return []

    def on_reject(self, desk, now, order, state, reason):
        self.say(desk, now, 3, order, state, reason)
        return []


def plain(joint: JointCase) -> tuple[list[dict[str, Any]], Any]:
    player = JointPlayer(joint.rows, hedge=joint.hedge)
    instruments = []
    for number, case in enumerate(joint.cases):
        after = case.assume_valid_after
        options = Options(
            case.reading, case.latency, case.response, case.feed, case.jitter, case.latencies,
            case.seed, passive=False, assume_after=None if after < 0 else after,
            limits=case.limits, money=case.money,
        )  # fmt: skip
        simulator = Simulator(options, case.sessions, case.flatten_before, strategy=player)
        simulator.trader.purse = joint.currency_of(number)
        instruments.append(One(simulator, records(case), case.until, joint.changes_of(number)))
    play_together(instruments)
    return [of_plain(one.simulator) for one in instruments], player.words


def records(case: Case) -> list[Record]:
    """Records of its tape as the plain simulator takes them."""
    return [
        Record(recv, ts, order, None if price == UNDEF_PRICE else price, size, flags, chr(action),
               chr(side), number)
        for number, (recv, ts, order, price, size, flags, action, side) in enumerate(case.tape.rows)
    ]  # fmt: skip
