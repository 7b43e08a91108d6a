"""The running states behind ``features.bars``: extremes, bars, recursive averages, last volume."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.clocks import GridClock
from features.kernels_bars import bars, recursive_mean, sliding_extreme
from features.nodes import Node
from features.states_samples import Sampled
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
    first: Bool = view.first == view.now
    return first


def _extremes(values: F64, valid: Bool, start: I64, stop: I64, sign: int) -> tuple[F64, Bool]:
    """Extremes of ``values[start:stop]`` and whether there are any; both ends ascend."""
    out, known = np.zeros(start.size), np.zeros(start.size, dtype=np.bool_)
    if start.size:
        waiting = np.empty(max(int(stop[-1] - start[0]), 1), dtype=np.int64)
        sliding_extreme(values, valid, start, stop, sign, waiting, out, known)
    return out, known


class Extreme(State):
    """Values of the kept rows, whose extremes over windows of time are found when read."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.values = Series1(np.float64)
        self.valid = Series1(np.bool_)

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)[0]
        self.values.extend(drop, as_float(series))
        self.valid.extend(drop, present(series))

    def read(self, node: Node, view: View) -> pl.Series:
        length, sign = node.args
        start, warm = view.since(length)
        # Where the window is not warm its start means nothing; keep it ascending.
        base = self.values.base
        start, stop = np.maximum(start - base, 0), np.maximum(view.now - base, 0) + 1
        out, known = _extremes(self.values.data, self.valid.data, start, stop, sign)
        return masked(out, known & warm)


class PackedExtreme(State):
    """Extremes over the last n rows at which the input is not null."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        same = [n for n in timeline.nodes.values() if n.state_key == node.state_key]
        self.keep = max(n.args[0] for n in same)
        self.values = Series1(np.float64)
        self.packed = 0
        """Number of the first packed value kept."""
        self.count = Series1(np.int64)
        """Values up to each row, from the session's start."""
        self.origin = Series1(np.int64)
        """Values before its segment's first row."""
        self.total = 0

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)[0]
        here = present(series)
        oldest = int(self.count.data[drop]) if self.count.data.size > drop else self.total
        old = max(0, oldest - self.keep - self.packed)
        self.values.extend(old, as_float(series)[here])
        self.packed += old
        count = self.total + np.cumsum(here, dtype=np.int64)
        origin = np.where(_is_first(view), count - here, 0)
        if self.origin.data.size:
            origin[0] = max(int(origin[0]), int(self.origin.data[-1]))
        np.maximum.accumulate(origin, out=origin)
        self.count.extend(drop, count)
        self.origin.extend(drop, origin)
        self.total = int(count[-1])

    def read(self, node: Node, view: View) -> pl.Series:
        n, sign = node.args
        count, origin = view.pick(self.count), view.pick(self.origin)
        keep = _known(view) & (count - origin >= n)
        stop = count - self.packed
        start = np.maximum(stop - n, 0)
        every = np.ones(self.values.data.size, dtype=np.bool_)
        out, known = _extremes(self.values.data, every, start, stop, sign)
        return masked(out, keep & known)


class SessionExtreme(State):
    """The session's largest or smallest value so far."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.sign = int(node.settings[0])
        self.values = Series1(np.float64)
        self.carry = -np.inf

    def push(self, view: View, drop: int) -> None:
        values = self.sign * as_float(view.inputs(self.node)[0], -self.sign * np.inf)
        so_far = np.maximum.accumulate(np.concatenate([[self.carry], values]))
        self.carry = float(so_far[-1])
        self.values.extend(drop, so_far[1:])

    def read(self, node: Node, view: View) -> pl.Series:
        values = view.pick(self.values)
        keep = np.isfinite(values) & _known(view)
        return masked(self.sign * np.where(keep, values, 0.0), keep)


class Recursive(State):
    """A recursive average, row by row; it stands until the next."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        self.top, self.bottom, self.seed, self.warm = (int(part) for part in node.settings)
        self.values = Series1(np.float64)
        self.valid = Series1(np.bool_)
        self.carry = np.zeros(2)

    def push(self, view: View, drop: int) -> None:
        series = view.inputs(self.node)[0]
        out, known = np.empty(len(series)), np.empty(len(series), dtype=np.bool_)
        weight = self.top / self.bottom
        recursive_mean(
            as_float(series),
            present(series),
            _is_first(view),
            weight,
            self.seed,
            self.warm,
            self.carry,
            out,
            known,
        )
        self.values.extend(drop, out)
        self.valid.extend(drop, known)

    def read(self, node: Node, view: View) -> pl.Series:
        keep = view.pick(self.valid) & _known(view)
        return masked(view.pick(self.values), keep)


