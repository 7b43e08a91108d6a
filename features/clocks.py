"""Clocks: where the decision points are.

``event``: at every row of the book.  ``touch``: at rows whose best price or size differs from the
row before.  ``grid:1s``: at the multiples of a step since the epoch, from a segment's first row
to its end; a grid point knows the events before it.  ``volume:1000``, ``trades:100``,
``dollar:5000000``: at the row that completes a bar of so many contracts, prints or units of money.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.errors import InputError, RequestError
from pipeline.units import PRICE_SCALE, parse_duration

if TYPE_CHECKING:
    from features.source import Context
    from features.timeline import Timeline, View

I64 = npt.NDArray[np.int64]

TOUCH_COLUMNS = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")


class Clock(Protocol):
    """Decision points as rows stream by: numbers of the last known rows, and times."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of events it reads."""

    def start(self, context: Context) -> None:
        """What is known of the instrument, before the first row.

        Raises
        ------
        InputError
            If that is not enough for the clock.
        """

    def advance(self, timeline: Timeline, new: View, ended: I64) -> tuple[I64, I64]:
        """Decisions that the new rows make possible.

        ``ended`` says, on rows that start a segment, when the segment before ended.
        """

    def finish(self, end: int) -> tuple[I64, I64]:
        """Decisions left when the last segment ends."""


_NOTHING: tuple[I64, I64] = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


class _Plain:
    """A clock that asks nothing of the instrument."""

    columns: tuple[str, ...] = ()

    def start(self, context: Context) -> None:
        """Nothing to know."""


class EventClock(_Plain):
    """Every row."""

    def advance(self, timeline: Timeline, new: View, ended: I64) -> tuple[I64, I64]:
        return new.now, new.t

    def finish(self, end: int) -> tuple[I64, I64]:
        return _NOTHING


class TouchClock(_Plain):
    """Rows at which a best price or its size changed; the first of a segment counts."""

    columns = TOUCH_COLUMNS

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


class GridClock(_Plain):
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


BAR_COLUMNS: Final = {"volume": "trade_sz", "trades": "trade_ct", "dollar": "trade_px_sz"}
"""What bars of each kind add up at every event."""


class BarClock:
    """The row that completes a bar: that lifts the segment's running sum over a multiple of size.

    Bars restart with every segment.  A print that completes several bars makes one decision;
    what it has left over counts for the next bar.
    """

    def __init__(self, kind: str, size: int) -> None:
        self.kind = kind
        self.size: float = size
        self.columns = (BAR_COLUMNS[kind],)
        self._sum = 0.0

    def start(self, context: Context) -> None:
        """Dollar bars: turn money into ticks times contracts."""
        if self.kind != "dollar":
            return
        if context.multiplier is None:
            raise InputError.at(
                f"{context.dataset} {context.symbol}",
                "no multiplier known, so the money of a dollar bar cannot be computed",
                todo=f'add to research.toml: [instruments."{context.symbol}"] multiplier = ...',
            )
        self.size = float(self.size * PRICE_SCALE / (context.tick * context.multiplier))

    def advance(self, timeline: Timeline, new: View, ended: I64) -> tuple[I64, I64]:
        added = new.column(self.columns[0]).cast(pl.Float64).fill_null(0.0).to_numpy()
        # Prices of spreads may be negative: their money counts all the same.  In whole 256ths (of a
        # tick, where prices are finer), sums are exact, so that chunks change nothing.
        added = np.rint(np.abs(added) * 256.0) / 256.0
        sums = np.cumsum(np.concatenate([[self._sum], added]))
        first = new.first == new.now
        # What the segment began with: the sum before its first row.
        origin = np.where(first, sums[:-1], 0.0)
        np.maximum.accumulate(origin, out=origin)
        before, after = sums[:-1] - origin, sums[1:] - origin
        keep = np.floor(after / self.size) > np.floor(before / self.size)
        self._sum = float(after[-1])
        return new.now[keep], new.t[keep]

    def finish(self, end: int) -> tuple[I64, I64]:
        return _NOTHING


EXAMPLES: Final = ("event", "touch", "grid:1s", "volume:1000", "trades:100", "dollar:5000000")
"""One clock of each kind."""

_MOST: Final = 10**15


def make_clock(name: str, where: str = "") -> Clock:
    """The clock of a name: ``event``, ``touch``, ``grid:STEP``, or bars such as ``volume:1000``.

    ``where`` says in messages which file and key the name comes from.

    Raises
    ------
    RequestError
        For anything else, a step that is no duration, or a bar size that is no whole number.
    """
    if name == "event":
        return EventClock()
    if name == "touch":
        return TouchClock()
    kind, _, step = name.partition(":")
    at = f"{where}: " if where else ""
    if kind in BAR_COLUMNS and step:
        size = int(step) if re.fullmatch("[0-9]{1,16}", step) else 0
        if not 0 < size <= _MOST:
            raise RequestError(f"{at}clock {name!r}: write a whole number from 1 on, as {kind}:100")
        return BarClock(kind, size)
    if kind != "grid" or not step:
        raise RequestError.unknown("clock", name, EXAMPLES, where=where)
    try:
        length = parse_duration(step)
    except ValueError as error:
        raise RequestError(f"{at}clock {name!r}: {error}") from None
    if length <= 0:
        raise RequestError(f"{at}clock {name!r}: the step must be longer than 0")
    return GridClock(length)
