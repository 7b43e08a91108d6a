"""Deflated Sharpe ratio and overfitting: the papers' numbers, obvious twins, pure chance."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sweep.luck import (
    block_count,
    effective_trials,
    expected_maximum,
    kurtosis,
    luck_of,
    overfitting,
    probabilistic_sharpe,
    session_sharpe,
    skewness,
)

YEAR = 250
"""Days a year in the paper's example."""


def test_the_papers_example():
    """Bailey and Lopez de Prado 2014: 100 trials, annual Sharpe 2.5 over 5 years of days, annual
    variance of the trials' Sharpe ratios 1/2, skewness -3, kurtosis 10.
    """
    best = 2.5 / math.sqrt(YEAR)
    expected = expected_maximum(1 / (2 * YEAR), 100)

    assert expected == pytest.approx(0.1132, abs=5e-5)
    assert probabilistic_sharpe(best, 1250, -3, 10, expected) == pytest.approx(0.9004, abs=5e-5)


def test_the_papers_number_of_trials_at_five_per_cent():
    """The same after 46 trials, and after 88 with normal returns: just at 0.95."""
    best = 2.5 / math.sqrt(YEAR)
    for trials, skew, kurt in ((46, -3, 10), (88, 0, 3)):
        expected = expected_maximum(1 / (2 * YEAR), trials)
        found = probabilistic_sharpe(best, 1250, skew, kurt, expected)
        assert found == pytest.approx(0.9505, abs=5e-4)


def test_probabilistic_sharpe_of_the_2012_paper():
    """Its benchmark of 0 with normal returns is the normal approximation of a t-test."""
    found = probabilistic_sharpe(0.1, 101, 0, 3)

    assert found == pytest.approx(0.5 * math.erfc(-1 / math.sqrt(2 * (1 + 0.005))), abs=1e-12)


def test_moments_are_those_of_the_population():
    values = np.array([0.0, 0.0, 0.0, 1.0])

    assert skewness(values) == pytest.approx(2 / math.sqrt(3))  # (1 - 2 p) / sqrt(p q), p = 1/4
    assert kurtosis(values) == pytest.approx(3 + (1 - 6 * 3 / 16) / (3 / 16))


@pytest.mark.parametrize("trials", [5, 50])
def test_expected_maximum_is_that_of_chance(trials):
    rng = np.random.default_rng(3)
    drawn = rng.normal(0, 0.3, (20_000, trials)).max(axis=1).mean()

    assert expected_maximum(0.09, trials) == pytest.approx(drawn, rel=0.06)


def test_under_the_null_the_best_is_seldom_called_skill():
    rng = np.random.default_rng(1)
    deflated, naive, overfit = [], [], []
    for _ in range(150):
        luck = luck_of(rng.normal(0, 0.01, (27, 20)))
        deflated.append(luck.deflated)
        naive.append(luck.probabilistic)
        overfit.append(luck.overfitting)

    assert np.mean(np.array(deflated) > 0.95) < 0.05
    assert np.mean(np.array(naive) > 0.95) > 0.4  # what the correction is for
    assert 0.35 < np.mean(deflated) < 0.65
    assert 0.4 < np.mean(overfit) < 0.65


def test_skill_is_found():
    rng = np.random.default_rng(2)
    returns = rng.normal(0, 0.01, (250, 20))
    returns[:, 7] += 0.004

    luck = luck_of(returns)

    assert luck.best == 7
    assert luck.deflated > 0.95
    assert luck.overfitting < 0.05


def test_effective_trials_of_copies_and_of_strangers():
    rng = np.random.default_rng(4)
    one = rng.normal(size=(500, 1))

    assert effective_trials(np.tile(one, 10)) == pytest.approx(1)
    assert effective_trials(rng.normal(size=(500, 10))) == pytest.approx(10, abs=0.5)


def test_what_cannot_be_said_is_none():
    rng = np.random.default_rng(5)
    few = luck_of(rng.normal(size=(19, 10)))
    alone = luck_of(rng.normal(size=(40, 1)))
    idle = luck_of(np.column_stack([rng.normal(size=40), np.zeros(40), np.full(40, 0.1)]))

    for luck in (few, alone, idle, luck_of(np.zeros((0, 3)))):
        assert luck.deflated is luck.probabilistic is luck.overfitting is luck.expected is None
    assert (idle.trials, idle.judged) == (3, 1)
    assert session_sharpe(np.zeros(40)) is None


def test_sessions_are_cut_into_an_even_number_of_parts():
    assert [block_count(n) for n in (19, 20, 22, 31, 32, 500)] == [0, 10, 10, 14, 16, 16]


def overfitting_by_hand(returns, *, by_profit):
    """The definition, half by half."""
    parts = np.array_split(returns, block_count(len(returns)))
    lower = []
    for half in combinations(range(len(parts)), len(parts) // 2):
        score = []
        for rows in (
            np.concatenate([parts[i] for i in half]),
            np.concatenate([parts[i] for i in range(len(parts)) if i not in half]),
        ):
            mean = rows.mean(axis=0)
            score.append(mean if by_profit else mean / rows.std(axis=0, ddof=1))
        inside, outside = score
        value = outside[inside.argmax()]
        rank = (outside < value).sum() + ((outside == value).sum() + 1) / 2
        share = rank / (returns.shape[1] + 1)
        lower.append(math.log(share / (1 - share)) <= 0)
    return np.mean(lower), len(lower)


@settings(max_examples=15, deadline=None)
@given(
    sessions=st.integers(20, 23),
    trials=st.integers(2, 7),
    by_profit=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_overfitting_is_its_definition(sessions, trials, by_profit, seed):
    returns = np.random.default_rng(seed).normal(0.01, 1, (sessions, trials))

    found = overfitting(returns, by_profit=by_profit)

    assert found == pytest.approx(overfitting_by_hand(returns, by_profit=by_profit))


def test_a_trial_that_rests_in_half_of_the_sessions_scores_nothing_there():
    rng = np.random.default_rng(6)
    returns = rng.normal(-1, 0.1, (20, 3))
    returns[:, 0] = 0.0

    share, splits = overfitting(returns)

    assert (share, splits) == (0.0, 252)  # doing nothing is best in every half
