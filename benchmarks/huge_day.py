"""One huge instrument-day: `mbo book` on one core and on two, its memory, and `book_at` after it.

    python -m benchmarks.huge_day [RECORDS] [LIVE ORDERS]

The day is synthetic with the action mix of real ES (:mod:`benchmarks.streams`), written as a
partition of `mbo`.  Each run of `mbo book` is a process of its own, so that its peak memory is
its own; the files of both runs are compared byte for byte.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from benchmarks.figures import MBO, machine, run_process
from benchmarks.streams import FIRST_CLOCK, Generator, Stream
from pipeline import tables
from pipeline.book.columns import column_of, letters_of
from pipeline.catalog import LakeCatalog
from pipeline.columns import PRICE, TS
from pipeline.config import Settings
from pipeline.lake import open_lake
from pipeline.progress import Quiet
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Task

BLOCK = 1_000_000
DAY = Partition.of(dataset="SIM.MDP3", date="2023-11-15", symbol="HUGE")
MIDNIGHT = 1_700_006_400 * 10**9
INSTANTS = 40


def squeezed(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The stream's times at twice the speed from midnight on: 20 M records fill half a day."""
    return MIDNIGHT + (times - FIRST_CLOCK) // 2


def mbo_rows(stream: Stream, first: int) -> pa.Table:
    """Rows of `mbo` of a block of the stream."""
    n = len(stream.flags)

    def same(name: str, value: int) -> pa.Array:
        kind = tables.MBO.column(name).type
        return pa.array(np.full(n, value, kind.to_pandas_dtype()))

    columns = {
        "ts_recv": column_of(squeezed(stream.ts_recv), TS),
        "ts_event": column_of(squeezed(stream.ts_event), TS),
        "ts_in_delta": same("ts_in_delta", 12_000),
        "sequence": pa.array(stream.sequence),
        "order_id": pa.array(stream.order_id.view(np.uint64)),
        "price": column_of(stream.price, PRICE),
        "size": pa.array(stream.size),
        "flags": pa.array(stream.flags),
        "channel_id": same("channel_id", 0),
        "publisher_id": same("publisher_id", 1),
        "instrument_id": same("instrument_id", 1),
        "action": letters_of(stream.action),
        "side": letters_of(stream.side),
        "record": pa.array(np.arange(first, first + n, dtype=np.uint64)),
        "source": pa.array(["0" * 16] * n),
    }
    ordered = [columns[column.name] for column in tables.MBO.columns]
    return pa.Table.from_arrays(ordered, schema=tables.MBO.schema())


@dataclass(frozen=True)
class HugeDay:
    """Puts a synthetic day into `mbo`, as ingest would."""

    records: int
    live_orders: int
    name: str = "ingest"
    version: int = 1
    tables: Sequence[str] = ("mbo",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        return [Task(DAY, params={"records": self.records, "live_orders": self.live_orders})]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        generator = Generator(self.live_orders)
        writer = outputs.writer(tables.MBO)
        for first in range(0, self.records, BLOCK):
            rows = min(BLOCK, self.records - first)
            writer.write(mbo_rows(generator.block(rows), first))
        writer.note(opens_with="flow")

    def warm(self) -> None:
        """The generator compiles by itself."""


def make_day(lake: Path, records: int, live_orders: int) -> None:
    """A lake that holds one day of `mbo`."""
    day = HugeDay(records, live_orders)
    run_stage(day, LakeCatalog(lake), Settings(), Selection(), RunOptions(), Quiet())


def digest(lake: Path) -> str:
    """Hash of all Parquet files made by `mbo book`."""
    whole = hashlib.sha256()
    for path in sorted(lake.rglob("*.parquet")):
        with open(path, "rb") as file:
            whole.update(str(path.relative_to(lake)).encode())
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def book_at_seconds(lake: Path) -> list[tuple[float, float]]:
    """Wall and CPU seconds of ``book_at`` at random instants; the first loads the kernels."""
    whole = open_lake(lake)
    last = whole.scan("book").select(pl.col("ts_recv").last().cast(pl.Int64)).collect().item()
    draw = random.Random(1)
    seconds = []
    for _ in range(INSTANTS):
        ts = draw.randrange(MIDNIGHT + 10**9, last)
        wall, cpu = time.perf_counter(), time.process_time()
        whole.book_at(DAY["symbol"], ts)
        seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
    return seconds


def stored_bytes(lake: Path) -> dict[str, int]:
    """Bytes of each table."""
    catalog = LakeCatalog(lake)
    return {name: sum(s.bytes for s in catalog.partitions(name)) for name in catalog.tables()}


def main(arguments: list[str]) -> None:
    """Print the figures."""
    records = int(arguments[0]) if arguments else 20_000_000
    live = int(arguments[1]) if len(arguments) > 1 else 12_000
    print(f"{records:,} records, ES action mix, {live:,} live orders; {machine()}")
    with tempfile.TemporaryDirectory() as name:
        lake = Path(name) / "lake"
        os.environ["MBO_RAW__PATH"] = str(Path(name) / "nothing")
        make_day(lake, records, live)
        stages = [*MBO, "book", "--lake", str(lake), "--quiet", "--force"]
        digests = []
        for workers in (1, 2):
            wall, cpu, peak = run_process([*stages, "--workers", str(workers)])
            digests.append(digest(lake))
            print(
                f"mbo book, {workers} core(s): {wall:6.1f} s, {cpu:6.1f} s CPU, "
                f"{records / wall / 1e6:.2f} M records/s, peak {peak:.0f} MiB"
            )
        print("same bytes" if len(set(digests)) == 1 else "DIFFERENT BYTES")
        sizes = stored_bytes(lake)
        checkpoints = LakeCatalog(lake).partitions("book_checkpoints")
        count = sum(len(stored.files) for stored in checkpoints)
        print(
            f"{count} checkpoints, {sizes.get('book_checkpoints', 0) / 1e6:.1f} MB beside "
            f"{sizes['mbo'] / 1e6:.1f} MB of mbo and {sizes['book'] / 1e6:.1f} MB of book"
        )
        first, *rest = book_at_seconds(lake)
        print(f"book_at, {INSTANTS} random instants, ms: first {first[0] * 1e3:.0f}", end="")
        for clock, values in zip(("wall", "CPU"), zip(*rest, strict=True), strict=True):
            middle = sorted(values)[len(rest) // 2]
            print(f"; {clock} median {middle * 1e3:.0f} largest {max(values) * 1e3:.0f}", end="")
        print()


if __name__ == "__main__":
    main(sys.argv[1:])
