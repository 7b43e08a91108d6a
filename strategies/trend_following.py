"""Trend following: go with a price that leaves its average, and let a stop take you out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pipeline.errors import RequestError
from pipeline.units import NS_PER_MINUTE
from strategies.event import (
    BUY,
    SELL,
    Duration,
    EventStrategy,
    Market,
    feature,
    parameter,
    state,
)


@dataclass
class TrendFollowing(EventStrategy):
    """Buy when a fast average crosses above a slow one, sell when below; leave by a stop.

    Rule, at the end of each ``bar``: when the ``fast`` average of the closes has crossed the
    ``slow`` one and the momentum over ``confirm`` agrees with at least ``momentum``, go with it by
    a market order, and send a stop ``stop_atr`` average true ranges behind.  The stop trails the
    best price since by ``trail_atr`` and never goes back.  When the averages cross back, leave at
    once; a crossing is traded once.  Nothing is begun unless the first stop is ``cover`` times
    as far as a round trip at market costs, the spread and two fees: nearer, costs alone decide.
    It is an event strategy because a stop that rests at the venue fires at the print that
    reaches it, not at the next decision.

    Averages are exponential (2 / (n + 1)) over bars of the mid as received; the average true range
    is Wilder's.
    """

    regime: ClassVar[str] = "days with news, orders split over hours"
    wake: ClassVar[str] = "touch"

    size: int = parameter(1, "contracts", "of a trade", low=1)
    bar: Duration = parameter(Duration(15 * NS_PER_MINUTE), "ns", "length of a bar", low=1)
    fast: int = parameter(4, "bars", "of the fast average", low=1)
    slow: int = parameter(16, "bars", "of the slow average", low=2)
    confirm: str = parameter("300s", "", "window of the confirming momentum_<confirm>")
    momentum: float = parameter(0.5, "sigma", "momentum that confirms", low=0)
    bars: int = parameter(14, "bars", "of the average true range", low=1)
    stop_atr: float = parameter(2.0, "true ranges", "first stop behind the entry", low=0.1)
    trail_atr: float = parameter(3.0, "true ranges", "stop behind the best price", low=0.1)
    cover: float = parameter(5.0, "round trips", "of costs that the first stop is away", low=0)
    step: int = parameter(2, "ticks", "a stop is moved by at least that", low=1)

    push: int = feature("momentum_{confirm}")

    entry: int = state(-1)
    stop: int = state(-1)
    way_out: int = state(-1)
    asked: int = state(-1)
    armed: bool = state(False)
    """The averages have crossed and the crossing has not been traded."""
    leaving: bool = state(False)
    first: int = state(0)
    best: int = state(0)
    trigger: int = state(0)
    width: float = state(0.0)
    high: float = state(math.nan)
    low: float = state(math.nan)
    last: float = state(0.0)
    close: float = state(math.nan)
    atr: float = state(0.0)
    quick: float = state(0.0)
    calm: float = state(0.0)
    """The fast and the slow average, ticks."""
    above: int = state(0)
    """1 while the fast average is above the slow one, -1 below; 0 before there are any."""
    n_bars: int = state(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fast < self.slow:
            raise RequestError(f"trend_following: fast {self.fast} must be below slow {self.slow}")

    def on_session_start(self, m: Market) -> None:
        self.entry, self.stop, self.way_out, self.asked = -1, -1, -1, -1
        self.leaving = False
        self.high, self.low, self.close = math.nan, math.nan, math.nan
        m.set_timer(m.opens_at + self.bar)

    def on_timer(self, m: Market) -> None:
        if not math.isnan(self.high):
            self.end_bar()
            if m.position == 0:
                self.enter(m)
            else:
                self.manage(m)
        m.set_timer(m.now + self.bar)

    def end_bar(self) -> None:
        high, low = self.high, self.low
        if not math.isnan(self.close):
            high, low = max(high, self.close), min(low, self.close)
        self.n_bars += 1
        self.atr += (high - low - self.atr) / min(self.n_bars, self.bars)
        for_fast = 2.0 / (min(self.n_bars, self.fast) + 1)
        for_slow = 2.0 / (min(self.n_bars, self.slow) + 1)
        self.quick += for_fast * (self.last - self.quick)
        self.calm += for_slow * (self.last - self.calm)
        above = 1 if self.quick > self.calm else -1 if self.quick < self.calm else self.above
        self.armed = (self.armed or above != self.above) and self.n_bars > self.slow
        self.above = above
        self.close, self.high, self.low = self.last, math.nan, math.nan

    def on_market_event(self, m: Market) -> None:
        if not m.open or not m.two_sided():
            return
        mid = m.mid_ticks()
        if math.isnan(self.high):
            self.high, self.low = mid, mid
        self.high, self.low, self.last = max(self.high, mid), min(self.low, mid), mid
        self.manage(m)

    def on_order(self, m: Market) -> None:
        self.manage(m)

    def on_reject(self, m: Market) -> None:
        if m.update_order == self.stop and not m.is_working(self.stop):
            self.leaving = True  # the market is already beyond it
        self.manage(m)

    def manage(self, m: Market) -> None:
        if self.busy(m) or m.position == 0:
            return
        side = BUY if m.position > 0 else SELL
        price = m.bid if m.position > 0 else m.ask
        if side * self.above < 0:
            self.leaving = True
        if not m.is_working(self.stop):
            if self.leaving or self.stop >= 0:
                self.way_out = m.market(-side, abs(m.position))
            else:
                self.protect(m, side, price)
        elif self.leaving:
            if self.asked != self.stop:  # we go once it has ended: never two ways out at once
                m.cancel(self.stop)
                self.asked = self.stop
        else:
            self.trail(m, side, price)

    def busy(self, m: Market) -> bool:
        """Nothing can be done: an order of ours is on its way, or trading is not on."""
        if m.is_working(self.entry) or m.is_working(self.way_out):
            return True
        return not m.open or not m.two_sided() or m.closes_at - m.now <= self.flatten_before

    def enter(self, m: Market) -> None:
        if self.busy(m) or m.is_working(self.stop) or not self.armed:
            return
        costs = (m.ask - m.bid) / m.tick + 2 * m.taker_fee
        worth = self.atr * self.stop_atr >= self.cover * costs
        # Undefined momentum confirms nothing: a comparison with nan is false.
        if worth and self.above * m.feature(self.push) >= self.momentum:
            self.stop, self.leaving, self.armed = -1, False, False
            self.entry = m.market(self.above, self.size)

    def protect(self, m: Market, side: int, price: int) -> None:
        self.width = max(self.atr, 1.0)
        self.first, self.best = price, price
        self.trigger = self.level(m, side)
        self.stop = m.stop(-side, self.trigger, abs(m.position))

    def trail(self, m: Market, side: int, price: int) -> None:
        if side * (price - self.best) <= 0:
            return
        self.best = price
        level = self.level(m, side)
        if side * (level - self.trigger) >= self.step * m.tick:
            self.trigger = level
            m.replace(self.stop, level, abs(m.position))

    def level(self, m: Market, side: int) -> int:
        """Where the stop belongs: behind the entry, or the best price where that is nearer."""
        behind = math.ceil(self.width * self.stop_atr) * m.tick
        trailing = math.ceil(self.width * self.trail_atr) * m.tick
        if side > 0:
            return max(self.first - behind, self.best - trailing)
        return min(self.first + behind, self.best + trailing)
