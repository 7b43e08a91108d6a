"""Fitted models as rows of the table ``models``, and back: text and numbers, nothing that runs.

Whatever is read is checked against what it must be; a model that was tampered with, or written by
something else, is refused in one line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.models.estimators import KINDS, Constant, Fitted, Kind, load_kind, outputs
from pipeline.models.scaling import Scaler
from pipeline.models.tables import MODELS, PARTS
from pipeline.models.texts import read_json
from pipeline.reading import read_table
from pipeline.stage import Stored

Floats = NDArray[np.float64]
TASKS: Final = ("regression", "classification")


@dataclass(frozen=True)
class Predicted:
    """Predictions of ``n`` rows."""

    prediction: Floats
    """The label expected; of classes ``p_up - p_down``."""
    p_up: Floats | None
    """Probability of the classes above 0; None of a regression."""
    p_down: Floats | None
    probabilities: Floats | None
    """``[n, classes]``"""


@dataclass(frozen=True)
class Trained:
    """What a model was trained on."""

    first_session: date
    last_session: date
    contracts: str
    sessions: int
    rows: int
    purged_rows: int
    known_until: int
    """ns"""


@dataclass(frozen=True)
class Part:
    """A row of ``models``: the model of a block of sessions, or one of its baselines."""

    part: str
    estimator: str
    task: str
    label: str
    classes: tuple[int, ...] | None
    prior: Floats | None
    """By class: what balanced probabilities are multiplied by, before they sum to 1 again."""
    feature_set: str
    clock: str
    features: tuple[str, ...]
    versions: Mapping[str, str]
    scaler: Scaler | None
    params: Mapping[str, Any]
    text: str | None
    trained: Trained

    def open(self, fitted: Fitted | None = None, own: Kind | None = None) -> Opened:
        """Ready to predict.

        Parameters
        ----------
        fitted
            Of a part without a text: what was fitted again.
        own
            The user's estimator, if it is one.

        Raises
        ------
        InputError
            For a text that is not what it must be.
        """
        if fitted is None:
            fitted = self._load(own)
        return Opened(self, fitted)

    def _load(self, own: Kind | None) -> Fitted:
        kind: Kind | None = own
        if self.estimator == Constant.name:
            kind = Constant()
        elif self.estimator in KINDS:
            kind = load_kind(self.estimator, {}, self.label)
        if self.text is None or kind is None or kind.name != self.estimator:
            raise self._refused(f"its estimator {self.estimator!r} cannot be opened here")
        classes = None if self.classes is None else list(self.classes)
        try:
            return kind.load(self.text, len(self.features), classes)
        except ValueError as error:
            raise self._refused(str(error)) from error

    def _refused(self, why: str) -> InputError:
        return InputError(f"model of {self.trained.last_session}, {self.part}: refused: {why}")


@dataclass(frozen=True)
class Opened:
    """A part of a model, ready to predict."""

    part: Part
    fitted: Fitted

    def predict(self, x: NDArray[np.float32]) -> Predicted:
        """From raw features ``[n, features]`` in the order of the part's, null being NaN."""
        found = outputs(self.fitted, self.part.scaler, self.part.prior, x)
        classes = self.part.classes
        if classes is None:
            return Predicted(found, None, None, None)
        signs = np.sign(np.array(classes))
        up = found[:, signs > 0].sum(axis=1)
        down = found[:, signs < 0].sum(axis=1)
        return Predicted(up - down, up, down, found)


# --- writing -----------------------------------------------------------------------------------


def as_table(parts: Sequence[Part]) -> pa.Table:
    """Rows of ``models``."""
    rows = [_row(part) for part in parts]
    arrays = [
        pa.array([row[column.name] for row in rows], column.type) for column in MODELS.columns
    ]
    return pa.Table.from_arrays(arrays, schema=MODELS.schema())


