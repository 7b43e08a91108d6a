"""Reading committed partitions: the one way, whether a symbol has its own files or shares them.

for batch in read_batches(stored, ["event", "ts_recv"]): ...
table = read_table(stored)
for part in parts_of(stored): ...            # file by file, with row groups and statistics
with PackedReader(day, columns) as reader: ...  # all symbols of a packed day, in order
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.stage import Span, Stored

BATCH_ROWS: Final = 65_536


@lru_cache(maxsize=4)
def _footer(path: Path, stamp: int) -> pq.FileMetaData:
    """The footer of a packed file: of many row groups, and asked for symbol after symbol."""
    del stamp
    with pq.ParquetFile(path) as file:
        return file.metadata


@lru_cache(maxsize=4)
def _shared(path: Path, stamp: int, group: int, columns: tuple[str, ...]) -> pa.RecordBatch:
    """A row group that symbols share; it has few rows."""
    with pq.ParquetFile(path, metadata=_footer(path, stamp)) as file:
        table = file.read_row_group(group, columns=list(columns), use_threads=False)
    return table.select(columns).combine_chunks().to_batches()[0]


class Part:
    """A file of a partition, or a symbol's rows of it.

    Parameters
    ----------
    dictionary
        Text columns to be returned as dictionary arrays.
    todo
        What to do about a file that cannot be read.
    """

    def __init__(
        self,
        path: Path,
        span: Span | None = None,
        dictionary: Sequence[str] = (),
        todo: str = "make it again with --force",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self._span = span
        self._metadata = metadata
        self._dictionary = tuple(dictionary)
        try:
            self._stamp = path.stat().st_mtime_ns
            footer = _footer(path, self._stamp) if span else None
            # What is buffered beforehand is kept until the file is closed: all of it, in the end.
            self._file = pq.ParquetFile(
                path, metadata=footer, read_dictionary=list(dictionary), pre_buffer=False
            )
        except (OSError, pa.ArrowException) as error:
            what = f"cannot be read: {str(error).splitlines()[0]}"
            raise InputError.at(path, what, todo=todo) from error

    @property
    def rows(self) -> int:
        return self._span.rows if self._span else int(self._file.metadata.num_rows)

    @property
    def schema(self) -> pa.Schema:
        """Columns of the partition: without ``symbol`` where symbols share the file."""
        schema = self._file.schema_arrow
        return schema.remove(0) if self._span else schema

    @property
    def row_groups(self) -> list[int]:
        """Numbers of the row groups that hold the rows."""
        if self._span:
            return list(range(self._span.group, self._span.group + self._span.groups))
        return list(range(self._file.metadata.num_row_groups))

    def group_rows(self, group: int) -> int:
        """Rows of a row group, all of its symbols."""
        return int(self._file.metadata.row_group(group).num_rows)

    @property
    def skip(self) -> int:
        """Rows of other symbols before the first row of the first row group."""
        return self._span.skip if self._span else 0

    def largest(self, group: int, column: str) -> Any:
        """The largest value of a column in a row group, None where its statistics lack it."""
        at = self._file.schema_arrow.get_field_index(column)
        statistics = self._file.metadata.row_group(group).column(at).statistics
        return statistics.max if statistics is not None and statistics.has_min_max else None

    def batches(
        self,
        columns: Sequence[str] | None = None,
        rows: int = BATCH_ROWS,
        *,
        first: int = 0,
        threads: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """The rows from ``first`` on, in order, in batches of at most ``rows`` rows."""
        wanted = self.schema.names if columns is None else list(columns)
        if self._shares:
            whole = self._own(wanted)
            for at in range(first, whole.num_rows, rows):
                yield whole.slice(at, rows)
            return
        groups = self.row_groups
        while groups and first >= self.group_rows(groups[0]):
            first -= self.group_rows(groups.pop(0))
        if not groups:
            return
        for batch in self._file.iter_batches(
            rows, row_groups=groups, columns=wanted, use_threads=threads
        ):
            if first < batch.num_rows:
                yield batch.slice(first).select(wanted)
            first = max(0, first - batch.num_rows)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows."""
        wanted = self.schema.names if columns is None else list(columns)
        if self._shares:
            table = pa.Table.from_batches([self._own(wanted)])
        else:
            groups = self.row_groups
            table = self._file.read_row_groups(groups, columns=wanted, use_threads=False)
        return table.select(wanted).replace_schema_metadata(None)

    @property
    def _shares(self) -> bool:
        """Whether the rows are some of a row group's."""
        span = self._span
        return span is not None and span.groups == 1 and span.rows < self.group_rows(span.group)

    def _own(self, columns: list[str]) -> pa.RecordBatch:
        """The rows of a symbol out of a row group that it shares."""
        span = self._span
        assert span is not None
        rows = _shared(self.path, self._stamp, span.group, tuple(columns))
        own = rows.slice(span.skip, span.rows)
        for name in self._dictionary:
            if name in columns:
                at = columns.index(name)
                own = own.set_column(at, name, own.column(at).dictionary_encode())
        return own

    @property
    def metadata(self) -> dict[str, str]:
        """What the stage said in the file's metadata."""
        if self._metadata is not None:
            return dict(self._metadata)
        found = self._file.schema_arrow.metadata or {}
        return {key.decode(): value.decode() for key, value in found.items()}

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parts_of(stored: Stored, dictionary: Sequence[str] = ()) -> Iterator[Part]:
    """The files of a partition, each closed when the next one is asked for."""
    for number in range(len(stored.files)):
        with part_of(stored, number, dictionary) as part:
            yield part


def part_of(stored: Stored, number: int, dictionary: Sequence[str] = ()) -> Part:
    """One file of a partition, to be closed."""
    span = stored.spans[number] if stored.spans else None
    metadata = stored.metadata[number] if stored.metadata else None
    return Part(stored.files[number], span, dictionary, metadata=metadata)


def read_batches(
    stored: Stored,
    columns: Sequence[str] | None = None,
    rows: int = BATCH_ROWS,
    *,
    dictionary: Sequence[str] = (),
    threads: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of a partition in order, in batches of at most ``rows`` rows.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    for part in parts_of(stored, dictionary):
        yield from part.batches(columns, rows, threads=threads)


def read_table(stored: Stored, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of a partition: for tables that are small.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    return pa.concat_tables([part.read(columns) for part in parts_of(stored)])
