"""Clones right behind real orders, and what the market itself says of them.

A clone joins its queue once everything of the real order's nanosecond has happened.  The account
here puts all clones into the queues of a plain book as if they had been there, and lets the
market's own F records find them; nothing of the simulator takes part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from pipeline.backtest import state as st
from pipeline.backtest.options import SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.book.columns import Chunk
from pipeline.units import F_LAST, F_SNAPSHOT, PRICE_SCALE
from tests.backtest.scenario import RULE, Decision, Session, decisions_array

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Clone:
    """Of a real order; ``size`` contracts."""

    number: int
    """The real order's id."""
    side: str
    price: int
    size: int
    ts: int
    event: int
    """Event that brought the real order."""
    ahead: int = 0
    """On joining."""
    fills: list[tuple[int, int, int]] = field(default_factory=list)
    """Time, size, contracts still ahead."""

    @property
    def left(self) -> int:
        return self.size - sum(size for _, size, _ in self.fills)


@dataclass(eq=False)
class Resting:
    number: int
    side: str
    price: int
    size: int
    met: int = 0
    """Executed since it last changed."""


@dataclass
class Truth:
    """Queues of real orders, with clones among them that the others do not notice."""

    orders: dict[int, Resting] = field(default_factory=dict)
    queues: dict[str, dict[int, list[Resting | Clone]]] = field(
        default_factory=lambda: {"B": {}, "A": {}}
    )
    waiting: dict[str, dict[int, list[Clone]]] = field(default_factory=lambda: {"B": {}, "A": {}})
    """Clones not yet filled whole, by price."""
    levels: dict[str, Counter[int]] = field(
        default_factory=lambda: {"B": Counter(), "A": Counter()}
    )
    """Real orders at each price that has any."""
    came: list[int] = field(default_factory=list)
    crossed: bool = False
    taker: str = "N"

    def best(self, side: str) -> int | None:
        return (max if side == "B" else min)(self.levels[side], default=None)

    def join(self, clone: Clone) -> bool:
        """Behind all that rests at its price; not if the real order has gone, or it would take."""
        real, other = self.orders.get(clone.number), self.best("A" if clone.side == "B" else "B")
        if real is None or (real.side, real.price) != (clone.side, clone.price):
            return False
        if other is not None and (
            clone.price >= other if clone.side == "B" else clone.price <= other
        ):
            return False
        queue = self.queues[clone.side].setdefault(clone.price, [])
        clone.ahead = ahead_of(clone, [*queue, clone])
        queue.append(clone)
        self.waiting[clone.side].setdefault(clone.price, []).append(clone)
        return True

    def execute(self, clone: Clone, ts: int, size: int) -> None:
        part = min(clone.left, size)
        ahead = ahead_of(clone, self.queues[clone.side].get(clone.price, [clone]))
        clone.fills.append((ts, part, ahead))
        if clone.left == 0:
            self.waiting[clone.side][clone.price].remove(clone)

    def better(self, side: str, price: int) -> Iterator[Clone]:
        """Clones that wait at better prices."""
        for at in list(self.waiting[side]):
            if (at > price) if side == "B" else (at < price):
                yield from list(self.waiting[side][at])

    def met(self, ts: int, number: int, side: str, price: int, size: int) -> None:
        """An F: whoever was before that order would have been executed first."""
        order = self.orders.get(number)
        if not self.crossed and side != "N" and side != self.taker:
            for clone in self.better(side, price):
                self.execute(clone, ts, size)
            if order is not None and (order.side, order.price) == (side, price):
                queue = self.queues[side][price]
                behind = queue.index(order)
                for clone in [c for c in queue[:behind] if isinstance(c, Clone) and c.left]:
                    self.execute(clone, ts, size)
        if order is not None:
            order.met += size

    def change(self, action: str, number: int, side: str, price: int, size: int) -> None:
        order = self.orders.get(number)
        if action == "C" and order is not None:
            order.size, order.met = order.size - size, 0
            if order.size <= 0:
                self.leave(order)
        elif action in "AM":
            if order is not None:
                standing = order.size - order.met
                order.met = 0
                if action == "M" and order.price == price and size <= standing:
                    order.size = size
                    return
                self.leave(order)
            new = self.orders[number] = Resting(number, side, price, size)
            self.queues[side].setdefault(price, []).append(new)
            self.levels[side][price] += 1
            self.came.append(number)

    def leave(self, order: Resting) -> None:
        del self.orders[order.number]
        self.queues[order.side][order.price].remove(order)
        self.levels[order.side][order.price] -= 1
        if not self.levels[order.side][order.price]:
            del self.levels[order.side][order.price]

    def end(self, ts: int) -> None:
        """An event's end: what came to rest at a clone's price or through it met it."""
        bid, ask = self.best("B"), self.best("A")
        was, self.crossed = self.crossed, bid is not None and ask is not None and bid > ask
        for number in self.came if not was and not self.crossed else ():
            order = self.orders.get(number)
            if order is None:
                continue
            side = "A" if order.side == "B" else "B"
            for clone in [
                *self.better(side, order.price),
                *self.waiting[side].get(order.price, ()),
            ]:
                self.execute(clone, ts, order.size)
        self.came.clear()


def ahead_of(clone: Clone, queue: Sequence[Resting | Clone]) -> int:
    total = 0
    for one in queue:
        if one is clone:
            break
        if isinstance(one, Resting):
            total += one.size
    return total


def account(records: Array, wanted: Sequence[Clone]) -> list[Clone]:
    """The clones that joined a queue, with what became of them."""
    truth, joined = Truth(), []
    due = sorted(wanted, key=lambda clone: clone.ts)
    at, starts = 0, True
    names = ("ts_event", "order_id", "price", "size", "flags", "action", "side")
    columns = [records[name].tolist() for name in names]
    for ts, number, price, size, flags, action, side in zip(*columns, strict=True):
        letter = action.decode()
        if starts and not flags & F_SNAPSHOT:
            while at < len(due) and due[at].ts < ts:
                if truth.join(due[at]):
                    joined.append(due[at])
                at += 1
            truth.taker = "N"
        starts = False
        if letter == "T":
            truth.taker = side.decode()
        elif letter == "F":
            truth.met(ts, number, side.decode(), price, size)
        elif letter == "R":
            truth = Truth()
        else:
            truth.change(letter, number, side.decode(), price, size)
        if flags & F_LAST:
            truth.end(ts)
            starts = True
    return joined


def simulate(clone: Clone, chunk: Chunk, session: Session) -> tuple[Array, Array]:
    """The simulator's order and fills of a clone: zero latency, exact reading."""
    price = clone.price / PRICE_SCALE
    target = clone.size if clone.side == "B" else -clone.size
    rows = decisions_array([Decision(clone.ts, target, price, price, clone.event)])
    options = SimOptions("exact", 0, 0, passive=True, patience=10**18)
    replay = Replay(options, timetable([session], None), RULE, lambda _: rows)
    replay.sim.meta[st.EVENT_BASE] = 0
    replay.feed(chunk)
    replay.finish(session.close_ns)
    taken = replay.take(last=True)
    return taken.orders[0], taken.fills
