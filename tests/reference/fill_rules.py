"""Which market record fills which of our resting orders: docs/fills.md, line by line."""

from __future__ import annotations

from tests.reference.plain_book import OTHER, Change, Record
from tests.reference.venue import Venue


class FillRules:
    """What the execution and the event under way have given so far."""

    def __init__(self, venue: Venue, reading):
        self.venue, self.reading = venue, reading
        self.allowed = False
        self.rested: list[int] = []
        self.lone_prints: list[tuple] = []
        self.begin_execution()

    def begin_execution(self):
        """T, F and what follows them at the same time are one execution."""
        self.aggressor: str | None = None
        self.saw_fill = False
        self.auction_price: int | None = None
        self.auction_left = {"B": 0, "A": 0}

    def begin_event(self):
        venue = self.venue
        self.allowed = venue.matching and venue.valid

    def _give(self, own, size, price, role, reason, record):
        """Up to a size; returns what is left of it."""
        part = min(size, own.left)
        self.venue.fill(own, part, price, role, reason, self.venue.event + 1, record)
        return size - part

    # --- T ----------------------------------------------------------------------------------

    def trade(self, r: Record):
        self.aggressor = r.side
        if r.side == "N":
            self.auction_price = r.price
            for side in "BA":
                self.auction_left[side] += r.size
        elif self.reading == "optimistic" and self.venue.live:
            self.lone_prints.append((r.price, r.size, r.side))

    def prints_alone(self):
        """Optimistic, once the execution is over: prints without any F fill us."""
        if not self.saw_fill and self.allowed:
            for price, printed, aggressor in self.lone_prints:
                left = printed
                for own in self.venue.ranked(OTHER[aggressor]):
                    if left and own.reaches(price):
                        part = min(left, own.left)
                        left -= part
                        venue = self.venue
                        venue.fill(own, part, own.price, "maker", "print_only", venue.event,
                                   venue.record)  # fmt: skip
        self.lone_prints = []

    # --- F ----------------------------------------------------------------------------------

    def filled(self, r: Record):
        venue = self.venue
        self.saw_fill = True
        resting = venue.book.orders.get(r.order)
        if r.price is None:
            return
        auction = self.aggressor == "N" or (self.aggressor is None and r.side == "N")
        side = resting.side if r.side == "N" and resting else r.side
        known = resting is not None and (resting.side, resting.price) == (side, r.price)
        if auction:
            if venue.valid and venue.phase != "closed":
                self.auction(r.number)
                if side != "N":
                    self.auction_at_limit(side, r, known)
        elif self.allowed and side not in ("N", self.aggressor):
            self.met(side, r, known)

    def met(self, side, r: Record, known):
        """The aggressor met that order: ours with a better place come first."""
        left = r.size
        for own in self.venue.ranked(side):
            if left == 0 or not own.reaches(r.price):
                return
            if own.better(r.price):
                reason = "worse_price"
            elif self.reading == "pessimistic":
                return
            elif known and r.order not in own.ahead:
                reason = "behind"
            elif self.reading == "optimistic":
                reason = "nothing_ahead"
            else:
                continue
            left = self._give(own, left, own.price, "maker", reason, r.number)

    def auction(self, record):
        for side in "BA":
            for own in self.venue.ranked(side):
                if self.auction_left[side] > 0 and own.better(self.auction_price):
                    self.auction_left[side] = self._give(
                        own, self.auction_left[side], self.auction_price, "auction", "auction",
                        record,
                    )  # fmt: skip

    def auction_at_limit(self, side, r: Record, known):
        if self.reading == "pessimistic":
            return
        left = r.size
        for own in self.venue.ranked(side):
            behind = known and r.order not in own.ahead
            left = min(left, self.auction_left[side])
            if left > 0 and own.price == r.price and (self.reading == "optimistic" or behind):
                rest = self._give(own, left, r.price, "auction", "auction_queue", r.number)
                self.auction_left[side] -= left - rest
                left = rest

    # --- A, C, M ----------------------------------------------------------------------------

    def changed(self, change: Change):
        """After an A, C or M that is not of a snapshot."""
        venue = self.venue
        venue.taken.pop(change.order, None)
        if change.left:
            for own in venue.live:
                own.ahead.discard(change.order)
        if change.joined:
            new = venue.book.orders[change.order]
            if any(own.reaches(new.price) for own in venue.ranked(OTHER[new.side])):
                self.rested.append(change.order)

    def end_event(self, crossed, record):
        """What rests at or through our prices now would have met us."""
        venue = self.venue
        able = self.allowed and not crossed and self.reading != "pessimistic"
        for order in self.rested if able else []:
            new = venue.book.orders.get(order)
            for own in venue.ranked(OTHER[new.side]) if new else []:
                left = new.size - venue.taken.get(order, 0)
                if left > 0 and own.reaches(new.price):
                    part = min(left, own.left)
                    venue.taken[order] = venue.taken.get(order, 0) + part
                    self._give(own, part, own.price, "maker", "came_to_rest", record)
        self.rested = []
