"""Measured figures, the machine they hold for, and how both are shown.

Figures are ratios first: this program and its yardsticks run in one process tree, one after the
other, and the floor (decompressing the same records, nothing else) before and after them, since
a shared machine drifts.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import zstandard

from pipeline.errors import MboError

BLOCK: Final = 1 << 20
MBO: Final = (sys.executable, "-m", "pipeline.cli")


@dataclass
class Figure:
    """One measured figure."""

    work: str
    records: int
    seconds: float
    """Wall clock."""
    cpu_seconds: float | None = None
    peak_mib: float | None = None
    """Of the process that did the work, where it was one of its own."""
    rows: int | None = None
    note: str = ""

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


@dataclass
class Report:
    """Figures of one workload; the first is the floor."""

    workload: str
    figures: list[Figure] = field(default_factory=list)
    unit: str = "records"
    """What the figures count."""
    remarks: str = ""
    """Text below the table."""
    kind: str = ""
    """What was asked for: ``mbo bench KIND``."""
    measured_on: str = field(default_factory=lambda: machine())  # noqa: PLW0108 - defined below

    def add(self, figure: Figure) -> Figure:
        """Append a figure and return it."""
        self.figures.append(figure)
        return figure

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        floor = self.figures[0].rate
        return {
            "kind": self.kind,
            "workload": self.workload,
            "machine": self.measured_on,
            "unit": self.unit,
            "remarks": self.remarks,
            "figures": [
                asdict(f) | {"records_per_s": f.rate, "x_floor": f.rate / floor}
                for f in self.figures
            ],
        }

    def text(self) -> str:
        """A table in Markdown; columns that no figure fills are left out."""
        floor = self.figures[0].rate
        rows = [
            [
                f.work,
                f"{f.rate / 1e6:.2f}" if f.rate >= 1e5 else f"{f.rate / 1e6:.3f}",
                f"{f.rate / floor:.2f}" if f.rate >= floor / 100 else f"{f.rate / floor:.4f}",
                f"{f.seconds:.2f}",
                "" if f.cpu_seconds is None else f"{f.cpu_seconds:.2f}",
                "" if f.peak_mib is None else f"{f.peak_mib:.0f}",
                "" if f.rows is None else f"{f.rows / f.records:.2f}",
                f.note,
            ]
            for f in self.figures
        ]
        names = [
            "work",
            f"M {self.unit}/s",
            "x floor",
            "s",
            "CPU s",
            "peak MiB",
            "rows/record",
            "note",
        ]
        kept = [i for i in range(len(names)) if any(row[i] for row in rows)]
        lines = [[names[i] for i in kept], ["---" for _ in kept]]
        lines += [[row[i] for i in kept] for row in rows]
        head = f"{self.workload}; {self.measured_on}"
        tail = ["", self.remarks] if self.remarks else []
        return "\n".join([head, "", *(f"| {' | '.join(line)} |" for line in lines), *tail])


@dataclass
class Table:
    """A table that is no list of figures."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    remarks: str = ""
    """Text below it."""
    kind: str = ""
    """What was asked for: ``mbo bench KIND``."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"machine": machine()}

    def text(self) -> str:
        """In Markdown."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        tail = ["", self.remarks] if self.remarks else []
        return "\n".join([self.title, "", *(f"| {' | '.join(x)} |" for x in lines), *tail])


def machine() -> str:
    """The processor's model and the cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def decompress(path: Path) -> float:
    """Seconds to decompress a file to nothing: the floor."""
    started = time.perf_counter()
    with open(path, "rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        while reader.read(BLOCK):
            pass
    return time.perf_counter() - started


_LAUNCHER: Final = """
import json, os, sys, time
started = time.perf_counter()
child = os.spawnvp(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(child, 0)
wall, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
with open(sys.argv[1], "w") as file:
    json.dump([status, wall, cpu, usage.ru_maxrss / 1024], file)
"""
"""A small process between: a command's peak counts the memory of the process that starts it."""


def run_process(arguments: Sequence[str], **environment: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MiB of a command.

    Raises
    ------
    MboError
        If it fails.
    """
    with tempfile.TemporaryDirectory(prefix="mbo-bench-") as folder:
        usage = Path(folder) / "usage.json"
        subprocess.run(
            [sys.executable, "-S", "-c", _LAUNCHER, str(usage), *arguments],
            stdout=subprocess.DEVNULL, env={**os.environ, **environment}, check=False,
        )  # fmt: skip
        status, wall, cpu, peak = json.loads(usage.read_text())
    if status:
        raise MboError(f"the benchmark's `{' '.join(arguments)}` failed")
    return wall, cpu, peak
