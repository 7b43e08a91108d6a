"""Errors a user can cause or meet, each one readable line and an exit code.

Exit codes: 0 all done, 1 some work failed, 2 the request was wrong, 3 a check found
differences, 130 interrupted.  A traceback is shown only with ``--debug``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Self

OK, FAILED, BAD_REQUEST, DIFFERENCES, INTERRUPTED = 0, 1, 2, 3, 130


class MboError(Exception):
    """Base of everything this program raises on purpose."""

    exit_code: ClassVar[int] = FAILED


class RequestError(MboError):
    """The request was wrong: a name, a flag, a setting, a path that is not there."""

    exit_code: ClassVar[int] = BAD_REQUEST

    @classmethod
    def unknown(cls, kind: str, name: str, known: Iterable[str], *, where: str = "") -> Self:
        """An unknown name, with the nearest known ones."""
        at = f" in {where}" if where else ""
        return cls(f"unknown {kind} {name!r}{at}{did_you_mean(name, known)}")

    @classmethod
    def missing_path(cls, path: Path) -> Self:
        return cls(f"{path}: no such file or folder")


class InputError(MboError):
    """Data that cannot be used: says the file, the record or row, and what to do."""

    @classmethod
    def at(cls, path: Path | str, what: str, *, record: int | None = None, todo: str = "") -> Self:
        place = f"{path}" if record is None else f"{path}: record {record:,}"
        advice = f"; {todo}" if todo else ""
        return cls(f"{place}: {what}{advice}")


class StorageError(MboError):
    """The lake cannot be written or read: no space, no permission, locked by another run."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x' or 'y'?`` for names close to ``name``, else a few known ones."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return "; did you mean " + " or ".join(repr(n) for n in near) + "?"
    if not names:
        return ""
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"; known: {shown}"
