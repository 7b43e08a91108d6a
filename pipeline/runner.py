"""The one runner: orders a stage's tasks, skips what is up to date, runs the rest in parallel.

A task waits for those tasks of its own stage whose outputs it reads (a day of the book for the
day before); stages follow each other.  Results are committed by the workers; the parent keeps
the catalog.  Nothing here knows what any stage does.
"""

from __future__ import annotations

import concurrent.futures as cf
import os
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Protocol

from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.errors import MboError, RequestError
from pipeline.pool import Pool
from pipeline.schedule import LargestFirst, RunOptions, Schedule, StageSummary
from pipeline.server import single_threaded
from pipeline.stage import Selection, Stage, Task
from pipeline.startup import loading
from pipeline.worker import Job, Outcome, execute


class Reporter(Protocol):
    """Told what happens; shows it or not."""

    def stage_started(self, stage: str, tasks: int, to_do: int) -> None: ...
    def warming(self, stage: str, seconds: float | None) -> None: ...
    def task_started(self, stage: str, task: Task) -> None: ...
    def task_progress(self, stage: str, task: Task, done: int, total: int | None) -> None: ...
    def task_finished(self, stage: str, task: Task, outcome: Outcome) -> None: ...
    def stage_finished(self, summary: StageSummary) -> None: ...


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
    started, cpu = time.perf_counter(), time.process_time()
    summary = StageSummary(stage.name)
    planned = stage.plan(catalog, settings, selection)
    summary.refused = [(str(task.partition), task.refused) for task in planned if task.refused]
    tasks = [task for task in planned if not task.refused]
    summary.tasks = len(tasks)
    schedule = Schedule(stage, catalog, tasks, options, summary)
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
    summary.cpu_seconds = time.process_time() - cpu
    reporter.stage_finished(summary)
    return summary


def _warm(name: str, warm: Callable[[], None], reporter: Reporter) -> None:
    """Have a stage's kernels compiled before any task needs them."""
    begun = time.perf_counter()
    reporter.warming(name, None)
    warm()
    reporter.warming(name, time.perf_counter() - begun)


def _run_here(schedule: Schedule, first: list[Job], workers: int, reporter: Reporter) -> None:
    name = schedule.stage.name
    queue = LargestFirst(first, workers)

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


def _run_in_processes(
    schedule: Schedule, first: list[Job], workers: int, reporter: Reporter
) -> None:
    name = schedule.stage.name
    queue = LargestFirst(first, workers)
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
        pool = Pool(schedule.stage, workers, report)
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
