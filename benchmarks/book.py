"""Speed of the order book: the kernel alone, then the stage from Parquet to Parquet.

``mbo bench book``, which shows :mod:`benchmarks.scaling`, too.  The kernel runs on a synthetic
stream with the action mix of real ES (:mod:`benchmarks.streams`), with 12,000 and with 400,000
live orders, and on a real ES hour repeated, where there is one; making the stream and compiling
are not counted.  Rows of the kernel go into columns that are used again: what takes them straight
from it (features, a simulator) would read them there.  Kernels and other books are measured in
CPU seconds of their thread, as is the floor beside them; stages in wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import MBO, Figure, Report, decompress, run_process
from benchmarks.mbo_files import Workload, find_real_day, repeated, write_file
from benchmarks.peers import hftbacktest, nautilus, plain_python
from benchmarks.scaling import RECORDS, scaling_report
from benchmarks.streams import Generator
from pipeline.book import tape
from pipeline.book.columns import chunk_of_structs, event_ends
from pipeline.book.engine import BookOptions, OneBook, run_kernel
from pipeline.book.layout import new_book
from pipeline.book.tape import Records
from pipeline.units import F_LAST

BLOCK: Final = 1_000_000
SLICE: Final = 2048
"""Records a call: the columns stay in the cache of whoever takes them straight."""
LIVE, MANY_LIVE = 12_000, 400_000
STAGE_RECORDS: Final = 20_000_000
FLOOR_EVERY: Final = 5_000_000
"""Records between two measurements of the floor."""


@dataclass(frozen=True)
class Kernel:
    """A workload of the kernel."""

    name: str
    materialise: str
    flow: bool = False


KERNELS: Final = (
    Kernel("kernel, no rows", "none"),
    Kernel("kernel, touch rows", "touch"),
    Kernel("kernel, depth-10 rows", "full"),
    Kernel("kernel, depth-10 rows and flow", "full", flow=True),
)


class _Runner:
    """One workload's book, and output columns that are used again and again."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        options = BookOptions(materialise=kernel.materialise)
        self.one = OneBook(1, 1, new_book(), options.new_run())
        self.one.run.cursor[tape.WITH_FLOW] = kernel.flow
        wanted = kernel.materialise != "none"
        self.rows = tape.new_rows(options.levels, SLICE if wanted else 0, flow=kernel.flow)
        self.prints = tape.new_prints(SLICE)
        self.numbers = np.arange(1, SLICE + 1)
        self.figure = Figure(kernel.name, 0, 0.0)

    def run(self, slices: list[Records], *, counted: bool) -> None:
        cursor, rows = self.one.run.cursor, 0
        started = time.thread_time()
        for part in slices:
            run_kernel(self.one, part, self.numbers, self.rows, self.prints)
            rows += int(cursor[tape.N_ROWS])
            cursor[tape.N_ROWS] = cursor[tape.N_PRINTS] = cursor[tape.AT_EVENT] = 0
            if self.kernel.flow:
                self.rows.flow[:] = 0
        if counted:
            self.figure.seconds += time.thread_time() - started
            self.figure.records += sum(len(part.flags) for part in slices)
            self.figure.rows = (self.figure.rows or 0) + rows


def slices_of(records: Records) -> list[Records]:
    """Whole events, about :data:`SLICE` records at a time."""
    ends = event_ends(records.flags) + 1
    cuts = [0]
    while cuts[-1] < len(records.flags):
        following, beyond = np.searchsorted(ends, [cuts[-1], cuts[-1] + SLICE], side="right")
        cuts.append(int(ends[max(following, beyond - 1)]))
    return [
        Records._make(column[start:stop] for column in records) for start, stop in pairwise(cuts)
    ]


