"""Columns of money: Arrow decimals with nine digits, and Python integers of 1e-9, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import MONEY

_MASK = (1 << 64) - 1


def money_column(units: Sequence[int | None]) -> pa.Array:
    """Decimal(38, 9) of integers in 1e-9 that passed ``ledger.checked``; None is null."""
    known = [value or 0 for value in units]
    words = np.empty((len(known), 2), np.uint64)
    words[:, 0] = [value & _MASK for value in known]
    words[:, 1] = [value >> 64 & _MASK for value in known]
    column = pa.Array.from_buffers(MONEY, len(known), [None, pa.py_buffer(words)])
    if None not in units:
        return column
    return pc.if_else(pa.array([value is not None for value in units]), column, None)


def money_units(column: pa.Array | pa.ChunkedArray) -> list[int]:
    """The inverse; the column must have no nulls."""
    if isinstance(column, pa.ChunkedArray):
        return [unit for chunk in column.chunks for unit in money_units(chunk)]
    if column.null_count:
        raise ValueError("money that is null")
    data = column.buffers()[1]
    if data is None or not len(column):
        return []
    words = np.frombuffer(data, np.uint64, 2 * len(column), column.offset * 16).reshape(-1, 2)
    high = words[:, 1].astype(np.int64).tolist()
    return [h << 64 | low for low, h in zip(words[:, 0].tolist(), high, strict=True)]
