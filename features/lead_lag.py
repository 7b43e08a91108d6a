"""Which of two instruments moves first (catalogue Y03): Hayashi-Yoshida covariance by lag.

Of each past session the moves of both mids are kept while it is summed up: a move is the change of
the mid from one instant at which it changed to the next one, over the interval between them.
U(theta) is the sum of dX_i dY_j over the pairs of moves whose intervals overlap once those of the
peer are moved back by theta.  Where the peer repeats our moves after theta, U is largest there.
Both instruments are on the clock of receipt; only what lies between the later of their first and
the earlier of their last known mids counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import numpy as np
import polars as pl

from features.columns import if_ok, px
from features.components import F64, I64, Component, Pairs, Statistic, declare
from features.kernels_pairs import overlapping_products
from features.registry import Alias, feature
from features.timeline import as_float, present
from pipeline.units import NS_PER_MS

_STEPS: Final = (*range(1, 21), *range(30, 201, 10), *range(250, 1001, 50))
LAGS: Final = (*(-step for step in reversed(_STEPS)), 0, *_STEPS)
"""Lags in ms: every one up to 20, every tenth up to 200, every fiftieth up to 1000."""

OWN, PEER, NOISE = 10_001, 10_002, 10_003
"""Keys of the sums of dX^2, of dY^2, and of dX^2 dY^2 over overlapping pairs (at no lag)."""

LEAST_SIGNIFICANCE: Final = 4.0
"""U at its largest, in its standard deviations if the pair were independent: less is noise."""

SESSIONS: Final = 5

LEAD, RATIO, AT_ZERO, AT_LEAD = range(4)
"""Keys of the fit."""

TWICE_MID = if_ok(px("bid") + px("ask")) / pl.col("tick")
"""In ticks of the instrument that it is evaluated on: whole numbers, so that sums are exact."""


@dataclass
class _Path:
    """The instants at which a mid changed, as events stream by."""

    times: list[I64] = field(default_factory=list)
    values: list[F64] = field(default_factory=list)
    segments: list[I64] = field(default_factory=list)
    segment: int = 0
    last: tuple[float, int] = (np.nan, -1)
    """The last known value, and its segment."""

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        first, series = inputs
        segment = self.segment + np.cumsum(first.to_numpy(), dtype=np.int64)
        self.segment = int(segment[-1])
        known = present(series)
        if not known.any():
            return
        times, values, segment = t[known], as_float(series)[known], segment[known]
        changed = (np.diff(values, prepend=self.last[0]) != 0) | (
            np.diff(segment, prepend=self.last[1]) != 0
        )
        self.last = float(values[-1]), int(segment[-1])
        for kept, new in (
            (self.times, times),
            (self.values, values),
            (self.segments, segment),
        ):
            kept.append(new[changed])

    def moves(self) -> tuple[I64, I64, F64]:
        """Begin, end and size of the moves; what an instant does not leave changed is none."""
        if not self.times:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
        t, x, segment = (
            np.concatenate(parts) for parts in (self.times, self.values, self.segments)
        )
        last = np.append((np.diff(t) != 0) | (np.diff(segment) != 0), True)
        t, x, segment = t[last], x[last], segment[last]
        moved = np.append(True, (np.diff(x) != 0) | (np.diff(segment) != 0))
        t, x, segment = t[moved], x[moved], segment[moved]
        inside = np.diff(segment) == 0
        return t[:-1][inside], t[1:][inside], np.diff(x)[inside]


class LaggedProducts:
    """Key: lag in ms; value: U(lag).  Further keys: ``OWN``, ``PEER`` and ``NOISE``.

    The instants at which either mid changed are kept until the session is over: 24 bytes each.
    """

    def __init__(self) -> None:
        self.own, self.other = _Path(), _Path()

    def push(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        self.own.push(t, inputs)

    def push_peer(self, t: I64, inputs: Sequence[pl.Series]) -> None:
        self.other.push(t, inputs)

    def result(self) -> Pairs:
        ours, theirs = self.own.moves(), self.other.moves()
        if not ours[0].size or not theirs[0].size:
            return Pairs.of([], [])
        begin, end = max(ours[0][0], theirs[0][0]), min(ours[1][-1], theirs[1][-1])
        (begins, ends, x), (other_begins, other_ends, y) = (
            tuple(part[(b >= begin) & (e <= end)] for part in (b, e, moves))
            for b, e, moves in (ours, theirs)
        )
        if not x.size or not y.size:
            return Pairs.of([], [])

        def products(of: F64, other: F64, lags: Sequence[int]) -> F64:
            out = np.empty(len(lags))
            at = np.array(lags, dtype=np.int64) * NS_PER_MS
            sums = np.concatenate([[0.0], np.cumsum(other)])
            overlapping_products(begins, ends, of, other_begins, other_ends, sums, at, out)
            return out

        noise = products(x * x, y * y, [0])[0]
        sums = [float(np.cumsum(z * z)[-1]) for z in (x, y)]
        return Pairs.of([*LAGS, OWN, PEER, NOISE], [*products(x, y, LAGS), *sums, noise])


def lead(past: Sequence[Pairs], _minimum: int) -> Pairs:
    """The lag at which U, summed over sessions, is largest, and what goes with it.

    Of equal ones the lag nearest to 0, before it rather than after.  ``LEAD`` and ``RATIO`` are
    there only where the largest U is no noise.
    """
    sums = {int(key): 0.0 for pairs in past for key in pairs.keys}
    for pairs in past:
        for key, value in zip(pairs.keys, pairs.values, strict=True):
            sums[int(key)] += float(value)
    scale, noise = (sums[OWN] * sums[PEER]) ** 0.5, sums[NOISE] ** 0.5
    best = max(LAGS, key=lambda lag: (abs(sums[lag]), -abs(lag), -lag))
    found = {AT_ZERO: sums[0] / scale, AT_LEAD: sums[best] / scale}
    if noise and abs(sums[best]) > LEAST_SIGNIFICANCE * noise:
        found[LEAD] = float(best)
        before, after = (sum(sums[sign * lag] ** 2 for lag in _STEPS) for sign in (1, -1))
        if after:
            found[RATIO] = before / after
    return Pairs.of(list(found), list(found.values()))


@cache
def component(peer: str) -> Component:
    """What was found out about a peer in the last sessions."""
    inputs = (pl.col("first"), TWICE_MID)
    statistic = Statistic(
        f"lagged_products:{peer}", inputs, LaggedProducts, peer=peer, peer_inputs=inputs
    )
    return declare(Component(f"lead:{peer}", statistic, lead, sessions=SESSIONS, min_sessions=1))


_PEER = {"peer": Alias()}
_SOURCE = "Hoffmann, Rosenbaum and Yoshida 2013"


@feature("lead_over_{peer}", catalogue="Y03", unit="ms", source=_SOURCE, tier=2, params=_PEER,
         dtype=pl.Int32, range=(-1000, 1000), tags=("fitted",))  # fmt: skip
def lead_over(peer: str) -> pl.Expr:
    """By how much our moves came before the peer's: theta* = argmax |U(theta)| of past sessions.

    Negative where the peer leads.  U(theta) is the Hayashi-Yoshida covariance of both mids with
    the peer's moved back by theta, summed over the last 5 sessions, theta on a grid from -1 s to
    1 s.  Null where |U(theta*)| is within 4 standard deviations of what independent moves give.
    """
    return component(peer).at(pl.lit(LEAD)).cast(pl.Int32)


@feature("lead_ratio_over_{peer}", catalogue="Y03", unit="ratio",
         source="Huth and Abergel 2014", tier=2, params=_PEER, range=(0, None),
         tags=("fitted",))  # fmt: skip
def lead_ratio_over(peer: str) -> pl.Expr:
    """Lead-lag ratio: sum of U(theta)^2 over theta > 0 / the same over theta < 0, of past sessions.

    Above 1 our moves tell more of the peer's later ones than the other way round; null where
    ``lead_over`` is.
    """
    return component(peer).at(pl.lit(RATIO))


@feature("hy_correlation_with_{peer}", catalogue="Y03", source="Hayashi and Yoshida 2005", tier=2,
         params=_PEER, tags=("fitted",))  # fmt: skip
def hy_correlation_with(peer: str) -> pl.Expr:
    """Hayashi-Yoshida correlation U(0) / sqrt(sum dX^2 sum dY^2) of both mids over past sessions.

    No grid is needed, and events at different instants do not lower it as they do on one (Epps);
    it may exceed 1 where moves are few.
    """
    return component(peer).at(pl.lit(AT_ZERO))


@feature("hy_correlation_at_lead_{peer}", catalogue="Y03", source=_SOURCE, tier=2, params=_PEER,
         tags=("fitted",))  # fmt: skip
def hy_correlation_at_lead(peer: str) -> pl.Expr:
    """The same at the lag where it is largest: U(theta*) / sqrt(sum dX^2 sum dY^2)."""
    return component(peer).at(pl.lit(AT_LEAD))