def synthetic(records: int, live: int) -> Iterator[tuple[Records, bool]]:
    """Blocks of the synthetic stream; those that fill the book are not to be counted."""
    generator = Generator(live)
    fill = -(-3 * live // BLOCK)
    for number in range(fill + max(1, records // BLOCK)):
        stream = generator.block(BLOCK)
        n = len(stream.flags)
        yield (
            Records(
                stream.ts_recv, stream.ts_event, stream.sequence, stream.order_id, stream.price,
                stream.size, stream.flags, np.zeros(n, np.uint8), stream.action, stream.side,
                np.arange(n),
            ),
            number >= fill,
        )  # fmt: skip


def real(records: int, day: Path) -> Iterator[tuple[Records, bool]]:
    """Repetitions of a real hour, a snapshot before each."""
    for block in repeated(day, records, books=True):
        whole = chunk_of_structs(block).records
        stop = int(np.flatnonzero(whole.flags & F_LAST)[-1]) + 1
        yield Records._make(column[:stop] for column in whole), True


def kernel_report(
    workload: str, blocks: Iterable[tuple[Records, bool]], floor_file: Path, floor_records: int
) -> Report:
    """The kernel's workloads on one stream, block by block in turn, the floor between."""
    report = Report(workload)
    floor = report.add(Figure("zstd to nothing (the floor)", 0, 0.0))
    runners = [_Runner(kernel) for kernel in KERNELS]
    since = FLOOR_EVERY
    for block, counted in blocks:
        since += len(block.flags)
        if since >= FLOOR_EVERY:
            since = 0
            started = time.thread_time()
            decompress(floor_file)
            floor.seconds += time.thread_time() - started
            floor.records += floor_records
        slices = slices_of(block)
        for runner in runners:
            runner.run(slices, counted=counted)
    report.figures += [runner.figure for runner in runners]
    return report


def stage_figures(workload: Workload, folder: Path) -> Iterator[Figure]:
    """``mbo book`` from Parquet to Parquet, one worker with one thread, a process each."""
    small = write_file(folder / "small", 20_000, day=find_real_day(), books=True)
    warm = ["--lake", str(folder / "warm"), "--workers", "1", "--quiet"]
    lake = ["--lake", str(folder / "lake"), "--workers", "1", "--quiet"]
    run_process([*MBO, "ingest", str(small.path), *warm])
    run_process([*MBO, "ingest", str(workload.path), *lake])
    for what, materialise, flow in (
        ("depth 10 and flow", "full", "true"),
        ("depth 10", "full", "false"),
        ("touch", "touch", "false"),
    ):
        settings = {"MBO_BOOK__MATERIALISE": materialise, "MBO_BOOK__FLOW": flow}
        run_process([*MBO, "book", "--force", *warm], **settings)  # compiles
        wall, cpu, peak = run_process([*MBO, "book", "--force", *lake], **settings)
        yield Figure(f"`mbo book`, {what}", workload.records, wall, cpu, peak)


def measure(records: int, folder: Path) -> list[Report]:
    """All figures of the book; files are written to ``folder``."""
    day = find_real_day()
    workload = write_file(folder, min(records, STAGE_RECORDS), day=day, books=True)
    reports = []
    for live in (LIVE, MANY_LIVE):
        name = f"{records:,} records, ES action mix, {live:,} live orders, one core"
        blocks = synthetic(records, live)
        reports.append(kernel_report(name, blocks, workload.path, workload.records))
    if day is not None:
        name = f"{records:,} records, a real ES hour repeated, a snapshot before each, one core"
        reports.append(kernel_report(name, real(records, day), workload.path, workload.records))
    peers = Report(f"{LIVE:,} live orders, other books on the first records of the same stream")
    peers.add(reports[0].figures[0])
    sample, _ = next(iter(synthetic(BLOCK, LIVE)))
    found = (plain_python(sample), nautilus(sample), hftbacktest(sample))
    peers.figures += [figure for figure in found if figure is not None]
    reports.append(peers)
    stage = Report(f"{workload.records:,} records, {workload.name}, Parquet to Parquet, one worker")
    seconds = decompress(workload.path)
    floor = stage.add(Figure("zstd to nothing (the floor)", workload.records, seconds))
    stage.figures += stage_figures(workload, folder)
    floor.seconds = (floor.seconds + decompress(workload.path)) / 2
    reports.append(stage)
    reports.append(scaling_report(min(records, RECORDS), folder / "scaling"))
    return reports
