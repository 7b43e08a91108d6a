"""Two workers of `mbo book` against one, beside two copies of a plain loop; and starting.

Two symbols' days of one length, from Parquet to Parquet; every worker has one thread.  Cores that
share caches, memory and power do not double the speed of anything: what a plain loop loses by a
second copy beside it is the machine's, and only the rest is ours.  Starting, which more workers
cannot shorten, is measured apart on days of a few records.

    python -m benchmarks.scaling [RECORDS]      # alone; also a part of ``mbo bench book``
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.figures import MBO, Figure, Report, run_process
from benchmarks.mbo_files import Workload, find_real_day, write_file

RECORDS: Final = 20_000_000
SYMBOLS: Final = ("ESH4", "ESM4")
SMALL: Final = 2_000
"""Records of a day that takes no time worth measuring."""
RUNS: Final = 2
"""Of each measurement; the best counts."""
START_RUNS: Final = 5
ONE_THREAD: Final = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""The second is Arrow's, too.  The runner sets both for its workers, not for one in its process."""

Seconds = tuple[float, float]
"""Of one worker or copy, and of two."""


def make_lake(folder: Path, records: int) -> tuple[list[str], Workload]:
    """Options that name a lake with so many records of `mbo` in two symbols' days."""
    day = find_real_day()
    files = [
        write_file(folder / symbol, records // 2, day=day, books=True, symbol=symbol)
        for symbol in SYMBOLS
    ]
    lake = ["--lake", str(folder / "lake"), "--quiet"]
    run_process([*MBO, "ingest", *(str(file.path) for file in files), *lake])
    return lake, files[0]


def book(lake: list[str], workers: int) -> tuple[float, float]:
    """Wall and CPU seconds of all books."""
    wall, cpu, _ = run_process(
        [*MBO, "book", "--force", "--workers", str(workers), *lake], **ONE_THREAD
    )
    return wall, cpu


def loops(copies: int, steps: int) -> float:
    """Seconds until so many plain loops are done, a process each, side by side."""
    code = f"x = 0\nfor i in range({steps}):\n    x += i * i & 7"
    started = time.perf_counter()
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(copies)]
    for process in running:
        process.wait()
    return time.perf_counter() - started


def efficiency(work: Seconds, plain: Seconds) -> float:
    """Share of two cores that two workers make use of, of the share that two loops do.

    ``work``: seconds of the same work by one worker and by two; ``plain``: of one loop and of
    two side by side, which are twice the work: more than two cores is what others took from one.
    """
    return (work[0] / (2 * work[1])) / min(plain[0] / plain[1], 1.0)


def best(measured: Callable[[int], float], runs: int) -> Seconds:
    """The shortest time of one and of two, measured by turns."""
    pairs = [(measured(1), measured(2)) for _ in range(runs)]
    return min(one for one, _ in pairs), min(two for _, two in pairs)


def scaling_report(records: int, folder: Path) -> Report:
    """All figures; files are written to ``folder``."""
    small, _ = make_lake(folder / "small", 2 * SMALL)
    book(small, 1)  # compiles
    lake, file = make_lake(folder / "large", records)
    # About as long as the books: a second copy slows down a loop only after a while.
    steps = max(1_000_000, 4 * records)
    start = best(lambda workers: book(small, workers)[0], START_RUNS)
    cpu: dict[int, float] = {}

    def whole(workers: int) -> float:
        wall, cpu[workers] = book(lake, workers)
        return wall

    plain, work = best(lambda copies: loops(copies, steps), 1), best(whole, RUNS)
    again = best(lambda copies: loops(copies, steps), 1)
    plain = min(plain[0], again[0]), min(plain[1], again[1])
    rest = max(work[0] - start[0], 1e-9), max(work[1] - start[1], 1e-9)
    report = Report(f"scaling: 2 x {records // 2:,} records, {file.name}, one thread a worker")
    report.add(Figure("`mbo book`, one worker (the floor)", records, work[0], cpu[1]))
    note = (
        f"efficiency {efficiency(work, plain):.2f}, without starting {efficiency(rest, plain):.2f}"
    )
    # Not its CPU: workers are no children of the command.
    report.add(Figure("`mbo book`, two workers", records, work[1], note=note))
    note = f"{plain[0] / plain[1]:.2f} of two cores"
    report.add(Figure("a plain loop's steps, two copies", 2 * steps, plain[1], note=note))
    for workers, seconds in enumerate(start, 1):
        what = f"starting, {workers} worker{'s' if workers > 1 else ''}"
        report.add(Figure(what, 2 * SMALL, seconds, note=f"2 days of {SMALL:,} records"))
    return report


def main(arguments: list[str]) -> None:
    """Print the figures."""
    records = int(arguments[0]) if arguments else RECORDS
    with tempfile.TemporaryDirectory(prefix="mbo-bench-") as folder:
        print(scaling_report(records, Path(folder)).text())


if __name__ == "__main__":
    main(sys.argv[1:])
