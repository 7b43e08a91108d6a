"""The ``instruments`` table: tick size, multiplier and the rest, each with its origin.

A pure function of what was seen.  In this order: the user's configuration, the definition, the
shipped product table; a tick size may also be inferred from all prices seen, and is then pinned:
a smaller one found later is an error, for every feature in ticks would change its meaning.
Money is never computed from a guess: a multiplier nobody states is null.
"""

from __future__ import annotations

import fnmatch
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from pipeline.errors import InputError, RequestError
from pipeline.ingest.products import Product, SymbolForm, products, symbol_form
from pipeline.units import PRICE_SCALE

CONFIG_KEYS = (
    "tick_size",
    "multiplier",
    "currency",
    "expiration",
    "instrument_class",
    "match_algorithm",
    "product",
)

DEFINITION_FIELDS = (
    "publisher_id",
    "instrument_id",
    "ts_recv",
    "min_price_increment",
    "display_factor",
    "min_price_increment_amount",
    "unit_of_measure_qty",
    "contract_multiplier",
    "currency",
    "expiration",
    "instrument_class",
    "match_algorithm",
    "asset",
)
"""Columns of ``vendor_definition`` that are read."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """An instrument in the data of a day."""

    symbol: str
    publisher_id: int
    instrument_id: int
    day: date
    price_gcd: int | None = None
    """Greatest common divisor of the symbol's prices that day, 1e-9."""


@dataclass(frozen=True)
class Definition:
    """A row of ``vendor_definition``: undefined values None, prices in 1e-9."""

    symbol: str
    day: date
    publisher_id: int
    instrument_id: int
    values: Mapping[str, Any]


def build_instruments(
    dataset: str,
    seen: Iterable[Seen],
    definitions: Iterable[Definition],
    config: Mapping[str, Mapping[str, Any]],
    pinned: Mapping[str, int],
    *,
    retick: bool = False,
) -> list[Facts]:
    """Rows of ``instruments``: one a symbol, publisher, instrument id and span of equal facts.

    Parameters
    ----------
    config
        Pattern -> settings of ``[instruments."PATTERN"]``; the first match wins.
    pinned
        Symbol -> tick size (1e-9) inferred before.
    retick
        Accept an inferred tick size smaller than the pinned one.

    Raises
    ------
    InputError
        If a pinned tick size turns out too large.
    RequestError
        For an unknown key or a value that cannot be read in the configuration.
    """
    check_config(config)
    days: dict[tuple[str, int, int], set[date]] = {}
    ticks: dict[str, int] = {}
    for item in seen:
        days.setdefault((item.symbol, item.publisher_id, item.instrument_id), set()).add(item.day)
        if item.price_gcd:
            ticks[item.symbol] = math.gcd(ticks.get(item.symbol, 0), item.price_gcd)
    known: dict[tuple[str, int, int], dict[date, Mapping[str, Any]]] = {}
    for row in definitions:
        key = (row.symbol, row.publisher_id, row.instrument_id)
        days.setdefault(key, set()).add(row.day)
        known.setdefault(key, {})[row.day] = row.values
    _pin(ticks, pinned, retick=retick)
    rows: list[Facts] = []
    for key in sorted(days):
        rows += _spans(dataset, key, sorted(days[key]), known.get(key, {}), config, ticks)
    _fill_spreads(rows)
    return rows


def _pin(ticks: dict[str, int], pinned: Mapping[str, int], *, retick: bool) -> None:
    """Hold inferred ticks at the pinned ones."""
    broken: list[str] = []
    for symbol, before in pinned.items():
        now = math.gcd(ticks.get(symbol, before), before)
        if now == before or retick:
            ticks[symbol] = now
        else:
            broken.append(f"{symbol} ({_decimal(before)} before, {_decimal(now)} now)")
    if broken:
        shown = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
        raise InputError(
            f"prices are finer than the tick size inferred earlier: {shown}; set tick_size in "
            '[instruments."SYMBOL"], or run `mbo ingest --retick` to recompute with the new one'
        )


