"""`order_life`: every resting order's life, against plain dictionaries and by claims."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import tables
from pipeline.book import orders as ob
from pipeline.book.columns import chunk_of_structs
from pipeline.book.layout import DEFAULT_RULE, new_book
from pipeline.book.life_engine import LifeEngine
from pipeline.book.position import _position
from pipeline.book.state import BookState, closing_state
from pipeline.jit import entry_point
from tests.book.support import (
    DATE,
    MIDNIGHT,
    SECOND,
    Market,
    plain,
    read_raw,
    recs,
    run_engine,
    structs,
    wild,
)
from tests.reference.book import reference_day
from tests.reference.life import reference_lives
from tests.reference.records import LAST, SNAPSHOT, UNDEF, Rec


def run_lives(
    records: Sequence[Rec] | npt.NDArray[Any],
    *,
    cuts: Iterable[int] = (),
    state: BookState | None = None,
    date: int = DATE,
    day_start: int = MIDNIGHT,
    assume_valid_after: str = "",
) -> pa.Table:
    """The table of a day, its records cut into chunks at the given places."""
    array = records if isinstance(records, np.ndarray) else structs(records)
    engine = LifeEngine(
        date, day_start, DEFAULT_RULE, assume_valid_after=assume_valid_after, state=state
    )
    parts = [tables.ORDER_LIFE.schema().empty_table()]
    places = [0, *sorted(cuts), len(array)]
    for start, stop in pairwise(places):
        if stop > start:
            parts += engine.lives(chunk_of_structs(array[start:stop], start))
    parts += engine.rest()
    return pa.concat_tables(parts)


def assert_same_rows(found: pa.Table, wanted: list[dict[str, Any]]) -> None:
    rows = plain(found)
    for i, (ours, theirs) in enumerate(zip(rows, wanted, strict=False)):
        names = theirs.keys() | ours.keys()
        differ = {n: (ours.get(n), theirs.get(n)) for n in names if ours.get(n) != theirs.get(n)}
        assert not differ, (i, ours["order_id"], differ)
    assert len(rows) == len(wanted)


# --- against the reference ---------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 60), st.integers(1, 3), st.booleans())
def test_any_records_at_all(draw: random.Random, length: int, books: int, assume: bool) -> None:
    records = wild(draw, length, books)
    found = run_lives(records, assume_valid_after="2s" if assume else "")
    after = 2 * SECOND if assume else None
    assert_same_rows(found, reference_lives(records, DATE, MIDNIGHT, assume_after=after))


@pytest.mark.parametrize("seed", range(8))
def test_long_wild_streams(seed: int) -> None:
    records = wild(random.Random(seed), 800, 1 + seed % 3)
    found = run_lives(records, cuts=(100, 101, 350))
    assert_same_rows(found, reference_lives(records, DATE, MIDNIGHT))


@pytest.mark.parametrize("seed", range(6))
def test_a_market_that_trades(seed: int) -> None:
    records = Market(random.Random(seed), middle=(seed - 3) * 10**9).run(1500)
    found = run_lives(records, cuts=(13, 500))
    assert_same_rows(found, reference_lives(records, DATE, MIDNIGHT))


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 120), st.booleans(), st.data())
def test_a_day_carried_over(
    draw: random.Random, length: int, legal: bool, data: st.DataObject
) -> None:
    records = Market(draw).run(length) if legal else wild(draw, length)
    cut = data.draw(st.integers(0, len(records)))
    before, after = records[:cut], records[cut:]
    state = closing_state(run_engine(before).engine)

    found = run_lives(after, state=state, date=DATE + 1)

    assert_same_rows(found, reference_lives(after, DATE + 1, MIDNIGHT, before=before))


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 150), st.integers(1, 3), st.data())
def test_chunks_do_not_matter(
    draw: random.Random, length: int, books: int, data: st.DataObject
) -> None:
    records = wild(draw, length, books)
    cuts = data.draw(st.lists(st.integers(0, length), max_size=8))
    assert run_lives(records, cuts=cuts).equals(run_lives(records))


def test_a_clear_of_more_orders_than_fit_the_buffer() -> None:
    records = [rec("A", 100, 1, oid=i, last=False) for i in range(1, 5001)]
    records += [rec("R", UNDEF, 0, side="N"), rec("A", 7, 1, oid=9000)]
    found = run_lives(records)
    assert Counter(found["outcome"].to_pylist()) == {"cleared": 5000, "resting": 1}
    assert found["left_ahead_orders"].to_pylist()[:5000] == list(range(5000))
    assert found["left_queue_size"].to_pylist()[:5000] == [5000] * 5000


# --- claims ------------------------------------------------------------------------------------


def rec(
    action: str,
    price: int,
    size: int,
    *,
    side: str = "B",
    oid: int = 1,
    at: int = 0,
    flags: int = 0,
    last: bool = True,
) -> Rec:
    """A record ``at`` seconds after midnight."""
    now = MIDNIGHT + at * SECOND
    flags |= LAST * last
    return Rec(now, now, 0, oid, price, size, flags, 0, action, side, 0)


def lives(records: Sequence[Rec]) -> dict[int, dict[str, Any]]:
    """Rows by order id; each id has one."""
    rows = plain(run_lives(records))
    found = {row["order_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_the_touch_is_that_before_the_event() -> None:
    """Both orders of an event improve on, or stand behind, what stood before it."""
    found = lives(
        [
            rec("A", 100, 1, oid=1),
            rec("A", 110, 1, oid=2, side="A"),
            rec("A", 103, 1, oid=3, last=False),
            rec("A", 101, 1, oid=4),
            rec("A", 112, 1, oid=5, side="A"),
        ]
    )
    assert [found[i]["entered_distance"] for i in (1, 2, 3, 4, 5)] == [None, None, -3, -1, 2]
    assert [found[i]["entered_opposite"] for i in (1, 2, 3, 4, 5)] == [None, 10, 7, 9, 9]


def test_what_stands_ahead_at_entry_is_exact() -> None:
    found = lives([rec("A", 100, 5, oid=1), rec("A", 100, 7, oid=2), rec("A", 100, 2, oid=3)])
    assert [found[i]["entered_ahead_orders"] for i in (1, 2, 3)] == [0, 1, 2]
    assert [found[i]["entered_ahead_size"] for i in (1, 2, 3)] == [0, 5, 12]


def test_losing_the_place_is_no_new_life() -> None:
    found = lives(
        [
            rec("A", 100, 5, oid=1, at=0),
            rec("A", 100, 4, oid=2, at=1),
            rec("M", 100, 3, oid=1, at=2),
            rec("M", 100, 6, oid=1, at=3),
            rec("M", 99, 6, oid=1, at=4),
            rec("C", 99, 6, oid=1, at=5),
        ]
    )
    row = found[1]
    assert (row["modifies_kept"], row["modifies_lost"], row["reprices"]) == (1, 2, 1)
    assert (row["first_price"], row["price"]) == (100, 99)
    assert (row["first_size"], row["max_size"], row["left_size"]) == (5, 6, 6)
    assert (row["size_added"], row["size_cancelled"], row["size_executed"]) == (3, 2 + 6, 0)
    assert row["entered_ts_recv"] == MIDNIGHT
    assert row["place_ts_recv"] == MIDNIGHT + 4 * SECOND
    assert row["lost_ts_recv"] == MIDNIGHT + 3 * SECOND  # for the first time
    assert row["left_ts_recv"] == row["known_at"] == MIDNIGHT + 5 * SECOND
    assert row["outcome"] == "cancelled"
    assert found[2]["left_ahead_orders"] == 0


def test_a_partial_fill_is_nobodys_modification() -> None:
    found = lives(
        [
            rec("A", 100, 5, oid=1),
            rec("T", 100, 2, side="A", oid=0, last=False),
            rec("F", 100, 2, oid=1, last=False),
            rec("M", 100, 3, oid=1),
        ]
    )
    row = found[1]
    assert (row["modifies_kept"], row["fills"], row["fill_size"]) == (0, 1, 2)
    assert (row["size_executed"], row["size_cancelled"], row["left_size"]) == (2, 0, 3)
    assert row["outcome"] == "resting"
    assert row["left_event"] is None
    assert row["known_at"] == MIDNIGHT + 86_400 * SECOND


def test_an_iceberg_shows_more_after_a_fill() -> None:
    found = lives(
        [
            rec("A", 100, 5, oid=1),
            rec("A", 100, 1, oid=2),
            rec("F", 100, 5, oid=1, last=False),
            rec("M", 100, 5, oid=1),
            rec("F", 100, 1, oid=2, last=False),
            rec("C", 100, 1, oid=2),
        ]
    )
    row = found[1]
    assert (row["refills"], row["refill_size"], row["modifies_lost"]) == (1, 5, 0)
    assert (row["place_ahead_orders"], row["place_ahead_size"]) == (1, 1)
    assert (row["entered_ahead_orders"], row["size_executed"], row["size_added"]) == (0, 5, 5)
    assert found[2]["outcome"] == "filled"


def test_a_fill_out_of_turn_knows_what_was_ahead() -> None:
    """Ahead counts what the same execution has not printed."""
    found = lives(
        [
            rec("A", 100, 5, oid=1),
            rec("A", 100, 4, oid=2),
            rec("A", 100, 3, oid=3),
            rec("A", 110, 3, oid=4, side="A"),
            rec("T", 100, 8, oid=0, side="A", last=False),
            rec("F", 100, 5, oid=1, last=False),
            rec("F", 100, 3, oid=3, last=False),
            rec("C", 100, 5, oid=1, last=False),
            rec("C", 100, 3, oid=3),
        ]
    )
    assert found[1]["fills_out_of_turn"] == 0
    row = found[3]
    assert (row["fills_out_of_turn"], row["first_fill_ahead_orders"]) == (1, 1)
    assert row["first_fill_ahead_size"] == 4


def test_a_level_of_a_tob_record_is_no_order() -> None:
    """It takes the place of its side's orders, and has no row of its own."""
    found = lives(
        [
            rec("A", 100, 5, oid=1),
            rec("A", 110, 5, oid=2, side="A"),
            rec("A", 101, 9, oid=0, flags=64, at=1),
            rec("A", 101, 1, oid=3, at=2),
        ]
    )
    assert found.keys() == {1, 2, 3}
    assert (found[1]["outcome"], found[1]["left_ts_recv"]) == ("replaced", MIDNIGHT + SECOND)
    assert (found[3]["entered_ahead_size"], found[3]["entered_distance"]) == (9, 0)


