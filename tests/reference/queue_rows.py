"""The rows of `queue` in plain lists: every fact of a row is looked up in whole queues.

Orders are objects in the lists of :class:`Queues`; nothing is summed up as it comes and goes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from tests.reference.queues import Order, Queues
from tests.reference.records import (
    BAD_TS,
    LARGEST,
    MBP,
    OTHER,
    SIDES,
    SNAPSHOT,
    TOB,
    UNDEF,
    Rec,
    split_events,
)

MS = 10**6
EDGES = (("2ms", 2), ("50ms", 50), ("1s", 1000), ("10s", 10_000), ("60s", 60_000))
Row = dict[str, Any]


@dataclass
class Standing(Order):
    entered: int | None = None
    placed: int | None = None
    shown: int = 0
    mods: int = 0
    chain: int = 0


@dataclass
class Level:
    refills: int = 0
    traded: int = 0
    filled: int = 0


@dataclass
class Gone:
    side: str
    price: int
    size: int
    at: int
    chain: int = 0
    used: bool = False


class QueueBook(Queues):
    """One book, and what `queue` tells of it."""

    def __init__(self, names: list[str], tick: int, midnight: int) -> None:
        super().__init__(1)
        self.names = names
        self.tick = tick
        self.midnight = midnight
        self.clock: int | None = None
        self.last: Rec | None = None
        self.snapshot: tuple[str, int] | None = None
        self.lives: dict[tuple[str, int], Level] = {}
        self.filled: deque[Gone] = deque(maxlen=256)
        self.cancelled: deque[Gone] = deque(maxlen=256)
        self.births: deque[tuple[Gone, Level]] = deque(maxlen=64)
        self.flow: dict[str, int] = {}

    def count(self, name: str, by: int = 1) -> None:
        if not self.quiet:
            self.flow[name] = self.flow.get(name, 0) + by

    def queue(self, side: str, price: int) -> list[Any]:
        return self.queues[side].get(price, [])

    # --- events

    def play(self, event: list[Rec]) -> None:
        clock = self.clock
        for rec in event:
            bad = rec.flags & (BAD_TS | SNAPSHOT) == BAD_TS
            if clock is None:
                clock = rec.ts_recv
            elif not bad:
                clock = max(clock, rec.ts_recv)
        assert clock is not None
        self.now = clock
        self.quiet = False
        while self.births and self.births[0][0].at + 100 * MS < clock:
            self.see(*self.births.popleft())
        last = self.last
        if not (last and last.action in "TF" and last.ts_event == event[0].ts_event):
            for order in self.orders.values():
                order.printed = 0
        self.touches = {side: self.touch(side)[0] for side in "BA"}
        for rec in event:
            self.one(rec)
            self.last = rec
        self.clock = clock

    def see(self, born: Gone, life: Level) -> None:
        side = SIDES[born.side]
        self.count(f"{side}_born_ct")
        self.count(f"{side}_born_first_sz", born.size)
        if self.lives.get((born.side, born.price)) is life:
            queue = self.queue(born.side, born.price)
            self.count(f"{side}_born_sz", sum(o.size for o in queue))
            self.count(f"{side}_born_orders", len(queue))

    def one(self, rec: Rec) -> None:
        self.quiet = bool(rec.flags & SNAPSHOT)
        if not self.quiet:
            self.snapshot = None
        else:
            was = self.snapshot
            if was is None or (was[0] == "ended" and was[1] != rec.ts_recv):
                self.clear()
            self.snapshot = ("ended" if rec.flags & 128 else "open", rec.ts_recv)
        if rec.action == "R":
            self.clear()
        elif rec.action == "T" and rec.side in "BA":
            life = self.lives.get((OTHER[rec.side], rec.price))
            if life:
                life.traded += rec.size
        elif rec.action == "F" and rec.order_id in self.orders:
            order = self.orders[rec.order_id]
            order.printed = min(order.printed + rec.size, LARGEST)
        elif rec.action in "ACM":
            self.apply(rec)
        there = {(s, p) for s in "BA" for p in self.queues[s]}
        self.lives = {key: life for key, life in self.lives.items() if key in there}

    def clear(self) -> None:
        super().clear()
        self.lives = {}

    def apply(self, rec: Rec) -> None:
        if rec.flags & (TOB | MBP):
            if rec.action in "AM" and not rec.flags & MBP and rec.side in "BA":
                self.top_of_book(rec)
            return
        order: Any = self.orders.get(rec.order_id)
        if rec.action == "C" or (rec.action == "M" and order and rec.size == 0):
            if order:
                self.cancel(order, rec)
        elif rec.price == UNDEF or rec.size == 0 or (rec.side == "N" and not order):
            return
        elif rec.action == "M" and order:
            self.modify(order, rec)
        elif rec.side in "BA":
            self.add(order, rec)

    def top_of_book(self, rec: Rec) -> None:
        for order in [o for o in self.orders.values() if o.side == rec.side]:
            self.leave(order)
        self.lives = {key: life for key, life in self.lives.items() if key[0] != rec.side}
        if rec.price != UNDEF and rec.size:
            self.quiet = True
            oid = 2**64 - 2 - (rec.side == "A")
            self.rest(Standing(oid, rec.side, rec.price, rec.size, 0, shown=rec.size))

    # --- joining

    def rest(self, order: Standing) -> None:
        self.join(order)
        key = (order.side, order.price)
        if key in self.lives:
            return
        self.lives[key] = Level()
        touch = self.touches[order.side]
        better = touch is not None and (touch < order.price) == (order.side == "B")
        if better and touch != order.price and not self.quiet:
            born = Gone(order.side, order.price, order.size, self.now)
            self.births.append((born, self.lives[key]))

    def add(self, old: Standing | None, rec: Rec) -> None:
        if old:
            self.life(old).filled += min(old.printed, old.size)
            self.leave(old)
            if not self.queue(old.side, old.price) and (old.side, old.price) != (
                rec.side,
                rec.price,
            ):
                self.lives.pop((old.side, old.price))
        order = Standing(rec.order_id, rec.side, rec.price, rec.size, 0, shown=rec.size)
        if rec.action == "A" and not self.quiet:
            order.entered = order.placed = self.now
            self.place(order)
            self.follow(order)
        self.rest(order)

    def place(self, order: Standing) -> None:
        touch, side = self.touches[order.side], SIDES[order.side]
        if touch is None or max(abs(touch), abs(order.price)) >= 2**62:
            return
        behind = (touch - order.price) * (1 if order.side == "B" else -1)
        if behind <= 0:
            self.count(f"{side}_add_{'better' if behind else 'touch'}_ct")
        if not self.tick:
            return
        ticks = max(-1000, min(1000, behind // self.tick))
        self.count(f"{side}_add_distance", ticks)
        if behind > 0:
            names = {0: "1", 1: "1", 2: "2", 3: "3_5", 4: "3_5", 5: "3_5"}
            name = names.get(ticks, "6_10" if ticks <= 10 else "far")
            self.count(f"{side}_add_{name}_ct")

    def follow(self, order: Standing) -> None:
        """Does it follow one that was filled here, or one that was cancelled elsewhere?"""
        side = SIDES[order.side]
        for gone in self.recent(self.filled, order):
            if gone.price == order.price:
                gone.used = True
                order.chain = gone.chain + 1
                self.count(f"{side}_reload_10ms_ct", self.now - gone.at <= 10 * MS)
                self.count(f"{side}_reload_50ms_ct")
                self.count(f"{side}_reload_sz", order.size)
                self.count(f"{side}_reload_chain", order.chain)
                break
        for gone in self.recent(self.cancelled, order):
            if gone.price != order.price:
                gone.used = True
                self.count(f"{side}_replace_ct")
                break

    def recent(self, ring: deque[Gone], order: Standing) -> list[Gone]:
        return [
            gone
            for gone in reversed(ring)
            if (gone.side, gone.size) == (order.side, order.size)
            and not gone.used
            and self.now - gone.at <= 50 * MS
        ]

    # --- leaving and moving

    def life(self, order: Order) -> Level:
        return self.lives[order.side, order.price]

    def third(self, order: Order, size: int) -> None:
        if size > 0 and self.touches[order.side] == order.price:
            queue = self.queue(order.side, order.price)
            place = [o is order for o in queue].index(True)
            name = ("front", "middle", "back")[3 * place // len(queue)]
            self.count(f"{SIDES[order.side]}_cancel_{name}_ct")
            self.count(f"{SIDES[order.side]}_cancel_{name}_sz", size)

    def cancel(self, order: Any, rec: Rec) -> None:
        part = rec.size if rec.action == "C" and 0 < rec.size < order.size else order.size
        filled = min(order.printed, part)
        self.life(order).filled += filled
        self.third(order, part - filled)
        if part < order.size:
            order.size -= part
            order.printed -= filled
            return
        side = SIDES[order.side]
        self.count(f"{side}_hidden_sz", max(order.printed - order.size, 0))
        outcome = "filled" if filled == order.size else "cancelled"
        if order.entered is not None:
            life = self.now - order.entered
            name = next((n for n, edge in EDGES if life < edge * MS), "long")
            self.count(f"{outcome}_{name}_ct")
            self.count(f"{outcome}_life", life // 1000)
        if not self.quiet:
            if outcome == "filled":
                gone = Gone(order.side, order.price, order.shown, self.now, order.chain)
                self.filled.append(gone)
            else:
                self.cancelled.append(Gone(order.side, order.price, order.size, self.now))
        self.leave(order)

    def modify(self, order: Any, rec: Rec) -> None:
        side = order.side if rec.side == "N" else rec.side
        filled = min(order.printed, order.size)
        grew = rec.size - (order.size - filled)
        self.life(order).filled += filled
        if (side, rec.price) == (order.side, order.price) and grew <= 0:
            order.mods += (grew != 0 or not filled) and not self.quiet
            order.size, order.printed = rec.size, 0
            return
        here = (side, rec.price) == (order.side, order.price)
        self.count(f"{SIDES[order.side]}_hidden_sz", max(order.printed - order.size, 0))
        self.leave(order)
        if not here and not self.queue(order.side, order.price):
            self.lives.pop((order.side, order.price))
        order.side, order.price, order.size = side, rec.price, rec.size
        order.shown, order.printed, order.placed = rec.size, 0, self.now
        if self.quiet:
            order.entered = order.placed = None
            order.mods = order.chain = 0
        elif here and filled:
            self.count(f"{SIDES[side]}_refill_ct")
            self.count(f"{SIDES[side]}_refill_sz", grew)
        else:
            self.count(f"{SIDES[side]}_repeg_ct", not here)
            order.mods += 1
        self.rest(order)
        if here and filled and not self.quiet:
            self.life(order).refills += 1

    def carry(self) -> None:
        """A new day: what rests is there, and nobody knows since when."""
        for order in self.orders.values():
            order.entered = order.placed = None
            order.shown, order.mods, order.chain = order.size, 0, 0
        self.lives = {key: Level() for key in self.lives}
        self.filled.clear()
        self.cancelled.clear()
        self.births.clear()
        self.flow = {}

    # --- rows

    def row(self, event: int, ts: int) -> Row:
        row: Row = {"event": event}
        for side, name in SIDES.items():
            row |= {f"{name}_{k}": v for k, v in self.state(side, ts).items()}
        for name in self.names:
            wide = name.endswith(("_life", "_distance"))
            number = self.flow.get(name, 0)
            row.setdefault(name, number if wide else min(number, LARGEST))
        behind = ("add_1_ct", "add_2_ct", "add_3_5_ct", "add_6_10_ct", "add_far_ct")
        if not self.tick:
            for name in SIDES.values():
                row |= {f"{name}_{k}": None for k in (*behind, "add_distance")}
        self.flow = {}
        return row

    def state(self, side: str, ts: int) -> Row:
        prices = self.levels(side)
        queue = self.queue(side, prices[0]) if prices else []
        life = self.lives[side, prices[0]] if prices else Level()
        known = [o for o in queue if o.placed is not None]
        size = sum(o.size for o in known)
        ages = sum(o.size * self.us(o.placed) for o in known)
        sizes = sorted(o.size for o in queue)
        half = (len(queue) - 1) // 2
        middling = bool(queue) and len(queue) <= 512
        large = self.large(side, prices, ts)
        return {
            "known_sz": min(size, LARGEST),
            "known_ct": len(known),
            "age_sum": size * self.us(ts) - ages if size < 50_000_000 else None,
            "front_age": age(ts, queue[0]) if queue else None,
            "front_sz": queue[0].size if queue else 0,
            "median_age": age(ts, queue[half]) if middling else None,
            "median_sz": sizes[half] if middling else None,
            "max_sz": max(sizes, default=0),
            "square_sz": sum(s * s for s in sizes) if sum(sizes) < 3 * 10**9 else None,
            "mods_ct": sum(o.mods for o in queue),
            "mods_max": max((o.mods for o in queue), default=0),
            "level_refill_ct": life.refills,
            "level_traded_sz": min(life.traded, LARGEST),
            "level_filled_sz": min(life.filled, LARGEST),
            **large,
            **{
                f"from_{least}_ct": sum(1 for s in sizes if s >= least)
                if len(sizes) <= 512
                else None
                for least in (2, 3, 5, 10, 20, 50, 100, 200, 500)
            },
        }

    def us(self, ts: int) -> int:
        return (ts - self.midnight) // 1000

    def large(self, side: str, prices: list[int], ts: int) -> Row:
        if not self.tick:
            return {"large_sz": None, "large_ticks": None, "large_age": None}
        best, found = 0, {"large_sz": 0, "large_ticks": None, "large_age": None}
        for price in prices:
            far = abs(price - prices[0]) // self.tick
            if far > 10 or (price != prices[0] and max(abs(price), abs(prices[0])) >= 2**62):
                break
            for order in self.queue(side, price):
                if order.size > best:
                    best = order.size
                    found = {"large_sz": best, "large_ticks": far, "large_age": age(ts, order)}
        return found


def age(ts: int, order: Any) -> int | None:
    return None if order.placed is None else ts - order.placed


def reference_queue(
    records: list[Rec],
    date: int,
    day_start: int,
    rows: list[tuple[int, int]],
    names: list[str],
    *,
    tick: int,
    before: list[Rec] | None = None,
) -> list[Row]:
    """Rows of a day at the given (event, ts_recv), after the records of the day ``before``."""
    books: dict[tuple[int, int], QueueBook] = {}
    due = dict(rows)
    found: list[Row] = []

    def play(records: list[Rec], base: int | None) -> list[Rec]:
        events, waiting = split_events(records)
        for number, event in enumerate(events, 1):
            key = (event[0].publisher_id, event[0].instrument_id)
            book = books.setdefault(key, QueueBook(names, tick, day_start))
            book.play(event)
            if base is not None and base + number in due:
                found.append(book.row(base + number, due[base + number]))
        return [rec for event in waiting for rec in event]

    waiting = play(before or [], None)
    for book in books.values():
        book.carry()
    play(waiting + records, date * 10**10)
    return found
