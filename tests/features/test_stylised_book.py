"""Synthetic markets with known answers: the stylised book of Cont, Kukanov and Stoikov, races.

In the stylised book every level behind the touch holds D contracts.  An order of one contract
joins a best queue or leaves it; a queue that would grow beyond D opens the next better price,
one that is used up gives way to the next worse.  Then a side's price moves by its net flow over D
but for rounding, and the mid by OFI / (2 D) (section 2.2 of the paper).
"""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.engine import compute
from features.events import Tables
from features.registry import FEATURES
from features.source import Context
from pipeline.units import NS_PER_S

TICK = 250_000_000
OPEN = 1_741_129_200 * NS_PER_S
EVENTS_A_WINDOW = 1_900
STEP = 10 * NS_PER_S // EVENTS_A_WINDOW
TRADED = 0.2
"""Share of the contracts that leave a queue by being traded."""


def context(end: int) -> Context:
    return Context(
        dataset="GLBX.MDP3",
        symbol="ESH5",
        session=date(2025, 3, 5),
        tick=TICK,
        segments=((OPEN, end),),
        depth=1,
    )


def book(bid: npt.NDArray, bids: npt.NDArray, ask: npt.NDArray, asks: npt.NDArray) -> Tables:
    """Tables of a touch (prices in ticks, sizes), an event every ``STEP``."""
    n = bid.size
    ts = OPEN + 1 + np.arange(n) * STEP
    frame = pl.DataFrame(
        {
            "event": np.arange(n),
            "ts_recv": pl.Series(ts).cast(pl.Datetime("ns", "UTC")),
            "bid_px_00": bid * TICK,
            "ask_px_00": ask * TICK,
            "bid_sz_00": bids.astype(np.uint32),
            "ask_sz_00": asks.astype(np.uint32),
        }
    ).with_columns(
        pl.lit(value=True).alias("valid"),
        pl.lit("normal", pl.Enum(["normal"])).alias("state"),
        pl.lit(1, pl.UInt32).alias("instrument_id"),
        pl.lit(1, pl.UInt16).alias("publisher_id"),
    )
    return Tables(context(int(ts[-1]) + 1), frame)


