"""What features there are: the decorators, and names resolved to columns.

A feature is a function that returns a polars expression::

    @feature("ofi_{window}", catalogue="F02", unit="contracts", source="Cont et al. 2014, eq 12",
             params={"window": WINDOWS}, dtype=pl.Int64, mirror="odd", size_power=1)
    def ofi(window: str) -> pl.Expr:
        \"\"\"Order-flow imbalance: sum of the event contributions over a window.\"\"\"
        return if_ok_flow(total(ofi_event(), window))

The decorator returns the function unchanged.  The first argument is the column's name; its
parameters run over a grid, which is what tags and sets choose from, but any value of the right
form works: ``ofi_7s`` is a column like ``ofi_10s``.  Labels are declared the same way by
``label``; they look forward, live in a registry of their own and never become features.
"""

from __future__ import annotations

import fnmatch
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any, Literal, TypeVar

import polars as pl

from features.columns import mid_ticks
from features.components import Component, components_of
from features.events import levels_needed, tables_needed
from features.nodes import WARM_HALF_LIVES, looks_ahead, reachable, root_columns, window
from features.normalise import MARK, normalised
from features.parameters import Alias, Bars, Choice, Named, Numbers, Parameter, Windows
from features.windows import ahead_time
from pipeline.errors import MboError, RequestError
from pipeline.units import format_duration

__all__ = [
    "FEATURES",
    "LABELS",
    "Alias",
    "Bars",
    "Choice",
    "Column",
    "Family",
    "Named",
    "Numbers",
    "Parameter",
    "Registry",
    "Windows",
    "feature",
    "label",
]

F = TypeVar("F", bound=Callable[..., pl.Expr])
Mirror = Literal["odd", "even", "swap", "swap_odd", "complement", "other"]
Shift = Literal["none", "level", "other"]

BUILT_IN = (
    "prices",
    "book_shape",
    "book_profile",
    "touch_state",
    "order_flow",
    "level_flow",
    "trades",
    "trade_signs",
    "trade_volume",
    "costs",
    "messages",
    "activity",
    "queues",
    "order_traces",
    "volatility",
    "variation",
    "returns",
    "trend",
    "technical",
    "context",
    "clock",
    "large_trades",
    "micro",
    "integrated",
    "diurnal",
    "cross",
)
"""Modules of features, in the order their columns are listed."""

LABEL_MODULES = ("labels", "outcomes")


_PAIRS = (("bid", "ask"), ("buy", "sell"), ("high", "low"), ("up", "down"), ("long", "short"))
_SWAPPED = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}


@dataclass(frozen=True)
class Family:
    """A declared feature or label: a function and everything said about it."""

    template: str
    function: Callable[..., pl.Expr]
    kind: Literal["feature", "label"]
    family: str
    """The module: prices, book_shape, ..."""
    catalogue: str
    unit: str
    source: str
    tier: int
    dtype: pl.DataType
    params: Mapping[str, Parameter] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    mirror: Mirror = "even"
    """What it becomes when the two sides change places and prices their sign: its negative,
    itself, its partner's value (or the negative), or the highest value (1 unless ``high`` says
    otherwise) less itself.
    """
    size_power: int | None = 0
    """The power of c it is multiplied by when all sizes are multiplied by c."""
    shift: Shift = "none"
    """What a shift of all prices by k ticks does: nothing, add k, or something else."""
    tags: tuple[str, ...] = ()
    origin: str = ""
    """The user's file it was read from; empty for the shipped ones."""
    formula: str = ""
    """What there is to say where the docstring does not say it: of normalised columns."""
    normalised: tuple[Column, str, str] | None = None
    """The column that is normalised, how, and the normaliser's argument."""
    known: Callable[..., pl.Expr] | None = None
    """Labels: when a value is known (ns), from the same parameters."""

    @property
    def name(self) -> str:
        """The function's name: what `mbo describe` takes for the whole family."""
        return self.template if self.normalised else self.function.__name__

    @property
    def doc(self) -> str:
        """Formula and meaning: the function's docstring."""
        return self.formula or inspect.cleandoc(self.function.__doc__ or "")

    @cached_property
    def regex(self) -> re.Pattern[str]:
        text = re.escape(self.template)
        for name, parameter in self.params.items():
            text = text.replace(re.escape("{" + name + "}"), f"(?P<{name}>{parameter.pattern})")
        return re.compile(text)

    def grid(self) -> list[Column]:
        """All columns of the parameter grid."""
        names = list(self.params)
        values = (self.params[name].values for name in names)
        return [
            self.column(dict(zip(names, chosen, strict=True)))
            for chosen in itertools.product(*values)
        ]

    def column(self, arguments: Mapping[str, Any]) -> Column:
        return Column(self.template.format(**arguments), self, dict(arguments))

    def match(self, name: str) -> Column | None:
        """The column of that name, if it is one of this family's, on the grid or off it."""
        found = self.regex.fullmatch(name)
        if not found:
            return None
        arguments = {key: self.params[key].parse(text) for key, text in found.groupdict().items()}
        return None if None in arguments.values() else self.column(arguments)

    def answers_to(self, word: str) -> bool:
        """True if a tag, family, catalogue id, tier or function name means this one."""
        groups = {self.catalogue, self.catalogue.rstrip("0123456789"), self.family, self.name}
        return word in groups or word == f"tier{self.tier}" or word in self.tags


