"""One task, run to its commit: in this process, or in a worker of the runner's pool."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.catalog import Resolved, commit_path, output_path
from pipeline.errors import MboError, RequestError
from pipeline.lanes import Lane, Lanes
from pipeline.packing import SYMBOL, PackedFile, index_path, packed_table
from pipeline.parquet import ParquetFile
from pipeline.roots import check_roots
from pipeline.stage import Partition, Stage, Stored, Task
from pipeline.startup import loading
from pipeline.storage import (
    commit_file,
    crash_point,
    read_json,
    readable_os_errors,
    storage_error,
    temporary_path,
    write_json,
)
from pipeline.tables import Table

PROGRESS_SECONDS = 0.2
"""A task reports its progress at most this often."""


@dataclass(frozen=True)
class Job:
    """A task ready to run: inputs resolved, fingerprint known.  Travels to a worker."""

    number: int
    stage: Stage
    task: Task
    inputs: tuple[Resolved, ...]
    fingerprint: str
    root: Path
    threads: int = 1
    """Cores this task may use; no byte of the outputs depends on it."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.  ``error`` is one readable line; ``detail`` the traceback."""

    number: int
    record: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    detail: str = ""
    wrong: bool = False
    """The request was wrong: seen in the middle of the work only."""
    fatal: bool = False
    """The lake itself cannot be written: no other task would fare better."""


class TaskInputs:
    """The resolved inputs of a job, as the stage sees them."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def stored(self, table: str, partition: Partition | None = None) -> Stored | None:
        wanted = self._job.task.partition if partition is None else partition
        for item in self._job.inputs:
            if item.table == table and item.partition == wanted:
                return item.stored
        return None

    def all(self, table: str) -> Sequence[Stored]:
        return [i.stored for i in self._job.inputs if i.table == table and i.stored is not None]

    def raw(self) -> Sequence[Path]:
        return [item.path for item in self._job.inputs if item.path is not None]


@dataclass
class TaskWriter:
    """One output file; written in the lake's folder of temporaries until the commit."""

    table: Table
    partition: Partition
    part: int
    final: Path
    file: ParquetFile
    extra: str
    """The stage's own metadata as JSON: part of the content."""
    lane: Lane
    """Where the file is encoded: at once, or by a thread while the stage goes on."""
    rows: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    closed: bool = False

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        self.rows += data.num_rows
        self.lane.put(lambda: self.file.write(data))

    def note(self, **facts: Any) -> None:
        self.notes.update(facts)

    def close(self) -> None:
        if not self.closed:
            self.lane.put(self.file.close)
            self.closed = True


_BUNCH_ROWS = 8192
"""Rows of symbols that are handed on together: calls cost more than small symbols do."""


class PackedTaskWriter:
    """A packed day in the making, in the lane that encodes it."""

    def __init__(self, file: PackedFile, lane: Lane) -> None:
        self.file = file
        self._lane = lane
        self._calls: list[Callable[[], object]] = []
        self._rows = 0

    def start(self, symbol: str, metadata: Mapping[str, str] | None = None) -> None:
        self._calls.append(lambda: self.file.start(symbol, metadata))

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        self._calls.append(lambda: self.file.write(data))
        self._rows += data.num_rows
        if self._rows >= _BUNCH_ROWS:
            self._hand_on()

    def note(self, **facts: Any) -> None:
        self._calls.append(lambda: self.file.note(**facts))

    def close(self) -> None:
        self._calls.append(self.file.close)
        self._hand_on()

    def _hand_on(self) -> None:
        calls, self._calls, self._rows = self._calls, [], 0

        def work() -> None:
            for call in calls:
                call()

        self._lane.put(work)


