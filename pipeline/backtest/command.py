"""What ``mbo backtest`` calls: :func:`prepare` before anything runs, :func:`present` after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.backtest.request import Request, prepare
from pipeline.backtest.summary import as_json, render
from pipeline.errors import MboError

__all__ = ["Request", "prepare", "present"]


def present(
    root: Path,
    request: Request,
    *,
    print_json: Callable[[Any], None] | None = None,
    program: str = "mbo",
    again: str = "",
) -> None:
    """Print the summary of a finished run, or its figures as JSON.

    ``program`` and ``again`` (options) make the suggestions at its end ones that can be typed.

    Raises
    ------
    MboError
        If the run left no results.
    """
    from pipeline.lake import open_lake

    lake = open_lake(root)
    try:
        rows = lake.run(request.run_id).readings.to_dicts()
    except MboError:
        raise MboError(f"run {request.run_id} left no results; see the errors above") from None
    if print_json is not None:
        print_json(as_json(request.run_id, rows))
    else:
        asked = request.asked
        print(render(request.run_id, rows, root, asked=asked, program=program, again=again))
