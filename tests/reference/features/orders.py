"""What single orders tell, from the rows of ``queue``: slow and obvious."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tests.reference.features.session import NS, Session, Value
from tests.reference.features.trades import col
from tests.reference.features.windows import divide, imbalance, rate, total

CLASSES = ("2ms", "50ms", "1s", "10s", "60s", "long")
ENDS = (0.0, 0.002, 0.05, 1.0, 10.0, 60.0)
PLACES = ("better", "touch", "1", "2", "3_5", "6_10", "far")
LOST = ("fill", "cancel", "modify_keep", "modify_lose")


def at(s: Session, i: int, side: str, name: str) -> Any:
    """A state of a side's touch; None where it is not normal."""
    return s.rows[i][f"{side}_{name}"] if s.rows[i]["ok"] else None


def state(name: str) -> Callable[..., Value]:
    return lambda s, i, t, side: at(s, i, side, name)


def age(name: str) -> Callable[..., Value]:
    def value(s: Session, i: int, t: int, side: str) -> Value:
        then = at(s, i, side, name)
        return None if then is None else (then + t - s.rows[i]["ts"]) / NS

    return value


def queue_age(s: Session, i: int, t: int, side: str) -> Value:
    then = divide(at(s, i, side, "age_sum"), at(s, i, side, "known_sz"))
    return None if then is None else then / 10**6 + (t - s.rows[i]["ts"]) / NS


def queue_age_ratio(s: Session, i: int, t: int) -> Value:
    bid, ask = queue_age(s, i, t, "bid"), queue_age(s, i, t, "ask")
    return math.log(bid / ask) if bid and ask else None


def share_of(name: str, whole: str, power: int = 1) -> Callable[..., Value]:
    def value(s: Session, i: int, t: int, side: str) -> Value:
        bottom = at(s, i, side, whole)
        return divide(at(s, i, side, name), None if bottom is None else bottom**power)

    return value


def censored(s: Session, i: int, t: int, side: str) -> Value:
    known = share_of("known_ct", "ct_00")(s, i, t, side)
    return None if known is None else 1 - known


def threshold(s: Session, percent: int = 99) -> Value:
    """The smallest size that so much of the new orders of five sessions do not exceed."""

    def compute() -> Value:
        def sizes(day: Session) -> list[int]:
            return [
                row[f"{side}_{zone}_add_sz"]
                for row in day.rows
                for side in ("bid", "ask")
                for zone in ("l1", "l2_10", "deep")
                if row[f"{side}_{zone}_add_ct"] == 1
            ]

        days = [sizes(day) for day in s.past[-5:]]
        if sum(1 for day in days if day) < 3:
            return None
        everything = sorted(size for day in days for size in day)
        wanted = Fraction(percent, 100) * len(everything)
        return next(v for v in everything if sum(1 for x in everything if x <= v) >= wanted)

    return s.cached("large order", percent, compute)


def large_there(s: Session, i: int, t: int, side: str) -> Value:
    limit, largest = threshold(s), at(s, i, side, "large_sz")
    return None if limit is None or largest is None else int(largest >= limit)


def large_orders(s: Session, i: int, t: int, side: str) -> Value:
    limit = threshold(s, 95)
    sizes = [x for x in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500) if limit is not None and x >= limit]
    if not sizes:
        return None
    return at(s, i, side, "ct_00" if sizes[0] == 1 else f"from_{sizes[0]}_ct")


def lost(s: Session, side: str) -> Callable[[int], Value]:
    return lambda j: sum(s.rows[j][f"{side}_l1_{kind}_sz"] for kind in LOST)


def time_to_fill(s: Session, i: int, t: int, side: str, half_life: str) -> Value:
    speed, size = rate(s, i, t, lost(s, side), half_life), at(s, i, side, "sz_00")
    if speed is None or size is None:
        return None
    return min(size / speed, 3600.0) if speed > 0 else 3600.0


def executed_share(s: Session, i: int, t: int, side: str, window: str) -> Value:
    filled = total(s, i, t, col(s, f"{side}_l1_fill_sz"), window)
    return divide(filled, total(s, i, t, lost(s, side), window))


def summed(s: Session, i: int, t: int, names: list[str], window: str) -> Value:
    return total(s, i, t, lambda j: sum(s.rows[j][name] for name in names), window)


def cancels(side: str, measure: str) -> list[str]:
    return [f"{side}_cancel_{third}_{measure}" for third in ("front", "middle", "back")]


def cancel_share(s: Session, i: int, t: int, third: str, side: str, window: str) -> Value:
    mine = summed(s, i, t, [f"{side}_cancel_{third}_ct"], window)
    return divide(mine, summed(s, i, t, cancels(side, "ct"), window))


def cancel_ahead(s: Session, i: int, t: int, side: str, window: str) -> Value:
    names = cancels(side, "sz")
    return rate(s, i, t, lambda j: sum(s.rows[j][name] for name in names), window)


def lives(outcome: str, classes: tuple[str, ...] = CLASSES) -> list[str]:
    return [f"{outcome}_{name}_ct" for name in classes]


