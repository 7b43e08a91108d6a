"""A rehearsal of one parent day, and what it says about a month and about five years.

``mbo bench rehearsal``.  A day of 15 instruments that share their records as the contracts and
spreads of a future do (four fifths in the front month) goes from its file to backtests, each stage
a process of its own: on one worker, which gives CPU, memory and bytes a record, and on a worker a
core, which gives the time people wait.  One day and several days of hardly any records beforehand
give what starting costs, and what a day costs however short.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import MBO, Figure, Report, Table, decompress, run_process
from benchmarks.projection import Stage, projection
from benchmarks.stages import ALONE
from benchmarks.symbol_days import Day, day_of, write
from pipeline.units import NS_PER_DAY, NS_PER_S

MIDNIGHT: Final = 1_746_057_600 * NS_PER_S
"""2025-05-01, a Thursday, UTC."""
DAY: Final = Day("GLBX.MDP3", 1, MIDNIGHT + 10 * NS_PER_S, (21 * 3600 - 20) * NS_PER_S, 12_000)
"""Up to the close of the session, which began on the evening before."""
SHARES: Final = {
    "MESM5": 0.80,
    "MESU5": 0.09,
    "MESM5-MESU5": 0.04,
    "MESZ5": 0.02,
    "MESU5-MESZ5": 0.01,
    "MESM5-MESZ5": 0.01,
    "MESH6": 0.01,
    "MESM6": 0.005,
    "MESZ5-MESH6": 0.004,
    "MESM5-MESH6": 0.003,
    "MESU5-MESH6": 0.003,
    "MESH6-MESM6": 0.002,
    "MESU5-MESM6": 0.001,
    "MESZ5-MESM6": 0.001,
    "MESM5-MESM6": 0.001,
}
"""Of the day's records, by instrument."""
SMALL: Final = 15 * 200
"""Records of a day that takes no time worth measuring."""
SMALL_DAYS: Final = 5
STRATEGIES: Final = ("mean_reversion", "market_making")
TABLES: Final = ("mbo", "book", "flow", "trades", "features", "labels")
"""What the disk of a lake is made of."""


def counts(records: int, instruments: Mapping[str, float] = SHARES) -> list[int]:
    """Records of each instrument."""
    shares = np.array(list(instruments.values()))
    return [int(n) for n in np.maximum(100, shares / shares.sum() * records)]


def written(
    folder: Path, records: int, days: int = 1, instruments: Mapping[str, float] = SHARES
) -> list[Path]:
    """Files of so many days of so many records each."""
    found = []
    for number in range(days):
        day = replace(DAY, open_ns=DAY.open_ns + number * NS_PER_DAY)
        found.append(folder / f"{day.date}.mbo.dbn.zst")
        write(found[-1], list(instruments), day_of(counts(records, instruments), day), day)
    return found


def stages(raw: Sequence[Path], lake: Path, workers: int) -> dict[str, list[str]]:
    """Each stage and its command."""
    common = ["--lake", str(lake), "--workers", str(workers), "--quiet"]
    front = ["--symbols", "MESM5", "--partial", "--fees", "1"]
    return {
        "ingest": ["ingest", *map(str, raw), *common],
        "book": ["book", *common],
        "features": ["features", *common],
        **{f"backtest {name}": ["backtest", name, *front, *common] for name in STRATEGIES},
    }


def go(raw: Sequence[Path], lake: Path, workers: int) -> dict[str, tuple[float, float, float]]:
    """Wall seconds, CPU seconds and peak MiB of each stage, one after the other."""
    return {
        name: run_process([*MBO, *command], **ALONE)
        for name, command in stages(raw, lake, workers).items()
    }


def stored(lake: Path, names: Sequence[str] = TABLES) -> int:
    """Bytes of those tables."""
    return sum(path.stat().st_size for name in names for path in (lake / name).rglob("*.parquet"))


def measure(records: int, folder: Path) -> list[Report | Table]:
    """The day, stage by stage; then months and years."""
    cores = len(os.sched_getaffinity(0))
    small = written(folder / "small", SMALL, SMALL_DAYS)
    [day] = written(folder / "day", records)
    go(small, folder / "warm", 1)  # compiles
    first, more = go(small[:1], folder / "first", 1), go(small, folder / "more", 1)
    floor = decompress(day)
    taken = {n: go([day], folder / f"lake{n}", n) for n in sorted({1, cores})}
    total, front = sum(counts(records)), counts(records)[0]
    report = Report(
        f"rehearsal: one day of {total:,} synthetic records with the action mix of ES in "
        f"{len(SHARES)} instruments, {SHARES['MESM5']:.0%} of them in one",
        remarks="One worker; rates with starting.  Features: the default set; backtests: of the "
        f"front month alone.  Raw file: {day.stat().st_size / total:.1f} bytes a record.",
    )
    report.add(Figure("zstd to nothing (the floor)", total, floor))
    costs = []
    for name, (wall, cpu, peak) in taken[1].items():
        a_day = max(0.0, (more[name][0] - first[name][0]) / (SMALL_DAYS - 1))
        once = max(0.0, first[name][0] - a_day)
        note = f"starting {once:.1f} s"
        if cores > 1:
            note += f"; {cores} workers: {taken[cores][name][0]:.1f} s"
        records_of = front if name.startswith("backtest") else total
        report.add(Figure(name, records_of, wall, cpu, peak, note=note))
        costs.append(Stage(name, once, a_day, max(0.0, wall - once - a_day) / total, peak))
    return [report, projection(costs, cores, stored(folder / "lake1") / total)]
