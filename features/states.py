"""The running states behind the combinators of ``features.windows``.

Each is fed with its inputs at every row, in order, and read at views.  What is kept per row is
trimmed together with the timeline's rows; everything else is a value or two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.clocks import GridClock
from features.kernels import decayed_sum, fill_forward
from features.nodes import WARM_HALF_LIVES, Node
from features.states_bars import (
    Bars,
    Extreme,
    Latest,
    PackedExtreme,
    Recursive,
    SessionExtreme,
)
from features.states_delayed import Delayed
from features.states_fitted import FittedState
from features.states_forward import Future
from features.states_levels import KeyedChange, LevelMedian
from features.states_moments import Deviations, Moments
from features.states_normal import DecayedMoments, Rank
from features.states_peer import Peer
from features.states_samples import Sampled
from features.states_volume import VolumeBuckets, VolumeProfile
from features.timeline import (
    F64,
    I64,
    Bool,
    Rows,
    Series1,
    State,
    Timeline,
    View,
    as_exact,
    as_float,
    masked,
    present,
)


def _known(view: View) -> Bool:
    return np.ones(view.t.size, dtype=np.bool_) if view.known is None else view.known


def _is_first(view: View) -> Bool:
    """True on rows that start a segment; the view must be one of new rows."""
    first: Bool = view.first == view.now
    return first


class Prefix(State):
    """Sums from the session's start: a window is the difference of two."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.sums = Series1(np.int64)
        """Sum of the rows before each kept row, and one more: before the next row."""

    def push(self, view: View, drop: int) -> None:
        values = as_exact(view.inputs(self.node)[0])
        if not self.sums.data.size:
            self.sums = Series1(values.dtype)
            self.sums.data = np.zeros(1, dtype=values.dtype)
        carried = np.concatenate([self.sums.data[-1:], values])
        self.sums.extend(drop, np.cumsum(carried)[1:])

    def read(self, node: Node, view: View) -> pl.Series:
        upto = view.pick(self.sums, 1)
        if node.method == "total":
            return masked(upto, _known(view))
        start, warm = view.since(node.args[0])
        return masked(upto - self.sums.at(start), warm)


class Decay(State):
    """Exponentially decayed sums; between rows they go on decaying."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.half_life = int(node.settings[0])
        self.sums = Series1(np.float64)
        self.carry: F64 = np.zeros(1)
        self.last_ts = 0

    def push(self, view: View, drop: int) -> None:
        values = as_float(view.inputs(self.node)[0])
        out = np.empty(values.size)
        ts = np.concatenate([[self.last_ts], view.t]).astype(np.int64)
        decayed_sum(values, ts, _is_first(view), float(self.half_life), self.carry, out)
        self.last_ts = int(ts[-1])
        self.sums.extend(drop, out)

    def read(self, node: Node, view: View) -> pl.Series:
        timeline = self.timeline
        value = view.pick(self.sums)
        elapsed = view.t - view.pick(timeline.ts)
        if elapsed.any():
            value = value * np.exp2(-elapsed / float(self.half_life))
        began = view.pick(timeline.began)
        warm = view.t - began >= WARM_HALF_LIVES * self.half_life
        return masked(value, warm & _known(view))


class Value(State):
    """The last value that was not null, per segment."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.values = Series1(np.int64)
        self.valid = Series1(np.bool_)
        self.carry: npt.NDArray[Any] = np.zeros(1, dtype=np.int64)
        self.known: Bool = np.zeros(1, dtype=np.bool_)
        self.dtype: pl.DataType | None = None

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)[0]
        values = as_exact(series)
        if self.dtype is None:
            self.dtype = series.dtype
            self.carry = np.zeros(1, dtype=values.dtype)
            self.values = Series1(values.dtype)
        out = np.empty_like(values)
        valid = np.empty(values.size, dtype=np.bool_)
        here = present(series)
        fill_forward(values, here, _is_first(view), self.carry, self.known, out, valid)
        self.values.extend(drop, out)
        self.valid.extend(drop, valid)

    def read(self, node: Node, view: View) -> pl.Series:
        if node.method == "at":
            values, valid, keep = view.pick(self.values), view.pick(self.valid), _known(view)
        else:
            if node.method == "ago":
                start, keep = view.since(node.args[0])
                rows = start - 1
            else:
                keep = view.now > view.first
                rows = view.now - 1
            values, valid = self.values.at(rows), self.valid.at(rows)
        found = masked(values, keep & valid)
        return found.cast(pl.Boolean) if self.dtype == pl.Boolean else found


