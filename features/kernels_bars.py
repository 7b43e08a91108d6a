"""Loops over rows: sliding extremes, bars, and recursive averages.

Rows are numbered in order; ``first`` is true on the first row of a segment, which nothing
crosses.  Every loop resumes from what it left in ``carry``, so that chunks change nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@kernel
def sliding_extreme(
    values: F64, valid: Bool, start: I64, stop: I64, sign: int, waiting: I64, out: F64, known: Bool
) -> None:
    """Largest (sign 1) or smallest (sign -1) valid value of ``values[start[k]:stop[k]]``.

    Both ``start`` and ``stop`` ascend; ``known[k]`` is false where the span has no valid value.
    ``waiting`` has room for all positions that are looked at: the candidates in order, each more
    extreme than all after it.
    """
    if start.size == 0:
        return
    low = start[0]
    head = 0
    tail = 0
    j = low
    for k in range(start.size):
        while j < stop[k]:
            if valid[j]:
                while tail > head and sign * values[waiting[tail - 1]] <= sign * values[j]:
                    tail -= 1
                waiting[tail] = j
                tail += 1
            j += 1
        while head < tail and waiting[head] < start[k]:
            head += 1
        known[k] = head < tail
        out[k] = values[waiting[head]] if head < tail else 0.0


@kernel
def bars(
    x: F64, valid: Bool, first: Bool, row0: int, now: I64, carry: F64, out: F64, whole: Bool
) -> None:
    """Open, high, low and close of the bars that end after the rows ``now`` (ascending).

    ``row0`` is the number of the first new row; bars may end after the row before it.  A bar
    opens at what stood when the one before closed; the segment's first at its first value.
    ``carry``: whether anything is known, open, high, low, close, and whether a bar of this
    segment has closed; ``whole[b]`` is false for a segment's first bar.
    """
    b = 0
    for i in range(-1, x.size):
        if i >= 0:
            if first[i]:
                carry[0] = 0.0
                carry[5] = 0.0
            if valid[i]:
                if carry[0] == 0.0:
                    carry[0] = 1.0
                    carry[1] = x[i]
                    carry[2] = x[i]
                    carry[3] = x[i]
                carry[2] = max(carry[2], x[i])
                carry[3] = min(carry[3], x[i])
                carry[4] = x[i]
        while b < now.size and now[b] <= row0 + i:
            for part in range(4):
                out[b, part] = carry[1 + part] if carry[0] == 1.0 else np.nan
            whole[b] = carry[5] == 1.0
            carry[5] = 1.0
            for part in range(1, 4):
                carry[part] = carry[4]
            b += 1


@kernel
def recursive_mean(
    x: F64,
    valid: Bool,
    first: Bool,
    weight: float,
    seed: int,
    warm: int,
    carry: F64,
    out: F64,
    known: Bool,
) -> None:
    """S_i = S_(i-1) + weight (x_i - S_(i-1)), from the mean of a segment's first ``seed`` values.

    ``carry`` holds S (or the sum of what there is of the seed) and how many values there were;
    known from the ``warm``-th value on.
    """
    s = carry[0]
    n = carry[1]
    for i in range(x.size):
        if first[i]:
            s = 0.0
            n = 0.0
        if valid[i]:
            n += 1.0
            if n < seed:
                s += x[i]
            elif n == seed:
                s = (s + x[i]) / seed
            else:
                s += weight * (x[i] - s)
        out[i] = s
        known[i] = n >= seed and n >= warm
    carry[0] = s
    carry[1] = n


def compile_bars() -> None:
    """Compile all loops (or load them from the cache), for the types they are used with."""
    one, row = np.zeros(1), np.zeros(1, dtype=np.int64)
    flag = np.ones(1, dtype=np.bool_)
    sliding_extreme(one, flag, row, row + 1, 1, row.copy(), one.copy(), flag.copy())
    bars(one, flag, flag, 0, row, np.zeros(6), np.zeros((1, 4)), flag.copy())
    recursive_mean(one, flag, flag, 0.5, 1, 1, np.zeros(2), one.copy(), flag.copy())
