"""Trend following: go with a price that leaves its moving average, while momentum agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from pipeline.errors import RequestError
from pipeline.units import NS_PER_S
from strategies.interface import Duration, SignalStrategy, hold, parameter


@dataclass(frozen=True)
class TrendFollowing(SignalStrategy):
    """Buy what rises away from its moving average, sell what falls away from it.

    Rule, on the gap between mid and exponential average in units of volatility: beyond
    ``entry_z`` follow it if the momentum over ``confirm`` has the same sign and at least
    ``momentum`` sigma; when the gap comes back within ``exit_z``, be flat; in between, hold.
    """

    regime: ClassVar[str] = "busy hours after news, orders split over minutes"

    half_life: str = parameter("60s", "", "half-life of the average: ema_gap_z_h<half_life>")
    confirm: str = parameter("300s", "", "window of the confirming momentum_<confirm>")
    entry_z: float = parameter(1.5, "sigma", "gap that starts a trade", low=0)
    exit_z: float = parameter(0.2, "sigma", "gap at which it is over", low=0)
    momentum: float = parameter(1.0, "sigma", "momentum that confirms", low=0)
    patience: Duration = parameter(
        Duration(2 * NS_PER_S), "ns", "a passive order that waited this long crosses", low=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.exit_z < self.entry_z:
            raise RequestError(
                f"trend_following: exit_z {self.exit_z} must be below entry_z {self.entry_z}"
            )

    def features(self) -> tuple[str, ...]:
        """Gap to the average and the confirming momentum."""
        return (f"ema_gap_z_h{self.half_life}", f"momentum_{self.confirm}")

    def target(self) -> pl.Expr:
        """With the gap while momentum agrees; flat when the gap closes."""
        gap = pl.col(f"ema_gap_z_h{self.half_life}")
        momentum = pl.col(f"momentum_{self.confirm}")
        choice = (
            pl.when(gap.abs() < self.exit_z)
            .then(0)
            .when((gap > self.entry_z) & (momentum >= self.momentum))
            .then(self.size)
            .when((gap < -self.entry_z) & (momentum <= -self.momentum))
            .then(-self.size)
        )
        return hold(choice)
