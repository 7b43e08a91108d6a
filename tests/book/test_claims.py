"""Claims about what single records do to the book, one test each."""

from __future__ import annotations

import pytest

from pipeline.book.layout import DECREASE_KEEPS, DEFAULT_RULE, PARTIAL_CANCELS
from tests.book.script import Script, flow, queue, start
from tests.book.support import MIDNIGHT, SECOND, Ran, plain, run_engine
from tests.reference.records import LARGEST, MAYBE_BAD, MBP, TOB, UNDEF

# --- priority ----------------------------------------------------------------------------------


def test_size_increase_loses_priority() -> None:
    assert queue(start()("M", "B", 100, 6, 1).run()) == [(2, 5), (3, 5), (1, 6)]


def test_size_decrease_keeps_priority() -> None:
    assert queue(start()("M", "B", 100, 4, 1).run()) == [(1, 4), (2, 5), (3, 5)]


def test_a_venue_may_take_priority_from_a_decrease() -> None:
    ran = run_engine(start()("M", "B", 100, 4, 1).records, rule=PARTIAL_CANCELS)
    assert queue(ran) == [(2, 5), (3, 5), (1, 4)]


def test_price_change_loses_priority() -> None:
    moved = start()("M", "B", 99, 5, 1)("M", "B", 100, 5, 1)
    assert queue(moved.run()) == [(2, 5), (3, 5), (1, 5)]


def test_partial_cancel_keeps_priority() -> None:
    assert queue(start()("C", "B", 100, 2, 1).run()) == [(1, 3), (2, 5), (3, 5)]


def test_a_venue_may_cancel_whole_orders_only() -> None:
    ran = run_engine(start()("C", "B", 100, 2, 1).records, rule=DECREASE_KEEPS)
    assert queue(ran) == [(2, 5), (3, 5)]


def test_an_iceberg_that_shows_its_next_slice_goes_to_the_end() -> None:
    """F of the whole displayed size, then M to the same size: it filled and came back."""
    script = start()
    script("T", "A", 100, 5, 0, more=True)("F", "B", 100, 5, 1, more=True)("M", "B", 100, 5, 1)
    ran = script.run()

    assert queue(ran) == [(2, 5), (3, 5), (1, 5)]
    assert flow(ran) == {
        "bid_l1_fill_ct": 1, "bid_l1_fill_sz": 5,
        "bid_l1_modify_join_ct": 1, "bid_l1_modify_join_sz": 5,
    }  # fmt: skip


# --- what changes the book ---------------------------------------------------------------------


@pytest.mark.parametrize("action", ["T", "F", "N"])
def test_trade_fill_and_none_never_change_the_book(action: str) -> None:
    assert queue(start()(action, "B", 100, 5, 1).run()) == [(1, 5), (2, 5), (3, 5)]


def test_add_of_a_resting_id_replaces_the_order() -> None:
    ran = start()("A", "A", 103, 7, 1).run()
    assert queue(ran) == [(2, 5), (3, 5)]
    assert queue(ran, "A") == [(4, 5), (1, 7)]
    assert ran.engine.quality()["duplicate_adds"] == 1


def test_modify_of_an_unknown_order_is_an_add() -> None:
    ran = start()("M", "B", 101, 2, 77).run()
    assert queue(ran)[0] == (77, 2)
    assert ran.engine.quality()["orphan_modifies"] == 1
    assert flow(ran) == {"bid_l1_add_ct": 1, "bid_l1_add_sz": 2}


def test_cancel_and_fill_of_unknown_orders_are_counted_and_ignored() -> None:
    ran = start()("C", "B", 100, 5, 77)("F", "B", 100, 5, 78).run()
    assert len(queue(ran)) == 3
    assert ran.engine.quality()["orphan_cancels"] == 1
    assert ran.engine.quality()["orphan_fills"] == 1


def test_the_first_record_may_be_a_cancel() -> None:
    ran = Script()("C").run()
    assert ran.book.num_rows == 0
    assert ran.engine.quality()["start"] == "unknown"


def test_clear_takes_everything_away_and_is_no_flow() -> None:
    ran = start()("R", "N", UNDEF, 0, 0).run()
    last = plain(ran.book)[-1]
    assert queue(ran) == []
    assert (last["bid_px_00"], last["bid_sz_00"], last["state"]) == (None, 0, "one_sided")
    assert flow(ran) == {}


def test_whole_levels_among_orders_are_ignored() -> None:
    ran = start()("A", "B", 101, 5, 9, flags=MBP)("C", "B", 100, 5, 1, flags=MBP).run()
    assert queue(ran) == [(1, 5), (2, 5), (3, 5)]
    assert ran.engine.quality()["ignored"] == 2


