"""Sums, rates and values over windows of time, of rows, and with a half-life."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.reference.features.session import LN2, NS, RowValue, Session, Value, duration


def rows_in(s: Session, i: int, t: int, length: int) -> list[int] | None:
    """Rows known at (i, t) of the last ``length`` ns; None while the window is not full."""
    if t - length < s.start(i):
        return None
    return [j for j in s.segment(i) if s.rows[j]["ts"] > t - length]


def total(s: Session, i: int, t: int, x: RowValue, window: str) -> Value:
    if window.startswith("n"):
        having = [j for j in s.segment(i) if x(j) is not None]
        n = int(window[1:])
        return None if len(having) < n else sum(x(j) for j in having[-n:])  # type: ignore[misc]
    if window.startswith("h"):
        half = duration(window[1:])
        if t - s.start(i) < 5 * half:
            return None
        return sum((x(j) or 0) * 2 ** (-(t - s.rows[j]["ts"]) / half) for j in s.segment(i))
    rows = rows_in(s, i, t, duration(window))
    return None if rows is None else sum(x(j) or 0 for j in rows)


def rate(s: Session, i: int, t: int, x: RowValue, window: str) -> Value:
    value = total(s, i, t, x, window)
    if value is None:
        return None
    if window.startswith("h"):
        return value * LN2 / (duration(window[1:]) / NS)
    return value / (duration(window) / NS)


def values_in(s: Session, i: int, t: int, x: RowValue, window: str) -> list[Any] | None:
    """The values that are not None in a window by time or rows."""
    if window.startswith("n"):
        having = [x(j) for j in s.segment(i) if x(j) is not None]
        n = int(window[1:])
        return None if len(having) < n else having[-n:]
    rows = rows_in(s, i, t, duration(window))
    return None if rows is None else [x(j) for j in rows if x(j) is not None]


def before(s: Session, i: int, x: RowValue) -> Value:
    """The last value at an earlier row of the segment."""
    return next((x(j) for j in reversed(s.segment(i)[:-1]) if x(j) is not None), None)


def latest(s: Session, i: int, x: RowValue) -> Value:
    return next((x(j) for j in reversed(s.segment(i)) if x(j) is not None), None)


def value_ago(s: Session, i: int, t: int, x: RowValue, back: str) -> Value:
    if back.startswith("n"):
        having = [x(j) for j in s.segment(i) if x(j) is not None]
        n = int(back[1:])
        return None if len(having) <= n else having[-1 - n]
    at = t - duration(back)
    known = [j for j in s.segment(i) if s.rows[j]["ts"] <= at and x(j) is not None]
    return x(known[-1]) if known else None


def seconds_since(s: Session, i: int, t: int, holds: Callable[[int], bool]) -> float:
    rows = [j for j in s.segment(i) if holds(j)]
    last = s.rows[rows[-1]]["ts"] if rows else s.start(i)
    return (t - last) / NS


def divide(top: Value, bottom: Value) -> Value:
    return None if top is None or bottom is None or bottom == 0 else top / bottom


def imbalance(bid: Value, ask: Value) -> Value:
    return None if bid is None or ask is None else divide(bid - ask, bid + ask)
