"""Which rows count where several files hold the same day and symbol."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.ingest.census import Extent, Key
from pipeline.ingest.overlap import Claim, claims, disjoint, settle
from pipeline.ingest.symbology import Interval, SymbolMap

A, B, C = Path("a"), Path("b"), Path("c")
ES: Claim = ("mbo", 20_000, "ESM5")
NQ: Claim = ("mbo", 20_000, "NQM5")


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 5), (6, 9), True),
        ((6, 9), (0, 5), True),
        ((0, 5), (5, 9), True),  # a file split by size goes on at the same moment
        ((0, 5), (4, 9), False),
        ((0, 9), (3, 4), False),
        ((0, 0), (0, 9), False),  # a snapshot alone, and the day that begins with it
        ((0, 9), (9, 9), False),
        ((0, 0), (0, 0), False),
        ((0, 0), (1, 1), True),
    ],
)
def test_disjoint(a: tuple[int, int], b: tuple[int, int], expected: bool) -> None:
    assert disjoint(Extent(1, *a), Extent(1, *b)) is expected


def test_files_are_put_in_order_of_time() -> None:
    claimed = [{ES: Extent(1, 20, 30)}, {ES: Extent(1, 0, 10)}, {ES: Extent(1, 11, 19)}]
    order, lost = settle([A, B, C], claimed, None)
    assert order == [1, 2, 0]
    assert lost == [frozenset()] * 3


def test_overlap_names_both_files() -> None:
    claimed = [{ES: Extent(1, 0, 10)}, {ES: Extent(1, 5, 15)}]
    with pytest.raises(InputError, match=r"^a and b differ and both hold mbo of ESM5 on 2024"):
        settle([A, B], claimed, None)


def test_the_newest_supersedes_only_what_it_has() -> None:
    claimed = [{ES: Extent(1, 0, 10), NQ: Extent(1, 0, 10)}, {ES: Extent(1, 5, 15)}]
    _, lost = settle([A, B], claimed, [0, 1])
    assert lost == [frozenset({ES}), frozenset()]
    _, lost = settle([A, B], claimed, [1, 0])
    assert lost == [frozenset(), frozenset({ES})]


def test_what_is_superseded_supersedes_nothing() -> None:
    # c is newest and covers b; b covers a; a and c are disjoint: a stays.
    claimed = [{ES: Extent(1, 0, 5)}, {ES: Extent(1, 4, 12)}, {ES: Extent(1, 10, 20)}]
    order, lost = settle([A, B, C], claimed, [0, 1, 2])
    assert lost == [frozenset(), frozenset({ES}), frozenset()]
    assert order.index(0) < order.index(2)


def test_files_that_interleave_cannot_be_joined() -> None:
    claimed = [
        {ES: Extent(1, 0, 5), NQ: Extent(1, 10, 15)},
        {ES: Extent(1, 6, 9), NQ: Extent(1, 0, 5)},
    ]
    with pytest.raises(InputError, match="interleave in time"):
        settle([A, B], claimed, None)


def test_two_ids_of_a_symbol_are_one_claim() -> None:
    day = Interval(0, 99_999, "ESM5")
    census = {
        Key("mbo", 20_000, 1): Extent(2, 5, 9),
        Key("mbo", 20_000, 2): Extent(3, 1, 7),
    }
    found = claims(census, SymbolMap.of([(1, day), (2, day)]))
    assert found == {ES: Extent(5, 1, 9)}
