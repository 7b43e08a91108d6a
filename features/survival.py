"""How long orders wait, and how: gatherers of spells, and estimates from censored ones.

Spells (:mod:`features.spells`) are cut short: most orders are cancelled long before they could
have been filled.  Kaplan and Meier's product of the shares that survive each stretch of time, among
those still there, tells what would have become of an order that is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.components import F64, I64, Combine, Pairs
from features.spells import CANCELLED, FILLED
from features.timeline import present
from pipeline.units import NS_PER_MS, NS_PER_S

# --- fills -------------------------------------------------------------------------------------

HORIZONS: Final = {"1s": NS_PER_S, "10s": 10 * NS_PER_S, "60s": 60 * NS_PER_S}

TIMES: Final[I64] = np.unique(
    [*(round(NS_PER_MS * 10 ** (k / 10)) for k in range(48)), *HORIZONS.values()]
)
"""Ends of the stretches of time (ns, included): ten a decade from 1 ms to 50 s, and 60 s."""

PLACES: Final = ("touch", "behind")
"""At its side's touch, or one tick behind it."""

ENOUGH_FATES: Final = 30
"""Orders of a cell whose fate at the horizon is known: filled by then, or still waiting."""

_STRETCHES: Final = TIMES.size + 1


class Waits:
    """Counts, by place and cell, when orders were filled or went out of sight unfilled.

    Inputs: event; of the row before the cell at the bid's touch, one tick behind it, the same of
    the ask; -1 or null where there is none.  A cell is a whole number below ``cells``.  Key:
    ((place x cells + cell) x stretches + stretch) x 2 + (0 filled, 1 not); the last stretch is
    what lasted longer than the longest horizon.
    """

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.counts = np.zeros(len(PLACES) * cells * _STRETCHES * 2, dtype=np.int64)
        self.parts: list[tuple[I64, npt.NDArray[np.int16]]] = []
        self.events = np.empty(0, dtype=np.int64)
        self.kinds = np.empty(0, dtype=np.int16)

    def take(self, spells: pl.DataFrame) -> None:
        """Keep when they joined and what became of them: ten bytes each."""
        near = spells.filter(pl.col("behind").is_between(0, 1))
        stretch = np.searchsorted(TIMES, near["time"].to_numpy(), side="left")
        column = near["behind"].to_numpy() + 2 * near["ask"].cast(pl.Int64).to_numpy()
        unfilled = (near["end"].to_numpy() != FILLED).astype(np.int64)
        kinds = (column * _STRETCHES + stretch) * 2 + unfilled
        self.parts.append((near["event"].to_numpy(), kinds.astype(np.int16)))

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        if self.parts:
            events, kinds = (np.concatenate(part) for part in zip(*self.parts, strict=True))
            order = np.argsort(events, kind="stable")
            self.events, self.kinds, self.parts = events[order], kinds[order], []
        rows = inputs[0].to_numpy()
        joined = int(np.searchsorted(self.events, rows[-1], side="right"))
        events, kinds = self.events[:joined], self.kinds[:joined].astype(np.int64)
        self.events, self.kinds = self.events[joined:], self.kinds[joined:]
        at = np.searchsorted(rows, events, side="left")
        column, rest = np.divmod(kinds, 2 * _STRETCHES)
        cells = np.column_stack([x.fill_null(-1).to_numpy() for x in inputs[1:]])[at, column]
        keys = (column % 2 * self.cells + cells) * (2 * _STRETCHES) + rest
        np.add.at(self.counts, keys[cells >= 0], 1)

    def result(self) -> Pairs:
        (keys,) = np.nonzero(self.counts)
        return Pairs.of(keys, self.counts[keys])


def kaplan_meier(filled: F64, unfilled: F64) -> F64:
    """Share not filled by the end of each stretch, were nobody to go unfilled before.

    Parameters
    ----------
    filled, unfilled
        (groups, stretches): orders that were filled in a stretch, and that went out of sight
        unfilled.  Of the latter half were there for each fill of their stretch (the actuarial
        estimate).

    Returns
    -------
    (groups, stretches); 1 where nobody is left.
    """
    ended = filled + unfilled
    there = ended.sum(axis=1, keepdims=True) - np.cumsum(ended, axis=1) + ended
    exposed = there - unfilled / 2
    shares = np.divide(filled, exposed, out=np.zeros_like(filled), where=exposed > 0)
    return np.cumprod(1 - shares, axis=1)


