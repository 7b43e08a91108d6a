"""Event strategies: what they hear, when, and what their orders do."""

from __future__ import annotations

import pytest

from strategies.layout import BUY, DAY, FOK, GTC, IOC, SELL
from tests.backtest.scenario import opening
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


@pytest.fixture(params=[False, True], ids=["compiled", "interpreted"])
def interpret(request):
    return request.param


def test_a_limit_order_joins_and_is_filled_in_its_turn(interpret):
    tape = opening().event(20, "T A 100 12 #0", "F B 100 10 #1", "F B 100 2 #7", "C B 100 10 #1")
    tape.add(15, "A B 100 5 #7")
    tape.rows.sort(key=lambda row: row[1])
    result = run(tape, order(10, LIMIT, BUY, 3, 100), interpret=interpret)

    assert result.brief == [(2, 100.0, "behind")]
    assert [o.entry for o in result.orders] == [10]
    assert [h[:5] for h in result.heard] == [
        (10, 2, 0, 1, 0),
        (20, 1, 0, 2, px(100)),
        (3_599_999_999_999, 2, 0, 5, 3),
    ]
    assert result.heard[0][7] == 10


def test_market_order_walks_the_depth(interpret):
    result = run(opening(), order(10, MARKET, BUY, 15), interpret=interpret)

    assert result.brief == [(10, 101.0, "took_depth"), (5, 102.0, "took_depth")]


def test_ioc_takes_what_is_there_and_goes(interpret):
    result = run(opening(), order(10, LIMIT, BUY, 15, 101, tif=IOC), interpret=interpret)

    assert result.brief == [(10, 101.0, "took_depth")]
    assert (result.orders[0].status, result.orders[0].reason) == ("cancelled", "no_depth")


def test_fok_is_filled_whole_or_not_at_all(interpret):
    result = run(
        opening(),
        order(10, LIMIT, BUY, 15, 101, tif=FOK),
        order(20, LIMIT, BUY, 15, 102, tif=FOK),
        interpret=interpret,
    )
    assert [(o.status, o.reason) for o in result.orders] == [
        ("cancelled", "not_whole"),
        ("filled", "none"),
    ]
    assert [f.size for f in result.fills] == [10, 5]


def test_post_only_is_rejected_where_it_would_take(interpret):
    result = run(
        opening(),
        order(10, LIMIT, BUY, 1, 101, post=True),
        order(11, LIMIT, BUY, 1, 100.5, post=True),
        interpret=interpret,
    )
    assert [(o.status, o.reason) for o in result.orders] == [
        ("rejected", "would_take"),
        ("expired", "session_end"),
    ]


def test_stop_becomes_a_market_order_at_the_end_of_the_event_that_reaches_it(interpret):
    tape = opening().event(
        20,
        "T B 101 10 #0",
        "F A 101 10 #3",
        "C A 101 10 #3",
        "T B 102 1 #0",
        "F A 102 1 #4",
        "M A 102 19 #4",
    )
    result = run(tape, order(10, STOP, BUY, 2, extra=102), interpret=interpret)

    assert result.brief == [(2, 102.0, "took_depth")]
    assert result.fills[0].ts == 20


def test_stop_limit_rests_where_its_limit_is_not_met(interpret):
    tape = opening().event(20, "T B 101 10 #0", "F A 101 10 #3", "C A 101 10 #3")
    result = run(tape, order(10, STOP_LIMIT, BUY, 2, 100.5, extra=101), interpret=interpret)
    assert result.brief == []
    assert (result.orders[0].status, result.orders[0].entry) == ("expired", 0)


def test_stop_behind_the_last_print_is_rejected(interpret):
    tape = opening().event(5, "T B 101 1 #0", "F A 101 1 #3", "M A 101 9 #3").add(30, "A B 98 1 #9")
    result = run(tape, order(10, STOP, BUY, 2, extra=101), interpret=interpret)

    assert (result.orders[0].status, result.orders[0].reason) == ("rejected", "stop_passed")


def test_pegged_order_follows_the_touch(interpret):
    tape = opening().add(20, "A B 100.5 4 #7").add(30, "C B 100.5 4 #7").add(40, "A B 99 1 #8")
    result = run(tape, order(10, PEGGED, BUY, 2, extra=0), interpret=interpret)

    assert result.orders[0].price == 100
    assert result.orders[0].entry == 10
    assert int(result.rows.orders[0, 16]) == 2  # moved up, and down again


def test_replacing_smaller_keeps_the_place_and_a_price_loses_it(interpret):
    tape = opening().add(20, "A B 100 4 #7").add(40, "A B 98 1 #8")
    result = run(
        tape,
        order(10, LIMIT, BUY, 3, 100),
        replace(30, 0, 100, 2),
        order(12, LIMIT, BUY, 3, 99),
        replace(32, 2, 100, 3),
        interpret=interpret,
    )
    assert [o.entry for o in result.orders] == [10, 14]


def test_gtc_outlives_its_session_and_day_does_not(interpret):
    from tests.backtest.scenario import Session

    sessions = [
        Session(-1_000_000, 1000, ((0, 1000),)),
        Session(2000, 5000, ((3000, 5000),)),
    ]
    tape = opening().event(3500, "T A 99 1 #0", "F B 99 1 #2", "M B 99 19 #2")
    result = run(
        tape,
        order(10, LIMIT, BUY, 1, 100, tif=GTC),
        order(11, LIMIT, BUY, 1, 100, tif=DAY),
        sessions=sessions,
        until=5000,
        interpret=interpret,
    )
    assert [(o.status, o.reason) for o in result.orders] == [
        ("filled", "none"),
        ("expired", "session_end"),
    ]
    assert result.fills[0].ts == 3500


def test_orders_that_would_meet_our_own_are_rejected(interpret):
    result = run(
        opening(),
        order(10, LIMIT, SELL, 1, 100.5),
        order(11, LIMIT, BUY, 1, 100.5),
        interpret=interpret,
    )
    assert [o.reason for o in result.orders] == ["session_end", "self_match"]


def test_cancel_that_comes_too_late_is_told(interpret):
    tape = opening().event(20, "T A 99 1 #0", "F B 99 1 #2", "M B 99 19 #2").add(90, "A B 98 1 #9")
    result = run(
        tape,
        order(10, LIMIT, BUY, 1, 100),
        cancel(19, 0),
        latency=5,
        response=7,
        interpret=interpret,
    )
    assert [h[:5] for h in result.heard] == [
        (22, 2, 0, 1, 0),
        (27, 1, 0, 1, px(100)),
        (27, 2, 0, 2, 0),
        (31, 3, 0, 2, 9),
    ]
