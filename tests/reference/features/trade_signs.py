"""Features of signs, places and sizes of trades, and of volume."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.reference.features.costs import (
    TAKER,
    fit,
    grid_points,
    held_mid,
    mean_of,
    mid_before,
    prices_traded,
    running,
    steps,
)
from tests.reference.features.levels import level
from tests.reference.features.session import Session, Value, duration
from tests.reference.features.windows import before, divide, latest, total


def given(s: Session, j: int) -> Value:
    signed = s.rows[j]["buy_sz"] - s.rows[j]["sell_sz"]
    return (signed > 0) - (signed < 0) or None


def sign(s: Session, j: int) -> Value:
    row = s.rows[j]
    if row["first"] or not row["trade_ct"]:
        return None
    if given(s, j) is not None:
        return given(s, j)
    average = sum(p * z for p, z in row["px_sz"]) / sum(z for _, z in row["px_sz"])
    m0 = mid_before(s, j)
    if m0 is not None and average != m0:
        return 1 if average > m0 else -1
    prices = [s.rows[k]["trade_px"] for k in s.segment(j) if s.rows[k]["trade_px"] is not None]
    for a, b in zip(reversed(prices[:-1]), reversed(prices), strict=False):
        if a != b:
            return 1 if b > a else -1
    return None


def trade_sign(s: Session, i: int, t: int) -> Value:
    return latest(s, i, lambda j: sign(s, j))


def signed_volume_all(s: Session, i: int, t: int, window: str) -> Value:
    def value(j: int) -> Value:
        row = s.rows[j]
        if not row["trade_ct"]:
            return None
        signed = row["buy_sz"] - row["sell_sz"]
        if signed:
            return signed
        return None if sign(s, j) is None else row["trade_sz"] * sign(s, j)

    return total(s, i, t, value, window)


def trade_size(s: Session, i: int, t: int, window: str) -> Value:
    def at(name: str) -> Callable[[int], Value]:
        return lambda j: s.rows[j][name] if s.rows[j]["trade_ct"] else None

    return divide(total(s, i, t, at("trade_sz"), window), total(s, i, t, at("trade_ct"), window))


def trade_size_z(s: Session, i: int, t: int, window: str) -> Value:
    n = int(window[1:])
    logs = [math.log(s.rows[j]["trade_sz"]) for j in s.segment(i) if s.rows[j]["trade_ct"]]
    past = logs[-1 - n : -1]
    if len(past) < n:
        return None
    mean = math.fsum(past) / n
    variance = math.fsum((x - mean) ** 2 for x in past) / (n - 1)
    return (logs[-1] - mean) / math.sqrt(variance) if variance > 1e-9 else None


def signs(s: Session, i: int) -> list[int]:
    if ("signs", i) not in s.memo:
        s.memo["signs", i] = [d for j in s.segment(i) if (d := given(s, j)) is not None]
    return s.memo["signs", i]


def sign_run(s: Session, i: int, t: int) -> Value:
    found = signs(s, i)
    if not found:
        return None
    length = 1
    while length < len(found) and found[-1 - length] == found[-1]:
        length += 1
    return length * found[-1]


def sign_autocorrelation(s: Session, i: int, t: int, lag: int, window: str) -> Value:
    found = signs(s, i)
    pairs = list(zip(found, found[lag:], strict=False))[-int(window[1:]) :]
    if len(pairs) < int(window[1:]):
        return None
    slope, r2 = fit(pairs)
    if slope is None or r2 is None:
        return None
    return math.copysign(math.sqrt(max(r2, 0)), slope) if abs(slope) > 1e-12 else 0.0


def trade_location(s: Session, i: int, t: int, place: str, window: str) -> Value:
    def inside(j: int) -> Value:
        where = s.cached("location", j, lambda: location(s, j))
        return None if where is None else int(where == ("bid", "inside", "ask").index(place))

    return mean_of(s, i, t, inside, window)


def location(s: Session, j: int) -> Value:
    """0 at or below the bid, 1 inside, 2 at or above the ask."""
    price = s.rows[j]["trade_px"]
    bid, ask = (
        before(s, j, lambda k, side=side: level(s, k, side, 0)[0] if s.rows[k]["ok"] else None)
        for side in ("bid", "ask")
    )
    if price is None or bid is None or ask is None:
        return None
    price /= s.context.tick
    return 0 if price <= bid else 2 if price >= ask else 1


# --- volume ------------------------------------------------------------------------------------


def volume_and_mid(s: Session, i: int, t: int, window: str) -> list[list[Value]] | None:
    def signed(j: int) -> Value:
        return s.rows[j]["buy_sz"] - s.rows[j]["sell_sz"]

    series = ("trades", running(s, "trades", signed)), ("mid", lambda j: held_mid(s, j))
    return steps(s, i, t, "10s", window, *series)


def spread_out(values: list[Value]) -> Value:
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return None
    mean = math.fsum(known) / len(known)
    variance = math.fsum((v - mean) ** 2 for v in known) / (len(known) - 1)
    return math.sqrt(variance) if variance > 1e-9 else None


def cvd_divergence(s: Session, i: int, t: int, window: str) -> Value:
    long, short = (volume_and_mid(s, i, t, w) for w in ("30m", window))
    if long is None or short is None:
        return None
    z = [
        divide(sum(v or 0 for v in now), sd * math.sqrt(duration(window) / 10**10))
        if (sd := spread_out(past)) is not None
        else None
        for now, past in zip(short, long, strict=True)
    ]
    return None if z[0] is None or z[1] is None else z[0] - z[1]


def cvd_residual(s: Session, i: int, t: int, window: str) -> Value:
    long, short = (volume_and_mid(s, i, t, w) for w in ("30m", window))
    if long is None or short is None:
        return None
    pairs = [(x, y) for x, y in zip(*long, strict=True) if x is not None and y is not None]
    slope = fit(pairs)[0]
    if len(pairs) < 30 or slope is None:
        return None
    signed, moved = (sum(v or 0 for v in values) for values in short)
    return moved - slope * signed


def swept(s: Session, j: int, aggressor: str) -> bool:
    return prices_traded(s, j, aggressor) > 1


def sweep(s: Session, i: int, t: int) -> Value:
    return swept(s, i, "buy") - swept(s, i, "sell")


def sweep_volume(s: Session, i: int, t: int, window: str) -> Value:
    def value(j: int) -> Value:
        row = s.rows[j]
        return row["buy_sz"] * swept(s, j, "buy") - row["sell_sz"] * swept(s, j, "sell")

    return total(s, i, t, value, window)


def orders(s: Session, j: int) -> int:
    return s.rows[j]["buy_orders"] + s.rows[j]["sell_orders"]


def sweep_share(s: Session, i: int, t: int, window: str) -> Value:
    sweeps = total(s, i, t, lambda j: swept(s, j, "buy") + swept(s, j, "sell"), window)
    return divide(sweeps, total(s, i, t, lambda j: orders(s, j), window))


def prints_per_order(s: Session, i: int, t: int, window: str) -> Value:
    prints = total(s, i, t, lambda j: s.rows[j]["buy_ct"] + s.rows[j]["sell_ct"], window)
    return divide(prints, total(s, i, t, lambda j: orders(s, j), window))


def fills_per_order(s: Session, i: int, t: int, window: str) -> Value:
    names = [f"{a}_{z}_fill_ct" for a in ("bid", "ask") for z in ("l1", "l2_10", "deep")]
    fills = total(s, i, t, lambda j: sum(s.rows[j][name] for name in names), window)
    return divide(fills, total(s, i, t, lambda j: orders(s, j), window))


def vpin(s: Session, i: int, t: int, size: int, buckets: int) -> Value:
    """Interpolate the buyers' cumulative volume at multiples of the bucket's size."""
    volume, bought = [0], [0.0]
    for j in s.segment(i):
        row = s.rows[j]
        if row["buy_sz"] + row["sell_sz"]:
            volume.append(volume[-1] + row["buy_sz"] + row["sell_sz"])
            bought.append(bought[-1] + row["buy_sz"])
    full = volume[-1] // size
    if full < buckets:
        return None

    def at(v: int) -> float:
        k = next(k for k in range(len(volume)) if volume[k] >= v)
        if volume[k] == v:
            return bought[k]
        share = (v - volume[k - 1]) / (volume[k] - volume[k - 1])
        return bought[k - 1] + share * (bought[k] - bought[k - 1])

    parts = [at((k + 1) * size) - at(k * size) for k in range(full - buckets, full)]
    return math.fsum(abs(2 * b - size) / size for b in parts) / buckets


def bulk(s: Session, i: int, g: int, window: str) -> tuple[float, int] | None:
    """A bar's abs(2 Phi - 1) and its volume, by the deviation of the changes up to it."""
    series = (
        ("volume", running(s, "volume", lambda j: s.rows[j]["trade_sz"])),
        ("price", lambda j: latest(s, j, lambda k: s.rows[k]["trade_px"])),
    )
    changes = steps(s, i, g, "60s", window, *series)
    if changes is None:
        return None
    moved = [None if p is None else p / s.context.tick for p in changes[1]]
    sd = spread_out(moved)
    if sd is None or moved[-1] is None:
        return None
    return abs(math.erf(moved[-1] / sd / math.sqrt(2))), changes[0][-1]  # type: ignore[return-value]


