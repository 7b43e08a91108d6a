"""Running a sweep: all trials, the choice in each window, the tests of what was chosen.

What a window chooses depends on runs over its own training sessions alone; the test sessions
are first read by the run that judges the choice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from pipeline.backtest.plan import plan_run
from pipeline.catalog import LakeCatalog
from pipeline.errors import RequestError
from pipeline.schedule import StageSummary
from pipeline.stage import Partition, Selection, Stage
from pipeline.sweep.metrics import ranking
from pipeline.sweep.request import SweepRequest, fresh
from pipeline.sweep.stage import Leg, SimulateMany, SummariseMany, Sweep, metric_value
from pipeline.sweep.windows import Window, untested, windows

BATCH: Final = 64
"""Runs that are simulated before their figures are written: what an interrupt leaves unsaid."""

RunStages = Callable[[Sequence[Stage]], list[StageSummary]]
"""Runs stages one after the other and gives their summaries."""


@dataclass
class Outcome:
    """What became of a sweep."""

    sweep_id: str
    windows: list[Window] = field(default_factory=list)
    untested: list[date] = field(default_factory=list)
    """Sessions at the end that fill no test window."""
    failed: list[Leg] = field(default_factory=list)
    undecided: list[int] = field(default_factory=list)
    """Windows in which no trial has a value of the metric: nothing to test."""


def plan_legs(
    sweep: SweepRequest, root: Path, selection: Selection
) -> tuple[list[Leg], list[Window], list[date]]:
    """The runs that are made first, the windows, and the sessions no test holds.

    Raises
    ------
    RequestError
        If nothing can be traded, the sessions fill no window, or money of several currencies
        would have to be compared.
    """
    catalog = LakeCatalog(root)
    first = fresh(sweep.trials[0].request)
    plan_run(first, catalog, selection)
    if len(first.currencies) > 1:
        raise RequestError(
            "trials are compared in one currency, and these symbols make "
            f"{', '.join(first.currencies)}; choose with --symbols"
        )
    if sweep.walk is None:
        legs = [Leg(t.number, None, "all", fresh(t.request), selection) for t in sweep.trials]
        return legs, [], []
    found = windows(first.sessions, sweep.walk)
    legs = [
        Leg(
            trial.number,
            window.number,
            "train",
            fresh(trial.request),
            within(selection, window.train),
        )
        for window in found
        for trial in sweep.trials
    ]
    return legs, found, untested(first.sessions, found)


def within(selection: Selection, sessions: Sequence[date]) -> Selection:
    """The selection, narrowed to sessions that follow one another."""
    return replace(selection, start=sessions[0], end=sessions[-1])


def run_sweep(
    sweep: SweepRequest,
    root: Path,
    selection: Selection,
    run: RunStages,
    told: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Run what is not stored yet, choose, test, and write the table ``sweeps``.

    Parameters
    ----------
    run
        Runs stages on the lake.
    told
        Takes a line on how far it is, now and then.

    Raises
    ------
    RequestError
        As :func:`plan_legs`.
    """
    legs, found, rest = plan_legs(sweep, root, selection)
    outcome = Outcome("", found, rest)
    run_legs(legs, run, told, outcome)
    outcome.sweep_id = _sweep_id(sweep, legs)
    tests: list[Leg] = []
    lost = {leg.run_id for leg in outcome.failed}
    values = _values(root, (leg for leg in legs if leg.run_id not in lost), sweep) if found else {}
    for window in found:
        mine = [leg for leg in legs if leg.window == window.number]
        best = ranking([values.get(leg.run_id) for leg in mine], sweep.metric)
        if best:
            trial = sweep.trials[mine[best[0]].trial]
            chosen = within(selection, window.test)
            tests.append(Leg(trial.number, window.number, "test", fresh(trial.request), chosen))
        else:
            outcome.undecided.append(window.number)
    run_legs(tests, run, told, outcome)
    run([Sweep(outcome.sweep_id, _params(sweep, [*legs, *tests], outcome.failed))])
    return outcome


def run_legs(
    legs: Sequence[Leg], run: RunStages, told: Callable[[str], None], outcome: Outcome
) -> None:
    """Simulate and sum up, batch by batch; failures go into the outcome."""
    done = 0
    for batch in _batches(legs):
        (simulated,) = run([SimulateMany(batch)])
        failed = {name.split(" ")[0] for name, _ in (*simulated.failed, *simulated.blocked)}
        # Figures of a run that lacks a symbol would be those of another run.
        whole = [leg for leg in batch if leg.run_id not in failed]
        (summed,) = run([SummariseMany(whole)])
        failed |= {name.split(" ")[0] for name, _ in (*summed.failed, *summed.blocked)}
        outcome.failed += [leg for leg in batch if leg.run_id in failed]
        done += len(batch)
        if len(legs) > len(batch):
            told(f"{done:,} of {len(legs):,} runs")


def _batches(legs: Sequence[Leg]) -> Iterator[Sequence[Leg]]:
    for start in range(0, len(legs), BATCH):
        yield legs[start : start + BATCH]


def _values(root: Path, legs: Iterable[Leg], sweep: SweepRequest) -> dict[str, float]:
    """The metric by run, of runs that have one."""
    catalog = LakeCatalog(root)
    found: dict[str, float] = {}
    for run_id in dict.fromkeys(leg.run_id for leg in legs):
        stored = catalog.get("runs", Partition.of(run_id=run_id))
        value = metric_value(stored, sweep.reading, sweep.metric)
        if value is not None:
            found[run_id] = value
    return found


def _sweep_id(sweep: SweepRequest, legs: Sequence[Leg]) -> str:
    """Hash of what was compared, and how: the runs say the rest."""
    value = {
        "metric": sweep.metric,
        "reading": sweep.reading,
        "walk_forward": str(sweep.walk or ""),
        "axes": [axis.name for axis in sweep.axes],
        "runs": [[leg.trial, leg.window, leg.run_id] for leg in legs],
    }
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _params(sweep: SweepRequest, legs: Sequence[Leg], failed: Sequence[Leg]) -> dict[str, Any]:
    lost = {leg.run_id for leg in failed}
    points: list[Mapping[str, str]] = [trial.point for trial in sweep.trials]
    return {
        "strategy": sweep.trials[0].request.loaded.name,
        "metric": sweep.metric,
        "reading": sweep.reading,
        "walk_forward": str(sweep.walk or ""),
        "axes": [axis.name for axis in sweep.axes],
        "legs": [
            {
                "trial": leg.trial,
                "window": leg.window,
                "role": leg.role,
                "run_id": leg.run_id,
                "failed": leg.run_id in lost,
                "point": dict(points[leg.trial]),
                "sessions": len(leg.request.sessions),
                "first_session": str(leg.request.sessions[0]),
                "last_session": str(leg.request.sessions[-1]),
            }
            for leg in legs
        ],
    }
