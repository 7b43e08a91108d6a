"""What an event strategy sees is what had been received: ten levels, the last trade, features,
its position and its place in queues; and the tests that say so notice a leak.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.units import F_SNAPSHOT
from tests.backtest.scenario import Session, Tape
from tests.backtest.test_clones import stretch
from tests.backtest.test_real import RealTape
from tests.backtest.test_reference import Market
from tests.backtest.witness import Watched, account, differences, heard_too_early, watch
from tests.book.support import read_raw


def draw(seed: int, steps: int = 150) -> tuple[Tape, Session]:
    """A random market whose records take a while to us, ties and overtaking among them."""
    rng = random.Random(seed)
    market = Market(seed, 10)
    for _ in range(steps):
        market.step()
    recv, rows, snapping = -(2**40), [], False
    for row in market.tape.rows:
        snapshot = bool(row[5] & F_SNAPSHOT)
        if not (snapping and snapshot):  # its records are received together
            due = max(row[:2]) + rng.choice([-3, 1, 5, 5, 40, 300])
            recv = due if rng.random() < 0.1 else max(recv, due)  # one in ten overtakes
        snapping = snapshot
        rows.append((recv, *row[1:]))
    market.tape.rows[:] = rows
    end = market.ts + 1000
    return market.tape, Session(-400, end, ((0, end),))


ENTRY, RESPONSE = 4, 30


def look(seed: int, feed: int = 0, assumed: int | None = None, **options) -> tuple[Watched, list]:
    """The witness in a random market, and the account; ``assumed``: the latency it counts with."""
    tape, session = draw(seed)
    events = account(tape.rows, feed if assumed is None else assumed)
    timing = {"feed_latency": feed, "entry_latency": ENTRY, "response_latency": RESPONSE}
    watched = watch(
        tape, events, session, known_feed=feed, chunk=1 + seed % 29, **{**timing, **options}
    )
    return watched, events


@pytest.mark.parametrize("feed", [0, 25])
def test_every_callback_sees_what_had_been_received(feed):
    kinds, fills = set(), 0
    for seed in range(12):
        watched, events = look(seed, feed)
        assert differences(watched.seen, events) == []
        assert heard_too_early(watched, RESPONSE) == []
        kinds |= set(watched.seen[:, 1].tolist())
        fills += len(watched.rows.fills)
    assert kinds == {0, 1, 2, 3}
    assert fills > 50


MEASURED = np.array([[-(2**62), 7, ENTRY, 30], [700, 90, ENTRY, 30], [1500, 0, ENTRY, 30]])


@pytest.mark.parametrize("how", [{"jitter": (10**9, 0, 0)}, {"latencies": MEASURED}])
def test_features_wait_for_their_event_where_the_feed_varies(how):
    """A feed that is slower than usual delays an event's features with the event."""
    later = 0
    for seed in range(8):
        watched, events = look(seed, feed=0 if "latencies" in how else 20, assumed=0, **how)
        assert differences(watched.seen, events, on_time=False) == []
        assert (np.diff(watched.seen[:, 0]) >= 0).all()
        later += int((watched.seen[:, 0] > events[-1].time).sum())
    assert later > 0


@pytest.mark.parametrize(
    ("count", "every"), [(14_000, 40), pytest.param(10**6, 100, marks=pytest.mark.slow)]
)
def test_the_real_hour(real_data, count, every):
    """Some minutes after the open; the slow test has the whole hour."""
    path = real_data / "esh4" / "glbx-mdp3-20231225.mbo.dbn.zst"
    records = read_raw(path)[:count]
    tape, session = RealTape(records), stretch(records).session
    events = account(tape.rows, every=every)
    watched = watch(
        tape, events, session, timer_ns=10**8, every=11, chunk=999, tick=250_000_000,
        entry_latency=10**6, response_latency=10**6,
    )  # fmt: skip
    assert differences(watched.seen, events) == []
    assert heard_too_early(watched, 10**6) == []
    assert len(watched.seen) > 3000
    assert len(watched.rows.fills) > 10


# --- the tests can fail ---------------------------------------------------------------------------


def test_an_event_that_comes_too_early_is_noticed():
    watched, events = look(3, feed=-20, assumed=0)
    assert differences(watched.seen, events)


def test_a_feature_of_the_next_event_is_noticed(monkeypatch):
    monkeypatch.setattr("tests.backtest.witness.FEATURE_LEAK", 1)
    watched, events = look(3)
    assert "the feature of event" in differences(watched.seen, events)[0]


def test_a_fill_that_is_heard_of_too_early_is_noticed():
    watched, _ = look(3, response_latency=RESPONSE - 3)
    assert heard_too_early(watched, RESPONSE)
