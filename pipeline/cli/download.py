"""`mbo download`: data from the vendor, cost first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import Invocation, program
from pipeline.config import Settings
from pipeline.errors import RequestError


def download(
    call: Invocation,
    schema: Annotated[
        str | None, typer.Option("--schema", help="With commas: mbo,definition,status,...")
    ] = None,
    stype: Annotated[
        str | None,
        typer.Option("--stype", help="raw_symbol, parent, continuous; default: by their form."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of batch folders; default: raw.path.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", min=0, help="USD; refuse what costs more.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Order and pay; without it: cost only.")] = (
        False
    ),
) -> int:
    """Show what data costs; with --yes order it, fetch it and check it.

    The key comes from the environment variable DATABENTO_API_KEY. --symbols takes the vendor's
    symbols (ESM5, ES.FUT, ES.c.0), --start and --end are UTC days, both included. What is there
    whole is not fetched again, what was ordered is not paid again: after a failure or Ctrl-C run
    the same command.

    Example: mbo download --dataset GLBX.MDP3 --symbols MES.FUT --start 2025-06-02 --end 2025-06-06
    """
    from pipeline.download.request import make_request
    from pipeline.download.run import run

    settings = call.settings.with_values(
        download={
            "dataset": call.selection.dataset,
            "symbols": (call.selection.symbols,) if call.selection.symbols else None,
            "schemas": _parts(schema),
            "stype": stype,
            "max_cost": max_cost,
            "out": str(out) if out else None,
        }
    )
    chosen = settings.download
    if call.selection.end and not call.selection.start:
        raise RequestError("--end without --start: say both, both included")
    request = make_request(
        chosen.dataset,
        chosen.symbols,
        chosen.stype,
        chosen.schemas,
        call.selection.start,
        call.selection.end,
    )
    where = Path(chosen.out or settings.raw.path)
    if not chosen.out and settings.raw.path == settings.sample.raw:
        where = Path(Settings().raw.path)  # never among the simulated files
    own = schema is not None or chosen.schemas != Settings().download.schemas
    result = run(
        request,
        where,
        settings,
        yes=yes and not call.dry_run,
        anew=call.force,
        own_schemas=own,
        say=None if call.quiet or call.json else _say,
    )
    if call.json:
        call.print_json(result.as_json())
    elif not call.quiet:
        print(result.text(program()))
    for line in result.failed:
        print(f"mbo: {line}", file=sys.stderr)
    result.check_cost()
    return result.exit_code


def _parts(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(p.strip() for p in text.split(",") if p.strip())


def _say(line: str) -> None:
    print(line, file=sys.stderr)
