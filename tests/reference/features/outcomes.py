"""Labels beside forward returns: each with the time it is known, from the whole session."""

from __future__ import annotations

from collections.abc import Callable

from features.registry import FEATURES
from tests.reference.features.labels import label_rows, label_time
from tests.reference.features.levels import level, mid_of
from tests.reference.features.prices import expected_move
from tests.reference.features.session import NS, Session, Value, duration
from tests.reference.features.variation import fit, mids
from tests.reference.features.windows import before, divide

Label = tuple[Value, int | None]
NONE: Label = (None, None)


def segment(s: Session, i: int) -> list[int]:
    number = s.rows[i]["segment"]
    if ("whole", number) not in s.memo:
        rows = [j for j, row in enumerate(s.rows) if row["segment"] == number]
        s.memo["whole", number] = rows
    return s.memo["whole", number]


def reaches(s: Session, i: int, t: int) -> bool:
    """The segment's data go on until t."""
    return s.rows[segment(s, i)[-1]]["ts"] >= t


def later(s: Session, i: int, until: int) -> list[int]:
    """Rows after i of its segment, up to a time."""
    return [j for j in segment(s, i) if j > i and s.rows[j]["ts"] <= until]


def value_then(s: Session, i: int, t: int, x: Callable[[int], Value]) -> Value:
    """The last value in i's segment as of t; the data must reach that far."""
    if not reaches(s, i, t):
        return None
    known = [x(j) for j in segment(s, i) if s.rows[j]["ts"] <= t]
    return next((v for v in reversed(known) if v is not None), None)


def sigma(s: Session, i: int, t: int, horizon: str) -> Value:
    return expected_move(s, i, t, "h60s", duration(horizon))


def return_z(s: Session, i: int, t: int, horizon: str) -> Label:
    change, end = label_time(s, i, t, horizon)
    value = divide(change, sigma(s, i, t, horizon))
    return (value, end) if value is not None else NONE


def next_move(s: Session, i: int, t: int, what: str) -> Label:
    for j in segment(s, i):
        past = before(s, j, lambda k: mid_of(s, k)) if j > i else None
        m = mid_of(s, j)
        if past is not None and m is not None and m != past:
            end = s.rows[j]["ts"]
            found = {"size": m - past, "sign": 1 if m > past else -1, "seconds": (end - t) / NS}
            return found[what], end
    return NONE


def at_mids(s: Session, i: int, first: int, last: int) -> list[float] | None:
    """Mids from place ``first`` to ``last``, counted from row i among rows with a mid."""
    rows, values = mids(s, i)
    if i not in rows:
        return None
    at = rows.index(i)
    if at + first < 0 or at + last >= len(rows):
        return None
    return values[at + first : at + last + 1]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def smoothed(s: Session, i: int, t: int, base: str, horizon: str) -> Label:
    k = int(horizon[1:])
    after, past = at_mids(s, i, 1, k), at_mids(s, i, 1 - k if base == "mean" else 0, 0)
    if after is None or past is None:
        return NONE
    return mean(after) - mean(past), label_rows(s, i, horizon)[1]


def decoupled(s: Session, i: int, t: int, horizon: str, rows: int) -> Label:
    h = int(horizon[1:])
    after, past = at_mids(s, i, h - rows, h), at_mids(s, i, -rows, 0)
    if after is None or past is None:
        return NONE
    return mean(after) - mean(past), label_rows(s, i, horizon)[1]


def classed(found: Label, alpha: int) -> Label:
    if found[0] is None:
        return NONE
    move = round(found[0], 10)  # moves are multiples of a fraction of a tick, but for rounding
    return int(move > alpha / 100) - int(move < -alpha / 100), found[1]


def touch(s: Session, i: int) -> tuple[Value, Value]:
    """Best bid and ask in ticks where the touch is normal."""
    if not s.rows[i]["ok"]:
        return None, None
    return level(s, i, "bid", 0)[0], level(s, i, "ask", 0)[0]


def barrier(s: Session, i: int, t: int, price: str, up: int, down: int, horizon: str) -> Label:
    end, size = t + duration(horizon), sigma(s, i, t, horizon)
    if not s.rows[i]["ok"] or size is None or not reaches(s, i, end):
        return NONE
    bid, ask = touch(s, i)
    entry = {"mid": mid_of(s, i), "long": ask, "short": bid}[price]
    for j in later(s, i, end):
        if not s.rows[j]["ok"]:
            continue
        out = {"mid": mid_of(s, j), "long": touch(s, j)[0], "short": touch(s, j)[1]}[price]
        gain = entry - out if price == "short" else out - entry
        if gain >= size * (up / 10):
            return 1, s.rows[j]["ts"]
        if gain <= -size * (down / 10):
            return -1, s.rows[j]["ts"]
    return 0, end


def barrier_seconds(s: Session, i: int, t: int, **arguments: object) -> Label:
    end = barrier(s, i, t, **arguments)[1]
    return ((end - t) / NS, end) if end is not None else NONE


def meta(s: Session, i: int, t: int, signal: str, horizon: str, cost: int) -> Label:
    from tests.reference.features.catalogue import SLOW_FEATURES

    column = FEATURES.find(signal)
    value = SLOW_FEATURES[column.family.name](s, i, t, **column.arguments)
    find = label_rows if horizon.startswith("n") else label_time
    change, end = find(s, i, horizon) if find is label_rows else find(s, i, t, horizon)
    if not value or change is None:
        return NONE
    return int((change if value > 0 else -change) > cost / 100), end


