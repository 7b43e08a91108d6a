"""Features of trading cost and impact."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from tests.reference.features.flow import contribution
from tests.reference.features.levels import depth_of, mid_of
from tests.reference.features.session import NS, Session, Value, duration
from tests.reference.features.windows import before, divide, latest, total

TAKER = {"ask": "buy", "bid": "sell"}
HIT = {"buy": "ask", "sell": "bid"}


def mean_of(s: Session, i: int, t: int, x: Callable[[int], Value], window: str) -> Value:
    n = total(s, i, t, lambda j: None if x(j) is None else 1, window)
    return divide(total(s, i, t, x, window), n)


def held_mean(s: Session, i: int, t: int, x: Callable[[int], Value], length: int) -> Value:
    """Mean weighted by the time each value stood in the last ``length``."""
    if t - length < s.start(i):
        return None
    rows = s.segment(i)
    area = time = 0.0
    for j, after in zip(rows, [*rows[1:], None], strict=True):
        begin = max(s.rows[j]["ts"], t - length)
        end = t if after is None else s.rows[after]["ts"]
        if x(j) is not None and end > begin:
            area += x(j) * (end - begin)  # type: ignore[operator]
            time += end - begin
    return divide(area, time)


def spread_of(s: Session, j: int) -> Value:
    row = s.rows[j]
    return (row["ask_px_00"] - row["bid_px_00"]) / s.context.tick if row["ok"] else None


def spread_mean(s: Session, i: int, t: int, window: str) -> Value:
    return held_mean(s, i, t, lambda j: spread_of(s, j), duration(window))


def one_tick_share(s: Session, i: int, t: int, window: str) -> Value:
    def one(j: int) -> Value:
        spread = spread_of(s, j)
        return None if spread is None else int(spread == 1)

    return held_mean(s, i, t, one, duration(window))


def mid_before(s: Session, j: int) -> Value:
    return s.cached("mid before", j, lambda: before(s, j, lambda k: mid_of(s, k)))


def prints_of(s: Session, j: int) -> list[tuple[float, int, int]]:
    """Price, size and sign of the event's prints with an aggressor; none on first rows."""
    if s.rows[j]["first"]:
        return []
    return [(p, z, d) for p, z, d in s.rows[j]["px_sz_sign"] if d]


def costed(s: Session, j: int) -> bool:
    return bool(prints_of(s, j)) and mid_before(s, j) is not None


def effective_spread(s: Session, i: int, t: int, window: str) -> Value:
    def paid(j: int) -> Value:
        if not costed(s, j):
            return None
        return sum(2 * d * (p - mid_before(s, j)) * z for p, z, d in prints_of(s, j))  # type: ignore[operator,misc]

    def volume(j: int) -> Value:
        return sum(z for _, z, _ in prints_of(s, j)) if costed(s, j) else None

    return divide(total(s, i, t, paid, window), total(s, i, t, volume, window))


def lagged_cost(cost: Callable[[float, int, float, float], float]) -> Callable[..., Value]:
    """Mean over prints whose horizon has passed: cost(px, D, m_0, m_later)."""

    def value(s: Session, i: int, t: int, horizon: str, window: str) -> Value:
        tau, w = duration(horizon), duration(window)
        if t <= s.start(i) + tau or t - w < s.start(i) + tau:
            return None
        top = volume = 0.0
        rows = s.segment(i)
        for j in rows:
            due = s.rows[j]["ts"] + tau
            if not (t - w < due < t) or not costed(s, j):
                continue
            known = [k for k in rows if s.rows[k]["ts"] <= due]
            after = latest(s, known[-1], lambda k: mid_of(s, k))
            for p, z, d in prints_of(s, j):
                top += cost(p, d, mid_before(s, j), after) * z  # type: ignore[arg-type]
                volume += z
        return divide(top, volume)

    return value


realised_spread = lagged_cost(lambda p, d, _, after: 2 * d * (p - after))
price_impact = lagged_cost(lambda _, d, m0, after: 2 * d * (after - m0))


# --- on a grid ---------------------------------------------------------------------------------


