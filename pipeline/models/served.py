"""A block's model in use: what a session's task reads for it, and its parts ready to predict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import Settings
from pipeline.models.estimators import Fitted
from pipeline.models.request import ModelRequest
from pipeline.models.storing import Opened, Part, load_parts
from pipeline.models.train import (
    blocks_of,
    fitted_again,
    kind_of,
    past_rows,
    recipe_of,
    stored_input,
    training,
)
from pipeline.stage import Catalog, Inputs, Partition, Ref, Selection, TableRef, Task


@dataclass(frozen=True)
class Session:
    """A session of a model's tables, and what its tasks need of the block it is in."""

    key: Partition
    features: Partition
    """Where `features` and `labels` hold it."""
    refs: tuple[Ref, ...]
    params: Mapping[str, Any]
    hints: Mapping[str, Any]
    rows: int

    def task(self, inputs: tuple[Ref, ...], **params: Any) -> Task:
        """A task that reads those inputs beside the model."""
        own = {**self.params, "set": self.features["set"], **params}
        return Task(self.key, (*inputs, *self.refs), own, self.hints, self.rows)


def served_sessions(
    request: ModelRequest | None, catalog: Catalog, settings: Settings, selection: Selection
) -> Iterator[Session]:
    """The selected sessions, those without a model included; none where no model was asked for."""
    if request is None:
        return
    for block, keys in blocks_of(request, catalog, settings, selection):
        model = block.keys(request.model_id) if block.served else None
        about = training(request, block)
        refs, params, hints = _serving(about, stored=request.kind.stored, model=model)
        for key in keys:
            features = key_of_features(key, request.settings.set)
            known = catalog.get("features", features)
            yield Session(key, features, refs, params, hints, known.rows if known else 0)


def _serving(
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
