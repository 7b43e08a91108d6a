"""Features of trades."""

from __future__ import annotations

import math

from tests.reference.features.levels import mid_of
from tests.reference.features.session import RowValue, Session, Value, duration
from tests.reference.features.windows import divide, latest, rows_in, total


def col(s: Session, name: str) -> RowValue:
    return lambda j: s.rows[j][name]


def at_trades(s: Session, x: RowValue) -> RowValue:
    return lambda j: x(j) if s.rows[j]["trade_ct"] else None


def signed(s: Session) -> RowValue:
    return lambda j: s.rows[j]["buy_sz"] - s.rows[j]["sell_sz"]


def signed_volume(s: Session, i: int, t: int, window: str) -> Value:
    return total(s, i, t, at_trades(s, signed(s)), window)


def trade_imbalance(s: Session, i: int, t: int, window: str) -> Value:
    volume = total(s, i, t, at_trades(s, col(s, "trade_sz")), window)
    return divide(signed_volume(s, i, t, window), volume)


def vwap_parts(s: Session, i: int, t: int, window: str) -> tuple[Value, Value]:
    """VWAP and its standard deviation, from all prints of a window or the session."""
    if window == "session":
        rows: list[int] | None = list(range(i + 1))
    else:
        rows = rows_in(s, i, t, duration(window))
    if rows is None:
        return None, None
    prints = [p for j in rows if not s.rows[j]["first"] for p in s.rows[j]["px_sz"]]
    volume = sum(z for _, z in prints)
    if not volume:
        return None, None
    average = sum(p * z for p, z in prints) / volume
    variance = sum(z * (p - average) ** 2 for p, z in prints) / volume
    return average, math.sqrt(variance) if variance > 1e-9 else None


def vwap_dev(s: Session, i: int, t: int, window: str) -> Value:
    m, average = mid_of(s, i), vwap_parts(s, i, t, window)[0]
    return None if m is None or average is None else m - average


def vwap_z(s: Session, i: int, t: int, window: str) -> Value:
    return divide(vwap_dev(s, i, t, window), vwap_parts(s, i, t, window)[1])


def aggressor_size(s: Session, i: int, t: int, window: str) -> Value:
    size = total(s, i, t, lambda j: s.rows[j]["buy_sz"] + s.rows[j]["sell_sz"], window)
    n = total(s, i, t, lambda j: s.rows[j]["buy_orders"] + s.rows[j]["sell_orders"], window)
    return divide(size, n)


def last_trade_dev(s: Session, i: int, t: int) -> Value:
    price, m = latest(s, i, col(s, "trade_px")), mid_of(s, i)
    return None if price is None or m is None else price / s.context.tick - m
