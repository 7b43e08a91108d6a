"""What labels look at: the whole session, collected by a pass of its own and read ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.kernels_forward import first_at_least, grow_tree, largest_of, served
from features.nodes import Node
from features.timeline import (
    F64,
    I64,
    Bool,
    State,
    Timeline,
    View,
    as_exact,
    as_float,
    masked,
    present,
)


def joined(parts: list[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    """The parts as one array; they are given up, so that no more than it is held afterwards."""
    whole = np.concatenate(parts or [np.empty(0, dtype)])
    parts.clear()
    return whole


class SessionIndex:
    """Times of the session's rows and where their segments begin and end; all states share it."""

    def __init__(self) -> None:
        self.parts: list[I64] = []
        self.starts: I64 = np.empty(0, dtype=np.int64)
        """First rows of the segments."""
        self.rows = 0

    def push(self, view: View) -> None:
        """Take in new rows."""
        self.parts.append(view.t)
        self.starts = np.concatenate([self.starts, view.now[view.first == view.now]])
        self.rows += view.t.size

    def close(self) -> None:
        """The session is complete.  It may have had no row at all."""
        self.ts = joined(self.parts, np.int64)
        self.ends = np.append(self.starts[1:], self.rows) - 1

    def last_row(self, rows: I64) -> I64:
        """The last row of each row's segment."""
        found: I64 = self.ends[np.searchsorted(self.ends, rows)]
        return found

    def first_row(self, rows: I64) -> I64:
        """The first row of each row's segment."""
        found: I64 = self.starts[np.searchsorted(self.ends, rows)]
        return found

    def row_at(self, target: I64, now: I64) -> tuple[I64, Bool]:
        """The last row at or before an instant, and whether the segment's data reach it."""
        last = self.last_row(now)
        row = np.minimum(np.searchsorted(self.ts, target, side="right") - 1, last)
        return row, self.ts[last] >= target


class Runs:
    """A sequence in which many neighbours are equal, with its extremes over any stretch."""

    def __init__(self, values: F64) -> None:
        changed = np.ones(values.size, dtype=np.bool_)
        changed[1:] = values[1:] != values[:-1]
        self.starts = np.flatnonzero(changed)
        leaves = 1 << max(1, int(self.starts.size - 1).bit_length())
        self.trees = {}
        for sign in (1, -1):
            tree = np.full(2 * leaves, -np.inf)
            tree[leaves : leaves + self.starts.size] = sign * values[self.starts]
            grow_tree(tree)
            self.trees[sign] = tree

    def _span(self, start: I64, stop: I64) -> tuple[I64, I64]:
        """The runs of a stretch; none where it is empty."""
        low = np.searchsorted(self.starts, start, side="right") - 1
        high = np.searchsorted(self.starts, stop, side="left")
        low = np.maximum(low, 0)
        return low, np.where(stop > start, high, low)

    def first(self, start: I64, stop: I64, least: F64, sign: int) -> I64:
        """First position of [start, stop) with sign * value >= least, else ``stop``."""
        low, high = self._span(start, stop)
        run = np.empty(low.size, dtype=np.int64)
        first_at_least(self.trees[sign], low, high, least, run)
        at = np.maximum(self.starts[np.minimum(run, self.starts.size - 1)], start)
        return np.where(run < high, at, stop)

    def largest(self, start: I64, stop: I64, sign: int) -> F64:
        """Largest sign * value of [start, stop); minus infinity where that is empty."""
        out = np.empty(start.size)
        largest_of(self.trees[sign], *self._span(start, stop), out)
        return out


