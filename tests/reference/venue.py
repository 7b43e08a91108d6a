"""The venue of the slow simulator: a book, our orders in it, and who fills them.

Written from the fill rules, not from the kernel: the queue ahead of an order is kept as the very
ids that stand before it, books are lists of ids by price.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LAST, SNAPSHOT, MAYBE_BAD = 128, 32, 4
MARKET, RECEIPT, ARRIVAL, ACK, FILL, TIMER = range(6)


@dataclass
class Record:
    ts_recv: int
    ts_event: int
    order: int
    price: int
    size: int
    flags: int
    action: str
    side: str


@dataclass
class Own:
    number: int
    buy: bool
    kind: str
    price: int | None
    size: int
    decided: int
    filled: int = 0
    status: str = "sent"
    reason: str = "none"
    ahead: set[int] = field(default_factory=set)
    entry: int | None = None
    rested: bool = False
    replaced: int = 0

    @property
    def left(self) -> int:
        return self.size - self.filled


@dataclass
class Options:
    reading: str = "exact"
    entry: int = 0
    response: int = 0
    passive: bool = True
    patience: int = 10**18
    retry: int = 10**9
    grid: bool = False


class Venue:
    """The venue: its book, our orders in it, and what is under way between it and us."""

    def __init__(self, options):
        self.o = options
        self.orders: dict[int, list] = {}  # id -> [side, price, size]
        self.queues: dict[tuple[str, int], list[int]] = {}
        self.prices: dict[str, set[int]] = {"B": set(), "A": set()}
        self.printed: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.own: list[Own] = []
        self.live: list[Own] = []
        self.fills: list[tuple] = []
        self.pending: list[tuple] = []
        self.seq = 0
        self.clock = None
        self.phase, self.valid, self.crossed = "closed", False, False
        self.allowed = False
        self.position = 0
        self.prints: list = []
        self.saw_fill = False
        self.aggressor: str | None = None
        self.auction_size = 0
        self.auction_price = 0
        self.auction_used = {"B": 0, "A": 0}
        self.rested: list[int] = []

    # --- the book ---------------------------------------------------------------------------

    def best(self, side):
        prices = self.prices[side]
        return (max(prices) if side == "B" else min(prices)) if prices else None

    def _remove(self, order):
        side, price, _ = self.orders.pop(order)
        self.queues[side, price].remove(order)
        if not self.queues[side, price]:
            del self.queues[side, price]
            self.prices[side].discard(price)

    def forget(self):
        self.orders, self.queues, self.prices = {}, {}, {"B": set(), "A": set()}

    def _join(self, order, side, price, size):
        self.orders[order] = [side, price, size]
        self.queues.setdefault((side, price), []).append(order)
        self.prices[side].add(price)

    def _no_longer_ahead(self, order):
        for own in self.live:
            own.ahead.discard(order)

    def ahead(self, own):
        return sum(self.orders[i][2] for i in own.ahead if i in self.orders)

    def apply(self, r: Record, live: bool):
        """A, C, M on the book; ``live``: not a snapshot row."""
        known = r.order in self.orders
        touched = False
        joined = False
        if r.action == "C":
            if not known:
                return
            size = self.orders[r.order][2]
            touched = True
            if 0 < r.size < size:
                self.orders[r.order][2] = size - r.size
                before = self.printed.get(r.order, 0)
                self.printed[r.order] = before - min(before, r.size, size)
            else:
                self._remove(r.order)
                self._no_longer_ahead(r.order)
                self.printed.pop(r.order, None)
        elif r.action == "M" and known and r.size <= 0:
            self._remove(r.order)
            self._no_longer_ahead(r.order)
            self.printed.pop(r.order, None)
            touched = True
        else:
            side = r.side
            if r.action == "M" and known and side == "N":
                side = self.orders[r.order][0]
            if side == "N" or r.price is None or r.size <= 0:
                return
            touched = True
            if known and r.action == "M" and self.orders[r.order][:2] == [side, r.price]:
                size = self.orders[r.order][2]
                out = min(self.printed.get(r.order, 0), size)
                standing = size - out if out > 0 and r.size > size - out else size
                if r.size <= standing:
                    self.orders[r.order][2] = r.size
                    self.printed[r.order] = self.printed.get(r.order, 0) - min(out, size - r.size)
                    if live:
                        self.taken.pop(r.order, None)
                    return
            if known:
                self._remove(r.order)
                self._no_longer_ahead(r.order)
            self._join(r.order, side, r.price, r.size)
            self.printed.pop(r.order, None)
            joined = True
        if live and touched:
            self.taken.pop(r.order, None)
        if live and joined:
            side, price, _ = self.orders[r.order]
            opposite = self.ranked("A" if side == "B" else "B")
            if opposite and (self.better(opposite[0], price) or opposite[0].price == price):
                self.rested.append(r.order)

    # --- our orders -------------------------------------------------------------------------

    def ranked(self, side):
        buy = side == "B"
        mine = [o for o in self.live if o.buy == buy]
        return sorted(mine, key=lambda o: (-o.price if buy else o.price, self.live.index(o)))

    def better(self, own, price):
        return own.price > price if own.buy else own.price < price

    def tell(self, cls, what):
        self.push(self.clock + self.o.response, cls, what)

    def push(self, time, cls, what):
        self.pending.append((time, cls, self.seq, what))
        self.seq += 1

    def end(self, own, status, reason="none"):
        if own in self.live:
            self.live.remove(own)
        own.status, own.reason = status, reason
        self.tell(ACK, ("ended", own, own.filled))

    def fill(self, own, size, price, reason):
        own.filled += size
        signed = size if own.buy else -size
        self.position += signed
        self.fills.append(
            (own.number, self.clock, signed, price, reason,
             self.ahead(own) if own.rested else None, own.entry, self.position)
        )  # fmt: skip
        self.tell(FILL, ("fill", own, signed))
        if own.left == 0:
            self.end(own, "filled")

    def give(self, candidates, size, price_of, reason):
        for own in candidates:
            if size <= 0:
                break
            part = min(size, own.left)
            size -= part
            self.fill(own, part, price_of(own), reason)
        return size

    def on_F(self, r: Record):
        self.saw_fill = True
        resting = self.orders.get(r.order)
        if resting:
            self.printed[r.order] = self.printed.get(r.order, 0) + r.size
        if r.price is None:
            return
        side = r.side
        auction = self.aggressor == "N" or (self.aggressor is None and side == "N")
        if side == "N" and resting:
            side = resting[0]
        placed = resting is not None and resting[:2] == [side, r.price]
        if auction:
            if self.valid and self.phase != "closed":
                self.auction()
                if side != "N":
                    self.auction_queue(side, r, placed)
            return
        if not self.allowed or side == "N" or side == self.aggressor:
            return
        size = r.size
        for own in self.ranked(side):
            if size == 0:
                break
            if self.better(own, r.price):
                reason = "worse_price"
            elif own.price == r.price:
                if self.o.reading == "pessimistic":
                    break
                behind = placed and r.order not in own.ahead
                if not behind and self.o.reading == "exact":
                    continue
                reason = "behind" if behind else "nothing_ahead"
            else:
                break
            part = min(size, own.left)
            size -= part
            self.fill(own, part, own.price, reason)

    def auction(self):
        for side in "BA":
            for own in self.ranked(side):
                left = self.auction_size - self.auction_used[side]
                if left <= 0 or not self.better(own, self.auction_price):
                    break
                part = min(left, own.left)
                self.auction_used[side] += part
                self.fill(own, part, self.auction_price, "auction")

    def auction_queue(self, side, r, placed):
        if self.o.reading == "pessimistic":
            return
        size = r.size
        for own in self.ranked(side):
            size = min(size, self.auction_size - self.auction_used[side])
            behind = placed and r.order not in own.ahead
            if size <= 0 or own.price != r.price:
                continue
            if self.o.reading == "exact" and not behind:
                continue
            part = min(size, own.left)
            self.auction_used[side] += part
            size -= part
            self.fill(own, part, r.price, "auction_queue")

    def came_to_rest(self):
        for order in self.rested:
            if order not in self.orders:
                continue
            side, price, size = self.orders[order]
            for own in self.ranked("A" if side == "B" else "B"):
                left = size - self.taken.get(order, 0)
                if left <= 0 or not (self.better(own, price) or own.price == price):
                    break
                part = min(left, own.left)
                self.taken[order] = self.taken.get(order, 0) + part
                self.fill(own, part, own.price, "came_to_rest")

    def prints_alone(self):
        if not self.saw_fill and self.allowed:
            for price, printed, aggressor in self.prints:
                size = printed
                for own in self.ranked("B" if aggressor == "A" else "A"):
                    if size == 0 or not (self.better(own, price) or own.price == price):
                        break
                    part = min(size, own.left)
                    size -= part
                    self.fill(own, part, own.price, "print_only")
        self.prints = []

    def take_depth(self, own):
        other = "A" if own.buy else "B"
        prices = sorted((p for s, p in self.queues if s == other), reverse=not own.buy)
        for price in prices:
            limit = own.price
            if own.kind == "limit" and (price > limit if own.buy else price < limit):
                return
            got = 0
            for order in self.queues[other, price]:
                size = min(self.orders[order][2] - self.taken.get(order, 0), own.left - got)
                if size > 0:
                    self.taken[order] = self.taken.get(order, 0) + size
                    got += size
            if got:
                self.fill(own, got, price, "took_depth")
            if own.left == 0:
                return

    def match(self, own):
        if self.phase == "open" and not self.crossed:
            self.take_depth(own)
        if own.status == "filled":
            return
        if own.kind == "market":
            self.end(own, "cancelled", "no_depth")
            return
        own.rested, own.status = True, "resting"
        queue = self.queues.get(("B" if own.buy else "A", own.price), [])
        own.ahead = set(queue)
        own.entry = self.ahead(own)
        self.live.append(own)

    def arrive(self, what):
        kind, own = what[0], what[1]
        if kind == "new":
            market = own.kind == "market"
            if self.phase == "closed" or (market and self.phase != "open"):
                self.end(own, "rejected", "closed")
            elif not self.valid:
                self.end(own, "rejected", "invalid")
            elif market and self.crossed:
                self.end(own, "rejected", "crossed")
            else:
                self.match(own)
                if own.status == "resting":
                    self.tell(ACK, ("resting", own))
        elif own not in self.live:
            self.tell(ACK, ("late", own))
        elif kind == "cancel":
            self.end(own, "cancelled", "asked")
        else:
            _, _, price, size = what
            if size <= own.filled:
                self.end(own, "cancelled", "asked")
                return
            keeps = price == own.price and size <= own.size
            own.size = size
            own.replaced += 1
            self.tell(ACK, ("replaced", own))
            if keeps:
                return
            self.live.remove(own)
            own.price, own.status = price, "sent"
            if self.phase == "closed" or not self.valid:
                reason = "closed" if self.phase == "closed" else "invalid"
                self.end(own, "cancelled", reason)
            else:
                self.match(own)
