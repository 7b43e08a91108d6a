"""Clocks: where the decision points are.

``event``: at every row of the book.  ``touch``: at rows whose best price or size differs from the
row before.  ``grid:1s``: at the multiples of a step since the epoch, from a segment's first row
to its end; a grid point knows the events before it.  Other clocks (volume, trade and dollar
bars) are further selections of rows: a class with ``advance`` and ``finish``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.errors import RequestError
from pipeline.units import parse_duration

if TYPE_CHECKING:
    from features.timeline import Timeline, View

I64 = npt.NDArray[np.int64]

TOUCH_COLUMNS = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")


class Clock(Protocol):
    """Decision points as rows stream by: numbers of the last known rows, and times."""

    def advance(self, timeline: Timeline, new: View, ended: I64) -> tuple[I64, I64]:
        """Decisions that the new rows make possible.

        ``ended`` says, on rows that start a segment, when the segment before ended.
        """

    def finish(self, end: int) -> tuple[I64, I64]:
        """Decisions left when the last segment ends."""


_NOTHING: tuple[I64, I64] = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


class EventClock:
    """Every row."""

    def advance(self, timeline: Timeline, new: View, ended: I64) -> tuple[I64, I64]:
        return new.now, new.t

    def finish(self, end: int) -> tuple[I64, I64]:
        return _NOTHING


class TouchClock:
    """Rows at which a best price or its size changed; the first of a segment counts."""

    def __init__(self) -> None:
        self._last: pl.DataFrame | None = None

    def advance(self, timeline: Timeline, new: View, ended: I64) -> tuple[I64, I64]:
        frame = pl.DataFrame([new.column(name) for name in TOUCH_COLUMNS])
        joined = frame if self._last is None else pl.concat([self._last, frame])
        self._last = frame.tail(1)
        changed = pl.any_horizontal(
            pl.col(name).ne_missing(pl.col(name).shift(1)) for name in TOUCH_COLUMNS
        )
        moved = joined.select(changed).to_series().tail(frame.height).to_numpy()
        keep = moved | (new.first == new.now)
        return new.now[keep], new.t[keep]

    def finish(self, end: int) -> tuple[I64, I64]:
        return _NOTHING


class GridClock:
    """Multiples of ``step`` ns; each knows the events before it."""

    def __init__(self, step: int) -> None:
        self.step = step
        self._row = -1
        self._ts = 0

    def advance(self, timeline: Timeline, new: View, ended: I64) -> tuple[I64, I64]:
        first = new.first == new.now
        until = np.where(first, ended, new.t)
        rows = np.concatenate([[self._row], new.now[:-1]]).astype(np.int64)
        ts = np.concatenate([[self._ts], new.t[:-1]]).astype(np.int64)
        if self._row < 0:
            rows, ts, until = rows[1:], ts[1:], until[1:]
        self._row, self._ts = int(new.now[-1]), int(new.t[-1])
        return self._between(rows, ts, until)

    def finish(self, end: int) -> tuple[I64, I64]:
        if self._row < 0:
            return _NOTHING
        row, ts = np.array([self._row]), np.array([self._ts])
        self._row = -1
        return self._between(row, ts, np.array([end]))

    def _between(self, rows: I64, ts: I64, until: I64) -> tuple[I64, I64]:
        """Grid points in (ts, until], each with the row they know last."""
        counts = np.maximum(until // self.step - ts // self.step, 0)
        now = np.repeat(rows, counts)
        offsets = np.arange(now.size) - np.repeat(np.cumsum(counts) - counts, counts)
        t = (np.repeat(ts // self.step, counts) + 1 + offsets) * self.step
        return now, t


def make_clock(name: str, where: str = "") -> Clock:
    """The clock of a name: ``event``, ``touch`` or ``grid:STEP``.

    ``where`` says in messages which file and key the name comes from.

    Raises
    ------
    RequestError
        For anything else, or a step that is no duration.
    """
    if name == "event":
        return EventClock()
    if name == "touch":
        return TouchClock()
    kind, _, step = name.partition(":")
    at = f"{where}: " if where else ""
    if kind != "grid" or not step:
        known = ["event", "touch", "grid:100ms", "grid:1s"]
        raise RequestError.unknown("clock", name, known, where=where)
    try:
        length = parse_duration(step)
    except ValueError as error:
        raise RequestError(f"{at}clock {name!r}: {error}") from None
    if length <= 0:
        raise RequestError(f"{at}clock {name!r}: the step must be longer than 0")
    return GridClock(length)