def vpin_bvc(s: Session, i: int, t: int, window: str) -> Value:
    points = grid_points(s, i, t, duration("60s"))
    if not points or points[-1] - duration(window) < points[0]:
        return None
    top = bottom = 0.0
    for g in points:
        key = ("bulk", window, g, s.rows[i]["segment"])
        if key not in s.memo:
            s.memo[key] = bulk(s, i, g, window)
        if g > points[-1] - duration(window) and s.memo[key] is not None:
            share, volume = s.memo[key]
            top += share * volume
            bottom += volume
    return divide(top, bottom)


def profile(s: Session, i: int) -> dict[str, float] | None:
    key = ("profile", i)
    if key not in s.memo:
        s.memo[key] = _profile(s, i)
    return s.memo[key]


def _profile(s: Session, i: int) -> dict[str, float] | None:
    volume: dict[float, int] = {}
    poc = here = None
    for j in range(i + 1):
        for price, size in s.rows[j]["px_sz"] if not s.rows[j]["first"] else ():
            volume[price] = volume.get(price, 0) + size
            here = price
            if poc is None or volume[price] > volume[poc]:
                poc = price
    if poc is None or here is None:
        return None
    prices = sorted(volume)
    low = high = prices.index(poc)
    while sum(volume[p] for p in prices[low : high + 1]) < 0.7 * sum(volume.values()) - 1e-9:
        below = volume[prices[low - 1]] if low else 0
        above = volume[prices[high + 1]] if high + 1 < len(prices) else 0
        low -= below >= above
        high += above >= below
    share = volume[here] / volume[poc]
    return {"poc": poc, "low": prices[low], "high": prices[high], "share": share}


