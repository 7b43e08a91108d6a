"""OFI momentum: go with order flow that a leaning book confirms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from pipeline.errors import RequestError
from pipeline.units import NS_PER_S
from strategies.interface import Duration, SignalStrategy, hold, parameter


@dataclass(frozen=True)
class OfiMomentum(SignalStrategy):
    """Buy while order flow pushes the touch up and the book leans that way; sell the other way.

    Rule, on the order-flow imbalance of ``window`` in average touch sizes and the imbalance of
    the first ``levels`` levels: flow beyond ``entry`` with a book that leans the same way by at
    least ``lean`` starts a trade, where the spread is at most ``max_spread``.  It lasts as long
    as the book leans its way by more than ``leave``: flow is over in seconds, the queues it
    leaves behind are what the price follows for a minute or more, and a few seconds' move does
    not pay for a spread.  Way in and out are passive for ``patience`` before they cross.
    Source of the imbalance: Cont, Kukanov and Stoikov 2014.
    """

    regime: ClassVar[str] = "a liquid book of thick queues, flow that comes in one direction"

    window: str = parameter("10s", "", "window of the imbalance: ofi_normalised_<window>")
    levels: int = parameter(5, "levels", "of the book that lean: depth_imbalance_<levels>", low=1)
    entry: float = parameter(1.0, "touch sizes", "flow that starts a trade", low=0)
    lean: float = parameter(0.3, "", "imbalance of the book that must agree", low=0, high=1)
    leave: float = parameter(0.0, "", "imbalance at which it is over", low=-1, high=1)
    max_spread: float = parameter(1.0, "ticks", "a wider touch is not traded", low=1)
    patience: Duration = parameter(
        Duration(30 * NS_PER_S), "ns", "a passive order that waited this long crosses", low=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -self.lean <= self.leave < self.lean:
            raise RequestError(
                f"ofi_momentum: leave {self.leave} must be below lean {self.lean}, and not below "
                f"-{self.lean}"
            )

    def features(self) -> tuple[str, ...]:
        """Imbalance of the flow and of the book, and the spread."""
        return (f"ofi_normalised_{self.window}", f"depth_imbalance_{self.levels}", "spread")

    def target(self) -> pl.Expr:
        """With the flow while the book leans with it; flat once it does not."""
        flow = pl.col(f"ofi_normalised_{self.window}")
        book = pl.col(f"depth_imbalance_{self.levels}")
        narrow = pl.col("spread") <= self.max_spread
        start_long = pl.when(narrow & (flow > self.entry) & (book >= self.lean)).then(1)
        start_short = pl.when(narrow & (flow < -self.entry) & (book <= -self.lean)).then(1)
        long = hold(start_long.when(book <= self.leave).then(0))
        short = hold(start_short.when(book >= -self.leave).then(0))
        return (long - short) * self.size
