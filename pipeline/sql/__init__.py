"""DuckDB over the lake, read-only: every table a view, sizes and prices usable as they are.

``connect`` gives a connection, ``run_query`` a result to print, ``query_frame`` a polars frame,
``named_queries`` the questions in ``sql/``, ``shell`` a prompt.  See ``docs/sql.md``.
"""

from pipeline.sql.engine import connect, query_frame, run_query
from pipeline.sql.queries import NamedQuery, named_queries
from pipeline.sql.result import Result
from pipeline.sql.shell import shell

__all__ = [
    "NamedQuery",
    "Result",
    "connect",
    "named_queries",
    "query_frame",
    "run_query",
    "shell",
]
