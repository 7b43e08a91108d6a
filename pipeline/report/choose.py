"""Which runs a report is about, and where its page goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.errors import RequestError
from pipeline.stage import Selection

if TYPE_CHECKING:
    from pipeline.lake import Lake, Run

FOLDER: Final = Path("data/reports")
MOST_RUNS: Final = 24
"""More lines than that are a knot; a table over ``runs`` serves better."""


def choose_runs(lake: Lake, names: Sequence[str], selection: Selection) -> list[Run]:
    """Runs by id or the first characters of one; without any, the newest that is selected.

    Raises
    ------
    RequestError
        For unknown or ambiguous ids, too many runs, and where there is none at all.
    """
    if not names:
        return [lake.run(newest(lake, selection))]
    runs = {run.run_id: run for run in map(lake.run, names)}
    if len(runs) > MOST_RUNS:
        raise RequestError(
            f"{len(runs)} runs are too many for one page (at most {MOST_RUNS}); "
            "mbo sql 'SELECT * FROM runs' compares any number"
        )
    return list(runs.values())


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


def default_path(runs: Sequence[Run]) -> Path:
    """``data/reports/<run>.html``; several runs are joined, many are counted."""
    ids = [run.run_id for run in runs]
    if len(ids) > 3:
        return FOLDER / f"{ids[0]}-and-{len(ids) - 1}-more.html"
    return FOLDER / f"{'-'.join(ids)}.html"
