"""Books of packed days are those of days with a folder a symbol, row for row."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import packing, tables
from pipeline.book.life_stage import ORDER_LIFE
from pipeline.book.queue_stage import QUEUE
from pipeline.book.stage import BOOK
from pipeline.book.state import METADATA_KEY
from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.errors import RequestError
from pipeline.lake import open_lake
from pipeline.reading import parts_of, read_table
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Stage, Task
from tests.book.support import Market, wild
from tests.book.test_stage import DAY_NS, Days, Quiet, Records, mbo_table
from tests.reference.records import SNAPSHOT, Rec

DATASET = "GLBX.MDP3"
NAMES = ("AAPL", "BRK/B", "NULL", "X", "Y", "Z")
DATES = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05")


@dataclass(frozen=True)
class PackedRecords(Records):
    """The same records, some dates packed."""

    packed: frozenset[str] = field(default_factory=frozenset)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        own = Records(self.days).plan(catalog, settings, selection)
        tasks = [t for t in own if t.partition["date"] not in self.packed]
        for date in sorted(self.packed):
            day = Partition.of(dataset=DATASET, date=date)
            together = [t.params["records"] for t in own if t.partition["date"] == date]
            tasks.append(Task(day, params={"records": together}))
        return tasks

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        symbol = task.partition.get("symbol")
        if symbol is not None:
            records = self.days[task.partition["date"], symbol]
            Records(self.days).run(task, inputs, outputs)
            for open_writer in vars(outputs)["_writers"].values():
                open_writer.note(instruments=instruments(records))
            return
        writer = outputs.packed(tables.MBO)
        for (date, symbol), records in sorted(self.days.items()):
            if date == task.partition["date"]:
                writer.start(symbol)
                writer.write(mbo_table(records))
                first = records[0]
                opens = "clear" if first.action == "R" else "flow"
                writer.note(opens_with="snapshot" if first.flags & SNAPSHOT else opens)
                writer.note(condition="available", instruments=instruments(records))


def instruments(records: Sequence[Rec]) -> list[list[int]]:
    return [list(pair) for pair in sorted({(r.publisher_id, r.instrument_id) for r in records})]


def run(
    lake: Path, days: Days, *packed: str, workers: int = 1, **book: Any
) -> tuple[StageSummary, StageSummary]:
    catalog = LakeCatalog(lake)
    settings = Settings().with_values(book=book)
    stage = PackedRecords(days, packed=frozenset(packed))
    chosen = Selection()
    first = run_stage(stage, catalog, settings, chosen, RunOptions(workers=1), Quiet())
    second = run_stage(BOOK, catalog, settings, chosen, RunOptions(workers=workers), Quiet())
    assert second.failed == second.blocked == [], second.details
    return first, second


def market_days(seed: int, names: Sequence[str] = NAMES, dates: Sequence[str] = DATES) -> Days:
    """Symbols of very different sizes; some open with snapshots, some miss days."""
    days: dict[tuple[str, str], list[Rec]] = {}
    draw = random.Random(seed)
    for n, name in enumerate(names):
        length = (900, 40, 5, 300, 1, 120)[n % 6]
        whole = wild(draw, 4 * length, 2) if name == "Z" else Market(draw).run(4 * length)
        if n % 2:
            whole = [r for r in whole if not r.flags & SNAPSHOT] or whole[:1]
        for i, date in enumerate(dates):
            if (n + i) % 5 == 4:
                continue
            rows = whole[i * len(whole) // 4 : (i + 1) * len(whole) // 4] or whole[-1:]
            days[date, name] = later(rows, i)
    days |= opening_with_snapshots(draw, names[0], dates)
    return days


def later(rows: Sequence[Rec], days: int) -> list[Rec]:
    return [
        r._replace(ts_recv=r.ts_recv + days * DAY_NS, ts_event=min(r.ts_event, 2**62)) for r in rows
    ]


def opening_with_snapshots(draw: random.Random, name: str, dates: Sequence[str]) -> Days:
    """Days that begin with the book as it was; a day's last records were lost."""
    market = Market(draw)
    market.run(400)
    days = {}
    for i, date in enumerate(dates):
        start = len(market.out)
        market.snapshot()
        market.last()
        market.run(start + 400)
        days[date, name] = later(market.out[start : len(market.out) - 20 * (i % 2)], i)
    return days


TABLES = ("mbo", "book", "flow", "trades", "book_state", "book_counts", "quality")


def everything(lake: Path) -> Mapping[tuple[str, str], Any]:
    catalog = LakeCatalog(lake)
    return {
        (name, item.partition.path): (
            read_table(item),
            item.notes,
            [part.metadata.get(METADATA_KEY) for part in parts_of(item)],
        )
        for name in catalog.tables()
        for item in catalog.partitions(name)
    }