class Future(State):
    """The whole session's values of one input, to be read ahead of the decision."""

    def __init__(self, node: Node, timeline: Timeline, index: SessionIndex | None = None) -> None:
        super().__init__(node, timeline)
        self.index = index or SessionIndex()
        self.parts: tuple[list[npt.NDArray[Any]], ...] = ([], [], [])
        """Of ``packed``, ``where`` and ``upto``."""
        self.count = 0
        self._runs: Runs | None = None

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)[0]
        self._take(view, as_exact(series), present(series))

    def _take(self, view: View, values: npt.NDArray[Any], here: Bool) -> None:
        # A session has fewer than 2^31 rows; its arrays are what memory goes to.
        where = view.now[here].astype(np.int32)
        upto = (self.count + np.cumsum(here)).astype(np.int32)
        for part, new in zip(self.parts, (values[here], where, upto), strict=True):
            part.append(new)
        self.count += where.size

    def close(self) -> None:
        """The session is complete: index it.  It may have had no event at all."""
        packed, where, upto = self.parts
        self.packed = joined(packed, np.int64)
        self.where = joined(where, np.int32)
        """Rows of the values."""
        self.upto = joined(upto, np.int32)
        """Values at or before each row."""

    def _upto(self, rows: I64) -> I64:
        return self.upto[rows].astype(np.int64)

    def _where(self, at: I64) -> I64:
        return self.where[at].astype(np.int64)

    @property
    def runs(self) -> Runs:
        if self._runs is None:
            self._runs = Runs(self.packed.astype(np.float64))
        return self._runs

    def _locate(self, node: Node, view: View) -> tuple[I64, I64, Bool]:
        """Packed position read, the time it is known, and whether there is one."""
        size, now, index = node.args[0], view.now, self.index
        if node.method.startswith("rows"):
            at = self._upto(now) - 1 + size
            inside = at < self.where.size
            at = np.minimum(at, max(self.where.size - 1, 0))
            row = self._where(at) if self.where.size else np.zeros_like(at)
            return at, index.ts[row], inside & (row <= index.last_row(now))
        target = view.t + size
        row, keep = index.row_at(target, now)
        at = self._upto(row) - 1
        # A value of an earlier segment is none of this one's.
        keep &= (at >= 0) & (self._where(np.maximum(at, 0)) >= index.first_row(now))
        return np.maximum(at, 0), target, keep

    def read(self, node: Node, view: View) -> pl.Series:
        if not self.where.size:
            return pl.Series("", [None] * view.t.size, dtype=pl.Float64)
        if node.method.startswith("barrier"):
            return self._barrier(node, view)
        if node.method == "extreme":
            return self._extreme(node, view)
        at, known_at, keep = self._locate(node, view)
        return masked(known_at if node.method.endswith("_time") else self.packed[at], keep)

    def _stretch(self, node: Node, view: View) -> tuple[I64, I64, Bool]:
        """Packed positions after the decision's row and up to t + horizon; data reach that far."""
        row, keep = self.index.row_at(view.t + node.args[0], view.now)
        return self._upto(view.now), self._upto(np.maximum(row, view.now)), keep

    def _extreme(self, node: Node, view: View) -> pl.Series:
        start, stop, keep = self._stretch(node, view)
        sign = node.args[1]
        found = self.runs.largest(start, stop, sign)
        keep &= stop > start
        return masked(sign * np.where(keep, found, 0.0), keep)

    def _barrier(self, node: Node, view: View) -> pl.Series:
        """1, -1 or 0 as the upper, the lower or no barrier was touched first; or when."""
        start, stop, keep = self._stretch(node, view)
        upper, lower = view.evaluate(node.asked)
        keep &= present(upper) & present(lower)
        up = self.runs.first(start, stop, as_float(upper), 1)
        down = self.runs.first(start, stop, -as_float(lower), -1)
        touched = np.minimum(up, down)
        if node.method == "barrier":
            # One value cannot be beyond both, unless they are the wrong way round.
            side = np.where(touched == stop, 0, np.where(up <= down, 1, -1))
            return masked(side, keep)
        row = self._where(np.minimum(touched, self.where.size - 1))
        when = np.where(touched == stop, view.t + node.args[0], self.index.ts[row])
        return masked(when, keep)


class Fills(Future):
    """Prints of one aggressor, which serve a queue: price (the worst of an event) and contracts."""

    def push(self, view: View, drop: int) -> None:
        price, size = view.inputs(self.node)
        here = present(price) & (as_float(size) > 0)
        self._take(view, np.column_stack([as_float(price), as_float(size)]), here)

    def close(self) -> None:
        if not self.parts[0]:
            self.parts[0].append(np.empty((0, 2)))
        super().close()

    def read(self, node: Node, view: View) -> pl.Series:
        latency, horizon = node.args
        begin, until = view.t + latency, view.t + latency + horizon
        limit, ahead = view.evaluate(node.asked)
        _, keep = self.index.row_at(until, view.now)
        keep &= present(limit) & present(ahead)
        when = np.empty(view.t.size, dtype=np.int64)
        ts, price, size = self.index.ts[self.where], self.packed[:, 0], self.packed[:, 1]
        price, size = np.ascontiguousarray(price), np.ascontiguousarray(size)
        served(ts, price, size, begin, until, as_float(limit), as_float(ahead), when)
        if node.method == "fill":
            return masked((when <= until).astype(np.int64), keep)
        return masked(np.minimum(when, until), keep)