class TaskOutputs:
    """Writers of a job and their commit."""

    def __init__(self, job: Job, report: Callable[[int, int, int | None], None]) -> None:
        self._job = job
        self._report = report
        self._last_report = 0.0
        self._writers: dict[tuple[str, str, int], TaskWriter] = {}
        self._lanes = Lanes(job.threads)
        self._packed: dict[tuple[str, str], PackedTaskWriter] = {}
        self._parts: dict[tuple[str, str, int], TaskWriter] = {}
        """Files of packed days: opened and closed in their lane."""
        self.warnings: list[str] = []

    def writer(
        self,
        table: Table,
        partition: Partition | None = None,
        *,
        part: int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> TaskWriter:
        where = self._job.task.partition if partition is None else partition
        writer = self._open(table, where, part, metadata or {}, self._lanes.lane())
        self._writers[table.name, where.path, part] = writer
        return writer

    def _open(
        self,
        table: Table,
        where: Partition,
        part: int,
        metadata: Mapping[str, str],
        lane: Lane,
        ranges: Sequence[str] = (),
    ) -> TaskWriter:
        if (table.name, where.path, part) in self._writers:
            raise ValueError(f"{table.name} {where}: part {part} has a writer already")
        final = output_path(self._job.root, table.name, where, part)
        file = ParquetFile(
            temporary_path(self._job.root, f"{table.name}.parquet"),
            table,
            {**self._metadata(table), **metadata},
            ranges,
        )
        extra = json.dumps(dict(metadata), sort_keys=True)
        return TaskWriter(table, where, part, final, file, extra, lane)

    def packed(self, table: Table, partition: Partition | None = None) -> PackedTaskWriter:
        where = self._job.task.partition if partition is None else partition
        # The packed file has the lane; its parts are written within.
        at_once = Lanes(1).lane()

        def open_part(part: int) -> TaskWriter:
            ranges = [SYMBOL.name]
            writer = self._open(packed_table(table), where, part, {}, at_once, ranges)
            self._parts[table.name, where.path, part] = writer
            return writer

        writer = PackedTaskWriter(PackedFile(table, open_part), self._lanes.lane())
        self._packed[table.name, where.path] = writer
        return writer

    def _metadata(self, table: Table) -> dict[str, str]:
        """Lineage that travels with the file, whatever happens to the lake around it."""
        job = self._job
        return {
            "mbo.table": table.name,
            "mbo.schema_version": str(table.version),
            "mbo.stage": job.stage.name,
            "mbo.stage_version": str(job.stage.version),
            "mbo.params": json.dumps(job.task.params, sort_keys=True),
            "mbo.inputs": json.dumps([item.identity() for item in job.inputs]),
            "mbo.fingerprint": job.fingerprint,
        }

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, done: int, total: int | None = None) -> None:
        now = time.monotonic()
        if now - self._last_report >= PROGRESS_SECONDS:
            self._last_report = now
            self._report(self._job.number, done, total)

    def abandon(self) -> None:
        """Remove everything written so far."""
        self._lanes.stop()
        for writer in (*self._writers.values(), *self._parts.values()):
            writer.file.abandon()

    def commit(self) -> dict[str, Any]:
        """Rename all files, then write the commit record.  Returns the record."""
        job = self._job
        for packed in self._packed.values():
            packed.close()
        for writer in self._writers.values():
            writer.close()
        self._lanes.close()
        writers = self._writers | self._parts
        place = commit_path(job.root, job.stage.name, job.task.partition)
        old = read_json(place) or {"outputs": []}
        # From here to the new record the task counts as not done.
        place.unlink(missing_ok=True)
        outputs = []
        for key in sorted(writers):
            writer = writers[key]
            with readable_os_errors(writer.final):
                commit_file(writer.file.path, writer.final)
            crash_point("between-renames")
            outputs.append(
                {
                    "table": writer.table.name,
                    "table_version": writer.table.version,
                    "partition": writer.partition.path,
                    "file": str(writer.final.relative_to(job.root)),
                    "rows": writer.file.rows,
                    "bytes": writer.file.bytes,
                    "sha256": writer.file.sha256,
                    "content": writer.file.content(writer.extra),
                    "notes": writer.notes,
                }
            )
        record: dict[str, Any] = {
            "stage": job.stage.name,
            "stage_version": job.stage.version,
            "partition": job.task.partition.path,
            "fingerprint": job.fingerprint,
            "params": dict(job.task.params),
            "inputs": [item.record() for item in job.inputs],
            "outputs": outputs,
            "warnings": self.warnings,
        }
        if self._packed:
            record["packed"] = [self._write_index(*key) for key in sorted(self._packed)]
        crash_point("before-commit")
        write_json(job.root, place, record)
        kept = {item["file"] for item in (*outputs, *record.get("packed", ()))}
        for item in (*old["outputs"], *old.get("packed", ())):
            if item["file"] not in kept:
                (job.root / item["file"]).unlink(missing_ok=True)
        return record

    def _write_index(self, table: str, partition: str) -> dict[str, Any]:
        """Write where each symbol of a packed day is; returns what the record says of it."""
        packed, root = self._packed[table, partition].file, self._job.root
        path = index_path(root, table, partition)
        write_json(root, path, packed.index(), indent=None)
        return {
            "table": table,
            "partition": partition,
            "file": str(path.relative_to(root)),
            "bytes": path.stat().st_size,
            "content": packed.content(),
        }


def execute(job: Job, report: Callable[[int, int, int | None], None]) -> Outcome:
    """Run a job; every failure becomes an :class:`Outcome`, whatever its cause."""
    import traceback

    started = time.perf_counter()
    outputs = TaskOutputs(job, report)
    error, detail, fatal, wrong = "", "", False, False
    try:
        job.stage.run(job.task, TaskInputs(job), outputs)
        record = outputs.commit()
    except KeyboardInterrupt:
        outputs.abandon()
        raise
    except MboError as caught:
        error, detail = str(caught), traceback.format_exc()
        wrong = isinstance(caught, RequestError)
        fatal = isinstance(caught.__cause__, OSError) and caught.__cause__.errno == 28
    except OSError as caught:
        error, detail = str(storage_error(caught, job.root)), traceback.format_exc()
        fatal = caught.errno == 28
    except MemoryError:
        error, detail = "out of memory; use fewer --workers", traceback.format_exc()
    except Exception as caught:  # a fault of ours: the other tasks go on, this one says so
        error = f"internal error: {type(caught).__name__}: {caught}; --debug shows where"
        detail = traceback.format_exc()
    else:
        return Outcome(job.number, record, tuple(outputs.warnings), time.perf_counter() - started)
    outputs.abandon()
    return Outcome(
        job.number,
        warnings=tuple(outputs.warnings),
        seconds=time.perf_counter() - started,
        error=error,
        detail=detail,
        wrong=wrong,
        fatal=fatal,
    )


_queue: Any = None


def initialise_worker(queue: Any, environment: Mapping[str, str]) -> None:
    """Set up a worker process: interrupts are the parent's business, the environment is its own.

    The server that a worker was forked from may have started in another environment.
    """
    global _queue  # noqa: PLW0603 - one per process, set once
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    check_roots()
    _queue = queue
    _die_with_parent()


def _die_with_parent() -> None:
    """A worker whose parent was killed must not go on writing."""
    import threading
    from multiprocessing import parent_process

    parent = parent_process()
    assert parent is not None  # of the process that asked for the worker, not of the server

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def get_ready(stage: Stage) -> None:
    """What a worker does first: load the stage's kernels, or compile those that are new."""
    with loading():
        stage.warm()


def execute_in_worker(job: Job) -> Outcome:
    def report(number: int, done: int, total: int | None) -> None:
        if _queue is not None:
            with contextlib.suppress(Exception):
                _queue.put((number, done, total))

    return execute(job, report)
