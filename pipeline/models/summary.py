"""A model's ``scores`` over all sessions: means, what is beyond luck, calibration, importance.

Symbols of a session move together: their figures are averaged first, and a session counts once
however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from pipeline.models import metrics
from pipeline.models.calibration import Bin, calibration_error, merged
from pipeline.models.judging import MODEL, Score, bins_of, gain_of
from pipeline.models.metrics import Spread
from pipeline.models.tables import BASELINE_CONSTANT

BEYOND_LUCK: Final = 3.0
"""A t-statistic from here on is called beyond luck: the bar of `mbo sql findings`."""
SUSPECT: Final = 0.9
"""Rank correlation with the label from which on a feature is suspected to be it."""
LOSSES: Final = ("mse", "log_loss")
FIGURES: Final = ("auc", "r2", "log_loss", "accuracy", "ic", "rank_ic")
SIDES: Final = ("", "up_", "down_")


@dataclass(frozen=True)
class Versus:
    """The model against one baseline."""

    gain: Spread
    """Share of the baseline's loss that the model saves, over stretches of time."""
    sessions: Spread
    """The same, a session a value."""

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``luck``: by the t-statistic over stretches."""
        t = self.gain.t
        if t is None or abs(t) < BEYOND_LUCK:
            return "luck"
        return "better" if t > 0 else "worse"


@dataclass(frozen=True)
class Feature:
    """How much a model leans on a feature."""

    name: str
    importance: Spread
    """Share of the constant's loss that shuffling it costs, a session a value."""
    rank_ic: float | None
    """Its own rank correlation with the label, mean over sessions."""

    @property
    def suspect(self) -> bool:
        """It says so much of the label that it may look ahead."""
        return self.rank_ic is not None and abs(self.rank_ic) >= SUSPECT


@dataclass(frozen=True)
class Overlap:
    """What overlapping labels do to the t-statistic of the information coefficient."""

    rows: int
    effective: float
    """How many labels that share nothing the rows amount to."""
    t_rows: float | None
    """As if every row were a fact of its own."""
    t_effective: float | None
    """Of the effective rows."""


@dataclass(frozen=True)
class Summary:
    """Everything the report of ``mbo train`` says of predictions."""

    parts: Mapping[str, Mapping[str, Spread]]
    """By part and figure, over sessions."""
    sessions: Sequence[Mapping[str, Any]]
    """By session: ``session``, ``rows``, and the figures by part."""
    versus: Mapping[str, Versus]
    """By baseline."""
    calibration: Mapping[str, Sequence[Bin]]
    """By side: none of real labels; ``up_`` and ``down_`` of classes."""
    features: Sequence[Feature]
    """The most important first; empty where it could not be told."""
    overlap: Overlap

    @property
    def calibration_gap(self) -> Mapping[str, float | None]:
        """Expected calibration error by side, of all sessions together."""
        return {side: calibration_error(bins) for side, bins in self.calibration.items()}

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "sessions": [dict(one) for one in self.sessions],
            "parts": {
                part: {name: asdict(spread) for name, spread in figures.items()}
                for part, figures in self.parts.items()
            },
            "versus": {
                part: {
                    "verdict": one.verdict,
                    "stretches": asdict(one.gain),
                    "sessions": asdict(one.sessions),
                }
                for part, one in self.versus.items()
            },
            "calibration": {
                side.rstrip("_") or "label": {
                    "gap": self.calibration_gap[side],
                    "bins": [asdict(one) for one in bins],
                }
                for side, bins in self.calibration.items()
            },
            "features": [
                {
                    "feature": one.name,
                    "importance": asdict(one.importance),
                    "rank_ic": one.rank_ic,
                    "suspect": one.suspect,
                }
                for one in self.features
            ],
            "overlap": asdict(self.overlap),
        }


