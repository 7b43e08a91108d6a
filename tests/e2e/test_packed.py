"""Packed days through the commands: the same tables, answers and runs as with a folder a symbol."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.many_symbols import DAY, names, run, sizes
from benchmarks.symbol_days import day_of, write
from pipeline.catalog import LakeCatalog
from pipeline.lake import open_lake
from pipeline.packing import members
from pipeline.reading import parts_of, read_table
from pipeline.sql import query_frame
from tests.book.support import run_engine
from tests.e2e.running import digest, mbo, mbo_process
from tests.e2e.test_kill import kill_at

PACKED = {"mbo", "book", "flow", "trades", "book_state", "book_counts", "quality"}

AS_OF = (
    "SELECT t.symbol, count(b.event) AS n FROM trades t "
    "ASOF JOIN book b ON t.symbol = b.symbol AND t.event >= b.event GROUP BY ALL"
)


@pytest.fixture(scope="module")
def packed_lake(sample_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample packed, through ingest, book and features."""
    lake = tmp_path_factory.mktemp("packed") / "lake"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MBO_LAKE__LAYOUT", "packed")
        mbo("ingest", sample_raw, "--lake", lake, "--workers", "1").checked()
    mbo("features", "--lake", lake, "--workers", "1").checked()
    return lake


def test_every_table_is_the_same(packed_lake: Path, feature_lake: Path) -> None:
    one, two = LakeCatalog(feature_lake), LakeCatalog(packed_lake)
    assert one.tables() == two.tables()
    for table in one.tables():
        plain, packed = one.partitions(table), two.partitions(table)
        assert [s.partition for s in plain] == [s.partition for s in packed]
        assert (table in PACKED or table.startswith("vendor_")) == any(s.inside for s in packed)
        for a, b in zip(plain, packed, strict=True):
            assert read_table(a).equals(read_table(b)), (table, a.partition)
            assert a.notes == b.notes
    folders = {path.parent.name for path in (packed_lake / "book").rglob("*.parquet")}
    assert all(name.startswith("date=") for name in folders)


def test_scans_and_queries_give_the_same_answers(packed_lake: Path, feature_lake: Path) -> None:
    one, two = open_lake(feature_lake), open_lake(packed_lake)
    for table in ("mbo", "book", "trades", "vendor_mbp_10", "quality", "features"):
        symbol = one.partitions(table)[-1].partition["symbol"]
        for symbols in (None, symbol, [symbol, "nothing"], "*5"):
            a, b = one.scan(table, symbols=symbols), two.scan(table, symbols=symbols)
            assert a.collect_schema() == b.collect_schema()
            assert a.collect().equals(b.collect()), (table, symbols)
    for query in (
        "SELECT symbol, date, count(*) AS n, sum(size) AS contracts FROM trades GROUP BY ALL",
        "SELECT symbol, avg(ask_px_00 - bid_px_00) AS spread FROM book WHERE valid GROUP BY ALL",
        AS_OF,
        "SELECT symbol, expiration, count(*) AS n FROM mbo GROUP BY ALL",
    ):
        a, b = (query_frame(lake, f"{query} ORDER BY ALL") for lake in (feature_lake, packed_lake))
        assert a.height > 1
        assert a.equals(b), query


def test_backtests_are_the_same(packed_lake: Path, feature_lake: Path, tmp_path: Path) -> None:
    tables = []
    symbol = open_lake(feature_lake).partitions("features")[0].partition["symbol"]
    for name, lake in (("symbols", feature_lake), ("packed", packed_lake)):
        copy = tmp_path / name
        shutil.copytree(lake, copy)
        strategy = ("mean_reversion", "-p", "entry_z=1.5", "-p", "cover=0", "--symbols", symbol)
        mbo("backtest", *strategy, "--lake", copy, "--workers", "1", "--quiet").checked()
        opened = open_lake(copy)
        fills = opened.run(opened.run_ids()[0]).fills.drop("run_id").collect()
        tables.append(fills)
    assert tables[0].height
    assert tables[0].equals(tables[1])


def test_looking_around(packed_lake: Path, tmp_path: Path) -> None:
    status = json.loads(mbo("status", "--lake", packed_lake, "--json").checked().out)
    rows = {row["table"]: row for row in status["tables"]}
    plain = open_lake(packed_lake).partitions("book")
    assert rows["book"]["partitions"] == len(plain)
    assert rows["book"]["rows"] == sum(item.rows for item in plain)
    assert status["orphans"] == status["strays"] == []
    day, symbol = plain[0].inside, plain[0].partition["symbol"]
    assert day is not None
    for path in (
        packed_lake / "book" / day.path / "part-0.parquet",
        packed_lake / "book" / day.path,
        packed_lake / "book" / plain[0].partition.path,
    ):
        text = mbo("lineage", path, "--lake", packed_lake).checked().out
        assert ".dbn.zst" in text
    result = mbo("book-at", symbol, "2030-01-01", "--lake", packed_lake)
    assert result.code in (0, 2)
    assert "Traceback" not in result.err


