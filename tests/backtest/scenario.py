"""Tiny markets for tests: a few records, a decision or two, and what became of our orders.

Prices are whole ticks of 1e-9 x 10^9 (one unit), times small numbers of nanoseconds after an
opening at time 0 of a session that ends at ``END``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.options import SimOptions, timetable
from pipeline.backtest.replay import Replay, Rows, empty_records
from pipeline.backtest.tables import FILL_REASONS, ORDER_REASONS, ORDER_STATUS, ROLES
from pipeline.book.columns import Chunk, take
from pipeline.units import F_LAST, F_SNAPSHOT, PRICE_SCALE, UNDEF_PRICE

RULE = 3
END = 3_600_000_000_000
PREOPEN = -1_000_000


@dataclass(frozen=True)
class Session:
    preopen_ns: int = PREOPEN
    close_ns: int = END
    segments: tuple[tuple[int, int], ...] = ((0, END),)
    announced: int | None = None

    @property
    def announced_close_ns(self) -> int:
        return self.close_ns if self.announced is None else self.announced


@dataclass
class Tape:
    """Records of one instrument, written down one by one."""

    rows: list[tuple[int, ...]] = field(default_factory=list)

    def add(
        self, ts: int, text: str, *, last: bool = True, flags: int = 0, recv: int | None = None
    ) -> Tape:
        """``tape.add(5, "A B 100 3 #7")``: action, side, price, size, order id."""
        action, side, price, size, order = text.split()
        px = UNDEF_PRICE if price == "-" else int(float(price) * PRICE_SCALE)
        received = ts + 1 if recv is None else recv
        flags |= F_LAST if last else 0
        self.rows.append(
            (received, ts, int(order[1:]), px, int(size), flags, ord(action), ord(side))
        )
        return self

    def event(self, ts: int, *texts: str) -> Tape:
        """One event of several records: F_LAST on the last."""
        for i, text in enumerate(texts):
            self.add(ts, text, last=i == len(texts) - 1)
        return self

    def snapshot(self, ts: int, *texts: str, clear: bool = True) -> Tape:
        rows = (["R N - 0 #0"] if clear else []) + list(texts)
        for i, text in enumerate(rows):
            self.add(ts - 100, text, last=i == len(rows) - 1, flags=F_SNAPSHOT | 8, recv=ts)
        return self

    def chunk(self) -> Chunk:
        n = len(self.rows)
        records = empty_records(n)
        names = ("ts_recv", "ts_event", "order_id", "price", "size", "flags", "action", "side")
        for i, row in enumerate(self.rows):
            for name, value in zip(names, row, strict=True):
                getattr(records, name)[i] = value
        records.record[:] = np.arange(n)
        return Chunk(records, np.ones(n, np.uint16), np.ones(n, np.uint32))


def opening(**kw: Any) -> Tape:
    """A book known from its start: bids 100 and 99, asks 101 and 102, sizes 10 and 20."""
    tape = Tape()
    tape.add(-500, "R N - 0 #0")
    for text in ("A B 100 10 #1", "A B 99 20 #2", "A A 101 10 #3", "A A 102 20 #4"):
        tape.add(-500, text)
    return tape


@dataclass(frozen=True)
class Decision:
    ts: int
    target: int | None
    bid: float | None = 100
    ask: float | None = 101
    event: int = 0


@dataclass(frozen=True)
class Fill:
    size: int
    price: float
    reason: str
    ahead: int | None
    role: str
    ts: int
    event: int
    entry: int | None


@dataclass(frozen=True)
class Order:
    status: str
    reason: str
    filled: int
    size: int
    entry: int | None
    price: float | None


@dataclass
class Result:
    rows: Rows
    replay: Replay

    @property
    def fills(self) -> list[Fill]:
        return [
            Fill(
                int(r[st.F_SIZE]) * (1 if r[st.F_SIDE] == 0 else -1),
                r[st.F_PRICE] / PRICE_SCALE,
                FILL_REASONS[r[st.F_REASON]],
                _none(r[st.F_AHEAD]),
                ROLES[r[st.F_ROLE]],
                int(r[st.F_TS]),
                int(r[st.F_EVENT]) % 10**10,
                _none(r[st.F_ENTRY_AHEAD]),
            )
            for r in self.rows.fills
        ]

    @property
    def brief(self) -> list[tuple[int, float, str]]:
        return [(f.size, f.price, f.reason) for f in self.fills]

    @property
    def orders(self) -> list[Order]:
        return [
            Order(
                ORDER_STATUS[r[st.O_STATUS]],
                ORDER_REASONS[r[st.O_REASON]],
                int(r[st.O_FILLED]),
                int(r[st.O_SIZE]),
                int(r[st.O_ENTRY_AHEAD]) if r[st.O_MARKER] >= 0 else None,
                None if r[st.O_PRICE] == UNDEF_PRICE else r[st.O_PRICE] / PRICE_SCALE,
            )
            for r in self.rows.orders
        ]


def _none(value: int) -> int | None:
    return None if value == UNDEF_PRICE else int(value)


def decisions_array(decisions: list[Decision]) -> np.ndarray:
    def px(value: float | None) -> int:
        return UNDEF_PRICE if value is None else int(value * PRICE_SCALE)

    rows = [
        (d.ts, d.event, st.NO_TARGET if d.target is None else d.target, px(d.bid), px(d.ask))
        for d in decisions
    ]
    return np.array(rows, np.int64).reshape(-1, 5)


def feed(
    replay: Replay, tape: Tape, step: int | None, after: Callable[[Replay], None] | None = None
) -> None:
    """All of a tape, so many records at a time; ``after`` looks at the simulation after each."""
    whole = tape.chunk()
    n = len(whole.publisher)
    for start in range(0, n, step or max(1, n)):
        replay.feed(take(whole, slice(start, start + (step or n))))
        if after is not None:
            after(replay)


def simulate(
    tape: Tape,
    *decisions: Decision,
    reading: str = "exact",
    latency: int = 0,
    response: int = 0,
    session: Session | None = None,
    flatten_before: int | None = None,
    passive: bool = True,
    patience: int = END,
    chunk: int | None = None,
    until: int | None = END,
    date: int = 19700101,
) -> Result:
    """Run a tape; one session, one book."""
    options = SimOptions(reading, latency, response, passive, patience)
    schedule = timetable([session or Session()], flatten_before)
    rows = decisions_array(list(decisions))
    replay = Replay(options, schedule, RULE, lambda _: rows)
    replay.start_day(date)
    feed(replay, tape, chunk)
    replay.finish(until)
    return Result(replay.take(last=True), replay)
