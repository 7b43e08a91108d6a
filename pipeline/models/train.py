"""Stage `train`: from `features` and `labels` of past sessions to `models`, a task a block.

The model of a block is fitted on sessions before the block's first one, on rows whose labels were
known before it opened; its task reads nothing else, so nothing later can enter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

from pipeline.config import Settings
from pipeline.contracts import resolve
from pipeline.errors import InputError
from pipeline.models.blocks import Block, plan_blocks
from pipeline.models.estimators import Fitted, Kind, load_kind
from pipeline.models.fitting import Outcome, Recipe, fit_parts, refit
from pipeline.models.request import ModelRequest
from pipeline.models.rows import PastRows, Window, check_definitions, read_window
from pipeline.models.storing import Part, Trained, as_table
from pipeline.models.tables import MODELS
from pipeline.session_inputs import SessionPlanner
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Stored, TableRef, Task


class ModelStage:
    """What the stages of models share: the request, which does not travel to the workers."""

    def __init__(self, request: ModelRequest | None = None) -> None:
        self.request = request

    def __getstate__(self) -> dict[str, Any]:
        # Workers load the estimator from the task: a user's class cannot be pickled.
        return {"request": None}

    def warm(self) -> None:
        """Nothing to compile."""


def blocks_of(
    request: ModelRequest, catalog: Catalog, settings: Settings, selection: Selection
) -> Iterator[tuple[Block, list[Partition]]]:
    """Blocks that hold selected sessions, with these sessions' partitions of models' tables."""
    planner = SessionPlanner(catalog, settings)
    selection = resolve(selection, catalog)
    for symbol in planner.symbols(selection):
        for block in plan_blocks(symbol, planner, request, settings):
            keys = [block.keys(request.model_id, session) for session in block.sessions]
            admitted = [key for key in keys if selection.admits(key)]
            if admitted:
                yield block, admitted


def needed_sessions(
    request: ModelRequest, catalog: Catalog, settings: Settings, selection: Selection
) -> frozenset[tuple[str, str, str]]:
    """Dataset, session and contract of all features that the selected sessions' predictions need:
    their own, and those their models are trained on.
    """
    found = set()
    for block, keys in blocks_of(request, catalog, settings, selection):
        found |= {(key["dataset"], key["session"], key["symbol"]) for key in keys}
        for one in block.past:
            past = one.keys(request.settings.set)
            found.add((past["dataset"], past["session"], past["symbol"]))
    return frozenset(found)


def training(
    request: ModelRequest, block: Block
) -> tuple[tuple[TableRef, ...], dict[str, Any], dict[str, Any]]:
    """Inputs, parameters and hints of what fits a block's model."""
    own = request.settings
    keys = [one.keys(own.set) for one in block.past]
    # What is missing is told by the task: a dry run does not make it.
    refs = tuple(TableRef(t, key, optional=True) for key in keys for t in ("features", "labels"))
    read = [column.name for column in request.columns_read]
    params = {
        "features": [column.name for column in request.features],
        "columns": read,
        "label": request.label.name,
        "classification": request.classification,
        "versions": request.versions(),
        "set": own.set,
        "clock": request.chosen.columns.clock,
        "estimator": {
            "name": request.kind.name,
            "source": request.kind.source,
            "params": dict(request.kind.params),
            "given": dict(own.params),
        },
        "cutoff": block.cutoff(request.embargo),
        "embargo": request.embargo,
        "rows": own.rows,
        "select": own.select,
        "weights": own.weights,
        "balance": own.balance,
        "trials": own.trials,
        "seed": own.seed,
    }
    return refs, params, {"estimator": request.kind.spec}


