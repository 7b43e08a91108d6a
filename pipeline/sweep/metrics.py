"""What trials can be chosen by, and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.backtest.tables import MARKOUT_HORIZONS
from pipeline.errors import RequestError

HIGHER: Final = (
    *("net", "gross", "sharpe", "sortino", "calmar"),
    *("profit_factor", "hit_rate", "average_trade"),
    *MARKOUT_HORIZONS,
)
"""Columns of ``runs`` of which more is better."""
LOWER: Final = ("max_drawdown",)
"""Columns of ``runs`` of which less is better."""
RATIOS: Final = ("sharpe", "sortino", "calmar")
"""Those that are null where there are few sessions."""
METRICS: Final = (*HIGHER, *LOWER)


def check_metric(name: str) -> str:
    """The name, if trials can be chosen by it.

    Raises
    ------
    RequestError
        If not, with the nearest names.
    """
    if name not in METRICS:
        raise RequestError.unknown("metric", name, METRICS)
    return name


def ranking(values: Sequence[float | None], metric: str) -> list[int]:
    """Positions of the values, best first; of equals the first; undefined ones are left out."""
    sign = -1.0 if metric in LOWER else 1.0
    known = [(-sign * value, number) for number, value in enumerate(values) if value is not None]
    return [number for _, number in sorted(known)]
