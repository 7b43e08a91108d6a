"""Features of trades where theory says what they must be (the catalogue's S4, S8, S9, S11, S12)."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from tests.features.quotes import OPEN, quotes_and_prints, values

LN2 = math.log(2)


def test_rolls_spread_is_twice_the_half_spread() -> None:
    """S4: a random walk plus or minus c has Roll's spread 2 c."""
    rng = np.random.default_rng(4)
    n, c = 60_000, 5
    walk = 20_000 + np.cumsum(rng.integers(-1, 2, n))
    price = walk + c * rng.choice([-1, 1], n)
    frame = values(
        quotes_and_prints(np.arange(1, n + 1) * 0.01, price=price), ["roll_spread_n50000"]
    )
    assert frame["roll_spread_n50000"][-1] == pytest.approx(2 * c, rel=0.02)


def test_prices_that_go_on_have_no_roll_spread() -> None:
    price = 20_000 + np.cumsum(np.repeat([1, -1, 1], 200))
    frame = values(quotes_and_prints(np.arange(1, 601) * 1.0, price=price), ["roll_spread_n100"])
    assert frame["roll_spread_n100"].null_count() == frame.height


def test_vpin_of_random_signs() -> None:
    """S8: sqrt(2 / pi) sqrt(E[v^2] / (E[v] V)) = 0.0910 when signs are independent."""
    rng = np.random.default_rng(8)
    n, bucket = 200_000, 487
    size, sign = rng.integers(1, 10, n), rng.choice([-1, 1], n)
    theory = math.sqrt(2 / math.pi) * math.sqrt((size**2).mean() / (size.mean() * bucket))
    assert theory == pytest.approx(0.0910, abs=2e-4)
    name = f"vpin_{bucket}_2000"
    found = values(quotes_and_prints(np.arange(1, n + 1) * 0.01, size=size, sign=sign), [name])
    assert found[name][-1] == pytest.approx(theory, abs=0.004)


def test_buckets_hold_exactly_their_volume() -> None:
    """A6: every bucket has V contracts, however large the events that fill it."""
    size = np.array([3, 25, 4, 50, 1, 17])
    sign = np.array([1, -1, 1, 1, -1, -1])
    for bucket in (1, 7, 10):
        full = int(size.sum()) // bucket
        table = quotes_and_prints(np.arange(1, 7) * 1.0, size=size, sign=sign)
        last = values(table, [f"vpin_{bucket}_{full}", f"vpin_{bucket}_{full + 1}"])
        volumes = np.zeros((full, 2))
        for number, bought in enumerate(np.repeat(sign, size)[: full * bucket]):
            volumes[number // bucket, int(bought < 0)] += 1
        expected = np.abs(volumes[:, 0] - volumes[:, 1]).mean() / bucket
        assert last[f"vpin_{bucket}_{full}"][-1] == pytest.approx(expected, rel=1e-6)
        assert last[f"vpin_{bucket}_{full + 1}"][-1] is None


def test_the_intensity_of_a_poisson_process() -> None:
    """S9: mean and variance at times of their own; at the process's events ln2/h more."""
    rng = np.random.default_rng(9)
    rate, half_life = 5.0, 2.0
    seconds = np.cumsum(rng.exponential(1 / rate, 100_000))
    market = quotes_and_prints(seconds)
    name = "trade_intensity_h2s"
    between = values(market, [name], "grid:1s")[name].drop_nulls().cast(pl.Float64)
    assert between.mean() == pytest.approx(rate, abs=0.06)
    assert between.var() == pytest.approx(rate * LN2 / (2 * half_life), abs=0.06)
    at_events = values(market, [name])[name].drop_nulls().cast(pl.Float64)
    assert at_events.mean() == pytest.approx(rate + LN2 / half_life, abs=0.06)


def hawkes(
    rng: np.random.Generator, base: float, branching: float, decay: float, end: float
) -> np.ndarray:
    """Times of a Hawkes process, by generations: every event has its own Poisson offspring."""
    generation = np.sort(rng.uniform(0, end, rng.poisson(base * end)))
    found = [generation]
    while generation.size:
        children = np.repeat(generation, rng.poisson(branching, generation.size))
        generation = children + rng.exponential(1 / decay, children.size)
        generation = generation[generation < end]
        found.append(generation)
    return np.sort(np.concatenate(found))


def test_the_intensity_of_a_hawkes_process() -> None:
    """S11: the rate is mu / (1 - n), and the intensity with its own decay tells the next events.

    Given the past, the rate is mu + n times that intensity.
    """
    rng = np.random.default_rng(11)
    base, branching, half_life, end = 1.0, 0.6, 2.0, 40_000.0
    seconds = hawkes(rng, base, branching, LN2 / half_life, end)
    assert seconds.size / end == pytest.approx(base / (1 - branching), rel=0.03)
    names = ["trade_intensity_h200ms", "trade_intensity_h2s", "trade_intensity_h20s"]
    frame = values(quotes_and_prints(seconds), names, "grid:100ms").drop_nulls()
    ts = frame["ts"].cast(pl.Int64).to_numpy()
    at = np.searchsorted(seconds, (ts - OPEN) / 1e9)
    later = np.searchsorted(seconds, (ts - OPEN) / 1e9 + 0.1)
    count = (later - at)[:-1]
    x = {name: frame[name].to_numpy()[:-1].astype(float) for name in names}
    slope, level = np.polyfit(x["trade_intensity_h2s"], count / 0.1, 1)
    assert slope == pytest.approx(branching, abs=0.04)
    assert level == pytest.approx(base, abs=0.1)
    power = {name: np.corrcoef(x[name], count)[0, 1] for name in names}
    assert max(power, key=lambda name: power[name]) == "trade_intensity_h2s"


def split_orders(rng: np.random.Generator, n: int, agents: int, exponent: float) -> np.ndarray:
    """Signs of agents who take turns at random and split orders of Pareto sizes."""
    turn = rng.integers(0, agents, n)
    signs = np.empty(n, dtype=np.int64)
    for agent in range(agents):
        where = np.flatnonzero(turn == agent)
        lengths = np.ceil(rng.uniform(size=where.size) ** (-1 / exponent)).astype(np.int64)
        lengths = np.minimum(lengths, where.size)
        enough = int(np.searchsorted(np.cumsum(lengths), where.size)) + 1
        own = np.repeat(rng.choice([-1, 1], enough), lengths[:enough])
        signs[where] = own[: where.size]
    return signs


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [1.5, 1.7])
def test_split_orders_give_signs_a_long_memory(exponent: float) -> None:
    """S12: metaorders of Pareto sizes make the signs' autocorrelation fall as lag^-(alpha - 1)."""
    rng = np.random.default_rng(13)
    n, agents = 1_000_000, 3
    signs = split_orders(rng, n, agents, exponent)
    market = quotes_and_prints(np.arange(1, n + 1) * 1e-3, sign=signs)
    lags = (10, 20, 50, 100, 200)
    found = []
    for lag in lags:
        name = f"sign_autocorrelation_{lag}_n990000"
        found.append(values(market, [name], "grid:10s")[name][-1])
    slope, _ = np.polyfit(np.log(lags), np.log(found), 1)
    assert -slope == pytest.approx(exponent - 1, abs=0.1)
