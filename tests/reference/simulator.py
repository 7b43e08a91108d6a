"""The simulator again, slow and obvious: lists, dictionaries, and sets of order ids ahead.

Written from the fill rules, not from the kernel: the queue ahead of an order is kept as the very
ids that stand before it, books are lists of ids by price, everything under way is a sorted list.
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


class Simulator:
    """One instrument, one session of one segment [opens, closes)."""

    def __init__(self, options, opens, closes, preopen, flatten_before, decisions):
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
        self.events = 0
        self.phase, self.valid, self.crossed = "closed", False, False
        self.position = 0
        self.in_snapshot = None
        self.snapshot_ahead: dict[int, set[int]] = {}
        self.open_event = False
        self.execution: tuple | None = None
        self.prints: list = []
        self.saw_fill = False
        self.aggressor: str | None = None
        self.auction_size = 0
        self.auction_price = 0
        self.auction_used = {"B": 0, "A": 0}
        self.rested: list[int] = []
        self.snap_state, self.snap_ts = 0, None
        # executor
        self.known = 0
        self.target = self.goal = None
        self.touch: dict[bool, int | None] = {True: None, False: None}
        self.flatten = self.cross = self.hold = self.active = False
        self.generation = 0
        self.work_order: Own | None = None
        self.state = ""
        self.want_price: int | None = None
        self.want_size = self.known_filled = 0
        self.ended_filled: int | None = None
        self.timetable = [(preopen - 1, "load"), (opens - 1, "open"), (closes - 1, "close")]
        if flatten_before is not None:
            self.timetable.append((closes - flatten_before, "flatten"))
        self.timetable.append((closes - 1, "end"))
        order = ["load", "open", "flatten", "close", "end"]
        self.timetable.sort(key=lambda e: (e[0], order.index(e[1])))
        self.decisions = list(decisions)  # (ts, event number, target, bid, ask)

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

    # --- the executor -----------------------------------------------------------------------

    def send(self, time, what):
        self.push(max(time + self.o.entry, self.clock), ARRIVAL, what)

    def work(self, time):
        goal = 0 if self.flatten else self.target
        if not self.active or goal is None:
            return
        if goal != self.goal:
            self.goal, self.cross = goal, False
            self.generation += 1
            if self.o.passive:
                self.push(time + self.o.patience, TIMER, ("patience", None, self.generation))
        delta = goal - self.known
        buy = delta > 0
        cross = self.flatten or self.cross or not self.o.passive
        touch = self.touch[buy]
        if self.work_order is None:
            if delta == 0 or self.hold or (not cross and touch is None):
                return
            own = Own(len(self.own), buy, "market" if cross else "limit",
                      None if cross else touch, abs(delta), time)  # fmt: skip
            self.own.append(own)
            self.work_order, self.state = own, "sent"
            self.want_price, self.want_size = own.price, own.size
            self.known_filled, self.ended_filled = 0, None
            self.send(time, ("new", own))
            return
        if self.state != "resting":
            return
        if delta == 0 or buy != self.work_order.buy or cross:
            self.state = "cancelling"
            self.send(time, ("cancel", self.work_order))
            return
        size, price = self.known_filled + abs(delta), self.want_price
        moved = touch is not None and (touch > price if buy else touch < price)
        if moved:
            price = touch
        if moved or size != self.want_size:
            self.state, self.want_price, self.want_size = "replacing", price, size
            self.send(time, ("replace", self.work_order, price, size))

    def check_ended(self, time):
        if self.ended_filled is None or self.known_filled < self.ended_filled:
            return
        if self.known_filled < self.want_size and self.state != "cancelling":
            self.hold = True
            self.push(time + self.o.retry, TIMER, ("retry", None))
        self.work_order = None

    def hear(self, time, what):
        kind, own = what[0], what[1]
        ours = own is not None and own is self.work_order
        if kind == "fill":
            self.known += what[2]
            if ours:
                self.known_filled += abs(what[2])
                self.check_ended(time)
        elif kind == "patience":
            if what[2] == self.generation:
                self.cross = True
        elif kind == "retry":
            self.hold = False
        elif ours and kind == "ended":
            self.ended_filled = what[2]
            self.check_ended(time)
        elif ours and kind == "late":
            self.state = "sent"
        elif ours and self.state != "cancelling":
            self.state = "resting"
        self.work(time)

    # --- time -------------------------------------------------------------------------------

    def due(self):
        """(time, class, rank, what) of the first thing that is due."""
        found = [(t, c, 0, s, w) for t, c, s, w in self.pending]
        if self.timetable:
            time, what = self.timetable[0]
            found.append((time, TIMER, -1, 0, ("timetable", what)))
        if self.decisions and self.decisions[0][1] <= self.events and self.phase != "unloaded":
            cls = TIMER if self.o.grid else RECEIPT
            found.append((self.decisions[0][0], cls, 1, 0, ("decide",)))
        return min(found, key=lambda f: f[:4], default=None)

    def stop(self):
        """The data are over: what is still on its way was never at the venue."""
        for own in self.own:
            if own.status == "sent":
                own.status, own.reason = "expired", "end_of_data"

    def run_until(self, before):
        while (first := self.due()) is not None and first[0] < before:
            time, cls, _, seq, what = first
            if what[0] == "timetable":
                self.timetable.pop(0)
                self.clock = max(self.clock, time)
                self.turn(what[1], time)
            elif what[0] == "decide":
                _, _, target, bid, ask = self.decisions.pop(0)
                self.touch = {True: bid, False: ask}
                if target is not None:
                    self.target = target
                self.work(time)
            else:
                self.pending = [p for p in self.pending if p[2] != seq]
                if cls == ARRIVAL:
                    self.clock = max(self.clock, time)
                    self.arrive(what)
                else:
                    self.hear(time, what)

    def turn(self, what, time):
        if what == "load":
            self.phase, self.active = "preopen", True
            self.generation += 1
        elif what == "open":
            self.phase = "open"
        elif what == "close":
            self.phase = "preopen"
        elif what == "flatten":
            self.flatten = True
            self.work(time)
        else:
            for side in "BA":
                for own in self.ranked(side):
                    self.end(own, "expired", "session_end")
            self.active, self.work_order, self.phase = False, None, "closed"

    # --- the market -------------------------------------------------------------------------

    def end_event(self):
        bid, ask = self.best("B"), self.best("A")
        self.crossed = bid is not None and ask is not None and bid > ask
        if self.allowed and not self.crossed and self.o.reading != "pessimistic":
            self.came_to_rest()
        self.rested = []
        self.events += 1
        self.open_event = False

    def end_snapshot(self):
        for own in self.live:
            side = "B" if own.buy else "A"
            own.ahead = {
                i for i in self.snapshot_ahead[own.number]
                if i in self.orders and self.orders[i][:2] == [side, own.price]
            }  # fmt: skip
        self.taken = {i: min(n, self.orders[i][2]) for i, n in self.taken.items()
                      if i in self.orders}  # fmt: skip
        self.in_snapshot = None

    def feed(self, r: Record):
        snap = bool(r.flags & SNAPSHOT)
        if self.in_snapshot is not None and not snap:
            self.end_snapshot()
            if self.open_event:
                self.end_event()
        if not self.open_event:
            same = (
                self.execution is not None
                and self.execution[0] in "TF"
                and self.execution[1] == r.ts_event
            )
            if self.prints and not same:
                self.prints_alone()
            self.run_until(r.ts_recv if snap else r.ts_event)
            if not same:
                self.printed = {}
                self.aggressor, self.saw_fill = None, False
                self.auction_size, self.auction_used = 0, {"B": 0, "A": 0}
            if not snap:
                self.clock = r.ts_event if self.clock is None else max(self.clock, r.ts_event)
            self.allowed = self.phase == "open" and self.valid and not self.crossed
            self.open_event = True
        if snap and (self.snap_state == 0 or (self.snap_state == 2 and self.snap_ts != r.ts_recv)):
            self.snapshot_ahead = {o.number: set(o.ahead) for o in self.live}
            self.in_snapshot = r.ts_recv
            self.forget()
            self.valid = True
        self.snap_state = (2 if r.flags & LAST else 1) if snap else 0
        self.snap_ts = r.ts_recv
        if r.flags & MAYBE_BAD:
            self.valid = False
        self.execution = (r.action, r.ts_event)
        if r.action == "T":
            self.aggressor = r.side
            if r.side == "N":
                self.auction_price = r.price
                self.auction_size += r.size
            elif self.o.reading == "optimistic" and self.live:
                self.prints.append((r.price, r.size, r.side))
        elif r.action == "F":
            self.on_F(r)
        elif r.action == "R":
            if not snap:
                for side in "BA":
                    for own in self.ranked(side):
                        self.end(own, "cancelled", "book_cleared")
                self.taken = {}
            self.forget()
            self.valid = True
        elif r.action in "ACM":
            self.apply(r, not snap)
        if r.flags & LAST:
            if self.in_snapshot is not None:
                self.end_snapshot()
            self.end_event()
