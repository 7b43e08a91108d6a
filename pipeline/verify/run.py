"""Everything a lake holds of the vendor's, day by day and symbol by symbol."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from pipeline.catalog import LakeCatalog
from pipeline.errors import MboError
from pipeline.progress import Quiet
from pipeline.schedule import StageSummary
from pipeline.stage import Partition, Selection, Stored, Task
from pipeline.verify.coverage import Sources
from pipeline.verify.partition import SCHEMAS, TABLES, Day, verify_day
from pipeline.verify.rebuild import warm
from pipeline.verify.report import Report, explain
from pipeline.worker import Outcome

NAME: Final = "verify"


def verify_lake(root: Path, selection: Selection, keep: int, reporter: Quiet) -> Report:
    """Compare whatever a lake holds of the vendor's with books rebuilt from its MBO.

    Parameters
    ----------
    root
        The lake; only read.
    selection
        What to compare.
    keep
        Differences to show of each comparison.
    reporter
        Told what happens, as by the runner.
    """
    catalog = LakeCatalog(root)
    report = Report()
    vendor: dict[Partition, dict[str, Stored]] = defaultdict(dict)
    seen: list[Partition] = [stored.partition for stored in catalog.partitions("mbo")]
    for table, schema in TABLES.items():
        for stored in catalog.partitions(table):
            seen.append(stored.partition)
            if selection.admits(stored.partition):
                vendor[stored.partition][schema] = stored
    for stored in catalog.partitions("mbo"):
        if selection.admits(stored.partition) and stored.partition not in vendor:
            report.alone["days and symbols with MBO and nothing of the vendor's beside it"] += 1
    report.holds = _span(seen)
    started = time.perf_counter()
    sources = Sources(catalog)
    summary = StageSummary(NAME, tasks=len(vendor))
    reporter.stage_started(NAME, len(vendor), len(vendor))
    if vendor:
        begun = time.perf_counter()
        reporter.warming(NAME, None)
        warm()
        reporter.warming(NAME, time.perf_counter() - begun)
    for number, partition in enumerate(sorted(vendor)):
        task = Task(partition)
        reporter.task_started(NAME, task)
        schemas = {s: vendor[partition][s] for s in SCHEMAS if s in vendor[partition]}
        day = Day(catalog, sources, partition, keep, schemas)
        error = ""
        try:
            found = verify_day(day, partial(reporter.task_progress, NAME, task))
        except MboError as caught:
            error = str(caught)
            report.failed.append((partition, error))
            summary.failed.append((str(partition), error))
        else:
            report.comparisons += found
            report.shown += explain(found, day.mbo, sources.names, keep)
            summary.done += 1
            if not found:
                report.alone[f"days and symbols with nothing but {' and '.join(schemas)}"] += 1
        reporter.task_finished(NAME, task, Outcome(number, error=error))
    summary.rows = {NAME: sum(one.tally.compared for one in report.comparisons)}
    summary.bytes = sum(s.bytes for day in vendor.values() for s in day.values())
    summary.seconds = time.perf_counter() - started
    reporter.stage_finished(summary)
    return report


def _span(partitions: Sequence[Partition]) -> str:
    """``ESM5, NQM5 of 2025-05-01 to 2025-05-09``; empty where there is nothing."""
    if not partitions:
        return ""
    symbols = sorted({partition["symbol"] for partition in partitions})
    days = sorted({partition["date"] for partition in partitions})
    shown = ", ".join(symbols[:8]) + (", ..." if len(symbols) > 8 else "")
    return f"{shown} of {days[0]} to {days[-1]}"
