"""What features take from earlier sessions, computed from those sessions' rows, slowly."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tests.reference.features.levels import level, mid_of, spread
from tests.reference.features.prices import vol_ew
from tests.reference.features.session import DAY, NS, Session, Value, decisions
from tests.reference.features.shape import common_depth, ofi_scaled
from tests.reference.features.windows import divide, total


def large_size(s: Session, share: str) -> Value:
    """The smallest size that a share of the aggressive orders of five sessions does not exceed."""

    def compute() -> Value:
        days = [
            [r[f"{side}_sz"] for r in day.rows for side in ("buy", "sell") if r[f"{side}_sz"] > 0]
            for day in s.past[-5:]
        ]
        if sum(1 for day in days if day) < 3:
            return None
        sizes = sorted(size for day in days for size in day)
        wanted = Fraction(int(share), 100) * len(sizes)
        return next(v for v in sizes if sum(1 for x in sizes if x <= v) >= wanted)

    return s.cached(f"large {share}", 0, compute)


def _large(s: Session, j: int, side: str, share: str) -> int:
    limit = large_size(s, share)
    assert limit is not None
    volume: int = s.rows[j][f"{side}_sz"]
    return volume if volume > 0 and volume >= limit else 0


def large_trade(s: Session, i: int, t: int, share: str) -> Value:
    if large_size(s, share) is None:
        return None
    return int(_large(s, i, "buy", share) > 0) - int(_large(s, i, "sell", share) > 0)


def large_share(s: Session, i: int, t: int, share: str, window: str) -> Value:
    if large_size(s, share) is None:
        return None
    signed = total(
        s, i, t, lambda j: _large(s, j, "buy", share) - _large(s, j, "sell", share), window
    )
    return divide(signed, total(s, i, t, lambda j: s.rows[j]["trade_sz"], window))


# --- Stoikov's micro-price -----------------------------------------------------------------------


def states(s: Session, j: int, spreads: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(bin, spread) by the lower and by the upper bin, bins from 0 to 9; None without a touch."""
    if not s.rows[j]["ok"]:
        return None
    bid, ask = level(s, j, "bid", 0)[1], level(s, j, "ask", 0)[1]
    if bid + ask == 0:
        return None
    share = Fraction(10 * bid, bid + ask)
    width = min(max(round(spread(s, j, 0)), 1), spreads)  # type: ignore[arg-type]
    lower = min(math.floor(share), 9)
    upper = max(math.ceil(share) - 1, 0)
    return (lower, width), (upper, width)


Chain = dict[Any, dict[Any, float]]


def transitions(s: Session, spreads: int) -> list[tuple[Any, Any, float]]:
    """(state, next state, move of the mid in ticks) of a session, each seen from both sides."""
    found = []
    before: dict[int, int] = {}
    for j, row in enumerate(s.rows):
        now, past = states(s, j, spreads), before.get(row["segment"])
        if now is None:
            continue
        before[row["segment"]] = j
        if past is None:
            continue
        move = mid_of(s, j) - mid_of(s, past)  # type: ignore[operator]
        move = min(max(move, -1.0), 1.0)
        for x, y in zip(states(s, past, spreads), now, strict=True):  # type: ignore[arg-type]
            found.append((x, y, move))
            found.append(((9 - x[0], x[1]), (9 - y[0], y[1]), -move))
    return found


def micro_table(s: Session, spreads: int) -> dict[Any, float]:
    """G* by state: sums over paths, taken term by term until nothing is left of them."""

    def compute() -> dict[Any, float]:
        days = [transitions(day, spreads) for day in s.past[-20:]]
        if sum(1 for day in days if day) < 5:
            return {}
        every = [step for day in days for step in day]
        total_of: dict[Any, int] = {}
        for x, _, _ in every:
            total_of[x] = total_of.get(x, 0) + 1
        still: Chain = {x: {} for x in total_of}
        after: Chain = {x: {} for x in total_of}
        drift = dict.fromkeys(total_of, 0.0)
        for x, y, move in every:
            part = 1 / total_of[x]
            table = after if move else still
            table[x][y] = table[x].get(y, 0.0) + part
            drift[x] += move * part

        def follow(start: dict[Any, float]) -> dict[Any, float]:
            """(I - Q)^-1 start = start + Q start + Q^2 start + ..."""
            term, value = dict(start), dict(start)
            for _ in range(20_000):
                term = {x: sum(p * term.get(y, 0.0) for y, p in still[x].items()) for x in still}
                for x in value:
                    value[x] += term[x]
                if max(map(abs, term.values())) < 1e-15:
                    break
            return value

        live = {x for x in after if after[x]}
        while more := {x for x in still if x not in live and live & set(still[x])}:
            live |= more
        term = follow(drift)
        value = dict(term)
        for _ in range(5):
            moved = {x: sum(p * term.get(y, 0.0) for y, p in after[x].items()) for x in after}
            term = follow(moved)
            value = {x: value[x] + term[x] for x in value}
        return {x: value[x] for x in live}

    if ("micro", spreads) not in s.memo:
        s.memo["micro", spreads] = compute()
    found: dict[Any, float] = s.memo["micro", spreads]
    return found


