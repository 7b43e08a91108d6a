"""Features of how busy the book is, and with what."""

from __future__ import annotations

import math

from tests.reference.features.clock import mid_moved
from tests.reference.features.costs import TAKER
from tests.reference.features.levels import level
from tests.reference.features.session import Session, Value, duration
from tests.reference.features.trades import col
from tests.reference.features.windows import before, divide, imbalance, rate, rows_in, total

SIDES = ("bid", "ask")
ZONES = ("l1", "l2_10", "deep")
KINDS = ("market", "market_move", "limit", "limit_move", "cancel", "cancel_move")


def count_all(s: Session, j: int, *kinds: str) -> int:
    return sum(s.rows[j][f"{a}_{z}_{k}_ct"] for a in SIDES for z in ZONES for k in kinds)


def pair_counts(s: Session, i: int, t: int, pair: str, window: str) -> tuple[Value, Value]:
    top, _, bottom = pair.partition("_")
    count = {
        "cancel": lambda j: count_all(s, j, "cancel"),
        "add": lambda j: count_all(s, j, "add"),
        "trade": lambda j: s.rows[j]["trade_ct"],
        "message": lambda j: (
            count_all(s, j, "add", "cancel", "modify_keep", "modify_lose") + s.rows[j]["trade_ct"]
        ),
    }
    return total(s, i, t, count[top], window), total(s, i, t, count[bottom], window)


def message_ratio(s: Session, i: int, t: int, pair: str, window: str) -> Value:
    return divide(*pair_counts(s, i, t, pair, window))


def message_ratio_plus1(s: Session, i: int, t: int, pair: str, window: str) -> Value:
    top, bottom = pair_counts(s, i, t, pair, window)
    return None if top is None or bottom is None else (top + 1) / (bottom + 1)


def modify_rate(
    s: Session, i: int, t: int, side: str, zone: str, priority: str, window: str
) -> Value:
    return rate(s, i, t, col(s, f"{side}_{zone}_modify_{priority}_ct"), window)


def touch_price(s: Session, j: int, side: str) -> float | None:
    """Best price, far away where there is none; None on rows that are locked or crossed."""
    if not s.rows[j]["ok_flow"]:
        return None
    price = level(s, j, side, 0)[0]
    return (-math.inf if side == "bid" else math.inf) if price is None else price


def moved(s: Session, j: int, side: str) -> int:
    """1 if a best price improved at the event, -1 if it got worse, else 0."""
    return s.cached(f"moved {side}", j, lambda: _moved(s, j, side))  # type: ignore[return-value]


def _moved(s: Session, j: int, side: str) -> int:
    now, past = touch_price(s, j, side), before(s, j, lambda k: touch_price(s, k, side))
    if now is None or past is None or now == past:
        return 0
    return 1 if (now > past) == (side == "bid") else -1


def kinds_of(s: Session, j: int, side: str) -> set[str]:
    row, move = s.rows[j], moved(s, j, side)
    found = set()
    traded = row[f"{TAKER[side]}_orders"] > 0
    if traded:
        found.add("market_move" if move < 0 else "market")
    if row[f"{side}_l1_add_ct"] + row[f"{side}_l1_modify_join_ct"]:
        found.add("limit_move" if move > 0 else "limit")
    if sum(row[f"{side}_l1_{kind}_ct"] for kind in ("cancel", "modify_keep", "modify_lose")):
        found.add("cancel_move" if move < 0 and not traded else "cancel")
    return found


def happened(s: Session, j: int, kind: str, side: str) -> int:
    if ("kinds", side, j) not in s.memo:
        s.memo["kinds", side, j] = kinds_of(s, j, side)
    return int(kind in s.memo["kinds", side, j])


def event_rate(s: Session, i: int, t: int, kind: str, side: str, half_life: str) -> Value:
    return rate(s, i, t, lambda j: happened(s, j, kind, side), half_life)


