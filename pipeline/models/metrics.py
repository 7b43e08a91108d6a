"""How good predictions are, in one session and over several; ``docs/models.md`` says it in words.

Arrays are float64[n], one row a decision point, all finite.  ``weights`` (float64[n], none below
0) count a row as so many; without, each counts once.  What cannot be said is None: no rows, one
class alone, nothing that varies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

CERTAIN: Final = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""
MIN_UNITS: Final = 3
"""Sessions (or stretches) below which a t-statistic is not worth its name."""


def _ones(like: npt.NDArray[np.generic], weights: F64 | None) -> F64:
    return np.ones(len(like)) if weights is None else np.asarray(weights, np.float64)


def auc(up: npt.NDArray[np.bool_], score: F64, weights: F64 | None = None) -> float | None:
    """Probability that a row that went up has a higher score than one that did not.

    Equal scores count half (Mann and Whitney 1947; Hanley and McNeil 1982).  ``up``: bool[n].
    None where all rows went one way.
    """
    weights = _ones(score, weights)
    positive, negative = float(weights[up].sum()), float(weights[~up].sum())
    if not (positive > 0 and negative > 0):
        return None
    _, place = np.unique(score, return_inverse=True)
    wins = np.bincount(place, weights * up)
    losses = np.bincount(place, weights * ~up)
    below = np.cumsum(losses) - losses / 2
    return float(wins @ below) / positive / negative


def log_loss(place: I64, probabilities: F64, weights: F64 | None = None) -> float | None:
    """Mean of minus the logarithm of the probability that was given to what happened, in nats.

    ``place``: int64[n], the class of each row as a column of ``probabilities`` float64[n, k].
    """
    return _mean(log_losses(place, probabilities), weights)


def log_losses(place: I64, probabilities: F64) -> F64:
    """The same row by row: float64[n]."""
    given = probabilities[np.arange(len(place)), place]
    return np.asarray(-np.log(np.clip(given, CERTAIN, 1 - CERTAIN)), np.float64)


def accuracy(place: I64, probabilities: F64, weights: F64 | None = None) -> float | None:
    """Share of rows whose most probable class happened; of equal ones the first is meant."""
    if not len(place):
        return None
    return _mean((probabilities.argmax(axis=1) == place).astype(np.float64), weights)


def r2(y: F64, prediction: F64, constant: float, weights: F64 | None = None) -> float | None:
    """Share of the squared errors of a constant that the predictions save; below 0: none.

    ``1 - sum (y - p)^2 / sum (y - c)^2``; the constant is the *training* mean, so that what is
    beaten is known beforehand, too (Campbell and Thompson 2008).
    """
    weights = _ones(y, weights)
    worst = float(weights @ (y - constant) ** 2)
    return 1 - float(weights @ (y - prediction) ** 2) / worst if worst > 0 else None


def ic(y: F64, prediction: F64, weights: F64 | None = None) -> float | None:
    """Information coefficient: Pearson's correlation of predictions and outcomes."""
    weights = _ones(y, weights)
    used = weights > 0
    if not (used.any() and np.ptp(y[used]) > 0 and np.ptp(prediction[used]) > 0):
        return None
    share = weights / weights.sum()
    a, b = y - share @ y, prediction - share @ prediction
    spread = math.sqrt(float(share @ a**2)) * math.sqrt(float(share @ b**2))
    # What varies by less than its square can hold has no correlation that can be computed.
    return min(max(float(share @ (a * b)) / spread, -1.0), 1.0) if spread > 0 else None


def rank_ic(y: F64, prediction: F64, weights: F64 | None = None) -> float | None:
    """The same of their ranks: Spearman's correlation, equal values sharing their mean rank."""
    weights = _ones(y, weights)
    return ic(ranks(y, weights), ranks(prediction, weights), weights)


def ranks(values: F64, weights: F64 | None = None) -> F64:
    """Weight below each value and half of that at it: mean ranks (less 1/2) where all weigh 1."""
    weights = _ones(values, weights)
    _, place = np.unique(values, return_inverse=True)
    at = np.bincount(place, weights)
    return np.asarray((np.cumsum(at) - at / 2)[place], np.float64)


def _mean(values: F64, weights: F64 | None) -> float | None:
    weights = _ones(values, weights)
    total = float(weights.sum())
    return float(weights @ values) / total if total > 0 else None


# --- over sessions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """A figure over sessions or stretches: undefined ones are left out."""

    units: int
    """Sessions in which it is defined."""
    mean: float | None = None
    deviation: float | None = None
    """Standard deviation (n - 1)."""
    t: float | None = None
    """Mean over its standard error; None under ``MIN_UNITS`` sessions, or if nothing varies."""
    above: float | None = None
    """Share of sessions in which it is above 0."""


def over_sessions(values: Sequence[float | None]) -> Spread:
    """Mean, t-statistic and share above 0 of a figure, a session a value.

    No label crosses a session, so sessions do not overlap: their t-statistic is honest where
    that of rows is not.  (Fama and MacBeth 1973 judge cross-sections the same way.)
    """
    known = [value for value in values if value is not None]
    if not known:
        return Spread(0)
    n = len(known)
    mean = math.fsum(known) / n
    above = sum(value > 0 for value in known) / n
    if n == 1:
        return Spread(1, mean, None, None, above)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (n - 1))
    return Spread(n, mean, deviation, _t(mean, deviation, n), above)


def pooled(parts: Sequence[Spread]) -> Spread:
    """Spread of all units of several parts together, ``above`` included.

    Of stretches by session, the spread over all stretches: the mean of stretches, not of
    sessions.
    """
    known = [part for part in parts if part.units and part.mean is not None]
    n = sum(part.units for part in known)
    if not n:
        return Spread(0)
    mean = math.fsum(part.units * (part.mean or 0.0) for part in known) / n
    above = math.fsum(part.units * (part.above or 0.0) for part in known) / n
    if n == 1:
        return Spread(1, mean, None, None, above)
    squares = math.fsum(
        (part.units - 1) * (part.deviation or 0.0) ** 2
        + part.units * ((part.mean or 0.0) - mean) ** 2
        for part in known
    )
    deviation = math.sqrt(squares / (n - 1))
    return Spread(n, mean, deviation, _t(mean, deviation, n), above)


def _t(mean: float, deviation: float, units: int) -> float | None:
    # What is left of equal values after rounding is no variation.
    if units < MIN_UNITS or deviation <= 1e-12 * abs(mean):
        return None
    return mean / (deviation / math.sqrt(units))


def correlation_t(correlation: float | None, rows: float) -> float | None:
    """t-statistic of a correlation of so many independent rows: ``r sqrt((n-2) / (1-r^2))``.

    With ``rows`` as they are it takes overlapping labels for separate facts; with the sum of
    their uniqueness it does not.  Both side by side show what overlap does.
    """
    if correlation is None or rows < MIN_UNITS or abs(correlation) >= 1:
        return None
    return correlation * math.sqrt((rows - 2) / (1 - correlation**2))
