"""OFI momentum: go with order flow that pushes the touch one way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from pipeline.errors import RequestError
from pipeline.units import NS_PER_S
from strategies.interface import Duration, SignalStrategy, hold, parameter


@dataclass(frozen=True)
class OfiMomentum(SignalStrategy):
    """Buy while order flow pushes the touch up, sell while it pushes it down.

    Rule, on the order-flow imbalance of ``window`` in average touch sizes: beyond ``entry`` go
    with it if the touch leans the same way by at least ``lean`` (queue imbalance) and the spread
    is at most ``max_spread``; once the flow is no longer beyond ``exit`` on its side, be flat;
    in between, hold.  Source of the imbalance: Cont, Kukanov and Stoikov 2014.
    """

    regime: ClassVar[str] = "persistent one-sided flow in a liquid book; costs eat it elsewhere"

    window: str = parameter("10s", "", "window of the imbalance: ofi_normalised_<window>")
    entry: float = parameter(3.0, "touch sizes", "imbalance that starts a trade", low=0)
    exit: float = parameter(0.0, "touch sizes", "imbalance at which it is over", low=0)
    lean: float = parameter(0.2, "", "queue imbalance that must agree", low=0, high=1)
    max_spread: float = parameter(1.0, "ticks", "a wider touch is not traded", low=1)
    patience: Duration = parameter(
        Duration(2 * NS_PER_S), "ns", "a passive order that waited this long crosses", low=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.exit < self.entry:
            raise RequestError(f"ofi_momentum: exit {self.exit} must be below entry {self.entry}")

    def features(self) -> tuple[str, ...]:
        """Imbalance of the flow and of the touch, and the spread."""
        return (f"ofi_normalised_{self.window}", "queue_imbalance", "spread")

    def target(self) -> pl.Expr:
        """With the flow while the touch agrees; flat when it has ended or turned."""
        flow = pl.col(f"ofi_normalised_{self.window}")
        touch = pl.col("queue_imbalance")
        narrow = pl.col("spread") <= self.max_spread
        # 1 and -1 while the flow is on that side: a trade does not outlive its own.
        side = (
            pl.when(flow > self.exit)
            .then(1)
            .when(flow < -self.exit)
            .then(-1)
            .when(flow.is_not_null())
            .then(0)
            .forward_fill()
        )
        start = (
            pl.when(narrow & (flow > self.entry) & (touch >= self.lean))
            .then(1)
            .when(narrow & (flow < -self.entry) & (touch <= -self.lean))
            .then(-1)
            .when(side != side.shift(1).fill_null(0))
            .then(0)
        )
        return hold(start) * self.size
