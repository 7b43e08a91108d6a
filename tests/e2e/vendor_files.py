"""Files of other schemas, made in plain Python from the sample's MBP-10 and trades."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import databento_dbn as dbn
import numpy as np
import zstandard

RTYPES = {
    "mbo": (160, dbn.MBOMsg),
    "mbp-1": (1, dbn.MBP1Msg),
    "tbbo": (1, dbn.v3.TBBOMsg),
    "mbp-10": (10, dbn.MBP10Msg),
    "trades": (0, dbn.TradeMsg),
    "ohlcv-1s": (32, dbn.OHLCVMsg),
    "ohlcv-1m": (33, dbn.OHLCVMsg),
    "ohlcv-1h": (34, dbn.OHLCVMsg),
    "ohlcv-1d": (35, dbn.OHLCVMsg),
}
STEPS = {"ohlcv-1s": 1, "ohlcv-1m": 60, "ohlcv-1h": 3600, "ohlcv-1d": 86_400}
Change = Callable[[np.ndarray], np.ndarray]


def read(path: Path) -> tuple[Any, np.ndarray]:
    """Metadata and records of a file of one schema."""
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        data = io.BytesIO(stream.read())
    data.read(4)
    length = int.from_bytes(data.read(4), "little")
    body = data.getvalue()
    decoder = dbn.DBNDecoder()
    decoder.write(body[: 8 + length])
    metadata = decoder.decode()[0]
    schema = str(metadata.schema)
    return metadata, np.frombuffer(body[8 + length :], dtype(schema))


def dtype(schema: str) -> np.dtype[Any]:
    return np.dtype(RTYPES[schema][1]._dtypes)


def write(path: Path, metadata: Any, schema: str, records: np.ndarray) -> None:
    """A file with the metadata of another, but for its schema."""
    mappings = [
        SimpleNamespace(
            raw_symbol=symbol,
            intervals=[SimpleNamespace(**interval) for interval in intervals],
        )
        for symbol, intervals in metadata.mappings.items()
    ]
    header = dbn.Metadata(
        dataset=metadata.dataset,
        start=metadata.start,
        end=metadata.end,
        stype_in=metadata.stype_in,
        stype_out=metadata.stype_out,
        schema=dbn.Schema.from_str(schema),
        symbols=metadata.symbols,
        partial=[],
        not_found=[],
        mappings=mappings,
        version=3,
    )
    assert records.dtype == dtype(schema)
    path.write_bytes(zstandard.compress(bytes(header.encode()) + records.tobytes()))


def changed(path: Path, change: Change) -> None:
    """Put a changed copy of a file's records in its place."""
    metadata, records = read(path)
    write(path, metadata, str(metadata.schema), change(records.copy()))


def mbp_1(mbp_10: np.ndarray) -> np.ndarray:
    """The MBP-1 rows that go with MBP-10 rows, one by one."""
    top = [f"{s}_{w}_00" for s in ("bid", "ask") for w in ("px", "sz", "ct")]
    before: dict[int, list[int]] = {}
    rows = []
    for record in mbp_10:
        key = int(record["instrument_id"])
        now = [int(record[name]) for name in top]
        row = {name: record[name] for name in dtype("mbp-1").names or () if name in top}
        side = record["side"]
        if record["action"] != b"T":
            old = before.get(key, [2**63 - 1, 0, 0] * 2)
            before[key] = now
            bids, asks = now[:3] != old[:3], now[3:] != old[3:]
            snapshot = record["flags"] & 32
            if not (bids or asks or snapshot):
                continue
            side = b"N" if bids and asks else (b"B" if bids else b"A")
        rows.append({**row, "side": side})
        for name in dtype("mbp-1").names or ():
            if name not in rows[-1]:
                rows[-1][name] = record[name]
    return _structured("mbp-1", rows)


def tbbo(mbp_10: np.ndarray) -> np.ndarray:
    """The top of the book before each trade."""
    trades = mbp_10[mbp_10["action"] == b"T"]
    names = dtype("tbbo").names or ()
    return _structured("tbbo", [{name: row[name] for name in names} for row in trades])


def ohlcv(trades: np.ndarray, schema: str) -> np.ndarray:
    """Bars of trades, one trade after the other."""
    step = STEPS[schema] * 10**9
    bars: dict[tuple[int, int], dict[str, Any]] = {}
    for trade in trades:
        start, price = int(trade["ts_recv"]) // step * step, int(trade["price"])
        bar = bars.setdefault(
            (start, int(trade["instrument_id"])),
            {"open": price, "high": price, "low": price, "volume": 0},
        )
        bar["high"], bar["low"] = max(bar["high"], price), min(bar["low"], price)
        bar["close"] = price
        bar["volume"] += int(trade["size"])
    rows = [
        {"ts_event": start, "instrument_id": key, "publisher_id": 1, **bar}
        for (start, key), bar in sorted(bars.items())
    ]
    return _structured(schema, rows)


def _structured(schema: str, rows: list[dict[str, Any]]) -> np.ndarray:
    out = np.zeros(len(rows), dtype(schema))
    for name in out.dtype.names or ():
        if rows and name in rows[0]:
            out[name] = [row[name] for row in rows]
    out["rtype"] = RTYPES[schema][0]
    out["length"] = out.dtype.itemsize // 4
    return out
