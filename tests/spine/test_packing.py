"""Packed days: what is written symbol by symbol into shared files comes back symbol by symbol."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import packing
from pipeline.catalog import LakeCatalog
from pipeline.columns import TEXT, TS, Column
from pipeline.config import Settings
from pipeline.lake import open_lake
from pipeline.reading import Part, part_of, read_batches, read_table
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.sql import query_frame
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Stored, Task
from pipeline.tables import TRADES, Table
from tests.book.test_stage import Quiet

POINTS = Table(
    "points",
    "date",
    1,
    "point",
    (
        Column("ts_recv", TS, "ns", "time", encoding="delta"),
        Column("value", pa.int64(), "", "a value", nullable=True, encoding="plain"),
        Column("word", TEXT, "", "a word", nullable=True),
        Column("yes", pa.bool_(), "", "a flag"),
    ),
)
NAMES = ["A", "AAPL", "BRK/B", "BRN  FMF0025!", "NULL", "None", "Z%", "ß", "#17", "..", "a=b"]
DAY = Partition.of(dataset="XNAS.ITCH", date="2025-05-01")
Rows = Mapping[str, pa.Table]


def rows_of(count: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    values = rng.integers(-5, 5, count)
    return pa.Table.from_arrays(
        [
            pa.array(np.arange(count) + seed, pa.int64()).cast(TS),
            pa.array([None if v == 0 else int(v) for v in values], pa.int64()),
            pa.array([None if v == 1 else "x" * abs(int(v)) for v in values], TEXT),
            pa.array(values > 2),
        ],
        schema=POINTS.schema(),
    )


@dataclass(frozen=True)
class Points:
    """A stage that writes given rows in one of the layouts."""

    days: Mapping[str, Rows] = field(hash=False)
    layout: str = "packed"
    cuts: int = 1
    """Into how many pieces the rows of a symbol are cut before they are written."""
    name: str = "points"
    version: int = 1
    tables: Sequence[str] = ("points",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        tasks = []
        for date, rows in self.days.items():
            day = DAY.replace(date=date)
            params = {"layout": self.layout, "rows": {n: t.num_rows for n, t in rows.items()}}
            if self.layout == "packed":
                tasks.append(Task(day, params=params))
                continue
            tasks += [
                Task(Partition((*day.keys, ("symbol", name))), params=params) for name in rows
            ]
        return tasks

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        rows = self.days[task.partition["date"]]
        if self.layout == "symbols":
            outputs.writer(POINTS).write(rows[task.partition["symbol"]])
            return
        writer = outputs.packed(POINTS)
        for name in sorted(rows):
            writer.start(name, {"said": f"of {name}"})
            writer.note(first=name[:1])
            places = np.linspace(0, rows[name].num_rows, self.cuts + 1).astype(int).tolist()
            for start, stop in pairwise(places):
                writer.write(rows[name].slice(start, stop - start))

    def warm(self) -> None: ...


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of 64 rows, shared below 8, three to a part: a small day has all cases."""
    monkeypatch.setattr(packing, "rows_per_group", lambda table: 64)
    monkeypatch.setattr(packing, "PART_GROUPS", 3)


def write(lake: Path, days: Mapping[str, Rows] | Rows, **stage: Any) -> StageSummary:
    many = days if all(isinstance(v, Mapping) for v in days.values()) else {DAY["date"]: days}
    catalog = LakeCatalog(lake)
    summary = run_stage(
        Points(many, **stage), catalog, Settings(), Selection(), RunOptions(workers=1), Quiet()
    )
    assert not summary.failed, summary.details
    return summary


def stored(lake: Path) -> dict[str, Stored]:
    return {s.partition["symbol"]: s for s in LakeCatalog(lake).partitions("points")}


SIZES = {"A": 0, "AAPL": 300, "B": 3, "BRK/B": 7, "C": 2, "D": 64, "E": 8, "NULL": 1, "Z": 130}


def day_of(sizes: Mapping[str, int]) -> dict[str, pa.Table]:
    return {name: rows_of(count, n) for n, (name, count) in enumerate(sorted(sizes.items()))}


@pytest.mark.usefixtures("small_groups")
def test_every_symbol_comes_back(tmp_path: Path) -> None:
    days = day_of(SIZES)
    write(tmp_path, days)
    found = stored(tmp_path)
    assert list(found) == sorted(SIZES)
    for name, rows in days.items():
        item = found[name]
        assert item.partition == Partition((*DAY.keys, ("symbol", name)))
        assert item.rows == rows.num_rows
        assert item.notes == {"first": name[:1]}
        with part_of(item, 0) as part:
            assert part.metadata == {"said": f"of {name}"}
        assert read_table(item).equals(rows)
        assert read_table(item, ["word", "ts_recv"]).equals(rows.select(["word", "ts_recv"]))
        batches = list(read_batches(item, ["value"], 5))
        assert all(0 < batch.num_rows <= 5 for batch in batches)
        assert list(chain(*(b["value"].to_pylist() for b in batches))) == rows["value"].to_pylist()
    folder = tmp_path / "points" / DAY.path
    assert len(list(folder.glob("part-*.parquet"))) > 1


