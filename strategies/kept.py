"""Compiled strategies, kept on disk: one that has not changed is compiled once on a machine.

What machine code depends on is looked at itself, not the files it came from: the byte code of
the strategy's methods, the values of the globals and the variables of enclosing functions that
they read, the functions they call, and so on, besides how the strategy's memory lies.  The
values of parameters and of state are in that memory and not in the code: all tasks of a sweep
share it.  The folder is that of the kernels (:func:`pipeline.jit.cache_dir`), which stands for
our own sources and the libraries.
"""

from __future__ import annotations

import builtins
import contextlib
import dis
import enum
import functools
import hashlib
import itertools
import os
import pickle
import secrets
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numba.core.dispatcher import Dispatcher

from pipeline.jit import alone, cache_dir, nb
from pipeline.structs import Struct
from strategies.entry import Entry

_numba: Any = nb.core
_CHECKSUM: Final = hashlib.sha256().digest_size
_PLAIN: Final = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.generic)
_MOST: Final = 200
"""Strategies that are kept, those used last: 50 to 500 kB each."""
_LIBRARIES: Final = frozenset({"builtins", "math", "numpy", "numba", "operator"})
"""Modules whose content their version stands for, which is part of the folder's name."""

_compiled: dict[str, Any] = {}
"""What this process has compiled or loaded, by fingerprint: machine code is never unloaded."""


def compiled(memory: type[Struct], functions: Mapping[str, Any], entry: Entry) -> Any:
    """A C function of a strategy's entry: from memory, from disk, or compiled and kept there.

    Parameters
    ----------
    memory, functions
        The class of the strategy's memory and its methods.
    entry
        Made of these methods.
    """
    key = fingerprint(memory, functions)
    if key is None:
        return _c_function(entry, None)
    if key not in _compiled:
        path = cache_dir() / "strategies" / key
        function = _c_function(entry, path) if path.is_file() else None
        if function is None:
            with alone(f"{path}.lock"):
                function = _c_function(entry, path)
        _compiled[key] = function
    return _compiled[key]


def fingerprint(memory: type[Struct], functions: Mapping[str, Callable[..., Any]]) -> str | None:
    """A hash of all that the machine code of these methods depends on, outside of our own
    sources; None where they use something that cannot be looked into: those are not kept.
    """
    digest = hashlib.sha256()
    try:
        for part in _parts(memory, functions):
            digest.update(f"{len(part)}:".encode() + part)
    except (_OpaqueError, AttributeError, ImportError):
        return None
    return digest.hexdigest()


# --- on disk --------------------------------------------------------------------------------------


