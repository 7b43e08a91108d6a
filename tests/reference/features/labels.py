"""Labels: they see the whole session."""

from __future__ import annotations

from tests.reference.features.levels import mid_of
from tests.reference.features.session import Session, Value, duration


def whole_segment(s: Session, i: int) -> list[int]:
    return [j for j, row in enumerate(s.rows) if row["segment"] == s.rows[i]["segment"]]


def label_rows(s: Session, i: int, horizon: str) -> tuple[Value, int | None]:
    """Forward return over rows with a mid, and when it is known."""
    having = [j for j in whole_segment(s, i) if mid_of(s, j) is not None]
    if i not in having:
        return None, None
    at = having.index(i) + int(horizon[1:])
    if at >= len(having):
        return None, None
    j = having[at]
    return mid_of(s, j) - mid_of(s, i), s.rows[j]["ts"]  # type: ignore[operator]


def label_time(s: Session, i: int, t: int, horizon: str) -> tuple[Value, int | None]:
    target = t + duration(horizon)
    rows = whole_segment(s, i)
    m = mid_of(s, i)
    if m is None or s.rows[rows[-1]]["ts"] < target:
        return None, None
    known = [j for j in rows if s.rows[j]["ts"] <= target and mid_of(s, j) is not None]
    return mid_of(s, known[-1]) - m, target  # type: ignore[operator]