class Train(ModelStage):
    """Models by block of sessions."""

    name = "train"
    version = 2
    tables: Sequence[str] = ("models",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a block that has a past; none where no model was asked for."""
        request = self.request
        if request is None:
            return []
        tasks = []
        for block, _ in blocks_of(request, catalog, settings, selection):
            if not block.served:
                continue
            refs, params, hints = training(request, block)
            known = (catalog.get(ref.table, ref.partition) for ref in refs)
            weight = sum(min(one.rows, request.settings.rows) for one in known if one)
            tasks.append(Task(block.keys(request.model_id), refs, params, hints, weight))
        return tasks

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Fit the model of one block, and its baselines."""
        params = task.params
        past = past_rows(task.inputs, params, inputs)
        if not past:
            outputs.warn("no past session is complete in all it is made of: no model")
            outputs.writer(MODELS).write(as_table([]))
            return
        recipe = recipe_of(params, task.hints)
        window = _window(past, params)
        outputs.progress(len(window.y))
        found = fit_parts(window, params["columns"], recipe, outputs.warn)
        trained = _trained(past, window)
        writer = outputs.writer(MODELS)
        parts = [_part(name, one, params, trained) for name, one in found.items()]
        writer.write(as_table(parts))
        writer.note(rows=len(window.y), purged=window.purged, sessions=trained.sessions)
        writer.close()


def past_rows(refs: Sequence[object], params: Mapping[str, Any], inputs: Inputs) -> list[PastRows]:
    """The files of the past sessions; of those that are complete.

    Raises
    ------
    InputError
        If one is missing, or of another definition than is asked for.
    """
    names = [*params["columns"]]
    found = []
    keys = dict.fromkeys(r.partition for r in refs if isinstance(r, TableRef) and r.table == _LAST)
    for key in keys:
        features, labels = (stored_input(inputs, table, key) for table in ("features", "labels"))
        if features.notes.get("complete") is False:
            continue  # a day of a peer is missing
        check_definitions(features, names, params["versions"], params["clock"])
        check_definitions(labels, [params["label"]], params["versions"], params["clock"])
        found.append(PastRows(features, labels))
    return found


def stored_input(inputs: Inputs, table: str, key: Partition) -> Stored:
    """An input that has to be there.  It is an optional one all the same: a dry run makes nothing.

    Raises
    ------
    InputError
        If no stage before has made it.
    """
    found = inputs.stored(table, key)
    if found is None:
        todo = "see why its stage failed, then run again"
        raise InputError.at(f"{table} {key}", "not there", todo=todo)
    return found


_LAST: Final = "labels"
"""Only sessions that are trained on have these among the inputs."""


def kind_of(about: Mapping[str, Any], hints: Mapping[str, Any]) -> Kind:
    """The estimator of a task; a user's is loaded again.

    Raises
    ------
    InputError
        If its file has changed since the task was planned.
    """
    kind = load_kind(hints["estimator"], about["given"], "task")
    if kind.source != about["source"]:
        raise InputError.at(about["name"], "has changed while it was running", todo="run it again")
    return kind


def recipe_of(params: Mapping[str, Any], hints: Mapping[str, Any]) -> Recipe:
    """How the task's model is fitted; errors as :func:`kind_of`."""
    about = params["estimator"]
    return Recipe(
        kind=kind_of(about, hints),
        features=tuple(params["features"]),
        classification=params["classification"],
        select=params["select"],
        uniqueness=params["weights"] == "uniqueness",
        balance=params["balance"],
        trials=params["trials"],
        fixed=about["given"],
        embargo=params["embargo"],
        seed=params["seed"],
    )


def _window(past: Sequence[PastRows], params: Mapping[str, Any]) -> Window:
    return read_window(past, params["columns"], params["label"], params["rows"], params["cutoff"])


def fitted_again(
    past: Sequence[PastRows], params: Mapping[str, Any], recipe: Recipe, part: Part
) -> Fitted:
    """The estimator of a part without a text."""
    return refit(_window(past, params), params["columns"], recipe, part.features)


def _trained(past: Sequence[PastRows], window: Window) -> Trained:
    keys = [one.features.partition for one in past]
    days = sorted(key["session"] for key in keys)
    return Trained(
        first_session=date.fromisoformat(days[0]),
        last_session=date.fromisoformat(days[-1]),
        contracts=", ".join(dict.fromkeys(key["symbol"] for key in keys)),
        sessions=len(keys),
        rows=len(window.y),
        purged_rows=window.purged,
        known_until=int(window.t_end.max()) if len(window.y) else 0,
    )


def _part(name: str, found: Outcome, params: Mapping[str, Any], trained: Trained) -> Part:
    return Part(
        part=name,
        estimator=found.estimator,
        task="classification" if params["classification"] else "regression",
        label=params["label"],
        classes=found.classes,
        prior=found.prior,
        feature_set=params["set"],
        clock=params["clock"],
        features=found.features,
        versions=params["versions"],
        scaler=found.scaler,
        params=found.params,
        text=found.fitted.to_text(),
        trained=trained,
    )


TRAIN: Final = Train()
