"""Normalisers (catalogue group N): any feature's column in other units, by its name.

``ofi_10s__z_60s`` is ``ofi_10s`` in standard deviations of its last minute; what follows the two
underscores is one of :data:`NORMALISERS`.  Two may follow each other: ``ofi_10s__z_60s__tanh_2``.
What is normalised is the value as its formula gives it, before it is rounded to its type; windows
hold the values at every event, whatever the clock.  What a column does when sides change places,
sizes are scaled or prices shifted follows from what its base does.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from features.columns import depth, if_ok, if_ok_flow, mid_ticks, px, ratio
from features.combine import CENTRE, HIGH, LOW, SPREAD
from features.nodes import DURATION_PATTERN, WINDOW_PATTERN
from features.nodes import window as parse_window
from features.profiles import MINUTE, profile, quantiles
from features.windows import above_rounding, previous, rank_among, shared, spread_of
from pipeline.errors import RequestError

if TYPE_CHECKING:
    from features.registry import Column, Family

MARK: Final = "__"
"""Between a column's name and its normalisers; no other name has it."""

MOST: Final = 2
"""Normalisers that may follow each other."""

_NUMBER = r"[0-9]{1,9}(?:p[0-9]{1,6})?"


@dataclass(frozen=True)
class Normaliser:
    """One way to normalise: its name, the form of its argument, and what it makes of a family."""

    name: str
    catalogue: str
    pattern: str
    """Of the text after ``name_``; empty where there is none."""
    examples: tuple[str, ...]
    """Names as they are written, for lists and tests."""
    apply: Callable[[Column, str], Family]

    @property
    def doc(self) -> str:
        """Formula and meaning."""
        return inspect.cleandoc(self.apply.__doc__ or "")

    def matches(self, form: str) -> str | None:
        """The argument in ``form``, if it is one of this normaliser's."""
        found = re.fullmatch(rf"{self.name}(?:_({self.pattern}))?", form)
        if found is None or bool(found[1]) != bool(self.pattern):
            return None
        return found[1] or ""


def number(text: str) -> float:
    """``2`` or ``0p5``: a number as it is written in names."""
    return float(text.replace("p", "."))


def _value(column: Column) -> pl.Expr:
    """The formula's value, before it is rounded to the column's type."""
    family = column.family
    return shared(column.formula.cast(pl.Float64 if family.dtype.is_float() else family.dtype))


def _derived(column: Column, expr: pl.Expr, unit: str, **changes: object) -> Family:
    base = column.family
    fields: dict[str, object] = {
        "function": lambda: expr,
        "unit": unit,
        "dtype": pl.Float32(),
        "params": {},
        "low": None,
        "high": None,
        "shift": "other" if base.shift == "level" else base.shift,
    }
    return replace(base, **(fields | changes))  # type: ignore[arg-type]


def _relative(base: Family) -> dict[str, object]:
    """What holds of a value compared with others of its own: its level and scale drop out."""
    return {
        "mirror": "odd" if base.mirror == "complement" else base.mirror,
        "shift": "other" if base.shift == "other" else "none",
        "size_power": None if base.size_power is None else 0,
    }


def _curved(base: Family) -> dict[str, object]:
    """What holds of an odd function of a value that is not linear."""
    return {
        "mirror": "other" if base.mirror == "complement" else base.mirror,
        "size_power": 0 if base.size_power == 0 else None,
    }


def _z(column: Column, argument: str) -> Family:
    """(x - mean) / sigma over a window, the present value included; null where sigma is 0."""
    x = _value(column)
    spread = spread_of(x, argument)
    score = pl.when(above_rounding(spread)).then((x - spread.mean) / spread.sigma)
    return _derived(column, score, "sigma", **_relative(column.family))


def _zpast(column: Column, argument: str) -> Family:
    """(x - mean) / sigma, where every event of the window stands for the value before it.

    An outlier does not weigh in what it is compared with.
    """
    x = _value(column)
    spread = spread_of(pl.when(x.is_not_null()).then(previous(x)), argument)
    score = pl.when(above_rounding(spread)).then((x - spread.mean) / spread.sigma)
    return _derived(column, score, "sigma", **_relative(column.family))


