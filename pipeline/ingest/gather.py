"""MBO records to columns in one pass: the copy that every record of a day goes through.

Field by field, each pass over the records costs a read of all their cache lines.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.jit import njit

FIELDS: Final = {
    "publisher_id": (2, "u2"), "instrument_id": (4, "u4"), "ts_event": (8, "i8"),
    "order_id": (16, "i8"), "price": (24, "i8"), "size": (32, "u4"), "flags": (36, "u1"),
    "channel_id": (37, "u1"), "action": (38, "u1"), "side": (39, "u1"), "ts_recv": (40, "i8"),
    "ts_in_delta": (48, "i4"), "sequence": (52, "u4"),
}  # fmt: skip
"""Where the kernel finds each field, and the bits it writes; the same in every DBN version."""


@cache
def fits(dtype: np.dtype[Any]) -> bool:
    """True for records that :func:`gather` reads: MBO, with ``ts_out`` or without."""
    fields: Any = dtype.fields or {}
    return (
        dtype.itemsize % 8 == 0
        and sys.byteorder == "little"
        and all(
            name in fields and (fields[name][1], fields[name][0].itemsize) == (at, int(kind[1]))
            for name, (at, kind) in FIELDS.items()
        )
    )


def gather(records: npt.NDArray[Any], start: int, columns: dict[str, npt.NDArray[Any]]) -> None:
    """Copy the fields of records into columns, from index ``start`` on.

    Parameters
    ----------
    records
        Contiguous, of a type that :func:`fits`.
    columns
        By the names of :data:`FIELDS`, in the fields' own widths, long enough.
    """
    words = np.require(records, requirements="A").view(np.int64).reshape(len(records), -1)
    stop = start + len(records)
    _gather(words, *(columns[name][start:stop].view(kind) for name, (_, kind) in FIELDS.items()))


def warm() -> None:
    """Compile the kernel."""
    kept = {name: np.empty(1, kind) for name, (_, kind) in FIELDS.items()}
    _gather(np.zeros((1, 7), np.int64), *kept.values())


@njit
def _gather(
    words: Any,
    publisher_id: Any,
    instrument_id: Any,
    ts_event: Any,
    order_id: Any,
    price: Any,
    size: Any,
    flags: Any,
    channel_id: Any,
    action: Any,
    side: Any,
    ts_recv: Any,
    ts_in_delta: Any,
    sequence: Any,
) -> None:
    for i in range(words.shape[0]):
        head, middle, tail = words[i, 0], words[i, 4], words[i, 6]
        publisher_id[i] = np.uint16(head >> 16)
        instrument_id[i] = np.uint32(head >> 32)
        ts_event[i] = words[i, 1]
        order_id[i] = words[i, 2]
        price[i] = words[i, 3]
        size[i] = np.uint32(middle)
        flags[i] = np.uint8(middle >> 32)
        channel_id[i] = np.uint8(middle >> 40)
        action[i] = np.uint8(middle >> 48)
        side[i] = np.uint8(middle >> 56)
        ts_recv[i] = words[i, 5]
        ts_in_delta[i] = np.int32(tail)
        sequence[i] = np.uint32(tail >> 32)
