"""The report of ``mbo train`` in the terminal: what came out, out of sample, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.backtest.summary import NONE, count, number, share
from pipeline.backtest.tables import MIN_SESSIONS
from pipeline.instants import format_count
from pipeline.models.judging import MODEL
from pipeline.models.metrics import Spread
from pipeline.models.summary import Feature, Summary, Versus
from pipeline.models.tables import BASELINE_CONSTANT as CONSTANT
from pipeline.models.tables import BASELINE_QUEUE as QUEUE
from pipeline.sweep.show import table

Show = Callable[[Any], str]

NAMES: Final[Mapping[str, str]] = {
    MODEL: "model",
    CONSTANT: "constant",
    QUEUE: "queue imbalance",
}
VERDICTS: Final[Mapping[str, str]] = {
    "better": "better, beyond luck",
    "worse": "worse, beyond luck",
    "luck": "not beyond luck",
}
HEADINGS: Final[Mapping[str, tuple[str, Show]]] = {
    "auc": ("AUC", number(4)),
    "r2": ("R2", number(4)),
    "log_loss": ("log-loss", number(4)),
    "accuracy": ("accuracy", share),
    "ic": ("IC", number(4)),
    "rank_ic": ("rank IC", number(4)),
}
"""Figures in the order of the columns."""
SHOWN: Final = 20
"""Sessions listed one by one, the last ones."""
MOST: Final = 10
"""Features listed."""
_SIDES: Final[Mapping[str, str]] = {
    "": "prediction",
    "up_": "probability of up",
    "down_": "probability of down",
}


@dataclass(frozen=True)
class About:
    """What was trained, for the head of the report."""

    model_id: str
    what: str
    """``y_return_10s from 41 features of the set default, by lightgbm``"""
    symbols: str
    simulated: bool
    trained: str
    """How: ``anew every 5 sessions, on at most 20 before``"""
    without: int
    """Sessions without a model."""


def report(about: About, summary: Summary) -> list[str]:
    """Lines of the report."""
    lines = []
    if about.simulated:
        lines.append("SIMULATED market: the built-in sample, not real trading data")
    lines += [f"{about.model_id} on {about.symbols}", f"predicts    {about.what}"]
    lines.append(f"trained     {about.trained}")
    if about.without:
        lines.append(f"no past     {format_count(about.without, 'session')} without predictions")
    if not summary.sessions:
        return [*lines, "", "Nothing is judged: no session has a model and labels."]
    first, last = summary.sessions[0]["session"], summary.sessions[-1]["session"]
    days = format_count(len(summary.sessions), "session")
    lines.append(f"judged      {first} to {last}: {days}, each after the model's training")
    lines += ["", f"out of sample, mean over {days} (t over sessions in brackets)"]
    lines += _parts(summary)
    lines += ["", *_verdicts(summary), ""]
    lines += _sessions(summary)
    lines += ["", *_overlap(summary)]
    for side, bins in summary.calibration.items():
        lines += ["", *_calibration(summary, side), *_bins(bins)]
    if summary.features:
        lines += ["", *_features(summary.features)]
    return lines


def _figures(summary: Summary) -> list[str]:
    return [name for name in HEADINGS if name in summary.parts[MODEL]]


def _parts(summary: Summary) -> list[str]:
    figures = _figures(summary)
    header = ["", *(HEADINGS[name][0] for name in figures)]
    rows = []
    for part, own in summary.parts.items():
        cells = [_with_t(name, own.get(name, Spread(0))) for name in figures]
        rows.append([NAMES.get(part, part), *cells])
    return table(header, rows)


def _with_t(name: str, spread: Spread) -> str:
    """A mean with its t-statistic, where 0 is what knowing nothing gives; of AUC 1/2 is."""
    text = HEADINGS[name][1](spread.mean)
    if name in ("log_loss", "accuracy"):
        return text
    nothing = 0.5 if name == "auc" else 0.0
    if spread.t is None or spread.mean is None or not spread.deviation:
        return f"{text}        "
    t = (spread.mean - nothing) / spread.deviation * spread.units**0.5
    return f"{text} {f'({t:.1f})':>7}"


def _verdicts(summary: Summary) -> list[str]:
    """The model against each baseline, and what keeps one from believing it."""
    header = ["against", "the model is", "loss saved", "t", "stretches", "better in"]
    rows = [_verdict(NAMES.get(part, part), one) for part, one in summary.versus.items()]
    lines = table(header, rows) if rows else []
    if QUEUE not in summary.versus:
        lines.append("Not compared with the queue imbalance: the set has no queue_imbalance.")
    sessions = len(summary.sessions)
    if sessions < MIN_SESSIONS:
        lines.append(
            f"Few sessions ({sessions}): a week's mood can look like skill. "
            f"Judge from {MIN_SESSIONS} on."
        )
    return lines


def _verdict(name: str, versus: Versus) -> list[str]:
    gain, days = versus.gain, versus.sessions
    better = round((days.above or 0.0) * days.units)
    return [
        name,
        VERDICTS[versus.verdict],
        share(gain.mean),
        number(1)(gain.t),
        count(gain.units),
        f"{better} of {format_count(days.units, 'session')}",
    ]


def _sessions(summary: Summary) -> list[str]:
    figures = [name for name in _figures(summary) if name != "ic"]
    parts = [part for part in summary.parts if part != CONSTANT]
    header = ["session", "rows"]
    for name in figures:
        header += [
            HEADINGS[name][0] if part == MODEL else NAMES.get(part, part).split()[0]
            for part in parts
        ]
    rows = []
    for one in summary.sessions[-SHOWN:]:
        cells = [HEADINGS[name][1](one[part].get(name)) for name in figures for part in parts]
        rows.append([one["session"], count(one["rows"]), *cells])
    lines = table(header, rows)
    if len(parts) > 1:
        lines.insert(0, "by session, the model and beside it the queue imbalance alone")
    if len(summary.sessions) > SHOWN:
        lines.append(f"the last {SHOWN} of {len(summary.sessions):,}; `scores` has all")
    return lines


def _overlap(summary: Summary) -> list[str]:
    own = summary.overlap
    lines = [
        f"Labels overlap: {own.rows:,} rows amount to {own.effective:,.0f} that share nothing."
    ]
    if own.t_rows is not None and own.t_effective is not None:
        days = summary.parts[MODEL]["ic"].t
        over = "" if days is None else f", over sessions {days:.1f}"
        lines.append(
            f"The t of the IC: {own.t_effective:.1f} counting that{over}; as if each row were a "
            f"fact of its own it would be {own.t_rows:.1f}."
        )
    return lines


def _calibration(summary: Summary, side: str) -> list[str]:
    gap = summary.calibration_gap[side]
    head = f"calibration of the {_SIDES[side]}: mean gap {number(4)(gap)}"
    return [f"{head}; bins of equal size, errors count overlap"]


def _bins(bins: Sequence[Any]) -> list[str]:
    header = ["bin", "rows", "predicted", "observed", "+-", "gap"]
    rows = [
        [
            str(one.number),
            count(one.rows),
            f"{one.predicted:.4f}",
            f"{one.observed:.4f}",
            number(4)(one.error),
            f"{one.gap:+.4f}" + (" *" if one.error and abs(one.gap) > 2 * one.error else "  "),
        ]
        for one in bins
    ]
    lines = table(header, rows)
    if any(row[-1].endswith("*") for row in rows):
        lines.append("* more than two standard errors apart")
    return lines


def _features(features: Sequence[Feature]) -> list[str]:
    known = [one for one in features if one.importance.mean is not None]
    lines = []
    if known:
        lines.append(
            "most important: share of the constant's loss that shuffling a feature costs, "
            "stretch by stretch"
        )
        rows = [
            [
                one.name,
                share(one.importance.mean),
                NONE if one.importance.t is None else f"{one.importance.t:.1f}",
                number(3)(one.rank_ic),
            ]
            for one in known[:MOST]
        ]
        lines += table(["feature", "costs", "t", "own rank IC"], rows)
        lines.append("Features that say the same share their importance.")
    lines += [
        f"SUSPECT: {one.name} has a rank correlation of {one.rank_ic:.2f} with the label: "
        f"it may look ahead; `mbo check {one.name}`"
        for one in features
        if one.suspect
    ]
    return lines
