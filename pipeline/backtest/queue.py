"""The one queue of everything under way: a binary heap ordered by (time, class, sequence)."""

from __future__ import annotations

from pipeline.backtest.state import (
    H_A,
    H_B,
    H_C,
    H_CLASS,
    H_KIND,
    H_ORDER,
    H_SEQ,
    H_TIME,
    HEAP_COLUMNS,
    N_HEAP,
    NEXT_DUE,
    SEQ,
    Sim,
)
from pipeline.book.layout import I64, Scalar
from pipeline.jit import inner


@inner
def _before(heap: I64, i: Scalar, j: Scalar) -> Scalar:
    if heap[i, H_TIME] != heap[j, H_TIME]:
        return heap[i, H_TIME] < heap[j, H_TIME]
    if heap[i, H_CLASS] != heap[j, H_CLASS]:
        return heap[i, H_CLASS] < heap[j, H_CLASS]
    return heap[i, H_SEQ] < heap[j, H_SEQ]


@inner
def _swap(heap: I64, i: Scalar, j: Scalar) -> None:
    for column in range(HEAP_COLUMNS):
        heap[i, column], heap[j, column] = heap[j, column], heap[i, column]


@inner
def push(
    sim: Sim, time: Scalar, class_: Scalar, kind: Scalar, order: Scalar, a: Scalar, b: Scalar,
    c: Scalar,
) -> None:  # fmt: skip
    """Put something under way; room for it is the caller's business."""
    heap, meta = sim.heap, sim.meta
    i = meta[N_HEAP]
    meta[N_HEAP] = i + 1
    heap[i, H_TIME] = time
    heap[i, H_CLASS] = class_
    heap[i, H_SEQ] = meta[SEQ]
    heap[i, H_KIND] = kind
    heap[i, H_ORDER] = order
    heap[i, H_A] = a
    heap[i, H_B] = b
    heap[i, H_C] = c
    meta[SEQ] += 1
    meta[NEXT_DUE] = min(meta[NEXT_DUE], time)
    while i > 0 and _before(heap, i, (i - 1) >> 1):
        _swap(heap, i, (i - 1) >> 1)
        i = (i - 1) >> 1


@inner
def pop(sim: Sim) -> None:
    """Take the first away; read row 0 before."""
    heap, meta = sim.heap, sim.meta
    n = meta[N_HEAP] - 1
    meta[N_HEAP] = n
    _swap(heap, 0, n)
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            return
        if child + 1 < n and _before(heap, child + 1, child):
            child += 1
        if not _before(heap, child, i):
            return
        _swap(heap, i, child)
        i = child
