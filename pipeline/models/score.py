"""Stage `score`: predictions of a session against what came, to `scores`.

The baselines of the session's own model are asked the same rows, and the model once more with one
feature after the other shuffled.  A session is judged on at most ``JUDGED`` rows, evenly thinned,
so that memory is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import Settings
from pipeline.errors import InputError
from pipeline.models.estimators import one_thread
from pipeline.models.importance import ROWS, permutation_importance, thinned
from pipeline.models.judging import MODEL, Answer, Outcomes, Score, judge
from pipeline.models.metrics import rank_ic
from pipeline.models.rows import Labels, check_definitions, read_features, read_labels
from pipeline.models.served import key_of_features, open_parts, served_sessions
from pipeline.models.storing import Opened
from pipeline.models.stretches import stretch_length
from pipeline.models.tables import BASELINE_CONSTANT, PARTS, SCORES
from pipeline.models.train import ModelStage, stored_input
from pipeline.reading import read_batches
from pipeline.stage import Catalog, Inputs, Outputs, Selection, Stored, TableRef, Task

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

JUDGED: Final = 1_000_000
"""Rows of a session that are judged, at most."""
_ANSWERS: Final = ("prediction", "p_up", "p_down")


class ScoreStage(ModelStage):
    """Scores by session."""

    name = "score"
    version = 3
    tables: Sequence[str] = ("scores",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a selected session; none where no model was asked for."""
        request = self.request
        if request is None:
            return []
        return [
            one.task(
                (
                    TableRef("predictions", one.key, optional=True),
                    TableRef("features", one.features, optional=True),
                    TableRef("labels", one.features, optional=True),
                ),
                label=request.label.name,
                seed=request.settings.seed,
            )
            for one in served_sessions(request, catalog, settings, selection)
        ]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Judge one session."""
        parts = open_parts(task, inputs, PARTS)
        # Products of long vectors are summed by as many threads as there are, in another order.
        with one_thread():
            scores = _scores(task, inputs, parts) if MODEL in parts else []
        writer = outputs.writer(SCORES)
        writer.write(_table(scores))
        writer.close()


def _scores(task: Task, inputs: Inputs, parts: Mapping[str, Opened]) -> list[Score]:
    rows = key_of_features(task.partition, task.params["set"])
    features, labels, predictions = (
        stored_input(inputs, table, key)
        for table, key in (
            ("features", rows), ("labels", rows), ("predictions", task.partition),
        )
    )  # fmt: skip
    model = parts[MODEL].part
    # The set may have other features since; the model's must be those it was trained on.
    names = list(dict.fromkeys(name for one in parts.values() for name in one.part.features))
    check_definitions(features, names, model.versions, model.clock)
    check_definitions(labels, [task.params["label"]], model.versions, model.clock)
    known = read_labels(labels, task.params["label"])
    usable = np.flatnonzero(np.isfinite(known.y) & (known.t_end > 0))
    chosen = usable[thinned(usable.size, JUDGED)]
    outcomes = Outcomes(known.ts[chosen], known.t_end[chosen], known.y[chosen])
    answers = {MODEL: _answers(predictions, known, chosen)}
    for name, opened in parts.items():
        if name != MODEL:
            answers[name] = _asked(opened, features, known, chosen)
    constant = answers[BASELINE_CONSTANT].prediction
    scores = judge(outcomes, answers, float(constant[0]) if constant.size else 0.0)
    return scores + _leaning(parts[MODEL], features, known, chosen, task.params["seed"])


# --- what was said -----------------------------------------------------------------------------


def _answers(stored: Stored, known: Labels, chosen: I64) -> Answer:
    """Stored predictions of the chosen rows."""
    found = {name: np.empty(chosen.size) for name in _ANSWERS}
    for batch, mine, out in _batches(stored, known, chosen):
        for name in _ANSWERS:
            values = batch.column(name).to_numpy(zero_copy_only=False)[mine]
            found[name][out] = values
    prediction, up, down = (found[name] for name in _ANSWERS)
    if not np.isfinite(prediction).all():
        raise InputError.at(
            f"predictions {stored.partition}",
            "a prediction is undefined though the session has a model",
            todo="run `mbo train --force` for the model",
        )
    classes = np.isfinite(up).all() and np.isfinite(down).all()
    return Answer(prediction, up, down) if classes and chosen.size else Answer(prediction)


def _batches(
    stored: Stored, known: Labels, chosen: I64
) -> Iterator[tuple[pa.RecordBatch, I64, slice]]:
    """Batches with the places of chosen rows in them, and of these among the chosen.

    Raises
    ------
    InputError
        If the rows are not those of the labels.
    """
    at = 0
    for batch in read_batches(stored, ["event", *_ANSWERS]):
        end = at + batch.num_rows
        event = batch.column("event").to_numpy(zero_copy_only=False)
        if not np.array_equal(event, known.event[at:end]):
            raise _differ(stored)
        first, last = (int(np.searchsorted(chosen, x)) for x in (at, end))
        yield batch, chosen[first:last] - at, slice(first, last)
        at = end
    if at != known.event.size:
        raise _differ(stored)


def _differ(stored: Stored) -> InputError:
    return InputError.at(
        f"{stored.table} {stored.partition}",
        "its rows are not those of labels",
        todo="run `mbo features --force` for the session",
    )


def _asked(opened: Opened, features: Stored, known: Labels, chosen: I64) -> Answer:
    """What a baseline says of the chosen rows."""
    found = opened.predict(_matrix(features, opened.part.features, known, chosen))
    if found.p_up is None or found.p_down is None:
        return Answer(found.prediction)
    return Answer(found.prediction, found.p_up, found.p_down)


def _matrix(
    features: Stored, names: Sequence[str], known: Labels, chosen: I64
) -> NDArray[np.float32]:
    """Features of the chosen rows: float32[m, features], null is NaN."""
    x = np.empty((chosen.size, len(names)), np.float32)
    at = 0
    for chunk in read_features(features, names) if names else ():
        end = at + chunk.event.size
        if not np.array_equal(chunk.event, known.event[at:end]):
            raise _differ(features)
        first, last = (int(np.searchsorted(chosen, y)) for y in (at, end))
        x[first:last] = chunk.x[chosen[first:last] - at]
        at = end
    return x


# --- what it leans on --------------------------------------------------------------------------


def _leaning(
    opened: Opened, features: Stored, known: Labels, chosen: I64, seed: int
) -> list[Score]:
    """Importance of each feature, and its own rank correlation with the label."""
    names = opened.part.features
    rows = chosen[thinned(chosen.size, ROWS)]
    if not names or not rows.size:
        return []
    outcomes = Outcomes(known.ts[rows], known.t_end[rows], known.y[rows])
    x = _matrix(features, names, known, rows)
    length = stretch_length(outcomes.ts, outcomes.t_end)

    def loss(x: NDArray[np.float32]) -> float:
        found = opened.predict(x)
        answer = Answer(found.prediction, found.p_up, found.p_down)
        return float(outcomes.losses(answer).mean())

    scores = []
    costs = permutation_importance(loss, x, outcomes.ts, length=length, seed=seed)
    for name, cost in zip(names, costs or (), strict=bool(costs)):
        scores.append(Score(MODEL, "importance", cost.mean, rows.size, feature=name))
        scores.append(Score(MODEL, "importance_spread", cost.spread, rows.size, feature=name))
    for j, name in enumerate(names):
        column = x[:, j].astype(np.float64)
        defined = np.isfinite(column)
        value = rank_ic(outcomes.y[defined], column[defined])
        count = int(np.count_nonzero(defined))
        scores.append(Score(MODEL, "feature_rank_ic", value, count, feature=name))
    return scores


def _table(scores: Sequence[Score]) -> pa.Table:
    rows = [{column.name: getattr(score, column.name) for column in SCORES.columns}
            for score in scores]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SCORES.schema())


SCORE: Final = ScoreStage()
