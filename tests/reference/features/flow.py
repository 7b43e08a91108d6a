"""Features of order flow and of messages."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.reference.features.levels import depth_of, level
from tests.reference.features.session import NS, Session, Value
from tests.reference.features.trades import col
from tests.reference.features.windows import divide, imbalance, rate, total


def contribution(s: Session, i: int, k: int = 0) -> Value:
    """Equation 10 of Cont, Kukanov and Stoikov, against the last row that is ok_flow."""
    return s.cached(f"ofi{k}", i, lambda: _contribution(s, i, k))


def _contribution(s: Session, i: int, k: int) -> Value:
    if not s.rows[i]["ok_flow"]:
        return None
    earlier = [j for j in s.segment(i)[:-1] if s.rows[j]["ok_flow"]]
    if not earlier:
        return None
    e = 0
    for side, sign, far in (("bid", 1, -math.inf), ("ask", -1, math.inf)):
        now, size, _ = level(s, i, side, k)
        past, past_size, _ = level(s, earlier[-1], side, k)
        now = far if now is None else now
        past = far if past is None else past
        better = now >= past if side == "bid" else now <= past
        worse = now <= past if side == "bid" else now >= past
        e += sign * (size * better - past_size * worse)
    return e


def ofi_level(s: Session, i: int, t: int, level: int, window: str) -> Value:
    if not s.rows[i]["ok_flow"]:
        return None
    return total(s, i, t, lambda j: contribution(s, j, level), window)


def ofi(s: Session, i: int, t: int, window: str) -> Value:
    return ofi_level(s, i, t, 0, window)


def ofi_normalised(s: Session, i: int, t: int, window: str) -> Value:
    half_hour = 1800 * NS
    if t - half_hour < s.start(i):
        return None
    rows = s.segment(i)
    area = time = 0.0
    for j, after in zip(rows, [*rows[1:], None], strict=True):
        begin = max(s.rows[j]["ts"], t - half_hour)
        end = t if after is None else s.rows[after]["ts"]
        if s.rows[j]["ok_flow"] and end > begin:
            size = (depth_of(s, j, "bid", 1) + depth_of(s, j, "ask", 1)) / 2
            area += size * (end - begin)
            time += end - begin
    return divide(ofi(s, i, t, window), divide(area, time))


def ofi_cause(s: Session, i: int, t: int, window: str) -> Value:
    def side_flow(j: int, side: str) -> int:
        kinds = {"add": 1, "modify_join": 1}
        gone = dict.fromkeys(("cancel", "modify_keep", "modify_lose", "fill"), -1)
        return sum(n * s.rows[j][f"{side}_l1_{kind}_sz"] for kind, n in (kinds | gone).items())

    return total(s, i, t, lambda j: side_flow(j, "bid") - side_flow(j, "ask"), window)


def ofi_ratio(s: Session, i: int, t: int, window: str) -> Value:
    if not s.rows[i]["ok_flow"]:
        return None
    absolute = total(s, i, t, lambda j: abs(contribution(s, j) or 0), window)
    return divide(ofi(s, i, t, window), absolute)


def flow_rate(kind: str, measure: str) -> Callable[..., Value]:
    def value(s: Session, i: int, t: int, side: str, zone: str, window: str) -> Value:
        return rate(s, i, t, col(s, f"{side}_{zone}_{kind}_{measure}"), window)

    return value


def net_provision(s: Session, i: int, t: int, side: str, window: str) -> Value:
    added = total(s, i, t, col(s, f"{side}_l1_add_sz"), window)
    return imbalance(added, total(s, i, t, col(s, f"{side}_l1_cancel_sz"), window))


def net_provision_diff(s: Session, i: int, t: int, window: str) -> Value:
    bid, ask = (net_provision(s, i, t, side, window) for side in ("bid", "ask"))
    return None if bid is None or ask is None else bid - ask
