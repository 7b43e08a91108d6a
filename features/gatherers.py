"""Ways to sum up a session for later ones; each is fed chunk by chunk, and chunks do not matter.

Sums of floats are taken one value after the other, so that not a bit depends on the chunks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from features.components import I64, Pairs
from features.timeline import as_float, present

MINUTES = 1440
"""Minutes of a day: keys of what is kept by the clock."""


class Histogram:
    """Key: a whole number; value: how often any of the inputs was that number."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        for series in inputs:
            numbers = series.drop_nulls().cast(pl.Int64).to_numpy()
            for number, count in zip(*np.unique(numbers, return_counts=True), strict=True):
                self.counts[int(number)] = self.counts.get(int(number), 0) + int(count)

    def result(self) -> Pairs:
        return Pairs.of(list(self.counts), list(self.counts.values()))


class MinuteMeans:
    """Inputs: minute of the day, x.  Key: minute; value: mean of x there."""

    def __init__(self) -> None:
        self.sums = np.zeros(MINUTES)
        self.counts = np.zeros(MINUTES, dtype=np.int64)

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        minute, x = inputs
        here = present(x) & present(minute)
        at = minute.cast(pl.Int64).fill_null(0).to_numpy()[here]
        np.add.at(self.sums, at, as_float(x)[here])
        np.add.at(self.counts, at, 1)

    def result(self) -> Pairs:
        (keys,) = np.nonzero(self.counts)
        return Pairs.of(keys, self.sums[keys] / self.counts[keys])


class LastValues:
    """Key: number of the input; value: the last it had."""

    def __init__(self) -> None:
        self.values: dict[int, float] = {}

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        for key, series in enumerate(inputs):
            known = series.drop_nulls()
            if known.len():
                self.values[key] = float(known[-1])

    def result(self) -> Pairs:
        return Pairs.of(list(self.values), list(self.values.values()))


class RunningTotal:
    """Inputs: minute of the day, x, minute of the open, minutes from open to close.

    Key: minute; value: sum of x from the open to the minute's first instant.  The minute of the
    close is there, too; minutes without rows are.
    """

    def __init__(self) -> None:
        self.sums = np.zeros(MINUTES + 1)
        self.opened = -1
        self.length = 0

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        minute, x, opened, length = inputs
        if self.opened < 0:
            self.opened, self.length = int(opened[0]), min(int(length[0]), MINUTES - 1)
        here = present(x)
        passed = (minute.cast(pl.Int64).to_numpy() - self.opened) % MINUTES
        np.add.at(self.sums, passed[here] + 1, as_float(x)[here])

    def result(self) -> Pairs:
        if self.opened < 0:
            return Pairs.of([], [])
        passed = np.arange(self.length + 1)
        return Pairs.of((self.opened + passed) % MINUTES, np.cumsum(self.sums)[passed])


class Products:
    """Sums, counts and products of several inputs at points where none of them is null.

    Key 0: points; 1 + i: sum of x_i; 1 + n + i n + j: sum of x_i x_j.
    """

    def __init__(self) -> None:
        self.sums: np.ndarray | None = None

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        here = np.logical_and.reduce([present(x) for x in inputs])
        x = np.column_stack([as_float(one)[here] for one in inputs])
        n = len(inputs)
        products = (x[:, :, None] * x[:, None, :]).reshape(-1, n * n)
        rows = np.hstack([np.ones((x.shape[0], 1)), x, products])
        before = np.zeros(rows.shape[1]) if self.sums is None else self.sums
        # cumsum adds row after row, where sum adds in an order that depends on their number.
        self.sums = np.cumsum(np.vstack([before, rows]), axis=0)[-1]

    def result(self) -> Pairs:
        if self.sums is None or not self.sums[0]:
            return Pairs.of([], [])
        return Pairs.of(np.arange(self.sums.size), self.sums)


SKETCH = 1001
"""Points of a quantile sketch: probabilities 0, 0.001, ... 1."""


class Sketch:
    """Key -1: how many values; keys 0 to 1000: the session's quantiles at key / 1000.

    The values are kept until the session is over: choose a clock that makes few of them.
    """

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        self.parts.append(inputs[0].drop_nulls().cast(pl.Float64).to_numpy())

    def result(self) -> Pairs:
        values = np.concatenate(self.parts) if self.parts else np.empty(0)
        values = values[np.isfinite(values)]
        if not values.size:
            return Pairs.of([], [])
        points = np.quantile(values, np.linspace(0, 1, SKETCH), method="linear")
        return Pairs.of(np.arange(-1, SKETCH), [values.size, *points])
