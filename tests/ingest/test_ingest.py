"""The stage through the runner: what becomes of the records of one file or of many."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path

import databento_dbn as dbn
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.catalog import LakeCatalog
from pipeline.ingest import stage as stage_module
from pipeline.tables import MBO, SOURCES
from tests.ingest.making import (
    D0,
    DAY,
    T0,
    contents,
    ingest,
    mbo,
    part,
    partitions,
    rows_equal,
    table,
    write,
)


def test_real_files_arrive_record_for_record(real_data: Path, lake: Path) -> None:
    import databento

    folders = [real_data / "esh4", real_data / "esm4-snapshot"]
    summary = ingest(lake, *folders)
    assert (summary.done, summary.failed) == (4, [])
    for path in sorted(p for folder in folders for p in folder.glob("*.mbo.dbn.zst")):
        expected = databento.DBNStore.from_bytes(path.read_bytes()).to_ndarray()
        day = dt.date.fromisoformat(path.name[10:18])
        rows = table(lake, "mbo", date=day)
        assert rows.schema.equals(MBO.schema(), check_metadata=False)
        rows = rows.set_column(5, MBO.columns[5].field(), pc.fill_null(rows["price"], 2**63 - 1))
        rows_equal(rows, expected)
        assert rows["record"].to_pylist() == list(range(len(expected)))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert set(rows["source"].to_pylist()) == {digest[:16]}


def test_sources_account_for_every_record(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn.zst", mbo(100, ids=(1, 2, 1)), symbols={"ESM5": 1, "ESU5": 2})
    ingest(lake, raw)
    rows = table(lake, "sources")
    assert rows.schema.equals(SOURCES.schema(), check_metadata=False)
    by_symbol = {row["symbol"]: row for row in rows.to_pylist()}
    assert by_symbol["ESM5"]["rows"] == 67
    assert by_symbol["ESU5"]["rows"] == 33
    for row in by_symbol.values():
        assert row["records_in"] == 100
        assert (row["rejected"], row["reject_reasons"]) == (0, "{}")
        assert row["date"] == D0
        assert row["price_gcd"] == 250_000_000
        assert row["file"] == "a.mbo.dbn.zst"


def test_a_second_run_has_nothing_to_do(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn.zst", mbo(10))
    assert ingest(lake, raw).done == 1
    again = ingest(lake, raw)
    assert (again.done, again.up_to_date) == (0, 1)


def test_a_file_of_two_days_feeds_both(raw: Path, lake: Path) -> None:
    records = mbo(10, start=T0 + DAY - 5000)
    write(raw / "a.mbo.dbn", records, end=T0 + 2 * DAY)
    ingest(lake, raw)
    assert partitions(lake, "mbo") == [f"GLBX.MDP3 {D0} ESM5", "GLBX.MDP3 2025-05-02 ESM5"]
    rows_equal(table(lake, "mbo", date=D0), records[:5])
    rows_equal(table(lake, "mbo", date="2025-05-02"), records[5:])


def test_many_instruments_are_split_and_keep_their_place(raw: Path, lake: Path) -> None:
    ids = tuple(range(1, 24))
    records = mbo(5000, ids=ids)
    write(raw / "a.mbo.dbn.zst", records, symbols={f"S{i}": i for i in ids}, stype_in="raw_symbol")
    ingest(lake, raw)
    assert len(partitions(lake, "mbo")) == 23
    for i in ids:
        rows = table(lake, "mbo", symbol=f"S{i}")
        mine = records["instrument_id"] == i
        rows_equal(rows, records[mine])
        assert rows["record"].to_pylist() == np.flatnonzero(mine).tolist()


def test_sorting_first_gives_the_same_bytes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tuple(range(1, 60))
    symbols = {f"S{i}": i for i in ids}
    write(raw / "a.mbo.dbn.zst", mbo(6000, ids=ids), symbols=symbols)
    ingest(tmp_path / "one", raw)
    monkeypatch.setattr(stage_module, "SMALL_BYTES", 0)
    ingest(tmp_path / "many", raw)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_row_groups_do_not_show_chunks_or_workers(raw: Path, tmp_path: Path) -> None:
    for day in range(3):
        start = T0 + day * DAY
        records = mbo(3000, start=start, seed=day)
        write(raw / f"{day}.mbo.dbn.zst", records, start=start, end=start + DAY)
    ingest(tmp_path / "one", raw)
    ingest(tmp_path / "two", raw, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_an_unmapped_instrument_is_kept_under_its_number(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn", mbo(9, ids=(1, 77, 77)))
    summary = ingest(lake, raw)
    assert partitions(lake, "mbo") == [f"GLBX.MDP3 {D0} #77", f"GLBX.MDP3 {D0} ESM5"]
    assert "no symbol for 1 instrument (#77), 6 records" in summary.warnings[0][1]


def test_two_ids_of_one_symbol_stay_together_in_file_order(raw: Path, lake: Path) -> None:
    records = mbo(10, ids=(1, 2))
    write(raw / "a.mbo.dbn", records, stype_in="instrument_id", stype_out="raw_symbol",
          symbols={"1": "ESM5", "2": "ESM5"})  # fmt: skip
    ingest(lake, raw)
    rows = table(lake, "mbo")
    rows_equal(rows, records)
    stored = LakeCatalog(lake).get("mbo", part())
    assert stored is not None
    assert stored.notes["instruments"] == [[1, 1], [1, 2]]


@pytest.mark.parametrize(
    ("flags", "actions", "expected"),
    [
        ([40, 40, 168], b"AAA", "snapshot"),
        ([8, 40, 168], b"RAA", "snapshot"),
        ([40, 40, 168], b"RAA", "snapshot"),
        ([128, 128, 128], b"RAA", "clear"),
        ([128, 128, 128], b"AAA", "flow"),
        ([128, 40, 168], b"ARA", "flow"),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_how_a_day_opens(
    raw: Path,
    lake: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[int],
    actions: bytes,
    expected: str,
    limit: int,
) -> None:
    records = mbo(3)
    records["flags"], records["action"] = flags, [actions[i : i + 1] for i in range(3)]
    monkeypatch.setattr("pipeline.ingest.dbn.DbnReader.__init__.__kwdefaults__",
                        {"chunk_bytes": 56 * limit}, raising=True)  # fmt: skip
    write(raw / "a.mbo.dbn", records)
    ingest(lake, raw)
    stored = LakeCatalog(lake).get("mbo", part())
    assert stored is not None
    assert stored.notes["opens_with"] == expected
    assert table(lake, "sources")["opens_with"].to_pylist() == [expected]


def test_records_without_any_time_are_counted_as_rejected(raw: Path, lake: Path) -> None:
    records = mbo(5)
    records["ts_recv"][2] = records["ts_event"][2] = 2**64 - 1
    records["ts_recv"][3] = 2**64 - 1
    write(raw / "a.mbo.dbn", records)
    ingest(lake, raw)
    assert table(lake, "mbo")["record"].to_pylist() == [0, 1, 3, 4]
    row = table(lake, "sources").to_pylist()[0]
    assert (row["records_in"], row["rows"], row["rejected"]) == (5, 4, 1)
    assert json.loads(row["reject_reasons"]) == {"no_time": 1}


def test_a_file_without_records_leaves_its_row(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn.zst", b"")
    assert ingest(lake, raw).done == 1
    row = table(lake, "sources").to_pylist()[0]
    assert (row["records_in"], row["rows"], row["symbol"]) == (0, 0, None)
    assert partitions(lake, "mbo") == []


def test_a_live_capture_is_split_by_schema(real_data: Path, lake: Path) -> None:
    ingest(lake, real_data / "formats" / "mixed-schemas.live.dbn.zst")
    tables = set(LakeCatalog(lake).tables())
    assert tables == {
        "mbo",
        "sources",
        *(f"vendor_{s}" for s in ("definition", "mbp_1", "mbp_10", "ohlcv_1m", "ohlcv_1s")),
        "vendor_statistics",
        "vendor_trades",
    }
    rows = table(lake, "sources").to_pylist()
    assert {row["symbol"] for row in rows} == {"ESZ4"}
    assert {row["records_in"] for row in rows} == {46}
    assert sum(row["rows"] for row in rows) == 26
    assert {row["reject_reasons"] for row in rows} == {'{"symbol_mapping": 20}'}


def test_the_condition_of_a_day_is_carried(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn", mbo(5))
    days = [{"date": "2025-05-01", "condition": "degraded"}]
    (raw / "condition.json").write_text(json.dumps(days))
    ingest(lake, raw)
    assert table(lake, "sources")["condition"].to_pylist() == ["degraded"]
    stored = LakeCatalog(lake).get("mbo", part())
    assert stored is not None
    assert stored.notes["condition"] == "degraded"
    days[0]["condition"] = "available"
    (raw / "condition.json").write_text(json.dumps(days))
    assert ingest(lake, raw).done == 1


def test_the_smallest_price_of_all_is_a_price(raw: Path, lake: Path) -> None:
    """Its distance from 0 is no Int64: the divisor of the prices must not be, either."""
    records = mbo(5)
    records["price"] = -(2**63)
    write(raw / "a.mbo.dbn", records)
    assert ingest(lake, raw).failed == []
    [source] = table(lake, "sources").to_pylist()
    assert source["price_gcd"] == 2**62


def test_other_schemas_go_to_vendor_tables(real_data: Path, lake: Path) -> None:
    ingest(lake, real_data / "esu4-vendor", real_data / "datasets")
    assert table(lake, "vendor_mbp_1", symbol="ESU4").num_rows == 2288
    assert table(lake, "vendor_trades", symbol="ESU4").num_rows == 120
    assert table(lake, "vendor_ohlcv_1m").num_rows == 60
    assert table(lake, "vendor_definition", symbol="BRN FMJ0024!").num_rows == 1
    prices = table(lake, "vendor_mbp_10", symbol="NVDA")["bid_px_09"]
    assert prices.type == pa.int64()


def test_continuous_symbols_are_resolved_by_symbology_json(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn", mbo(4), stype_in="continuous", symbols={"ES.c.0": 1})
    ingest(lake, raw)
    assert partitions(lake, "mbo") == [f"GLBX.MDP3 {D0} #1"]
    tree = {
        "result": {"ESM5": [{"d0": "2025-05-01", "d1": "2025-05-02", "s": "1"}]},
        "stype_in": "raw_symbol",
        "stype_out": "instrument_id",
    }
    (raw / "symbology.json").write_text(json.dumps(tree))
    assert ingest(lake, raw).done == 1
    assert partitions(lake, "mbo") == [f"GLBX.MDP3 {D0} ESM5"]


def test_continuous_symbols_are_resolved_by_definitions(raw: Path, lake: Path) -> None:
    definition = np.zeros(1, np.dtype(dbn.InstrumentDefMsg._dtypes))
    definition["length"], definition["rtype"], definition["instrument_id"] = 130, 19, 1
    definition["ts_recv"] = definition["ts_event"] = T0
    definition["raw_symbol"], definition["expiration"] = b"ESM5", T0 + 50 * DAY
    definition["instrument_class"] = b"F"
    write(raw / "a.definition.dbn", definition, schema="definition", stype_in="continuous",
          symbols={"ES.c.0": 1})  # fmt: skip
    write(raw / "a.mbo.dbn", mbo(4), stype_in="continuous", symbols={"ES.c.0": 1})
    ingest(lake, raw)
    assert partitions(lake, "mbo") == [f"GLBX.MDP3 {D0} ESM5"]
    assert partitions(lake, "vendor_definition") == [f"GLBX.MDP3 {D0} ESM5"]
