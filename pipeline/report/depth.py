"""The book around a fill, from the lake's `book` rows, and the life of the order it filled.

A heat map has columns of equal time; each shows the book as it was at the column's end, on the
venue's clock.  The touch is drawn from every row.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.backtest.tables import MARKOUT_HORIZONS
from pipeline.book.layout import I64
from pipeline.errors import RequestError
from pipeline.instants import format_instant
from pipeline.report.curves import Drawn, Symbol
from pipeline.report.fills import Chosen
from pipeline.report.thinning import spread
from pipeline.units import NS_PER_S, NS_PER_US, PRICE_SCALE

COLUMNS: Final = 150
REACH: Final = 40
"""Ticks from the fill's price that are shown, up and down."""
_LOOK_BACK: Final = (10 * NS_PER_S, 600 * NS_PER_S)
"""How long before a window its first book row is looked for; a quieter book begins blank."""
_LATE: Final = 2 * NS_PER_S
"""How much later than the venue's clock a row may have been captured."""
_READ: Final = r"^(ts_recv|ts_event|price|size|side|(bid|ask)_(px|sz)_\d+)$"
_MOST_TOUCHES: Final = 600
_MOST_TRADES: Final = 300


def depth_maps(drawn: Drawn, chosen: Chosen, window: int) -> list[dict[str, Any]]:
    """One for each fill chosen; ``window`` is the time before and after it, ns."""
    if chosen.rows.is_empty():
        return []
    fills, orders = _stories(drawn, chosen)
    symbols = {(s.dataset, s.name): s for s in drawn.shown}
    found = []
    for fill in fills:
        symbol = symbols[fill["dataset"], fill["symbol"]]
        order = orders[fill["dataset"], fill["symbol"], fill["order"]]
        found.append(
            {
                "symbol": drawn.shown.index(symbol),
                "fill": fill["fill"],
                "why": fill["why"],
                "facts": _facts(fill, order, symbol),
                "life": _life(fill, order, symbol),
                **_book(drawn, symbol, fill, window),
            }
        )
    return found


def _stories(
    drawn: Drawn, chosen: Chosen
) -> tuple[list[dict[str, Any]], Mapping[tuple[str, str, int], dict[str, Any]]]:
    """The fills chosen, in their order, and their orders."""
    own = pl.col("reading") == drawn.primary
    keys = ["dataset", "symbol"]
    fills = chosen.rows.lazy().join(
        drawn.run.fills.filter(own), on=[*keys, "fill"], how="left", maintain_order="left"
    )
    rows = fills.with_columns(pl.col("ts", "ts_known").cast(pl.Int64)).collect()
    wanted = rows.lazy().select(*keys, "order").unique()
    orders = (
        drawn.run.orders.filter(own)
        .join(wanted, on=[*keys, "order"], how="semi")
        .with_columns(pl.col("ts_decided", "ts_arrived", "ts_ended").cast(pl.Int64))
        .collect()
    )
    by_key = {(o["dataset"], o["symbol"], o["order"]): o for o in orders.to_dicts()}
    return rows.to_dicts(), by_key


def _facts(fill: Mapping[str, Any], order: Mapping[str, Any], symbol: Symbol) -> dict[str, Any]:
    """What is said of a fill beside its picture; times as text, to the nanosecond."""
    times = {
        "decided": order["ts_decided"],
        "arrived": order["ts_arrived"],
        "filled": fill["ts"],
        "known": fill["ts_known"],
        "ended": order["ts_ended"],
    }
    return {
        "times": {name: None if ts is None else format_instant(ts) for name, ts in times.items()},
        "side": fill["side"],
        "price": fill["price"] / PRICE_SCALE,
        "size": fill["size"],
        "role": fill["role"],
        "reason": fill["reason"],
        "order": fill["order"],
        "type": f"{order['type']}, {order['tif']}",
        "limit": None if order["price"] is None else order["price"] / PRICE_SCALE,
        "order_size": order["size"],
        "order_filled": order["filled"],
        "status": order["status"],
        "replaced": order["replaced"],
        "ahead_at_entry": fill["ahead_at_entry"],
        "orders_ahead": order["orders_ahead"],
        "ahead": fill["ahead"],
        "position": fill["position"],
        "fee": float(fill["fee"]),
        "realised": float(fill["realised"]),
        "currency": symbol.contract.currency,
        "event": str(fill["event"]),
        "record": str(fill["record"]),
        "markouts": [
            None if fill[name] is None else fill[name] / symbol.contract.tick
            for name in MARKOUT_HORIZONS
        ],
    }


def _life(fill: Mapping[str, Any], order: Mapping[str, Any], symbol: Symbol) -> dict[str, Any]:
    """The order's life relative to the fill, in microseconds, and its limit in ticks from it."""

    def since(ts: int | None) -> int | None:
        return None if ts is None else (ts - fill["ts"]) // NS_PER_US

    limit = order["price"]
    return {
        "decided": since(order["ts_decided"]),
        "arrived": since(order["ts_arrived"]),
        "ended": since(order["ts_ended"]),
        "known": since(fill["ts_known"]),
        "limit": None if limit is None else (limit - fill["price"]) / symbol.contract.tick,
        "rests": order["ahead_at_entry"] is not None,
    }


