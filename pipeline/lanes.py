"""Work done by threads behind the caller's back: encoding while the next rows are computed, and
decoding while the last ones are.

What is put into one lane is done in order; lanes go on beside each other.  What comes out is the
same for any number of threads: a lane is a file, and only its own order matters to it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

WAITING: Final = 1
"""Calls that wait in a lane, beside the one at work: each holds a batch of rows in memory."""

AHEAD: Final = 2
"""Items of an iterator that wait to be taken: more only cost memory."""

Call = Callable[[], object]


class Lanes:
    """Lanes that share some threads; with one thread every call is done at once, by the caller."""

    def __init__(self, threads: int) -> None:
        # The caller's own work is the lightest part and waits where it is ahead: a thread fewer
        # would leave a core idle then.
        self._pool = ThreadPoolExecutor(threads, "lane") if threads > 1 else None
        self._error: BaseException | None = None
        self.stopped = False

    def lane(self) -> Lane:
        return Lane(self)

    def check(self) -> None:
        """Raise what a lane met, here where the caller can deal with it."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait until all lanes are empty; raises what one of them met."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self.check()

    def stop(self) -> None:
        """Drop what waits and wait for what is at work.  Raises nothing."""
        self.stopped = True
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def start(self, drain: Call) -> bool:
        """Have a thread empty a lane; false where there are no threads."""
        if self._pool is None:
            return False
        self._pool.submit(drain)
        return True

    def do(self, call: Call) -> None:
        """One call in a thread; after an error, or when stopped, nothing more is done."""
        if self.stopped or self._error is not None:
            return
        try:
            call()
        except BaseException as error:  # raised in the caller by check
            self._error = error


class Lane:
    """Calls done one after another."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._calls: deque[Call] = deque()
        self._changed = threading.Condition()
        self._busy = False

    def put(self, call: Call) -> None:
        """Have a call done; waits while the lane is full.

        Raises
        ------
        BaseException
            What an earlier call met, in any lane.
        """
        self._lanes.check()
        with self._changed:
            while len(self._calls) > WAITING:
                self._changed.wait()
            self._calls.append(call)
            if self._busy:
                return
            self._busy = True
        if not self._lanes.start(self._drain):
            self._busy = False
            self._calls.popleft()()

    def _drain(self) -> None:
        while True:
            with self._changed:
                if not self._calls:
                    self._busy = False
                    return
                # Stays in the queue while at work, so that the caller cannot run ahead of it.
                call = self._calls[0]
            self._lanes.do(call)
            del call
            with self._changed:
                self._calls.popleft()
                self._changed.notify()


def in_background(work: Iterator[T]) -> Iterator[T]:
    """What an iterator gives, computed in a thread a few items ahead.

    It need not be exhausted: closing it ends the thread.
    """
    ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(AHEAD)
    stop = threading.Event()

    def offer(item: tuple[T] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.2)
            except queue.Full:
                continue
        return None

    def run() -> None:
        try:
            for item in work:
                offer((item,))
                if stop.is_set():
                    return
            offer(None)
        except BaseException as error:
            offer(error)

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stop.set()
        with contextlib.suppress(queue.Empty):  # let go of what it may be waiting to hand over
            while True:
                ready.get_nowait()
        thread.join()
