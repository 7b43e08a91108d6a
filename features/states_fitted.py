"""Fitted things as states: nothing is kept of the rows, all was known before the first."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.nodes import Node
from features.timeline import State, View, masked


class FittedState(State):
    """Looks the fit of a component up at every decision point; null where it has none."""

    def push(self, view: View, drop: int) -> None:
        """The session's own rows change nothing."""

    def read(self, node: Node, view: View) -> pl.Series:
        fit = self.timeline.fits.get(str(node.settings[0]))
        if fit is None:
            return masked(np.zeros(view.t.size), np.zeros(view.t.size, dtype=np.bool_))
        inputs = view.inputs(node)
        found = fit.rank(*inputs) if node.method == "rank" else fit.value(*inputs)
        return masked(*found)
