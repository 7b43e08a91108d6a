"""Which of two instruments moves first: every pair of moves, at every lag, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.reference.features.levels import mid_of
from tests.reference.features.session import Session, Value

MS = 10**6
LAGS = sorted(
    sign * lag
    for sign in (-1, 1)
    for lag in (*range(1, 21), *range(30, 201, 10), *range(250, 1001, 50))
)
LAGS.append(0)

Move = tuple[int, int, int]
"""From when, until when, by how much (half ticks)."""


def moves(s: Session) -> list[Move]:
    """The changes of the mid as an instant leaves it, from one to the next within a segment."""
    found: list[Move] = []
    since: tuple[int, int, int] | None = None
    for j, row in enumerate(s.rows):
        after = [
            k
            for k in range(j + 1, len(s.rows))
            if s.rows[k]["ts"] == row["ts"] and s.rows[k]["segment"] == row["segment"]
        ]
        if mid_of(s, j) is None or any(mid_of(s, k) is not None for k in after):
            continue  # not the last that is known of its instant
        mid = round(2 * mid_of(s, j))  # type: ignore[operator]
        if since is None or since[0] != row["segment"]:
            since = (row["segment"], row["ts"], mid)
        elif mid != since[2]:
            found.append((since[1], row["ts"], mid - since[2]))
            since = (row["segment"], row["ts"], mid)
    return found


def overlap(x: Move, y: Move, lag: int) -> bool:
    """(a, b] and (c, d] moved back by the lag share an instant."""
    return max(x[0], y[0] - lag * MS) < min(x[1], y[1] - lag * MS)


def products(xs: list[Move], ys: list[Move], lag: int) -> int:
    return sum(x[2] * y[2] for x in xs for y in ys if overlap(x, y, lag))


def found(s: Session, peer: str) -> dict[str, float]:
    """lead, ratio, zero and at_lead of the last five sessions."""
    if ("pair", peer) in s.memo:
        known: dict[str, float] = s.memo["pair", peer]
        return known
    u = dict.fromkeys(LAGS, 0)
    own = other = noise = 0
    for day in s.past[-5:]:
        xs, ys = moves(day), moves(day.peers[peer])
        if not xs or not ys:
            continue
        begin, end = max(xs[0][0], ys[0][0]), min(xs[-1][1], ys[-1][1])
        xs, ys = ([z for z in zs if z[0] >= begin and z[1] <= end] for zs in (xs, ys))
        for lag in LAGS:
            u[lag] += products(xs, ys, lag)
        own += sum(x[2] ** 2 for x in xs)
        other += sum(y[2] ** 2 for y in ys)
        squared = [[(a, b, z * z) for a, b, z in zs] for zs in (xs, ys)]
        noise += products(squared[0], squared[1], 0)
    result: dict[str, float] = {}
    if own and other:
        highest = max(abs(value) for value in u.values())
        nearest = min(abs(lag) for lag in LAGS if abs(u[lag]) == highest)
        best = -nearest if abs(u[-nearest]) == highest else nearest
        scale = math.sqrt(own * other)
        result = {"zero": u[0] / scale, "at_lead": u[best] / scale}
        if highest > 4 * math.sqrt(noise):
            result["lead"] = best
            ours, theirs = (sum(u[lag] ** 2 for lag in LAGS if lag * k > 0) for k in (1, -1))
            result["ratio"] = ours / theirs
    s.memo["pair", peer] = result
    return result


def named(what: str) -> Callable[..., Value]:
    return lambda s, i, t, peer: found(s, peer).get(what)


PAIRS: dict[str, Callable[..., Value]] = {
    "lead_over": named("lead"),
    "lead_ratio_over": named("ratio"),
    "hy_correlation_with": named("zero"),
    "hy_correlation_at_lead": named("at_lead"),
}
