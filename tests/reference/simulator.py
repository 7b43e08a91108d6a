"""The simulator again, slow and obvious: lists, dictionaries, and sets of order ids ahead.

The venue is in :mod:`tests.reference.venue`, its fill rules beside it, who trades there in
:mod:`tests.reference.trader` and :mod:`tests.reference.desk`.  Here is the order in which things
happen: everything under way is in one list, and the first of it happens first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.backtest.options import Limits, Money
from tests.reference.desk import Desk, News
from tests.reference.fill_rules import FillRules
from tests.reference.plain_book import LAST, MAYBE_BAD, SNAPSHOT, PlainBook, Record
from tests.reference.trader import Trader
from tests.reference.venue import Venue
from tests.reference.wire import ARRIVAL, RECEIPT, TIMER, TO_US, Wire

MINUTE = 60 * 10**9


@dataclass
class Options:
    reading: str = "exact"
    entry: int = 0
    response: int = 0
    feed: int = 0
    jitter: tuple = (0, 0, 0)
    latencies: list | None = None
    seed: int = 1
    passive: bool = True
    patience: int = 10**18
    retry: int = 10**9
    grid: bool = False
    assume_after: int | None = None
    limits: Limits = field(default_factory=Limits)
    money: Money = field(default_factory=Money)


class Marked(Venue):
    """A venue that notes our position and the mid, for the equity curve."""

    def __init__(self, wire):
        super().__init__(wire)
        self.marks: list[tuple] = []
        self.good: tuple | None = None
        self.session = -1

    def mark(self, time, kind):
        mid = sum(self.good) if self.good else None
        fills = len(self.fills)
        self.marks.append((time, self.event, kind, self.position, mid, self.session, fills))


class Simulator:
    """One instrument; sessions of the calendar; signals' decisions, or an event strategy."""

    def __init__(self, options, sessions, flatten_before=None, decisions=(), strategy=None):
        self.o = options
        typical = options.feed, options.entry, options.response
        self.wire = Wire(typical, options.jitter, options.latencies, options.seed)
        self.venue = Marked(self.wire)
        self.rules = FillRules(self.venue, options.reading)
        if strategy is None:
            self.trader = Trader(self.wire, self.venue, options)
        else:
            self.trader = Desk(self.wire, self.venue, options, strategy)
        self.listens = strategy is not None
        self.decisions = list(decisions)  # (ts, event number, target, bid, ask)
        self.timetable = timetable(sessions, flatten_before)
        self.next_mark: int | None = None
        self.events = 0
        # the event under way
        self.open_event = False
        self.last: Record | None = None
        self.before_snapshot: dict[int, set[int]] | None = None
        self.joined_before: dict[int, int] = {}
        self.restored: dict[int, int] | None = None
        self.prints: list[tuple] = []
        self.records: list[Record] = []
        # what is known of the book
        self.known_book = self.bad_book = False
        self.first_seen: int | None = None

    # --- time -------------------------------------------------------------------------------

    def due(self):
        """(time, class, rank, sequence, what) of the first thing that is due."""
        found = [(t, c, 0, s, w) for t, c, s, w in self.wire.under_way]
        if self.timetable:
            found.append((self.timetable[0][0], TIMER, 1, 0, ("timetable",)))
        if self.next_mark is not None:
            found.append((self.next_mark, TIMER, 2, 0, ("mark",)))
        if self.decisions and self.decisions[0][1] <= self.events:
            cls = TIMER if self.o.grid else RECEIPT
            found.append((self.decisions[0][0], cls, 3, 0, ("decide",)))
        return min(found, key=lambda f: f[:4], default=None)

    def run_until(self, before):
        while (first := self.due()) is not None and first[0] < before:
            self.happen(first)

    def happen(self, first):
        """The first thing that is due."""
        venue, trader = self.venue, self.trader
        time, cls, _, seq, what = first
        if what[0] == "timetable":
            _, turn, session = self.timetable.pop(0)
            venue.clock = max(venue.clock, time)
            self.turn(turn, session, time)
        elif what[0] == "mark":
            venue.mark(time, "clock")
            self.next_mark += MINUTE
        elif what[0] == "decide":
            _, _, target, bid, ask = self.decisions.pop(0)
            trader.decide(time, target, bid, ask)
        else:
            self.wire.under_way = [u for u in self.wire.under_way if u[2] != seq]
            if cls == ARRIVAL:
                venue.clock = max(venue.clock, time)
                venue.arrive(what)
            elif cls == RECEIPT:
                trader.receive(time, what[1])
            else:
                trader.hear(time, what)

    def turn(self, what, session, time):
        venue = self.venue
        if what == "load":
            venue.session, venue.phase = session, "preopen"
            self.trader.start_session(session, time)
        elif what == "open":
            venue.phase = "open"
            if self.next_mark is None:
                self.next_mark = ((time + 1) // MINUTE + 1) * MINUTE
        elif what == "close":
            venue.phase = "preopen"
        elif what == "flatten":
            self.trader.flatten(time, "flattening")
        else:
            venue.end_all("expired", "session_end", keep=("gtc",))
            self.end_session(time)

    def end_session(self, time):
        self.trader.end_session()
        self.venue.mark(time, "session_end")
        self.venue.phase, self.next_mark = "closed", None

    def finish(self, until):
        """The data are over; ``until`` None: in the midst of a session."""
        venue = self.venue
        if self.before_snapshot is not None:
            self.end_snapshot()
        end = venue.clock + 1 if until is None else max(until, venue.clock + 1)
        self.run_until(end)
        if until is None and self.trader.active:
            venue.end_all("expired", "end_of_data")
            self.end_session(end - 1)
        for own in venue.own:
            if own.status == "sent":
                own.status, own.reason, own.ended = "expired", "end_of_data", end - 1

    # --- the market -------------------------------------------------------------------------

    def feed(self, r: Record):
        snap = bool(r.flags & SNAPSHOT)
        self.settle(r)
        if not self.open_event:
            self.begin_event(r, snap)
        venue = self.venue
        if snap and self.before_snapshot is None:
            self.remember_queues()
        if venue.book.starts_snapshot(r):
            venue.book.forget()
            self.restart()
        if r.flags & MAYBE_BAD:
            self.bad_book = True
        venue.valid = self.known_book and not self.bad_book
        self.last = r
        self.records.append(r)
        change = venue.book.apply(r)
        if r.action == "T":
            self.rules.trade(r)
            if r.price is not None:
                self.prints.append((r.price, r.size))
                venue.last_print = r.price
        elif r.action == "F":
            self.rules.filled(r)
        elif r.action == "R":
            if not snap:
                venue.end_all("cancelled", "book_cleared")
                venue.taken = {}
            venue.book.forget()
            self.restart()
        elif change and not snap:
            self.rules.changed(change)
        if r.flags & LAST:
            if self.before_snapshot is not None:
                self.end_snapshot()
            self.assume_known(r.ts_recv)
            self.end_event()

    def settle(self, r):
        """What the next record shows to be over."""
        snap = bool(r.flags & SNAPSHOT)
        if self.before_snapshot is not None and not snap:
            self.end_snapshot()
            if self.open_event:
                self.end_event()
        if not self.open_event and not (self.goes_on(r) and not snap):
            self.rules.prints_alone()

    def goes_on(self, r):
        """Whether a record is of the execution that was the last thing."""
        last = self.last
        return last is not None and last.action in "TF" and last.ts_event == r.ts_event

    def change_instrument(self, time):
        """The symbol is another instrument's from now on: another book, and ours are gone."""
        venue = self.venue
        venue.clock = max(venue.clock, time)
        venue.touch, self.last = (None, None), None
        venue.end_all("cancelled", "book_cleared")
        venue.book, venue.taken, venue.crossed = PlainBook(), {}, False
        self.forget()

    def forget(self):
        """Nothing is known of the book, and what was on its way to us is lost."""
        self.known_book = self.bad_book = self.venue.valid = False
        self.first_seen, self.restored, self.records = None, None, []
        self.open_event, self.before_snapshot = False, None
        self.wire.under_way = [u for u in self.wire.under_way if u[1] != RECEIPT]
        self.trader.forget()

    def begin_event(self, r, snap):
        venue, same = self.venue, self.goes_on(r)
        self.run_until(r.ts_recv if snap else r.ts_event)
        if not same:
            self.rules.begin_execution()
            r.begins = True
        venue.clock = max(venue.clock, r.ts_recv if snap else r.ts_event)
        self.rules.begin_event()
        self.open_event, self.prints = True, []

    def restart(self):
        """A clear or a snapshot: the contents are known from here."""
        self.known_book, self.bad_book = True, False
        self.venue.valid = True

    def assume_known(self, ts_recv):
        if self.known_book or self.o.assume_after is None:
            return
        self.first_seen = ts_recv if self.first_seen is None else min(self.first_seen, ts_recv)
        if ts_recv - self.first_seen >= self.o.assume_after:
            self.known_book, self.venue.valid = True, not self.bad_book

    def end_event(self):
        venue, last = self.venue, self.last
        crossed = venue.book.crossed()
        self.rules.end_event(crossed, last.number)
        self.events += 1
        venue.crossed, venue.event, venue.record = crossed, self.events, last.number
        venue.touch = venue.book.best("B"), venue.book.best("A")
        if None not in venue.touch and not crossed and venue.valid:
            venue.good = venue.touch
        venue.after_event([price for price, _ in self.prints])
        if self.listens:
            self.depart(last)
        self.open_event = False

    def depart(self, last):
        """Its word is on its way to us."""
        venue = self.venue
        news = News(
            venue.event, self.records, {side: venue.book.shown(side) for side in "BA"},
            venue.valid, venue.crossed, sum(size for _, size in self.prints), venue.last_print,
            self.restored,
        )  # fmt: skip
        self.records, self.restored = [], None
        self.wire.put(self.wire.there(TO_US, last.ts_recv, venue.clock), RECEIPT, ("news", news))

    # --- snapshots --------------------------------------------------------------------------

    def remember_queues(self):
        venue = self.venue
        self.before_snapshot = {own.number: set(own.ahead) for own in venue.live}
        self.joined_before = {i: order.joined for i, order in venue.book.orders.items()}

    def end_snapshot(self):
        """Those ahead of us are ahead again by id; those missing count as gone."""
        venue, now = self.venue, self.venue.book.orders
        self.restored = {}
        for own in venue.live:
            own.ahead = {
                i for i in self.before_snapshot[own.number]
                if i in now and (now[i].side, now[i].price) == (own.side, own.price)
            }  # fmt: skip
            for i in own.ahead:
                now[i].joined = self.restored[i] = self.joined_before[i]
        venue.taken = {i: min(n, now[i].size) for i, n in venue.taken.items() if i in now}
        self.before_snapshot = None


def timetable(sessions, flatten_before):
    """(time, what, session); what is at an end or a beginning happens a nanosecond before."""
    order = ["load", "close", "open", "flatten", "end"]
    rows = []
    for number, session in enumerate(sessions):
        rows.append((session.preopen_ns - 1, "load", number))
        for opens, closes in session.segments:
            rows += [(opens - 1, "open", number), (closes - 1, "close", number)]
        if flatten_before is not None:
            flatten = session.announced_close_ns - flatten_before
            if flatten < session.close_ns:
                rows.append((flatten, "flatten", number))
        rows.append((session.close_ns - 1, "end", number))
    return sorted(rows, key=lambda row: (row[2], row[0], order.index(row[1])))
