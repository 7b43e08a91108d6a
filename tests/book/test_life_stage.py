"""`order_life` on the runner: carried days, on request only, the same bytes whatever the way."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline import tables
from pipeline.book.life_stage import ORDER_LIFE
from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Selection
from tests.book.support import MIDNIGHT, Market, plain, run_engine
from tests.book.test_stage import DAY_NS, Days, Quiet, Records, digest, run, split, table
from tests.reference.life import reference_lives
from tests.reference.records import SNAPSHOT


def run_life(lake: Path, *, workers: int = 1, **book: Any) -> StageSummary:
    settings = Settings().with_values(book=book)
    options = RunOptions(workers=workers)
    return run_stage(ORDER_LIFE, LakeCatalog(lake), settings, Selection(), options, Quiet())


def days_without_snapshots(seed: int) -> Days:
    records = [r for r in Market(random.Random(seed)).run(1200) if not r.flags & SNAPSHOT]
    return split(records[:900], [300, 601])


def test_a_row_per_order_and_day(tmp_path: Path) -> None:
    days = days_without_snapshots(1)
    run(tmp_path, days)
    assert "order_life" not in LakeCatalog(tmp_path).tables()

    assert run_life(tmp_path).done == 3

    first, second, _ = (list(rows) for rows in days.values())
    dates = [date for date, _ in days]
    found = [table(tmp_path, "order_life", date) for date in dates]
    assert plain(found[0]) == reference_lives(first, 20240102, MIDNIGHT)
    wanted = reference_lives(second, 20240103, MIDNIGHT + DAY_NS, before=first)
    assert plain(found[1]) == wanted
    assert found[1].schema.remove_metadata().equals(tables.ORDER_LIFE.schema())


def test_lives_join_over_midnight(tmp_path: Path) -> None:
    """What rests at the end of a day is carried into the next, order for order, and the parts
    add up to the life the order would have had in one long day.
    """
    days = days_without_snapshots(2)
    run(tmp_path, days)
    run_life(tmp_path)
    rows = [plain(table(tmp_path, "order_life", date)) for date, _ in days]
    for earlier, later in pairwise(rows):
        rests = {r["order_id"]: r["left_size"] for r in earlier if r["outcome"] == "resting"}
        carried = {r["order_id"]: r["first_size"] for r in later if r["entered"] == "carried"}
        assert rests == carried
        assert rests
    everything = [r for records in days.values() for r in records]
    whole = {r["order_id"]: r for r in reference_lives(everything, 20240102, MIDNIGHT)}
    for oid, life in whole.items():
        parts = [r for day in rows for r in day if r["order_id"] == oid]
        for name in ("fill_size", "size_executed", "size_added", "size_cancelled", "refills"):
            assert sum(r[name] for r in parts) == life[name]
        assert parts[-1]["outcome"] == life["outcome"]
        assert parts[0]["entered_ahead_size"] == life["entered_ahead_size"]


def test_a_second_run_does_nothing_and_workers_do_not_matter(tmp_path: Path) -> None:
    days = days_without_snapshots(3)
    for workers in (1, 2):
        lake = tmp_path / str(workers)
        run(lake, days)
        assert run_life(lake, workers=workers).done == 3
        assert run_life(lake).done == 0
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_the_depth_of_the_book_does_not_matter_but_validity_does(tmp_path: Path) -> None:
    days = days_without_snapshots(4)
    run(tmp_path, days)
    run_life(tmp_path)
    lives = [table(tmp_path, "order_life", date) for date, _ in days]
    run(tmp_path, days, depth=3, materialise="touch")
    run_life(tmp_path, depth=3, materialise="touch")
    assert [table(tmp_path, "order_life", date) for date, _ in days] == lives
    assert not any(table(tmp_path, "order_life")["valid"].to_pylist())
    run(tmp_path, days, assume_valid_after="1ms")
    assert run_life(tmp_path, assume_valid_after="1ms").done == 3
    assert any(table(tmp_path, "order_life")["valid"].to_pylist())


def test_it_agrees_with_the_book_it_stands_beside(tmp_path: Path) -> None:
    records = Market(random.Random(5)).run(900)
    days = {("2024-01-02", "X"): records}
    run(tmp_path, days)
    run_life(tmp_path)
    ran = run_engine(records)
    rows = plain(table(tmp_path, "order_life"))
    book = {r["event"]: r for r in plain(ran.book)}
    state = {r["order_id"]: r for r in plain(table(tmp_path, "book_state"))}

    resting = {r["order_id"]: r for r in rows if r["outcome"] == "resting"}
    assert resting.keys() == state.keys()
    for oid, row in resting.items():
        assert row["left_ahead_orders"] == state[oid]["position"]
        assert (row["left_size"], row["price"]) == (state[oid]["size"], state[oid]["price"])
    joined = [r for r in rows if r["entered_event"] in book]
    assert joined
    assert all(r["entered_ts_recv"] == book[r["entered_event"]]["ts_recv"] for r in joined)


def test_records_of_another_stage_are_needed(tmp_path: Path) -> None:
    """Without the carried state of the day before there is nothing to start from."""
    catalog = LakeCatalog(tmp_path)
    options = RunOptions(workers=1)
    days = days_without_snapshots(6)
    run_stage(Records(days), catalog, Settings(), Selection(), options, Quiet())
    summary = run_life(tmp_path)
    assert (summary.done, len(summary.blocked)) == (1, 2)
    assert "needs book_state" in summary.blocked[0][1]
