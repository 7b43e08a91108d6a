"""Loops over the levels of one side of the book: sizes on one price grid, and medians.

Levels are given best first, one row of the arrays per event; prices are such that higher is
better (an ask's are negated), and a level that is not there has size 0 and a price far below.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@kernel
def keyed_change(
    prices: I64,
    sizes: I64,
    usable: Bool,
    first: Bool,
    reach: int,
    carry_prices: I64,
    carry_sizes: I64,
    known: Bool,
    out: I64,
    valid: Bool,
) -> None:
    """Size now less size before, at the prices less than ``reach`` below the better touch.

    Both books are seen through the same prices: those within reach of the better of the two
    touches.  Rows that are not usable have no value and are not what the next one is compared
    with; nothing crosses the first row of a segment.  ``carry_prices``, ``carry_sizes`` and
    ``known[0]`` hold the row before between calls.
    """
    have = known[0]
    rows, levels = prices.shape
    for i in range(rows):
        if first[i]:
            have = False
        out[i] = 0
        valid[i] = usable[i] and have
        if not usable[i]:
            continue
        if have:
            limit = max(prices[i, 0], carry_prices[0]) - reach
            change = 0
            for k in range(levels):
                if prices[i, k] > limit:
                    change += sizes[i, k]
                if carry_prices[k] > limit:
                    change -= carry_sizes[k]
            out[i] = change
        for k in range(levels):
            carry_prices[k] = prices[i, k]
            carry_sizes[k] = sizes[i, k]
        have = True
    known[0] = have


@kernel
def median_positive(sizes: I64, ordered: I64, out: F64) -> None:
    """Median of the sizes of each row that are not 0; 0 where all are.

    ``ordered`` is room for one row.
    """
    rows, levels = sizes.shape
    for i in range(rows):
        n = 0
        for k in range(levels):
            value = sizes[i, k]
            if value == 0:
                continue
            j = n
            while j > 0 and ordered[j - 1] > value:
                ordered[j] = ordered[j - 1]
                j -= 1
            ordered[j] = value
            n += 1
        if n == 0:
            out[i] = 0.0
        else:
            out[i] = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2.0


def compile_level_kernels() -> None:
    """Compile the loops (or load them from the cache), for the types they are used with."""
    levels = np.zeros((1, 1), dtype=np.int64)
    one = np.zeros(1, dtype=np.int64)
    flag = np.ones(1, dtype=np.bool_)
    keyed_change(
        levels, levels, flag, flag, 1, one.copy(), one.copy(), flag.copy(), one.copy(), flag.copy()
    )
    median_positive(levels, one.copy(), np.zeros(1))
