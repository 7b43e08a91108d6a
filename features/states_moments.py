"""The running states behind ``regression`` and ``spread_of``: sums of products, packed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import polars as pl

from features.kernels_moments import SUMS, accumulate, regressions
from features.kernels_normal import SQUARES, accumulate_squares, deviations
from features.nodes import Node
from features.timeline import F64, I64, Bool, Series1, State, Timeline, View, as_float, present


class Packed(State):
    """Prefix sums over the rows at which all inputs are defined."""

    width: int
    """Sums kept, each in two columns: high part and low part."""
    parts: int
    """Results of a window."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        same = [n for n in timeline.nodes.values() if n.state_key == node.state_key]
        self.keep = max((n.args[0] for n in same if n.method == "rows"), default=0)
        self.sums = np.zeros((1, 2 * self.width))
        """Before each packed term kept, and one more: before the next."""
        self.dropped = 0
        """Terms no longer kept."""
        self.count = Series1(np.int64)
        """Terms up to each row, from the session's start."""
        self.inside = Series1(np.int64)
        """Terms up to each row, from its segment's start."""
        self.total = 0
        self.before_segment = 0

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)
        here = np.logical_and.reduce([present(one) for one in series])
        new = np.empty((int(here.sum()), 2 * self.width))
        self.add([as_float(one)[here] for one in series], new)
        count = self.total + np.cumsum(here, dtype=np.int64)
        first = view.first == view.now
        origin = np.where(first, count - here, 0)
        origin[0] = max(int(origin[0]), self.before_segment)
        np.maximum.accumulate(origin, out=origin)
        # Kept is what the oldest kept row, or a window by rows that ends there, looks back on.
        oldest = int(self.count.data[drop]) if self.count.data.size > drop else self.total
        old = max(0, oldest - self.keep - 1 - self.dropped)
        self.sums = np.concatenate([self.sums[old:], new])
        self.dropped += old
        self.count.extend(drop, count)
        self.inside.extend(drop, count - origin)
        self.total = int(count[-1])
        self.before_segment = int(origin[-1])

    def _span(self, node: Node, view: View) -> tuple[I64, I64, Bool]:
        stop = view.pick(self.count)
        if node.method == "rows":
            keep = view.pick(self.inside) >= node.args[0]
            if view.known is not None:
                keep &= view.known
            return stop - node.args[0], stop, keep
        since, warm = view.since(node.args[0])
        return self.count.at(since - 1), stop, warm

    def read(self, node: Node, view: View) -> pl.Series:
        size, part = node.args
        name = f"{self.node.state_key} {node.method} {size}"
        if name not in view.results:
            start, stop, keep = self._span(node, view)
            stop = np.where(keep, stop - self.dropped, 0)
            start = np.where(keep, start - self.dropped, 0)
            out = np.empty((self.parts, start.size))
            self.over(start, stop, out)
            view.results[name] = out
        return pl.Series("", view.results[name][part]).fill_nan(None)

    @abstractmethod
    def add(self, values: Sequence[F64], out: F64) -> None:
        """The sums up to and with each of the new values, going on from ``self.sums[-1]``."""

    @abstractmethod
    def over(self, start: I64, stop: I64, out: F64) -> None:
        """Results over the terms ``start[i]`` .. ``stop[i]`` - 1; not a number: undefined."""


class Moments(Packed):
    """Least squares of the second input on the first."""

    width, parts = SUMS, 4

    def add(self, values: Sequence[F64], out: F64) -> None:
        accumulate(values[0], values[1], self.sums[-1], out)

    def over(self, start: I64, stop: I64, out: F64) -> None:
        regressions(self.sums, start, stop, out)


class Deviations(Packed):
    """Mean and standard deviation of the input."""

    width, parts = SQUARES, 2

    def add(self, values: Sequence[F64], out: F64) -> None:
        accumulate_squares(values[0], self.sums[-1], out)

    def over(self, start: I64, stop: I64, out: F64) -> None:
        deviations(self.sums, start, stop, out)
