"""Queue positions: exact for every order, whichever way they are asked for."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.book.layout import Book
from pipeline.book.position import ahead_columns, queue_position
from pipeline.book.state import closing_state
from tests.book.support import Market, run_engine, wild
from tests.reference.book import reference_day
from tests.reference.records import LAST, Rec


def positions(book: Book, ids: list[int]) -> dict[int, tuple[int, int] | None]:
    return {oid: queue_position(book, oid) for oid in ids}


def wanted(records: list[Rec], key: tuple[int, int]) -> dict[int, tuple[int, int]]:
    """Orders and size ahead by walking the reference's lists."""
    found = {}
    place, ahead = None, [0, 0]
    for side, price, _, oid, size, *_ in reference_day(records, 20240102).orders[key]:
        if place != (side, price):
            place, ahead = (side, price), [0, 0]
        found[oid] = (ahead[0], ahead[1])
        ahead = [ahead[0] + 1, ahead[1] + size]
    return found


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 120), st.booleans())
def test_every_order_knows_what_stands_before_it(
    draw: random.Random, length: int, legal: bool
) -> None:
    records = Market(draw).run(length) if legal else wild(draw, length)
    ran = run_engine(records)

    for key, one in ran.engine.books.items():
        expected = wanted(records, key)
        assert positions(one.book, list(expected)) == expected
        assert queue_position(one.book, 12345) is None


@pytest.mark.parametrize("seed", range(2))
def test_positions_are_true_at_every_event(seed: int) -> None:
    """Catalogue S14: all orders, after every single event of a market that trades."""
    records = Market(random.Random(seed)).run(180)
    ran = run_engine(records[:0])
    key, compared = (1, 1), 0
    for n, record in enumerate(records, 1):
        run_engine([record], engine=ran.engine, finish=False)
        if record.flags & LAST:
            expected = wanted(records[:n], key)
            assert positions(ran.engine.books[key].book, list(expected)) == expected
            compared += len(expected)
    assert compared > 500


@pytest.mark.parametrize("seed", range(3))
def test_columns_of_a_table_of_orders_say_the_same(seed: int) -> None:
    records = wild(random.Random(seed), 900, books=3)
    ran = run_engine(records)
    orders = closing_state(ran.engine).orders

    count, size = ahead_columns(orders)

    assert len(count) == orders.num_rows > 0
    for row, n, s in zip(orders.to_pylist(), count.tolist(), size.tolist(), strict=True):
        one = ran.engine.books[row["publisher_id"], row["instrument_id"]]
        assert queue_position(one.book, row["order_id"]) == (n, s)
        assert n == row["position"]


def test_no_orders_have_no_positions() -> None:
    count, size = ahead_columns(closing_state(run_engine([]).engine).orders)
    assert count.shape == size.shape == (0,)
    assert count.dtype == np.int64
