"""Where records begin in a stream of mixed lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.ingest.layouts import MIN_RECORD_BYTES
from pipeline.jit import njit

_MIN = MIN_RECORD_BYTES


@njit
def _walk(data: Any, offsets: Any) -> int:
    at = 0
    count = 0
    size = len(data)
    while at < size:
        length = int(data[at]) * 4
        if length < _MIN or at + length > size:
            break
        offsets[count] = at
        count += 1
        at += length
    return count


def record_offsets(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Byte offsets of the whole records at the start of ``data``.

    Stops before a record that is cut off by the end of the data and before one whose length is
    impossible; the caller tells them apart by the byte that follows.
    """
    offsets = np.empty(len(data) // _MIN + 1, np.int64)
    return offsets[: _walk(data, offsets)]
