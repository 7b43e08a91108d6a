"""Claims about what rows, flow, trades and clocks say of single records, one test each."""

from __future__ import annotations

import random

import pytest

from tests.book.script import Script, flow, start
from tests.book.support import MIDNIGHT, SECOND, Market, Ran, plain, queue_order, run_engine
from tests.reference.records import SNAPSHOT, UNDEF

# --- flow --------------------------------------------------------------------------------------


def test_a_modify_that_moves_has_a_leaving_and_an_arriving_leg() -> None:
    ran = start()("M", "B", 99, 2, 1).run()
    assert flow(ran) == {
        "bid_l1_modify_lose_ct": 1, "bid_l1_modify_lose_sz": 5,
        "bid_l2_10_modify_join_ct": 1, "bid_l2_10_modify_join_sz": 2,
    }  # fmt: skip


def test_a_cancel_beyond_what_was_filled_is_split() -> None:
    script = start()
    script("T", "A", 100, 2, 0, more=True)("F", "B", 100, 2, 1, more=True)("C", "B", 100, 5, 1)
    assert flow(script.run()) == {
        "bid_l1_fill_ct": 1, "bid_l1_fill_sz": 2, "bid_l1_cancel_ct": 1, "bid_l1_cancel_sz": 3,
    }  # fmt: skip


def test_a_fill_counts_in_its_own_event_only() -> None:
    script = start()("T", "A", 100, 5, 0, more=True)("F", "B", 100, 5, 1)
    script.records[-1] = script.records[-1]._replace(flags=0)
    ran = script("N", "N", UNDEF, 0, 0)("C", "B", 100, 5, 1).run()
    assert flow(ran) == {"bid_l1_cancel_ct": 1, "bid_l1_cancel_sz": 5}


def test_an_execution_whose_records_are_events_of_their_own_is_one_execution() -> None:
    """XNAS: T, F and C each carry F_LAST and share the venue's time."""
    script = start()
    at = MIDNIGHT + 100
    for action in "TFC":
        script(action, "A" if action == "T" else "B", 100, 5, 1, at=at)
    ran = script.run()
    assert flow(ran) == {"bid_l1_fill_ct": 1, "bid_l1_fill_sz": 5}
    assert ran.engine.quality()["fifo_consistent"] == 1


