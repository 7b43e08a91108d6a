"""The driver: records of one day and symbol in, tables of `book`, `flow` and `trades` out.

Records come in file order, in chunks of any size: the rows do not depend on where the chunks
were cut.  Each publisher and instrument has a book of its own; their events are numbered
together, in the order in which they end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline import tables
from pipeline.book import tape
from pipeline.book.arrow import Batch, book_rows, flow_rows, merge, trade_rows
from pipeline.book.columns import Chunk, check_types, cut, event_ends, join, take
from pipeline.book.emit import flush_grid
from pipeline.book.kernel import process, process_touch
from pipeline.book.layout import N_ORDERS, Book, grow, new_book
from pipeline.book.tape import Prints, Records, Rows, Run
from pipeline.errors import RequestError
from pipeline.jit import entry_point
from pipeline.units import F_LAST, F_SNAPSHOT, event_base, parse_duration

MODES: Final = ("full", "touch", "grid", "none")
_ROW_BYTES: Final = 64 << 20
"""Rows in the making take about so much memory."""


@dataclass(frozen=True)
class BookOptions:
    """How books are materialised; the values of ``[book]`` in the settings."""

    depth: int = tables.DEFAULT_DEPTH
    materialise: str = "full"
    grid: str = "1s"
    assume_valid_after: str = ""
    flow: bool = True

    def __post_init__(self) -> None:
        if self.materialise not in MODES:
            raise RequestError.unknown("book.materialise", self.materialise, MODES)
        tables.book_table(self.depth)
        if self.materialise == "grid" and not _duration("book.grid", self.grid):
            raise RequestError("book.grid is 0; write a step such as 1s or 100ms")
        if self.assume_valid_after:
            _duration("book.assume_valid_after", self.assume_valid_after)

    @property
    def levels(self) -> int:
        """Depth of the rows: 1 for ``touch``."""
        return 1 if self.materialise == "touch" else self.depth

    @property
    def table(self) -> tables.Table:
        """The `book` table of these options."""
        return tables.book_table(self.levels)

    def new_run(self) -> Run:
        every = tape.TOUCH_ONLY if self.levels == 1 else tape.FULL
        mode = {"grid": tape.GRID, "none": tape.NO_ROWS}.get(self.materialise, every)
        after = self.assume_valid_after
        return tape.new_run(
            depth=self.levels,
            mode=mode,
            grid_step=_duration("book.grid", self.grid) if mode == tape.GRID else 0,
            assume_after=_duration("book.assume_valid_after", after) if after else -1,
            flow=self.flow,
        )


def _duration(setting: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise RequestError(f"{setting}: {error}") from None


@dataclass
class OneBook:
    """The book of one publisher and instrument, and what of its stream is not done yet."""

    publisher: int
    instrument: int
    book: Book
    run: Run
    pending: list[Records] = field(default_factory=list)
    """Records of the event that has not ended."""
    last_seen: int = -1
    """Position of the last record, to tell which instrument of a publisher came last."""

    @property
    def flow(self) -> npt.NDArray[np.uint32]:
        """Flow since the last row, by column; between calls of the kernel."""
        return self.run.flow

    def ends_in(self, records: Records) -> npt.NDArray[np.int64]:
        """Event ends as indices into pending + records, without joining them."""
        waiting = sum(len(part.flags) for part in self.pending)
        ends = event_ends(records.flags) + waiting
        if waiting and len(records.flags):
            before = int(self.pending[-1].flags[-1])
            if before & (F_SNAPSHOT | F_LAST) == F_SNAPSHOT and not (
                int(records.flags[0]) & F_SNAPSHOT
            ):
                ends = np.concatenate([np.array([waiting - 1]), ends])
        return ends


class BookEngine:
    """Books of one day and symbol.

    Parameters
    ----------
    date
        UTC date as YYYYMMDD.
    options
        Depth and materialisation.
    rule
        Bits of the venue's priority rule.
    """

    def __init__(self, date: int, options: BookOptions, rule: int) -> None:
        self.base = event_base(date)
        self.options = options
        self.rule = rule
        self.books: dict[tuple[int, int], OneBook] = {}
        self.records = 0
        self.events = 0
        self._held: list[Batch] = []
        # Rows are at most as many as events, events at most as many as records.
        self._slice = max(1024, _ROW_BYTES // (8 * 4 * options.levels + 4 * tape.FLOW_COLUMNS))

    # --- in -----------------------------------------------------------------------------------

    def feed(self, chunk: Chunk) -> Iterator[Batch]:
        """Take records in; yields the rows of the events that ended with them."""
        check_types(chunk.records)
        for start in range(0, len(chunk.publisher), self._slice):
            part = take(chunk, slice(start, start + self._slice))
            batch = self._feed(part)
            if batch is not None:
                yield self._hold(batch)

    @property
    def holds_rows(self) -> bool:
        """Whether rows are kept back until :meth:`finish`."""
        return bool(self._held)

    @property
    def live_orders(self) -> int:
        """Orders that rest in the books."""
        return sum(int(one.book.meta[N_ORDERS]) for one in self.books.values())

    @property
    def waiting(self) -> int:
        """Records of events that have not ended."""
        return sum(len(part.flags) for one in self.books.values() for part in one.pending)

    def _hold(self, batch: Batch) -> Batch:
        """Keep back the grid rows of several books: a quiet book's row comes late, with an event
        before those of rows that came earlier.  They are few.
        """
        if self.options.materialise != "grid" or len(self.books) < 2:
            return batch
        self._held.append(batch._replace(trades=batch.trades.slice(0, 0)))
        return Batch(batch.book.slice(0, 0), batch.flow.slice(0, 0), batch.trades)

    def _feed(self, chunk: Chunk) -> Batch | None:
        groups = list(self.split(chunk))
        first = self.records
        self.records += len(chunk.publisher)
        work: list[tuple[OneBook, Records, npt.NDArray[np.int64]]] = []
        triggers: list[npt.NDArray[np.int64]] = []
        for one, records, places in groups:
            ends = one.ends_in(records)
            one.last_seen = first + int(len(chunk.publisher) - 1 if places is None else places[-1])
            waiting = sum(len(part.flags) for part in one.pending)
            one.pending.append(records)
            if not len(ends):
                continue
            whole = join(one.pending)
            stop = int(ends[-1]) + 1
            # A view would keep the whole chunk alive for a few waiting records.
            rest = Records._make(column[stop:].copy() for column in whole)
            one.pending = [rest] if len(rest.flags) else []
            work.append((one, cut(whole, 0, stop), ends))
            if places is not None:
                triggers.append(triggers_of(whole.flags, ends, places, waiting))
        if not work:
            return None
        numbers = self._number([ends for _, _, ends in work], triggers)
        return merge([self._run(*item, n) for item, n in zip(work, numbers, strict=True)])

    def split(
        self, chunk: Chunk
    ) -> Iterator[tuple[OneBook, Records, npt.NDArray[np.int64] | None]]:
        """Records by book, with their places in the chunk where there are several books."""
        publisher, instrument = chunk.publisher, chunk.instrument
        same = (publisher == publisher[0]).all() and (instrument == instrument[0]).all()
        key = (int(publisher[0]), int(instrument[0]))
        alone = not self.books or (len(self.books) == 1 and key in self.books)
        if same and alone:
            yield self._book(key), chunk.records, None
            return
        keys = publisher.astype(np.int64) << 32 | instrument.astype(np.int64)
        for value in np.unique(keys):
            places = np.flatnonzero(keys == value)
            book = self._book((int(value) >> 32, int(value) & 0xFFFFFFFF))
            yield book, take(chunk, places).records, places

    def _book(self, key: tuple[int, int]) -> OneBook:
        if key not in self.books:
            self.books[key] = OneBook(*key, new_book(rule=self.rule), self.options.new_run())
        return self.books[key]

    def _number(
        self, ends: Sequence[npt.NDArray[np.int64]], triggers: Sequence[npt.NDArray[np.int64]]
    ) -> list[npt.NDArray[np.int64]]:
        """Event keys of each book's event ends: numbered in the order of what ended them."""
        total = sum(len(e) for e in ends)
        keys = np.arange(1, total + 1, dtype=np.int64) + (self.base + self.events)
        self.events += total
        if len(ends) == 1:
            return [keys]
        order = np.argsort(np.concatenate(triggers), kind="stable")
        ranked = np.empty(total, np.int64)
        ranked[order] = keys
        return np.split(ranked, np.cumsum([len(e) for e in ends])[:-1])

    # --- the kernel ---------------------------------------------------------------------------

    def _run(
        self,
        one: OneBook,
        records: Records,
        ends: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
    ) -> Batch:
        wanted = self.options.materialise != "none"
        count = len(ends) if wanted else 0
        rows = tape.new_rows(self.options.levels, count, flow=self.options.flow)
        prints = tape.new_prints(int((records.action == ord("T")).sum()) if wanted else 0)
        run_kernel(one, records, numbers, rows, prints)
        return self._batch(one, rows, prints)

    def _batch(self, one: OneBook, rows: Rows, prints: Prints) -> Batch:
        cursor = one.run.cursor
        n, trades = int(cursor[tape.N_ROWS]), int(cursor[tape.N_PRINTS])
        cursor[tape.N_ROWS] = cursor[tape.N_PRINTS] = cursor[tape.AT_EVENT] = 0
        cursor[tape.FIRST_PRINT] = 0
        key = (one.publisher, one.instrument)
        return Batch(
            book_rows(rows, n, key, self.options.table),
            flow_rows(rows, n),
            trade_rows(prints, trades, key),
        )

    def end_snapshot(self, key: tuple[int, int]) -> Batch:
        """End the snapshot whose rows are pending, as a record after it would."""
        one = self.books[key]
        whole, one.pending = join(one.pending), []
        ends = np.array([len(whole.flags) - 1])
        return self._run(one, whole, ends, *self._number([ends], []))

    # --- the end ------------------------------------------------------------------------------

    def finish(self) -> Batch | None:
        """End the day: the last rows of a grid.  Records of an unfinished event stay pending."""
        if self.options.materialise != "grid":
            return None
        batches, self._held = self._held, []
        for one in self.books.values():
            rows = tape.new_rows(self.options.levels, 1, flow=self.options.flow)
            flush_grid(one.book, one.run, rows)
            batches.append(self._batch(one, rows, tape.new_prints(0)))
        return merge(batches) if batches else None

    def quality(self) -> dict[str, Any]:
        """The day's numbers: columns of `quality` that the book knows."""
        values: dict[str, Any] = {"records": self.records}
        for i, name in enumerate(tape.COUNTERS):
            values[name] = sum(int(one.run.counters[i]) for one in self.books.values())
        starts = [int(one.run.cursor[tape.START]) for one in self.books.values()]
        # Several books under one symbol: the start one knows least about speaks for all.
        values["start"] = tables.BOOK_STARTS[max(starts, default=tape.UNKNOWN_START)]
        return values