class Counted(State):
    """Values and sums by number: the rows at which the input is not null, packed."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        same = [n for n in timeline.nodes.values() if n.state_key == node.state_key]
        self.keep = 1 + max(n.args[0] for n in same)
        self.values = Series1(np.int64)
        self.sums = Series1(np.int64)
        """Sum of the values before each packed one, and one more."""
        self.packed = 0
        """Number of the first packed value kept."""
        self.count = Series1(np.int64)
        """Values up to each row, from the session's start."""
        self.inside = Series1(np.int64)
        """Values up to each row, from its segment's start."""
        self.total = 0
        self.before_segment = 0

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)[0]
        here = present(series)
        values = as_exact(series)[here]
        if not self.sums.data.size:
            self.values, self.sums = Series1(values.dtype), Series1(values.dtype)
            self.sums.data = np.zeros(1, dtype=values.dtype)
        count = self.total + np.cumsum(here, dtype=np.int64)
        first = _is_first(view)
        origin = np.where(first, count - here, 0)
        origin[0] = max(int(origin[0]), self.before_segment)
        np.maximum.accumulate(origin, out=origin)
        packed_drop = max(0, self.values.data.size - self.keep)
        carried = np.concatenate([self.sums.data[-1:], values])
        self.values.extend(packed_drop, values)
        self.sums.extend(packed_drop, np.cumsum(carried)[1:])
        self.packed += packed_drop
        self.count.extend(drop, count)
        self.inside.extend(drop, count - origin)
        self.total = int(count[-1])
        self.before_segment = int(origin[-1])

    def read(self, node: Node, view: View) -> pl.Series:
        n = node.args[0]
        count = view.pick(self.count) - self.packed
        inside = view.pick(self.inside)
        if node.method == "sum":
            keep = _known(view) & (inside >= n)
            upto = self.sums.data[np.where(keep, count, 0)]
            return masked(upto - self.sums.data[np.where(keep, count - n, 0)], keep)
        keep = _known(view) & (inside > n)
        if not keep.any():
            return masked(np.zeros(keep.size, dtype=self.values.data.dtype), keep)
        return masked(self.values.data[np.where(keep, count - 1 - n, 0)], keep)


