"""The kernel and the plain-dictionary reference agree in everything, on any stream."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.book.support import DATE, SECOND, Market, assert_same_day, run_engine, wild
from tests.reference.book import reference_day

CASES: list[dict[str, Any]] = [
    {},
    {"depth": 1},
    {"depth": 3, "assume_valid_after": "2s"},
    {"materialise": "touch"},
    {"materialise": "grid", "grid": "1s", "depth": 2},
]


def reference_options(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "depth": 1 if options.get("materialise") == "touch" else options.get("depth", 10),
        "grid_step": SECOND if options.get("materialise") == "grid" else None,
        "assume_after": 2 * SECOND if "assume_valid_after" in options else None,
    }


@settings(max_examples=100, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.integers(0, 60),
    st.sampled_from(CASES),
    st.integers(1, 3),
)
def test_any_records_at_all(
    draw: random.Random, length: int, options: dict[str, Any], books: int
) -> None:
    records = wild(draw, length, books)

    ran = run_engine(records, **options)

    assert_same_day(ran, reference_day(records, DATE, **reference_options(options)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("options", CASES, ids=str)
def test_long_wild_streams(seed: int, options: dict[str, Any]) -> None:
    records = wild(random.Random(seed), 600, 1 + seed % 3)

    ran = run_engine(records, cuts=(100, 101, 350), **options)

    assert_same_day(ran, reference_day(records, DATE, **reference_options(options)))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("options", CASES, ids=str)
def test_a_market_that_trades(seed: int, options: dict[str, Any]) -> None:
    records = Market(random.Random(seed), middle=(seed - 3) * 10**9).run(800)

    ran = run_engine(records, cuts=(13, 500), **options)

    assert_same_day(ran, reference_day(records, DATE, **reference_options(options)))
