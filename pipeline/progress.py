"""What a run shows on the terminal: a bar a stage when someone is watching, lines otherwise.

Everything goes to standard error: standard output carries results only.
"""

from __future__ import annotations

import sys
from typing import Any

from pipeline.instants import format_count
from pipeline.schedule import StageSummary
from pipeline.stage import Task
from pipeline.worker import Outcome


class Quiet:
    """Says nothing."""

    def stage_started(self, stage: str, tasks: int, to_do: int) -> None: ...
    def warming(self, stage: str, seconds: float | None) -> None: ...
    def task_started(self, stage: str, task: Task) -> None: ...
    def task_progress(self, stage: str, task: Task, done: int, total: int | None) -> None: ...
    def task_finished(self, stage: str, task: Task, outcome: Outcome) -> None: ...
    def stage_finished(self, summary: StageSummary) -> None: ...


class Lines(Quiet):
    """A line where something began, failed or ended; fit for logs."""

    def warming(self, stage: str, seconds: float | None) -> None:
        if seconds is not None and seconds > 1.0:
            print(
                f"{stage}: kernels ready after {seconds:.1f} s (compiled once, then loaded)",
                file=sys.stderr,
            )

    def task_finished(self, stage: str, task: Task, outcome: Outcome) -> None:
        for line in outcome.warnings:
            print(f"{stage} {task.partition}: warning: {line}", file=sys.stderr)
        if outcome.error:
            print(f"{stage} {task.partition}: failed: {outcome.error}", file=sys.stderr)

    def stage_finished(self, summary: StageSummary) -> None:
        print(one_line(summary), file=sys.stderr)


class Bars(Lines):
    """A progress bar a stage, by weight, with what runs at the moment."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._bar: Any = None
        self._weights: dict[str, int] = {}
        self._shares: dict[str, float] = {}

    def stage_started(self, stage: str, tasks: int, to_do: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if not to_do:
            return
        self._progress = Progress(
            TextColumn("{task.fields[stage]:>10}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._done, self._to_do = 0.0, to_do
        self._shares.clear()
        self._bar = self._progress.add_task("", total=to_do, stage=stage, count=f"0/{to_do}")
        self._progress.start()

    def warming(self, stage: str, seconds: float | None) -> None:
        if self._progress is not None:
            text = "compiling kernels (first run only)" if seconds is None else ""
            self._progress.update(self._bar, description=text)
        self._above(lambda: Lines.warming(self, stage, seconds))

    def task_started(self, stage: str, task: Task) -> None:
        self._show(str(task.partition))

    def task_progress(self, stage: str, task: Task, done: int, total: int | None) -> None:
        if total:
            self._shares[str(task.partition)] = min(done / total, 1.0)
        self._show(f"{task.partition}: {done:,}")

    def task_finished(self, stage: str, task: Task, outcome: Outcome) -> None:
        self._shares.pop(str(task.partition), None)
        self._done += 1
        self._show("")
        self._above(lambda: Lines.task_finished(self, stage, task, outcome))

    def stage_finished(self, summary: StageSummary) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        super().stage_finished(summary)

    def _show(self, text: str) -> None:
        if self._progress is not None:
            self._progress.update(
                self._bar,
                completed=self._done + sum(self._shares.values()),
                description=text,
                count=f"{self._done:.0f}/{self._to_do}",
            )

    def _above(self, write: Any) -> None:
        """Print above the bar without tearing it."""
        if self._progress is None:
            write()
            return
        self._progress.stop()
        write()
        self._progress.start()


def choose_reporter(*, quiet: bool, json: bool) -> Quiet:
    if quiet or json:
        return Quiet()
    return Bars() if sys.stderr.isatty() else Lines()


def human_bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def one_line(summary: StageSummary) -> str:
    """``book: 12 done, 3 up to date, 1 failed; 1,204,332 rows, 40.1 MB, 12.3 s``."""
    parts = []
    if summary.planned:
        parts.append(f"{len(summary.planned)} to do")
    for count, word in (
        (summary.done, "done"),
        (summary.up_to_date, "up to date"),
        (len(summary.failed), "failed"),
        (len(summary.blocked), "blocked"),
        (len(summary.refused), "refused"),
    ):
        if count:
            parts.append(f"{count:,} {word}")
    text = f"{summary.stage}: " + (", ".join(parts) or "nothing to do")
    if summary.done:
        # What was taken from where is no row of data.
        rows = sum(count for table, count in summary.rows.items() if table != "sources")
        size = human_bytes(summary.bytes)
        text += f"; {format_count(rows, 'row')}, {size}, {summary.seconds:.1f} s"
    return text
