"""A session's rows of `book`, `flow`, `trades` and `queue`, and its lives of orders, from the lake.

Only the columns asked for are read, a batch at a time; `flow` and `queue` have the rows of `book`
in the same order, and the prints of an event stand beside its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from features.columns import BOOK_KEYS, TOUCH
from features.events import join_trades, trades_by_event
from features.source import Context, queue_columns, split_columns
from pipeline.errors import InputError
from pipeline.reading import BATCH_ROWS, Part, parts_of, read_batches, read_table
from pipeline.stage import Stored

ON_REQUEST: Final = {"queue": "--queue", "order_life": "--order-life"}
"""Tables that are made on request, and the option of `mbo book` that asks for them."""

TRADE_INPUTS = ("event", "price", "size", "side")


@dataclass(frozen=True)
class Day:
    """Partitions of one UTC day; those of flow and queue have the rows of those of book."""

    book: Stored
    flow: Stored | None
    trades: Stored | None
    queue: Stored | None = None
    order_life: Stored | None = None


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
    peers: Mapping[str, LakeRows] = field(default_factory=dict)
    """Other instruments in the same session, by the names the feature set gives them."""

    def rows(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """See :class:`features.events.Source`.

        Raises
        ------
        InputError
            If the files of the tables do not fit together.
        """
        book, flow, trades = split_columns(columns)
        queue = queue_columns(columns)
        names = list(dict.fromkeys([*BOOK_KEYS, *TOUCH, *book]))
        for day in self.days:
            prints = self._prints(day, trades) if trades else None
            for batch in self._batches(day, names, flow, queue):
                frame = batch
                if prints is not None:
                    frame = join_trades(frame, _within(prints, frame["event"]), trades)
                yield frame
                if int(frame["ts_recv"].cast(pl.Int64)[-1]) >= self.end_ns:
                    return

    def lives(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """See :class:`features.gather.PastSource`.

        Raises
        ------
        InputError
            If a day has no lives.
        """
        for day in self.days:
            if day.order_life is None:
                raise self._lacks(day, "order_life")
            for batch in read_batches(day.order_life, columns):
                yield _frame(pa.Table.from_batches([batch]))

    def _lacks(self, day: Day, table: str) -> InputError:
        where = f"{self.context.dataset} {self.context.symbol} {day.book.partition['date']}"
        todo = f"run `mbo book {ON_REQUEST[table]}`"
        return InputError.at(where, f"no table {table}", todo=todo)

    def _prints(self, day: Day, columns: Sequence[str]) -> pl.DataFrame:
        assert day.trades is not None  # the planner names all three tables of a day
        frame = _frame(read_table(day.trades, TRADE_INPUTS))
        return trades_by_event(frame, self.context.tick, columns)

    def _batches(
        self, day: Day, names: list[str], flow: list[str], queue: list[str]
    ) -> Iterator[pl.DataFrame]:
        if queue and day.queue is None:
            raise self._lacks(day, "queue")
        beside = [
            (name, parts_of(stored), columns)
            for name, stored, columns in (("flow", day.flow, flow), ("queue", day.queue, queue))
            if columns and stored is not None
        ]
        for part in parts_of(day.book):
            start = _rows_before(part, self.first_ns)
            slices = [_slices(part, names, start)]
            for name, parts, columns in beside:
                other = next(parts, None)
                if other is None or other.rows != part.rows:
                    rows = other.rows if other else 0
                    flag = "--queue " if name == "queue" else ""
                    raise InputError.at(
                        other.path if other else part.path,
                        f"{rows:,} rows of {name} beside {part.rows:,} of book",
                        todo=f"run `mbo book {flag}--force`",
                    )
                slices.append(_slices(other, columns, start))
            for tables in zip(*slices, strict=True):
                yield pl.concat([_frame(table) for table in tables], how="horizontal")


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))


def _rows_before(part: Part, first_ns: int) -> int:
    """Rows in the leading row groups that lie wholly before an instant.

    A row group that symbols share says nothing of one of them alone.
    """
    rows = 0
    for group in part.row_groups:
        largest = part.largest(group, "ts_recv")
        if largest is None or _ns(largest) >= first_ns:
            break
        rows += part.group_rows(group)
    return max(0, rows - part.skip) if rows else 0


def _ns(value: object) -> int:
    return int(pa.scalar(value, pa.timestamp("ns", "UTC")).value)


def _slices(part: Part, columns: list[str], start: int) -> Iterator[pa.Table]:
    """The rows from ``start`` on in tables of ``BATCH_ROWS`` rows, the last one shorter.

    Row groups of different tables need not agree; ``start`` need not be a group's first row.
    """
    pending: list[pa.Table] = []
    held = 0
    for batch in part.batches(columns, BATCH_ROWS, first=start):
        pending.append(pa.Table.from_batches([batch]))
        held += batch.num_rows
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
