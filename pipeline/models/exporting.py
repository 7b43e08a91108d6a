"""Trained models as ONNX files: the graph, and in its metadata what one must know to use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pipeline
from pipeline.contracts import resolve
from pipeline.errors import InputError, RequestError
from pipeline.instants import format_instant
from pipeline.models.graphs import (
    CANNOT,
    EXPORTED,
    INPUT,
    IR_VERSION,
    OPSET,
    OPSET_ML,
    graph_of,
    outputs_of,
)
from pipeline.models.storing import Part, load_parts
from pipeline.stage import Partition, Selection, Stored, encode_value
from pipeline.storage import commit_file, readable_os_errors

if TYPE_CHECKING:
    from pipeline.lake import Model

MODEL: Final = "model"
_PART: Final = ".part"


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    path: Path
    served_by: Partition
    features: int
    outputs: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        about = {"file": str(self.path), "training": str(self.served_by)}
        return {**about, "features": self.features, "outputs": list(self.outputs)}

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.path}: {self.features} features to {', '.join(self.outputs)}"


def check_exportable(estimator: str) -> None:
    """Make sure that a model by this estimator can be written, and that ``onnx`` is there.

    Raises
    ------
    RequestError
        If not.
    """
    if estimator not in EXPORTED:
        raise RequestError(f"--onnx: {estimator}: {CANNOT}")
    if find_spec("onnx") is None:
        raise RequestError(
            "--onnx needs onnx, which is not installed; "
            "run `pip install 'mbo-research[onnx]'`, or `make setup` in a checkout"
        )


def export(model: Model, selection: Selection, folder: Path, *, dry: bool) -> list[Exported]:
    """Write, by contract, the model that serves the last of the selected sessions; ``dry``: all
    but the writing.

    Raises
    ------
    RequestError
        If an estimator has no ONNX form, or no selected session has a model.
    InputError
        If a stored model is not what it must be.
    """
    found = []
    for stored in _newest(model, selection):
        part = load_parts(stored).get(MODEL)
        if part is None:
            continue
        check_exportable(part.estimator)
        key = stored.partition
        names = ("model", "dataset", "symbol", "session")
        path = folder / f"{'_'.join(encode_value(key[name]) for name in names)}.onnx"
        content = as_onnx(part, key).SerializeToString(deterministic=True)
        if not dry:
            _write(path, content)
        found.append(Exported(path, key, len(part.features), outputs_of(part.classes)))
    if not found:
        raise RequestError(f"--onnx: {model.model_id}: no session that was selected has a model")
    return found


def _newest(model: Model, selection: Selection) -> Iterator[Stored]:
    """Rows of ``models`` that serve the last selected session of each contract."""
    catalog = model.lake.catalog
    selection = resolve(selection, catalog)
    last: dict[tuple[str, str], Partition] = {}
    served = [
        item
        for item in catalog.partitions("predictions")
        if item.partition["model"] == model.model_id
        and selection.admits(item.partition)
        and item.notes.get("served_by")
    ]
    for item in sorted(served, key=lambda item: item.partition["session"]):
        key = item.partition.replace(session=item.notes["served_by"])
        last[key["dataset"], key["symbol"]] = key
    for key in last.values():
        stored = catalog.get("models", key)
        if stored is None:
            raise InputError.at(f"models {key}", "not there", todo="run `mbo train` again")
        yield stored


def as_onnx(part: Part, key: Partition) -> Any:
    """The ``onnx.ModelProto`` of a model, checked.

    Raises
    ------
    InputError
        If it is not what it must be.
    """
    import onnx
    from onnx import helper

    try:
        graph = graph_of(part.open(), "model")
    except ValueError as error:
        raise InputError(f"models {key}: refused: {error}") from error
    proto = helper.make_model(
        graph,
        producer_name="mbo-research",
        producer_version=pipeline.__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)],
    )
    helper.set_model_props(proto, _metadata(part, key))
    onnx.checker.check_model(proto)
    return proto


def _metadata(part: Part, key: Partition) -> dict[str, str]:
    trained = part.trained
    unit = "1"
    if part.classes is None:
        from features.registry import LABELS

        column = LABELS.find(part.label)
        unit = column.family.unit if column else "the label's"
    units = {name: unit if name == "prediction" else "1" for name in outputs_of(part.classes)}
    about = {name: key[name] for name in ("model", "dataset", "symbol")}
    versions = {
        name: version
        for name, version in part.versions.items()
        if name in (*part.features, part.label)
    }
    return {
        **about,
        "serves_from": key["session"],
        "estimator": part.estimator,
        "parameters": _json(part.params),
        "task": part.task,
        "label": part.label,
        "classes": _json(part.classes),
        "feature_set": part.feature_set,
        "clock": part.clock,
        "input": f"{INPUT}: float32[rows, {len(part.features)}], unscaled, null is NaN",
        "features": _json(part.features),
        "versions": _json(versions),
        "units": _json(units),
        "first_session": str(trained.first_session),
        "last_session": str(trained.last_session),
        "known_until": format_instant(trained.known_until),
        "contracts": trained.contracts,
        "rows": str(trained.rows),
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _write(path: Path, content: bytes) -> None:
    with readable_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + _PART)
        temporary.write_bytes(content)
        commit_file(temporary, path)
