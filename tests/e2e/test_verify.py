"""`mbo verify`: the sample, real files, and what must not pass."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.lake import open_lake
from tests.e2e import vendor_files
from tests.e2e.running import Result, digest, mbo

SYMBOLS = ("SIMM5", "SIMU5", "SIMM5-SIMU5")


@pytest.fixture(scope="module")
def one_day(sample_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's Sunday evening alone."""
    folder = tmp_path_factory.mktemp("day")
    for path in sample_raw.rglob("*20250601.*"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def spoiled(one_day: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(one_day, tmp_path / "raw"))


def verify(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    result = mbo("verify", *arguments, "--json", "--workers", "1")
    assert result.out, result.err
    return result.code, json.loads(result.out)


def compared(report: dict[str, Any], what: str = "") -> dict[str, int]:
    """Rows compared by what they are rows of; nothing may differ."""
    counts: dict[str, int] = {}
    for one in report["comparisons"]:
        if what in one["rows_of"]:
            assert one["compared"] == one["equal"], one
            counts[one["rows_of"]] = counts.get(one["rows_of"], 0) + one["compared"]
    return counts


# --- the sample --------------------------------------------------------------------------------


def test_every_row_of_the_vendor_is_compared_and_equal(sample_lake: Path) -> None:
    before = digest(sample_lake)
    code, report = verify("--lake", sample_lake)
    assert code == 0
    lake = open_lake(sample_lake)
    counts = compared(report)
    rows = {t: lake.scan(t).select(pl.len()).collect().item() for t in lake.tables()}
    assert counts["mbp-10"] == rows["vendor_mbp_10"] > 10_000
    assert counts["trades"] == rows["vendor_trades"] == counts["stored trades"] > 500
    trades = lake.scan("vendor_mbp_10").filter(pl.col("action") == "T").select(pl.len())
    assert counts["stored book"] == counts["mbp-10"] - trades.collect().item()
    assert not any(one["left_out"] or one["equal_though"] for one in report["comparisons"])
    assert {one["symbol"] for one in report["comparisons"]} == set(SYMBOLS)
    assert {one["evidence"] for one in report["comparisons"]} == {"simulated", "own tables"}
    assert "real data: none" in report["summary"]
    assert "SIMULATED" in report["summary"]
    assert digest(sample_lake) == before


def test_files_give_the_same_as_the_lake_and_leave_nothing(
    sample_raw: Path, sample_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    code, report = verify(sample_raw, "--symbols", "SIMU5", "--end", "2025-06-02")
    assert code == 0
    _, lake = verify("--lake", sample_lake, "--symbols", "SIMU5", "--end", "2025-06-02")
    assert report["comparisons"] == lake["comparisons"] != []
    assert list(scratch.iterdir()) == []


def test_packed_days_are_compared_alike(
    sample_raw: Path, sample_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBO_LAKE__LAYOUT", "packed")
    code, report = verify(sample_raw)
    monkeypatch.delenv("MBO_LAKE__LAYOUT")
    assert code == 0
    assert report["comparisons"] == verify("--lake", sample_lake)[1]["comparisons"]


def test_other_schemas_agree_too(one_day: Path, tmp_path: Path) -> None:
    """MBP-1, TBBO and bars that plain Python makes of the sample's MBP-10 and trades."""
    raw = Path(shutil.copytree(one_day, tmp_path / "raw"))
    (raw / "manifest.json").unlink(missing_ok=True)
    metadata, mbp_10 = vendor_files.read(next(raw.glob("*.mbp-10.*")))
    _, trades = vendor_files.read(next(raw.glob("*.trades.*")))
    made = {"mbp-1": vendor_files.mbp_1(mbp_10), "tbbo": vendor_files.tbbo(mbp_10)}
    made |= {schema: vendor_files.ohlcv(trades, schema) for schema in vendor_files.STEPS}
    for schema, records in made.items():
        vendor_files.write(raw / f"made.{schema}.dbn.zst", metadata, schema, records)
    code, report = verify(raw)
    assert code == 0, report["differences"]
    counts = compared(report)
    assert {schema: counts[schema] for schema in made} == {s: len(r) for s, r in made.items()}
    assert len(made["mbp-1"]) > 200
    assert not any(one["left_out"] for one in report["comparisons"])

    path = raw / "made.ohlcv-1m.dbn.zst"
    records = made["ohlcv-1m"]
    records["volume"][1] += 1
    vendor_files.write(path, metadata, "ohlcv-1m", records)
    code, report = verify(raw)
    assert code == 3
    (difference,) = report["differences"]
    assert (difference["rows_of"], difference["columns"]) == ("ohlcv-1m", ["volume"])

    for path in [*raw.glob("*.mbo.*"), *raw.glob("*.mbp-10.*")]:
        path.unlink()
    vendor_files.write(raw / "made.ohlcv-1m.dbn.zst", metadata, "ohlcv-1m",
                       vendor_files.ohlcv(trades, "ohlcv-1m"))  # fmt: skip
    code, report = verify(raw)
    assert code == 0, report["differences"]
    counts = compared(report)
    assert counts["trades of mbp-1"] == counts["trades of tbbo"] == len(trades)
    assert counts["ohlcv-1m"] == len(made["ohlcv-1m"])


def test_a_day_that_starts_from_the_day_before(sample_raw: Path, tmp_path: Path) -> None:
    """Without its snapshot a day carries the book on; the vendor's rows are the same."""
    raw = Path(shutil.copytree(sample_raw, tmp_path / "raw"))
    next(raw.rglob("manifest.json")).unlink()

    def without_snapshot(rows: np.ndarray) -> np.ndarray:
        return rows[rows["flags"] & 32 == 0]

    for path in [*raw.rglob("*20250603.mbo.*"), *raw.rglob("*20250603.mbp-10.*")]:
        vendor_files.changed(path, without_snapshot)
    code, report = verify(raw, "--start", "2025-06-03")
    assert code == 0, report["differences"]
    assert compared(report)["mbp-10"] > 10_000
    assert not any(one["left_out"] or one["equal_though"] for one in report["comparisons"])


# --- real files --------------------------------------------------------------------------------


def test_the_vendors_own_schemas_agree_with_each_other(real_data: Path) -> None:
    code, report = verify(real_data / "esu4-vendor")
    assert code == 0
    # 2,168 rows that are no trades: the first has nothing before it, midnight's is synthetic.
    assert compared(report) == {"mbp-1": 2166, "trades of mbp-1": 120, "ohlcv-1m": 4}
    assert {one["evidence"] for one in report["comparisons"]} == {"real"}
    assert "0 of them against MBO" in report["summary"]


def test_the_tiny_real_pairs(real_data: Path) -> None:
    code, report = verify(real_data / "datasets")
    assert code == 0
    counts = {(one["dataset"], one["rows_of"]): one["equal"] for one in report["comparisons"]}
    assert counts["XNAS.ITCH", "mbp-10"] == 4
    assert counts["XNAS.ITCH", "mbp-1"] == 3  # the fourth is later than the MBO there is
    assert counts["IFEU.IMPACT", "mbp-10"] == counts["IFEU.IMPACT", "trades"] == 4
    assert sum(n for (dataset, _), n in counts.items() if dataset in ("GLBX.MDP3", "NDEX.IMPACT"))\
        == 0  # fmt: skip
    assert not report["differences"]


@pytest.mark.parametrize("dataset", ["GLBX.MDP3", "NDEX.IMPACT"])
def test_where_nothing_can_be_compared_it_says_why(real_data: Path, dataset: str) -> None:
    result = mbo("verify", real_data / "datasets" / dataset, "--workers", "1")
    assert result.code == 2
    assert "no MBO for this time" in result.err


def test_mbo_alone_cannot_be_compared(real_data: Path) -> None:
    result = mbo("verify", real_data / "esm4-snapshot", "--workers", "1")
    assert result.code == 2
    assert "nothing of the vendor's beside it" in result.err


# --- what must not pass ------------------------------------------------------------------------


def spoil(raw: Path, schema: str, change: vendor_files.Change) -> tuple[int, dict[str, Any]]:
    (raw / "manifest.json").unlink(missing_ok=True)
    vendor_files.changed(next(raw.glob(f"*.{schema}.*")), change)
    return verify(raw)


def test_a_changed_row_is_shown_with_both_sides_and_its_records(spoiled: Path) -> None:
    place = 300

    def change(rows: np.ndarray) -> np.ndarray:
        rows["bid_sz_07"][place] += 1
        return rows

    code, report = spoil(spoiled, "mbp-10", change)
    assert code == 3
    (difference,) = report["differences"]
    assert difference["kind"] == "different"
    assert difference["columns"] == ["bid_sz_07"]
    assert difference["vendor"]["bid_sz_07"] == difference["rebuilt"]["bid_sz_07"] + 1
    numbers = [record["record"] for record in difference["records"]]
    assert difference["rebuilt"]["record"] in numbers
    assert difference["file"].endswith(".mbo.dbn.zst")
    text = mbo("verify", spoiled, "--workers", "1")
    assert text.code == 3
    assert "bid_sz_07" in text.out
    assert "records of" in text.out


def test_rows_that_lack_are_found_on_both_sides(spoiled: Path) -> None:
    def change(rows: np.ndarray) -> np.ndarray:
        extra = rows[400:401].copy()
        extra["sequence"] += 1
        return np.concatenate([rows[:100], rows[101:401], extra, rows[401:]])

    code, report = spoil(spoiled, "mbp-10", change)
    assert code == 3
    kinds = [one["kind"] for one in report["differences"]]
    assert sorted(kinds) == ["only rebuilt", "only vendor"]
    assert all(one["records"] for one in report["differences"])


def test_a_changed_print_is_found(spoiled: Path) -> None:
    def change(rows: np.ndarray) -> np.ndarray:
        rows["price"][-1] += 1
        return rows

    code, report = spoil(spoiled, "trades", change)
    assert code == 3
    (difference,) = report["differences"]
    assert (difference["rows_of"], difference["columns"]) == ("trades", ["price"])


@pytest.mark.parametrize("table", ["book", "trades"])
def test_a_stored_table_that_is_wrong_is_found(
    sample_lake: Path, tmp_path: Path, table: str
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(sample_lake, lake)
    path = next((lake / table).rglob("date=2025-06-02/symbol=SIMU5/*.parquet"))
    frame = pq.ParquetFile(path).read()
    name = "ask_sz_09" if table == "book" else "bid_sz"
    sizes = frame[name].to_numpy().copy()
    sizes[50] += 1
    at = frame.column_names.index(name)
    wrong = frame.set_column(at, frame.schema.field(name), pa.array(sizes, pa.uint32()))
    size = path.stat().st_size
    pq.write_table(wrong, path, compression="none")
    commit = lake / "_commits" / "book" / "dataset=SIM.MDP3" / "date=2025-06-02"
    record = commit / "symbol=SIMU5.json"
    record.write_text(
        record.read_text().replace(f'"bytes": {size}', f'"bytes": {path.stat().st_size}')
    )
    code, report = verify("--lake", lake, "--symbols", "SIMU5")
    assert code == 3
    assert {one["rows_of"] for one in report["differences"]} == {f"stored {table}"}
    assert all(name in one["columns"] for one in report["differences"])


# --- requests ----------------------------------------------------------------------------------


def test_wrong_requests(tmp_path: Path, sample_lake: Path) -> None:
    def refused(*arguments: str | Path) -> Result:
        result = mbo("verify", *arguments)
        assert result.code == 2, result
        assert "Traceback" not in result.err
        return result

    assert "no such file" in refused(tmp_path / "absent").err
    assert "SIMU5 of 2025-06-01" in refused("--lake", sample_lake, "--symbols", "NQ*").err
    assert "`mbo ingest`" in refused("--lake", tmp_path / "none").err


def test_a_selection_that_fits_no_file_is_told_in_its_own_words(real_data: Path) -> None:
    for flags in (("--start", "2030-01-01"), ("--symbols", "ZZ*", "--end", "2024-07-03")):
        result = mbo("verify", real_data / "esu4-vendor", *flags)
        assert result.code == 2, result
        last = result.err.strip().splitlines()[-1]
        assert last == f"mbo: nothing in the files given matches {' '.join(flags)}"


def test_a_damaged_file_is_a_failure_and_the_rest_is_compared(
    sample_raw: Path, tmp_path: Path
) -> None:
    raw = Path(shutil.copytree(sample_raw, tmp_path / "raw"))
    next(raw.rglob("manifest.json")).unlink()
    for path in raw.rglob("*20250603.mbo*"):
        path.write_bytes(path.read_bytes()[:-200])
    result = mbo("verify", raw, "--json", "--workers", "1")
    assert result.code == 1
    report = json.loads(result.out)
    days = {(one["date"], one["rows_of"]) for one in report["comparisons"]}
    assert ("2025-06-02", "mbp-10") in days
    assert ("2025-06-03", "stored book") not in days


def test_a_dry_run_compares_nothing(one_day: Path, tmp_path: Path) -> None:
    result = mbo("verify", one_day, "--lake", tmp_path / "lake", "--dry-run").checked()
    assert "would run ingest" in result.out
    assert "rows" not in result.out
