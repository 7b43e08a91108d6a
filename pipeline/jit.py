"""numba, configured once: where compiled kernels are cached and how they are compiled.

numba looks only at the file of a cached function to decide whether the cache is fresh, not
at the files of what it calls.  The cache folder is therefore keyed by a hash of all sources
that kernels are made of and of the numerical libraries' versions, in the user's cache directory.

Import the decorators from here, never from numba: the cache folder must be set first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

_ROOT = Path(__file__).resolve().parent.parent


_IMPORT = re.compile(
    r"^\s*from\s+((?:pipeline|features|strategies)[\w.]*)\s+import\s+(\([^)]*\)|[^\n]*)",
    re.MULTILINE,
)


def _module_files(name: str) -> Iterator[Path]:
    base = _ROOT.joinpath(*name.split("."))
    yield from (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())


def with_imports(modules: Iterable[Path]) -> dict[Path, bytes]:
    """Sources of these modules and of all of ours that they import, directly or not."""
    found = {path: path.read_bytes() for path in modules}
    waiting = list(found)
    while waiting:
        for match in _IMPORT.finditer(found[waiting.pop()].decode()):
            names = re.findall(r"\w+", match[2])
            for module in (match[1], *(f"{match[1]}.{name}" for name in names)):
                for path in _module_files(module):
                    if path not in found:
                        found[path] = path.read_bytes()
                        waiting.append(path)
    return found


def kernel_modules() -> list[Path]:
    """Modules that compile something."""
    return [
        path
        for package in ("pipeline", "features", "strategies")
        for path in sorted((_ROOT / package).rglob("*.py"))
        if b"from pipeline.jit import" in path.read_bytes()
    ]


def _sources_hash() -> str:
    """Hash of every file that can change what is compiled: constants and helpers of the modules
    that kernels import end up in the kernels.
    """
    digest = hashlib.sha256()
    for path, text in sorted(with_imports(kernel_modules()).items()):
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
from numba.core.compiler_lock import global_compiler_lock  # noqa: E402


def _load_array_functions() -> None:
    """Have numba's functions of arrays loaded without scipy's linear algebra.

    They import it, in every process that compiles or loads anything, merely to learn whether it
    is there: a fifth of a second.  What uses it imports it then.
    """
    if "scipy.linalg" in sys.modules or find_spec("scipy") is None:
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
    try:
        functions = import_module("numba.np.arraymath")
    finally:
        del sys.modules["scipy.linalg"]
    vars(functions)["_HAVE_BLAS"] = True


_load_array_functions()

F = TypeVar("F", bound=Callable[..., Any])

nb: Any = numba
"""All of numba, for those who extend it."""

_compile: Any = numba.njit
_type_of: Any = numba.typeof
"""numba's types name only some of its options, and not all of its functions."""


_compiling: set[str] = set()
"""Lock files that this process holds."""


@contextlib.contextmanager
def alone(path: str) -> Iterator[None]:
    """No other process is here with the same path.  Where files cannot be locked, it may be."""
    with global_compiler_lock, contextlib.ExitStack() as stack:
        # The order is the same for all threads: numba's own lock, then the files.
        if path not in _compiling:
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                file = stack.enter_context(open(path, "ab"))
                fcntl.flock(file, fcntl.LOCK_EX)
            _compiling.add(path)
            stack.callback(_compiling.discard, path)
        yield


def _compile_alone(compiled: Any, lock: str, types: Any) -> Any:
    with alone(lock):
        return type(compiled).compile(compiled, types)


def _cached(compiled: Any) -> Any:
    """A function that is kept on disk, compiled by one process while others wait for it.

    Two that compiled it for different types at the same time would take the same file for both:
    whoever loads one gets the machine code of the other.
    """
    if hasattr(compiled, "compile"):  # not where numba is switched off
        name = f"{compiled.py_func.__module__}.{compiled.py_func.__qualname__}.lock"
        lock = os.path.join(compiled.stats.cache_path, name)
        compiled.compile = partial(_compile_alone, compiled, lock)
    return compiled


def njit(function: F) -> F:
    """Compile for the CPU: cached on disk, without the GIL, numpy's division rules.

    Bounds are checked when ``MBO_BOUNDSCHECK=1`` (tests), never in production kernels: an
    index error there is a bug of ours that the checked run must find.
    """
    compiled: F = _compile(
        cache=True,
        nogil=True,
        error_model="numpy",
        boundscheck=os.environ.get("MBO_BOUNDSCHECK") == "1",
    )(function)
    return cast("F", _cached(compiled))


def kernel(function: F) -> F:
    """Like :func:`njit`, but without reference counting: for loops that allocate nothing.

    Passing tuples of arrays to helpers otherwise costs an atomic count for every array at every
    call, which made a book's loop four times slower.  Arrays come in as arguments.
    """
    compiled: F = _compile(
        cache=True,
        nogil=True,
        error_model="numpy",
        boundscheck=os.environ.get("MBO_BOUNDSCHECK") == "1",
        _nrt=False,
    )(function)
    return cast("F", _cached(compiled))


def inline(function: F) -> F:
    """A piece of a kernel's loop, inlined there by LLVM.  Must not allocate, as in `kernel`."""
    compiled: F = _compile(
        nogil=True,
        error_model="numpy",
        boundscheck=os.environ.get("MBO_BOUNDSCHECK") == "1",
        forceinline=True,
        no_cfunc_wrapper=True,
        _nrt=False,
    )(function)
    return compiled


def inner(function: F) -> F:
    """A function that only kernels call: no entry from Python.  Must not allocate, as they.

    Half the time of compiling a small function is its entry, most of all where it takes a
    tuple of many arrays.  Not cached alone: it is part of the cached kernels that call it.
    """
    compiled: F = _compile(
        nogil=True,
        error_model="numpy",
        boundscheck=os.environ.get("MBO_BOUNDSCHECK") == "1",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        _nrt=False,
    )(function)
    return compiled


def entry_point(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """A kernel's machine code for arguments of exactly these types, to be called like it.

    The dispatcher looks at the type of every array at every call, inside named tuples too: 8 us
    for the 46 arrays of a book, where the call itself takes 0.7 us.  Nothing checks types after
    that: for callers that own their arrays and make them alike every time.
    """
    if not hasattr(function, "compile"):  # interpreted, for tests
        return function
    entry: Callable[..., Any] = function.compile(tuple(map(_type_of, arguments)))
    return entry
