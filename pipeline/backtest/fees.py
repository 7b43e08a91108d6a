"""Fees by product, role and date, from the settings; one that is missing is an error.

In ``research.toml`` each schedule is a list of rules, looked through from the first::

    [[fees.retail]]
    product = "MES"            # a product, a pattern such as "M*", or "*"
    role = "any"               # maker, taker, auction or any
    per_contract = "0.62"      # money a contract and side, as text: exact
    currency = "USD"
    from = 2024-01-01          # first session; optional
    to = 2024-12-31            # last session; optional

``mbo backtest --fees retail`` names a schedule; without a name, the only schedule with a rule
for the product is taken, and the built-in sample market has one of its own.  ``--fees 0.85``
is a flat fee a contract for everything, ``--fees 0`` none: both have to be said.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final, Self

from pipeline.backtest.ledger import from_decimal
from pipeline.errors import RequestError

BUILT_IN: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "sample": ({"product": "SIM", "role": "any", "per_contract": "1.50", "currency": "USD"},),
}
"""The sample market's own fees: it has no venue that could publish any."""

_ROLES: Final = ("maker", "taker", "auction", "any")
_KEYS: Final = ("product", "role", "per_contract", "currency", "from", "to")


@dataclass(frozen=True)
class FeeRule:
    """Money a contract and side, for products, a role and a span of sessions."""

    product: str
    role: str
    per_contract: int
    """1e-9 of the currency."""
    currency: str
    """Empty: whatever the instrument's is."""
    first: date | None = None
    last: date | None = None

    @classmethod
    def parse(cls, rule: Mapping[str, Any], where: str) -> Self:
        """From a table of the settings.

        Raises
        ------
        RequestError
            For unknown or missing keys and values that make no sense.
        """
        for key in rule:
            if key not in _KEYS:
                raise RequestError.unknown("key", key, _KEYS, where=where)
        if "product" not in rule or "per_contract" not in rule:
            raise RequestError(f"{where}: a fee needs product and per_contract")
        role = str(rule.get("role", "any"))
        if role not in _ROLES:
            raise RequestError.unknown("role", role, _ROLES, where=where)
        amount = rule["per_contract"]
        try:
            units = from_decimal(amount if isinstance(amount, int) else str(amount))
        except (ValueError, ArithmeticError):
            raise RequestError(
                f"{where}: per_contract = {amount!r} is no amount; write text such as '0.62'"
            ) from None
        spans = rule.get("from"), rule.get("to")
        if any(day is not None and type(day) is not date for day in spans):
            raise RequestError(f"{where}: from and to are dates, such as 2025-01-31")
        first, last = spans
        if first and last and first > last:
            raise RequestError(f"{where}: from = {first} is after to = {last}: it never applies")
        return cls(str(rule["product"]), role, units, str(rule.get("currency", "USD")), *spans)

    @classmethod
    def restore(cls, identity: Sequence[str]) -> Self:
        """The inverse of :meth:`FeeSchedule.identity` for one rule."""
        product, role, units, currency, *span = identity
        first, last = (None if day == "None" else date.fromisoformat(day) for day in span)
        return cls(product, role, int(units), currency, first, last)

    def covers(self, product: str, session: date | None, role: str | None) -> bool:
        """Whether it speaks of the product, and of the session and role where given."""
        return (
            fnmatch.fnmatchcase(product, self.product)
            and (role is None or self.role in ("any", role))
            and (session is None or self.first is None or self.first <= session)
            and (session is None or self.last is None or session <= self.last)
        )


@dataclass(frozen=True)
class FeeSchedule:
    """A named list of rules, the first that fits applies."""

    name: str
    rules: tuple[FeeRule, ...]

    def per_contract(self, product: str, role: str, session: date, currency: str) -> int:
        """The fee a contract, 1e-9.

        Raises
        ------
        RequestError
            If no rule covers the product, role and session, or its currency differs.
        """
        for rule in self.rules:
            if rule.covers(product, session, role):
                if rule.currency and rule.currency != currency:
                    raise RequestError(
                        f"fees.{self.name}: {product} has fees in {rule.currency}, "
                        f"but its money is {currency}"
                    )
                return rule.per_contract
        raise missing_fee(product, f" for {role} on {session}", self.name)

    def identity(self) -> list[list[str]]:
        """JSON value that determines every fee; part of what identifies a run."""
        return [
            [r.product, r.role, str(r.per_contract), r.currency, str(r.first), str(r.last)]
            for r in self.rules
        ]


def missing_fee(product: str, what: str, schedule: str) -> RequestError:
    """The error for a fee that no rule gives, with what to write."""
    name = schedule or "mine"
    return RequestError(
        f"no fee of {product}{what}{f' in fees.{schedule}' if schedule else ''}; add to "
        f"research.toml: [[fees.{name}]] product = {product!r}, per_contract = '...', "
        "or say --fees 0.85 (flat a contract) or --fees 0"
    )


def load_schedules(fees: Mapping[str, Any]) -> dict[str, FeeSchedule]:
    """All schedules of the settings, and the built-in one of the sample market."""
    schedules: dict[str, FeeSchedule] = {}
    for name, value in {**BUILT_IN, **fees}.items():
        rules = [value] if isinstance(value, Mapping) else value
        if (
            not isinstance(rules, Sequence)
            or isinstance(rules, str)
            or not all(isinstance(rule, Mapping) for rule in rules)
        ):
            raise RequestError(f"fees.{name} must be a list of tables [[fees.{name}]]")
        parsed = tuple(
            FeeRule.parse(rule, f"fees.{name}, rule {i + 1}") for i, rule in enumerate(rules)
        )
        schedules[name] = FeeSchedule(name, parsed)
    return schedules


def choose_schedule(name: str, product: str, fees: Mapping[str, Any]) -> FeeSchedule:
    """The schedule of that name; a number is a flat fee; without a name, the one that covers
    the product.

    Raises
    ------
    RequestError
        If there is none of that name, none or several that cover the product.
    """
    if re.fullmatch(r"\d+(\.\d+)?", name):
        return FeeSchedule(name, (FeeRule("*", "any", from_decimal(Decimal(name)), ""),))
    schedules = load_schedules(fees)
    if name:
        if name not in schedules:
            raise RequestError.unknown("fee schedule", name, schedules)
        return schedules[name]
    covering = [
        s for s in schedules.values() if any(r.covers(product, None, None) for r in s.rules)
    ]
    if not covering:
        raise missing_fee(product, "", "")
    if len(covering) > 1:
        names = ", ".join(s.name for s in covering)
        raise RequestError(f"several fee schedules cover {product} ({names}); name one: --fees")
    return covering[0]
