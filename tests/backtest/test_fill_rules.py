"""The fill rules, line by line: a few records each, worked out by hand."""

from __future__ import annotations

import pytest

from tests.backtest.scenario import Decision, Fill, Session, Tape, opening, simulate

BUY = Decision(10, 3)
"""Three contracts wanted at 10 ns: a limit at 100 joins the queue behind #1's ten."""


def test_order_joins_the_tail_of_the_displayed_queue():
    result = simulate(opening(), BUY)

    (order,) = result.orders
    assert (order.status, order.reason) == ("expired", "session_end")
    assert (order.entry, order.size, order.price) == (10, 3, 100)


def test_fill_of_an_order_ahead_does_not_fill_us():
    tape = opening().event(20, "T A 100 10 #0", "F B 100 10 #1", "C B 100 10 #1")

    assert simulate(tape, BUY).brief == []


def test_fill_of_the_order_directly_ahead_does_not_fill_us():
    tape = opening().add(5, "A B 100 4 #5")
    tape.event(20, "T A 100 4 #0", "F B 100 4 #5", "C B 100 4 #5")

    assert simulate(tape, BUY).brief == []


def test_fill_of_an_order_behind_us_at_our_price_fills_us_up_to_its_size():
    tape = opening().add(15, "A B 100 5 #5")
    tape.event(20, "T A 100 2 #0", "F B 100 2 #5", "M B 100 3 #5")

    (fill,) = simulate(tape, BUY).fills
    assert fill == Fill(2, 100, "behind", 10, "maker", 20, 7, 10)


def test_fill_at_a_worse_price_fills_us():
    tape = opening().event(20, "T A 99 4 #0", "F B 99 4 #2", "M B 99 16 #2")

    assert simulate(tape, BUY).brief == [(3, 100, "worse_price")]


def test_fill_at_a_better_price_does_not_fill_us():
    tape = opening().event(20, "T A 100 4 #0", "F B 100 4 #1", "M B 100 6 #1")

    assert simulate(tape, Decision(10, 3, bid=99)).brief == []


def test_part_fills_follow_the_sizes_of_the_fills_behind():
    tape = opening().add(15, "A B 100 5 #5")
    tape.event(20, "T A 100 1 #0", "F B 100 1 #5", "M B 100 4 #5")
    tape.event(30, "T A 100 4 #0", "F B 100 4 #5", "C B 100 4 #5")

    result = simulate(tape, BUY)
    assert result.brief == [(1, 100, "behind"), (2, 100, "behind")]
    assert result.orders[0].status == "filled"


def test_opposite_order_that_comes_to_rest_at_our_price_fills_us():
    tape = opening().event(20, "C B 100 10 #1").add(30, "A A 100 2 #6")

    assert simulate(tape, BUY).brief == [(2, 100, "came_to_rest")]


def test_only_the_part_that_rests_counts():
    # The aggressor hits #1 for 10 and rests 2: those 2 would have met us.
    tape = opening().event(20, "T A 100 10 #0", "F B 100 10 #1", "A A 100 2 #6", "C B 100 10 #1")

    assert simulate(tape, BUY).brief == [(2, 100, "came_to_rest")]


def test_opposite_order_resting_through_our_price_fills_us_at_our_price():
    tape = opening().event(20, "C B 100 10 #1").event(25, "C B 99 20 #2").add(30, "A A 98 9 #6")

    assert simulate(tape, BUY).brief == [(3, 100, "came_to_rest")]


def test_opposite_modify_to_our_price_fills_us():
    tape = opening().event(20, "C B 100 10 #1").add(30, "M A 100 10 #3")

    assert simulate(tape, BUY).brief == [(3, 100, "came_to_rest")]


def test_opposite_order_that_leaves_within_the_event_fills_nobody():
    tape = opening().event(20, "A A 100 2 #6", "C A 100 2 #6")

    assert simulate(tape, BUY).brief == []


def test_size_decrease_of_a_resting_opposite_order_is_no_new_meeting():
    tape = opening().event(20, "C B 100 10 #1").add(30, "A A 100 2 #6").add(40, "M A 100 1 #6")

    assert simulate(tape, BUY).brief == [(2, 100, "came_to_rest")]


def test_fill_of_an_unknown_order_at_our_price_counts_as_ahead():
    tape = opening().event(20, "T A 100 4 #0", "F B 100 4 #77")

    assert simulate(tape, BUY).brief == []


def test_fill_of_an_unknown_order_at_a_worse_price_fills_us():
    tape = opening().event(20, "T A 99 1 #0", "F B 99 1 #77")

    assert simulate(tape, BUY).brief == [(1, 100, "worse_price")]


def test_trade_without_any_fill_does_not_fill_us_but_optimistically():
    tape = opening().add(20, "T A 100 2 #0").add(30, "A B 98 1 #8")

    assert simulate(tape, BUY).brief == []
    assert simulate(tape, BUY, reading="optimistic").brief == [(2, 100, "print_only")]