def _rank(column: Column, argument: str) -> Family:
    """(Values below - values above) / N among the last N rows with a value, in (-1, 1).

    Twice the percentile rank less 1; of the last event's value, which it includes.
    """
    ranked = rank_among(_value(column), parse_window(argument).size)
    bounds = {"low": -1, "high": 1}
    return _derived(column, ranked, "rank", **(_relative(column.family) | bounds))


def _tanh(column: Column, argument: str) -> Family:
    """Tanh(x / c): c as given (0p5 is 0.5), or for a window twice its sigma; in [-1, 1].

    Null where sigma is 0.
    """
    x = _value(column)
    bounds = {"low": -1, "high": 1}
    if re.fullmatch(_NUMBER, argument):
        curved = (x / number(argument)).tanh()
        return _derived(column, curved, "", **(_curved(column.family) | bounds))
    spread = spread_of(x, argument)
    curved = pl.when(above_rounding(spread)).then((x / (2 * spread.sigma)).tanh())
    changes = _curved(column.family) | bounds
    if column.family.size_power is not None:
        changes["size_power"] = 0
    return _derived(column, curved, "", **changes)


def _slog(column: Column, argument: str) -> Family:
    """Signed logarithm: sign(x) ln(1 + |x| / c), c = 1 unless given."""
    x = _value(column)
    scale = number(argument)
    low = 0 if column.family.low is not None and column.family.low >= 0 else None
    unit = f"log {column.family.unit}".strip()
    curved = x.sign() * (x.abs() / scale).log1p()
    return _derived(column, curved, unit, low=low, **_curved(column.family))


def _in(column: Column, unit: str, form: str) -> None:
    if column.family.unit != unit:
        raise RequestError(
            f"feature {column.name + MARK + form!r}: {form} needs a feature in {unit}, "
            f"{column.name} is in {column.family.unit or 'no unit'}"
        )


def _sign(column: Column) -> dict[str, object]:
    """Bounds that dividing by something positive leaves."""
    base = column.family
    return {
        "low": 0 if base.low is not None and base.low >= 0 else None,
        "high": 0 if base.high is not None and base.high <= 0 else None,
        "mirror": "other" if base.mirror == "complement" else base.mirror,
    }


def _ticks(column: Column, _argument: str) -> Family:
    """Basis points of the mid as ticks: x |m| / 1e4; null without a mid."""
    _in(column, "bps", "ticks")
    value = _value(column) * mid_ticks().abs() / 1e4
    return _derived(column, value, "ticks", **(_sign(column) | {"shift": "other"}))


def _half_spreads(column: Column, _argument: str) -> Family:
    """Ticks as half-spreads: x / ((a_0 - b_0) / 2); null unless the touch is two-sided."""
    _in(column, "ticks", "half_spreads")
    half = if_ok((px("ask") - px("bid")) / (2 * pl.col("tick")))
    return _derived(column, ratio(_value(column), half), "half-spreads", **_sign(column))


def _depth(column: Column, argument: str) -> Family:
    """Contracts as shares of the displayed depth: x / ((B + A) / 2) over the best levels."""
    _in(column, "contracts", f"depth_{argument}")
    levels = int(argument)
    average = if_ok_flow((depth("bid", levels) + depth("ask", levels)) / 2)
    power = column.family.size_power
    return _derived(
        column,
        ratio(_value(column), average),
        f"depth of {levels} levels",
        **(_sign(column) | {"size_power": None if power is None else power - 1}),
    )


def _sigma(column: Column, argument: str) -> Family:
    """Ticks as expected moves: x / (sigma_h sqrt(tau)), sigma_h as in V10, at least half a tick."""
    from features.returns import FLOOR
    from features.volatility import ew_volatility

    _in(column, "ticks", f"sigma_{argument}")
    half_life, _, horizon = argument.partition("_")
    expected = ew_volatility(half_life) * parse_window(horizon).seconds ** 0.5
    expected = pl.when(expected < FLOOR).then(FLOOR).otherwise(expected)
    return _derived(column, _value(column) / expected, "sigma", **_sign(column))


def _of_prices(column: Column) -> bool:
    """True of what depends on a price's level: past values of another contract tell nothing.

    A peer moves with us in a shift of all prices, and yet our distance from it is of one contract.
    """
    return column.family.shift != "none" or bool(column.peers)


