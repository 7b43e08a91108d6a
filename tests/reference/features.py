"""Every feature once more, slow and obvious: loops over rows in plain Python.

``prepare`` turns the tables into a list of events; ``decisions`` lists the decision points of a
clock; ``FEATURES[name](session, i, t, **arguments)`` is the value of a family at a decision
point, where ``i`` is the last row known and ``t`` the time.  Nothing here is shared with the
product but the meaning of its words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import polars as pl

NS = 10**9
DAY = 86_400 * NS
UNITS = {"ms": 10**6, "s": NS, "m": 60 * NS, "h": 3600 * NS}
LN2 = math.log(2)

Value = float | int | None
RowValue = Callable[[int], Value]


@dataclass
class Session:
    context: Any
    rows: list[dict[str, Any]]
    ends: dict[int, int]
    """When each segment ended."""
    memo: dict[Any, Any] = field(default_factory=dict)

    def segment(self, i: int) -> list[int]:
        """Rows of i's segment, up to i."""
        number = self.rows[i]["segment"]
        return [j for j in range(i + 1) if self.rows[j]["segment"] == number]

    def start(self, i: int) -> int:
        return self.rows[self.segment(i)[0]]["ts"]

    def cached(self, name: str, j: int, compute: Callable[[], Value]) -> Value:
        if (name, j) not in self.memo:
            self.memo[name, j] = compute()
        return self.memo[name, j]


def prepare(context: Any, book: pl.DataFrame, flow: pl.DataFrame, trades: pl.DataFrame) -> Session:
    """Events with their segments, from whole tables."""
    prints: dict[int, list[dict[str, Any]]] = {}
    for row in trades.iter_rows(named=True):
        prints.setdefault(row["event"], []).append(row)
    events: list[dict[str, Any]] = []
    ends: dict[int, int] = {}
    number, begun, clock = -1, False, -(2**63)
    before: dict[str, Any] | None = None
    owed: dict[str, float] = {}
    touch = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")
    received = book["ts_recv"].cast(pl.Int64).to_list()
    for k, row in enumerate(book.iter_rows(named=True)):
        clock = max(clock, received[k])
        inside = [h for h, (a, b) in enumerate(context.segments) if a <= clock < b]
        row["hours"] = inside[0] if inside else None
        row["usable"] = row["valid"] and bool(inside)
        row["snapshot"] = received[k] % DAY == 0
        both = row["bid_px_00"] is not None and row["ask_px_00"] is not None
        row["ok"] = row["state"] == "normal" and both
        row["ok_flow"] = row["ok"] or row["state"] == "one_sided"
        row["ts"] = clock
        row.update(flow.row(k, named=True))
        row.update(_prints(prints.get(row["event"], []), context.tick))
        for name, value in owed.items():
            row[name] += value
        sums = [*flow.columns, *(n for n in _prints([], context.tick) if n != "trade_px")]
        owed = {name: row[name] for name in sums} if row["snapshot"] else {}
        goes_on = (
            before is not None
            and before["usable"]
            and before["hours"] == row["hours"]
            and before["instrument_id"] == row["instrument_id"]
            and not (row["snapshot"] and any(before[c] != row[c] for c in touch))
        )
        if begun and not (row["usable"] and goes_on):
            assert before is not None
            ends[number] = min(clock, context.segments[before["hours"]][1])
            begun = False
        if row["usable"] and not row["snapshot"]:
            row["first"] = not begun and row["ok"]
            if row["first"]:
                begun = True
                number += 1
            if begun:
                event = dict(row, segment=number)
                if row["first"]:
                    event.update(dict.fromkeys(sums, 0), trade_px=None)
                events.append(event)
        before = row
    if begun:
        assert before is not None
        ends[number] = min(clock, context.segments[before["hours"]][1])
    return Session(context, events, ends)


def _prints(rows: list[dict[str, Any]], tick: int) -> dict[str, Any]:
    buys = [r for r in rows if r["side"] == "B"]
    sells = [r for r in rows if r["side"] == "A"]
    return {
        "trade_ct": len(rows),
        "trade_sz": sum(r["size"] for r in rows),
        "buy_ct": len(buys),
        "buy_sz": sum(r["size"] for r in buys),
        "sell_ct": len(sells),
        "sell_sz": sum(r["size"] for r in sells),
        "buy_orders": int(bool(buys)),
        "sell_orders": int(bool(sells)),
        "trade_px": rows[-1]["price"] if rows else None,
        "px_sz": [(r["price"] / tick, r["size"]) for r in rows],
        "trade_px_sz": 0,
        "trade_px2_sz": 0,
    }


