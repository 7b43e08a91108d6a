"""Features of other instruments: what the peer's rows before an instant say."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

from tests.reference.features.flow import contribution, ofi
from tests.reference.features.levels import depth_of, mid_of, ok_imbalance
from tests.reference.features.prices import past_return
from tests.reference.features.session import NS, Session, Value, duration
from tests.reference.features.windows import divide, total

Known = tuple[Session, int] | None


def as_of(s: Session, peer: str, t: int) -> Known:
    """The peer's session and its last row before t."""
    other = s.peers[peer]
    rows = [j for j, row in enumerate(other.rows) if row["ts"] < t]
    return (other, rows[-1]) if rows else None


def age_of(s: Session, i: int, t: int, peer: str) -> Value:
    known = as_of(s, peer, t)
    return None if known is None else (t - known[0].rows[known[1]]["ts"]) / NS


def is_stale(s: Session, i: int, t: int, peer: str) -> Value:
    age = age_of(s, i, t, peer)
    return None if age is None else int(age > s.context.peer_tolerance / NS)


def fresh(s: Session, peer: str, t: int, value: Callable[[Session, int], Value]) -> Value:
    known = as_of(s, peer, t)
    if known is None or is_stale(s, 0, t, peer):
        return None
    return value(*known)


def mid_of_peer(s: Session, i: int, t: int, peer: str) -> Value:
    return fresh(s, peer, t, mid_of)


def return_of(s: Session, i: int, t: int, peer: str, window: str) -> Value:
    return fresh(s, peer, t, lambda p, j: past_return(p, j, t, window))


def queue_imbalance_of(s: Session, i: int, t: int, peer: str) -> Value:
    return fresh(s, peer, t, lambda p, j: ok_imbalance(p, j, 1))


def ofi_of(s: Session, i: int, t: int, peer: str, window: str) -> Value:
    return fresh(s, peer, t, lambda p, j: ofi(p, j, t, window))


def lagged_ofi_of(s: Session, i: int, t: int, peer: str, window: str, lag: str) -> Value:
    def lagged(p: Session, j: int) -> Value:
        whole = f"{(duration(window) + duration(lag)) // NS}s"
        parts = [total(p, j, t, lambda k: contribution(p, k), w) for w in (whole, lag)]
        area = average_size(p, j, t)
        if parts[0] is None or parts[1] is None or not p.rows[j]["ok_flow"]:
            return None
        return divide(parts[0] - parts[1], area)

    return fresh(s, peer, t, lagged)


def average_size(p: Session, j: int, t: int) -> Value:
    """Mean size of the touch over 30 minutes, each weighted by the time it stood."""
    half_hour = 1800 * NS
    if t - half_hour < p.start(j):
        return None
    rows = p.segment(j)
    area = time = 0.0
    for k, after in zip(rows, [*rows[1:], None], strict=True):
        begin = max(p.rows[k]["ts"], t - half_hour)
        end = t if after is None else p.rows[after]["ts"]
        if p.rows[k]["ok_flow"] and end > begin:
            size = (depth_of(p, k, "bid", 1) + depth_of(p, k, "ask", 1)) / 2
            area += size * (end - begin)
            time += end - begin
    return divide(area, time)


def sampled(s: Session, i: int, t: int, peer: str, grid: str) -> list[tuple[int, Value, Value]]:
    """Grid point, our mid and the peer's at every grid point of the segment up to t."""
    step, rows = duration(grid), s.segment(i)
    memo = s.memo.setdefault(("pairs", peer, grid, s.rows[i]["segment"]), {})
    found = []
    for g in range(s.start(i) // step * step + step, t + 1, step):
        if g not in memo:
            known = [j for j in rows if s.rows[j]["ts"] < g]
            memo[g] = (mid_of(s, known[-1]), mid_of_peer(s, i, g, peer))
        found.append((g, *memo[g]))
    return found


def line(pairs: list[tuple[Fraction, Fraction]]) -> tuple[float, float, float | None] | None:
    """Slope, intercept and correlation of y on x."""
    n = len(pairs)
    if n < 3:
        return None
    x, y = (sum(pair[k] for pair in pairs) / n for k in (0, 1))
    xx = sum((a - x) ** 2 for a, _ in pairs)
    yy = sum((b - y) ** 2 for _, b in pairs)
    xy = sum((a - x) * (b - y) for a, b in pairs)
    if not xx:
        return None
    slope = xy / xx
    correlation = float(xy) / math.sqrt(float(xx * yy)) if yy else None
    return float(slope), float(y - slope * x), correlation


def fitted(
    s: Session, i: int, t: int, peer: str, grid: str, window: str, *, changes: bool
) -> tuple[float, float, float | None] | None:
    samples = sampled(s, i, t, peer, grid)
    if not samples or samples[-1][0] - duration(window) < samples[0][0]:
        return None
    begins = samples[-1][0] - duration(window)
    both = [(g, own, other) for g, own, other in samples if own is not None and other is not None]
    if changes:
        both = [
            (b[0], b[1] - a[1], b[2] - a[2])  # type: ignore[operator]
            for a, b in pairwise(both)
        ]
    return line([(Fraction(o), Fraction(m)) for g, m, o in both if g > begins])  # type: ignore[arg-type]


def correlation_with(s: Session, i: int, t: int, peer: str, grid: str, window: str) -> Value:
    found = fitted(s, i, t, peer, grid, window, changes=True)
    return None if found is None else found[2]


def beta_to(s: Session, i: int, t: int, peer: str, grid: str, window: str) -> Value:
    found = fitted(s, i, t, peer, grid, window, changes=True)
    return None if found is None else found[0]


def spread_residual(s: Session, i: int, t: int, peer: str, grid: str, window: str) -> Value:
    found = fitted(s, i, t, peer, grid, window, changes=False)
    own, other = mid_of(s, i), mid_of_peer(s, i, t, peer)
    if found is None or own is None or other is None:
        return None
    return own - (found[1] + found[0] * other)


def in_our_ticks(s: Session, t: int, peer: str) -> Value:
    mid = mid_of_peer(s, 0, t, peer)
    return None if mid is None else mid * s.peers[peer].context.tick / s.context.tick


def price_gap_to(s: Session, i: int, t: int, peer: str) -> Value:
    own, other = mid_of(s, i), in_our_ticks(s, t, peer)
    return None if own is None or other is None else own - other


def calendar_gap(s: Session, i: int, t: int, far: str, listed: str) -> Value:
    gap, spread = price_gap_to(s, i, t, far), in_our_ticks(s, t, listed)
    return None if gap is None or spread is None else gap - spread


def volume_share_with(s: Session, i: int, t: int, peer: str, window: str) -> Value:
    def money(p: Session, j: int) -> Value:
        volume = total(p, j, t, lambda k: p.rows[k]["trade_sz"], window)
        return None if volume is None else volume * float(p.context.multiplier)

    known = as_of(s, peer, t)
    own, other = money(s, i), None if known is None else money(*known)
    return None if own is None or other is None else divide(own, own + other)


SLOW_PEERS: dict[str, Callable[..., Value]] = {
    "age_of": age_of,
    "is_stale": is_stale,
    "mid_of": mid_of_peer,
    "return_of": return_of,
    "queue_imbalance_of": queue_imbalance_of,
    "ofi_of": ofi_of,
    "lagged_ofi_of": lagged_ofi_of,
    "correlation_with": correlation_with,
    "beta_to": beta_to,
    "spread_residual": spread_residual,
    "price_gap_to": price_gap_to,
    "calendar_gap": calendar_gap,
    "volume_share_with": volume_share_with,
}
