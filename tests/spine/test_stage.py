"""Partitions, selections, durations: the small things everything stands on."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stage import Partition, Selection
from pipeline.units import format_duration, parse_duration

AWKWARD = [
    "BRN  FMF0025!",
    "BRK/B",
    "NULL",
    "null",
    "#123",
    "A=B",
    "007",
    "X:Y?*[1]",
    "..",
    "ü",
    "",
]


@given(st.one_of(st.text(min_size=0, max_size=20), st.sampled_from(AWKWARD)))
def test_any_symbol_survives_its_path(symbol: str) -> None:
    if "\x00" in symbol or any("\ud800" <= c <= "\udfff" for c in symbol):
        return
    partition = Partition.of(dataset="X.Y", date="2025-01-01", symbol=symbol)
    assert partition.path.count("/") == 2
    assert Partition.parse(partition.path) == partition


def test_polars_opens_the_layout_as_it_is(tmp_path: Path) -> None:
    names = [name for name in AWKWARD if name]
    for name in names:
        folder = tmp_path / Partition.of(dataset="X", symbol=name).path
        folder.mkdir(parents=True)
        pl.DataFrame({"a": [1]}).write_parquet(folder / "part-0.parquet")
    frame = pl.scan_parquet(tmp_path, hive_partitioning=True).collect()
    assert sorted(frame["symbol"].to_list()) == sorted(names)


def test_selection() -> None:
    selection = Selection("GLBX.MDP3", "MES*,ESM5", date(2025, 5, 1), date(2025, 5, 2))
    good = Partition.of(dataset="GLBX.MDP3", date="2025-05-02", symbol="MESM5")
    assert selection.admits(good)
    assert selection.admits(good.replace(symbol="ESM5"))
    assert not selection.admits(good.replace(symbol="ESU5"))
    assert not selection.admits(good.replace(date="2025-05-03"))
    assert not selection.admits(good.replace(dataset="XNAS.ITCH"))
    assert selection.admits(Partition.of(dataset="GLBX.MDP3"))


@pytest.mark.parametrize(
    ("text", "ns"), [("0", 0), ("250us", 250_000), ("1.5s", 1_500_000_000), ("5m", 300 * 10**9)]
)
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns
    assert parse_duration(format_duration(ns)) == ns


@pytest.mark.parametrize("text", ["", "5", "ms", "-1s", "1 parsec", "0.1ns", "1/3s", "nan s"])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|whole"):
        parse_duration(text)
