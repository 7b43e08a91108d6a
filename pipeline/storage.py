"""All opening and committing of files: the one module that writes below the lake.

A file appears under its name complete or not at all: it is written in ``_tmp``, synced, renamed,
and its folder synced.  A Parquet file's bytes depend on its rows, its table and its metadata,
never on the chunks that arrived, the clock, the host or the number of workers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import StorageError
from pipeline.tables import Table

TMP = "_tmp"
COMMITS = "_commits"
CACHE = "_cache"
INDEX = "_index"
LOCK = ".lock"

COMPRESSION_LEVEL = 1
"""Of zstd, in the columns that have it."""
_PARQUET_VERSION = "2.6"
_DATA_PAGE_BYTES = 1 << 20
_WRITE_BATCH_ROWS = 1 << 16
"""Rows encoded at a time; pyarrow's 1,024 costs a tenth more time."""

_CODED_TEXT = pa.dictionary(pa.int32(), pa.string())
_FEW_TEXTS = 16
_BLOCK_BYTES = 1 << 20

_CRASH_POINT = os.environ.get("MBO_TEST_CRASH_AT", "")
"""Tests only: ``before-sync``, ``before-rename``, ``between-renames`` or ``before-commit``
kills the process there, to show that nothing half-done is ever taken for done."""


def crash_point(name: str) -> None:
    if name == _CRASH_POINT:
        os.kill(os.getpid(), 9)


def rows_per_group(table: Table) -> int:
    """Rows of a row group: fixed per table, about 20 to 40 MB of columns in memory."""
    return 262_144 if len(table.columns) <= 24 else 65_536


@contextlib.contextmanager
def readable_os_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"{path}: no space left on the disk; what was finished is kept: "
            "free some space and run the same command again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{path}: no permission to write ({os.strerror(error.errno)})")
    return StorageError(f"{path}: {error.strerror or error}")


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def commit_file(temporary: Path, final: Path) -> None:
    """Rename a synced file to its name; both are durable afterwards."""
    final.parent.mkdir(parents=True, exist_ok=True)
    crash_point("before-rename")
    os.replace(temporary, final)
    fsync_folder(final.parent)


def write_json(root: Path, final: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a JSON file atomically, keys sorted."""
    separators = None if indent else (",", ":")
    text = json.dumps(
        value, sort_keys=True, indent=indent, separators=separators, ensure_ascii=False
    )
    temporary = temporary_path(root, final.name)
    with readable_os_errors(final):
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        commit_file(temporary, final)


def read_json(path: Path) -> Any:
    """The parsed file, or None where there is none or it is damaged (then it is redone)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


_counter = iter(range(1 << 62))


def temporary_path(root: Path, name: str) -> Path:
    """A path in the lake's folder of temporaries, unique among processes."""
    folder = root / TMP
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{os.getpid()}-{next(_counter)}-{name}"


def scratch_file(root: Path) -> BinaryIO:
    """A file for what does not fit into memory: it has no name, and dies with its process."""
    path = temporary_path(root, "scratch")
    file = open(path, "w+b")  # noqa: SIM115 - closed by the caller
    path.unlink()
    return file


def clear_temporaries(root: Path) -> None:
    """Remove what killed runs left; only under the lake's lock."""
    shutil.rmtree(root / TMP, ignore_errors=True)


@contextlib.contextmanager
def lake_lock(root: Path) -> Iterator[None]:
    """One writer a lake at a time.  The lock dies with its process.

    Raises
    ------
    StorageError
        If another run holds it, or the folder cannot be made.
    """
    with readable_os_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        file = open(root / LOCK, "a+", encoding="utf-8")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StorageError(
                f"{root}: another run (process {holder}) is writing this lake; "
                "wait for it to end, or use another --lake"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        clear_temporaries(root)
        yield


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


class HashCache:
    """sha256 of raw files, remembered by path, size, mtime and inode."""

    def __init__(self, root: Path, *, rehash: bool = False) -> None:
        self._root = root
        self._path = root / CACHE / "sha256.json"
        self._known: dict[str, list[Any]] = {} if rehash else (read_json(self._path) or {})
        self._changed = False

    def sha256(self, path: Path) -> str:
        """Hash of the file's content, read in blocks when it is not known."""
        with readable_os_errors(path):
            stat = path.stat()
            key = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
            name = str(path.resolve())
            known = self._known.get(name)
            if known and known[:3] == key:
                return str(known[3])
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[name] = [*key, digest]
        self._changed = True
        return digest

    def last(self, path: Path) -> tuple[str, bool] | None:
        """Hash the file had when it was read last, and whether size, time and inode are still
        the same; None where it never was read.
        """
        known = self._known.get(str(path.resolve()))
        return (str(known[3]), _is_still(path, known)) if known else None

    @cached_property
    def present(self) -> frozenset[str]:
        """Contents that some file still has as it was read last: raw files get moved."""
        return frozenset(
            str(known[3]) for name, known in self._known.items() if _is_still(Path(name), known)
        )

    def save(self) -> None:
        if self._changed:
            write_json(self._root, self._path, self._known)
            self._changed = False


def _is_still(path: Path, known: Sequence[Any]) -> bool:
    """Whether a file has the size, time and inode it had."""
    try:
        stat = path.stat()
    except OSError:
        return False
    return list(known[:3]) == [stat.st_size, stat.st_mtime_ns, stat.st_ino]