def stylised(depth: int, events: int, seed: int) -> Tables:
    """The stylised book, with a spread so wide that the sides never meet."""
    rng = np.random.default_rng(seed)
    at_bid = rng.random(events) < 0.5
    joins = rng.random(events) < 0.5
    change = np.where(joins, 1, -1)
    flows = {"bid": np.where(at_bid, change, 0), "ask": np.where(at_bid, 0, change)}
    sides = {}
    for side, sign, start in (("bid", 1, 20_000), ("ask", -1, 24_000)):
        # Contracts above the worst state of the starting level: price and queue are its digits.
        standing = depth // 2 + np.cumsum(flows[side])
        sides[side] = start + sign * (standing // depth), standing % depth + 1
    tables = book(*sides["bid"], *sides["ask"])
    traded = ~joins & (rng.random(events) < TRADED)
    trades = pl.DataFrame(
        {
            "event": np.flatnonzero(traded),
            "price": np.where(at_bid, sides["bid"][0], sides["ask"][0])[traded] * TICK,
            "size": np.ones(traded.sum(), np.uint32),
            "side": np.where(at_bid, "A", "B")[traded],
        }
    )
    return Tables(tables.context, tables.book, trades=trades)


NAMES = ("mid", "ofi_10s", "signed_volume_10s", "ofi_normalised_moves_10s")


@cache
def windows(depth: int) -> pl.DataFrame:
    """A row for every 10 seconds of the stylised market: features and the change of the mid."""
    market = stylised(depth, EVENTS[depth], seed=depth)
    frame = pl.concat(list(compute(market, FEATURES.resolve(NAMES), "grid:10s")))
    return frame.with_columns(pl.col("mid").diff().alias("change")).drop_nulls(
        ["change", "ofi_10s", "signed_volume_10s"]
    )


def fit(frame: pl.DataFrame, *names: str) -> tuple[npt.NDArray[np.float64], float]:
    """Least squares of the mid's change on the columns, with intercept: slopes and R^2."""
    y = frame["change"].to_numpy()
    x = np.column_stack([np.ones(y.size), *(frame[name].to_numpy() for name in names)])
    found = np.linalg.lstsq(x, y, rcond=None)[0]
    return found[1:], 1 - np.var(y - x @ found) / np.var(y)


EVENTS = {15: 400_000, 20: 400_000, 30: 600_000, 50: 1_000_000, 80: 1_000_000, 100: 2_000_000}
"""Depth -> events.  Rounding leaves a variance of 1/12 beside n / (4 D^2), n events a window, so
the slope's relative error is D sqrt(0.3 / events): below 0.05 everywhere.
"""


@pytest.mark.parametrize("depth", [20, 50, pytest.param(100, marks=pytest.mark.slow)])
def test_s2_the_mid_moves_by_ofi_over_twice_the_depth(depth: int) -> None:
    frame = windows(depth)
    (slope,), explained = fit(frame, "ofi_10s")
    _, by_trades = fit(frame, "signed_volume_10s")
    _, by_both = fit(frame, "ofi_10s", "signed_volume_10s")
    assert 0.95 < 2 * depth * slope < 1.05
    assert explained > 5 * by_trades
    assert by_both - explained < 0.01
    expected = {20: 0.934, 50: 0.716, 100: 0.408}[depth]
    assert explained == pytest.approx(expected, abs=0.04)


def test_s3_impact_falls_with_one_over_the_depth() -> None:
    """Log beta = log c - lambda log D: lambda = 1, c = 1/2."""
    depths = (15, 20, 30, 50, 80)
    slopes = [fit(windows(d), "ofi_10s")[0][0] for d in depths]
    minus_lambda, log_c = np.polyfit(np.log(depths), np.log(slopes), 1)
    assert -minus_lambda == pytest.approx(1, abs=0.1)
    assert np.exp(log_c) == pytest.approx(0.5, abs=0.1)


def test_depth_at_moves_of_the_touch_is_the_depth_of_the_levels() -> None:
    """A level that comes to the touch is full, so the paper's depth (section 3.2) is D."""
    frame = windows(20).drop_nulls().filter(pl.col("ofi_10s") != 0)
    assert frame.height > 20
    depth = frame["ofi_10s"] / frame["ofi_normalised_moves_10s"]
    assert (depth - 20).abs().max() < 1e-4


# --- S1 -----------------------------------------------------------------------------------------


def race(bid: int, ask: int, paths: int, rho: float, rng: np.random.Generator) -> float:
    """Share of paths on which the ask's queue empties first; both change by one at a time.

    With correlation 0 one queue changes at a time, independent of the other.  Otherwise both
    change at once, in the same direction with probability (1 + rho) / 2; paths on which they
    empty together count half.
    """
    x, y = np.full(paths, bid), np.full(paths, ask)
    up = decided = 0.0
    while x.size > paths // 100:
        change = 2 * rng.integers(0, 2, x.size) - 1
        if rho == 0:
            which = rng.random(x.size) < 0.5
            x, y = x + np.where(which, change, 0), y + np.where(which, 0, change)
        else:
            same = rng.random(x.size) < (1 + rho) / 2
            x, y = x + change, y + np.where(same, change, -change)
        over = (x == 0) | (y == 0)
        if over.any():
            up += (y[over] == 0).sum() - ((x[over] == 0) & (y[over] == 0)).sum() / 2
            decided += over.sum()
            x, y = x[~over], y[~over]
    return float(up / decided)


def at_queues(name: str, bid: int, ask: int) -> float:
    """The feature on a book with these queues."""
    one = np.array([20_000])
    tables = book(one, np.array([bid]), one + 1, np.array([ask]))
    (frame,) = compute(tables, FEATURES.resolve(name))
    return float(frame[name][0])


@pytest.mark.parametrize(
    ("bid", "ask", "expected"),
    [(2, 1, 0.7048), (3, 1, 0.7952), (5, 1, 0.8743), (20, 5, 0.8440), (9, 1, 0.9296)],
)
def test_s1_the_race_of_two_queues(bid: int, ask: int, expected: float) -> None:
    ours = at_queues("race_probability", bid, ask)
    assert ours == pytest.approx(expected, abs=1e-4)
    seen = race(bid, ask, 20_000, 0, np.random.default_rng(bid))
    assert seen == pytest.approx(ours, abs=0.01)


@pytest.mark.parametrize(("name", "rho"), [("neg70", -0.7), ("neg30", -0.3), ("pos70", 0.7)])
def test_s1_the_race_of_correlated_queues(name: str, rho: float) -> None:
    ours = at_queues(f"race_probability_{name}", 10, 5)
    seen = race(10, 5, 20_000, rho, np.random.default_rng(7))
    assert seen == pytest.approx(ours, abs=0.015)
    assert abs(ours - at_queues("race_probability", 10, 5)) > 0.015
