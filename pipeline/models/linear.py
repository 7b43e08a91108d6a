"""The linear estimator: ridge for numbers, logistic for classes, on filled and scaled features.

Both minimise the weighted mean loss (half the squared error; minus the log of the probability) plus
``penalty / 2`` times the sum of the squared coefficients; the intercept is not held back.
``penalty`` is a row's worth: it means the same for a thousand rows as for a million.
Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 3.4 and 4.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.models.estimators import Floats, Matrix, known_params, one_thread
from pipeline.models.texts import read_numbers, write_numbers

PARAMS: Final[Mapping[str, Any]] = {"penalty": 1e-3}
CHUNK: Final = 65_536
"""Rows whose products are summed at once."""
MOST_STEPS: Final = 300
"""Of the logistic's solver."""


@dataclass(frozen=True)
class Linear:
    """Ridge or logistic regression."""

    params: Mapping[str, Any]

    name: ClassVar[str] = "linear"
    spec: ClassVar[str] = "linear"
    source: ClassVar[str] = ""
    libraries: ClassVar[tuple[str, ...]] = ("sklearn",)
    scaled: ClassVar[bool] = True
    stored: ClassVar[bool] = True

    @classmethod
    def of(cls, params: Mapping[str, Any], where: str) -> Linear:
        """With these parameters: ``penalty``, 0 or more."""
        from pipeline.errors import RequestError

        known = known_params(params, PARAMS, "linear", where)
        if not 0 <= known["penalty"] < np.inf:
            raise RequestError(f"{where}: parameter penalty = {known['penalty']} is not 0 or more")
        return cls(known)

    def fit(
        self, x: Matrix, y: NDArray[Any], weight: Floats, classes: list[int] | None, seed: int
    ) -> FittedLinear:
        """Fit it; of two classes there is one row of coefficients, of more one a class."""
        with one_thread():
            if classes is None:
                return _ridge(x, np.asarray(y, np.float64), weight, self.params["penalty"])
            return _logistic(x, y, weight, len(classes), self.params["penalty"], seed)

    def load(self, text: str, features: int, classes: list[int] | None) -> FittedLinear:
        if classes is None:
            read = read_numbers(text, "ridge", {"intercept": (1,), "coefficients": (1, features)})
        else:
            rows = 1 if len(classes) == 2 else len(classes)
            shapes = {"intercept": (rows,), "coefficients": (rows, features)}
            read = read_numbers(text, "logistic", shapes)
        return FittedLinear(read["intercept"], read["coefficients"], classes=classes is not None)

    def with_params(self, params: Mapping[str, Any]) -> Linear:
        return Linear.of({**self.params, **params}, "search")


class FittedLinear:
    """Intercepts ``[k]`` and coefficients ``[k, features]``."""

    def __init__(self, intercept: Floats, coefficients: Floats, *, classes: bool) -> None:
        self.intercept = intercept
        self.coefficients = coefficients
        self._classes = classes

    def predict(self, x: Matrix) -> Floats:
        """One feature after the other: the sum's order is not a library's affair."""
        k, n = self.intercept.size, x.shape[0]
        scores = np.repeat(self.intercept[None, :], n, axis=0)
        for j in range(x.shape[1]):
            column = x[:, j]
            for i in range(k):
                scores[:, i] += column * self.coefficients[i, j]
        if not self._classes:
            return scores[:, 0]
        if k == 1:
            with np.errstate(over="ignore"):
                up = 1.0 / (1.0 + np.exp(-scores[:, 0]))
            return np.column_stack([1.0 - up, up])
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def to_text(self) -> str:
        kind = "logistic" if self._classes else "ridge"
        values = {"intercept": self.intercept, "coefficients": self.coefficients}
        return write_numbers(kind, values)


def _ridge(x: Matrix, y: Floats, weight: Floats, penalty: float) -> FittedLinear:
    """The normal equations, summed by chunks: memory does not grow with the rows."""
    n, f = x.shape
    total = float(np.sum(weight))
    mean = np.zeros(f)
    for at in range(0, n, CHUNK):
        mean += weight[at : at + CHUNK] @ np.asarray(x[at : at + CHUNK], np.float64)
    mean /= total
    middle = float(np.sum(weight * y)) / total
    gram, moment = np.zeros((f, f)), np.zeros(f)
    for at in range(0, n, CHUNK):
        z = np.asarray(x[at : at + CHUNK], np.float64) - mean
        weighted = z * weight[at : at + CHUNK, None]
        gram += weighted.T @ z
        moment += weighted.T @ (y[at : at + CHUNK] - middle)
    gram[np.diag_indices(f)] += penalty * total
    # Columns that tell the same make the equations singular where penalty is 0: least squares does.
    found = np.asarray(np.linalg.lstsq(gram, moment, rcond=None)[0], np.float64)
    return FittedLinear(np.array([middle - mean @ found]), found[None, :], classes=False)


def _logistic(
    x: Matrix, y: NDArray[Any], weight: Floats, classes: int, penalty: float, seed: int
) -> FittedLinear:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # scikit-learn's C is of the summed loss.
    strength = 1.0 / (penalty * float(np.sum(weight))) if penalty > 0 else np.inf
    solver = LogisticRegression(C=strength, solver="lbfgs", max_iter=MOST_STEPS, random_state=seed)
    with warnings.catch_warnings():
        # Where it stops after MOST_STEPS the last step is as good as any other point.
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver.fit(x, y, sample_weight=weight)
    del classes
    return FittedLinear(
        np.asarray(solver.intercept_, np.float64),
        np.asarray(solver.coef_, np.float64),
        classes=True,
    )
