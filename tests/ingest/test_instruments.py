"""The instruments table: tick size, multiplier and their origins."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import Settings
from pipeline.errors import InputError, RequestError
from pipeline.ingest.instruments import (
    Definition,
    Seen,
    build_instruments,
    definition_multiplier,
)
from pipeline.ingest.products import products, symbol_form
from tests.ingest.making import DAY, T0, ingest, mbo, settings, table, write

D1 = dt.date(2025, 5, 1)
D2 = dt.date(2025, 5, 2)
UNIT = 10**9

ES = {
    "min_price_increment": UNIT // 4,
    "display_factor": UNIT // 100,
    "min_price_increment_amount": UNIT // 8,
    "unit_of_measure_qty": 50 * UNIT,
    "contract_multiplier": None,
    "currency": "USD",
    "expiration": 1_750_426_200 * UNIT,
    "instrument_class": "F",
    "match_algorithm": "F",
    "asset": "ES",
}
NOTHING = dict.fromkeys(ES)


def build(
    symbol: str = "ESM5",
    definition: dict[str, Any] | None = None,
    *,
    config: dict[str, Any] | None = None,
    gcd: int | None = UNIT // 4,
    pinned: dict[str, int] | None = None,
    retick: bool = False,
    dataset: str = "GLBX.MDP3",
) -> dict[str, Any]:
    """The one row of one instrument seen on one day."""
    definitions = [] if definition is None else [Definition(symbol, D1, 1, 7, definition)]
    seen = [Seen(symbol, 1, 7, D1, gcd)]
    (row,) = build_instruments(
        dataset, seen, definitions, config or {}, pinned or {}, retick=retick
    )
    return row


def test_a_definition_decides() -> None:
    row = build(definition=ES)
    assert (row["tick_size"], row["tick_size_origin"]) == (250_000_000, "definition")
    assert (row["multiplier"], row["multiplier_origin"]) == (Decimal(50), "definition")
    assert (row["currency"], row["currency_origin"]) == ("USD", "definition")
    assert (row["instrument_class"], row["instrument_class_origin"]) == ("F", "definition")
    assert (row["match_algorithm"], row["match_algorithm_origin"]) == ("F", "definition")
    assert row["expiration_origin"] == "definition"
    assert row["product"] == "ES"


def test_without_a_definition_the_product_table_decides() -> None:
    row = build("ESH4")
    assert (row["tick_size"], row["tick_size_origin"]) == (250_000_000, "product")
    assert (row["multiplier"], row["multiplier_origin"]) == (Decimal(50), "product")
    assert (row["instrument_class"], row["instrument_class_origin"]) == ("F", "symbol")
    assert row["expiration"] is None
    assert row["expiration_origin"] is None


def test_what_nobody_knows_is_null_and_the_tick_is_inferred() -> None:
    row = build("XYZM5")
    assert (row["tick_size"], row["tick_size_origin"]) == (250_000_000, "inferred")
    assert (row["multiplier"], row["multiplier_origin"]) == (None, None)
    assert (row["currency"], row["match_algorithm"]) == (None, None)
    assert build("XYZM5", gcd=None)["tick_size"] is None


def test_the_product_table_belongs_to_its_dataset() -> None:
    assert build("ESM5", dataset="XNAS.ITCH")["multiplier"] is None


def test_the_configuration_overrides_everything() -> None:
    config = {
        "NQ*": {"multiplier": "1"},
        "ES*": {
            "tick_size": "1/64",
            "multiplier": 0.1,
            "currency": "EUR",
            "match_algorithm": "K",
            "expiration": "2025-06-20T13:30:00",
            "instrument_class": "F",
            "product": "XX",
        },
        "ESM5": {"multiplier": "9"},
    }
    row = build(definition=ES, config=config)
    assert (row["tick_size"], row["tick_size_origin"]) == (15_625_000, "config")
    assert (row["multiplier"], row["multiplier_origin"]) == (Decimal("0.1"), "config")
    assert (row["currency"], row["currency_origin"]) == ("EUR", "config")
    assert (row["match_algorithm"], row["match_algorithm_origin"]) == ("K", "config")
    assert row["expiration"] == 1_750_426_200 * UNIT
    assert row["product"] == "XX"


@pytest.mark.parametrize(
    ("settings_", "says"),
    [
        ({"multiplyer": "1"}, "did you mean 'multiplier'"),
        ({"tick_size": "a quarter"}, "tick_size = 'a quarter' is unusable"),
        ({"tick_size": "1/3"}, "positive multiple of 1e-9"),
        ({"tick_size": 0}, "positive multiple of 1e-9"),
        ({"tick_size": True}, "it must be a number"),
        ({"multiplier": "-5"}, "it must be positive"),
        ({"multiplier": "1/0"}, "is unusable"),
        ({"multiplier": "1/3"}, "at most 9 decimals"),
        ({"currency": 5}, "it must be text"),
        ({"expiration": "soon"}, "is unusable"),
    ],
)
def test_wrong_settings_are_wrong_requests(settings_: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=r'\[instruments."ES\*"\]') as caught:
        build(config={"ES*": settings_})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Fraction(50)),
        # NQ
        (
            {"min_price_increment_amount": UNIT // 20, "unit_of_measure_qty": 20 * UNIT},
            Fraction(20),
        ),
        # Rates: the face value is no multiplier; another source must decide.
        ({"unit_of_measure_qty": 100_000 * UNIT}, None),
        ({"unit_of_measure_qty": 100_000 * UNIT, "contract_multiplier": 50}, Fraction(50)),
        ({"unit_of_measure_qty": None}, None),
        ({"min_price_increment_amount": None}, None),
        ({"min_price_increment": None}, None),
        ({"display_factor": None}, None),
        ({"display_factor": 0}, None),
        ({"instrument_class": "K", "min_price_increment": None}, Fraction(1)),
    ],
)
def test_the_multiplier_of_a_definition(changes: dict[str, Any], expected: Fraction | None) -> None:
    assert definition_multiplier({**ES, **changes}) == expected


def test_where_a_definition_contradicts_itself_the_product_table_decides() -> None:
    definition = {
        **ES,
        "asset": "ZN",
        "min_price_increment": 15_625_000,
        "min_price_increment_amount": 156_250_000,
        "unit_of_measure_qty": 100_000 * UNIT,
    }
    row = build("ZNM5", definition)
    assert (row["multiplier"], row["multiplier_origin"]) == (Decimal(1000), "product")
    assert (row["tick_size"], row["tick_size_origin"]) == (15_625_000, "definition")
    unknown = build("XXM5", {**definition, "asset": "XX"})
    assert unknown["multiplier"] is None


@pytest.mark.parametrize(
    ("symbol", "product", "kind"),
    [
        ("ESM5", "ES", "F"),
        ("MESM5", "MES", "F"),
        ("6EZ24", "6E", "F"),
        ("M2KU5", "M2K", "F"),
        ("ESM5-ESU5", "ES", "S"),
        ("ESM5-NQM5", None, "S"),
        ("ES:BF M5-U5-Z5", "ES", "S"),
        ("UD:1V: VT 0504928512", None, None),
        ("NVDA", None, None),
        ("BRN FMJ0024!", None, None),
        ("#123", None, None),
        ("BRK/B", None, None),
    ],
)
def test_what_the_form_of_a_symbol_tells(symbol: str, product: str | None, kind: str) -> None:
    form = symbol_form(symbol)
    assert (form.product, form.instrument_class) == (product, kind)


def test_a_calendar_spread_is_worth_what_its_product_is_worth() -> None:
    spread = {**NOTHING, "instrument_class": "S", "asset": "XX", "min_price_increment": UNIT // 20}
    seen = [Seen("XXM5", 1, 7, D1, None), Seen("XXM5-XXU5", 1, 8, D1, None)]
    definitions = [
        Definition("XXM5", D1, 1, 7, {**ES, "asset": "XX"}),
        Definition("XXM5-XXU5", D1, 1, 8, spread),
    ]
    outright, row = build_instruments("SIM.MDP3", seen, definitions, {}, {})
    assert outright["multiplier"] == row["multiplier"] == Decimal(50)
    assert row["multiplier_origin"] == "definition"
    assert row["tick_size"] == UNIT // 20
    (alone,) = build_instruments("SIM.MDP3", seen[1:], definitions[1:], {}, {})
    assert alone["multiplier"] is None


def test_the_products_tick_is_not_its_spreads() -> None:
    row = build("ESM5-ESU5", gcd=UNIT // 20)
    assert (row["tick_size"], row["tick_size_origin"]) == (UNIT // 20, "inferred")
    assert (row["multiplier"], row["multiplier_origin"]) == (Decimal(50), "product")
    assert row["match_algorithm"] is None


def test_days_with_the_same_facts_are_one_span() -> None:
    seen = [Seen("ESM5", 1, 7, day) for day in (D1, D2)]
    (row,) = build_instruments("GLBX.MDP3", seen, [Definition("ESM5", D1, 1, 7, ES)], {}, {})
    assert (row["first_date"], row["last_date"]) == (D1, D2)


def test_a_changed_definition_begins_a_span() -> None:
    changed = {**ES, "match_algorithm": "K"}
    definitions = [Definition("ESM5", D1, 1, 7, ES), Definition("ESM5", D2, 1, 7, changed)]
    first, second = build_instruments("GLBX.MDP3", [], definitions, {}, {})
    assert (first["last_date"], second["first_date"]) == (D1, D2)
    assert (first["match_algorithm"], second["match_algorithm"]) == ("F", "K")


def test_two_ids_of_a_symbol_are_two_rows() -> None:
    seen = [Seen("ESM5", 1, 7, D1), Seen("ESM5", 1, 9, D2)]
    rows = build_instruments("GLBX.MDP3", seen, [], {}, {})
    assert [row["instrument_id"] for row in rows] == [7, 9]


def test_the_inferred_tick_is_the_divisor_of_all_days() -> None:
    seen = [Seen("XYZM5", 1, 7, D1, 6 * UNIT), Seen("XYZM5", 1, 7, D2, 4 * UNIT)]
    (row,) = build_instruments("GLBX.MDP3", seen, [], {}, {})
    assert row["tick_size"] == 2 * UNIT


def test_a_smaller_tick_found_later_is_an_error_that_names_retick() -> None:
    with pytest.raises(InputError, match=r"XYZM5 \(0.5 before, 0.25 now\).*--retick"):
        build("XYZM5", pinned={"XYZM5": UNIT // 2})
    row = build("XYZM5", pinned={"XYZM5": UNIT // 2}, retick=True)
    assert row["tick_size"] == UNIT // 4


def test_a_pinned_tick_stays_when_days_go_away() -> None:
    assert build("XYZM5", gcd=UNIT, pinned={"XYZM5": UNIT // 4})["tick_size"] == UNIT // 4


def test_the_shipped_table_is_exact() -> None:
    table_ = products()
    roots = (
        "ES NQ RTY YM MES MNQ M2K MYM CL MCL NG GC MGC SI HG ZN ZB ZF ZT 6E 6J 6B ZC ZS ZW LE HE"
    )
    assert {root for _, root in table_} == set(roots.split())
    for product in table_.values():
        assert (product.tick * UNIT).denominator == 1
        assert (product.multiplier * UNIT).denominator == 1
        assert len(product.currency) == 3
    # Money of a tick, from the contract specifications.
    worth = {"ES": "12.5", "NQ": "5", "YM": "5", "CL": "10", "GC": "10", "ZN": "15.625"}
    worth |= {"ZB": "31.25", "ZT": "7.8125", "6E": "6.25", "6J": "6.25", "ZC": "12.5", "HE": "10"}
    for root, money in worth.items():
        product = table_["GLBX.MDP3", root]
        assert product.tick * product.multiplier == Fraction(money)


# --- Through the stage


def test_real_instruments_with_and_without_definition(real_data: Path, tmp_path: Path) -> None:
    roots = [real_data / name for name in ("esh4", "esm4-snapshot", "esu4-vendor")]
    ingest(tmp_path, *roots, with_instruments=True)
    rows = {row["symbol"]: row for row in table(tmp_path, "instruments").to_pylist()}
    expected = {
        "ESH4": (50, "product"),
        "ESM4": (50, "definition"),
        "ESU4": (50, "definition"),
        "NQU4": (20, "definition"),
    }
    assert {s: (r["multiplier"], r["multiplier_origin"]) for s, r in rows.items()} == expected
    assert {row["tick_size"] for row in rows.values()} == {250_000_000}
    assert (rows["ESH4"]["instrument_id"], rows["ESH4"]["publisher_id"]) == (17077, 1)
    assert rows["ESH4"]["first_date"] == dt.date(2023, 12, 24)
    assert rows["ESH4"]["last_date"] == dt.date(2023, 12, 25)
    assert str(rows["NQU4"]["expiration"]).startswith("2024-09-20 13:30:00")
    again = ingest(tmp_path, *roots, with_instruments=True)
    assert (again.done, again.up_to_date) == (0, 1)


def test_the_pinned_tick_across_runs(tmp_path: Path) -> None:
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    coarse = mbo(50)
    coarse["price"] = (coarse["price"] // UNIT) * UNIT
    write(raw / "a.mbo.dbn", coarse, symbols={"XYZM5": 1})
    ingest(lake, raw, with_instruments=True)
    assert table(lake, "instruments")["tick_size"].to_pylist() == [UNIT]
    later = T0 + DAY
    write(raw / "b.mbo.dbn", mbo(50, start=later), symbols={"XYZM5": 1}, start=later,
          end=later + DAY)  # fmt: skip
    summary = ingest(lake, raw, with_instruments=True)
    assert "--retick" in summary.failed[0][1]
    assert table(lake, "instruments")["tick_size"].to_pylist() == [UNIT]
    summary = ingest(lake, raw, with_instruments=True, retick=True)
    assert summary.failed == []
    assert table(lake, "instruments")["tick_size"].to_pylist() == [UNIT // 4]
    assert ingest(lake, raw, with_instruments=True).up_to_date == 1


def test_the_configuration_is_a_parameter(tmp_path: Path) -> None:
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    write(raw / "a.mbo.dbn", mbo(5), symbols={"XYZM5": 1})
    ingest(lake, raw, with_instruments=True)
    assert table(lake, "instruments")["multiplier"].to_pylist() == [None]
    chosen = Settings(raw=settings(raw).raw, instruments={"XYZ*": {"multiplier": "12.5"}})
    assert ingest(lake, chosen=chosen, with_instruments=True).done == 1
    assert table(lake, "instruments")["multiplier"].to_pylist() == [Decimal("12.500000000")]


def test_negative_and_zero_prices_have_a_tick(tmp_path: Path) -> None:
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    records = mbo(6)
    records["price"] = np.array([-150, 0, 50, -100, 2**63 - 1, 100]) * 10**6 * np.array(
        [1, 1, 1, 1, 0, 1]
    ) + np.array([0, 0, 0, 0, 2**63 - 1, 0])  # fmt: skip
    write(raw / "a.mbo.dbn", records, symbols={"ESM5-ESU5": 1})
    ingest(lake, raw, with_instruments=True)
    assert table(lake, "instruments")["tick_size"].to_pylist() == [50_000_000]
