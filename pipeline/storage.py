"""Committing of files, their hashes, and the lock of the lake.

A file appears under its name complete or not at all: it is written in ``_tmp``, synced, renamed,
and its folder synced.  What a table's file holds is the business of :mod:`pipeline.parquet`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import StorageError

TMP = "_tmp"
COMMITS = "_commits"
CACHE = "_cache"
INDEX = "_index"
LOCK = ".lock"

_CRASH_POINT = os.environ.get("MBO_TEST_CRASH_AT", "")
"""Tests only: ``before-sync``, ``before-rename``, ``between-renames`` or ``before-commit``
kills the process there, to show that nothing half-done is ever taken for done."""


def crash_point(name: str) -> None:
    if name == _CRASH_POINT:
        os.kill(os.getpid(), 9)


@contextlib.contextmanager
def readable_os_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"{path}: no space left on the disk; what was finished is kept: "
            "free some space and run the same command again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{path}: no permission to write ({os.strerror(error.errno)})")
    return StorageError(f"{path}: {error.strerror or error}")


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def commit_file(temporary: Path, final: Path) -> None:
    """Rename a synced file to its name; both are durable afterwards."""
    final.parent.mkdir(parents=True, exist_ok=True)
    crash_point("before-rename")
    os.replace(temporary, final)
    fsync_folder(final.parent)


def write_json(root: Path, final: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a JSON file atomically, keys sorted."""
    separators = None if indent else (",", ":")
    text = json.dumps(
        value, sort_keys=True, indent=indent, separators=separators, ensure_ascii=False
    )
    temporary = temporary_path(root, final.name)
    with readable_os_errors(final):
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        commit_file(temporary, final)


def read_json(path: Path) -> Any:
    """The parsed file, or None where there is none or it is damaged (then it is redone)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


_counter = iter(range(1 << 62))


def temporary_path(root: Path, name: str) -> Path:
    """A path in the lake's folder of temporaries, unique among processes."""
    folder = root / TMP
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{os.getpid()}-{next(_counter)}-{name}"


def scratch_file(root: Path) -> BinaryIO:
    """A file for what does not fit into memory: it has no name, and dies with its process."""
    path = temporary_path(root, "scratch")
    file = open(path, "w+b")  # noqa: SIM115 - closed by the caller
    path.unlink()
    return file


def clear_temporaries(root: Path) -> None:
    """Remove what killed runs left; only under the lake's lock."""
    shutil.rmtree(root / TMP, ignore_errors=True)


@contextlib.contextmanager
def lake_lock(root: Path) -> Iterator[None]:
    """One writer a lake at a time.  The lock dies with its process.

    Raises
    ------
    StorageError
        If another run holds it, or the folder cannot be made.
    """
    with readable_os_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        file = open(root / LOCK, "a+", encoding="utf-8")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StorageError(
                f"{root}: another run (process {holder}) is writing this lake; "
                "wait for it to end, or use another --lake"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        clear_temporaries(root)
        yield


class HashCache:
    """sha256 of raw files, remembered by path, size, mtime and inode."""

    def __init__(self, root: Path, *, rehash: bool = False) -> None:
        self._root = root
        self._path = root / CACHE / "sha256.json"
        self._known: dict[str, list[Any]] = {} if rehash else (read_json(self._path) or {})
        self._changed = False

    def sha256(self, path: Path) -> str:
        """Hash of the file's content, read in blocks when it is not known."""
        with readable_os_errors(path):
            stat = path.stat()
            key = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
            name = str(path.resolve())
            known = self._known.get(name)
            if known and known[:3] == key:
                return str(known[3])
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[name] = [*key, digest]
        self._changed = True
        return digest

    def last(self, path: Path) -> tuple[str, bool] | None:
        """Hash the file had when it was read last, and whether size, time and inode are still
        the same; None where it never was read.
        """
        known = self._known.get(str(path.resolve()))
        return (str(known[3]), _is_still(path, known)) if known else None

    @cached_property
    def present(self) -> frozenset[str]:
        """Contents that some file still has as it was read last: raw files get moved."""
        return frozenset(
            str(known[3]) for name, known in self._known.items() if _is_still(Path(name), known)
        )

    def save(self) -> None:
        if self._changed:
            write_json(self._root, self._path, self._known)
            self._changed = False


def _is_still(path: Path, known: Sequence[Any]) -> bool:
    """Whether a file has the size, time and inode it had."""
    try:
        stat = path.stat()
    except OSError:
        return False
    return list(known[:3]) == [stat.st_size, stat.st_mtime_ns, stat.st_ino]
