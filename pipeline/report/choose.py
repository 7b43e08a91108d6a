"""Which runs and sweeps a report is about, and where its page goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.errors import RequestError
from pipeline.stage import Selection

if TYPE_CHECKING:
    from pipeline.lake import Lake, Run
    from pipeline.sweep.results import SweepResult

FOLDER: Final = Path("data/reports")
MOST_RUNS: Final = 24
"""More lines than that are a knot; a table over ``runs`` serves better."""


@dataclass
class Choice:
    """What a page is about."""

    runs: list[Run]
    sweeps: list[SweepResult] = field(default_factory=list)

    @property
    def default_path(self) -> Path:
        """``data/reports/<run>.html``; several are joined, many are counted."""
        ids = [sweep.sweep_id for sweep in self.sweeps] or [run.run_id for run in self.runs]
        if len(ids) > 3:
            return FOLDER / f"{ids[0]}-and-{len(ids) - 1}-more.html"
        return FOLDER / f"{'-'.join(ids)}.html"


def choose(lake: Lake, names: Sequence[str], selection: Selection) -> Choice:
    """Runs and sweeps by id or the first characters of one; without any, the newest run that is
    selected.  Of a sweep its best runs are taken.

    Raises
    ------
    RequestError
        For unknown or ambiguous ids, too many runs, and where there is none at all.
    """
    if not names:
        return Choice([lake.run(newest(lake, selection))])
    runs: dict[str, Run] = {}
    sweeps: dict[str, SweepResult] = {}
    for name in names:
        own = [name]
        if _begins(name, lake.sweep_ids()) and not _begins(name, lake.run_ids()):
            from pipeline.report.sweeps import runs_of

            sweep = lake.sweep(name)
            sweeps[sweep.sweep_id] = sweep
            own = runs_of(sweep)
        runs |= {run.run_id: run for run in map(lake.run, own)}
    if len(runs) > MOST_RUNS:
        raise RequestError(
            f"{len(runs)} runs are too many for one page (at most {MOST_RUNS}); "
            "mbo sql 'SELECT * FROM runs' compares any number"
        )
    return Choice(list(runs.values()), list(sweeps.values()))


def _begins(name: str, known: Sequence[str]) -> bool:
    return any(one.startswith(name) for one in known)


def newest(lake: Lake, selection: Selection) -> str:
    """The run that was finished last, of those with a symbol that is selected.

    Raises
    ------
    RequestError
        If there is none.
    """
    selected = {
        item.partition["run_id"]
        for item in lake.catalog.partitions("fills")
        if Selection(selection.dataset, selection.symbols).admits(item.partition)
    }
    finished = [
        (commit.path.stat().st_mtime_ns, run_id)
        for item in lake.catalog.partitions("runs")
        if (run_id := item.partition["run_id"]) in selected
        and (commit := lake.catalog.producer("runs", item.partition))
    ]
    if not finished:
        raise RequestError(f"{lake.root} holds no such run; `mbo backtest STRATEGY` makes one")
    return max(finished)[1]
