"""Features of one row: prices, spreads, sizes of levels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from tests.reference.features.session import Session, Value
from tests.reference.features.windows import divide, imbalance


@cache
def names(side: str, k: int) -> tuple[str, str, str]:
    return f"{side}_px_{k:02d}", f"{side}_sz_{k:02d}", f"{side}_ct_{k:02d}"


def level(s: Session, i: int, side: str, k: int) -> tuple[float | None, int, int]:
    """Price (ticks), size, orders."""
    row = s.rows[i]
    px, sz, ct = names(side, k)
    price = row[px]
    return None if price is None else price / s.context.tick, row[sz], row[ct]


def mid_of(s: Session, i: int) -> float | None:
    return s.cached("mid", i, lambda: _mid_of(s, i))


def _mid_of(s: Session, i: int) -> float | None:
    if not s.rows[i]["ok"]:
        return None
    bid, ask = level(s, i, "bid", 0)[0], level(s, i, "ask", 0)[0]
    assert bid is not None
    assert ask is not None
    return (bid + ask) / 2


def mid(s: Session, i: int, t: int) -> Value:
    return mid_of(s, i)


def spread(s: Session, i: int, t: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    return level(s, i, "ask", 0)[0] - level(s, i, "bid", 0)[0]  # type: ignore[operator]


def spread_bps(s: Session, i: int, t: int) -> Value:
    gap, m = spread(s, i, t), mid_of(s, i)
    return None if gap is None or not m else 1e4 * gap / abs(m)


def spread_is_1tick(s: Session, i: int, t: int) -> Value:
    gap = spread(s, i, t)
    return None if gap is None else int(gap == 1)


def wmid(s: Session, i: int, t: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    (b, bs, _), (a, az, _) = level(s, i, "bid", 0), level(s, i, "ask", 0)
    return (b * az + a * bs) / (az + bs)  # type: ignore[operator]


def vamp(s: Session, i: int, t: int, levels: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    top = bottom = 0.0
    for k in range(levels):
        (b, bs, _), (a, az, _) = level(s, i, "bid", k), level(s, i, "ask", k)
        if b is not None and a is not None:
            top += b * az + a * bs
            bottom += az + bs
    return top / bottom


def vwap_mid(s: Session, i: int, t: int, levels: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    prices = []
    for side in ("bid", "ask"):
        parts = [level(s, i, side, k)[:2] for k in range(levels)]
        there = [(p, z) for p, z in parts if p is not None]
        prices.append(sum(p * z for p, z in there) / sum(z for _, z in there))
    return sum(prices) / 2


def depth_of(s: Session, i: int, side: str, levels: int, what: int = 1) -> int:
    return sum(int(level(s, i, side, k)[what] or 0) for k in range(levels))


def ok_imbalance(s: Session, i: int, levels: int, what: int = 1) -> Value:
    if not s.rows[i]["ok"]:
        return None
    return imbalance(depth_of(s, i, "bid", levels, what), depth_of(s, i, "ask", levels, what))


def queue_imbalance_level(s: Session, i: int, t: int, level: int) -> Value:
    (b, bs, _), (a, az, _) = _level(s, i, "bid", level), _level(s, i, "ask", level)
    return imbalance(bs, az) if s.rows[i]["ok"] and b is not None and a is not None else None


_level = level


def weighted(s: Session, i: int, weight: Callable[[float], float]) -> Value:
    if not s.rows[i]["ok"]:
        return None
    sides = []
    for side in ("bid", "ask"):
        touch = level(s, i, side, 0)[0]
        parts = (level(s, i, side, k) for k in range(10))
        sides.append(sum(weight(abs(p - touch)) * z for p, z, _ in parts if p is not None))  # type: ignore[operator]
    return imbalance(*sides)


def order_size(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    if not s.rows[i]["ok_flow"]:
        return None
    return divide(depth_of(s, i, side, levels), depth_of(s, i, side, levels, 2))


def order_size_ratio(s: Session, i: int, t: int, levels: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    bid, ask = (order_size(s, i, t, side, levels) for side in ("bid", "ask"))
    return None if bid is None or ask is None else math.log(bid / ask)


def side_depth(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    return depth_of(s, i, side, levels) if s.rows[i]["ok_flow"] else None


def log_depth(s: Session, i: int, t: int, levels: int) -> Value:
    both = depth_of(s, i, "bid", levels) + depth_of(s, i, "ask", levels)
    return math.log(both) if s.rows[i]["ok_flow"] and both else None