def _spans(
    dataset: str,
    key: tuple[str, int, int],
    days: Sequence[date],
    known: Mapping[date, Mapping[str, Any]],
    config: Mapping[str, Mapping[str, Any]],
    ticks: Mapping[str, int],
) -> list[Facts]:
    """Rows of one instrument: neighbouring days with the same facts are one."""
    symbol, publisher_id, instrument_id = key
    rows: list[Facts] = []
    defined = sorted(known)
    described: date | None = None
    facts: Facts = {}
    for day in days:
        # A day without a definition has the last one's, or the first one's if none came yet.
        from_day = defined[max(bisect_right(defined, day) - 1, 0)] if defined else None
        if not facts or from_day != described:
            described = from_day
            source = known[from_day] if from_day else {}
            facts = describe(dataset, symbol, source, config, ticks.get(symbol))
        if rows and {name: rows[-1][name] for name in facts} == facts:
            rows[-1]["last_date"] = day
            continue
        rows.append(
            {
                "symbol": symbol,
                "instrument_id": instrument_id,
                "publisher_id": publisher_id,
                "first_date": day,
                "last_date": day,
                **facts,
            }
        )
    return rows


def describe(
    dataset: str,
    symbol: str,
    definition: Mapping[str, Any],
    config: Mapping[str, Mapping[str, Any]],
    inferred_tick: int | None,
) -> Facts:
    """Facts of one instrument with the origin of each; undefined ones are None."""
    settings = _settings(config, symbol)
    form = symbol_form(symbol)
    product_name = settings.get("product") or definition.get("asset") or form.product
    product = products().get((dataset, product_name or ""))
    class_ = _first(
        ("config", settings.get("instrument_class")),
        ("definition", definition.get("instrument_class")),
        ("symbol", form.instrument_class),
    )
    outright = class_[0] == "F"
    facts: Facts = {"product": product_name}
    values: dict[str, tuple[Any, str | None]] = {
        "tick_size": _first(
            ("config", _price(settings.get("tick_size"))),
            ("definition", _positive(definition.get("min_price_increment"))),
            ("product", _price(product.tick) if product and outright else None),
            ("inferred", inferred_tick),
        ),
        "multiplier": _multiplier(settings, definition, product, class_[0]),
        "currency": _first(
            ("config", settings.get("currency")),
            ("definition", definition.get("currency")),
            ("product", product.currency if product else None),
        ),
        "expiration": _first(
            ("config", _time(settings.get("expiration"))),
            ("definition", definition.get("expiration")),
        ),
        "instrument_class": class_,
        "match_algorithm": _first(
            ("config", settings.get("match_algorithm")),
            ("definition", _code(definition.get("match_algorithm"))),
            ("product", product.match if product and outright else None),
        ),
    }
    for name, (value, origin) in values.items():
        facts[name] = value
        facts[f"{name}_origin"] = origin
    return facts


def _first(*candidates: tuple[str, Any]) -> tuple[Any, str | None]:
    """The first value that is there, with its origin."""
    for origin, value in candidates:
        if value is not None:
            return value, origin
    return None, None


def _multiplier(
    settings: Mapping[str, Any],
    definition: Mapping[str, Any],
    product: Product | None,
    instrument_class: str | None,
) -> tuple[Decimal | None, str | None]:
    if "multiplier" in settings:
        return _money(exact(settings["multiplier"])), "config"
    stated = definition_multiplier(definition)
    if stated is not None and _money(stated) is not None:
        return _money(stated), "definition"
    if product is not None and instrument_class in ("F", "S"):
        return _money(product.multiplier), "product"
    return None, None


