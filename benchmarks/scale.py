"""How time and memory grow: with records, with instruments, with workers.

``mbo bench scale``.  Days of synthetic records with the action mix of ES go from their file to a
backtest, each stage a process of its own: a twentieth, a quarter and all of the records in one
instrument; the quarter in the 15 instruments of :mod:`benchmarks.rehearsal`; that on a worker a
core.  Time should grow with records and with nothing else, memory with nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Table, machine
from benchmarks.rehearsal import SHARES, SMALL, go, written


@dataclass(frozen=True)
class Case:
    """A day and how it is worked on."""

    records: int
    instruments: int
    workers: int


def cases(records: int, cores: int) -> list[Case]:
    """What is compared."""
    found = [Case(n, 1, 1) for n in (records // 20, records // 4, records)]
    found.append(Case(records // 4, len(SHARES), 1))
    if cores > 1:
        found.append(Case(records // 4, len(SHARES), cores))
    return found


def measure(records: int, folder: Path) -> list[Table]:
    """Seconds, and peak memory where it is one process's own."""
    table = Table(
        f"growth, {machine()}",
        [],
        remarks="Seconds with starting, in brackets without it in ns a record; MiB at the peak of "
        "a single worker.",
    )
    cores = len(os.sched_getaffinity(0))
    start: dict[tuple[int, int], dict[str, tuple[float, float, float]]] = {}
    for number, case in enumerate(cases(records, cores)):
        shares = SHARES if case.instruments > 1 else {"MESM5": 1.0}
        alike = case.instruments, case.workers
        if alike not in start:
            [small] = written(folder / f"{alike}", SMALL, instruments=shares)
            go([small], folder / f"{alike}" / "warm", case.workers)  # compiles
            start[alike] = go([small], folder / f"{alike}" / "lake", case.workers)
        [day] = written(folder / f"{number}", case.records, instruments=shares)
        taken = go([day], folder / f"{number}" / "lake", case.workers)
        day.unlink()
        table.header = table.header or ["records", "instruments", "workers", *taken]
        cells = []
        for name, (wall, _, peak) in taken.items():
            rest = max(0.0, wall - start[alike][name][0]) / case.records * 1e9
            memory = f", {peak:,.0f} MiB" if case.workers == 1 else ""
            cells.append(f"{wall:.1f} s ({rest:,.0f}){memory}")
        about = [f"{case.records:,}", str(case.instruments), str(case.workers)]
        table.rows.append([*about, *cells])
    return [table]