def _book(drawn: Drawn, symbol: Symbol, fill: Mapping[str, Any], window: int) -> dict[str, Any]:
    start, end = fill["ts"] - window, fill["ts"] + window
    try:
        for look_back in _LOOK_BACK:
            rows = _rows(drawn, "book", symbol, start - look_back, end + _LATE)
            clock = rows["clock"].to_numpy()
            if len(clock) and clock[0] <= start:
                break
    except RequestError:
        return {"missing": "the lake holds no book of that time"}
    if rows.is_empty():
        return {"missing": "no book row near that time"}
    ends = start + np.arange(1, COLUMNS + 1) * (2 * window // COLUMNS)
    at = np.searchsorted(clock, ends, side="right") - 1
    tick = symbol.contract.tick
    columns: list[list[int] | int] = []
    for before, row in zip([-1, *at.tolist()], at.tolist(), strict=False):
        columns.append(0 if row == before else _levels(rows, row, fill["price"], tick))
    inside = np.flatnonzero((clock > start) & (clock <= end))
    inside = np.concatenate([at[:1][at[:1] >= 0], inside])
    try:
        trades = _rows(drawn, "trades", symbol, start, end + _LATE)
    except RequestError:
        trades = rows.clear()
    return {
        "window": window // NS_PER_US,
        "columns": columns,
        "touch": _touch(rows, inside, clock, fill, tick),
        **_trades(trades, start, end, fill, tick),
    }


def _rows(drawn: Drawn, table: str, symbol: Symbol, start: int, end: int) -> pl.DataFrame:
    """Rows captured in a span, with the venue's running clock as ``clock``; ns."""
    first, last = (datetime.fromtimestamp(ts // NS_PER_S, UTC).date() for ts in (start, end))
    frame = drawn.run.lake.scan(
        table, dataset=symbol.dataset, symbols=glob.escape(symbol.name), start=first, end=last
    ).filter(symbol.key)
    received = pl.col("ts_recv").cast(pl.Int64)
    rows = (
        frame.select(pl.col(_READ))
        .filter(
            (pl.col("ts_recv") >= pl.lit(start).cast(pl.Datetime("ns", "UTC")))
            & (pl.col("ts_recv") <= pl.lit(end).cast(pl.Datetime("ns", "UTC")))
        )
        .collect()
    )
    # Snapshot rows carry old times: the venue's clock never goes back.
    clock = pl.col("ts_event").cast(pl.Int64).cum_max().forward_fill().fill_null(received)
    return rows.with_columns(clock.alias("clock"))


def _levels(rows: pl.DataFrame, row: int, price: int, tick: int) -> list[int]:
    """Pairs of ticks from a price and size; bids are positive, asks negative."""
    if row < 0:
        return []
    values = rows.row(row, named=True)
    pairs: list[int] = []
    for name, size in values.items():
        side, _, level = name.partition("_sz_")
        px = values.get(f"{side}_px_{level}") if level else None
        if px is None or not size:
            continue
        offset = (px - price) // tick
        if abs(offset) <= REACH:
            pairs += [offset, size if side == "bid" else -size]
    return pairs


def _touch(
    rows: pl.DataFrame, inside: I64, clock: I64, fill: Mapping[str, Any], tick: int
) -> list[list[float | None]]:
    """Microseconds from the fill, best bid and best ask in ticks from it, where one changed."""
    best = rows[inside.tolist()].select("bid_px_00", "ask_px_00").rows()
    changes: list[list[float | None]] = []
    for i, (bid, ask) in zip(inside.tolist(), best, strict=True):
        where = [None if px is None else (px - fill["price"]) / tick for px in (bid, ask)]
        if not changes or changes[-1][1:] != where:
            changes.append([int(clock[i] - fill["ts"]) // NS_PER_US, *where])
    return [changes[i] for i in spread(len(changes), _MOST_TOUCHES).tolist()]


def _trades(
    rows: pl.DataFrame, start: int, end: int, fill: Mapping[str, Any], tick: int
) -> dict[str, Any]:
    """Prints of the window: microseconds, ticks from the fill, size (negative: a sale)."""
    own = rows.filter(pl.col("clock").is_between(start, end))
    if own.is_empty():
        return {"trades": [], "trades_of": 0}
    signed = pl.when(pl.col("side") == "A").then(-1).otherwise(1) * pl.col("size").cast(pl.Int64)
    drawn = own.select(
        (pl.col("clock") - fill["ts"]) // NS_PER_US,
        (pl.col("price") - fill["price"]) / tick,
        signed.alias("size"),
    ).top_k(_MOST_TRADES, by=pl.col("size").abs())
    return {"trades": [list(row) for row in drawn.sort("clock").rows()], "trades_of": len(own)}
