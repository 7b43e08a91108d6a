"""Running states of the normalisers: exponentially weighted moments, and ranks."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.kernels_normal import decayed_moments, rolling_ranks
from features.nodes import WARM_HALF_LIVES, Node
from features.timeline import F64, Series1, State, Timeline, View, as_float, present


class DecayedMoments(State):
    """Exponentially weighted mean and standard deviation; between rows they stay."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.half_life = int(node.settings[0])
        self.kept = Series1(np.float64), Series1(np.float64)
        self.carry: F64 = np.zeros(3)
        self.last_ts = 0

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)[0]
        ts = np.concatenate([[self.last_ts], view.t]).astype(np.int64)
        out = np.empty((2, view.t.size))
        first = view.first == view.now
        values, valid = as_float(series), present(series)
        decayed_moments(values, valid, ts, first, float(self.half_life), self.carry, out)
        self.last_ts = int(ts[-1])
        for kept, new in zip(self.kept, out, strict=True):
            kept.extend(drop, new)

    def read(self, node: Node, view: View) -> pl.Series:
        value = view.pick(self.kept[node.args[0]])
        warm = view.t - view.pick(self.timeline.began) >= WARM_HALF_LIVES * self.half_life
        if view.known is not None:
            warm &= view.known
        return pl.Series("", np.where(warm, value, np.nan)).fill_nan(None)


class Rank(State):
    """The rank of the last row's value among the last n."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        size = int(node.settings[0])
        self.ring, self.ordered = np.zeros(size), np.zeros(size)
        self.held = np.zeros(2, dtype=np.int64)
        self.ranks = Series1(np.float64)

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)[0]
        out = np.empty(view.t.size)
        first = view.first == view.now
        values, valid = as_float(series), present(series)
        rolling_ranks(values, valid, first, self.ring, self.ordered, self.held, out)
        self.ranks.extend(drop, out)

    def read(self, node: Node, view: View) -> pl.Series:
        value = view.pick(self.ranks)
        if view.known is not None:
            value = np.where(view.known, value, np.nan)
        return pl.Series("", value).fill_nan(None)
