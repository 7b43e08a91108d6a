"""A declared feature or label, and its columns: one for each choice of its parameters."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import polars as pl

from features.columns import mid_ticks
from features.components import Component, components_of
from features.nodes import WARM_HALF_LIVES, peers_behind, reachable, root_columns, window
from features.parameters import Parameter
from features.source import levels_needed, tables_needed
from features.windows import ahead_time
from pipeline.errors import MboError, RequestError
from pipeline.units import format_duration

Mirror = Literal["odd", "even", "swap", "swap_odd", "complement", "other"]
Shift = Literal["none", "level", "other"]


_PAIRS = (("bid", "ask"), ("buy", "sell"), ("high", "low"), ("up", "down"), ("long", "short"))
_SWAPPED = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}


def tables_behind(components: Sequence[Component]) -> tuple[str, ...]:
    """Tables besides ``book`` that the statistics of components are made of."""
    statistics = [component.statistic for component in components]
    tables = tables_needed(root_columns(x for one in statistics for x in one.reads))
    return (*tables, *(("order_life",) if any(one.lives for one in statistics) else ()))


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
        fitted = (x for one in self.components for x in one.statistic.reads)
        return frozenset(root_columns([self.expr, *fitted]))

    @cached_property
    def peers(self) -> frozenset[str]:
        """Names of the peers it reads, or that what it is fitted with does."""
        fitted = (name for one in self.components for name in one.statistic.peers)
        return frozenset((*peers_behind([self.expr]), *fitted))

    @property
    def depth(self) -> int:
        """Levels of the book it needs."""
        return levels_needed(self.roots)

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables it reads besides ``book``."""
        return tables_needed(self.roots)

    @property
    def past_tables(self) -> tuple[str, ...]:
        """Tables of earlier sessions that what it is fitted on is made of, besides ``book``."""
        return tables_behind(self.components)

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
