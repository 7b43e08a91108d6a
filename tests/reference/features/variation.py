"""Realised measures, trends, bars and ranges, by plain loops."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise

from tests.reference.features.levels import mid_of
from tests.reference.features.session import Session, Value, duration
from tests.reference.features.windows import divide, value_ago, values_in


def mids(s: Session, i: int) -> tuple[list[int], list[float]]:
    """Rows of i's whole segment that have a mid, and the mids."""
    number = s.rows[i]["segment"]
    if ("mids", number) not in s.memo:
        rows = [j for j, row in enumerate(s.rows) if row["segment"] == number and row["ok"]]
        s.memo["mids", number] = rows, [mid_of(s, j) for j in rows]
    return s.memo["mids", number]


def known(s: Session, i: int) -> tuple[list[int], list[float]]:
    """The same up to row i."""
    rows, values = mids(s, i)
    n = sum(j <= i for j in rows)
    return rows[:n], values[:n]


def samples(s: Session, i: int, t: int, grid: str) -> list[float]:
    """The mid at every grid point of the segment up to t."""
    step = duration(grid)
    rows, values = mids(s, i)
    times = [s.rows[j]["ts"] for j in rows]
    first = times[0] // step * step + step
    key = ("sampled", grid, s.rows[i]["segment"])
    found = s.memo.setdefault(key, [])
    g = first + len(found) * step
    while g <= t:
        found.append(values[bisect_left(times, g) - 1])
        g += step
    return found[: max(0, (t - first) // step + 1)]


def returns(s: Session, i: int, t: int, grid: str, window: str) -> list[float] | None:
    """Changes between the grid points of a window; None while it is not full."""
    x, n = samples(s, i, t, grid), duration(window) // duration(grid)
    if len(x) < n + 1:
        return None
    x = x[-n - 1 :]
    return [b - a for a, b in pairwise(x)]


def variance(r: list[float]) -> float:
    return sum(v * v for v in r)


def bpv(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    r = returns(s, i, t, grid, window)
    if r is None:
        return None
    return math.pi / 2 * len(r) / (len(r) - 1) * sum(abs(a) * abs(b) for a, b in pairwise(r))


def jump_share(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    r, smooth = returns(s, i, t, grid, window), bpv(s, i, t, grid, window)
    return None if r is None else divide(max(variance(r) - smooth, 0.0), variance(r))


def semivariance(s: Session, i: int, t: int, direction: str, grid: str, window: str) -> Value:
    r = returns(s, i, t, grid, window)
    sign = 1 if direction == "up" else -1
    return None if r is None else sum(v * v for v in r if v * sign > 0)


def signed_jumps(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    up = semivariance(s, i, t, "up", grid, window)
    return None if up is None else up - semivariance(s, i, t, "down", grid, window)


def two_scales(r: list[float]) -> float:
    x = [0.0]
    for v in r:
        x.append(x[-1] + v)
    n = len(r)
    k = max(2, round(300 / 23_400 ** (2 / 3) * n ** (2 / 3)))
    slow = sum((x[j] - x[j - k]) ** 2 for j in range(k, n + 1)) / k
    nbar = (n - k + 1) / k
    return (slow - nbar / n * variance(r)) / (1 - nbar / n)


def tsrv_raw(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    r = returns(s, i, t, grid, window)
    return None if r is None else two_scales(r)


def tsrv(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    raw = tsrv_raw(s, i, t, grid, window)
    return None if raw is None else max(raw, 0.0)


def tsrv_floored(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    raw = tsrv_raw(s, i, t, grid, window)
    return None if raw is None else int(raw < 0)


def averaged(r: list[float]) -> float:
    """Weighted sums of k - 1 neighbouring returns, squared, less the noise in them."""
    n = len(r)
    k = 2 * math.ceil(0.8 * math.sqrt(n) / 2)
    g = [min(j / k, 1 - j / k) for j in range(k + 1)]
    psi2 = sum(w * w for w in g)
    psi1 = sum((g[j + 1] - g[j]) ** 2 for j in range(k))
    blocks = [sum(g[j] * r[m + j - 1] for j in range(1, k)) for m in range(n - k + 2)]
    scale = n / (n - k + 2) / psi2
    share = psi1 / (2 * psi2)
    return (scale * variance(blocks) - share * variance(r)) / (1 - share)


def preaveraged(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    r = returns(s, i, t, grid, window)
    return None if r is None else max(averaged(r), 0.0)


def noise_variance(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    r = returns(s, i, t, grid, window)
    return None if r is None else variance(r) / (2 * len(r))


def noise_to_signal(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    noise, signal = noise_variance(s, i, t, grid, window), tsrv_raw(s, i, t, grid, window)
    return noise / signal if noise is not None and signal > 1e-9 else None


def variance_ratio(s: Session, i: int, t: int, steps: int, grid: str, window: str) -> Value:
    r = returns(s, i, t, grid, window)
    if r is None:
        return None
    n, drift = len(r), sum(r) / len(r)
    long = [sum(r[m : m + steps]) for m in range(n - steps + 1)]
    several = sum((v - steps * drift) ** 2 for v in long)
    several /= steps * (n - steps + 1) * (1 - steps / n)
    one = sum((v - drift) ** 2 for v in r)
    return several / (one / (n - 1)) if one > 1e-9 else None


def power(s: Session, i: int, t: int, grid: str, window: str, k: int) -> Value:
    r = returns(s, i, t, grid, window)
    if r is None or len(r) < 30:
        return None
    return divide(len(r) ** (k / 2 - 1) * sum(v**k for v in r), variance(r) ** (k / 2))


def moves(s: Session, i: int, price: str) -> list[float]:
    """Changes of the mid, or of the price of trades, that are not 0."""
    values = known(s, i)[1]
    if price == "trade":
        rows = [j for j in s.segment(i) if s.rows[j]["trade_px"] is not None]
        values = [s.rows[j]["trade_px"] for j in rows]
    return [b - a for a, b in pairwise(values) if a != b]


def eta(s: Session, i: int, t: int, price: str, window: str) -> Value:
    n = int(window[1:])
    steps = moves(s, i, price)
    if len(steps) < n + 1:
        return None
    same = [(a > 0) == (b > 0) for a, b in pairwise(steps[-n - 1 :])]
    return divide(sum(same), 2 * (n - sum(same)))


def fit(x: list[float], y: list[float]) -> tuple[Value, Value, Value]:
    """Slope, its t-value, and the correlation."""
    n = len(x)
    if n < 3:
        return None, None, None
    mx, my = sum(x) / n, sum(y) / n
    sxx = sum((a - mx) ** 2 for a in x)
    syy = sum((b - my) ** 2 for b in y)
    sxy = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    if sxx <= 1e-12:
        return None, None, None
    slope = sxy / sxx
    rest = syy - slope * sxy
    t = None
    if rest > 1e-9 * max(syy, 1e-12) and syy > 1e-12:
        t = slope / math.sqrt(rest / (n - 2) / sxx)
    return slope, t, sxy / math.sqrt(sxx * syy) if syy > 1e-12 else None


def autocorrelation(s: Session, i: int, t: int, window: str) -> Value:
    n, steps = int(window[1:]), moves(s, i, "mid")
    if len(steps) < n + 1:
        return None
    return fit(steps[-n - 1 : -1], steps[-n:])[2]


def ou_half_life(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    n, x = int(window[1:]), samples(s, i, t, grid)
    if len(x) < n + 1:
        return None
    x = x[-n - 1 :]
    phi = fit(x[:-1], [b - a for a, b in pairwise(x)])[0]
    if phi is None or not -1 + 1e-9 < phi < -1e-9:
        return None
    return math.log(2) / -math.log(1 + phi)


def range_position(s: Session, i: int, t: int, window: str) -> Value:
    values, m = values_in(s, i, t, lambda j: mid_of(s, j), window), mid_of(s, i)
    if not values or m is None:
        return None
    low, high = min(values), max(values)
    return (m - low) / (high - low) if high > low else 0.5


def efficiency(s: Session, i: int, t: int, window: str) -> Value:
    m, past = mid_of(s, i), value_ago(s, i, t, lambda j: mid_of(s, j), window)
    if m is None or past is None:
        return None
    rows, values = known(s, i)
    changes = [(j, abs(b - a)) for j, (a, b) in zip(rows[1:], pairwise(values), strict=True)]
    if window.startswith("n"):
        changes = changes[-int(window[1:]) :]
    else:
        changes = [c for c in changes if s.rows[c[0]]["ts"] > t - duration(window)]
    return divide(abs(m - past), sum(c for _, c in changes))


def trend(s: Session, i: int, t: int, window: str) -> tuple[Value, Value, Value]:
    rows, values = known(s, i)
    opened = s.context.segments[0][0]
    times = [(s.rows[j]["ts"] - opened) / 1e9 for j in rows]
    if window.startswith("n"):
        n = int(window[1:])
        return fit(times[-n:], values[-n:]) if len(rows) >= n else (None, None, None)
    if t - duration(window) < s.start(i):
        return None, None, None
    n = sum(s.rows[j]["ts"] > t - duration(window) for j in rows)
    return fit(times[len(rows) - n :], values[len(rows) - n :])