def definition_multiplier(definition: Mapping[str, Any]) -> Fraction | None:
    """Money of one whole price unit, if the definition says it without contradiction.

    ``min_price_increment_amount / min_price_increment / display_factor`` must be defined and
    equal ``unit_of_measure_qty`` (or ``contract_multiplier``, where that is set).  For rates and
    grains the latter counts face value or bushels: they differ, and a table must decide.  The
    size of a share (class K) is one share.
    """
    if definition.get("instrument_class") == "K":
        return Fraction(1)
    amount = definition.get("min_price_increment_amount")
    step = definition.get("min_price_increment")
    factor = definition.get("display_factor")
    if not amount or not step or not factor:
        return None
    computed = Fraction(amount, step) / Fraction(factor, PRICE_SCALE)
    quantity = definition.get("unit_of_measure_qty")
    contract = definition.get("contract_multiplier")
    stated = []
    if quantity:
        stated.append(Fraction(quantity, PRICE_SCALE))
    if contract:
        stated.append(Fraction(contract))
    return computed if computed in stated and computed > 0 else None


def _fill_spreads(rows: list[Facts]) -> None:
    """A calendar spread is worth what its legs are worth: definitions leave it undefined."""
    outright: dict[str, set[tuple[Decimal, str]]] = {}
    for row in rows:
        if row["instrument_class"] == "F" and row["multiplier"] is not None and row["product"]:
            worth = (row["multiplier"], row["multiplier_origin"])
            outright.setdefault(row["product"], set()).add(worth)
    for row in rows:
        if row["multiplier"] is not None or row["instrument_class"] != "S":
            continue
        form: SymbolForm = symbol_form(row["symbol"])
        found = outright.get(form.product or "", set())
        if form.instrument_class == "S" and len({worth for worth, _ in found}) == 1:
            row["multiplier"], row["multiplier_origin"] = min(found)


def check_config(config: Mapping[str, Mapping[str, Any]], origin: str = "") -> None:
    """Every key known, every value readable; ``origin`` is the file they come from.

    Raises
    ------
    RequestError
        Otherwise; it names the key.
    """
    for pattern, settings in config.items():
        where = f"{origin}: " * bool(origin) + f'[instruments."{pattern}"]'
        if not isinstance(settings, Mapping):
            raise RequestError(f"{where} must be a table")
        for key, value in settings.items():
            if key not in CONFIG_KEYS:
                raise RequestError.unknown("setting", key, CONFIG_KEYS, where=where)
            try:
                _check_value(key, value)
            except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
                raise RequestError(f"{where}: {key} = {value!r} is unusable: {error}") from None


def _check_value(key: str, value: Any) -> None:
    if key == "tick_size":
        if not (_price(value) or 0) > 0:
            raise ValueError("it must be a positive multiple of 1e-9")
    elif key == "multiplier":
        number = exact(value)
        if number <= 0 or _money(number) is None:
            raise ValueError("it must be positive with at most 9 decimals")
    elif key == "expiration":
        _time(value)
    elif not isinstance(value, str) or not value:
        raise ValueError("it must be text")


def _settings(config: Mapping[str, Mapping[str, Any]], symbol: str) -> Mapping[str, Any]:
    for pattern, settings in config.items():
        if fnmatch.fnmatchcase(symbol, pattern):
            return settings
    return {}


def exact(value: Any) -> Fraction:
    """A number as it was written: ``"0.25"``, ``"1/64"``, ``0.1`` (one tenth), ``5``.

    Raises
    ------
    ValueError, TypeError
        If it is none.
    """
    if isinstance(value, bool):
        raise TypeError("it must be a number")
    return Fraction(str(value))


def _price(value: Any) -> int | None:
    """In 1e-9 units; None where that is not whole."""
    if value is None:
        return None
    scaled = exact(value) * PRICE_SCALE
    return int(scaled) if scaled.denominator == 1 else None


def _positive(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None


def _code(value: str | None) -> str | None:
    return value if value and value.strip() else None


def _money(value: Fraction) -> Decimal | None:
    """As stored (nine decimals); None where that is not exact."""
    scaled = value * PRICE_SCALE
    if scaled.denominator != 1 or abs(scaled) >= 10**38:
        return None
    return Decimal(int(scaled)).scaleb(-9)


def _decimal(price: int) -> str:
    return f"{Decimal(price).scaleb(-9).normalize():f}"


def _time(value: Any) -> int | None:
    """A moment in nanoseconds since the epoch, UTC where no zone is given; a date means its
    beginning.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise TypeError("it must be a date or a time")
    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
