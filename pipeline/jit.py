"""numba, configured once: where compiled kernels are cached and how they are compiled.

numba looks only at the file of a cached function to decide whether the cache is fresh, not
at the files of what it calls.  The cache folder is therefore keyed by a hash of all sources
of this package and its numerical libraries' versions, in the user's cache directory.

Import ``njit`` from here, never from numba: the cache folder must be set first.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

_ROOT = Path(__file__).resolve().parent.parent


def _sources_hash() -> str:
    digest = hashlib.sha256()
    for package in ("pipeline", "features", "strategies"):
        for path in sorted((_ROOT / package).rglob("*.py")):
            text = path.read_bytes()
            if b"pipeline.jit" in text or b"njit" in text:
                digest.update(str(path.relative_to(_ROOT)).encode())
                digest.update(text)
    for library in ("numba", "llvmlite", "numpy"):
        digest.update(version(library).encode())
    digest.update(platform.python_version().encode())
    return digest.hexdigest()[:16]


def cache_dir() -> Path:
    """Folder of the compiled kernels of exactly these sources."""
    base = os.environ.get("MBO_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mbo"
    )
    return Path(base) / "kernels" / _sources_hash()


os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir()))

import numba  # noqa: E402

F = TypeVar("F", bound=Callable[..., Any])


def njit(function: F) -> F:
    """Compile for the CPU: cached on disk, without the GIL, numpy's division rules.

    Bounds are checked when ``MBO_BOUNDSCHECK=1`` (tests), never in production kernels: an
    index error there is a bug of ours that the checked run must find.
    """
    return numba.njit(  # type: ignore[return-value]
        cache=True,
        nogil=True,
        error_model="numpy",
        boundscheck=os.environ.get("MBO_BOUNDSCHECK") == "1",
    )(function)


def kernel(function: F) -> F:
    """Like :func:`njit`, but without reference counting: for loops that allocate nothing.

    Passing tuples of arrays to helpers otherwise costs an atomic count for every array at every
    call, which made a book's loop four times slower.  Arrays come in as arguments.
    """
    return numba.njit(  # type: ignore[return-value]
        cache=True,
        nogil=True,
        error_model="numpy",
        boundscheck=os.environ.get("MBO_BOUNDSCHECK") == "1",
        _nrt=False,
    )(function)


def inline(function: F) -> F:
    """A piece of a kernel's loop, inlined there by LLVM.  Must not allocate, as in `kernel`."""
    return numba.njit(  # type: ignore[return-value]
        nogil=True,
        error_model="numpy",
        boundscheck=os.environ.get("MBO_BOUNDSCHECK") == "1",
        forceinline=True,
        _nrt=False,
    )(function)


def inner(function: F) -> F:
    """A function that only kernels call: no entry from Python.  Must not allocate, as they.

    Half the time of compiling a small function is its entry, most of all where it takes a
    tuple of many arrays.  Not cached alone: it is part of the cached kernels that call it.
    """
    return numba.njit(  # type: ignore[return-value]
        nogil=True,
        error_model="numpy",
        boundscheck=os.environ.get("MBO_BOUNDSCHECK") == "1",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        _nrt=False,
    )(function)
