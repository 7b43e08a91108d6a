"""A float where a whole number is kept: told when a strategy is compiled, never cut off unseen.

A compiler casts what is stored to the type of the place.  In a strategy 2.5 in a state of type
int, or half a tick in a price, is a mistake, which shows in no result.
"""

from __future__ import annotations

from typing import Any

from pipeline.jit import nb

_core: Any = nb.core
_ir: Any = nb.core.ir
types: Any = nb.types


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
        return False


def _place(store: Any, typemap: Any) -> Any:
    """The type of what is stored to; None where it is not known or nothing is stored."""
    if isinstance(store, _ir.SetAttr):
        field = getattr(typemap[store.target.name], "field", None)
        return field(store.attr) if field else None
    if isinstance(store, _ir.SetItem | _ir.StaticSetItem):
        return getattr(typemap[store.target.name], "dtype", None)
    return None


class Strict(_core.compiler.CompilerBase):  # type: ignore[misc]
    """The compiler of strategies."""

    def define_pipelines(self) -> list[Any]:
        passes = _core.compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_Stores, _core.typed_passes.NopythonTypeInference)
        passes.finalize()
        return [passes]
