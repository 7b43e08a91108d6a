"""Another instrument beside the one decisions are made in: a timeline of its own, read as of them.

A decision at t knows the peer's rows with a time strictly before t, whatever their position in the
file: two instruments' rows of one instant are in no order that can be relied on.

The peer's rows up to the end of each chunk of ours are taken in at once, before anything is read;
chunks of ours are cut (:func:`paced`) so that they span no more of the peer than one of its chunks,
or one pause of ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from features.columns import TOUCH
from features.events import Events
from features.nodes import Node, root_columns
from features.timeline import I64, Rows, State, Timeline, View


class Peer(State):
    """The timeline of a peer; nodes read expressions on it."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        same = [n for n in timeline.nodes.values() if n.state_key == node.state_key]
        inner = [n.inner for n in same if n.inner is not None]
        source = timeline.peers.get(str(node.settings[0]))
        self.own: Timeline | None = None
        self.waiting: list[pl.DataFrame] = []
        """Events read and not taken in yet."""
        self.over = source is None
        """There are no more events to read."""
        self.finished = source is None
        if source is not None:
            self.own = Timeline(inner, source.context.scalars(), fits=source.context.fits)
            self.events = Events(source, root_columns(inner) | set(TOUCH))
            self.chunks = iter(self.events)
        self._views: tuple[View, View] | None = None
        """The view that was read last, and the peer's own at the same decisions."""

    def _fetch(self) -> None:
        frame = next(self.chunks, None)
        if frame is None:
            self.over = True
        else:
            self.waiting.append(frame)

    @property
    def reach(self) -> int | None:
        """Up to when events are at hand; None where that is the end."""
        if not self.waiting and not self.over:
            self._fetch()
        return int(self.waiting[-1]["ts"][-1]) if self.waiting else None

    def push(self, view: View, drop: int) -> None:
        """Take in the peer's rows before the last one of ours."""
        self._advance(int(view.t[-1]))

    def finish(self, end: int) -> None:
        """Take in the peer's rows before the end."""
        self._advance(end)

    def _advance(self, t: int) -> None:
        while not self.over and (not self.waiting or int(self.waiting[-1]["ts"][-1]) < t):
            self._fetch()
        if self.own is None:
            return
        if self.waiting:
            whole = self.waiting[0] if len(self.waiting) == 1 else pl.concat(self.waiting)
            before = int(whole["ts"].search_sorted(t, side="left"))
            self.waiting = [whole.slice(before)] if before < whole.height else []
            if before:
                known = whole.head(before)
                ts, segment = (known[name].to_numpy(writable=True) for name in ("ts", "segment"))
                self.own.push(Rows(ts, segment, known.drop("segment")))
        if self.over and not self.waiting and not self.finished:
            self.finished = True
            if self.own.rows:
                self.own.finish(self.events.end)

    def read(self, node: Node, view: View) -> pl.Series:
        nothing = pl.Series("", [None] * view.t.size, dtype=pl.Float64)
        if self.own is None or not self.own.rows or not view.t.size:
            return nothing
        assert node.inner is not None
        if self._views is None or self._views[0] is not view:
            ts = self.own.ts.data
            now: I64 = np.searchsorted(ts, view.t, side="left") - 1 + self.own.ts.base
            self._views = (view, View(self.own, now, view.t))
        inner = self._views[1]
        values = inner.evaluate([node.inner])[0].cast(pl.Float64)
        if inner.known is None:
            return values
        return pl.select(pl.when(pl.Series(inner.known)).then(values)).to_series()


def paced(timeline: Timeline, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A chunk of our events in pieces that span no more of a peer than is at hand."""
    peers = [state for state in timeline.states.values() if isinstance(state, Peer)]
    while frame.height:
        limits = [reach for peer in peers if (reach := peer.reach) is not None]
        count = frame.height
        if limits:
            # Up to the first row beyond, so that every piece uses up what is at hand.
            until = int(frame["ts"].search_sorted(min(limits), side="right"))
            count = min(until + 1, frame.height)
        yield frame.head(count)
        frame = frame.slice(count)
