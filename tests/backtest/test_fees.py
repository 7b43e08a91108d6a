"""Fees: by product, role and date; never zero by default."""

from __future__ import annotations

import tomllib
from datetime import date

import pytest

from pipeline.backtest.fees import FeeRule, choose_schedule
from pipeline.errors import RequestError
from pipeline.roots import ROOT

DAY = date(2025, 5, 1)
RULES = {
    "mine": [
        {"product": "ES", "role": "maker", "per_contract": "1.10", "to": date(2024, 12, 31)},
        {"product": "ES", "role": "maker", "per_contract": "1.20", "from": date(2025, 1, 1)},
        {"product": "ES", "per_contract": "1.40"},
    ]
}


@pytest.mark.parametrize(
    ("role", "day", "units"),
    [
        ("maker", date(2024, 12, 31), 1_100_000_000),
        ("maker", DAY, 1_200_000_000),
        ("taker", DAY, 1_400_000_000),
        ("auction", DAY, 1_400_000_000),
    ],
)
def test_first_rule_that_fits_applies(role, day, units):
    assert choose_schedule("", "ES", RULES).per_contract("ES", role, day, "USD") == units


def test_schedules_survive_their_identity():
    schedule = choose_schedule("mine", "ES", RULES)

    assert tuple(FeeRule.restore(item) for item in schedule.identity()) == schedule.rules


def test_flat_fees_are_said_on_the_command_line():
    assert choose_schedule("0.85", "ZZ", {}).per_contract("ZZ", "maker", DAY, "EUR") == 850_000_000
    assert choose_schedule("0", "ZZ", {}).per_contract("ZZ", "taker", DAY, "USD") == 0


def test_fees_can_be_paid_to_us():
    rebate = {"a": [{"product": "ES", "role": "maker", "per_contract": "-0.20"}]}

    assert (
        choose_schedule("a", "ES", rebate).per_contract("ES", "maker", DAY, "USD") == -200_000_000
    )


def test_the_settings_examples_are_rules_that_work():
    text = (ROOT / "research.toml").read_text()
    lines = [line.removeprefix("# ") for line in text[text.index("# [[fees") :].splitlines()]
    example = tomllib.loads("\n".join("" if line == "#" else line for line in lines))["fees"]

    def fee(product: str, role: str, day: date) -> int:
        schedule = choose_schedule("", product, example)
        return schedule.per_contract(product, role, day, "USD") // 10**7

    assert [fee("ES", "taker", day) for day in (date(2024, 12, 31), DAY)] == [218, 225]
    assert [fee("NQ", role, DAY) for role in ("maker", "taker", "auction")] == [210, 225, 225]
    assert [fee(product, "maker", DAY) for product in ("MES", "CL")] == [62, 250]


def test_sample_market_has_fees_of_its_own():
    assert choose_schedule("", "SIM", {}).name == "sample"


@pytest.mark.parametrize(
    ("fees", "name", "product", "message"),
    [
        ({}, "", "ES", r"no fee of ES.*\[\[fees.mine\]\]"),
        (RULES, "mien", "ES", "did you mean 'mine'"),
        ({**RULES, "b": RULES["mine"]}, "", "ES", "several fee schedules"),
        ({"a": [{"product": "ES"}]}, "", "ES", "needs product and per_contract"),
        ({"a": [{"product": "ES", "per_contract": "x"}]}, "", "ES", "is no amount"),
        ({"a": [{"product": "ES", "per_contrct": "1"}]}, "", "ES", "did you mean 'per_contract'"),
        ({"a": [{"product": "ES", "per_contract": "1", "role": "mker"}]}, "", "ES", "'maker'"),
        ({"a": "1.5"}, "", "ES", "must be a list of tables"),
        (
            {"a": [{"product": "ES", "per_contract": "1", "from": DAY, "to": date(2024, 1, 1)}]},
            "",
            "ES",
            "never applies",
        ),
    ],
)
def test_wrong_requests_say_what_to_write(fees, name, product, message):
    with pytest.raises(RequestError, match=message):
        choose_schedule(name, product, fees)


def test_missing_role_currency_and_date_are_errors():
    maker_only = {"a": [{"product": "ES", "role": "maker", "per_contract": "1"}]}
    schedule = choose_schedule("a", "ES", maker_only)

    with pytest.raises(RequestError, match="for taker on 2025-05-01"):
        schedule.per_contract("ES", "taker", DAY, "USD")
    with pytest.raises(RequestError, match="its money is EUR"):
        schedule.per_contract("ES", "maker", DAY, "EUR")
