"""When things happen: latencies, ties, what is known, and what may not be."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.options import timetable
from pipeline.backtest.replay import Replay
from tests.backtest.scenario import (
    END,
    RULE,
    Decision,
    Session,
    decisions_array,
    opening,
    simulate,
)
from tests.backtest.test_reference import draw, run_kernel


def test_order_arrives_after_the_entry_latency():
    tape = opening().add(14, "A B 100 4 #5").add(16, "A B 100 4 #6")

    assert simulate(tape, Decision(10, 3), latency=5).orders[0].entry == 14


def test_market_goes_first_at_equal_times():
    tape = opening().add(15, "A B 100 4 #5")

    assert simulate(tape, Decision(10, 3), latency=5).orders[0].entry == 14


def test_arrival_is_told_by_the_venues_clock_not_by_ours():
    # Known to us only at 1000, but it was at the venue at 14: it is ahead.
    tape = opening().add(14, "A B 100 4 #5", recv=1000).add(2000, "A B 98 1 #6")

    assert simulate(tape, Decision(10, 3), latency=5).orders[0].entry == 14


def test_decision_waits_for_the_event_it_was_made_on():
    # Our clock is behind the venue's: the row says 10, its event happened at 20.
    tape = opening().add(20, "A B 100 4 #5", recv=10).add(30, "A B 98 1 #6")

    result = simulate(tape, Decision(10, 3, event=19700101 * 10**10 + 6))
    assert result.orders[0].entry == 14


def test_fills_are_known_after_the_response_latency():
    # Long 3 is filled at 20; the target turns flat at 25, but the fill is known at 40 only.
    tape = opening().event(20, "T A 99 3 #0", "F B 99 3 #2", "M B 99 17 #2").add(90, "A B 98 1 #9")

    result = simulate(tape, Decision(10, 3), Decision(25, 0), response=20, passive=True)
    assert [(o.status, o.filled) for o in result.orders] == [("filled", 3), ("expired", 0)]
    assert result.rows.orders[1, st.O_DECIDED] == 40


def test_cancel_and_fill_that_cross_in_flight_leave_the_position_right():
    # The cancel sent at 30 arrives at 40; the fill at 35 comes first, and is reversed later.
    tape = opening().event(35, "T A 99 3 #0", "F B 99 3 #2", "M B 99 17 #2").add(90, "A B 98 1 #9")

    result = simulate(tape, Decision(10, 3), Decision(30, 0), latency=10, response=10)
    assert [(o.status, o.reason) for o in result.orders] == [
        ("filled", "none"),
        ("expired", "session_end"),
    ]
    assert result.orders[1].size == 3


def test_order_follows_the_touch_and_loses_its_place():
    tape = opening().add(20, "A B 100.5 4 #5").add(50, "A B 98 1 #9")

    result = simulate(tape, Decision(10, 3), Decision(30, None, bid=100.5))
    (order,) = result.orders
    assert (order.price, order.entry) == (100.5, 4)
    assert result.rows.orders[0, st.O_REPLACED] == 1


def test_smaller_size_keeps_the_place_and_larger_loses_it():
    tape = opening().add(15, "A B 100 4 #5").add(50, "A B 98 1 #9")

    smaller = simulate(tape, Decision(10, 3), Decision(20, 2))
    assert (smaller.orders[0].size, smaller.orders[0].entry) == (2, 10)
    larger = simulate(tape, Decision(10, 3), Decision(20, 5))
    assert (larger.orders[0].size, larger.orders[0].entry) == (5, 14)


def test_patience_ends_in_a_market_order_for_the_rest():
    tape = opening().event(20, "T A 99 1 #0", "F B 99 1 #2", "M B 99 19 #2")
    tape.add(200, "A B 98 1 #9")

    result = simulate(tape, Decision(10, 3), patience=50)
    assert result.brief == [(1, 100, "worse_price"), (2, 101, "took_depth")]
    assert result.orders[0].reason == "asked"


def test_position_is_flat_before_the_session_ends():
    tape = opening().add(END - 50, "A B 98 1 #9")

    result = simulate(tape, Decision(10, 3), passive=False, flatten_before=100)
    assert result.brief == [(3, 101, "took_depth"), (-3, 100, "took_depth")]
    assert result.fills[1].ts == END - 100


def test_order_that_found_no_depth_is_tried_again_after_a_second():
    tape = opening().add(500_000_000, "A A 101 40 #9").add(3_000_000_000, "A B 98 1 #10")

    result = simulate(tape, Decision(10, 35), passive=False)
    assert [f.size for f in result.fills] == [10, 20, 5]
    assert result.fills[2].ts == 1_000_000_010


def test_order_after_the_close_is_refused():
    session = Session(segments=((0, 12),), close_ns=12)
    result = simulate(opening().add(50, "A B 98 1 #9"), Decision(10, 3), latency=5, session=session)

    assert (result.orders[0].status, result.orders[0].reason) == ("rejected", "closed")


def test_marks_tell_position_and_mid():
    minute = 60_000_000_000
    tape = opening().add(3 * minute, "A B 98 1 #9")

    marks = simulate(tape, Decision(10, 3), passive=False, until=END).rows.marks
    assert marks[0].tolist()[:5] == [minute, 19700101 * 10**10 + 5, 0, 3, 201 * 10**9]
    assert marks[-1, st.M_TS] == END - 1
    assert len(marks) == 60


def test_markouts_are_mids_at_their_horizons():
    second = 1_000_000_000
    tape = opening().add(second // 2, "A B 100.5 1 #9").add(20 * second, "C B 100.5 1 #9")
    tape.add(100 * second, "A B 98 1 #10")

    result = simulate(tape, Decision(10, 3), passive=False)
    marks = result.rows.fills[0, st.F_MARK : st.F_MARK + 4]
    assert (marks / 1e9).tolist() == [201, 201.5, 201.5, 201]


@pytest.mark.parametrize("block", range(4))
def test_truncating_the_records_changes_nothing_before(block):
    rng = random.Random(block)
    compared = 0
    for seed in range(block * 25, block * 25 + 25):
        tape, decisions, options, session, flatten = draw(seed)
        fills, _ = run_kernel(tape, decisions, options, session, flatten)
        rows = list(tape.rows)
        cut = rng.randint(len(rows) // 3, len(rows) - 1)
        tape.rows = rows[:cut]
        replay = Replay(
            options, timetable([session], flatten), RULE, lambda _, d=decisions: decisions_array(d)
        )
        replay.sim.meta[st.EVENT_BASE] = 0
        replay.feed(tape.chunk())
        replay.finish()
        clock = replay.clock
        part = [int(ts) for ts in replay.take(last=True).fills[:, st.F_TS] if ts < clock]
        assert part == [f[1] for f in fills if f[1] < clock]
        compared += len(part)
    assert compared > 50


def test_rows_without_change_may_be_left_out():
    """What ``decisions_of`` drops: same target, same touch."""
    for seed in range(60):
        tape, decisions, options, session, flatten = draw(seed)
        doubled = []
        for one, after in zip(decisions, [*decisions[1:], None], strict=True):
            doubled.append(one)
            last = session.close_ns if after is None else after.ts
            middle = (one.ts + last) // 2
            event = one.event if after is None else after.event
            doubled.append(Decision(middle, one.target, one.bid, one.ask, event))
        thick = run_kernel(tape, doubled, options, session, flatten)
        thin = run_kernel(tape, decisions, options, session, flatten)
        assert thick == thin, seed


def test_rows_are_handed_out_once_whatever_the_chunks():
    tape, decisions, options, session, flatten = draw(11)
    whole = run_kernel(tape, decisions, options, session, flatten)
    rows = decisions_array(decisions)
    replay = Replay(options, timetable([session], flatten), RULE, lambda _: rows)
    replay.sim.meta[st.EVENT_BASE] = 0
    chunk = tape.chunk()
    fills, orders = [], []
    for i in range(len(tape.rows)):
        part = slice(i, i + 1)
        records = type(chunk.records)(*(c[part] for c in chunk.records))
        replay.feed(type(chunk)(records, chunk.publisher[part], chunk.instrument[part]))
        taken = replay.take()
        assert taken.first_fill == len(fills)
        fills += taken.fills[:, st.F_TS].tolist()
        orders += taken.orders[:, st.O_FILLED].tolist()
    replay.finish(session.close_ns)
    taken = replay.take(last=True)
    fills += taken.fills[:, st.F_TS].tolist()
    orders += taken.orders[:, st.O_FILLED].tolist()

    assert fills == [f[1] for f in whole[0]]
    assert orders == [o[3] for o in whole[1]]
    assert np.all(np.diff(fills) >= 0)


def test_flattening_waits_for_the_announced_close() -> None:
    """That trading would end earlier was not known: nothing may happen because of it."""
    schedule = timetable([Session(close_ns=1000, segments=((0, 1000),), announced=5000)], 4400)
    assert [int(row[0]) for row in schedule if row[1] == st.AT_FLATTEN] == [600]
    schedule = timetable([Session(close_ns=1000, segments=((0, 1000),), announced=5000)], 100)
    assert st.AT_FLATTEN not in schedule[:, 1]


def test_an_order_under_way_when_the_data_end_expires() -> None:
    """It has an end, and no time of 1970: it never arrived anywhere."""
    result = simulate(opening().add(14, "A B 100 4 #5"), Decision(10, 3), latency=10**13)

    assert result.orders[0].status == "expired"
    assert result.orders[0].reason == "end_of_data"
    assert int(result.rows.orders[0][st.O_ENDED]) >= 14
