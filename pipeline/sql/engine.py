"""A DuckDB connection on which a lake can be read and nothing can be written."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import InputError, RequestError
from pipeline.lake import WHICH_COMMAND
from pipeline.sql.queries import resolve, views_sql
from pipeline.sql.result import MAX_ROWS, Result, read_result
from pipeline.sql.views import ViewMaker, lake_parts, plan_views, quote

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_NO_TABLE = re.compile(r"Table with name \"?([^\"\s]+?)\"? does not exist")


T = TypeVar("T")

_AS_OF = re.compile(r"\basof\b", re.IGNORECASE)


def needs_row_keys(query: str) -> bool:
    """Whether a query joins "as of".

    DuckDB 2.0 finds no matches, without a word, where such a join compares two columns that are
    constants of their files on both sides, as dataset and symbol are.
    """
    return _AS_OF.search(query) is not None


def connect(lake: str | Path, *, row_keys: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection with a view for each table of the lake, and those of ``sql/views.sql``.

    Prices are DECIMAL(18,9), sizes and counts BIGINT, times TIMESTAMP_NS in UTC, enumerations
    text; partition keys are columns, with ``expiration`` beside ``symbol``.  The connection may
    read files of the lake only, and its settings are locked; :func:`run_query` refuses
    statements that would write.  ``row_keys`` is needed for ASOF joins, see
    :func:`needs_row_keys`; :func:`run_query` sees to it by itself.

    Raises
    ------
    RequestError
        If there is no such folder.
    InputError
        If a file of the lake cannot be read.
    """
    import duckdb

    root = Path(lake).resolve()
    if not root.is_dir():
        raise RequestError(f"{lake}: no lake here; run `mbo ingest` first")
    connection = duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    spill = os.path.join(tempfile.gettempdir(), f"mbo-sql-{os.getpid()}")
    connection.execute(f"SET temp_directory = '{_text(spill)}'")
    parts = lake_parts(root)
    maker = ViewMaker(connection, parts, row_keys=row_keys)
    for view in plan_views(parts):
        try:
            maker.create(view)
        except duckdb.Error as error:
            raise InputError.at(root / view.table, one_line(error)) from None
    _create_derived(connection)
    # From here on: files of the lake, nothing else, and no way back.
    folder = _text(str(root) + os.sep)
    connection.execute(f"SET allowed_directories = ['{folder}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _text(value: str) -> str:
    return value.replace("'", "''")


def _create_derived(connection: duckdb.DuckDBPyConnection) -> None:
    """The views of ``sql/views.sql``; one whose tables or columns the lake has not is left out,
    and :func:`explain` says why when a query asks for it.
    """
    import duckdb

    try:
        statements = connection.extract_statements(views_sql())
    except duckdb.Error as error:
        raise RequestError(f"sql/views.sql: {one_line(error)}") from None
    for statement in statements:
        with contextlib.suppress(duckdb.Error):
            connection.execute(statement)


def _connection(
    lake: str | Path | duckdb.DuckDBPyConnection, query: str
) -> duckdb.DuckDBPyConnection:
    if isinstance(lake, str | os.PathLike):
        return connect(lake, row_keys=needs_row_keys(query))
    return lake


@contextlib.contextmanager
def _explained(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """DuckDB's errors as ours."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise explain(error, connection) from None


def _interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], T]) -> T:
    """Do the work in a thread, so that Ctrl-C reaches us and ends the query: DuckDB 2.0 waits
    for its own threads without looking at signals.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            while not wait([future], timeout=0.1).done:
                pass
        except KeyboardInterrupt:
            connection.interrupt()
            wait([future], timeout=10)
            raise
        return future.result()


def run_query(
    text: str,
    lake: str | Path | duckdb.DuckDBPyConnection,
    *,
    max_rows: int = MAX_ROWS,
) -> Result:
    """Run one query, or a named one, and fetch its rows.

    Parameters
    ----------
    text
        SQL, or ``name`` or ``name key=value ...`` of a query in ``sql/``.
    lake
        Folder of the lake, or a connection from :func:`connect`.
    max_rows
        Rows to fetch at most; :attr:`Result.more` says if there were others.

    Raises
    ------
    RequestError
        For wrong SQL, a table the lake does not hold, or a statement that is no query.
    """
    query = resolve(text)
    connection = _connection(lake, query)
    with _explained(connection):
        check_read_only(connection, query)
        return _interruptible(connection, lambda: read_result(connection.sql(query), max_rows))


def query_frame(lake: str | Path | duckdb.DuckDBPyConnection, text: str) -> pl.DataFrame:
    """All rows of a query as a polars frame; see :func:`run_query`."""
    import polars as pl

    query = resolve(text)
    connection = _connection(lake, query)
    with _explained(connection):
        check_read_only(connection, query)
        work = lambda: connection.sql(query).to_arrow_table()  # noqa: E731
        frame = pl.from_arrow(_interruptible(connection, work))
    assert isinstance(frame, pl.DataFrame)
    return frame


def split(connection: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    """The statements of a text; names of named queries count as one each."""
    import duckdb

    try:
        return [statement.query for statement in connection.extract_statements(text)]
    except duckdb.Error:
        # A named query is no SQL; what is neither gets its message when it is run.
        return [text]


_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?(?:\([^)]*\)\s*)?", re.IGNORECASE)


def check_read_only(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Accept exactly one statement that only reads.

    Raises
    ------
    RequestError
        If there are more, or one that writes, attaches or sets something.
    """
    import duckdb

    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise RequestError(
            f"{len(statements)} statements; give one at a time (the shell takes several)"
        )
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains.
        inner = _EXPLAIN.sub("", _without_comments(statements[0].query), count=1)
        check_read_only(connection, inner)
    elif kind == duckdb.StatementType.MULTI:
        raise RequestError("PIVOT needs its columns named: PIVOT ... ON column IN ('a', 'b')")
    elif kind != duckdb.StatementType.SELECT:
        raise RequestError(
            f"{kind.name} is refused: the lake is read-only here; SELECT, WITH, FROM, VALUES, "
            "DESCRIBE, SHOW, SUMMARIZE and EXPLAIN are welcome"
        )


def _without_comments(text: str) -> str:
    return re.sub(r"--[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)


def explain(error: Exception, connection: duckdb.DuckDBPyConnection) -> RequestError:
    """DuckDB's message in one line; for a table that is not there, which command makes it."""
    message = one_line(error)
    match = _NO_TABLE.search(message)
    if match:
        name = match[1]
        views = [row[0] for row in connection.execute("SHOW TABLES").fetchall()]
        if name in WHICH_COMMAND and any(view.startswith(f"{name}_") for view in views):
            sets = ", ".join(view for view in views if view.startswith(f"{name}_"))
            return RequestError(f"the lake holds several sets of {name}; write one of {sets}")
        definition = _definition(name)
        needed = definition[1] if definition else name
        if needed in WHICH_COMMAND and needed not in views:
            made = f"`{WHICH_COMMAND[needed]}` makes it"
            what = f"{name}: it needs {needed}" if definition else name
            return RequestError(f"the lake holds no {what}; {made}")
        if definition:
            return RequestError(f"sql/views.sql: {name}: {_reason(connection, definition[0])}")
        if not views:
            return RequestError("the lake is empty; run `mbo ingest` first")
        return RequestError.unknown("table", name, views)
    if "schema mismatch" in message.lower() or "failed to cast" in message.lower():
        message += "; files of the table differ in their columns: recompute the older ones"
    return RequestError(message)


def _definition(name: str) -> tuple[str, str] | None:
    """The statement of ``sql/views.sql`` that makes a view, and the first table it reads."""
    pattern = rf"CREATE VIEW\s+{re.escape(name)}\s+AS\b[^;]*?\bFROM\s+(\w+)[^;]*"
    match = re.search(pattern, views_sql(), re.IGNORECASE)
    return (match[0], match[1]) if match else None


def _reason(connection: duckdb.DuckDBPyConnection, statement: str) -> str:
    import duckdb

    try:
        connection.execute(statement)
    except duckdb.Error as error:
        return one_line(error)
    return "try again"  # pragma: no cover - it could not be made a moment ago


def one_line(error: Exception) -> str:
    """A DuckDB error without its kind, its echo of the query and its line breaks."""
    head = str(error).split("\n\nLINE ", 1)[0].split("\nLINE ", 1)[0]
    text = " ".join(line.strip() for line in head.splitlines() if line.strip())
    return re.sub(r"^(?:[A-Z][\w ]*? Error): ", "", text)


def columns_of(connection: duckdb.DuckDBPyConnection, table: str) -> Result:
    """Names and types of a view's columns."""
    query = f"SELECT column_name, column_type FROM (DESCRIBE {quote(table)})"
    return run_query(query, connection)
