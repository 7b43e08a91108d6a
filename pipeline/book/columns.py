"""Records of any origin as the columns the kernel takes, and text codes back to Arrow.

Nothing is copied that need not be: null-free Arrow columns are seen in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.book.tape import NULL, Records, no_records
from pipeline.errors import InputError
from pipeline.units import F_LAST, F_SNAPSHOT

MBO_COLUMNS: Final = (
    "ts_recv", "ts_event", "sequence", "order_id", "price", "size", "flags", "channel_id",
    "action", "side", "record", "publisher_id", "instrument_id",
)  # fmt: skip
"""Columns of `mbo` that the book reads."""

REPLAY_COLUMNS: Final = tuple(c for c in MBO_COLUMNS if c not in ("sequence", "channel_id"))
"""Those that the simulator reads."""


class Chunk(NamedTuple):
    """Consecutive records of one symbol: the kernel's columns and whose book each is."""

    records: Records
    publisher: npt.NDArray[np.uint16]
    instrument: npt.NDArray[np.uint32]


def chunk_of_arrow(batch: pa.RecordBatch | pa.Table) -> Chunk:
    """Records of a batch of the `mbo` table; needs :data:`REPLAY_COLUMNS` at least.

    Where ``ts_recv`` is null the row's index time, its ``ts_event``, stands in.  ``sequence``
    and ``channel`` are 0 where the batch lacks them.
    """
    if isinstance(batch, pa.Table):
        batch = batch.combine_chunks()
        batch = batch.to_batches()[0] if batch.num_rows else pa.RecordBatch.from_pylist(
            [], schema=batch.schema
        )  # fmt: skip
    there = batch.schema.names
    get = {name: batch.column(name) for name in MBO_COLUMNS if name in there}
    ts_event = _integers(get["ts_event"], np.int64)
    ts_recv = _integers(get["ts_recv"], np.int64)
    if get["ts_recv"].null_count:
        ts_recv = np.where(ts_recv == NULL, ts_event, ts_recv)
    return Chunk(
        Records(
            ts_recv=ts_recv,
            ts_event=ts_event,
            sequence=_integers_or_zeros(get, "sequence", np.uint32, len(ts_event)),
            order_id=_integers(get["order_id"], np.uint64).view(np.int64),
            price=_integers(get["price"], np.int64),
            size=_integers(get["size"], np.uint32),
            flags=_integers(get["flags"], np.uint8),
            channel=_integers_or_zeros(get, "channel_id", np.uint8, len(ts_event)),
            action=_letters(get["action"]),
            side=_letters(get["side"]),
            record=_integers(get["record"], np.uint64).view(np.int64),
        ),
        _integers(get["publisher_id"], np.uint16),
        _integers(get["instrument_id"], np.uint32),
    )


def chunk_of_structs(array: npt.NDArray[Any], first_record: int = 0) -> Chunk:
    """Records of a numpy array with the vendor's MBO fields (``MBOMsg``)."""

    def column(name: str, kind: Any) -> npt.NDArray[Any]:
        return np.ascontiguousarray(array[name]).view(kind)

    ts_recv, ts_event = column("ts_recv", np.int64), column("ts_event", np.int64)
    if len(array) and (ts_event.min() == -1 or ts_recv.min() == -1):  # UNDEF_TIMESTAMP
        ts_event = np.where(ts_event == -1, NULL, ts_event)
        ts_recv = np.where(ts_recv == -1, ts_event, ts_recv)
    return Chunk(
        Records(
            ts_recv,
            ts_event,
            column("sequence", np.uint32),
            column("order_id", np.int64),
            column("price", np.int64),
            column("size", np.uint32),
            column("flags", np.uint8),
            column("channel_id", np.uint8),
            column("action", np.uint8),
            column("side", np.uint8),
            np.arange(first_record, first_record + len(array), dtype=np.int64),
        ),
        column("publisher_id", np.uint16),
        column("instrument_id", np.uint32),
    )


