"""A strategy for proofs: what it does depends on all it has ever seen, so any difference shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from strategies.event import BUY, SELL, EventStrategy, Market, feature, state

SECOND = 1_000_000_000


@dataclass
class AllSeen(EventStrategy):
    """Mixes book, trades, features, own queue and position into one number that decides."""

    imbalance: int = feature("queue_imbalance")
    z: int = feature("zscore_300s")

    sum: int = state(7)
    order: int = state(-1)

    def mix(self, value: int) -> None:
        self.sum = (self.sum * 1_000_003 + value % 1_000_003) % 2_147_483_647

    def look(self, m: Market) -> None:
        self.mix(m.now)
        self.mix(m.event)
        for depth in range(10):
            for side in (BUY, SELL):
                self.mix(m.price_at(side, depth))
                self.mix(m.size_at(side, depth))
                self.mix(m.orders_at(side, depth))
        for number in (self.imbalance, self.z):
            value = m.feature(number)
            self.mix(1 if math.isnan(value) else int(value * 1e6))
        self.mix(m.last_price + m.last_size)
        self.mix(m.position)
        self.mix(m.working)
        if self.order >= 0:
            self.mix(m.queue_ahead(self.order))

    def on_session_start(self, m: Market) -> None:
        m.set_timer(m.opens_at + SECOND)

    def on_timer(self, m: Market) -> None:
        self.mix(m.now + m.size_at(BUY, 1) + m.queue_ahead(self.order))
        self.act(m)
        if m.now + 100 * SECOND < m.closes_at:
            m.set_timer(m.now + (10 + self.sum % 90) * SECOND)

    def on_market_event(self, m: Market) -> None:
        self.look(m)
        self.act(m)

    def on_fill(self, m: Market) -> None:
        self.mix(m.now + m.fill_price + m.fill_size + m.position)

    def on_order(self, m: Market) -> None:
        self.mix(m.now + m.update_state)

    def act(self, m: Market) -> None:
        if not m.open or not m.two_sided() or self.sum % 20:
            return
        draw = self.sum // 20
        side = BUY if m.position < 0 or (m.position == 0 and draw % 2) else SELL
        kind = draw // 2 % 8
        if kind == 0:
            m.market(side, 1 + draw // 16 % 2)
        elif kind == 1:
            m.cancel_all()
        elif m.working < 3:
            touch = m.bid if side == BUY else m.ask
            self.order = m.limit(side, touch - side * (draw // 16 % 2) * m.tick, 1 + draw // 32 % 3)
