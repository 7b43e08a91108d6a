"""Indicators over bars, and ranges of the session, by plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from tests.reference.features.levels import mid_of
from tests.reference.features.session import NS, Session, Value, duration
from tests.reference.features.windows import divide, latest

Bar = tuple[Value, Value, Value, float]
"""Open, high, low, close."""


def amount(s: Session, j: int, kind: str) -> int:
    if kind == "e":
        return 1
    return s.rows[j]["trade_sz" if kind == "c" else "trade_ct"]


def closing(s: Session, i: int, t: int, bar: str) -> list[list[int]]:
    """Rows of each closed bar of i's segment, as known at (i, t)."""
    rows = s.segment(i)
    if bar[0] in "ect":
        size, done, found, held = int(bar[1:]), 0, [], []
        for j in rows:
            held.append(j)
            before, done = done, done + amount(s, j, bar[0])
            if done // size > before // size:
                found.append(held)
                held = []
        return found
    step = duration(bar)
    first = s.rows[rows[0]]["ts"] // step * step + step
    found, at = [], 0
    for g in range(first, t + 1, step):
        end = at
        while end < len(rows) and s.rows[rows[end]]["ts"] < g:
            end += 1
        found.append(rows[at:end])
        at = end
    return found


def bars_of(s: Session, i: int, t: int, bar: str) -> list[Bar]:
    key = ("bars", bar, i, t)
    if key not in s.memo:
        s.memo[key] = _bars_of(s, i, t, bar)
    return s.memo[key]


def _bars_of(s: Session, i: int, t: int, bar: str) -> list[Bar]:
    found: list[Bar] = []
    close: float | None = None
    for rows in closing(s, i, t, bar):
        values = [] if close is None else [close]
        values += [m for j in rows if (m := mid_of(s, j)) is not None]
        partial = close is None and bar[0] not in "ect"
        close = values[-1]
        known = (values[0], max(values), min(values))
        found.append((*((None, None, None) if partial else known), close))
    return found


def tail(values: list, n: int) -> list | None:
    return values[-n:] if len(values) >= n else None


def sma(s: Session, i: int, t: int, count: int, bar: str) -> Value:
    closes = tail([b[3] for b in bars_of(s, i, t, bar)], count)
    return None if closes is None else sum(closes) / count


def smooth(values: list[float], span: int) -> list[float]:
    found: list[float] = []
    for v in values:
        found.append(v if not found else found[-1] + 2 / (span + 1) * (v - found[-1]))
    return found


def ema(s: Session, i: int, t: int, count: int, bar: str) -> Value:
    closes = [b[3] for b in bars_of(s, i, t, bar)]
    return smooth(closes, count)[-1] if len(closes) >= count else None


def macd_parts(s: Session, i: int, t: int, bar: str) -> tuple[Value, Value]:
    closes = [b[3] for b in bars_of(s, i, t, bar)]
    if len(closes) < 78:
        return None, None
    line = [a - b for a, b in zip(smooth(closes, 12), smooth(closes, 26), strict=True)]
    return line[-1], smooth(line, 9)[-1]


def macd_histogram(s: Session, i: int, t: int, bar: str) -> Value:
    line, signal = macd_parts(s, i, t, bar)
    return None if line is None else line - signal


def wilder(values: list[float], n: int) -> Value:
    if len(values) < n:
        return None
    average = sum(values[:n]) / n
    for v in values[n:]:
        average += (v - average) / n
    return average


def rsi(s: Session, i: int, t: int, count: int, bar: str) -> Value:
    closes = [b[3] for b in bars_of(s, i, t, bar)]
    changes = [b - a for a, b in pairwise(closes)]
    up = wilder([max(c, 0.0) for c in changes], count)
    down = wilder([max(-c, 0.0) for c in changes], count)
    if up is None:
        return None
    return 100 * up / (up + down) if up + down else 50.0


def bands(s: Session, i: int, t: int, count: int, bar: str) -> tuple[float, float, float] | None:
    """Last close, mean, standard deviation."""
    closes = tail([b[3] for b in bars_of(s, i, t, bar)], count)
    if closes is None:
        return None
    mean = sum(closes) / count
    return closes[-1], mean, math.sqrt(sum((c - mean) ** 2 for c in closes) / count)


def bollinger_b(s: Session, i: int, t: int, count: int, bar: str) -> Value:
    found = bands(s, i, t, count, bar)
    if found is None or found[2] < 1e-6:
        return None
    close, mean, sigma = found
    return (close - (mean - 2 * sigma)) / (4 * sigma)


def bollinger_width(s: Session, i: int, t: int, count: int, bar: str) -> Value:
    found = bands(s, i, t, count, bar)
    return None if found is None else divide(4 * found[2], abs(found[1]))


def ranges(s: Session, i: int, t: int, count: int, bar: str) -> list[Bar] | None:
    return tail([b for b in bars_of(s, i, t, bar) if b[1] is not None], count)


