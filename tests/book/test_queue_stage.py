"""`queue` on the runner: carried days, packed days, tick sizes, the same bytes whatever the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.book.queue_columns import QUEUE_FIELDS
from pipeline.book.queue_stage import QUEUE
from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.errors import RequestError
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Task
from tests.book.support import MIDNIGHT, plain
from tests.book.test_life_stage import days_without_snapshots
from tests.book.test_stage import DAY_NS, Days, Quiet, digest, run, table
from tests.reference.queue_rows import reference_queue

NAMES = list(QUEUE_FIELDS)


@dataclass(frozen=True)
class Ticks:
    """A stage that knows the tick size of a symbol."""

    tick: int
    symbol: str = "X"
    name: str = "instruments"
    version: int = 1
    tables: Sequence[str] = ("instruments",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        return [Task(Partition.of(dataset="GLBX.MDP3"), params={"tick": self.tick})]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        row = dict.fromkeys(tables.INSTRUMENTS.schema().names)
        row |= {"symbol": self.symbol, "instrument_id": 1, "publisher_id": 1}
        row |= {"first_date": date(2024, 1, 1), "last_date": date(2024, 12, 31)}
        row |= {"tick_size": self.tick}
        schema = tables.INSTRUMENTS.schema()
        outputs.writer(tables.INSTRUMENTS).write(pa.Table.from_pylist([row], schema=schema))

    def warm(self) -> None: ...


def run_queue(lake: Path, *, workers: int = 1, **book: Any) -> StageSummary:
    settings = Settings().with_values(book=book)
    options = RunOptions(workers=workers)
    return run_stage(QUEUE, LakeCatalog(lake), settings, Selection(), options, Quiet())


def know_tick(lake: Path, tick: int) -> None:
    run_stage(
        Ticks(tick), LakeCatalog(lake), Settings(), Selection(), RunOptions(workers=1), Quiet()
    )


def wanted(lake: Path, days: Days, tick: int) -> list[list[dict[str, Any]]]:
    """What the reference makes of two days, at the rows of the lake's book."""
    records = [list(rows) for rows in days.values()]
    found = []
    for k, (day, _) in enumerate(list(days)[:2]):
        book = plain(table(lake, "book", day))
        rows = [(row["event"], row["ts_recv"]) for row in book]
        number, start = int(day.replace("-", "")), MIDNIGHT + k * DAY_NS
        before = records[0] if k else None
        found.append(
            reference_queue(records[k], number, start, rows, NAMES, tick=tick, before=before)
        )
    return found


@pytest.mark.parametrize("book", [{}, {"materialise": "touch"}, {"materialise": "grid"}])
def test_a_row_beside_every_row_of_the_book(tmp_path: Path, book: dict[str, str]) -> None:
    days = days_without_snapshots(1)
    run(tmp_path, days, **book)
    assert "queue" not in LakeCatalog(tmp_path).tables()
    know_tick(tmp_path, 250_000_000)

    assert run_queue(tmp_path, **book).done == 3

    dates = [day for day, _ in days]
    found = [table(tmp_path, "queue", day) for day in dates]
    for ours, theirs in zip(found, wanted(tmp_path, days, 250_000_000), strict=False):
        assert plain(ours) == [{name: row[name] for name in NAMES} for row in theirs]
    for ours, day in zip(found, dates, strict=True):
        assert ours["event"].equals(table(tmp_path, "book", day)["event"])
    assert found[0].schema.remove_metadata().equals(tables.QUEUE.schema())


def test_another_tick_size_is_another_table(tmp_path: Path) -> None:
    days = days_without_snapshots(2)
    run(tmp_path, days)
    assert run_queue(tmp_path).done == 3
    unknown = table(tmp_path, "queue")
    behind = ["bid_large_sz", "ask_large_ticks", "bid_add_1_ct", "ask_add_distance"]
    assert all(unknown[name].null_count == unknown.num_rows for name in behind)
    assert sum(unknown["bid_add_touch_ct"].to_pylist()) > 0
    assert run_queue(tmp_path).up_to_date == 3
    for tick in (250_000_000, 125_000_000):
        know_tick(tmp_path, tick)
        assert run_queue(tmp_path).done == 3
        first = wanted(tmp_path, days, tick)[0]
        assert plain(table(tmp_path, "queue")) == [{n: r[n] for n in NAMES} for r in first]


def test_workers_change_no_byte(tmp_path: Path) -> None:
    days = days_without_snapshots(3)
    for workers in (1, 2):
        lake = tmp_path / str(workers)
        run(lake, days)
        assert run_queue(lake, workers=workers).done == 3
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_a_book_without_rows_is_one_clear_line(tmp_path: Path) -> None:
    run(tmp_path, days_without_snapshots(4), materialise="none")
    with pytest.raises(RequestError, match=r"book\.materialise is 'none'; set it to 'full'"):
        run_queue(tmp_path, materialise="none")
