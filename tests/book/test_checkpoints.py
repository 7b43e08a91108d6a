"""Checkpoints of a day: where they are, what going on from them gives, and files by threads."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.book import checkpoints
from pipeline.book.checkpoints import Stop, pieces
from pipeline.book.stage import read_chunks
from pipeline.catalog import LakeCatalog
from pipeline.lake import open_lake
from pipeline.lanes import Lanes
from pipeline.parquet import ParquetFile
from pipeline.stage import Stored
from tests.book.support import Market, chunk_of, plain, run_engine, wild
from tests.book.test_stage import run, split, table
from tests.reference.records import LAST, SNAPSHOT, Rec

EVERY = 128


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.book.stage.EVERY", EVERY)
    monkeypatch.setattr(checkpoints, "RECORDS_PER_ORDER", 1)


def stored_checkpoints(lake: Path) -> list[Stored]:
    return list(LakeCatalog(lake).partitions("book_checkpoints"))


def files(lake: Path) -> dict[str, str]:
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(lake.rglob("*.parquet"))
    }


@pytest.mark.parametrize("mode", ["full", "touch", "grid", "none"])
def test_each_stored_checkpoint_leads_to_the_same_rows(tmp_path: Path, mode: str) -> None:
    records = Market(random.Random(11)).run(1200)[:1200]
    run(tmp_path, {("2024-01-02", "X"): records}, materialise=mode)
    whole = run_engine(records, materialise=mode)
    [stored] = stored_checkpoints(tmp_path)
    assert len(stored.files) == 1200 // EVERY

    for number in range(len(stored.files)):
        after = (number + 1) * EVERY
        before = run_engine(records[:after], finish=False, materialise=mode)
        state = Stop(stored, number).state()
        rest = run_engine(records[after:], state=state, materialise=mode)
        for all_rows, first, second in zip(whole.tables, before.tables, rest.tables, strict=True):
            assert all_rows.equals(pa.concat_tables([first, second]))
        assert rest.engine.quality() == whole.engine.quality()
        if number == 4 and mode == "full":
            for name, first, second in zip(NAMES, before.tables, rest.tables, strict=True):
                assert written(tmp_path, name, [first, second]) == content(tmp_path, name)


NAMES = ("book", "flow", "trades")


def written(folder: Path, name: str, parts: list[pa.Table]) -> str:
    """Hash of the bytes of a file that these rows are written to."""
    declared = {"book": tables.book_table(), "flow": tables.FLOW, "trades": tables.TRADES}[name]
    file = ParquetFile(folder / f"again-{name}.parquet", declared, {})
    for part in parts:
        file.write(part)
    file.close()
    return file.content("{}")


def content(lake: Path, name: str) -> str:
    [stored] = LakeCatalog(lake).partitions(name)
    return stored.content


def test_carried_days_have_checkpoints_too(tmp_path: Path) -> None:
    records = [r for r in Market(random.Random(2)).run(1300) if not r.flags & SNAPSHOT][:900]
    run(tmp_path, split(records, [300, 601]))
    assert [len(stored.files) for stored in stored_checkpoints(tmp_path)] == [2, 2, 2]
    second = Stop(stored_checkpoints(tmp_path)[1], 0).state()
    start = records[300 + EVERY :][: 301 - EVERY]
    rest = run_engine(start, state=second, date=20240103)
    assert rest.engine.quality()["start"] == "unknown"  # as its chain began
    assert (
        plain(rest.book)[-1]["bid_px_00"]
        == (plain(table(tmp_path, "book", "2024-01-03"))[-1]["bid_px_00"])
    )


def test_a_small_day_has_none(tmp_path: Path) -> None:
    run(tmp_path, {("2024-01-02", "X"): Market(random.Random(1)).run(EVERY - 1)[: EVERY - 1]})
    assert not stored_checkpoints(tmp_path)


def test_a_huge_book_is_stored_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many orders that the records up to the next multiple would not pay for storing them."""
    monkeypatch.setattr(checkpoints, "RECORDS_PER_ORDER", 2)
    orders = EVERY * 3
    day = 1_704_153_600 * 10**9
    adds = [
        Rec(day + i, day, i, i, 10**9 * i, 1, LAST, 0, "A", "B", i) for i in range(1, orders + 1)
    ]
    quiet = [
        Rec(day + orders + i, day, i, 0, 2**63 - 1, 0, LAST, 0, "N", "N", i)
        for i in range(4 * EVERY)
    ]
    run(tmp_path, {("2024-01-02", "X"): adds + quiet})
    [stored] = stored_checkpoints(tmp_path)
    assert len(stored.files) == 1  # after six intervals of the seven
    assert stored.rows == orders