def test_an_order_modified_to_cross_is_not_filled_in_its_queue() -> None:
    """It prints an F on the aggressor's own side, while others stand before it."""
    found = lives(
        [
            rec("A", 100, 5, oid=1),
            rec("A", 100, 4, oid=2),
            rec("A", 110, 3, oid=3, side="A"),
            rec("T", 110, 3, oid=2, last=False),
            rec("F", 110, 3, oid=3, side="A", last=False),
            rec("F", 110, 3, oid=2, last=False),
            rec("C", 110, 3, oid=3, side="A", last=False),
            rec("M", 110, 1, oid=2),
        ]
    )
    crossed, met = found[2], found[3]
    assert (crossed["fills"], crossed["queue_fills"], crossed["fills_out_of_turn"]) == (1, 0, 0)
    assert crossed["first_fill_ahead_orders"] is None
    assert (met["queue_fills"], met["first_fill_ahead_orders"]) == (1, 0)
    assert (crossed["size_executed"], crossed["left_size"], crossed["reprices"]) == (3, 1, 1)


def test_a_snapshot_goes_on_with_the_lives_it_knows() -> None:
    """The same id, side and price; a vanished order is known to be gone when it is over."""
    found = lives(
        [
            rec("A", 100, 5, oid=1, at=0),
            rec("A", 100, 4, oid=2, at=1),
            rec("A", 100, 3, oid=3, at=2),
            rec("A", 100, 2, oid=2, at=3, flags=SNAPSHOT, last=False),
            rec("A", 100, 3, oid=3, at=3, flags=SNAPSHOT),
            rec("A", 90, 1, oid=4, at=4),
            rec("C", 100, 2, oid=2, at=5),
        ]
    )
    assert found[1]["outcome"] == "snapshot"
    assert found[1]["left_ts_recv"] == MIDNIGHT + 4 * SECOND
    assert (found[2]["entered"], found[2]["entered_ts_recv"]) == ("add", MIDNIGHT + SECOND)
    assert (found[2]["outcome"], found[2]["size_cancelled"]) == ("cancelled", 2 + 2)
    assert found[3]["left_ahead_orders"] == 0
    assert found[3]["outcome"] == "resting"


