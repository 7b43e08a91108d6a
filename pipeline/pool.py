"""The worker processes of a stage's run, as one pool that survives the death of a worker."""

from __future__ import annotations

import concurrent.futures as cf
import os
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from pipeline.server import context, start_server
from pipeline.stage import Stage
from pipeline.worker import (
    Job,
    Outcome,
    execute_in_worker,
    get_ready,
    initialise_worker,
)

TASKS_PER_WORKER = 64
"""Workers are replaced after so many tasks: libraries keep memory they once had."""


class Pool:
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
