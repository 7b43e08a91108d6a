"""Rows in time, as they stream by: what is kept of the past, and views at decision points.

A :class:`Timeline` takes events in chunks.  It keeps no more of the past than the longest window
in use looks back, so memory does not grow with the session, and where chunks are cut changes
nothing.  Rows are numbered from the session's first one.  Every state keeps what its own nodes look
back on: one window of half an hour does not make hundreds of decayed sums keep theirs.

A :class:`View` is a set of decision points: for each the number of the last known row (``now``)
and the time (``t``).  Views of all rows (the event clock), of some rows, and of grid times
between rows are the same thing, which is why a feature has one definition for every clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from features.components import Fitted
from features.kernels import count_until
from features.nodes import MARK, Node, reachable
from features.source import Source

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


_ARROW: Mapping[str, pa.DataType] = {
    "<i8": pa.int64(),
    "<f8": pa.float64(),
    "<i4": pa.int32(),
    "<f4": pa.float32(),
}
"""numpy's names of the types that Arrow holds in the same bytes."""


@dataclass
class Rows:
    """New rows of a timeline: times (ns, ascending), segment ordinals, and their columns."""

    ts: I64
    segment: I64
    frame: pl.DataFrame


class Series1:
    """Values of the kept rows in one array; grows at the end, shrinks at the front.

    ``data`` is a view of a larger array, so that most chunks are copied once, not with all that
    is kept.  What was handed out stays as it was: values move to a new array, never in place.
    """

    def __init__(self, dtype: Any) -> None:
        self.data = np.empty(0, dtype=dtype)
        self.base = 0
        """Number of the first value kept: of its row, where there is one a row."""
        self._room = self.data
        self._stop = 0
        """Where ``data`` ends in the larger array."""

    def at(self, rows: I64) -> npt.NDArray[Any]:
        """Values of rows by number; of those forgotten, the first one kept (it has no meaning)."""
        return self.data[np.maximum(rows - self.base, 0)]

    def extend(self, drop: int, new: npt.NDArray[Any]) -> None:
        """Forget the first ``drop`` values, append new ones."""
        kept = self.data[drop:]
        self.base += drop
        total = kept.size + new.size
        ours = self.data.base is self._room and kept.dtype == np.result_type(kept, new)
        if not ours or self._stop + new.size > self._room.size:
            # Room to spare in proportion to what would have to move again.
            room = total + max(kept.size // 2, 1)
            self._room = np.empty(room, dtype=np.result_type(kept, new))
            self._room[: kept.size] = kept
            self._stop = kept.size
        self._room[self._stop : self._stop + new.size] = new
        self._stop += new.size
        self.data = self._room[self._stop - total : self._stop]


class State(ABC):
    """A running state: fed at every row, read at any view whose rows are still kept."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        self.node = node
        self.timeline = timeline
        self.back = timeline.backs.get(node.state_key, 0)
        """How far (ns) its nodes look back on rows: so long they are kept for it."""
        self.base = 0
        """The oldest row kept for it."""

    @abstractmethod
    def push(self, view: View, drop: int) -> None:
        """Take in the rows of a view of new rows; ``drop`` old ones are no longer needed."""

    @abstractmethod
    def read(self, node: Node, view: View) -> pl.Series:
        """Values of a node at a view."""

    def finish(self, end: int) -> None:  # noqa: B027 - most states have nothing to do then
        """The last segment ends at ``end``."""


class Timeline:
    """Rows streaming by, with the states that nodes ask for.

    Parameters
    ----------
    exprs
        Everything that will be evaluated on views of this timeline.
    scalars
        Columns that are constant over the timeline (``tick``, ``session_open`` ...).
    futures
        States of forward nodes, filled beforehand, by state key (labels only).
    fits
        What was fitted on past sessions, by component.
    peers
        Other instruments of the session, by the names the feature set gives them.
    """

    def __init__(
        self,
        exprs: Iterable[pl.Expr],
        scalars: Mapping[str, Any],
        futures: Mapping[str, State] | None = None,
        fits: Mapping[str, Fitted] | None = None,
        peers: Mapping[str, Source] | None = None,
    ) -> None:
        from features.states import STATES

        self.scalars = scalars
        self.fits = fits or {}
        self.peers = peers or {}
        self.rows = 0
        self.ts = Series1(np.int64)
        self.segment = Series1(np.int64)
        self.first = Series1(np.int64)
        """Number of the first row of the row's segment."""
        self.began = Series1(np.int64)
        """Its time."""
        self.states: dict[str, State] = {}
        self._tail: pl.DataFrame | None = None
        self.frame = pl.DataFrame()
        self.frame_base = 0
        nodes = reachable(exprs, inside_grids=False)
        self.nodes = {node.key: node for node in nodes}
        self.backs: dict[str, int] = {}
        """How far (ns) the nodes of each state look back on rows; 0: on the last row alone."""
        for node in nodes:
            length = node.args[0] if node.method in ("window", "ago", "mean") else 0
            self.backs[node.state_key] = max(length, self.backs.get(node.state_key, 0))
        self.longest = max(self.backs.values(), default=0)
        for node in nodes:
            if futures is not None and node.state_key in futures:
                self.states[node.state_key] = futures[node.state_key]
            elif node.state_key not in self.states:
                self.states[node.state_key] = STATES[node.state](node, self)
        self._own = [s for s in self.states.values() if s.timeline is self]

    def push(self, new: Rows) -> View:
        """Take in new rows; returns the view of them (the event clock's)."""
        oldest = {back: self._oldest(back) for back in {self.longest, *self.backs.values()}}
        drop = oldest[self.longest] - self.ts.base
        start, count = self.rows, new.ts.size
        before = int(self.segment.data[-1]) if self.segment.data.size else -1
        starts = np.flatnonzero(np.diff(new.segment, prepend=before)) + start
        firsts = np.full(count, self.first.data[-1] if self.first.data.size else 0)
        firsts[starts - start] = starts
        np.maximum.accumulate(firsts, out=firsts)
        self.ts.extend(drop, new.ts)
        self.segment.extend(drop, new.segment)
        began = np.full(count, self.began.data[-1] if self.began.data.size else 0)
        began[starts - start] = new.ts[starts - start]
        np.maximum.accumulate(began, out=began)
        self.first.extend(drop, firsts)
        self.began.extend(drop, began)
        tail = self._tail
        self.frame_base = start - (0 if tail is None else tail.height)
        self.frame = new.frame if tail is None else pl.concat([tail, new.frame])
        self._tail = new.frame.tail(1)
        self.rows = start + count
        view = View(self, np.arange(start, self.rows), new.ts, frame=new.frame)
        for state in self._own:
            drop = oldest[state.back] - state.base
            state.base += drop
            state.push(view, drop)
        return view

    def finish(self, end: int) -> None:
        """The last segment ends at ``end``: whatever is due by then happens."""
        for state in self._own:
            state.finish(end)

    def _oldest(self, back: int) -> int:
        """The oldest row that later decisions can need, looking back so far: the last one at that
        time and the one before it, which a decision still at the last row may ask for.
        """
        if not self.ts.data.size:
            return 0
        limit = self.ts.data[-1] - back
        return self.ts.base + max(0, int(np.searchsorted(self.ts.data, limit, side="right")) - 2)


@dataclass
class View:
    """Decision points: ``now`` the number of the last known row (-1: none), ``t`` the time."""

    timeline: Timeline
    now: I64
    t: I64
    frame: pl.DataFrame | None = None
    """Columns at the decision points, if they are at hand."""
    cache: dict[str, pl.Series] = field(default_factory=dict)
    limits: dict[int, tuple[I64, Bool]] = field(default_factory=dict)
    results: dict[str, F64] = field(default_factory=dict)
    """What states computed for several nodes at once."""
    fed: dict[str, pl.Series] = field(default_factory=dict)
    """What states are fed with, by digest: many are fed the same."""

    def __post_init__(self) -> None:
        self.known: Bool | None = None
        if self.now.size and self.now[0] < 0:
            self.known = self.now >= 0

    def pick(self, values: Series1, shift: int = 0) -> npt.NDArray[Any]:
        """Values at the decision points, or ``shift`` rows later: not a copy where they are
        consecutive rows.  Where no row is known yet they have no meaning.
        """
        kept = values.data
        if self.frame is None or not self.now.size:
            found: npt.NDArray[Any] = kept[np.maximum(self.now - values.base, 0) + shift]
            return found
        start = int(self.now[0]) - values.base + shift
        return kept[start : start + self.now.size]

    @property
    def first(self) -> I64:
        """Number of the first row of each decision's segment."""
        if not hasattr(self, "_first"):
            self._first: I64 = self.pick(self.timeline.first)
        return self._first

    def since(self, length: int) -> tuple[I64, Bool]:
        """The first row after t - length, and whether the window has elapsed.

        A window is warm when it begins at or after the first row of the segment; where it is
        not, the row is meaningless.
        """
        if length not in self.limits:
            limits = self.t - length
            counts = np.empty(limits.size, dtype=np.int64)
            ts = self.timeline.ts.data
            count_until(ts, limits, counts)
            counts += self.timeline.ts.base
            warm = counts > self.first
            if self.known is not None:
                warm &= self.known
            self.limits[length] = counts, warm
        return self.limits[length]

    def column(self, name: str) -> pl.Series:
        """A column of the rows, or a node's values, at the decision points."""
        found = self.cache.get(name)
        if found is None:
            found = self.make_node(name) if name.startswith(MARK) else self._raw(name)
            self.cache[name] = found
        return found

    def make_node(self, key: str) -> pl.Series:
        node = self.timeline.nodes[key]
        return self.timeline.states[node.state_key].read(node, self).alias(key)

    def _raw(self, name: str) -> pl.Series:
        if name == "t":
            return pl.Series("t", self.t)
        if name in self.timeline.scalars:
            # A whole column, never a literal: polars divides by a literal through its
            # reciprocal, which is not exact, and prices in ticks must be.
            value = pl.Series(name, [self.timeline.scalars[name]], dtype=pl.Int64)
            return value.new_from_index(0, self.t.size)
        if self.frame is not None:
            return self.frame[name]
        rows = self.now - self.timeline.frame_base
        taken = pl.Series("", rows) if self.known is None else masked(rows, self.known)
        return self.timeline.frame[name].gather(taken)

    def inputs(self, node: Node) -> list[pl.Series]:
        """Values of a node's inputs; what several nodes are fed with is evaluated once."""
        pairs = zip(node.input_keys, node.inputs, strict=True)
        missing = {key: expr for key, expr in pairs if key not in self.fed}
        if missing:
            self.fed.update(zip(missing, self.evaluate(list(missing.values())), strict=True))
        return [self.fed[key] for key in node.input_keys]

    def evaluate(self, exprs: Sequence[pl.Expr]) -> list[pl.Series]:
        """Values of expressions at the decision points."""
        names = dict.fromkeys(name for expr in exprs for name in expr.meta.root_names())
        names.setdefault("t")
        rows = self.t.size
        series = [self.column(name) for name in names]
        if rows == 1:
            # Of a single row polars makes a scalar, whose division is rounded otherwise.
            series = [one.gather([0, 0]) for one in series]
        frame = pl.DataFrame(series)
        # The times go along so that constants become columns, too.
        result = frame.select(*(expr.alias(f"{i}") for i, expr in enumerate(exprs)), pl.col("t"))
        return result.head(rows).get_columns()[:-1]


def masked(values: npt.NDArray[Any], keep: Bool) -> pl.Series:
    """A series of the values, null where ``keep`` is false."""
    if keep.all():
        return pl.Series("", values)
    kind = _ARROW.get(values.dtype.str)
    if kind is None:
        return pl.select(pl.when(pl.Series(keep)).then(pl.Series("", values))).to_series()
    # Straight from the two buffers: polars takes six times as long.
    bits = pa.py_buffer(np.packbits(keep, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pl.Series("", pa.Array.from_buffers(kind, values.size, [bits, data]))


def as_float(series: pl.Series, fill: float = 0.0) -> F64:
    """The values as Float64, nulls filled; may be changed."""
    return _filled(series.cast(pl.Float64), fill)


def present(series: pl.Series) -> Bool:
    """True where there is a value; may be changed."""
    if not series.null_count():
        return np.ones(series.len(), dtype=np.bool_)
    return series.is_not_null().to_numpy(writable=True)


def as_exact(series: pl.Series) -> npt.NDArray[Any]:
    """Integers (and truth) as Int64, others as Float64; nulls are 0; may be changed."""
    if series.dtype.is_float():
        return as_float(series)
    return _filled(series.cast(pl.Int64), 0)


def _filled(series: pl.Series, fill: float) -> npt.NDArray[Any]:
    if series.null_count():
        series = series.fill_null(fill)
    return series.to_numpy(writable=True)
