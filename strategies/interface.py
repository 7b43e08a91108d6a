"""What a strategy is.  Strategies know nothing of files, of the simulator or of the CLI.

A **signal strategy** says, at each row of the feature table, which position it wants; the
simulator's executor works orders until it has it.  The rule is one polars expression over the
rows of one instrument and one session, in order::

    @dataclass(frozen=True)
    class Fade(SignalStrategy):
        \"\"\"Sell what rose, buy what fell.\"\"\"

        regime: ClassVar[str] = "quiet hours"
        threshold: float = parameter(2.0, "sigma", "distance that counts as far")

        def features(self) -> tuple[str, ...]:
            return ("zscore_60s",)

        def target(self) -> pl.Expr:
            z = pl.col("zscore_60s")
            return hold(pl.when(z > self.threshold).then(-1).when(z < -self.threshold).then(1))

Besides its features a target can read the keys of the rows and ``maker_fee`` and ``taker_fee``,
the session's fee a contract in ticks.

The value at a row may depend on that row and earlier ones only: ``shift(-1)``, a mean over the
whole column and the like are found by :func:`check_causal` and refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Final, NewType, TypeVar, get_type_hints

import polars as pl

from pipeline.errors import RequestError
from pipeline.units import NS_PER_MINUTE, NS_PER_S, format_duration, parse_duration

Duration = NewType("Duration", int)
"""A parameter in nanoseconds that people write as ``500ms`` or ``5m``."""

S = TypeVar("S", bound="Strategy")

_CUTS: Final = 12
_SHARED: Final = ("SignalStrategy", "EventStrategy")

STYLES: Final = ("passive", "aggressive")
FEES: Final = ("maker_fee", "taker_fee")
"""Columns every target can read beside its features: the session's fee a contract, in ticks."""