def test_zones_are_relative_to_the_touch_before_the_event() -> None:
    script = start()
    for level in range(2, 11):
        script("A", "B", 100 - level, 1, 100 + level)
    script("A", "B", 101, 1, 50, more=True)("A", "B", 100, 1, 51, more=True)
    script("A", "B", 90, 1, 52, more=True)("A", "B", 89, 1, 53)
    assert flow(script.run()) == {
        "bid_l1_add_ct": 2, "bid_l1_add_sz": 2, "bid_l2_10_add_ct": 1, "bid_l2_10_add_sz": 1,
        "bid_deep_add_ct": 1, "bid_deep_add_sz": 1,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_flow_explains_every_change_of_size(seed: int) -> None:
    """Per side: change of total size = add + join - lose - keep - cancel - fill."""
    records = [r for r in Market(random.Random(seed)).run(600) if not r.flags & SNAPSHOT]
    ran = run_engine(records)
    [one] = ran.engine.books.values()
    for side, name in (("B", "bid"), ("A", "ask")):
        total = dict.fromkeys(
            ("add", "cancel", "modify_keep", "modify_lose", "modify_join", "fill"), 0
        )
        rows = [
            *plain(ran.flow),
            dict(zip(ran.flow.column_names[1:], one.flow.tolist(), strict=True)),
        ]
        for row in rows:
            for column, value in row.items():
                parts = column.split("_")
                if parts[0] == name and parts[-1] == "sz":
                    kind = column.removeprefix(name + "_").removesuffix("_sz")
                    for zone in ("l1_", "l2_10_", "deep_"):
                        kind = kind.removeprefix(zone)
                    total[kind] += value
        resting = sum(r[4] for r in queue_order(one.book) if r[0] == side)
        out = total["modify_lose"] + total["modify_keep"] + total["cancel"] + total["fill"]
        assert resting == total["add"] + total["modify_join"] - out


# --- trades ------------------------------------------------------------------------------------


def test_trades_see_the_touch_just_before_the_print() -> None:
    """Earlier changes of the same event included."""
    script = start()
    script("T", "A", 100, 5, 0, more=True)("F", "B", 100, 5, 1, more=True)
    script("C", "B", 100, 5, 1, more=True)("T", "A", 100, 3, 0, more=True)
    script("F", "B", 100, 3, 2, more=True)("M", "B", 100, 2, 2)
    first, second = plain(script.run().trades)
    assert (first["bid_px"], first["bid_sz"], first["ask_px"], first["ask_sz"]) == (100, 15, 102, 5)
    assert second["bid_sz"] == 10
    assert first["aggressor_size"] == second["aggressor_size"] == 8
    assert first["aggressor_fills"] == second["aggressor_fills"] == 2
    assert first["event"] == second["event"]
    assert (first["record"], second["record"]) == (5, 8)


def test_the_aggressors_own_fill_is_not_counted_among_its_fills() -> None:
    script = start()
    script("T", "A", 100, 5, 4, more=True)("F", "A", 100, 5, 4, more=True)
    script("F", "B", 100, 5, 1, more=True)("C", "B", 100, 5, 1, more=True)("C", "A", 102, 5, 4)
    ran = script.run()
    assert plain(ran.trades)[0]["aggressor_fills"] == 1
    assert ran.engine.quality()["fifo_fills"] == 1


# --- priority honoured -------------------------------------------------------------------------


def sweep(*ids: int) -> Ran:
    script = start()("T", "A", 100, 10, 0, more=True)
    for oid in ids:
        script("F", "B", 100, 5, oid, more=True)
    for oid in ids:
        script("C", "B", 100, 5, oid, more=True)
    return script("N", "N", UNDEF, 0, 0).run()


def test_fills_in_queue_order_are_consistent() -> None:
    assert sweep(1, 2).engine.quality()["fifo_consistent"] == 2


def test_a_fill_behind_another_order_is_not() -> None:
    quality = sweep(2, 1).engine.quality()
    assert (quality["fifo_fills"], quality["fifo_consistent"]) == (2, 1)


def test_auction_fills_are_not_judged() -> None:
    script = start()("T", "N", 100, 5, 0, more=True)("F", "B", 100, 5, 3)
    assert script.run().engine.quality()["fifo_fills"] == 0


# --- clocks ------------------------------------------------------------------------------------


def test_crossed_and_locked_time_runs_between_event_ends() -> None:
    script = start()
    script("A", "B", 103, 1, 9, at=MIDNIGHT + 100)("M", "B", 102, 1, 9, at=MIDNIGHT + 130)
    script("C", "B", 102, 1, 9, at=MIDNIGHT + 135)("A", "B", 90, 1, 10, at=MIDNIGHT + 999)
    ran = script.run()
    quality = ran.engine.quality()
    assert (quality["crossed_ns"], quality["locked_ns"]) == (30, 5)
    assert [row["state"] for row in plain(ran.book)][-4:] == [
        "crossed",
        "locked",
        "normal",
        "normal",
    ]


def test_time_that_goes_back_is_counted_and_the_maximum_used() -> None:
    ran = start()("A", "B", 101, 1, 9, at=MIDNIGHT + 2).run()
    assert ran.engine.quality()["ts_recv_regressions"] == 1
    times = [row["ts_recv"] for row in plain(ran.book)]
    assert times == sorted(times)


def test_bad_timestamps_do_not_move_the_clock() -> None:
    ran = start()("A", "B", 101, 1, 9, at=MIDNIGHT + SECOND, flags=8).run()
    assert plain(ran.book)[-1]["ts_recv"] == MIDNIGHT + 5
    assert ran.engine.quality()["bad_ts_rows"] == 1
    assert ran.engine.quality()["ts_recv_regressions"] == 0


def test_a_grid_row_holds_what_came_before_it() -> None:
    script = Script()("R", "N", UNDEF, 0, 0, at=MIDNIGHT)
    script("A", "B", 100, 1, 1, at=MIDNIGHT + SECOND - 1)("A", "B", 101, 1, 2, at=MIDNIGHT + SECOND)
    script("A", "B", 102, 1, 3, at=MIDNIGHT + 5 * SECOND)
    rows = plain(script.run(materialise="grid", grid="1s").book)
    assert [(row["ts_recv"] - MIDNIGHT) // SECOND for row in rows] == [1, 2, 6]
    assert [row["bid_px_00"] for row in rows] == [100, 101, 102]
    assert [row["event"] % 10**10 for row in rows] == [2, 3, 4]
