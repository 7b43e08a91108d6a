"""A count of what a file holds, by decoding it whole and keeping nothing.

Needed only where the header does not say enough: live captures without an end, several files
for one day, files of so many instruments that memory must be planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.ingest.bytestream import DAMAGED
from pipeline.ingest.dbn import Chunk, DbnReader
from pipeline.ingest.symbology import group_rows
from pipeline.storage import CACHE, read_json, write_json
from pipeline.units import UNDEF_TIMESTAMP

_NO_TIME = np.iinfo(np.int64).min
_UNDEFINED = np.uint64(UNDEF_TIMESTAMP).astype(np.int64)


class Key(NamedTuple):
    """Records of one schema, UTC day (since the epoch) and instrument."""

    schema: str
    day: int
    instrument_id: int


@dataclass
class Extent:
    """How many records, and the range of their index time."""

    rows: int
    first: int
    last: int


@dataclass(frozen=True)
class Coverage:
    """Schemas, and first and last UTC day (since the epoch), of a file's records."""

    schemas: tuple[str, ...]
    first_day: int
    last_day: int


def index_times(chunk: Chunk) -> npt.NDArray[np.int64]:
    """Index time of each record: ``ts_recv``, or ``ts_event`` where the record has none or it
    is undefined.  Records without any time are at the smallest Int64.
    """
    records = chunk.records
    field = "ts_recv" if "ts_recv" in (records.dtype.names or ()) else "ts_event"
    index = np.ascontiguousarray(records[field]).view(np.int64)
    # The undefined time, all ones, is the only negative one of a sound file.
    if not len(index) or index.min() >= 0:
        return index
    events = np.ascontiguousarray(records["ts_event"]).view(np.int64)
    index = np.where(index == _UNDEFINED, events, index)
    index[index == _UNDEFINED] = _NO_TIME
    return index


def has_time(index: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    known: npt.NDArray[np.bool_] = index != _NO_TIME
    return known


def check_times(path: Path, index: npt.NDArray[np.int64]) -> None:
    """Index times fit the calendar.

    Raises
    ------
    InputError
        If they do not.
    """
    if int(index.min()) < 0:
        what = "a time is beyond the year 2262: the file is corrupt"
        raise InputError.at(path, what, todo=DAMAGED)


def take_census(path: Path) -> dict[Key, Extent]:
    """Extent of each schema, day and instrument of a file.

    Raises
    ------
    InputError
        If the file is damaged, or a time is no time.
    """
    found: dict[Key, Extent] = {}
    with DbnReader(path) as reader:
        for chunk in reader:
            if chunk.control:
                continue
            index = index_times(chunk)
            ids = chunk.records["instrument_id"]
            known = has_time(index)
            if not known.all():
                index, ids = index[known], ids[known]
            if not len(index):
                continue
            check_times(path, index)
            for day, number, rows in group_rows(index, ids):
                times = index if rows is None else index[rows]
                first, last = int(times.min()), int(times.max())
                extent = found.setdefault(Key(chunk.schema, day, number), Extent(0, first, last))
                extent.rows += len(times)
                extent.first = min(extent.first, first)
                extent.last = max(extent.last, last)
    return found


def coverage_of(census: dict[Key, Extent]) -> Coverage:
    """Schemas and days of a census; of an empty file, no schemas and an empty range."""
    days = [key.day for key in census]
    schemas = tuple(sorted({key.schema for key in census}))
    return Coverage(schemas, min(days, default=0), max(days, default=-1))


class CoverageCache:
    """Coverage of files that had to be decoded to know it, remembered by content.

    Without a lake to keep it in, nothing is remembered.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def get(self, sha256: str) -> Coverage | None:
        known = read_json(_place(self._root, sha256)) if self._root else None
        if known is None:
            return None
        return Coverage(tuple(known["schemas"]), known["first_day"], known["last_day"])

    def put(self, sha256: str, coverage: Coverage) -> None:
        if self._root is None:
            return
        value = {
            "schemas": list(coverage.schemas),
            "first_day": coverage.first_day,
            "last_day": coverage.last_day,
        }
        write_json(self._root, _place(self._root, sha256), value)


def _place(root: Path, sha256: str) -> Path:
    return root / CACHE / "coverage" / f"{sha256}.json"
