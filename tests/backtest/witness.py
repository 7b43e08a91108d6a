"""A strategy that writes down all it sees, and a slow account of what it may have seen.

The account is made of records alone: an event has been received at the running maximum of its
``ts_recv`` (plus the feed's latency), never before it happened, whole, and the book is that of
the events received.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.backtest import state as st
from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay, Rows
from pipeline.units import F_LAST, F_SNAPSHOT, PRICE_SCALE, UNDEF_PRICE
from strategies.event import (
    BUY,
    SELL,
    EventStrategy,
    Ints1,
    Market,
    feature,
    parameter,
    state,
    state_array,
)
from strategies.running import Program
from tests.backtest.scenario import RULE, Session, Tape
from tests.backtest.scenario import feed as feed_tape

DEPTH = 10
ROWS = 80_000
(
    NOW, KIND, EVENT, BID, ASK, VALID, CROSSED, TRADED, LAST_PRICE, LAST_SIZE, LAST_SIDE, LAST_TS,
    POSITION, FEATURE, AHEAD, ORDER, LEVELS,
) = range(17)  # fmt: skip
COLUMNS = LEVELS + 6 * DEPTH
ON_EVENT, ON_TIMER, ON_FILL, ON_ORDER = range(4)
NOTHING = -1
FEATURE_LEAK = 0
"""Events that the feature table looks ahead; for the tests of the tests."""


@dataclass
class Witness(EventStrategy):
    """Notes ten levels, the last trade, its feature, position and queue at every callback; joins
    the touch now and then, and takes a little, so that there are callbacks of every kind.
    """

    timer_ns: int = parameter(1, "ns", "between timers")
    every: int = parameter(7, "events", "between orders")

    x: int = feature("x")
    seen: Ints1 = state_array(int, ROWS * COLUMNS)
    n: int = state(0)
    events: int = state(0)
    order: int = state(-1)

    def note(self, m: Market, kind: int) -> None:
        if self.n >= ROWS:
            return
        k = self.n * COLUMNS
        self.n += 1
        seen = self.seen
        seen[k + NOW], seen[k + KIND], seen[k + EVENT] = m.now, kind, m.event
        seen[k + BID], seen[k + ASK] = m.bid, m.ask
        seen[k + VALID], seen[k + CROSSED] = int(m.valid), int(m.crossed)
        seen[k + TRADED] = m.traded
        seen[k + LAST_PRICE], seen[k + LAST_SIZE] = m.last_price, m.last_size
        seen[k + LAST_SIDE], seen[k + LAST_TS] = m.last_side, m.last_ts
        seen[k + POSITION] = m.position
        value = m.feature(self.x)
        seen[k + FEATURE] = NOTHING if value != value else int(value)
        seen[k + ORDER] = self.order
        seen[k + AHEAD] = -1 if self.order < 0 else m.queue_ahead(self.order)
        at = k + LEVELS
        for side in (BUY, SELL):
            for depth in range(DEPTH):
                seen[at] = m.price_at(side, depth)
                seen[at + 1] = m.size_at(side, depth)
                seen[at + 2] = m.orders_at(side, depth)
                at += 3

    def on_session_start(self, m: Market) -> None:
        m.set_timer(m.opens_at)

    def on_timer(self, m: Market) -> None:
        self.note(m, ON_TIMER)
        if m.now + self.timer_ns < m.closes_at:
            m.set_timer(m.now + self.timer_ns)

    def on_fill(self, m: Market) -> None:
        self.note(m, ON_FILL)

    def on_order(self, m: Market) -> None:
        self.note(m, ON_ORDER)

    def on_market_event(self, m: Market) -> None:
        self.note(m, ON_EVENT)
        self.events += 1
        if not m.open or not m.two_sided() or self.events % self.every:
            return
        side = BUY if m.position <= 0 else SELL
        if self.events % (5 * self.every) == 0:
            m.market(side, 1)
        elif self.order < 0 or not m.is_working(self.order):
            self.order = m.limit(side, m.bid if side == BUY else m.ask, 1)
        else:
            m.cancel(self.order)


@cache
def program() -> Program:
    """Compiled once for all tests."""
    return Program(Witness())


# --- the slow account -----------------------------------------------------------------------------


@dataclass
class Received:
    """What has been received once an event has: at a time, in whole."""

    time: int
    event: int
    traded: int
    last: tuple[int, int, int, int] | None
    """Price, size, aggressor (1, -1, 0) of the last print, and when it was received."""
    levels: tuple[tuple[tuple[int, int, int], ...], ...] | None
    """Ten a side, bids first: price, size, orders; None where they were not counted."""


@dataclass
class SlowBook:
    """Orders in a dictionary; levels are counted anew each time."""

    orders: dict[int, tuple[str, int, int]] = field(default_factory=dict)

    def apply(self, action: str, side: str, price: int, size: int, number: int) -> None:
        if action == "R":
            self.orders.clear()
        elif action == "A":
            self.orders[number] = (side, price, size)
        elif action == "M":
            self.orders.pop(number, None)
            self.orders[number] = (side, price, size)
        elif action == "C" and number in self.orders:
            own_side, own_price, standing = self.orders[number]
            left = standing - size
            if left > 0:
                self.orders[number] = (own_side, own_price, left)
            else:
                del self.orders[number]

    def levels(self) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        found: dict[str, dict[int, list[int]]] = {"B": {}, "A": {}}
        for side, price, size in self.orders.values():
            level = found[side].setdefault(price, [0, 0])
            level[0] += size
            level[1] += 1
        return tuple(
            tuple((p, *found[side][p]) for p in sorted(found[side], reverse=side == "B")[:DEPTH])
            for side in "BA"
        )


def account(records: Sequence[tuple[int, ...]], feed: int = 0, every: int = 1) -> list[Received]:
    """Events of a tape's rows as they are received, in order; the first event is number 1.

    Levels are counted at every ``every``-th.
    """
    book = SlowBook()
    found: list[Received] = []
    time, clock, traded, last, printed = -(2**62), -(2**62), 0, None, None
    snapping, before = False, 0

    def end(recv: int) -> None:
        nonlocal time, traded, last, printed
        time = max(time, clock, recv + feed)
        if printed is not None:
            last = (*printed, time)
        levels = book.levels() if len(found) % every == 0 else None
        found.append(Received(time, len(found) + 1, traded, last, levels))
        traded, printed = 0, None

    for recv, ts, number, price, size, flags, action, side in records:
        letter = chr(action)
        if snapping and not flags & F_SNAPSHOT:
            end(before)  # a snapshot without F_LAST
        if not flags & F_SNAPSHOT and ts != UNDEF_PRICE:
            clock = max(clock, ts)
        if flags & F_SNAPSHOT and not snapping:
            book.orders.clear()
        snapping, before = bool(flags & F_SNAPSHOT) and not flags & F_LAST, recv
        if letter == "T":
            traded += size
            printed = (price, size, {"B": 1, "A": -1}.get(chr(side), 0))
        book.apply(letter, chr(side), price, size, number)
        if flags & F_LAST:
            end(recv)
    return found


def differences(
    seen: npt.NDArray[np.int64], events: Sequence[Received], *, on_time: bool = True
) -> list[str]:
    """Where what was seen is not what had been received by then, all of it and nothing else.

    ``on_time``: events are received at their times, not later.
    """
    times = np.array([event.time for event in events])
    found = []
    heard = 0
    for number, row in enumerate(seen):
        now, kind = int(row[NOW]), int(row[KIND])
        event = int(row[EVENT]) % 10**10
        by_now = int(np.searchsorted(times, now, "right"))
        if kind == ON_EVENT:
            # One callback an event; several of one time come one after the other.
            right = event == (heard + 1 if heard else event) and event <= by_now
            right = right and (not on_time or times[event - 1] == now)
            heard = event
        else:
            right = event == by_now if on_time else event <= by_now
        if not right:
            found.append(f"row {number}: event {event} at {now}, {by_now} had been received")
            continue
        if event == 0:
            continue
        wanted = events[event - 1]
        if wanted.levels is not None and shown(row) != wanted.levels:
            found.append(f"row {number}: another book than after event {event}")
        if kind == ON_EVENT and row[TRADED] != wanted.traded:
            found.append(f"row {number}: {row[TRADED]} traded, not {wanted.traded}")
        last = tuple(int(v) for v in row[LAST_PRICE : LAST_TS + 1])
        compared = 4 if on_time else 3
        if wanted.last is not None and last[:compared] != wanted.last[:compared]:
            found.append(f"row {number}: last trade {last}, not {wanted.last}")
        if row[FEATURE] > event:
            found.append(f"row {number}: the feature of event {row[FEATURE]} at event {event}")
        if row[FEATURE] != NOTHING and row[FEATURE] < event:
            found.append(f"row {number}: no feature of event {event}, yet it is known")
    return found


def heard_too_early(watched: Watched, response: int) -> list[str]:
    """Where the position seen is not that of the fills whose word had reached us by then."""
    fills = watched.rows.fills
    known = fills[:, st.F_TS] + response
    sizes = np.where(fills[:, st.F_SIDE] == 0, 1, -1) * fills[:, st.F_SIZE]
    found, heard = [], 0
    for number, row in enumerate(watched.seen):
        before, upto = (int(sizes[np.flatnonzero(known < row[NOW] + k)].sum()) for k in (0, 1))
        heard += int(row[KIND] == ON_FILL)
        wanted: Sequence[int] = (before, upto)
        if row[KIND] == ON_EVENT:
            wanted = (before,)
        elif row[KIND] == ON_TIMER:
            wanted = (upto,)
        elif row[KIND] == ON_FILL:
            wanted = (int(sizes[:heard].sum()),)
        if row[POSITION] not in wanted:
            found.append(f"row {number}: position {row[POSITION]} at {row[NOW]}, not {wanted}")
    return found


def shown(row: npt.NDArray[np.int64]) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """The levels of a noted row that are there."""
    levels = row[LEVELS:].reshape(2, DEPTH, 3).tolist()
    return tuple(tuple(tuple(v) for v in side if v[0] != UNDEF_PRICE) for side in levels)


# --- running it -----------------------------------------------------------------------------------


class EventNumbers:
    """A feature table of one column: at each event its own number, known with the event."""

    def __init__(self, events: Sequence[Received], feed: int, batch: int = 50) -> None:
        rows = np.zeros((len(events), 5), np.int64)
        rows[:, st.D_TS] = [event.time - feed for event in events]
        rows[:, st.D_EVENT] = [event.event for event in events]
        self._rows, self._batch, self._at = rows, batch, 0

    def start(self, session: int) -> None:
        del session

    def more(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], bool]:
        part = self._rows[self._at : self._at + self._batch].copy()
        self._at += len(part)
        values = part[:, [st.D_EVENT]].astype(np.float64) + FEATURE_LEAK
        return part, values, self._at < len(self._rows)


@dataclass
class Watched:
    seen: npt.NDArray[np.int64]
    rows: Rows


def watch(
    tape: Tape,
    events: Sequence[Received],
    session: Session,
    *,
    timer_ns: int = 3,
    every: int = 7,
    chunk: int | None = None,
    known_feed: int = 0,
    tick: int = PRICE_SCALE // 4,
    base: int = 0,
    **options: Any,
) -> Watched:
    """A tape with the witness; ``known_feed`` is the latency that is part of the events' times."""
    conf = SimOptions("exact", money=Money(tick=tick), passive=False, **options)
    features: Any = (EventNumbers(events, known_feed), 1)
    replay = Replay(conf, timetable([session], None), RULE, features=features)
    running = program().run([replay.market()])
    running.memory.timer_ns, running.memory.every = timer_ns, every
    replay.employ(running, [session])
    replay.start_day(19700101)
    replay.sim.meta[st.EVENT_BASE] = base
    feed_tape(replay, tape, chunk)
    replay.finish(session.close_ns)
    seen = running.memory.seen.reshape(-1, COLUMNS)[: running.memory.n]
    return Watched(seen.copy(), replay.take(last=True))
