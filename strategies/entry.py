"""The one function of a strategy that the simulator calls: number of a callback, address of the
strategy, address of its market -> 0, or 1 where the callback failed.

Written in LLVM's terms: as Python with a ``try`` it took numba longer to compile than most
strategies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llvmlite import ir

from pipeline.jit import nb
from pipeline.structs import at_address

_WORD: Any = ir.IntType(64)


def _link(k: int, callback: Any, rest: Any) -> Any:
    """A function that calls one callback, or leaves it to the rest."""

    def link(number: int, instance: Any, m: Any) -> None:
        if number == k:
            callback(instance, m)
        else:
            rest(number, instance, m)

    return nb.njit(error_model="numpy")(link)


class Entry:
    """What to compile: the callbacks that a strategy has.

    Parameters
    ----------
    callbacks
        Their dispatchers by number.
    own, market
        Numba types of the strategy's memory and of its market.
    """

    def __init__(self, callbacks: Mapping[int, Any], own: Any, market: Any) -> None:
        self._callbacks = callbacks
        self._arguments = (own, market)

    def prepare(self) -> None:
        """Compile the callbacks, so that what is wrong with one is told by itself."""
        for dispatcher in self._callbacks.values():
            dispatcher.compile(self._arguments)

    def function(self) -> Any:
        """The entry for numba to compile."""
        typed = nb.types.int64(nb.types.int64, nb.types.int64, nb.types.int64)

        def choose(context: Any, number: Any, instance: Any, at: Any) -> Any:
            del context, number, instance, at
            return typed, self._generate

        call: Any = nb.extending.intrinsic(choose)

        def entry(number: int, instance: int, at: int) -> int:
            return call(number, instance, at)  # type: ignore[no-any-return]

        return entry

    def plain(self) -> Any:
        """The same as Python, for numba's public ways alone."""
        own, market = (at_address(kind.cls) for kind in self._arguments)

        def nothing(_number: int, _instance: Any, _m: Any) -> None:
            return

        last: Any = nb.njit(nothing)
        for k, dispatcher in self._callbacks.items():
            last = _link(k, dispatcher, last)
        chain = last

        def entry(number: int, instance: int, at: int) -> int:
            try:
                chain(number, own(instance), market(at))
            except Exception:
                return 1
            return 0

        return entry

    def _generate(self, context: Any, builder: Any, signature: Any, args: Any) -> Any:
        del signature
        number, *addresses = args
        failed = nb.core.cgutils.alloca_once_value(builder, ir.Constant(_WORD, 0))
        for k, dispatcher in self._callbacks.items():
            compiled = dispatcher.overloads[self._arguments]
            context.add_linking_libs([compiled.library])
            with builder.if_then(builder.icmp_signed("==", number, ir.Constant(_WORD, k))):
                status, value = context.call_internal_no_propagate(
                    builder, compiled.fndesc, compiled.signature, addresses
                )
                builder.store(builder.zext(status.is_error, _WORD), failed)
                if isinstance(compiled.signature.return_type, nb.types.Array):
                    with builder.if_then(status.is_ok):
                        context.nrt.decref(builder, compiled.signature.return_type, value)
        return builder.load(failed)
