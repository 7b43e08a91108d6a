"""Permanent impact where it is known: simulated trades and quotes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.components import Pairs
from features.gatherers import Products
from features.impact import permanent_response


def summed(r: np.ndarray, x: np.ndarray, lags: int) -> Pairs:
    n = r.size
    columns = []
    for k in range(lags + 1):
        columns += [pl.Series(z[lags - k : n - k]) for z in (r, x)]
    gatherer = Products()
    gatherer.push(np.arange(n - lags), columns)
    return gatherer.result()


def simulated(seed: int, size: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """r_t = 0.5 x_t - 0.2 x_(t-1) - 0.1 r_(t-1) + noise; trades keep their side in part."""
    rng = np.random.default_rng(seed)
    keeps = rng.random(size) < 0.3
    fresh = rng.choice([-1.0, 1.0], size)
    noise = rng.normal(0, 0.3, size)
    x, r = fresh.copy(), np.zeros(size)
    for t in range(1, size):
        x[t] = x[t - 1] if keeps[t] else fresh[t]
        r[t] = 0.5 * x[t] - 0.2 * x[t - 1] - 0.1 * r[t - 1] + noise[t]
    return r, x


@pytest.mark.parametrize("lags", [1, 5])
def test_the_response_of_a_known_system_is_recovered(lags: int) -> None:
    """Each buy is followed by 0.3 / 0.7 more: (0.5 - 0.2) / (1 + 0.1) / (1 - 0.3) in all."""
    found = permanent_response([summed(*simulated(1), lags)], lags)
    assert found == pytest.approx(0.3 / 1.1 / 0.7, rel=0.03)


def test_sessions_add_up() -> None:
    r, x = simulated(2, 4000)
    halves = [summed(r[:2000], x[:2000], 2), summed(r[1998:], x[1998:], 2)]
    whole = permanent_response([summed(r, x, 2)], 2)
    assert permanent_response(halves, 2) == pytest.approx(whole, rel=1e-9)


def test_what_cannot_be_told_is_not_there() -> None:
    r, x = simulated(3, 400)
    assert permanent_response([summed(r[:20], x[:20], 2)], 2) is None  # too few
    assert permanent_response([summed(r, np.ones(400), 2)], 2) is None  # one side only
    assert permanent_response([summed(np.cumsum(np.cumsum(r)), x, 2)], 2) is None  # no end
