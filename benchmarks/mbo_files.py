"""MBO files of any length for benchmarks, made of a short real day so that they compress like one.

The live part of a day is repeated, each time another: a fifth of the orders that were never
filled are left out at random with all their records, pauses are cut and jittered, prices, order
ids and sequence numbers shifted.  What compresses is the traffic, not its repetition.  Without a
real day the synthetic stream of :mod:`benchmarks.streams` stands in, and the name says so.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import databento_dbn as dbn
import numpy as np
import zstandard

from benchmarks.streams import Generator
from pipeline.ingest.dbn import DbnReader
from pipeline.units import F_BAD_TS_RECV, F_LAST, F_SNAPSHOT, NS_PER_DAY, NS_PER_S, UNDEF_PRICE

Records = Any
"""A structured array of the vendor's MBO records."""

MBO_DTYPE = np.dtype(dbn.MBOMsg._dtypes)  # noqa: SLF001 - the only public layout
TICK = 250_000_000
LEFT_OUT = 0.2
"""Share of the orders without fills that a repetition leaves out."""
LONGEST_PAUSE = NS_PER_S // 10
SYMBOL, INSTRUMENT = "ESH4", 17077
_DAY = dt.date(2023, 12, 26)
_MIDNIGHT = (_DAY - dt.date(1970, 1, 1)).days * NS_PER_DAY


@dataclass(frozen=True)
class Workload:
    """A file that was made, and what is in it."""

    path: Path
    name: str
    records: int


def find_real_day() -> Path | None:
    """A real MBO file to repeat: ``MBO_BENCH_DAY``, or the ES hour of the developers' data."""
    named = os.environ.get("MBO_BENCH_DAY")
    root = Path(__file__).resolve().parent.parent.parent
    found = root / "shared" / "data" / "esh4" / "glbx-mdp3-20231225.mbo.dbn.zst"
    path = Path(named) if named else found
    return path if path.is_file() else None


def write_file(
    folder: Path,
    records: int,
    *,
    day: Path | None = None,
    books: bool = False,
    symbol: str = SYMBOL,
) -> Workload:
    """Write ``<folder>/bench.mbo.dbn.zst`` (zstd level 3, checksum: as the vendor ships).

    With ``books`` every repetition begins with a clear and the day's snapshot, so that books
    stay right; without, the records after the first repetition meet unknown orders, and hardly
    a record is a snapshot's, as in a whole day.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.mbo.dbn.zst"
    blocks = synthetic(records) if day is None else repeated(day, records, books=books)
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    with open(path, "wb") as file, compressor.stream_writer(file, closefd=False) as stream:
        stream.write(_header(symbol))
        for block in blocks:
            stream.write(block.tobytes())
    name = "synthetic records, ES action mix" if day is None else "a real ES hour, repeated"
    if books and day is not None:
        name += ", snapshots between"
    return Workload(path, name, records)


def repeated(day: Path, records: int, *, books: bool, seed: int = 1) -> Iterator[Records]:
    """So many records made of a real day with an opening snapshot, within one UTC day."""
    with DbnReader(day) as reader:
        whole = np.concatenate([chunk.records for chunk in reader])
    is_snapshot = (whole["flags"] & F_SNAPSHOT) != 0
    snapshot, live = whole[is_snapshot], whole[~is_snapshot]
    rng = np.random.default_rng(seed)
    clock, left, number, ticks = _MIDNIGHT, records, 0, 0
    share = NS_PER_DAY * 0.95 * len(live) * (1 - LEFT_OUT) / max(records, len(live))
    pause = _pause_for(live, share)
    while left:
        dropped = _left_out(whole, rng)
        part = _thinned(live, dropped)
        _shift_times(part, clock, pause, rng)
        if number == 0 or books:
            opening = _opening(_thinned(snapshot, dropped), clock)
            part = np.concatenate([opening, part])
        clock = int(part["ts_recv"][-1]) + 1000
        priced = part["price"] != UNDEF_PRICE
        part["price"][priced] += ticks * TICK
        part["order_id"] += np.uint64(number * 30_000)
        part["sequence"] += np.uint32(number * 60_000)
        part = part[:left]
        yield part
        left -= len(part)
        number += 1
        ticks += int(rng.integers(-12, 13))


def _left_out(records: Records, rng: np.random.Generator) -> Any:
    """Sorted ids of the orders to leave out."""
    ids = np.unique(records["order_id"])
    traded = np.unique(records["order_id"][np.isin(records["action"], [b"F", b"T", b"R"])])
    ids = np.setdiff1d(ids, traded, assume_unique=True)
    return ids[rng.random(len(ids)) < LEFT_OUT]


def _thinned(records: Records, dropped: Any) -> Records:
    """The other orders' records; an event that loses its last record ends one earlier."""
    keep = ~np.isin(records["order_id"], dropped)
    last = (records["flags"] & F_LAST) != 0
    event = np.cumsum(last) - last
    kept = records[keep].copy()
    events = event[keep]
    ends = np.ones(len(kept), np.bool_)
    ends[:-1] = events[1:] != events[:-1]
    if last.any():
        kept["flags"][ends] |= F_LAST
    return kept