@pytest.mark.usefixtures("small_groups")
def test_row_groups_hold_large_symbols_alone_and_small_ones_together(tmp_path: Path) -> None:
    write(tmp_path, day_of(SIZES))
    for name, item in stored(tmp_path).items():
        [span] = item.spans
        with Part(item.files[0], span) as part:
            assert part.rows == SIZES[name]
            rows = [part.group_rows(group) for group in part.row_groups]
        if SIZES[name] >= 8:
            assert rows == [64] * (SIZES[name] // 64) + [r for r in [SIZES[name] % 64] if r]
            assert span.skip == 0
        elif SIZES[name]:
            [shared] = rows
            assert span.skip + SIZES[name] <= shared <= 8


@pytest.mark.usefixtures("small_groups")
def test_rows_from_a_place_on(tmp_path: Path) -> None:
    days = day_of(SIZES)
    write(tmp_path, days)
    for name, item in stored(tmp_path).items():
        for first in (0, 1, 63, 64, 65, 200, SIZES[name]):
            with part_of(item, 0) as part:
                got = [b["value"].to_pylist() for b in part.batches(["value"], 50, first=first)]
            assert list(chain(*got)) == days[name]["value"].to_pylist()[first:], (name, first)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 200), min_size=1),
    cuts=st.integers(2, 40),
)
def test_files_do_not_depend_on_chunks_nor_contents_on_neighbours(
    tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int], cuts: int
) -> None:
    folder = tmp_path_factory.mktemp("lakes")
    whole = {name: rows_of(count, len(name)) for name, count in sizes.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "rows_per_group", lambda table: 64)
        patch.setattr(packing, "PART_GROUPS", 3)
        write(folder / "1", whole)
        write(folder / "2", whole, cuts=cuts)
        files = {p.relative_to(folder / "1"): p for p in (folder / "1" / "points").rglob("*")}
        for relative, path in files.items():
            if path.is_file():
                assert path.read_bytes() == (folder / "2" / relative).read_bytes()
        alone = stored(folder / "1")
        for name, item in alone.items():
            write(folder / f"alone {len(name)}{ord(name[0])}", {name: whole[name]})
            [single] = stored(folder / f"alone {len(name)}{ord(name[0])}").values()
            assert single.content == item.content
            assert read_table(item).equals(whole[name])


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("name", ["B", "AAPL"])
def test_a_changed_value_changes_one_content(tmp_path: Path, name: str) -> None:
    days = day_of(SIZES)
    write(tmp_path / "1", days)
    rows = days[name].to_pylist()
    rows[1]["value"] = 99
    days[name] = pa.Table.from_pylist(rows, schema=POINTS.schema())
    write(tmp_path / "2", days)
    one, two = stored(tmp_path / "1"), stored(tmp_path / "2")
    assert [n for n in one if one[n].content != two[n].content] == [name]
    whole = [LakeCatalog(tmp_path / n).get("points", DAY) for n in ("1", "2")]
    assert len({item.content for item in whole if item}) == 2


@pytest.mark.usefixtures("small_groups")
def test_views_and_scans_of_both_layouts(tmp_path: Path) -> None:
    first, second, third = day_of(SIZES), day_of({**SIZES, "C": 90}), day_of({"B": 4, "ZZ": 9})
    dates = ("2025-05-01", "2025-05-02", "2025-05-05")
    days = dict(zip(dates, (first, second, third), strict=True))
    write(tmp_path / "symbols", days, layout="symbols")
    for date, layout in zip(dates, ("packed", "symbols", "packed"), strict=True):
        write(tmp_path / "mixed", {date: days[date]}, layout=layout, name=f"points {layout}")
    plain, mixed = open_lake(tmp_path / "symbols"), open_lake(tmp_path / "mixed")
    for wanted in (
        {},
        {"symbols": "B"},
        {"symbols": "B*"},
        {"symbols": "A,Z,ZZ,NULL"},
        {"start": "2025-05-02"},
        {"symbols": "AAPL", "end": "2025-05-01"},
        {"dataset": "XNAS.ITCH", "symbols": "BRK/B"},
    ):
        a, b = plain.scan("points", **wanted), mixed.scan("points", **wanted)
        assert a.collect_schema() == b.collect_schema()
        assert a.collect().equals(b.collect()), wanted
    for query in (
        "SELECT * FROM points ORDER BY ALL",
        "SELECT date, symbol, count(*) AS n FROM points GROUP BY ALL ORDER BY ALL",
        "SELECT * FROM points WHERE symbol = 'BRK/B' AND date = '2025-05-01' ORDER BY ALL",
    ):
        a, b = query_frame(tmp_path / "symbols", query), query_frame(tmp_path / "mixed", query)
        assert a.select(sorted(a.columns)).equals(b.select(sorted(b.columns)))
    columns = query_frame(tmp_path / "mixed", "SELECT * FROM points LIMIT 0").columns
    assert columns[:3] == ["dataset", "date", "symbol"]
    path = tmp_path / "mixed" / "points" / "dataset=XNAS.ITCH" / "date=2025-05-01"
    assert pl.read_parquet(path).height == sum(SIZES.values())