def channel(s: Session, i: int, t: int, count: int, bar: str) -> tuple[Value, Value, Value]:
    """Highest high, lowest low, and where the last close stands between."""
    found = ranges(s, i, t, count, bar)
    if found is None:
        return None, None, None
    high, low = max(b[1] for b in found), min(b[2] for b in found)
    return high, low, (found[-1][3] - low) / (high - low) if high > low else 0.5


def atr(s: Session, i: int, t: int, count: int, bar: str) -> Value:
    true = [max(b[1], a[3]) - min(b[2], a[3]) for a, b in pairwise(bars_of(s, i, t, bar))]
    return wilder(true, count)


def root_mean(measure: Callable[[Bar], float]) -> Callable[..., Value]:
    def value(s: Session, i: int, t: int, count: int, bar: str) -> Value:
        found = ranges(s, i, t, count, bar)
        return None if found is None else math.sqrt(sum(map(measure, found)) / count)

    return value


parkinson = root_mean(lambda b: (b[1] - b[2]) ** 2 / (4 * math.log(2)))
garman_klass = root_mean(
    lambda b: 0.5 * (b[1] - b[2]) ** 2 - (2 * math.log(2) - 1) * (b[3] - b[0]) ** 2
)


def vwap_latest(s: Session, i: int, t: int, size: str) -> Value:
    need, rows = int(size[1:]), []
    for j in reversed(s.segment(i)):
        if need <= 0:
            break
        rows.append(j)
        need -= amount(s, j, size[0])
    if need > 0:
        return None
    prints = [p for j in rows if not s.rows[j]["first"] for p in s.rows[j]["px_sz"]]
    return divide(sum(p * z for p, z in prints), sum(z for _, z in prints))


def vwap_dev_latest(s: Session, i: int, t: int, size: str) -> Value:
    m, average = mid_of(s, i), vwap_latest(s, i, t, size)
    return None if m is None or average is None else m - average


# --- the session's ranges ----------------------------------------------------------------------


def printed(s: Session, i: int, start: int = 0, stop: int = 2**63) -> list[float]:
    """Prices (ticks) of the session's prints up to row i, of rows with ts in [start, stop)."""
    found = []
    for row in s.rows[: i + 1]:
        if start <= row["ts"] < stop and not row["first"]:
            found += [price for price, _ in row["px_sz"]]
    return found


def less(a: Value, b: Value) -> Value:
    return None if a is None or b is None else a - b


def session_high_dist(s: Session, i: int, t: int) -> Value:
    return less(mid_of(s, i), max(printed(s, i), default=None))


def session_low_dist(s: Session, i: int, t: int) -> Value:
    return less(mid_of(s, i), min(printed(s, i), default=None))


def session_range_position(s: Session, i: int, t: int) -> Value:
    found, now = printed(s, i), latest(s, i, lambda j: s.rows[j]["trade_px"])
    if now is None:
        return None
    low, high = min(found), max(found)
    return (now / s.context.tick - low) / (high - low) if high > low else 0.5


def opening(s: Session, i: int, t: int, minutes: int) -> tuple[Value, Value]:
    opened = s.context.rth[0]
    until = opened + minutes * 60 * NS
    if t < until or s.rows[0]["ts"] > opened:
        return None, None
    found = printed(s, i, opened, until)
    return max(found, default=None), min(found, default=None)


def opening_breakout(s: Session, i: int, t: int, minutes: int) -> Value:
    (high, low), m = opening(s, i, t, minutes), mid_of(s, i)
    if m is None or high is None:
        return None
    return int(m > high) - int(m < low)


def round_dist(s: Session, i: int, t: int, points: int) -> Value:
    m = mid_of(s, i)
    if m is None:
        return None
    price, step = m * s.context.tick, points * NS
    steps = math.floor(abs(price) / step + 0.5)
    return (price - math.copysign(steps * step, price)) / s.context.tick


def prior(s: Session, part: str) -> Value:
    """A price of the session before, in ticks."""

    def compute() -> Value:
        day = s.past[-1]
        prints = [p for row in day.rows if not row["first"] for p in row["px_sz"]]
        prices = [price for price, _ in prints]
        if part == "vwap":
            return sum(p * z for p, z in prints) / sum(z for _, z in prints)
        return {"high": max, "low": min, "close": lambda v: v[-1]}[part](prices)

    return s.cached(f"prior {part}", 0, compute)


def prior_dist(s: Session, i: int, t: int, part: str) -> Value:
    return less(mid_of(s, i), prior(s, part))


def prior_settle_dist(s: Session, i: int, t: int) -> Value:
    known = s.context.published["settle_px"]
    before = [v for at, v in zip(known.ts, known.values, strict=True) if at < s.rows[i]["ts"]]
    last = before[-1] if before else None
    return less(mid_of(s, i), None if last is None else last / s.context.tick)


def overnight_gap(s: Session, i: int, t: int) -> Value:
    first = next((m for j in range(i + 1) if (m := mid_of(s, j)) is not None), None)
    return less(first, prior(s, "close"))
