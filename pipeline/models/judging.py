"""A session's predictions judged: those of the model and of its baselines, on the same rows.

All of it is out of sample: the model that serves a session was trained on sessions before it.
Every decision point whose label is known counts once; what overlapping labels do to their number
is said apart (``effective_rows``), and gains over a baseline come by stretches of time that
outlast the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.models import metrics
from pipeline.models.calibration import Bin, calibration, calibration_error
from pipeline.models.metrics import Spread
from pipeline.models.stretches import parts_by_stretch, stretch_length, stretches
from pipeline.models.weights import uniqueness

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MODEL: Final = "model"

CALIBRATION: Final = ("predicted", "observed", "error")
"""Of a bin: mean prediction, mean outcome, its standard error."""


@dataclass(frozen=True)
class Score:
    """A row of ``scores``."""

    part: str
    what: str
    value: float | None
    rows: int
    feature: str | None = None
    bin: int | None = None


@dataclass(frozen=True)
class Answer:
    """What the model or a baseline says of the rows, as ``predictions`` has it."""

    prediction: F64
    """float64[n]: the label; of classes ``up - down``."""
    up: F64 | None = None
    """float64[n]: probability of classes above 0; None for real labels."""
    down: F64 | None = None
    """The same of classes below 0."""

    @property
    def sides(self) -> F64 | None:
        """Probabilities of down, flat and up: float64[n, 3]; None for real labels."""
        if self.up is None or self.down is None:
            return None
        return np.column_stack([self.down, 1 - self.up - self.down, self.up])


@dataclass(frozen=True)
class Outcomes:
    """What came of a session's decision points."""

    ts: I64
    """int64[n], ns, ascending."""
    t_end: I64
    """int64[n], ns: when the labels were known."""
    y: F64
    """float64[n], finite; of classes whole numbers, which are judged by their sign."""

    @property
    def side(self) -> I64:
        """Column of :attr:`Answer.sides` that happened: int64[n]."""
        return np.sign(self.y).astype(np.int64) + 1

    def moved(self, answer: Answer) -> tuple[Mask, Mask]:
        """Rows that went a way, and all that went up: bool[n] each.

        What is exactly 0 went none; but where only one side is possible (classes 0 and 1), it is
        the other.
        """
        sides = answer.sides
        if sides is not None:
            possible = (sides > 0).any(axis=0) | (np.bincount(self.side, minlength=3) > 0)
            if not (possible[0] and possible[2]):
                return np.ones(len(self.y), np.bool_), self.y > 0 if possible[2] else self.y >= 0
        return self.y != 0, self.y > 0

    def losses(self, answer: Answer) -> F64:
        """What each row costs: the squared error, or of classes the log-loss (nats)."""
        sides = answer.sides
        if sides is None:
            return np.asarray((self.y - answer.prediction) ** 2, np.float64)
        return metrics.log_losses(self.side, sides)


def judge(outcomes: Outcomes, answers: Mapping[str, Answer], constant: float) -> list[Score]:
    """Figures of a session, in a fixed order.

    Parameters
    ----------
    outcomes
        Decision points whose label is known and for which there is a model.
    answers
        By part: the model and its baselines, on these rows.
    constant
        Mean of the label in the training window, which R2 is against.
    """
    rows = len(outcomes.y)
    own = uniqueness(outcomes.ts, outcomes.t_end)
    scores = [Score(MODEL, "effective_rows", float(own.sum()), rows)]
    for part, answer in answers.items():
        scores += _figures(outcomes, part, answer, constant)
    scores += _calibrations(outcomes, answers[MODEL], own)
    scores += _gains(outcomes, answers)
    return scores


def _figures(outcomes: Outcomes, part: str, answer: Answer, constant: float) -> list[Score]:
    y, prediction, rows = outcomes.y, answer.prediction, len(outcomes.y)
    moved, up = outcomes.moved(answer)
    went = int(moved.sum())
    found = [Score(part, "auc", metrics.auc(up[moved], prediction[moved]), went)]
    loss = float(outcomes.losses(answer).mean()) if rows else None
    sides = answer.sides
    if sides is None:
        r2 = metrics.r2(y, prediction, constant)
        found += [Score(part, "mse", loss, rows), Score(part, "r2", r2, rows)]
    else:
        right = metrics.accuracy(outcomes.side, sides)
        found += [Score(part, "log_loss", loss, rows), Score(part, "accuracy", right, rows)]
    found.append(Score(part, "ic", metrics.ic(y, prediction), rows))
    found.append(Score(part, "rank_ic", metrics.rank_ic(y, prediction), rows))
    return found


def _calibrations(outcomes: Outcomes, answer: Answer, own: F64) -> list[Score]:
    """Of real labels the prediction against the label; of classes the probability of each side."""
    if answer.up is None or answer.down is None:
        return _calibration("", answer.prediction, outcomes.y, own)
    found = []
    for side, p, happened in (
        ("up_", answer.up, outcomes.y > 0),
        ("down_", answer.down, outcomes.y < 0),
    ):
        if p.any() or happened.any():
            found += _calibration(side, p, happened.astype(np.float64), own)
    return found


def _calibration(side: str, prediction: F64, outcome: F64, own: F64) -> list[Score]:
    bins = calibration(prediction, outcome, uniqueness=own)
    gap = calibration_error(bins)
    found = [Score(MODEL, f"{side}calibration_gap", gap, len(outcome))]
    for one in bins:
        for name in CALIBRATION:
            value = getattr(one, name)
            what = f"{side}calibration_{name}"
            found.append(Score(MODEL, what, value, one.rows, bin=one.number))
    return found


def bins_of(scores: Sequence[Score], side: str = "") -> list[Bin]:
    """The bins that :func:`judge` wrote; ``side``: ``up_``, ``down_``, or none."""
    values = {(score.bin, score.what): score for score in scores if score.bin is not None}
    found = []
    for number in sorted({number for number, _ in values if number is not None}):
        names = [f"{side}calibration_{name}" for name in CALIBRATION]
        if (number, names[0]) not in values:
            continue
        predicted, observed, error = (values[number, name] for name in names)
        assert predicted.value is not None
        assert observed.value is not None
        found.append(Bin(number, predicted.rows, predicted.value, observed.value, error.value))
    return found


def _gains(outcomes: Outcomes, answers: Mapping[str, Answer]) -> list[Score]:
    """Loss that the model saves against each baseline, a row: what stretches of time add to it,
    and how much that varies.
    """
    if not len(outcomes.y):
        return []
    number = stretches(outcomes.ts, stretch_length(outcomes.ts, outcomes.t_end))
    own = outcomes.losses(answers[MODEL])
    found = []
    for part, answer in answers.items():
        if part == MODEL:
            continue
        gains = parts_by_stretch(outcomes.losses(answer) - own, number)
        spread = metrics.over_sessions(gains.tolist())
        found += [
            Score(part, "gain", spread.mean, spread.units),
            Score(part, "gain_deviation", spread.deviation, spread.units),
            Score(part, "gain_above", spread.above, spread.units),
        ]
    return found


def gain_of(scores: Sequence[Score], part: str) -> Spread:
    """The spread over stretches that :func:`judge` wrote of the gain over a baseline."""
    mine = {score.what: score for score in scores if score.part == part}
    if "gain" not in mine:
        return Spread(0)
    values = (mine[name].value for name in ("gain", "gain_deviation", "gain_above"))
    mean, deviation, above = values
    return metrics.pooled([Spread(mine["gain"].rows, mean, deviation, None, above)])
