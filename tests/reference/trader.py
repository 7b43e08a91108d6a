"""Who trades at the slow venue: the executor of signals, and what flattens an event strategy."""

from __future__ import annotations

from tests.reference.venue import Own, Venue
from tests.reference.wire import END, TIMER, Wire


class Trader:
    """Works one order at a time towards a position, by what it has heard."""

    def __init__(self, wire: Wire, venue: Venue, options):
        self.wire, self.venue, self.o = wire, venue, options
        self.session = -1
        self.known = 0
        self.target = self.goal = None
        self.touch: dict[bool, int | None] = {True: None, False: None}
        self.flattening = self.cross = self.hold = self.active = False
        self.generation = 0
        self.worked: Own | None = None
        self.state = ""
        self.want_price: int | None = None
        self.want_size = self.known_filled = 0
        self.ended_filled: int | None = None

    # --- sessions ---------------------------------------------------------------------------

    def start_session(self, session, time):
        self.session, self.active = session, True
        self.flattening = self.hold = self.cross = False
        self.target = self.goal = None
        self.touch = {True: None, False: None}
        self.generation += 1

    def end_session(self):
        self.active, self.worked = False, None

    def flatten(self, time, why):
        self.flattening = True
        self.work(time)

    # --- working an order -------------------------------------------------------------------

    def seen(self):
        return self.touch[True], self.touch[False]

    def order(self, time, buy, kind, tif, price, size, refusal=None, **more):
        """Send a new order, or note that it was refused before the venue."""
        venue = self.venue
        own = Own(len(venue.own), buy, kind, tif, price, size, time, self.session,
                  seen=self.seen(), **more)  # fmt: skip
        venue.own.append(own)
        if refusal:
            own.status, own.reason, own.ended = "rejected", refusal, max(time, venue.clock)
            self.word(time, ("ended", own, 0, "rejected", refusal))
        else:
            venue.send(time, ("new", own.number))
        return own

    def word(self, time, what):
        """Word that does not come from the venue."""
        self.wire.put(time, END, what)

    def decide(self, time, target, bid, ask):
        self.touch = {True: bid, False: ask}
        if target is not None:
            self.target = target
        self.work(time)

    def work(self, time):
        goal = 0 if self.flattening else self.target
        if not self.active or goal is None:
            return
        if goal != self.goal:
            self.goal, self.cross = goal, False
            self.generation += 1
            if self.o.passive:
                self.wire.put(time + self.o.patience, TIMER, ("patience", None, self.generation))
        delta = goal - self.known
        buy = delta > 0
        cross = self.flattening or self.cross or not self.o.passive
        touch = self.touch[buy]
        if self.worked is None:
            if delta == 0 or self.hold or (not cross and touch is None):
                return
            price = None if cross else touch
            kind, tif = ("market", "ioc") if cross else ("limit", "day")
            self.worked = self.order(time, buy, kind, tif, price, abs(delta))
            self.state, self.want_price, self.want_size = "sent", price, abs(delta)
            self.known_filled, self.ended_filled = 0, None
            return
        if self.state != "resting":
            return
        if delta == 0 or buy != self.worked.buy or cross:
            self.state = "cancelling"
            self.venue.send(time, ("cancel", self.worked.number))
            return
        size, price = self.known_filled + abs(delta), self.want_price
        moved = touch is not None and (touch > price if buy else touch < price)
        if moved:
            price = touch
        if moved or size != self.want_size:
            self.state, self.want_price, self.want_size = "replacing", price, size
            self.venue.send(time, ("replace", self.worked.number, price, size))

    def check_ended(self, time):
        if self.ended_filled is None or self.known_filled < self.ended_filled:
            return
        if self.known_filled < self.want_size and self.state != "cancelling":
            self.hold = True
            self.wire.put(time + self.o.retry, TIMER, ("retry", None))
        self.worked = None

    def hear(self, time, what):
        kind, own = what[0], what[1]
        ours = own is not None and own is self.worked
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
        elif ours and kind != "placed" and self.state != "cancelling":
            self.state = "resting"
        self.work(time)

    def receive(self, time, news):
        """An event reaches us; signals have theirs as decisions."""