def decisions(s: Session, clock: str) -> list[tuple[int, int]]:
    """(last row known, time) of every decision point."""
    if clock == "event":
        return [(i, row["ts"]) for i, row in enumerate(s.rows)]
    touch = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")
    if clock == "touch":
        return [
            (i, row["ts"])
            for i, row in enumerate(s.rows)
            if row["first"] or any(row[c] != s.rows[i - 1][c] for c in touch)
        ]
    step = duration(clock.partition(":")[2])
    found = []
    for number, end in s.ends.items():
        rows = [i for i, row in enumerate(s.rows) if row["segment"] == number]
        first = s.rows[rows[0]]["ts"]
        found += [
            (max(i for i in rows if s.rows[i]["ts"] < g), g)
            for g in range(first // step * step + step, end + 1, step)
        ]
    return found


# --- windows ----------------------------------------------------------------------------------


def duration(text: str) -> int:
    digits = text.rstrip("msh")
    return int(digits) * UNITS[text[len(digits) :]]


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


# --- one row ----------------------------------------------------------------------------------


def level(s: Session, i: int, side: str, k: int) -> tuple[float | None, int, int]:
    """Price (ticks), size, orders."""
    row = s.rows[i]
    price = row[f"{side}_px_{k:02d}"]
    price = None if price is None else price / s.context.tick
    return price, row[f"{side}_sz_{k:02d}"], row[f"{side}_ct_{k:02d}"]


def mid_of(s: Session, i: int) -> float | None:
    if not s.rows[i]["ok"]:
        return None
    bid, ask = level(s, i, "bid", 0)[0], level(s, i, "ask", 0)[0]
    assert bid is not None
    assert ask is not None
    return (bid + ask) / 2


def mid(s: Session, i: int, t: int) -> Value:
    return mid_of(s, i)


def spread(s: Session, i: int, t: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    return level(s, i, "ask", 0)[0] - level(s, i, "bid", 0)[0]  # type: ignore[operator]


def spread_bps(s: Session, i: int, t: int) -> Value:
    gap, m = spread(s, i, t), mid_of(s, i)
    return None if gap is None or not m else 1e4 * gap / abs(m)


def spread_is_1tick(s: Session, i: int, t: int) -> Value:
    gap = spread(s, i, t)
    return None if gap is None else int(gap == 1)


def wmid(s: Session, i: int, t: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    (b, bs, _), (a, az, _) = level(s, i, "bid", 0), level(s, i, "ask", 0)
    return (b * az + a * bs) / (az + bs)  # type: ignore[operator]


def vamp(s: Session, i: int, t: int, levels: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    top = bottom = 0.0
    for k in range(levels):
        (b, bs, _), (a, az, _) = level(s, i, "bid", k), level(s, i, "ask", k)
        if b is not None and a is not None:
            top += b * az + a * bs
            bottom += az + bs
    return top / bottom


def vwap_mid(s: Session, i: int, t: int, levels: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    prices = []
    for side in ("bid", "ask"):
        parts = [level(s, i, side, k)[:2] for k in range(levels)]
        there = [(p, z) for p, z in parts if p is not None]
        prices.append(sum(p * z for p, z in there) / sum(z for _, z in there))
    return sum(prices) / 2


def depth_of(s: Session, i: int, side: str, levels: int, what: int = 1) -> int:
    return sum(int(level(s, i, side, k)[what] or 0) for k in range(levels))


def ok_imbalance(s: Session, i: int, levels: int, what: int = 1) -> Value:
    if not s.rows[i]["ok"]:
        return None
    return imbalance(depth_of(s, i, "bid", levels, what), depth_of(s, i, "ask", levels, what))


def queue_imbalance_level(s: Session, i: int, t: int, level: int) -> Value:
    (b, bs, _), (a, az, _) = _level(s, i, "bid", level), _level(s, i, "ask", level)
    return imbalance(bs, az) if s.rows[i]["ok"] and b is not None and a is not None else None


_level = level


def weighted(s: Session, i: int, weight: Callable[[float], float]) -> Value:
    if not s.rows[i]["ok"]:
        return None
    sides = []
    for side in ("bid", "ask"):
        touch = level(s, i, side, 0)[0]
        parts = (level(s, i, side, k) for k in range(10))
        sides.append(sum(weight(abs(p - touch)) * z for p, z, _ in parts if p is not None))  # type: ignore[operator]
    return imbalance(*sides)


def order_size(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    if not s.rows[i]["ok_flow"]:
        return None
    return divide(depth_of(s, i, side, levels), depth_of(s, i, side, levels, 2))


def order_size_ratio(s: Session, i: int, t: int, levels: int) -> Value:
    if not s.rows[i]["ok"]:
        return None
    bid, ask = (order_size(s, i, t, side, levels) for side in ("bid", "ask"))
    return None if bid is None or ask is None else math.log(bid / ask)


def side_depth(s: Session, i: int, t: int, side: str, levels: int) -> Value:
    return depth_of(s, i, side, levels) if s.rows[i]["ok_flow"] else None


def log_depth(s: Session, i: int, t: int, levels: int) -> Value:
    both = depth_of(s, i, "bid", levels) + depth_of(s, i, "ask", levels)
    return math.log(both) if s.rows[i]["ok_flow"] and both else None


# --- order flow -------------------------------------------------------------------------------


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


# --- trades -----------------------------------------------------------------------------------


def col(s: Session, name: str) -> RowValue:
    return lambda j: s.rows[j][name]


def at_trades(s: Session, x: RowValue) -> RowValue:
    return lambda j: x(j) if s.rows[j]["trade_ct"] else None


def signed(s: Session) -> RowValue:
    return lambda j: s.rows[j]["buy_sz"] - s.rows[j]["sell_sz"]


def signed_volume(s: Session, i: int, t: int, window: str) -> Value:
    return total(s, i, t, at_trades(s, signed(s)), window)


def trade_imbalance(s: Session, i: int, t: int, window: str) -> Value:
    volume = total(s, i, t, at_trades(s, col(s, "trade_sz")), window)
    return divide(signed_volume(s, i, t, window), volume)


def vwap_parts(s: Session, i: int, t: int, window: str) -> tuple[Value, Value]:
    """VWAP and its standard deviation, from all prints of a window or the session."""
    if window == "session":
        rows: list[int] | None = list(range(i + 1))
    else:
        rows = rows_in(s, i, t, duration(window))
    if rows is None:
        return None, None
    prints = [p for j in rows if not s.rows[j]["first"] for p in s.rows[j]["px_sz"]]
    volume = sum(z for _, z in prints)
    if not volume:
        return None, None
    average = sum(p * z for p, z in prints) / volume
    variance = sum(z * (p - average) ** 2 for p, z in prints) / volume
    return average, math.sqrt(variance) if variance > 1e-9 else None


def vwap_dev(s: Session, i: int, t: int, window: str) -> Value:
    m, average = mid_of(s, i), vwap_parts(s, i, t, window)[0]
    return None if m is None or average is None else m - average


def vwap_z(s: Session, i: int, t: int, window: str) -> Value:
    return divide(vwap_dev(s, i, t, window), vwap_parts(s, i, t, window)[1])


def aggressor_size(s: Session, i: int, t: int, window: str) -> Value:
    size = total(s, i, t, lambda j: s.rows[j]["buy_sz"] + s.rows[j]["sell_sz"], window)
    n = total(s, i, t, lambda j: s.rows[j]["buy_orders"] + s.rows[j]["sell_orders"], window)
    return divide(size, n)


def last_trade_dev(s: Session, i: int, t: int) -> Value:
    price, m = latest(s, i, col(s, "trade_px")), mid_of(s, i)
    return None if price is None or m is None else price / s.context.tick - m


# --- messages ---------------------------------------------------------------------------------


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


# --- volatility, returns ----------------------------------------------------------------------


def rv(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    step, length = duration(grid), duration(window)
    rows = s.segment(i)
    first = s.start(i) // step * step + step
    last = t // step * step
    if last - length < first:
        return None

    def sample(g: int) -> Value:
        known = [j for j in rows if s.rows[j]["ts"] < g and mid_of(s, j) is not None]
        return mid_of(s, known[-1])

    key = ("samples", grid, s.rows[i]["segment"])
    samples = s.memo.setdefault(key, {})
    value = 0.0
    for g in range(last - length + step, last + 1, step):
        if g % step:
            continue
        for at in (g, g - step):
            if at not in samples:
                samples[at] = sample(at)
        value += (samples[g] - samples[g - step]) ** 2
    return value


def root(value: Value) -> Value:
    return None if value is None else math.sqrt(value)


def vol_annual(s: Session, i: int, t: int, grid: str, window: str) -> Value:
    variance, m = rv(s, i, t, grid, window), mid_of(s, i)
    if variance is None or not m:
        return None
    year = 252 * (s.context.announced_close - s.context.segments[0][0])
    return math.sqrt(variance * year / duration(window)) / abs(m)


def change_squared(s: Session, j: int) -> Value:
    m = mid_of(s, j)
    past = before(s, j, lambda k: mid_of(s, k))
    return None if m is None or past is None else (m - past) ** 2


def vol_ew(s: Session, i: int, t: int, half_life: str) -> Value:
    def squared(j: int) -> Value:
        return s.cached("dm2", j, lambda: change_squared(s, j))

    return root(rate(s, i, t, squared, half_life))


def signature_ratio(s: Session, i: int, t: int, window: str) -> Value:
    return divide(rv(s, i, t, "1s", window), rv(s, i, t, "60s", window))


def past_return(s: Session, i: int, t: int, window: str) -> Value:
    m = mid_of(s, i)
    past = value_ago(s, i, t, lambda j: mid_of(s, j), window)
    return None if m is None or past is None else m - past


def expected_move(s: Session, i: int, t: int, half_life: str, length: int) -> Value:
    vol = vol_ew(s, i, t, half_life)
    return None if vol is None else max(vol * math.sqrt(length / NS), 0.5)


def momentum(s: Session, i: int, t: int, window: str) -> Value:
    expected = expected_move(s, i, t, "h60s", duration(window))
    return divide(past_return(s, i, t, window), expected)


def zscore(s: Session, i: int, t: int, window: str) -> Value:
    values = values_in(s, i, t, lambda j: mid_of(s, j), window)
    m = mid_of(s, i)
    if m is None or values is None or len(values) < 2:
        return None
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return (m - mean) / math.sqrt(variance) if variance > 1e-9 else None


def ema(s: Session, i: int, t: int, half_life: str) -> Value:
    top = total(s, i, t, lambda j: mid_of(s, j), half_life)
    n = total(s, i, t, lambda j: None if mid_of(s, j) is None else 1, half_life)
    return divide(top, n)


def ema_gap(s: Session, i: int, t: int, half_life: str) -> Value:
    m, average = mid_of(s, i), ema(s, i, t, half_life)
    return None if m is None or average is None else m - average


def ema_gap_z(s: Session, i: int, t: int, half_life: str) -> Value:
    expected = expected_move(s, i, t, half_life, duration(half_life[1:]))
    return divide(ema_gap(s, i, t, half_life), expected)


# --- clock ------------------------------------------------------------------------------------


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


FEATURES: dict[str, Callable[..., Value]] = {
    "mid": mid,
    "spread": spread,
    "spread_bps": spread_bps,
    "spread_is_1tick": spread_is_1tick,
    "wmid": wmid,
    "vamp": vamp,
    "vwap_mid": vwap_mid,
    "queue_imbalance": lambda s, i, t: ok_imbalance(s, i, 1),
    "queue_imbalance_level": queue_imbalance_level,
    "depth_imbalance": lambda s, i, t, levels: ok_imbalance(s, i, levels),
    "decayed_imbalance": lambda s, i, t, percent: weighted(
        s, i, lambda d: math.exp(-percent / 100 * d)
    ),
    "inverse_imbalance": lambda s, i, t: weighted(s, i, lambda d: 1 / (1 + d)),
    "count_imbalance": lambda s, i, t, levels: ok_imbalance(s, i, levels, 2),
    "order_size": order_size,
    "order_size_ratio": order_size_ratio,
    "side_depth": side_depth,
    "log_depth": log_depth,
    "ofi_event": lambda s, i, t: contribution(s, i),
    "ofi": ofi,
    "ofi_level": ofi_level,
    "ofi_normalised": ofi_normalised,
    "ofi_cause": ofi_cause,
    "ofi_ratio": ofi_ratio,
    "signed_volume": signed_volume,
    "trade_imbalance": trade_imbalance,
    "trade_count": lambda s, i, t, window: total(s, i, t, col(s, "trade_ct"), window),
    "trade_count_imbalance": lambda s, i, t, window: imbalance(
        total(s, i, t, col(s, "buy_ct"), window), total(s, i, t, col(s, "sell_ct"), window)
    ),
    "cvd": lambda s, i, t: sum(signed(s)(j) for j in range(i + 1)),  # type: ignore[misc]
    "trade_intensity": lambda s, i, t, half_life: rate(s, i, t, col(s, "trade_ct"), half_life),
    "trade_intensity_ratio": lambda s, i, t, short, long: divide(
        rate(s, i, t, col(s, "trade_ct"), short), rate(s, i, t, col(s, "trade_ct"), long)
    ),
    "vwap_session": lambda s, i, t: vwap_parts(s, i, t, "session")[0],
    "vwap": lambda s, i, t, window: vwap_parts(s, i, t, window)[0],
    "vwap_dev_session": lambda s, i, t: vwap_dev(s, i, t, "session"),
    "vwap_dev": vwap_dev,
    "vwap_z_session": lambda s, i, t: vwap_z(s, i, t, "session"),
    "vwap_z": vwap_z,
    "aggressor_size": aggressor_size,
    "last_trade_dev": last_trade_dev,
    "trade_rate": lambda s, i, t, aggressor, half_life: rate(
        s, i, t, col(s, f"{aggressor}_orders"), half_life
    ),
    "add_rate": flow_rate("add", "ct"),
    "add_volume_rate": flow_rate("add", "sz"),
    "cancel_rate": flow_rate("cancel", "ct"),
    "cancel_volume_rate": flow_rate("cancel", "sz"),
    "net_provision": net_provision,
    "net_provision_diff": net_provision_diff,
    "rv": rv,
    "vol": lambda s, i, t, grid, window: root(rv(s, i, t, grid, window)),
    "vol_annual": vol_annual,
    "vol_ew": vol_ew,
    "signature_ratio": signature_ratio,
    "past_return": past_return,
    "momentum": momentum,
    "zscore": zscore,
    "ema": ema,
    "ema_gap": ema_gap,
    "ema_gap_z": ema_gap_z,
    "session_date": lambda s, i, t: int(s.context.session.strftime("%Y%m%d")),
    "seconds_since_open": lambda s, i, t: (t - s.context.segments[0][0]) / NS,
    "seconds_to_close": lambda s, i, t: (s.context.announced_close - t) / NS,
    "is_rth": is_rth,
    "session_part": session_part,
    "time_sin": lambda s, i, t, cycle: math.sin(phase(s, t, cycle)),
    "time_cos": lambda s, i, t, cycle: math.cos(phase(s, t, cycle)),
    "since_trade": lambda s, i, t: seconds_since(s, i, t, traded(s)),
    "since_trade_side": lambda s, i, t, aggressor: seconds_since(
        s, i, t, lambda j: s.rows[j][f"{aggressor}_ct"] > 0
    ),
    "since_mid_move": lambda s, i, t: seconds_since(s, i, t, lambda j: mid_moved(s, j)),
    "since_touch_update": lambda s, i, t: seconds_since(s, i, t, lambda j: touch_moved(s, j)),
    "trade_duration": lambda s, i, t, half_life: mean_gap(s, i, t, traded(s), half_life),
    "mid_duration": lambda s, i, t, half_life: mean_gap(
        s, i, t, lambda j: mid_moved(s, j), half_life
    ),
    "trade_duration_ratio": lambda s, i, t, half_life: divide(
        seconds_since(s, i, t, traded(s)), mean_gap(s, i, t, traded(s), half_life)
    ),
    "days_to_expiry": lambda s, i, t: (s.context.expiration - t) / DAY,
    "business_days_to_expiry": lambda s, i, t: s.context.business_days_left,
}


# --- labels: they see the whole session -------------------------------------------------------


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


LABELS: dict[str, Callable[..., tuple[Value, int | None]]] = {
    "forward_return_rows": lambda s, i, t, horizon: label_rows(s, i, horizon),
    "forward_return": label_time,
}
