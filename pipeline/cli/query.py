"""``mbo sql``: DuckDB over the lake, read-only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import Invocation
from pipeline.errors import OK, RequestError


def sql(
    call: Invocation,
    query: Annotated[
        str | None, typer.Argument(help="SQL text or the name of a query; none: a shell.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="Read the query from a file.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 40,
) -> int:
    """Query the lake's tables with SQL; without arguments, a shell.

    Example: mbo sql "SELECT symbol, count(*) FROM trades GROUP BY symbol"
    """
    from pipeline import sql as engine

    selection = call.selection
    if selection.dataset or selection.symbols or selection.start or selection.end:
        raise RequestError("a query selects by itself: WHERE symbol = ... AND date >= ...")
    if query and file:
        raise RequestError("give a query or -f FILE, not both")
    if file:
        try:
            query = file.read_text(encoding="utf-8")
        except OSError as error:
            raise RequestError(f"{file}: {error.strerror}") from None
    if query is None:
        if not sys.stdin.isatty():
            query = sys.stdin.read()
        else:
            engine.shell(call.root)
            return OK
    result = engine.run_query(query, call.root)
    if call.json:
        call.print_json(result.as_json())
    else:
        print(result.render(limit))
    return OK