def pressing(s: Session, i: int, t: int, side: str, half_life: str) -> Value:
    other = "ask" if side == "bid" else "bid"
    aggressor = {"bid": "buy", "ask": "sell"}[side]

    def count(j: int) -> int:
        row = s.rows[j]
        orders = row[f"{aggressor}_orders"]
        return row[f"{side}_l1_add_ct"] + row[f"{other}_l1_cancel_ct"] + orders

    return rate(s, i, t, count, half_life)


def intensity_imbalance(s: Session, i: int, t: int, half_life: str) -> Value:
    return imbalance(*(pressing(s, i, t, side, half_life) for side in SIDES))


def event_speed(s: Session, i: int, t: int, half_life: str) -> Value:
    return rate(s, i, t, lambda j: int(not s.rows[j]["first"]), half_life)


def burst(s: Session, i: int, t: int, short: str, long: str) -> Value:
    return divide(event_speed(s, i, t, short), event_speed(s, i, t, long))


def touch_changed(s: Session, j: int) -> int:
    names = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")
    return int(not s.rows[j]["first"] and any(s.rows[j][n] != s.rows[j - 1][n] for n in names))


def flicker(s: Session, i: int, t: int, delay: str, window: str) -> Value:
    known = rows_in(s, i, t, duration(window))
    if known is None:
        return None
    moves = backs = 0
    for side in SIDES:
        steps: list[tuple[int, float, float]] = []
        for j in s.segment(i):
            if moved(s, j, side):
                past = before(s, j, lambda k, side=side: touch_price(s, k, side))
                steps.append((j, past, touch_price(s, j, side)))  # type: ignore[arg-type]
        for n, (j, _, to) in enumerate(steps):
            if j in known:
                moves += 1
                if n:
                    k, origin, _ = steps[n - 1]
                    soon = s.rows[j]["ts"] - s.rows[k]["ts"] <= duration(delay)
                    backs += soon and to == origin
    return divide(backs, moves)


def depletion_time(s: Session, i: int, t: int, side: str, half_life: str) -> Value:
    price, queue, _ = level(s, i, side, 0)

    def net(j: int) -> int:
        gone = ("cancel", "modify_keep", "modify_lose", "fill")
        come = ("add", "modify_join")
        sizes = [-s.rows[j][f"{side}_l1_{kind}_sz"] for kind in come]
        return sum(sizes) + sum(s.rows[j][f"{side}_l1_{kind}_sz"] for kind in gone)

    loss = rate(s, i, t, net, half_life)
    if loss is None or price is None or not s.rows[i]["ok_flow"]:
        return None
    return min(queue / loss, 3600.0) if loss > 0 else 3600.0


def depletion_ratio(s: Session, i: int, t: int, half_life: str) -> Value:
    bid, ask = (depletion_time(s, i, t, side, half_life) for side in SIDES)
    return None if bid is None or ask is None else math.log(bid / ask)


def event_entropy(s: Session, i: int, t: int, window: str) -> Value:
    counts = [
        total(s, i, t, lambda j, kind=kind, side=side: happened(s, j, kind, side), window)
        for kind in KINDS
        for side in SIDES
    ]
    if None in counts or not sum(counts):  # type: ignore[arg-type]
        return None
    shares = [c / sum(counts) for c in counts if c]  # type: ignore[arg-type,operator]
    return -math.fsum(p * math.log(p) for p in shares)


SLOW = {
    "modify_rate": modify_rate,
    "message_ratio": message_ratio,
    "message_ratio_plus1": message_ratio_plus1,
    "event_rate": event_rate,
    "intensity_imbalance": intensity_imbalance,
    "event_speed": event_speed,
    "burst": burst,
    "mid_change_rate": lambda s, i, t, window: rate(
        s, i, t, lambda j: int(mid_moved(s, j)), window
    ),
    "touch_update_rate": lambda s, i, t, window: rate(
        s, i, t, lambda j: touch_changed(s, j), window
    ),
    "flicker": flicker,
    "depletion_time": depletion_time,
    "depletion_ratio": depletion_ratio,
    "event_entropy": event_entropy,
}
