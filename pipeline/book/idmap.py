"""The map from order ids to order slots: open addressing, key beside value.

``table`` is int64[power of two, 2]: (bits of the id, slot).  A negative slot is an empty place,
so that every id works as a key.  At most half of it is ever used.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.jit import inline, kernel

I64 = npt.NDArray[np.int64]
Scalar: TypeAlias = Any

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)


def empty_table(orders: int) -> I64:
    """A table for so many orders, a power of two."""
    table = np.empty((2 * orders, 2), np.int64)
    table[:, 1] = -1
    return table


@inline
def _home(order_id: Scalar, mask: Scalar) -> Scalar:
    # The high half of a multiplicative hash: spreads runs of ids as well as random ones.
    return np.int64((np.uint64(order_id) * _GOLDEN) >> _HALF) & mask


@inline
def locate(table: I64, order_id: Scalar) -> Scalar:
    """Place of the id in the table, or of the empty place where it would stand."""
    mask = table.shape[0] - 1
    place = _home(order_id, mask)
    while table[place, 1] >= 0 and table[place, 0] != order_id:
        place = (place + 1) & mask
    return place


@inline
def erase(table: I64, place: Scalar) -> None:
    """Empty a place and move later entries back, so that no search meets a hole."""
    mask = table.shape[0] - 1
    hole = place
    probe = place
    while True:
        probe = (probe + 1) & mask
        if table[probe, 1] < 0:
            break
        home = _home(table[probe, 0], mask)
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            table[hole, 0] = table[probe, 0]
            table[hole, 1] = table[probe, 1]
            hole = probe
    table[hole, 1] = -1


@kernel
def rehash(old: I64, new: I64) -> None:
    for i in range(old.shape[0]):
        if old[i, 1] >= 0:
            place = locate(new, old[i, 0])
            new[place, 0] = old[i, 0]
            new[place, 1] = old[i, 1]
