"""Queue positions and first-in-first-out, against mbo-queue (PyPI), written by somebody else.

``pip install mbo-queue==0.7.0``, or the extra ``oracles``; skipped where it is absent.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.book.columns import chunk_of_structs
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.layout import DEFAULT_RULE
from pipeline.book.position import ahead_columns
from pipeline.book.state import closing_state
from pipeline.sample import SampleOptions, write_sample
from tests.book.fifo import passed_over
from tests.book.support import Market, read_raw, recs, run_engine, structs
from tests.reference.records import LAST

fast = pytest.importorskip("mboq.fast", reason="mbo-queue is not installed (extra `oracles`)")

Array = npt.NDArray[Any]
FIELDS = ("ts_event", "order_id", "price", "size", "flags", "action", "side")
NORMAL_TICK = 250_000_000


def theirs(array: Array, times: list[int]) -> dict[str, Any]:
    """What mbo-queue makes of records; every queue of the book at the times asked for."""
    found: dict[str, Any] = fast.run(
        {name: array[name] for name in FIELDS},
        tick=NORMAL_TICK,
        queue_times=times,
        queue_levels=1_000_000,
    )
    return found


def positions(engine: BookEngine) -> list[tuple[int, ...]]:
    """(id, side, price, rank, size, size ahead) in book order."""
    orders = closing_state(engine).orders
    rank, ahead = ahead_columns(orders)
    side = [1 if s == "B" else -1 for s in orders["side"].to_pylist()]
    ids = orders["order_id"].to_numpy().view(np.int64).tolist()
    columns = (orders["price"].to_pylist(), rank.tolist(), orders["size"].to_pylist())
    return list(zip(ids, side, *columns, ahead.tolist(), strict=True))


def assert_same_queues(array: Array, times: list[int]) -> int:
    """Compare every order of the book at the event ends before these times (``ts_event``)."""
    found = theirs(array, times)["queue"]
    engine = BookEngine(20240102, BookOptions(materialise="none"), DEFAULT_RULE)
    ends = (array["flags"] & LAST) != 0
    starts = np.flatnonzero(np.concatenate([[True], ends[:-1]]))
    compared = done = 0
    for number, time in enumerate(times):
        later = starts[(array["ts_event"][starts].view(np.int64) > time) & (starts >= done)]
        stop = int(later[0]) if len(later) else len(array)
        if stop > done:
            list(engine.feed(chunk_of_structs(array[done:stop], done)))
        done = stop
        rows = found[found[:, 0] == number]
        ours = positions(engine)
        assert ours == [tuple(row) for row in rows[:, [1, 2, 3, 5, 6, 7]].tolist()]
        compared += len(ours)
    return compared


def out_of_turn(array: Array) -> tuple[set[int], set[int]]:
    """Records of F that passed orders by, in our count and in theirs.

    We look at an F where it stands, they at the end of its event: what is filled whole later in
    the event does not stand before it for them.  They count the F of an order modified to cross,
    too, which met nobody in the queue it stood in.
    """
    passed = passed_over(recs(array))
    ranks = theirs(array, [])["fifo_rank"]
    fills = np.flatnonzero(array["action"] == b"F")
    assert len(fills) == len(ranks)
    ours = {p.record for p in passed if p.reason != "listed"}
    return ours, set(fills[ranks > 0].tolist())


def own_side(array: Array) -> set[int]:
    """Records of F on the side of their event's aggressor: a resting order modified to cross."""
    found, taker = set(), b"N"
    for i, (action, side) in enumerate(zip(array["action"], array["side"], strict=True)):
        if i and array["flags"][i - 1] & LAST:
            taker = b"N"
        if action == b"T":
            taker = side
        if action == b"F" and side == taker:
            found.add(i)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_random_markets(seed: int) -> None:
    array = structs(Market(random.Random(seed), middle=10**12).run(1500))
    times = sorted(set(array["ts_event"].view(np.int64).tolist()))[::5]

    assert assert_same_queues(array, times) > 500


@pytest.fixture(scope="module")
def christmas(real_data: Path) -> Array:
    return read_raw(real_data / "esh4" / "glbx-mdp3-20231225.mbo.dbn.zst")


def test_every_queue_of_the_real_es_day(christmas: Array) -> None:
    live = christmas["ts_event"][(christmas["flags"] & 32) == 0].view(np.int64)
    times = np.linspace(live.min(), live.max() + 1, 6).astype(np.int64).tolist()

    assert assert_same_queues(christmas, times) > 50_000


def test_fills_out_of_turn_on_the_real_es_day(christmas: Array) -> None:
    """The same 344, and 99 of orders that were themselves the aggressor."""
    ours, others = out_of_turn(christmas)
    assert len(ours) == 344
    assert ours <= others
    assert others - ours <= own_side(christmas)
    assert len(others - ours) == 99


@pytest.mark.slow
def test_the_sample(tmp_path: Path) -> None:
    out = tmp_path / "raw"
    write_sample(SampleOptions(out=out, days=1, symbols=["SIMM5"], records=3000, seed=3), None)
    for path in sorted(out.rglob("*.mbo.dbn.zst")):
        array = read_raw(path)
        times = array["ts_event"].view(np.int64)[:: max(1, len(array) // 10)]
        assert_same_queues(array, sorted(set(times.tolist())))
        ours, others = out_of_turn(array)
        assert ours == set()
        assert others <= own_side(array)
        assert Counter(array["action"])[b"F"] >= run_engine(array).engine.quality()["fifo_fills"]
