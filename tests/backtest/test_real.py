"""The simulator on the real hour of ES: against the plain one, and behind real orders."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
import zstandard

from pipeline.backtest import state as st
from pipeline.backtest.options import SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.book.columns import chunk_of_structs
from pipeline.units import PRICE_SCALE
from tests.backtest.scenario import RULE, Decision, Session, Tape, decisions_array
from tests.backtest.test_reference import run_kernel, run_reference

OPEN = 1703545200 * 10**9
MINUTE = 60 * 10**9
HOUR = Session(OPEN - 60 * MINUTE, OPEN + 60 * MINUTE, ((OPEN, OPEN + 60 * MINUTE),))


@pytest.fixture(scope="module")
def christmas(request):
    """Records of ESH4, 2023-12-25: a snapshot, pre-open, auction, one hour of trading."""
    from databento_dbn import MBOMsg

    folder = request.getfixturevalue("real_data")
    path = folder / "esh4" / "glbx-mdp3-20231225.mbo.dbn.zst"
    with open(path, "rb") as file:
        raw = zstandard.ZstdDecompressor().stream_reader(file).read()
    start = 8 + struct.unpack("<I", raw[4:8])[0]
    return np.frombuffer(raw[start:], np.dtype(MBOMsg._dtypes))


class RealTape(Tape):
    """Real records in the clothes of a test's tape."""

    def __init__(self, records) -> None:
        names = ("ts_recv", "ts_event", "order_id", "price", "size", "flags")
        columns = [records[name].astype(np.int64).tolist() for name in names]
        letters = [[ord(v) for v in records[name].tolist()] for name in ("action", "side")]
        super().__init__(list(zip(*columns, *letters, strict=True)))
        self._chunk = chunk_of_structs(records)

    def chunk(self):
        return self._chunk


def touches(records):
    """(time, event, bid, ask) at every event end of the trading hour, from a plain book."""
    orders, levels = {}, {"B": {}, "A": {}}
    event = 0
    previous = 0

    def leave(number):
        side, price, size = orders.pop(number)
        levels[side][price] -= size
        if levels[side][price] == 0:
            del levels[side][price]

    for r in records:
        flags, action = int(r["flags"]), r["action"].decode()
        if previous & 32 and not previous & 128 and not flags & 32:
            event += 1
        previous = flags
        number = int(r["order_id"])
        if action in "CM" and number in orders:
            leave(number)
        if action in "AM":
            side, price, size = r["side"].decode(), int(r["price"]), int(r["size"])
            orders[number] = (side, price, size)
            levels[side][price] = levels[side].get(price, 0) + size
        if flags & 128:
            event += 1
            if int(r["ts_event"]) > OPEN and not flags & 32:
                bid, ask = max(levels["B"]), min(levels["A"])
                yield int(r["ts_recv"]), event, bid / PRICE_SCALE, ask / PRICE_SCALE


@pytest.mark.parametrize("reading", ["exact", "optimistic", "pessimistic"])
def test_kernel_equals_reference_on_the_real_hour(christmas, reading):
    rng = random.Random(5)
    rows = list(touches(christmas))
    decisions = [
        Decision(ts, rng.choice([None, None, -3, -1, 0, 1, 2]), bid, ask, event)
        for ts, event, bid, ask in rows
        if rng.random() < 0.05
    ]
    tape = RealTape(christmas)
    options = SimOptions(reading, 1_000_000, 1_000_000, passive=True, patience=5 * 10**9)

    got = run_kernel(tape, decisions, options, HOUR, MINUTE, chunk=5000)
    expected = run_reference(tape, decisions, options, HOUR, MINUTE)

    assert len(got[0]) > 100
    assert got == expected


def test_shadow_behind_a_real_order_never_fills_before_it(christmas):
    rng = random.Random(9)
    live = christmas[(christmas["flags"] & 32) == 0]
    adds = np.flatnonzero((live["action"] == b"A") & (live["ts_event"] > OPEN))
    snapshot = christmas[(christmas["flags"] & 32) != 0]
    chunk = chunk_of_structs(christmas)
    shadows = filled = 0
    ends = np.cumsum((live["flags"] & 128) != 0)
    for i in sorted(rng.sample(adds.tolist(), 400)):
        real = live[i]
        ts, number = int(real["ts_event"]), int(real["order_id"])
        if not int(real["flags"]) & 128 or (
            i + 1 < len(live) and int(live[i + 1]["ts_event"]) <= ts
        ):
            continue  # something joins at the very same time: not directly behind
        buy = real["side"] == b"B"
        price = int(real["price"]) / PRICE_SCALE
        event = int(ends[i]) + 1  # the snapshot is the first event of the day
        decision = Decision(ts, 1 if buy else -1, price, price, event)
        rows = decisions_array([decision])
        options = SimOptions("exact", 0, 0, passive=True, patience=10**18)
        replay = Replay(options, timetable([HOUR], None), RULE, lambda _, rows=rows: rows)
        replay.sim.meta[st.EVENT_BASE] = 0
        replay.feed(chunk)
        replay.finish(HOUR.close_ns)
        taken = replay.take(last=True)
        order = taken.orders[0]
        if order[st.O_FILLED] and taken.fills[0, st.F_ROLE] == st.TAKER:
            continue
        shadows += 1
        assert order[st.O_ENTRY_AHEAD] >= int(real["size"])
        later = live[i + 1 :]
        mine = later[(later["order_id"] == number) & np.isin(later["action"], [b"C", b"M"])]
        gone = [r for r in mine if r["action"] == b"C" or _loses(real, r)]
        left_at = int(gone[0]["ts_event"]) if gone else None
        for fill in taken.fills:
            assert left_at is not None, "filled while the order ahead still rests"
            assert fill[st.F_TS] >= left_at
            assert fill[st.F_AHEAD] == 0 or fill[st.F_REASON] != st.BY_NOTHING_AHEAD
            filled += 1
    assert shadows > 150
    assert filled > 20
    assert len(snapshot) == 8725


def _loses(real, modified) -> bool:
    return modified["price"] != real["price"] or modified["size"] > real["size"]
