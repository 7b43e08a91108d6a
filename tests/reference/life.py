"""Lives of resting orders in plain dictionaries and lists: what `order_life` must hold.

Each order is a dictionary that is the row in the making; a queue is a list of them.
"""

from __future__ import annotations

from bisect import insort
from typing import Any

from tests.reference.records import (
    BAD_TS,
    LAST,
    MAYBE_BAD,
    MBP,
    SNAPSHOT,
    TOB,
    UNDEF,
    Rec,
    split_events,
)

Row = dict[str, Any]
COUNTS = (
    "modifies_kept", "modifies_lost", "reprices", "partial_cancels", "refills", "refill_size",
    "fills", "fill_size", "queue_fills", "fills_out_of_turn",
    "size_added", "size_executed", "size_cancelled",
)  # fmt: skip
MOMENT = ("event", "ts_recv", "ts_event")
DAY_NS = 86_400 * 10**9


def null(value: int) -> int | None:
    return None if value == UNDEF else value


class LifeBook:
    """One book and the lives of its orders."""

    def __init__(self, key: tuple[int, int], assume_after: int | None = None) -> None:
        self.key = key
        self.assume_after = assume_after
        self.queues: dict[tuple[str, int], list[Row]] = {}
        self.shelf: dict[tuple[str, int], list[Row]] = {}
        self.orders: dict[int, Row] = {}
        self.prices: dict[str, list[int]] = {"B": [], "A": []}  # ascending, those with orders
        self.told: dict[int, int | None] = {}  # ts_event of the record that last placed it
        self.printed: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        self.out: list[Row] = []
        self.clock: int | None = None
        self.first_clock: int | None = None
        self.known = self.bad = False
        self.aggressor = "N"
        self.last: Rec | None = None
        self.snapshot: tuple[bool, int] | None = None

    # --- the book

    def find(self, oid: int) -> Row | None:
        return self.orders.get(oid)

    def queue(self, row: Row) -> list[Row]:
        return self.queues[row["side"], row["price"]]

    def join(self, row: Row, side: str, price: int, size: int, rec: Rec) -> None:
        row |= {"side": side, "price": price}
        if (side, price) not in self.queues:
            insort(self.prices[side], price)
        self.queues.setdefault((side, price), []).append(row)
        self.orders[row["order_id"]] = row
        self.sizes[row["order_id"]] = size
        self.told[row["order_id"]] = null(rec.ts_event)
        self.printed.pop(row["order_id"], None)

    def remove(self, row: Row) -> None:
        queue = self.queue(row)
        queue[:] = [o for o in queue if o is not row]
        del self.orders[row["order_id"]]
        if not queue:
            del self.queues[row["side"], row["price"]]
            self.prices[row["side"]].remove(row["price"])

    def empty(self) -> None:
        self.queues, self.orders, self.prices = {}, {}, {"B": [], "A": []}

    def touch(self, side: str) -> int | None:
        prices = self.prices[side]
        return (prices[-1] if side == "B" else prices[0]) if prices else None

    def in_order(self, queues: dict[tuple[str, int], list[Row]]) -> list[list[Row]]:
        bids = sorted((k for k in queues if k[0] == "B"), key=lambda k: -k[1])
        asks = sorted((k for k in queues if k[0] == "A"), key=lambda k: k[1])
        return [queues[k] for k in (*bids, *asks)]

    # --- entering

    def distance(self, side: str, touch: int | None, price: int) -> int | None:
        if touch is None or max(abs(touch), abs(price)) >= 2**62:
            return None
        return touch - price if side == "B" else price - touch

    def place(self, row: Row, side: str, price: int, size: int, rec: Rec) -> None:
        queue = self.queues.get((side, price), [])
        other = "A" if side == "B" else "B"
        row |= {
            "place_event": self.event,
            "place_ts_recv": self.event_clock,
            "place_ts_event": null(rec.ts_event),
            "place_size": size,
            "place_ahead_orders": len(queue),
            "place_ahead_size": sum(self.sizes[o["order_id"]] for o in queue),
            "place_distance": self.distance(side, self.touches[side], price),
            "place_opposite": self.distance(side, self.touches[other], price),
            "valid": self.known and not self.bad,
        }
        self.join(row, side, price, size, rec)

    def enter(self, rec: Rec) -> None:
        row = self.new(rec.order_id, rec.price, rec.size)
        row["entered"] = "modify" if rec.action == "M" else "add"
        self.place(row, rec.side, rec.price, rec.size, rec)
        for name in (*MOMENT, "ahead_orders", "ahead_size", "distance", "opposite"):
            row[f"entered_{name}"] = row[f"place_{name}"]

    def new(self, oid: int, price: int, size: int) -> Row:
        row: Row = {"publisher_id": self.key[0], "instrument_id": self.key[1], "order_id": oid}
        row |= {"first_price": price, "first_size": size, "max_size": size}
        row |= dict.fromkeys(COUNTS, 0)
        for name in (*MOMENT, "ahead_orders", "ahead_size"):
            row[f"first_fill_{name}"] = None
        row["lost_ts_recv"] = None
        return row

    def there(self, rec: Rec, entered: str) -> None:
        """In a snapshot, or carried over."""
        row = self.new(rec.order_id, rec.price, rec.size)
        for name in (*MOMENT, "ahead_orders", "ahead_size", "distance", "opposite"):
            row[f"entered_{name}"] = row[f"place_{name}"] = None
        row |= {"entered": entered, "place_size": None}
        row |= {"place_ts_event": null(rec.ts_event), "valid": self.known and not self.bad}
        self.join(row, rec.side, rec.price, rec.size, rec)

    def from_snapshot(self, rec: Rec) -> None:
        old = next(
            (o for o in self.shelf.get((rec.side, rec.price), []) if o["order_id"] == rec.order_id),
            None,
        )
        if old is None or old["taken"]:
            self.there(rec, "snapshot")
            return
        old["taken"] = True
        row = {k: v for k, v in old.items() if k not in ("taken", "shelf_size")}
        self.join(row, rec.side, rec.price, rec.size, rec)
        self.resized(row, rec.size - old["shelf_size"], rec.size)

    # --- resting

    def resized(self, row: Row, growth: int, size: int) -> None:
        row["size_added" if growth > 0 else "size_cancelled"] += abs(growth)
        row["max_size"] = max(row["max_size"], size)
        self.sizes[row["order_id"]] = size

    def fill(self, rec: Rec) -> None:
        row = self.find(rec.order_id)
        if row is None:
            return
        queue = self.queue(row)
        left = [
            self.sizes[o["order_id"]] - self.printed.get(o["order_id"], 0)
            for o in queue[: [o is row for o in queue].index(True)]
        ]
        left = [size for size in left if size > 0]
        bid, ask = self.touches["B"], self.touches["A"]
        normal = bid is not None and ask is not None and bid < ask
        met = normal and {rec.side, self.aggressor} == {"A", "B"}
        if not row["fills"]:
            ahead = (len(left), sum(left)) if met else (None, None)
            moment = (self.event, self.event_clock, null(rec.ts_event), *ahead)
            for name, value in zip((*MOMENT, "ahead_orders", "ahead_size"), moment, strict=True):
                row[f"first_fill_{name}"] = value
        row["fills"] += 1
        row["fill_size"] += rec.size
        row["queue_fills"] += met
        row["fills_out_of_turn"] += met and bool(left)
        self.printed[rec.order_id] = min(self.printed.get(rec.order_id, 0) + rec.size, 2**32 - 1)

    # --- leaving

    def leave(self, row: Row, outcome: str, ts_event: int | None, queue: list[Row]) -> None:
        if row.get("tob"):
            return
        place = [o is row for o in queue].index(True)
        sizes = [o.get("shelf_size", self.sizes.get(o["order_id"])) for o in queue]
        resting = outcome == "resting"
        row = {k: v for k, v in row.items() if k not in ("taken", "shelf_size", "tob")}
        self.out.append(
            row
            | {
                "outcome": outcome,
                "left_event": None if resting else self.event,
                "left_ts_recv": None if resting else self.event_clock,
                "left_ts_event": ts_event,
                "left_size": sizes[place],
                "left_ahead_orders": place,
                "left_ahead_size": sum(sizes[:place]),
                "left_queue_orders": len(queue),
                "left_queue_size": sum(sizes),
                "known_at": self.event_clock,
                "written": self.event,
            }
        )

    def clear(self, rec: Rec) -> None:
        for queue in self.in_order(self.queues):
            for row in queue:
                self.leave(row, "cleared", null(rec.ts_event), queue)
        self.empty()

    def clear_shelf(self) -> None:
        for queue in self.in_order(self.shelf):
            for row in queue:
                if not row["taken"]:
                    self.leave(row, "snapshot", None, queue)
        self.shelf = {}

    def cancel(self, row: Row, rec: Rec) -> None:
        oid = row["order_id"]
        size = self.sizes[oid]
        filled = min(self.printed.get(oid, 0), size)
        if rec.action == "C" and 0 < rec.size < size:
            filled = min(filled, rec.size)
            row["size_executed"] += filled
            row["partial_cancels"] += rec.size != filled
            self.resized(row, filled - rec.size, size - rec.size)
            self.printed[oid] = self.printed.get(oid, 0) - filled
            return
        row["size_executed"] += filled
        row["size_cancelled"] += size - filled
        outcome = "filled" if filled == size else "cancelled"
        self.leave(row, outcome, null(rec.ts_event), self.queue(row))
        self.remove(row)

    # --- records

    def modify(self, row: Row, rec: Rec) -> None:
        oid = row["order_id"]
        side = row["side"] if rec.side == "N" else rec.side
        if rec.size == 0:
            self.cancel(row, rec)
            return
        if rec.price == UNDEF:
            return
        filled = min(self.printed.get(oid, 0), self.sizes[oid])
        standing = self.sizes[oid] - filled
        row["size_executed"] += filled
        growth = rec.size - standing
        same = (side, rec.price) == (row["side"], row["price"])
        if same and growth <= 0:
            row["modifies_kept"] += bool(growth) or not filled
            self.resized(row, growth, rec.size)
            self.printed.pop(oid, None)
            return
        if same and filled:
            row["refills"] += 1
            row["refill_size"] += growth
        else:
            row["modifies_lost"] += 1
            row["reprices"] += not same
            if row["lost_ts_recv"] is None:
                row["lost_ts_recv"] = self.event_clock
        self.remove(row)
        self.place(row, side, rec.price, rec.size, rec)
        self.resized(row, growth, rec.size)

    def apply(self, rec: Rec) -> None:
        if rec.flags & (TOB | MBP):
            if rec.action in "AM" and not rec.flags & MBP and rec.side in "BA":
                self.top_of_book(rec)
            return
        if rec.action not in "ACM":
            return
        row = self.find(rec.order_id)
        if row is not None and rec.action == "M":
            self.modify(row, rec)
        elif row is not None and rec.action == "C":
            self.cancel(row, rec)
        elif rec.action != "C" and rec.side in "BA" and rec.price != UNDEF and rec.size:
            if row is not None:
                self.leave(row, "replaced", null(rec.ts_event), self.queue(row))
                self.remove(row)
            if rec.flags & SNAPSHOT:
                self.from_snapshot(rec)
            else:
                self.enter(rec)

    def top_of_book(self, rec: Rec) -> None:
        """All of the side is one level now, which is no order."""
        mine = {key: queue for key, queue in self.queues.items() if key[0] == rec.side}
        for queue in self.in_order(mine):
            for row in list(queue):
                self.leave(row, "replaced", null(rec.ts_event), queue)
        for queue in mine.values():
            for row in list(queue):
                self.remove(row)
        if rec.price != UNDEF and rec.size:
            row = self.new(2**64 - 2 - (rec.side == "A"), rec.price, rec.size) | {"tob": True}
            row["place_ts_event"] = None
            self.join(row, rec.side, rec.price, rec.size, rec)

    def follow_snapshot(self, rec: Rec) -> None:
        was, self.snapshot = self.snapshot, None
        if not rec.flags & SNAPSHOT:
            self.clear_shelf()
            return
        self.snapshot = (bool(rec.flags & LAST), rec.ts_recv)
        if was is not None and (not was[0] or was[1] == rec.ts_recv):
            return
        self.clear_shelf()
        for queue in self.queues.values():
            for row in queue:
                row |= {"taken": False, "shelf_size": self.sizes[row["order_id"]]}
        self.shelf = self.queues
        self.empty()
        self.printed, self.sizes = {}, {}
        self.known, self.bad = True, False

    def advance(self, clock: int | None, rec: Rec) -> int:
        if clock is None:
            return rec.ts_recv
        return clock if rec.flags & (BAD_TS | SNAPSHOT) == BAD_TS else max(clock, rec.ts_recv)

    def play(self, event: list[Rec], number: int) -> None:
        clock = self.clock
        for rec in event:
            clock = self.advance(clock, rec)
        if self.first_clock is None:
            self.first_clock = self.advance(self.clock, event[0])
        assert clock is not None
        self.event, self.event_clock = number, clock
        self.touches = {side: self.touch(side) for side in "BA"}
        last = self.last
        if not (last and last.action in "TF" and last.ts_event == event[0].ts_event):
            self.printed = {}
            self.aggressor = "N"
        for rec in event:
            self.follow_snapshot(rec)
            if rec.action == "R":
                self.clear(rec)
                self.known, self.bad = True, False
            self.bad = self.bad or bool(rec.flags & MAYBE_BAD)
            if rec.action == "T":
                self.aggressor = rec.side if rec.side in "BA" else "N"
            if rec.action == "F":
                self.fill(rec)
            self.apply(rec)
            self.last = rec
        self.clock = clock
        if self.assume_after is not None and clock - self.first_clock >= self.assume_after:
            self.known = True

    def carry(self) -> None:
        """A new day: what rests is carried over, and its past is another table's."""
        self.out, self.shelf = [], {}
        for queue in self.queues.values():
            for place, old in enumerate(queue):
                row = self.new(old["order_id"], old["price"], self.sizes[old["order_id"]])
                for name in (*MOMENT, "ahead_orders", "ahead_size", "distance", "opposite"):
                    row[f"entered_{name}"] = row[f"place_{name}"] = None
                row |= {"entered": "carried", "place_size": None}
                row |= {name: old[name] for name in ("side", "price")}
                row["place_ts_event"] = self.told[row["order_id"]]
                row["valid"] = self.known and not self.bad
                row["tob"] = old.get("tob", False)
                queue[place] = self.orders[row["order_id"]] = row

    def finish(self, day_end: int) -> list[Row]:
        self.clear_shelf()
        for queue in self.in_order(self.queues):
            for row in queue:
                self.leave(row, "resting", None, queue)
        for row in self.out:
            if row["outcome"] == "resting":
                row["known_at"] = day_end
        return self.out


def reference_lives(
    records: list[Rec],
    date: int,
    day_start: int,
    *,
    assume_after: int | None = None,
    before: list[Rec] | None = None,
) -> list[Row]:
    """Rows of a day of one symbol that starts with nothing known, or after the records of the
    day ``before``.
    """
    books: dict[tuple[int, int], LifeBook] = {}

    def play(records: list[Rec]) -> list[Rec]:
        events, waiting = split_events(records)
        for number, event in enumerate(events, 1):
            key = (event[0].publisher_id, event[0].instrument_id)
            book = books.setdefault(key, LifeBook(key, assume_after))
            book.play(event, date * 10**10 + number)
        return [rec for event in waiting for rec in event]

    waiting = play(before or [])
    for book in books.values():
        book.carry()
    play(waiting + records)
    left = sorted((row for book in books.values() for row in book.out), key=_written)
    seen = {key: len(book.out) for key, book in books.items()}
    for key in sorted(books):
        left += books[key].finish(day_start + DAY_NS)[seen[key] :]
    return [{k: v for k, v in row.items() if k != "written"} for row in left]


def _written(row: Row) -> int:
    return int(row["written"])
