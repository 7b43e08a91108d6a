"""Which of a stage's tasks may run and when, and what became of them.

A task waits for those tasks of its own stage whose outputs it reads; what is up to date is
settled on the way; what stands behind a failed task is blocked.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.catalog import LakeCatalog, Resolved, commit_path, fingerprint
from pipeline.errors import BAD_REQUEST, FAILED, OK
from pipeline.stage import Partition, RawRef, Stage, Task
from pipeline.tables import schema_versions
from pipeline.worker import Job, Outcome


@dataclass
class StageSummary:
    """What became of a stage's tasks."""

    stage: str
    tasks: int = 0
    """Tasks the selection asked for and nothing refuses."""
    done: int = 0
    up_to_date: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    wrong: bool = False
    """Some failed because what was asked for cannot be done: no other data would help."""
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
    cpu_seconds: float = 0.0
    """Of this process, all its threads: with one worker all of the stage's."""

    @property
    def exit_code(self) -> int:
        if self.wrong:
            return BAD_REQUEST
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
            "cpu_seconds": round(self.cpu_seconds, 3),
        }


@dataclass(frozen=True)
class RunOptions:
    workers: int = 1
    force: bool = False
    dry_run: bool = False


class Schedule:
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
            summary.wrong |= outcome.wrong
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


class LargestFirst:
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
