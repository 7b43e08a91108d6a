"""Where the time of each stage goes, in nanoseconds a record: ``mbo bench --profile``.

One simulated day, one worker, each stage a process of its own with its parts timed
(:mod:`benchmarks.profiled_run`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.figures import Table, run_process
from benchmarks.profiled_run import COMMON, PARTS
from benchmarks.stages import ALONE, simulate, stages
from pipeline.catalog import LakeCatalog

STAGES: Final = tuple(PARTS)


def profiled(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds by part of a command."""
    times = folder / "times.json"
    run_process([sys.executable, "-m", "benchmarks.profiled_run", str(times), *command], **ALONE)
    found: dict[str, float] = json.loads(times.read_text())
    return found


def measure(records: int, folder: Path, wanted: Sequence[str] = STAGES) -> list[Table]:
    """A table a stage."""
    small = simulate(folder / "small", 5000)
    for _, command in stages(small, folder / "warm"):
        profiled(command, folder)
    file, lake = simulate(folder / "raw", records), folder / "lake"
    tables = []
    for name, command in stages(file, lake):
        seconds = profiled(command, folder)
        if command[0] not in wanted:
            continue
        count = sum(item.rows for item in LakeCatalog(lake).partitions("mbo"))
        tables.append(as_table(f"{name}: {count:,} records", command[0], seconds, count))
    return tables


def as_table(title: str, stage: str, seconds: dict[str, float], records: int) -> Table:
    """Parts in their order, the rest, and the command as a whole."""
    table = Table(title, ["part", "ns a record", "seconds", "of the command"])
    whole = seconds["command"]
    rows = {part: seconds.get(part, 0.0) for part in (*PARTS[stage], *COMMON)}
    rows["the rest: imports, plans, kernels from disk"] = max(0.0, whole - sum(rows.values()))
    rows["the command"] = whole
    table.rows = [
        [part, f"{taken / records * 1e9:,.1f}", f"{taken:.2f}", f"{taken / whole:.0%}"]
        for part, taken in rows.items()
    ]
    table.remarks = (
        "Parts run in several threads and can add up to more than the command, of which the start "
        "of Python is no part."
    )
    return table
