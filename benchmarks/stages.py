"""Time and peak memory of each stage on one simulated day, beside decompression of its file.

``mbo bench stages``.  Every stage runs as a process of its own on one worker, start-up included,
so that its peak memory is its own; the floor (zstd to nothing) is measured before and after,
since a shared machine drifts.  Kernels are compiled beforehand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from benchmarks.figures import MBO, Figure, Report, decompress, run_process

STRATEGY: Final = "mean_reversion"
ALONE: Final = {"MBO_RAW__PATH": "nothing-else"}
"""Settings of these processes: no raw files but those named."""


def simulate(folder: Path, records: int) -> Path:
    """The busiest MBO file of one simulated session of about that many records."""
    sample = ["sample", "--out", str(folder), "--days", "1", "--records", str(records)]
    run_process([*MBO, *sample, "--quiet"])
    return max(folder.rglob("*.mbo.dbn.zst"), key=lambda path: path.stat().st_size)


def stages(file: Path, lake: Path) -> list[tuple[str, list[str]]]:
    """Each stage and its command."""
    common = ["--lake", str(lake), "--workers", "1", "--quiet"]
    beside = [str(path) for path in sorted(file.parent.glob("*.definition.dbn.zst"))]
    return [
        ("ingest", ["ingest", str(file), *beside, *common]),
        ("book, depth 10 and flow", ["book", *common]),
        ("features, the default set", ["features", *common]),
        ("backtest", ["backtest", STRATEGY, "--partial", "--fees", "1", *common]),
    ]


def measure(records: int, folder: Path) -> list[Report]:
    """The floor and the stages, in the order in which they run."""
    small = simulate(folder / "small", 5000)
    for _, command in stages(small, folder / "warm"):
        run_process([*MBO, *command], **ALONE)
    file, lake = simulate(folder / "raw", records), folder / "lake"
    decompress(file)
    before = decompress(file)
    taken = [(name, run_process([*MBO, *c], **ALONE)) for name, c in stages(file, lake)]
    floor = (before + decompress(file)) / 2
    count = sum(
        item["rows"]
        for path in (lake / "_commits" / "ingest").rglob("*.json")
        for item in json.loads(path.read_text())["outputs"]
        if item["table"] == "mbo"
    )
    report = Report(f"{count:,} records, one simulated day, one worker, start-up included")
    report.add(Figure("zstd to nothing (the floor)", count, floor))
    report.figures += [Figure(name, count, *figures) for name, figures in taken]
    return [report]