def assert_same(a: Path, b: Path) -> None:
    one, two = everything(a), everything(b)
    assert one.keys() == two.keys()
    assert {name for name, _ in one} >= set(TABLES)
    for key, (rows, notes, state) in one.items():
        other, other_notes, other_state = two[key]
        assert rows.equals(other), key
        assert (notes, state) == (other_notes, other_state), key


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups, parts and distances between checkpoints that small days reach."""
    monkeypatch.setattr("pipeline.book.stage.EVERY", 64)
    monkeypatch.setattr(packing, "rows_per_group", lambda table: 256)
    monkeypatch.setattr(packing, "PART_GROUPS", 4)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("packed", [DATES, DATES[::2], DATES[1::2]], ids="+".join)
def test_the_layout_of_days_changes_no_row(tmp_path: Path, packed: tuple[str, ...]) -> None:
    """Packed days go on from others and others from packed ones; snapshots are compared."""
    days = market_days(11)
    run(tmp_path / "symbols", days)
    run(tmp_path / "packed", days, *packed)
    assert_same(tmp_path / "symbols", tmp_path / "packed")
    quality = [rows for (name, _), (rows, *_) in everything(tmp_path / "packed").items()
               if name == "quality"]  # fmt: skip
    starts = {value for rows in quality for value in rows["start"].to_pylist()}
    assert {"carried", "snapshot"} <= starts
    assert any(v for rows in quality for v in rows["roll_mismatch_orders"].to_pylist())
    names = LakeCatalog(tmp_path / "packed").tables()
    assert {"book_checkpoints", "consolidated"} <= set(names)
    assert_same_instants(tmp_path / "symbols", tmp_path / "packed")


def assert_same_instants(a: Path, b: Path) -> None:
    """The book at some instants, also before a day's first event and after checkpoints."""
    one, two = open_lake(a), open_lake(b)
    draw = random.Random(1)
    for item in one.partitions("book"):
        if item.partition["symbol"] == "Z" or not item.rows:
            continue  # of several publishers
        times = read_table(item, ["ts_recv"])["ts_recv"].cast(pa.int64()).to_pylist()
        midnight = min(times) // DAY_NS * DAY_NS
        for ts in (midnight, times[-1] + 10**9, draw.choice(times)):
            try:
                wanted = one.book_at(item.partition["symbol"], ts)
            except RequestError as error:
                with pytest.raises(RequestError, match=re.escape(str(error).split(":")[-1])):
                    two.book_at(item.partition["symbol"], ts)
                continue
            found = two.book_at(item.partition["symbol"], ts)
            assert found.orders.equals(wanted.orders)
            assert (found.event, found.valid) == (wanted.event, wanted.valid)


@pytest.mark.parametrize("mode", ["touch", "grid", "none"])
def test_other_materialisations(tmp_path: Path, mode: str) -> None:
    days = market_days(5, NAMES[:3], DATES[:2])
    run(tmp_path / "symbols", days, materialise=mode, depth=3)
    run(tmp_path / "packed", days, *DATES, materialise=mode, depth=3)
    assert set(LakeCatalog(tmp_path / "packed").tables()) == set(
        LakeCatalog(tmp_path / "symbols").tables()
    )
    one, two = everything(tmp_path / "symbols"), everything(tmp_path / "packed")
    assert all(one[key][0].equals(two[key][0]) for key in one)
    assert one.keys() == two.keys()


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("stage", [ORDER_LIFE, QUEUE], ids=lambda s: s.name)
def test_tables_on_request_are_the_same(tmp_path: Path, stage: Stage) -> None:
    days = market_days(7, NAMES[:4], DATES[:3])
    lives = []
    for name, packed in (("symbols", ()), ("packed", DATES[::2])):
        run(tmp_path / name, days, *packed)
        catalog = LakeCatalog(tmp_path / name)
        options = RunOptions(workers=1)
        summary = run_stage(stage, catalog, Settings(), Selection(), options, Quiet())
        assert summary.failed == summary.blocked == [], summary.details
        found = catalog.partitions(stage.name)
        lives.append({item.partition.path: read_table(item) for item in found})
    one, two = lives
    assert one.keys() == two.keys()
    assert sum(rows.num_rows for rows in one.values()) > 500
    assert all(rows.equals(two[key]) for key, rows in one.items())


def test_workers_change_no_byte(tmp_path: Path) -> None:
    days = market_days(3, NAMES[:4], DATES[:2])
    run(tmp_path / "1", days, *DATES[:2], workers=1)
    run(tmp_path / "2", days, *DATES[:2], workers=2)
    files = [p for p in (tmp_path / "1").rglob("*") if p.is_file() and p.name != ".lock"]
    assert len(files) > 20
    for path in files:
        assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes()


def test_a_symbol_that_changes_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    days = dict(market_days(7, NAMES[:4], DATES[:2]))
    run(tmp_path, days, *DATES[:2])
    assert run(tmp_path, days, *DATES[:2])[1].done == 0
    before = contents(tmp_path)
    key = (DATES[0], "AAPL")
    days[key] = days[key][:-100]
    _, summary = run(tmp_path, days, *DATES[:2])
    assert summary.done
    after = contents(tmp_path)
    changed = {key for key in before if before[key] != after[key]}
    assert {symbol for _, _, symbol in changed} == {"AAPL"}
    assert {name for name, date, _ in changed if date == DATES[0]} == set(TABLES)


def contents(lake: Path) -> Mapping[tuple[str, str, str], str]:
    catalog = LakeCatalog(lake)
    return {
        (name, item.partition["date"], item.partition["symbol"]): item.content
        for name in TABLES
        for item in catalog.partitions(name)
    }


def test_bad_records_name_their_symbol(tmp_path: Path) -> None:
    days = dict(market_days(9, NAMES[:2], DATES[:1]))
    key = (DATES[0], "BRK/B")
    days[key] = [days[key][0]._replace(action="AA")]
    catalog = LakeCatalog(tmp_path)
    stage = PackedRecords(days, packed=frozenset(DATES))
    run_stage(stage, catalog, Settings(), Selection(), RunOptions(workers=1), Quiet())
    summary = run_stage(BOOK, catalog, Settings(), Selection(), RunOptions(workers=1), Quiet())
    assert summary.exit_code == 1
    assert summary.failed[0][1].startswith("BRK/B: ")
    assert "not one letter" in summary.failed[0][1]
