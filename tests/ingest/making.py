"""DBN files of our own making, and the stages run over them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import databento_dbn as dbn
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.ingest.stage import INGEST, INSTRUMENTS
from pipeline.progress import Quiet
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Partition, Selection
from pipeline.storage import lake_lock

DAY = 86_400 * 10**9
D0 = dt.date(2025, 5, 1)
"""The day the made files begin."""
T0 = (D0 - dt.date(1970, 1, 1)).days * DAY
DATASET = "GLBX.MDP3"
SCHEMAS = {"mbo": dbn.MBOMsg, "trades": dbn.TradeMsg, "definition": dbn.InstrumentDefMsg}
RTYPES = {"mbo": 160, "trades": 0, "definition": 19}


def mbo(
    count: int,
    *,
    start: int = T0,
    step: int = 1000,
    ids: Sequence[int] = (1,),
    seed: int = 0,
    schema: str = "mbo",
) -> Any:
    """Random records, ``step`` nanoseconds apart, dealt round robin to the instruments."""
    rng = np.random.default_rng(seed)
    records = np.zeros(count, np.dtype(SCHEMAS[schema]._dtypes))
    records["length"] = records.dtype.itemsize // 4
    records["rtype"] = RTYPES[schema]
    records["publisher_id"] = 1
    records["instrument_id"] = np.resize(np.asarray(ids), count)
    records["ts_recv"] = start + step * np.arange(count)
    records["ts_event"] = records["ts_recv"] - 500
    records["price"] = 5000 * 10**9 + 250_000_000 * rng.integers(-40, 40, count)
    records["size"] = rng.integers(1, 100, count)
    records["flags"] = 128
    records["action"] = rng.choice(np.array([b"A", b"C", b"M", b"T"]), count)
    records["side"] = rng.choice(np.array([b"A", b"B"]), count)
    records["sequence"] = np.arange(count)
    if schema == "mbo":
        records["order_id"] = rng.integers(1, 2**63, count)
    return records


def interval(symbol: str, number: int | str, days: int = 30) -> Any:
    """A mapping of the header: ``symbol`` is instrument ``number`` from D0 on."""
    end = D0 + dt.timedelta(days=days)
    inner = SimpleNamespace(start_date=D0, end_date=end, symbol=str(number))
    return SimpleNamespace(raw_symbol=symbol, intervals=[inner])


def header(
    *,
    schema: str | None = "mbo",
    symbols: dict[str, int | str] | None = None,
    start: int = T0,
    end: int | None = T0 + DAY,
    stype_in: str = "raw_symbol",
    stype_out: str = "instrument_id",
    ts_out: bool = False,
    dataset: str = DATASET,
) -> bytes:
    chosen = {"ESM5": 1} if symbols is None else symbols
    metadata = dbn.Metadata(
        dataset=dataset,
        start=start,
        end=end,
        stype_in=dbn.SType.from_str(stype_in),
        stype_out=dbn.SType.from_str(stype_out),
        schema=dbn.Schema.from_str(schema) if schema else None,
        symbols=list(chosen),
        partial=[],
        not_found=[],
        mappings=[interval(symbol, number) for symbol, number in chosen.items()],
        ts_out=ts_out,
        version=3,
    )
    return bytes(metadata.encode())


def write(path: Path, records: Any, *, frames: int = 1, **options: Any) -> Path:
    """A DBN file of one array or of bytes; zstd if its name says so, in several frames."""
    body = records if isinstance(records, bytes) else records.tobytes()
    data = header(**options) + body
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zst":
        cuts = [len(data) * i // frames for i in range(frames + 1)]
        compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
        data = b"".join(compressor.compress(data[a:b]) for a, b in pairwise(cuts))
    path.write_bytes(data)
    return path


def settings(*roots: Path, **raw: Any) -> Settings:
    return Settings().with_values(raw={"paths": tuple(map(str, roots)), **raw})


def ingest(
    lake: Path,
    *roots: Path,
    selection: Selection = Selection(),  # noqa: B008 - frozen
    workers: int = 1,
    with_instruments: bool = False,
    chosen: Settings | None = None,
    **raw: Any,
) -> StageSummary:
    """Run ingest (and instruments) over raw folders; returns the last stage's summary."""
    options = RunOptions(workers=workers)
    used = chosen or settings(*roots, **raw)
    stages = [INGEST, INSTRUMENTS] if with_instruments else [INGEST]
    with lake_lock(lake):
        catalog = LakeCatalog(lake)
        for stage in stages:
            summary = run_stage(stage, catalog, used, selection, options, Quiet())
    return summary


def table(lake: Path, name: str, **keys: Any) -> pa.Table:
    """All rows of a table's partitions that have these keys, in order of partition."""
    stored = [
        s
        for s in LakeCatalog(lake).partitions(name)
        if all(s.partition.get(k) == str(v) for k, v in keys.items())
    ]
    return pa.concat_tables(pq.ParquetFile(file).read() for s in stored for file in s.files)


def partitions(lake: Path, name: str) -> list[str]:
    return [str(s.partition) for s in LakeCatalog(lake).partitions(name)]


def part(dataset: str = DATASET, date: dt.date = D0, symbol: str = "ESM5") -> Partition:
    return Partition.of(dataset=dataset, date=date, symbol=symbol)


def rows_equal(stored: pa.Table, records: Any) -> None:
    """All columns of ``mbo`` against the records they came from."""
    assert stored.num_rows == len(records)
    for name in ("order_id", "price", "size", "flags", "sequence", "instrument_id"):
        assert (stored[name].to_numpy() == records[name]).all()
    for name in ("ts_recv", "ts_event"):
        assert (stored[name].cast(pa.int64()).to_numpy() == records[name].astype("i8")).all()
    for name in ("action", "side"):
        assert stored[name].to_pylist() == [bytes(v).decode() for v in records[name]]


def one_line(message: str) -> bool:
    return "\n" not in message


def contents(lake: Path) -> dict[str, str]:
    return {
        str(p.relative_to(lake)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(lake.rglob("*.parquet"))
    }
