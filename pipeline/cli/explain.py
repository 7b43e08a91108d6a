"""``mbo explain``: the story of a fill, or of an order that was not filled."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.common import Invocation
from pipeline.errors import DIFFERENCES, OK, RequestError


def explain(
    call: Invocation,
    what: Annotated[
        str | None, typer.Argument(help="A fill: its number, RUN/FILL or RUN/READING/FILL.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="The run's first characters (default: the newest).")
    ] = None,
    reading: Annotated[
        str | None, typer.Option("--reading", help="Which reading (default: exact).")
    ] = None,
    order: Annotated[
        int | None, typer.Option("--order", min=0, help="An order instead, filled or not.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option("--strategy", help="path/to/file.py:Name of a strategy of yours.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Show long waits whole.")] = False,
) -> int:
    """Tell what filled an order of ours, record by record, or why nothing did.

    The run is simulated again up to there.  --symbols says which instrument, where several have
    a fill of that number.  Exits with 3 if the replay differs from what the run stored.

    Example: mbo explain 12 --reading exact
    """
    from pipeline.backtest.explain import explain as replayed
    from pipeline.backtest.explain import find
    from pipeline.backtest.telling import Telling, as_json
    from pipeline.lake import open_lake
    from pipeline.report.choose import newest
    from pipeline.stage import Selection

    lake = open_lake(call.root)
    run, reading, fill = _parsed(what, run, reading, order)
    selection = Selection(call.selection.dataset, call.selection.symbols)
    run_id = lake.run(run).run_id if run else newest(lake, selection)
    asked = find(lake, run_id, reading, fill=fill, order=order, admits=selection.admits)
    story = replayed(lake, asked, strategy)
    if call.json:
        call.print_json(as_json(story))
    else:
        print(Telling(story, everything=all_).text())
    return DIFFERENCES if story.disagreements else OK


def _parsed(
    what: str | None, run: str | None, reading: str | None, order: int | None
) -> tuple[str | None, str | None, int | None]:
    """Run, reading and number of the fill."""
    if (what is None) == (order is None):
        raise RequestError("say which: a fill, as in `mbo explain 12`, or --order 12")
    if what is None:
        return run, reading, None
    *path, number = what.split("/")
    if not number.isdigit() or len(path) > 2:
        raise RequestError(f"{what!r} is no fill: write 12, RUN/12 or RUN/exact/12")
    for given, option, place in ((run, "--run", 0), (reading, "--reading", 1)):
        if given is not None and len(path) > place:
            raise RequestError(f"{what!r} and {option} {given} both say it: leave one out")
    run = path[0] if path else run
    reading = path[1] if len(path) > 1 else reading
    return run, reading, int(number)
