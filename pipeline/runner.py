"""The one runner: orders a stage's tasks, skips what is up to date, runs the rest in parallel.

A task waits for those tasks of its own stage whose outputs it reads (a day of the book for the
day before); stages follow each other.  Results are committed by the workers; the parent keeps
the catalog.  Nothing here knows what any stage does.
"""

from __future__ import annotations

import concurrent.futures as cf
import heapq
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from pipeline.catalog import LakeCatalog, Resolved, commit_path, fingerprint
from pipeline.config import Settings
from pipeline.errors import FAILED, OK, MboError, RequestError
from pipeline.server import context, single_threaded, start_server
from pipeline.stage import Partition, RawRef, Selection, Stage, Task
from pipeline.startup import loading
from pipeline.tables import schema_versions
from pipeline.worker import (
    Job,
    Outcome,
    execute,
    execute_in_worker,
    get_ready,
    initialise_worker,
)

TASKS_PER_WORKER = 64
"""Workers are replaced after so many tasks: libraries keep memory they once had."""


class Reporter(Protocol):
    """Told what happens; shows it or not."""

    def stage_started(self, stage: str, tasks: int, to_do: int) -> None: ...
    def warming(self, stage: str, seconds: float | None) -> None: ...
    def task_started(self, stage: str, task: Task) -> None: ...
    def task_progress(self, stage: str, task: Task, done: int, total: int | None) -> None: ...
    def task_finished(self, stage: str, task: Task, outcome: Outcome) -> None: ...
    def stage_finished(self, summary: StageSummary) -> None: ...


