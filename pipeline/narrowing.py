"""A float where a whole number is kept: told when a strategy is compiled, never cut off unseen.

A compiler casts what is stored to the type of the place.  In a strategy 2.5 in a state of type
int, or half a tick in a price, is a mistake, which shows in no result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from pipeline.jit import nb

_core: Any = nb.core
_ir: Any = nb.core.ir
types: Any = nb.types


_PRICES: Final = frozenset({"price", "trigger", "offset"})


def whole_parameters(function: Callable[..., Any]) -> tuple[list[str], frozenset[str]]:
    """Names of a method's parameters after ``self``, and those of them that are whole numbers."""
    items = list(inspect.signature(function).parameters.values())[1:]
    whole = frozenset(item.name for item in items if item.annotation in ("int", int))
    return [item.name for item in items], whole


def not_whole(method: str, name: str) -> str:
    """What is said of a float given to a method of the market."""
    if name in _PRICES:
        advice = "prices are whole numbers of 1e-9; count in ticks, as in m.bid - int(x) * m.tick"
    else:
        advice = "it is a whole number; write int(...)"
    return f"{name} of m.{method} is a float; {advice}"


class NarrowingError(_core.errors.TypingError):  # type: ignore[misc]
    """A float is stored where whole numbers are."""


@_core.compiler_machinery.register_pass(mutates_CFG=False, analysis_only=True)
class _Stores(_core.compiler_machinery.AnalysisPass):  # type: ignore[misc]
    _name = "stores_of_floats"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        for block in state.func_ir.blocks.values():
            for store in block.body:
                place = _place(store, state.typemap)
                if isinstance(place, types.Integer) and isinstance(
                    state.typemap[store.value.name], types.Float
                ):
                    raise NarrowingError("stores a float in an int", loc=store.loc)
                for method, name in _floats_given(store, state.typemap):
                    raise NarrowingError(not_whole(method, name), loc=store.loc)
        return False


def _place(store: Any, typemap: Any) -> Any:
    """The type of what is stored to; None where it is not known or nothing is stored."""
    if isinstance(store, _ir.SetAttr):
        field = getattr(typemap[store.target.name], "field", None)
        return field(store.attr) if field else None
    if isinstance(store, _ir.SetItem | _ir.StaticSetItem):
        return getattr(typemap[store.target.name], "dtype", None)
    return None


def _floats_given(statement: Any, typemap: Any) -> Iterator[tuple[str, str]]:
    """Methods of a struct that are given a float for a whole number, and the parameter's name."""
    call = getattr(statement, "value", None)
    if not isinstance(statement, _ir.Assign) or not isinstance(call, _ir.Expr) or call.op != "call":
        return
    called = typemap[call.func.name]
    if not isinstance(called, types.BoundFunction):
        return
    function = getattr(getattr(called.this, "cls", None), str(called.typing_key[-1]), None)
    if function is None:
        return
    names, whole = _parameters(inspect.unwrap(function))
    for name, given in (*zip(names, call.args, strict=False), *call.kws):
        if name in whole and isinstance(typemap[given.name], types.Float):
            yield function.__name__, name


_parameters = lru_cache(maxsize=256)(whole_parameters)


class Strict(_core.compiler.CompilerBase):  # type: ignore[misc]
    """The compiler of strategies."""

    def define_pipelines(self) -> list[Any]:
        passes = _core.compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_Stores, _core.typed_passes.NopythonTypeInference)
        passes.finalize()
        return [passes]
