"""The real ES files: every event end, the last state, the day roll, the crossed interval."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest

from pipeline.book.columns import chunk_of_structs
from pipeline.book.layout import DEFAULT_RULE
from pipeline.book.roll import opening_orders
from pipeline.book.state import closing_state, mismatches
from tests.book.fifo import passed_over
from tests.book.support import Ran, assert_same_day, read_raw, recs, run_engine
from tests.reference.book import Result, reference_day

CHRISTMAS = 20231225


@pytest.fixture(scope="module")
def christmas(real_data: Path) -> npt.NDArray[Any]:
    return read_raw(real_data / "esh4" / "glbx-mdp3-20231225.mbo.dbn.zst")


@pytest.fixture(scope="module")
def ran(christmas: npt.NDArray[Any]) -> Ran:
    return run_engine(christmas, cuts=range(997, len(christmas), 4999), date=CHRISTMAS)


@pytest.fixture(scope="module")
def wanted(christmas: npt.NDArray[Any]) -> Result:
    return reference_day(recs(christmas), CHRISTMAS, keep_ends=True)


def test_rows_numbers_and_last_orders_equal_the_reference(ran: Ran, wanted: Result) -> None:
    assert_same_day(ran, wanted)


def test_every_event_end_equals_the_reference_in_ten_levels(ran: Ran, wanted: Result) -> None:
    """Between rows the last row stands: it must be the book at every event end."""
    rows = iter(ran.book.select(["event", *_levels()]).to_pylist())
    row = next(rows)
    following = next(rows, None)
    assert len(wanted.ends) == ran.engine.quality()["events"] == 47_023
    for event, top in wanted.ends:
        while following is not None and following["event"] <= event:
            row, following = following, next(rows, None)
        for side, name in (("B", "bid"), ("A", "ask")):
            for level, (price, size, count) in enumerate(top[side]):
                i = f"{level:02d}"
                assert row[f"{name}_px_{i}"] == price
                assert row[f"{name}_sz_{i}"] == size
                assert row[f"{name}_ct_{i}"] == count


def _levels() -> list[str]:
    return [
        f"{s}_{f}_{i:02d}" for i in range(10) for f in ("px", "sz", "ct") for s in ("bid", "ask")
    ]


def test_no_orphans_after_the_snapshot(ran: Ran) -> None:
    quality = ran.engine.quality()
    assert quality["start"] == "snapshot"
    assert quality["snapshot_rows"] == 8725
    for name in ("orphan_cancels", "orphan_modifies", "duplicate_adds", "ignored"):
        assert quality[name] == 0
    assert quality["adds"] == 29_216 - 8_725
    assert (quality["cancels"], quality["modifies"]) == (17_999, 12_233)
    assert (quality["fills"], quality["trades"]) == (6_371, 2_973)
    assert quality["orphan_fills"] == 7


def test_the_book_is_crossed_in_one_interval_only(ran: Ran) -> None:
    """From 22:39:55.217 on the venue's clock to the open at 23:00."""
    book = pl.DataFrame(ran.book).with_columns(crossed=pl.col("state") == "crossed")
    runs = book.with_columns(run=pl.col("crossed").rle_id()).filter("crossed")

    assert runs["run"].n_unique() == 1
    after = book.filter(pl.col("event") > runs["event"].max())[0]
    first, open_ = runs["ts_event"][0], after["ts_event"][0]
    assert first.time().replace(microsecond=first.microsecond // 1000 * 1000) == dt.time(
        22, 39, 55, 216_000
    )
    assert first.strftime("%H:%M:%S.%f") >= "22:39:55.216500"
    assert open_ == dt.datetime(2023, 12, 25, 23, 0, tzinfo=dt.UTC)
    assert set(book["state"]) == {"normal", "crossed"}
    held = after["ts_recv"][0] - runs["ts_recv"][0]
    assert ran.engine.quality()["crossed_ns"] // 1000 == held // dt.timedelta(microseconds=1)


def test_the_day_before_ends_in_the_snapshot_of_christmas(
    real_data: Path, christmas: npt.NDArray[Any], wanted: Result
) -> None:
    eve = run_engine(read_raw(real_data / "esh4" / "glbx-mdp3-20231224.mbo.dbn.zst"), date=20231224)
    state = closing_state(eve.engine)

    opening = opening_orders([chunk_of_structs(christmas)], DEFAULT_RULE)

    assert state.orders.num_rows == opening.num_rows == 8725
    assert mismatches(state.orders, opening) == 0
    assert state.orders.drop_columns("ts_event").equals(opening.drop_columns("ts_event"))


def test_the_opening_does_not_depend_on_chunks(christmas: npt.NDArray[Any]) -> None:
    parts = [chunk_of_structs(christmas[i : i + 1000]) for i in range(0, 12_000, 1000)]
    whole = opening_orders([chunk_of_structs(christmas)], DEFAULT_RULE)
    assert opening_orders(parts, DEFAULT_RULE).equals(whole)


def test_fills_that_were_not_first_in_the_queue_are_explained(
    christmas: npt.NDArray[Any], ran: Ran
) -> None:
    """Every order that stood before a filled one is filled whole in the same event, which lists
    its fills in another order, or is cancelled in it: self-match prevention.
    """
    quality = ran.engine.quality()
    assert (quality["fifo_fills"], quality["fifo_consistent"]) == (6_229, 5_700)
    reasons = Counter(passed.reason for passed in passed_over(recs(christmas)))
    assert reasons == {"listed": 185, "cancelled": 344}


def test_the_esm4_snapshot_and_what_follows(real_data: Path) -> None:
    array = read_raw(real_data / "esm4-snapshot" / "glbx-mdp3-20240508.mbo.dbn.zst")

    ran = run_engine(array, cuts=(5000, 13_602), date=20240508)

    assert_same_day(ran, reference_day(recs(array), 20240508))
    quality = ran.engine.quality()
    assert (quality["start"], quality["clears"], quality["snapshot_rows"]) == (
        "snapshot",
        1,
        13_601,
    )
    assert quality["orphan_cancels"] == quality["orphan_modifies"] == 0
    flags = [row["event"] % 10**10 for row in ran.book.select(["event"]).to_pylist()]
    assert flags[0] == 1


@pytest.mark.parametrize("dataset", ["GLBX.MDP3", "XNAS.ITCH", "IFEU.IMPACT", "NDEX.IMPACT"])
def test_the_tiny_files_of_other_venues(real_data: Path, dataset: str) -> None:
    array = read_raw(real_data / "datasets" / dataset / "test_data.mbo.dbn.zst")
    ran = run_engine(array, date=20240101)
    assert_same_day(ran, reference_day(recs(array), 20240101))


def test_row_times_never_go_back(ran: Ran) -> None:
    times = ran.book["ts_recv"].cast(pa.int64()).to_numpy()
    events = ran.book["event"].to_numpy()
    assert (np.diff(times) >= 0).all()
    assert (np.diff(events) > 0).all()
