"""The ledger balances to the integer, whatever is thrown at it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as hyp

from pipeline.backtest.ledger import Ledger, from_decimal, half_even
from pipeline.backtest.money import money_column, money_units
from pipeline.errors import InputError

ONE = 10**9

fills = hyp.lists(
    hyp.tuples(
        hyp.sampled_from(["ES", "CL", "ODD"]),
        hyp.integers(-5, 7000).map(lambda n: n * 250_000_000 + 3),
        hyp.integers(-9, 9).filter(bool),
        hyp.integers(0, 3 * ONE),
    ),
    max_size=60,
)
multipliers = {"ES": Decimal(50), "CL": Decimal("1000.5"), "ODD": Fraction(1, 7)}


def opened() -> Ledger:
    ledger = Ledger("USD")
    for symbol, multiplier in multipliers.items():
        ledger.open(symbol, multiplier)
    return ledger


@given(fills, hyp.integers(-10, 20_000))
def test_identities_hold_at_every_mark(trades, mark):
    ledger = opened()
    position = dict.fromkeys(multipliers, 0)
    marks = dict.fromkeys(multipliers, mark * 250_000_001)
    fees = 0
    for ts, (symbol, price, size, fee) in enumerate(trades):
        ledger.fill(symbol, ts=ts, price=price, size=size, fee=fee)
        position[symbol] += size
        fees += fee
        equity = ledger.equity(marks)
        assert {s: page.position for s, page in ledger.pages.items()} == position
        assert ledger.fees == fees
        assert equity == ledger.cash + ledger.value(marks) - ledger.fees
        assert equity == ledger.realised + ledger.unrealised(marks) - ledger.fees
        for page in ledger.pages.values():
            assert sum(lot.size for lot in page.lots) == page.position
            assert len({lot.size > 0 for lot in page.lots}) <= 1


@given(fills)
def test_round_trips_add_up_to_what_flat_symbols_earned(trades):
    ledger = opened()
    for ts, (symbol, price, size, fee) in enumerate(trades):
        ledger.fill(symbol, ts=ts, price=price, size=size, fee=fee)
    for ts, (symbol, page) in enumerate(ledger.pages.items()):
        if page.position:
            ledger.fill(symbol, ts=1000 + ts, price=7, size=-page.position, fee=1)

    assert sum(trip.net for trip in ledger.trips) == ledger.equity({})
    assert sum(trip.fees for trip in ledger.trips) == ledger.fees


@given(hyp.integers(-(10**30), 10**30), hyp.integers(1, 10**6))
def test_amounts_are_rounded_half_to_even(top, bottom):
    assert half_even(top, bottom) == round(Fraction(top, bottom))
    assert half_even(2 * top + 1, 2) == round(Fraction(2 * top + 1, 2))


def test_amounts_are_exact_where_they_can_be():
    ledger = Ledger("USD")
    ledger.open("ES", 50)

    ledger.fill("ES", ts=0, price=4805_250_000_000, size=2, fee=2_800_000_000)
    realised = ledger.fill("ES", ts=9, price=4804_000_000_000, size=-3, fee=4_200_000_000)

    assert realised == from_decimal("-125.000000000")
    assert ledger.cash == from_decimal("240075.000000000")
    (trip,) = ledger.trips
    # A third of the reversing fill's fee belongs to the new position.
    assert (trip.side, trip.size, trip.gross, trip.fees) == (1, 2, -125 * ONE, 5_600_000_000)


def test_first_lot_in_is_the_first_out():
    ledger = Ledger("USD")
    ledger.open("X", 1)
    for price in (10, 20):
        ledger.fill("X", ts=0, price=price * ONE, size=1, fee=0)

    assert ledger.fill("X", ts=1, price=25 * ONE, size=-1, fee=0) == 15 * ONE


def test_a_short_position_gains_when_the_price_falls():
    ledger = Ledger("USD")
    ledger.open("X", 50)
    ledger.fill("X", ts=0, price=100 * ONE, size=-2, fee=3 * ONE)
    mark = {"X": 2 * 98 * ONE}

    assert ledger.value(mark) == -2 * 98 * 50 * ONE
    assert ledger.unrealised(mark) == 2 * 2 * 50 * ONE
    assert ledger.equity(mark) == (2 * 2 * 50 - 3) * ONE


@pytest.mark.parametrize("multiplier", [0, -1])
def test_multiplier_has_no_default(multiplier):
    with pytest.raises(InputError, match="not positive"):
        Ledger("USD").open("X", multiplier)


def test_money_beyond_its_column_is_an_error():
    ledger = Ledger("USD")
    ledger.open("X", 10**25)

    with pytest.raises(InputError, match="38 digits"):
        ledger.fill("X", ts=0, price=5000 * ONE, size=4, fee=0)


@given(hyp.lists(hyp.integers(-(10**38) + 1, 10**38 - 1)))
def test_money_columns_keep_every_digit(values):
    column = money_column(values)

    assert money_units(column) == values
    assert [from_decimal(v) for v in column.to_pylist()] == values


def test_decimals_with_too_many_digits_are_refused():
    with pytest.raises(ValueError, match="nine digits"):
        from_decimal("0.0000000001")