def test_gc_takes_a_packed_day_away_whole(
    sample_raw: Path, packed_lake: Path, tmp_path: Path
) -> None:
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    shutil.copytree(sample_raw, raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MBO_LAKE__LAYOUT", "packed")
        mbo("ingest", raw, "--lake", lake, "--workers", "1", "--quiet").checked()
    assert list((lake / "_index").rglob("*.json"))
    shutil.rmtree(raw)
    mbo("gc", "--yes", "--lake", lake).checked()
    assert not list(lake.rglob("*.parquet"))
    assert not list((lake / "_index").rglob("*.json"))


@pytest.mark.parametrize("point", ["between-renames", "before-commit"])
def test_killed_at_a_commit(
    sample_raw: Path, packed_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Over an older result: what is half replaced counts as not done."""
    monkeypatch.setenv("MBO_LAKE__LAYOUT", "packed")
    lake = tmp_path / "lake"
    shutil.copytree(packed_lake, lake)
    arguments = ("ingest", sample_raw, "--lake", lake, "--force", "--workers", "1")
    assert mbo_process(*arguments, MBO_TEST_CRASH_AT=point).returncode == -9
    broken = LakeCatalog(lake)
    assert len(broken.commits("ingest")) == len(LakeCatalog(packed_lake).commits("ingest")) - 1
    mbo("ingest", sample_raw, "--lake", lake, "--workers", "1").checked()
    assert digest(lake) == digest(packed_lake)
    assert everything(lake) == everything(packed_lake)


def everything(lake: Path) -> dict[tuple[str, str], str]:
    catalog = LakeCatalog(lake)
    return {
        (table, item.partition.path): item.content
        for table in catalog.tables()
        for item in catalog.partitions(table)
    }


@pytest.mark.parametrize("count", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_runs_give_the_same_bytes(
    sample_raw: Path, packed_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setenv("MBO_LAKE__LAYOUT", "packed")
    rng = random.Random(8)
    lake = tmp_path / "lake"
    killed = 0
    for round_ in range(count):
        arguments = ("ingest", sample_raw) if round_ % 2 else ("book",)
        if not round_ % 2 and not (lake / "mbo").is_dir():
            mbo("ingest", sample_raw, "--lake", lake, "--workers", "1").checked()
        workers = str(1 + round_ // 2 % 2)
        killed += kill_at(
            rng.uniform(0, 0.4), *arguments, "--lake", lake, "--force", "--workers", workers
        )
    assert killed
    mbo("ingest", sample_raw, "--lake", lake, "--workers", "1").checked()
    mbo("book", "--lake", lake, "--workers", "2").checked()
    later = ("features/", "labels/", "volumes/", "rolls/")
    wanted = {k: v for k, v in digest(packed_lake).items() if not k.startswith(later)}
    assert digest(lake) == wanted


@pytest.mark.parametrize(
    ("symbols", "records", "peak"),
    [
        (600, 18_000, 600),
        pytest.param(11_000, 10_000_000, 1_400, marks=pytest.mark.slow),
    ],
)
def test_very_many_symbols_in_bounded_memory(
    tmp_path: Path, symbols: int, records: int, peak: float
) -> None:
    """Skewed symbols in one file: every record arrives, books are the engine's, memory is small."""
    counts = sizes(symbols, records)
    known = names(symbols)
    day = day_of(counts.tolist(), DAY)
    raw, lake = tmp_path / "raw" / "day.mbo.dbn.zst", tmp_path / "lake"
    write(raw, known, day, DAY)
    for stage in (["ingest", raw], ["book"]):
        *_, used = run([*stage, "--lake", lake, "--workers", "1", "--quiet"])
        print(f"{stage[0]}: {symbols:,} symbols, {len(day):,} records, peak {used:,.0f} MiB")
        assert used < peak
    catalog = LakeCatalog(lake)
    [whole] = catalog.outputs("book")
    assert whole.index is not None
    assert set(members(whole)) == set(known)
    assert sum(item.rows for item in catalog.partitions("mbo")) == len(day)
    opened = open_lake(lake)
    for number in [*random.Random(2).sample(range(symbols), 6), int(counts.argmax()), 0, 1]:
        mine = day[day["instrument_id"] == number + 1]
        rows = opened.scan("mbo", symbols=[known[number]]).collect()
        assert (rows["order_id"].to_numpy() == mine["order_id"]).all()
        assert (
            rows["record"].to_list() == np.flatnonzero(day["instrument_id"] == number + 1).tolist()
        )
        wanted = run_engine(mine, date=20250501)
        for table, expected in zip(("book", "flow", "trades"), wanted.tables, strict=True):
            [item] = opened.partitions(table, symbols=[known[number]])
            drop = {"record"} & set(expected.column_names)
            found = pl.DataFrame(pl.from_arrow(read_table(item)))
            frame = pl.DataFrame(pl.from_arrow(expected))
            assert found.drop(drop).equals(frame.drop(drop)), (table, known[number])
            assert sum(part.rows for part in parts_of(item)) == item.rows
