"""DBN files as numpy records in chunks, straight from the decompressed stream.

No database client: the header is decoded by ``databento_dbn``, records are views of the stream's
bytes.  A file whose records share one type and length (every historical file) is cut by fixed
stride; a stream of mixed types is walked record by record and split by type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

import databento_dbn as dbn
import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.ingest.bytestream import DAMAGED, ByteStream, refuse_foreign, walk_frames
from pipeline.ingest.layouts import MIN_RECORD_BYTES, NEWEST, is_record_head, layout

CHUNK_BYTES = 56 << 15
"""Decompressed bytes of a chunk: 32,768 MBO records, 1.8 MB: larger chunks leave the cache."""

_MAX_HEADER_BYTES = 1 << 29
_SHORT_HEADER = "is truncated inside its header"
_UNDEFINED = 2**64 - 1

Records = npt.NDArray[Any]
"""A structured array, one element a record."""


@dataclass(frozen=True)
class Mapping:
    """One interval of the header's symbol mappings: [start, end) in UTC dates."""

    symbol_in: str
    symbol_out: str
    start: date
    end: date


@dataclass(frozen=True)
class Header:
    """A DBN file's metadata."""

    version: int
    dataset: str
    schema: str | None
    """None where the stream holds several."""
    start: int
    """Nanoseconds since the epoch; 0 where the stream does not know."""
    end: int | None
    stype_in: str | None
    stype_out: str | None
    ts_out: bool
    limit: int | None
    symbols: tuple[str, ...]
    partial: tuple[str, ...]
    not_found: tuple[str, ...]
    mappings: tuple[Mapping, ...]


@dataclass(frozen=True)
class Chunk:
    """Records of one schema, in file order."""

    schema: str
    """Databento schema; for control records the reason why they become no row."""
    control: bool
    records: Records
    first: int
    """Position of the first record in the file, where they are consecutive."""
    positions: npt.NDArray[np.uint64] | None = None
    """Position of each record in the file, where they are not."""

    def record_numbers(self) -> npt.NDArray[np.uint64]:
        if self.positions is not None:
            return self.positions
        return np.arange(self.first, self.first + len(self.records), dtype=np.uint64)


def read_header(path: Path) -> Header:
    """The metadata of a file; reads its first block only.

    Raises
    ------
    InputError
        If the file is no DBN file; the message says what it is and what to do.
    """
    with DbnReader(path) as reader:
        return reader.header


class DbnReader:
    """Iterates over a file's records in chunks of bounded size.

    Raises
    ------
    InputError
        On opening, if the file is no DBN file.  On reading, if it is truncated or corrupt, with
        the number of the record.  No chunk of a damaged part is ever returned as good.
    """

    def __init__(self, path: Path, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.path = path
        self._chunk_bytes = chunk_bytes
        self.records_read = 0
        """Records in the chunks returned so far."""
        try:
            self._stream = ByteStream(path)
        except OSError as error:
            raise InputError.at(path, f"cannot be opened: {error.strerror}") from error
        try:
            self.header = _read_header(self._stream)
        except BaseException:
            self._stream.close()
            raise

    def position(self) -> int:
        """Bytes of the file read so far, for progress."""
        return self._stream.position()

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Chunk]:
        fault = walk_frames(self.path).fault if self._stream.compressed else ""
        rest: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        while True:
            buffer = np.empty(max(self._chunk_bytes, 2 * len(rest)), np.uint8)
            buffer[: len(rest)] = rest
            count = self._stream.readinto(buffer.data[len(rest) :])
            filled = len(rest) + count
            ended = filled < len(buffer)
            used, before = 0, -1
            # Records of one type may be followed by a few of another: at the end of the data
            # nothing else comes to cut them from.
            while used > before and used < filled and (ended or before < 0):
                before = used
                for chunk in self._cut(buffer[used:filled]):
                    self.records_read += len(chunk.records)
                    used += chunk.records.nbytes
                    yield chunk
            rest = buffer[used:filled]
            if ended:
                break
        fault = fault or self._stream.fault
        if not fault and len(rest):
            fault = f"is truncated: {len(rest)} bytes of a record are left"
        if fault:
            raise InputError.at(self.path, fault, record=self.records_read, todo=DAMAGED)

    def _cut(self, data: npt.NDArray[np.uint8]) -> Iterator[Chunk]:
        """Chunks of the whole records at the start of the bytes."""
        if len(data) < MIN_RECORD_BYTES:
            return
        length, rtype = int(data[0]) * 4, int(data[1])
        if length >= MIN_RECORD_BYTES and len(data) >= length:
            count = len(data) // length
            heads = np.ndarray((count,), np.uint16, data, strides=(length,))
            if (heads == heads[0]).all():
                yield self._chunk(data[: count * length], rtype, length, None)
                return
        yield from self._split(data)

    def _split(self, data: npt.NDArray[np.uint8]) -> Iterator[Chunk]:
        """The same for records of mixed types: walked, then gathered by type."""
        from pipeline.ingest.walk import record_offsets

        offsets = record_offsets(data)
        base = self.records_read
        if not len(offsets):
            if int(data[0]) * 4 < MIN_RECORD_BYTES:
                raise self._no_record(data, base)
            return
        kinds = data[offsets].astype(np.uint16) << 8 | data[offsets + 1]
        stopped = int(offsets[-1]) + int(data[offsets[-1]]) * 4
        broken = stopped < len(data) and int(data[stopped]) * 4 < MIN_RECORD_BYTES
        for kind in np.unique(kinds):
            which = np.flatnonzero(kinds == kind)
            length = (int(kind) >> 8) * 4
            gathered = data[offsets[which][:, None] + np.arange(length)]
            positions = which.astype(np.uint64) + np.uint64(base)
            yield self._chunk(gathered.reshape(-1), int(kind) & 0xFF, length, positions)
        if broken:
            raise self._no_record(data[stopped:], base + len(offsets))

    def _no_record(self, data: npt.NDArray[np.uint8], record: int) -> InputError:
        what = f"is corrupt: a record of length {int(data[0]) * 4}"
        return InputError.at(self.path, what, record=record, todo=DAMAGED)

    def _chunk(
        self,
        data: npt.NDArray[np.uint8],
        rtype: int,
        length: int,
        positions: npt.NDArray[np.uint64] | None,
    ) -> Chunk:
        header = self.header
        found = layout(rtype, length, header.version, header.schema, ts_out=header.ts_out)
        if found is None:
            record = self.records_read if positions is None else int(positions[0])
            what = f"holds a record of unknown type {rtype} and length {length}"
            todo = "it is corrupt, or newer than this program: update databento-dbn"
            if layout(rtype, length, header.version, None, ts_out=header.ts_out) is not None:
                what = f"holds a record of type {rtype}, which its schema {header.schema} has not"
                todo = DAMAGED
            raise InputError.at(self.path, what, record=record, todo=todo)
        records = data.view(found.dtype)
        return Chunk(found.schema, found.control, records, self.records_read, positions)


