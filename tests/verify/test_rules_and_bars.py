"""The vendor's rows against its own rules, bars against plain Python, and what files cover."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.dbn import Header
from pipeline.verify.bars import BAR_VALUES, Bars
from pipeline.verify.coverage import Coverage, _span
from pipeline.verify.rules import RuleCheck

LAST, SNAPSHOT = 128, 32


def row(number: int, side: str, bid: int, ask: int, **fields: int) -> dict[str, int]:
    return {
        "publisher_id": 1, "instrument_id": 1, "record": number, "trade": 0, "snapshot": 0,
        "flags": LAST, "side": ord(side), "depth": 0,
        "bid_px_00": bid, "ask_px_00": ask, "bid_sz_00": 1, "ask_sz_00": 1,
        "bid_ct_00": 1, "ask_ct_00": 1, **fields,
    }  # fmt: skip


def good() -> list[dict[str, int]]:
    return [
        row(0, "N", 9, 11),
        row(1, "B", 10, 11),
        row(2, "B", 10, 11, trade=1, flags=0),
        row(3, "A", 10, 12),
        row(4, "N", 10, 12, snapshot=1),
        row(5, "N", 9, 11),
    ]


def checked(rows: list[dict[str, int]], *, side_named: bool = True, cut: int = 3) -> RuleCheck:
    check = RuleCheck(1, side_named=side_named, keep=2)
    for part in (rows[:cut], rows[cut:]):
        if part:
            check.feed(pl.DataFrame(part))
    return check


@pytest.mark.parametrize("cut", range(7))
def test_rows_by_the_rules_pass(cut: int) -> None:
    tally = checked(good(), cut=cut).tally
    assert (tally.equal, tally.different) == (3, 0)
    assert tally.left_out.total() == 2


BROKEN: list[tuple[str, Callable[[list[dict[str, int]]], None]]] = [
    ("no end of an event", lambda rows: rows[3].update(flags=0)),
    ("nothing changed", lambda rows: rows[3].update(ask_px_00=11)),
    ("the wrong side", lambda rows: rows[3].update(side=ord("B"))),
    ("not both sides", lambda rows: rows[5].update(side=ord("A"))),
    ("the wrong depth", lambda rows: rows[1].update(depth=1)),
]


@pytest.mark.parametrize(("name", "breaks"), BROKEN, ids=[name for name, _ in BROKEN])
def test_a_row_against_the_rules_is_found(
    name: str, breaks: Callable[[list[dict[str, int]]], None]
) -> None:
    rows = good()
    breaks(rows)
    tally = checked(rows).tally
    assert tally.different == 1, name
    assert len(tally.first) == 1


def test_where_the_vendor_names_no_side_none_is_asked_for() -> None:
    rows = good()
    rows[3]["side"] = ord("N")
    assert checked(rows).tally.different == 1
    assert checked(rows, side_named=False).tally.different == 0


prints = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 2), st.integers(-5, 5), st.integers(1, 9)),
    max_size=40,
).map(lambda rows: sorted(rows, key=lambda r: r[0]))


@settings(deadline=None)
@given(prints, st.integers(1, 20), st.lists(st.integers(0, 40), max_size=4))
def test_bars_are_those_of_a_plain_loop(
    rows: list[tuple[int, int, int, int]], step: int, cuts: list[int]
) -> None:
    bars = Bars(step)
    places = [0, *sorted(cuts), len(rows)]
    names = ("ts_recv", "instrument_id", "price", "size")
    for a, b in itertools.pairwise(places):
        part = pl.DataFrame(rows[a:b], schema=dict.fromkeys(names, pl.Int64), orient="row")
        bars.feed(part.with_columns(publisher_id=pl.lit(1, pl.Int64)))
    wanted: dict[tuple[int, int], list[int]] = {}
    for ts, instrument, price, size in rows:
        bar = wanted.setdefault((ts // step * step, instrument), [price] * 4 + [0])
        bar[1], bar[2], bar[3] = max(bar[1], price), min(bar[2], price), price
        bar[4] += size
    found = bars.bars()
    keys = zip(found["ts_event"], found["instrument_id"], strict=True)
    values = found.select(BAR_VALUES).rows()
    assert dict(zip(keys, map(list, values), strict=True)) == wanted
    assert found["clock"].is_sorted()


def test_coverage_is_a_union_of_spans() -> None:
    coverage = Coverage.of([(50, 60), (0, 10), (10, 20), (70, 70)])
    assert coverage.spans == ((0, 20), (50, 60))
    assert coverage.holds(np.array([0, 19, 20, 49, 50, 59])).tolist() == [
        True, True, False, False, True, True,
    ]  # fmt: skip
    assert coverage.holds(np.array([0, 15, 50]), 10).tolist() == [True, False, True]


def header(start: int, end: int | None, limit: int | None = None) -> Header:
    return Header(3, "X", "mbo", start, end, None, None, False, limit, (), (), (), ())


@pytest.mark.parametrize(
    ("of", "span"),
    [
        (header(100, 200), (100, 200)),
        (header(100, 200, limit=4), (100, 170)),
        (header(0, 200), (120, 170)),
        (header(100, None), (120, 170)),
        (header(130, 200), (120, 170)),
        (None, (120, 170)),
    ],
)
def test_what_a_file_speaks_for(of: Header | None, span: tuple[int, int]) -> None:
    """The time it was asked for; less where a limit cut it or nobody knows."""
    assert _span(of, 120, 170) == span