def summarise(frame: pl.DataFrame) -> Summary:
    """The summary of rows of ``scores``, with ``dataset``, ``session`` and ``symbol``."""
    by_key: dict[tuple[str, str, str], list[Score]] = {}
    keys = ("session", "dataset", "symbol")
    for row in frame.sort(keys, maintain_order=True).iter_rows(named=True) if len(frame) else ():
        score = Score(
            row["part"], row["what"], row["value"], row["rows"], row["feature"], row["bin"]
        )
        session, dataset, symbol = (str(row[name]) for name in keys)
        by_key.setdefault((session, dataset, symbol), []).append(score)
    by_key = {key: scores for key, scores in by_key.items() if _judged(scores)}
    days: dict[str, list[list[Score]]] = {}
    for (session, _, _), scores in by_key.items():
        days.setdefault(session, []).append(scores)
    every = list(by_key.values())
    names = list(dict.fromkeys(s.part for scores in every for s in scores))
    sessions = [_session(day, symbols, names) for day, symbols in days.items()]
    parts = {
        part: {
            figure: metrics.over_sessions([one[part].get(figure) for one in sessions])
            for figure in FIGURES
            if any(figure in one[part] for one in sessions)
        }
        for part in names
    }
    return Summary(
        parts=parts,
        sessions=sessions,
        versus={p: _versus(list(days.values()), p) for p in names if p != MODEL},
        calibration={
            side: bins
            for side in SIDES
            if (bins := merged([bins_of(scores, side) for scores in every]))
        },
        features=_features(list(days.values())),
        overlap=_overlap(every, parts),
    )


def _judged(scores: Sequence[Score]) -> bool:
    return any(s.what == "effective_rows" and s.rows > 0 for s in scores)


def _value(scores: Sequence[Score], part: str, *names: str) -> float | None:
    return next((s.value for s in scores if s.part == part and s.what in names), None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _session(day: str, symbols: Sequence[Sequence[Score]], parts: Sequence[str]) -> dict[str, Any]:
    """Figures of a session, the mean over its symbols."""
    found: dict[str, Any] = {
        "session": day,
        "rows": sum(s.rows for scores in symbols for s in scores if s.what == "effective_rows"),
    }
    for part in parts:
        there = {s.what for scores in symbols for s in scores if s.part == part}
        found[part] = {
            name: _mean([_value(scores, part, name) for scores in symbols])
            for name in FIGURES
            if name in there
        }
    return found


def _versus(days: Sequence[Sequence[Sequence[Score]]], part: str) -> Versus:
    by_day = [_as_one([_relative_gain(scores, part) for scores in symbols]) for symbols in days]
    return Versus(metrics.pooled(by_day), metrics.over_sessions([one.mean for one in by_day]))


def _relative_gain(scores: Sequence[Score], part: str) -> Spread:
    """Over stretches, as a share of the baseline's loss: symbols can be compared."""
    gain, loss = gain_of(scores, part), _value(scores, part, *LOSSES)
    if gain.mean is None or not loss:
        return Spread(0)
    deviation = None if gain.deviation is None else gain.deviation / loss
    return Spread(gain.units, gain.mean / loss, deviation, None, gain.above)


def _as_one(symbols: Sequence[Spread]) -> Spread:
    """Symbols of a session as if they were one: as many stretches as one of them has."""
    known = [one for one in symbols if one.units]
    if len(known) <= 1:
        return known[0] if known else Spread(0)
    deviations = [one.deviation for one in known]
    return Spread(
        max(one.units for one in known),
        _mean([one.mean for one in known]),
        _mean(deviations),
        None,
        _mean([one.above for one in known]),
    )


def _features(days: Sequence[Sequence[Sequence[Score]]]) -> list[Feature]:
    costs: dict[str, list[float | None]] = {}
    ranks: dict[str, list[float | None]] = {}
    for symbols in days:
        today: dict[str, list[float | None]] = {}
        for scores in symbols:
            loss = _value(scores, BASELINE_CONSTANT, *LOSSES)
            for s in scores:
                if s.feature is None or s.value is None:
                    continue
                if s.what == "importance" and loss:
                    today.setdefault(s.feature, []).append(s.value / loss)
                elif s.what == "feature_rank_ic":
                    ranks.setdefault(s.feature, []).append(s.value)
        for name, values in today.items():
            costs.setdefault(name, []).append(_mean(values))
    found = [
        Feature(name, metrics.over_sessions(costs.get(name, [])), _mean(ranks.get(name, [])))
        for name in {**costs, **ranks}
    ]
    return sorted(found, key=lambda one: (-(one.importance.mean or 0.0), one.name))


def _overlap(
    every: Sequence[Sequence[Score]], parts: Mapping[str, Mapping[str, Spread]]
) -> Overlap:
    own = [s for scores in every for s in scores if s.what == "effective_rows"]
    rows = sum(s.rows for s in own)
    effective = math.fsum(s.value or 0.0 for s in own)
    mean = parts[MODEL]["ic"].mean if parts else None
    return Overlap(
        rows,
        effective,
        metrics.correlation_t(mean, rows),
        metrics.correlation_t(mean, effective),
    )
