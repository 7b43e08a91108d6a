"""Many arrays behind one number: what a kernel works on, passed by reference.

A simulation's state is dozens of arrays.  Passed as a tuple, every call of every helper hands on
the pointer, shape and strides of each: compiling takes most of a minute and calls are slow.  A
:class:`Struct` keeps the arrays' addresses and shapes in one block of memory and is, for
compiled code, that block's address; ``sim.own`` reads what it needs where it is needed::

    class Sim(Struct):
        book: Book      # a named tuple of one- and more-dimensional int64 arrays
        own: Ints2
        values: Floats2

Interpreted (``NUMBA_DISABLE_JIT``) the same attributes are the arrays themselves.  An array is
replaced between kernel calls only, by assigning the attribute: compiled code takes for granted
that addresses do not change under it.

Single numbers of an array can have names (:class:`Word`), so that ``m.position`` reads one, and
methods of a class can be compiled with those who call them (:func:`methods`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    NamedTuple,
    TypeAlias,
    get_args,
    get_origin,
    get_type_hints,
)
from weakref import WeakSet, WeakValueDictionary

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from pipeline.jit import F, nb
from pipeline.narrowing import Strict

types: Any = nb.types

Ints1: TypeAlias = Annotated[npt.NDArray[np.int64], (np.int64, 1)]
Ints2: TypeAlias = Annotated[npt.NDArray[np.int64], (np.int64, 2)]
Ints3: TypeAlias = Annotated[npt.NDArray[np.int64], (np.int64, 3)]
Words1: TypeAlias = Annotated[npt.NDArray[np.uint32], (np.uint32, 1)]
Bytes1: TypeAlias = Annotated[npt.NDArray[np.uint8], (np.uint8, 1)]
Floats1: TypeAlias = Annotated[npt.NDArray[np.float64], (np.float64, 1)]
Floats2: TypeAlias = Annotated[npt.NDArray[np.float64], (np.float64, 2)]

_WORD: Final = 8


_living: WeakValueDictionary[int, Struct] = WeakValueDictionary()
"""By address."""


class Word(NamedTuple):
    """A number that has a name: which array of ints or floats it is in, and where."""

    field: str
    place: int
    flag: bool = False
    """True or false, kept as 1 or 0."""


class Struct:
    """Base of structs; subclasses only annotate their fields."""

    places_: ClassVar[dict[str, tuple[int, Any, Any]]]
    """By field: its first word in memory, kinds of its arrays, and the tuple's class or None."""
    _size: ClassVar[int]
    """Words of the block of addresses."""
    words_: ClassVar[Mapping[str, Word]] = {}
    kind_: ClassVar[Any] = None
    """Its numba class of its type where it has methods."""

    address: int
    """Of the block of addresses: what compiled code gets."""

    read_only_: ClassVar[bool] = False
    """Words cannot be assigned; who owns the arrays writes to them."""

    def __init_subclass__(
        cls, words: Mapping[str, Word] | None = None, *, read_only: bool = False
    ) -> None:
        if words is not None:
            cls.words_ = words
            cls.read_only_ = read_only
        cls.places_, at = {}, 0
        for name, hint in get_type_hints(cls, include_extras=True).items():
            if get_origin(hint) is ClassVar or name == "address" or name in cls.words_:
                continue
            kinds, whole = _kinds(hint)
            cls.places_[name] = (at, kinds, whole)
            at += sum(1 + ndim for _, ndim in kinds)
        cls._size = at

    def __init__(self, **arrays: Any) -> None:
        memory = np.zeros(self._size, np.int64)
        object.__setattr__(self, "memory", memory)
        object.__setattr__(self, "address", int(memory.ctypes.data))
        _living[self.address] = self
        for name, value in arrays.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        word = self.words_.get(name)
        if word is None:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        value = getattr(self, word.field)[word.place]
        return bool(value) if word.flag else value

    def __setattr__(self, name: str, value: Any) -> None:
        word = self.words_.get(name)
        if word is not None:
            if self.read_only_:
                raise AttributeError(f"{name} of {type(self).__name__} cannot be assigned")
            getattr(self, word.field)[word.place] = value
            return
        if name not in self.places_:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        at, kinds, whole = self.places_[name]
        arrays = tuple(value) if whole else (value,)
        memory: npt.NDArray[np.int64] = self.__dict__["memory"]
        for array, (dtype, ndim) in zip(arrays, kinds, strict=True):
            if array.dtype != dtype or array.ndim != ndim or not array.flags.c_contiguous:
                raise TypeError(f"{type(self).__name__}.{name}: {array.dtype}[{array.ndim}d]")
            memory[at] = array.ctypes.data
            memory[at + 1 : at + 1 + ndim] = array.shape
            at += 1 + ndim
        object.__setattr__(self, name, value)