def fill_probabilities(cells: int) -> Combine:
    """Probability of a fill by place, horizon and cell, from :class:`Waits`.

    Key: (place x horizons + horizon) x cells + cell; only where enough fates are known.
    """

    def combine(past: Sequence[Pairs], _minimum: int) -> Pairs:
        counts = np.zeros(len(PLACES) * cells * _STRETCHES * 2)
        for pairs in past:
            counts[pairs.keys] += pairs.values
        filled, unfilled = counts.reshape(-1, _STRETCHES, 2).transpose(2, 0, 1)
        waiting = kaplan_meier(filled, unfilled)
        ends = np.searchsorted(TIMES, list(HORIZONS.values()))
        after = (filled + unfilled).sum(axis=1, keepdims=True) - np.cumsum(filled + unfilled, 1)
        fates = (np.cumsum(filled, axis=1) + after)[:, ends]
        shape = (len(PLACES), cells, len(HORIZONS))
        enough = (fates >= ENOUGH_FATES).reshape(shape).transpose(0, 2, 1).ravel()
        values = (1 - waiting[:, ends]).reshape(shape).transpose(0, 2, 1).ravel()
        (keys,) = np.nonzero(enough)
        return Pairs.of(keys, values[keys])

    return combine


# --- cancels -----------------------------------------------------------------------------------

AGES: Final[I64] = np.array([NS_PER_MS * 10**k for k in range(6)] + [600 * NS_PER_S])
"""Ends of the bins of ages (ns, excluded): 1 ms, 10 ms, 100 ms, 1 s, 10 s, 100 s, 10 min; the
last bin has none."""

ENOUGH_ORDERS: Final = 30
"""Orders that reached an age."""

ENOUGH_SECONDS: Final = 600
"""Order-seconds spent in a third of the touch's queue."""


class CancelsByAge:
    """Key: 3 x bin of age + (0 order-time in us, 1 cancels, 2 orders that reached the bin)."""

    def __init__(self) -> None:
        self.sums = [0] * (3 * (AGES.size + 1))

    def take(self, spells: pl.DataFrame) -> None:
        near = spells.filter(pl.col("behind") <= 1)
        time = near["time"].to_numpy()
        cancelled = near["end"].to_numpy() == CANCELLED
        bins = np.searchsorted(AGES, time, side="right")
        for number in range(AGES.size + 1):
            low = int(AGES[number - 1]) if number else 0
            width = int(AGES[number]) - low if number < AGES.size else None
            reached = bins >= number
            self.sums[3 * number] += int(np.clip(time[reached] - low, 0, width).sum())
            self.sums[3 * number + 1] += int((cancelled & (bins == number)).sum())
            self.sums[3 * number + 2] += int(reached.sum())

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        """Lives alone say it all."""

    def result(self) -> Pairs:
        if not any(self.sums):
            return NOTHING
        sums = [x if k % 3 else x // 1000 for k, x in enumerate(self.sums)]
        return Pairs.of(range(len(sums)), sums)


class CancelsByThird:
    """Sums of (time in ns, orders, cancels) x thirds x sides: key 2 x third + (0 order-time, us;
    1 cancels).  Inputs: time since the row before; orders of the bid's touch in its front, middle
    and back third at that row, the ask's; cancels in them since, the same order.
    """

    def __init__(self) -> None:
        self.sums = [0] * 6

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        known = present(inputs[0])
        for x in inputs[1:]:
            known &= present(x)
        passed, *rest = (x.fill_null(0).cast(pl.Int64).to_numpy()[known] for x in inputs)
        for number in range(6):
            third = number % 3
            self.sums[2 * third] += int((rest[number] * passed).sum())
            self.sums[2 * third + 1] += int(rest[6 + number].sum())

    def result(self) -> Pairs:
        if not any(self.sums):
            return NOTHING
        return Pairs.of(range(6), [x if k % 2 else x // 1000 for k, x in enumerate(self.sums)])


NOTHING: Final = Pairs.of([], [])


def hazards_by_age(past: Sequence[Pairs], _minimum: int) -> Pairs:
    """Cancels a second of order-time, by bin of age, where enough orders reached it."""
    spent, cancels, orders = np.sum([p.values for p in past], axis=0).reshape(-1, 3).T
    (keys,) = np.nonzero((orders >= ENOUGH_ORDERS) & (spent > 0))
    return Pairs.of(keys, cancels[keys] / spent[keys] * 1e6)


def hazards_by_third(past: Sequence[Pairs], _minimum: int) -> Pairs:
    """Cancels a second of order-time, by third of the queue, where enough time was spent."""
    spent, cancels = np.sum([p.values for p in past], axis=0).reshape(-1, 2).T
    (keys,) = np.nonzero(spent >= ENOUGH_SECONDS * 1e6)
    return Pairs.of(keys, cancels[keys] / spent[keys] * 1e6)
