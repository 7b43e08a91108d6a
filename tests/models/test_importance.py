"""Importance by shuffling: what is used costs, what is not does not; stretches stay whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.inspection import permutation_importance as theirs
from sklearn.linear_model import LinearRegression

from pipeline.models.importance import permutation_importance, shuffled, thinned
from pipeline.models.stretches import stretches


def market(rows=4000, seed=1):
    """Three independent features; the outcome is twice the first plus the second, and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    return x, 2 * x[:, 0] + x[:, 1] + rng.normal(size=rows), np.arange(rows, dtype=np.int64)


def squared(y, coefficients):
    def loss(x):
        return float(np.mean((y - x @ coefficients) ** 2))

    return loss


def test_a_feature_costs_what_theory_says():
    """Shuffling one whose coefficient is b costs 2 b^2 of its variance."""
    x, y, ts = market()

    found = permutation_importance(squared(y, [2, 1, 0]), x, ts, length=10, seed=1)

    assert [one.mean for one in found] == pytest.approx([8, 2, 0], rel=0.1)
    assert found[2].mean == 0
    assert all(one.spread < 0.3 for one in found)


def test_row_by_row_it_is_that_of_scikit_learn():
    x, y, ts = market()
    model = LinearRegression().fit(x, y)

    own = permutation_importance(
        lambda a: float(np.mean((y - model.predict(a)) ** 2)),
        x, ts, length=1, seed=1, repeats=10,
    )  # fmt: skip

    other = theirs(model, x, y, scoring="neg_mean_squared_error", n_repeats=10, random_state=1)
    assert [o.mean for o in own] == pytest.approx(other.importances_mean, rel=0.05, abs=0.01)
    assert [o.spread for o in own] == pytest.approx(other.importances_std, rel=1, abs=0.02)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=12), st.integers(0, 5))
def test_every_stretch_moves_and_stays_whole(sizes, seed):
    number = np.repeat(np.arange(len(sizes)), sizes)

    order = shuffled(number, np.random.default_rng(seed))

    assert sorted(order) == list(range(len(number)))
    moved = number[order]
    inside = np.diff(moved) == 0
    assert (np.diff(order)[inside] == 1).all()
    sequence = moved[np.flatnonzero(np.concatenate([[True], ~inside]))]
    assert sorted(sequence) == list(range(len(sizes)))
    assert (sequence != np.arange(len(sizes))).all()


def test_shuffling_stretches_keeps_what_neighbours_share():
    rng = np.random.default_rng(2)
    wave = np.cumsum(rng.normal(size=10_000))
    order = shuffled(stretches(np.arange(10_000), 200), rng)

    def neighbours(x):
        steps = np.diff(x)
        return np.median(np.abs(steps))

    assert neighbours(wave[order]) == pytest.approx(neighbours(wave), rel=0.02)
    assert neighbours(wave[rng.permutation(10_000)]) > 20 * neighbours(wave)


def test_the_same_seed_gives_the_same_and_features_do_not_depend_on_each_other():
    x, y, ts = market(500)
    x[:, 1] = np.nan  # undefined, and not used

    def first(a):
        return float(np.mean((y - a[:, 0]) ** 2))

    whole = permutation_importance(first, x, ts, length=10, seed=4)
    alone = permutation_importance(first, x[:, :1], ts, length=10, seed=4)

    assert whole[:1] == alone
    assert whole == permutation_importance(first, x, ts, length=10, seed=4)
    assert whole != permutation_importance(first, x, ts, length=10, seed=5)
    assert [one.mean for one in whole[1:]] == [0, 0]


def test_features_come_back_as_they_were():
    x, y, ts = market(200)
    before = x.copy()

    permutation_importance(squared(y, [1, 1, 1]), x, ts, length=10, seed=1)

    assert (x == before).all()


def test_it_asks_once_a_feature_and_repeat():
    x, y, ts = market(100)
    asked = []

    def loss(a):
        asked.append(len(a))
        return squared(y, [2, 1, 0])(a)

    permutation_importance(loss, x, ts, length=10, seed=1, repeats=2)

    assert asked == [100] * (1 + 3 * 2)


def test_a_single_stretch_says_nothing():
    x, y, ts = market(50)

    assert permutation_importance(squared(y, [1, 1, 1]), x, ts, length=50, seed=1) is None
    none = permutation_importance(squared(y, [1, 1, 1]), x[:0], ts[:0], length=5, seed=1)
    assert none is None
    with pytest.raises(ValueError, match="single stretch"):
        shuffled(np.zeros(5, np.int64), np.random.default_rng(1))


def test_thinning_is_even():
    assert thinned(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert thinned(3, 5).tolist() == [0, 1, 2]
    assert thinned(0, 5).tolist() == []
