"""Sorting the records of many symbols outside of memory.

Records come in file order, thousands of symbols mixed.  They are gathered up to some megabytes,
sorted by partition, and written to a scratch file as a run: whole records, and their positions
in the file they came from.  Afterwards each partition's records are read from run after run, so
that every partition is written at once, whole, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.ingest.sinks import SinkKey
from pipeline.storage import readable_os_errors, scratch_file

RUN_BYTES: Final = 64 << 20
"""Records of a run: twice as many are in memory while it is sorted."""
READ_RECORDS: Final = 32_768
"""Records of a partition that are read at a time."""

Array = npt.NDArray[Any]


class Owner(NamedTuple):
    """Whose records: the partition, and the number of the file they come from."""

    key: SinkKey
    file: int


class Piece(NamedTuple):
    """Consecutive records of a partition and file."""

    file: int
    records: Array
    numbers: npt.NDArray[np.uint64]


@dataclass
class _Waiting:
    """Records of one layout on their way into a run."""

    records: list[Array] = field(default_factory=list)
    numbers: list[Array] = field(default_factory=list)
    codes: list[Array] = field(default_factory=list)


@dataclass
class _Run:
    """Records sorted by owner: in memory, or in the scratch file."""

    dtype: np.dtype[Any]
    codes: Array
    """Owners in the run; their first record and number of records."""
    starts: Array
    counts: Array
    place: int = 0
    """Where in the scratch file its records begin; their numbers follow."""
    records: Array | None = None
    numbers: Array | None = None

    @property
    def total(self) -> int:
        return int(self.counts.sum())


class Spill:
    """Takes records in, then gives them back by partition.

    Parameters
    ----------
    lake
        Root of the lake: the scratch file is made among its temporaries when it is needed.
    """

    def __init__(self, lake: Path, run_bytes: int = RUN_BYTES) -> None:
        self._lake = lake
        self._run_bytes = run_bytes
        self._owners: list[Owner] = []
        self._codes: dict[Owner, int] = {}
        self._waiting: dict[np.dtype[Any], _Waiting] = {}
        self._waiting_bytes = 0
        self._runs: list[_Run] = []
        self._file: BinaryIO | None = None
        self._end = 0

    def code(self, owner: Owner) -> int:
        """The number under which an owner's records are given to :meth:`add`."""
        code = self._codes.get(owner)
        if code is None:
            code = self._codes[owner] = len(self._owners)
            self._owners.append(owner)
        return code

    @property
    def keys(self) -> list[SinkKey]:
        """The partitions there are records of, in order."""
        return sorted({owner.key for owner in self._owners})

    def add(self, records: Array, numbers: Array, codes: npt.NDArray[np.uint32]) -> None:
        """Take in records, in file order, with the code of each one's owner."""
        waiting = self._waiting.setdefault(records.dtype, _Waiting())
        waiting.records.append(records)
        waiting.numbers.append(numbers)
        waiting.codes.append(codes)
        self._waiting_bytes += records.nbytes + numbers.nbytes
        if self._waiting_bytes >= self._run_bytes:
            self._sort(keep=False)

    def _sort(self, *, keep: bool) -> None:
        for dtype, waiting in self._waiting.items():
            codes = np.concatenate(waiting.codes)
            # Sorting 16 bits is several times faster.
            small = codes.astype(np.uint16) if len(self._owners) <= 1 << 16 else codes
            order = np.argsort(small, kind="stable")
            words = np.take(np.concatenate([_words(r) for r in waiting.records]), order, axis=0)
            records = words.reshape(-1).view(dtype)
            numbers = np.concatenate(waiting.numbers)[order]
            found, starts, counts = np.unique(codes[order], return_index=True, return_counts=True)
            run = _Run(dtype, found, starts, counts)
            if keep:
                run.records, run.numbers = records, numbers
            else:
                run.place = self._write(records, numbers)
            self._runs.append(run)
        self._waiting, self._waiting_bytes = {}, 0

    def _write(self, records: Array, numbers: Array) -> int:
        with readable_os_errors(self._lake):
            if self._file is None:
                self._file = scratch_file(self._lake)
            place = self._end
            for array in (records, numbers):
                self._file.write(array.view(np.uint8).data)
                self._end += array.nbytes
            self._file.flush()
        return place

    def partitions(self) -> Iterator[tuple[SinkKey, Iterator[Piece]]]:
        """Every partition, in order, and its records: file after file, in file order.

        Each partition's pieces must be used before the next partition is asked for.
        """
        self._sort(keep=True)
        order = sorted(range(len(self._owners)), key=self._owners.__getitem__)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        sizes = [len(run.codes) for run in self._runs]
        which = np.repeat(np.arange(len(sizes)), sizes)
        inner = np.concatenate([np.arange(size) for size in sizes] or [np.empty(0, np.int64)])
        ranks = np.concatenate([rank[run.codes] for run in self._runs] or [inner])
        # Runs of one owner in the order in which they were made: that of its file.
        sequence = np.argsort(ranks, kind="stable")
        which, inner, ranks = which[sequence], inner[sequence], ranks[sequence]
        bounds = np.searchsorted(ranks, np.arange(len(order) + 1))
        places = [(self._owners[code], slice(*bounds[i : i + 2])) for i, code in enumerate(order)]
        at = 0
        while at < len(places):
            key = places[at][0].key
            stop = at
            while stop < len(places) and places[stop][0].key == key:
                stop += 1
            yield key, self._pieces(places[at:stop], which, inner)
            at = stop

    def _pieces(
        self, places: list[tuple[Owner, slice]], which: Array, inner: Array
    ) -> Iterator[Piece]:
        for owner, rows in places:
            parts: list[tuple[_Run, int, int]] = []
            held = 0
            for number, i in zip(which[rows].tolist(), inner[rows].tolist(), strict=True):
                run = self._runs[number]
                start, left = int(run.starts[i]), int(run.counts[i])
                if parts and parts[-1][0].dtype != run.dtype:
                    yield self._joined(owner.file, parts)
                    parts, held = [], 0
                while left:
                    take = min(left, READ_RECORDS - held)
                    parts.append((run, start, take))
                    start, left, held = start + take, left - take, held + take
                    if held == READ_RECORDS:
                        yield self._joined(owner.file, parts)
                        parts, held = [], 0
            if parts:
                yield self._joined(owner.file, parts)

    def _joined(self, file: int, parts: list[tuple[_Run, int, int]]) -> Piece:
        """Records of one layout from several runs."""
        total = sum(count for _, _, count in parts)
        records = np.empty(total, parts[0][0].dtype)
        numbers = np.empty(total, np.uint64)
        at = 0
        for run, start, count in parts:
            rows = slice(at, at + count)
            if run.records is not None and run.numbers is not None:
                records[rows] = run.records[start : start + count]
                numbers[rows] = run.numbers[start : start + count]
            else:
                self._read(run.place + start * run.dtype.itemsize, records[rows])
                self._read(run.place + run.total * run.dtype.itemsize + 8 * start, numbers[rows])
            at += count
        return Piece(file, records, numbers)

    def _read(self, place: int, target: Array) -> None:
        assert self._file is not None
        with readable_os_errors(self._lake):
            self._file.seek(place)
            self._file.readinto(target.view(np.uint8).data)  # type: ignore[attr-defined]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._runs, self._waiting = None, [], {}


def _words(records: Array) -> Array:
    """Records as rows of plain numbers, [records, words]: these are copied ten times faster."""
    word = np.int64 if records.dtype.itemsize % 8 == 0 else np.uint8
    return np.ascontiguousarray(records).view(word).reshape(len(records), -1)
