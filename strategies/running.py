"""From an event strategy to a function the simulator can call: compiled, or interpreted.

Both read and write the same memory through the same names, in 64-bit integers and floats, so
that a run gives the same result either way.
"""

from __future__ import annotations

import ctypes
import inspect
import re
import traceback
import types as python_types
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pipeline.errors import RequestError
from pipeline.jit import nb
from pipeline.narrowing import Strict
from pipeline.structs import CHECKED, Floats1, Ints1, Struct, Word, methods, type_of
from strategies.checking import check_code, own_bases
from strategies.entry import Entry
from strategies.event import EventStrategy
from strategies.explaining import explain
from strategies.kept import compiled
from strategies.layout import CALLBACKS
from strategies.market import READS_BOOK, Market
from strategies.source import file_of

_SIGNATURE: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Program:
    """A strategy with its parameters, ready to run any number of times.

    Parameters
    ----------
    strategy
        With its parameters.
    interpret
        Run its Python as it is.

    Raises
    ------
    RequestError
        If it cannot be compiled: where, and why.
    """

    def __init__(self, strategy: EventStrategy, *, interpret: bool = False) -> None:
        self.strategy = strategy
        self.interpret = interpret
        self._memory = _memory_class(strategy)
        self._functions = _functions(type(strategy))
        # Without numba's compiler kernels are interpreted, and call Python.
        self._entry = None if interpret or nb.config.DISABLE_JIT else self._compile()

    @property
    def callbacks(self) -> list[str]:
        """Callbacks it has."""
        return [name for name in CALLBACKS if name in self._functions]

    def run(self, markets: Sequence[Market]) -> Running:
        """A run of its own, with fresh state, on markets by their numbers."""
        running = Running(self, self._memory(**_start(self.strategy)), markets)
        running.use(self._entry or _SIGNATURE(running.interpreted()))
        return running

    def _compile(self) -> Any:
        check_code(type(self.strategy))
        functions = self._functions
        methods(self._memory, functions)
        found = {
            k: _checked(functions[name]) for k, name in enumerate(CALLBACKS) if name in functions
        }
        entry = Entry(found, type_of(self._memory), type_of(Market))
        try:
            return compiled(self._memory, functions, entry)
        except (nb.core.errors.NumbaError, nb.core.errors.UnsupportedBytecodeError) as error:
            raise explain(self.strategy, error) from error


class Running:
    """One run of a strategy: its memory, and the function that the simulator calls."""

    address: int
    """Of a C function (number of the callback, instance, market) -> 0, or 1 where it failed."""

    def __init__(self, program: Program, memory: Struct, markets: Sequence[Market]) -> None:
        self.program = program
        self.memory = memory
        self.instance = memory.address
        self.markets = markets
        self.error: BaseException | None = None
        """What an interpreted callback raised."""

    def use(self, entry: Any) -> None:
        """Be called through a C function; its address is good as long as it is kept."""
        self._entry = entry
        address = getattr(entry, "address", None)
        self.address = int(address or ctypes.cast(entry, ctypes.c_void_p).value or 0)

    def retrace(self, number: int, market: Market) -> BaseException | None:
        """What a compiled callback raised: it is called again in Python, on the memory as it was
        left.  None where it does not fail again.
        """
        self.interpreted()(number, self.instance, market.address)
        return self.error

    def place(self, error: BaseException) -> traceback.FrameSummary:
        """Where something was raised: in the strategy's own code as far as there is any."""
        frames = traceback.extract_tb(error.__traceback__)
        files = {str(file_of(base)) for base in own_bases(type(self.program.strategy))}
        return next((frame for frame in reversed(frames) if frame.filename in files), frames[-1])

    def interpreted(self) -> Callable[[int, int, int], int]:
        """The same entry in Python."""
        plain = _plain(self.program.strategy, self.memory)
        by_address = {market.address: market for market in self.markets}
        found = [getattr(plain, name, None) for name in CALLBACKS]

        def entry(number: int, instance: int, at: int) -> int:
            del instance
            callback = found[number]
            if callback is None:
                return 0
            try:
                with np.errstate(all="ignore"):
                    callback(by_address[at])
            except BaseException as error:
                self.error = error
                return 1
            return 0

        return entry


def reads_book(strategy: type[EventStrategy]) -> bool:
    """Whether its source mentions what needs the book beyond the touch."""
    files = {file for base in own_bases(strategy) if (file := file_of(base))}
    text = "".join(file.read_text() for file in files)
    return any(re.search(rf"\.{name}\b", text) for name in READS_BOOK)


# --- the strategy's memory ------------------------------------------------------------------------


def _memory_class(strategy: EventStrategy) -> type[Struct]:
    """A class for its parameters, state and numbers of features: an array of ints and one of
    floats with names for their places, and the arrays of its state.
    """
    words: dict[str, Word] = {}
    ints = reals = 0
    for name, (kind, _) in strategy.variables().items():
        if kind is float:
            words[name] = Word("reals_", reals)
            reals += 1
        else:
            words[name] = Word("ints_", ints, kind is bool)
            ints += 1
    hints: dict[str, Any] = {"ints_": Ints1, "reals_": Floats1}
    for name, array in strategy.arrays().items():
        hints[name] = Floats1 if array.dtype == np.float64 else Ints1
    cls: type[Struct] = python_types.new_class(
        f"{type(strategy).__name__}Memory",
        (Struct,),
        {"words": words},
        lambda body: body.update(__annotations__=hints, __module__=__name__),
    )
    return cls


def _start(strategy: EventStrategy) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays as a run starts; none is empty, an address needs something to point at."""
    values = strategy.variables().values()
    ints = [int(value) for kind, value in values if kind is not float]
    reals = [float(value) for kind, value in values if kind is float]
    return {
        "ints_": np.array([*ints, 0], np.int64),
        "reals_": np.array([*reals, 0.0]),
        **strategy.arrays(),
    }


def _functions(cls: type[EventStrategy]) -> dict[str, Callable[..., Any]]:
    """Methods of a strategy's own classes."""
    found: dict[str, Callable[..., Any]] = {}
    for base in reversed(cls.__mro__[: cls.__mro__.index(EventStrategy)]):
        found |= {
            name: value
            for name, value in vars(base).items()
            if inspect.isfunction(value) and not name.startswith("__") and name != "features"
        }
    return found


def _checked(function: Callable[..., Any]) -> Any:
    # The same options as of what it calls: others would have that compiled twice.
    return nb.njit(pipeline_class=Strict, **CHECKED)(function)


def _misfit(value: Any, *, whole: bool) -> str:
    """What compiling would say of a value that is put into the state; nothing where it fits."""
    if isinstance(value, int | np.integer | np.bool_):
        return ""
    if not isinstance(value, float | np.floating):
        return f"is a number and is assigned a {type(value).__name__}: {value!r}"
    return "is an int and is assigned a float; write int(...)" if whole else ""


def _plain(strategy: EventStrategy, memory: Struct) -> Any:
    """The strategy as Python runs it: its methods, over the memory that compiled code would use."""
    cls = type(strategy)
    functions = _functions(cls)
    body = {"__slots__": ("_memory",)} | functions

    def read(self: Any, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_memory"), name)

    words = memory.words_

    def write(self: Any, name: str, value: Any) -> None:
        word = words.get(name)
        if word is not None and (said := _misfit(value, whole=word.field == "ints_")):
            raise RequestError(f"{name} {said}")
        setattr(self._memory, name, value)

    plain = type(cls.__name__, (), body | {"__getattr__": read})()
    object.__setattr__(plain, "_memory", memory)
    type.__setattr__(type(plain), "__setattr__", write)
    return plain
