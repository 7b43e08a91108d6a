"""Records to columns: equal to the vendor's own decoding, and undefined is null."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import databento_dbn as dbn
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError, RequestError
from pipeline.ingest.columns import (
    ColumnBuffer,
    plan_of,
    table_name,
    vendor_table,
)
from pipeline.ingest.dbn import DbnReader
from pipeline.ingest.layouts import MARKET_SCHEMAS, record_class
from pipeline.ingest.sinks import _divides
from pipeline.tables import MBO
from tests.conftest import find_real_data
from tests.ingest.making import mbo


def decode(path: Path, limit: int = 1 << 20) -> dict[str, pa.Table]:
    """A file's rows by schema, through the product's own reader and columns."""
    buffers: dict[str, ColumnBuffer] = {}
    with DbnReader(path) as reader:
        for chunk in reader:
            if not chunk.control:
                buffer = buffers.setdefault(
                    chunk.schema, ColumnBuffer(plan_of(chunk.schema), limit)
                )
                buffer.append(chunk.records, chunk.record_numbers(), "0123456789abcdef")
    return {schema: buffer.take() for schema, buffer in buffers.items()}


def real_files() -> list[Any]:
    """Every real file that must load; without real data one case, for the fixture to judge."""
    root = find_real_data()
    if root is None:
        return [""]
    return [
        pytest.param(str(path.relative_to(root)), id=f"{path.parent.name}/{path.name}")
        for path in sorted(root.rglob("*.dbn*"))
        if ".frag" not in path.name
    ]


@pytest.mark.parametrize("name", real_files())
def test_every_column_of_every_real_file_equals_the_vendors_decoding(
    real_data: Path, name: str
) -> None:
    import databento

    store = databento.DBNStore.from_bytes((real_data / name).read_bytes())
    for schema, table in decode(real_data / name).items():
        if store.schema is None:
            expected = store.to_ndarray(schema=dbn.Schema.from_str(schema))
        else:
            expected = store.to_ndarray()
        assert table.num_rows == len(expected) > 0
        assert table["record"].to_pylist() == sorted(table["record"].to_pylist())
        compared = set()
        for column in table.column_names:
            if column in ("record", "source"):
                continue
            if column in (expected.dtype.names or ()):
                compared.add(column)
                same_column(schema, table[column], expected[column])
            else:
                assert table[column].null_count == table.num_rows
        left = set(expected.dtype.names or ()) - compared - hidden(schema, store)
        assert left <= REMOVED.get(schema, set()), "the vendor's columns we do not have"


REMOVED = {
    "definition": {
        "trading_reference_price",
        "trading_reference_date",
        "md_security_trading_status",
        "settl_price_type",
    }
}
"""Columns of DBN 1 and 2 that version 3 no longer has."""


def hidden(schema: str, store: Any) -> set[str]:
    kind = record_class(MARKET_SCHEMAS[schema][1], store.metadata.version)
    older = {
        field
        for version in (1, 2, 3)
        for field in record_class(MARKET_SCHEMAS[schema][1], version)._hidden_fields
    }
    return older | set(kind._hidden_fields) | {"rtype", "length"}


def same_column(schema: str, column: pa.ChunkedArray, expected: Any) -> None:
    array = column.combine_chunks()
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
        undefined, values = expected == 2**64 - 1, expected.astype(np.int64)
    elif pa.types.is_string(array.type) or pa.types.is_dictionary(array.type):
        texts = [bytes(value).decode() for value in expected]
        assert array.to_pylist() == [None if t in ("", "~") else t for t in texts]
        return
    else:
        largest = np.iinfo(expected.dtype).max
        values = expected
        undefined = expected == largest if array.null_count else np.zeros(len(expected), bool)
    assert (array.is_null().to_numpy(zero_copy_only=False) == undefined).all()
    kept = array.drop_null().to_numpy()
    assert (kept == values[~undefined]).all()


def test_mbo_columns_are_exactly_the_declared_table(real_data: Path) -> None:
    path = real_data / "esm4-snapshot" / "glbx-mdp3-20240508.mbo.dbn.zst"
    table = decode(path)["mbo"]
    assert table.column_names == MBO.schema().names
    table = table.cast(MBO.schema())
    first = table.slice(0, 1).to_pylist()[0]
    assert first["action"] == "R"
    assert first["price"] is None, "a clear carries the undefined price"
    table.validate(full=True)


def test_every_schema_has_a_vendor_table_with_its_index_time_first() -> None:
    tables = [vendor_table(schema) for schema in MARKET_SCHEMAS if schema != "mbo"]
    assert len({table.name for table in tables}) == len(MARKET_SCHEMAS) - 1
    for table in tables:
        names = [column.name for column in table.columns]
        assert names[0] == ("ts_event" if "ohlcv" in table.name else "ts_recv")
        assert names[-2:] == ["record", "source"]
        assert "rtype" not in names
        assert not any("reserved" in name or "dummy" in name for name in names)
    assert table_name("mbp-10") == "vendor_mbp_10"
    assert table_name("mbo") == "mbo"


def test_an_unknown_schema_is_named_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'mbp-1'"):
        vendor_table("mbp1")


def test_no_price_unit_is_missing() -> None:
    levels = [c for c in vendor_table("mbp-10").columns if "_px_" in c.name]
    assert len(levels) == 20
    assert all(c.unit == "1e-9" and c.nullable for c in levels)
    assert vendor_table("mbp-10").column("bid_ct_09").nullable is False


@pytest.mark.parametrize("limit", [7, 64, 1000])
def test_buffers_of_any_size_give_the_same_rows(limit: int) -> None:
    records = mbo(1000)
    numbers = np.arange(1000, dtype=np.uint64)
    whole = ColumnBuffer(plan_of("mbo"), 1000)
    whole.append(records, numbers, "a")
    buffer, parts, done = ColumnBuffer(plan_of("mbo"), limit), [], 0
    while done < 1000:
        done += buffer.append(records[done : done + 13], numbers[done : done + 13], "a")
        if buffer.rows == limit:
            parts.append(buffer.take())
    parts.append(buffer.take())
    assert pa.concat_tables(parts).combine_chunks() == whole.take().combine_chunks()


def test_one_pass_over_mbo_records_copies_what_field_by_field_does() -> None:
    records = mbo(5000)
    noise = np.random.default_rng(1).integers(0, 256, records.nbytes, np.uint8)
    for name in ("price", "size", "flags", "sequence", "ts_in_delta", "order_id", "channel_id"):
        records[name] = noise.view(records.dtype)[name]
    strided = np.zeros(10_000, records.dtype)[::2]
    strided[:] = records
    tables = []
    for each in (records, strided):  # only contiguous records go the fast way
        buffer = ColumnBuffer(plan_of("mbo"), 5000)
        buffer.append(each, np.arange(5000, dtype=np.uint64), "a")
        tables.append(buffer.take())
    assert tables[0] == tables[1]
    assert tables[0]["order_id"].to_pylist() == records["order_id"].tolist()


@given(
    st.integers(1, 2**63 - 1) | st.integers(1, 2000),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50),
    st.lists(st.integers(-1000, 1000), max_size=20),
)
def test_multiples_are_told_without_dividing(
    divisor: int, values: list[int], factors: list[int]
) -> None:
    near = [n for f in factors if -(2**63) <= (n := f * divisor) < 2**63]
    every = [*values, *near, 0, -(2**63), 2**63 - 1]
    assert _divides(divisor, np.array(every, np.int64)).tolist() == [
        v % divisor == 0 for v in every
    ]


def test_rows_of_two_files_keep_their_source() -> None:
    buffer = ColumnBuffer(plan_of("mbo"), 100)
    for source in ("first", "second", "second"):
        buffer.append(mbo(3), np.arange(3, dtype=np.uint64), source)
    assert buffer.take()["source"].to_pylist() == ["first"] * 3 + ["second"] * 6


def one(schema: str, version: int = 3, **values: Any) -> dict[str, Any]:
    """One record of a schema through the columns."""
    rtype, name = MARKET_SCHEMAS[schema]
    record = np.zeros(1, np.dtype(record_class(name, version)._dtypes))
    record["rtype"] = rtype
    for field, value in values.items():
        record[field] = value
    buffer = ColumnBuffer(plan_of(schema), 10)
    buffer.append(record, np.zeros(1, np.uint64), "x")
    return dict(buffer.take().to_pylist()[0])


def test_undefined_is_null_in_every_kind_of_field() -> None:
    row = one(
        "definition",
        min_price_increment=2**63 - 1,
        expiration=2**64 - 1,
        contract_multiplier=2**31 - 1,
        maturity_month=255,
        raw_symbol=b"",
        instrument_class=b"\x00",
        currency=b"USD",
    )
    for name in ("min_price_increment", "expiration", "contract_multiplier", "maturity_month"):
        assert row[name] is None
    assert row["raw_symbol"] is None
    assert row["instrument_class"] is None
    assert row["currency"] == "USD"


def test_zero_is_not_undefined() -> None:
    row = one("mbp-1", bid_px_00=2**63 - 1, bid_sz_00=0, action=b"A", side=b"N")
    assert row["bid_px_00"] is None
    assert row["bid_sz_00"] == 0
    assert row["price"] == 0


def test_statistics_of_older_versions_widen_their_quantity() -> None:
    assert one("statistics", 1, quantity=12)["quantity"] == 12
    assert one("statistics", 1, quantity=2**31 - 1)["quantity"] is None
    assert one("statistics", 3, quantity=2**31 - 1)["quantity"] == 2**31 - 1
    assert one("statistics", 3, quantity=2**63 - 1)["quantity"] is None


def test_what_an_older_version_lacks_is_null() -> None:
    row = one("definition", 1, raw_symbol=b"ESM5", raw_instrument_id=7)
    assert row["raw_symbol"] == "ESM5"
    assert row["raw_instrument_id"] == 7
    assert row["leg_count"] is None
    assert row["leg_raw_symbol"] is None


def test_tri_states_are_text_or_null() -> None:
    row = one("status", is_trading=b"Y", is_quoting=b"N", is_short_sell_restricted=b"~")
    assert row["is_trading"] == "Y"
    assert row["is_quoting"] == "N"
    assert row["is_short_sell_restricted"] is None


def test_names_that_are_no_utf8_do_not_stop_a_day() -> None:
    assert one("definition", raw_symbol=b"AB\xff")["raw_symbol"] == "AB�"


@pytest.mark.parametrize(("field", "value"), [("action", b"\x00"), ("side", b"\xfe")])
def test_a_code_that_is_no_character_is_an_error(field: str, value: bytes) -> None:
    with pytest.raises(InputError, match=f"{field} is the byte"):
        one("mbo", **{"action": b"A", "side": b"B", field: value})


def test_a_time_beyond_the_calendar_is_an_error() -> None:
    with pytest.raises(InputError, match="beyond the year 2262"):
        one("mbo", action=b"A", side=b"B", ts_event=2**63 + 5)
    assert one("mbo", action=b"A", side=b"B", ts_event=2**64 - 1)["ts_event"] is None