def micro_dev(s: Session, i: int, t: int, spreads: int) -> Value:
    both = states(s, i, spreads)
    if both is None:
        return None
    values = [micro_table(s, spreads).get(state) for state in both]
    if values[0] is None or values[1] is None:
        return None
    return (values[0] + values[1]) / 2


def micro(s: Session, i: int, t: int, spreads: int) -> Value:
    away = micro_dev(s, i, t, spreads)
    return None if away is None else mid_of(s, i) + away  # type: ignore[operator]


# --- integrated order flow -----------------------------------------------------------------------

Matrix = list[list[float]]


def _times(a: Matrix, b: Matrix) -> Matrix:
    return [
        [sum(x * y for x, y in zip(row, col, strict=True)) for col in zip(*b, strict=True)]
        for row in a
    ]


def weights(s: Session, window: str) -> list[float] | None:
    """First principal component by squaring the covariance again and again."""

    def compute() -> list[float] | None:
        samples = []
        days = 0
        for day in s.past[-20:]:
            rows = []
            for i, t in decisions(day, f"grid:{window}"):
                if not day.rows[i]["ok_flow"] or (common_depth(day, i, t, window) or 0) <= 1:
                    continue
                x = [ofi_scaled(day, i, t, m, window) for m in range(10)]
                if None not in x:
                    rows.append(x)
            days += bool(rows)
            samples += rows
        if days < 5:
            return None
        n = len(samples)
        means = [sum(x[m] for x in samples) / n for m in range(10)]  # type: ignore[misc]
        power: Matrix = [
            [sum(x[a] * x[b] for x in samples) / n - means[a] * means[b] for b in range(10)]  # type: ignore[operator]
            for a in range(10)
        ]
        for _ in range(60):
            power = _times(power, power)
            size = sum(abs(v) for row in power for v in row)
            power = [[v / size for v in row] for row in power]
        main = max(zip(*power, strict=True), key=lambda col: sum(abs(v) for v in col))
        scale = sum(abs(v) for v in main) * (1 if sum(main) > 0 else -1)
        return [v / scale for v in main]

    if ("weights", window) not in s.memo:
        s.memo["weights", window] = compute()
    found: list[float] | None = s.memo["weights", window]
    return found


def ofi_integrated(s: Session, i: int, t: int, window: str) -> Value:
    w = weights(s, window)
    if w is None or not s.rows[i]["ok_flow"]:
        return None
    x = [ofi_scaled(s, i, t, m, window) for m in range(10)]
    return None if None in x else sum(a * b for a, b in zip(w, x, strict=True))  # type: ignore[operator]


# --- the time of the day -------------------------------------------------------------------------

MINUTE = 60 * NS
Slow = Callable[[Session, int, int], Value]