def _pause_for(live: Records, share: float) -> int:
    """The longest pause with which a repetition takes no more than its share of the day."""
    gaps = np.diff(live["ts_recv"].astype(np.int64))
    pause = LONGEST_PAUSE
    while int(np.minimum(gaps, pause).sum()) > share and pause > 1:
        pause //= 2
    return pause


def _shift_times(part: Records, start: int, pause: int, rng: np.random.Generator) -> None:
    """Cut and jitter the pauses; equal times stay equal, and times keep their distances."""
    received = part["ts_recv"].astype(np.int64)
    gaps = np.minimum(np.diff(received, prepend=received[0]), pause)
    jitter = 0.8 + 0.4 * rng.random(len(gaps))
    fresh = start + np.cumsum(np.where(gaps > 0, 1 + (gaps * jitter).astype(np.int64), 0))
    latency = received - part["ts_event"].astype(np.int64)
    # Records of one packet were late by the same: their jitter is one.
    packet = np.cumsum(gaps > 0)
    late = 0.95 + 0.1 * rng.random(int(packet[-1]) + 1)[packet]
    part["ts_event"] = (fresh - (latency * late).astype(np.int64)).astype(np.uint64)
    part["ts_in_delta"] = (part["ts_in_delta"] * late).astype(np.int32)
    part["ts_recv"] = fresh.astype(np.uint64)


def _opening(snapshot: Records, clock: int) -> Records:
    """A clear and the snapshot's rows, the last one ending the event."""
    rows = np.concatenate([snapshot[:1], snapshot])
    rows["ts_recv"] = clock
    rows["flags"] = F_SNAPSHOT | F_BAD_TS_RECV
    rows["flags"][-1] |= F_LAST
    rows[0]["action"], rows[0]["side"] = b"R", b"N"
    rows[0]["price"], rows[0]["order_id"], rows[0]["size"] = UNDEF_PRICE, 0, 0
    return rows


def synthetic(records: int, live_orders: int = 12_000) -> Iterator[Records]:
    """So many records of the synthetic stream."""
    generator, done = Generator(live_orders), 0
    while done < records:
        stream = generator.block(min(1_000_000, records - done))
        array = structured(stream)
        array["ts_recv"] += np.uint64(_MIDNIGHT - 1_700_000_000 * NS_PER_S)
        array["ts_event"] += np.uint64(_MIDNIGHT - 1_700_000_000 * NS_PER_S)
        yield array
        done += len(array)


def structured(stream: Any) -> Records:
    """A block of the synthetic stream as the vendor's records."""
    array = np.zeros(len(stream.flags), MBO_DTYPE)
    for name in ("ts_recv", "ts_event", "sequence", "order_id", "price", "size", "flags"):
        array[name] = getattr(stream, name)
    for name in ("action", "side"):
        array[name] = getattr(stream, name).view("S1")
    array["length"], array["rtype"], array["publisher_id"] = 14, 160, 1
    array["instrument_id"] = INSTRUMENT
    array["ts_in_delta"] = 15_000 + stream.order_id % 4096
    return array


def _header(symbol: str) -> bytes:
    inner = SimpleNamespace(
        start_date=_DAY, end_date=_DAY + dt.timedelta(days=1), symbol=str(INSTRUMENT)
    )
    mapping = SimpleNamespace(raw_symbol=symbol, intervals=[inner])
    metadata = dbn.Metadata(
        dataset="GLBX.MDP3",
        start=_MIDNIGHT,
        end=_MIDNIGHT + NS_PER_DAY,
        stype_in=dbn.SType.from_str("raw_symbol"),
        stype_out=dbn.SType.from_str("instrument_id"),
        schema=dbn.Schema.from_str("mbo"),
        symbols=[symbol],
        partial=[],
        not_found=[],
        mappings=[mapping],
        version=3,
    )
    return bytes(metadata.encode())
