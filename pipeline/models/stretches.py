"""Stretches of time: what is taken as a whole where neighbouring rows are not independent.

Labels of neighbouring rows overlap and features wander slowly, so a session of 100,000 rows
says far less than 100,000 coin tosses.  Means over stretches much longer than a label's horizon
are nearly independent (batch means), and shuffling whole stretches keeps what rows inside
them owe to each other.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

HORIZONS: Final = 10
"""A stretch is at least so many horizons of the label long ..."""
STRETCHES: Final = 50
"""... and there are at most so many of them in a session."""


def stretch_length(ts: I64, t_end: I64) -> int:
    """Length (ns) of stretches that suits labels known at ``t_end``: ten median horizons, and
    no less than a fiftieth of the time there is.

    ``ts``, ``t_end``: int64[n], ns; ``ts`` ascending.
    """
    if not len(ts):
        return 1
    horizon = int(np.median(t_end - ts))
    return max(HORIZONS * horizon, -(-(int(ts[-1]) - int(ts[0]) + 1) // STRETCHES), 1)


def stretches(ts: I64, length: int) -> I64:
    """Number of the stretch each row is in: int64[n], ascending from 0 without gaps.

    ``ts``: int64[n], ns, ascending; ``length``: ns.  Stretches without rows do not count.

    Raises
    ------
    ValueError
        If times go backwards or the length is not above 0.
    """
    if length <= 0:
        raise ValueError(f"a stretch of {length} ns")
    if (np.diff(ts) < 0).any():
        raise ValueError("times go backwards")
    if not len(ts):
        return np.zeros(0, np.int64)
    number = (ts - ts[0]) // length
    return np.concatenate([[0], np.cumsum(np.diff(number) > 0)]).astype(np.int64)


def parts_by_stretch(values: F64, number: I64) -> F64:
    """What each stretch adds to the mean of all rows: float64[stretches], whose mean it is.

    ``values``: float64[n]; ``number``: int64[n] as :func:`stretches` gives them.  Busy stretches
    count for more, as their rows do.
    """
    sums = np.bincount(number, values)
    return np.asarray(sums * (len(sums) / max(len(values), 1)), np.float64)
