"""Market making after Avellaneda and Stoikov, with a look at our place in the queue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pipeline.units import NS_PER_MINUTE, NS_PER_S
from strategies.event import (
    BUY,
    SELL,
    Duration,
    EventStrategy,
    Market,
    helper,
    parameter,
    state,
)


@helper
def reservation(mid: float, inventory: float, gamma: float, risk: float) -> float:
    """Price at which holding one contract more or less is all the same, in ticks.

    r = s - q gamma sigma^2 (T - t): Avellaneda and Stoikov, "High-frequency trading in a limit
    order book", Quantitative Finance 8 (2008), equation 29.  ``risk`` is sigma^2 (T - t), the
    variance of the price until then in ticks squared; ``gamma`` in 1 / (ticks x contracts).
    """
    return mid - inventory * gamma * risk


@helper
def half_spread(gamma: float, risk: float, k: float) -> float:
    """Distance of each quote from the reservation price, in ticks: the same paper, equation 30.

    ``k`` in 1 / ticks: fills become rarer by exp(-k) for each tick further away.
    """
    return 0.5 * gamma * risk + math.log(1.0 + gamma / k) / gamma


@dataclass
class MarketMaking(EventStrategy):
    """Quote both sides around a price that leans against what is held.

    Rule: each quote is the reservation price less (plus) the half spread of Avellaneda and
    Stoikov and the maker's fee, rounded away from the mid, never through the other side of the
    touch (post-only).  The paper's gamma depends on the market's pace; here it is what moves the
    reservation price, at the position ``limit``, by ``aversion`` times the typical move of the
    ``horizon``, so that one setting suits quiet and busy hours.  The typical move comes from the
    mid's changes second by second, with exponential forgetting, and is at least half a tick.

    A quote stays, for its place in the queue, while it is off by its rounding and ``tolerance``
    at most; one at the touch with at most ``keep_ahead`` contracts before it is not taken back
    by a single tick, either.  Nothing that would take the position beyond ``limit`` is sent, and
    nothing at all in the last ``stop_before`` of a session.
    """

    wake: ClassVar[str] = "touch"
    regime: ClassVar[str] = "two-sided flow that does not know where the price goes next"

    size: int = parameter(1, "contracts", "of each quote", low=1)
    limit: int = parameter(5, "contracts", "largest position", low=1)
    aversion: float = parameter(
        1.0, "typical moves", "of the horizon, that the price leans at the limit", low=1e-9
    )
    k: float = parameter(1.5, "1/tick", "how fast fills become rare away from the mid", low=1e-9)
    horizon: Duration = parameter(
        Duration(60 * NS_PER_S), "ns", "T - t of the paper, rolling; at most what is left", low=1
    )
    half_life: Duration = parameter(
        Duration(2 * NS_PER_MINUTE), "ns", "of what volatility remembers", low=NS_PER_S
    )
    tolerance: float = parameter(0.25, "ticks", "a quote off by this much stays", low=0)
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
        if self.samples < 30 or not m.open or m.closes_at - m.now < self.stop_before:
            self.put(m, BUY, math.nan)
            self.put(m, SELL, math.nan)
            return
        left = 1e-9 * min(self.horizon, m.closes_at - m.now)
        risk = max(self.variance * left, 0.25)
        gamma = self.aversion / (self.limit * math.sqrt(risk))
        centre = reservation(m.mid_ticks(), m.position, gamma, risk)
        width = half_spread(gamma, risk, self.k) + m.maker_fee
        buy = min(centre - width, m.ask / m.tick - 1)
        sell = max(centre + width, m.bid / m.tick + 1)
        self.put(m, BUY, buy if m.position + self.size <= self.limit else math.nan)
        self.put(m, SELL, sell if m.position - self.size >= -self.limit else math.nan)

    def put(self, m: Market, side: int, ideal: float) -> None:
        """See to it that our quote of a side is right for a price in ticks; nan: that it goes."""
        order = self.bid if side == BUY else self.ask
        standing = self.bid_price if side == BUY else self.ask_price
        if (self.bid_busy if side == BUY else self.ask_busy) or (order < 0 and math.isnan(ideal)):
            return
        if math.isnan(ideal):
            m.cancel(order)
            self.note(side, order, standing, True)
            return
        price = int(math.floor(ideal) if side == BUY else math.ceil(ideal)) * m.tick
        if order < 0:
            self.note(side, m.limit(side, price, self.size, post_only=True), price, True)
        elif price != standing and not self.stays(m, side, standing, side * ideal):
            m.replace(order, price, self.size)
            self.note(side, order, price, True)

    def stays(self, m: Market, side: int, standing: int, ideal: float) -> bool:
        """Whether a quote is good enough, or too near its turn, to be given up."""
        behind = ideal - side * standing / m.tick  # 0 to 1 by the rounding alone
        if behind >= -self.tolerance and behind < 1.0 + self.tolerance:
            return True
        if behind > 0 or behind < -1.0 or standing != (m.bid if side == BUY else m.ask):
            return False
        ahead = m.queue_ahead(self.bid if side == BUY else self.ask)
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