@dataclass(frozen=True)
class Column:
    """One column: a family with its parameters chosen."""

    name: str
    family: Family
    arguments: Mapping[str, Any]

    @cached_property
    def expr(self) -> pl.Expr:
        """The expression, to be evaluated at decision points.

        Raises
        ------
        RequestError
            If the feature's function fails.
        """
        return self.formula.cast(self.family.dtype).alias(self.name)

    @cached_property
    def formula(self) -> pl.Expr:
        """What the feature's function returns, before it is rounded to the column's type."""
        family = self.family
        at = f"{family.origin}: " if family.origin else ""
        try:
            expr: object = family.function(**self.arguments)
        except MboError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise RequestError(f"{at}{family.kind} {self.name!r}: {what}") from error
        if not isinstance(expr, pl.Expr):
            what = f"returns {type(expr).__name__}, not a polars expression"
            raise RequestError(f"{at}{family.kind} {self.name!r} {what}")
        return expr

    @property
    def components(self) -> list[Component]:
        """What of it is fitted on past sessions."""
        return components_of([self.expr])

    @property
    def known(self) -> pl.Expr:
        """Labels: when a value is known (ns)."""
        if self.family.known is not None:
            return self.family.known(**self.arguments)
        return ahead_time(mid_ticks(), window(self.arguments["horizon"]))

    @cached_property
    def roots(self) -> frozenset[str]:
        """Columns of events it reads, or that what it is fitted with does."""
        fitted = (x for one in self.components for x in one.statistic.inputs)
        return frozenset(root_columns([self.expr, *fitted]))

    @property
    def depth(self) -> int:
        """Levels of the book it needs."""
        return levels_needed(self.roots)

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables it reads besides ``book``."""
        return tables_needed(self.roots)

    @property
    def warm_up(self) -> str:
        """How long after a segment's start it stays null, in words."""
        times, rows = [0], [0]
        for node in reachable([self.expr]):
            if node.state == "recursive":
                rows.append(int(node.settings[3]))
            elif node.state in ("decay", "decayed_moments"):
                times.append(WARM_HALF_LIVES * int(node.settings[0]))
            elif node.state == "rank":
                rows.append(int(node.settings[0]))
            elif node.state == "rows" or node.method == "rows":
                rows.append(node.args[0])
            elif node.method in ("window", "ago", "mean"):
                times.append(node.args[0])
            if node.state == "delayed" and node.inner is not None:
                inside = (n.args[0] for n in reachable([node.inner]) if n.method == "window")
                times.append(int(node.settings[0]) + max(inside, default=0))
        parts = [format_duration(max(times))] if max(times) else []
        parts += [f"{max(rows)} rows"] if max(rows) else []
        return " and ".join(parts) or "none"

    @property
    def mirror_name(self) -> str:
        """The column it becomes when the two sides change places."""
        if not self.family.mirror.startswith("swap"):
            return self.name
        return "_".join(_SWAPPED.get(part, part) for part in self.name.split("_"))


