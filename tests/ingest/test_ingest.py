"""The stage through the runner: partitions, accounts, overlaps, refusals."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.catalog import LakeCatalog
from pipeline.errors import RequestError
from pipeline.ingest import stage as stage_module
from pipeline.ingest.stage import INGEST
from pipeline.stage import Selection
from pipeline.tables import MBO, SOURCES
from tests.ingest.making import (
    D0,
    DAY,
    T0,
    ingest,
    mbo,
    part,
    partitions,
    settings,
    table,
    write,
)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def rows_equal(stored: pa.Table, records: Any) -> None:
    """All columns of ``mbo`` against the records they came from."""
    assert stored.num_rows == len(records)
    for name in ("order_id", "price", "size", "flags", "sequence", "instrument_id"):
        assert (stored[name].to_numpy() == records[name]).all()
    for name in ("ts_recv", "ts_event"):
        assert (stored[name].cast(pa.int64()).to_numpy() == records[name].astype("i8")).all()
    for name in ("action", "side"):
        assert stored[name].to_pylist() == [bytes(v).decode() for v in records[name]]


def one_line(message: str) -> bool:
    return "\n" not in message


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


def contents(lake: Path) -> dict[str, str]:
    return {
        str(p.relative_to(lake)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(lake.rglob("*.parquet"))
    }


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
    assert "no symbol for 1 instruments (#77), 6 records" in summary.warnings[0][1]


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


# --- Several files for one day


def test_a_copy_of_the_same_bytes_counts_once(raw: Path, lake: Path) -> None:
    path = write(raw / "a.mbo.dbn.zst", mbo(10))
    shutil.copy(path, raw / "copy.mbo.dbn.zst")
    assert ingest(lake, raw).done == 1
    assert table(lake, "mbo").num_rows == 10


def test_disjoint_files_are_joined_in_order_of_time(raw: Path, lake: Path) -> None:
    records = mbo(100)
    write(raw / "a.mbo.dbn.zst", records[60:])
    write(raw / "b.mbo.dbn.zst", records[:60])
    summary = ingest(lake, raw)
    assert (summary.done, summary.failed) == (1, [])
    rows = table(lake, "mbo")
    rows_equal(rows, records)
    assert rows["record"].to_pylist() == [*range(60), *range(40)]
    assert len(set(rows["source"].to_pylist())) == 2
    assert [r["rows"] for r in table(lake, "sources").to_pylist()] == [60, 40]


def test_files_split_by_symbol_are_tasks_of_their_own(raw: Path, lake: Path) -> None:
    write(raw / "es.mbo.dbn", mbo(5), symbols={"ESM5": 1})
    write(raw / "nq.mbo.dbn", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    assert ingest(lake, raw).done == 2


def test_different_files_for_one_day_are_an_error_naming_both(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn", mbo(10))
    write(raw / "b.mbo.dbn", mbo(10, seed=1))
    write(raw / "nq.mbo.dbn", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    summary = ingest(lake, raw)
    assert (summary.done, len(summary.failed)) == (1, 1)
    message = summary.failed[0][1]
    assert str(raw / "a.mbo.dbn") in message
    assert str(raw / "b.mbo.dbn") in message
    assert 'raw.prefer = "newest"' in message
    assert partitions(lake, "mbo") == [f"GLBX.MDP3 {D0} NQM5"]


def test_the_newest_may_be_preferred(raw: Path, lake: Path) -> None:
    newer = mbo(10, seed=1)
    a = write(raw / "a.mbo.dbn", newer)
    b = write(raw / "b.mbo.dbn", mbo(12))
    os.utime(a, (2_000_000_000, 2_000_000_000))
    os.utime(b, (1_000_000_000, 1_000_000_000))
    summary = ingest(lake, raw, prefer="newest")
    assert summary.failed == []
    rows_equal(table(lake, "mbo"), newer)
    left = {row["file"]: row for row in table(lake, "sources").to_pylist()}
    assert left["b.mbo.dbn"]["rows"] == 0
    assert left["b.mbo.dbn"]["reject_reasons"] == '{"superseded": 12}'
    os.utime(b, (2_100_000_000, 2_100_000_000))
    assert ingest(lake, raw, prefer="newest").done == 1
    assert table(lake, "mbo").num_rows == 12


def test_a_snapshot_alone_does_not_precede_the_day_that_begins_with_it(
    raw: Path, lake: Path
) -> None:
    snapshot = mbo(5, step=0)
    write(raw / "a.mbo.dbn", snapshot)
    write(raw / "b.mbo.dbn", np.concatenate([snapshot, mbo(5, start=T0 + 10)]))
    assert len(ingest(lake, raw).failed) == 1


def test_unknown_preference_is_a_wrong_request(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn", mbo(1))
    with pytest.raises(RequestError, match=r"raw.prefer 'newset'; did you mean 'newest'"):
        ingest(lake, raw, prefer="newset")


# --- Symbols from beside the file


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


# --- Refusals: one clear line each, the other files go on


def test_a_truncated_file_leaves_nothing_in_the_lake(raw: Path, lake: Path) -> None:
    path = write(raw / "a.mbo.dbn.zst", mbo(20_000))
    path.write_bytes(path.read_bytes()[:-100])
    write(raw / "b.mbo.dbn.zst", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    summary = ingest(lake, raw)
    assert summary.done == 1
    ((name, message),) = summary.failed
    assert "a.mbo.dbn.zst" in name
    assert one_line(message)
    assert "truncated" in message
    assert "record " in message
    assert not list(lake.rglob("symbol=ESM5"))


def test_a_damaged_replacement_does_not_pass_for_the_old_file(raw: Path, lake: Path) -> None:
    path = write(raw / "a.mbo.dbn.zst", mbo(20))
    ingest(lake, raw)
    path.write_bytes(path.read_bytes()[:-10])
    assert ingest(lake, raw).failed


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.dbn.zst", b"ts,price\n", "is a text file"),
        ("empty.dbn", b"", "is empty"),
        ("old.dbz", b"P*M\x18\x90\x00\x00\x00DBZ.", "DBZ"),
    ],
)
def test_files_that_are_no_dbn_fail_alone(
    raw: Path, lake: Path, name: str, content: bytes, says: str
) -> None:
    write(raw / "good.mbo.dbn", mbo(5))
    (raw / name).write_bytes(content)
    summary = ingest(lake, raw)
    assert summary.done == 1
    ((_, message),) = summary.failed
    assert one_line(message)
    assert says in message
    assert summary.exit_code == 1


def test_a_hash_that_differs_from_the_manifest(raw: Path, lake: Path) -> None:
    good = write(raw / "good.mbo.dbn", mbo(5))
    bad = write(raw / "bad.mbo.dbn", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    files = [
        {"filename": p.name, "size": p.stat().st_size, "hash": "sha256:" + digest}
        for p, digest in (
            (good, hashlib.sha256(good.read_bytes()).hexdigest()),
            (bad, "0" * 64),
        )
    ]
    (raw / "manifest.json").write_text(json.dumps({"job_id": "X", "files": files}))
    summary = ingest(lake, raw)
    assert summary.done == 1
    ((_, message),) = summary.failed
    assert "its manifest says 000000000000" in message
    assert "bad.mbo.dbn" in message
    assert ingest(lake, raw, verify_hashes=False).failed == []


@pytest.mark.parametrize("name", ["manifest.json", "condition.json", "symbology.json"])
@pytest.mark.parametrize("content", ["{", '{"a": 1}', '"x"'])
def test_a_corrupt_json_is_said_once_and_stops_no_data(
    raw: Path, lake: Path, name: str, content: str
) -> None:
    write(raw / "a.mbo.dbn", mbo(5))
    (raw / name).write_text(content)
    summary = ingest(lake, raw)
    assert summary.done == 1
    ((_, message),) = summary.failed
    assert str(raw / name) in message
    assert one_line(message)


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


def test_records_outside_the_headers_days_are_found_and_settled(raw: Path, lake: Path) -> None:
    records = mbo(10, start=T0 + DAY - 5000)
    write(raw / "a.mbo.dbn", records)
    first = ingest(lake, raw)
    assert "its header says 2025-05-01 to 2025-05-01" in first.failed[0][1]
    assert partitions(lake, "mbo") == []
    assert ingest(lake, raw).failed == []
    assert len(partitions(lake, "mbo")) == 2


def test_time_going_far_back_across_midnight_is_an_error(raw: Path, lake: Path) -> None:
    late = mbo(100_000, start=T0 + DAY + 2 * 3600 * 10**9)
    records = np.concatenate([mbo(5), late, mbo(5)])
    write(raw / "a.mbo.dbn", records, end=T0 + 2 * DAY)
    assert "more than an hour across midnight" in ingest(lake, raw).failed[0][1]


def test_an_empty_folder_and_a_missing_one_are_wrong_requests(raw: Path, lake: Path) -> None:
    with pytest.raises(RequestError, match="no such file or folder"):
        ingest(lake, raw)
    raw.mkdir()
    with pytest.raises(RequestError, match=r"holds no .dbn or .dbn.zst file"):
        ingest(lake, raw)


def test_a_folder_emptied_later_does_not_stop_the_other_stages(raw: Path, lake: Path) -> None:
    path = write(raw / "a.mbo.dbn", mbo(5))
    ingest(lake, raw)
    path.unlink()
    standing = settings().with_values(raw={"path": str(raw)})
    assert ingest(lake, chosen=standing).done == 0


def test_a_value_no_record_may_have_is_named_with_file_and_record(raw: Path, lake: Path) -> None:
    records = mbo(50)
    records["action"][33] = b"\xff"
    path = write(raw / "a.mbo.dbn", records)
    ((_, message),) = ingest(lake, raw).failed
    assert message.startswith(f"{path}: record 33: action is the byte 255")


def test_the_smallest_price_of_all_is_a_price(raw: Path, lake: Path) -> None:
    """Its distance from 0 is no Int64: the divisor of the prices must not be, either."""
    records = mbo(5)
    records["price"] = -(2**63)
    write(raw / "a.mbo.dbn", records)
    assert ingest(lake, raw).failed == []
    [source] = table(lake, "sources").to_pylist()
    assert source["price_gcd"] == 2**62


@pytest.mark.parametrize("end", [2**63 - 1, 2**64 - 2])
def test_a_range_of_centuries_in_the_header_is_not_believed(
    raw: Path, lake: Path, end: int
) -> None:
    write(raw / "a.mbo.dbn", mbo(5), start=1, end=end)
    assert ingest(lake, raw).failed == []
    assert partitions(lake, "mbo") == [f"GLBX.MDP3 {D0} ESM5"]


def test_the_selection_chooses_files_by_dataset_symbol_and_day(raw: Path, lake: Path) -> None:
    write(raw / "es.mbo.dbn", mbo(5), symbols={"ESM5": 1})
    write(raw / "nq.mbo.dbn", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    later = T0 + DAY
    write(raw / "es2.mbo.dbn", mbo(5, start=later), symbols={"ESM5": 1}, start=later,
          end=later + DAY)  # fmt: skip
    catalog, chosen = LakeCatalog(lake), settings(raw)

    def names(selection: Selection) -> set[str]:
        return {task.partition["raw"] for task in INGEST.plan(catalog, chosen, selection)}

    assert names(Selection(symbols="ES*")) == {"es.mbo.dbn", "es2.mbo.dbn"}
    assert names(Selection(start=dt.date(2025, 5, 2))) == {"es2.mbo.dbn"}
    assert names(Selection(end=D0)) == {"es.mbo.dbn", "nq.mbo.dbn"}
    assert names(Selection(dataset="XNAS.ITCH")) == set()


def test_files_of_the_same_name_are_told_apart(raw: Path, lake: Path) -> None:
    write(raw / "one" / "es.mbo.dbn", mbo(5))
    later = T0 + DAY
    write(raw / "two" / "es.mbo.dbn", mbo(6, start=later), start=later, end=later + DAY)
    assert ingest(lake, raw).done == 2
    assert ingest(lake, raw).up_to_date == 2
    assert table(lake, "mbo").num_rows == 11


def test_other_schemas_go_to_vendor_tables(real_data: Path, lake: Path) -> None:
    ingest(lake, real_data / "esu4-vendor", real_data / "datasets")
    assert table(lake, "vendor_mbp_1", symbol="ESU4").num_rows == 2288
    assert table(lake, "vendor_trades", symbol="ESU4").num_rows == 120
    assert table(lake, "vendor_ohlcv_1m").num_rows == 60
    assert table(lake, "vendor_definition", symbol="BRN FMJ0024!").num_rows == 1
    prices = table(lake, "vendor_mbp_10", symbol="NVDA")["bid_px_09"]
    assert prices.type == pa.int64()


def test_a_file_that_comes_later_joins_its_day_and_may_leave_again(raw: Path, lake: Path) -> None:
    records = mbo(100)
    write(raw / "b.mbo.dbn", records[60:])
    ingest(lake, raw)
    early = write(raw / "a.mbo.dbn", records[:60])
    assert ingest(lake, raw).failed == []
    rows_equal(table(lake, "mbo"), records)
    assert len(partitions(lake, "sources")) == 1
    assert ingest(lake, raw).up_to_date == 1
    early.unlink()
    assert ingest(lake, raw).done == 1
    rows_equal(table(lake, "mbo"), records[60:])


def test_a_truncation_at_any_record_leaves_nothing(raw: Path, lake: Path) -> None:
    whole = write(raw / "a.mbo.dbn.zst", mbo(3000)).read_bytes()
    rng = np.random.default_rng(7)
    for at in rng.integers(1, len(whole), 20).tolist():
        (raw / "a.mbo.dbn.zst").write_bytes(whole[:at])
        ((_, message),) = ingest(lake, raw).failed
        assert one_line(message)
        assert not list(lake.rglob("*.parquet"))
