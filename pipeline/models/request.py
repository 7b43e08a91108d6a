"""A model as asked for: settings, feature set, label and estimator, checked before anything runs.

The **model ID** is the name and a hash of everything that says how the model is made: all keys of
its settings, and the source of an estimator of the user's own.  Data are not in it: sessions that
arrive extend the same model, and fingerprints find what has to be trained anew.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from features.registry import Column
from pipeline.config import ModelSettings, Settings
from pipeline.errors import RequestError
from pipeline.fitting import ChosenSet, chosen_set
from pipeline.models.estimators import Kind, check_extra, load_kind
from pipeline.models.search import space_of
from pipeline.models.tables import QUEUE
from pipeline.units import parse_duration

SHIPPED: Final = ("lightgbm", "linear")
"""Models there are without a section; each is the estimator of its name."""

_NAME: Final = re.compile(r"[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*")
_HASH_DIGITS: Final = 8


@dataclass(frozen=True)
class ModelRequest:
    """What ``mbo train NAME`` was asked for."""

    name: str
    settings: ModelSettings
    """With the estimator and the feature set named."""
    kind: Kind
    chosen: ChosenSet
    features: tuple[Column, ...]
    label: Column
    embargo: int
    """ns"""

    @property
    def classification(self) -> bool:
        """Classes are predicted, not numbers."""
        task = self.settings.task
        return task == "classification" or (
            task == "auto" and not self.label.family.dtype.is_float()
        )

    @property
    def model_id(self) -> str:
        return f"{self.name}-{self._digest()}"

    def _digest(self) -> str:
        values = {**asdict(self.settings), "estimator": self.kind.name, "source": self.kind.source}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]

    @property
    def columns_read(self) -> tuple[Column, ...]:
        """The features, and the baseline's own where the set has it and it is none of them."""
        known = {column.name for column in self.features}
        return (
            *self.features,
            *(c for c in self.chosen.columns.features if c.name == QUEUE and c.name not in known),
        )

    def versions(self) -> dict[str, str]:
        """Identity of the definition of each feature and of the label."""
        from pipeline.featurise import FeatureStage

        return {
            column.name: definition(FeatureStage.version, self._source(column))
            for column in (*self.columns_read, self.label)
        }

    def _source(self, column: Column) -> str:
        """Hash of the user's file that a column was read from; empty for shipped ones."""
        origin = column.family.origin
        return hashlib.sha256(Path(origin).read_bytes()).hexdigest() if origin else ""


def definition(version: int | str, source: str = "") -> str:
    """How a feature's definition is named: the stage's version, and the user's file where it is
    from one.
    """
    return f"features {version}" + (f" {source[:16]}" if source else "")


def model_names(settings: Settings) -> list[str]:
    """Models that can be trained."""
    return sorted({*SHIPPED, *settings.models})


def prepare_model(
    name: str, settings: Settings, changed: Mapping[str, Any], params: Sequence[str] = ()
) -> ModelRequest:
    """Check a request.

    Parameters
    ----------
    changed
        Keys of the settings that flags replace; None is no flag.
    params
        ``key=value`` of the estimator's parameters.

    Raises
    ------
    RequestError
        For an unknown model, set, label, feature, estimator or parameter, an estimator that
        needs a library which is not installed, and a file that does not run.
    """
    known = model_names(settings)
    if name not in known:
        raise RequestError.unknown("model", name, known, where=settings.origin)
    if not _NAME.fullmatch(name):
        raise RequestError(f"{settings.origin}: models.{name}: a name has letters, digits, _ and -")
    where = f"{settings.origin}: models.{name}"
    own = ModelSettings(**settings.models.get(name, {}))
    own = replace(own, **{key: value for key, value in changed.items() if value is not None})
    own = replace(
        own,
        estimator=own.estimator or (name if name in SHIPPED else "lightgbm"),
        set=own.set or settings.features.set,
        params={**own.params, **dict(map(_parameter, params))},
    )
    if own.at_least > own.train:
        raise RequestError(f"{where}: at_least = {own.at_least} is more than train = {own.train}")
    # scikit-learn is every model's need: the baselines' linear model is fitted with it.
    check_extra(["sklearn"], "`mbo train`")
    kind = load_kind(own.estimator, own.params, where)
    check_extra(kind.libraries, "`mbo train`")
    chosen = chosen_set(settings.with_values(features={"set": own.set}))
    label = _label(own.label, chosen, settings)
    request = ModelRequest(
        name, own, kind, chosen, _features(own, chosen, where), label, parse_duration(own.embargo)
    )
    if request.classification and label.family.dtype.is_float():
        raise RequestError(
            f"{where}: {label.name} is a real number and task is 'classification'; choose a label "
            'of classes, such as y_next_move, or task = "regression"'
        )
    if own.trials:
        check_extra(["optuna"], "a search for parameters (trials)")
        space_of(kind.name, own.params)
    return request


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RequestError(f"-p {text}: write key=value, for example -p num_leaves=15")
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value.strip()


def _label(name: str, chosen: ChosenSet, settings: Settings) -> Column:
    """The column of the set's labels.

    Raises
    ------
    RequestError
        Where it is no label, or one that the set does not have.
    """
    from features.registry import LABELS

    columns = chosen.columns
    for column in columns.labels:
        if column.name == name:
            return column
    if LABELS.find(name) is None:
        known = [column.name for column in columns.labels] + LABELS.names()
        raise RequestError.unknown("label", name, known)
    there = ", ".join(column.name for column in columns.labels) or "none"
    table = f"[features.sets.{columns.name}]"
    own = columns.name in settings.features.sets
    todo = (
        f"add it to labels of {table}"
        if own
        else f"make a set of your own with it: {table.replace(columns.name, 'NAME')} labels = "
        f'["{name}"], and say set = "NAME"'
    )
    raise RequestError(
        f"feature set {columns.name!r} does not have the label {name} (it has {there}); {todo}"
    )


def _features(own: ModelSettings, chosen: ChosenSet, where: str) -> tuple[Column, ...]:
    """The columns trained on.

    Raises
    ------
    RequestError
        For a name or pattern that the set has nothing of; where none is left.
    """
    columns = chosen.columns.features
    if not own.features:
        found = tuple(column for column in columns if column.family.shift == "none")
        if not found:
            raise RequestError(
                f"{where}: all features of set {chosen.columns.name!r} move with the price level; "
                "name those to train on: features = [...]"
            )
        return found
    names = [column.name for column in columns]
    for word in own.features:
        if not any(fnmatch.fnmatchcase(name, word) for name in names):
            place = f"feature set {chosen.columns.name!r}"
            raise RequestError.unknown("feature", word, names, where=place)
    return tuple(
        column
        for column in columns
        if any(fnmatch.fnmatchcase(column.name, word) for word in own.features)
    )
