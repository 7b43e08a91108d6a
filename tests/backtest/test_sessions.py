"""Event strategies over sessions: what is carried, what dies, how a position is closed."""

from __future__ import annotations

import pytest

from pipeline.backtest import state as st
from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.units import PRICE_SCALE
from strategies.layout import BUY, DAY, GTC, SELL
from tests.backtest.scenario import RULE, Session, Tape, feed, opening
from tests.backtest.scripted import LIMIT, MARKET, Scripted, order, program, run

FILL, WORD = 1, 2
TWO = [Session(-1_000_000, 1000, ((0, 1000),)), Session(2000, 5000, ((3000, 5000),))]


@pytest.fixture(params=[False, True], ids=["compiled", "interpreted"])
def interpret(request):
    return request.param


def ends(result):
    return [(o.status, o.reason) for o in result.orders]


def quiet(tape: Tape | None = None) -> Tape:
    """Records now and then to the end, far from the touch."""
    tape = tape or opening()
    for k, ts in enumerate(range(50, 4990, 49)):
        tape.add(ts, f"A B 80 1 #{1000 + k}")
    tape.rows.sort(key=lambda row: row[1])
    return tape


def test_before_the_session_ends_everything_is_cancelled_closed_and_refused(interpret):
    rows = (
        order(10, MARKET, BUY, 2),
        order(20, LIMIT, BUY, 1, 99, tif=DAY),
        order(21, LIMIT, SELL, 1, 105, tif=GTC),
        order(950, LIMIT, BUY, 1, 99),
    )
    result = run(quiet(), *rows, sessions=TWO, flatten_before=100, until=5000, interpret=interpret)

    assert [(f.size, f.price, f.ts) for f in result.fills] == [(2, 101, 10), (-2, 100, 900)]
    assert ends(result) == [
        ("filled", "none"),
        ("cancelled", "asked"),
        ("cancelled", "asked"),
        ("filled", "none"),
        ("rejected", "flattening"),
    ]
    marks = result.rows.marks
    assert marks[marks[:, st.M_KIND] == st.MARK_SESSION_END][:, st.M_POSITION].tolist() == [0, 0]


def test_flattening_ends_with_its_session():
    rows = (order(950, LIMIT, BUY, 1, 99), order(3500, LIMIT, BUY, 1, 99))
    result = run(quiet(), *rows, sessions=TWO, flatten_before=100, until=5000)

    assert ends(result) == [("rejected", "flattening"), ("cancelled", "asked")]


def test_a_position_and_gtc_orders_are_carried_and_timers_are_not(interpret):
    """The script sets the timer of 3500 in each session: only the second one's rings."""
    rows = (
        order(10, MARKET, BUY, 2),
        order(20, LIMIT, BUY, 1, 99, tif=GTC),
        order(21, LIMIT, BUY, 1, 99, tif=DAY),
        order(3500, LIMIT, SELL, 2, 105),
    )
    tape = quiet().event(3600, "T A 98 1 #0", "F B 98 1 #77", "C B 98 1 #77")
    tape.add(60, "A B 98 1 #77")
    tape.rows.sort(key=lambda row: row[1])
    result = run(tape, *rows, sessions=TWO, until=5000, interpret=interpret)

    assert ends(result) == [
        ("filled", "none"),
        ("filled", "none"),
        ("expired", "session_end"),
        ("expired", "session_end"),
    ]
    assert [(f.size, f.price, f.ts) for f in result.fills] == [(2, 101, 10), (1, 99, 3600)]
    marks = result.rows.marks
    assert marks[marks[:, st.M_KIND] == st.MARK_SESSION_END][:, st.M_POSITION].tolist() == [2, 3]
    # In the second session it still knows what it holds: an order's end is heard after its fill.
    heard = [(h[0], h[1], h[5]) for h in result.heard if 3000 < h[0] < 4999]
    assert heard == [(3500, WORD, 2), (3600, FILL, 3), (3600, WORD, 3)]


