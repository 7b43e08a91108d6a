"""Reading the methods of an event strategy for names and calls that cannot be.

Only what is wrong for certain is said; types are left to the compiler.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, get_type_hints

from pipeline.errors import RequestError, did_you_mean
from pipeline.structs import is_compilable
from strategies.layout import CALLBACKS
from strategies.market import Market
from strategies.source import Own, Place, file_of, tree_of

MARKET_WORDS: Final = frozenset(
    name for name, kind in get_type_hints(Market).items()
    if kind in (int, bool, float) and name in Market.words_
)  # fmt: skip
"""What ``m`` tells without being called."""
MARKET_METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    name: value
    for name, value in vars(Market).items()
    if inspect.isfunction(value) and not name.startswith("_")
}

_CHANCE: Final = {
    "random": "chance is not part of a result that can be repeated; keep a seed of your own in "
    "the state",
    "time": "the time is m.now",
    "datetime": "the time is m.now, in ns UTC",
}
"""Modules that make a result another each time."""
_MODULES: Final = {
    "os": "callbacks see the market alone",
    "sys": "callbacks see the market alone",
    "pandas": "callbacks work with numbers and arrays; keep them in state_array",
    "polars": "callbacks work with numbers and arrays; read a feature with m.feature",
    "scipy": "callbacks work with math and numpy",
    "logging": "print works with --interpret",
    "json": "print works with --interpret",
}
_BUILTINS: Final = {
    **dict.fromkeys(("open", "input", "eval", "exec", "compile", "__import__"),
                    "callbacks see the market alone"),
    **dict.fromkeys(("getattr", "setattr", "hasattr", "delattr", "vars", "dir", "globals", "locals",
                     "type", "id", "callable"), "write the name out"),
    **dict.fromkeys(("dict", "set", "frozenset", "str", "repr", "format", "bytes", "list"),
                    "callbacks work with numbers and arrays; keep them in state_array"),
    "super": "give the method of the base another name and call it with self",
}  # fmt: skip
_STATEMENTS: Final[Mapping[type[ast.AST], str]] = {
    ast.Import: "an import inside a callback; move it to the top of the file",
    ast.ImportFrom: "an import inside a callback; move it to the top of the file",
    ast.With: "a with statement, which cannot be compiled",
    ast.Global: "global: a strategy keeps its variables in its state, as in `n: int = state(0)`",
    ast.Nonlocal: "nonlocal: a strategy keeps its variables in its state",
    ast.ClassDef: "a class inside a callback; move it out of it",
    ast.AsyncFunctionDef: "async: callbacks are plain functions",
    ast.AsyncFor: "async: callbacks are plain functions",
    ast.AsyncWith: "async: callbacks are plain functions",
    ast.Await: "await: callbacks are plain functions",
    ast.Yield: "yield: callbacks run to their end; keep what is to last in the state",
    ast.YieldFrom: "yield: callbacks run to their end; keep what is to last in the state",
    ast.Match: "match, which cannot be compiled; write if and elif",
    ast.Set: "a set; callbacks work with numbers and arrays: state_array(int, 64)",
    ast.SetComp: "a set; callbacks work with numbers and arrays: state_array(int, 64)",
    ast.Dict: "a dictionary; callbacks work with numbers and arrays: state_array(int, 64)",
    ast.DictComp: "a dictionary; callbacks work with numbers and arrays: state_array(int, 64)",
}
_CONTAINERS: Final = {list: "list", dict: "dictionary", set: "set"}


def read(
    node: ast.FunctionDef,
    function: Callable[..., Any],
    place: Place,
    own: Own,
    *,
    interpret: bool = False,
) -> None:
    """Check a method, and the helpers that it calls.

    Interpreted, what the compiler alone does not know is let through: a print of a formatted
    text, an import of a debugger.

    Raises
    ------
    RequestError
        At the first mistake.
    """
    _Body(node, function, place, own, interpret, set()).check()


class _Body(ast.NodeVisitor):
    """One function: ``own`` is None in a helper."""

    def __init__(
        self,
        node: ast.FunctionDef,
        function: Callable[..., Any],
        place: Place,
        own: Own | None,
        interpret: bool,
        done: set[Callable[..., Any]],
    ) -> None:
        self.node, self.place, self.own, self.done = node, place, own, done
        self.interpret = interpret
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self.me = arguments[0].arg if own is not None and arguments else None
        self.markets = {
            item.arg for item in arguments
            if item.annotation is not None and "Market" in ast.unparse(item.annotation)
        }  # fmt: skip
        if own is not None and node.name in CALLBACKS:
            self.markets.add(arguments[1].arg)
        self.local = {item.arg for item in arguments}
        added = {part.target for part in ast.walk(node) if isinstance(part, ast.AugAssign)}
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                if part not in added:  # x += 1 needs an x
                    self.local.add(part.id)
            elif isinstance(part, ast.FunctionDef | ast.ExceptHandler) and part.name:
                self.local.add(part.name)
            elif isinstance(part, ast.arg):
                self.local.add(part.arg)
        closure = inspect.getclosurevars(function)
        self.names = {**function.__globals__, **closure.nonlocals}

    def check(self) -> None:
        for statement in self.node.body:
            self.visit(statement)
        self._check_returns()

    def visit(self, node: ast.AST) -> Any:
        if type(node) in _STATEMENTS:
            self._refuse(node, _STATEMENTS[type(node)])
        return super().visit(node)

    def _refuse(self, node: ast.AST, text: str) -> None:
        """Say what cannot be compiled, where it is to be."""
        if not self.interpret:
            raise self._error(node, text)

    def _error(self, node: ast.AST, text: str) -> RequestError:
        return self.place.at(node).error(text)

    # --- names ------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.local or isinstance(node.ctx, ast.Del):
            return
        if node.id in self.names:
            self._check_global(node, node.id, self.names[node.id])
        elif node.id in _BUILTINS:
            self._refuse(node, f"{node.id} cannot be compiled; {_BUILTINS[node.id]}")
        elif not hasattr(builtins, node.id):
            near = did_you_mean(node.id, {*self.local, *self.names, "min", "max", "abs", "round"})
            own = self.own
            if own and own.methods and node.id in {*own.numbers, *own.arrays, *own.methods}:
                near = f"; did you mean {self.me}.{node.id}?"
            elif self.markets and node.id in MARKET_WORDS | set(MARKET_METHODS):
                near = f"; did you mean {min(self.markets)}.{node.id}?"
            raise self._error(node, f"unknown name {node.id!r}{near}")

    def _check_global(self, node: ast.AST, name: str, value: Any) -> None:
        home = value.__name__ if isinstance(value, types.ModuleType) else value.__class__.__module__
        home = str(getattr(value, "__module__", None) or home).split(".")[0]
        if home in _CHANCE:
            raise self._error(node, f"{name} cannot be used in a callback; {_CHANCE[home]}")
        if home in _MODULES:
            self._refuse(node, f"{name} cannot be used in a callback; {_MODULES[home]}")
        elif inspect.isfunction(value):
            self._check_function(node, name, value)
        elif type(value) in _CONTAINERS:
            kind = next(name for known, name in _CONTAINERS.items() if type(value) is known)
            self._refuse(
                node, f"{name} is a {kind}, which callbacks cannot read; make it a tuple of numbers"
            )

    def _check_function(self, node: ast.AST, name: str, value: Callable[..., Any]) -> None:
        file = file_of(value)
        if not is_compilable(value):
            if str(getattr(value, "__module__", "")).split(".")[0] == "numpy":
                return  # those the compiler knows of its own
            line = value.__code__.co_firstlineno
            self._refuse(
                node, f"{name} is a plain function; write @helper above it ({file}, line {line})"
            )
            return
        if value in self.done:
            return
        self.done.add(value)
        for part in ast.walk(tree_of(file)):
            if (
                isinstance(part, ast.FunctionDef)
                and part.name == value.__name__
                and value.__code__.co_firstlineno <= part.lineno <= _last(value)
            ):
                place = Place(file, value.__name__)
                _Body(part, value, place, None, self.interpret, self.done).check()

    # --- attributes and calls ---------------------------------------------------------------------

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._check_attribute(node, called=False)

    def _check_attribute(self, node: ast.Attribute, *, called: bool) -> None:
        if not isinstance(node.value, ast.Name):
            self.visit(node.value)
        name = getattr(node.value, "id", None)
        if self.own is not None and name == self.me:
            self._check_own(node, self.own, called=called)
        elif name in self.markets:
            self._check_market(node, called=called)
        elif name is not None and name not in self.local:
            self._check_member(node, node.value)

    def _check_member(self, node: ast.Attribute, owner: ast.expr) -> None:
        """Of a module, as in ``math.sqrt``."""
        self.visit(owner)
        held = self.names.get(getattr(owner, "id", ""))
        if not isinstance(held, types.ModuleType):
            return
        shown = f"{ast.unparse(owner)}.{node.attr}"
        if not hasattr(held, node.attr):
            raise self._error(
                node, f"{ast.unparse(owner)} has no {node.attr!r}"
                + did_you_mean(node.attr, dir(held))
            )  # fmt: skip
        if shown in ("np.random", "numpy.random"):
            raise self._error(node, f"{shown} cannot be used in a callback; {_CHANCE['random']}")
        self._check_global(node, shown, getattr(held, node.attr))

    def _check_own(self, node: ast.Attribute, own: Own, *, called: bool) -> None:
        name, shown = node.attr, f"{self.me}.{node.attr}"
        methods = own.methods or {}
        stored = not isinstance(node.ctx, ast.Load)
        if name in methods:
            if stored or not called:
                raise self._error(node, f"{shown} is a method; call it: {shown}(...)")
        elif name in own.numbers or name in own.arrays:
            if called:
                raise self._error(node, f"{shown} is not a method and cannot be called")
            if stored and name in own.arrays:
                raise self._error(node, f"{shown} is an array; assign to its elements: {shown}[:]")
        elif name in own.texts:
            raise self._error(
                node, f"{shown} is a text, which callbacks cannot use; make it a number"
            )
        elif name in own.others:
            raise self._error(
                node, f"{shown} belongs to the class and is not seen by callbacks; make it a "
                "constant of the file or a state",
            )  # fmt: skip
        else:
            known = {*own.numbers, *own.arrays, *methods}
            near = did_you_mean(name, known)
            declare = f"; or declare it in the class: {name}: int = state(0)" if stored else ""
            raise self._error(node, f"the strategy has no {name!r}{near}{declare}")

    def _check_market(self, node: ast.Attribute, *, called: bool) -> None:
        name, shown = node.attr, ast.unparse(node)
        if not isinstance(node.ctx, ast.Load):
            raise self._error(node, f"{shown} cannot be assigned: the market is only read")
        if name in MARKET_METHODS:
            if not called:
                raise self._error(node, f"{shown} is a method; call it: {shown}(...)")
        elif name in MARKET_WORDS:
            if called:
                raise self._error(node, f"{shown} is a number; write it without parentheses")
        else:
            near = did_you_mean(name, MARKET_WORDS | set(MARKET_METHODS))
            raise self._error(node, f"the market has no {name!r}{near}")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            self._check_attribute(node.func, called=True)
        else:
            self.visit(node.func)
        for part in (*node.args, *(item.value for item in node.keywords)):
            self.visit(part)
        called, bound = self._callee(node.func)
        if called is None or any(isinstance(part, ast.Starred) for part in node.args):
            return
        signature = inspect.signature(called)
        named = {item.arg: item.value for item in node.keywords if item.arg}
        try:
            given = signature.bind(*[None] * bound, *node.args, **named).arguments
        except TypeError as error:
            names = ", ".join(list(signature.parameters)[bound:])
            raise self._error(node, f"{ast.unparse(node.func)} takes ({names}): {error}") from None
        if called in MARKET_METHODS.values() and (size := given.get("size")) is not None:
            self._check_size(size)

    def _check_size(self, node: ast.expr) -> None:
        """A size written as a number."""
        text = ast.unparse(node)
        if re.fullmatch(r"-?[\d_]+", text) and int(text) <= 0:
            raise self._error(
                node, f"an order of size {text}; sizes are from 1, m.buy buys and m.sell sells"
            )

    def _callee(self, func: ast.expr) -> tuple[Callable[..., Any] | None, int]:
        """What is called, where it is known, and whether it is a method."""
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
            if self.own is not None and func.value.id == self.me:
                return (self.own.methods or {}).get(func.attr), 1
            if func.value.id in self.markets:
                return MARKET_METHODS.get(func.attr), 1
        if isinstance(func, ast.Name) and func.id not in self.local:
            value = self.names.get(func.id)
            return (value if inspect.isfunction(value) else None), 0
        return None, 0

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            if isinstance(target, ast.Name) and self._is_market(node.value):
                self.markets.add(target.id)

    def _is_market(self, value: ast.expr) -> bool:
        return (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr == "of"
            and getattr(value.func.value, "id", None) in self.markets
        )

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._refuse(node, "a text with {values} in it, which cannot be compiled; print(a, b) can")
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        self.visit(node.target)

    # --- what it returns --------------------------------------------------------------------------

    def _check_returns(self) -> None:
        returns = [part for part in _within(self.node) if isinstance(part, ast.Return)]
        full = [part for part in returns if part.value is not None and not _is_none(part.value)]
        empty = [part for part in returns if part not in full]
        if full and empty:
            raise self._error(
                empty[0], f"returns nothing here and a value in line {full[0].lineno}; "
                "return the same type everywhere",
            )  # fmt: skip
        if full and not _leaves(self.node.body):
            raise self._error(
                self.node, f"returns a value in line {full[0].lineno} and nothing at its end; "
                "return the same type everywhere",
            )  # fmt: skip


def _last(function: Callable[..., Any]) -> int:
    return max(line for _, _, line in function.__code__.co_lines() if line is not None)


def _within(node: ast.AST) -> Iterable[ast.AST]:
    """Parts of a function, those of functions inside it left out."""
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, ast.FunctionDef | ast.Lambda):
            yield part
            yield from _within(part)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _leaves(body: list[ast.stmt]) -> bool:
    """Whether the end of these statements is never reached."""
    last = body[-1]
    if isinstance(last, ast.Return | ast.Raise):
        return True
    if isinstance(last, ast.If):
        return bool(last.orelse) and _leaves(last.body) and _leaves(last.orelse)
    if isinstance(last, ast.While):
        forever = isinstance(last.test, ast.Constant) and bool(last.test.value)
        return forever and not any(isinstance(part, ast.Break) for part in _within(last))
    if isinstance(last, ast.Try):
        return all(_leaves(part) for part in (last.body, *(item.body for item in last.handlers)))
    return False
