"""Which times the vendor's files speak for, so that what is missing can be told from what is out.

A historical file's header says the time it was asked for; within it the absence of a row means
something.  Where a file was cut off by a limit, says nothing, or is gone, only the time from its
first to its last row is known to be covered, the last instant itself only in part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.catalog import LakeCatalog
from pipeline.errors import InputError
from pipeline.ingest.dbn import Header, read_header
from pipeline.units import NS_PER_DAY

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Coverage:
    """Disjoint spans [start, end), nanoseconds since the epoch, in order."""

    spans: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> Coverage:
        """The union of some spans."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(span for span in spans if span[0] < span[1]):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return cls(tuple(merged))

    def holds(self, start: npt.NDArray[np.int64], length: int = 1) -> npt.NDArray[np.bool_]:
        """Whether [start, start + length) lies within one span, for each start."""
        inside = np.zeros(len(start), np.bool_)
        for first, end in self.spans:
            inside |= (start >= first) & (start + length <= end)
        return inside


class Sources:
    """The raw files behind the partitions of a lake: names and coverage."""

    def __init__(self, catalog: LakeCatalog) -> None:
        self.names: dict[str, str] = {}
        """File name by the ``source`` of its rows."""
        self._spans: dict[tuple[str, str, str, str], list[tuple[int, int]]] = {}
        for commit in catalog.commits("ingest"):
            raw = {item["sha256"]: Path(item["raw"]) for item in commit.record["inputs"]
                   if "raw" in item}  # fmt: skip
            for stored in commit.outputs(catalog.root):
                if stored.table == "sources":
                    self._take(stored.partition["dataset"], stored.files, raw)

    def _take(self, dataset: str, files: Sequence[Path], raw: dict[str, Path]) -> None:
        columns = ["source", "file", "sha256", "schema", "date", "symbol", "first_ts", "last_ts"]
        rows = pl.concat([pl.read_parquet(file, columns=columns) for file in files])
        rows = rows.filter(pl.col("date").is_not_null(), pl.col("symbol").is_not_null())
        rows = rows.with_columns(pl.col("first_ts", "last_ts").cast(pl.Int64))
        headers: dict[str, Header | None] = {}
        for source, name, sha256, schema, day, symbol, first, last in rows.iter_rows():
            self.names[source] = name
            if sha256 not in headers:
                headers[sha256] = _header(raw.get(sha256))
            midnight = (day - _EPOCH).days * NS_PER_DAY
            start, end = _span(headers[sha256], first, last)
            span = (max(start, midnight), min(end, midnight + NS_PER_DAY))
            self._spans.setdefault((dataset, schema, str(day), symbol), []).append(span)

    def coverage(self, dataset: str, schema: str, day: str, symbol: str) -> Coverage:
        """What the files of a schema speak for, on one day and symbol."""
        return Coverage.of(self._spans.get((dataset, schema, day, symbol), ()))


def _header(path: Path | None) -> Header | None:
    if path is None or not path.is_file():
        return None
    try:
        return read_header(path)
    except InputError:
        return None  # another file has its name by now


def _span(header: Header | None, first: int, last: int) -> tuple[int, int]:
    if header is None or header.end is None or not header.start:
        return first, last
    if not header.start <= first <= last < header.end:
        return first, last  # bars may begin before the time asked for
    return header.start, last if header.limit else header.end