def order_life(s: Session, i: int, t: int, outcome: str, window: str) -> Value:
    spent = summed(s, i, t, [f"{outcome}_life"], window)
    mean = divide(spent, summed(s, i, t, lives(outcome), window))
    return None if mean is None else mean / 10**6


def fleeting(s: Session, i: int, t: int, age: str, window: str) -> Value:
    short = CLASSES[: CLASSES.index(age) + 1]
    counts = summed(s, i, t, lives("cancelled", short), window)
    return divide(counts, summed(s, i, t, lives("cancelled"), window))


def life_quantile(s: Session, i: int, t: int, percent: int, outcome: str, window: str) -> Value:
    counts = [summed(s, i, t, [name], window) for name in lives(outcome)]
    if None in counts or not sum(counts):  # type: ignore[arg-type]
        return None
    left = sum(counts) * percent / 100  # type: ignore[arg-type]
    for k, count in enumerate(counts[:-1]):
        assert count is not None
        if count and left <= count * (1 + 1e-12):
            return ENDS[k] + (ENDS[k + 1] - ENDS[k]) * left / count
        left -= count
    return None


def rate_of(*parts: str) -> Callable[..., Value]:
    """Rate of a column named by the side and these parts."""

    def value(s: Session, i: int, t: int, side: str, window: str, **named: str) -> Value:
        name = "_".join((side, *parts)).format(**named)
        return rate(s, i, t, col(s, name), window)

    return value


def ratio_of(top: str, bottom: str) -> Callable[..., Value]:
    def value(s: Session, i: int, t: int, side: str, window: str) -> Value:
        above = summed(s, i, t, [f"{side}_{top}"], window)
        return divide(above, summed(s, i, t, [f"{side}_{bottom}"], window))

    return value


def level_gap(s: Session, i: int, t: int, side: str) -> Value:
    traded, filled = at(s, i, side, "level_traded_sz"), at(s, i, side, "level_filled_sz")
    return None if traded is None else traded - filled


def placement(s: Session, i: int, t: int, place: str, side: str, window: str) -> Value:
    mine = summed(s, i, t, [f"{side}_add_{place}_ct"], window)
    return divide(mine, summed(s, i, t, [f"{side}_add_{p}_ct" for p in PLACES], window))


def placement_distance(s: Session, i: int, t: int, side: str, window: str) -> Value:
    far = summed(s, i, t, [f"{side}_add_distance"], window)
    return divide(far, summed(s, i, t, [f"{side}_add_{p}_ct" for p in PLACES], window))


def layering(s: Session, i: int, t: int, side: str, window: str) -> Value:
    aggressor = "buy" if side == "bid" else "sell"

    def soon(j: int) -> int:
        now = s.rows[j]["ts"]
        return sum(
            s.rows[k][f"{aggressor}_ct"] for k in s.segment(j) if now - s.rows[k]["ts"] <= NS // 2
        )

    def cancelled(j: int) -> Value:
        return s.rows[j][f"{side}_l2_10_cancel_sz"] if soon(j) else 0

    placed = summed(s, i, t, [f"{side}_l2_10_add_sz"], window)
    return divide(total(s, i, t, cancelled, window), placed)


ORDERS: dict[str, Callable[..., Value]] = {
    "join_ahead": state("sz_00"),
    "join_ahead_orders": state("ct_00"),
    "queue_age": queue_age,
    "queue_age_ratio": queue_age_ratio,
    "front_age": age("front_age"),
    "median_age": age("median_age"),
    "age_censored": censored,
    "max_share": share_of("max_sz", "sz_00"),
    "order_herfindahl": share_of("square_sz", "sz_00", 2),
    "median_order": state("median_sz"),
    "large_order": state("large_sz"),
    "large_order_ticks": state("large_ticks"),
    "large_order_age": age("large_age"),
    "large_order_balance": lambda s, i, t: imbalance(
        at(s, i, "bid", "large_sz"), at(s, i, "ask", "large_sz")
    ),
    "large_order_there": large_there,
    "large_orders": large_orders,
    "time_to_fill": time_to_fill,
    "executed_share": executed_share,
    "cancel_share": cancel_share,
    "cancel_ahead_rate": cancel_ahead,
    "order_life": order_life,
    "fleeting_share": fleeting,
    "order_life_quantile": life_quantile,
    "refill_rate": rate_of("refill_ct"),
    "refill_volume_rate": rate_of("refill_sz"),
    "hidden_volume_rate": rate_of("hidden_sz"),
    "level_refills": state("level_refill_ct"),
    "reload_rate": rate_of("reload_{within}_ct"),
    "reload_chain": ratio_of("reload_chain", "reload_50ms_ct"),
    "level_gap": level_gap,
    "mods_per_order": share_of("mods_ct", "ct_00"),
    "mods_max": state("mods_max"),
    "repeg_rate": rate_of("repeg_ct"),
    "replace_rate": rate_of("replace_ct"),
    "placement": placement,
    "placement_distance": placement_distance,
    "new_level_size": ratio_of("born_sz", "born_ct"),
    "new_level_orders": ratio_of("born_orders", "born_ct"),
    "new_level_first": ratio_of("born_first_sz", "born_ct"),
    "layering": layering,
}
