"""``mbo report``: runs as one HTML page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import Invocation
from pipeline.errors import OK, RequestError


def report(
    call: Invocation,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs or sweeps by their ids, or first characters; default: newest run."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The page (default: data/reports/RUN.html).")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    fill: Annotated[
        list[int] | None,
        typer.Option("--fill", min=0, help="Show the book around this fill; may be repeated."),
    ] = None,
    fills: Annotated[
        int, typer.Option("--fills", min=0, max=500, help="How many fills get their book shown.")
    ] = 48,
    window: Annotated[
        str, typer.Option("--window", help="How much of the book before and after a fill.")
    ] = "5s",
) -> int:
    """Write one HTML page about a run, about several side by side, or about a sweep.

    It opens offline: nothing is loaded.  --symbols narrows what is drawn of fills, prices and
    positions, --start and --end the sessions whose fills are drawn; figures are of the whole run.

    Example: mbo report --open
    """
    from pipeline.lake import open_lake
    from pipeline.progress import human_bytes
    from pipeline.report.choose import choose
    from pipeline.report.page import Options, page_of, write_page

    options = Options(fills, tuple(fill or ()), _window(window), call.selection)
    chosen = choose(open_lake(call.root), runs or (), call.selection)
    path = out or chosen.default_path
    if path.is_dir():
        raise RequestError(f"{path} is a folder; --out names the page, such as {path}/run.html")
    names = [run.run_id for run in chosen.runs]
    if call.dry_run:
        print(f"would write {path} about {', '.join(names)}")
        return OK
    page = page_of(chosen, options)
    size = write_page(path, page)
    if call.json:
        call.print_json({"path": str(path), "bytes": size, "runs": names})
    elif not call.quiet:
        print(f"{path}  {human_bytes(size)}, {', '.join(names)}")
    if open_:
        _show(path)
    return OK


def _window(text: str) -> int:
    from pipeline.units import NS_PER_MINUTE, NS_PER_MS, parse_duration

    try:
        window = parse_duration(text)
    except ValueError as error:
        raise RequestError(f"--window: {error}") from None
    if not NS_PER_MS <= window <= 10 * NS_PER_MINUTE:
        raise RequestError(f"--window {text}: between 1ms and 10m")
    return window


def _show(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(Path(os.path.abspath(path)).as_uri()):
        print(f"mbo: no browser found; open {path} yourself", file=sys.stderr)
