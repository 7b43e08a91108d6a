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
    """Buy what rises away from its moving average, sell what falls away; leave by a stop.

    Rule: when the gap between mid and exponential average is beyond ``entry_z`` and the momentum
    over ``confirm`` agrees with at least ``momentum``, go with it by a market order, and send a
    stop ``stop_atr`` average true ranges behind.  The stop trails the best price since by
    ``trail_atr`` and never goes back.  When the gap closes to ``exit_z``, leave at once.  After a
    trade the gap must have closed before the next one.  It is an event strategy because a stop
    that rests at the venue fires at the print that reaches it, not at the next decision.

    Average true range: Wilder's, of bars of the mid as received.
    """

    regime: ClassVar[str] = "busy hours after news, orders split over minutes"
    wake: ClassVar[str] = "touch"

    size: int = parameter(1, "contracts", "of a trade", low=1)
    half_life: str = parameter("60s", "", "half-life of the average: ema_gap_z_h<half_life>")
    confirm: str = parameter("300s", "", "window of the confirming momentum_<confirm>")
    entry_z: float = parameter(1.5, "sigma", "gap that starts a trade", low=0)
    exit_z: float = parameter(0.2, "sigma", "gap at which it is over", low=0)
    momentum: float = parameter(1.0, "sigma", "momentum that confirms", low=0)
    bar: Duration = parameter(Duration(NS_PER_MINUTE), "ns", "length of a bar", low=1)
    bars: int = parameter(14, "bars", "of the average true range", low=1)
    stop_atr: float = parameter(2.0, "true ranges", "first stop behind the entry", low=0.1)
    trail_atr: float = parameter(3.0, "true ranges", "stop behind the best price", low=0.1)
    step: int = parameter(2, "ticks", "a stop is moved by at least that", low=1)

    gap: int = feature("ema_gap_z_h{half_life}")
    push: int = feature("momentum_{confirm}")

    entry: int = state(-1)
    stop: int = state(-1)
    way_out: int = state(-1)
    asked: int = state(-1)
    armed: bool = state(True)
    leaving: bool = state(False)
    first: int = state(0)
    best: int = state(0)
    trigger: int = state(0)
    width: float = state(0.0)
    high: float = state(math.nan)
    low: float = state(math.nan)
    close: float = state(math.nan)
    atr: float = state(0.0)
    n_bars: int = state(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.exit_z < self.entry_z:
            raise RequestError(
                f"trend_following: exit_z {self.exit_z} must be below entry_z {self.entry_z}"
            )

    def on_session_start(self, m: Market) -> None:
        self.entry, self.stop, self.way_out, self.asked = -1, -1, -1, -1
        self.armed, self.leaving = True, False
        self.high, self.low, self.close = math.nan, math.nan, math.nan
        m.set_timer(m.opens_at + self.bar)

    def on_timer(self, m: Market) -> None:
        if not math.isnan(self.high):
            self.end_bar(m.mid_ticks())
        m.set_timer(m.now + self.bar)

    def end_bar(self, mid: float) -> None:
        high, low = self.high, self.low
        if not math.isnan(self.close):
            high, low = max(high, self.close), min(low, self.close)
        self.n_bars += 1
        self.atr += (high - low - self.atr) / min(self.n_bars, self.bars)
        self.close, self.high, self.low = mid, math.nan, math.nan

    def on_market_event(self, m: Market) -> None:
        if not m.open or not m.two_sided():
            return
        mid = m.mid_ticks()
        if math.isnan(self.high):
            self.high, self.low = mid, mid
        self.high, self.low = max(self.high, mid), min(self.low, mid)
        self.manage(m)

    def on_order(self, m: Market) -> None:
        self.manage(m)

    def on_reject(self, m: Market) -> None:
        if m.update_order == self.stop and not m.is_working(self.stop):
            self.leaving = True  # the market is already beyond it
        self.manage(m)

    def manage(self, m: Market) -> None:
        busy = m.is_working(self.entry) or m.is_working(self.way_out)
        if busy or not m.open or not m.two_sided() or m.closes_at - m.now <= self.flatten_before:
            return
        if m.position == 0:
            if not m.is_working(self.stop):
                self.enter(m)
            return
        side = BUY if m.position > 0 else SELL
        price = m.bid if m.position > 0 else m.ask
        if abs(m.feature(self.gap)) < self.exit_z:
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

    def enter(self, m: Market) -> None:
        self.stop, self.leaving = -1, False
        gap, push = m.feature(self.gap), m.feature(self.push)
        if abs(gap) < self.exit_z:
            self.armed = True
        if not self.armed or self.n_bars < self.bars:
            return
        if gap > self.entry_z and push >= self.momentum:
            self.entry = m.market(BUY, self.size)
            self.armed = False
        elif gap < -self.entry_z and push <= -self.momentum:
            self.entry = m.market(SELL, self.size)
            self.armed = False

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