def test_a_top_of_book_record_is_all_there_is_of_its_side() -> None:
    ran = start()("A", "B", 101, 5, 0, flags=TOB)("A", "B", 99, 7, 0, flags=TOB).run()
    rows = plain(ran.book)
    assert [(row["bid_px_00"], row["bid_sz_00"], row["bid_ct_00"]) for row in rows[-2:]] == [
        (101, 5, 1),
        (99, 7, 1),
    ]
    assert rows[-1]["bid_px_01"] is None
    quality = ran.engine.quality()
    assert (quality["ignored"], quality["duplicate_adds"]) == (0, 0)


@pytest.mark.parametrize("fields", [(UNDEF, 5), (101, 0)], ids=["price", "size"])
def test_a_top_of_book_record_without_a_level_empties_its_side(fields: tuple[int, int]) -> None:
    ran = start()("A", "B", *fields, 0, flags=TOB).run()
    assert (plain(ran.book)[-1]["bid_px_00"], queue(ran)) == (None, [])


@pytest.mark.parametrize(
    "fields", [("N", 100, 1), ("B", UNDEF, 1), ("B", 100, 0)], ids=["side", "price", "size"]
)
def test_an_add_that_cannot_rest_is_ignored(fields: tuple[str, int, int]) -> None:
    ran = start()("A", *fields, 9).run()
    assert len(queue(ran)) == 3
    assert ran.engine.quality()["ignored"] == 1


# --- events ------------------------------------------------------------------------------------


def test_nothing_is_a_state_before_the_event_ends() -> None:
    ran = start()("A", "B", 103, 1, 9, more=True)("C", "B", 103, 1, 9).run()
    assert all(row["state"] != "crossed" for row in plain(ran.book))
    assert ran.engine.quality()["events"] == 6
    assert ran.book.num_rows == 5


def test_every_event_end_counts_also_those_that_change_nothing() -> None:
    ran = start()("N", "N", UNDEF, 0, 0)("A", "B", 101, 1, 9).run()
    assert plain(ran.book)[-1]["event"] % 10**10 == 7


def test_a_row_below_the_depth_is_no_row() -> None:
    assert start()("A", "B", 90, 1, 9).run(depth=1).book.num_rows == 5
    assert start()("A", "B", 90, 1, 9).run(depth=2).book.num_rows == 6


def test_flow_between_rows_goes_to_the_next_row() -> None:
    ran = start()("A", "B", 90, 3, 9)("A", "B", 101, 1, 10).run(depth=1)
    assert flow(ran) == {
        "bid_l2_10_add_ct": 1, "bid_l2_10_add_sz": 3, "bid_l1_add_ct": 1, "bid_l1_add_sz": 1,
    }  # fmt: skip


def test_a_trade_is_a_row_even_if_nothing_changed() -> None:
    ran = start()("T", "B", 102, 1, 0).run()
    assert ran.book.num_rows == 6


def test_a_level_that_changed_while_it_was_pushed_out_is_read_again() -> None:
    script = start()("A", "B", 101, 1, 9, more=True)("C", "B", 100, 5, 1, more=True)
    ran = script("C", "B", 101, 1, 9).run(depth=1)
    last = plain(ran.book)[-1]
    assert (last["bid_px_00"], last["bid_sz_00"], last["bid_ct_00"]) == (100, 10, 2)


# --- snapshots ---------------------------------------------------------------------------------


def snapshot(script: Script, *, clear: bool, last: bool) -> Script:
    at = MIDNIGHT + 50
    if clear:
        script("R", "N", UNDEF, 0, 0, flags=40, more=True, at=at)
    script("A", "B", 99, 4, 1, flags=40, more=True, at=at)
    return script("A", "A", 101, 6, 8, flags=40, more=not last, at=at)


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_a_snapshot_replaces_the_book_and_is_no_flow(clear: bool, last: bool) -> None:
    script = snapshot(start(), clear=clear, last=last)
    ran = script("A", "B", 98, 1, 20, at=MIDNIGHT + 60).run()

    assert queue(ran) == [(1, 4), (20, 1)]
    assert queue(ran, "A") == [(8, 6)]
    assert ran.engine.quality()["events"] == 7
    assert ran.engine.quality()["duplicate_adds"] == 0
    assert plain(ran.flow)[-2].keys() >= {"event"}
    assert flow(ran, -2) == {}
    assert ran.engine.quality()["start"] == "clear"