def _robust(column: Column, _argument: str) -> Family:
    """(x - median) / (1.4826 MAD), both of past sessions; null where MAD is 0."""
    x = _value(column)
    fit = quantiles(column.name, x, alone=_of_prices(column))
    centre, spread = fit.at(pl.lit(CENTRE)), fit.at(pl.lit(SPREAD))
    score = pl.when(spread > 1e-9).then((x - centre) / spread)
    return _derived(column, score, "sigma", **_relative(column.family))


def _winsor(column: Column, _argument: str) -> Family:
    """X held between the 1 % and 99 % quantiles of past sessions."""
    x = _value(column)
    fit = quantiles(column.name, x, alone=_of_prices(column))
    low, high = fit.at(pl.lit(LOW)), fit.at(pl.lit(HIGH))
    held = pl.when(x < low).then(low).when(x > high).then(high).when(low.is_not_null()).then(x)
    base = column.family
    kept = {"low": base.low, "high": base.high, "shift": base.shift}
    return _derived(column, held, base.unit, **kept)


def _diurnal(column: Column, _argument: str) -> Family:
    """X over what is usual at this minute of the day (S05); null where that is 0."""
    x = _value(column)
    bounds = {"low": 0 if column.family.low is not None and column.family.low >= 0 else None}
    changes = _relative(column.family) | bounds
    changes["mirror"] = {"odd": "even", "swap_odd": "swap"}.get(
        column.family.mirror, column.family.mirror
    )
    if column.family.shift == "level":
        changes["shift"] = "other"
    if column.family.mirror == "complement":
        changes["mirror"] = "other"
    return _derived(
        column,
        ratio(x, profile(column.name, x, alone=_of_prices(column)).at(MINUTE)),
        "ratio",
        **changes,
    )


NORMALISERS: Final[tuple[Normaliser, ...]] = (
    Normaliser("z", "N01, N02", WINDOW_PATTERN, ("z_60s", "z_n1000", "z_h60s"), _z),
    Normaliser("zpast", "N01", WINDOW_PATTERN, ("zpast_60s", "zpast_n1000"), _zpast),
    Normaliser("rank", "N04", "n[1-9][0-9]{0,5}", ("rank_n1000",), _rank),
    Normaliser(
        "tanh", "N06", f"{_NUMBER}|{WINDOW_PATTERN}", ("tanh_2", "tanh_0p5", "tanh_60s"), _tanh
    ),
    Normaliser("robust", "N03", "", ("robust",), _robust),
    Normaliser("winsor", "N05", "", ("winsor",), _winsor),
    Normaliser("diurnal", "N08", "", ("diurnal",), _diurnal),
    Normaliser("slog", "N07", _NUMBER, ("slog_1", "slog_100"), _slog),
    Normaliser("ticks", "N09", "", ("ticks",), _ticks),
    Normaliser("half_spreads", "N09", "", ("half_spreads",), _half_spreads),
    Normaliser("depth", "N09", "[1-9]|[1-4][0-9]|50", ("depth_5",), _depth),
    Normaliser(
        "sigma", "N09", f"h{DURATION_PATTERN}_{DURATION_PATTERN}", ("sigma_h60s_10s",), _sigma
    ),
)


def examples() -> list[str]:
    """Every normaliser as it is written."""
    return [form for one in NORMALISERS for form in one.examples]


def normalised(column: Column, form: str) -> Column:
    """The column, normalised once more.

    Raises
    ------
    RequestError
        For an unknown normaliser, one that does not suit the column's unit, or a third one.
    """
    name = column.name + MARK + form
    if name.count(MARK) > MOST:
        raise RequestError(f"feature {name!r}: at most {MOST} normalisers may follow each other")
    for one in NORMALISERS:
        argument = one.matches(form)
        if argument is None or _is_zero(argument):
            continue
        family = one.apply(column, argument)
        base = column.family.doc.partition("\n")[0].rstrip(".")
        doc = f"{one.doc.partition(chr(10))[0]} Of {column.name}: {base}."
        family = replace(
            family,
            template=name,
            catalogue=one.catalogue,
            tags=(),
            formula=doc,
            normalised=(column, one.name, argument),
        )
        return replace(column, name=name, family=family, arguments={})
    raise RequestError.unknown("normaliser", form, examples(), where=f"feature {name!r}")


def _is_zero(argument: str) -> bool:
    return bool(re.fullmatch(_NUMBER, argument)) and number(argument) == 0