def _kinds(hint: Any) -> tuple[list[tuple[Any, int]], Any]:
    """Kinds (dtype, ndim) of a field's arrays, and its class where it is a named tuple."""
    if hasattr(hint, "__metadata__"):
        return [hint.__metadata__[0]], None
    own = get_type_hints(hint, include_extras=True)
    return [get_args(own[name])[-1] for name in hint._fields], hint


class StructType(types.Type):  # type: ignore[misc]
    """The numba type of a struct's class."""

    def __init__(self, cls: type[Struct]) -> None:
        self.cls = cls
        super().__init__(name=f"{cls.__module__}.{cls.__qualname__}")

    def field(self, name: str) -> Any:
        """The numba type of a field, None where there is none of that name."""
        word = self.cls.words_.get(name)
        if word is not None:
            return types.boolean if word.flag else self.field(word.field).dtype
        if name not in self.cls.places_:
            return None
        _, kinds, whole = self.cls.places_[name]
        arrays = [_array_type(*kind) for kind in kinds]
        if whole is None:
            return arrays[0]
        return types.BaseTuple.from_types(arrays, whole)


def type_of(cls: type[Struct]) -> Any:
    """The numba type of a struct's class."""
    return (cls.kind_ or StructType)(cls)


def _array_type(dtype: Any, ndim: int) -> Any:
    return types.Array(nb.from_dtype(np.dtype(dtype)), ndim, "C")


def load_array(context: Any, builder: Any, address: Any, word: int, kind: tuple[Any, int]) -> Any:
    """IR of an array whose address and shape stand at a word of a block of memory."""
    dtype, ndim = kind
    integer = ir.IntType(64)

    def load(index: int) -> Any:
        place = builder.add(address, ir.Constant(integer, _WORD * index))
        value = builder.load(builder.inttoptr(place, integer.as_pointer()))
        # Addresses change between calls only, so one load serves a whole loop.
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return value

    kind_of_array = _array_type(dtype, ndim)
    array = context.make_array(kind_of_array)(context, builder)
    element = context.get_data_type(kind_of_array.dtype)
    shape = [load(word + 1 + k) for k in range(ndim)]
    strides: list[Any] = []
    itemsize = ir.Constant(integer, np.dtype(dtype).itemsize)
    step = itemsize
    for length in reversed(shape):
        strides.insert(0, step)
        step = builder.mul(step, length)
    nb.np.arrayobj.populate_array(
        array,
        data=builder.inttoptr(load(word), element.as_pointer()),
        shape=shape,
        strides=strides,
        itemsize=itemsize,
        meminfo=None,
    )
    return array._getvalue()  # noqa: SLF001 - as numba's own code does


class _Model(nb.core.datamodel.models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64))


nb.extending.register_model(StructType)(_Model)


@nb.extending.typeof_impl.register(Struct)  # type: ignore[untyped-decorator]
def _typeof(value: Struct, context: Any) -> Any:
    del context
    return type_of(type(value))


@nb.extending.unbox(StructType)  # type: ignore[untyped-decorator]
def _unbox(kind: Any, value: Any, c: Any) -> Any:
    del kind
    address = c.pyapi.object_getattr_string(value, "address")
    native = c.unbox(types.int64, address)
    c.pyapi.decref(address)
    return native


@nb.core.typing.templates.infer_getattr
class _Fields(nb.core.typing.templates.AttributeTemplate):  # type: ignore[misc]
    key = StructType

    def generic_resolve(self, kind: StructType, name: str) -> Any:
        return kind.field(name)


