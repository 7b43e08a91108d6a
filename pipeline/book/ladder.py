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
from pipeline.jit import inline
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
    stop = max(high - _NEAR, -1)
    while high > stop:
        if ladder[side, high, 0] <= key:
            return high
        high -= 1
    low = np.int64(0)
    while low <= high:
        middle = (low + high) >> 1
        if ladder[side, middle, 0] <= key:
            low = middle + 1
        else:
            high = middle - 1
    return high


@inline
def find_level(book: Book, side: Scalar, price: Scalar) -> Scalar:
    """Slot in ``levels`` of the level at a price, or -1."""
    key = key_of(side, price)
    at = search(book, side, key)
    if at >= 0 and book.ladder[side, at, 0] == key:
        return book.ladder[side, at, 1]
    return np.int64(-1)


@inline
def n_levels(book: Book, side: Scalar) -> Scalar:
    """Live price levels of a side."""
    return book.meta[N_SIDE + side]


@inline
def level_at(book: Book, side: Scalar, depth: Scalar) -> Scalar:
    """Slot of the level ``depth`` steps from the best (0 is the touch); it must exist."""
    return book.ladder[side, book.meta[N_SIDE + side] - 1 - depth, 1]


@inline
def best_price(book: Book, side: Scalar) -> Scalar:
    """Price of the touch, or UNDEF_PRICE where the side is empty."""
    count = book.meta[N_SIDE + side]
    if count == 0:
        return np.int64(UNDEF_PRICE)
    return book.ladder[side, count - 1, 0] ^ -side


@inline
def best_size(book: Book, side: Scalar) -> Scalar:
    """Displayed size of the touch, 0 where the side is empty."""
    count = book.meta[N_SIDE + side]
    if count == 0:
        return np.int64(0)
    return book.levels[book.ladder[side, count - 1, 1], TOTAL]


@inline
def open_level(book: Book, side: Scalar, price: Scalar) -> Scalar:
    """Slot of the level at a price, made if it is not there."""
    meta, ladder, levels = book.meta, book.ladder, book.levels
    key = key_of(side, price)
    at = search(book, side, key)
    if at >= 0 and ladder[side, at, 0] == key:
        return ladder[side, at, 1]
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
    for i in range(count, at + 1, -1):
        ladder[side, i, 0] = ladder[side, i - 1, 0]
        ladder[side, i, 1] = ladder[side, i - 1, 1]
    ladder[side, at + 1, 0] = key
    ladder[side, at + 1, 1] = slot
    meta[N_SIDE + side] = count + 1
    meta[N_LEVELS] += 1
    return slot


@inline
def close_level(book: Book, slot: Scalar) -> None:
    meta, ladder, levels = book.meta, book.ladder, book.levels
    side = levels[slot, SIDE]
    at = search(book, side, key_of(side, levels[slot, PRICE]))
    count = meta[N_SIDE + side] - 1
    for i in range(at, count):
        ladder[side, i, 0] = ladder[side, i + 1, 0]
        ladder[side, i, 1] = ladder[side, i + 1, 1]
    meta[N_SIDE + side] = count
    meta[N_LEVELS] -= 1
    levels[slot, HEAD] = meta[FREE_LEVEL]
    meta[FREE_LEVEL] = slot