def test_aggressors_own_print_fills_nobody():
    # #2, a bid at 99, is modified to cross at 101: its own F stands on the bid side.
    tape = opening().event(
        20, "T B 101 10 #2", "F A 101 10 #3", "F B 99 10 #2", "C A 101 10 #3", "M B 101 10 #2"
    )

    assert simulate(tape, BUY).brief == []


def test_cancel_ahead_shortens_the_queue():
    tape = opening().add(15, "A B 100 5 #5").add(20, "C B 100 10 #1")
    tape.event(30, "T A 100 1 #0", "F B 100 1 #5", "M B 100 4 #5")

    (fill,) = simulate(tape, BUY).fills
    assert (fill.entry, fill.ahead) == (10, 0)


def test_cancel_behind_leaves_the_queue_ahead_alone():
    tape = opening().add(15, "A B 100 5 #5").add(18, "A B 100 5 #6").add(20, "C B 100 5 #5")
    tape.event(30, "T A 100 1 #0", "F B 100 1 #6", "M B 100 4 #6")

    (fill,) = simulate(tape, BUY).fills
    assert fill.ahead == 10


def test_modify_that_keeps_priority_shortens_the_queue_by_the_decrease():
    tape = opening().add(15, "A B 100 5 #5").add(20, "M B 100 4 #1")
    tape.event(30, "T A 100 1 #0", "F B 100 1 #5", "M B 100 4 #5")

    (fill,) = simulate(tape, BUY).fills
    assert fill.ahead == 4


def test_modify_that_loses_priority_goes_behind_us():
    tape = opening().add(20, "M B 100 12 #1")
    tape.event(30, "T A 100 1 #0", "F B 100 1 #1", "M B 100 11 #1")

    (fill,) = simulate(tape, BUY).fills
    assert (fill.reason, fill.ahead) == ("behind", 0)


def test_sweep_through_three_levels_fills_us_where_it_passes_us():
    tape = opening().add(5, "A B 98 9 #5")
    tape.event(
        20,
        "T A 100 10 #0", "F B 100 10 #1", "T A 99 20 #0", "F B 99 20 #2",
        "T A 98 1 #0", "F B 98 1 #5", "C B 100 10 #1", "C B 99 20 #2", "M B 98 8 #5",
    )  # fmt: skip

    result = simulate(tape, Decision(10, 40))
    # 20 at 99 and 1 at 98 had lower priority than our 40 at 100.
    assert result.brief == [(20, 100, "worse_price"), (1, 100, "worse_price")]


def test_size_we_took_stays_taken_until_that_order_changes():
    tape = opening().add(25, "A B 97 1 #9").add(35, "M A 101 9 #3").add(45, "A B 97 1 #10")

    result = simulate(tape, Decision(10, 8), Decision(30, 11), Decision(40, 14), passive=False)
    # 8 of #3's 10; then its last 2 and one at 102; #3 changes to 9: all 9 are there again.
    assert result.brief == [
        (8, 101, "took_depth"),
        (2, 101, "took_depth"),
        (1, 102, "took_depth"),
        (3, 101, "took_depth"),
    ]


def test_market_order_walks_the_depth_and_the_rest_is_cancelled():
    result = simulate(opening(), Decision(10, 35), passive=False, until=500)

    assert result.brief == [(10, 101, "took_depth"), (20, 102, "took_depth")]
    assert (result.orders[0].status, result.orders[0].reason) == ("cancelled", "no_depth")


def test_limit_through_the_touch_takes_what_is_there_and_rests():
    result = simulate(opening(), Decision(10, 12, bid=101))

    assert result.brief == [(10, 101, "took_depth")]
    assert (result.orders[0].status, result.orders[0].entry) == ("expired", 0)


def test_order_arriving_after_the_level_is_gone_rests_alone():
    tape = opening().add(15, "C B 100 10 #1").add(18, "A A 100.5 3 #6")

    result = simulate(tape, BUY, latency=10)
    assert result.orders[0].entry == 0


# --- auctions -------------------------------------------------------------------------------------

PRE = Session(preopen_ns=0, segments=((100, 3_600_000_000_000),))


def crossed() -> Tape:
    """A pre-open crossed book: bids 101 and 100, asks 100 and 101; the auction is at 100."""
    tape = Tape()
    tape.add(-500, "R N - 0 #0")
    tape.add(-500, "A B 101 5 #1").add(-500, "A B 100 5 #2")
    return tape.add(-500, "A A 100 6 #3").add(-500, "A A 101 7 #4")


def auction(tape: Tape, price: str = "100") -> Tape:
    return tape.event(
        100, f"T N {price} 6 #0", f"F N {price} 5 #1", f"F N {price} 1 #2", f"F N {price} 6 #3",
        "C B 101 5 #1", "M B 100 4 #2", "C A 100 6 #3",
    )  # fmt: skip


def test_auction_fills_a_better_limit_at_the_auctions_price_up_to_its_volume():
    result = simulate(auction(crossed()), Decision(10, 9, bid=102), session=PRE)

    assert result.fills[0] == Fill(6, 100, "auction", 0, "auction", 100, 6, 0)
    assert len(result.fills) == 1


