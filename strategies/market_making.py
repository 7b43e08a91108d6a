"""Market making after Avellaneda and Stoikov, with a look at our place in the queue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pipeline.units import NS_PER_MINUTE, NS_PER_S
from strategies.event import (
    BUY,
    NO_PRICE,
    SELL,
    Duration,
    EventStrategy,
    Market,
    helper,
    parameter,
    state,
)


@helper
def reservation(mid: float, inventory: float, gamma: float, sigma: float, left: float) -> float:
    """Price at which holding one contract more or less is all the same, in ticks.

    r = s - q gamma sigma^2 (T - t): Avellaneda and Stoikov, "High-frequency trading in a limit
    order book", Quantitative Finance 8 (2008), equation 29.  ``sigma`` in ticks a square root of
    a second, ``left`` in seconds, ``gamma`` in 1 / (ticks x contracts).
    """
    return mid - inventory * gamma * sigma * sigma * left


@helper
def half_spread(gamma: float, sigma: float, left: float, k: float) -> float:
    """Distance of each quote from the reservation price, in ticks: the same paper, equation 30.

    ``k`` in 1 / ticks: fills become rarer by exp(-k) for each tick further away.
    """
    return 0.5 * gamma * sigma * sigma * left + math.log(1.0 + gamma / k) / gamma


@dataclass
class MarketMaking(EventStrategy):
    """Quote both sides around a price that leans against what is held.

    Rule: each quote is the reservation price less (plus) the half spread of Avellaneda and
    Stoikov, rounded away from the mid, never through the other side of the touch (post-only).
    Volatility is that of the mid second by second, with exponential forgetting.  A quote that
    is off by ``tolerance`` ticks or less stays, for its place in the queue; so does one with
    at most ``keep_ahead`` contracts before it, as long as it is no better than the touch.  Nothing
    that would take the position beyond ``limit`` is sent, and nothing at all in the last
    ``stop_before`` of a session.
    """

    wake: ClassVar[str] = "touch"
    regime: ClassVar[str] = "two-sided flow that does not know where the price goes next"

    size: int = parameter(1, "contracts", "of each quote", low=1)
    limit: int = parameter(5, "contracts", "largest position", low=1)
    gamma: float = parameter(0.02, "1/(tick contract)", "aversion to inventory", low=1e-9)
    k: float = parameter(1.5, "1/tick", "how fast fills become rare away from the mid", low=1e-9)
    horizon: Duration = parameter(
        Duration(60 * NS_PER_S), "ns", "T - t of the paper, rolling; at most what is left", low=1
    )
    half_life: Duration = parameter(
        Duration(2 * NS_PER_MINUTE), "ns", "of what volatility remembers", low=NS_PER_S
    )
    tolerance: int = parameter(1, "ticks", "a quote off by this much stays", low=0)
    keep_ahead: int = parameter(3, "contracts", "a quote so near its turn stays", low=0)
    stop_before: Duration = parameter(
        Duration(10 * NS_PER_MINUTE), "ns", "no quotes so long before the close", low=0
    )

    variance: float = state(0.0)
    """Of the mid's change in a second, ticks squared."""
    samples: int = state(0)
    last_mid: float = state(0.0)
    bid: int = state(-1)
    ask: int = state(-1)
    """Numbers of our quotes, -1 where there is none."""
    bid_busy: bool = state(False)
    ask_busy: bool = state(False)
    """Something about it has been asked for and not been answered."""
    bid_price: int = state(0)
    ask_price: int = state(0)

    def on_session_start(self, m: Market) -> None:
        self.samples = 0
        self.bid = self.ask = -1
        self.bid_busy = self.ask_busy = False
        m.set_timer(m.opens_at + NS_PER_S)

    def on_timer(self, m: Market) -> None:
        if m.two_sided():
            mid = m.mid_ticks()
            if self.samples > 0:
                change = mid - self.last_mid
                weight = max(1.0 / self.samples, 1.0 - 0.5 ** (NS_PER_S / self.half_life))
                self.variance += weight * (change * change - self.variance)
            self.last_mid = mid
            self.samples += 1
            self.quote(m)
        if m.now + NS_PER_S < m.closes_at:
            m.set_timer(m.now + NS_PER_S)

    def on_market_event(self, m: Market) -> None:
        if m.two_sided():
            self.quote(m)

    def quote(self, m: Market) -> None:
        left = 1e-9 * min(self.horizon, m.closes_at - m.now)
        if self.samples < 30 or not m.open or m.closes_at - m.now < self.stop_before:
            self.put(m, BUY, NO_PRICE)
            self.put(m, SELL, NO_PRICE)
            return
        sigma = math.sqrt(self.variance)
        centre = reservation(m.mid_ticks(), m.position, self.gamma, sigma, left)
        width = half_spread(self.gamma, sigma, left, self.k)
        buy = min(math.floor(centre - width) * m.tick, m.ask - m.tick)
        sell = max(math.ceil(centre + width) * m.tick, m.bid + m.tick)
        self.put(m, BUY, buy if m.position + self.size <= self.limit else NO_PRICE)
        self.put(m, SELL, sell if m.position - self.size >= -self.limit else NO_PRICE)

    def put(self, m: Market, side: int, price: int) -> None:
        """See to it that our quote of a side is at a price, or that there is none."""
        order = self.bid if side == BUY else self.ask
        standing = self.bid_price if side == BUY else self.ask_price
        if (self.bid_busy if side == BUY else self.ask_busy) or (order < 0 and price == NO_PRICE):
            return
        if order < 0:
            self.note(side, m.limit(side, price, self.size, post_only=True), price, True)
        elif price == NO_PRICE:
            m.cancel(order)
            self.note(side, order, standing, True)
        elif abs(price - standing) > self.tolerance * m.tick and not self.stays(m, order, standing):
            m.replace(order, price, self.size)
            self.note(side, order, price, True)

    def stays(self, m: Market, order: int, standing: int) -> bool:
        """Whether a quote is too near its turn to be given up, and not ahead of the touch."""
        if standing > m.bid and standing < m.ask:
            return False
        ahead = m.queue_ahead(order)
        return ahead >= 0 and ahead <= self.keep_ahead

    def note(self, side: int, order: int, price: int, busy: bool) -> None:
        if side == BUY:
            self.bid, self.bid_price, self.bid_busy = order, price, busy
        else:
            self.ask, self.ask_price, self.ask_busy = order, price, busy

    def on_order(self, m: Market) -> None:
        self.heard(m)
        if not m.is_working(m.update_order) and m.two_sided():
            self.quote(m)

    def on_reject(self, m: Market) -> None:
        self.heard(m)

    def on_fill(self, m: Market) -> None:
        # Word that a filled order has ended follows at once: the side is quoted anew then.
        if m.fill_left > 0 and m.two_sided():
            self.quote(m)

    def heard(self, m: Market) -> None:
        """The venue's word on a quote: it is there, it is gone, or it could not be changed."""
        order = m.update_order
        number = order if m.is_working(order) else -1
        if order == self.bid:
            self.note(BUY, number, m.order_price(order), False)
        elif order == self.ask:
            self.note(SELL, number, m.order_price(order), False)