def test_a_scan_reads_the_row_groups_of_its_symbol_only(tmp_path: Path) -> None:
    """A damaged row group of another symbol does no harm, unless it is asked for."""
    sizes = {"A": 40_000, "B": 40_000, "C": 40_000}
    write(tmp_path, day_of(sizes))
    item = stored(tmp_path)["A"]
    with Part(item.files[0]) as part:
        start = part._file.metadata.row_group(0).column(1).data_page_offset
    path = item.files[0]
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[start : start + 2000] = bytes(2000)
    path.write_bytes(data)
    lake = open_lake(tmp_path)
    good = lake.scan("points", symbols="B").collect()
    assert good["ts_recv"].to_physical().to_list() == list(range(1, 40_001))
    with pytest.raises(pl.exceptions.PolarsError):
        lake.scan("points", symbols="A").collect()
    query = "SELECT count(value) AS n, max(epoch_ns(ts_recv)) AS last FROM points WHERE symbol = "
    assert query_frame(tmp_path, f"{query} 'B'")["last"][0] == 40_000


def test_one_layout_takes_the_place_of_the_other(tmp_path: Path) -> None:
    days = day_of({"A": 3, "B": 4})
    write(tmp_path, days, layout="symbols")
    write(tmp_path, days)
    assert stored(tmp_path)["A"].inside == DAY
    assert not list((tmp_path / "points").rglob("symbol=*/*.parquet"))
    assert len(LakeCatalog(tmp_path).commits()) == 1

    write(tmp_path, days, layout="symbols")
    found = LakeCatalog(tmp_path)
    assert [s.inside for s in found.partitions("points")] == [None, None]
    assert found.get("points", DAY) is None
    assert not list((tmp_path / "points" / DAY.path).glob("*.*"))


def test_a_run_killed_before_it_removed_the_other_layout(tmp_path: Path) -> None:
    """Both records are there: the newer one counts."""
    days = day_of({"A": 3, "B": 4})
    write(tmp_path, days, layout="symbols")
    other = tmp_path / "other"
    write(other, days)
    for path in other.rglob("*"):
        if path.is_file() and path.name != ".lock":
            target = tmp_path / path.relative_to(other)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    assert [s.inside for s in LakeCatalog(tmp_path).partitions("points")] == [DAY, DAY]


def test_what_is_damaged_is_made_again(tmp_path: Path) -> None:
    days = day_of({"A": 3, "B": 4})
    write(tmp_path, days)
    assert write(tmp_path, days).done == 0
    packing.index_path(tmp_path, "points", DAY.path).write_text("{")
    assert write(tmp_path, days).done == 1
    assert read_table(stored(tmp_path)["B"]).equals(days["B"])


def test_a_day_without_symbols_is_a_day(tmp_path: Path) -> None:
    write(tmp_path, {DAY["date"]: {}})
    catalog = LakeCatalog(tmp_path)
    day = catalog.get("points", DAY)
    assert day is not None
    assert (day.rows, catalog.partitions("points")) == (0, [])
    assert pl.read_parquet(day.files[0]).columns == ["symbol", *POINTS.schema().names]


def test_symbols_must_ascend() -> None:
    writer = packing.PackedFile(POINTS, lambda part: pytest.fail("nothing is written yet"))
    writer.start("B")
    with pytest.raises(ValueError, match="'A' after 'B'"):
        writer.start("A")


@pytest.mark.usefixtures("small_groups")
def test_a_symbol_in_several_parts(tmp_path: Path) -> None:
    """As a partition of several files: each part has its rows and metadata."""

    class InParts(Points):
        def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
            writer = outputs.packed(POINTS)
            writer.start("A")
            for n, count in enumerate((3, 0, 100)):
                writer.start("B", {"part": str(n)})
                writer.write(rows_of(count, n))

    catalog = LakeCatalog(tmp_path)
    stage = InParts({DAY["date"]: {}})
    run_stage(stage, catalog, Settings(), Selection(), RunOptions(workers=2), Quiet())
    assert list(stored(tmp_path)) == ["A", "B"]
    item = stored(tmp_path)["B"]
    assert item.rows == 103
    for n, count in enumerate((3, 0, 100)):
        with part_of(item, n) as part:
            assert part.metadata == {"part": str(n)}
            assert part.read().equals(rows_of(count, n))
    assert read_table(item).equals(pa.concat_tables([rows_of(3, 0), rows_of(100, 2)]))


def test_an_index_is_compact_and_in_order(tmp_path: Path) -> None:
    write(tmp_path, day_of(SIZES))
    tree = json.loads(packing.index_path(tmp_path, "points", DAY.path).read_text())
    assert tree["symbol"] == sorted(SIZES)
    assert tree["rows"] == [SIZES[name] for name in sorted(SIZES)]
    assert packing.packed_table(TRADES).columns[0].name == "symbol"
