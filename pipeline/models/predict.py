"""Stage `predict`: the rows of `features` through the model of their block, to `predictions`.

Sessions without a model get a row a decision point all the same, and nulls.  Memory does not grow
with the session: rows go through in batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import Settings
from pipeline.errors import InputError
from pipeline.models.rows import Chunk, check_definitions, read_features
from pipeline.models.served import key_of_features, open_parts, served_sessions
from pipeline.models.storing import Part, Predicted
from pipeline.models.tables import PREDICTIONS
from pipeline.models.train import ModelStage, stored_input
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, TableRef, Task

_NOTES: Final = ("complete", "clock", "calendar", "hours")
"""Facts about a session that hold of its predictions as of its features."""


class Predict(ModelStage):
    """Predictions by session."""

    name = "predict"
    version = 1
    tables: Sequence[str] = ("predictions",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a selected session; none where no model was asked for."""
        return [
            one.task((TableRef("features", one.features, optional=True),))
            for one in served_sessions(self.request, catalog, settings, selection)
        ]

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