class Opening(State):
    """The session's first value that is not null."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.row = -1
        self.value: Any = 0.0
        self.dtype: Any = None

    def push(self, view: View, drop: int) -> None:
        if self.row >= 0:
            return
        series = view.inputs(self.node)[0]
        self.dtype = series.dtype
        where = np.flatnonzero(present(series))
        if where.size:
            self.row = int(view.now[where[0]])
            self.value = series[int(where[0])]

    def read(self, node: Node, view: View) -> pl.Series:
        keep = view.now >= self.row if self.row >= 0 else np.zeros(view.t.size, dtype=np.bool_)
        value = self.value if self.row >= 0 else None
        constant = pl.Series("", [value], dtype=self.dtype).new_from_index(0, view.t.size)
        if keep.all():
            return constant
        return pl.select(pl.when(pl.Series(keep)).then(constant)).to_series()


class Held(State):
    """Integrals over time of a value that stands until the next row, and of it being defined."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.area = Series1(np.float64)
        self.defined = Series1(np.int64)
        self.value = Series1(np.float64)
        self.valid = Series1(np.int64)
        self.last: tuple[float, int, int, float, int] = (0.0, 0, 0, 0.0, 0)

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)[0]
        values = as_float(series)
        valid = present(series).astype(np.int64)
        value0, valid0, ts0, area0, defined0 = self.last
        stood = np.diff(view.t, prepend=ts0)
        stood[_is_first(view)] = 0
        stood *= np.concatenate([[valid0], valid[:-1]])
        before = np.concatenate([[value0], values[:-1]])
        area = np.cumsum(np.concatenate([[area0], before * stood]))[1:]
        defined = defined0 + np.cumsum(stood)
        self.area.extend(drop, area)
        self.defined.extend(drop, defined)
        self.value.extend(drop, values)
        self.valid.extend(drop, valid)
        self.last = (
            float(values[-1]),
            int(valid[-1]),
            int(view.t[-1]),
            float(area[-1]),
            int(defined[-1]),
        )

    def _until(self, rows: I64, t: I64) -> tuple[F64, I64]:
        stood: I64 = (t - self.timeline.ts.at(rows)) * self.valid.at(rows)
        area: F64 = self.area.at(rows) + self.value.at(rows) * stood
        return area, self.defined.at(rows) + stood

    def read(self, node: Node, view: View) -> pl.Series:
        length = node.args[0]
        start, warm = view.since(length)
        area, defined = self._until(view.now, view.t)
        area0, defined0 = self._until(
            start - 1, np.maximum(view.t - length, self.timeline.ts.data[0])
        )
        time = np.where(warm, defined - defined0, 0)
        keep = time > 0
        return masked((area - area0) / np.where(keep, time, 1), keep)


class Grid(Sampled):
    """Samples on a fixed grid, as a timeline of their own."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        step, *self.names = node.settings
        self.clock = GridClock(int(step))
        same = [n for n in timeline.nodes.values() if n.state_key == node.state_key]
        inner = [n.inner for n in same if n.inner is not None]
        self.samples = Timeline(inner, timeline.scalars, fits=timeline.fits)
        self.row_segments = Series1(np.int64)

    def push(self, view: View, drop: int) -> None:
        ended = view.column("ended").to_numpy()
        now, t = self.clock.advance(self.timeline, view, ended)
        self._sample(now, t)

    def finish(self, end: int) -> None:
        """The timeline's last segment ends at ``end``: sample what is left of it."""
        self._sample(*self.clock.finish(end))

    def _sample(self, now: I64, t: I64) -> None:
        if not now.size:
            return
        at = View(self.timeline, now, t)
        found = zip(at.inputs(self.node), self.names, strict=True)
        segment = at.pick(self.timeline.segment)
        first = np.diff(segment, prepend=-1) != 0
        if self.samples.rows:
            first[0] = segment[0] != self.samples.segment.data[-1]
        values = [value.alias(str(name)) for value, name in found]
        frame = pl.DataFrame([*values, pl.Series("first", first), pl.Series("ts", t)])
        self.samples.push(Rows(t, segment, frame))


class Shared(State):
    """An expression that several others read.  Of one row, so nothing is kept."""

    def push(self, view: View, drop: int) -> None:
        return

    def read(self, node: Node, view: View) -> pl.Series:
        return view.inputs(node)[0]


STATES: dict[str, type[State]] = {
    "prefix": Prefix,
    "rows": Counted,
    "decay": Decay,
    "value": Value,
    "opening": Opening,
    "held": Held,
    "grid": Grid,
    "future": Future,
    "shared": Shared,
    "moments": Moments,
    "deviations": Deviations,
    "decayed_moments": DecayedMoments,
    "rank": Rank,
    "keyed_change": KeyedChange,
    "level_median": LevelMedian,
    "fitted": FittedState,
    "peer": Peer,
    "bars": Bars,
    "extreme": Extreme,
    "packed_extreme": PackedExtreme,
    "session_extreme": SessionExtreme,
    "recursive": Recursive,
    "latest": Latest,
    "delayed": Delayed,
    "volume_buckets": VolumeBuckets,
    "volume_profile": VolumeProfile,
}
