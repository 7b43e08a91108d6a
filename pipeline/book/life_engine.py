"""The driver of `order_life`: records of one day and symbol in, rows of lives out.

Splitting records by book, cutting events and numbering them is the book engine's; so is
starting from a carried state.  Rows come in the order in which they became known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import tables
from pipeline.book import life_tape as lt
from pipeline.book import orders as ob
from pipeline.book import tape
from pipeline.book.arrow import Batch
from pipeline.book.columns import Chunk, column_of, text_of
from pipeline.book.engine import BookEngine, BookOptions, OneBook
from pipeline.book.layout import I64, Book, grow, new_book
from pipeline.book.life import adopt, finish, follow
from pipeline.book.life_columns import LIFE_ENTERED, LIFE_OUTCOMES
from pipeline.book.state import BookState, resume
from pipeline.book.tape import NULL, Records, no_records
from pipeline.units import NS_PER_DAY

_ROWS: Final = 2048
"""Rows written before they are turned into columns: they stay in the cache."""

_TEXTS: Final = {
    "side": ("B", "A"),
    "entered": LIFE_ENTERED,
    "outcome": LIFE_OUTCOMES,
}


class _Lives:
    """The lives of one book's orders."""

    def __init__(self, one: OneBook) -> None:
        run = one.run.cursor
        self.cursor = lt.new_cursor(int(run[tape.ASSUME_AFTER]))
        self.cursor[lt.BOOK_KNOWN] = run[tape.KNOWN]
        self.cursor[lt.BOOK_BAD] = run[tape.BAD]
        for mine, carried in (
            (lt.CLOCK, tape.CLOCK),
            (lt.FIRST_CLOCK, tape.FIRST_CLOCK),
            (lt.TS_EVENT, tape.TS_EVENT),
            (lt.ACTION, tape.ACTION),
            (lt.AGGRESSOR, tape.AGGRESSOR),
        ):
            self.cursor[mine] = run[carried]
        self.live = _lives_for(one.book)
        self.shelf, self.shelf_live = new_book(orders=1, levels=1), np.zeros((0, 1), np.int64)
        self._out = np.empty((_ROWS, len(lt.FIELDS)), np.int64)

    def follow(self, one: OneBook, records: Records, numbers: I64) -> Iterator[I64]:
        """Apply whole events; yields the columns of rows of lives that ended, in order."""
        cursor, done, out = self.cursor, 0, self._out
        while True:
            done = int(
                follow(
                    one.book, self.live, self.shelf, self.shelf_live, cursor, records, numbers,
                    out, done,
                )
            )  # fmt: skip
            reason = cursor[lt.REASON]
            if reason == lt.MUST_GROW:
                one.book = grow(one.book)
                self._grow(one.book)
                continue
            if reason == lt.MUST_SHELVE:
                self._shelve(one)
                continue
            yield self._columns(out)
            if reason == lt.DONE:
                cursor[lt.AT_EVENT] = 0
                return
            if self._all(one) > len(out):  # a clear may need more
                out = np.empty((self._all(one), len(lt.FIELDS)), np.int64)

    def finish(self, one: OneBook) -> I64:
        """Columns of the rows of what still rests."""
        out = np.empty((self._all(one), len(lt.FIELDS)), np.int64)
        finish(one.book, self.live, self.shelf, self.shelf_live, self.cursor, out)
        return self._columns(out)

    def _columns(self, out: I64) -> I64:
        """int64[FIELDS, rows]: what the kernel wrote, turned."""
        n = int(self.cursor[lt.ROWS])
        self.cursor[lt.ROWS] = 0
        return np.ascontiguousarray(out[:n].T)

    def _all(self, one: OneBook) -> int:
        """Rows that one record could make at most."""
        return int(one.book.meta[ob.N_ORDERS]) + int(self.cursor[lt.SHELF]) + 1

    def _grow(self, book: Book) -> None:
        old, self.live = self.live, _lives_for(book)
        self.live[: len(old)] = old

    def _shelve(self, one: OneBook) -> None:
        """A snapshot begins: its rows go into a new book, beside the old one."""
        self.shelf, self.shelf_live = one.book, self.live
        meta = one.book.meta
        self.cursor[lt.SHELF] = meta[ob.N_ORDERS]
        self.cursor[lt.FRESH] = 1
        one.book = new_book(orders=len(one.book.orders), rule=int(meta[ob.RULE]))
        for field in (ob.SNAPSHOT, ob.SNAPSHOT_TS):
            one.book.meta[field] = meta[field]
        self.live = _lives_for(one.book)


def _lives_for(book: Book) -> I64:
    return np.zeros((len(book.orders), lt.LIVE_FIELDS), np.int64)


