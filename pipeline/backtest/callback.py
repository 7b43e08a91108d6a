"""Calling a strategy: a C function behind an address, compiled or interpreted alike."""

from __future__ import annotations

import ctypes
from typing import Any, Final

from llvmlite import ir

from pipeline.jit import nb

SIGNATURE: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
"""(number of the callback, address of the strategy, address of its market) -> 0, or 1: failed."""

_integer: Any = nb.types.int64


def _call(context: Any, address: Any, kind: Any, instance: Any, market: Any) -> Any:
    del context, address, kind, instance, market

    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        del target, signature
        word = ir.IntType(64)
        function = ir.FunctionType(word, [word] * 3).as_pointer()
        return builder.call(builder.inttoptr(args[0], function), args[1:])

    return _integer(_integer, _integer, _integer, _integer), generate


def _call_interpreted(address: int, kind: int, instance: int, market: int) -> int:
    return int(SIGNATURE(int(address))(int(kind), int(instance), int(market)))


call: Any = _call_interpreted if nb.config.DISABLE_JIT else nb.extending.intrinsic(_call)
"""``call(address, kind, instance, market)`` inside kernels."""
