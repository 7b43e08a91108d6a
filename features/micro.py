"""Stoikov's micro-price (catalogue P05): the mid corrected by the moves that a state foretells.

The state is the imbalance of the touch in ten bins and the spread in ticks, clipped.  From the
transitions of past sessions: Q for those that leave the mid where it is, R1 for its moves, R2 for
the states moves lead to.  G1 = (I - Q)^-1 R1 k is the expected first move, B = (I - Q)^-1 R2 leads
to the state after it, and the micro-price is the mid plus G* = sum over j < 6 of B^j G1.

The sample is symmetrised: every transition counts a second time as seen from the other side, or
the series would drift.  Where an imbalance lies exactly between two bins both count, and the
values of both are averaged, so that the two sides are treated alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import polars as pl

from features.columns import if_ok, mid_ticks, size, ticks
from features.components import F64, I64, Component, Pairs, Statistic, declare
from features.registry import Numbers, feature
from features.windows import previous

BINS = 10
MOVES = (-2, -1, 1, 2)
"""Moves of the mid in half ticks; larger ones count as the largest."""
TERMS = 6
SPREADS = Numbers((2, 3, 4), 1, 10)


@dataclass
class Transitions:
    """Counts transitions of the states of ``bins`` x ``spreads``.

    Inputs: state before and now by the lower bin, the same by the upper bin, the move of the mid
    in half ticks.  Keys, with S states: x S + y without a move; S^2 + 4 x + k for a move k; S^2 +
    4 S + x S + y for the state after a move.
    """

    spreads: int
    bins: int = BINS
    counts: I64 = field(init=False)

    def __post_init__(self) -> None:
        states = self.bins * self.spreads
        self.counts = np.zeros(2 * states * states + 4 * states, dtype=np.int64)

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        *_, move = inputs
        for before, now in (inputs[:2], inputs[2:4]):
            kept = pl.DataFrame(
                [before.alias("x"), now.alias("y"), move.alias("move")]
            ).drop_nulls()
            x, y, moved = (kept[name].cast(pl.Int64).to_numpy() for name in kept.columns)
            self._count(x, y, np.clip(moved, MOVES[0], MOVES[-1]))

    def _count(self, x: I64, y: I64, move: I64) -> None:
        states = self.bins * self.spreads
        moved = move != 0
        square = states * states
        which = np.searchsorted(MOVES, move[moved])
        np.add.at(self.counts, x[~moved] * states + y[~moved], 1)
        np.add.at(self.counts, square + 4 * x[moved] + which, 1)
        np.add.at(self.counts, square + 4 * states + x[moved] * states + y[moved], 1)

    def result(self) -> Pairs:
        (keys,) = np.nonzero(self.counts)
        return Pairs.of(keys, self.counts[keys])


def adjustments(still: F64, moves: F64, after: F64) -> F64:
    """G* of each state; NaN where no move was ever reached from it.

    Parameters
    ----------
    still
        (S, S): transitions without a move.
    moves
        (S, 4): moves from each state, in the order of ``MOVES``.
    after
        (S, S): states that moves led to.
    """
    live = moves.sum(axis=1) > 0
    while (reached := live | (still[:, live].sum(axis=1) > 0)).sum() > live.sum():
        live = reached
    found = np.full(live.size, np.nan)
    if not live.any():
        return found
    total = (still.sum(axis=1) + moves.sum(axis=1))[live]
    rest = np.eye(total.size) - still[np.ix_(live, live)] / total[:, None]
    expected = moves[live] @ (np.array(MOVES) / 2) / total
    first = np.linalg.solve(rest, expected)
    step = np.linalg.solve(rest, after[np.ix_(live, live)] / total[:, None])
    term, value = first, first.copy()
    for _ in range(TERMS - 1):
        term = step @ term
        value += term
    found[live] = value
    return found


def symmetrised(counts: F64, bins: int, spreads: int) -> tuple[F64, F64, F64]:
    """Counts by key as (still, moves, after), each plus itself seen from the other side."""
    states = bins * spreads
    square = states * states
    still = counts[:square].reshape(states, states)
    moves = counts[square : square + 4 * states].reshape(states, 4)
    after = counts[square + 4 * states :].reshape(states, states)
    numbers = np.arange(states)
    other = (bins - 1 - numbers // spreads) * spreads + numbers % spreads
    swap = np.ix_(other, other)
    return still + still[swap], moves + moves[other][:, ::-1], after + after[swap]


@cache
def micro_component(spreads: int) -> Component:
    """G* by state: key = bin x spreads + spread - 1, bins of the imbalance from 0."""
    bid, ask = size("bid"), size("ask")
    both = bid + ask
    spread = (ticks("ask") - ticks("bid")).round().cast(pl.Int64).clip(1, spreads) - 1

    def state(number: pl.Expr) -> pl.Expr:
        return if_ok(pl.when(both > 0).then(number.clip(0, BINS - 1) * spreads + spread))

    lower, upper = state(bid * BINS // both), state(BINS - 1 - ask * BINS // both)
    half_ticks = (2 * mid_ticks()).round().cast(pl.Int64)
    inputs = (previous(lower), lower, previous(upper), upper, half_ticks - previous(half_ticks))

    def combine(past: Sequence[Pairs], _minimum: int) -> Pairs:
        states = BINS * spreads
        counts = np.zeros(2 * states * states + 4 * states)
        for pairs in past:
            counts[pairs.keys] += pairs.values
        found = adjustments(*symmetrised(counts, BINS, spreads))
        (known,) = np.nonzero(~np.isnan(found))
        return Pairs.of(known, found[known])

    statistic = Statistic(f"micro_transitions_{spreads}", inputs, lambda: Transitions(spreads))
    return declare(Component(f"micro_{spreads}", statistic, combine))


def adjustment(spreads: int) -> pl.Expr:
    """G* of the present state (ticks); null where it was never seen to lead to a move."""
    component = micro_component(spreads)
    _, lower, _, upper, _ = component.statistic.inputs
    return (component.at(lower) + component.at(upper)) / 2


@feature(
    "micro_{spreads}",
    catalogue="P05",
    unit="ticks",
    source="Stoikov 2018",
    params={"spreads": SPREADS},
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
    tags=("fitted",),
)
def micro(spreads: int) -> pl.Expr:
    """Micro-price: mid + G*(imbalance bin, spread), fitted on the transitions of past sessions.

    G* = sum over j < 6 of B^j (I - Q)^-1 R1 k with ten bins and spreads up to ``spreads`` ticks.
    """
    return mid_ticks() + adjustment(spreads)


@feature(
    "micro_dev_{spreads}",
    catalogue="P05",
    unit="ticks",
    source="Stoikov 2018",
    params={"spreads": SPREADS},
    mirror="odd",
    tags=("fitted",),
)
def micro_dev(spreads: int) -> pl.Expr:
    """Micro-price less the mid: G*(imbalance bin, spread), the move the state foretells."""
    return adjustment(spreads)
