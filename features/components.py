"""Things fitted on past sessions: how they are declared, and looked up at a decision point.

A feature may need something no session knows of itself: a quantile of sizes, a profile of the
day, weights, a table of expected moves.  It is fitted on sessions that were over before this one
began, in two steps that never meet the session's own rows::

    sizes = Statistic("order_sizes", (pl.col("buy_sz"), pl.col("sell_sz")), Histogram)
    q99 = declare(Component("large_order_q99", sizes, quantile(0.99), sessions=5))
    threshold = q99.at(pl.lit(0))

A :class:`Statistic` sums up one session in pairs (key, value), in one streaming pass.  A
:class:`Component` combines the statistics of the last sessions into pairs again: the fit, with as
many values a key as it takes.  Expressions read it by :meth:`Component.at` and
:meth:`Component.rank`; everything is null where too few sessions are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl

from features.nodes import peers_behind, reachable
from features.windows import fitted, fitted_rank
from pipeline.errors import RequestError

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

DEFAULT_MINIMUM = 5
"""Sessions a component needs where it says nothing else."""


class Pairs(NamedTuple):
    """Keys, ascending, and a value each; a key may come more than once."""

    keys: I64
    values: F64

    @classmethod
    def of(cls, keys: npt.ArrayLike, values: npt.ArrayLike) -> Pairs:
        """Pairs in order of key; those of equal keys keep their order."""
        ks = np.asarray(keys, dtype=np.int64)
        order = np.argsort(ks, kind="stable")
        return cls(ks[order], np.asarray(values, dtype=np.float64)[order])


class Gatherer(Protocol):
    """Sums up one session; fed in order, in chunks that must not matter."""

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        """Decision points of the statistic's clock: their times (ns) and inputs."""

    def result(self) -> Pairs:
        """The session is over."""


class LifeGatherer(Gatherer, Protocol):
    """Sums up the lives of a session's orders, and its events after them."""

    def take(self, spells: pl.DataFrame) -> None:
        """Spells (:mod:`features.spells`) in the order of `order_life`, before any event."""


@runtime_checkable
class PairGatherer(Gatherer, Protocol):
    """Sums up one session of two instruments: all of ours first, then all of the other's."""

    def push_peer(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        """The other's decision points of the statistic's clock; where it has none, never called."""


@dataclass(frozen=True)
class Statistic:
    """What is kept of one session: small, whatever the session's length."""

    name: str
    inputs: tuple[pl.Expr, ...]
    """Read at the decision points of ``clock``; past only, and nothing fitted itself."""
    gather: Callable[[], Gatherer] | Callable[[], LifeGatherer]
    clock: str = "event"
    whole: bool = False
    """Only of sessions all of whose days are there: a total of half a session misleads."""
    lives: bool = False
    """It reads `order_life`: what it gathers with is a :class:`LifeGatherer`."""
    peer: str = ""
    """Another instrument, by the name the feature set gives it, whose own events count, too."""
    peer_inputs: tuple[pl.Expr, ...] = ()
    """What is read at its decision points; ``gather`` then makes a :class:`PairGatherer`."""

    @property
    def reads(self) -> tuple[pl.Expr, ...]:
        """All that it reads, of either instrument."""
        return (*self.inputs, *self.peer_inputs)

    @property
    def peers(self) -> set[str]:
        """Names of the peers it needs."""
        return peers_behind(self.reads) | ({self.peer} if self.peer else set())


Combine = Callable[[Sequence[Pairs], int], Pairs]
"""Statistics of the past sessions (oldest first; those that have any), and the least number of
sessions asked for -> the fit."""


@dataclass(frozen=True)
class Component:
    """Something fitted: a statistic, and how those of several sessions become one table."""

    name: str
    statistic: Statistic
    combine: Combine
    sessions: int | None = None
    """Past sessions to look back on; None: ``[features.fits] sessions``."""
    min_sessions: int = DEFAULT_MINIMUM
    """Fewer sessions with data than these: no fit.  ``[features.fits]`` may say otherwise."""
    alone: bool = False
    """On sessions of the contract itself only, as what depends on the level of its price must be;
    others may be fitted along the root (``[features.fits] along``)."""

    def at(self, key: pl.Expr) -> pl.Expr:
        """The fitted value at a key; null where there is none."""
        return fitted(self.name, key)

    def rank(self, key: pl.Expr, x: pl.Expr) -> pl.Expr:
        """Share of the fitted values at a key that lie below ``x``; of equal ones a half."""
        return fitted_rank(self.name, key, x)


COMPONENTS: dict[str, Component] = {}
"""All components declared in this process, by name."""


def declare(component: Component) -> Component:
    """Make a component known under its name; returned unchanged.

    Raises
    ------
    RequestError
        If its statistic looks ahead or rests on something fitted.
    """
    for node in reachable(component.statistic.reads):
        if node.state in ("future", "fitted"):
            what = "looks ahead" if node.state == "future" else "rests on a fit itself"
            raise RequestError(f"component {component.name!r}: its statistic {what}")
    COMPONENTS[component.name] = component
    return component


def components_of(exprs: Iterable[pl.Expr]) -> list[Component]:
    """The components that expressions read, by name.

    Raises
    ------
    RequestError
        For one that was never declared.
    """
    names = {str(node.settings[0]) for node in reachable(exprs) if node.state == "fitted"}
    for name in sorted(names - set(COMPONENTS)):
        raise RequestError.unknown("component", name, COMPONENTS)
    return [COMPONENTS[name] for name in sorted(names)]


def fit(component: Component, past: Sequence[Pairs], minimum: int) -> Pairs | None:
    """The fit from the statistics of past sessions, oldest first.

    Sessions without data do not count; None where fewer than ``minimum`` have any.
    """
    known = [pairs for pairs in past if pairs.keys.size]
    return component.combine(known, minimum) if known and len(known) >= minimum else None


class Fitted:
    """A fit, ready to be looked up."""

    def __init__(self, pairs: Pairs) -> None:
        self.keys, self.starts = np.unique(pairs.keys, return_index=True)
        self.ends = np.append(self.starts[1:], pairs.keys.size)
        self.values = pairs.values

    def _find(self, key: pl.Series) -> tuple[I64, npt.NDArray[np.bool_]]:
        """Position of each key among ours, and whether it is there."""
        wanted = key.cast(pl.Int64).fill_null(0).to_numpy()
        at = np.minimum(np.searchsorted(self.keys, wanted), max(self.keys.size - 1, 0))
        there = key.is_not_null().to_numpy(writable=True)
        if not self.keys.size:
            return at, np.zeros_like(there)
        there &= self.keys[at] == wanted
        return at, there

    def value(self, key: pl.Series) -> tuple[F64, npt.NDArray[np.bool_]]:
        """The first value at each key, and whether there is one."""
        at, there = self._find(key)
        if not self.keys.size:
            return np.zeros(at.size), there
        return self.values[self.starts[at]], there

    def rank(self, key: pl.Series, x: pl.Series) -> tuple[F64, npt.NDArray[np.bool_]]:
        """Share of the values at each key below x (of equal ones a half), and if there is one."""
        at, there = self._find(key)
        there &= x.is_not_null().to_numpy()
        values = x.cast(pl.Float64).fill_null(0.0).to_numpy()
        shares = np.zeros(at.size)
        for k in np.unique(at[there]):
            rows = np.flatnonzero(there & (at == k))
            known = np.sort(self.values[self.starts[k] : self.ends[k]])
            below = np.searchsorted(known, values[rows], side="left")
            upto = np.searchsorted(known, values[rows], side="right")
            shares[rows] = (below + upto) / (2 * known.size)
        return shares, there
