"""Named queries: one file in ``sql/`` each, a question in its first comment.

``-- @name = default   meaning`` declares a parameter, ``{name}`` in the text stands for it:
``mbo sql "feature_deciles feature=ofi_1s"``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.errors import RequestError
from pipeline.roots import ROOT

FOLDER = ROOT / "sql"
VIEWS = "views.sql"

_PARAMETER = re.compile(r"--\s*@(\w+)\s*=\s*(\S+)\s*(.*)")
_VALUE = re.compile(r"[\w.%:+#!$ -]+")


@dataclass(frozen=True)
class NamedQuery:
    """A query of ``sql/``."""

    name: str
    description: str
    """What it answers: the comment at the head of the file."""
    sql: str
    parameters: tuple[tuple[str, str, str], ...] = ()
    """Name, default, meaning."""

    def bind(self, values: dict[str, str]) -> str:
        """The text with its parameters filled in.

        Raises
        ------
        RequestError
            For an unknown parameter or a value that is no name or number.
        """
        known = {name: default for name, default, _ in self.parameters}
        for name, value in values.items():
            if name not in known:
                raise RequestError.unknown("parameter", name, known, where=self.name)
            if not _VALUE.fullmatch(value):
                raise RequestError(f"{self.name}: {name}={value!r} is no name, number or date")
        text = self.sql
        for name, value in {**known, **values}.items():
            text = text.replace("{" + name + "}", value)
        return text


@cache
def named_queries() -> dict[str, NamedQuery]:
    """The queries of ``sql/`` by name; ``views.sql`` is none."""
    return {
        path.stem: parse(path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.sql"))
        if path.name != VIEWS
    }


def parse(name: str, text: str) -> NamedQuery:
    """A query from the text of its file."""
    description: list[str] = []
    parameters: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        if match := _PARAMETER.match(line):
            parameters.append((match[1], match[2], match[3]))
        else:
            description.append(line.lstrip("- ").rstrip())
    return NamedQuery(name, " ".join(description), text, tuple(parameters))


def resolve(text: str) -> str:
    """SQL text as it is, or the text of a named query, ``name`` or ``name key=value ...``.

    Raises
    ------
    RequestError
        For one word that is the name of no query.
    """
    words = text.strip().rstrip(";").split()
    if not words:
        raise RequestError("the query is empty; `mbo sql` alone opens a shell")
    name, rest = words[0], words[1:]
    query = named_queries().get(name)
    if query is not None and all("=" in word for word in rest):
        return query.bind(dict(word.split("=", 1) for word in rest))
    if not rest and re.fullmatch(r"\w+", name) and name.upper() != "SHOW":
        raise RequestError.unknown("query", name, named_queries())
    return text


def views_sql(folder: Path = FOLDER) -> str:
    """The text of ``sql/views.sql``; empty where there is none."""
    path = folder / VIEWS
    return path.read_text(encoding="utf-8") if path.is_file() else ""
