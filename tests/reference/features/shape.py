"""Prices, shape of the book, touch state and order flow by level: once more, slow and obvious."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.reference.features.flow import contribution
from tests.reference.features.levels import depth_of, level, mid_of, ok_imbalance, vamp, wmid
from tests.reference.features.session import NS, Session, Value, duration
from tests.reference.features.trades import col
from tests.reference.features.windows import (
    divide,
    imbalance,
    latest,
    rows_in,
    seconds_since,
    total,
    value_ago,
)

SIDES = ("bid", "ask")


def levels_of(s: Session, i: int, side: str, levels: int = 10) -> list[tuple[float, int]]:
    """(price in ticks, size) of the levels that are there, best first."""
    found = (level(s, i, side, k)[:2] for k in range(levels))
    return [(price, size) for price, size in found if price is not None]


def minus(left: Value, right: Value) -> Value:
    return None if left is None or right is None else left - right


# --- prices ------------------------------------------------------------------------------------


def wmid_disp(s: Session, i: int, t: int) -> Value:
    offset = minus(wmid(s, i, t), mid_of(s, i))
    if offset is None:
        return None
    return offset / ((levels_of(s, i, "ask")[0][0] - levels_of(s, i, "bid")[0][0]) / 2)


def sweep_price(s: Session, i: int, t: int, aggressor: str, contracts: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    left, paid = contracts, 0.0
    for price, size in levels_of(s, i, "ask" if aggressor == "buy" else "bid"):
        take = min(size, left)
        left -= take
        paid += take * price
    return paid / contracts if left == 0 else None


def impact_mid(s: Session, i: int, t: int, contracts: int) -> Value:
    buy, sell = (sweep_price(s, i, t, a, contracts) for a in ("buy", "sell"))
    return None if buy is None or sell is None else (buy + sell) / 2


def thin(s: Session, i: int, t: int, contracts: int) -> Value:
    if not s.rows[i]["ok_flow"]:
        return None
    return int(any(depth_of(s, i, side, 10) < contracts for side in SIDES))


def race_probability(s: Session, i: int, t: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    return 2 / math.pi * math.atan(depth_of(s, i, "bid", 1) / depth_of(s, i, "ask", 1))


def race_probability_correlated(s: Session, i: int, t: int, sign: str, percent: int) -> Value:
    """By the angle of the starting point in the wedge that makes the two walks independent."""
    if not s.rows[i]["ok"]:
        return None
    rho = percent / 100 * {"neg": -1, "pos": 1}[sign]
    bid, ask = depth_of(s, i, "bid", 1), depth_of(s, i, "ask", 1)
    # Walks made independent: (bid - rho ask) / sqrt(1 - rho^2), and ask.  The ask is empty at
    # angle 0, the bid at the wedge's other side; in between the probability falls linearly.
    angle = math.atan2(ask * math.sqrt(1 - rho * rho), bid - rho * ask)
    return 1 - angle / math.acos(-rho)


def fair_gap(s: Session, i: int, t: int, levels: int) -> Value:
    price = latest(s, i, col(s, "trade_px"))
    return minus(vamp(s, i, t, levels), None if price is None else price / s.context.tick)


def gap(s: Session, i: int, t: int, side: str, level: int) -> Value:
    found = levels_of(s, i, side, level + 1)
    if not s.rows[i]["ok"] or len(found) <= level:
        return None
    return abs(found[level][0] - found[level - 1][0])


def book_span(s: Session, i: int, t: int) -> Value:
    sides = [levels_of(s, i, side) for side in SIDES]
    if not s.rows[i]["ok"] or min(map(len, sides)) < 10:
        return None
    return sum(abs(found[9][0] - found[0][0]) for found in sides)


# --- shape -------------------------------------------------------------------------------------


def away(found: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """(ticks from the side's touch, size)."""
    return [(abs(price - found[0][0]), size) for price, size in found]


def depth_within(s: Session, i: int, t: int, side: str, distance: int) -> Value:
    if not s.rows[i]["ok_flow"]:
        return None
    return sum(size for d, size in away(levels_of(s, i, side)) if d < distance)


def depth_within_cut(s: Session, i: int, t: int, side: str, distance: int) -> Value:
    if not s.rows[i]["ok_flow"]:
        return None
    found = away(levels_of(s, i, side))
    return int(len(found) == 10 and found[-1][0] + 1 < distance)


def elasticity(s: Session, i: int, t: int, levels: int) -> Value:
    mid = mid_of(s, i)
    if mid is None:
        return None
    slopes = []
    for side in SIDES:
        found = levels_of(s, i, side, levels)
        prices = [mid, *(price for price, _ in found)]
        logs = [math.log(1 + sum(z for _, z in found[: k + 1])) for k in range(len(found))]
        parts = [logs[0], *(logs[k] / logs[k - 1] - 1 for k in range(1, len(logs)))]
        steps = [abs(prices[k + 1] / prices[k] - 1) for k in range(len(found))]
        slopes.append(sum(p / d for p, d in zip(parts, steps, strict=True)) / len(found))
    return sum(slopes) / 2


def slope(s: Session, i: int, side: str, levels: int) -> Value:
    found = away(levels_of(s, i, side, levels))
    if len(found) < 3:
        return None
    x = [d for d, _ in found]
    y = [sum(z for _, z in found[: k + 1]) for k in range(len(found))]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    top = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return top / sum((a - mean_x) ** 2 for a in x)


def depth_slope(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    return slope(s, i, side, levels) if s.rows[i]["ok_flow"] else None


def depth_slope_asymmetry(s: Session, i: int, t: int, levels: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    return imbalance(slope(s, i, "bid", levels), slope(s, i, "ask", levels))


def depth_convexity(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    if not s.rows[i]["ok_flow"]:
        return None
    near, whole = depth_of(s, i, side, levels // 2), depth_of(s, i, side, levels)
    return divide((whole - near) - near, whole)


def book_pressure(s: Session, i: int, t: int, levels: int) -> Value:
    mid = mid_of(s, i)
    if mid is None:
        return None
    bid, ask = (
        sum(size / abs(price - mid) for price, size in levels_of(s, i, side, levels))
        for side in SIDES
    )
    return math.log(bid) - math.log(ask)


def centre(s: Session, i: int, side: str, levels: int) -> Value:
    found = away(levels_of(s, i, side, levels))
    return divide(sum(d * size for d, size in found), sum(size for _, size in found))


def depth_centre(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    return centre(s, i, side, levels) if s.rows[i]["ok_flow"] else None


def depth_centre_diff(s: Session, i: int, t: int, levels: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    return minus(centre(s, i, "bid", levels), centre(s, i, "ask", levels))


def depth_herfindahl(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    sizes = [size for _, size in levels_of(s, i, side, levels)]
    if not s.rows[i]["ok_flow"] or not sizes:
        return None
    return sum((size / sum(sizes)) ** 2 for size in sizes)


def wall_distance(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    found = away(levels_of(s, i, side, levels))
    if not s.rows[i]["ok_flow"] or not found:
        return None
    ordered = sorted(size for _, size in found)
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    walls = [d for d, size in found if size > 3 * median]
    return walls[0] if walls else found[-1][0] + 1


# --- the touch over time -------------------------------------------------------------------------


def queue_imbalance(s: Session, i: int) -> Value:
    return s.cached("queue_imbalance", i, lambda: ok_imbalance(s, i, 1))


def queue_imbalance_change(s: Session, i: int, t: int, window: str) -> Value:
    past = value_ago(s, i, t, lambda j: queue_imbalance(s, j), window)
    return minus(queue_imbalance(s, i), past)


def queue_imbalance_mean(s: Session, i: int, t: int, window: str) -> Value:
    rows, begin = s.segment(i), t - duration(window)
    if begin < s.start(i):
        return None
    area, time = 0.0, 0
    for j, after in zip(rows, [*rows[1:], None], strict=True):
        value = queue_imbalance(s, j)
        stood = (t if after is None else s.rows[after]["ts"]) - max(s.rows[j]["ts"], begin)
        if value is not None and stood > 0:
            area += value * stood
            time += stood
    return divide(area, time)


def queue_imbalance_dev(s: Session, i: int, t: int, window: str) -> Value:
    return minus(queue_imbalance(s, i), queue_imbalance_mean(s, i, t, window))


def earlier(s: Session, j: int) -> int | None:
    """The row that F01 compares row j with: the last one before it that is ok_flow."""
    number = s.rows[j]["segment"]
    for k in range(j - 1, -1, -1):
        if s.rows[k]["segment"] != number:
            return None
        if s.rows[k]["ok_flow"]:
            return k
    return None


def born(s: Session, j: int, side: str) -> bool:
    past = earlier(s, j)
    if not s.rows[j]["ok_flow"]:
        return False
    return past is None or level(s, j, side, 0)[0] != level(s, past, side, 0)[0]


def there(s: Session, i: int, side: str) -> bool:
    return s.rows[i]["ok_flow"] and level(s, i, side, 0)[0] is not None


def touch_age(s: Session, i: int, t: int, side: str) -> Value:
    return seconds_since(s, i, t, lambda j: born(s, j, side)) if there(s, i, side) else None


def queue_growth(s: Session, i: int, t: int, side: str) -> Value:
    birth = latest(s, i, lambda j: level(s, j, side, 0)[1] if born(s, j, side) else None)
    return divide(level(s, i, side, 0)[1], birth) if there(s, i, side) else None


def empty_ticks(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    if not there(s, i, side):
        return None
    prices = {price for price, _ in levels_of(s, i, side, levels)}
    return sum(p not in prices for p in range(int(min(prices)), int(max(prices)) + 1))


# --- order flow ----------------------------------------------------------------------------------


def if_flow(value: Callable[..., Value]) -> Callable[..., Value]:
    """Null where the touch is locked or crossed."""

    def masked(s: Session, i: int, t: int, **arguments: object) -> Value:
        return value(s, i, t, **arguments) if s.rows[i]["ok_flow"] else None

    return masked


def ofi_left_out(s: Session, i: int, t: int, window: str) -> Value:
    return total(s, i, t, lambda j: int(not s.rows[j]["ok_flow"]), window)


def ofi_nopx(s: Session, i: int, t: int, window: str) -> Value:
    def quiet(j: int) -> Value:
        moved = any(born(s, j, side) for side in SIDES)
        return None if moved else contribution(s, j)

    return total(s, i, t, quiet, window)


def ofi_normalised_moves(s: Session, i: int, t: int, window: str) -> Value:
    rows = rows_in(s, i, t, 1800 * NS)
    means = []
    for side in SIDES:
        queues = []
        for j in rows or []:
            past = earlier(s, j)
            if past is None or not there(s, j, side) or not there(s, past, side):
                continue
            (price, size, _), (price0, size0, _) = level(s, j, side, 0), level(s, past, side, 0)
            assert price is not None
            assert price0 is not None
            if price != price0:
                queues.append(size if (price < price0) == (side == "bid") else size0)
        means.append(divide(sum(queues), len(queues)))
    if means[0] is None or means[1] is None:
        return None
    return divide(total(s, i, t, lambda j: contribution(s, j), window), (means[0] + means[1]) / 2)


PARTS = {
    "add": (1, ("add", "modify_join")),
    "cancel": (-1, ("cancel", "modify_keep", "modify_lose")),
    "trade": (-1, ("fill",)),
}


def ofi_cause_part(s: Session, i: int, t: int, side: str, cause: str, window: str) -> Value:
    sign, kinds = PARTS[cause]
    sign = sign if side == "bid" else -sign
    return total(
        s, i, t, lambda j: sign * sum(s.rows[j][f"{side}_l1_{k}_sz"] for k in kinds), window
    )


def common_depth(s: Session, i: int, t: int, window: str) -> Value:
    """Mean size of a level over a window's events."""

    def level_size(j: int) -> Value:
        if not s.rows[j]["ok_flow"]:
            return None
        return sum(depth_of(s, j, side, 10) for side in SIDES) / 20

    def depth(j: int) -> Value:
        return s.cached("level_size", j, lambda: level_size(j))

    q = total(s, i, t, depth, window)
    n = total(s, i, t, lambda j: None if not s.rows[j]["ok_flow"] else 1, window)
    return divide(q, n)


def ofi_scaled(s: Session, i: int, t: int, level: int, window: str) -> Value:
    average = common_depth(s, i, t, window)
    flow = total(s, i, t, lambda j: contribution(s, j, level), window)
    return None if average is None else divide(flow, max(average, 1))


def side_flow(s: Session, j: int, side: str, k: int) -> Value:
    past = earlier(s, j)
    if not s.rows[j]["ok_flow"] or past is None:
        return None
    (price, size, _), (price0, size0, _) = level(s, j, side, k), level(s, past, side, k)
    if price == price0:
        return size - size0
    sign = 1 if side == "bid" else -1
    now = -math.inf if price is None else sign * price
    then = -math.inf if price0 is None else sign * price0
    return size if now > then else -size0


def order_flow(s: Session, i: int, t: int, side: str, level: int, window: str) -> Value:
    return total(
        s,
        i,
        t,
        lambda j: s.cached(f"flow{side}{level}", j, lambda: side_flow(s, j, side, level)),
        window,
    )


def keyed(s: Session, j: int, distance: int) -> Value:
    """Both books as price -> size, compared at the prices near the better of the touches."""
    past = earlier(s, j)
    if not s.rows[j]["ok_flow"] or past is None:
        return None
    change = 0
    for side, sign in (("bid", 1), ("ask", -1)):
        now = {sign * price: size for price, size in levels_of(s, j, side)}
        then = {sign * price: size for price, size in levels_of(s, past, side)}
        best = max([*now, *then], default=0)
        for price in {*now, *then}:
            if price > best - distance:
                change += sign * (now.get(price, 0) - then.get(price, 0))
    return change


def ofi_within(s: Session, i: int, t: int, distance: int, window: str) -> Value:
    def cached(j: int) -> Value:
        return s.cached(f"keyed{distance}", j, lambda: keyed(s, j, distance))

    return total(s, i, t, cached, window)


SHAPE: dict[str, Callable[..., Value]] = {
    "wmid_disp": wmid_disp,
    "sweep_price": sweep_price,
    "impact_mid": impact_mid,
    "thin": thin,
    "race_probability": race_probability,
    "race_probability_correlated": race_probability_correlated,
    "fair_gap": fair_gap,
    "gap": gap,
    "book_span": book_span,
    "depth_within": depth_within,
    "depth_within_cut": depth_within_cut,
    "elasticity": elasticity,
    "depth_slope": depth_slope,
    "depth_slope_asymmetry": depth_slope_asymmetry,
    "depth_convexity": depth_convexity,
    "book_pressure": book_pressure,
    "depth_centre": depth_centre,
    "depth_centre_diff": depth_centre_diff,
    "depth_herfindahl": depth_herfindahl,
    "wall_distance": wall_distance,
    "queue_imbalance_change": queue_imbalance_change,
    "queue_imbalance_mean": queue_imbalance_mean,
    "queue_imbalance_dev": queue_imbalance_dev,
    "touch_age": touch_age,
    "queue_growth": queue_growth,
    "empty_ticks": empty_ticks,
    "ofi_left_out": ofi_left_out,
    "ofi_nopx": if_flow(ofi_nopx),
    "ofi_normalised_moves": if_flow(ofi_normalised_moves),
    "ofi_cause_part": ofi_cause_part,
    "ofi_scaled": if_flow(ofi_scaled),
    "order_flow": if_flow(order_flow),
    "ofi_within": if_flow(ofi_within),
}
"""Families of these groups that are not in the older modules, by name."""