class Registry:
    """Families by name; one registry for features, one for labels."""

    def __init__(self, kind: Literal["feature", "label"]) -> None:
        self.kind: Literal["feature", "label"] = kind
        self._families: dict[str, Family] = {}

    def add(self, family: Family) -> None:
        """Register a family.

        Raises
        ------
        RequestError
            If the name is taken, malformed, or the parameters are not the function's.
        """
        declared = set(re.findall(r"{(\w+)}", family.template))
        if declared != set(family.params):
            raise RequestError(
                f"{self.kind} {family.template!r}: the name shows {sorted(declared)}, "
                f"the parameters are {sorted(family.params)}"
            )
        if MARK in family.template:
            raise RequestError(
                f"{self.kind} {family.template!r}: {MARK} in a name means a normaliser"
            )
        if (self.kind == "label") != family.template.startswith("y_"):
            raise RequestError(
                f"{self.kind} {family.template!r}: labels begin with y_, features do not"
            )
        taken = self._families.get(family.name)
        if taken is not None and taken.origin != family.origin:
            raise RequestError(
                f"{family.origin or family.family}: {self.kind} {family.name!r} exists already "
                f"({taken.origin or taken.family}); choose another name"
            )
        self._families[family.name] = family

    def forget(self, origin: str) -> None:
        """Drop what a file declared, before it is read again."""
        for name in [n for n, f in self._families.items() if f.origin == origin]:
            del self._families[name]

    def families(self) -> list[Family]:
        """All families, shipped ones first, in the order of their files."""
        load_built_in()
        return list(self._families.values())

    def names(self) -> list[str]:
        """All columns of all grids."""
        return [column.name for family in self.families() for column in family.grid()]

    def find(self, name: str) -> Column | None:
        """The column of exactly that name, on a grid or off it, normalised or not."""
        base, mark, form = name.rpartition(MARK)
        if mark and self.kind == "feature":
            column = self.find(base)
            return normalised(column, form) if column else None
        for family in self.families():
            if column := family.match(name):
                return column
        return None

    def resolve(self, words: str | Iterable[str], *, where: str = "") -> list[Column]:
        """Columns of names, families, catalogue ids, tiers, tags or patterns, in order.

        >>> [c.name for c in FEATURES.resolve(["mid", "depth_imbalance_*"])]
        ['mid', 'depth_imbalance_3', 'depth_imbalance_5', 'depth_imbalance_10']

        Raises
        ------
        RequestError
            For a word that means nothing, with the nearest names.
        """
        found: dict[str, Column] = {}
        for word in [words] if isinstance(words, str) else words:
            columns = self._meant(word)
            if not columns:
                raise self._unknown(word, where)
            found.update((column.name, column) for column in columns)
        return list(found.values())

    def _meant(self, word: str) -> list[Column]:
        base, mark, form = word.rpartition(MARK)
        if mark and self.kind == "feature":
            if bases := self._meant(base):
                return [normalised(one, form) for one in bases]
            raise self._unknown(base, f"{word!r}")
        if column := self.find(word):
            return [column]
        groups = [family for family in self.families() if family.answers_to(word)]
        if groups:
            return [column for family in groups for column in family.grid()]
        if any(sign in word for sign in "*?["):
            columns = (column for family in self.families() for column in family.grid())
            return [c for c in columns if fnmatch.fnmatchcase(c.name, word)]
        return []

    def _unknown(self, word: str, where: str) -> RequestError:
        words = set(self.names())
        for family in self.families():
            words |= {family.name, family.family, family.catalogue, *family.tags}
        return RequestError.unknown(self.kind, word, words, where=where)


FEATURES = Registry("feature")
LABELS = Registry("label")

_origin = ""
"""The user's file being loaded, if any."""


@contextmanager
def declared_in(path: str) -> Iterator[None]:
    """While it lasts, declarations belong to a file of the user's own."""
    global _origin  # noqa: PLW0603 - declarations are made at import, which takes no arguments
    _origin, before = path, _origin
    FEATURES.forget(path)
    LABELS.forget(path)
    try:
        yield
    finally:
        _origin = before


