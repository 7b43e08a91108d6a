"""Event strategies in markets of a few records, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.options import Limits
from strategies.layout import BUY, DAY, FOK, GTC, IOC, SELL
from tests.backtest.scenario import Session, opening
from tests.backtest.scripted import (
    LIMIT,
    MARKET,
    PEGGED,
    STOP,
    STOP_LIMIT,
    cancel,
    order,
    px,
    replace,
    run,
)

FILL, WORD, REJECT = 1, 2, 3


def ends(result):
    return [(o.status, o.reason) for o in result.orders]


def print_at(tape, ts, price, side="B"):
    """A trade that nothing displayed took part in: it moves stops, and no queue."""
    return tape.event(ts, f"T {side} {price} 1 #0")


# --- stops ----------------------------------------------------------------------------------------


def test_stop_is_not_reached_by_a_print_before_its_trigger():
    tape = print_at(opening(), 20, 101)
    result = run(tape, order(10, STOP, BUY, 1, extra=101.25))

    assert (result.brief, ends(result)) == ([], [("expired", "session_end")])


def test_stop_is_reached_by_the_furthest_print_of_an_event_not_by_the_last():
    tape = opening().event(20, "T B 102 1 #0", "T B 101 1 #0")
    result = run(tape, order(10, STOP, BUY, 1, extra=102))

    assert result.brief == [(1, 101.0, "took_depth")]


def test_stop_is_not_reached_by_prints_of_events_before_it():
    tape = opening().event(20, "T B 102 1 #0", "T B 101 1 #0").event(40, "A B 98 1 #77")
    result = run(tape, order(30, STOP, BUY, 1, extra=102))

    assert (result.brief, ends(result)) == ([], [("expired", "session_end")])


def test_sell_stop_is_reached_from_above():
    tape = print_at(opening(), 20, 99, "A")
    result = run(tape, order(10, STOP, SELL, 12, extra=99.5))

    assert result.brief == [(-10, 100.0, "took_depth"), (-2, 99.0, "took_depth")]


def test_two_stops_of_an_event_become_orders_as_they_arrived():
    tape = print_at(opening(), 20, 102)
    rows = (order(10, STOP, BUY, 8, extra=102), order(11, STOP, BUY, 4, extra=101.5))
    result = run(tape, *rows)

    assert [(f.size, f.price) for f in result.fills] == [(8, 101), (2, 101), (2, 102)]


def test_stop_limit_takes_up_to_its_limit_and_rests_there():
    tape = print_at(opening(), 20, 101)
    tape.event(30, "A A 101 3 #9")
    result = run(tape, order(10, STOP_LIMIT, BUY, 12, 101, extra=101))

    assert result.brief == [(10, 101.0, "took_depth"), (2, 101.0, "came_to_rest")]


def test_stop_moved_behind_the_last_print_is_cancelled():
    tape = print_at(opening(), 5, 101).add(15, "A B 98 1 #8").add(25, "A B 98 1 #9")
    result = run(tape, order(10, STOP, BUY, 1, extra=102), replace(20, 0, 101, 1))

    assert ends(result) == [("cancelled", "stop_passed")]


def test_stop_moved_ahead_waits_for_its_new_trigger():
    tape = print_at(print_at(opening(), 30, 102), 40, 103)
    result = run(tape, order(10, STOP, BUY, 1, extra=102), replace(20, 0, 103, 2))

    assert [(f.size, f.ts) for f in result.fills] == [(2, 40)]


def test_stop_that_would_meet_our_own_order_is_cancelled():
    tape = print_at(opening(), 20, 102)
    rows = (order(10, LIMIT, SELL, 1, 100.5), order(11, STOP, BUY, 1, extra=102))

    assert ends(run(tape, *rows)) == [("expired", "session_end"), ("cancelled", "self_match")]


def test_stop_is_not_reached_while_the_market_is_closed():
    session = Session(segments=((0, 15), (1000, 3_600_000_000_000)))
    tape = print_at(print_at(opening(), 20, 102), 2000, 102)
    result = run(tape, order(10, STOP, BUY, 1, extra=102), sessions=[session])

    assert [f.ts for f in result.fills] == [2000]


def test_clear_cancels_stops_and_pegs_too():
    tape = opening().add(20, "R N - 0 #0")
    rows = (order(10, STOP, BUY, 1, extra=102), order(11, PEGGED, BUY, 1))

    assert ends(run(tape, *rows)) == [("cancelled", "book_cleared")] * 2


def test_waiting_stop_has_no_queue_ahead():
    result = run(opening(), order(10, STOP_LIMIT, BUY, 1, 100, extra=102))

    assert result.heard[0] == (10, WORD, 0, 1, 0, 0, 1, -1)


# --- pegs -----------------------------------------------------------------------------------------


def test_peg_stands_behind_the_touch_by_its_offset():
    result = run(opening(), order(10, PEGGED, BUY, 2, extra=1), order(10, PEGGED, SELL, 2, extra=1))

    assert [(o.price, o.entry) for o in result.orders] == [(99.0, 20), (102.0, 20)]


def test_peg_stays_where_it_is_when_its_side_is_empty():
    tape = opening().add(20, "C B 99 20 #2").add(30, "C B 100 10 #1")
    tape.event(40, "A A 100 1 #9")
    result = run(tape, order(10, PEGGED, BUY, 1))

    assert result.brief == [(1, 100.0, "came_to_rest")]


def test_peg_without_a_touch_waits_for_one():
    tape = opening().add(5, "C B 99 20 #2").add(6, "C B 100 10 #1").add(20, "A B 98 4 #9")
    tape.add(30, "A B 98 4 #10")
    result = run(tape, order(10, PEGGED, BUY, 1))

    assert [(o.price, o.entry) for o in result.orders] == [(98.0, 4)]
    assert [h[7] for h in result.heard[:2]] == [-1, 0]  # the 4 at 98 reach us at 21


def test_peg_does_not_follow_a_crossed_book():
    tape = opening().add(20, "A B 103 1 #9").add(30, "C B 103 1 #9")
    result = run(tape, order(10, PEGGED, BUY, 1))

    assert [(o.price, o.entry) for o in result.orders] == [(100.0, 10)]


def test_new_offset_moves_a_peg_and_a_smaller_size_does_not():
    tape = opening().add(15, "A B 100 5 #9").add(40, "A B 97 1 #10")
    kept = run(tape, order(10, PEGGED, BUY, 3), replace(20, 0, 0, 2))
    moved = run(tape, order(10, PEGGED, BUY, 3), replace(20, 0, 1, 3))

    assert [(o.price, o.entry, o.size) for o in kept.orders] == [(100.0, 10, 2)]
    assert [(o.price, o.entry, o.size) for o in moved.orders] == [(99.0, 20, 3)]


# --- what cannot wait -----------------------------------------------------------------------------


@pytest.mark.parametrize("row", [
    order(10, MARKET, BUY, 1),
    order(10, LIMIT, BUY, 1, 101, tif=IOC),
    order(10, LIMIT, BUY, 1, 101, tif=FOK),
])  # fmt: skip
def test_orders_that_cannot_wait_need_an_open_market(row):
    session = Session(segments=((1000, 3_600_000_000_000),))

    assert ends(run(opening(), row, sessions=[session])) == [("rejected", "closed")]


def test_fok_counts_what_we_took_already_as_gone():
    rows = (order(10, MARKET, BUY, 4), order(11, LIMIT, BUY, 7, 101, tif=FOK))

    assert ends(run(opening(), *rows)) == [("filled", "none"), ("cancelled", "not_whole")]


def test_limit_of_the_pre_open_waits_for_the_open():
    session = Session(segments=((1000, 3_600_000_000_000),))
    tape = opening().event(500, "A A 100 2 #8").add(900, "C A 100 2 #8")
    tape.event(2000, "A A 100 2 #9")
    result = run(tape, order(10, LIMIT, BUY, 3, 100), sessions=[session])

    assert [(f.size, f.ts) for f in result.fills] == [(2, 2000)]


def test_replacement_through_the_touch_takes():
    result = run(opening(), order(10, LIMIT, BUY, 3, 100), replace(20, 0, 101, 3))

    assert result.brief == [(3, 101.0, "took_depth")]


def test_post_only_replacement_that_would_take_is_cancelled():
    rows = (order(10, LIMIT, BUY, 3, 100, post=True), replace(20, 0, 101, 3))

    assert ends(run(opening(), *rows)) == [("cancelled", "would_take")]


def test_replacement_that_would_meet_our_own_order_is_cancelled():
    rows = (
        order(10, LIMIT, SELL, 1, 100.5),
        order(11, LIMIT, BUY, 1, 100),
        replace(20, 1, 100.5, 1),
    )
    assert ends(run(opening(), *rows)) == [("expired", "session_end"), ("cancelled", "self_match")]


def test_replacement_to_what_is_filled_already_is_a_cancel():
    tape = opening().event(20, "T A 99 2 #0", "F B 99 2 #2", "M B 99 18 #2").add(40, "A B 97 1 #9")
    result = run(tape, order(10, LIMIT, BUY, 3, 100), replace(30, 0, 100, 2))

    assert (result.orders[0].filled, ends(result)) == (2, [("cancelled", "asked")])


@pytest.mark.parametrize("row", [
    order(10, LIMIT, BUY, 0, 100),
    order(10, LIMIT, BUY, 1, 100.1),
    order(10, LIMIT, 0, 1, 100),
    order(10, STOP, BUY, 1, extra=101.1),
    order(10, PEGGED, BUY, 1, extra=-1),
    order(10, LIMIT, BUY, 1, 100, tif=9),
])  # fmt: skip
def test_orders_that_make_no_sense_do_not_leave_the_house(row):
    result = run(opening(), row, latency=50)

    assert ends(result) == [("rejected", "bad_order")]
    assert result.heard[0][:5] == (10, REJECT, 0, 4, 19)


# --- in flight ------------------------------------------------------------------------------------


def test_cancel_under_way_does_not_save_us_from_a_fill():
    tape = opening().event(24, "T A 99 1 #0", "F B 99 1 #2", "M B 99 19 #2").add(90, "A B 97 1 #9")
    result = run(tape, order(10, LIMIT, BUY, 3, 100), cancel(20, 0), latency=5)

    assert result.brief == [(1, 100.0, "worse_price")]
    assert ends(result) == [("cancelled", "asked")]


def test_position_is_what_we_have_heard_of():
    tape = opening().add(11, "A B 97 1 #8").add(200, "A B 97 1 #9")
    rows = (order(10, MARKET, BUY, 1), order(20, LIMIT, BUY, 1, 99))
    result = run(tape, *rows, response=30)

    # At 40 the fill of 10 is heard, then the order's end; the second is confirmed at 50.
    assert [(h[0], h[1], h[5]) for h in result.heard[:3]] == [
        (40, FILL, 1), (40, WORD, 1), (50, WORD, 1),
    ]  # fmt: skip


# --- snapshots and sessions -----------------------------------------------------------------------


def test_queue_ahead_is_known_through_a_snapshot():
    tape = opening().add(15, "A B 100 5 #5")
    tape.snapshot(20, "A B 100 4 #5", "A B 100 6 #1", "A B 99 20 #2", "A A 101 10 #3")
    tape.event(30, "T A 100 1 #0", "F B 100 1 #5", "M B 100 3 #5").add(40, "A B 97 1 #9")
    result = run(tape, order(10, LIMIT, BUY, 3, 100))

    (fill,) = result.fills
    assert (fill.entry, fill.ahead, fill.reason) == (10, 6, "behind")
    assert next(h for h in result.heard if h[1] == FILL)[7] == 6


TWO = [Session(-1_000_000, 1000, ((0, 1000),)), Session(2000, 5000, ((3000, 5000),))]


def test_gtc_stop_and_peg_outlive_their_session():
    tape = opening().add(3400, "C A 101 10 #3")
    tape = print_at(tape.add(3450, "A A 103 1 #8"), 3500, 102)
    rows = (
        order(10, STOP, BUY, 1, extra=102, tif=GTC),
        order(11, PEGGED, SELL, 1, extra=1, tif=GTC),
        order(12, STOP, BUY, 1, extra=102, tif=DAY),
    )
    result = run(tape, *rows, sessions=TWO, until=5000)

    assert [(f.size, f.price, f.ts) for f in result.fills] == [(1, 102, 3500)]
    assert ends(result) == [("filled", "none"), ("resting", "none"), ("expired", "session_end")]


def test_order_between_sessions_is_refused():
    result = run(opening(), order(990, LIMIT, BUY, 1, 100), sessions=TWO, latency=100, until=5000)

    assert ends(result) == [("rejected", "closed")]


def test_auction_fills_an_event_strategy_too():
    tape = opening().event(
        100, "T N 99 6 #0", "F N 99 6 #2", "F N 99 6 #77", "M B 99 14 #2",
    )  # fmt: skip
    session = Session(segments=((100, 3_600_000_000_000),))
    result = run(tape, order(10, LIMIT, BUY, 9, 100), sessions=[session])

    assert result.brief == [(6, 99.0, "auction")]
    assert next(h for h in result.heard if h[1] == FILL)[3:6] == (6, px(99), 6)


# --- risk -----------------------------------------------------------------------------------------


def test_order_too_large_is_refused():
    result = run(opening(), order(10, LIMIT, BUY, 6, 100), limits=Limits(order_size=5))

    assert ends(result) == [("rejected", "risk_size")]


def test_position_limit_counts_what_works_on_a_side_as_filled():
    rows = (
        order(10, LIMIT, BUY, 3, 100),
        order(11, LIMIT, BUY, 3, 99),
        order(12, LIMIT, SELL, 5, 102),
        cancel(13, 0),
        order(14, LIMIT, BUY, 5, 99),
    )
    result = run(opening(), *rows, limits=Limits(position=5))

    assert [o.reason for o in result.orders] == [
        "asked", "risk_position", "session_end", "session_end",
    ]  # fmt: skip


def test_order_rate_is_per_second():
    second = 10**9
    rows = [order(10 + i, LIMIT, BUY, 1, 99) for i in range(3)]
    rows.append(order(10 + second, LIMIT, BUY, 1, 99))
    result = run(opening(), *rows, limits=Limits(orders_per_second=2))

    assert [o.reason for o in result.orders] == ["session_end"] * 2 + ["risk_rate", "session_end"]


def test_replacement_obeys_the_limits_and_the_order_stays():
    rows = (order(10, LIMIT, BUY, 3, 100), replace(20, 0, 100, 6))
    result = run(opening(), *rows, limits=Limits(order_size=5))

    assert [(o.size, o.reason) for o in result.orders] == [(3, "session_end")]
    assert result.heard[1][:5] == (20, REJECT, 0, 1, 14)


def falling():
    """We buy at 101 at 10; at 20 the market falls to 90 against 91."""
    tape = opening()
    tape.event(20, "C B 100 10 #1", "C B 99 20 #2", "A B 90 10 #5", "A A 91 5 #6")
    return tape.add(40, "A B 80 1 #7").add(60, "A B 80 1 #8")


@pytest.mark.parametrize("limits", [
    Limits(session_loss=15 * 10**9), Limits(run_loss=15 * 10**9)
])  # fmt: skip
def test_kill_switch_cancels_flattens_and_refuses(limits):
    rows = (
        order(10, MARKET, BUY, 2),
        order(11, LIMIT, BUY, 1, 80),
        order(50, LIMIT, BUY, 1, 80),
    )
    result = run(falling(), *rows, limits=limits)

    # 2 x (90.5 - 101) = -21.
    assert result.brief == [(2, 101.0, "took_depth"), (-2, 90.0, "took_depth")]
    assert "risk_loss" in [o.reason for o in result.orders]
    assert [o.status for o in result.orders].count("cancelled") == 1
    assert result.fills[-1].ts >= 20


@pytest.mark.parametrize(
    ("limits", "later"),
    [(Limits(session_loss=15 * 10**9), "session_end"), (Limits(run_loss=15 * 10**9), "risk_loss")],
)
def test_a_run_that_lost_too_much_is_over_even_if_getting_out_makes_up_for_it(limits, later):
    tape = opening().event(20, "C B 100 10 #1", "C B 99 20 #2", "A B 90 10 #5", "A A 91 5 #6")
    gone = ("C B 90 10 #5", "C A 91 5 #6", "C A 101 10 #3", "C A 102 20 #4")
    tape.event(30, *gone, "A B 105 9 #9", "A A 106 9 #10")
    tape.add(600, "A B 104 1 #11").add(700, "A B 104 1 #12")
    sessions = [
        Session(close_ns=500, segments=((0, 500),)),
        Session(preopen_ns=500, close_ns=1000, segments=((510, 1000),)),
    ]
    rows = (order(3, MARKET, BUY, 2), order(620, LIMIT, BUY, 1, 80))
    result = run(tape, *rows, limits=limits, latency=15, sessions=sessions)

    # The way out is sent when the market falls and gets there when it has come back.
    assert [price for _, price, _ in result.brief] == [101.0, 105.0]
    assert result.orders[-1].reason == later


def test_kill_switch_is_silent_within_its_limit():
    result = run(falling(), order(10, MARKET, BUY, 2), limits=Limits(session_loss=22 * 10**9))

    assert len(result.fills) == 1


# --- latencies that vary --------------------------------------------------------------------------


def test_varying_latencies_repeat_with_the_seed_and_do_not_overtake():
    rows = [order(100 * i, LIMIT, BUY, 1, 99) for i in range(1, 40)]
    runs = [
        run(opening(), *rows, latency=500, response=500, jitter=(0, 10**9, 10**9)) for _ in range(2)
    ]
    arrived = runs[0].rows.orders[:, st.O_ARRIVED].tolist()

    assert runs[0].heard == runs[1].heard
    assert [h[0] for h in runs[0].heard] == sorted(h[0] for h in runs[0].heard)
    assert [h[2] for h in runs[0].heard[:39]] == list(range(39))
    assert len({h[0] - 100 * (h[2] + 1) for h in runs[0].heard[:39]}) > 10
    assert arrived == sorted(arrived)


def test_measured_latencies_are_those_of_the_time_a_message_leaves():
    table = np.array([[0, 0, 5, 3], [50, 0, 20, 7]], np.int64)
    rows = (order(10, LIMIT, BUY, 1, 99), order(60, LIMIT, BUY, 1, 99))
    result = run(opening(), *rows, latencies=table)

    assert result.rows.orders[:, st.O_ARRIVED].tolist() == [15, 80]
    assert [h[0] for h in result.heard[:2]] == [18, 87]


def test_kill_switch_waits_for_the_side_that_is_missing():
    second = 10**9
    tape = opening().event(40, "C B 100 10 #1", "C B 99 20 #2", "A B 90 10 #5", "A A 91 5 #6")
    tape.add(50, "C B 90 10 #5")
    tape.add(3 * second // 2, "A B 89 3 #7").add(3 * second, "A B 70 1 #8")
    rows = (order(10, MARKET, BUY, 2),)
    result = run(tape, *rows, limits=Limits(session_loss=15 * second), latency=15)

    # Sent on the receipt at 41, there at 56: no bid is left.  Tried again every second.
    assert result.brief == [(2, 101.0, "took_depth"), (-2, 89.0, "took_depth")]
    assert [o.reason for o in result.orders] == ["none", "no_depth", "no_depth", "none"]
