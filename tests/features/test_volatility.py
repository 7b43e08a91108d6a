"""Measures of volatility and reversion on processes whose answer is known (S5, S6, S7, S10)."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from features.engine import compute
from features.events import Tables
from features.registry import FEATURES
from features.source import Context
from pipeline.units import NS_PER_S

N = 23_400
"""Seconds, thus returns, of a day."""

START = 75_000 * N * NS_PER_S
"""A multiple of the day's length since the epoch, so that one grid point ends it."""

UNIT = 10**6
"""Ticks a unit of log price: a tick is 1e-6 of it, and prices are fractions of ticks."""

IV = 1e-4


def market(mids: np.ndarray) -> Tables:
    """One event a second with these mids (ticks), half a second before the full one."""
    n = mids.size
    price = np.rint(mids * 1e9).astype(np.int64)
    ts = START - NS_PER_S // 2 + np.arange(n) * NS_PER_S
    context = Context(
        dataset="SIM",
        symbol="X",
        session=date(2025, 3, 5),
        tick=NS_PER_S,
        segments=((START - 10 * NS_PER_S, START + (n + 10) * NS_PER_S),),
        depth=1,
    )
    frame = pl.DataFrame(
        {
            "event": np.arange(n),
            "ts_recv": pl.Series(ts).cast(pl.Datetime("ns", "UTC")),
            "bid_px_00": price - 10**8,
            "ask_px_00": price + 10**8,
        }
    ).with_columns(
        pl.lit(value=True).alias("valid"),
        pl.lit("normal").alias("state"),
        pl.lit(1, pl.UInt32).alias("instrument_id"),
        pl.lit(1, pl.UInt16).alias("publisher_id"),
        pl.lit(1, pl.UInt32).alias("bid_sz_00"),
        pl.lit(1, pl.UInt32).alias("ask_sz_00"),
    )
    return Tables(context, frame)


def at_the_end(mids: np.ndarray, names: list[str]) -> dict[str, float]:
    frame = pl.concat(list(compute(market(mids), FEATURES.resolve(names), f"grid:{N}s")))
    return {name: frame[name][-1] for name in names}


def diffusion(rng: np.random.Generator, noise: float = 0.0, jump: float = 0.0) -> np.ndarray:
    """A day of seconds of log price, in ticks, and a row on either side of it."""
    steps = rng.normal(0.0, np.sqrt(IV / N), N + 2)
    steps[N // 2] += jump
    path = np.cumsum(steps)
    return 100.0 + UNIT * (path + rng.normal(0.0, noise, path.size))


def test_realised_variance_under_noise() -> None:
    """S5: E[RV] = IV + 2 n omega^2 = 1.972e-3, and the noise variance is read off it."""
    omega = 2e-4
    names = [f"rv_1s_{N}s", f"noise_variance_1s_{N}s"]
    seen = at_the_end(diffusion(np.random.default_rng(5), omega), names)
    assert seen[names[0]] / UNIT**2 == pytest.approx(1.972e-3, rel=0.04)
    assert seen[names[1]] / UNIT**2 == pytest.approx(omega**2, rel=0.1)


def test_two_scales_and_pre_averaging_see_through_noise() -> None:
    """S6: both are unbiased for IV = 1e-4, with deviations of 0.14e-4 and 0.08e-4."""
    names = [f"tsrv_1s_{N}s", f"preaveraged_1s_{N}s"]
    rng = np.random.default_rng(6)
    seen = [at_the_end(diffusion(rng, 2e-4), names) for _ in range(12)]
    for name, deviation in zip(names, (0.137, 0.079), strict=True):
        values = np.array([day[name] for day in seen]) / UNIT**2 / IV
        assert values.mean() == pytest.approx(1.0, abs=3.5 * deviation / np.sqrt(12))
        assert values.std(ddof=1) == pytest.approx(deviation, rel=0.6)


def test_bipower_variation_leaves_a_jump_out() -> None:
    """S7: with a jump of 50 bp RV is 1.25e-4 and bipower variation still 1e-4."""
    names = [f"rv_1s_{N}s", f"bpv_1s_{N}s", f"jump_share_1s_{N}s"]
    seen = at_the_end(diffusion(np.random.default_rng(7), jump=0.005), names)
    assert seen[names[0]] / UNIT**2 == pytest.approx(1.25e-4, rel=0.03)
    assert seen[names[1]] / UNIT**2 == pytest.approx(1.0e-4, rel=0.03)
    assert seen[names[2]] == pytest.approx(0.2, abs=0.03)


def test_the_half_life_of_an_ornstein_uhlenbeck_process() -> None:
    """S10: 34.31 steps, within 5 %; reversion shows in the variance ratio, too."""
    rng = np.random.default_rng(10)
    steps, path = rng.normal(size=8 * N), np.zeros(8 * N)
    for k in range(1, path.size):
        path[k] = 0.98 * path[k - 1] + steps[k]
    names = [f"ou_half_life_1s_n{7 * N}", f"variance_ratio_100_1s_{N}s"]
    seen = at_the_end(1000.0 + path, names)
    assert seen[names[0]] == pytest.approx(34.31, rel=0.05)
    assert seen[names[1]] < 0.6


def test_a_random_walk_has_no_memory() -> None:
    """S10: VR(q) is 1, and what reversion a finite window shows takes a good part of it."""
    names = [f"variance_ratio_{q}_1s_{N}s" for q in (2, 5, 10)] + [f"ou_half_life_1s_n{N}"]
    seen = at_the_end(diffusion(np.random.default_rng(11)), names)
    for name in names[:3]:
        assert seen[name] == pytest.approx(1.0, abs=0.06)
    half_life = seen[names[3]]
    assert half_life is None or half_life > N / 50
