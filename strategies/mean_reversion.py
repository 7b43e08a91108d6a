"""Mean reversion: fade a price that has run far from its own recent mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from pipeline.errors import RequestError
from pipeline.units import NS_PER_MINUTE
from strategies.interface import Duration, SignalStrategy, hold, parameter


@dataclass(frozen=True)
class MeanReversion(SignalStrategy):
    """Sell what has risen far above its recent mean, buy what has fallen far below it.

    Rule, on the z-score of the mid over ``window``: beyond ``entry_z`` take the other side,
    unless the touch leans against it by more than ``against`` (queue imbalance) or the move is
    beyond ``stop_z``, which looks like news.  The way back must be worth it: the distance to the
    moving average of ``average`` is at least ``cover`` times what a round trip at market costs,
    the spread and two fees.  Back within ``exit_z``, or beyond ``stop_z``, be flat; in between,
    hold.
    """

    regime: ClassVar[str] = "quiet two-sided hours, prices that bounce within a range"

    window: str = parameter("300s", "", "window of the z-score: zscore_<window>")
    entry_z: float = parameter(3.0, "sigma", "distance from the mean that is faded", low=0)
    average: str = parameter("h60s", "", "average it comes back to: ema_gap_<average>")
    cover: float = parameter(1.5, "round trips", "of costs that the way back is worth", low=0)
    exit_z: float = parameter(0.5, "sigma", "distance at which the trade is over", low=0)
    stop_z: float = parameter(5.0, "sigma", "distance beyond which nothing is faded", low=0)
    against: float = parameter(
        0.5, "", "queue imbalance against the trade that forbids it", low=0, high=1
    )

    patience: Duration = parameter(
        Duration(5 * NS_PER_MINUTE), "ns", "a passive order that waited this long crosses", low=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.exit_z < self.entry_z < self.stop_z:
            raise RequestError(
                f"mean_reversion: exit_z {self.exit_z} < entry_z {self.entry_z} < "
                f"stop_z {self.stop_z} must hold"
            )

    def features(self) -> tuple[str, ...]:
        """Z-score of the window, distance to the average, imbalance of the touch, spread."""
        return (f"zscore_{self.window}", f"ema_gap_{self.average}", "queue_imbalance", "spread")

    def target(self) -> pl.Expr:
        """Short above, long below, flat near the mean and in runaway moves."""
        z = pl.col(f"zscore_{self.window}")
        lean = pl.col("queue_imbalance").fill_null(0.0)
        costs = pl.col("spread") + 2 * pl.col("taker_fee")
        worth = pl.col(f"ema_gap_{self.average}").abs() >= self.cover * costs
        far = (z.abs() > self.entry_z) & (z.abs() <= self.stop_z) & worth
        choice = (
            pl.when((z.abs() < self.exit_z) | (z.abs() > self.stop_z))
            .then(0)
            .when(far & (z > 0) & (lean <= self.against))
            .then(-self.size)
            .when(far & (z < 0) & (lean >= -self.against))
            .then(self.size)
        )
        return hold(choice)
