"""A model and its baselines, fitted to a training window: nothing here knows of files.

Whatever is fitted (scaler, selection, parameters, class shares, the model) sees the window's rows
only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.models.estimators import Constant, Fitted, Kind, outputs
from pipeline.models.linear import Linear
from pipeline.models.metrics import log_loss, rank_ic
from pipeline.models.rows import Window
from pipeline.models.scaling import Scaler
from pipeline.models.search import Value, inner_split, search, space_of
from pipeline.models.tables import BASELINE_CONSTANT, BASELINE_QUEUE, QUEUE
from pipeline.models.weights import balanced, scaled, uniqueness

Floats = NDArray[np.float64]

MOST_CLASSES: Final = 10
LEAST_ROWS: Final = 20
"""Fewer training rows: no model."""


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted; JSON values, but for the estimator."""

    kind: Kind
    features: tuple[str, ...]
    """Columns of the window, without the baseline's own where it is none of them."""
    classification: bool
    select: int
    uniqueness: bool
    balance: bool
    trials: int
    fixed: Mapping[str, Any]
    """Parameters that were given: the search leaves them alone."""
    embargo: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What was fitted, as one part of a model."""

    features: tuple[str, ...]
    estimator: str
    params: Mapping[str, Any]
    scaler: Scaler | None
    classes: tuple[int, ...] | None
    prior: Floats | None
    fitted: Fitted


def fit_parts(
    window: Window, columns: Sequence[str], recipe: Recipe, warn: Callable[[str], None]
) -> dict[str, Outcome]:
    """The model and its baselines; empty where the window has too few rows.

    Parameters
    ----------
    columns
        Names of the window's columns: those of the recipe, and the baseline's.
    warn
        Told what a reader of the result should know.

    Raises
    ------
    InputError
        If a label of classes has too many, or the estimator fails.
    """
    if window.y.size < LEAST_ROWS:
        warn(f"{window.y.size} rows with a label to train on; {LEAST_ROWS} are needed: no model")
        return {}
    data = _Data.of(window, recipe)
    found = {"model": _model(data, columns, recipe, warn)}
    found[BASELINE_CONSTANT] = _fit(data, (), columns, Constant(), recipe.seed)
    if QUEUE in columns:
        known = np.isfinite(window.x[:, columns.index(QUEUE)])
        if known.any() and not data.single:
            kind = Linear.of({}, "baseline")
            found[BASELINE_QUEUE] = _fit(data, (QUEUE,), columns, kind, recipe.seed)
    return found


def refit(
    window: Window, columns: Sequence[str], recipe: Recipe, features: tuple[str, ...]
) -> Fitted:
    """The model alone once more, of the features selected then: for one without a text."""
    return _fit(_Data.of(window, recipe), features, columns, recipe.kind, recipe.seed).fitted


@dataclass(frozen=True)
class _Data:
    """A window's rows with targets and weights."""

    x: NDArray[np.float32]
    y: NDArray[Any]
    """Numbers, or places in ``classes``."""
    label: Floats
    ts: NDArray[np.int64]
    t_end: NDArray[np.int64]
    weight: Floats
    """Mean 1."""
    plain: Floats
    """The same before classes were balanced."""
    classes: tuple[int, ...] | None

    @property
    def single(self) -> bool:
        """There is one class only."""
        return self.classes is not None and len(self.classes) == 1

    @classmethod
    def of(cls, window: Window, recipe: Recipe) -> _Data:
        weight = np.ones(window.y.size)
        if recipe.uniqueness:
            for number in np.unique(window.session):
                own = window.session == number
                weight[own] = uniqueness(window.ts[own], window.t_end[own])
        plain = scaled(weight)
        times = (window.ts, window.t_end)
        if not recipe.classification:
            return cls(window.x, window.y, window.y, *times, plain, plain, None)
        known, places = np.unique(window.y.astype(np.int64), return_inverse=True)
        if known.size > MOST_CLASSES:
            raise InputError(
                f"the label has {known.size} values; as classes {MOST_CLASSES} are possible: "
                'set task = "regression"'
            )
        both = scaled(balanced(places, plain)) if recipe.balance else plain
        classes = tuple(int(value) for value in known)
        return cls(window.x, places, window.y, *times, both, plain, classes)

    def rows(self, chosen: NDArray[np.bool_]) -> _Data:
        return replace(
            self,
            x=self.x[chosen],
            y=self.y[chosen],
            label=self.label[chosen],
            ts=self.ts[chosen],
            t_end=self.t_end[chosen],
            weight=scaled(self.weight[chosen]),
            plain=scaled(self.plain[chosen]),
        )


