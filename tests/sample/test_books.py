"""The simulator's own MBP-10, trades and snapshots, against a plain replay of its MBO records."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sample.conftest import Sample
from tests.sample.replay import LAST, SNAPSHOT, Book, actual_rows, expected_rows


@pytest.mark.parametrize("name", ["sample", "weeks", "null_weeks"])
def test_every_mbp_row_equals_the_replayed_book(name: str, request: pytest.FixtureRequest) -> None:
    written: Sample = request.getfixturevalue(name)
    books: dict[int, Book] = {}
    rows = 0
    for day in written.days:
        expected = expected_rows(written.read(day, "mbo"), books)
        actual = actual_rows(written.read(day, "mbp-10"))
        for ours, theirs in zip(expected, actual, strict=True):
            assert ours == theirs
            rows += 1
    assert rows > 5_000


@pytest.mark.parametrize("name", ["sample", "weeks"])
def test_the_midnight_snapshot_is_the_book_before_it_order_for_order(
    name: str, request: pytest.FixtureRequest
) -> None:
    written: Sample = request.getfixturevalue(name)
    books: dict[int, Book] = {}
    compared = 0
    for day in written.days:
        mbo = written.read(day, "mbo")
        flags = mbo["flags"].astype(int)
        opening = mbo[(flags & SNAPSHOT) != 0]
        before = {i: book.priority() for i, book in books.items()}
        for _ in expected_rows(opening, books):
            pass
        if len(opening):
            assert {i: book.priority() for i, book in books.items()} == before
            compared += 1
        for _ in expected_rows(mbo[(flags & SNAPSHOT) == 0], books):
            pass
    weekdays = [day for day in written.days if day not in ("20250601", "20250608")]
    assert compared == len(weekdays)


def test_snapshot_rows_have_the_vendors_form(sample: Sample) -> None:
    mbo = sample.read("20250602", "mbo")
    rows = mbo[(mbo["flags"] & SNAPSHOT) != 0]
    assert np.array_equal(rows, mbo[: len(rows)])
    assert set(rows["ts_recv"].tolist()) == {1_748_822_400 * 10**9}
    assert (rows["ts_event"] < rows["ts_recv"]).all()
    for i in np.unique(rows["instrument_id"]):
        own = rows[rows["instrument_id"] == i]
        assert own["action"].tolist() == [b"R"] + [b"A"] * (len(own) - 1)
        assert own["flags"].tolist() == [40] * (len(own) - 1) + [168]
        assert own["price"][0] == 2**63 - 1
        assert (np.diff(own["ts_event"].astype(np.int64)) >= 0).all()


def test_sunday_begins_with_a_clear_and_the_carried_orders(weeks: Sample) -> None:
    friday = Book()
    books: dict[int, Book] = {4_916: friday}
    for day in ("20250601", "20250602", "20250603", "20250604", "20250605", "20250606"):
        for _ in expected_rows(weeks.read(day, "mbo"), books):
            pass
    carried = friday.priority()
    assert carried
    sunday = weeks.read("20250608", "mbo")
    own = sunday[sunday["instrument_id"] == 4_916]
    assert own["action"][0] == b"R"
    assert own["flags"][0] == LAST
    end = int(np.flatnonzero(own["flags"] & LAST)[1]) + 1
    fresh: dict[int, Book] = {}
    for _ in expected_rows(own[:end], fresh):
        pass
    assert fresh[4_916].priority() == carried


def test_trades_are_the_prints_of_mbp_and_of_mbo(sample: Sample) -> None:
    names = ["ts_recv", "ts_event", "instrument_id", "price", "size", "side", "sequence"]
    for day in sample.days:
        trades = sample.read(day, "trades")
        assert set(trades["rtype"].tolist()) == {0}
        assert set(trades["length"].tolist()) == {12}
        for schema in ("mbo", "mbp-10"):
            records = sample.read(day, schema)
            prints = records[records["action"] == b"T"]
            for name in names:
                assert np.array_equal(trades[name], prints[name]), (schema, name)


def test_no_book_is_crossed_or_locked_outside_the_pre_open(sample: Sample) -> None:
    rows = sample.all("mbp-10")
    ends = rows[(rows["action"] != b"T") & (rows["flags"] & LAST != 0)]
    both = (ends["bid_px_00"] != 2**63 - 1) & (ends["ask_px_00"] != 2**63 - 1)
    crossed = ends[both & (ends["bid_px_00"] >= ends["ask_px_00"])]
    second = crossed["ts_event"] // 10**9 % 86_400
    assert len(crossed) > 0
    # Pre-open from 21:45 UTC until the auction of the instrument at 22:00.
    assert second.min() >= 21.75 * 3_600
    assert second.max() < 22 * 3_600
