"""Trading what a model predicts: patient in, in time out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pipeline.errors import RequestError
from pipeline.units import NS_PER_S
from strategies.event import BUY, SELL, Duration, EventStrategy, Market, feature, parameter, state


@dataclass
class Ml(EventStrategy):
    """Go with a model's prediction where it is large and sure enough to pay for itself.

    Rule: where the prediction is ``threshold`` or more in size, and of classes the likelier one
    has at least ``confidence``, quote our side of the touch that way, up to ``limit`` contracts.
    The quote goes once the prediction falls below the threshold, or the touch leaves it behind.
    What is held is sold, at the touch for ``patience`` and then at market, when the prediction
    falls below ``keep`` in its direction, or after ``hold``.  Where nothing is predicted nothing
    is begun.

    ``threshold`` is in the label's unit (ticks for returns; for classes p_up - p_down).  A quote
    that is filled earns half a spread if the price stands still, and pays fees twice and the
    other half spread if it has to leave at market: the prediction should be worth that.  0.25
    ticks are about the fees of a round trip in ES.
    """

    regime: ClassVar[str] = "a label that lasts as long as a queue takes, and survives its costs"
    wake: ClassVar[str] = "touch"

    threshold: float = parameter(0.25, "label", "prediction that starts a trade", low=1e-12)
    keep: float = parameter(0.0, "label", "prediction below which it is over")
    confidence: float = parameter(0.0, "", "least probability of the class, of classes", low=0)
    size: int = parameter(1, "contracts", "of each quote", low=1)
    limit: int = parameter(2, "contracts", "largest position", low=1)
    hold: Duration = parameter(Duration(60 * NS_PER_S), "ns", "longest after the last fill", low=1)
    patience: Duration = parameter(Duration(5 * NS_PER_S), "ns", "of a way out at the touch", low=1)

    prediction: int = feature("prediction")
    p_up: int = feature("p_up")
    p_down: int = feature("p_down")

    quote: int = state(-1)
    way_out: int = state(-1)
    hurried: bool = state(False)
    asked: int = state(-1)
    filled_at: int = state(0)
    leaving_since: int = state(-1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.keep < self.threshold:
            raise RequestError(f"ml: keep {self.keep} must be below threshold {self.threshold}")

    def on_session_start(self, m: Market) -> None:
        self.quote, self.way_out, self.asked, self.leaving_since = -1, -1, -1, -1

    def on_market_event(self, m: Market) -> None:
        self.act(m)

    def on_timer(self, m: Market) -> None:
        self.act(m)

    def on_fill(self, m: Market) -> None:
        self.filled_at = m.now
        m.set_timer(m.now + self.hold)
        self.act(m)

    def on_order(self, m: Market) -> None:
        self.act(m)

    def direction(self, m: Market) -> int:
        """BUY or SELL where a trade is worth it, else 0."""
        value = m.feature(self.prediction)
        if math.isnan(value) or abs(value) < self.threshold:
            return 0
        likely = max(m.feature(self.p_up), m.feature(self.p_down))
        if not math.isnan(likely) and likely < self.confidence:
            return 0
        return BUY if value > 0 else SELL

    def over(self, m: Market) -> bool:
        """What is held is to go."""
        value = m.feature(self.prediction)
        side = BUY if m.position > 0 else SELL
        gone = not math.isnan(value) and side * value < self.keep
        return gone or m.now - self.filled_at >= self.hold

    def act(self, m: Market) -> None:
        if not m.open or not m.two_sided() or m.closes_at - m.now <= self.flatten_before:
            return
        if m.position != 0 and (self.leaving_since >= 0 or self.over(m)):
            self.leave(m)
            return
        self.leaving_since = -1
        self.enter(m)

    def enter(self, m: Market) -> None:
        side = self.direction(m)
        if m.is_working(self.quote):
            touch = m.bid if side > 0 else m.ask
            if side == 0 or m.order_price(self.quote) != touch:
                self.withdraw(m, self.quote)
            return
        room = self.limit - side * m.position
        if side != 0 and room > 0 and not m.is_working(self.way_out):
            price = m.bid if side > 0 else m.ask
            self.quote = m.limit(side, price, min(self.size, room), post_only=True)

    def withdraw(self, m: Market, order: int) -> None:
        """Cancel it, once."""
        if self.asked != order:
            m.cancel(order)
            self.asked = order

    def leave(self, m: Market) -> None:
        if self.leaving_since < 0:
            self.leaving_since = m.now
            m.set_timer(m.now + self.patience)
        if m.is_working(self.quote):
            self.withdraw(m, self.quote)
            return
        side = SELL if m.position > 0 else BUY
        late = m.now - self.leaving_since >= self.patience
        if m.is_working(self.way_out):
            price = m.ask if side < 0 else m.bid
            if not self.hurried and (late or m.order_price(self.way_out) != price):
                self.withdraw(m, self.way_out)
            return
        self.hurried = late
        if late:
            self.way_out = m.market(side, abs(m.position))
        else:
            self.way_out = m.limit(
                side, m.ask if side < 0 else m.bid, abs(m.position), post_only=True
            )
