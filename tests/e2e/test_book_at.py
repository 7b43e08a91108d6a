"""`mbo book-at` on the sample: the ladder and the orders are those of the stored book."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline import open_lake
from tests.e2e.running import mbo


@pytest.fixture(scope="module")
def row(sample_lake: Path) -> dict[str, object]:
    """A row of `book` in the thick of a day."""
    rows = open_lake(sample_lake).scan("book").filter(pl.col("ask_ct_01") > 1).collect()
    return rows.row(rows.height // 2, named=True)


def test_the_ladder_is_the_row_of_book(sample_lake: Path, row: dict[str, object]) -> None:
    symbol, event = str(row["symbol"]), str(row["event"])
    result = mbo("book-at", symbol, "--event", event, "--lake", sample_lake).checked()
    head, *_ = result.out.splitlines()
    assert head.startswith(f"SIMULATED  {symbol}  SIM.MDP3")
    assert f"event {event}, known at" in result.out
    [first] = [line.split() for line in result.out.splitlines()[5:6]]
    sizes = [row[name] for name in ("bid_ct_00", "bid_sz_00", "ask_sz_00", "ask_ct_00")]
    assert [int(first[i]) for i in (0, 1, 4, 5)] == sizes
    assert Decimal(first[2]).scaleb(9) == row["bid_px_00"]
    assert Decimal(first[3]).scaleb(9) == row["ask_px_00"]
    ladder = [line.split() for line in result.out.splitlines()[5:]]
    prices = [text for cells in ladder for text in (cells[2], cells[3]) if text != "-"]
    assert len(prices) > 4
    assert len({len(text.partition(".")[2]) for text in prices}) == 1


def test_as_json_with_orders(sample_lake: Path, row: dict[str, object]) -> None:
    ask = (str(row["symbol"]), "--event", str(row["event"]), "--depth", "2", "--orders")
    value = json.loads(mbo("book-at", *ask, "--json", "--lake", sample_lake).checked().out)
    assert value["event"] == row["event"]
    assert [level["ask_px"] for level in value["levels"]] == [row["ask_px_00"], row["ask_px_01"]]
    second = [o for o in value["orders"] if o["side"] == "A" and o["price"] == row["ask_px_01"]]
    assert len(second) == row["ask_ct_01"]
    assert sum(order["size"] for order in second) == row["ask_sz_01"]
    assert [order["orders_ahead"] for order in second] == list(range(len(second)))
    # The same instant by its time: no event of this symbol comes later at that time, or it is it.
    again = ("book-at", str(row["symbol"]), str(value["ts_recv"]), "--json", "--lake", sample_lake)
    assert json.loads(mbo(*again).checked().out)["event"] >= value["event"]
    text = mbo("book-at", *ask, "--lake", sample_lake).checked().out
    assert text.count("\n") == 5 + len(value["orders"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NOSUCH", "0"], "unknown symbol 'NOSUCH'"),
        (["{symbol}"], "give either a time or an event"),
        (["{symbol}", "1999-01-01"], "no records of"),
        (["{symbol}", "half past"], "is not a time"),
    ],
    ids=str,
)
def test_wrong_requests_are_one_line(
    sample_lake: Path, row: dict[str, object], arguments: list[str], message: str
) -> None:
    asked = [text.format(symbol=row["symbol"]) for text in arguments]
    result = mbo("book-at", *asked, "--lake", sample_lake)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