def _row(part: Part) -> dict[str, Any]:
    scaler = part.scaler
    trained = part.trained
    return {
        "part": part.part,
        "estimator": part.estimator,
        "task": part.task,
        "label": part.label,
        "classes": None if part.classes is None else _json(list(part.classes)),
        "prior": None if part.prior is None else _json(part.prior.tolist()),
        "feature_set": part.feature_set,
        "clock": part.clock,
        "features": _json(list(part.features)),
        "versions": _json(dict(part.versions)),
        "fill": None if scaler is None else _json(scaler.fill.tolist()),
        "mean": None if scaler is None else _json(scaler.mean.tolist()),
        "scale": None if scaler is None else _json(scaler.scale.tolist()),
        "params": _json(dict(part.params)),
        "text": part.text,
        "first_session": trained.first_session,
        "last_session": trained.last_session,
        "contracts": trained.contracts,
        "sessions": trained.sessions,
        "rows": trained.rows,
        "purged_rows": trained.purged_rows,
        "known_until": trained.known_until,
    }


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, sort_keys=True)


# --- reading -----------------------------------------------------------------------------------


def load_parts(stored: Stored) -> dict[str, Part]:
    """The model and baselines of a block, by name.  Empty where nothing could be trained.

    Raises
    ------
    InputError
        If a row is not what it must be.
    """
    table = read_table(stored)
    if table.schema.names != MODELS.schema().names:
        raise InputError.at(f"models {stored.partition}", "has other columns", todo=_REMEDY)
    known = table["known_until"].cast(pa.int64()).to_pylist()
    found = {}
    for row, known_until in zip(
        table.drop_columns(["known_until"]).to_pylist(), known, strict=True
    ):
        try:
            part = _part({**row, "known_until": known_until})
        except ValueError as error:
            place = f"models {stored.partition}, {str(row['part'])[:40]}"
            raise InputError.at(place, f"refused: {error}", todo=_REMEDY) from error
        found[part.part] = part
    return found


_REMEDY: Final = "run `mbo train --force` for the model"


def _part(row: Mapping[str, Any]) -> Part:
    if row["part"] not in PARTS:
        raise ValueError(f"unknown part {row['part']!r}")
    if row["task"] not in TASKS:
        raise ValueError(f"unknown task {row['task']!r}")
    features = _texts(row["features"], "features")
    n = len(features)
    classes = None if row["classes"] is None else tuple(_wholes(row["classes"], "classes"))
    if (classes is None) != (row["task"] == "regression"):
        raise ValueError("classes do not go with the task")
    if classes is not None and (not classes or list(classes) != sorted(set(classes))):
        raise ValueError("classes are not ascending")
    prior = None if row["prior"] is None else _floats(row["prior"], "prior", len(classes or ()))
    if prior is not None and not (prior > 0).all():
        raise ValueError("prior has a value that is not above 0")
    scaler = None
    if row["fill"] is not None:
        scaler = Scaler(*(_floats(row[name], name, n) for name in ("fill", "mean", "scale")))
        if not (scaler.scale > 0).all():
            raise ValueError("scale has a value that is not above 0")
    return Part(
        part=row["part"],
        estimator=row["estimator"],
        task=row["task"],
        label=row["label"],
        classes=classes,
        prior=prior,
        feature_set=row["feature_set"],
        clock=row["clock"],
        features=tuple(features),
        versions=_object(row["versions"], "versions"),
        scaler=scaler,
        params=_object(row["params"], "params"),
        text=row["text"],
        trained=Trained(
            row["first_session"],
            row["last_session"],
            row["contracts"],
            row["sessions"],
            row["rows"],
            row["purged_rows"],
            row["known_until"],
        ),
    )


def _object(text: str, name: str) -> dict[str, Any]:
    value = read_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")  # noqa: TRY004 - of the text
    return value


def _list(text: str, name: str, kind: type) -> list[Any]:
    value = read_json(text)
    if not isinstance(value, list) or not all(type(item) is kind for item in value):
        raise ValueError(f"{name} is no list of {kind.__name__}")
    return value


def _texts(text: str, name: str) -> list[str]:
    return _list(text, name, str)


def _wholes(text: str, name: str) -> list[int]:
    return _list(text, name, int)


def _floats(text: str, name: str, size: int) -> Floats:
    value = np.array(_list(text, name, float), np.float64)
    if value.shape != (size,) or not np.isfinite(value).all():
        raise ValueError(f"{name} is not {size} finite numbers")
    return value
