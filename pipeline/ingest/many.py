"""Ingest of more symbols than can be written at once: sorted first, then one after another.

Whether a day is packed is decided here, when its symbols are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.ingest.census import index_times
from pipeline.ingest.columns import BadRecordError
from pipeline.ingest.dbn import Chunk
from pipeline.ingest.decode import Batch, DataFile, FileCount, Intake
from pipeline.ingest.sinks import PartitionWriters, Sink, SinkKey
from pipeline.ingest.spill import Owner, Piece, Spill
from pipeline.lanes import in_background
from pipeline.stage import Outputs, PackedWriter

Facts = Callable[[Sink], dict[str, Any]]
"""The notes on a partition."""


class ManySymbols:
    """Writes the partitions of files one after another, in bounded memory.

    Parameters
    ----------
    lake
        Root of the lake, for scratch files.
    packed_above
        Symbols a day (of a schema) above which they are packed; None packs none.
    packed_elsewhere
        Packed days that belong to other files: table, date, and which files.
    """

    def __init__(
        self,
        files: list[DataFile],
        lake: Path,
        packed_above: int | None,
        packed_elsewhere: Sequence[Sequence[str]] = (),
    ) -> None:
        self._files = files
        self._lake = lake
        self._packed_above = packed_above
        self._elsewhere = {(table, day): files for table, day, files in packed_elsewhere}
        self._intake = Intake(files)
        self._codes: dict[tuple[int, str, int], int] = {}
        self.sinks: list[Sink] = []

    @property
    def counts(self) -> list[FileCount]:
        return self._intake.counts

    def run(self, outputs: Outputs, dataset: str, facts: Facts) -> None:
        """Read all files, then write everything.

        Raises
        ------
        InputError
            If a file is damaged, or packs a day that is packed from other files.
        """
        total = sum(file.path.stat().st_size for file in self._files)
        with closing(Spill(self._lake)) as spill:
            for batch in in_background(iter(self._intake)):
                self._take(batch, spill)
                outputs.progress(batch.done, 2 * total)
            try:
                self._write(spill, outputs, dataset, facts)
            except BadRecordError as error:
                raise self._intake.located(error) from None

    def _take(self, batch: Batch, spill: Spill) -> None:
        """Records into the spill, those that a newer file supersedes left out."""
        ids = batch.records["instrument_id"].astype(np.int64)
        encoded = pa.array(batch.days << 32 | ids).dictionary_encode()
        known = [self._code(batch, key, spill) for key in encoded.dictionary.to_pylist()]
        codes = np.array(known, np.int64)[encoded.indices.to_numpy()]
        records, numbers = batch.records, batch.numbers
        kept = codes >= 0
        if not kept.all():
            self.counts[batch.file].rejected["superseded"] += int(len(kept) - kept.sum())
            records, numbers, codes = records[kept], numbers[kept], codes[kept]
        spill.add(records, numbers, codes.astype(np.uint32))

    def _code(self, batch: Batch, day_and_id: int, spill: Spill) -> int:
        """The spill's code of a UTC day and instrument, -1 where the records are superseded."""
        place = (batch.file, batch.schema, day_and_id)
        code = self._codes.get(place)
        if code is None:
            file, day = self._files[batch.file], day_and_id >> 32
            key = SinkKey(batch.schema, day, file.symbols.symbol(day_and_id & 0xFFFFFFFF, day))
            superseded = (key.schema, key.day, key.symbol) in file.superseded
            code = -1 if superseded else spill.code(Owner(key, batch.file))
            self._codes[place] = code
        return code

    # --- out ----------------------------------------------------------------------------------

    def _write(self, spill: Spill, outputs: Outputs, dataset: str, facts: Facts) -> None:
        keys = spill.keys
        symbols = Counter((key.schema, key.day) for key in keys)
        plain = PartitionWriters(outputs, dataset)
        packed: PackedWriter | None = None
        latest: tuple[str, int] | None = None
        for number, (key, pieces) in enumerate(spill.partitions()):
            outputs.progress(len(keys) + number, 2 * len(keys))
            sink = Sink(key)
            self.sinks.append(sink)
            day = (key.schema, key.day)
            if not self._packs(symbols[day]):
                for rows in self._rows(sink, pieces):
                    plain.write(key, sink.plan.table, rows)
                plain.close(key, facts(sink))
                continue
            if packed is None or day != latest:
                if packed is not None:
                    packed.close()
                whole = key.partition(dataset).without("symbol")
                self._check_own(sink.plan.table.name, whole["date"])
                packed, latest = outputs.packed(sink.plan.table, whole), day
            packed.start(key.symbol)
            for rows in self._rows(sink, pieces):
                packed.write(rows)
            packed.note(**facts(sink))

    def _check_own(self, table: str, day: str) -> None:
        others = self._elsewhere.get((table, day))
        if others:
            raise InputError.at(
                self._files[0].path,
                f"packs {table} of {day}, which is packed from {others} already",
                todo='ingest them at once: name all of them, or set lake.layout = "symbols"',
            )

    def _packs(self, symbols: int) -> bool:
        return self._packed_above is not None and symbols > self._packed_above

    def _rows(self, sink: Sink, pieces: Iterator[Piece]) -> Iterator[pa.Table]:
        for piece in pieces:
            source = self._files[piece.file].source
            index = _index(sink.key.schema, piece)
            yield from sink.append(piece.file, source, piece.records, piece.numbers, index)
        yield from sink.finish()


def _index(schema: str, piece: Piece) -> npt.NDArray[np.int64]:
    return index_times(Chunk(schema, False, piece.records, 0))
