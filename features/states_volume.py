"""The running states behind VPIN and the volume profile."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.kernels_volume import bucket_imbalance, volume_profile
from features.nodes import Node
from features.timeline import I64, Series1, State, Timeline, View, as_exact, masked


def _known(view: View, keep: np.ndarray) -> np.ndarray:
    return keep if view.known is None else keep & view.known


class VolumeBuckets(State):
    """Imbalance of the last buckets of equal volume, with every row."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.size = int(node.settings[0])
        self.open = np.zeros(2, dtype=np.int64)
        self.ring = np.zeros(int(node.settings[1]))
        self.bought = np.array([0.0, np.nan])
        self.values = Series1(np.float64)

    def push(self, view: View, drop: int) -> None:
        buy, sell = (as_exact(x) for x in view.inputs(self.node))
        out = np.empty(buy.size)
        first = view.first == view.now
        bucket_imbalance(buy, sell, first, self.size, self.open, self.ring, self.bought, out)
        self.values.extend(drop, out)

    def read(self, node: Node, view: View) -> pl.Series:
        values = view.pick(self.values)
        return masked(values, _known(view, ~np.isnan(values)))


class VolumeProfile(State):
    """Volume by price since the session's start, and its summary with every row."""

    OUTPUTS = 5

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.percent = int(node.settings[0])
        self.prices: I64 = np.empty(0, dtype=np.int64)
        self.volumes: I64 = np.empty(0, dtype=np.int64)
        self.kept: I64 = np.zeros(2 + self.OUTPUTS, dtype=np.int64)
        self.rows = [Series1(np.int64) for _ in range(self.OUTPUTS)]

    def push(self, view: View, drop: int) -> None:
        price, volume = view.inputs(self.node)
        ends = price.list.len().fill_null(0).to_numpy().astype(np.int64).cumsum()
        prints = [x.drop_nulls().explode().drop_nulls() for x in (price, volume)]
        flat = [as_exact(x) for x in prints]
        # Room for as many new prices as there are prints.
        short = int(self.kept[0]) + flat[0].size - self.prices.size
        if short > 0:
            room = np.zeros(short + self.prices.size, dtype=np.int64)
            self.prices = np.concatenate([self.prices, room])
            self.volumes = np.concatenate([self.volumes, room])
        out = np.empty((self.OUTPUTS, ends.size), dtype=np.int64)
        volume_profile(
            ends, flat[0], flat[1], self.percent, self.prices, self.volumes, self.kept, out
        )
        for row, values in zip(self.rows, out, strict=True):
            row.extend(drop, values)

    def read(self, node: Node, view: View) -> pl.Series:
        traded = view.pick(self.rows[-1]) > 0
        return masked(view.pick(self.rows[node.args[0]]), _known(view, traded))
