"""The few loops that expressions cannot say: as-of counts, fills and decays with ties.

Rows are numbered in order of arrival; ``first`` is true on the first row of a segment, which
nothing crosses.  Every loop is sequential and resumes from what it returned, so that results
do not depend on where chunks are cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from features.kernels_bars import compile_bars
from features.kernels_forward import compile_forward
from features.kernels_levels import compile_level_kernels
from features.kernels_moments import compile_moments
from features.kernels_normal import compile_normal
from features.kernels_pairs import compile_pairs
from features.kernels_volume import compile_volume
from pipeline.jit import kernel

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@kernel
def count_until(ts: I64, limits: I64, out: I64) -> None:
    """``out[k]`` = how many of ``ts`` are at or before ``limits[k]``; both ascend."""
    j = 0
    m = ts.size
    for k in range(limits.size):
        limit = limits[k]
        while j < m and ts[j] <= limit:
            j += 1
        out[k] = j


@kernel
def fill_forward(
    values: npt.NDArray[Any],
    valid: Bool,
    first: Bool,
    carry: npt.NDArray[Any],
    known: Bool,
    out: npt.NDArray[Any],
    out_valid: Bool,
) -> None:
    """The last valid value of the segment at or before each row.

    ``carry[0]`` and ``known[0]`` hold it between calls.
    """
    value = carry[0]
    have = known[0]
    for i in range(values.size):
        if first[i]:
            have = False
        if valid[i]:
            value = values[i]
            have = True
        out[i] = value
        out_valid[i] = have
    carry[0] = value
    known[0] = have


@kernel
def decayed_sum(x: F64, ts: I64, first: Bool, half_life: float, carry: F64, out: F64) -> None:
    """S_i = x_i + 2^(-(ts_i - ts_(i-1)) / half_life) S_(i-1), from 0 at each segment.

    ``carry`` holds S of the last row; ``ts`` has one more entry in front: the row before.
    Rows at the same instant add up: their decay is exactly 1.
    """
    s = carry[0]
    for i in range(x.size):
        dt = ts[i + 1] - ts[i]
        if first[i]:
            s = 0.0
        elif dt > 0 and s != 0.0:
            s *= np.exp2(-dt / half_life)
        s += x[i]
        out[i] = s
    carry[0] = s


def compile_kernels() -> None:
    """Compile all loops (or load them from the cache), for the types they are used with."""
    ts = np.zeros(1, dtype=np.int64)
    one = np.zeros(1)
    flag = np.ones(1, dtype=np.bool_)
    count_until(ts, ts, ts.copy())
    for values in (ts, one):
        fill_forward(values, flag, flag, values.copy(), flag.copy(), values.copy(), flag.copy())
    decayed_sum(one, np.zeros(2, dtype=np.int64), flag, 1.0, one.copy(), one.copy())
    compile_moments()
    compile_normal()
    compile_level_kernels()
    compile_bars()
    compile_volume()
    compile_forward()
    compile_pairs()
