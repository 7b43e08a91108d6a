"""Days of many symbols for benchmarks: legal synthetic streams, merged by time, as a DBN file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import databento_dbn as dbn
import numpy as np
import zstandard

from benchmarks.mbo_files import MBO_DTYPE, Records
from benchmarks.streams import Generator
from pipeline.units import NS_PER_DAY, NS_PER_S


@dataclass(frozen=True)
class Day:
    """When and where the symbols trade; within one UTC day."""

    dataset: str
    publisher: int
    open_ns: int
    length_ns: int
    live_orders: int = 3000
    """A symbol's, at most."""

    @property
    def midnight(self) -> int:
        """The UTC day's begin, ns."""
        return self.open_ns // NS_PER_DAY * NS_PER_DAY

    @property
    def date(self) -> date:
        """The UTC day."""
        return datetime.fromtimestamp(self.midnight // NS_PER_S, UTC).date()


def one_symbol(number: int, count: int, day: Day) -> Records:
    """A clear and a legal stream of the symbol with that number, spread over the trading day."""
    rng = np.random.default_rng(number)
    stream = Generator(live_orders=min(day.live_orders, 8 + count // 4), seed=number + 1).block(
        count - 1
    )
    records = np.zeros(count, MBO_DTYPE)
    records["length"], records["rtype"] = MBO_DTYPE.itemsize // 4, 160
    records["publisher_id"], records["instrument_id"] = day.publisher, number + 1
    first, rest = records[:1], records[1:]
    for name in ("order_id", "price", "size", "sequence", "flags"):
        rest[name] = getattr(stream, name)
    rest["action"] = stream.action.view("S1")
    rest["side"] = stream.side.view("S1")
    events = np.concatenate([[0], np.cumsum(stream.flags[:-1] >= 128)])
    times = np.sort(rng.integers(day.open_ns, day.open_ns + day.length_ns, int(events[-1]) + 1))
    rest["ts_recv"] = times[events]
    first["ts_recv"], first["action"], first["side"] = day.open_ns - 10**9, b"R", b"N"
    first["price"], first["flags"] = np.iinfo(np.int64).max, 128
    records["ts_event"] = records["ts_recv"] - 20_000
    return records


def day_of(counts: Sequence[int], day: Day) -> Records:
    """All symbols' records, by time; the records of an event stay together."""
    records = np.concatenate([one_symbol(i, int(n), day) for i, n in enumerate(counts)])
    order = np.argsort(records["ts_recv"], kind="stable")
    return records[order]


def write(path: Path, symbols: Sequence[str], records: Records, day: Day) -> None:
    """The day as a DBN file, with mappings of its symbols."""
    spans = [
        SimpleNamespace(
            start_date=day.date, end_date=day.date + timedelta(days=1), symbol=str(i + 1)
        )
        for i in range(len(symbols))
    ]
    header = dbn.Metadata(
        dataset=day.dataset,
        start=day.midnight,
        end=day.midnight + NS_PER_DAY,
        stype_in=dbn.SType.RAW_SYMBOL,
        stype_out=dbn.SType.INSTRUMENT_ID,
        schema=dbn.Schema.MBO,
        symbols=list(symbols),
        partial=[],
        not_found=[],
        mappings=[
            SimpleNamespace(raw_symbol=name, intervals=[span])
            for name, span in zip(symbols, spans, strict=True)
        ],
        ts_out=False,
        version=3,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    compressor = zstandard.ZstdCompressor(level=1)
    with open(path, "wb") as file, compressor.stream_writer(file) as out:
        out.write(bytes(header.encode()))
        for start in range(0, len(records), 1 << 20):
            out.write(records[start : start + (1 << 20)].tobytes())
