"""Impact in money, permanent impact, and a spread from highs and lows, by plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

from tests.reference.features.costs import (
    fit,
    grid_points,
    held_mid,
    mid_before,
    prints_of,
    running,
    steps,
)
from tests.reference.features.session import NS, Session, Value, duration


def hasbrouck_lambda(s: Session, i: int, t: int, step: str, window: str) -> Value:
    if s.context.multiplier is None:
        return None

    def flow(j: int) -> Value:
        value = 0.0
        for side in (1, -1):
            ticks = sum(p * z for p, z, d in prints_of(s, j) if d == side)
            money = abs(ticks) * s.context.tick / NS * float(s.context.multiplier)
            value += side * math.sqrt(money)
        return value

    def price(j: int) -> Value:
        mid = held_mid(s, j)
        return math.log(mid) if mid is not None and mid > 0 else None

    changes = steps(s, i, t, step, window, ("root", running(s, "root", flow)), ("log", price))
    if changes is None:
        return None
    pairs = [(x, y) for x, y in zip(*changes, strict=True) if x is not None and y is not None]
    if len(pairs) < 30:
        return None
    slope = fit(pairs)[0]
    return None if slope is None else slope * 1e7


Row = list[Fraction]


def trade_rows(s: Session, lags: int) -> list[Row]:
    """(r_0, x_0, r_1, x_1, ...) of every trade that has so many before it in its segment."""
    found: list[Row] = []
    for segment in sorted({row["segment"] for row in s.rows}):
        trades = []
        for j, row in enumerate(s.rows):
            net = sum(d * z for _, z, d in prints_of(s, j))
            if row["segment"] == segment and net and mid_before(s, j) is not None:
                trades.append((Fraction(mid_before(s, j)), 1 if net > 0 else -1))  # type: ignore[arg-type]
        moves = [(after[0] - now[0], Fraction(now[1])) for now, after in pairwise(trades)]
        found += [
            [value for back in range(lags + 1) for value in moves[k - back]]
            for k in range(lags, len(moves))
        ]
    return found


def least_squares(rows: list[Row], y: int, xs: list[int]) -> Row | None:
    """Coefficients of a constant and ``xs``, exactly; None where they are collinear."""
    full = [[Fraction(1), *(row[x] for x in xs)] for row in rows]
    size = len(xs) + 1
    system = [
        [sum((f[a] * f[b] for f in full), Fraction(0)) for b in range(size)]
        + [sum((f[a] * row[y] for f, row in zip(full, rows, strict=True)), Fraction(0))]
        for a in range(size)
    ]
    for a in range(size):
        pivot = next((b for b in range(a, size) if system[b][a]), None)
        if pivot is None:
            return None
        system[a], system[pivot] = system[pivot], system[a]
        system[a] = [value / system[a][a] for value in system[a]]
        for b in range(size):
            if b != a:
                factor = system[b][a]
                system[b] = [u - factor * v for u, v in zip(system[b], system[a], strict=True)]
    return [row[-1] for row in system]


def permanent_impact(s: Session, i: int, t: int, lags: int) -> Value:
    """A trade out of the blue, followed for as long as it takes."""

    def compute() -> Value:
        rows = trade_rows(s.past[-1], lags) if s.past else []
        if len(rows) < 5 * (2 * lags + 2):
            return None
        earlier = list(range(2, 2 * lags + 2))
        moves = least_squares(rows, 0, [1, *earlier])
        trades = least_squares(rows, 1, earlier)
        if moves is None or trades is None:
            return None
        a, c = [float(v) for v in moves[1:]], [float(v) for v in trades[1:]]
        history = [0.0] * (2 * lags)
        total = 0.0
        for step in range(20_000):
            x = sum(w * h for w, h in zip(c, history, strict=True)) + (step == 0)
            r = a[0] * x + sum(w * h for w, h in zip(a[1:], history, strict=True))
            history = [r, x, *history[:-2]]
            total += r
            if abs(r) > 1e9:
                return None
        return total

    return s.cached(f"permanent {lags}", 0, compute)


def corwin_schultz(s: Session, i: int, t: int, step: str, window: str) -> Value:
    size, length = duration(step), duration(window)
    points = grid_points(s, i, t, size)
    if not points or points[-1] - length < points[0]:
        return None
    bars = {g: high_low(s, i, g, size) for g in points}
    found = []
    for g in points:
        now, past = bars[g], bars.get(g - size)
        if g <= points[-1] - length or now is None or past is None:
            continue
        b = math.log(now[0] / now[1]) ** 2 + math.log(past[0] / past[1]) ** 2
        wide = math.log(max(now[0], past[0]) / min(now[1], past[1])) ** 2
        share = 3 - 2 * math.sqrt(2)
        a = (math.sqrt(2 * b) - math.sqrt(b)) / share - math.sqrt(wide / share)
        a = max(a, 0.0)
        found.append(2 * (math.exp(a) - 1) / (1 + math.exp(a)) * 1e4)
    return sum(found) / len(found) if found else None


def high_low(s: Session, i: int, g: int, size: int) -> tuple[float, float] | None:
    """Highest and lowest trade of the events in (g - size, g) of i's segment."""
    key = ("high low", g, size, s.rows[i]["segment"])
    if key not in s.memo:
        rows = [j for j, row in enumerate(s.rows) if row["segment"] == key[3]]
        inside = [j for j in rows if g - size < s.rows[j]["ts"] < g]
        prices = [p for j in inside if not s.rows[j]["first"] for p, _ in s.rows[j]["px_sz"]]
        whole = g - size >= s.rows[rows[0]]["ts"]
        good = whole and prices and min(prices) > 0
        s.memo[key] = (max(prices), min(prices)) if good else None
    found: tuple[float, float] | None = s.memo[key]
    return found


IMPACT: dict[str, Callable[..., Value]] = {
    "hasbrouck_lambda": hasbrouck_lambda,
    "permanent_impact": permanent_impact,
    "corwin_schultz": corwin_schultz,
}