class Latest(State):
    """Sums over the fewest latest events of the segment whose amounts reach a size."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        same = [n for n in timeline.nodes.values() if n.state_key == node.state_key]
        self.largest = max(n.args[0] for n in same)
        self.sums = Series1(np.float64)
        """Of the input, before each packed event (one with an amount), and one more."""
        self.sums.data = np.zeros(1)
        self.amounts = Series1(np.int64)
        self.amounts.data = np.zeros(1, dtype=np.int64)
        self.packed = 0
        self.count = Series1(np.int64)
        """Packed events up to each row."""
        self.origin = Series1(np.int64)
        """Amount before the row's segment."""
        self.total = 0

    def push(self, view: View, drop: int) -> None:
        x, amount = view.inputs(self.node)
        added = as_exact(amount)
        here = added > 0
        # No later decision looks further back than the oldest kept row does now.
        oldest = int(self.count.data[drop]) if self.count.data.size > drop else self.total
        reached = self.amounts.data[oldest - self.packed] - self.largest
        old = int(np.searchsorted(self.amounts.data, reached, side="right")) - 1
        old = max(0, min(old, oldest - self.packed))
        before = int(self.amounts.data[-1])
        upto = before + np.cumsum(added)
        origin = np.where(_is_first(view), upto - added, 0)
        if self.origin.data.size:
            origin[0] = max(int(origin[0]), int(self.origin.data[-1]))
        np.maximum.accumulate(origin, out=origin)
        carried = np.concatenate([self.sums.data[-1:], as_float(x)[here]])
        self.sums.extend(old, np.cumsum(carried)[1:])
        self.amounts.extend(old, upto[here])
        self.packed += old
        count = self.total + np.cumsum(here, dtype=np.int64)
        self.count.extend(drop, count)
        self.origin.extend(drop, origin)
        self.total = int(count[-1])

    def read(self, node: Node, view: View) -> pl.Series:
        size = node.args[0]
        stop = view.pick(self.count) - self.packed
        upto = self.amounts.data[stop]
        keep = _known(view) & (upto - view.pick(self.origin) >= size)
        start = np.searchsorted(self.amounts.data, upto - size, side="right") - 1
        start = np.where(keep, start, stop)
        return masked(self.sums.data[stop] - self.sums.data[start], keep)


class Bars(Sampled):
    """Open, high, low and close by bar, as a timeline of their own."""

    def __init__(self, node: Node, timeline: Timeline) -> None:
        super().__init__(node, timeline)
        kind, size, name = node.settings
        self.names = [f"{name}{part}" for part in ("open", "high", "low", "close")]
        self.size = int(size)
        self.clock = GridClock(self.size) if kind == "time" else None
        same = [n for n in timeline.nodes.values() if n.state_key == node.state_key]
        inner = [n.inner for n in same if n.inner is not None]
        self.samples = Timeline(inner, timeline.scalars)
        self.rows = Series1(np.int64)
        """The row after which each kept bar closed."""
        self.carry = np.zeros(6)
        self.done = 0
        """What the open segment has added up so far: events, contracts or prints."""

    def push(self, view: View, drop: int) -> None:
        x, amount = view.inputs(self.node)
        if self.clock is None:
            now, t = self._completed(view, as_exact(amount))
        else:
            now, t = self.clock.advance(self.timeline, view, view.column("ended").to_numpy())
        self._close(as_float(x), present(x), _is_first(view), int(view.now[0]), now, t)

    def finish(self, end: int) -> None:
        """The timeline's last segment ends at ``end``."""
        if self.clock is not None:
            now, t = self.clock.finish(end)
            none = np.empty(0)
            no = none.astype(np.bool_)
            self._close(none, no, no, self.timeline.rows, now, t)

    def _completed(self, view: View, added: I64) -> tuple[I64, I64]:
        """Rows that lift the segment's sum over a multiple of the bar's size."""
        sums = np.cumsum(np.concatenate([[self.done], added]))
        first = _is_first(view)
        origin = np.where(first, sums[:-1], 0)
        np.maximum.accumulate(origin, out=origin)
        after = sums[1:] - origin
        keep = after // self.size > (after - added) // self.size
        self.done = int(after[-1])
        return view.now[keep], view.t[keep]

    def _close(self, x: F64, valid: Bool, first: Bool, row0: int, now: I64, t: I64) -> None:
        out, whole = np.empty((now.size, 4)), np.empty(now.size, dtype=np.bool_)
        bars(x, valid, first, row0, now, self.carry, out, whole)
        if not now.size:
            return
        if self.clock is None:
            whole[:] = True  # these begin with the segment itself
        columns = [
            masked(out[:, k], whole if k < 3 else np.ones_like(whole)).alias(name)
            for k, name in enumerate(self.names)
        ]
        segment = self.timeline.segment.at(now)
        start = np.diff(segment, prepend=-1) != 0
        if self.samples.rows:
            start[0] = segment[0] != self.samples.segment.data[-1]
        frame = pl.DataFrame([*columns, pl.Series("first", start), pl.Series("ts", t)])
        base = self.samples.ts.base
        self.samples.push(Rows(t, segment, frame.fill_nan(None)))
        self.rows.extend(self.samples.ts.base - base, now)

    def last_known(self, view: View) -> I64:
        """By time, or by position: at a tie, a bar that a later row completed is not known yet."""
        if self.clock is None:
            return np.searchsorted(self.rows.data, view.now, side="right") - 1
        return super().last_known(view)
