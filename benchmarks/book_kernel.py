"""Speed of the book kernel, against plain zstd decompression of the same records in one run.

``python -m benchmarks.book_kernel [RECORDS] [LIVE ORDERS]`` prints records/s of the kernel alone:
touch rows, depth-10 rows with flow and prints, no rows.  The stream is synthetic with the action
mix of real ES (:mod:`benchmarks.streams`); generating and compiling are not counted.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
import zstandard
from databento_dbn import MBOMsg

from benchmarks.streams import Generator, Stream
from pipeline.book import tape
from pipeline.book.columns import event_ends
from pipeline.book.engine import BookOptions, OneBook, run_kernel
from pipeline.book.layout import new_book
from pipeline.book.tape import Records

BLOCK = 1_000_000
SLICE = 4096
"""Records a call: the columns filled stay in the cache of whoever takes them straight."""
WORKLOADS = {
    "touch": BookOptions(materialise="touch"),
    "depth 10": BookOptions(),
    "no rows": BookOptions(materialise="none"),
}


@dataclass
class Figure:
    """One measured figure."""

    work: str
    records: int
    seconds: float
    rows: int = 0

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


def records_of(stream: Stream) -> Records:
    """The kernel's columns of a synthetic block."""
    n = len(stream.flags)
    return Records(
        stream.ts_recv, stream.ts_event, stream.sequence, stream.order_id, stream.price,
        stream.size, stream.flags, np.zeros(n, np.uint8), stream.action, stream.side,
        np.arange(n),
    )  # fmt: skip


def decompression_seconds(stream: Stream) -> float:
    """Time to decompress a block as the vendor would ship it: 56-byte records, zstd level 3."""
    array = np.zeros(len(stream.flags), np.dtype(MBOMsg._dtypes))  # noqa: SLF001 - the vendor's only public layout
    for name in ("ts_recv", "ts_event", "sequence", "order_id", "price", "size", "flags"):
        array[name] = getattr(stream, name)
    for name in ("action", "side"):
        array[name] = getattr(stream, name).view("S1")
    array["length"], array["rtype"], array["publisher_id"] = 14, 160, 1
    packed = zstandard.ZstdCompressor(level=3).compress(array.tobytes())
    decompressor = zstandard.ZstdDecompressor()
    started = time.perf_counter()
    with decompressor.stream_reader(packed) as reader:
        while reader.read(1 << 20):
            pass
    return time.perf_counter() - started


class _Runner:
    """One workload's book, and output columns that are used again and again."""

    def __init__(self, name: str) -> None:
        self.options = WORKLOADS[name]
        self.one = OneBook(1, 1, new_book(), self.options.new_run())
        wanted = self.options.materialise != "none"
        self.rows = tape.new_rows(self.options.levels, SLICE if wanted else 0)
        self.prints = tape.new_prints(SLICE)
        self.figure = Figure(name, 0, 0.0)
        self.pending: Records | None = None

    def run(self, records: Records) -> None:
        numbers = np.arange(len(event_ends(records.flags)), dtype=np.int64)
        cursor, done = self.one.run.cursor, 0
        total = len(records.flags)
        while done < total:
            stop = min(done + SLICE, total)
            while stop < total and not records.flags[stop - 1] & 128:
                stop -= 1
            part = Records._make(column[done:stop] for column in records)
            started = time.perf_counter()
            run_kernel(self.one, part, numbers, self.rows, self.prints)
            self.figure.seconds += time.perf_counter() - started
            self.figure.rows += int(cursor[tape.N_ROWS])
            cursor[tape.N_ROWS] = cursor[tape.N_PRINTS] = cursor[tape.AT_EVENT] = 0
            done = stop
        self.figure.records += total


def measure(records: int = 20_000_000, live_orders: int = 12_000) -> list[Figure]:
    """The floor, then each workload; the first block fills the book and is not counted."""
    generator = Generator(live_orders)
    runners = [_Runner(name) for name in WORKLOADS]
    blocks = max(1, records // BLOCK)
    fill = -(-3 * live_orders // BLOCK)
    floor = Figure("zstd decompression", 0, 0.0)
    for number in range(fill + blocks):
        stream = generator.block(BLOCK)
        if number == fill:
            for runner in runners:
                runner.figure = Figure(runner.figure.work, 0, 0.0)
        if number >= fill:
            floor.seconds += decompression_seconds(stream)
            floor.records += BLOCK
        for runner in runners:
            runner.run(records_of(stream))
    return [floor, *(runner.figure for runner in runners)]


def main(arguments: list[str]) -> None:
    """Print the figures as rates and as multiples of the floor."""
    records = int(arguments[0]) if arguments else 20_000_000
    live = int(arguments[1]) if len(arguments) > 1 else 12_000
    figures = measure(records, live)
    print(f"{records:,} records, ES action mix, {live:,} live orders, one core")
    for figure in figures:
        ratio = figure.rate / figures[0].rate
        print(f"{figure.work:20} {figure.rate / 1e6:7.2f} M records/s {ratio:6.2f} x floor"
              f" {figure.rows / figure.records:6.2f} rows/record")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
