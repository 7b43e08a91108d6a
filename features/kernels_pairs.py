"""Products of two instruments' moves that overlap in time (Hayashi and Yoshida 2005)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@kernel
def overlapping_products(
    begins: I64,
    ends: I64,
    moves: F64,
    other_begins: I64,
    other_ends: I64,
    other_sums: F64,
    lags: I64,
    out: F64,
) -> None:
    """U(lag) = sum of x_i y_j over the pairs whose intervals overlap once y's are moved back.

    Interval i of x is (begins[i], ends[i]]; those of one instrument ascend and do not overlap, so
    that the y_j that meet one x_i stand together and one sweep suffices for a lag.

    Parameters
    ----------
    moves
        x_i.
    other_sums
        Sum of y_j over j < k, for k from 0 to the number of y.
    lags
        ns; the intervals of y are moved back by so much: y repeats x after it.
    out
        U of each lag.
    """
    for k in range(lags.size):
        lag = lags[k]
        first = 0
        after = 0
        total = 0.0
        for i in range(moves.size):
            while first < other_ends.size and other_ends[first] - lag <= begins[i]:
                first += 1
            while after < other_begins.size and other_begins[after] - lag < ends[i]:
                after += 1
            if after > first:
                total += moves[i] * (other_sums[after] - other_sums[first])
        out[k] = total


def compile_pairs() -> None:
    """Compile the loop (or load it from the cache), for the types it is used with."""
    t, one = np.zeros(1, dtype=np.int64), np.zeros(1)
    overlapping_products(t, t, one, t, t, np.zeros(2), t, one.copy())
