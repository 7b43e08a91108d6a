"""The simulator again, slow and obvious: lists, dictionaries, and sets of order ids ahead.

The venue is in :mod:`tests.reference.venue`; here are who trades at it, and the order in which
things happen: everything under way is a sorted list.
"""

from __future__ import annotations

from tests.reference.venue import (
    ARRIVAL,
    LAST,
    MAYBE_BAD,
    RECEIPT,
    SNAPSHOT,
    TIMER,
    Own,
    Record,
    Venue,
)


class Simulator(Venue):
    """One instrument, one session of one segment [opens, closes)."""

    def __init__(self, options, opens, closes, preopen, flatten_before, decisions):
        super().__init__(options)
        self.events = 0
        self.in_snapshot = None
        self.snapshot_ahead: dict[int, set[int]] = {}
        self.open_event = False
        self.execution: tuple | None = None
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
