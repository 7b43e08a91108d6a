"""The result depends on the records only: not on chunks, and not on stopping and going on."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.book.columns import chunk_of_structs
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.layout import DEFAULT_RULE
from pipeline.book.state import checkpoint, closing_state, mismatches, resume
from tests.book.support import (
    DATE,
    MIDNIGHT,
    Market,
    Ran,
    plain,
    queue_order,
    recs,
    run_engine,
    structs,
    wild,
)
from tests.reference.book import reference_day
from tests.reference.records import LAST, UNDEF, Rec

MODES: list[dict[str, Any]] = [
    {},
    {"materialise": "touch"},
    {"materialise": "grid"},
    {"materialise": "none"},
]


def stream(seed: int, length: int = 240) -> list[Rec]:
    draw = random.Random(seed)
    if seed % 2:
        return wild(draw, length, 1 + seed % 3)
    return Market(draw).run(length)


def same(left: Ran, right: Ran) -> None:
    for one, other in zip(left.tables, right.tables, strict=True):
        assert one.equals(other)
    assert left.engine.quality() == right.engine.quality()
    assert closing_state(left.engine) == closing_state(right.engine)


@pytest.mark.parametrize("options", MODES, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_chunks_do_not_matter(seed: int, options: dict[str, Any]) -> None:
    records = stream(seed)
    whole = run_engine(records, **options)

    same(whole, run_engine(records, cuts=[200], **options))
    same(
        whole, run_engine(records, cuts=range(1, len(records), 1 + len(records) // 250), **options)
    )
    cuts = random.Random(seed).choices(range(len(records)), k=30)
    same(whole, run_engine(records, cuts=cuts, **options))


@pytest.mark.parametrize("options", MODES, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_going_on_from_a_checkpoint_equals_not_stopping(seed: int, options: dict[str, Any]) -> None:
    records = stream(seed)
    if options.get("materialise") == "grid":
        records = [r._replace(publisher_id=1, instrument_id=1) for r in records]
    whole = run_engine(records, **options)
    for cut in random.Random(seed).sample(range(len(records)), 8):
        first = run_engine(records[:cut], finish=False, **options)
        stored = checkpoint(first.engine)
        second = run_engine(records[cut:], state=stored, **options)
        for all_rows, before, after in zip(whole.tables, first.tables, second.tables, strict=True):
            assert all_rows.equals(pa.concat_tables([before, after]))
        assert second.engine.quality() == whole.engine.quality()
        assert closing_state(second.engine) == closing_state(whole.engine)
        assert checkpoint(run_engine([], state=stored, finish=False, **options).engine) == stored


@pytest.mark.parametrize("seed", range(6))
def test_the_touch_has_the_same_rows_without_flow(seed: int) -> None:
    """That run has a kernel of its own."""
    records = stream(seed)
    whole = run_engine(records, materialise="touch")
    alone = run_engine(records, materialise="touch", flow=False, cuts=[100])

    assert alone.book.equals(whole.book)
    assert alone.trades.equals(whole.trades)
    assert alone.engine.quality() == whole.engine.quality()
    assert alone.book.num_rows


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 300))
def test_two_days_equal_one_long_day(seed: int, cut: int) -> None:
    """Carried over midnight: same rows but for the event numbers; pending records included."""
    records = Market(random.Random(seed)).run(300)
    whole = reference_day(records, DATE)
    first = run_engine(records[:cut])

    second = run_engine(records[cut:], state=closing_state(first.engine), date=DATE + 1)

    rows = plain(first.book) + plain(second.book)
    assert [{**row, "event": 0} for row in rows] == [{**row, "event": 0} for row in whole.book]
    flow = plain(first.flow) + plain(second.flow)
    assert [{k: v for k, v in row.items() if v and k != "event"} for row in flow] == [
        {k: v for k, v in row.items() if v and k != "event"} for row in whole.flow
    ]
    prints = plain(first.trades) + plain(second.trades)
    assert [{**row, "event": 0} for row in prints] == [
        {**row, "event": 0} for row in ({n: r[n] for n in prints[0]} for r in whole.trades)
    ]
    for key, one in second.engine.books.items():
        assert queue_order(one.book) == whole.orders[key]
    numbers = [row["event"] - (DATE + 1) * 10**10 for row in plain(second.book)]
    assert numbers == sorted(set(numbers))
    assert not numbers or numbers[0] >= 1


def test_the_unfinished_event_of_a_day_is_the_next_days_first() -> None:
    add = Rec(MIDNIGHT, MIDNIGHT, 1, 7, 100, 2, 0, 0, "A", "B", 0)
    more = add._replace(order_id=8, flags=LAST, record=0, ts_recv=MIDNIGHT + 5)

    first = run_engine([add])
    second = run_engine([more], state=closing_state(first.engine), date=DATE + 1)

    assert first.book.num_rows == 0
    [row] = plain(second.book)
    assert row["event"] == (DATE + 1) * 10**10 + 1
    assert (row["bid_sz_00"], row["bid_ct_00"]) == (4, 2)
    assert first.engine.quality()["records"] == second.engine.quality()["records"] == 1


def test_a_carried_day_says_so_and_stays_valid() -> None:
    snapshot = [
        Rec(MIDNIGHT, MIDNIGHT, 1, 7, 100, 2, 40 | LAST, 0, "A", "B", 0),
    ]
    change = Rec(MIDNIGHT + 9, MIDNIGHT, 2, 8, 100, 1, LAST, 0, "A", "B", 0)
    first = run_engine(snapshot)

    carried = run_engine([change], state=closing_state(first.engine), date=DATE + 1)
    alone = run_engine([change], date=DATE + 1)

    assert carried.engine.quality()["start"] == "carried"
    assert plain(carried.book)[0]["valid"] is True
    assert alone.engine.quality()["start"] == "unknown"
    assert plain(alone.book)[0]["valid"] is False


def test_an_unknown_state_is_not_made_known_by_being_carried() -> None:
    change = Rec(MIDNIGHT + 9, MIDNIGHT, 2, 8, 100, 1, LAST, 0, "A", "B", 0)
    first = run_engine([change])

    second = run_engine([change._replace(order_id=9)], state=closing_state(first.engine))

    assert second.engine.quality()["start"] == "unknown"
    assert plain(second.book)[0]["valid"] is False


def test_the_state_is_canonical() -> None:
    """The same orders in the same queues give the same table, however they came about."""
    add = Rec(MIDNIGHT, MIDNIGHT, 1, 7, 100, 2, LAST, 0, "A", "B", 0)
    other = add._replace(order_id=8)
    gone = add._replace(order_id=9, side="A", price=300)
    detour = [add, gone, other, gone._replace(action="C")]

    straight = closing_state(run_engine([add, other]).engine)
    bent = closing_state(run_engine(detour).engine)

    assert straight.orders.equals(bent.orders)


def test_resumed_arrays_need_no_more_room_than_orders() -> None:
    """Levels and orders far beyond the first arrays survive the way through a state."""
    records = [
        Rec(MIDNIGHT, MIDNIGHT, i, i, 10**9 * (i if i % 2 else -i), 1, LAST, 0, "A", "AB"[i % 2], i)
        for i in range(1, 3000)
    ]
    ran = run_engine(records)
    engine = BookEngine(DATE, BookOptions(), DEFAULT_RULE)

    resume(engine, closing_state(ran.engine))

    assert queue_order(engine.books[1, 1].book) == queue_order(ran.engine.books[1, 1].book)


def test_only_the_last_instrument_of_a_publisher_is_carried() -> None:
    """An id that changes under the symbol closes one book and opens another."""
    old = Rec(MIDNIGHT, MIDNIGHT, 1, 7, 100, 2, LAST, 0, "A", "B", 0, 1, 10)
    new = old._replace(instrument_id=11, price=200)
    ran = run_engine([old, new])

    state = closing_state(ran.engine)

    assert set(state.orders["instrument_id"].to_pylist()) == {11}
    assert [row["instrument_id"] for row in plain(ran.book)] == [10, 11]
    assert [row["bid_px_00"] for row in plain(ran.book)] == [100, 200]


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ({}, 0),
        ({"size": 3}, 1),
        ({"price": 101}, 1),
        ({"order_id": 99}, 2),
    ],
    ids=str,
)
def test_mismatches_are_counted_by_order(change: dict[str, Any], count: int) -> None:
    book = [
        Rec(MIDNIGHT, MIDNIGHT, i, i, 100, 2, 40 | (LAST if i == 3 else 0), 0, "A", "B", i)
        for i in (1, 2, 3)
    ]
    other = [book[0], book[1], book[2]._replace(**change)]

    left, right = (closing_state(run_engine(r).engine).orders for r in (book, other))

    assert mismatches(left, right) == mismatches(right, left) == count


def test_a_changed_queue_order_is_a_mismatch() -> None:
    book = [
        Rec(MIDNIGHT, MIDNIGHT, i, i, 100, 2, 40 | (LAST if i == 2 else 0), 0, "A", "B", i)
        for i in (1, 2)
    ]
    swapped = [book[0]._replace(order_id=2), book[1]._replace(order_id=1)]

    left, right = (closing_state(run_engine(r).engine).orders for r in (book, swapped))

    assert mismatches(left, right) == 1


def test_records_survive_the_way_through_the_vendors_layout() -> None:
    records = wild(random.Random(1), 200, 3)
    undefined = [r._replace(ts_event=2**64 - 1) if r.ts_event == UNDEF else r for r in records]
    assert recs(structs(records)) == undefined


def test_a_grid_of_several_books_has_no_checkpoint_in_mid_day() -> None:
    records = wild(random.Random(1), 100, 3)
    ran = run_engine(records, finish=False, materialise="grid")
    with pytest.raises(ValueError, match="kept back"):
        checkpoint(ran.engine)


def test_columns_of_another_type_are_refused() -> None:
    """The kernel is called without looking at types again: it would read other bytes."""
    chunk = structs(stream(0))
    records = chunk_of_structs(chunk).records
    engine = BookEngine(DATE, BookOptions(), DEFAULT_RULE)
    good = chunk_of_structs(chunk)
    for name, column in [
        ("size", records.size.astype("int64")),
        ("price", records.price.astype("float64")),
        ("ts_recv", records.ts_recv.repeat(2)[::2]),
    ]:
        with pytest.raises(ValueError, match=f"records.{name} is"):
            list(engine.feed(good._replace(records=records._replace(**{name: column}))))
