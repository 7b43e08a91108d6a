"""The driver of `queue`: records of one day and symbol in, a row for every row of `book` out.

Splitting records by book, cutting events and numbering them is the book engine's; so is
starting from a carried state.  Where rows are due the rows of `book` say, which come along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import tables
from pipeline.book import queue_tape as qt
from pipeline.book import tape
from pipeline.book.arrow import Batch
from pipeline.book.columns import Chunk, column_of
from pipeline.book.emit import LARGEST
from pipeline.book.engine import BookEngine, BookOptions, OneBook
from pipeline.book.layout import I64, grow, new_book
from pipeline.book.queue_kernel import adopt, observe
from pipeline.book.state import BookState, resume
from pipeline.book.tape import NO_TIME, NULL, Records, no_records
from pipeline.errors import InputError

_ROWS: Final = 1024
"""Rows written before they are turned into columns: they stay in the cache."""

DueRows = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""``event`` and ``ts_recv`` of consecutive rows of `book`."""


class _Queues:
    """The facts of one book."""

    def __init__(self, one: OneBook, tick: int, midnight: int) -> None:
        self.facts = qt.new_facts(one.book, tick, midnight)
        for mine, carried in (
            (qt.CLOCK, tape.CLOCK),
            (qt.TS_EVENT, tape.TS_EVENT),
            (qt.ACTION, tape.ACTION),
        ):
            self.facts.cursor[mine] = one.run.cursor[carried]
        self._out = np.empty((_ROWS, qt.ALL), np.int64)

    def observe(
        self, one: OneBook, records: Records, numbers: I64, due: I64
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Apply whole events; yields the columns of the rows that were due, in order."""
        done = 0
        while True:
            done = int(observe(one.book, self.facts, records, numbers, due, self._out, done))
            reason = self.facts.cursor[qt.REASON]
            if reason == qt.MUST_GROW:
                one.book = grow(one.book)
                self.facts = qt.grown(self.facts, one.book)
                continue
            yield self._columns()
            if reason == qt.DONE:
                self.facts.cursor[qt.AT_EVENT] = 0
                return

    def _columns(self) -> npt.NDArray[np.int64]:
        """int64[columns, rows]: what the kernel wrote, turned."""
        n = int(self.facts.cursor[qt.ROWS])
        self.facts.cursor[qt.ROWS] = 0
        return np.ascontiguousarray(self._out[:n].T)


class QueueEngine(BookEngine):
    """Rows of `queue` of one day and symbol.

    Parameters
    ----------
    date
        UTC date as YYYYMMDD.
    day_start
        Its midnight, ns since the epoch.
    rule
        Bits of the venue's priority rule.
    tick
        Price step in 1e-9; 0 where it is not known.
    rows
        ``event`` and ``ts_recv`` of the day's rows of `book`, in order, in pieces.
    state
        The previous day's closing state, where the day starts from one.
    """

    def __init__(
        self,
        date: int,
        day_start: int,
        rule: int,
        *,
        tick: int,
        rows: Iterable[DueRows],
        state: BookState | None = None,
    ) -> None:
        super().__init__(date, BookOptions(depth=1, materialise="none"), rule)
        self._day_start = day_start
        self._tick = tick
        self._rows = iter(rows)
        self._event: I64 = np.empty(0, np.int64)
        self._ts: I64 = np.empty(0, np.int64)
        self._queues: dict[tuple[int, int], _Queues] = {}
        self._found: list[npt.NDArray[np.int64]] = []
        if state is not None:
            resume(self, state)
            for one in self.books.values():
                adopt(one.book, self._of(one).facts)

    def queue(self, chunk: Chunk) -> Iterator[pa.Table]:
        """Take records in; yields the rows that fell due with them.

        Raises
        ------
        InputError
            If rows of `book` are none of these records' event ends.
        """
        for _ in self.feed(chunk):
            columns = np.concatenate(self._found, axis=1)
            if len(self._found) > 1 and len(self.books) > 1:
                columns = np.take(columns, np.argsort(columns[0], kind="stable"), axis=1)
            self._found = []
            over = int(np.searchsorted(self._event, self.base + self.events, side="right"))
            if over != columns.shape[1]:
                raise InputError(_MISFIT)
            self._event, self._ts = self._event[over:], self._ts[over:]
            yield _table(columns)

    def finish_rows(self) -> None:
        """The day is over: no row of `book` may be left.

        Raises
        ------
        InputError
            If one is.
        """
        if self._event.size or any(event.size for event, _ in self._rows):
            raise InputError(_MISFIT)

    def _of(self, one: OneBook) -> _Queues:
        key = (one.publisher, one.instrument)
        if key not in self._queues:
            self._queues[key] = _Queues(one, self._tick, self._day_start)
        return self._queues[key]

    def _run(
        self,
        one: OneBook,
        records: Records,
        ends: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
    ) -> Batch:
        due = self._due(numbers)
        self._found += self._of(one).observe(one, records, numbers, due)
        return _NOTHING

    def _due(self, numbers: I64) -> I64:
        """Times of the rows that are due at these event ends, NO_TIME at the others."""
        last = int(numbers[-1])
        while not self._event.size or self._event[-1] < last:
            more = next(self._rows, None)
            if more is None:
                break
            self._event = np.concatenate([self._event, more[0]])
            self._ts = np.concatenate([self._ts, more[1]])
        due = np.full(len(numbers), NO_TIME, np.int64)
        if self._event.size:
            at = np.minimum(np.searchsorted(self._event, numbers), self._event.size - 1)
            fits = self._event[at] == numbers
            due[fits] = self._ts[at[fits]]
        return due


_MISFIT: Final = "rows of `book` that do not belong to these records; run `mbo book --force`"

_NOTHING: Final = Batch(*(pa.table({"event": pa.array([], pa.int64())}) for _ in range(3)))


def _table(columns: npt.NDArray[np.int64]) -> pa.Table:
    arrays = []
    for column, values in zip(tables.QUEUE.columns, columns, strict=True):
        if column.type.bit_width == 64:
            arrays.append(column_of(values, column.type))
        else:
            missing = values == NULL
            mask = missing if missing.any() else None
            narrow = np.minimum(values, LARGEST).astype(np.uint32)
            arrays.append(pa.array(narrow, column.type, mask=mask))
    return pa.Table.from_arrays(arrays, schema=tables.QUEUE.schema())


def warm_kernels() -> None:
    """Compile everything the stage calls, on a book with nothing in it."""
    one = OneBook(0, 0, new_book(), BookOptions(depth=1, materialise="none").new_run())
    queues, none = _Queues(one, 0, 0), np.empty(0, np.int64)
    adopt(one.book, queues.facts)
    list(queues.observe(one, no_records(), none, none))
