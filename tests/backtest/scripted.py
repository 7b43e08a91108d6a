"""A strategy that does what a test wrote down, at the times it wrote down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pipeline.backtest.options import Limits, Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.units import PRICE_SCALE
from strategies.event import EventStrategy, Ints1, Market, state, state_array
from strategies.layout import DAY
from strategies.running import Program
from tests.backtest.scenario import END, RULE, Result, Session, Tape
from tests.backtest.scenario import feed as feed_tape

ROWS = 4096
LIMIT, MARKET, STOP, STOP_LIMIT, PEGGED, CANCEL, REPLACE, CANCEL_ALL = range(8)


@dataclass
class Script(EventStrategy):
    """Rows of eight numbers: time, kind, side, price, size, stop or offset, tif, post-only."""

    rows: Ints1 = state_array(int, 8 * ROWS)
    orders: Ints1 = state_array(int, ROWS)
    n: int = state(0)
    heard: Ints1 = state_array(int, 8 * ROWS)
    n_heard: int = state(0)
    events: int = state(0)
    more: Ints1 = state_array(int, 8 * ROWS)
    seen: Ints1 = state_array(int, 12 * ROWS)
    n_seen: int = state(0)

    def on_session_start(self, m: Market) -> None:
        for k in range(self.n):
            if self.rows[8 * k] >= m.now:
                m.set_timer(self.rows[8 * k], k)

    def hear(self, m: Market, kind: int, order: int, a: int, b: int) -> None:
        k = 8 * (self.n_heard % ROWS)
        self.heard[k] = m.now
        self.heard[k + 1] = kind
        self.heard[k + 2] = order
        self.heard[k + 3] = a
        self.heard[k + 4] = b
        self.heard[k + 5] = m.position
        self.heard[k + 6] = m.working
        self.heard[k + 7] = m.queue_ahead(order)
        self.more[k] = m.cash
        self.more[k + 1] = m.bid
        self.more[k + 2] = m.ask
        self.more[k + 3] = m.remaining(order)
        self.more[k + 4] = m.fill_role
        self.more[k + 5] = m.fill_left
        self.n_heard += 1

    def look(self, m: Market, kind: int, tag: int) -> None:
        k = 12 * (self.n_seen % ROWS)
        self.seen[k] = m.now
        self.seen[k + 1] = kind
        self.seen[k + 2] = tag
        self.seen[k + 3] = m.bid
        self.seen[k + 4] = m.ask
        self.seen[k + 5] = m.bid_size
        self.seen[k + 6] = m.ask_size
        self.seen[k + 7] = m.valid
        self.seen[k + 8] = m.crossed
        self.seen[k + 9] = m.traded
        self.seen[k + 10] = m.last_price
        self.seen[k + 11] = self.n_heard
        self.n_seen += 1

    def on_market_event(self, m: Market) -> None:
        self.look(m, 0, m.event)
        self.events += 1

    def on_fill(self, m: Market) -> None:
        self.hear(m, 1, m.fill_order, m.fill_side * m.fill_size, m.fill_price)

    def on_order(self, m: Market) -> None:
        self.hear(m, 2, m.update_order, m.update_state, m.update_reason)

    def on_reject(self, m: Market) -> None:
        self.hear(m, 3, m.update_order, m.update_state, m.update_reason)

    def on_timer(self, m: Market) -> None:
        k = m.timer
        self.look(m, 1, k)
        r = 8 * k
        kind, side, price, size = (
            self.rows[r + 1],
            self.rows[r + 2],
            self.rows[r + 3],
            self.rows[r + 4],
        )
        extra, tif, post = self.rows[r + 5], self.rows[r + 6], self.rows[r + 7] != 0
        if kind == LIMIT:
            self.orders[k] = m.limit(side, price, size, tif, post)
        elif kind == MARKET:
            self.orders[k] = m.market(side, size)
        elif kind == STOP:
            self.orders[k] = m.stop(side, extra, size, tif)
        elif kind == STOP_LIMIT:
            self.orders[k] = m.stop_limit(side, extra, price, size, tif)
        elif kind == PEGGED:
            self.orders[k] = m.pegged(side, extra, size, tif)
        elif kind == CANCEL:
            m.cancel(self.orders[size])
        elif kind == REPLACE:
            m.replace(self.orders[extra], price, size)
        else:
            m.cancel_all()


@cache
def program(*, interpret: bool) -> Program:
    """Compiled once for all tests."""
    return Program(Script(), interpret=interpret)


def px(price: float) -> int:
    return int(price * PRICE_SCALE)


def order(
    ts: int, kind: int, side: int, size: int, price: float = 0, *, extra: float = 0,
    tif: int = DAY, post: bool = False,
) -> tuple[int, ...]:  # fmt: skip
    """A row that sends an order; ``extra`` is a stop's trigger or a peg's offset."""
    return (ts, kind, side, px(price), size, px(extra), tif, int(post))


def cancel(ts: int, row: int) -> tuple[int, ...]:
    """A row that cancels the order of another row."""
    return (ts, CANCEL, 0, 0, row, 0, 0, 0)


def replace(ts: int, row: int, price: float, size: int) -> tuple[int, ...]:
    return (ts, REPLACE, 0, px(price), size, row, 0, 0)


@dataclass
class Scripted(Result):
    memory: Any

    @property
    def heard(self) -> list[tuple[int, ...]]:
        """(when, 1 fill 2 order 3 reject, order, what, what, position, working, ahead)."""
        rows = self.memory.heard.reshape(-1, 8)[: self.memory.n_heard]
        return [tuple(int(v) for v in row) for row in rows]

    @property
    def more(self) -> list[tuple[int, ...]]:
        """(cash, bid, ask, left of the order, role and left of the last fill), as ``heard``."""
        rows = self.memory.more.reshape(-1, 8)[: self.memory.n_heard, :6]
        return [tuple(int(v) for v in row) for row in rows]

    @property
    def seen(self) -> list[tuple[int, ...]]:
        """(when, 0 event 1 timer, which, bid, ask, their sizes, valid, crossed, traded, last
        price, words heard before).
        """
        rows = self.memory.seen.reshape(-1, 12)[: self.memory.n_seen]
        return [tuple(int(v) for v in row) for row in rows]


def run(
    tape: Tape,
    *rows: Sequence[int],
    reading: str = "exact",
    latency: int = 0,
    response: int = 0,
    feed: int = 0,
    sessions: Sequence[Session] | None = None,
    flatten_before: int | None = None,
    limits: Limits = Limits(),
    money: Money | None = None,
    chunk: int | None = None,
    until: int | None = END,
    interpret: bool = False,
    date: int = 19700101,
    jitter: tuple[int, int, int] = (0, 0, 0),
    latencies: Ints1 | None = None,
    assume_valid_after: int = -1,
    seed: int = 1,
    after: Callable[[Replay], None] | None = None,
) -> Scripted:
    """Run a tape and a script."""
    options = SimOptions(
        reading, latency, response, False, limits=limits, feed_latency=feed, jitter=jitter,
        latencies=latencies, assume_valid_after=assume_valid_after, seed=seed,
        money=money or Money(tick=PRICE_SCALE // 4),
    )  # fmt: skip
    sessions = sessions or [Session()]
    schedule = timetable(sessions, flatten_before)
    replay = Replay(options, schedule, RULE)
    running = program(interpret=interpret).run([replay.market()])
    table = np.array(rows, np.int64).reshape(-1, 8)
    running.memory.rows[: table.size] = table.ravel()
    running.memory.n = len(table)
    replay.employ(running, sessions)
    replay.start_day(date)
    feed_tape(replay, tape, chunk, after)
    replay.finish(until)
    return Scripted(replay.take(last=True), replay, running.memory)
