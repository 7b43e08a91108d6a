"""What states have in common whose samples are a timeline of their own: grids and bars."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.nodes import Node
from features.timeline import I64, State, Timeline, View, masked


class Sampled(State):
    """Read as of the last sample known, within the segment."""

    samples: Timeline

    def last_known(self, view: View) -> I64:
        """Position, among the samples kept, of the last one each decision knows; -1: none."""
        return np.searchsorted(self.samples.ts.data, view.t, side="right") - 1

    def read(self, node: Node, view: View) -> pl.Series:
        """Values of the node's expression over the samples, at the decisions."""
        samples = self.samples
        assert node.inner is not None
        if not samples.rows:
            return pl.Series("", [None] * view.t.size, dtype=pl.Float64)
        found = self.last_known(view)
        at = np.maximum(found, 0)
        same = samples.segment.data[at] == view.pick(self.timeline.segment)
        keep = (found >= 0) & same
        if view.known is not None:
            keep &= view.known
        # Many decisions share a sample: evaluate each sample once.
        low, high = int(at[0]), int(at[-1])
        rows = np.arange(low, high + 1)
        inner = View(samples, rows + samples.ts.base, samples.ts.data[rows])
        values = inner.evaluate([node.inner])[0]
        return values.gather(masked(at - low, keep))