def test_none_inside_a_huge_event_nor_while_rows_are_held_back(tmp_path: Path) -> None:
    records = wild(random.Random(3), 4 * EVERY, 3)
    run(tmp_path, {("2024-01-02", "X"): records}, materialise="grid")
    assert not stored_checkpoints(tmp_path)


def test_no_checkpoint_inside_an_event_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MOST_WAITING", EVERY - 1)
    records = [r for r in Market(random.Random(3)).run(6 * EVERY) if not r.flags & SNAPSHOT]
    records = records[: 4 * EVERY]
    long = [r._replace(flags=r.flags & ~LAST) for r in records[: 3 * EVERY - 1]]
    end = records[3 * EVERY - 1]._replace(flags=LAST)
    run(tmp_path, {("2024-01-02", "X"): [*long, end, *records[3 * EVERY :]]})
    [stored] = stored_checkpoints(tmp_path)
    assert len(stored.files) == 2  # at the event's end and later, not one and two intervals in


def test_reading_may_begin_at_any_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.parquet.rows_per_group", lambda _: 100)
    monkeypatch.setattr("pipeline.book.stage.BATCH_ROWS", 64)
    records = Market(random.Random(1)).run(450)
    run(tmp_path, {("2024-01-02", "X"): records})
    [mbo] = LakeCatalog(tmp_path).partitions("mbo")
    for first in (0, 1, 63, 64, 99, 100, 101, 250, 400, len(records) - 1, len(records)):
        read = [r for chunk in read_chunks(mbo, first) for r in chunk.records.record.tolist()]
        assert read == [r.record for r in records[first:]]


@pytest.mark.parametrize("sizes", [[1000], [1, 999], [127, 1, 1, 500, 371], [128] * 7 + [104]])
def test_pieces_are_cut_at_multiples(sizes: list[int]) -> None:
    records = Market(random.Random(1)).run(1000)[:1000]
    chunks, at = [], 0
    for size in sizes:
        chunks.append(chunk_of(records[at : at + size], at))
        at += size
    cut = list(pieces(chunks, EVERY))
    assert [r for c in cut for r in c.records.record.tolist()] == list(range(1000))
    ends = {int(c.records.record[-1]) + 1 for c in cut}
    assert set(range(EVERY, 1000, EVERY)) <= ends


@pytest.mark.parametrize("threads", [2, 4])
def test_any_number_of_threads_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr("pipeline.parquet.rows_per_group", lambda _: 100)
    monkeypatch.setattr("pipeline.book.engine._ROW_BYTES", 1)  # many batches
    days = split(Market(random.Random(9)).run(4000), [2000])
    run(tmp_path / "one", days)
    used: list[int] = []

    def lanes(_: int) -> Lanes:
        used.append(threads)
        return Lanes(threads)

    monkeypatch.setattr("pipeline.worker.Lanes", lanes)
    run(tmp_path / "many", days)
    assert used
    assert files(tmp_path / "many") == files(tmp_path / "one")


def test_a_day_whole_in_chunks_of_any_size_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two chunks, a thousand, and what the reader happens to give."""
    records = Market(random.Random(12)).run(2000)
    days: Any = {("2024-01-02", "X"): records}
    found = []
    for name, rows in (("whole", 1 << 20), ("two", 1000), ("thousand", 2)):
        monkeypatch.setattr("pipeline.book.stage.BATCH_ROWS", rows)
        run(tmp_path / name, days)
        found.append(files(tmp_path / name))
    assert found[0] == found[1] == found[2]


def test_several_parts_read_as_one_table(tmp_path: Path) -> None:
    """In Python and in SQL, like any other table."""
    run(tmp_path, {("2024-01-02", "X"): Market(random.Random(9)).run(6 * EVERY)})
    [stored] = stored_checkpoints(tmp_path)
    assert len(stored.files) == 6
    lake = open_lake(tmp_path)
    assert lake.scan("book_checkpoints").collect().height == stored.rows > 0
    counted = lake.sql("SELECT count(*) AS n, sum(size) AS size FROM book_checkpoints")
    frame = lake.scan("book_checkpoints").select(pl.col("size").cast(pl.Int64).sum()).collect()
    assert counted.row(0) == (stored.rows, frame.item())


def test_one_day_on_two_cores_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day alone gets both: its worker encodes in threads."""
    monkeypatch.undo()  # the worker process has its own constants
    days: Any = {("2024-01-02", "X"): Market(random.Random(10)).run(3000)}
    run(tmp_path / "one", days, workers=1)
    run(tmp_path / "two", days, workers=2)
    assert files(tmp_path / "two") == files(tmp_path / "one")
