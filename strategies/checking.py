"""What is wrong with an event strategy, before it is compiled: which file, which line, what to do.

Compilers speak of their own insides.  Most mistakes can be seen in the class and its source: a
state that is a text, a callback with an argument too many, a misspelt name.  Each is one line.
The bodies of its methods are read by :mod:`strategies.reading`.
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields
from typing import Any, Final, get_type_hints

import numpy as np

from pipeline.errors import did_you_mean
from pipeline.structs import Struct
from strategies.event import EventStrategy
from strategies.interface import Duration
from strategies.layout import CALLBACKS
from strategies.reading import read
from strategies.source import Own, Place, file_of, tree_of

_NUMBERS: Final = (int, float, bool, Duration)
_NAMES: Final = {int: "int", float: "float", bool: "bool", str: "str", Duration: "Duration"}
_TAKEN: Final = frozenset(dir(EventStrategy)) | frozenset(dir(Struct)) | {
    "address", "memory", "ints_", "reals_",
}  # fmt: skip
"""Names that a strategy's own fields cannot have."""
_SHARED: Final = frozenset({"flatten", "flatten_before"})
"""Parameters of every strategy, whose defaults can be changed."""


def check(cls: type[EventStrategy]) -> None:
    """Look for mistakes in a strategy's class: its fields, names and arguments of its methods.

    Raises
    ------
    RequestError
        At the first: file and line, what, and what to do.
    """
    bases = own_bases(cls)
    for base in bases:
        _check_class(base)
    _check_fields(cls, bases)
    if not any(name in _methods(cls) for name in CALLBACKS):
        raise _place(cls).error(f"it has no callback; write one of {', '.join(CALLBACKS)}")


def check_code(cls: type[EventStrategy], *, interpret: bool = False) -> None:
    """Read the source of its methods, and of the helpers they call.

    Raises
    ------
    RequestError
        At the first mistake: file and line, what, and what to do.
    """
    methods = _methods(cls)
    own = _own(cls, methods)
    for base in own_bases(cls):
        for node in _definitions(base):
            function = vars(base).get(node.name)
            if inspect.isfunction(function) and methods.get(node.name) is function:
                place = Place(file_of(base), f"{cls.__name__}.{node.name}")
                read(node, function, place, own, interpret=interpret)


def own_bases(cls: type[EventStrategy]) -> list[type[Any]]:
    """The class and its bases before :class:`EventStrategy`, the class last."""
    return list(reversed(cls.__mro__[: cls.__mro__.index(EventStrategy)]))


def _methods(cls: type[EventStrategy]) -> dict[str, Callable[..., Any]]:
    """What its code can call: as :mod:`strategies.running` compiles them."""
    return {
        name: value
        for base in own_bases(cls)
        for name, value in vars(base).items()
        if inspect.isfunction(value) and not name.startswith("__") and name != "features"
    }


def _class_node(cls: type[Any]) -> ast.ClassDef | None:
    """A class in the tree of its file; None where there is no source."""
    tree = tree_of(file_of(cls))
    wanted = cls.__name__
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == wanted]
    return nodes[-1] if nodes else None


def _place(cls: type[Any], node: ast.AST | None = None) -> Place:
    line = getattr(node or _class_node(cls), "lineno", 0)
    return Place(file_of(cls), cls.__name__, line)


def _definitions(cls: type[Any]) -> Iterator[ast.FunctionDef]:
    node = _class_node(cls)
    for item in node.body if node else ():
        if isinstance(item, ast.FunctionDef):
            yield item


# --- the class ------------------------------------------------------------------------------------


def _check_class(cls: type[Any]) -> None:
    """Its decorator, and the names and arguments of its methods."""
    held = vars(cls)
    hidden = any(isinstance(value, Field) for value in held.values())
    if "__dataclass_params__" not in held and (hidden or _annotated(cls)):
        raise _place(cls).error("write @dataclass above the class: it has parameters or state")
    node = _class_node(cls)
    for item in node.body if node else ():
        place = _place(cls, item)
        if isinstance(item, ast.AsyncFunctionDef):
            raise place.error(f"{item.name} is async; callbacks are plain methods")
        if isinstance(item, ast.FunctionDef):
            _check_method(item, place)
    for name, value in held.items():
        if isinstance(value, property | staticmethod | classmethod):
            kind = type(value).__name__
            raise _place(cls, _line_of(cls, name)).error(
                f"{name} is a {kind}, which callbacks cannot use; make it a method with self"
            )


def _annotated(cls: type[Any]) -> bool:
    texts = [str(hint) for hint in vars(cls).get("__annotations__", {}).values()]
    return any("ClassVar" not in text for text in texts)