def parameter(
    default: Any,
    unit: str = "",
    doc: str = "",
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> Any:
    """A documented parameter of a strategy: default, unit, meaning, allowed range."""
    return field(default=default, metadata={"unit": unit, "doc": doc, "low": low, "high": high})


def hold(choice: pl.Expr, *, start: int = 0) -> pl.Expr:
    """Keep the last decision where the expression says nothing (null); ``start`` before any."""
    return choice.cast(pl.Int64).forward_fill().fill_null(start)


class Strategy:
    """What signal and event strategies share: documented parameters that are checked."""

    regime: ClassVar[str] = ""
    """The kind of market it hopes for."""

    def __post_init__(self) -> None:
        for item in parameters(type(self)).values():
            item.check(getattr(self, item.name))

    def features(self) -> tuple[str, ...]:
        """Names of the features it reads."""
        return ()

    def values(self) -> dict[str, Any]:
        """All parameters, as JSON values."""
        return {name: getattr(self, name) for name in parameters(type(self))}

    def shown(self) -> dict[str, str]:
        """All parameters as people write them."""
        return {
            name: item.show(getattr(self, name)) for name, item in parameters(type(self)).items()
        }


@dataclass(frozen=True)
class SignalStrategy(Strategy):
    """Base of strategies that say which position they want; see the module's docstring.

    The parameters here are how every signal is executed; a subclass adds its own and may change
    these defaults.
    """

    size: int = parameter(1, "contracts", "position at full signal", low=1)
    style: str = parameter(
        "passive", "", "passive joins the touch and waits, aggressive sends market orders"
    )
    patience: Duration = parameter(
        Duration(10 * NS_PER_S), "ns", "a passive order that waited this long crosses", low=1
    )
    flatten: bool = parameter(True, "", "be flat before the session ends")
    flatten_before: Duration = parameter(
        Duration(5 * NS_PER_MINUTE), "ns", "how long before the session ends", low=1
    )

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise RequestError.unknown("style", self.style, STYLES)
        super().__post_init__()

    def features(self) -> tuple[str, ...]:
        """Names of the features :meth:`target` reads."""
        raise TypeError(f"{type(self).__name__} does not say which features it reads")

    def target(self) -> pl.Expr:
        """The position wanted, in contracts, at each row; null keeps the last one."""
        raise TypeError(f"{type(self).__name__} does not say which position it wants")


@dataclass(frozen=True)
class Parameter:
    """What is known of a parameter: used by ``-p key=value`` and by ``mbo describe``."""

    name: str
    kind: Any
    default: Any
    unit: str
    doc: str
    low: float
    high: float

    def parse(self, text: str) -> Any:
        """The value of a text.

        Raises
        ------
        RequestError
            If it is not of the parameter's type.
        """
        try:
            if self.kind is bool:
                return {"true": True, "1": True, "yes": True, "false": False, "0": False,
                        "no": False}[text.strip().lower()]  # fmt: skip
            if self.kind is Duration:
                return Duration(parse_duration(text))
            if self.kind in (int, float):
                return self.kind(text)
        except (KeyError, ValueError) as error:
            detail = f": {error}" if self.kind is Duration else f"; it is {self._noun()}"
            raise RequestError(f"-p {self.name}={text}{detail}") from None
        return text

    def _noun(self) -> str:
        return {int: "a whole number", float: "a number", bool: "true or false"}[self.kind]

    def convert(self, value: Any) -> Any:
        """A value of a settings file, where durations are texts."""
        if self.kind is Duration and isinstance(value, str):
            return self.parse(value)
        if self.kind is float and type(value) is int:
            return float(value)
        wanted = int if self.kind is Duration else self.kind
        if type(value) is not wanted:
            raise RequestError(f"parameter {self.name} = {value!r} is not {wanted.__name__}")
        return value

    def check(self, value: Any) -> None:
        """Raise where a number is outside its range or not a number."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and not self.low <= value <= self.high:
            bound = f"at least {self.low}" if value < self.low else f"at most {self.high}"
            raise RequestError(f"parameter {self.name} = {value} must be {bound}")

    def show(self, value: Any) -> str:
        return format_duration(value) if self.kind is Duration else str(value)


def parameters(strategy: type[Strategy]) -> dict[str, Parameter]:
    """The parameters of a strategy's class by name, its own first."""
    hints = get_type_hints(strategy)
    shared = [cls for cls in strategy.__mro__ if cls.__name__ in _SHARED]
    base = {name for cls in shared for name in vars(cls).get("__annotations__", {})}
    known = [_describe(item, hints) for item in fields(strategy) if "doc" in item.metadata]  # type: ignore[arg-type]
    known.sort(key=lambda item: item.name in base)
    return {item.name: item for item in known}


def _describe(item: Field[Any], hints: Mapping[str, Any]) -> Parameter:
    meta = item.metadata
    default = None if item.default is MISSING else item.default
    return Parameter(
        item.name,
        hints[item.name],
        default,
        meta.get("unit", ""),
        meta.get("doc", ""),
        meta.get("low", -math.inf),
        meta.get("high", math.inf),
    )


def build(strategy: type[S], texts: Mapping[str, str], settings: Mapping[str, Any]) -> S:
    """A strategy with parameters of ``-p`` texts over those of the settings over defaults.

    Raises
    ------
    RequestError
        For unknown parameters (naming the nearest), wrong types, values out of range.
    """
    known = parameters(strategy)
    for name in (*settings, *texts):
        if name not in known:
            raise RequestError.unknown("parameter", name, known, where=strategy.__name__)
    values = {name: known[name].convert(value) for name, value in settings.items()}
    values |= {name: known[name].parse(text) for name, text in texts.items()}
    return strategy(**values)


def evaluate(strategy: SignalStrategy, frame: pl.DataFrame) -> pl.Series:
    """Targets of one session's rows: Int64, null where nothing is said.

    Raises
    ------
    RequestError
        If the expression fails or gives something other than one whole number a row.
    """
    try:
        column = frame.select(strategy.target().alias("target")).to_series()
    except pl.exceptions.PolarsError as error:
        first = str(error).splitlines()[0]
        raise RequestError(
            f"{type(strategy).__name__}: its target cannot be computed: {first}"
        ) from None
    if len(column) != len(frame) or not (column.dtype.is_integer() or column.dtype == pl.Null):
        raise RequestError(
            f"{type(strategy).__name__}: its target must be one whole number a row, "
            f"not {len(column)} values of {column.dtype} for {len(frame)} rows"
        )
    return column.cast(pl.Int64)


def check_causal(strategy: SignalStrategy, frame: pl.DataFrame, whole: pl.Series) -> None:
    """Compare targets (``whole``: those of all rows) with those computed from the first rows alone.

    Cuts are made where the target has just changed, where a look ahead shows first, and at a
    third and a half.

    Raises
    ------
    RequestError
        If a target changes when rows after it are taken away: it looks into the future.
    """
    changed = (whole != whole.shift(1)).fill_null(value=False).arg_true().to_list()
    step = max(1, len(changed) // _CUTS)
    cuts = {row + 1 for row in changed[::step][:_CUTS]}
    for cut in sorted(cuts | {len(frame) // 3, len(frame) // 2, len(frame) - 1}):
        if not 0 < cut < len(frame):
            continue
        part = evaluate(strategy, frame.head(cut))
        same = part.eq_missing(whole.head(cut))
        if not same.all():
            row = same.arg_min()
            raise RequestError(
                f"{type(strategy).__name__}: the target of row {row} changes when later rows are "
                "taken away: it looks into the future"
            )
