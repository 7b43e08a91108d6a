"""Loops behind the normalisers: standard deviations and ranks over what is past.

Sums over a window are differences of two prefix sums, kept in twice the precision of a float (see
``features.kernels_moments``): a deviation of hundredths about a level of thousands stays exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.kernels_moments import F64, I64, add_pairs, product_pair, times_pairs
from pipeline.jit import inline, kernel

Bool = npt.NDArray[np.bool_]

SQUARES = 2
"""x and x x; each takes two columns, high part and low part."""


@kernel
def accumulate_squares(x: F64, before: F64, out: F64) -> None:
    """``out[i]`` = the sums of x and x x up to and with i, going on from ``before``."""
    a1, a0, b1, b0 = before[0], before[1], before[2], before[3]
    for i in range(x.size):
        a1, a0 = add_pairs(a1, a0, x[i], 0.0)
        p, e = product_pair(x[i], x[i])
        b1, b0 = add_pairs(b1, b0, p, e)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = a1, a0, b1, b0


@kernel
def deviations(sums: F64, start: I64, stop: I64, out: F64) -> None:
    """Mean and sample standard deviation (n - 1) of the terms ``start[i]`` .. ``stop[i]`` - 1.

    ``out`` has a row each; not a number where there are fewer than two terms.
    """
    for i in range(start.size):
        a = start[i]
        b = stop[i]
        n = float(b - a)
        out[0, i] = np.nan
        out[1, i] = np.nan
        if b - a < 2:
            continue
        u1, u0 = add_pairs(sums[b, 0], sums[b, 1], -sums[a, 0], -sums[a, 1])
        p1, p0 = add_pairs(sums[b, 2], sums[b, 3], -sums[a, 2], -sums[a, 3])
        m1, m0 = times_pairs(u1, u0, u1, u0)
        n1, n0 = times_pairs(p1, p0, n, 0.0)
        d1, d0 = add_pairs(n1, n0, -m1, -m0)
        out[0, i] = (u1 + u0) / n
        out[1, i] = np.sqrt(max(d1 + d0, 0.0) / (n * (n - 1.0)))


@kernel
def decayed_moments(
    x: F64, valid: Bool, ts: I64, first: Bool, half_life: float, carry: F64, out: F64
) -> None:
    """Exponentially weighted mean and standard deviation of the values so far, per segment.

    Weights 2^(-(t - t_i) / half_life); the deviation is the root of the weighted mean square
    about the mean, updated without cancellation (West 1979).  ``carry`` holds weight, mean and
    sum of squares; ``ts`` has one more entry in front: the row before.
    """
    w, mean, m2 = carry[0], carry[1], carry[2]
    for i in range(x.size):
        if first[i]:
            w, mean, m2 = 0.0, 0.0, 0.0
        elif w > 0.0 and ts[i + 1] > ts[i]:
            d = np.exp2(-(ts[i + 1] - ts[i]) / half_life)
            w *= d
            m2 *= d
        if valid[i]:
            delta = x[i] - mean
            m2 += delta * delta * (w / (w + 1.0))
            w += 1.0
            mean += delta / w
        out[0, i] = mean if w > 0.0 else np.nan
        out[1, i] = np.sqrt(max(m2, 0.0) / w) if w > 0.0 else np.nan
    carry[0], carry[1], carry[2] = w, mean, m2


@inline
def _place(ordered: F64, count: int, value: float, right: bool) -> int:
    """How many of the first ``count`` are below the value; with ``right``, at or below."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value or (right and ordered[middle] == value):
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def rolling_ranks(
    x: F64, valid: Bool, first: Bool, ring: F64, ordered: F64, held: I64, out: F64
) -> None:
    """(Values below - values above) / n of each value among the segment's last n, itself included.

    ``ring`` and ``ordered`` (n each) hold the window in order of arrival and of size, ``held`` how
    many there are and where the oldest stands; not a number where x is undefined or the window is
    not full.
    """
    n = ring.size
    count, oldest = held[0], held[1]
    for i in range(x.size):
        if first[i]:
            count, oldest = 0, 0
        out[i] = np.nan
        if not valid[i]:
            continue
        value = x[i]
        if count == n:
            gone = ring[oldest]
            at = _place(ordered, count, gone, False)
            for k in range(at, count - 1):
                ordered[k] = ordered[k + 1]
            count -= 1
        at = _place(ordered, count, value, False)
        for k in range(count, at, -1):
            ordered[k] = ordered[k - 1]
        ordered[at] = value
        count += 1
        ring[oldest] = value
        oldest = (oldest + 1) % n
        if count == n:
            upto = _place(ordered, n, value, True)
            out[i] = (at - (n - upto)) / n
    held[0], held[1] = count, oldest


def compile_normal() -> None:
    """Compile the loops (or load them from the cache)."""
    one, flag = np.zeros(1), np.ones(1, dtype=np.bool_)
    where = np.zeros(1, dtype=np.int64)
    accumulate_squares(one, np.zeros(4), np.zeros((1, 4)))
    deviations(np.zeros((2, 4)), where, where, np.zeros((2, 1)))
    ts = np.zeros(2, dtype=np.int64)
    decayed_moments(one, flag, ts, flag, 1.0, np.zeros(3), np.zeros((2, 1)))
    rolling_ranks(one, flag, flag, np.zeros(1), np.zeros(1), np.zeros(2, np.int64), np.zeros(1))
