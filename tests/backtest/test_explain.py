"""`mbo explain`: what a listener hears of hand-made markets, and stories of a stored run."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.explain import Story, explain, find, sorted_steps
from pipeline.backtest.listen import Heard, Listener, Step, Target
from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.backtest.tables import FILL_REASONS, ORDER_REASONS
from pipeline.backtest.telling import ENDS, ENDS_SHOWN, RULES, Telling
from pipeline.book.columns import take
from pipeline.lake import open_lake
from pipeline.units import PRICE_SCALE
from tests.backtest import scripted, test_stage
from tests.backtest.scenario import END, RULE, Decision, Session, Tape, decisions_array, opening
from tests.backtest.test_stage import ALL, SYMBOL, Seed, backtest, feature_rows, run
from tests.e2e.running import mbo

BUY = Decision(0, 3)


def listen(
    tape: Tape, *, reading: str = "exact", arrived: int = 0, price: int | None = 100,
    fill: int | None = 0, passive: bool = True, cut: int = 10**9,
) -> Listener:  # fmt: skip
    """Order 0, bought on a decision at 0."""
    options = SimOptions(reading, arrived, 0, passive, END)
    rows = decisions_array([BUY])
    replay = Replay(options, timetable([Session()], None), RULE, lambda _: rows)
    replay.start_day(19700101)
    px = None if price is None else price * PRICE_SCALE
    target = Target(0, "limit" if passive else "market", 0, 0, arrived, px, 0, fill)
    listener = Listener(target, replay)
    whole = tape.chunk()
    try:
        for start in range(0, len(whole.publisher), cut):
            for piece in listener.pieces(take(whole, slice(start, start + cut))):
                replay.feed(piece)
        replay.finish(END)
        listener.note()
    except Heard:
        pass
    return listener


def told(listener: Listener) -> list[tuple[str, int, int | None]]:
    return [(step.what, step.left, step.ahead) for step in sorted_steps(listener.steps)]


def queue() -> Tape:
    tape = opening().add(10, "A B 100 5 #5")
    tape.event(20, "T A 100 4 #0", "F B 100 4 #1", "M B 100 6 #1")
    return tape.add(30, "C B 100 6 #1")


@pytest.mark.parametrize("cut", [1, 2, 3, 100])
def test_queue_ahead_is_told_record_by_record(cut):
    tape = queue().event(40, "T A 100 2 #0", "F B 100 2 #5", "M B 100 3 #5")

    assert told(listen(tape, cut=cut)) == [
        ("joined", 0, 10),
        ("joined behind", 0, 10),
        ("trade at our price", 0, 10),
        ("fill ahead", 0, 10),
        ("modified ahead", 4, 6),
        ("cancelled ahead", 6, 0),
        ("trade at our price", 0, 0),
        ("fill of an order not ahead", 0, 0),
        ("filled", 0, 0),
    ]


def test_order_ahead_that_moves_away_is_told_at_its_own_record():
    tape = opening().add(10, "A B 97 5 #5").add(20, "M B 98 10 #1").add(30, "A B 97 1 #6")

    heard = listen(tape.add(40, "A B 97 1 #7"), fill=None)

    assert [(s.what, s.ts, s.left) for s in heard.steps[:2]] == [
        ("joined", 0, 0),
        ("modified ahead", 20, 10),
    ]
    assert Story(None, {}, None, [], "exact", heard.steps, [], heard.seen, {}).shrinks == 10


def reason(listener: Listener) -> str | None:
    return next(step.reason for step in listener.steps if step.what == "filled")


CASES = {
    "behind": (("T A 100 2 #0", "F B 100 2 #5"), "exact"),
    "worse_price": (("T A 99 2 #0", "F B 99 2 #2"), "exact"),
    "came_to_rest": (("A A 100 2 #9",), "exact"),
    "auction": (("T N 99 2 #0", "F N 99 2 #2"), "exact"),
    "auction_queue": (("T N 100 2 #0", "F N 100 2 #5"), "exact"),
    "nothing_ahead": (("T A 100 2 #0", "F B 100 2 #1"), "optimistic"),
    "print_only": (("T A 100 2 #0",), "optimistic"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_rule_is_told_with_the_record_it_applied_to(name):
    texts, reading = CASES[name]
    tape = opening().add(10, "A B 100 5 #5").event(40, *texts).add(60, "A B 98 1 #7")
    if name == "came_to_rest":
        tape = opening().add(10, "C B 100 10 #1").event(40, *texts).add(60, "A B 98 1 #7")

    heard = listen(tape, reading=reading)

    assert reason(heard) == name
    fill = next(step.fill for step in heard.steps if step.fill)
    assert fill["size"] == 2
    # 0 to 4 the opening, 5 the next; the event at 40 begins at 6.
    assert 6 <= fill["record"] < 6 + len(texts)


def test_taker_is_told_with_the_levels_it_met():
    tape = opening().add(10, "A B 98 1 #7")

    heard = listen(tape, passive=False, price=None)

    assert heard.depth == [(101 * PRICE_SCALE, 10, 1), (102 * PRICE_SCALE, 20, 1)]
    assert [step.reason for step in heard.steps] == ["took_depth"]


def test_order_that_is_never_filled_ends_with_what_was_ahead():
    heard = listen(queue().add(50, "A B 98 1 #7"), fill=None)

    assert heard.final["status"] == "expired"
    assert (heard.final["ahead"], heard.steps[-1].what) == (0, "ended")
    assert heard.replay.sim.meta[st.N_FILLS] == 0


def listen_to_script(tape: Tape, type_: str, *rows: tuple[int, ...], replaced: int = 0):
    """Order 0 of a script."""
    options = SimOptions("exact", 0, 0, False, money=Money(tick=PRICE_SCALE // 4))
    replay = Replay(options, timetable([Session()], None), RULE)
    running = scripted.program(interpret=True).run([replay.market()])
    running.memory.rows[: 8 * len(rows)] = np.array(rows).ravel()
    running.memory.n = len(rows)
    replay.employ(running, [Session()])
    replay.start_day(19700101)
    listener = Listener(Target(0, type_, replaced, 15, 15, None, 0, None), replay)
    try:
        for piece in listener.pieces(tape.chunk()):
            replay.feed(piece)
        replay.finish(END)
        listener.note()
    except Heard:
        pass
    return listener


def test_stop_is_told_with_its_trigger_and_the_levels_it_then_met():
    tape = opening().event(40, "T B 101 1 #0", "F A 101 1 #3", "M A 101 9 #3")
    tape.add(60, "A B 98 1 #7")

    heard = listen_to_script(
        tape, "stop", scripted.order(15, scripted.STOP, 1, 2, extra=101)
    )  # fmt: skip

    assert [(s.what, s.ts, s.price) for s in heard.steps] == [
        ("triggered", 40, 101 * PRICE_SCALE),
        ("filled", 40, 101 * PRICE_SCALE),
    ]
    assert heard.depth[0] == (101 * PRICE_SCALE, 9, 1)
    assert heard.seen == (100 * PRICE_SCALE, 101 * PRICE_SCALE)


def test_pegged_order_is_told_with_every_price_it_joins():
    tape = (
        opening()
        .add(30, "A B 97 1 #6")
        .add(40, "A B 100.5 4 #8")
        .add(50, "C B 100.5 4 #8")
        .add(60, "A B 98 1 #7")
    )

    heard = listen_to_script(tape, "pegged", scripted.order(15, scripted.PEGGED, 1, 2))

    joined = [(s.price, s.ahead) for s in heard.steps if s.what == "joined"]
    assert joined == [(100 * PRICE_SCALE, 10), (100.5 * PRICE_SCALE, 4), (100 * PRICE_SCALE, 10)]


def test_replaced_order_is_told_with_its_second_queue():
    tape = opening().add(17, "A B 97 1 #6").add(40, "C B 99 5 #2").add(60, "A B 98 1 #7")

    heard = listen_to_script(
        tape, "limit", scripted.order(15, scripted.LIMIT, 1, 2, 100),
        scripted.replace(20, 0, 99, 2), replaced=1,
    )  # fmt: skip

    assert told(heard)[:3] == [("joined", 0, 10), ("joined", 0, 20), ("cancelled ahead", 5, 15)]


def test_every_reason_has_a_sentence():
    assert set(RULES) == set(FILL_REASONS)
    assert set(ENDS) == set(ORDER_REASONS)


# --- a stored run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    root = tmp_path_factory.mktemp("explained")
    run(root, Seed())
    request, _ = backtest(root, settings=ALL)
    return root, request.run_id


def test_stories_of_all_fills_agree_with_what_is_stored(stored):
    root, run_id = stored
    lake = open_lake(root)
    fills = lake.run(run_id).fills.select("reading", "fill", "role").collect()

    roles = set()
    for reading, fill, role in fills.filter(pl.col("fill") < 12).rows():
        story = explain(lake, find(lake, run_id, reading, fill=fill))
        assert story.disagreements == []
        roles.add(role)
        if role == "maker":
            row = story.fill
            assert row["ahead_at_entry"] - story.shrinks == row["ahead"]
    assert roles == {"maker", "taker"}


def test_stories_of_orders_say_why_they_ended(stored):
    root, run_id = stored
    lake = open_lake(root)
    orders = lake.run(run_id).orders.filter(pl.col("reading") == "pessimistic").collect()

    for order, reason_ in orders.select("order", "reason").head(6).rows():
        story = explain(lake, find(lake, run_id, "pessimistic", order=order))
        assert story.disagreements == []
        assert ENDS[reason_] in " ".join(Telling(story).text().split())


def test_command_tells_a_story(stored):
    root, run_id = stored

    text = mbo("explain", "0", "--lake", root).checked().out
    value = json.loads(
        mbo("explain", f"{run_id[:6]}/exact/0", "--lake", root, "--json").checked().out
    )

    assert f"SIMULATED  fill 0 of run {run_id}, exact reading, {SYMBOL}" in text
    assert "The replay agrees with what the run stored." in text
    assert max(map(len, text.splitlines())) <= 110
    assert value["agrees"]
    assert value["run_id"] == run_id
    assert value["fill_row"]["reason"] in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["99999"], "no fill 99999 in the exact reading; the nearest is"),
        (["0", "--order", "1"], "say which"),
        ([], "say which"),
        (["0", "--reading", "exakt"], "did you mean 'exact'"),
        (["a/b/c/0"], "is no fill"),
        (["zzz/0"], "unknown run"),
        (["--order", "99999"], "no order 99999"),
    ],
)
def test_wrong_requests_are_one_line(stored, arguments, message):
    result = mbo("explain", *arguments, "--lake", stored[0])

    assert result.code == 2
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_disagreement_is_told_and_exits_with_3(stored, monkeypatch):
    root, run_id = stored
    lake = open_lake(root)
    story = explain(lake, find(lake, run_id, "exact", fill=0))
    monkeypatch.setattr(
        "pipeline.backtest.explain._row",
        lambda lake, table, *rest: {**(story.fill if table == "fills" else story.order), "ts": 1},
    )

    result = mbo("explain", "0", "--lake", root)

    assert result.code == 3
    assert "THE REPLAY DISAGREES" in result.out
    assert "ts was 1" in result.out


def test_inputs_that_changed_are_refused(tmp_path, monkeypatch):
    run(tmp_path, Seed())
    backtest(tmp_path)
    monkeypatch.setattr(test_stage, "feature_rows", lambda day: feature_rows(day).slice(1))
    run(tmp_path, Seed(version=2))

    result = mbo("explain", "0", "--lake", tmp_path)

    assert result.code == 2
    assert "has changed since the run" in result.err


def test_long_waits_leave_their_middle_out(stored):
    root, run_id = stored
    lake = open_lake(root)
    story = explain(lake, find(lake, run_id, "exact", fill=0))
    story.steps = [Step("joined behind", i, price=PRICE_SCALE, ahead=0) for i in range(100)]

    short, whole = Telling(story).waiting(), Telling(story, everything=True).waiting()

    assert len(short) == 2 + 2 * ENDS_SHOWN + 1
    assert "60 more (--all)" in short[2 + ENDS_SHOWN]
    assert len(whole) == 2 + 100
