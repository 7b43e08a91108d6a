"""The kernel's columns as Arrow tables of the lake, seen in place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline import tables
from pipeline.book.columns import column_of, letters_of, text_of
from pipeline.book.tape import Prints, Rows
from pipeline.columns import PRICE, SIZE, TS


class Batch(NamedTuple):
    """Rows that became final: `book` and `flow` have the same number of rows, if flow is kept."""

    book: pa.Table
    flow: pa.Table
    trades: pa.Table


def _same(value: int, rows: int, kind: pa.DataType) -> pa.Array:
    return column_of(np.full(rows, value, kind.to_pandas_dtype()), kind)


def book_rows(rows: Rows, n: int, key: tuple[int, int], table: tables.Table) -> pa.Table:
    """Rows of `book` of one publisher and instrument (``key``)."""
    columns = [
        column_of(rows.event[:n], pa.int64()),
        column_of(rows.ts_recv[:n], TS),
        column_of(rows.ts_event[:n], TS),
        column_of(rows.sequence[:n], SIZE),
        _same(key[0], n, pa.uint16()),
        _same(key[1], n, pa.uint32()),
        pa.array(rows.valid[:n].view(np.bool_)),
        text_of(rows.state[:n], tables.BOOK_STATES),
    ]
    for bid in range(0, len(rows.price), 2):
        columns += [column_of(rows.price[side, :n], PRICE) for side in (bid, bid + 1)]
        columns += [column_of(rows.size[side, :n], SIZE) for side in (bid, bid + 1)]
        columns += [column_of(rows.orders[side, :n], SIZE) for side in (bid, bid + 1)]
    return pa.Table.from_arrays(columns, schema=table.schema())


def flow_rows(rows: Rows, n: int) -> pa.Table:
    """The same rows of `flow`; none where there is no room for them."""
    if not rows.flow.shape[1]:
        return tables.FLOW.schema().empty_table()
    columns = [column_of(rows.event[:n], pa.int64())]
    columns += [column_of(column[:n], SIZE) for column in rows.flow]
    return pa.Table.from_arrays(columns, schema=tables.FLOW.schema())


def trade_rows(prints: Prints, n: int, key: tuple[int, int]) -> pa.Table:
    """Rows of `trades`."""
    columns = [
        column_of(prints.event[:n], pa.int64()),
        column_of(prints.ts_recv[:n], TS),
        column_of(prints.ts_event[:n], TS),
        column_of(prints.price[:n], PRICE),
        column_of(prints.size[:n], SIZE),
        letters_of(prints.side[:n]),
        _same(key[0], n, pa.uint16()),
        _same(key[1], n, pa.uint32()),
        column_of(prints.bid_px[:n], PRICE),
        column_of(prints.ask_px[:n], PRICE),
        column_of(prints.bid_sz[:n], SIZE),
        column_of(prints.ask_sz[:n], SIZE),
        column_of(prints.aggressor_size[:n], SIZE),
        column_of(prints.aggressor_fills[:n], SIZE),
        column_of(prints.record[:n].view(np.uint64), pa.uint64()),
    ]
    return pa.Table.from_arrays(columns, schema=tables.TRADES.schema())


def merge(batches: list[Batch]) -> Batch:
    """Rows of several books in the order of their events."""
    if len(batches) == 1:
        return batches[0]
    return Batch(*(_sorted(list(parts)) for parts in zip(*batches, strict=True)))


def _sorted(parts: list[pa.Table]) -> pa.Table:
    """Rows of `book` of one publisher and instrument (``key``)."""
    table = pa.concat_tables(parts)
    order = np.argsort(table["event"].to_numpy(), kind="stable")
    return table.take(pa.array(order))
