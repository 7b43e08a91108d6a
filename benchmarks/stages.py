"""End to end: time and peak memory of each stage, beside decompression of the same files.

``mbo bench stages``.  One simulated day, the built-in sample market with models and a report, and
a real ES hour where there is one.  Every stage runs as a process of its own on one worker, start-up
included, so that its peak memory is its own; the floor (zstd to nothing) is measured before and
after, since a shared machine drifts.  Kernels are compiled beforehand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.figures import MBO, Figure, Report, decompress, run_process
from benchmarks.mbo_files import find_real_day

STRATEGY: Final = "mean_reversion"
ALONE: Final = {"MBO_RAW__PATH": "nothing-else"}
"""Settings of these processes: no raw files but those named."""
_READINGS: Final = ("--readings", "optimistic,exact,pessimistic")


def simulate(folder: Path, records: int) -> Path:
    """The busiest MBO file of one simulated session of about that many records."""
    sample = ["sample", "--out", str(folder), "--days", "1", "--records", str(records)]
    run_process([*MBO, *sample, "--quiet"])
    return max(folder.rglob("*.mbo.dbn.zst"), key=lambda path: path.stat().st_size)


def stages(file: Path, lake: Path) -> list[tuple[str, list[str]]]:
    """Each stage of one file and its command."""
    beside = [str(path) for path in sorted(file.parent.glob("*.definition.dbn.zst"))]
    common = _common(lake)
    return [
        ("ingest", ["ingest", str(file), *beside, *common]),
        ("book, depth 10 and flow", ["book", *common]),
        ("features, the default set", ["features", *common]),
        (
            f"backtest {STRATEGY}",
            ["backtest", STRATEGY, "--partial", "--fees", "1", *common],
        ),
    ]


def everything(raw: Path, lake: Path) -> list[tuple[str, list[str]]]:
    """Each stage of the sample market and its command: models and a report, too."""
    common = _common(lake)
    return [
        ("ingest", ["ingest", str(raw), *common]),
        ("book, depth 10 and flow", ["book", *common]),
        ("features, the default set", ["features", *common]),
        (f"backtest {STRATEGY}", ["backtest", STRATEGY, *common]),
        (
            "backtest market_making, three readings",
            ["backtest", "market_making", *_READINGS, *common],
        ),
        ("train linear: fit, predict, judge, backtests", ["train", "linear", *common]),
        ("report", ["report", "--out", str(lake / "report.html"), *common]),
    ]


def _common(lake: Path) -> list[str]:
    return ["--lake", str(lake), "--workers", "1", "--quiet"]


def measure(records: int, folder: Path) -> list[Report]:
    """The floor and the stages of each market, in the order in which they run."""
    small = simulate(folder / "small", 5000)
    for _, command in stages(small, folder / "warm"):
        run_process([*MBO, *command], **ALONE)
    file = simulate(folder / "raw", records)
    reports = [_report("one simulated day", [file], stages(file, folder / "lake"), folder / "lake")]
    raw, lake = folder / "sample", folder / "sample_lake"
    run_process([*MBO, "sample", "--out", str(raw), "--quiet"])
    files = sorted(raw.rglob("*.mbo.dbn.zst"))
    name = f"the built-in sample market, {len(files)} days in 3 instruments"
    reports.append(_report(name, files, everything(raw, lake), lake))
    if (hour := find_real_day()) is not None:
        lake = folder / "real_lake"
        reports.append(_report("a real ES hour", [hour], stages(hour, lake), lake))
    return reports


def _report(
    name: str, files: Sequence[Path], work: Sequence[tuple[str, list[str]]], lake: Path
) -> Report:
    def floor() -> float:
        return sum(decompress(file) for file in files)

    floor()
    before = floor()
    taken = [(what, run_process([*MBO, *command], **ALONE)) for what, command in work]
    seconds = (before + floor()) / 2
    count = _ingested(lake)
    report = Report(f"{name}, {count:,} records, one worker, start-up included")
    report.add(Figure("zstd to nothing (the floor)", count, seconds))
    report.figures += [Figure(what, count, *figures) for what, figures in taken]
    walls, cpus, peaks = zip(*(figures for _, figures in taken), strict=True)
    report.add(Figure("in all", count, sum(walls), sum(cpus), max(peaks)))
    return report


def _ingested(lake: Path) -> int:
    """MBO records of a lake."""
    return sum(
        int(item["rows"])
        for path in (lake / "_commits" / "ingest").rglob("*.json")
        for item in json.loads(path.read_text())["outputs"]
        if item["table"] == "mbo"
    )
