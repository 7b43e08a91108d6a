"""What became of orders on past days, from their lives: order by order, second by second."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

from tests.reference.features.levels import level
from tests.reference.features.orders import at
from tests.reference.features.session import NS, Session, Value, duration

MS = 10**6
GRID = sorted({*(round(MS * 10 ** (k / 10)) for k in range(48)), NS, 10 * NS, 60 * NS})
AGES = (MS, 10 * MS, 100 * MS, NS, 10 * NS, 100 * NS, 600 * NS)
Spell = tuple[dict[str, Any], int, int, str]


def spells(s: Session) -> list[Spell]:
    """(life, ticks behind the touch, ns, how it ended) of the orders whose wait can be seen."""

    def compute() -> list[Spell]:
        found = []
        for life in s.lives:
            begin, behind = life["entered_ts_recv"], life["entered_distance"]
            if life["entered"] != "add" or not life["valid"] or behind is None:
                continue
            hours = [b for a, b in s.context.segments if a <= begin < b]
            if not hours or behind % s.context.tick or life["entered_opposite"] <= 0:
                continue
            ends = [(hours[0], 0, "unseen"), (life["known_at"], 2, "unseen")]
            if life["outcome"] == "cancelled" and life["lost_ts_recv"] is None:
                ends[1] = (life["known_at"], 2, "cancelled")
            if life["first_fill_ts_recv"] is not None:
                met = life["first_fill_ahead_orders"] is not None
                ends.append((life["first_fill_ts_recv"], 1, "filled" if met else "unseen"))
            if life["lost_ts_recv"] is not None:
                ends.append((life["lost_ts_recv"], 2, "unseen"))
            end, _, how = min(ends)
            found.append((life, behind // s.context.tick, end - begin, how))
        return found

    if "spells" not in s.memo:
        s.memo["spells"] = compute()
    spells: list[Spell] = s.memo["spells"]
    return spells


# --- fills


def cell(s: Session, j: int, place: str, side: str) -> Any:
    """Imbalance in fifths, spread up to 3 ticks, the power of two of what is ahead."""
    if not s.rows[j]["ok"]:
        return None
    (price, own, _), (deeper, more, _) = (level(s, j, side, k) for k in (0, 1))
    other, opposite = level(s, j, "ask" if side == "bid" else "bid", 0)[1::-1]
    if own + other == 0:
        return None
    fifth = min(int(Fraction(5 * own, own + other)), 4)
    assert price is not None
    assert opposite is not None
    ahead = own
    if place == "behind" and deeper is not None and abs(price - deeper) == 1:
        ahead += more
    return fifth, min(abs(opposite - price), 3), min(max(ahead, 1).bit_length() - 1, 15)


def joined(s: Session) -> list[tuple[str, Any, int, str]]:
    """(place, cell it saw, ns, how it ended) of the orders that joined a queue near the touch."""
    events = [row["event"] for row in s.rows]
    found = []
    for life, behind, time, how in spells(s):
        if behind not in (0, 1):
            continue
        after = bisect.bisect_left(events, life["entered_event"])
        if after in (0, len(events)):
            continue
        if s.rows[after]["segment"] != s.rows[after - 1]["segment"]:
            continue
        place = ("touch", "behind")[behind]
        seen = cell(s, after - 1, place, "bid" if life["side"] == "B" else "ask")
        if seen is not None:
            found.append((place, seen, time, how))
    return found


def survived(ends: list[tuple[int, str]], horizon: int) -> Value:
    """Kaplan and Meier's product up to a horizon; None where few fates are known by then."""
    rounded = [(next((g for g in GRID if time <= g), None), how) for time, how in ends]
    fates = sum(1 for g, how in rounded if g is None or g > horizon or how == "filled")
    if fates < 30:
        return None
    share = Fraction(1)
    for g in GRID:
        if g > horizon:
            break
        here = [how for end, how in rounded if end == g]
        filled = here.count("filled")
        there = sum(1 for end, _ in rounded if end is None or end >= g)
        if filled:
            share *= 1 - filled / (there - Fraction(len(here) - filled, 2))
    return float(share)


def fill_probability(s: Session, i: int, t: int, place: str, side: str, horizon: str) -> Value:
    now = cell(s, i, place, side)
    if now is None:
        return None

    def compute() -> Value:
        days = s.memo.setdefault("joined", [joined(day) for day in s.past[-20:]])
        if sum(1 for day in days if day) < 5:
            return None
        ends = [(time, how) for day in days for p, c, time, how in day if (p, c) == (place, now)]
        left = survived(ends, duration(horizon))
        return None if left is None else 1 - left

    return s.cached(f"fill {place} {now} {horizon}", 0, compute)


# --- cancels


def by_age(day: Session, age: int) -> Value:
    """Cancels over the seconds that orders spent in the bin of an age."""
    edges = (0, *AGES, 10**19)
    low, high = next((a, b) for a, b in pairwise(edges) if a <= age < b)
    near = [(time, how) for _, behind, time, how in spells(day) if behind <= 1]
    reached = [(time, how) for time, how in near if time >= low]
    spent = sum(min(time, high) - low for time, _ in reached)
    if len(reached) < 30 or not spent:
        return None
    return sum(1 for time, how in reached if how == "cancelled" and time < high) / spent * NS


def cancel_hazard(s: Session, i: int, t: int, order: str, side: str) -> Value:
    then = at(s, i, side, f"{order}_age")
    if then is None or not s.past:
        return None
    age = then + t - s.rows[i]["ts"]
    number = sum(age >= edge for edge in AGES)
    return s.cached("cancels by age", number, lambda: by_age(s.past[-1], age))


def by_third(s: Session, i: int, t: int, third: str) -> Value:
    def compute() -> Value:
        day, which = s.past[-1], ("front", "middle", "back").index(third)
        spent, gone = 0, 0
        for j in range(1, len(day.rows)):
            before, row = day.rows[j - 1], day.rows[j]
            if before["segment"] != row["segment"] or not before["ok"]:
                continue
            for side in ("bid", "ask"):
                count = before[f"{side}_ct_00"]
                there = sum(1 for place in range(count) if 3 * place // count == which)
                spent += there * (row["ts"] - before["ts"])
                gone += row[f"{side}_cancel_{third}_ct"]
        return gone / spent * NS if spent >= 600 * NS else None

    return s.cached(f"cancels {third}", 0, compute) if s.past else None


HAZARDS: dict[str, Callable[..., Value]] = {
    "fill_probability": fill_probability,
    "cancel_hazard": cancel_hazard,
    "cancel_hazard_by_third": by_third,
}
