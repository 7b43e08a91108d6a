"""A strategy's source: where it is, as a tree, and what of it its code can use."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.errors import RequestError


@dataclass(frozen=True)
class Place:
    """Where something is: shown before what is wrong."""

    file: Path | None
    what: str
    line: int = 0

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        return f"{self.file}{line}: {self.what}" if self.file else self.what

    def error(self, text: str) -> RequestError:
        return RequestError(f"{self}: {text}")

    def at(self, node: ast.AST) -> Place:
        return Place(self.file, self.what, getattr(node, "lineno", self.line))


@dataclass(frozen=True)
class Own:
    """What a strategy has, by how its code can use it."""

    numbers: frozenset[str] = frozenset()
    arrays: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    """Attributes of its class that compiled code does not have."""
    methods: Mapping[str, Callable[..., Any]] | None = None


def file_of(thing: Any) -> Path | None:
    """The file a class or function was written in."""
    try:
        found = inspect.getsourcefile(thing)
    except (TypeError, OSError):
        return None
    return Path(found) if found else None


def tree_of(file: Path | None) -> ast.Module:
    """The syntax tree of a file, empty where there is none."""
    if file is None or not file.is_file():
        return ast.Module([], [])
    return _parsed(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _parsed(file: Path, changed: int) -> ast.Module:
    del changed
    try:
        return ast.parse(file.read_bytes())
    except SyntaxError:
        return ast.Module([], [])
