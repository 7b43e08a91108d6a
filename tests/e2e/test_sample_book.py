"""The sample's book against the simulator's own MBP-10 and trades, row for row, in the lake."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.lake import open_lake

LEVELS = [
    f"{side}_{what}_{i:02d}"
    for i in range(10)
    for side in ("bid", "ask")
    for what in ("px", "sz", "ct")
]
SYMBOLS = ["SIMM5", "SIMU5", "SIMM5-SIMU5"]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_row_of_the_vendor_is_a_row_of_the_book(sample_lake: Path, symbol: str) -> None:
    lake = open_lake(sample_lake)
    vendor = lake.scan("vendor_mbp_10", symbols=symbol).filter(pl.col("action") != "T")
    expected = vendor.select("date", "ts_recv", "ts_event", "sequence", *LEVELS).collect()
    # A day starts from an empty book: its snapshot is one change, an opening R is none.
    before = {c: pl.col(c).shift(1).over("date") for c in LEVELS}
    before |= {c: x.fill_null(0) for c, x in before.items() if "_px_" not in c}
    changed = pl.any_horizontal(pl.col(c).ne_missing(before[c]) for c in LEVELS)
    book = (
        lake.scan("book", symbols=symbol)
        .filter(changed)
        .select("date", "ts_recv", "ts_event", "sequence", *LEVELS)
        .collect()
    )
    sizes = [c for c in LEVELS if "_px_" not in c]
    expected = expected.with_columns(pl.col(sizes).fill_null(0).cast(pl.UInt32))
    book = book.with_columns(pl.col(sizes).cast(pl.UInt32))
    assert expected.height > 500
    assert book.height == expected.height
    assert book.equals(expected)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_print_is_a_row_of_trades(sample_lake: Path, symbol: str) -> None:
    lake = open_lake(sample_lake)
    columns = ["ts_recv", "ts_event", "price", "size", "side"]
    ours = lake.scan("trades", symbols=symbol).select(columns).collect()
    vendors = lake.scan("vendor_trades", symbols=symbol).select(columns).collect()
    ours = ours.with_columns(pl.col("size").cast(pl.UInt32))
    assert ours.height > 20
    assert ours.equals(vendors.with_columns(pl.col("size").cast(pl.UInt32)))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_touch_before_a_print_is_the_vendors(sample_lake: Path, symbol: str) -> None:
    lake = open_lake(sample_lake)
    vendor = (
        lake.scan("vendor_mbp_10", symbols=symbol)
        .filter(pl.col("action") == "T")
        .select(
            bid_px="bid_px_00",
            ask_px="ask_px_00",
            bid_sz=pl.col("bid_sz_00").fill_null(0).cast(pl.UInt32),
            ask_sz=pl.col("ask_sz_00").fill_null(0).cast(pl.UInt32),
        )
        .collect()
    )
    ours = lake.scan("trades", symbols=symbol).select("bid_px", "ask_px", "bid_sz", "ask_sz")
    assert ours.collect().equals(vendor)
