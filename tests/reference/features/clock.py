"""Features of the time of day and of the time since something happened."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from tests.reference.features.levels import mid_of
from tests.reference.features.session import DAY, NS, Session, Value, duration
from tests.reference.features.windows import before, divide


def session_part(s: Session, i: int, t: int) -> Value:
    if s.context.rth is None:
        return None
    opened, closed = s.context.rth
    hour = 3600 * NS
    if t < opened:
        return 0 if t < opened - 6.5 * hour else 1
    if t >= closed:
        return 5
    if t >= closed - hour:
        return 4
    return 2 if t < opened + hour else 3


def phase(s: Session, t: int, cycle: str) -> float:
    if cycle == "day":
        return 2 * math.pi * ((t + s.context.local_offset) % DAY) / DAY
    opened, closed = s.context.segments[0][0], s.context.announced_close
    return 2 * math.pi * (t - opened) / (closed - opened)


def is_rth(s: Session, i: int, t: int) -> Value:
    return None if s.context.rth is None else int(s.context.rth[0] <= t < s.context.rth[1])


def mid_moved(s: Session, j: int) -> bool:
    m, past = mid_of(s, j), before(s, j, lambda k: mid_of(s, k))
    return m is not None and past is not None and m != past


def touch_moved(s: Session, j: int) -> bool:
    names = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")
    return not s.rows[j]["first"] and any(s.rows[j][n] != s.rows[j - 1][n] for n in names)


def mean_gap(s: Session, i: int, t: int, holds: Callable[[int], bool], half_life: str) -> Value:
    """Decayed mean of the seconds between rows at which something holds."""
    half = duration(half_life[1:])
    if t - s.start(i) < 5 * half:
        return None
    rows = [j for j in s.segment(i) if holds(j)]
    top = bottom = 0.0
    for past, j in pairwise(rows):
        weight = 2 ** (-(t - s.rows[j]["ts"]) / half)
        top += weight * (s.rows[j]["ts"] - s.rows[past]["ts"]) / NS
        bottom += weight
    return divide(top, bottom)


def traded(s: Session) -> Callable[[int], bool]:
    return lambda j: s.rows[j]["trade_ct"] > 0
