"""The running state behind ``delayed``: marks that count only once their future is past."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from features.nodes import Node
from features.timeline import I64, Bool, Rows, State, Timeline, View


class Delayed(State):
    """Marks made at rows, as a timeline of their own in which each stands ``tau`` later.

    A mark holds what was known when it was made and what was known ``tau`` later: the last row
    at or before that time.  It is seen by decisions strictly after that time, when no later row
    can have the same; a segment that ends before drops it.  A segment's first row makes an empty
    mark, so that windows warm up from it.
    """

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        tau, kept, *self.names = node.settings
        self.tau, self.kept = int(tau), int(kept)
        same = [n for n in timeline.nodes.values() if n.state_key == node.state_key]
        inner = [n.inner for n in same if n.inner is not None]
        self.samples = Timeline(inner, timeline.scalars, fits=timeline.fits)
        self.due: I64 = np.empty(0, dtype=np.int64)
        self.marks: pl.DataFrame | None = None
        """What was known when the pending marks were made."""
        self.last: pl.DataFrame | None = None
        """What is to be known later, as of the last row."""
        self.segment = -1

    def push(self, view: View, drop: int) -> None:
        condition, *values = view.inputs(self.node)
        frame = pl.DataFrame(
            [v.alias(str(name)) for v, name in zip(values, self.names, strict=True)]
        )
        first = view.first == view.now
        made = condition.fill_null(value=False).to_numpy() | first
        # The empty mark of a segment's start knows nothing.
        blank = pl.Series(first & ~condition.fill_null(value=False).to_numpy())
        at = frame[:, : self.kept]
        at = at.select(pl.when(~blank).then(pl.col(name)).alias(name) for name in at.columns)
        self._emit(list(self._settle(view, first, made, at, frame[:, self.kept :])))

    def _settle(
        self, view: View, first: Bool, made: Bool, at: pl.DataFrame, later: pl.DataFrame
    ) -> Iterator[tuple[I64, int, pl.DataFrame]]:
        """Marks that fell due, segment by segment: times, segment, columns."""
        starts = np.flatnonzero(first)
        edges = np.unique(np.concatenate([[0], starts, [first.size]]))
        ended = view.column("ended").to_numpy() if starts.size else np.empty(0)
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if first[a]:
                yield from self._close(int(ended[a]))
                self.segment = int(view.pick(self.timeline.segment)[a])
            rows = a + np.flatnonzero(made[a:b])
            marks = at[pl.Series(rows)]
            self.due = np.concatenate([self.due, view.t[rows] + self.tau])
            self.marks = marks if self.marks is None else pl.concat([self.marks, marks])
            past = int(np.searchsorted(self.due, view.t[b - 1], side="left"))
            where = np.searchsorted(view.t[a:b], self.due[:past], side="right") - 1
            known = later[a:b] if self.last is None else pl.concat([self.last, later[a:b]])
            yield self._take(past, known[pl.Series(where + (self.last is not None))])
            self.last = later[b - 1 : b]

    def _close(self, end: int) -> Iterator[tuple[I64, int, pl.DataFrame]]:
        """The pending marks' segment ended."""
        past = int(np.searchsorted(self.due, end, side="right"))
        if past and self.last is not None:
            yield self._take(past, self.last[pl.Series(np.zeros(past, dtype=np.int64))])
        self.due, self.marks, self.last = self.due[:0], None, None

    def _take(self, count: int, later: pl.DataFrame) -> tuple[I64, int, pl.DataFrame]:
        assert self.marks is not None
        due, marks = self.due[:count], self.marks[:count]
        self.due, self.marks = self.due[count:], self.marks[count:]
        return due, self.segment, pl.concat([marks, later], how="horizontal")

    def _emit(self, parts: list[tuple[I64, int, pl.DataFrame]]) -> None:
        parts = [part for part in parts if part[0].size]
        if not parts:
            return
        due = np.concatenate([part[0] for part in parts])
        segment = np.concatenate([np.full(part[0].size, part[1]) for part in parts])
        before = self.samples.segment.data[-1] if self.samples.rows else -1
        first = np.diff(segment, prepend=before) != 0
        frame = pl.concat([part[2] for part in parts])
        frame = frame.with_columns(pl.Series("first", first), pl.Series("ts", due))
        self.samples.push(Rows(due, segment, frame))

    def finish(self, end: int) -> None:
        """The timeline's last segment ends at ``end``: what is due by then is known."""
        self._emit(list(self._close(end)))

    def read(self, node: Node, view: View) -> pl.Series:
        samples = self.samples
        assert node.inner is not None
        if not samples.rows:
            return pl.Series("", [None] * view.t.size, dtype=pl.Float64)
        found = np.searchsorted(samples.ts.data, view.t, side="left") - 1
        at = np.maximum(found, 0)
        same = samples.segment.data[at] == view.pick(self.timeline.segment)
        keep = (found >= 0) & same
        if view.known is not None:
            keep &= view.known
        # Rows without a mark read any that is still at hand; they become null.
        at = np.maximum(at, samples.frame_base - samples.ts.base)
        t = np.maximum(view.t, samples.ts.data[at])
        values = View(samples, at + samples.ts.base, t).evaluate([node.inner])[0]
        if keep.all():
            return values
        return pl.select(pl.when(pl.Series(keep)).then(values)).to_series()
