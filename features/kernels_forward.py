"""Loops that look forward, for labels: first crossings, extremes of what comes, queues served."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@kernel
def grow_tree(tree: F64) -> None:
    """Maxima of pairs, upwards: leaves are the second half of ``tree``, the root is ``tree[1]``."""
    for i in range(tree.size // 2 - 1, 0, -1):
        tree[i] = max(tree[2 * i], tree[2 * i + 1])


@kernel
def first_at_least(tree: F64, start: I64, stop: I64, least: F64, out: I64) -> None:
    """The first leaf of ``[start[k], stop[k])`` that is at least ``least[k]``, else ``stop[k]``."""
    size = tree.size // 2
    for k in range(start.size):
        out[k] = stop[k]
        if start[k] >= stop[k]:
            continue
        i = start[k] + size
        while True:
            while i % 2 == 0:
                i //= 2
            if tree[i] >= least[k]:
                while i < size:
                    i *= 2
                    if tree[i] < least[k]:
                        i += 1
                out[k] = min(i - size, stop[k])
                break
            i += 1
            # A power of two: the last leaf has been passed.
            if i & (i - 1) == 0:
                break


@kernel
def largest_of(tree: F64, start: I64, stop: I64, out: F64) -> None:
    """Largest leaf of ``[start[k], stop[k])``; minus infinity where that is empty."""
    size = tree.size // 2
    for k in range(start.size):
        low = start[k] + size
        high = stop[k] + size
        best = -np.inf
        while low < high:
            if low % 2 == 1:
                best = max(best, tree[low])
                low += 1
            if high % 2 == 1:
                high -= 1
                best = max(best, tree[high])
            low //= 2
            high //= 2
        out[k] = best


@kernel
def served(
    ts: I64,
    price: F64,
    size: F64,
    begin: I64,
    until: I64,
    limit: F64,
    ahead: F64,
    out: I64,
) -> None:
    """When an order at ``limit[k]`` is filled that joins a queue of ``ahead[k]`` at ``begin[k]``.

    Prints after ``begin[k]`` and up to ``until[k]`` at a lower price fill it; those at its price
    first serve the queue.  ``out[k]`` is the time, or ``until[k] + 1``.  ``begin`` ascends.
    """
    j = 0
    for k in range(begin.size):
        while j < ts.size and ts[j] <= begin[k]:
            j += 1
        left = ahead[k]
        out[k] = until[k] + 1
        i = j
        while i < ts.size and ts[i] <= until[k]:
            if price[i] == limit[k]:
                left -= size[i]
            if price[i] < limit[k] or left < 0:
                out[k] = ts[i]
                break
            i += 1


def compile_forward() -> None:
    """Compile all loops (or load them from the cache), for the types they are used with."""
    tree, row = np.zeros(2), np.zeros(1, dtype=np.int64)
    grow_tree(tree)
    first_at_least(tree, row, row + 1, np.zeros(1), row.copy())
    largest_of(tree, row, row + 1, np.zeros(1))
    one = np.zeros(1)
    served(row, one, one, row, row, one, one, row.copy())