def _word_pointer(context: Any, builder: Any, kind: StructType, address: Any, word: Word) -> Any:
    at, kinds, _ = kind.cls.places_[word.field]
    array_type = _array_type(*kinds[0])
    array = context.make_array(array_type)(
        context, builder, load_array(context, builder, address, at, kinds[0])
    )
    return builder.gep(array.data, [ir.Constant(ir.IntType(64), word.place)])


@nb.core.imputils.lower_getattr_generic(StructType)  # type: ignore[untyped-decorator]
def _lower(context: Any, builder: Any, kind: StructType, address: Any, name: str) -> Any:
    word = kind.cls.words_.get(name)
    if word is not None:
        value = builder.load(_word_pointer(context, builder, kind, address, word))
        if word.flag:
            return builder.icmp_signed("!=", value, ir.Constant(value.type, 0))
        return value
    at, kinds, whole = kind.cls.places_[name]
    arrays = []
    for one in kinds:
        arrays.append(load_array(context, builder, address, at, one))
        at += 1 + one[1]
    if whole is None:
        return arrays[0]
    return context.make_tuple(builder, kind.field(name), arrays)


@nb.core.imputils.lower_setattr_generic(StructType)  # type: ignore[untyped-decorator]
def _lower_set(context: Any, builder: Any, sig: Any, args: Any, name: str) -> None:
    kind, given = sig.args
    word = kind.cls.words_.get(name)
    if word is None or kind.cls.read_only_:
        raise nb.core.errors.TypingError(f"{name} of {kind.cls.__name__} cannot be assigned")
    value = context.cast(builder, args[1], given, kind.field(name))
    if word.flag:
        value = builder.zext(value, ir.IntType(64))
    builder.store(value, _word_pointer(context, builder, kind, args[0], word))


def at_address(cls: type[Struct]) -> Any:
    """A function for methods and compiled code: the struct of a class whose block is at an
    address.
    """

    def cast(typing_context: Any, address: Any) -> Any:
        del typing_context, address
        return type_of(cls)(types.int64), lambda *generation: generation[-1][0]

    compiled = nb.extending.intrinsic(cast)

    def at(address: int) -> Struct:
        return _living[int(address)]

    def choose(address: Any) -> Any:
        del address
        return lambda address: compiled(address)  # noqa: PLW0108 - numba wants a function here

    nb.extending.overload(at, strict=False)(choose)
    return at


CHECKED: Final = {
    "error_model": "numpy",
    "boundscheck": True,
    # Entries from Python and from C, which take as long to compile as a small function.
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
"""How strategies are compiled, and what they call."""

_helpers: WeakSet[Callable[..., Any]] = WeakSet()


def compilable(function: F) -> F:
    """A helper of methods: itself when called from Python, compiled with a compiled caller."""
    plain: F = nb.extending.register_jitable(**CHECKED)(function)
    _helpers.add(plain)
    return plain


def is_compilable(function: Callable[..., Any]) -> bool:
    """Whether compiled code can call a Python function: a :func:`compilable`."""
    return function in _helpers


def methods(cls: type[Struct], functions: Mapping[str, Callable[..., Any]]) -> None:
    """Let compiled code call these functions as methods of a struct's class.

    They are compiled with their callers, bounds checked.  The class then has a numba type of its
    own that no other process knows: kernels that take it cannot be cached on disk.
    """
    kind = type(f"{cls.__name__}Type", (StructType,), {})
    nb.extending.register_model(kind)(_Model)
    cls.kind_ = kind
    for name, function in functions.items():
        _declare(kind, name, function)


def _declare(kind: Any, name: str, function: Callable[..., Any]) -> None:
    def choose(self: Any, *args: Any, **kwargs: Any) -> Any:
        del self, args, kwargs
        return function

    choose.__name__ = name  # what the compiler calls it by in its messages
    choose.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    options = CHECKED | {"pipeline_class": Strict}
    nb.extending.overload_method(kind, name, jit_options=options)(choose)