@dataclass
class StageSummary:
    """What became of a stage's tasks."""

    stage: str
    tasks: int = 0
    """Tasks the selection asked for and nothing refuses."""
    done: int = 0
    up_to_date: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(partition, one readable line)"""
    details: list[str] = field(default_factory=list)
    blocked: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Left out because the settings ask for it: (partition, why).  No failure."""
    raw_changes: list[tuple[str, str]] = field(default_factory=list)
    """Raw files that results here were made from, and what has become of them."""
    planned: list[str] = field(default_factory=list)
    """What a dry run would compute."""
    rows: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        return FAILED if self.failed or self.blocked else OK

    def as_json(self) -> dict[str, Any]:
        def pairs(items: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
            return [{"partition": p, "message": m} for p, m in items]

        return {
            "stage": self.stage,
            "done": self.done,
            "up_to_date": self.up_to_date,
            "failed": pairs(self.failed),
            "blocked": pairs(self.blocked),
            "warnings": pairs(self.warnings),
            "refused": pairs(self.refused),
            "raw_changes": [{"file": f, "change": c} for f, c in self.raw_changes],
            "planned": self.planned,
            "rows": self.rows,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class RunOptions:
    workers: int = 1
    force: bool = False
    dry_run: bool = False


def run_stage(
    stage: Stage,
    catalog: LakeCatalog,
    settings: Settings,
    selection: Selection,
    options: RunOptions,
    reporter: Reporter,
) -> StageSummary:
    """Plan a stage and run what is not up to date.

    Raises
    ------
    RequestError
        If the plan itself cannot be made.  Failures of tasks are in the summary.
    """
    started = time.perf_counter()
    summary = StageSummary(stage.name)
    planned = stage.plan(catalog, settings, selection)
    summary.refused = [(str(task.partition), task.refused) for task in planned if task.refused]
    tasks = [task for task in planned if not task.refused]
    summary.tasks = len(tasks)
    schedule = _Schedule(stage, catalog, tasks, options, summary)
    first = schedule.ready()
    reporter.stage_started(stage.name, len(tasks), len(first) + schedule.waiting)
    if options.dry_run:
        schedule.drain_dry(first)
    elif first:
        if options.workers > 1 and len(first) + schedule.waiting > 1:
            _run_in_processes(schedule, first, options.workers, reporter)
        else:
            _run_here(schedule, first, options.workers, reporter)
    summary.seconds = time.perf_counter() - started
    reporter.stage_finished(summary)
    return summary


class _Schedule:
    """Which tasks may run, in which order, and what their results mean for the others."""

    def __init__(
        self,
        stage: Stage,
        catalog: LakeCatalog,
        tasks: Sequence[Task],
        options: RunOptions,
        summary: StageSummary,
    ) -> None:
        self.stage = stage
        self.catalog = catalog
        self.tasks = list(tasks)
        self.options = options
        self.summary = summary
        self._versions = schema_versions(stage.tables)
        owner = {
            partition.path: number
            for number, task in enumerate(self.tasks)
            for partition in (task.outputs or (task.partition,))
        }
        own_tables = set(stage.tables)
        self._blocked: set[int] = set()
        self._needs: list[set[int]] = []
        self._needed_by: dict[int, list[int]] = {}
        for number, task in enumerate(self.tasks):
            needs = {
                owner[ref.partition.path]
                for ref in task.inputs
                if not isinstance(ref, RawRef)
                and ref.table in own_tables
                and ref.partition.path in owner
            } - {number}
            self._needs.append(needs)
            for other in needs:
                self._needed_by.setdefault(other, []).append(number)
        self.waiting = sum(1 for needs in self._needs if needs)

    def ready(self) -> list[Job]:
        """Jobs that depend on no other task; those up to date are settled on the way."""
        return self._settle([n for n, needs in enumerate(self._needs) if not needs])

    def _settle(self, numbers: list[int]) -> list[Job]:
        jobs: list[Job] = []
        stack = numbers
        while stack:
            number = stack.pop()
            job = self._job(number)
            if job is not None:
                jobs.append(job)
            elif number not in self._blocked:
                stack += self._release(number)
        return jobs

    def _release(self, number: int) -> list[int]:
        freed = []
        for other in self._needed_by.get(number, ()):
            self._needs[other].discard(number)
            if not self._needs[other]:
                freed.append(other)
                self.waiting -= 1
        return freed

    def _job(self, number: int) -> Job | None:
        """The job of a task, or None if there is nothing to run: up to date, or blocked."""
        task = self.tasks[number]
        inputs: list[Resolved] = []
        for ref in task.inputs:
            if isinstance(ref, RawRef):
                inputs.append(Resolved("", Partition(), ref.sha256, path=ref.path))
                continue
            stored = self.catalog.get(ref.table, ref.partition)
            if stored is None and not ref.optional:
                message = f"needs {ref.table} {ref.partition}, which is not there"
                self.summary.blocked.append((str(task.partition), message))
                self._block(number)
                return None
            content = stored.content if stored else ""
            inputs.append(Resolved(ref.table, ref.partition, content, stored))
        mark = fingerprint(self.stage, task, inputs, self._versions)
        commit = self.catalog.commit(self.stage.name, task.partition)
        current = commit is not None and commit.fingerprint == mark
        if current and commit and commit.intact(self.catalog.root) and not self.options.force:
            self.summary.up_to_date += 1
            return None
        return Job(number, self.stage, task, tuple(inputs), mark, self.catalog.root)

    def finished(self, outcome: Outcome) -> list[Job]:
        """Take a result in; returns the jobs it frees."""
        task, summary = self.tasks[outcome.number], self.summary
        name = str(task.partition)
        summary.warnings += [(name, line) for line in outcome.warnings]
        if outcome.record is None:
            summary.failed.append((name, outcome.error))
            summary.details.append(outcome.detail)
            self._block(outcome.number)
            return []
        summary.done += 1
        for item in outcome.record["outputs"]:
            summary.rows[item["table"]] = summary.rows.get(item["table"], 0) + item["rows"]
            summary.bytes += item["bytes"]
        path = commit_path(self.catalog.root, self.stage.name, task.partition)
        for superseded in self.catalog.add(path, outcome.record):
            self.catalog.supersede(superseded)
        return self._settle(self._release(outcome.number))

    def _block(self, number: int) -> None:
        """Tasks behind a failed one cannot run: an older result of the failed task, if there
        is one, must not be taken for the new one.
        """
        failed = str(self.tasks[number].partition)
        self._blocked.add(number)
        stack = self._release(number)
        while stack:
            other = stack.pop()
            self._blocked.add(other)
            self.summary.blocked.append(
                (str(self.tasks[other].partition), f"needs {failed}, which failed")
            )
            stack += self._release(other)

    def drain_dry(self, first: list[Job]) -> None:
        """What would run: the ready tasks and everything that waits for them."""
        numbers = [job.number for job in first]
        seen = set(numbers)
        while numbers:
            number = numbers.pop()
            self.summary.planned.append(str(self.tasks[number].partition))
            behind = [n for n in self._needed_by.get(number, ()) if n not in seen]
            seen.update(behind)
            numbers += behind
        self.summary.planned.sort()


class _LargestFirst:
    """A queue of jobs: heaviest first, then in order of the plan."""

    def __init__(self, jobs: Iterable[Job], workers: int) -> None:
        self._heap: list[tuple[int, int, Job]] = []
        self._workers = workers
        self._heavy = 0
        self.extend(jobs)

    def extend(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            heapq.heappush(self._heap, (-job.task.weight, job.number, job))
            self._heavy += job.task.weight > 0

    def pop(self, running: Iterable[Job] = ()) -> Job:
        """The next job, with its share of the cores: those that no other task can use now.

        Tasks without a weight take no time worth a core.
        """
        job = heapq.heappop(self._heap)[2]
        if not job.task.weight:
            return job
        others = self._heavy - 1 + sum(1 for other in running if other.task.weight)
        self._heavy -= 1
        return replace(job, threads=max(1, self._workers // (1 + others)))

    def __len__(self) -> int:
        return len(self._heap)


def _warm(name: str, warm: Callable[[], None], reporter: Reporter) -> None:
    """Have a stage's kernels compiled before any task needs them."""
    begun = time.perf_counter()
    reporter.warming(name, None)
    warm()
    reporter.warming(name, time.perf_counter() - begun)


def _run_here(schedule: _Schedule, first: list[Job], workers: int, reporter: Reporter) -> None:
    name = schedule.stage.name
    queue = _LargestFirst(first, workers)

    def report(number: int, done: int, total: int | None) -> None:
        reporter.task_progress(name, schedule.tasks[number], done, total)

    with loading():
        _warm(name, schedule.stage.warm, reporter)
    while queue:
        job = queue.pop()
        reporter.task_started(name, job.task)
        outcome = execute(job, report)
        queue.extend(schedule.finished(outcome))
        reporter.task_finished(name, job.task, outcome)
        if outcome.fatal:
            raise MboError(outcome.error)


class _Pool:
    """A pool of workers that can be replaced when one of them dies."""

    def __init__(
        self, stage: Stage, workers: int, on_progress: Callable[[int, int, int | None], None]
    ) -> None:
        # Not forks of this process: it runs threads, and they could hold locks.
        start_server([type(stage).__module__])
        self._context = context()
        self._workers = workers
        self._queue = self._context.Queue()
        self._executor = self._start()
        self._reader = threading.Thread(target=self._read, args=(on_progress,), daemon=True)
        self._reader.start()

    def _start(self) -> cf.ProcessPoolExecutor:
        return cf.ProcessPoolExecutor(
            self._workers,
            mp_context=self._context,
            initializer=initialise_worker,
            initargs=(self._queue, dict(os.environ)),
            max_tasks_per_child=TASKS_PER_WORKER,
        )

    def _read(self, on_progress: Callable[[int, int, int | None], None]) -> None:
        while (item := self._queue.get()) is not None:
            on_progress(*item)

    def submit(self, job: Job) -> cf.Future[Outcome]:
        return self._executor.submit(execute_in_worker, job)

    def get_ready(self, stage: Stage, workers: int) -> None:
        """Start so many workers, and have each load the stage's kernels; one compiles them."""
        started = [self._executor.submit(get_ready, stage) for _ in range(workers)]
        errors = [error for future in started if (error := future.exception()) is not None]
        if any(isinstance(error, BrokenProcessPool) for error in errors):
            self.replace()
        elif errors:
            raise errors[0]

    def replace(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = self._start()

    def close(self, *, kill: bool) -> None:
        if kill:
            for process in list((getattr(self._executor, "_processes", None) or {}).values()):
                process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._queue.put(None)
        self._reader.join(timeout=5)
        self._queue.close()


def _run_in_processes(
    schedule: _Schedule, first: list[Job], workers: int, reporter: Reporter
) -> None:
    name = schedule.stage.name
    queue = _LargestFirst(first, workers)
    suspects: list[Job] = []  # were running when a worker died: each gets one try alone
    running: dict[cf.Future[Outcome], Job] = {}

    def report(number: int, done: int, total: int | None) -> None:
        reporter.task_progress(name, schedule.tasks[number], done, total)

    def finish(job: Job, outcome: Outcome) -> None:
        queue.extend(schedule.finished(outcome))
        reporter.task_finished(name, job.task, outcome)
        if outcome.fatal:
            raise MboError(outcome.error)

    with single_threaded():
        pool = _Pool(schedule.stage, workers, report)
    kill = True
    try:
        with single_threaded():
            needed = min(workers, len(first) + schedule.waiting)
            _warm(name, partial(pool.get_ready, schedule.stage, needed), reporter)
            while queue or running or suspects:
                alone = bool(suspects)
                if alone and not running:
                    job = suspects.pop()
                    running[pool.submit(job)] = job
                while not alone and queue and len(running) < workers:
                    job = queue.pop(running.values())
                    reporter.task_started(name, job.task)
                    running[pool.submit(job)] = job
                finished, _ = cf.wait(running, return_when=cf.FIRST_COMPLETED)
                died: list[Job] = []
                for future in finished:
                    job = running.pop(future)
                    try:
                        outcome = future.result()
                    except BrokenProcessPool:
                        died.append(job)
                    else:
                        finish(job, outcome)
                if died:
                    died += running.values()
                    running.clear()
                    pool.replace()
                    if alone or len(died) == 1:
                        message = "its worker process died (out of memory?); try fewer --workers"
                        finish(died[0], Outcome(died[0].number, error=message, detail=message))
                    else:
                        suspects += died
        kill = False
    finally:
        pool.close(kill=kill)


def default_workers(settings: Settings) -> int:
    """One process a core this process may use, unless the settings say otherwise."""
    if settings.run.workers < 0:
        raise RequestError(f"run.workers = {settings.run.workers}; write 0 for one a core, or more")
    return settings.run.workers or len(os.sched_getaffinity(0))
