"""How much of the best of many trials is luck: deflated Sharpe ratio, backtest overfitting.

Returns are by session, not annualised: float64[sessions, trials], profit over capital.  What
cannot be said is None: under 20 sessions, under two trials, without any variation.

Sources: D. H. Bailey and M. Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (Journal of
Risk 15(2), 2012: the probabilistic Sharpe ratio) and "The Deflated Sharpe Ratio" (Journal of
Portfolio Management 40(5), 2014); D. H. Bailey, J. M. Borwein, M. Lopez de Prado and Q. J. Zhu,
"The Probability of Backtest Overfitting" (Journal of Computational Finance 20(4), 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.backtest.tables import MIN_SESSIONS, SESSIONS_A_YEAR

F64 = npt.NDArray[np.float64]

MIN_TRIALS: Final = 2
CONVINCING: Final = 0.95
"""A deflated Sharpe ratio from here on is called convincing: the usual 5 % level."""
BLOCKS: Final = 16
"""Parts the sessions are cut into, at most: C(16, 8) = 12,870 ways to choose half of them."""
BLOCK_SESSIONS: Final = 2
"""Sessions in a part, at least: so few still have a variance."""
_SPLITS_AT_ONCE: Final = 512

_NORMAL: Final = NormalDist()


@dataclass(frozen=True)
class Luck:
    """What chance explains of the trial with the best Sharpe ratio."""

    sessions: int
    trials: int
    """Trials that ran."""
    judged: int
    """Those of them whose returns vary: what the figures rest on."""
    effective: float | None = None
    """Independent trials they amount to, by their average correlation (2014, appendix 3)."""
    best: int | None = None
    """Column of the best of them by Sharpe ratio."""
    sharpe: float | None = None
    """Its Sharpe ratio, annualised."""
    expected: float | None = None
    """Best Sharpe ratio to expect of so many trials without any skill, annualised."""
    probabilistic: float | None = None
    """Probability that the true Sharpe ratio is above 0, had it been the only trial."""
    deflated: float | None = None
    """The same above ``expected``: the deflated Sharpe ratio."""
    overfitting: float | None = None
    """Probability that the best in one half of the sessions is below the median in the other."""
    splits: int = 0
    """Ways to halve the sessions it was counted over."""


def session_sharpe(returns: F64) -> float | None:
    """Mean over standard deviation (n - 1), a session; None where nothing varies."""
    if len(returns) < MIN_TRIALS:
        return None
    deviation = float(np.std(returns, ddof=1))
    return float(np.mean(returns)) / deviation if deviation > 0 else None


def skewness(returns: F64) -> float:
    """Third standardised moment (of the population)."""
    d = returns - returns.mean()
    return float((d**3).mean() / (d**2).mean() ** 1.5)


def kurtosis(returns: F64) -> float:
    """Fourth standardised moment (of the population): 3 for a normal distribution."""
    d = returns - returns.mean()
    return float((d**4).mean() / (d**2).mean() ** 2)


def probabilistic_sharpe(
    sharpe: float, sessions: int, skew: float, kurt: float, benchmark: float = 0.0
) -> float | None:
    """Probability that the true Sharpe ratio exceeds ``benchmark`` (2012, equation 9).

    ``Phi((SR - SR*) sqrt(T - 1) / sqrt(1 - skew SR + (kurt - 1) / 4 SR^2))``; ratios a session.
    """
    spread = 1 - skew * sharpe + (kurt - 1) / 4 * sharpe**2
    if sessions < MIN_TRIALS or spread <= 0:
        return None
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(sessions - 1) / math.sqrt(spread))


def expected_maximum(variance: float, trials: float) -> float:
    """Expected best Sharpe ratio of independent trials whose true ones are 0 (2014, equation 1).

    ``sqrt(V) ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e)))`` with Euler's constant g.

    Raises
    ------
    ValueError
        For fewer than two trials.
    """
    if trials < MIN_TRIALS:
        raise ValueError(f"{trials} trials have no best")
    gamma = float(np.euler_gamma)
    first = _NORMAL.inv_cdf(1 - 1 / trials)
    second = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - gamma) * first + gamma * second)


def effective_trials(returns: F64) -> float:
    """Independent trials that correlated ones amount to: ``r + (1 - r) N`` (2014, appendix 3).

    ``r`` is their average correlation, float64[sessions, trials]; below 0 it counts as 0.
    """
    trials = returns.shape[1]
    z = (returns - returns.mean(axis=0)) / returns.std(axis=0)
    # The sum of all correlations is the variance of the sum of what is standardised.
    total = float(z.sum(axis=1).var())
    mean = (total - trials) / (trials * (trials - 1))
    mean = min(max(mean, 0.0), 1.0)
    return float(mean + (1 - mean) * trials)


def luck_of(returns: F64, *, by_profit: bool = False) -> Luck:
    """What chance explains of the best of these trials.

    Parameters
    ----------
    returns
        float64[sessions, trials], a column a trial.
    by_profit
        Overfitting is judged of a choice by profit; else by Sharpe ratio.
    """
    sessions, trials = returns.shape
    # What is left of a constant after rounding is no variation.
    scale = np.abs(returns).max(axis=0, initial=0.0)
    varying = np.flatnonzero(returns.std(axis=0) > 1e-12 * scale) if sessions else np.array([], int)
    judged = len(varying)
    if sessions < MIN_SESSIONS or judged < MIN_TRIALS:
        return Luck(sessions, trials, judged)
    matrix = returns[:, varying]
    ratios = matrix.mean(axis=0) / matrix.std(axis=0, ddof=1)
    first = int(ratios.argmax())
    best, chosen = float(ratios[first]), matrix[:, first]
    expected = expected_maximum(float(ratios.var(ddof=1)), judged)
    shape = (sessions, skewness(chosen), kurtosis(chosen))
    year = math.sqrt(SESSIONS_A_YEAR)
    share, splits = overfitting(matrix, by_profit=by_profit)
    return Luck(
        sessions=sessions,
        trials=trials,
        judged=judged,
        effective=effective_trials(matrix),
        best=int(varying[first]),
        sharpe=best * year,
        expected=expected * year,
        probabilistic=probabilistic_sharpe(best, *shape),
        deflated=probabilistic_sharpe(best, *shape, benchmark=expected),
        overfitting=share,
        splits=splits,
    )


def block_count(sessions: int) -> int:
    """Even number of parts that so many sessions are cut into; 0 where they are too few."""
    if sessions < MIN_SESSIONS:
        return 0
    return min(BLOCKS, sessions // BLOCK_SESSIONS // 2 * 2)


def overfitting(returns: F64, *, by_profit: bool = False) -> tuple[float | None, int]:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    The sessions are cut into an even number of parts in order of time.  For every half of the
    parts the trial that is best there is looked for in the other half; its rank ``w`` there, as
    a share of the number of trials + 1, gives ``log(w / (1 - w))``.  Returned are the share of
    halves at which it is not above 0 (the best is in the lower half out of sample), and the
    number of halves; None and 0 under 20 sessions or two trials.
    """
    sessions, trials = returns.shape
    blocks = block_count(sessions)
    if not blocks or trials < MIN_TRIALS:
        return None, 0
    parts = np.array_split(returns, blocks)
    sums = np.array([part.sum(axis=0) for part in parts])
    squares = np.array([(part**2).sum(axis=0) for part in parts])
    sizes = np.array([float(len(part)) for part in parts])
    lower = splits = 0
    for chosen in _halves(blocks):
        scores = [
            _score(half @ sums, half @ squares, (half @ sizes)[:, None], by_profit=by_profit)
            for half in (chosen, 1.0 - chosen)
        ]
        inside, outside = scores
        rows = np.arange(len(chosen))
        value = outside[rows, inside.argmax(axis=1)][:, None]
        below, equal = (outside < value).sum(axis=1), (outside == value).sum(axis=1)
        rank = below + (equal + 1) / 2
        lower += int((rank <= (trials + 1) / 2).sum())
        splits += len(chosen)
    return lower / splits, splits


def _halves(blocks: int) -> Iterator[F64]:
    """All ways to choose half of the parts, float64[some, parts] of 0 and 1."""
    every = combinations(range(blocks), blocks // 2)
    while some := list(islice(every, _SPLITS_AT_ONCE)):
        chosen = np.zeros((len(some), blocks))
        chosen[np.arange(len(some))[:, None], np.array(some)] = 1.0
        yield chosen


def _score(sums: F64, squares: F64, sizes: F64, *, by_profit: bool) -> F64:
    """Mean, or Sharpe ratio, of every half and trial; 0 for a trial that did nothing there."""
    mean = sums / sizes
    if by_profit:
        return mean
    variance = np.maximum(squares - sizes * mean**2, 0.0) / (sizes - 1)
    still = variance * sizes <= 1e-13 * squares  # what rounding leaves of no variation
    deviation = np.sqrt(np.where(still, 1.0, variance))
    return np.where(still, 0.0, mean / deviation)
