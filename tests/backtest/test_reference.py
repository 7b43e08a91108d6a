"""The compiled simulator against the plain one, on markets drawn at random."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.options import SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.backtest.tables import FILL_REASONS, ORDER_REASONS, ORDER_STATUS
from pipeline.units import F_LAST, F_SNAPSHOT, PRICE_SCALE, UNDEF_PRICE
from tests.backtest.scenario import (
    RULE,
    Decision,
    Session,
    Tape,
    decisions_array,
)
from tests.reference.plain_book import Record
from tests.reference.simulator import Options, Simulator


class Market:
    """Draws records: mostly legal events round a price of 100, and some that should not be."""

    def __init__(self, seed: int, scale: int, *, refills: bool = False) -> None:
        self.refills = refills
        """Orders may show more again after they were filled."""
        self.rng = random.Random(seed)
        self.scale = scale
        self.tape = Tape()
        self.ts = -50 * scale
        self.orders: dict[int, tuple[str, int, int]] = {}
        self.next = 1
        self.tape.add(self.ts, "R N - 0 #0")

    weights = {
        "add": 40, "cancel": 20, "modify": 15, "trade": 14, "sweep": 6, "odd": 4, "snapshot": 0.6,
        "clear": 0.15, "auction": 0.6,
    }  # fmt: skip

    def step(self) -> None:
        self.ts += self.rng.choice([0, 1, 1, 2, 7, 30]) * self.scale
        kind = self.rng.choices(list(self.weights), list(self.weights.values()))[0]
        getattr(self, kind)()

    def price(self, side: str) -> int:
        base = 100 if side == "B" else 101
        away = min(int(self.rng.expovariate(0.7)), 6) - (self.rng.random() < 0.12)
        return base - away if side == "B" else base + away

    def put(self, side: str, price: int, size: int) -> str:
        number, self.next = self.next, self.next + 1
        self.orders[number] = (side, price, size)
        return f"A {side} {price} {size} #{number}"

    def add(self) -> None:
        side = self.rng.choice("BA")
        self.tape.add(self.ts, self.put(side, self.price(side), self.rng.randint(1, 6)))

    def pick(self) -> int | None:
        return self.rng.choice(sorted(self.orders)) if self.orders else None

    def cancel(self) -> None:
        number = self.pick()
        if number is None:
            return
        side, price, size = self.orders[number]
        out = size if self.rng.random() < 0.85 else self.rng.randint(1, size)
        if out == size:
            del self.orders[number]
        else:
            self.orders[number] = (side, price, size - out)
        self.tape.add(self.ts, f"C {side} {price} {out} #{number}")

    def modify(self) -> None:
        number = self.pick()
        if number is None:
            return
        side, price, _ = self.orders[number]
        if self.rng.random() < 0.5:
            price = self.price(side)
        size = self.rng.randint(1, 7)
        self.orders[number] = (side, price, size)
        self.tape.add(self.ts, f"M {side} {price} {size} #{number}")

    def queue(self, side: str) -> list[int]:
        """Ids by price, then id: nearly priority, and sometimes not."""
        mine = [n for n, o in self.orders.items() if o[0] == side]
        sign = -1 if side == "B" else 1
        return sorted(mine, key=lambda n: (sign * self.orders[n][1], n))

    def hit(self, side: str, number: int, size: int) -> tuple[list[str], list[str]]:
        _, price, left = self.orders[number]
        first = [f"F {side} {price} {size} #{number}"]
        if size == left:
            del self.orders[number]
            return first, [f"C {side} {price} {size} #{number}"]
        shown = left - size
        if self.refills and self.rng.random() < 0.2:
            shown += self.rng.randint(1, size)
        self.orders[number] = (side, price, shown)
        return first, [f"M {side} {price} {shown} #{number}"]

    def trade(self, most: int = 1) -> None:
        side = self.rng.choice("BA")
        other = "A" if side == "B" else "B"
        queue = self.queue(side)[: self.rng.randint(1, most)]
        if not queue:
            return
        if self.rng.random() < 0.1:
            queue = queue[-1:]
        texts, after = [], []
        for number in queue:
            _, price, left = self.orders[number]
            size = left if number != queue[-1] else self.rng.randint(1, left)
            fills, changes = self.hit(side, number, size)
            texts += [f"T {other} {price} {size} #0", *fills]
            after += changes
        if self.rng.random() < 0.25:
            after.insert(0, self.put(other, price, self.rng.randint(1, 4)))
        if self.rng.random() < 0.1:  # the aggressor rested before, and prints on its own side
            own = self.queue(other)
            if own:
                texts.append(f"F {other} {price} 1 #{own[-1]}")
        if self.rng.random() < 0.2:  # events of their own, as on some venues
            for text in texts + after:
                self.tape.add(self.ts, text)
        else:
            self.tape.event(self.ts, *texts, *after)

    def sweep(self) -> None:
        self.trade(most=7)

    def odd(self) -> None:
        side = self.rng.choice("BA")
        other = "A" if side == "B" else "B"
        price = self.price(side)
        text = self.rng.choice(
            [
                (f"T {other} {price} 3 #0",),
                (f"T {other} {price} 3 #0", f"F {side} {price} 2 #9999"),
                (f"C {side} {price} 2 #8888",),
                (f"M {side} {price} 2 #{self.next + 10_000}",),
                ("N N - 0 #0",),
                (f"T N {price} 2 #0",),
                (f"A {side} {price} 2 #{self.pick() or 7}",),
            ]
        )
        self.tape.event(self.ts, *text)
        if self.rng.random() < (0.02 if self.refills else 0.1):
            self.tape.add(self.ts, self.put(side, price, 1), flags=4)

    def snapshot(self) -> None:
        texts = []
        for number, (side, price, size) in list(self.orders.items()):
            if self.rng.random() < 0.1:
                del self.orders[number]
            else:
                texts.append(f"A {side} {price} {size} #{number}")
        for side in "BA":
            texts.insert(self.rng.randint(0, len(texts)), self.put(side, self.price(side), 2))
        rows = (["R N - 0 #0"] if self.rng.random() < 0.5 else []) + texts
        last = self.rng.random() < 0.5
        for i, text in enumerate(rows):
            ends = last and i == len(rows) - 1
            self.tape.add(self.ts - 90, text, last=ends, flags=F_SNAPSHOT | 8, recv=self.ts)

    def clear(self) -> None:
        self.orders.clear()
        self.tape.add(self.ts, "R N - 0 #0")

    def auction(self) -> None:
        bids, asks = self.queue("B")[:3], self.queue("A")[:2]
        if not bids or not asks:
            return
        price = self.orders[bids[-1]][1]
        fills, changes, volume = [], [], 0
        for side, number in [("B", n) for n in bids] + [("A", n) for n in asks]:
            size = self.rng.randint(1, self.orders[number][2])
            volume += size
            _, changed = self.hit(side, number, size)
            fills.append(f"F N {price} {size} #{number}")
            changes += changed
        self.tape.event(self.ts, f"T N {price} {max(1, volume // 2)} #0", *fills, *changes)


def draw(seed: int) -> tuple[Tape, list[Decision], SimOptions, Session, int | None]:
    rng = random.Random(seed * 7919)
    scale = rng.choice([1, 1000, 40_000_000])
    market = Market(seed, scale)
    for _ in range(30):
        market.add()
    while len(market.tape.rows) < 350:
        market.step()
    decisions = []
    ts = 0
    # Events up to the last row of a snapshot without F_LAST count as the reference counts them.
    for i in range(rng.randint(2, 25)):
        ts += rng.randint(0, 60) * scale
        decisions.append(
            Decision(
                ts,
                rng.choice([None, -4, -2, -1, 0, 0, 1, 2, 5]),
                rng.choice([None, 99, 100, 100, 100, 101]),
                rng.choice([None, 101, 101, 101, 100, 102]),
                event=min(i * 10, 200),
            )
        )
    options = SimOptions(
        reading=rng.choice(["exact", "exact", "optimistic", "pessimistic"]),
        entry_latency=rng.choice([0, 1, 5, 40]) * scale,
        response_latency=rng.choice([0, 2, 9]) * scale,
        passive=rng.random() < 0.8,
        patience=rng.choice([10, 50, 400]) * scale,
        grid=rng.random() < 0.3,
    )
    end = market.ts + rng.choice([-100, 10, 500]) * scale
    opens = rng.choice([0, 0, 20 * scale])
    end = max(end, opens + 200 * scale)
    session = Session(-40 * scale, end, ((opens, end),))
    return market.tape, decisions, options, session, rng.choice([None, 60 * scale])


def run_kernel(tape, decisions, options, session, flatten, chunk=10**9, date_base=0):
    rows = decisions_array(decisions)
    replay = Replay(options, timetable([session], flatten), RULE, lambda _: rows)
    replay.sim.meta[st.EVENT_BASE] = date_base
    whole = tape.chunk()
    for start in range(0, len(tape.rows), chunk):
        part = slice(start, start + chunk)
        records = type(whole.records)(*(c[part] for c in whole.records))
        replay.feed(type(whole)(records, whole.publisher[part], whole.instrument[part]))
    replay.finish(session.close_ns)
    taken = replay.take(last=True)
    fills = [
        (
            int(r[st.F_ORDER]),
            int(r[st.F_TS]),
            int(r[st.F_SIZE]) * (1 if r[st.F_SIDE] == 0 else -1),
            int(r[st.F_PRICE]),
            FILL_REASONS[r[st.F_REASON]],
            None if r[st.F_AHEAD] == UNDEF_PRICE else int(r[st.F_AHEAD]),
            None if r[st.F_ENTRY_AHEAD] == UNDEF_PRICE else int(r[st.F_ENTRY_AHEAD]),
            int(r[st.F_POSITION]),
        )
        for r in taken.fills
    ]
    orders = [
        (
            int(r[st.O_SIDE]) == 0,
            None if r[st.O_PRICE] == UNDEF_PRICE else int(r[st.O_PRICE]),
            int(r[st.O_SIZE]),
            int(r[st.O_FILLED]),
            ORDER_STATUS[r[st.O_STATUS]],
            ORDER_REASONS[r[st.O_REASON]],
            int(r[st.O_ENTRY_AHEAD]) if r[st.O_MARKER] >= 0 else None,
            int(r[st.O_REPLACED]),
        )
        for r in taken.orders
    ]
    return fills, orders


def run_reference(tape, decisions, options, session, flatten):
    def px(value):
        return None if value is None else int(value * PRICE_SCALE)

    simulator = Simulator(
        Options(
            options.reading,
            options.entry_latency,
            options.response_latency,
            passive=options.passive,
            patience=options.patience,
            grid=options.grid,
        ),
        [session],
        flatten,
        [(d.ts, d.event, d.target, px(d.bid), px(d.ask)) for d in decisions],
    )
    play(simulator, tape, session.close_ns)
    fills = [
        (
            f["order"], f["ts"], f["size"], f["price"], f["reason"], f["ahead"], f["entry"],
            f["position"],
        )
        for f in simulator.venue.fills
    ]  # fmt: skip
    orders = [
        (o.buy, o.price, o.size, o.filled, o.status, o.reason, o.entry, o.replaced)
        for o in simulator.venue.own
    ]
    return fills, orders


def play(simulator, tape, until):
    """All of a tape through the plain simulator."""
    for number, (ts_recv, ts_event, order, price, size, flags, action, side) in enumerate(
        tape.rows
    ):
        known = None if price == UNDEF_PRICE else price
        simulator.feed(
            Record(ts_recv, ts_event, order, known, size, flags, chr(action), chr(side), number)
        )
    simulator.finish(until)


@pytest.mark.parametrize("block", range(10))
def test_kernel_equals_reference(block):
    filled = 0
    for seed in range(block * 40, block * 40 + 40):
        drawn = draw(seed)
        expected = run_reference(*drawn)
        for chunk in (10**9, 17):
            got = run_kernel(*drawn, chunk=chunk)
            assert got[0] == expected[0], f"fills, seed {seed}"
            assert got[1] == expected[1], f"orders, seed {seed}"
        filled += len(expected[0])
    assert filled > 100


def test_draws_meet_every_rule():
    reasons, whys = set(), set()
    for seed in range(400):
        fills, orders = run_kernel(*draw(seed))
        reasons |= {f[4] for f in fills}
        whys |= {(o[4], o[5]) for o in orders}

    assert reasons == set(FILL_REASONS)
    assert {"book_cleared", "closed", "crossed", "invalid", "no_depth"} <= {w for _, w in whys}


def test_last_event_of_a_tape_counts():
    tape, *_ = draw(3)

    ends = sum(1 for row in tape.rows if row[5] & F_LAST)
    replay = Replay(SimOptions(), timetable([], None), RULE, lambda _: np.zeros((0, 5), np.int64))
    replay.feed(tape.chunk())
    assert replay.sim.meta[st.EVENT_NUMBER] >= ends