def test_an_order_keeps_its_place_through_a_midnight_snapshot(interpret):
    """GTC, over the end of a session and a snapshot between: those ahead still are, by id."""
    tape = opening().add(40, "A B 100 4 #8")
    tape.snapshot(1500, "A B 100 3 #8", "A B 100 6 #1", "A B 100 5 #9", "A A 101 10 #3")
    tape.event(3500, "T A 100 6 #0", "F B 100 6 #1", "C B 100 6 #1")
    tape.event(3600, "T A 100 2 #0", "F B 100 2 #9", "M B 100 3 #9").add(4000, "A B 80 1 #99")
    result = run(
        tape, order(20, LIMIT, BUY, 2, 100, tif=GTC), sessions=TWO, until=5000, interpret=interpret
    )  # fmt: skip

    # 10 of order 1 were ahead; 6 of it are left, and order 8 came after us.
    (fill,) = result.fills
    assert (fill.entry, fill.ahead, fill.ts, fill.reason) == (10, 0, 3600, "behind")


# --- rolls: the contract is left ------------------------------------------------------------------


def leave(tape: Tape, *rows: tuple[int, ...], exits: dict[int, int | None]) -> Scripted:
    """A script in a contract that a roll leaves."""
    money = Money(tick=PRICE_SCALE // 4)
    options = SimOptions("exact", 0, 0, passive=False, money=money)
    replay = Replay(options, timetable(TWO, None, exits), RULE)
    running = program(interpret=False).run([replay.market()])
    running.memory.rows[: 8 * len(rows)] = [value for row in rows for value in row]
    running.memory.n = len(rows)
    replay.employ(running, TWO)
    replay.start_day(19700101)
    feed(replay, tape, None)
    replay.finish(5000)
    return Scripted(replay.take(last=True), replay, running.memory)


HELD = (order(10, MARKET, BUY, 2), order(20, LIMIT, BUY, 1, 99, tif=GTC))


def test_a_roll_known_beforehand_ends_position_and_gtc_orders_before_the_close():
    result = leave(quiet(), *HELD, order(950, LIMIT, BUY, 1, 99, tif=GTC), exits={0: 100})

    assert [(f.size, f.ts) for f in result.fills] == [(2, 10), (-2, 900)]
    assert ends(result) == [
        ("filled", "none"),
        ("cancelled", "asked"),
        ("filled", "none"),
        ("rejected", "flattening"),
    ]


def test_a_roll_by_volume_ends_them_at_the_next_open_and_nothing_new_is_sent():
    """From the pre-open on: an order of then could be filled by the auction that opens."""
    sends = (order(2500, LIMIT, BUY, 1, 100), order(3500, LIMIT, BUY, 1, 100))
    tape = quiet()
    tape.event(2999, "T N 98 5 #0", "F N 98 5 #2", "M B 99 15 #2")
    tape.rows.sort(key=lambda row: row[1])
    result = leave(tape, *HELD, *sends, exits={1: None})

    assert [(f.size, f.ts) for f in result.fills] == [(2, 10), (-2, 3000)]
    assert sorted(ends(result)) == sorted([
        ("filled", "none"),
        ("cancelled", "asked"),
        ("filled", "none"),
        ("rejected", "flattening"),
        ("rejected", "flattening"),
    ])  # fmt: skip
    assert result.rows.marks[-1, st.M_POSITION] == 0


def test_segments_that_touch_are_one():
    session = Session(-1000, 3000, ((0, 1000), (1000, 2000), (2500, 3000)))
    times = [order(ts, MARKET, BUY, 1) for ts in (999, 1000, 1999, 2000, 2500)]
    result = run(quiet(), *times, sessions=[session], until=3000)

    assert ends(result) == [
        ("filled", "none"),
        ("filled", "none"),
        ("filled", "none"),
        ("rejected", "closed"),
        ("filled", "none"),
    ]