def test_a_snapshot_that_changes_nothing_still_gives_a_row() -> None:
    script = snapshot(Script(), clear=True, last=True)
    script.records += [
        r._replace(ts_recv=r.ts_recv + SECOND, record=r.record + 3) for r in script.records
    ]
    assert script.run().book.num_rows == 2


def test_a_clear_before_the_first_snapshot_row_leaves_the_start_a_snapshot() -> None:
    script = Script()("R", "N", UNDEF, 0, 0)
    ran = snapshot(script, clear=False, last=True).run()
    assert ran.engine.quality()["start"] == "snapshot"


def test_a_second_snapshot_starts_a_new_book() -> None:
    script = snapshot(Script(), clear=False, last=True)
    ran = script("A", "B", 97, 1, 30, flags=40, at=MIDNIGHT + 99).run()
    assert queue(ran) == [(30, 1)]


def test_snapshot_rows_that_each_end_an_event_are_one_snapshot() -> None:
    script = Script()
    for oid in (1, 2, 3):
        script("A", "B", 100, 1, oid, flags=40, at=MIDNIGHT)
    assert len(queue(script.run())) == 3


# --- validity ----------------------------------------------------------------------------------


def valid(ran: Ran) -> list[bool]:
    return [row["valid"] for row in plain(ran.book)]


def test_an_unknown_start_becomes_valid_at_a_clear() -> None:
    ran = Script()("A")("R", "N", UNDEF, 0, 0)("A").run()
    assert valid(ran) == [False, True, True]
    assert ran.engine.quality()["start"] == "unknown"


def test_the_start_of_validity_is_a_row_of_its_own() -> None:
    ran = Script()("N", "N", UNDEF, 0, 0)("R", "N", UNDEF, 0, 0).run()
    assert valid(ran) == [True]


def test_maybe_bad_book_makes_invalid_until_the_next_snapshot() -> None:
    script = start()("N", "N", UNDEF, 0, 0, flags=MAYBE_BAD)("A", "B", 101, 1, 9)
    ran = snapshot(script, clear=False, last=True).run()
    assert valid(ran) == [True] * 5 + [False, False, True]


def test_assume_valid_after_counts_from_the_first_record() -> None:
    script = Script()("A", "B", 100, 1, 1)("A", "B", 101, 1, 2)
    script("A", "B", 102, 1, 3, at=MIDNIGHT + 1 + SECOND)
    assert valid(script.run(assume_valid_after="1s")) == [False, False, True]


# --- any price, any id, any size ---------------------------------------------------------------


def test_stub_quotes_cost_nothing() -> None:
    script = Script()("R", "N", UNDEF, 0, 0)
    script("A", "B", 10**7, 1, 1)("A", "A", 199_999_990_000_000, 1, 2)
    script("A", "B", -(2**62), 3, 2**64 - 1)("A", "B", 123_456_789, 2, 0)
    ran = script.run()
    [one] = ran.engine.books.values()
    assert [row["bid_px_00"] for row in plain(ran.book)][1:] == [10**7, 10**7, 10**7, 123_456_789]
    assert one.book.orders.shape[0] == 256
    assert one.book.levels.shape[0] == 64


def test_memory_grows_with_live_orders_only() -> None:
    script = Script()
    for i in range(2000):
        script("A", "B", i, 1, i)("C", "B", i, 1, i)
    [one] = script.run().engine.books.values()
    assert one.book.orders.shape[0] == 256


def test_arrays_grow_in_the_middle_of_an_event() -> None:
    script = Script()
    for i in range(5000):
        script("A", "BA"[i % 2], i * (1 - 2 * (i % 2)), 1, i, more=i < 4999)
    ran = script.run()
    assert len(queue(ran)) + len(queue(ran, "A")) == 5000
    assert ran.book.num_rows == 1


def test_an_id_can_be_used_again() -> None:
    ran = start()("C", "B", 100, 5, 1)("A", "A", 105, 2, 1)("C", "A", 105, 2, 1).run()
    assert queue(ran) == [(2, 5), (3, 5)]
    assert queue(ran, "A") == [(4, 5)]


def test_sums_beyond_the_tables_type_stay_at_its_largest() -> None:
    script = Script()("A", "B", 100, LARGEST, 1, more=True)("A", "B", 100, LARGEST, 2)
    ran = script.run()
    assert plain(ran.book)[0]["bid_sz_00"] == LARGEST
    assert flow(ran)["bid_l1_add_sz"] == LARGEST
    assert queue(ran) == [(1, LARGEST), (2, LARGEST)]


def test_the_rule_used_here_is_the_common_one() -> None:
    assert DEFAULT_RULE == DECREASE_KEEPS | PARTIAL_CANCELS
