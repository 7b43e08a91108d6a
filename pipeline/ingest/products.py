"""What is known of products and symbols without a definition."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

PRODUCTS_FILE = Path(__file__).resolve().parent.parent / "products.toml"

_FUTURE = re.compile(r"^([A-Z0-9]{1,8}?)([FGHJKMNQUVXZ])(\d{1,2})$")


@dataclass(frozen=True)
class Product:
    """A row of the shipped product table."""

    tick: Fraction
    multiplier: Fraction
    currency: str
    match: str | None
    roll: int = 0
    """Sessions before the last one at which the market has usually moved on."""


@dataclass(frozen=True)
class SymbolForm:
    """What the form of a raw symbol tells."""

    product: str | None
    instrument_class: str | None
    """F future, S spread of futures; None where the form tells nothing."""


@cache
def products() -> Mapping[tuple[str, str], Product]:
    """The shipped table by (dataset, root)."""
    tree = tomllib.loads(PRODUCTS_FILE.read_text(encoding="utf-8"))
    return {
        (dataset, root): Product(
            Fraction(row["tick"]),
            Fraction(row["multiplier"]),
            row["currency"],
            row.get("match"),
            row.get("roll", 0),
        )
        for dataset, rows in tree.items()
        for root, row in rows.items()
    }


def symbol_form(symbol: str) -> SymbolForm:
    """Product and class from symbols such as ``ESM5``, ``ESM5-ESU5``, ``ES:BF M5-U5-Z5``."""
    future = _FUTURE.match(symbol)
    if future:
        return SymbolForm(future.group(1), "F")
    legs = [_FUTURE.match(leg) for leg in symbol.split("-")]
    if len(legs) == 2 and legs[0] and legs[1]:
        same = legs[0].group(1) == legs[1].group(1)
        return SymbolForm(legs[0].group(1) if same else None, "S")
    root, colon, rest = symbol.partition(":")
    if colon and root.isalnum() and root != "UD" and "-" in rest:
        return SymbolForm(root, "S")
    return SymbolForm(None, None)