def minute(s: Session, t: int) -> int:
    return int((t + s.context.local_offset) % DAY // MINUTE)


def measured(s: Session, i: int, t: int, measure: str) -> Value:
    if measure == "volume":
        return total(s, i, t, lambda j: s.rows[j]["trade_sz"], "60s")
    if measure == "volatility":
        return vol_ew(s, i, t, "h60s")
    if measure == "spread":
        return spread(s, i, t)
    if not s.rows[i]["ok"]:
        return None
    return sum(level(s, i, side, k)[1] for side in ("bid", "ask") for k in range(5))


def minute_means(s: Session, x: Slow) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for i, t in decisions(s, "grid:1s"):
        value = x(s, i, t)
        if value is not None:
            values.setdefault(minute(s, t), []).append(value)
    return {m: sum(found) / len(found) for m, found in values.items()}


def at_minute(s: Session, key: str, x: Slow, m: int) -> list[float]:
    """What past sessions say of a minute, from as wide around it as it takes; empty: nothing.

    ``key`` names ``x`` in the memory.
    """
    if ("minutes", key) not in s.memo:
        s.memo["minutes", key] = [minute_means(day, x) for day in s.past[-20:]]
    days = s.memo["minutes", key]
    if sum(1 for day in days if day) < 5:
        return []
    for width in range(16):
        near = {(m + k) % 1440 for k in range(-width, width + 1)}
        if sum(1 for day in days if near & set(day)) >= 5:
            return sorted(v for day in days for k, v in day.items() if k in near)
    return []


def usual(s: Session, key: str, x: Slow, m: int) -> Value:
    known = at_minute(s, key, x, m)
    return statistics.median(known) if known else None


def by_measure(measure: str) -> Slow:
    return lambda s, i, t: measured(s, i, t, measure)


def diurnal(s: Session, i: int, t: int, measure: str) -> Value:
    return usual(s, measure, by_measure(measure), minute(s, t))


def to_diurnal(s: Session, i: int, t: int, measure: str) -> Value:
    return divide(measured(s, i, t, measure), diurnal(s, i, t, measure))


def percentile(s: Session, i: int, t: int, measure: str) -> Value:
    x, known = measured(s, i, t, measure), at_minute(s, measure, by_measure(measure), minute(s, t))
    if x is None or not known:
        return None
    # Sums of floats may differ in the last digit from one way of adding to another.
    same = [v for v in known if math.isclose(v, x, rel_tol=1e-12)]
    return (sum(1 for v in known if v < x and v not in same) + len(same) / 2) / len(known)


def regime(s: Session, i: int, t: int) -> Value:
    shares = [percentile(s, i, t, measure) for measure in ("volatility", "depth")]
    if shares[0] is None or shares[1] is None:
        return None
    thirds = [0 if p < 1 / 3 else 1 if p < 2 / 3 else 2 for p in shares]  # type: ignore[operator]
    return 3 * thirds[0] + thirds[1]


def volume_until(s: Session, m: int) -> Value:
    """Volume from the open to the first instant of a minute; None outside the session."""
    opened = minute(s, s.context.segments[0][0])
    length = (s.context.announced_close - s.context.segments[0][0]) // MINUTE
    passed = (m - opened) % 1440
    if passed > length or not s.rows:
        return None
    return sum(row["trade_sz"] for row in s.rows if (minute(s, row["ts"]) - opened) % 1440 < passed)


def usual_volume(s: Session, m: int) -> Value:
    def compute() -> Value:
        known = [v for day in s.past[-20:] if (v := volume_until(day, m)) is not None]
        return sum(known) / len(known) if len(known) >= 5 else None

    return s.cached("volume", m, compute)


def relative_volume(s: Session, i: int, t: int) -> Value:
    m = minute(s, t)
    begun, ended = usual_volume(s, m), usual_volume(s, (m + 1) % 1440)
    if begun is None:
        return None
    share = (t + s.context.local_offset) % MINUTE / MINUTE
    usual = begun + share * ((begun if ended is None else ended) - begun)
    return divide(sum(s.rows[j]["trade_sz"] for j in range(i + 1)), usual)


# --- quantiles of the past


def pooled(s: Session, key: str, x: Slow) -> list[tuple[float, float]] | None:
    """(value, weight): of each session a thousand and one quantiles, weighing what it has."""
    if ("pooled", key) not in s.memo:
        points, days = [], 0
        for day in s.past[-20:]:
            found = (x(day, i, t) for i, t in decisions(day, "grid:1s"))
            values = sorted(v for v in found if v is not None)
            days += bool(values)
            for k in range(1001 if values else 0):
                at = k / 1000 * (len(values) - 1)
                low = min(math.floor(at), len(values) - 1)
                high = min(low + 1, len(values) - 1)
                value = values[low] + (at - low) * (values[high] - values[low])
                points.append((value, len(values)))
        s.memo["pooled", key] = sorted(points) if days >= 5 else None
    found_points: list[tuple[float, float]] | None = s.memo["pooled", key]
    return found_points


def weighted(points: list[tuple[float, float]], share: Fraction) -> float:
    """The point with a share of the weight below it; exactly between two: their middle."""
    wanted = share * sum(weight for _, weight in points)  # type: ignore[arg-type]
    upto, lower = 0.0, None
    for value, weight in points:
        upto += weight
        if upto >= wanted and lower is None:
            lower = value
        if upto > wanted:
            assert lower is not None
            return (lower + value) / 2
    return points[-1][0]


def slow_robust(s: Session, value: Value, key: str, x: Slow) -> Value:
    points = pooled(s, key, x)
    if value is None or points is None:
        return None
    if ("robust", key) not in s.memo:
        centre = weighted(points, Fraction(1, 2))
        away = sorted((abs(v - centre), w) for v, w in points)
        s.memo["robust", key] = centre, 1.4826 * weighted(away, Fraction(1, 2))
    centre, deviation = s.memo["robust", key]
    return (value - centre) / deviation if deviation > 1e-9 else None


def slow_winsor(s: Session, value: Value, key: str, x: Slow) -> Value:
    points = pooled(s, key, x)
    if value is None or points is None:
        return None
    if ("winsor", key) not in s.memo:
        s.memo["winsor", key] = [weighted(points, Fraction(k, 100)) for k in (1, 99)]
    low, high = s.memo["winsor", key]
    return float(min(max(value, low), high))


FITTED: dict[str, Callable[..., Value]] = {
    "large_trade_size": lambda s, i, t, share: large_size(s, share),
    "large_trade": large_trade,
    "large_share": large_share,
    "micro": micro,
    "micro_dev": micro_dev,
    "ofi_integrated": ofi_integrated,
    "diurnal": diurnal,
    "to_diurnal": to_diurnal,
    "relative_volume": relative_volume,
    "vol_ratio": lambda s, i, t, short, long: divide(vol_ew(s, i, t, short), vol_ew(s, i, t, long)),
    "volatility_percentile": lambda s, i, t: percentile(s, i, t, "volatility"),
    "liquidity_percentile": percentile,
    "regime": regime,
}
"""By name of the family."""