class _Kept:
    """What numba asks for a function before it compiles it, and gives it to afterwards."""

    def __init__(self, path: Path | None, prepare: Callable[[], None]) -> None:
        self._path = path
        self._prepare = prepare

    def load_overload(self, signature: Any, target: Any) -> Any:
        """What was kept; None where there is none, or what is there has been damaged."""
        del signature
        if self._path is not None:
            with contextlib.suppress(Exception):
                text = self._path.read_bytes()
                content = text[_CHECKSUM:]
                if hashlib.sha256(content).digest() == text[:_CHECKSUM]:
                    os.utime(self._path)  # it has been used
                    # As safe as numba's own files of kernels beside it, which are pickled too.
                    reduced = pickle.loads(content)  # noqa: S301
                    return _numba.compiler.CompileResult._rebuild(target, *reduced)  # noqa: SLF001
        # Symbols are told apart by a count of the process: files of two processes that are
        # loaded by a third would take functions of one for those of the other.
        _numba.bytecode.FunctionIdentity._unique_ids = itertools.count(  # noqa: SLF001
            secrets.randbits(60)
        )
        self._prepare()
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep it, where it can be."""
        del signature
        if self._path is None or result.lifted or result.library.has_dynamic_globals:
            return  # it holds addresses of this process
        content = _numba.serialize.dumps(result._reduce())  # noqa: SLF001
        whole = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            whole.parent.mkdir(parents=True, exist_ok=True)
            whole.write_bytes(hashlib.sha256(content).digest() + content)
            whole.replace(self._path)
            _forget(self._path.parent)


def _forget(folder: Path) -> None:
    """Remove all but the strategies used last, and what a process that was killed left behind."""
    files = [path for path in folder.iterdir() if path.suffix != ".lock"]
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)[_MOST:]:
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)


def _c_function(entry: Entry, path: Path | None) -> Any:
    """The compiled entry, kept at a path.

    Keeping it, and writing it in LLVM's terms, uses what numba promises to nobody: with a numba
    that has changed there, strategies are compiled as anybody would, at every start.
    """
    try:
        return _kept_function(entry, path)
    except (AttributeError, ImportError, TypeError):
        return nb.cfunc("int64(int64, int64, int64)", error_model="numpy")(entry.plain())


def _kept_function(entry: Entry, path: Path | None) -> Any:
    from numba.core import ccallback

    word, make = nb.types.int64, cast("Any", ccallback.CFunc)
    function = make(entry.function(), ((word, word, word), word), {}, {"error_model": "numpy"})
    function._cache = _Kept(path, entry.prepare)  # noqa: SLF001
    function.compile()
    return function


# --- what code depends on -------------------------------------------------------------------------


class _OpaqueError(Exception):
    """Something that code may depend on in ways that are not known here."""


def _parts(memory: type[Struct], functions: Mapping[str, Any]) -> Iterator[bytes]:
    for item in (
        _processor(),
        nb.config.OPT,
        os.environ.get("MBO_BOUNDSCHECK"),
        sorted(memory.words_.items()),
        sorted((name, at, str(kinds)) for name, (at, kinds, _) in memory.places_.items()),
    ):
        yield repr(item).encode()
    seen: dict[int, int] = {}
    for name in sorted(functions):
        yield name.encode()
        yield from _value(functions[name], seen)


def _processor() -> Any:
    from numba.core.registry import cpu_target

    return cpu_target.target_context.codegen().magic_tuple()


def _value(value: Any, seen: dict[int, int]) -> Iterator[bytes]:
    yield f"{type(value).__module__}.{type(value).__qualname__}".encode()
    if isinstance(value, enum.Enum):
        yield repr((value.name, value.value)).encode()
    elif isinstance(value, _PLAIN):
        yield repr(value).encode()
    elif isinstance(value, tuple):
        yield str(len(value)).encode()
        for item in value:
            yield from _value(item, seen)
    elif isinstance(value, frozenset):
        yield repr(sorted(map(repr, value))).encode()
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield repr((value.dtype.descr, value.shape, value.strides)).encode()
        yield value.tobytes()
    elif isinstance(value, types.CodeType | types.FunctionType | Dispatcher):
        if id(value) in seen:  # functions may call one another
            yield str(seen[id(value)]).encode()
            return
        seen[id(value)] = len(seen)
        yield from _code(value, seen)
    elif isinstance(value, types.ModuleType):
        yield value.__name__.encode()
    elif isinstance(value, type) and issubclass(value, enum.Enum):
        for member in value:
            yield from _value(member, seen)
    elif _of_library(value):
        yield f"{value.__module__}.{getattr(value, '__qualname__', value.__name__)}".encode()
    else:
        raise _OpaqueError


def _of_library(value: Any) -> bool:
    module = getattr(value, "__module__", None)
    return (
        isinstance(module, str)
        and module.split(".")[0] in _LIBRARIES
        and isinstance(value, type | types.BuiltinFunctionType | types.FunctionType | np.ufunc)
    )


def _code(value: Any, seen: dict[int, int]) -> Iterator[bytes]:
    if isinstance(value, Dispatcher):
        yield repr(sorted(value.targetoptions.items())).encode()
        value = value.py_func
    if isinstance(value, types.CodeType):
        for item in (
            value.co_code, value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars,
            value.co_flags, value.co_argcount, value.co_exceptiontable,
        ):  # fmt: skip
            yield repr(item).encode()
        for constant in value.co_consts:
            yield from _value(constant, seen)
        return
    if _of_library(value):
        yield f"{value.__module__}.{value.__qualname__}".encode()
        return
    yield from _value(value.__code__, seen)
    yield _extensions(value.__code__.co_filename)
    yield from _value(value.__defaults__, seen)
    yield from _value(tuple(sorted((value.__kwdefaults__ or {}).items())), seen)
    for cell in value.__closure__ or ():
        yield from _value(cell.cell_contents, seen)
    for name, used in _globals(value.__code__, value.__globals__):
        yield name.encode()
        yield from _value(used, seen)


@functools.lru_cache(maxsize=256)
def _extensions(file: str) -> bytes:
    """A file that knows numba may give functions another meaning once they are compiled: all of
    it counts.
    """
    path = Path(file)
    text = path.read_bytes() if path.is_file() else b""
    return hashlib.sha256(text).digest() if b"numba" in text else b""


def _globals(code: types.CodeType, names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values of the globals that code reads, and of what it reads of modules."""
    for instruction in dis.get_instructions(code):
        if instruction.opname not in ("LOAD_GLOBAL", "LOAD_NAME"):
            continue
        name = instruction.argval
        value = names.get(name, getattr(builtins, name, None))
        yield name, value
        if isinstance(value, types.ModuleType):
            yield from _of_module(name, value, code, {value.__name__})
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals(constant, names)


def _of_module(
    path: str, module: types.ModuleType, code: types.CodeType, above: set[str]
) -> Iterator[tuple[str, Any]]:
    if module.__name__.split(".")[0] in _LIBRARIES:
        return
    for attribute in code.co_names:
        if attribute in vars(module):
            value = vars(module)[attribute]
            yield f"{path}.{attribute}", value
            if isinstance(value, types.ModuleType) and value.__name__ not in above:
                inner = above | {value.__name__}
                yield from _of_module(f"{path}.{attribute}", value, code, inner)
