"""The order book in plain dictionaries and lists: slow, obvious, independent of the kernels.

A day is first cut into events, then each event is played through.  Everything the book stage
writes is computed here a second time: rows of `book`, `flow` and `trades`, the numbers of
`quality`, and the orders that rest at the end.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.reference.queues import Order, Queues
from tests.reference.records import (
    BAD_TS,
    LARGEST,
    LAST,
    MAYBE_BAD,
    MBP,
    OTHER,
    SIDES,
    SNAPSHOT,
    TOB,
    UNDEF,
    Rec,
    split_events,
)


@dataclass
class Result:
    book: list[dict[str, Any]] = field(default_factory=list)
    flow: list[dict[str, Any]] = field(default_factory=list)
    trades: list[dict[str, Any]] = field(default_factory=list)
    quality: dict[str, Any] = field(default_factory=dict)
    orders: dict[tuple[int, int], list[tuple[Any, ...]]] = field(default_factory=dict)
    ends: list[tuple[int, Any]] = field(default_factory=list)
    """(event, {side: [(price, size, count), ...]}) at every event end, if asked for."""


class ReferenceBook(Queues):
    """One book."""

    def __init__(self, depth: int, grid_step: int | None, assume_after: int | None) -> None:
        super().__init__(depth)
        self.grid_step = grid_step
        self.assume_after = assume_after
        self.counts: dict[str, int] = defaultdict(int)
        self.flow: dict[str, int] = defaultdict(int)
        self.sequences: dict[int, int] = {}
        self.clock: int | None = None
        self.first_clock: int | None = None
        self.end_clock: int | None = None
        self.known = self.bad = self.valid = False
        self.start = "unknown"
        self.begun = False
        self.state = "one_sided"
        self.aggressor = "N"
        self.last: Rec | None = None
        self.number = 0
        self.last_top: Any = self.top()
        self.snapshot: tuple[str, int] | None = None
        self.grid_events = 0
        self.printed: list[Order] = []

    # --- flow

    def zone(self, side: str, price: int) -> str:
        better = (lambda a, b: a >= b) if side == "B" else (lambda a, b: a <= b)
        before = self.before[side]
        if not before or better(price, before[0]):
            return "l1"
        if len(before) < 10 or better(price, before[9]):
            return "l2_10"
        return "deep"

    def count(self, side: str, price: int, kind: str, size: int) -> None:
        if size > 0 and not self.quiet:
            name = f"{SIDES[side]}_{self.zone(side, price)}_{kind}"
            self.flow[name + "_ct"] += 1
            self.flow[name + "_sz"] = min(self.flow[name + "_sz"] + size, LARGEST)

    # --- records that change the book

    def apply(self, rec: Rec) -> None:
        self.quiet = bool(rec.flags & SNAPSHOT)
        counts = self.counts
        if rec.action == "R":
            counts["clears"] += 1
            self.clear()
            return
        if rec.action == "A" and not self.quiet:
            counts["adds"] += 1
        if rec.action == "C":
            counts["cancels"] += 1
        if rec.action == "M":
            counts["modifies"] += 1
        if rec.action not in "ACM":
            counts["ignored"] += rec.action != "N"
            return
        if rec.flags & TOB and not rec.flags & MBP and rec.action in "AM" and rec.side != "N":
            self.replace_side(rec)
            return
        if rec.flags & (TOB | MBP):
            counts["ignored"] += 1
            return
        order = self.orders.get(rec.order_id)
        if rec.action == "C":
            if order is None:
                counts["orphan_cancels"] += 1
            else:
                self.cancel(order, rec.size)
        elif rec.action == "M" and order is not None:
            self.modify(order, rec)
        else:
            self.add(order, rec)

    def replace_side(self, rec: Rec) -> None:
        """A top-of-book record: one level, or none, is all there is of its side."""
        old = [order for order in self.orders.values() if order.side == rec.side]
        if old:
            best = self.levels(rec.side)[0]
            for order in old:
                self.leave(order)
            self.count(rec.side, best, "cancel", sum(order.size for order in old))
        if rec.price != UNDEF and rec.size > 0:
            order_id = 2**64 - 2 - (rec.side == "A")
            self.join(Order(order_id, rec.side, rec.price, rec.size, rec.ts_event))
            self.count(rec.side, rec.price, "add", rec.size)

    def add(self, order: Order | None, rec: Rec) -> None:
        if rec.side == "N" or rec.price == UNDEF or rec.size == 0:
            self.counts["ignored"] += 1
            return
        if rec.action == "M":
            self.counts["orphan_modifies"] += 1
        if order is not None:
            self.counts["duplicate_adds"] += 1
            self.cancel(order, 0)
        self.join(Order(rec.order_id, rec.side, rec.price, rec.size, rec.ts_event))
        self.count(rec.side, rec.price, "add", rec.size)

    def cancel(self, order: Order, size: int) -> None:
        removed = size if 0 < size < order.size else order.size
        filled = min(order.printed, order.size, removed)
        self.count(order.side, order.price, "fill", filled)
        self.count(order.side, order.price, "cancel", removed - filled)
        if removed == order.size:
            self.leave(order)
        else:
            order.size -= removed
            order.printed -= filled

    def modify(self, order: Order, rec: Rec) -> None:
        side = order.side if rec.side == "N" else rec.side
        if rec.size == 0:
            self.cancel(order, 0)
            return
        if rec.price == UNDEF:
            self.counts["ignored"] += 1
            return
        same_place = (side, rec.price) == (order.side, order.price)
        filled = min(order.printed, order.size)
        # What F printed is gone: anything above the rest is an increase.
        if same_place and rec.size <= order.size - filled:
            removed = order.size - rec.size
            self.count(order.side, order.price, "fill", filled)
            self.count(order.side, order.price, "modify_keep", removed - filled)
            order.size = rec.size
            order.printed = 0
            return
        self.count(order.side, order.price, "fill", filled)
        self.count(order.side, order.price, "modify_lose", order.size - filled)
        self.leave(order)
        self.join(Order(rec.order_id, side, rec.price, rec.size, rec.ts_event))
        self.count(side, rec.price, "modify_join", rec.size)

    # --- events

    def advance(self, clock: int | None, rec: Rec) -> int:
        if clock is None:
            return rec.ts_recv
        if rec.flags & BAD_TS and not rec.flags & SNAPSHOT:
            return clock
        return max(clock, rec.ts_recv)

    def play(self, event: list[Rec], number: int, out: Result) -> None:
        """Play one event through."""
        clock = self.clock
        for rec in event:
            clock = self.advance(clock, rec)
        assert clock is not None
        self.grid_row(clock, out)
        self.before = {side: self.levels(side, 10) for side in "BA"}
        self.continue_execution(event[0])
        prints: list[dict[str, Any]] = []
        for rec in event:
            self.one(rec, prints)
        self.end(event, number, prints, out)

    def continue_execution(self, rec: Rec) -> None:
        last = self.last
        if last and last.action in "TF" and last.ts_event == rec.ts_event:
            return
        self.aggressor = "N"
        for order in self.printed:
            order.printed = 0
        self.printed = []

    def one(self, rec: Rec, prints: list[dict[str, Any]]) -> None:
        counts = self.counts
        if rec.flags & BAD_TS:
            counts["bad_ts_rows"] += 1
        elif self.clock is not None and rec.ts_recv < self.clock:
            counts["ts_recv_regressions"] += 1
        self.clock = self.advance(self.clock, rec)
        if self.first_clock is None:
            self.first_clock = self.clock
        if rec.flags & SNAPSHOT:
            counts["snapshot_rows"] += 1
        else:
            counts["sequence_regressions"] += rec.sequence < self.sequences.get(rec.channel_id, -1)
            self.sequences[rec.channel_id] = rec.sequence
        self.follow_snapshot(rec)
        if rec.action == "R":
            self.restart("clear")
        elif rec.action != "N":
            self.begun = True
        if rec.flags & MAYBE_BAD:
            self.bad = True
        if rec.action == "T":
            self.trade(rec, prints)
        elif rec.action == "F":
            self.fill(rec)
        else:
            self.apply(rec)
        self.last = rec

    def follow_snapshot(self, rec: Rec) -> None:
        if not rec.flags & SNAPSHOT:
            self.snapshot = None
            return
        goes_on = self.snapshot is not None and (
            self.snapshot[0] == "open" or self.snapshot[1] == rec.ts_recv
        )
        if not goes_on:
            self.clear()
            self.restart("snapshot")
        self.snapshot = ("ended" if rec.flags & LAST else "open", rec.ts_recv)

    def restart(self, start: str) -> None:
        if not self.begun and (
            self.start == "unknown" or (self.start, start) == ("clear", "snapshot")
        ):
            self.start = start
        self.known, self.bad = True, False

    def trade(self, rec: Rec, prints: list[dict[str, Any]]) -> None:
        self.counts["trades"] += 1
        self.aggressor = rec.side if rec.side in "BA" else "N"
        (bid_px, bid_sz), (ask_px, ask_sz) = self.touch("B"), self.touch("A")
        prints.append(
            {
                "ts_recv": self.clock,
                "ts_event": None if rec.ts_event == UNDEF else rec.ts_event,
                "price": None if rec.price == UNDEF else rec.price,
                "size": rec.size,
                "side": rec.side,
                "publisher_id": rec.publisher_id,
                "instrument_id": rec.instrument_id,
                "bid_px": bid_px,
                "ask_px": ask_px,
                "bid_sz": min(bid_sz, LARGEST),
                "ask_sz": min(ask_sz, LARGEST),
                "record": rec.record,
            }
        )

    def fill(self, rec: Rec) -> None:
        self.counts["fills"] += 1
        order = self.orders.get(rec.order_id)
        if order is None:
            self.counts["orphan_fills"] += 1
            return
        if (
            self.state == "normal"
            and rec.side in "BA"
            and self.aggressor in "BA"
            and rec.side != self.aggressor
        ):
            queue = self.queues[order.side][order.price]
            ahead = queue[: queue.index(order)]
            self.counts["fifo_fills"] += 1
            self.counts["fifo_consistent"] += all(o.printed >= o.size for o in ahead)
        order.printed = min(order.printed + rec.size, LARGEST)
        self.printed.append(order)

    def current_state(self) -> str:
        bid, ask = self.touch("B")[0], self.touch("A")[0]
        if bid is None or ask is None:
            return "one_sided"
        return "normal" if bid < ask else "locked" if bid == ask else "crossed"

    def end(self, event: list[Rec], number: int, prints: list[dict[str, Any]], out: Result) -> None:
        assert self.clock is not None
        assert self.first_clock is not None
        self.counts["events"] += 1
        if self.end_clock is not None and self.state in {"locked", "crossed"}:
            self.counts[f"{self.state}_ns"] += self.clock - self.end_clock
        self.end_clock = self.clock
        self.number = number
        self.state = self.current_state()
        if self.assume_after is not None and self.clock - self.first_clock >= self.assume_after:
            self.known = True
        valid = self.known and not self.bad
        top = self.top()
        changed = (
            top != self.last_top
            or valid != self.valid
            or bool(prints)
            or any(rec.flags & SNAPSHOT for rec in event)
        )
        self.valid = valid
        self.grid_events += 1
        if changed and self.grid_step is None:
            self.row(self.clock, out)
        for row in prints:
            same = [rec for rec in event if rec.action == "T"]
            sided = [rec.size for rec in same if _side(rec.side) == _side(row["side"])]
            fills = [rec for rec in event if rec.action == "F"]
            if _side(row["side"]) != "N":
                fills = [rec for rec in fills if rec.side == OTHER[row["side"]]]
            row |= {"event": number, "aggressor_size": min(sum(sided), LARGEST)}
            row["aggressor_fills"] = len(fills)
            out.trades.append(row)

    def row(self, ts_recv: int, out: Result) -> None:
        assert self.last is not None
        self.last_top = top = self.top()
        self.counts["book_rows"] += 1
        row: dict[str, Any] = {
            "event": self.number,
            "ts_recv": ts_recv,
            "ts_event": None if self.last.ts_event == UNDEF else self.last.ts_event,
            "sequence": self.last.sequence,
            "publisher_id": self.last.publisher_id,
            "instrument_id": self.last.instrument_id,
            "valid": self.valid,
            "state": self.state,
        }
        for level in range(self.depth):
            for side, name in SIDES.items():
                price, size, count = top[side][level]
                row[f"{name}_px_{level:02d}"] = price
                row[f"{name}_sz_{level:02d}"] = min(size, LARGEST)
                row[f"{name}_ct_{level:02d}"] = count
        out.book.append(row)
        out.flow.append({"event": self.number, **self.flow})
        self.flow = defaultdict(int)

    def grid_row(self, until: int | None, out: Result) -> None:
        """The row at t, once an event ends at t or later (or the day ends: until is None)."""
        if self.grid_step is None or not self.grid_events or self.end_clock is None:
            return
        due = (self.end_clock // self.grid_step + 1) * self.grid_step
        if until is None or until >= due:
            self.row(due, out)
            self.grid_events = 0


def _side(side: str) -> str:
    return side if side in "BA" else "N"


def reference_day(
    records: list[Rec],
    date: int,
    *,
    depth: int = 10,
    grid_step: int | None = None,
    assume_after: int | None = None,
    keep_ends: bool = False,
) -> Result:
    """A day of one symbol that starts with nothing known."""
    out = Result()
    books: dict[tuple[int, int], ReferenceBook] = {}
    events, waiting = split_events(records)
    for number, event in enumerate(events, 1):
        key = (event[0].publisher_id, event[0].instrument_id)
        book = books.setdefault(key, ReferenceBook(depth, grid_step, assume_after))
        book.play(event, date * 10**10 + number, out)
        if keep_ends:
            out.ends.append((date * 10**10 + number, book.top()))
    for event in waiting:
        key = (event[0].publisher_id, event[0].instrument_id)
        books.setdefault(key, ReferenceBook(depth, grid_step, assume_after))
    for book in books.values():
        book.grid_row(None, out)
    for rows in (out.book, out.flow, out.trades):
        rows.sort(key=lambda row: row["event"])
    out.quality = _quality(records, books)
    out.orders = {key: book.queue_order() for key, book in books.items()}
    return out


def _quality(records: list[Rec], books: dict[tuple[int, int], ReferenceBook]) -> dict[str, Any]:
    known = ["empty", "clear", "snapshot", "carried", "unknown"]
    total: dict[str, Any] = defaultdict(int)
    total["records"] = len(records)
    for book in books.values():
        for name, number in book.counts.items():
            total[name] += number
    total["start"] = max((b.start for b in books.values()), key=known.index, default="unknown")
    return total