class LifeEngine(BookEngine):
    """Lives of the orders of one day and symbol.

    Parameters
    ----------
    date
        UTC date as YYYYMMDD.
    day_start
        Its midnight, ns since the epoch: what rests at the end is known a day later.
    rule
        Bits of the venue's priority rule.
    assume_valid_after
        As in the settings of the book.
    state
        The previous day's closing state, where the day starts from one.
    """

    def __init__(
        self,
        date: int,
        day_start: int,
        rule: int,
        *,
        assume_valid_after: str = "",
        state: BookState | None = None,
    ) -> None:
        options = BookOptions(depth=1, materialise="none", assume_valid_after=assume_valid_after)
        super().__init__(date, options, rule)
        self._day_end = day_start + NS_PER_DAY
        self._lives: dict[tuple[int, int], _Lives] = {}
        self._ended: list[tuple[OneBook, I64]] = []
        """Columns of rows that have not been taken yet."""
        if state is not None:
            resume(self, state)
            for key, one in self.books.items():
                lives = self._lives_of(one)
                adopt(one.book, lives.live, lives.cursor, _ids_of(state, key))

    def _lives_of(self, one: OneBook) -> _Lives:
        key = (one.publisher, one.instrument)
        if key not in self._lives:
            self._lives[key] = _Lives(one)
        return self._lives[key]

    def _run(
        self,
        one: OneBook,
        records: Records,
        ends: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
    ) -> Batch:
        for columns in self._lives_of(one).follow(one, records, numbers):
            self._ended.append((one, columns))
        return _NOTHING

    def lives(self, chunk: Chunk) -> Iterator[pa.Table]:
        """Take records in; yields the rows of lives that ended with them."""
        for _ in self.feed(chunk):
            yield from self._take()

    def rest(self) -> Iterator[pa.Table]:
        """The rows of what still rests at the day's end, book by book."""
        for key in sorted(self.books):
            one = self.books[key]
            self._ended.append((one, self._lives_of(one).finish(one)))
            yield from self._take()

    def _take(self) -> Iterator[pa.Table]:
        ended = [(one, columns) for one, columns in self._ended if columns.shape[1]]
        self._ended = []
        if not ended:
            return
        columns = np.concatenate([part for _, part in ended], axis=1)
        sizes = [part.shape[1] for _, part in ended]
        publishers = np.repeat(np.array([one.publisher for one, _ in ended], np.uint16), sizes)
        instruments = np.repeat(np.array([one.instrument for one, _ in ended], np.uint32), sizes)
        if len({id(one) for one, _ in ended}) > 1:
            # An event belongs to one book, and its rows are in order.
            order = np.argsort(columns[lt.WRITTEN], kind="stable")
            columns, publishers = np.take(columns, order, axis=1), publishers[order]
            instruments = instruments[order]
        yield self._table(columns, publishers, instruments)

    def _table(
        self,
        columns: I64,
        publishers: npt.NDArray[np.uint16],
        instruments: npt.NDArray[np.uint32],
    ) -> pa.Table:
        known = columns[lt.KNOWN_AT]
        known[known == NULL] = self._day_end
        keys = [column_of(publishers, pa.uint16()), column_of(instruments, pa.uint32())]
        names = lt.FIELDS[: lt.WRITTEN]
        rest = [_column(name, values) for name, values in zip(names, columns, strict=False)]
        return pa.Table.from_arrays(keys + rest, schema=tables.ORDER_LIFE.schema())


_NOTHING: Final = Batch(*(pa.table({"event": pa.array([], pa.int64())}) for _ in range(3)))


def _column(name: str, values: I64) -> pa.Array:
    if name in _TEXTS:
        return text_of(values.astype(np.uint8), _TEXTS[name])
    column = tables.ORDER_LIFE.column(name)
    kind = column.type
    if pa.types.is_boolean(kind):
        return pa.array(values.astype(np.bool_))
    if not column.nullable and pa.types.is_uint64(kind):
        values = values.view(np.uint64)  # every id is one, also what stands for null elsewhere
    if kind.bit_width == 64:
        return column_of(values, kind)
    missing = values == NULL
    return pa.array(values.astype(kind.to_pandas_dtype()), kind, mask=missing)


def _ids_of(state: BookState, key: tuple[int, int]) -> I64:
    orders = state.orders
    mine = np.logical_and(
        orders["publisher_id"].to_numpy() == key[0], orders["instrument_id"].to_numpy() == key[1]
    )
    ids: I64 = orders["order_id"].to_numpy()[mine].view(np.int64)
    return ids


def warm_kernels() -> None:
    """Compile everything the stage calls, on a book with nothing in it."""
    one = OneBook(0, 0, new_book(), BookOptions(depth=1, materialise="none").new_run())
    lives, none = _Lives(one), np.empty(0, np.int64)
    adopt(one.book, lives.live, lives.cursor, none)
    list(lives.follow(one, no_records(), none))
    lives.finish(one)