def _read_header(stream: ByteStream) -> Header:
    """Decode the metadata at the start of the stream; leaves the stream at the first record."""
    path = stream.path
    start = stream.read(8)
    if not path.stat().st_size:
        raise InputError.at(path, "is empty", todo=DAMAGED)
    if start[:3] != b"DBN":
        _refuse(stream, start)
    if len(start) < 8:
        raise InputError.at(path, stream.fault or _SHORT_HEADER, todo=DAMAGED)
    version = start[3]
    if not 1 <= version <= NEWEST:
        newer = "update databento-dbn" if version > NEWEST else DAMAGED
        raise InputError.at(path, f"is DBN version {version}, unknown here", todo=newer)
    length = int.from_bytes(start[4:8], "little")
    if length > _MAX_HEADER_BYTES:
        what = f"has a corrupt header: its length is given as {length:,} bytes"
        raise InputError.at(path, what, todo=DAMAGED)
    body = stream.read(length)
    if len(body) < length:
        raise InputError.at(path, stream.fault or _SHORT_HEADER, todo=DAMAGED)
    try:
        metadata = dbn.Metadata.decode(start + body)
        return _header(version, metadata)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # pyo3's PanicException is no Exception
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError.at(path, f"has a corrupt header: {reason}", todo=DAMAGED) from None


def _header(version: int, metadata: Any) -> Header:
    end = metadata.end
    return Header(
        version=version,
        dataset=metadata.dataset,
        schema=str(metadata.schema) if metadata.schema is not None else None,
        start=0 if metadata.start in (None, _UNDEFINED) else int(metadata.start),
        end=None if end in (None, 0, _UNDEFINED) else int(end),
        stype_in=str(metadata.stype_in) if metadata.stype_in is not None else None,
        stype_out=str(metadata.stype_out) if metadata.stype_out is not None else None,
        ts_out=bool(metadata.ts_out),
        limit=metadata.limit,
        symbols=tuple(metadata.symbols),
        partial=tuple(metadata.partial),
        not_found=tuple(metadata.not_found),
        mappings=tuple(
            Mapping(symbol, item["symbol"], item["start_date"], item["end_date"])
            for symbol, items in metadata.mappings.items()
            for item in items
        ),
    )


def _refuse(stream: ByteStream, start: bytes) -> None:
    """Say what a stream without DBN's magic is.

    Raises
    ------
    InputError
        Always.
    """
    path = stream.path
    with open(path, "rb") as file:
        outer = file.read(12)
    if outer[8:11] == b"DBZ":
        raise InputError.at(
            path,
            "is DBZ, the vendor's format before DBN",
            todo="convert it with the vendor's `dbn` tool, or download the data again",
        )
    if len(start) < 8 and stream.compressed:
        fault = walk_frames(path).fault or stream.fault or "holds no data"
        raise InputError.at(path, fault, todo=DAMAGED)
    if len(start) == 8 and is_record_head(start[0] * 4, start[1]):
        raise InputError.at(
            path,
            "holds records without the DBN header that names dataset, schema and version "
            "(a fragment)",
            todo="use the whole .dbn file it was cut from",
        )
    refuse_foreign(path, start)
