"""A sweep as asked for: the trials, and how the best is chosen; checked before anything runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from pipeline.backtest.request import Request, prepare
from pipeline.backtest.tables import MIN_SESSIONS
from pipeline.config import Settings
from pipeline.errors import RequestError
from pipeline.fitting import chosen_set
from pipeline.models.tables import PREDICTED
from pipeline.sweep.axes import LATENCY, Axis, Point, draws, grid, latency_axis, parse_axis
from pipeline.sweep.metrics import RATIOS, check_metric
from pipeline.sweep.windows import WalkForward
from strategies.interface import parameters
from strategies.registry import load

ATTEMPTS: Final = 100
"""Draws that the strategy may refuse for each one wanted, before a random search gives up."""


@dataclass(frozen=True)
class Search:
    """Random search: so many trials, drawn from this seed."""

    trials: int
    seed: int


@dataclass(frozen=True)
class Trial:
    """One combination of parameters."""

    number: int
    point: Point
    """What is varied, by name."""
    request: Request
    """The backtest it is, not yet planned."""


@dataclass(frozen=True)
class SweepRequest:
    """What ``mbo sweep`` was asked for."""

    asked: str
    """The strategy as named on the command line."""
    settings: Settings
    axes: tuple[Axis, ...]
    """What is varied: axes of more than one value."""
    trials: tuple[Trial, ...]
    metric: str = "net"
    walk: WalkForward | None = None
    search: Search | None = None
    refused: list[tuple[Point, str]] = field(default_factory=list)
    """Combinations the strategy itself does not take, and why."""

    @property
    def reading(self) -> str:
        """The reading whose figures count."""
        readings = self.settings.backtest.readings
        return "exact" if "exact" in readings else readings[0]


def prepare_sweep(
    strategy: str,
    texts: Sequence[str],
    settings: Settings,
    *,
    latency: str | None = None,
    search: Search | None = None,
    metric: str = "net",
    walk: WalkForward | None = None,
) -> SweepRequest:
    """Check a sweep and make its trials.

    Parameters
    ----------
    texts
        ``key=a,b,c``, ``key=lo..hi:step`` or ``key=value``, as :mod:`pipeline.sweep.axes` says.
    latency
        Several with commas; None is the settings' one.

    Raises
    ------
    RequestError
        For anything wrong in the request, and where the strategy takes none of the combinations.
    """
    check_metric(metric)
    if walk and metric in RATIOS and walk.train < MIN_SESSIONS:
        raise RequestError(
            f"--metric {metric} needs {MIN_SESSIONS} sessions and a window trains on {walk.train}: "
            f"choose by another (net, profit_factor), or train={MIN_SESSIONS} or more"
        )
    known = parameters(load(strategy).strategy)
    axes = [parse_axis(text, known, drawn=search is not None) for text in texts]
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"-p {name} is there twice; write its values with commas")
    if latency is not None:
        axes.append(latency_axis(latency))
    varied = [axis for axis in axes if len(axis.values) != 1]
    if walk and any(axis.name == LATENCY for axis in varied):
        raise RequestError(
            "--walk-forward chooses parameters, and a latency cannot be chosen: give one --latency"
        )
    maker = _Maker(strategy, settings, {axis.name for axis in varied})
    points = grid(axes) if search is None else draws(axes, search.seed)
    trials = maker.trials(points, search)
    if not trials:
        raise RequestError(maker.refused[0][1])
    return SweepRequest(
        strategy, settings, tuple(varied), tuple(trials), metric, walk, search, maker.refused
    )


def prepare_decay(
    strategy: str, texts: Sequence[str], settings: Settings, latency: str
) -> SweepRequest:
    """One set of parameters at several latencies, for ``mbo backtest --latency 0,1ms,5ms``.

    Raises
    ------
    RequestError
        As :func:`prepare_sweep`, and where parameters have several values.
    """
    sweep = prepare_sweep(strategy, texts, settings, latency=latency)
    for axis in sweep.axes:
        if axis.name != LATENCY:
            raise RequestError(f"-p {axis.name}: `mbo sweep` tries several values")
    if not sweep.axes:
        raise RequestError(f"--latency {latency}: these are the same")
    return sweep


class _Maker:
    """Makes requests of points."""

    def __init__(self, strategy: str, settings: Settings, varied: set[str]) -> None:
        self.strategy = strategy
        self.settings = settings
        self.varied = varied
        self.refused: list[tuple[Point, str]] = []

    def trials(self, points: Iterable[Point], search: Search | None) -> list[Trial]:
        """Trials of distinct values; of a random search as many as it wants."""
        wanted = search.trials if search else None
        found: list[Trial] = []
        seen: set[str] = set()
        for point in islice(points, wanted * ATTEMPTS if wanted else None):
            if len(found) == wanted:
                break
            request = self._request(point)
            if request is None:
                continue
            values = [request.strategy.values(), request.simulated()]
            identity = json.dumps(values, sort_keys=True)
            if identity not in seen:
                seen.add(identity)
                shown = {name: point[name] for name in point if name in self.varied}
                found.append(Trial(len(found), shown, request))
        return found

    def _request(self, point: Point) -> Request | None:
        settings = self.settings
        if LATENCY in point:
            settings = settings.with_values(backtest={"latency": point[LATENCY]})
        texts = [f"{name}={value}" for name, value in point.items() if name != LATENCY]
        try:
            return prepare(self.strategy, texts, settings)
        except RequestError as error:
            self.refused.append((point, str(error)))
            return None


def fresh(request: Request) -> Request:
    """The same request before it is planned: each run has its own."""
    return replace(request, run_id="", sessions=(), currencies=(), skipped={}, rolls=[])


def check_features(sweep: SweepRequest) -> list[str]:
    """The features that any trial reads.

    That the feature set has them is made sure here, before anything is computed.

    Raises
    ------
    RequestError
        Naming what is missing, of all trials at once.
    """
    wanted = {name for trial in sweep.trials for name in trial.request.strategy.features()}
    if not wanted:
        return []
    columns = chosen_set(sweep.settings).columns
    there = {column.name for column in columns.features} | set(PREDICTED)
    missing = sorted(wanted - there)
    if missing:
        listed = ", ".join(repr(name) for name in missing)
        raise RequestError(
            f"trials read {', '.join(missing)}, which feature set {columns.name!r} does not have; "
            f"add to research.toml: [features.sets.{columns.name}] features = [..., {listed}], "
            "or choose another --set"
        )
    return sorted(wanted)