def _model(
    data: _Data, columns: Sequence[str], recipe: Recipe, warn: Callable[[str], None]
) -> Outcome:
    if data.single:
        warn(f"the label is {data.classes[0] if data.classes else 0} in all {data.y.size:,} rows: "
             "the prediction is constant")  # fmt: skip
        return _fit(data, (), columns, Constant(), recipe.seed)
    features = chosen_features(data.x, data.label, columns, recipe)
    kind = _searched(data, columns, recipe, warn) if recipe.trials else recipe.kind
    return _fit(data, features, columns, kind, recipe.seed)


def _searched(
    data: _Data, columns: Sequence[str], recipe: Recipe, warn: Callable[[str], None]
) -> Kind:
    """The estimator with the parameters that lost least on the window's own last fifth."""
    fitting, judging = inner_split(data.ts, data.t_end, recipe.embargo)
    inner, outer = (data.rows(rows) if rows.any() else None for rows in (fitting, judging))
    whole = inner is not None and inner.y.size >= LEAST_ROWS
    if whole and inner is not None and inner.classes is not None:
        whole = np.unique(inner.y).size == len(inner.classes)
    if inner is None or outer is None or not whole:
        warn("too few rows, or not all classes, to search parameters on: those given are taken")
        return recipe.kind
    features = chosen_features(inner.x, inner.label, columns, recipe)
    places = [columns.index(name) for name in features]
    judged = outer.x[:, places]

    def loss(params: Mapping[str, Value]) -> float:
        one = _fit(inner, features, columns, recipe.kind.with_params(params), recipe.seed)
        found = outputs(one.fitted, one.scaler, one.prior, judged)
        if outer.classes is None:
            return float(np.average((found - outer.label) ** 2, weights=outer.plain))
        value = log_loss(outer.y, found, outer.plain)
        return np.inf if value is None else value

    space = space_of(recipe.kind.name, recipe.fixed)
    best = search(loss, space, trials=recipe.trials, seed=recipe.seed)
    return recipe.kind.with_params(best.params)


def chosen_features(
    x: NDArray[np.float32], y: Floats, columns: Sequence[str], recipe: Recipe
) -> tuple[str, ...]:
    """The features with the largest absolute rank IC; all where there is no selection.

    One whose rank IC is undefined (no value, no variance) comes last.
    """
    if not recipe.select or recipe.select >= len(recipe.features):
        return recipe.features
    strength = {}
    for name in recipe.features:
        column = x[:, columns.index(name)].astype(np.float64)
        known = np.isfinite(column)
        value = rank_ic(column[known], y[known]) if known.any() else None
        strength[name] = -1.0 if value is None else abs(value)
    best = sorted(recipe.features, key=lambda name: -strength[name])[: recipe.select]
    return tuple(name for name in recipe.features if name in best)


def _fit(
    data: _Data, features: tuple[str, ...], columns: Sequence[str], kind: Kind, seed: int
) -> Outcome:
    places = [columns.index(name) for name in features]
    # All columns in order need no copy.
    x = data.x if places == list(range(len(columns))) else data.x[:, places]
    scaler = Scaler.fit(x) if kind.scaled and places else None
    classes = None if data.classes is None else list(data.classes)
    constant = isinstance(kind, Constant)
    weight = data.plain if constant else data.weight
    fitted = kind.fit(x if scaler is None else scaler.apply(x), data.y, weight, classes, seed)
    return Outcome(
        features,
        kind.name,
        kind.params,
        scaler,
        data.classes,
        None if constant else _prior(data),
        fitted,
    )


def _prior(data: _Data) -> Floats | None:
    """What undoes the balance: the share of a class over the share it was given."""
    if data.classes is None or data.weight is data.plain:
        return None
    size = len(data.classes)
    true, given = (np.bincount(data.y, w, size) for w in (data.plain, data.weight))
    ratio = true / given
    return np.asarray(ratio / ratio.max(), np.float64)
