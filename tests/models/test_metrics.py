"""Figures against scikit-learn and scipy, rows counted twice, and what is undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as theirs

from pipeline.models import metrics as ours
from pipeline.models.metrics import Spread

NUMBERS = st.floats(-100, 100).map(lambda x: round(x, 2))
"""Rounded: equal values occur."""


def columns(*elements, least=2):
    """Lists of rows as columns."""
    rows = st.lists(st.tuples(*elements), min_size=least, max_size=40)
    return rows.map(lambda chosen: [np.array(c) for c in zip(*chosen, strict=True)])


WEIGHTS = st.integers(0, 3)


@given(columns(st.booleans(), NUMBERS, st.floats(0.1, 2)))
def test_auc_is_that_of_scikit_learn(data):
    up, score, weights = data
    assume(up.any() and not up.all())

    assert ours.auc(up, score) == pytest.approx(theirs.roc_auc_score(up, score))
    weighed = theirs.roc_auc_score(up, score, sample_weight=weights)
    assert ours.auc(up, score, weights) == pytest.approx(weighed)


@given(columns(st.booleans(), NUMBERS))
def test_auc_counts_pairs(data):
    up, score = data
    assume(up.any() and not up.all())
    pairs = [(a > b) + 0.5 * (a == b) for a in score[up] for b in score[~up]]

    assert ours.auc(up, score) == pytest.approx(np.mean(pairs))


CLASSES = st.tuples(*[st.floats(0.01, 1)] * 3)


@given(columns(st.integers(0, 2), CLASSES, st.floats(0.1, 2)))
def test_log_loss_and_accuracy_are_those_of_scikit_learn(data):
    place, raw, weights = data
    p = raw / raw.sum(axis=1, keepdims=True)

    for w in (None, weights):
        loss = theirs.log_loss(place, p, sample_weight=w, labels=[0, 1, 2])
        assert ours.log_loss(place, p, w) == pytest.approx(loss)
        right = theirs.accuracy_score(place, p.argmax(axis=1), sample_weight=w)
        assert ours.accuracy(place, p, w) == pytest.approx(right)


def test_a_certainty_that_fails_costs_a_finite_loss():
    p = np.array([[1.0, 0.0]])

    assert ours.log_loss(np.array([1]), p) == pytest.approx(-math.log(ours.CERTAIN))


@given(columns(NUMBERS, NUMBERS, st.floats(0.1, 2)))
def test_r2_against_the_mean_is_that_of_scikit_learn(data):
    y, prediction, weights = data
    assume(np.ptp(y) > 0)

    mean = float(np.average(y, weights=weights))
    expected = theirs.r2_score(y, prediction, sample_weight=weights)
    assert ours.r2(y, prediction, mean, weights) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_r2_is_against_the_training_mean_not_the_sessions():
    y = np.array([1.0, 3.0])

    assert ours.r2(y, np.array([2.0, 2.0]), 2.0) == 0
    assert ours.r2(y, np.array([2.0, 2.0]), 0.0) == pytest.approx(0.8)
    assert ours.r2(y, np.array([9.0, 9.0]), 0.0) < 0


@given(columns(NUMBERS, NUMBERS))
def test_ics_are_those_of_scipy(data):
    y, prediction = data
    assume(np.ptp(y) > 0 and np.ptp(prediction) > 0)

    assert ours.ic(y, prediction) == pytest.approx(stats.pearsonr(y, prediction)[0], abs=1e-9)
    expected = stats.spearmanr(y, prediction)[0]
    assert ours.rank_ic(y, prediction) == pytest.approx(expected, abs=1e-9)
    assert ours.ranks(y) + 0.5 == pytest.approx(stats.rankdata(y))


@given(columns(st.integers(0, 1), NUMBERS, NUMBERS, WEIGHTS))
def test_a_weight_is_so_many_rows(data):
    place, y, prediction, weights = data
    again = np.repeat(np.arange(len(y)), weights)
    p = np.abs(np.column_stack([prediction, 101 - prediction])) / 200
    w = weights.astype(float)

    def both(figure, *arrays):
        weighed = figure(*arrays, weights=w)
        repeated = figure(*(a[again] for a in arrays))
        assert weighed == pytest.approx(repeated, abs=1e-9)

    both(ours.auc, place == 1, prediction)
    both(ours.log_loss, place, p)
    both(ours.accuracy, place, p)
    both(ours.ic, y, prediction)
    both(ours.rank_ic, y, prediction)
    both(lambda a, b, weights=None: ours.r2(a, b, 0.5, weights), y, prediction)


def test_what_cannot_be_said_is_none():
    none, y, flat = np.zeros(0), np.array([1.0, 2.0]), np.array([0.1, 0.1])

    assert ours.auc(np.array([True, True]), y) is None
    assert ours.auc(np.zeros(0, bool), none) is None
    assert ours.log_loss(np.zeros(0, int), np.zeros((0, 2))) is None
    assert ours.accuracy(np.zeros(0, int), np.zeros((0, 2))) is None
    assert ours.ic(y, flat) is None
    assert ours.ic(none, none) is None
    assert ours.rank_ic(flat, y) is None
    assert ours.r2(flat, y, 0.1) is None
    assert ours.ic(y, y, np.array([0.0, 1.0])) is None  # one row that counts


def test_a_constant_score_is_a_coin():
    assert ours.auc(np.array([True, False, False]), np.full(3, 0.3)) == 0.5


# --- over sessions -----------------------------------------------------------------------------


@given(st.lists(NUMBERS, min_size=3, max_size=20))
def test_t_over_sessions_is_that_of_scipy(values):
    spread = ours.over_sessions(values)

    assert spread.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert spread.above == np.mean(np.array(values) > 0)
    if len(set(values)) > 1:
        assert spread.t == pytest.approx(stats.ttest_1samp(values, 0).statistic, abs=1e-9)
    else:
        assert spread.t is None


def test_undefined_sessions_are_left_out_and_few_have_no_t():
    assert ours.over_sessions([None, None]) == Spread(0)
    assert ours.over_sessions([None, 0.5]) == Spread(1, 0.5, None, None, 1.0)
    assert ours.over_sessions([0.5, 0.1, None]).t is None
    assert ours.over_sessions([0.5, 0.1, None]).deviation is not None


@given(st.lists(st.lists(NUMBERS, max_size=8), min_size=1, max_size=6))
def test_parts_together_are_as_all_at_once(parts):
    whole = ours.over_sessions([value for part in parts for value in part])

    own = ours.pooled([ours.over_sessions(part) for part in parts])

    assert own.units == whole.units
    for name in ("mean", "deviation", "above"):
        assert getattr(own, name) == pytest.approx(getattr(whole, name), abs=1e-7)
    if whole.t is not None and whole.deviation > 1e-6:
        assert own.t == pytest.approx(whole.t, rel=1e-6, abs=1e-6)


def test_t_of_a_correlation():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 50))
    found = stats.pearsonr(a, b)

    t = ours.correlation_t(ours.ic(a, b), 50)

    assert 2 * stats.t.sf(abs(t), 48) == pytest.approx(found.pvalue)
    assert ours.correlation_t(None, 50) is None
    assert ours.correlation_t(1.0, 50) is None
    assert ours.correlation_t(0.5, 2) is None


def test_overlap_makes_rows_boast_and_sessions_not():
    """A thousand sessions of pure luck: features and labels wander, neither knows the other."""
    rng = np.random.default_rng(5)
    span, rows = 50, 500
    boasts, honest = [], []
    for _ in range(100):
        ics = []
        for _ in range(10):
            steps = rng.normal(size=rows + span)
            label = np.convolve(steps, np.ones(span), "valid")[:rows]  # overlapping returns
            feature = np.convolve(rng.normal(size=rows + span), np.ones(span), "valid")[:rows]
            ics.append(ours.ic(label, feature))
            boasts.append(abs(ours.correlation_t(ics[-1], rows)) > 2)
        honest.append(abs(ours.over_sessions(ics).t) > 2.26)

    assert np.mean(boasts) > 0.5  # instead of 5 %
    assert np.mean(honest) < 0.12
