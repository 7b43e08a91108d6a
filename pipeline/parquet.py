"""Parquet files of the lake: row groups, encodings, and the hash of what is written.

A file's bytes depend on its rows, its table and its metadata, never on the chunks that arrived,
the clock, the host or the number of workers.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.storage import crash_point, readable_os_errors
from pipeline.tables import Table

COMPRESSION_LEVEL = 1
"""Of zstd, in the columns that have it."""
_PARQUET_VERSION = "2.6"
_DATA_PAGE_BYTES = 1 << 20
_WRITE_BATCH_ROWS = 1 << 16
"""Rows encoded at a time; pyarrow's 1,024 costs a tenth more time."""

_CODED_TEXT = pa.dictionary(pa.int32(), pa.string())
_FEW_TEXTS = 16
_BLOCK_BYTES = 1 << 20


def rows_per_group(table: Table) -> int:
    """Rows of a row group: fixed per table, about 20 to 40 MB of columns in memory."""
    return 262_144 if len(table.columns) <= 24 else 65_536


class _HashingFile:
    """A binary file that hashes what is written; enough of a file for pyarrow."""

    def __init__(self, path: Path) -> None:
        self.file: BinaryIO = open(path, "wb", buffering=1 << 20)  # noqa: SIM115
        self.sha256 = hashlib.sha256()
        self.also: Any = None
        """A second hash of what is written, where one is wanted."""
        self.bytes = 0
        self.dropped = False
        """Nothing is written any more: pyarrow empties its buffers even when it is given up."""

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self.dropped:
            return len(view)
        self.sha256.update(view)
        if self.also is not None:
            self.also.update(view)
        self.bytes += len(view)
        return self.file.write(view)

    def flush(self) -> None:
        self.file.flush()

    @property
    def closed(self) -> bool:
        return self.file.closed

    def tell(self) -> int:
        return self.bytes

    def close(self) -> None:
        if not self.file.closed:
            self.file.flush()
            crash_point("before-sync")
            os.fsync(self.file.fileno())
            self.file.close()

    def seekable(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


class ParquetFile:
    """A Parquet file in the making: fixed row groups, fixed encodings, hashed on the way.

    Columns whose encoding is "delta" have statistics, and those named in ``ranges``.
    """

    def __init__(
        self, path: Path, table: Table, metadata: Mapping[str, str], ranges: Sequence[str] = ()
    ) -> None:
        self.path = path
        self.table = table
        self.rows = 0
        self.groups = 0
        self._group = rows_per_group(table)
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._schema = table.schema().with_metadata(dict(metadata))
        with readable_os_errors(path):
            self._file = _HashingFile(path)
        # pyarrow writes page by page: gathered, so that Python is asked once a block.
        self._stream = pa.BufferedOutputStream(pa.PythonFile(self._file, mode="w"), _BLOCK_BYTES)
        # Ranges help where rows are sorted: times, events, records.  Elsewhere they only cost.
        ranged = [c.name for c in table.columns if c.encoding == "delta" or c.name in ranges]
        self._writer = pq.ParquetWriter(
            self._stream,
            _written_schema(self._schema),
            version=_PARQUET_VERSION,
            data_page_size=_DATA_PAGE_BYTES,
            write_batch_size=_WRITE_BATCH_ROWS,
            write_statistics=ranged or False,
            # Text is written from codes; whoever reads the file gets text.
            store_schema=False,
            **_encodings(table),
        )

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Append rows whose columns are the table's, in order and in type; text may be coded."""
        part = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
        if not part.num_rows:
            return
        expected = self._schema.names
        if part.column_names != expected:
            raise TypeError(f"{self.table.name}: columns {part.column_names}, expected {expected}")
        self._pending.append(_conformed(part, self._schema))
        self._pending_rows += part.num_rows
        self.rows += part.num_rows
        while self._pending_rows >= self._group:
            self._flush(self._group)

    def _flush(self, rows: int) -> None:
        if any(part.schema != self._pending[0].schema for part in self._pending):
            self._pending = [part.cast(self._schema) for part in self._pending]
        whole = pa.concat_tables(self._pending)
        group, rest = whole.slice(0, rows), whole.slice(rows)
        self._write_group(group)
        self._pending = [rest] if rest.num_rows else []
        self._pending_rows = rest.num_rows

    def _write_group(self, group: pa.Table) -> None:
        # One chunk a column: pages must not show where the caller's chunks ended.
        columns = [
            _codes(column) if pa.types.is_string(field.type) else _whole(column)
            for field, column in zip(self._schema, group.columns, strict=True)
        ]
        whole = pa.Table.from_arrays(columns, schema=self._writer.schema)
        with readable_os_errors(self.path):
            self._writer.write_table(whole, row_group_size=group.num_rows)
        self.groups += 1

    def write_group(self, group: pa.Table, digest: Any = None) -> None:
        """Append a row group as it is, instead of :meth:`write`; ``digest`` takes in its bytes,
        which depend on its rows alone, not on where in the file they are.
        """
        self._stream.flush()
        self._file.also = digest
        self._write_group(_conformed(group, self._schema))
        self._stream.flush()
        self._file.also = None
        self.rows += group.num_rows

    def close(self) -> None:
        """Write what is left and sync; the file stays where it was written."""
        if self._pending_rows:
            self._flush(self._pending_rows)
        with readable_os_errors(self.path):
            self._stream.flush()
            self._data_sha256 = self._file.sha256.copy()
            if self._schema.metadata:
                self._writer.add_key_value_metadata(self._schema.metadata)
            self._writer.close()
            self._stream.flush()
            self._file.close()

    def content(self, extra: str) -> str:
        """Hash of the rows, of ``extra`` and of the table's name and version.

        The footer is left out: it tells where the rows came from, and rows that come out the
        same from other inputs are the same content to whoever reads them.
        """
        digest = self._data_sha256.copy()
        digest.update(f"{self.table.name} {self.table.version} {self.rows} {extra}".encode())
        return digest.hexdigest()

    def abandon(self) -> None:
        """Close without finishing and remove what was written."""
        self._file.dropped = True
        with contextlib.suppress(Exception):
            self._writer.close()
        with contextlib.suppress(Exception):
            self._stream.flush()
        with contextlib.suppress(Exception):
            self._file.file.close()
        self.path.unlink(missing_ok=True)

    @property
    def bytes(self) -> int:
        return self._file.bytes

    @property
    def sha256(self) -> str:
        return self._file.sha256.hexdigest()


def _encodings(table: Table) -> dict[str, Any]:
    """Pyarrow's arguments for the encodings and codecs the table declares."""
    names = {
        "delta": "DELTA_BINARY_PACKED",
        "split": "BYTE_STREAM_SPLIT",
        "plain": "PLAIN",
    }
    dictionary = [c.name for c in table.columns if c.encoding == "dict"]
    encoded = {c.name: names[c.encoding] for c in table.columns if c.encoding != "dict"}
    levels = {c.name: COMPRESSION_LEVEL for c in table.columns if c.codec == "zstd"}
    return {
        "use_dictionary": dictionary or False,
        "column_encoding": encoded or None,
        "compression": {c.name: c.codec for c in table.columns},
        "compression_level": levels or None,
    }


def _written_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with text as codes: pyarrow then need not hash every text."""
    fields = [
        pa.field(f.name, _CODED_TEXT, f.nullable) if pa.types.is_string(f.type) else f
        for f in schema
    ]
    return pa.schema(fields)


def _whole(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The column in one piece; copied only where it is not."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _codes(column: pa.ChunkedArray) -> pa.Array:
    """Text as codes of the texts that occur, sorted: how it was coded before does not show."""
    array = _whole(column)
    if isinstance(array, pa.ChunkedArray):  # older pyarrow; or too much text for one array
        array = pa.concat_arrays(array.chunks)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    indices, texts = array.indices, array.dictionary
    used = pa.array(_occurring(indices, len(texts)))
    ordered = used.take(pc.sort_indices(texts.take(used)))
    if ordered.to_pylist() == list(range(len(texts))):
        return pa.DictionaryArray.from_arrays(indices.cast(_CODED_TEXT.index_type), texts)
    places = np.zeros(len(texts), np.int32)
    places[ordered.to_numpy()] = np.arange(len(ordered), dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pc.take(pa.array(places), indices), texts.take(ordered))


def _occurring(indices: pa.Array, texts: int) -> npt.NDArray[np.int64]:
    """Codes below ``texts`` that occur, sorted."""
    codes = indices.drop_null().to_numpy() if indices.null_count else indices.to_numpy()
    if texts > _FEW_TEXTS:
        return np.flatnonzero(np.bincount(codes, minlength=texts))
    return np.flatnonzero([(codes == code).any() for code in range(texts)])


def _conformed(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns in the types of the schema, or dictionaries of them."""
    if part.schema == schema:
        return part
    fields, columns = [], []
    for field, column in zip(schema, part.columns, strict=True):
        coded = pa.types.is_dictionary(column.type) and column.type.value_type == field.type
        columns.append(column if coded else column.cast(field.type))
        fields.append(pa.field(field.name, columns[-1].type, field.nullable))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))
