"""Running states over the levels of one side of the book."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.kernels_levels import keyed_change, median_positive
from features.nodes import Node
from features.timeline import I64, Series1, State, Timeline, View, as_exact, masked, present


def _by_row(columns: list[pl.Series]) -> I64:
    """Columns of levels as one array, a row an event."""
    return np.ascontiguousarray(np.stack([as_exact(column) for column in columns]).T)


class KeyedChange(State):
    """Change of the size within reach of the touch, both books on the same prices."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.levels = (len(node.inputs) - 1) // 2
        self.reach = int(node.settings[0]) * int(timeline.scalars["tick"])
        self.values = Series1(np.int64)
        self.valid = Series1(np.bool_)
        self.prices = np.zeros(self.levels, dtype=np.int64)
        self.sizes = np.zeros(self.levels, dtype=np.int64)
        self.known = np.zeros(1, dtype=np.bool_)

    def push(self, view: View, drop: int) -> None:
        usable, *levels = view.inputs(self.node)
        out = np.empty(view.t.size, dtype=np.int64)
        valid = np.empty(view.t.size, dtype=np.bool_)
        keyed_change(
            _by_row(levels[: self.levels]),
            _by_row(levels[self.levels :]),
            present(usable),
            view.first == view.now,
            self.reach,
            self.prices,
            self.sizes,
            self.known,
            out,
            valid,
        )
        self.values.extend(drop, out)
        self.valid.extend(drop, valid)

    def read(self, node: Node, view: View) -> pl.Series:
        keep = view.pick(self.valid)
        if view.known is not None:
            keep = keep & view.known
        return masked(view.pick(self.values), keep)


class LevelMedian(State):
    """Median size of the levels that are there.  Of one row, so nothing is kept."""

    def push(self, view: View, drop: int) -> None:
        return

    def read(self, node: Node, view: View) -> pl.Series:
        out = np.empty(view.t.size)
        sizes = _by_row(view.inputs(node))
        median_positive(sizes, np.empty(sizes.shape[1], dtype=np.int64), out)
        return masked(out, out > 0)
