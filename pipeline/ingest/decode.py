"""Decoding a task's files into row groups of partitions, in its own thread.

The thread decodes, routes and gathers columns; the caller's thread encodes and writes.  zstd,
numpy and pyarrow release the interpreter while they work, so the two run side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.ingest.bytestream import DAMAGED
from pipeline.ingest.census import check_times, has_time, index_times
from pipeline.ingest.columns import BadRecordError
from pipeline.ingest.dbn import Chunk, DbnReader, Records
from pipeline.ingest.sinks import Sink, SinkKey
from pipeline.ingest.symbology import SymbolMap, group_rows
from pipeline.lanes import in_background
from pipeline.units import NS_PER_DAY, NS_PER_HOUR


@dataclass(frozen=True)
class DataFile:
    """A file to decode."""

    path: Path
    source: str
    """First 16 hex digits of its sha256."""
    symbols: SymbolMap
    days: tuple[int, int]
    """First and last UTC day the plan gave it."""
    superseded: frozenset[tuple[str, int, str]] = frozenset()
    """(schema, day, symbol) that a newer file has."""


@dataclass
class FileCount:
    """What became of a file's records."""

    records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    outside: tuple[int, int] | None = None
    """First and last day of records, where they leave the planned days."""


@dataclass(frozen=True)
class RowGroup:
    """Rows ready to be written; ``last`` after the partition's last rows."""

    sink: Sink
    rows: pa.Table | None
    last: bool
    done: int
    """Bytes of the files read so far, for progress."""


@dataclass(frozen=True)
class Batch:
    """Records of a file that become rows, with their positions and index times."""

    file: int
    schema: str
    records: Records
    numbers: npt.NDArray[np.uint64]
    index: npt.NDArray[np.int64]
    done: int
    """Bytes of the files read so far, for progress."""

    @property
    def days(self) -> npt.NDArray[np.int64]:
        """UTC day of each index time, since the epoch."""
        found: npt.NDArray[np.int64] = self.index // NS_PER_DAY
        return found


class Intake:
    """The records of files, one after another; afterwards ``counts`` tells what became of them."""

    def __init__(self, files: Sequence[DataFile]) -> None:
        self.files = files
        self.counts = [FileCount() for _ in files]
        self.bytes_before = 0

    def __iter__(self) -> Iterator[Batch]:
        for number, file in enumerate(self.files):
            with DbnReader(file.path) as reader:
                for chunk in reader:
                    batch = self._checked(number, chunk, self.bytes_before + reader.position())
                    if batch is not None:
                        yield batch
                self.counts[number].records = reader.records_read
            self.bytes_before += file.path.stat().st_size

    def _checked(self, number: int, chunk: Chunk, done: int) -> Batch | None:
        """What of a chunk becomes rows; the rest is counted."""
        count = self.counts[number]
        if chunk.control:
            count.rejected[chunk.schema] += len(chunk.records)
            return None
        records, numbers, index = chunk.records, chunk.record_numbers(), index_times(chunk)
        if index.min() < 0:
            known = has_time(index)
            count.rejected["no_time"] += int(len(known) - known.sum())
            records, numbers, index = records[known], numbers[known], index[known]
            if not len(index):
                return None
            check_times(self.files[number].path, index)
        first, last = int(index.min()) // NS_PER_DAY, int(index.max()) // NS_PER_DAY
        self._note_days(number, first, last)
        return Batch(number, chunk.schema, records, numbers, index, done)

    def _note_days(self, number: int, first: int, last: int) -> None:
        planned, count = self.files[number].days, self.counts[number]
        if first < planned[0] or last > planned[1]:
            low, high = count.outside or planned
            count.outside = (min(low, first), max(high, last))

    def located(self, error: BadRecordError) -> InputError:
        """An error about a record, with the file it is in."""
        path = next(f.path for f in self.files if f.source == error.source)
        return InputError.at(path, error.what, record=error.record, todo=DAMAGED)


class Decoder:
    """Routes the records of files to sinks.

    Iterating yields row groups; afterwards ``counts`` and ``sinks`` hold the tallies.
    """

    def __init__(self, files: Sequence[DataFile]) -> None:
        self.files = files
        self.sinks: dict[SinkKey, Sink] = {}
        self._intake = Intake(files)
        self._closed_before: int | None = None

    @property
    def counts(self) -> list[FileCount]:
        return self._intake.counts

    def __iter__(self) -> Iterator[RowGroup]:
        try:
            yield from in_background(self._decode())
        except BadRecordError as error:
            raise self._intake.located(error) from None

    def _decode(self) -> Iterator[RowGroup]:
        for batch in self._intake:
            yield from self._route(batch)
        for sink in self.sinks.values():
            if not sink.finished:
                yield from self._finish(sink, self._intake.bytes_before)

    def _route(self, batch: Batch) -> Iterator[RowGroup]:
        number, count = batch.file, self.counts[batch.file]
        for key, rows in self._by_partition(number, batch.schema, batch.index, batch.records):
            records, numbers, index = batch.records, batch.numbers, batch.index
            if rows is not None:
                records, numbers, index = records[rows], numbers[rows], index[rows]
            if (key.schema, key.day, key.symbol) in self.files[number].superseded:
                count.rejected["superseded"] += len(records)
                continue
            sink = self._sink(number, key)
            source = self.files[number].source
            for table in sink.append(number, source, records, numbers, index):
                yield RowGroup(sink, table, False, batch.done)
        yield from self._close_past(int(batch.index.min()), batch.done)

    def _by_partition(
        self, number: int, schema: str, index: npt.NDArray[np.int64], records: Records
    ) -> Iterator[tuple[SinkKey, npt.NDArray[np.int64] | None]]:
        """Rows of each partition, in file order; None where one has them all."""
        symbols = self.files[number].symbols
        found: dict[SinkKey, list[npt.NDArray[np.int64]]] = {}
        for day, instrument_id, rows in group_rows(index, records["instrument_id"]):
            key = SinkKey(schema, day, symbols.symbol(instrument_id, day))
            if rows is None:
                yield key, None
                return
            found.setdefault(key, []).append(rows)
        for key, parts in found.items():
            # A symbol may have had two ids that day: the file's order holds across them.
            yield key, parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))

    def _sink(self, number: int, key: SinkKey) -> Sink:
        sink = self.sinks.get(key)
        if sink is None:
            sink = self.sinks[key] = Sink(key)
        elif sink.finished:
            what = f"records of {key.symbol} go back by more than an hour across midnight UTC"
            raise InputError.at(self.files[number].path, what)
        return sink

    def _close_past(self, earliest: int, done: int) -> Iterator[RowGroup]:
        """Finish the days that lie more than an hour behind: files of many days stay bounded."""
        if len(self.files) > 1:
            return
        day = (earliest - NS_PER_HOUR) // NS_PER_DAY
        if self._closed_before is not None and day <= self._closed_before:
            return
        self._closed_before = day
        for key, sink in self.sinks.items():
            if key.day < day and not sink.finished:
                yield from self._finish(sink, done)

    def _finish(self, sink: Sink, done: int) -> Iterator[RowGroup]:
        for table in sink.finish():
            yield RowGroup(sink, table, False, done)
        yield RowGroup(sink, None, True, done)