def _check_method(node: ast.FunctionDef, place: Place) -> None:
    name = node.name
    if name in ("__init__", "__new__"):
        raise place.error(
            f"{name} is made by @dataclass; declare state in the class, as in `n: int = state(0)`, "
            "and start in initialize(self, m)"
        )
    if name.startswith("__"):
        return
    if node.decorator_list and not _is_property(node):
        shown = ast.unparse(node.decorator_list[0])
        raise place.error(f"{name} is decorated with @{shown}; methods need no decorator")
    arguments = node.args
    names = [item.arg for item in (*arguments.posonlyargs, *arguments.args)]
    if arguments.vararg or arguments.kwarg:
        raise place.error(f"{name} has *arguments; write each of them out")
    if name in CALLBACKS:
        if len(names) != 2 or arguments.kwonlyargs:
            shown = ", ".join(names + [item.arg for item in arguments.kwonlyargs])
            raise place.error(
                f"{name}({shown}) takes the strategy and the market: "
                f"def {name}(self, m: Market) -> None"
            )
        return
    near = difflib.get_close_matches(name, CALLBACKS, n=1, cutoff=0.85)
    if name.startswith("on_") or near:
        raise place.error(f"unknown callback {name!r}{did_you_mean(name, CALLBACKS)}")
    if not names:
        raise place.error(f"{name}() takes no argument; the first of a method is self")


def _is_property(node: ast.FunctionDef) -> bool:
    names = [ast.unparse(item) for item in node.decorator_list]
    return names[0] in ("property", "staticmethod", "classmethod")


# --- its fields -----------------------------------------------------------------------------------


def _check_fields(cls: type[EventStrategy], bases: list[type[Any]]) -> None:
    try:
        hints = get_type_hints(cls)
    except (NameError, TypeError) as error:
        raise _place(cls).error(f"the type of a field is not known: {error}") from None
    owners = {name: base for base in bases for name in vars(base).get("__annotations__", {})}
    for item in fields(cls):
        if item.name in owners:
            owner = owners[item.name]
            place = _place(owner, _line_of(owner, item.name))
            if item.name in _TAKEN and item.name not in _SHARED:
                raise place.error(f"{item.name} is a name strategies have already; take another")
            _check_field(item, hints[item.name], place)


def _check_field(item: Field[Any], kind: Any, place: Place) -> None:
    meta, name = item.metadata, item.name
    shown = _NAMES.get(kind) or getattr(kind, "__name__", None) or str(kind)
    if "array" in meta:
        dtype, length = meta["array"]
        if dtype not in (np.dtype(np.int64), np.dtype(np.float64)):
            raise place.error(f"{name} is an array of {dtype}; arrays are of int or float")
        if type(length) is not int or length < 1:
            raise place.error(f"{name} has length {length!r}; write a whole number from 1")
        return
    if "feature" in meta:
        if kind is not int or not isinstance(meta["feature"], str):
            raise place.error(
                f'{name} is the number of a feature; write {name}: int = feature("its_name")'
            )
        return
    what = "parameter" if "doc" in meta else "state"
    allowed = (*_NUMBERS, str) if what == "parameter" else _NUMBERS
    if kind not in allowed:
        raise place.error(f"{what} {name} is {shown}; {_ways(what)}")
    if item.default is MISSING:
        call = f"{what}({_first(kind)})"
        if item.default_factory is MISSING:
            raise place.error(f"{name} has no first value; write {name}: {shown} = {call}")
        raise place.error(f"{name} has a default_factory; write {name}: {shown} = {call}")
    if not _fits(kind, item.default):
        raise place.error(
            f"{what} {name} is {shown} but starts as {item.default!r}; "
            f"write {name}: {shown} = {what}({_first(kind)}), or another type"
        )


def _ways(what: str) -> str:
    if what == "parameter":
        return "parameters are int, float, bool, Duration or str"
    return "state is int, float, bool, or an array: state_array(float, 64)"


def _first(kind: Any) -> str:
    return {int: "0", float: "0.0", bool: "False", str: '""'}.get(kind, "Duration(10**9)")


def _fits(kind: Any, value: Any) -> bool:
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is str:
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    numbers = int | np.integer | float if kind is float else int | np.integer
    return isinstance(value, numbers)


def _line_of(cls: type[Any], name: str) -> ast.AST | None:
    node = _class_node(cls)
    for item in node.body if node else ():
        target = getattr(item, "target", None)
        if getattr(item, "name", getattr(target, "id", None)) == name:
            return item
    return node


def _own(cls: type[EventStrategy], methods: dict[str, Callable[..., Any]]) -> Own:
    numbers: dict[str, Any] = {}
    arrays: set[str] = set()
    texts: set[str] = set()
    hints = get_type_hints(cls)
    for item in fields(cls):
        if "array" in item.metadata:
            arrays.add(item.name)
        elif hints[item.name] in _NUMBERS:
            numbers[item.name] = hints[item.name]
        else:
            texts.add(item.name)
    others = {name for name in dir(cls) if name not in dir(Struct)} - set(methods)
    return Own(frozenset(numbers), frozenset(arrays), frozenset(texts), frozenset(others), methods)
