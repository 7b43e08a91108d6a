"""The running state behind ``regression``: sums of products of two inputs."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.kernels_moments import SUMS, accumulate, regressions
from features.timeline import I64, Bool, Series1, State, Timeline, View, as_float, present
from features.windows import Node


class Moments(State):
    """Prefix sums over the rows at which both inputs are defined, packed."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        same = [n for n in timeline.nodes.values() if n.state_key == node.state_key]
        self.keep = max((n.args[0] for n in same if n.method == "rows"), default=0)
        self.sums = np.zeros((1, 2 * SUMS))
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
        x, y = view.evaluate(self.node.inputs)
        here = present(x) & present(y)
        new = np.empty((int(here.sum()), 2 * SUMS))
        accumulate(as_float(x)[here], as_float(y)[here], self.sums[-1], new)
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
        stop = self.count.data[view.local]
        if node.method == "rows":
            keep = self.inside.data[view.local] >= node.args[0]
            if view.known is not None:
                keep &= view.known
            return stop - node.args[0], stop, keep
        since, warm = view.since(node.args[0])
        before = np.maximum(since - 1 - self.timeline.base, 0)
        return self.count.data[before], stop, warm

    def read(self, node: Node, view: View) -> pl.Series:
        start, stop, keep = self._span(node, view)
        stop = np.where(keep, stop - self.dropped, 0)
        start = np.where(keep, start - self.dropped, 0)
        out = np.empty((4, start.size))
        regressions(self.sums, start, stop, out)
        return pl.Series("", out[node.args[1]]).fill_nan(None)
