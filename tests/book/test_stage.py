"""The stage on the runner: tables in the lake, carried days, resumption, settings."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import tables
from pipeline.book.stage import BOOK
from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.errors import RequestError
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, TableRef, Task
from tests.book.support import Market, plain, run_engine, wild
from tests.reference.book import reference_day
from tests.reference.records import LAST, SNAPSHOT, UNDEF, Rec

DAY_NS = 86_400 * 10**9
Days = Mapping[tuple[str, str], Sequence[Rec]]


class Quiet:
    def stage_started(self, *_: Any) -> None: ...
    def warming(self, *_: Any) -> None: ...
    def task_started(self, *_: Any) -> None: ...
    def task_progress(self, *_: Any) -> None: ...
    def task_finished(self, *_: Any) -> None: ...
    def stage_finished(self, *_: Any) -> None: ...


@dataclass(frozen=True)
class Records:
    """A stage that puts given records into `mbo`, as ingest would."""

    days: Days = field(hash=False)
    name: str = "ingest"
    version: int = 1
    tables: Sequence[str] = ("mbo",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        return [
            Task(
                Partition.of(dataset="GLBX.MDP3", date=date, symbol=symbol),
                params={"records": repr(records)},
            )
            for (date, symbol), records in self.days.items()
        ]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        records = self.days[task.partition["date"], task.partition["symbol"]]
        writer = outputs.writer(tables.MBO)
        writer.write(mbo_table(records))
        first = records[0]
        opens = "clear" if first.action == "R" else "flow"
        writer.note(opens_with="snapshot" if first.flags & SNAPSHOT else opens)
        writer.note(condition="available")

    def warm(self) -> None: ...


def mbo_table(records: Sequence[Rec]) -> pa.Table:
    columns: dict[str, Any] = {name: [getattr(r, name) for r in records] for name in Rec._fields}
    columns["price"] = [None if v == UNDEF else v for v in columns["price"]]
    columns["ts_event"] = [None if v == UNDEF else v for v in columns["ts_event"]]
    columns |= {"ts_in_delta": [0] * len(records), "source": ["0" * 16] * len(records)}
    return pa.Table.from_pydict(columns, schema=tables.MBO.schema())


def run(
    lake: Path, days: Days, *, workers: int = 1, selection: Selection | None = None, **book: Any
) -> StageSummary:
    catalog = LakeCatalog(lake)
    settings = Settings().with_values(book=book)
    options = RunOptions(workers=1)
    run_stage(Records(days), catalog, settings, Selection(), options, Quiet())
    chosen = selection or Selection()
    options = RunOptions(workers=workers)
    summary = run_stage(BOOK, catalog, settings, chosen, options, Quiet())
    assert summary.failed == summary.blocked == [], summary.details
    return summary


def table(lake: Path, name: str, date: str = "2024-01-02", symbol: str = "X") -> pa.Table:
    where = Partition.of(dataset="GLBX.MDP3", date=date, symbol=symbol)
    return pq.read_table(lake / name / where.path / "part-0.parquet", partitioning=None)


def digest(lake: Path) -> dict[str, str]:
    catalog = LakeCatalog(lake)
    return {
        f"{name} {item.partition.path}": item.content
        for name in catalog.tables()
        for item in catalog.partitions(name)
    }


def split(records: Sequence[Rec], cuts: Sequence[int]) -> Days:
    """Days cut from one stream; each starts a UTC day later."""
    places = [0, *cuts, len(records)]
    days = {}
    for n, (start, stop) in enumerate(pairwise(places)):
        rows = [
            r._replace(ts_recv=r.ts_recv + n * DAY_NS, ts_event=r.ts_event + n * DAY_NS)
            for r in records[start:stop]
        ]
        days[f"2024-01-{n + 2:02d}", "X"] = rows
    return days


def test_without_flow_the_rest_is_the_same(tmp_path: Path) -> None:
    days = split(Market(random.Random(4)).run(300), (100, 200))
    run(tmp_path / "with", days)
    run(tmp_path / "without", days, flow=False)
    kept = ("book ", "trades ", "quality ")
    expected = {k: v for k, v in digest(tmp_path / "with").items() if k.startswith(kept)}
    without = digest(tmp_path / "without")
    assert len(expected) == 9
    assert {k: v for k, v in without.items() if k.startswith(kept)} == expected
    assert not [name for name in without if name.startswith("flow ")]


def test_flow_that_is_not_wanted_any_more_goes(tmp_path: Path) -> None:
    days = {("2024-01-02", "X"): wild(random.Random(5), 300)}
    run(tmp_path, days)
    run(tmp_path, days, flow=False)
    assert LakeCatalog(tmp_path).partitions("flow") == []
    assert not list((tmp_path / "flow").rglob("*.parquet"))


def test_the_lake_holds_what_the_reference_says(tmp_path: Path) -> None:
    records = wild(random.Random(3), 500)
    run(tmp_path, {("2024-01-02", "X"): records})
    wanted = reference_day(records, 20240102)

    assert plain(table(tmp_path, "book")) == wanted.book
    assert len(wanted.trades) == table(tmp_path, "trades").num_rows > 0
    assert table(tmp_path, "flow")["event"].equals(table(tmp_path, "book")["event"])
    [quality] = plain(table(tmp_path, "quality"))
    assert quality["condition"] == "available"
    assert quality["roll_mismatch_orders"] is None
    for name, value in wanted.quality.items():
        assert quality[name] == value
    assert table(tmp_path, "book").schema.remove_metadata().equals(tables.book_table(10).schema())


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    days = split(Market(random.Random(1)).run(300), [100])
    assert run(tmp_path, days).done == 4
    assert run(tmp_path, days).done == 0


def test_days_without_a_snapshot_go_on_from_the_day_before(tmp_path: Path) -> None:
    records = [r for r in Market(random.Random(2)).run(600) if not r.flags & SNAPSHOT]
    clear = records[0]._replace(action="R", side="N", price=UNDEF, size=0, flags=LAST)
    records = [clear, *records]
    days = split(records, [200, 401])
    run(tmp_path, days)

    whole = run_engine([r for rows in days.values() for r in rows], date=20240102)
    rows = [row for date, _ in days for row in plain(table(tmp_path, "book", date))]
    assert [{**row, "event": 0} for row in rows] == [
        {**row, "event": 0} for row in plain(whole.book)
    ]
    starts = [table(tmp_path, "quality", date)["start"][0].as_py() for date, _ in days]
    assert starts == ["clear", "carried", "carried"]


def test_one_and_two_workers_give_the_same_content(tmp_path: Path) -> None:
    days = dict(split(Market(random.Random(4)).run(300), [100, 200]))
    days |= {(date, "Y"): rows for (date, _), rows in list(days.items())}
    run(tmp_path / "1", days, workers=1)
    run(tmp_path / "2", days, workers=2)
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_recomputation_stops_where_the_carried_state_is_the_same(tmp_path: Path) -> None:
    """A change that leaves the closing state alone makes only its own day again."""
    records = [r for r in Market(random.Random(5)).run(300) if not r.flags & SNAPSHOT]
    days = dict(split(records, [100, 200]))
    run(tmp_path, days)
    first = days["2024-01-02", "X"]
    trade = first[-1]._replace(action="T", order_id=0, flags=LAST)
    days["2024-01-02", "X"] = [trade._replace(ts_recv=first[0].ts_recv), *first]

    summary = run(tmp_path, days)

    assert summary.done == 2  # the day and its quality
    days["2024-01-02", "X"] = first
    run(tmp_path, days)
    assert run(tmp_path, days).done == 0


def test_a_snapshot_is_compared_with_what_was_carried(tmp_path: Path) -> None:
    first = [
        Rec(
            1_704_153_600 * 10**9 + i, 0, i, i, 100, 2, 40 | (LAST if i == 3 else 0), 0, "A", "B", i
        )
        for i in (1, 2, 3)
    ]
    second = [r._replace(ts_recv=r.ts_recv + DAY_NS) for r in first]
    second[1] = second[1]._replace(size=9)
    days = {("2024-01-02", "X"): first, ("2024-01-03", "X"): second}
    run(tmp_path, days)
    assert table(tmp_path, "quality")["roll_mismatch_orders"][0].as_py() is None
    assert table(tmp_path, "quality", "2024-01-03")["roll_mismatch_orders"][0].as_py() == 1


def test_a_day_selected_alone_brings_the_days_it_is_carried_from(tmp_path: Path) -> None:
    import datetime as dt

    days = split(
        [r for r in Market(random.Random(6)).run(300) if not r.flags & SNAPSHOT], [100, 200]
    )
    run(tmp_path / "all", days)
    last = dt.date(2024, 1, 4)
    run(tmp_path / "one", days, selection=Selection(start=last, end=last))
    assert digest(tmp_path / "one") == digest(tmp_path / "all")


def test_a_late_earlier_day_makes_the_days_that_hang_on_it_again(tmp_path: Path) -> None:
    """Found later, it gives an unknown start its state; the result is as if all had been there."""
    records = [r for r in Market(random.Random(6)).run(600) if not r.flags & SNAPSHOT][:300]
    clear = records[0]._replace(action="R", side="N", price=UNDEF, size=0, flags=LAST)
    days = dict(split([clear, *records], [100, 200]))
    later = {key: rows for key, rows in days.items() if key[0] != "2024-01-02"}
    run(tmp_path / "late", later)
    starts = [table(tmp_path / "late", "quality", date)["start"][0].as_py() for date, _ in later]
    assert starts == ["unknown", "unknown"]
    assert not any(table(tmp_path / "late", "book", "2024-01-04")["valid"].to_pylist())

    summary = run(tmp_path / "late", days)

    assert summary.done == 6
    run(tmp_path / "once", days)
    assert digest(tmp_path / "late") == digest(tmp_path / "once")
    assert table(tmp_path / "late", "quality", "2024-01-04")["start"][0].as_py() == "carried"
    assert all(table(tmp_path / "late", "book", "2024-01-04")["valid"].to_pylist())


def test_an_unknown_start_is_valid_from_the_first_clear_or_snapshot_on(tmp_path: Path) -> None:
    records = [r for r in Market(random.Random(6)).run(600) if not r.flags & SNAPSHOT][:300]
    clear = records[150]._replace(action="R", side="N", price=UNDEF, size=0, flags=LAST)
    records = [*records[:150], clear, *records[150:]]
    run(tmp_path, split(records, [250]))
    rows = plain(table(tmp_path, "book"))
    since = next(i for i, row in enumerate(rows) if row["valid"])
    assert rows[since]["ts_recv"] == clear.ts_recv
    assert since > 0
    assert all(row["valid"] for row in rows[since:])
    assert table(tmp_path, "quality")["start"][0].as_py() == "unknown"
    # The next day starts from a state that is known by then.
    assert table(tmp_path, "quality", "2024-01-03")["start"][0].as_py() == "carried"
    assert all(table(tmp_path, "book", "2024-01-03")["valid"].to_pylist())


def test_days_that_open_with_a_snapshot_or_a_clear_wait_for_none(tmp_path: Path) -> None:
    """Chains break there, so that their segments run in parallel."""
    flow = [r for r in Market(random.Random(6)).run(300) if not r.flags & SNAPSHOT][:50]
    clear = flow[0]._replace(action="R", side="N", price=UNDEF, size=0, flags=LAST)
    snapshot = flow[0]._replace(flags=SNAPSHOT | LAST, action="A", side="B", price=1, size=1)
    opens = [[clear], [], [snapshot], [], [clear], []]
    days = dict(split([r for first in opens for r in [*first, *flow]], [51, 101, 152, 202, 253]))
    run(tmp_path, days)

    tasks = BOOK.plan(LakeCatalog(tmp_path), Settings(), Selection())

    books = [task for task in tasks if task.partition.get("check") is None]
    waits = {task.partition["date"]: states(task) for task in books}
    assert waits == {
        "2024-01-02": [],
        "2024-01-03": ["2024-01-02"],
        "2024-01-04": [],
        "2024-01-05": ["2024-01-04"],
        "2024-01-06": [],
        "2024-01-07": ["2024-01-06"],
    }


def states(task: Task) -> list[str]:
    """Days whose closing state a task reads."""
    refs = [ref for ref in task.inputs if isinstance(ref, TableRef)]
    return [ref.partition["date"] for ref in refs if ref.table == "book_state"]


def test_a_long_gap_carries_nothing(tmp_path: Path) -> None:
    days = split(Market(random.Random(7)).run(200), [100])
    first, second = days.values()
    later = [r._replace(ts_recv=r.ts_recv + 8 * DAY_NS) for r in second if not r.flags & SNAPSHOT]
    run(tmp_path, {("2024-01-02", "X"): first, ("2024-01-11", "X"): later})
    assert table(tmp_path, "quality", "2024-01-11")["start"][0].as_py() == "unknown"


@pytest.mark.parametrize("mode", ["touch", "grid"])
def test_other_materialisations(tmp_path: Path, mode: str) -> None:
    records = Market(random.Random(8)).run(300)
    run(tmp_path, {("2024-01-02", "X"): records}, materialise=mode, depth=5)
    wanted = run_engine(records, materialise=mode, depth=5, date=20240102)
    assert plain(table(tmp_path, "book")) == plain(wanted.book)
    assert plain(table(tmp_path, "flow")) == plain(wanted.flow)
    assert plain(table(tmp_path, "trades")) == plain(wanted.trades)


def test_none_keeps_state_and_quality_only(tmp_path: Path) -> None:
    days = {("2024-01-02", "X"): Market(random.Random(8)).run(300)}
    run(tmp_path, days)
    full = digest(tmp_path)
    run(tmp_path, days, materialise="none")
    catalog = LakeCatalog(tmp_path)
    assert set(catalog.tables()) == {"mbo", "book_state", "book_counts", "quality"}
    assert not (tmp_path / "book").exists() or not list((tmp_path / "book").rglob("*.parquet"))
    run(tmp_path, days, materialise="full")
    assert digest(tmp_path) == full


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"depth": 51}, "1 to 50"),
        ({"materialise": "fulll"}, "did you mean 'full'"),
        ({"materialise": "grid", "grid": "0"}, "book.grid is 0"),
        ({"materialise": "grid", "grid": "soon"}, "book.grid: 'soon' is not a duration"),
        ({"assume_valid_after": "1x"}, "book.assume_valid_after"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(tmp_path: Path, setting: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        run(tmp_path, {("2024-01-02", "X"): wild(random.Random(1), 9)}, **setting)


def test_a_record_that_is_no_record_is_a_readable_error(tmp_path: Path) -> None:
    days = {("2024-01-02", "X"): [wild(random.Random(1), 1)[0]._replace(action="AA")]}
    catalog = LakeCatalog(tmp_path)
    options = RunOptions(workers=1)
    run_stage(Records(days), catalog, Settings(), Selection(), options, Quiet())
    summary = run_stage(BOOK, catalog, Settings(), Selection(), options, Quiet())
    assert summary.exit_code == 1
    assert "not one letter" in summary.failed[0][1]
