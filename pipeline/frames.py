"""A session's rows of `book`, `flow` and `trades`, read from the lake as features want them.

Only the columns asked for are read, a batch at a time; `flow` has the rows of `book` in the same
order, and the prints of an event stand beside its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.columns import BOOK_KEYS, TOUCH
from features.events import Context, join_trades, split_columns, trades_by_event
from pipeline.errors import InputError

BATCH_ROWS = 65_536

TRADE_INPUTS = ("event", "price", "size", "side")


@dataclass(frozen=True)
class Day:
    """Files of one UTC day; those of flow have the rows of those of book."""

    book: tuple[Path, ...]
    flow: tuple[Path, ...]
    trades: tuple[Path, ...]


@dataclass(frozen=True)
class LakeRows:
    """The days of one instrument's session, as a source of features.

    Days before the session's first and after its last instant are skipped where the files'
    statistics allow it.
    """

    context: Context
    days: tuple[Day, ...]
    first_ns: int
    """The session's data begin here."""
    end_ns: int
    """Once a row is here or later, the session is over."""

    def rows(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """See :class:`features.events.Source`.

        Raises
        ------
        InputError
            If the files of book and flow do not fit together.
        """
        book, flow, trades = split_columns(columns)
        names = list(dict.fromkeys([*BOOK_KEYS, *TOUCH, *book]))
        for day in self.days:
            prints = self._prints(day) if trades else None
            for batch in self._batches(day, names, flow):
                frame = batch
                if prints is not None:
                    frame = join_trades(frame, _within(prints, frame["event"]), trades)
                yield frame
                if int(frame["ts_recv"].cast(pl.Int64)[-1]) >= self.end_ns:
                    return

    def _prints(self, day: Day) -> pl.DataFrame:
        parts = [pq.ParquetFile(path).read(columns=list(TRADE_INPUTS)) for path in day.trades]
        frame = pl.DataFrame(pl.from_arrow(pa.concat_tables(parts)))
        return trades_by_event(frame, self.context.tick)

    def _batches(self, day: Day, names: list[str], flow: list[str]) -> Iterator[pl.DataFrame]:
        for i, path in enumerate(day.book):
            file = pq.ParquetFile(path)
            start = _rows_before(file, self.first_ns)
            books = _slices(file, names, start)
            if not flow:
                for table in books:
                    yield _frame(table)
                continue
            beside = pq.ParquetFile(day.flow[i])
            if beside.metadata.num_rows != file.metadata.num_rows:
                raise InputError.at(
                    day.flow[i],
                    f"{beside.metadata.num_rows:,} rows of flow beside "
                    f"{file.metadata.num_rows:,} of book",
                    todo="run `mbo book --force`",
                )
            for table, other in zip(books, _slices(beside, flow, start), strict=True):
                yield pl.concat([_frame(table), _frame(other)], how="horizontal")


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))


def _rows_before(file: pq.ParquetFile, first_ns: int) -> int:
    """Rows of the leading row groups that lie wholly before an instant, whole batches only."""
    metadata = file.metadata
    at = file.schema_arrow.get_field_index("ts_recv")
    rows = 0
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(at).statistics
        if statistics is None or not statistics.has_min_max:
            break
        if _ns(statistics.max) >= first_ns:
            break
        rows += metadata.row_group(group).num_rows
    return rows


def _ns(value: object) -> int:
    return int(pa.scalar(value, pa.timestamp("ns", "UTC")).value)


def _slices(file: pq.ParquetFile, columns: list[str], start: int) -> Iterator[pa.Table]:
    """The rows from ``start`` on in tables of ``BATCH_ROWS`` rows, the last one shorter.

    Row groups of different tables need not agree; ``start`` need not be a group's first row.
    """
    groups: list[int] = []
    skipped = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if not groups and skipped + rows <= start:
            skipped += rows
        else:
            groups.append(group)
    surplus = start - skipped
    pending: list[pa.Table] = []
    held = 0
    for batch in file.iter_batches(
        BATCH_ROWS, row_groups=groups, columns=columns, use_threads=False
    ):
        table = pa.Table.from_batches([batch])
        if surplus:
            cut = min(surplus, table.num_rows)
            surplus -= cut
            table = table.slice(cut)
        pending.append(table)
        held += table.num_rows
        while held >= BATCH_ROWS:
            whole = pa.concat_tables(pending)
            yield whole.slice(0, BATCH_ROWS)
            pending = [whole.slice(BATCH_ROWS)]
            held -= BATCH_ROWS
    if held:
        yield pa.concat_tables(pending)


def _within(prints: pl.DataFrame, events: pl.Series) -> pl.DataFrame:
    """Prints of a batch's events; both ascend."""
    keys = prints["event"].to_numpy()
    low = int(np.searchsorted(keys, events[0]))
    high = int(np.searchsorted(keys, events[-1], side="right"))
    return prints.slice(low, high - low)
