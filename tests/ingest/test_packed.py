"""Days of many symbols: sorted outside of memory, packed, the same rows as with a folder each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.ingest import spill as spill_module
from pipeline.ingest.sinks import SinkKey
from pipeline.ingest.spill import Owner, Spill
from pipeline.reading import read_table
from pipeline.stage import Partition
from tests.ingest.making import D0, DATASET, DAY, T0, ingest, mbo, rows_equal, write

NAMES = ["AAPL", "BRK/B", "NULL", "..", "A B", "a=b%", *(f"S{i:03}" for i in range(50))]
SYMBOLS = {name: number for number, name in enumerate(NAMES, 1)}


def chosen(raw: Path, layout: str = "auto", above: int = 20, **more: Any) -> Settings:
    lake = {"layout": layout, "packed_above": above}
    return Settings().with_values(raw={"paths": (str(raw),), **more}, lake=lake)


def skewed(count: int, *, start: int = T0, seed: int = 0, schema: str = "mbo") -> Any:
    """Records of many instruments: a few have most, many have one or two; 99 has no symbol."""
    rng = np.random.default_rng(seed)
    records = mbo(count, start=start, seed=seed, schema=schema)
    ids = np.minimum(rng.zipf(1.3, count), 10_000) % 60
    records["instrument_id"] = np.where(ids == 0, 99, ids)
    return records


def everything(lake: Path) -> Mapping[tuple[str, str], Any]:
    catalog = LakeCatalog(lake)
    return {
        (name, item.partition.path): (read_table(item), item.notes)
        for name in catalog.tables()
        for item in catalog.partitions(name)
    }


def assert_same(a: Path, b: Path) -> None:
    one, two = everything(a), everything(b)
    assert one.keys() == two.keys()
    for key, (rows, notes) in one.items():
        assert rows.equals(two[key][0]), key
        assert notes == two[key][1], key


def packed_days(lake: Path, table: str = "mbo") -> list[str]:
    outputs = LakeCatalog(lake).outputs(table)
    return [item.partition["date"] for item in outputs if item.index is not None]


def files(lake: Path) -> dict[str, str]:
    return {
        str(p.relative_to(lake)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(lake.rglob("*"))
        if p.is_file() and p.name != ".lock" and "_commits" not in p.parts
    }


def test_both_layouts_hold_the_same(raw: Path, tmp_path: Path) -> None:
    """Of several tables, symbols awkward in paths, an instrument without a symbol, two days."""
    records = np.concatenate([skewed(4000), skewed(3000, start=T0 + DAY, seed=1)])
    write(raw / "a.mbo.dbn.zst", records, symbols=SYMBOLS, end=T0 + 2 * DAY)
    trades = skewed(900, schema="trades", seed=2)
    write(raw / "b.trades.dbn.zst", trades, symbols=SYMBOLS, schema="trades")
    ingest(tmp_path / "symbols", raw, chosen=chosen(raw, "symbols"), with_instruments=True)
    ingest(tmp_path / "packed", raw, chosen=chosen(raw), with_instruments=True)
    assert_same(tmp_path / "symbols", tmp_path / "packed")
    assert packed_days(tmp_path / "packed") == [str(D0), str(D0.replace(day=D0.day + 1))]
    assert packed_days(tmp_path / "packed", "vendor_trades") == [str(D0)]
    for name in ("BRK/B", "NULL", "..", "#99"):
        rows = LakeCatalog(tmp_path / "packed").get(
            "mbo", Partition.of(dataset=DATASET, date=D0, symbol=name)
        )
        assert rows is not None
        mine = records["instrument_id"] == SYMBOLS.get(name, 99)
        first_day = records["ts_recv"] < T0 + DAY
        rows_equal(read_table(rows), records[mine & first_day])
    day = tmp_path / "packed" / "mbo" / f"dataset={DATASET}" / f"date={D0}"
    assert [path.name for path in day.iterdir()] == ["part-0.parquet"]


def test_runs_and_workers_change_no_byte(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        start = T0 + n * DAY
        records = skewed(5000, start=start, seed=n)
        write(raw / f"{n}.mbo.dbn.zst", records, symbols=SYMBOLS, start=start, end=start + DAY)
    ingest(tmp_path / "two workers", raw, chosen=chosen(raw), workers=2)
    ingest(tmp_path / "one run", raw, chosen=chosen(raw))
    monkeypatch.setattr(spill_module.Spill.__init__, "__defaults__", (20_000,))
    monkeypatch.setattr(spill_module, "READ_RECORDS", 100)
    ingest(tmp_path / "many runs", raw, chosen=chosen(raw))
    assert files(tmp_path / "one run") == files(tmp_path / "two workers")
    assert files(tmp_path / "one run") == files(tmp_path / "many runs")


@pytest.mark.parametrize(("above", "packed"), [(2, True), (3, False)])
def test_the_number_of_symbols_with_records_decides(
    raw: Path, lake: Path, above: int, packed: bool
) -> None:
    """Sixty are mapped, three have records."""
    write(raw / "a.mbo.dbn", mbo(30, ids=(1, 2, 3)), symbols=SYMBOLS)
    ingest(lake, raw, chosen=chosen(raw, above=above))
    assert packed_days(lake) == ([str(D0)] if packed else [])
    assert len(LakeCatalog(lake).partitions("mbo")) == 3


def test_a_file_without_mappings_may_hold_any_number(raw: Path, lake: Path) -> None:
    records = mbo(100, ids=tuple(range(1, 51)))
    write(raw / "a.mbo.dbn", records, symbols={})
    ingest(lake, raw, chosen=chosen(raw))
    assert packed_days(lake) == [str(D0)]
    found = LakeCatalog(lake).partitions("mbo")
    assert [item.partition["symbol"] for item in found] == sorted(f"#{i}" for i in range(1, 51))


def test_packed_and_symbols_can_be_asked_for(raw: Path, tmp_path: Path) -> None:
    write(raw / "a.mbo.dbn", mbo(30))
    ingest(tmp_path / "packed", raw, chosen=chosen(raw, "packed"))
    ingest(tmp_path / "auto", raw, chosen=chosen(raw))
    assert packed_days(tmp_path / "packed") == [str(D0)]
    assert packed_days(tmp_path / "auto") == []
    assert_same(tmp_path / "auto", tmp_path / "packed")


def test_files_of_one_symbol_each_make_one_packed_day(raw: Path, tmp_path: Path) -> None:
    """As a download split by symbols is: one task a day, however many files."""
    records = mbo(900, ids=tuple(range(1, 31)))
    for number in range(1, 31):
        mine = records[records["instrument_id"] == number]
        write(raw / f"S{number}.mbo.dbn.zst", mine, symbols={f"S{number:02}": number})
    ingest(tmp_path / "symbols", raw, chosen=chosen(raw, "symbols"))
    ingest(tmp_path / "packed", raw, chosen=chosen(raw))
    assert packed_days(tmp_path / "packed") == [str(D0)]
    assert len(LakeCatalog(tmp_path / "packed").commits("ingest")) == 1
    for number in (1, 17, 30):
        key = Partition.of(dataset=DATASET, date=D0, symbol=f"S{number:02}")
        one, two = (LakeCatalog(tmp_path / n).get("mbo", key) for n in ("symbols", "packed"))
        assert one is not None
        assert two is not None
        assert read_table(one).equals(read_table(two))
        assert one.notes == two.notes


def test_two_files_of_a_day(raw: Path, tmp_path: Path) -> None:
    """One after the other: both; overlapping with the newest preferred: the rest is lost."""
    one, two = skewed(1500), skewed(1500, start=T0 + DAY // 2, seed=1)
    write(raw / "a.mbo.dbn.zst", one, symbols=SYMBOLS)
    write(raw / "b.mbo.dbn.zst", two, symbols=SYMBOLS)
    for layout in ("symbols", "auto"):
        ingest(tmp_path / layout, raw, chosen=chosen(raw, layout))
    assert_same(tmp_path / "symbols", tmp_path / "auto")
    newer = skewed(1000, seed=3)
    newer = newer[newer["instrument_id"] < 10]
    write(raw / "c.mbo.dbn.zst", newer, symbols=SYMBOLS)
    for layout in ("symbols", "auto"):
        summary = ingest(tmp_path / layout, raw, chosen=chosen(raw, layout, prefer="newest"))
        assert any("superseded" in line for _, line in summary.warnings)
    assert_same(tmp_path / "symbols", tmp_path / "auto")


def test_a_changed_layout_is_made_anew(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn.zst", skewed(1000), symbols=SYMBOLS)
    ingest(lake, raw, chosen=chosen(raw, "symbols"))
    wanted = files(lake)
    assert ingest(lake, raw, chosen=chosen(raw)).done == 1
    assert packed_days(lake) == [str(D0)]
    assert not list((lake / "mbo").rglob("symbol=*/*.parquet"))
    assert ingest(lake, raw, chosen=chosen(raw)).done == 0
    ingest(lake, raw, chosen=chosen(raw, "symbols"))
    now = files(lake)
    assert {p: h for p, h in now.items() if "_cache" not in p} == {
        p: h for p, h in wanted.items() if "_cache" not in p
    }


def test_a_day_packed_from_other_files_is_not_replaced(raw: Path, lake: Path) -> None:
    """Each ingested alone; together they are one packed day."""
    records = mbo(900, ids=tuple(range(1, 61)))
    low = records["instrument_id"] <= 30
    names = {number: name for name, number in SYMBOLS.items()} | {n: f"T{n}" for n in range(57, 61)}
    for name, mine in (("a", records[low]), ("b", records[~low])):
        symbols = {names[int(n)]: int(n) for n in np.unique(mine["instrument_id"])}
        write(raw / f"{name}.mbo.dbn", mine, symbols=symbols)
    first, second = raw / "a.mbo.dbn", raw / "b.mbo.dbn"
    ingest(lake, first, chosen=chosen(first))
    kept = everything(lake)
    summary = ingest(lake, second, chosen=chosen(second))
    assert "packs mbo of 2025-05-01, which is packed from a.mbo.dbn" in summary.failed[0][1]
    assert everything(lake).keys() == kept.keys()
    assert ingest(lake, raw, chosen=chosen(raw)).failed == []
    assert len(LakeCatalog(lake).partitions("mbo")) == 60
    assert len(LakeCatalog(lake).commits("ingest")) == 1


def test_a_damaged_file_leaves_nothing(raw: Path, lake: Path) -> None:
    path = write(raw / "a.mbo.dbn.zst", skewed(3000), symbols=SYMBOLS)
    path.write_bytes(path.read_bytes()[:-20])
    summary = ingest(lake, raw, chosen=chosen(raw))
    assert "truncated" in summary.failed[0][1]
    assert LakeCatalog(lake).partitions("mbo") == []
    assert not list((lake / "_tmp").iterdir())


def test_a_bad_record_is_named_with_its_file(raw: Path, lake: Path) -> None:
    records = skewed(500)
    records["action"][321] = b"\xff"
    write(raw / "a.mbo.dbn", records, symbols=SYMBOLS)
    summary = ingest(lake, raw, chosen=chosen(raw))
    assert f"{raw / 'a.mbo.dbn'}: record 321: action is the byte 255" in summary.failed[0][1]


@settings(max_examples=60, deadline=None)
@given(
    deals=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), max_size=30),
    run_bytes=st.integers(1, 4000),
    two_types=st.booleans(),
)
def test_spilled_records_come_back_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    deals: list[tuple[int, int]],
    run_bytes: int,
    two_types: bool,
) -> None:
    lake = tmp_path_factory.getbasetemp()
    kinds = [np.dtype([("a", "<i8"), ("b", "<u2")]), np.dtype([("a", "<i8")])]
    spill = Spill(lake, run_bytes)
    wanted: dict[tuple[SinkKey, int], list[int]] = {}
    number = 0
    for owner, count in deals:
        kind = kinds[owner % 2 if two_types else 0]
        own = Owner(SinkKey("mbo", owner // 4, f"S{owner % 4}"), owner % 3)
        records = np.zeros(count, kind)
        records["a"] = np.arange(number, number + count)
        codes = np.full(count, spill.code(own), np.uint32)
        spill.add(records, np.arange(number, number + count, dtype=np.uint64), codes)
        wanted.setdefault(tuple(own), []).extend(range(number, number + count))
        number += count
    found: dict[tuple[SinkKey, int], list[int]] = {}
    seen = []
    for key, pieces in spill.partitions():
        seen.append(key)
        for piece in pieces:
            assert piece.records["a"].tolist() == piece.numbers.tolist()
            found.setdefault((key, piece.file), []).extend(piece.records["a"].tolist())
    spill.close()
    assert seen == sorted({key for key, _ in wanted})
    assert list(found) == sorted(wanted)
    assert found == wanted
