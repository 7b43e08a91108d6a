"""The wire between us and the venue: how long things take, and what happens in which order.

Three directions, each with a latency of its own: the feed (on top of ``ts_recv``), our orders,
and the venue's word.  A latency is constant, lognormal (seeded: same seed, same run), or read
from a table of measurements by time.  Messages of one direction do not overtake one another.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.queue import push
from pipeline.backtest.state import Sim
from pipeline.book.layout import Scalar
from pipeline.jit import inline, inner


@inner
def _uniform(sim: Sim) -> Scalar:
    """In (0, 1): L'Ecuyer's combined generator (Communications of the ACM 31, 1988)."""
    meta = sim.meta
    meta[st.RANDOM] = meta[st.RANDOM] * 40014 % 2147483563
    meta[st.RANDOM + 1] = meta[st.RANDOM + 1] * 40692 % 2147483399
    z = meta[st.RANDOM] - meta[st.RANDOM + 1]
    if z < 1:
        z += 2147483562
    return z / 2147483563.0


@inner
def _drawn(sim: Sim, direction: Scalar, time: Scalar) -> Scalar:
    """A latency that is not constant."""
    kind = sim.conf[st.LATENCY + 3 * direction]
    if kind == st.LOGNORMAL:
        median = sim.conf[st.LATENCY + 3 * direction + 1]
        sigma = sim.conf[st.LATENCY + 3 * direction + 2] * 1e-9
        z = math.sqrt(-2.0 * math.log(_uniform(sim))) * math.cos(2.0 * math.pi * _uniform(sim))
        return np.int64(median * math.exp(sigma * z))
    table = sim.latencies
    low: Scalar = np.int64(0)
    high: Scalar = np.int64(table.shape[0])
    while low < high:
        middle = (low + high) >> 1
        if table[middle, 0] <= time:
            low = middle + 1
        else:
            high = middle
    return table[max(low - 1, 0), 1 + direction]


@inline
def latency(sim: Sim, direction: Scalar, time: Scalar) -> Scalar:
    """How long a message takes that leaves at a time."""
    if sim.conf[st.LATENCY + 3 * direction] == st.CONSTANT:
        return sim.conf[st.LATENCY + 3 * direction + 1]
    return _drawn(sim, direction, time)


@inner
def send(sim: Sim, time: Scalar, kind: Scalar, order: Scalar, a: Scalar, b: Scalar) -> None:
    """Send to the venue: it arrives after what it was decided on and what was sent before."""
    meta = sim.meta
    due = max(time + latency(sim, np.int64(st.TO_VENUE), time), meta[st.CLOCK])
    due = max(due, meta[st.LAST_SENT])
    meta[st.LAST_SENT] = due
    push(sim, due, np.int64(st.CLASS_ARRIVAL), kind, order, a, b, np.int64(0))


@inner
def tell(
    sim: Sim, class_: Scalar, kind: Scalar, order: Scalar, a: Scalar, b: Scalar, c: Scalar
) -> Scalar:
    """Send word to us; returns when it gets here."""
    meta = sim.meta
    time = meta[st.CLOCK] + latency(sim, np.int64(st.FROM_VENUE), meta[st.CLOCK])
    time = max(time, meta[st.LAST_TOLD])
    meta[st.LAST_TOLD] = time
    push(sim, time, class_, kind, order, a, b, c)
    return time
