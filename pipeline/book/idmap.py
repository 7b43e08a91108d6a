"""The map from order ids to order slots: open addressing, eight bytes an entry.

``table`` is int64[power of two]: 32 bits of the id's hash above 31 bits of the slot, or -1 where
the place is empty.  The whole id stands in the order itself; it is looked at only where the 32
bits agree, so that a search for an id that does not rest stays within the table, and moving
entries needs no ids at all.  At most a quarter of the places is ever used.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.jit import inline, kernel

I64 = npt.NDArray[np.int64]
Scalar: TypeAlias = Any

EMPTY: Final = -1
PLACES: Final = 4
"""Places of a table for every order there is room for: few searches meet another's entry."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)
_LOW: Final = 0xFFFFFFFF


def empty_table(orders: int) -> I64:
    """A table for so many orders, a power of two."""
    return np.full(PLACES * orders, EMPTY, np.int64)


@inline
def _tag(order_id: Scalar) -> Scalar:
    # The high half of a multiplicative hash: spreads runs of ids as well as random ones.
    return np.int64((np.uint64(order_id) * _GOLDEN) >> _HALF)


@inline
def locate(table: I64, orders: I64, order_id: Scalar) -> Scalar:
    """Place of the id in the table, or of the empty place where it would stand.

    ``orders`` int64[capacity, 8] has the ids in its column 0.
    """
    mask = table.shape[0] - 1
    tag = _tag(order_id)
    place = tag & mask
    while True:
        entry = table[np.uint64(place)]
        if entry == EMPTY:
            return place
        same = (entry >> 32) & _LOW == tag
        if same and orders[np.uint64(entry & _LOW), 0] == order_id:
            return place
        place = (place + 1) & mask


@inline
def foresee(table: I64, orders: I64, ids: I64, now: Scalar, soon: Scalar, end: Scalar) -> Scalar:
    """Bring into the cache what searches for ``ids`` will need; the result means nothing.

    Loads that do not wait for each other overlap, those of one search after another do not:
    with many orders resting, waiting for them is most of the time a book takes.  Places of the
    ids from ``soon`` on, orders of those from ``now`` to ``soon``, whose places are there.
    """
    mask, last = table.shape[0] - 1, orders.shape[0] - 1
    seen = np.int64(0)
    for i in range(soon, min(soon + (soon - now), end)):
        seen ^= table[np.uint64(_tag(ids[np.uint64(i)]) & mask)]
    for i in range(now, min(soon, end)):
        entry = table[np.uint64(_tag(ids[np.uint64(i)]) & mask)]
        seen ^= orders[np.uint64(entry & last), 0]
    return seen


@inline
def slot_at(table: I64, place: Scalar) -> Scalar:
    """Slot of the order at a place, or -1 where it is empty."""
    entry = table[np.uint64(place)]
    if entry == EMPTY:
        return np.int64(-1)
    return entry & _LOW


@inline
def enter(table: I64, place: Scalar, order_id: Scalar, slot: Scalar) -> None:
    """Fill the empty place that :func:`locate` found."""
    table[np.uint64(place)] = (_tag(order_id) << 32) | slot


@inline
def erase(table: I64, place: Scalar) -> None:
    """Empty a place and move later entries back, so that no search meets a hole."""
    mask = table.shape[0] - 1
    hole = place
    probe = place
    while True:
        probe = (probe + 1) & mask
        entry = table[np.uint64(probe)]
        if entry == EMPTY:
            break
        home = (entry >> 32) & mask
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            table[np.uint64(hole)] = entry
            hole = probe
    table[np.uint64(hole)] = EMPTY


@kernel
def rehash(old: I64, new: I64) -> None:
    """Enter everything of one table into another, empty one."""
    mask = new.shape[0] - 1
    for i in range(old.shape[0]):
        if old[i] != EMPTY:
            place = (old[i] >> 32) & mask
            while new[place] != EMPTY:
                place = (place + 1) & mask
            new[place] = old[i]
