"""Normalisers once more: of any slow feature, from the list of its values at the events."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tests.reference.features.levels import mid
from tests.reference.features.past import minute, slow_robust, slow_winsor, usual
from tests.reference.features.prices import expected_move
from tests.reference.features.session import Session, Value, duration
from tests.reference.features.windows import before, divide, values_in

Slow = Callable[[Session, int, int], Value]


def slow_normalised(base: Slow, name: str, argument: str, key: str) -> Slow:
    """The normaliser ``name`` of a slow feature; ``key`` names that feature in the memory."""

    def at_event(s: Session, j: int) -> Value:
        return s.cached(key, j, lambda: base(s, j, s.rows[j]["ts"]))

    def spread(
        s: Session, i: int, t: int, window: str, *, past: bool
    ) -> tuple[float, float] | None:
        def x(j: int) -> Value:
            if past and at_event(s, j) is not None:
                return before(s, j, lambda k: at_event(s, k))
            return None if past else at_event(s, j)

        if window.startswith("h"):
            half = duration(window[1:])
            rows = [j for j in s.segment(i) if x(j) is not None]
            if t - s.start(i) < 5 * half or not rows:
                return None
            last = s.rows[rows[-1]]["ts"]
            weights = [2 ** (-(last - s.rows[j]["ts"]) / half) for j in rows]
            values: list[Any] = [x(j) for j in rows]
            mean = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(
                weights
            )
            squares = math.fsum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True))
            sigma = math.sqrt(squares / math.fsum(weights))
        else:
            found = values_in(s, i, t, x, window)
            if found is None or len(found) < 2:
                return None
            mean = math.fsum(found) / len(found)
            sigma = math.sqrt(math.fsum((v - mean) ** 2 for v in found) / (len(found) - 1))
        return (mean, sigma) if sigma > 1e-9 + 1e-10 * abs(mean) else None

    def score(s: Session, i: int, t: int, *, past: bool) -> Value:
        x, found = base(s, i, t), spread(s, i, t, argument, past=past)
        return None if x is None or found is None else (x - found[0]) / found[1]

    def rank(s: Session, i: int, t: int) -> Value:
        n = int(argument[1:])
        having = [at_event(s, j) for j in s.segment(i) if at_event(s, j) is not None][-n:]
        x = at_event(s, i)
        if x is None or len(having) < n:
            return None
        return (sum(v < x for v in having) - sum(v > x for v in having)) / n  # type: ignore[operator]

    def tanh(s: Session, i: int, t: int) -> Value:
        x = base(s, i, t)
        if argument[0].isdigit() and argument[-1].isdigit():
            return None if x is None else math.tanh(x / float(argument.replace("p", ".")))
        found = spread(s, i, t, argument, past=False)
        return None if x is None or found is None else math.tanh(x / (2 * found[1]))

    def slog(s: Session, i: int, t: int) -> Value:
        x = base(s, i, t)
        if x is None:
            return None
        return math.copysign(math.log1p(abs(x) / float(argument.replace("p", "."))), x)

    def scaled(s: Session, i: int, t: int) -> Value:
        row, x = s.rows[i], base(s, i, t)
        if x is None:
            return None
        if name == "ticks":
            m = mid(s, i, t)
            return None if m is None else x * abs(m) / 1e4
        if name == "half_spreads":
            gap = (row["ask_px_00"] - row["bid_px_00"]) if row["ok"] else None
            return None if gap is None else divide(x, gap / s.context.tick / 2)
        if name == "sigma":
            half_life, _, horizon = argument.partition("_")
            expected = expected_move(s, i, t, half_life, duration(horizon))
            return None if expected is None else x / max(expected, 0.5)
        names = [f"{side}_sz_{k:02d}" for side in ("bid", "ask") for k in range(int(argument))]
        return divide(x, sum(row[c] for c in names) / 2) if row["ok_flow"] else None

    return {
        "robust": lambda s, i, t: slow_robust(s, base(s, i, t), key, base),
        "winsor": lambda s, i, t: slow_winsor(s, base(s, i, t), key, base),
        "diurnal": lambda s, i, t: divide(base(s, i, t), usual(s, key, base, minute(s, t))),
        "z": lambda s, i, t: score(s, i, t, past=False),
        "zpast": lambda s, i, t: score(s, i, t, past=True),
        "rank": rank,
        "tanh": tanh,
        "slog": slog,
    }.get(name, scaled)
