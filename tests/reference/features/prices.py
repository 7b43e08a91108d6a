"""Features of volatility and returns."""

from __future__ import annotations

import math

from tests.reference.features.levels import mid_of
from tests.reference.features.session import NS, Session, Value, duration
from tests.reference.features.windows import before, divide, rate, total, value_ago, values_in


def rv(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    step, length = duration(grid), duration(window)
    rows = s.segment(i)
    first = s.start(i) // step * step + step
    last = t // step * step
    if last - length < first:
        return None

    def sample(g: int) -> Value:
        known = [j for j in rows if s.rows[j]["ts"] < g and mid_of(s, j) is not None]
        return mid_of(s, known[-1])

    key = ("samples", grid, s.rows[i]["segment"])
    samples = s.memo.setdefault(key, {})
    value = 0.0
    for g in range(last - length + step, last + 1, step):
        if g % step:
            continue
        for at in (g, g - step):
            if at not in samples:
                samples[at] = sample(at)
        value += (samples[g] - samples[g - step]) ** 2
    return value


def root(value: Value) -> Value:
    return None if value is None else math.sqrt(value)


def vol_annual(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    variance, m = rv(s, i, t, grid, window), mid_of(s, i)
    if variance is None or not m:
        return None
    year = 252 * (s.context.announced_close - s.context.segments[0][0])
    return math.sqrt(variance * year / duration(window)) / abs(m)


def change_squared(s: Session, j: int) -> Value:
    m = mid_of(s, j)
    past = before(s, j, lambda k: mid_of(s, k))
    return None if m is None or past is None else (m - past) ** 2


def vol_ew(s: Session, i: int, t: int, half_life: str) -> Value:
    def squared(j: int) -> Value:
        return s.cached("dm2", j, lambda: change_squared(s, j))

    return root(rate(s, i, t, squared, half_life))


def signature_ratio(s: Session, i: int, t: int, window: str) -> Value:
    return divide(rv(s, i, t, "1s", window), rv(s, i, t, "60s", window))


def past_return(s: Session, i: int, t: int, window: str) -> Value:
    m = mid_of(s, i)
    past = value_ago(s, i, t, lambda j: mid_of(s, j), window)
    return None if m is None or past is None else m - past


def expected_move(s: Session, i: int, t: int, half_life: str, length: int) -> Value:
    vol = vol_ew(s, i, t, half_life)
    return None if vol is None else max(vol * math.sqrt(length / NS), 0.5)


def momentum(s: Session, i: int, t: int, window: str) -> Value:
    expected = expected_move(s, i, t, "h60s", duration(window))
    return divide(past_return(s, i, t, window), expected)


def zscore(s: Session, i: int, t: int, window: str) -> Value:
    values = values_in(s, i, t, lambda j: mid_of(s, j), window)
    m = mid_of(s, i)
    if m is None or values is None or len(values) < 2:
        return None
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return (m - mean) / math.sqrt(variance) if variance > 1e-9 else None


def ema(s: Session, i: int, t: int, half_life: str) -> Value:
    top = total(s, i, t, lambda j: mid_of(s, j), half_life)
    n = total(s, i, t, lambda j: None if mid_of(s, j) is None else 1, half_life)
    return divide(top, n)


def ema_gap(s: Session, i: int, t: int, half_life: str) -> Value:
    m, average = mid_of(s, i), ema(s, i, t, half_life)
    return None if m is None or average is None else m - average


def ema_gap_z(s: Session, i: int, t: int, half_life: str) -> Value:
    expected = expected_move(s, i, t, half_life, duration(half_life[1:]))
    return divide(ema_gap(s, i, t, half_life), expected)
