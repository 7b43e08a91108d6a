"""The venue of the slow simulator: our orders in its book, from their arrival to their end.

Written from docs/fills.md, not from the kernel: the queue ahead of an order is the very set of
ids that stand before it.  Which market record fills which order is in
:mod:`tests.reference.fill_rules`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.plain_book import OTHER, PlainBook
from tests.reference.wire import ACK, ARRIVAL, END, FILL, FROM_VENUE, TO_VENUE, Wire


@dataclass
class Own:
    """An order of ours; ``ahead`` None: it has no place in a queue."""

    number: int
    buy: bool
    kind: str
    tif: str
    price: int | None
    size: int
    decided: int
    session: int
    trigger: int = 0
    offset: int = 0
    post_only: bool = False
    seen: tuple = (None, None)
    filled: int = 0
    status: str = "sent"
    reason: str = "none"
    ahead: set[int] | None = None
    place: int = 0
    entry: int | None = None
    entry_orders: int = 0
    replaced: int = 0
    triggered: int | None = None
    arrived: int | None = None
    event: int | None = None
    ended: int | None = None
    found: tuple = (None, None)

    @property
    def left(self):
        return self.size - self.filled

    @property
    def side(self):
        return "B" if self.buy else "A"

    @property
    def waits(self):
        """A stop that has not been reached."""
        return self.kind in ("stop", "stop_limit") and self.triggered is None

    @property
    def at_once(self):
        """It cannot wait, in a queue or for a trigger."""
        return not self.waits and (self.kind in ("market", "stop") or self.tif in ("ioc", "fok"))

    def reaches(self, price):
        """Its limit is at a price or beyond it; a market order has no limit."""
        return self.price is None or (self.price >= price if self.buy else self.price <= price)

    def better(self, price):
        return self.price > price if self.buy else self.price < price


class Venue:
    """``wire`` carries its word to us."""

    def __init__(self, wire: Wire):
        self.wire = wire
        self.book = PlainBook()
        self.own: list[Own] = []
        self.live: list[Own] = []  # in queues, as they joined
        self.special: list[Own] = []  # stops that wait, and pegs; as they arrived
        self.fills: list[dict] = []
        self.taken: dict[int, int] = {}
        self.clock = -(2**62)
        self.phase, self.valid, self.crossed = "closed", False, False
        self.position = 0
        self.last_print: int | None = None
        self.event, self.record = -1, 0
        self.touch: tuple = (None, None)

    @property
    def matching(self):
        return self.phase == "open" and not self.crossed

    # --- word -------------------------------------------------------------------------------

    def send(self, time, what):
        """To the venue, from us."""
        self.wire.put(self.wire.there(TO_VENUE, time, self.clock), ARRIVAL, what)

    def tell(self, cls, what):
        time = self.wire.there(FROM_VENUE, self.clock)
        self.wire.put(time, cls, what)
        return time

    def tell_place(self, own, kind):
        self.tell(ACK, (kind, own, own.price, None if own.ahead is None else own.place))

    # --- our orders in queues ---------------------------------------------------------------

    def ranked(self, side):
        """Ours of a side: better prices first, then earlier ones."""
        mine = [own for own in self.live if own.side == side]
        return sorted(mine, key=lambda own: -own.price if own.buy else own.price)

    def size_ahead(self, own):
        return sum(self.book.orders[i].size for i in own.ahead if i in self.book.orders)

    def join(self, own):
        own.ahead = set(self.book.queue(own.side, own.price))
        own.place = self.book.joins
        own.entry, own.entry_orders = self.size_ahead(own), len(own.ahead)
        own.status = "resting"
        self.live.append(own)

    def leave(self, own):
        if own in self.live:
            self.live.remove(own)

    def end(self, own, status, reason="none"):
        self.leave(own)
        if own in self.special:
            self.special.remove(own)
        own.status, own.reason, own.ended = status, reason, self.clock
        self.tell(END, ("ended", own, own.filled, status, reason))

    def end_all(self, status, reason, keep=()):
        for own in [*self.ranked("B"), *self.ranked("A"), *self.special]:
            if own.status == "resting" and own.tif not in keep:
                self.end(own, status, reason)

    def fill(self, own, size, price, role, reason, event, record):
        own.filled += size
        signed = size if own.buy else -size
        self.position += signed
        known = self.tell(FILL, ("fill", own, signed, price, role))
        placed = own.ahead is not None
        self.fills.append({
            "order": own.number, "session": own.session, "ts": self.clock, "known": known,
            "event": event, "record": record, "size": signed, "price": price, "role": role,
            "reason": reason, "entry": own.entry if placed else None,
            "ahead": self.size_ahead(own) if placed else None, "position": self.position,
            "touch": self.touch,
        })  # fmt: skip
        if own.left == 0:
            self.end(own, "filled")

    # --- taking -----------------------------------------------------------------------------

    def displayed(self, own):
        """(price, id, size) of the other side within an order's limit, what we took left out."""
        other = OTHER[own.side]
        for price in self.book.prices(other):
            if not own.reaches(price):
                return
            for order in self.book.queue(other, price):
                size = self.book.orders[order].size - self.taken.get(order, 0)
                if size > 0:
                    yield price, order, size

    def take(self, own):
        left, by_price = own.left, {}
        for price, order, size in self.displayed(own):
            part = min(size, left)
            if part:
                left -= part
                self.taken[order] = self.taken.get(order, 0) + part
                by_price[price] = by_price.get(price, 0) + part
        for price, size in by_price.items():
            self.fill(own, size, price, "taker", "took_depth", self.event, self.record)

    def match(self, own):
        """Take what can be taken; the rest waits in the queue, or goes."""
        if own.tif == "fok" and sum(size for *_, size in self.displayed(own)) < own.left:
            self.end(own, "cancelled", "not_whole")
            return
        if self.matching:
            self.take(own)
        if own.status == "filled":
            return
        if own.at_once:
            self.end(own, "cancelled", "no_depth")
        else:
            self.join(own)

    def meets_ours(self, own, price):
        """Whether an order with a limit (None: any price) would trade with ours first."""
        ours = self.ranked(OTHER[own.side])
        if not ours:
            return False
        if price is not None:
            return ours[0].price <= price if own.buy else ours[0].price >= price
        best = self.book.best(OTHER[own.side])
        return best is None or ours[0].better(best)

    # --- stops and pegs ---------------------------------------------------------------------

    def passed(self, own, price):
        """Whether a print has reached a stop."""
        if price is None:
            return False
        return price >= own.trigger if own.buy else price <= own.trigger

    def peg_price(self, own):
        """Where a peg belongs; None: nowhere now."""
        best = self.book.best(own.side)
        if best is None or self.crossed or not self.valid:
            return None
        return best - own.offset if own.buy else best + own.offset

    def follow(self, own):
        """Put a peg where it belongs; whether it moved."""
        price = self.peg_price(own)
        if price is None or (own.ahead is not None and price == own.price):
            return False
        if self.meets_ours(own, price):
            return False
        if own.ahead is not None:
            self.leave(own)
            own.replaced += 1
        own.price = price
        self.join(own)
        return True

    def after_event(self, prints):
        """``prints``: prices of its T records."""
        able = self.matching and self.valid
        for own in list(self.special):
            if own.kind == "pegged":
                if self.follow(own):
                    self.tell_place(own, "placed")
            elif able and any(self.passed(own, price) for price in prints):
                self.special.remove(own)
                own.triggered = self.clock
                if self.meets_ours(own, own.price):
                    self.end(own, "cancelled", "self_match")
                    continue
                self.match(own)
                if own.status == "resting":
                    self.tell_place(own, "placed")

    # --- what reaches the venue -------------------------------------------------------------

    def refusal(self, own):
        """Why an order cannot be accepted now."""
        if self.phase == "closed" or (own.at_once and self.phase != "open"):
            return "closed"
        if not self.valid:
            return "invalid"
        if own.waits:
            return "stop_passed" if self.passed(own, self.last_print) else None
        if own.at_once and self.crossed:
            return "crossed"
        if own.kind == "pegged":
            price = self.peg_price(own)
            return "self_match" if price is not None and self.meets_ours(own, price) else None
        if self.meets_ours(own, own.price):
            return "self_match"
        if own.post_only and self.matching and any(self.displayed(own)):
            return "would_take"
        return None

    def arrive(self, what):
        kind, number = what[0], what[1]
        own = self.own[number] if 0 <= number < len(self.own) else None
        if kind == "new":
            self.arrive_new(own)
        elif own is None or own.status != "resting":
            self.tell(END, ("late", own, number))
        elif kind == "cancel":
            self.end(own, "cancelled", "asked")
        else:
            self.arrive_replacement(own, *what[2:])

    def arrive_new(self, own):
        own.arrived, own.event, own.found = self.clock, self.event, self.touch
        refusal = self.refusal(own)
        if refusal:
            self.end(own, "rejected", refusal)
            return
        if own.waits or own.kind == "pegged":
            own.status = "resting"
            self.special.append(own)
            if own.kind == "pegged":
                self.follow(own)
        else:
            self.match(own)
        if own.status == "resting":
            self.tell_place(own, "resting")

    def arrive_replacement(self, own, price, size):
        if size <= own.filled:
            self.end(own, "cancelled", "asked")
            return
        own.replaced += 1
        smaller, own.size = size <= own.size, size
        if own.waits:
            own.trigger = price
            if self.passed(own, self.last_print):
                self.end(own, "cancelled", "stop_passed")
            else:
                self.tell_replaced(own)
            return
        standing = own.offset if own.kind == "pegged" else own.price
        if price == standing and smaller:
            self.tell_replaced(own)
            return
        self.leave(own)
        own.ahead, own.entry = None, None
        if own.kind == "pegged":
            own.offset = price
            self.tell_replaced(own)
            if self.follow(own):
                self.tell_place(own, "placed")
            return
        own.price, own.status = price, "sent"
        self.tell_replaced(own)
        refusal = self.refusal(own)
        if refusal:
            self.end(own, "cancelled", refusal)
            return
        self.match(own)
        if own.status == "resting":
            self.tell_place(own, "placed")

    def tell_replaced(self, own):
        place = None if own.ahead is None else own.place
        self.tell(ACK, ("replaced", own, own.price, place, own.size))
