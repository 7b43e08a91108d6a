"""Do predictions mean what they say?  Bins of equal size by prediction, and what came of them.

Of classes, the prediction is a probability and the outcome 1 or 0; of real labels both are in
the label's unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.models.metrics import ranks

F64 = npt.NDArray[np.float64]

BINS: Final = 10


@dataclass(frozen=True)
class Bin:
    """Rows whose predictions are of the same size."""

    number: int
    """1 holds the smallest predictions."""
    rows: int
    predicted: float
    """Mean prediction."""
    observed: float
    """Mean outcome."""
    error: float | None
    """Standard error of the mean outcome, labels without overlap counted; None of one row."""

    @property
    def gap(self) -> float:
        """Observed less predicted."""
        return self.observed - self.predicted


def calibration(
    prediction: F64, outcome: F64, *, bins: int = BINS, uniqueness: F64 | None = None
) -> list[Bin]:
    """Bins by quantile of the prediction, the smallest first; empty ones are left out.

    Equal predictions stay together: their bin is where the middle of them lies.  So a model with
    few distinct predictions has fewer bins.

    Parameters
    ----------
    prediction, outcome
        float64[n], finite.
    uniqueness
        float64[n] of :func:`pipeline.models.weights.uniqueness`: the rows of a bin count as
        their sum in its standard error.  Without, as independent.
    """
    if not len(prediction):
        return []
    number = np.minimum((ranks(prediction) * bins / len(prediction)).astype(np.int64), bins - 1)
    own = np.ones(len(prediction)) if uniqueness is None else uniqueness
    found = []
    for k in np.unique(number):
        inside = number == k
        rows = int(inside.sum())
        mean = float(outcome[inside].mean())
        error = None
        if rows > 1:
            deviation = float(outcome[inside].std(ddof=1))
            error = deviation / math.sqrt(max(float(own[inside].sum()), 1.0))
        found.append(Bin(int(k) + 1, rows, float(prediction[inside].mean()), mean, error))
    return found


def merged(parts: Sequence[Sequence[Bin]]) -> list[Bin]:
    """The bins of several sessions together, by number.

    Means are over all rows; standard errors are of independent sessions, None where a session
    has none.
    """
    every = [one for part in parts for one in part]
    found = []
    for number in sorted({one.number for one in every}):
        own = [one for one in every if one.number == number]
        rows = sum(one.rows for one in own)
        errors = [one.error for one in own if one.error is not None]
        whole = len(errors) == len(own)
        squares = math.fsum((one.rows * (one.error or 0.0)) ** 2 for one in own)
        found.append(
            Bin(
                number,
                rows,
                math.fsum(one.rows * one.predicted for one in own) / rows,
                math.fsum(one.rows * one.observed for one in own) / rows,
                math.sqrt(squares) / rows if whole else None,
            )
        )
    return found


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error: mean of ``|observed - predicted|`` of the bins, by rows.

    Source: Naeini, Cooper and Hauskrecht 2015, with bins of equal size.  It is above 0 by chance
    alone, the more so the fewer rows.  None without bins.
    """
    rows = sum(one.rows for one in bins)
    return math.fsum(one.rows * abs(one.gap) for one in bins) / rows if rows else None