def check_types(records: Records) -> None:
    """Raise ValueError where a column is not of the kernel's type, or not contiguous."""
    models: tuple[npt.NDArray[Any], ...] = no_records()
    columns: tuple[npt.NDArray[Any], ...] = records
    for name, column, model in zip(Records._fields, columns, models, strict=True):
        if column.dtype != model.dtype or not column.flags.c_contiguous:
            layout = "contiguous" if column.flags.c_contiguous else "strided"
            raise ValueError(f"records.{name} is {layout} {column.dtype}, not {model.dtype}")


def take(chunk: Chunk, where: slice | npt.NDArray[Any]) -> Chunk:
    """Some records of a chunk: a slice (in place) or a mask (copied)."""
    return Chunk(
        Records._make(column[where] for column in chunk.records),
        chunk.publisher[where],
        chunk.instrument[where],
    )


def join(parts: Sequence[Records]) -> Records:
    """Records after one another."""
    if len(parts) == 1:
        return parts[0]
    return Records._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def cut(records: Records, start: int, stop: int | None = None) -> Records:
    """A range of records, in place."""
    return Records._make(column[start:stop] for column in records)


def event_ends(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Indices of the records that end an event, from the flags of consecutive records.

    F_LAST, or a snapshot row without it that a row of another kind follows.
    """
    last = (flags & F_LAST) != 0
    snapshot = (flags & F_SNAPSHOT) != 0
    if snapshot.any():
        last[:-1] |= snapshot[:-1] & ~snapshot[1:]
    return np.flatnonzero(last)


def _integers(column: pa.Array, kind: Any) -> npt.NDArray[Any]:
    """Values of a column of integers or timestamps; nulls become :data:`NULL`."""
    width = np.dtype(kind).itemsize
    if column.null_count:
        column = pc.fill_null(column.cast(pa.int64()), NULL)
    data = column.buffers()[1]
    if data is None or not len(column):
        return np.empty(0, kind)
    values: npt.NDArray[Any] = np.frombuffer(data, kind, len(column), column.offset * width)
    return values


def _integers_or_zeros(
    columns: Mapping[str, pa.Array], name: str, kind: Any, n: int
) -> npt.NDArray[Any]:
    return _integers(columns[name], kind) if name in columns else np.zeros(n, kind)


def _letters(column: pa.Array) -> npt.NDArray[np.uint8]:
    """The bytes of a text column whose values are one letter each."""
    if pa.types.is_dictionary(column.type):
        letters = np.array([ord(v) if len(v) == 1 else 0 for v in column.dictionary.to_pylist()])
        if len(column) and (column.null_count or not letters.all()):
            raise InputError("an action or side that is not one letter")
        codes = column.indices.to_numpy(zero_copy_only=False)
        # take: three times as fast as indexing.
        return letters.astype(np.uint8).take(codes) if len(column) else np.empty(0, np.uint8)
    if not len(column):
        return np.empty(0, np.uint8)
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    if column.null_count or not (np.diff(ends) == 1).all():
        raise InputError("an action or side that is not one letter")
    return np.frombuffer(data, np.uint8, len(column), int(ends[0]))


def column_of(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow column that sees a numpy array in place; :data:`NULL` in Int64 is null."""
    valid = None
    if kind.bit_width == 64 and values.dtype == np.int64:
        missing = values == NULL
        if missing.any():
            valid = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(values)])


def text_of(codes: npt.NDArray[np.uint8], names: Sequence[str]) -> pa.Array:
    """A text column from codes 0, 1, ... of names."""
    indices = pa.array(codes.view(np.int8))
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())).cast(pa.string())


def letters_of(codes: npt.NDArray[np.uint8]) -> pa.Array:
    """A text column from letters."""
    offsets = np.arange(len(codes) + 1, dtype=np.int32)
    data = np.ascontiguousarray(codes)
    return pa.StringArray.from_buffers(len(codes), pa.py_buffer(offsets), pa.py_buffer(data))
