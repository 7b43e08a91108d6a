"""Views show what the files hold: exact prices, signed sizes, whole nanoseconds, true symbols."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RequestError
from pipeline.ingest.columns import vendor_table
from pipeline.sql import connect, query_frame, run_query
from pipeline.sql.views import price_columns
from pipeline.stage import HIVE_NULL, Partition
from pipeline.tables import INSTRUMENTS, MBO, QUALITY, TRADES, book_table
from tests.sql.making import (
    BASE,
    FEATURES,
    NS,
    OPEN_NS,
    PX,
    book_row,
    daily,
    full_lake,
    instrument,
    session_of,
    trade,
    write,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def lake(folder: Path) -> duckdb.DuckDBPyConnection:
    return connect(folder)


def rows(lake: Path | duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return run_query(query, lake).rows


def test_every_table_is_a_view(lake: duckdb.DuckDBPyConnection) -> None:
    names = {row[0] for row in rows(lake, "SHOW TABLES")}
    tables = {
        *("mbo", "sources", "instruments", "book", "flow", "trades", "quality", "features"),
        *("labels", "runs", "orders", "fills", "equity", "breakdowns"),
    }
    assert tables <= names
    assert {"touch", "signed_trades", "features_default", "labels_default"} <= names


def test_prices_are_exact_decimals_and_can_be_subtracted(lake: duckdb.DuckDBPyConnection) -> None:
    spread = rows(lake, "SELECT ask_px_00 - bid_px_00 FROM book WHERE state = 'normal'")
    assert spread[:2] == [(Decimal("0.250000000"),)] * 2
    (kind,) = rows(lake, "SELECT typeof(any_value(price)) FROM trades")
    assert kind == ("DECIMAL(18,9)",)


@pytest.mark.parametrize(
    "stored", [1, -1, 0, 250_000_000, -50_000_000, 4_800_250_000_001, 10**18 - 1, 1 - 10**18]
)
def test_no_digit_of_a_price_is_lost(tmp_path: Path, stored: int) -> None:
    write(tmp_path, TRADES, daily(), [{"price": stored}])
    assert rows(tmp_path, "SELECT price FROM trades") == [(Decimal(stored).scaleb(-9),)]


def test_a_price_beyond_the_decimal_is_an_error_not_another_price(tmp_path: Path) -> None:
    write(tmp_path, TRADES, daily(), [{"price": 10**18}])
    with pytest.raises(RequestError, match="DECIMAL"):
        rows(tmp_path, "SELECT price FROM trades")


def test_unsigned_columns_can_be_subtracted(lake: duckdb.DuckDBPyConnection) -> None:
    assert rows(lake, "SELECT bid_sz_00 - ask_sz_00 FROM book WHERE event % 10 = 3") == [(-8,)]
    assert rows(lake, "SELECT events - records FROM quality") == [(-1,)]
    assert rows(lake, "SELECT sum(record - 2) FROM mbo") == [(-3,)]


def test_order_ids_keep_all_64_bits(lake: duckdb.DuckDBPyConnection) -> None:
    assert rows(lake, "SELECT DISTINCT order_id FROM mbo") == [(2**64 - 1,)]


def test_nanoseconds_survive(lake: duckdb.DuckDBPyConnection) -> None:
    expected = OPEN_NS + 60 * NS + 123
    assert rows(lake, "SELECT epoch_ns(ts), ts FROM fills") == [
        (expected, "2025-05-01 14:01:00.000000123")
    ]
    assert query_frame(lake, "SELECT ts FROM fills")["ts"].cast(int).to_list() == [expected]


def test_times_take_part_in_arithmetic_and_truncation(lake: duckdb.DuckDBPyConnection) -> None:
    query = (
        "SELECT date_trunc('minute', ts), hour(ts), ts AT TIME ZONE 'UTC' AT TIME ZONE "
        "'America/Chicago' < ts, ts >= '2025-05-01 14:00' FROM fills"
    )
    assert rows(lake, query) == [("2025-05-01 14:01:00", 14, True, True)]


def test_enumerations_are_text(lake: duckdb.DuckDBPyConnection) -> None:
    assert rows(lake, "SELECT DISTINCT state FROM book ORDER BY 1") == [("normal",), ("one_sided",)]


def test_a_missing_level_is_null_with_size_0(lake: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT bid_px_00, bid_sz_00 FROM book WHERE state = 'one_sided'"
    assert rows(lake, query) == [(None, 0)]


@pytest.mark.parametrize(
    "symbol",
    ["BRN  FMF0025!", "BRK/B", "NULL", "null", HIVE_NULL, "50%", "A+B", "#123", "a=b", "0012", "é"],
)
def test_symbols_read_as_they_were_written(tmp_path: Path, symbol: str) -> None:
    write(tmp_path, TRADES, daily(symbol), [{"size": 1}])
    write(tmp_path, TRADES, daily("ESM5"), [{"size": 1}])
    assert {row[0] for row in rows(tmp_path, "SELECT symbol FROM trades")} == {symbol, "ESM5"}


def test_keys_have_types(lake: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT typeof(date), typeof(symbol), date + 1 FROM book LIMIT 1"
    assert rows(lake, query) == [("DATE", "VARCHAR", date(2025, 5, 2))]
    assert rows(lake, "SELECT typeof(session) FROM features LIMIT 1") == [("DATE",)]


def test_expiration_stands_beside_the_symbol(lake: duckdb.DuckDBPyConnection) -> None:
    for table in ("book", "trades", "features", "fills", "orders"):
        found = run_query(f"SELECT * FROM {table} LIMIT 1", lake)
        at = found.names.index("symbol")
        assert found.names[at + 1] == "expiration"
        assert found.rows[0][at + 1] == "2025-06-20 13:30:00"


def test_a_symbol_of_two_decades_has_the_expiration_of_its_day(tmp_path: Path) -> None:
    late = datetime(2035, 6, 15, 13, 30, tzinfo=UTC)
    again = instrument(
        first_date=date(2035, 4, 1),
        last_date=date(2035, 6, 10),
        expiration=int(late.timestamp()) * NS,
    )
    write(tmp_path, INSTRUMENTS, Partition.of(dataset="GLBX.MDP3"), [instrument(), again])
    for day in ("2025-05-01", "2035-05-01", "2035-06-12"):
        write(tmp_path, TRADES, daily(day=day), [{"size": 1}])
    found = rows(tmp_path, "SELECT date, expiration FROM trades ORDER BY date")
    assert [expiration for _, expiration in found] == [
        "2025-06-20 13:30:00",
        "2035-06-15 13:30:00",
        "2035-06-15 13:30:00",
    ]


def test_expiration_is_null_where_it_is_not_known(tmp_path: Path) -> None:
    write(tmp_path, TRADES, daily(), [{"size": 1}])
    assert rows(tmp_path, "SELECT expiration FROM trades") == [(None,)]


def test_a_query_without_expiration_does_not_pay_for_it(lake: duckdb.DuckDBPyConnection) -> None:
    (plan,) = [row[1] for row in rows(lake, "EXPLAIN SELECT event, price FROM trades")]
    assert "Join" not in plan
    assert "expiration" not in plan


def test_vendor_tables_have_their_prices_scaled(tmp_path: Path) -> None:
    table = vendor_table("mbp-1")
    assert {"price", "bid_px_00", "ask_px_00"} <= price_columns(table.name)
    write(tmp_path, table, daily(), [{"price": 5 * PX, "bid_px_00": 4 * PX, "size": 2}])
    assert rows(tmp_path, "SELECT price - bid_px_00, size - 3 FROM vendor_mbp_1") == [
        (Decimal("1.000000000"), -1)
    ]


def test_several_feature_sets_are_views_of_their_own(tmp_path: Path) -> None:
    row = {"ts": OPEN_NS, "event": BASE, "mid_ticks": 1.0, "queue_imbalance": 0.5}
    write(tmp_path, FEATURES, session_of(set_="fast"), [row])
    assert rows(tmp_path, "SELECT count(*) FROM features") == [(1,)]
    write(tmp_path, FEATURES, session_of(set_="my-set"), [row, row])
    assert rows(tmp_path, "SELECT count(*) FROM features_my_set") == [(2,)]
    with pytest.raises(RequestError, match="write one of features_fast, features_my_set"):
        rows(tmp_path, "SELECT count(*) FROM features")
    write(tmp_path, FEATURES, session_of(set_="default"), [row, row, row])
    assert rows(tmp_path, "SELECT count(*) FROM features") == [(3,)]


def test_internal_folders_and_files_are_not_seen(tmp_path: Path) -> None:
    path = write(tmp_path, TRADES, daily(), [{"size": 1}])
    for hidden in ("_tmp", ".hidden"):
        (tmp_path / hidden / "x").mkdir(parents=True)
        (tmp_path / hidden / "x" / "part-0.parquet").write_bytes(b"junk")
    (path.parent / "_half.parquet").write_bytes(b"junk")
    (path.parent / ".part-1.parquet").write_bytes(b"junk")
    assert rows(tmp_path, "SHOW TABLES") == [("signed_trades",), ("trades",)]
    assert rows(tmp_path, "SELECT count(*) FROM trades") == [(1,)]


def test_packed_days_and_single_symbols_are_one_view(tmp_path: Path) -> None:
    write(tmp_path, TRADES, daily("ESM5"), [trade(1, "B", 5, 1, 5, 6, whole=1)])
    packed = tmp_path / "trades/dataset=GLBX.MDP3/date=2025-05-02/part-0.parquet"
    packed.parent.mkdir(parents=True)
    table = pq.ParquetFile(next(tmp_path.rglob("symbol=ESM5/*.parquet"))).read()
    for_many = pa.concat_tables([table, table]).append_column("symbol", pa.array(["AA", "BB"]))
    pq.write_table(for_many, packed)
    assert rows(tmp_path, "SELECT symbol, price FROM trades ORDER BY symbol") == [
        (symbol, Decimal("5.000000000")) for symbol in ("AA", "BB", "ESM5")
    ]


def test_only_committed_partitions_are_seen(tmp_path: Path) -> None:
    import json

    path = write(tmp_path, QUALITY, daily(), [{"records": 7}])
    write(tmp_path, QUALITY, daily(day="2025-05-02"), [{"records": 8}])
    record = {
        "stage": "book",
        "partition": daily().path,
        "fingerprint": "f",
        "outputs": [
            {
                "table": "quality",
                "partition": daily().path,
                "file": str(path.relative_to(tmp_path)),
                "rows": 1,
                "bytes": path.stat().st_size,
                "content": "c",
                "notes": {},
            }
        ],
    }
    commit = tmp_path / "_commits" / "book" / f"{daily().path}.json"
    commit.parent.mkdir(parents=True)
    commit.write_text(json.dumps(record))
    assert rows(tmp_path, "SELECT records FROM quality") == [(7,)]


def test_a_depth_of_five_has_the_same_views(tmp_path: Path) -> None:
    write(tmp_path, book_table(5), daily(), [book_row(1, 0, 5000, 5000.25, 1, 1)])
    assert rows(tmp_path, "SELECT spread, mid FROM touch") == [(Decimal("0.250000000"), 5000.125)]


def test_of_thousands_of_partitions_only_those_asked_for_are_opened(tmp_path: Path) -> None:
    """The others cannot be read: whoever opens one of them fails."""
    whole = write(tmp_path, MBO, daily(), [{"size": 1}])
    broken = tmp_path / "broken"
    broken.write_bytes(b"PAR1 but no more of it PAR1")
    first, asked_for = date(2015, 1, 1), date(2016, 1, 1)  # the first one tells the columns
    for n in range(3000):
        day = first + timedelta(days=n)
        folder = tmp_path / "mbo" / daily(day=str(day)).path
        folder.mkdir(parents=True)
        (folder / "part-0.parquet").hardlink_to(whole if day in (first, asked_for) else broken)
    connection = connect(tmp_path)
    found = run_query("SELECT count(*) FROM mbo WHERE date = '2016-01-01'", connection)
    assert found.rows == [(1,)]
    with pytest.raises(RequestError, match="2016-01-02"):
        run_query("SELECT count(*) FROM mbo WHERE date = '2016-01-02'", connection)


@pytest.mark.parametrize("kind", ["", "LEFT"])
def test_as_of_joins_find_their_rows_in_partitioned_tables(tmp_path: Path, kind: str) -> None:
    """Partition keys are constants of a file: two of them in an ASOF join once found nothing."""
    first = 202312250000000000  # with small numbers it did not happen
    files = {
        "left/run_id=r/dataset=X/symbol=S": range(first + 16_736, first + 44_402, 520),
        "left/run_id=r/dataset=X/symbol=T": [],
        "right/dataset=X/date=2023-12-25/symbol=S": range(first, first + 47_023),
    }
    for name, events in files.items():
        (tmp_path / name).mkdir(parents=True)
        data = pa.table({"event": pa.array(list(events), pa.int64())})
        pq.write_table(data, tmp_path / name / "part-0.parquet")
    query = (
        f'SELECT l.event, r.event AS before FROM "left" AS l ASOF {kind} JOIN "right" AS r '
        "ON l.dataset = r.dataset AND l.symbol = r.symbol AND l.event > r.event"
    )
    frame = query_frame(tmp_path, query).sort("event")
    assert frame.height == 54
    assert frame["before"].to_list() == [event - 1 for event in frame["event"]]
