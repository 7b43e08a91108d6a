"""Instrument ids to raw symbols."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.ingest.dbn import read_header
from pipeline.ingest.symbology import (
    Interval,
    SymbolMap,
    day_number,
    day_of,
    from_definitions,
    from_header,
    from_mapping_records,
    from_symbology_json,
    group_rows,
)
from tests.ingest.making import D0, DAY, write

DAY0 = day_number(D0)


def header_map(path: Path, **options: object) -> SymbolMap:
    return SymbolMap.of(from_header(read_header(write(path, b"", **options))))


def test_symbols_follow_the_date_intervals(real_data: Path) -> None:
    header = read_header(real_data / "formats" / "test_data.definition.v3.dbn.zst")
    symbols = SymbolMap.of(from_header(header))
    day = day_number(dt.date(2021, 12, 20))
    assert symbols.symbol(7083, day) == "MSFT"
    assert symbols.symbol(7083, day + 1) == "#7083"
    assert symbols.symbol(7089, day + 1) == "MSFT"
    assert symbols.symbols() == {"MSFT"}


def test_an_interval_ends_before_its_end_date(tmp_path: Path) -> None:
    symbols = header_map(tmp_path / "a.dbn")
    assert symbols.symbol(1, DAY0 - 1) == "#1"
    assert symbols.symbol(1, DAY0) == "ESM5"
    assert symbols.symbol(1, DAY0 + 29) == "ESM5"
    assert symbols.symbol(1, DAY0 + 30) == "#1"


@pytest.mark.parametrize("digits", ["²", "٣", "①"])
def test_digits_of_other_scripts_are_no_instrument_number(tmp_path: Path, digits: str) -> None:
    code = digits.encode()
    path = write(tmp_path / "a.dbn", b"", symbols={"ESM5": "QQQ"[: len(code)]})
    path.write_bytes(path.read_bytes().replace(b"QQQ"[: len(code)], code))
    assert not SymbolMap.of(from_header(read_header(path)))


def test_the_query_the_other_way_round(tmp_path: Path) -> None:
    symbols = header_map(
        tmp_path / "a.dbn",
        stype_in="instrument_id",
        stype_out="raw_symbol",
        symbols={"42": "ESM5"},
    )
    assert symbols.symbol(42, DAY0) == "ESM5"


def test_names_of_queries_are_no_raw_symbols(tmp_path: Path) -> None:
    assert not header_map(tmp_path / "a.dbn", stype_in="continuous", symbols={"ES.c.0": 1})
    assert not header_map(tmp_path / "b.dbn", stype_in="parent", symbols={"ES.FUT": 1})
    parent = header_map(tmp_path / "c.dbn", stype_in="parent", symbols={"ESM5-ESU5": 1})
    assert parent.symbol(1, DAY0) == "ESM5-ESU5"


def test_symbology_json_of_a_real_parent_download(real_data: Path) -> None:
    pairs = from_symbology_json(real_data / "batch-folder" / "symbology.json")
    symbols = SymbolMap.of(pairs)
    assert len(symbols.symbols()) == 15
    day = day_number(dt.date(2025, 5, 1))
    assert symbols.symbol(42_003_627, day) == "MESM5"
    assert symbols.symbol(42_017_819, day) == "MESZ5-MESM6"
    assert symbols.symbol(42_003_627, day_number(dt.date(2025, 5, 28))) == "#42003627"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"result": []}', '{"result": {"A": [{"d0": "x", "d1": "y"}]}}']
)
def test_a_corrupt_symbology_file_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "symbology.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"symbology.json: is no "):
        from_symbology_json(path)


def test_the_more_trusted_source_wins() -> None:
    day = Interval(0, 10, "FIRST")
    symbols = SymbolMap.of([(1, day)], [(1, Interval(0, 20, "SECOND"))])
    assert symbols.symbol(1, 5) == "FIRST"
    assert symbols.symbol(1, 15) == "SECOND"


def test_definitions_hold_until_they_expire(real_data: Path) -> None:
    path = real_data / "esu4-vendor" / "glbx-mdp3-20240702.definition.dbn.zst"
    symbols = SymbolMap.of(from_definitions(path))
    assert symbols.symbol(118, day_number(dt.date(2024, 7, 1))) == "ESU4"
    assert symbols.symbol(118, day_number(dt.date(2024, 9, 20))) == "ESU4"
    assert symbols.symbol(118, day_number(dt.date(2024, 9, 21))) == "#118"
    assert symbols.symbol(118, day_number(dt.date(2024, 6, 30))) == "#118"


def test_shares_without_expiration_hold_for_their_day(real_data: Path) -> None:
    path = real_data / "formats" / "test_data.definition.v1.dbn.zst"
    symbols = SymbolMap.of(from_definitions(path))
    day = day_number(dt.date(2021, 10, 4))
    assert symbols.symbol(6819, day) == "MSFT"
    assert symbols.symbol(6819, day + 1) == "#6819"


def test_mapping_records_of_a_live_capture(real_data: Path) -> None:
    path = real_data / "formats" / "mixed-schemas.live.dbn.zst"
    symbols = SymbolMap.of(from_mapping_records(path))
    assert symbols.symbol(183_748, day_number(dt.date(2023, 11, 20))) == "ESZ4"


def test_days_go_both_ways() -> None:
    assert day_of(day_number(D0)) == D0
    assert day_number(dt.date(1970, 1, 1)) == 0


def test_symbology_without_stypes_is_taken_as_raw_symbols(tmp_path: Path) -> None:
    path = tmp_path / "symbology.json"
    tree = {"result": {"ESM5": [{"d0": "2025-05-01", "d1": "2025-05-02", "s": "7"}]}}
    path.write_text(json.dumps(tree))
    assert SymbolMap.of(from_symbology_json(path)).symbol(7, DAY0) == "ESM5"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**32 - 1)), min_size=1, max_size=60))
def test_groups_are_a_partition_of_the_rows_in_order(rows: list[tuple[int, int]]) -> None:
    days = np.array([20_000 + day for day, _ in rows], np.int64)
    ids = np.array([number % 5 if number < 2**31 else number for _, number in rows], np.uint32)
    groups = group_rows(days * DAY + np.arange(len(rows)), ids)
    seen = []
    for day, number, which in groups:
        chosen = np.arange(len(rows)) if which is None else which
        assert (np.diff(chosen) > 0).all()
        assert (days[chosen] == day).all()
        assert (ids[chosen] == number).all()
        seen += chosen.tolist()
    assert sorted(seen) == list(range(len(rows)))
    assert len({(day, number) for day, number, _ in groups}) == len(groups)
