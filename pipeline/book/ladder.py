"""Price levels in order of price: the ladder of each side.

A ladder's entries are (key, level slot), sorted by key with the best last, so that the ends
that change most are the cheap ones.  key = price for bids and ~price for asks: larger is better
on both sides.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.book.layout import (
    COUNT,
    FREE_LEVEL,
    HEAD,
    I64,
    MARK_1,
    MARK_2,
    N_LEVELS,
    N_SIDE,
    PRICE,
    SIDE,
    TAIL,
    TOTAL,
    USED_LEVELS,
    Book,
    Scalar,
)
from pipeline.jit import inline, inner
from pipeline.units import UNDEF_PRICE

_NEAR: Final = 8
"""Levels from the best that are searched one by one before bisection."""


@inline
def key_of(side: Scalar, price: Scalar) -> Scalar:
    """Ladder key of a price: larger is better on both sides.  Its own inverse."""
    return price ^ -side


@inline
def search(book: Book, side: Scalar, key: Scalar) -> Scalar:
    """Index in the ladder of the best level whose key is not above ``key``; -1 if none is."""
    ladder = book.ladder
    high = book.meta[N_SIDE + side] - 1
    if high >= _NEAR - 1:
        # No branch for each level: where among the best ones cannot be predicted.
        better = np.int64(0)
        for back in range(_NEAR):
            better += ladder[side, 0, np.uint64(high - back)] > key
        if better < _NEAR:
            return high - better
        high -= better
    return _bisect(ladder, side, key, high)


@inner
def _bisect(ladder: I64, side: Scalar, key: Scalar, high: Scalar) -> Scalar:
    """The same among the entries up to ``high``."""
    low = np.int64(0)
    while low <= high:
        middle = (low + high) >> 1
        if ladder[side, 0, np.uint64(middle)] <= key:
            low = middle + 1
        else:
            high = middle - 1
    return high


@inline
def find_level(book: Book, side: Scalar, price: Scalar) -> Scalar:
    """Slot in ``levels`` of the level at a price, or -1."""
    key = key_of(side, price)
    at = search(book, side, key)
    if at >= 0 and book.ladder[side, 0, at] == key:
        return book.ladder[side, 1, at]
    return np.int64(-1)


@inline
def n_levels(book: Book, side: Scalar) -> Scalar:
    """Live price levels of a side."""
    return book.meta[N_SIDE + side]


@inline
def level_at(book: Book, side: Scalar, depth: Scalar) -> Scalar:
    """Slot of the level ``depth`` steps from the best (0 is the touch); it must exist."""
    return book.ladder[side, 1, book.meta[N_SIDE + side] - 1 - depth]


@inline
def best_price(book: Book, side: Scalar) -> Scalar:
    """Price of the touch, or UNDEF_PRICE where the side is empty."""
    count = book.meta[N_SIDE + side]
    if count == 0:
        return np.int64(UNDEF_PRICE)
    return book.ladder[side, 0, np.uint64(count - 1)] ^ -side


@inline
def best_size(book: Book, side: Scalar) -> Scalar:
    """Displayed size of the touch, 0 where the side is empty."""
    count = book.meta[N_SIDE + side]
    if count == 0:
        return np.int64(0)
    return book.levels[book.ladder[side, 1, count - 1], TOTAL]


@inline
def open_level(book: Book, side: Scalar, price: Scalar) -> Scalar:
    """Slot of the level at a price, made if it is not there."""
    ladder = book.ladder
    key = key_of(side, price)
    at = search(book, side, key)
    if at >= 0 and ladder[side, 0, np.uint64(at)] == key:
        return ladder[side, 1, np.uint64(at)]
    return _new_level(book, side, price, at + 1)


@inner
def _new_level(book: Book, side: Scalar, price: Scalar, at: Scalar) -> Scalar:
    """Make a level and put it into the ladder at an index."""
    meta, ladder, levels = book.meta, book.ladder, book.levels
    slot = meta[FREE_LEVEL]
    if slot >= 0:
        meta[FREE_LEVEL] = levels[slot, HEAD]
    else:
        slot = meta[USED_LEVELS]
        meta[USED_LEVELS] = slot + 1
    levels[slot, PRICE] = price
    levels[slot, TOTAL] = 0
    levels[slot, COUNT] = 0
    levels[slot, HEAD] = -1
    levels[slot, TAIL] = -1
    levels[slot, SIDE] = side
    levels[slot, MARK_1] = 0
    levels[slot, MARK_2] = 0
    count = meta[N_SIDE + side]
    for i in range(count, at, -1):
        ladder[side, 0, i] = ladder[side, 0, i - 1]
    for i in range(count, at, -1):
        ladder[side, 1, i] = ladder[side, 1, i - 1]
    ladder[side, 0, at] = key_of(side, price)
    ladder[side, 1, at] = slot
    meta[N_SIDE + side] = count + 1
    meta[N_LEVELS] += 1
    return slot


@inner
def close_level(book: Book, slot: Scalar) -> None:
    meta, ladder, levels = book.meta, book.ladder, book.levels
    side = levels[slot, SIDE]
    at = search(book, side, key_of(side, levels[slot, PRICE]))
    count = meta[N_SIDE + side] - 1
    for i in range(at, count):
        ladder[side, 0, np.uint64(i)] = ladder[side, 0, np.uint64(i + 1)]
    for i in range(at, count):
        ladder[side, 1, np.uint64(i)] = ladder[side, 1, np.uint64(i + 1)]
    meta[N_SIDE + side] = count
    meta[N_LEVELS] -= 1
    levels[slot, HEAD] = meta[FREE_LEVEL]
    meta[FREE_LEVEL] = slot