def test_an_entry_that_was_not_seen_is_null() -> None:
    opening = [rec("A", 100, 5, oid=i, flags=SNAPSHOT, last=i == 3) for i in (1, 2, 3)]
    found = lives([*opening, rec("M", 99, 5, oid=2, at=9)])
    for oid, row in found.items():
        assert row["entered"] == "snapshot"
        assert all(row[f"entered_{n}"] is None for n in ("event", "ts_recv", "distance"))
        assert row["entered_ahead_orders"] is None
        assert (row["place_event"] is None) == (oid != 2)
        assert row["valid"]
    assert found[2]["place_ahead_orders"] == 0


def test_ahead_of_an_unknown_start_is_not_called_exact() -> None:
    found = lives(
        [rec("A", 100, 5, oid=1), rec("R", UNDEF, 0, side="N", oid=0), rec("A", 100, 5, oid=2)]
    )
    assert [found[i]["valid"] for i in (1, 2)] == [False, True]
    assert found[1]["outcome"] == "cleared"


# --- properties --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_sums_agree(seed: int) -> None:
    """Every order that entered left or rests; sizes are conserved; fills are those of F."""
    records = Market(random.Random(seed)).run(2000)
    frame = pl.DataFrame(run_lives(records))
    quality = run_engine(records).engine.quality()
    resting = [r for orders in reference_day(records, DATE).orders.values() for r in orders]

    ended = pl.col("outcome").is_in(["filled", "cancelled"])
    wrong = frame.filter(
        pl.col("first_size") + pl.col("size_added")
        != pl.col("size_executed")
        + pl.col("size_cancelled")
        + pl.when(ended).then(0).otherwise(pl.col("left_size"))
    )
    assert wrong.is_empty()
    assert frame.filter(entered="add").height == quality["adds"]
    assert frame.filter(outcome="resting").height == len(resting)
    fills = [r for r in records if r.action == "F"]
    assert frame["fills"].sum() == len(fills) - quality["orphan_fills"]
    assert frame["fill_size"].sum() == sum(r.size for r in fills)
    assert (frame["size_executed"] <= frame["fill_size"]).all()
    assert frame["queue_fills"].sum() == quality["fifo_fills"]
    passed = quality["fifo_fills"] - quality["fifo_consistent"]
    assert frame["fills_out_of_turn"].sum() == passed
    assert (frame["known_at"].diff().drop_nulls().dt.total_nanoseconds() >= 0).all()


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 150), st.booleans())
def test_what_is_ahead_never_grows_while_an_order_stands(
    draw: random.Random, length: int, legal: bool
) -> None:
    """However many records come: only a new place can be further back."""
    records = Market(draw).run(length) if legal else wild(draw, length)
    array = structs(records)
    engine = LifeEngine(DATE, MIDNIGHT, DEFAULT_RULE)
    standing: dict[tuple[int, int], tuple[int, int]] = {}
    ids = np.unique(np.array([r.order_id for r in records], np.uint64)).astype(np.int64)
    # The machine code itself: looking at the types of a book's arrays takes ten times as long.
    find, position = (entry_point(f, new_book(), np.int64(0)) for f in (ob.find, _position))
    for i in range(len(array)):
        list(engine.lives(chunk_of_structs(array[i : i + 1], i)))
        now = {}
        for one in engine.books.values():
            for oid in ids:
                slot = find(one.book, oid)
                if slot >= 0:
                    place = int(one.book.orders[slot, ob.PRIORITY])
                    now[int(oid), place] = position(one.book, oid)
        if records[i].flags & SNAPSHOT:  # into a new book, which numbers places anew
            standing = {}
        for key in now.keys() & standing.keys():
            assert now[key][0] <= standing[key][0]
            assert now[key][1] <= standing[key][1]
        standing = now


# --- real files --------------------------------------------------------------------------------


def test_the_real_es_day(real_data: Path) -> None:
    array = read_raw(real_data / "esh4" / "glbx-mdp3-20231225.mbo.dbn.zst")
    midnight = 1_703_462_400 * SECOND

    found = run_lives(array, cuts=range(997, len(array), 4999), date=20231225, day_start=midnight)

    assert_same_rows(found, reference_lives(recs(array), 20231225, midnight))
    frame = pl.DataFrame(found)
    assert dict(frame.group_by("outcome").len().iter_rows()) == {
        "cancelled": 12_670,
        "filled": 5_329,
        "resting": 11_217,
    }
    assert dict(frame.group_by("entered").len().iter_rows()) == {"add": 20_491, "snapshot": 8_725}
    assert frame["valid"].all()
    assert frame["queue_fills"].sum() == 6_229
    assert frame["fills_out_of_turn"].sum() == 529
