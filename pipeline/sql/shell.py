"""A prompt for SQL: statements end with ``;``, commands begin with a dot."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import MboError, RequestError
from pipeline.sql.engine import columns_of, connect, needs_row_keys, run_query, split
from pipeline.sql.queries import named_queries, resolve

if TYPE_CHECKING:
    import duckdb

_HELP = """A statement ends with ; and may span lines.
.tables         the views
.schema NAME    columns and types of one
.queries        named queries; type a name, with key=value after it, and ; to run one
.limit N        rows to show
.quit           leave (also Ctrl-D)"""


def shell(lake: str | Path, *, limit: int = 40) -> None:
    """Read statements from the terminal until ``.quit`` or the end of the input.

    Raises
    ------
    RequestError
        If there is no lake; errors of single statements are printed and the shell goes on.
    """
    connection = connect(lake)
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives input() its editing and history
    print(f"{lake}: read-only SQL (DuckDB). Statements end with ; and .help helps.")
    prompt = Prompt(lake, connection, limit)
    while not prompt.done:
        try:
            line = input(prompt.text)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            prompt.clear()
            continue
        prompt.take(line)


class Prompt:
    """What has been typed of a statement so far, and what to do with a line."""

    def __init__(self, lake: str | Path, connection: duckdb.DuckDBPyConnection, limit: int) -> None:
        self._lake = lake
        self._connection = connection
        self._limit = limit
        self._lines: list[str] = []
        self.done = False

    @property
    def text(self) -> str:
        return "...> " if self._lines else "mbo> "

    def clear(self) -> None:
        self._lines = []

    def take(self, line: str) -> None:
        """Run the command or the statement that the line completes; print errors."""
        try:
            if not self._lines and line.lstrip().startswith("."):
                self._command(line.split())
                return
            if line.strip() or self._lines:
                self._lines.append(line)
            if line.rstrip().endswith(";"):
                statement = "\n".join(self._lines)
                self.clear()
                self._run(statement)
        except MboError as error:
            print(f"error: {error}")
        except KeyboardInterrupt:
            print("stopped")

    def _run(self, statement: str) -> None:
        for text in split(self._connection, statement):
            lake = self._lake if needs_row_keys(resolve(text)) else self._connection
            print(run_query(text, lake).render(self._limit))

    def _command(self, words: list[str]) -> None:
        name, rest = words[0], words[1:]
        if name in (".quit", ".exit", ".q"):
            self.done = True
        elif name == ".tables":
            print(run_query("SHOW TABLES", self._connection).render(10_000))
        elif name == ".schema" and len(rest) == 1:
            print(columns_of(self._connection, rest[0]).render(10_000))
        elif name == ".queries":
            for query in named_queries().values():
                print(f"{query.name:24} {query.description}")
                for parameter, default, meaning in query.parameters:
                    print(f"{'':24}   {parameter}={default}  {meaning}".rstrip())
        elif name == ".limit" and len(rest) == 1 and rest[0].isdecimal():
            self._limit = max(1, int(rest[0]))
        elif name == ".help":
            print(_HELP)
        else:
            raise RequestError(f"{' '.join(words)}: no such command; .help lists them")