def test_auction_at_our_limit_lets_us_in_only_before_those_it_reached():
    # We stand behind #2 (5 ahead); #6 stands behind us and is reached: its 2 would be ours.
    tape = crossed().add(50, "A B 100 5 #6")
    tape.event(
        100, "T N 100 12 #0", "F N 100 5 #1", "F N 100 5 #2", "F N 100 2 #6", "F N 100 6 #3",
        "C B 101 5 #1", "C B 100 5 #2", "M B 100 3 #6", "C A 100 6 #3",
    )  # fmt: skip

    assert simulate(tape, Decision(10, 4), session=PRE).brief == [(2, 100, "auction_queue")]
    assert simulate(auction(crossed()), Decision(10, 4), session=PRE).brief == []


def test_trade_of_side_n_without_fills_is_no_auction():
    tape = opening().add(20, "T N 99 5 #0")

    assert simulate(tape, BUY).brief == []


def test_crossed_book_fills_nobody():
    tape = crossed().add(50, "A A 99 5 #7")
    tape.event(60, "T A 99 1 #0", "F B 99 1 #77")

    session = Session(preopen_ns=-900, segments=((-400, 3_600_000_000_000),))
    assert simulate(tape, Decision(10, 3), session=session).brief == []


def test_market_order_into_a_crossed_book_is_refused():
    session = Session(preopen_ns=-900, segments=((-400, 3_600_000_000_000),))
    result = simulate(crossed(), Decision(10, 3), session=session, passive=False, until=500)

    assert [(o.status, o.reason) for o in result.orders] == [("rejected", "crossed")]


def test_invalid_book_fills_nobody_and_takes_no_order():
    tape = opening().add(20, "A B 97 1 #9", flags=4)
    tape.event(30, "T A 99 4 #0", "F B 99 4 #2", "M B 99 16 #2")

    assert simulate(tape, BUY).brief == []
    late = simulate(tape, Decision(40, 3))
    assert (late.orders[0].status, late.orders[0].reason) == ("rejected", "invalid")


def test_closed_market_fills_nobody():
    session = Session(segments=((0, 15), (1000, 3_600_000_000_000)))
    tape = opening().event(20, "T A 99 4 #0", "F B 99 4 #2", "M B 99 16 #2")

    assert simulate(tape, BUY, session=session).brief == []


# --- snapshots and clears -------------------------------------------------------------------------


@pytest.mark.parametrize("clear", [True, False])
def test_snapshot_keeps_our_order_and_matches_those_ahead_by_id(clear):
    tape = opening().add(5, "A B 100 7 #5")
    # #1 is gone, #5 (ahead) has 6, #6 is new: behind us although it stands first.
    tape.snapshot(20, "A B 100 4 #6", "A B 100 6 #5", "A B 99 20 #2", "A A 101 10 #3", clear=clear)
    tape.event(30, "T A 100 1 #0", "F B 100 1 #6", "M B 100 3 #6")

    (fill,) = simulate(tape, BUY).fills
    assert (fill.entry, fill.ahead, fill.reason) == (17, 6, "behind")


def test_snapshot_is_no_flow():
    tape = opening().snapshot(20, "A B 98 4 #6", "A A 100 6 #5")

    assert simulate(tape, BUY).brief == []


def test_clear_that_is_no_snapshot_cancels_our_order():
    tape = opening().add(20, "R N - 0 #0")

    order = simulate(tape, BUY, until=500).orders[0]
    assert (order.status, order.reason) == ("cancelled", "book_cleared")


# --- readings -------------------------------------------------------------------------------------


def test_optimistic_has_nothing_ahead():
    tape = opening().event(20, "T A 100 2 #0", "F B 100 2 #1", "M B 100 8 #1")

    assert simulate(tape, BUY, reading="optimistic").brief == [(2, 100, "nothing_ahead")]


def test_pessimistic_is_filled_only_through_its_price():
    tape = opening().add(15, "A B 100 5 #5").add(16, "C B 100 10 #1")
    tape.event(20, "T A 100 2 #0", "F B 100 2 #5", "M B 100 3 #5")
    tape.event(25, "C B 100 3 #5").add(26, "A A 100 1 #6")
    tape.event(30, "T A 99 1 #0", "F B 99 1 #2", "M B 99 19 #2")

    assert simulate(tape, BUY, reading="pessimistic").brief == [(1, 100, "worse_price")]


def test_readings_are_ordered_in_what_they_fill():
    tape = opening().add(15, "A B 100 5 #5")
    tape.event(20, "T A 100 12 #0", "F B 100 10 #1", "F B 100 2 #5", "C B 100 10 #1",
               "M B 100 3 #5")  # fmt: skip

    filled = {
        reading: sum(f.size for f in simulate(tape, Decision(10, 5), reading=reading).fills)
        for reading in ("optimistic", "exact", "pessimistic")
    }
    assert filled == {"optimistic": 5, "exact": 2, "pessimistic": 0}
