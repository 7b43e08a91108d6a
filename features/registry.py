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
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Literal, TypeVar

import polars as pl

from features.families import Column, Family, Mirror, Shift
from features.nodes import looks_ahead
from features.normalise import MARK, normalised
from features.parameters import Alias, Bars, Choice, Named, Numbers, Parameter, Windows
from pipeline.errors import RequestError

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
    "impact",
    "messages",
    "activity",
    "queues",
    "order_traces",
    "hazards",
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
    "lead_lag",
)
"""Modules of features, in the order their columns are listed."""

LABEL_MODULES = ("labels", "outcomes")
_FILES = {name: place for place, name in enumerate((*BUILT_IN, *LABEL_MODULES))}


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
        """All families, shipped ones first, in the order of the files' list, not of imports."""
        load_built_in()
        return sorted(self._families.values(), key=_place)

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


def _place(family: Family) -> int:
    """Where the family's file stands; a user's own come last, as they were declared."""
    return len(_FILES) if family.origin else _FILES.get(family.family, len(_FILES))


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


def label_ends(columns: Sequence[Column]) -> list[pl.Expr]:
    """When labels are known: ``t_end``, the latest of the row (ns), and ``after_NAME`` of each, ns
    after the row; null where the label is.
    """
    ends = [pl.when(column.expr.is_not_null()).then(column.known) for column in columns]
    after = [
        (end - pl.col("t")).alias(f"after_{column.name}")
        for end, column in zip(ends, columns, strict=True)
    ]
    return [pl.max_horizontal(ends).alias("t_end"), *after]
