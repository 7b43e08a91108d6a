"""A session's features and what a model predicted beside them, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.models.tables import PREDICTED

ROWS_AT_ONCE: Final = 1 << 16


class FeatureFile(NamedTuple):
    """A file of `features`, and that of `predictions` with the same rows where they are read."""

    features: Path
    predictions: Path | None = None


def batches(files: Sequence[FeatureFile], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Columns of both, in the order asked for.

    Raises
    ------
    InputError
        If the rows of the two files are not the same.
    """
    wanted = list(columns)
    predicted = [name for name in wanted if name in PREDICTED]
    for pair in files:
        if not predicted:
            yield from _read(pair.features, wanted)
            continue
        own = [name for name in wanted if name not in PREDICTED]
        beside = _Beside(pair, ["event", *predicted])
        read = list(dict.fromkeys(["event", *own]))
        for batch in _read(pair.features, read):
            other = beside.take(batch["event"])
            arrays = [(other if name in predicted else batch)[name] for name in wanted]
            yield pa.RecordBatch.from_arrays(arrays, wanted)
        beside.finish()


def _read(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    # What is buffered beforehand is kept until the file is closed: all of it, in the end.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False)


class _Beside:
    """Rows of `predictions` in portions of the features'."""

    def __init__(self, pair: FeatureFile, columns: list[str]) -> None:
        assert pair.predictions is not None  # the plan names both where predictions are read
        self._pair = pair
        self._rest = _read(pair.predictions, columns)
        self._held: list[pa.RecordBatch] = []

    def take(self, events: pa.Array) -> pa.RecordBatch:
        """The next rows, which are of these events."""
        needed = len(events)
        while sum(batch.num_rows for batch in self._held) < needed:
            batch = next(self._rest, None)
            if batch is None:
                raise self._unlike()
            self._held.append(batch)
        whole = pa.Table.from_batches(self._held).combine_chunks()
        [taken] = whole.slice(0, needed).to_batches() or [self._held[0].slice(0, 0)]
        self._held = whole.slice(needed).to_batches()
        if not pc.all(pc.equal(taken["event"], events), min_count=0).as_py():
            raise self._unlike()
        return taken

    def finish(self) -> None:
        """There are no more events."""
        if self._held or next(self._rest, None) is not None:
            raise self._unlike()

    def _unlike(self) -> InputError:
        return InputError.at(
            str(self._pair.predictions),
            f"its rows are not those of {self._pair.features}",
            todo="run `mbo train` again",
        )
