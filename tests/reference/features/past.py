"""What features take from earlier sessions, computed from those sessions' rows, slowly."""

from __future__ import annotations

from fractions import Fraction

from tests.reference.features.session import Session, Value
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
