"""Lanes: order kept, errors raised where they can be dealt with, never far ahead; cores shared."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pipeline.lanes import WAITING, Lanes
from pipeline.schedule import LargestFirst
from pipeline.stage import Partition, Task
from pipeline.worker import Job
from tests.spine.toy import Toy


def job(number: int, weight: int) -> Job:
    task = Task(Partition.of(date=str(number)), weight=weight)
    return Job(number, Toy(Path()), task, (), "", Path())


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_lane_keeps_its_order(threads: int) -> None:
    done: list[list[int]] = [[], [], []]
    lanes = Lanes(threads)
    rows = [lanes.lane() for _ in done]
    for i in range(200):
        rows[i % 3].put(lambda i=i: done[i % 3].append(i))
    lanes.close()
    assert done == [list(range(first, 200, 3)) for first in range(3)]


def test_one_thread_is_the_callers_own() -> None:
    seen: list[int] = []
    lanes = Lanes(1)
    lanes.lane().put(lambda: seen.append(threading.get_ident()))
    assert seen == [threading.get_ident()]
    lanes.close()


def test_the_caller_never_runs_far_ahead() -> None:
    """Each call holds a batch in memory: one at work and those few that may wait."""
    gate, started, put = threading.Event(), threading.Event(), []
    lanes = Lanes(2)
    lane = lanes.lane()

    def slow() -> None:
        started.set()
        gate.wait(10)

    def ahead() -> None:
        for i in range(10):
            lane.put(slow)
            put.append(i)

    caller = threading.Thread(target=ahead)
    caller.start()
    started.wait(10)
    caller.join(0.2)
    assert caller.is_alive()
    assert len(put) <= 1 + WAITING
    gate.set()
    caller.join(10)
    lanes.close()
    assert len(put) == 10


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_reaches_the_caller_and_ends_the_work(threads: int) -> None:
    done: list[int] = []
    lanes = Lanes(threads)
    lane, other = lanes.lane(), lanes.lane()

    def fail() -> None:
        raise OSError(28, "no space")

    def work() -> None:
        lane.put(fail)
        for i in range(100_000):
            other.put(lambda i=i: done.append(i))
        lanes.close()

    with pytest.raises(OSError, match="no space"):
        work()
    lanes.stop()
    assert len(done) < 100_000


def test_stop_drops_what_waits() -> None:
    started = threading.Event()
    done: list[str] = []
    lanes = Lanes(2)
    lane = lanes.lane()

    def until_stopped() -> None:
        started.set()
        while not lanes.stopped:
            time.sleep(0.001)

    lane.put(until_stopped)
    started.wait(10)
    lane.put(lambda: done.append("waited"))
    lanes.stop()
    assert not done


def test_a_task_alone_gets_all_cores_and_many_get_one_each() -> None:
    queue = LargestFirst([job(n, weight=10 - n) for n in range(4)] + [job(9, weight=0)], 4)
    first = queue.pop()
    assert first.threads == 1
    second = queue.pop([first])
    third = queue.pop([first, second])
    assert (second.threads, third.threads) == (1, 1)
    last = queue.pop([third])
    assert last.threads == 2
    assert queue.pop([last]).threads == 1  # without weight
    assert LargestFirst([job(1, weight=5)], 8).pop().threads == 8
