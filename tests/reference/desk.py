"""An event strategy's side of the slow wire: what it has heard, its limits, its callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tests.reference.plain_book import PlainBook
from tests.reference.trader import Trader
from tests.reference.wire import TIMER

SECOND = 10**9


@dataclass
class Known:
    """What we have heard of an order."""

    buy: bool
    price: int | None
    size: int
    state: str = "pending"
    filled: int = 0
    place: int | None = None

    @property
    def alive(self):
        return self.state in ("pending", "working")


@dataclass
class News:
    """An event on its way to us: what it left, and the records it was made of."""

    event: int
    records: list
    best: dict
    valid: bool
    crossed: bool
    traded: int
    last_price: int | None
    places: dict | None
    """After a snapshot: when the orders ahead of ours had joined, by id."""


class Desk(Trader):
    """Plays a strategy: an object with callbacks that return commands, tuples."""

    def __init__(self, wire, venue, options, strategy):
        super().__init__(wire, venue, options)
        self.strategy = strategy
        self.book = PlainBook()
        self.orders: list[Known] = []
        self.cash, self.fees = 0, 0
        self.bid = self.ask = None
        self.news: News | None = None
        self.last_price: int | None = None
        self.halted: str | None = None
        self.worth_at_start: Fraction | int = 0
        self.run_lost = False
        self.purse = ""
        """Desks of one purse share their limits of loss."""
        self.last_worth: Fraction | int = 0
        self.second, self.sent_in_it = None, 0

        self.number, self.peers = 0, [self]
        self.mail: list[tuple] = []
        """(time, number of another instrument, command) that a callback here has left."""

    def forget(self):
        """There is no book to see."""
        self.book, self.bid, self.ask, self.news = PlainBook(), None, None, None

    # --- what the strategy can ask ----------------------------------------------------------

    @property
    def working(self):
        return sum(order.alive for order in self.orders)

    def queue_ahead(self, number):
        """In the book as received; -1 without a place."""
        if not 0 <= number < len(self.orders):
            return -1
        known = self.orders[number]
        if known.state != "working" or known.place is None:
            return -1
        queue = self.book.queue("B" if known.buy else "A", known.price)
        resting = [self.book.orders[i] for i in queue]
        return sum(order.size for order in resting if order.joined <= known.place)

    def remaining(self, number):
        known = self.orders[number] if 0 <= number < len(self.orders) else None
        return known.size - known.filled if known and known.alive else 0

    # --- risk -------------------------------------------------------------------------------

    def worth(self):
        """Net result by what we have heard, at the mid we have seen; None without one."""
        value = Fraction(self.cash)
        if self.known:
            if self.bid is None or self.ask is None:
                return None
            value += Fraction(self.known * (self.bid + self.ask), 2)
        return value * self.o.money.multiplier - self.fees

    def risk(self, time, buy, size):
        limits = self.o.limits
        if self.halted:
            return self.halted
        if limits.order_size is not None and size > limits.order_size:
            return "risk_size"
        if limits.position is not None:
            held = self.known if buy else -self.known
            working = [k.size - k.filled for k in self.orders if k.alive and k.buy == buy]
            if held + sum(working) + size > limits.position:
                return "risk_position"
        if limits.orders_per_second is not None:
            if self.second is None or time - self.second >= SECOND:
                self.second, self.sent_in_it = time, 0
            if self.sent_in_it >= limits.orders_per_second:
                return "risk_rate"
            self.sent_in_it += 1
        return None

    def reckon(self):
        worth = self.worth()
        if worth is not None:
            self.last_worth = worth
        return worth is not None

    @property
    def friends(self):
        return [desk for desk in self.peers if desk.purse == self.purse]

    def beyond(self, limit, results):
        return limit is not None and -sum(results) > limit

    def watch_losses(self, time):
        limits = self.o.limits
        if limits.session_loss is None and limits.run_loss is None:
            return
        if not self.reckon() or self.halted == "risk_loss" or not self.active:
            return
        sessions = [desk.last_worth - desk.worth_at_start for desk in self.friends]
        lost = self.beyond(limits.session_loss, sessions)
        if self.beyond(limits.run_loss, [desk.last_worth for desk in self.friends]):
            self.run_lost = True
        if lost or self.run_lost:
            for desk in self.friends:
                if desk is not self:
                    self.mail.append((time, desk.number, ("stop", self.run_lost)))
            self.stop(time)

    def stop(self, time):
        self.venue.mark(time, "kill")
        self.flatten(time, "risk_loss")

    def do_stop(self, time, for_good):
        self.run_lost = self.run_lost or for_good
        if self.active and self.halted != "risk_loss":
            self.stop(time)

    # --- sessions ---------------------------------------------------------------------------

    def start_session(self, session, time):
        super().start_session(session, time)
        if self.reckon():
            self.worth_at_start = self.last_worth
        results = [desk.last_worth for desk in self.friends]
        self.run_lost = self.run_lost or self.beyond(self.o.limits.run_loss, results)
        self.halted = "risk_loss" if self.run_lost else None
        self.obey(time, self.strategy.on_session_start(self, time))

    def flatten(self, time, why):
        self.halted = self.halted if self.halted == "risk_loss" else why
        self.flattening = True
        self.cancel_all(time, but=self.worked.number if self.worked else None)
        self.work(time)

    # --- commands ---------------------------------------------------------------------------

    def seen(self):
        return self.bid, self.ask

    def order(self, time, buy, kind, tif, price, size, refusal=None, **more):
        self.orders.append(Known(buy, price, size))
        return super().order(time, buy, kind, tif, price, size, refusal, **more)

    def cancel_all(self, time, but=None):
        for number, known in enumerate(self.orders):
            if known.alive and number != but:
                self.venue.send(time, ("cancel", number))

    def obey(self, time, commands):
        for name, *words in commands:
            getattr(self, f"do_{name}")(time, *words)

    def do_to(self, time, number, command):
        self.mail.append((time, number, command))

    def do_timer(self, time, at, tag):
        self.wire.put(max(at, time), TIMER, ("timer", None, tag, self.session))

    def do_cancel(self, time, number):
        self.venue.send(time, ("cancel", number))

    def do_cancel_all(self, time):
        self.cancel_all(time)

    def do_place(self, time, buy, kind, tif, price, size, trigger, offset, post_only):
        tick = self.o.money.tick
        figures = {
            "limit": [price], "stop": [trigger], "stop_limit": [price, trigger],
            "pegged": [offset], "market": [],
        }[kind]  # fmt: skip
        refusal = None
        if not self.active:
            refusal = "closed"
        elif size <= 0 or any(f % tick for f in figures) or (kind == "pegged" and offset < 0):
            refusal = "bad_order"
        else:
            refusal = self.risk(time, buy, size)
        limit = price if kind in ("limit", "stop_limit") else None
        self.order(time, buy, kind, tif, limit, size, refusal, trigger=trigger, offset=offset,
                   post_only=post_only)  # fmt: skip

    def do_replace(self, time, number, price, size):
        refusal = self.refused_replacement(time, number, price, size)
        if refusal:
            own = self.venue.own[number] if number < len(self.orders) else None
            self.word(time, ("late", own, number, refusal))
        else:
            self.venue.send(time, ("replace", number, price, size))

    def refused_replacement(self, time, number, price, size):
        if number >= len(self.orders):
            return "too_late"
        known, largest = self.orders[number], self.o.limits.order_size
        if price % self.o.money.tick or size <= 0:
            return "bad_order"
        if self.venue.own[number].kind == "pegged" and price < 0:
            return "bad_order"
        if largest is not None and size > largest:
            return "risk_size"
        return self.risk(time, known.buy, max(size - known.size, 0))

    # --- hearing ----------------------------------------------------------------------------

    def receive(self, time, news: News):
        for r in news.records:
            if self.book.starts_snapshot(r):
                self.book.forget()
            if r.action == "R":
                self.book.forget()
            self.book.apply(r)
        for order, joined in (news.places or {}).items():
            self.book.orders[order].joined = joined
        self.bid, self.ask = news.best["B"][0], news.best["A"][0]
        self.news = news
        if news.traded:
            self.last_price = news.last_price
        if self.active:
            self.obey(time, self.strategy.on_market_event(self, time))
        self.watch_losses(time)

    def note(self, what):
        kind, own = what[0], what[1]
        if own is None:
            return
        known = self.orders[own.number]
        if kind == "fill":
            _, _, signed, price, role = what
            known.filled += abs(signed)
            self.cash -= signed * price
            rates = self.o.money.fees[own.session] if self.o.money.fees else (0, 0, 0)
            self.fees += rates[("maker", "taker", "auction").index(role)] * abs(signed)
        elif kind == "ended":
            known.state = what[3]
        elif kind == "replaced":
            known.price, known.place, known.size = what[2:]
        elif kind in ("resting", "placed"):
            known.state = "working"
            known.price, known.place = what[2:]

    def hear(self, time, what):
        kind, own = what[0], what[1]
        if kind == "timer":
            if what[3] == self.session and self.active:
                self.obey(time, self.strategy.on_timer(self, time, what[2]))
            return
        self.note(what)
        super().hear(time, what)
        strategy, commands = self.strategy, []
        if kind == "fill":
            commands = strategy.on_fill(self, time, own.number, what[2], what[3], what[4])
        elif kind == "late":
            number, reason = what[2], what[3] if len(what) > 3 else "too_late"
            state = self.orders[number].state if number < len(self.orders) else "filled"
            commands = strategy.on_reject(self, time, number, state, reason)
        elif kind == "ended" and what[3] == "rejected":
            commands = strategy.on_reject(self, time, own.number, "rejected", what[4])
        elif kind not in ("patience", "retry"):
            state = self.orders[own.number].state
            reason = what[4] if kind == "ended" else "none"
            commands = strategy.on_order(self, time, own.number, state, reason)
        self.obey(time, commands)
        self.watch_losses(time)
