"""Stage `predict`: the rows of `features` through the model of their block, to `predictions`.

Sessions without a model get a row a decision point all the same, and nulls.  Memory does not grow
with the session: rows go through in batches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import Settings
from pipeline.errors import InputError
from pipeline.models.estimators import Fitted
from pipeline.models.rows import Chunk, check_definitions, read_features
from pipeline.models.storing import Opened, Part, Predicted, load_parts
from pipeline.models.tables import PREDICTIONS
from pipeline.models.train import (
    ModelStage,
    blocks_of,
    fitted_again,
    kind_of,
    past_rows,
    recipe_of,
    stored_input,
    training,
)
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Ref, Selection, TableRef, Task

_NOTES: Final = ("complete", "clock", "calendar", "hours")
"""Facts about a session that hold of its predictions as of its features."""


def serving(
    block_refs: tuple[tuple[TableRef, ...], dict[str, Any], dict[str, Any]],
    *,
    stored: bool,
    model: Partition | None,
) -> tuple[tuple[Ref, ...], dict[str, Any], dict[str, Any]]:
    """Inputs, parameters and hints of a task that uses a block's model.

    One without a text is fitted again from what it was trained on.
    """
    refs, params, hints = block_refs
    own: dict[str, Any] = {"versions": params["versions"], "clock": params["clock"]}
    if model is None:
        return (), {**own, "model": None}, hints
    own["model"] = model.path
    inputs: tuple[Ref, ...] = (TableRef("models", model, optional=True),)
    if stored:
        return inputs, {**own, "training": None, "estimator": params["estimator"]}, hints
    return (*inputs, *refs), {**own, "training": params, "estimator": params["estimator"]}, hints


class Predict(ModelStage):
    """Predictions by session."""

    name = "predict"
    version = 1
    tables: Sequence[str] = ("predictions",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a selected session; none where no model was asked for."""
        request = self.request
        if request is None:
            return []
        tasks = []
        for block, keys in blocks_of(request, catalog, settings, selection):
            model = block.keys(request.model_id) if block.served else None
            about = training(request, block)
            refs, params, hints = serving(about, stored=request.kind.stored, model=model)
            for key in keys:
                features = key_of_features(key, request.settings.set)
                known = catalog.get("features", features)
                weight = known.rows if known else 0
                inputs = (TableRef("features", features, optional=True), *refs)
                own = {**params, "set": request.settings.set}
                tasks.append(Task(key, inputs, own, hints, weight))
        return tasks

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Predict one session."""
        key = key_of_features(task.partition, task.params["set"])
        features = stored_input(inputs, "features", key)
        parts = open_parts(task, inputs, ("model",))
        model = parts.get("model")
        names: Sequence[str] = ()
        by: date | None = None
        if model is not None:
            names = model.part.features
            check_definitions(features, names, model.part.versions, model.part.clock)
            by = date.fromisoformat(Partition.parse(task.params["model"])["session"])
            _check_past(model.part, task)
        writer = outputs.writer(PREDICTIONS)
        for chunk in read_features(features, names):
            found = model.predict(chunk.x) if model is not None else None
            writer.write(_rows(chunk, found, by))
            outputs.progress(writer.rows, features.rows)
        notes = {name: features.notes[name] for name in _NOTES if name in features.notes}
        writer.note(**notes, served_by=str(by) if by else None)
        writer.close()


def _check_past(part: Part, task: Task) -> None:
    """Make sure that a model was trained on sessions before the one it serves.

    It is planned like that; this is about files that were changed, or copied to the wrong place.
    """
    trained, session = part.trained, date.fromisoformat(task.partition["session"])
    if trained.last_session >= session:
        raise InputError.at(
            f"models {task.params['model']}",
            f"was trained on {trained.last_session}, which is not before {session}",
            todo="run `mbo train --force` for the model",
        )


def key_of_features(key: Partition, set_name: str) -> Partition:
    """Where `features` holds a session of a model's tables."""
    return Partition.of(set=set_name, **{n: key[n] for n in ("dataset", "session", "symbol")})


_refitted: dict[str, Fitted] = {}
"""The last estimator that was fitted again in this process: sessions of a block follow one
another.
"""


def open_parts(task: Task, inputs: Inputs, wanted: Sequence[str]) -> dict[str, Opened]:
    """The wanted parts of the model that serves a task's session, ready to predict; empty where it
    has no model.

    Raises
    ------
    InputError
        For a model that is not there, or not what it must be.
    """
    params = task.params
    if params["model"] is None:
        return {}
    parts = load_parts(stored_input(inputs, "models", Partition.parse(params["model"])))
    return {name: _opened(parts[name], task, inputs) for name in wanted if name in parts}


def _opened(part: Part, task: Task, inputs: Inputs) -> Opened:
    about = task.params["estimator"]
    if part.estimator != about["name"]:
        return part.open()
    if part.text is not None:
        return part.open(own=kind_of(about, task.hints))
    past = past_rows(task.inputs, task.params["training"], inputs)
    content = [one.features.content + one.labels.content for one in past]
    key = json.dumps([task.params["training"], content], sort_keys=True)
    if key not in _refitted:
        _refitted.clear()
        recipe = recipe_of(task.params["training"], task.hints)
        _refitted[key] = fitted_again(past, task.params["training"], recipe, part)
    return part.open(_refitted[key])


def _rows(chunk: Chunk, found: Predicted | None, by: date | None) -> pa.Table:
    n = chunk.event.size

    def numbers(values: NDArray[np.float64] | None) -> pa.Array:
        return pa.nulls(n, pa.float64()) if values is None else pa.array(values, from_pandas=True)

    columns = {
        "ts": pa.array(chunk.ts).cast(PREDICTIONS.column("ts").type),
        "event": pa.array(chunk.event),
        "prediction": numbers(found.prediction if found else None),
        "p_up": numbers(found.p_up if found else None),
        "p_down": numbers(found.p_down if found else None),
        "served_by": pa.array([by] * n, pa.date32()),
    }
    return pa.table(columns, schema=PREDICTIONS.schema())


PREDICT: Final = Predict()