def load_built_in() -> None:
    """Import the shipped families, once."""
    for name in BUILT_IN:
        import_module(f"features.{name}")
    for name in LABEL_MODULES:
        import_module(f"features.{name}")


def _declare(
    registry: Registry,
    template: str,
    catalogue: str,
    unit: str,
    source: str,
    tier: int,
    params: Mapping[str, Parameter] | None,
    dtype: pl.DataType | type[pl.DataType],
    range_: tuple[float | None, float | None],
    mirror: Mirror,
    size_power: int | None,
    shift: Shift,
    tags: tuple[str, ...],
    known: Callable[..., pl.Expr] | None = None,
) -> Callable[[F], F]:
    def register(function: F) -> F:
        family = Family(
            template=template,
            function=function,
            kind=registry.kind,
            family="user" if _origin else function.__module__.rpartition(".")[2],
            catalogue=catalogue,
            unit=unit,
            source=source,
            tier=tier,
            dtype=dtype() if isinstance(dtype, type) else dtype,
            params=params or {},
            low=range_[0],
            high=range_[1],
            mirror=mirror,
            size_power=size_power,
            shift=shift,
            tags=tags,
            origin=_origin,
            known=known,
        )
        registry.add(family)
        return function

    return register


def feature(
    template: str,
    *,
    catalogue: str = "",
    unit: str = "",
    source: str = "",
    tier: int = 1,
    params: Mapping[str, Parameter] | None = None,
    dtype: pl.DataType | type[pl.DataType] = pl.Float32,
    range: tuple[float | None, float | None] = (None, None),  # noqa: A002 - reads best so
    mirror: Mirror = "even",
    size_power: int | None = 0,
    shift: Shift = "none",
    tags: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Register a function as a feature; it is returned unchanged.

    Parameters
    ----------
    template
        The column's name, with the parameters in braces: ``"ofi_{window}"``.
    params
        Name -> :class:`Windows`, :class:`Numbers` or :class:`Choice`.
    dtype
        Float32, Float64 or an integer type.
    range
        Smallest and largest possible value, where there are bounds.
    mirror, size_power, shift
        How it behaves when the sides change places, sizes are scaled, prices are shifted.

    Raises
    ------
    RequestError
        If the name is taken or the parameters do not fit it.
    """
    return _declare(
        FEATURES,
        template,
        catalogue,
        unit,
        source,
        tier,
        params,
        dtype,
        range,
        mirror,
        size_power,
        shift,
        tags,
    )


def label(
    template: str,
    *,
    catalogue: str = "",
    unit: str = "",
    source: str = "",
    tier: int = 1,
    params: Mapping[str, Parameter] | None = None,
    dtype: pl.DataType | type[pl.DataType] = pl.Float32,
    range: tuple[float | None, float | None] = (None, None),  # noqa: A002
    mirror: Mirror = "even",
    size_power: int | None = 0,
    shift: Shift = "none",
    tags: tuple[str, ...] = (),
    known: Callable[..., pl.Expr] | None = None,
) -> Callable[[F], F]:
    """Register a function as a label: like :func:`feature`, but it may look forward.

    ``known`` takes the same parameters and says at what time (ns) a value is known; without it
    that is the time of the mid after the parameter ``horizon``.
    """
    return _declare(
        LABELS,
        template,
        catalogue,
        unit,
        source,
        tier,
        params,
        dtype,
        range,
        mirror,
        size_power,
        shift,
        tags,
        known=known,
    )


def check_backward(columns: Iterable[Column]) -> None:
    """Refuse features that look forward.

    Raises
    ------
    RequestError
        Naming the first of them.
    """
    for column in columns:
        if column.family.kind == "feature" and looks_ahead(column.expr):
            raise RequestError(
                f"feature {column.name!r} looks ahead of its decision; only labels may"
            )


def label_end(columns: Iterable[Column]) -> pl.Expr:
    """``t_end``: the latest time (ns) at which a label of the row that is not null is known."""
    ends = [pl.when(column.expr.is_not_null()).then(column.known) for column in columns]
    return pl.max_horizontal(ends).alias("t_end")