def trend_scan(s: Session, i: int, t: int, horizon: str) -> Label:
    n = int(horizon[1:])
    rows, values = mids(s, i)
    if i not in rows or rows.index(i) + n >= len(rows):
        return NONE
    at, opened = rows.index(i), s.context.segments[0][0]
    found = []
    for length in sorted({max(3, n * part // 4) for part in (1, 2, 3, 4)}):
        span = range(at + 1, at + length + 1)
        times = [(s.rows[rows[k]]["ts"] - opened) / NS for k in span]
        found.append(fit(times, [values[k] for k in span])[1])
    known = [v for v in found if v is not None]
    if not known:
        return NONE
    return max(known, key=abs), s.rows[rows[at + n]]["ts"]


def trend_scan_sign(s: Session, i: int, t: int, horizon: str) -> Label:
    value, end = trend_scan(s, i, t, horizon)
    return (None, None) if value is None else (int(value > 1e-6) - int(value < -1e-6), end)


def after_trade(s: Session, i: int, t: int, horizon: str, *, impact: bool) -> Label:
    row = s.rows[i]
    signed = row["buy_sz"] - row["sell_sz"]
    end = t + duration(horizon)
    then = value_then(s, i, end, lambda j: mid_of(s, j))
    if not signed or row["ts"] != t or then is None:
        return NONE
    if impact:
        start = before(s, i, lambda j: mid_of(s, j))
    else:
        start = sum(p * z for p, z in row["px_sz"]) / sum(z for _, z in row["px_sz"])
    if start is None:
        return NONE
    return (then - start) * (1 if signed > 0 else -1), end


def forward_rv(s: Session, i: int, t: int, horizon: str) -> Label:
    end = t + duration(horizon)
    if not reaches(s, i, end):
        return NONE
    total = 0.0
    for j in later(s, i, end):
        m, past = mid_of(s, j), before(s, j, lambda k: mid_of(s, k))
        if m is not None and past is not None:
            total += (m - past) ** 2
    return total, end


def excursion(s: Session, i: int, t: int, direction: str, horizon: str) -> Label:
    end, m = t + duration(horizon), mid_of(s, i)
    if m is None or not reaches(s, i, end):
        return NONE
    found = [v for j in later(s, i, end) if (v := mid_of(s, j)) is not None]
    far = [v - m if direction == "up" else m - v for v in found]
    return max([0.0, *far]), end


def executable(
    s: Session, i: int, t: int, side: str, horizon: str, latency: str, cost: int
) -> Label:
    enter = t + duration(latency)
    leave = enter + duration(horizon)
    first, second = (1, 0) if side == "long" else (0, 1)
    bought = value_then(s, i, enter, lambda j: touch(s, j)[first])
    sold = value_then(s, i, leave, lambda j: touch(s, j)[second])
    if bought is None or sold is None:
        return NONE
    gain = sold - bought if side == "long" else bought - sold
    return gain - cost / 100, leave


def order(s: Session, i: int, t: int, side: str, horizon: str, latency: str) -> tuple:
    """Filled or not, when, and the price; None without an answer."""
    enter = t + duration(latency)
    end = enter + duration(horizon)
    k = 0 if side == "bid" else 1
    price = value_then(s, i, enter, lambda j: touch(s, j)[k])
    queue = value_then(s, i, enter, lambda j: level(s, j, side, 0)[1] if s.rows[j]["ok"] else None)
    if price is None or not reaches(s, i, end):
        return None, None, None
    for j in segment(s, i):
        row = s.rows[j]
        volume = row["sell_sz" if side == "bid" else "buy_sz"]
        if not enter < row["ts"] <= end or not volume or row["trade_px"] is None:
            continue
        last = row["trade_px"] / s.context.tick
        beyond = last < price if side == "bid" else last > price
        if last == price:
            queue -= volume
        if beyond or queue < 0:
            return 1, row["ts"], price
    return 0, end, price


def fill(s: Session, i: int, t: int, **arguments: str) -> Label:
    filled, when, _ = order(s, i, t, **arguments)
    return filled, when


def fill_return(s: Session, i: int, t: int, side: str, horizon: str, latency: str) -> Label:
    filled, _, price = order(s, i, t, side, horizon, latency)
    if not filled:
        return NONE
    end = t + duration(latency) + duration(horizon)
    m = value_then(s, i, end, lambda j: mid_of(s, j))
    return (m - price if side == "bid" else price - m), end


SLOW_OUTCOMES: dict[str, Callable[..., Label]] = {
    "forward_return_z": return_z,
    "next_move": lambda s, i, t: next_move(s, i, t, "sign"),
    "next_move_size": lambda s, i, t: next_move(s, i, t, "size"),
    "next_move_seconds": lambda s, i, t: next_move(s, i, t, "seconds"),
    "smoothed_move": smoothed,
    "smoothed_class": lambda s, i, t, base, horizon, alpha: classed(
        smoothed(s, i, t, base, horizon), alpha
    ),
    "decoupled_move": decoupled,
    "decoupled_class": lambda s, i, t, horizon, rows, alpha: classed(
        decoupled(s, i, t, horizon, rows), alpha
    ),
    "triple_barrier": barrier,
    "triple_barrier_seconds": barrier_seconds,
    "meta_label": meta,
    "trend_scan": trend_scan_sign,
    "trend_scan_t": trend_scan,
    "markout": lambda s, i, t, horizon: after_trade(s, i, t, horizon, impact=False),
    "impact": lambda s, i, t, horizon: after_trade(s, i, t, horizon, impact=True),
    "forward_rv": forward_rv,
    "excursion": excursion,
    "executable_return": executable,
    "fill": fill,
    "fill_return": fill_return,
}
