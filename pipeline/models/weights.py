"""Weights of training rows: labels that overlap say the same thing twice; rare classes count.

Rows are decision points in time order, one label each, known at ``t_end``.  Rows without a
label are left out before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


def concurrency(ts: I64, t_end: I64) -> I64:
    """Labels under way at each row, its own included: int64[n], at least 1.

    A label is under way from its decision to the moment it is known, both included: rows ``j``
    with ``ts[i] <= ts[j] <= t_end[i]``.  ``ts``, ``t_end``: int64[n], ns, ``ts`` ascending.
    O(n log n).

    Raises
    ------
    ValueError
        If times go backwards, or a label is known before its decision.
    """
    first, last = _spans(ts, t_end)
    # A label begins at its first row and has ended at the one behind its last.
    rows = len(ts) + 1
    steps = np.bincount(first, minlength=rows) - np.bincount(last, minlength=rows)
    return np.cumsum(steps)[:-1]


def uniqueness(ts: I64, t_end: I64) -> F64:
    """Average uniqueness of each label: float64[n], above 0 and at most 1.

    The mean of ``1 / concurrency`` over the rows a label spans: 1 for a label that shares no
    row with another, 1/k where k labels run side by side.  Their sum is how many labels without
    overlap these amount to.  Shapes and errors as :func:`concurrency`; O(n log n).

    Source: M. Lopez de Prado, Advances in Financial Machine Learning (2018), 4.3 and 4.4; the
    bars are the decision points.
    """
    first, last = _spans(ts, t_end)
    before = np.concatenate([[0.0], np.cumsum(1.0 / concurrency(ts, t_end))])
    # The difference of two sums may be a rounding above what it is.
    return np.asarray(np.minimum((before[last] - before[first]) / (last - first), 1.0), np.float64)


def _spans(ts: I64, t_end: I64) -> tuple[I64, I64]:
    """First row of each label, and the one behind its last."""
    if (np.diff(ts) < 0).any():
        raise ValueError("times go backwards")
    if (t_end < ts).any():
        raise ValueError("a label is known before its decision")
    return np.searchsorted(ts, ts, "left"), np.searchsorted(ts, t_end, "right")


def balanced(classes: I64, weights: F64 | None = None) -> F64:
    """Weights under which each class that occurs has the same sum: float64[n].

    Their total is that of ``weights`` (each row 1 without); within a class they keep their
    proportions.  With equal weights this is ``n / (classes * rows of the class)``, the
    "balanced" of scikit-learn (King and Zeng 2001).  ``classes``: int64[n], any whole numbers.
    """
    own = np.ones(len(classes)) if weights is None else np.asarray(weights, np.float64)
    if not len(classes):
        return own
    _, place = np.unique(classes, return_inverse=True)
    sums = np.bincount(place, own)
    # A class whose rows all weigh nothing has nothing to share out.
    share = np.divide(own.sum(), np.count_nonzero(sums) * sums, where=sums > 0, out=sums * 0)
    return np.asarray(own * share[place], np.float64)


def scaled(weights: F64) -> F64:
    """The same weights with mean 1, so that penalties of estimators keep their meaning.

    Raises
    ------
    ValueError
        If no weight is above 0.
    """
    total = float(weights.sum())
    if not total > 0:
        raise ValueError("no row has a weight above 0")
    return np.asarray(weights * (len(weights) / total), np.float64)