@cache
def machine_code(*, touch: bool) -> Callable[..., Any]:
    """The kernel's machine code, for any run or for those with the touch alone and no flow."""
    run = tape.new_run(depth=1, mode=tape.NO_ROWS)
    numbers = np.empty(0, np.int64)
    return entry_point(
        process_touch if touch else process, new_book(), run, tape.no_records(), numbers,
        tape.new_rows(1, 0), tape.new_prints(0), 0,
    )  # fmt: skip


def run_kernel(
    one: OneBook, records: Records, numbers: npt.NDArray[np.int64], rows: Rows, prints: Prints
) -> None:
    """Apply whole events to a book, growing it where they need room.

    Every array has the type that :mod:`pipeline.book.tape` or :mod:`pipeline.book.layout` gives
    it: nothing here looks again (see :func:`columns.check_types`).
    """
    done, total = 0, len(records.flags)
    cursor = one.run.cursor
    touch = bool(cursor[tape.MODE] == tape.TOUCH_ONLY and not cursor[tape.WITH_FLOW])
    apply = machine_code(touch=touch)
    while True:
        done = int(apply(one.book, one.run, records, numbers, rows, prints, done))
        if done == total:
            return
        one.book = grow(one.book)


def triggers_of(
    flags: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    waiting: int,
) -> npt.NDArray[np.int64]:
    """Sort keys of event ends: twice the place of the record that ended it, plus one where that
    record belongs to the event (a snapshot without F_LAST ends before the next record).
    """
    own = (flags[ends] & F_LAST) != 0
    at = np.where(own, ends, ends + 1) - waiting
    keys: npt.NDArray[np.int64] = places[at] * 2 + own
    return keys