def of_profile(part: str) -> Callable[..., Value]:
    return lambda s, i, t: found[part] if (found := profile(s, i)) else None


def profile_dev(s: Session, i: int, t: int, end: str) -> Value:
    found, m = profile(s, i), level(s, i, "bid", 0)[0]
    if found is None or not s.rows[i]["ok"]:
        return None
    return (m + level(s, i, "ask", 0)[0]) / 2 - found[end]  # type: ignore[operator]


def touch_traded(s: Session, i: int, t: int, side: str) -> Value:
    price = level(s, i, side, 0)[0]
    if not s.rows[i]["ok_flow"] or price is None:
        return None
    traded = 0
    rows = s.segment(i)
    for j in reversed(rows):
        usable = [k for k in rows if k < j and s.rows[k]["ok_flow"]]
        if s.rows[j]["ok_flow"] and (not usable or level(s, usable[-1], side, 0)[0] != price):
            return traded
        traded += s.rows[j][f"{TAKER[side]}_sz"]
    return None


def footprint_delta(s: Session, i: int, t: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    return touch_traded(s, i, t, "ask") - touch_traded(s, i, t, "bid")  # type: ignore[operator]


def absorption(s: Session, i: int, t: int, side: str) -> Value:
    return divide(touch_traded(s, i, t, side), level(s, i, side, 0)[1])


SLOW = {
    "trade_sign": trade_sign,
    "signed_volume_all": signed_volume_all,
    "trade_size": trade_size,
    "trade_size_z": trade_size_z,
    "sign_run": sign_run,
    "sign_autocorrelation": sign_autocorrelation,
    "trade_location": trade_location,
    "cvd_divergence": cvd_divergence,
    "cvd_residual": cvd_residual,
    "sweep": sweep,
    "sweep_volume": sweep_volume,
    "sweep_share": sweep_share,
    "prints_per_order": prints_per_order,
    "fills_per_order": fills_per_order,
    "vpin": vpin,
    "vpin_bvc": vpin_bvc,
    "poc": of_profile("poc"),
    "poc_dev": lambda s, i, t: profile_dev(s, i, t, "poc"),
    "value_area_dev": profile_dev,
    "profile_share": of_profile("share"),
    "touch_traded": touch_traded,
    "footprint_delta": footprint_delta,
    "absorption": absorption,
}
