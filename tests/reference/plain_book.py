"""A book anybody can check: lists of order ids by price, and what each record does to them."""

from __future__ import annotations

from dataclasses import dataclass

LAST, SNAPSHOT, MAYBE_BAD = 128, 32, 4
OTHER = {"B": "A", "A": "B"}


@dataclass
class Record:
    ts_recv: int
    ts_event: int
    order: int
    price: int | None
    size: int
    flags: int
    action: str
    side: str
    number: int = 0
    begins: bool = False
    """It begins an execution: what was printed before is of another."""


@dataclass
class Resting:
    side: str
    price: int
    size: int
    joined: int
    """How many times orders had joined queues of this book by then, itself among them."""


@dataclass
class Change:
    """What a record did to an order: ``left`` its place, ``joined`` the tail of a queue."""

    order: int
    left: bool = False
    joined: bool = False


class PlainBook:
    """Of one instrument; an increase or another price loses priority, a decrease keeps it."""

    def __init__(self):
        self.joins = 0
        self.printed: dict[int, int] = {}  # what F records of the execution said, until C or M
        self.snapshot: tuple[bool, int] | None = None  # (its F_LAST has been seen, ts_recv)
        self.forget()

    def forget(self):
        self.orders: dict[int, Resting] = {}
        self.queues: dict[tuple[str, int], list[int]] = {}
        self._prices: dict[str, set[int]] = {"B": set(), "A": set()}

    def best(self, side):
        prices = self._prices[side]
        return (max(prices) if side == "B" else min(prices)) if prices else None

    def prices(self, side):
        """The best first."""
        return sorted(self._prices[side], reverse=side == "B")

    def queue(self, side, price):
        """Ids in the order of their priority."""
        return self.queues.get((side, price), [])

    def crossed(self):
        bid, ask = self.best("B"), self.best("A")
        return bid is not None and ask is not None and bid > ask

    def shown(self, side):
        """(price, size, orders) of the best level; price None on an empty side."""
        price = self.best(side)
        queue = self.queue(side, price)
        return price, sum(self.orders[i].size for i in queue), len(queue)

    def starts_snapshot(self, r: Record):
        """Whether a record is the first of a snapshot; to be asked once a record."""
        if not r.flags & SNAPSHOT:
            self.snapshot = None
            return False
        before, self.snapshot = self.snapshot, (bool(r.flags & LAST), r.ts_recv)
        return before is None or (before[0] and before[1] != r.ts_recv)

    def _take_out(self, order):
        resting = self.orders.pop(order)
        key = resting.side, resting.price
        self.queues[key].remove(order)
        if not self.queues[key]:
            del self.queues[key]
            self._prices[resting.side].discard(resting.price)
        self.printed.pop(order, None)

    def _join(self, order, side, price, size):
        self.joins += 1
        self.orders[order] = Resting(side, price, size, self.joins)
        self.queues.setdefault((side, price), []).append(order)
        self._prices[side].add(price)

    def apply(self, r: Record) -> Change | None:
        """A record; None where it changes nothing."""
        if r.begins:
            self.printed = {}
        if r.action == "F" and r.order in self.orders:
            self.printed[r.order] = self.printed.get(r.order, 0) + r.size
        if r.action not in "ACM":
            return None
        standing = self.orders.get(r.order)
        if r.action == "C" or (r.action == "M" and standing and r.size <= 0):
            if not standing:
                return None
            if r.action == "C" and 0 < r.size < standing.size:
                printed = self.printed.get(r.order, 0)
                self.printed[r.order] = printed - min(printed, r.size)
                standing.size -= r.size
                return Change(r.order)
            self._take_out(r.order)
            return Change(r.order, left=True)
        side = r.side
        if r.action == "M" and standing and side == "N":
            side = standing.side
        if side == "N" or r.price is None or r.size <= 0:
            return None
        if standing and r.action == "M" and (standing.side, standing.price) == (side, r.price):
            out = min(self.printed.get(r.order, 0), standing.size)
            # What F printed is gone already: to be refilled is an increase.
            refilled = out > 0 and r.size > standing.size - out
            if not refilled and r.size <= standing.size:
                gone = min(out, standing.size - r.size)
                self.printed[r.order] = self.printed.get(r.order, 0) - gone
                standing.size = r.size
                return Change(r.order)
        if standing:
            self._take_out(r.order)
        self._join(r.order, side, r.price, r.size)
        return Change(r.order, left=bool(standing), joined=True)
