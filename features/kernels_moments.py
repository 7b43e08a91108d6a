"""Sums of products for regressions over windows, as prefix sums that do not cancel.

A window's sums are differences of two prefix sums.  In plain Float64 they lose their digits over
a session (the catalogue's 0.4 and 16.16), so each is kept as an unevaluated sum of two floats,
with 106 bits: Dekker 1971, Knuth's two-sum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.jit import inline, kernel

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

SUMS = 5
"""x, y, x x, x y, y y; each takes two columns, high part and low part."""

_ROUNDING = 2.0**-101
"""What a sum of one more term may be wrong by, relative to the prefix sum; on the safe side."""


@inline
def _split(a: float) -> tuple[float, float]:
    c = 134_217_729.0 * a
    high = c - (c - a)
    return high, a - high


@inline
def product_pair(a: float, b: float) -> tuple[float, float]:
    """A b as a sum of two floats, exactly."""
    p = a * b
    a1, a0 = _split(a)
    b1, b0 = _split(b)
    return p, ((a1 * b1 - p) + a1 * b0 + a0 * b1) + a0 * b0


@inline
def add_pairs(a1: float, a0: float, b1: float, b0: float) -> tuple[float, float]:
    """The sum of two such pairs."""
    s = a1 + b1
    v = s - a1
    e = (a1 - (s - v)) + (b1 - v) + (a0 + b0)
    high = s + e
    return high, e - (high - s)


@inline
def times_pairs(a1: float, a0: float, b1: float, b0: float) -> tuple[float, float]:
    p, e = product_pair(a1, b1)
    e += a1 * b0 + a0 * b1
    high = p + e
    return high, e - (high - p)


@kernel
def accumulate(x: F64, y: F64, before: F64, out: F64) -> None:
    """``out[i]`` = the sums of ``SUMS`` up to and with i, going on from ``before``."""
    for k in range(out.shape[1]):
        if x.size:
            out[0, k] = before[k]
    for i in range(x.size):
        if i:
            for k in range(out.shape[1]):
                out[i, k] = out[i - 1, k]
        for k in range(5):
            if k == 0:
                p, e = x[i], 0.0
            elif k == 1:
                p, e = y[i], 0.0
            elif k == 2:
                p, e = product_pair(x[i], x[i])
            elif k == 3:
                p, e = product_pair(x[i], y[i])
            else:
                p, e = product_pair(y[i], y[i])
            out[i, 2 * k], out[i, 2 * k + 1] = add_pairs(out[i, 2 * k], out[i, 2 * k + 1], p, e)


@inline
def _centred(
    sums: F64, a: int, b: int, n: float, first: int, second: int, both: int
) -> tuple[float, float]:
    """Sum of (u - mean u)(v - mean v) over the terms a..b-1, and how wrong it may be."""
    u1, u0 = add_pairs(sums[b, first], sums[b, first + 1], -sums[a, first], -sums[a, first + 1])
    v1, v0 = add_pairs(sums[b, second], sums[b, second + 1], -sums[a, second], -sums[a, second + 1])
    p1, p0 = add_pairs(sums[b, both], sums[b, both + 1], -sums[a, both], -sums[a, both + 1])
    m1, m0 = times_pairs(u1, u0, v1, v0)
    n1, n0 = times_pairs(p1, p0, n, 0.0)
    d1, d0 = add_pairs(n1, n0, -m1, -m0)
    return (d1 + d0) / n, n * _ROUNDING * abs(sums[b, both])


@kernel
def regressions(sums: F64, start: I64, stop: I64, out: F64) -> None:
    """Least squares of y on x over the terms ``start[i]`` .. ``stop[i]`` - 1.

    ``sums[k]`` are those of the terms before k.  ``out`` has a row each for the slope, the
    intercept, R^2 and the slope's t; not a number where there is none.
    """
    for i in range(start.size):
        a = start[i]
        b = stop[i]
        n = float(b - a)
        for k in range(out.shape[0]):
            out[k, i] = np.nan
        if b - a < 3:
            continue
        xx, wrong = _centred(sums, a, b, n, 0, 0, 4)
        if xx <= wrong:
            continue
        xy, _ = _centred(sums, a, b, n, 0, 2, 6)
        yy, wrong = _centred(sums, a, b, n, 2, 2, 8)
        slope = xy / xx if yy > wrong else 0.0
        out[0, i] = slope
        x_sum, _ = add_pairs(sums[b, 0], sums[b, 1], -sums[a, 0], -sums[a, 1])
        y_sum, _ = add_pairs(sums[b, 2], sums[b, 3], -sums[a, 2], -sums[a, 3])
        out[1, i] = (y_sum - slope * x_sum) / n
        if yy <= wrong:
            continue
        left = yy - slope * xy
        if left <= 1e-12 * yy:  # a perfect fit: no error to measure the slope by
            out[2, i] = 1.0
            continue
        out[2, i] = 1.0 - left / yy
        out[3, i] = slope / np.sqrt(left / (n - 2.0) / xx)


def compile_moments() -> None:
    """Compile both loops (or load them from the cache)."""
    row = np.zeros((1, 2 * SUMS))
    accumulate(np.zeros(1), np.zeros(1), row[0], row)
    where = np.zeros(1, dtype=np.int64)
    regressions(np.zeros((2, 2 * SUMS)), where, where, np.zeros((4, 1)))