def grid_points(s: Session, i: int, t: int, step: int) -> list[int]:
    """Grid points of the segment known at t, but not one at a segment's first row."""
    first = s.start(i) // step * step + step
    return list(range(first, t // step * step + 1, step))


def sampled(s: Session, i: int, name: str, g: int, x: Callable[[int], Value]) -> Value:
    """``x`` of the last event before g."""
    key = (name, g, s.rows[i]["segment"])
    if key not in s.memo:
        rows = [j for j, row in enumerate(s.rows) if row["segment"] == key[2]]
        s.memo[key] = x(max(j for j in rows if s.rows[j]["ts"] < g))
    return s.memo[key]


def running(s: Session, name: str, x: Callable[[int], Value]) -> Callable[[int], Value]:
    """Sum of ``x`` over the session's events up to one."""

    def upto(j: int) -> Value:
        if (name, "sums") not in s.memo:
            sums, value = [], 0
            for k in range(len(s.rows)):
                value += x(k) or 0  # type: ignore[assignment]
                sums.append(value)
            s.memo[name, "sums"] = sums
        return s.memo[name, "sums"][j]

    return upto


def held_mid(s: Session, j: int) -> Value:
    return s.cached("held mid", j, lambda: latest(s, j, lambda k: mid_of(s, k)))


def steps(
    s: Session, i: int, t: int, step: str, window: str, *series: tuple[str, Callable[[int], Value]]
) -> list[list[Value]] | None:
    """Changes over the grid steps of a window, by series; None while the window is not full."""
    size, length = duration(step), duration(window)
    points = grid_points(s, i, t, size)
    if not points or points[-1] - length < points[0]:
        return None
    found = []
    for name, x in series:
        changes: list[Value] = []
        for g in points:
            if g <= points[-1] - length:
                continue
            now = sampled(s, i, name, g, x)
            past = sampled(s, i, name, g - size, x) if g > points[0] else None
            changes.append(None if now is None or past is None else now - past)
        found.append(changes)
    return found


def fit(pairs: list[tuple[float, float]]) -> tuple[Value, Value]:
    """Slope and R^2 of the second on the first."""
    n = len(pairs)
    if n < 3:
        return None, None
    mx, my = (math.fsum(p[k] for p in pairs) / n for k in (0, 1))
    xx = math.fsum((x - mx) ** 2 for x, _ in pairs)
    yy = math.fsum((y - my) ** 2 for _, y in pairs)
    if xx < 1e-9:
        return None, None
    slope = math.fsum((x - mx) * (y - my) for x, y in pairs) / xx
    left = math.fsum((y - my - slope * (x - mx)) ** 2 for x, y in pairs)
    return slope, None if yy < 1e-9 else 1 - left / yy


def impact(flow: str, part: int) -> Callable[..., Value]:
    def value(s: Session, i: int, t: int, step: str, window: str) -> Value:
        def flow_of(j: int) -> Value:
            row = s.rows[j]
            return contribution(s, j) if flow == "ofi" else row["buy_sz"] - row["sell_sz"]

        changes = steps(
            s,
            i,
            t,
            step,
            window,
            (flow, running(s, flow, flow_of)),
            ("mid", lambda j: held_mid(s, j)),
        )
        if changes is None:
            return None
        pairs = [(x, y) for x, y in zip(*changes, strict=True) if x is not None and y is not None]
        return fit(pairs)[part] if len(pairs) >= 30 else None

    return value


beta_ofi = impact("ofi", 0)


def implied_depth(s: Session, i: int, t: int, step: str, window: str) -> Value:
    beta = beta_ofi(s, i, t, step, window)
    return 1 / (2 * beta) if beta is not None and beta > 0 else None


def kyle_lambda_trades(s: Session, i: int, t: int, bar: int, window: str) -> Value:
    n = int(window[1:])
    count = sum(s.rows[j]["trade_ct"] > 0 for j in range(s.segment(i)[0]))
    signed = 0
    bars: list[tuple[int, Value]] = []
    for j in s.segment(i):
        row = s.rows[j]
        signed += row["buy_sz"] - row["sell_sz"]
        count += row["trade_ct"] > 0
        if row["trade_ct"] and count % bar == 0:
            bars.append((signed, held_mid(s, j)))
    pairs = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(bars)]  # type: ignore[operator]
    return fit(pairs[-n:])[0] if len(pairs) >= n else None


def amihud(s: Session, i: int, t: int, step: str, window: str) -> Value:
    def value_of(j: int) -> Value:
        return 0 if s.rows[j]["first"] else abs(sum(p * z for p, z in s.rows[j]["px_sz"]))

    series = ("value", running(s, "value", value_of)), ("mid", lambda j: held_mid(s, j))
    changes = steps(s, i, t, step, window, *series)
    if changes is None:
        return None
    size = duration(step)
    points = list(grid_points(s, i, t, size))[-len(changes[0]) :]
    found = []
    for g, value, moved in zip(points, *changes, strict=True):
        if value and moved is not None:
            past = sampled(s, i, "mid", g - size, lambda j: held_mid(s, j))
            money = value * s.context.tick / NS
            found.append(1e10 * abs(moved) / abs(past) / money)  # type: ignore[arg-type]
    return divide(math.fsum(found), len(found))


# --- by trades ---------------------------------------------------------------------------------


def roll_spread(s: Session, i: int, t: int, window: str) -> Value:
    n = int(window[1:])
    prices = [s.rows[j]["trade_px"] for j in s.segment(i) if s.rows[j]["trade_px"] is not None]
    changes = [(b - a) / s.context.tick for a, b in itertools.pairwise(prices)]
    pairs = list(zip(changes[1:], changes, strict=False))
    if len(pairs) < n:
        return None
    pairs = pairs[-n:]
    means = [sum(p[k] for p in pairs) / n for k in (0, 1)]
    covariance = math.fsum((a - means[0]) * (b - means[1]) for a, b in pairs) / n
    return 2 * math.sqrt(-covariance) if covariance < -1e-9 else None


def queue_before(s: Session, j: int, side: str) -> Value:
    return before(s, j, lambda k: depth_of(s, k, side, 1) if s.rows[k]["ok_flow"] else None)


def to_depth(s: Session, j: int, aggressor: str) -> Value:
    size = s.rows[j][f"{aggressor}_sz"]
    return divide(size, queue_before(s, j, HIT[aggressor])) if size else None


def trade_to_depth(s: Session, i: int, t: int, aggressor: str) -> Value:
    return latest(s, i, lambda j: to_depth(s, j, aggressor))


def trade_to_depth_mean(s: Session, i: int, t: int, aggressor: str, window: str) -> Value:
    return mean_of(s, i, t, lambda j: to_depth(s, j, aggressor), window)


def prices_traded(s: Session, j: int, aggressor: str) -> int:
    sign = 1 if aggressor == "buy" else -1
    return len({p for p, _, d in prints_of(s, j) if d == sign})


def levels_eaten(s: Session, i: int, t: int, aggressor: str) -> Value:
    return latest(s, i, lambda j: prices_traded(s, j, aggressor) or None)


def five(s: Session, j: int, side: str) -> Value:
    return depth_of(s, j, side, 5) if s.rows[j]["ok_flow"] else None


def sweeps_of(s: Session, i: int, side: str) -> list[tuple[int, int, int]]:
    """Row, depth before and depth after of the segment's sweeps that took something."""
    key = ("sweeps", side, s.rows[i]["segment"])
    if key not in s.memo:
        rows = [j for j, row in enumerate(s.rows) if row["segment"] == key[2]]
        found, past = [], None
        for j in rows:
            now = five(s, j, side)
            took = past is not None and now is not None and past > now
            if took and prices_traded(s, j, TAKER[side]) > 1:
                found.append((j, past, now))
            past = now if now is not None else past
        s.memo[key] = found
    return [x for x in s.memo[key] if x[0] <= i]


def recovery(s: Session, j: int, side: str) -> Value:
    sweeps, now = sweeps_of(s, j, side), five(s, j, side)
    if not sweeps or now is None:
        return None
    _, full, left = sweeps[-1]
    return (now - left) / (full - left)


def resilience(s: Session, i: int, t: int, side: str) -> Value:
    return recovery(s, i, side)


def resilience_mean(s: Session, i: int, t: int, side: str, half_life: str) -> Value:
    return mean_of(s, i, t, lambda j: recovery(s, j, side), half_life)


def refill_time(s: Session, i: int, t: int, side: str) -> Value:
    found: Value = None
    sweeps = sweeps_of(s, i, side)
    ends = [x[0] for x in sweeps[1:]] + [i + 1] * bool(sweeps)
    for (j, _, _), end in zip(sweeps, ends, strict=True):
        for k in range(j + 1, end):
            back = recovery(s, k, side)
            if back is not None and back >= 0.5:
                found = (s.rows[k]["ts"] - s.rows[j]["ts"]) / NS
                break
    return found


SLOW = {
    "spread_mean": spread_mean,
    "one_tick_share": one_tick_share,
    "effective_spread": effective_spread,
    "realised_spread": realised_spread,
    "price_impact": price_impact,
    "beta_ofi": beta_ofi,
    "beta_ofi_r2": impact("ofi", 1),
    "implied_depth": implied_depth,
    "kyle_lambda": impact("trades", 0),
    "kyle_lambda_trades": kyle_lambda_trades,
    "amihud": amihud,
    "roll_spread": roll_spread,
    "trade_to_depth": trade_to_depth,
    "trade_to_depth_mean": trade_to_depth_mean,
    "levels_eaten": levels_eaten,
    "resilience": resilience,
    "resilience_mean": resilience_mean,
    "refill_time": refill_time,
}
