"""Rolling regressions against least squares over the window's own values, in plain Python."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.timeline import Rows, Timeline
from features.windows import regression

PARTS = ("slope", "intercept", "r2", "t", "n", "correlation")


def fit(pairs: list[tuple[float, float]]) -> dict[str, float | None]:
    """In fractions: a float mean would be the less exact of the two."""
    found: dict[str, float | None] = dict.fromkeys(PARTS)
    found["n"] = n = len(pairs)
    xs, ys = ([Fraction(p[k]) for p in pairs] for k in (0, 1))
    if n < 3 or len(set(xs)) == 1:
        return found
    mx, my = sum(xs) / n, sum(ys) / n
    xx, yy = sum((x - mx) ** 2 for x in xs), sum((y - my) ** 2 for y in ys)
    slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True)) / xx
    found["slope"], found["intercept"] = float(slope), float(my - slope * mx)
    if not yy:
        return found
    left = yy - slope * slope * xx
    found["r2"] = float(1 - left / yy)
    found["correlation"] = math.copysign(math.sqrt(found["r2"]), slope) if slope else 0.0
    if left > yy / 10**12:
        found["t"] = float(slope) / math.sqrt(left / (n - 2) / xx)
    return found


def run(
    ts: np.ndarray, segment: np.ndarray, frame: pl.DataFrame, over: str, pieces: int
) -> dict[str, list[float | None]]:
    fitted = regression(pl.col("y"), pl.col("x"), over)
    exprs = [getattr(fitted, part) for part in PARTS]
    timeline = Timeline(exprs, {})
    found: dict[str, list[float | None]] = {part: [] for part in PARTS}
    for where in np.array_split(np.arange(ts.size), pieces):
        if where.size:
            rows = frame[where[0] : where[-1] + 1]
            view = timeline.push(Rows(ts[where], segment[where], rows))
            for part, values in zip(PARTS, view.evaluate(exprs), strict=True):
                found[part] += values.to_list()
    return found


def expected(
    ts: np.ndarray, segment: np.ndarray, frame: pl.DataFrame, over: str, i: int
) -> dict[str, float | None] | None:
    inside = [j for j in range(i + 1) if segment[j] == segment[i]]
    if over.startswith("n"):
        rows = frame.rows()
        both = [rows[j] for j in inside if None not in rows[j]]
        return fit(both[-int(over[1:]) :]) if len(both) >= int(over[1:]) else None
    length = int(over[:-2])
    if ts[i] - length < ts[inside[0]]:
        return None
    return fit([r for j in inside if ts[j] > ts[i] - length and None not in (r := frame.row(j))])


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    over=st.sampled_from(["n3", "n8", "5ns", "20ns"]),
    whole=st.booleans(),
)
def test_windows_equal_least_squares_over_their_values(seed: int, over: str, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    n = 60
    ts = np.cumsum(rng.choice([0, 1, 3], n)).astype(np.int64)
    segment = np.cumsum(rng.random(n) < 0.04)
    x = rng.integers(-2, 3, n) if whole else 20_000 + rng.standard_normal(n)
    y = rng.integers(-2, 3, n) if whole else 3e6 + rng.standard_normal(n)
    hidden = rng.random((2, n)) < 0.1
    frame = pl.DataFrame({"x": x, "y": y}).with_columns(
        pl.when(pl.Series(~hidden[k])).then(pl.col(name)).alias(name)
        for k, name in enumerate(("x", "y"))
    )
    found = run(ts, segment, frame, over, 1)
    assert run(ts, segment, frame, over, 7) == found
    for i in range(n):
        theirs = expected(ts, segment, frame, over, i) or dict.fromkeys(PARTS)
        for part in PARTS:
            ours = found[part][i]
            if theirs[part] is None or ours is None:
                assert ours is theirs[part], (part, i)
            else:
                assert math.isclose(ours, theirs[part], rel_tol=1e-6, abs_tol=1e-6), (part, i)


def test_nothing_cancels_late_in_a_session() -> None:
    """Ten values within a millisecond, a day after a million that were far away."""
    rng = np.random.default_rng(1)
    n = 200_000
    seconds = np.concatenate([np.linspace(0, 80_000, n), 80_000 + np.arange(10) * 1e-4])
    price = 20_000 + np.concatenate([rng.standard_normal(n) * 50, np.arange(10) * 0.5])
    price[-1] -= 0.5
    frame = pl.DataFrame({"x": seconds, "y": price})
    ts = np.arange(n + 10)
    found = run(ts, np.zeros(n + 10, dtype=np.int64), frame, "n10", 3)
    theirs = fit(list(zip(seconds[-10:].tolist(), price[-10:].tolist(), strict=True)))
    for part in ("slope", "r2", "t"):
        assert found[part][-1] == pytest.approx(theirs[part], rel=1e-6)


def test_what_does_not_vary_explains_nothing() -> None:
    same, line = [0.1] * 6, [0.3, 0.6, 0.9, 1.2, 1.5, 1.8]
    ts, segment = np.arange(6), np.zeros(6, dtype=np.int64)
    flat = run(ts, segment, pl.DataFrame({"x": same, "y": line}), "n4", 1)
    assert flat["slope"][-1] is None
    level = run(ts, segment, pl.DataFrame({"x": line, "y": same}), "n4", 1)
    assert (level["slope"][-1], level["r2"][-1], level["t"][-1]) == (0.0, None, None)
    perfect = run(ts, segment, pl.DataFrame({"x": line, "y": [2 * v for v in line]}), "n4", 1)
    assert perfect["slope"][-1] == pytest.approx(2)
    assert (perfect["r2"][-1], perfect["t"][-1]) == (1.0, None)


def test_half_lives_are_refused() -> None:
    with pytest.raises(ValueError, match="not a half-life"):
        regression(pl.col("y"), pl.col("x"), "h10s")
