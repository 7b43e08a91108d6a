"""Thinning of curves to what a screen can show, and the axis of trading time they lie on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.book.layout import I64
from pipeline.units import NS_PER_MS

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """Sessions one after another, without the time between them; ns."""

    sessions: tuple[date, ...]
    starts: I64
    ends: I64

    @classmethod
    def of(cls, spans: Mapping[date, tuple[int, int]]) -> Axis:
        """From the first and last instant of each session; overlaps go to the earlier one."""
        sessions = sorted(spans)
        starts = np.array([spans[day][0] for day in sessions], np.int64)
        ends = np.maximum.accumulate(np.array([spans[day][1] for day in sessions], np.int64))
        starts[1:] = np.maximum(starts[1:], ends[:-1])
        return cls(tuple(sessions), starts, np.maximum(ends, starts))

    def place(self, ts: I64) -> I64:
        """Trading time before each instant; between sessions the end of the earlier one."""
        if not len(self.starts):
            return np.zeros(len(ts), np.int64)
        before = np.concatenate([[0], np.cumsum(self.ends - self.starts)])
        i = np.maximum(np.searchsorted(self.starts, ts, side="right") - 1, 0)
        within = np.clip(ts - self.starts[i], 0, self.ends[i] - self.starts[i])
        placed: I64 = before[i] + within
        return placed

    @property
    def length(self) -> int:
        return int((self.ends - self.starts).sum())

    def as_json(self) -> list[list[Any]]:
        """Label, start and end in ms of each session."""
        bounds = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return [
            [str(day), start // NS_PER_MS, end // NS_PER_MS]
            for day, (start, end) in zip(self.sessions, bounds, strict=True)
        ]


def extremes(place: I64, values: F64, length: int, buckets: int) -> I64:
    """Indices that keep a curve's shape: first, lowest, highest and last of every bucket.

    A curve drawn from these, no wider than ``buckets`` pixels, is the curve drawn from all
    (Jugel et al., M4: A Visualization-Oriented Time Series Data Aggregation, VLDB 2014).

    Parameters
    ----------
    place, values
        Ascending places from 0 to ``length``, and the curve there.
    """
    n = len(place)
    if n <= 4 * buckets:
        return np.arange(n)
    # Not place * buckets: nanoseconds of a year times pixels would be near the end of int64.
    bucket = np.minimum(place // max(1, -(-length // buckets)), buckets - 1)
    firsts = np.flatnonzero(np.diff(bucket, prepend=-1))
    lasts = np.append(firsts[1:], n) - 1
    by_value = np.lexsort((values, bucket))  # buckets keep their ranges of indices
    return np.unique(np.concatenate([firsts, lasts, by_value[firsts], by_value[lasts]]))


def spread(n: int, most: int) -> I64:
    """At most so many of n indices, evenly spread, both ends among them."""
    if n <= most:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.int64))


def curve_json(ts: I64, values: F64, axis: Axis, buckets: int) -> dict[str, Any]:
    """A thinned curve: ``t`` in ms, each minus the one before, and ``v``."""
    kept = extremes(axis.place(ts), values, axis.length, buckets)
    times = ts[kept] // NS_PER_MS
    return {"t": np.diff(times, prepend=0).tolist(), "v": rounded(values[kept]), "of": len(ts)}


def rounded(values: F64 | Sequence[float]) -> list[float | int]:
    """Nine significant digits, whole numbers without a point: what is drawn needs no more."""
    short = [float(f"{value:.9g}") for value in np.asarray(values).tolist()]
    return [int(value) if value.is_integer() else value for value in short]
