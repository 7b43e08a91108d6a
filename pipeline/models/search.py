"""Parameters of an estimator, searched by optuna on the last part of the training window.

Nothing of the sessions a model will serve takes part: the window's own last fifth judges, what
its labels reach into is purged, and the winner is then fitted on the whole window.  The study
lives in memory; the same seed and data give the same winner.

Source: Bergstra, Bardenet, Bengio and Kegl 2011 (TPE).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.errors import RequestError

if TYPE_CHECKING:
    import optuna

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Value = int | float

SHARE: Final = 0.2
"""Part of the training rows, the last, that judges."""
DIGITS: Final = 4
"""Significant digits of a number that is tried: more would say nothing."""


@dataclass(frozen=True)
class Span:
    """Numbers a parameter may take, both ends included."""

    low: Value
    high: Value
    log: bool = False
    """Evenly in the logarithm."""

    def ask(self, trial: optuna.Trial, name: str) -> Value:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return int(trial.suggest_int(name, self.low, self.high, log=self.log))
        value = float(f"{trial.suggest_float(name, self.low, self.high, log=self.log):.{DIGITS}g}")
        return min(max(value, self.low), self.high)


Space = Mapping[str, Span]

SPACES: Mapping[str, Space] = {
    "lightgbm": {
        "learning_rate": Span(0.01, 0.2, log=True),
        "num_iterations": Span(25, 400, log=True),
        "num_leaves": Span(4, 64, log=True),
        "min_data_in_leaf": Span(20, 2000, log=True),
        "lambda_l2": Span(1e-3, 1e3, log=True),
        "feature_fraction": Span(0.3, 1.0),
    },
    "linear": {"penalty": Span(1e-4, 1e2, log=True)},
}
"""What is searched, by estimator; parameters that are set (``-p``) are not."""


@dataclass(frozen=True)
class Found:
    """The parameters that lost least."""

    params: Mapping[str, Value]
    """Those searched; empty where the estimator's defaults won."""
    loss: float
    """Their loss on the judging rows."""
    default: float
    """The loss of the defaults there."""
    trials: int
    """Trials whose loss is a number, that of the defaults among them."""


def space_of(estimator: str, fixed: Mapping[str, Any]) -> Space:
    """What is searched of an estimator; parameters that are set stay out of it.

    Raises
    ------
    RequestError
        For an estimator without a space, and where nothing is left to search.
    """
    if estimator not in SPACES:
        raise RequestError(
            f"trials: {estimator} is searched by no one; set its parameters with -p, or "
            f"trials = 0 (searched are {', '.join(SPACES)})"
        )
    left = {name: span for name, span in SPACES[estimator].items() if name not in fixed}
    if not left:
        raise RequestError(
            f"trials: every parameter of {estimator} that is searched is set "
            f"({', '.join(SPACES[estimator])}); leave one open, or trials = 0"
        )
    return left


def inner_split(ts: I64, t_end: I64, embargo: int = 0, share: float = SHARE) -> tuple[Mask, Mask]:
    """Rows to fit on, and the later ones that judge: bool[n] each.

    The last ``share`` of the rows judge, from the first decision of their moment on.  Of the
    others those are fitted on whose label was known by then less the embargo (ns); the rest is
    purged.  ``ts``, ``t_end``: int64[n], ns, ``ts`` ascending.
    """
    if not len(ts):
        return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
    begin = ts[min(int(len(ts) * (1 - share)), len(ts) - 1)]
    judging = ts >= begin
    return ~judging & (t_end <= begin - embargo), judging


def search(
    loss: Callable[[Mapping[str, Value]], float], space: Space, *, trials: int, seed: int
) -> Found:
    """The parameters with the smallest loss; of equal ones the earliest tried.

    The estimator's defaults are judged as well and win where nothing is better.  Trials whose
    loss is not a number (an estimator that did not converge) are passed over.

    Parameters
    ----------
    loss
        Loss on the judging rows of what was fitted on the others with these parameters.
    space
        What to search.
    trials
        Sets of parameters to try beside the defaults.
    seed
        The same seed gives the same ones.

    Raises
    ------
    RequestError
        Where optuna is not installed.
    """
    optuna = _optuna()
    default = loss({})
    seen = [default] if math.isfinite(default) else []
    best: tuple[float, Mapping[str, Value]] = (default if seen else math.inf, {})
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(trials):
        trial = study.ask()
        params = {name: span.ask(trial, name) for name, span in space.items()}
        value = loss(params)
        if not math.isfinite(value):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        study.tell(trial, value)
        seen.append(value)
        if value < best[0]:
            best = (value, params)
    return Found(best[1], best[0], default, len(seen))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise RequestError(
            "--trials needs optuna: pip install 'mbo-research[models]', or trials = 0"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
