"""Values of settings: from TOML or the environment to the type and range a key has.

A field of a settings class may carry a :class:`Range` in its metadata; what lies outside is an
error that names file and key, before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal, InvalidOperation
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from pipeline.errors import RequestError
from pipeline.units import parse_duration

_RANGE, _TABLES_OF = "range", "tables_of"


class EnvironmentText(str):
    """A value from the environment: text that stands for whatever type the setting has."""

    __slots__ = ()


@dataclass(frozen=True)
class Range:
    """What a value may be, besides its type; of a list, what each of its items may be."""

    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    duration: str = ""
    """``any``; ``positive``: longer than 0; ``optional``: may be empty; ``latency``: or a
    distribution.
    """
    money: bool = False
    """Text of a positive decimal number."""
    may_be_empty: bool = False
    filled: bool = False
    """A list that may not be empty."""

    def fault(self, place: str, value: Any) -> str:
        """What is wrong with a value; empty if nothing."""
        if isinstance(value, tuple):
            if self.filled and not value:
                return f"{place} is empty; choose of {', '.join(self.choices)}"
            return next((f for item in value if (f := self.fault(place, item))), "")
        if self.choices and value not in self.choices:
            return str(RequestError.unknown(place, value, self.choices))
        if self.duration:
            return self._duration_fault(place, value)
        if self.money and not (_is_money(value) or (self.may_be_empty and not value)):
            return f"{place} = {value!r} is no positive amount of money"
        low = self.low is not None and not value >= self.low
        if low or (self.high is not None and not value <= self.high):
            return f"{place} is {value}; choose {self._words()}"
        return ""

    def _duration_fault(self, place: str, text: str) -> str:
        if not text and "optional" in self.duration:
            return ""
        if "latency" in self.duration and text.startswith(("lognormal:", "table:")):
            return ""  # checked where it is used
        try:
            length = parse_duration(text)
        except ValueError as error:
            return f"{place}: {error}"
        if length == 0 and self.duration == "positive":
            return f"{place} is 0; write a duration such as 1s or 100ms"
        return ""

    def _words(self) -> str:
        low, high = (None if v is None else f"{v:g}" for v in (self.low, self.high))
        return f"{low} to {high}" if high is not None else f"{low} or more"


def _is_money(text: str) -> bool:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return False
    return value.is_finite() and value > 0


def ranged(default: Any, **limits: Any) -> Any:
    """A field of a settings class with a :class:`Range`."""
    return field(default=default, metadata={_RANGE: Range(**limits)})


def tables_of(kind: type) -> Any:
    """A field that maps names of the user's own to tables with keys of ``kind``; each becomes
    a mapping of the keys that were written.
    """
    return field(default_factory=dict, metadata={_TABLES_OF: kind})


def build(kind: type, tree: Mapping[str, Any], origin: str, where: str = "") -> Any:
    """A settings class from a tree of tables.

    Raises
    ------
    RequestError
        For unknown keys, and values of the wrong type or out of range.
    """
    return kind(**values_of(kind, tree, origin, where))


def values_of(kind: type, tree: Mapping[str, Any], origin: str, where: str) -> dict[str, Any]:
    """The values a table gives to fields of ``kind``, converted and checked."""
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind) if f.name != "origin"}
    values: dict[str, Any] = {}
    for key, value in tree.items():
        place = f"{where}.{key}" if where else key
        if key not in known:
            at = "the environment" if isinstance(value, EnvironmentText) else origin
            names = [f"{where}.{name}" if where else name for name in known]
            raise RequestError.unknown("setting", place, names, where=at)
        hint, metadata = hints[key], known[key].metadata
        if is_dataclass(hint) and isinstance(hint, type):
            values[key] = build(hint, _table(value, place, origin), origin, place)
        elif _TABLES_OF in metadata:
            values[key] = {
                name: values_of(
                    metadata[_TABLES_OF],
                    _table(table, f'{place}."{name}"', origin),
                    origin,
                    f'{place}."{name}"',
                )
                for name, table in _table(value, place, origin).items()
            }
        else:
            values[key] = _convert(value, hint, place, origin, metadata.get(_RANGE))
    return values


def _table(value: Any, place: str, origin: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestError(f"{origin}: {place} must be a table [{place}]")
    return value


def _convert(value: Any, hint: Any, place: str, origin: str, limits: Range | None) -> Any:
    source = f"environment (MBO_{place.upper().replace('.', '__')})"
    at = source if isinstance(value, EnvironmentText) else origin
    if get_origin(hint) is UnionType:
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    wrong = RequestError(f"{at}: {place} = {value!r} is not {_describe(hint)}")
    if isinstance(value, EnvironmentText):
        value = _from_text(str(value), hint, wrong)
    converted = _typed(value, hint, wrong)
    if limits and (fault := limits.fault(place, converted)):
        raise RequestError(f"{at}: {fault}")
    return converted


def _typed(value: Any, hint: Any, wrong: RequestError) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, float, bool):
        if type(value) is not hint:
            raise wrong
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise wrong
        return tuple(value)
    if not isinstance(value, Mapping):
        raise wrong
    return value


def _from_text(text: str, hint: Any, wrong: RequestError) -> Any:
    try:
        if hint is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        if hint in (int, float):
            return hint(text)
    except (KeyError, ValueError):
        raise wrong from None
    if hint is str:
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _describe(hint: Any) -> str:
    names = {int: "a whole number", str: "text", float: "a number", bool: "true or false"}
    if hint in names:
        return names[hint]
    return "a list of texts" if get_origin(hint) is tuple else "a table"
