"""Calibration: known curves, ties, sessions together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from pipeline.models.calibration import calibration, calibration_error, merged


def test_bins_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    p = rng.random(1000)
    y = (rng.random(1000) < p).astype(float)

    bins = calibration(p, y)

    observed, predicted = calibration_curve(y, p, n_bins=10, strategy="quantile")
    assert [b.predicted for b in bins] == pytest.approx(predicted)
    assert [b.observed for b in bins] == pytest.approx(observed)
    assert [b.rows for b in bins] == [100] * 10
    assert [b.number for b in bins] == list(range(1, 11))


def test_an_honest_model_is_within_its_errors_and_a_boaster_is_not():
    rng = np.random.default_rng(2)
    p = rng.random(20_000)
    y = (rng.random(20_000) < p).astype(float)

    honest = calibration(p, y)
    boaster = calibration(np.clip(2 * p - 0.5, 0, 1), y)

    assert all(abs(b.gap) < 4 * b.error for b in honest)
    assert calibration_error(honest) < 0.02
    assert calibration_error(boaster) == pytest.approx(0.125, abs=0.02)
    assert any(abs(b.gap) > 4 * b.error for b in boaster)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-1, 1)), min_size=1, max_size=60))
def test_no_row_is_lost_and_equal_predictions_stay_together(rows):
    p = np.array([float(a) for a, _ in rows])
    y = np.array([b for _, b in rows])

    bins = calibration(p, y)

    assert sum(b.rows for b in bins) == len(p)
    assert sum(b.rows * b.observed for b in bins) == pytest.approx(y.sum(), abs=1e-9)
    assert sum(b.rows * b.predicted for b in bins) == pytest.approx(p.sum())
    assert [b.predicted for b in bins] == sorted(b.predicted for b in bins)
    assert len(bins) <= len(set(p))


def test_a_constant_prediction_is_one_bin():
    (only,) = calibration(np.full(9, 0.4), np.array([1.0] * 4 + [0.0] * 5))

    assert (only.rows, only.number) == (9, 6)  # the middle one
    assert only.observed == pytest.approx(4 / 9)


def test_overlapping_labels_widen_the_error():
    p, y = np.zeros(100), np.tile([0.0, 1.0], 50)

    (apart,) = calibration(p, y)
    (overlapping,) = calibration(p, y, uniqueness=np.full(100, 0.04))

    assert overlapping.error == pytest.approx(5 * apart.error)


def test_sessions_together():
    first = calibration(np.array([0.1, 0.9]), np.array([0.0, 1.0]), bins=2)
    second = calibration(np.array([0.3, 0.3, 0.7, 0.7]), np.array([0.0, 1.0, 1.0, 1.0]), bins=2)

    low, high = merged([first, second])

    assert (low.number, low.rows, high.rows) == (1, 3, 3)
    assert low.predicted == pytest.approx(0.7 / 3)
    assert low.observed == pytest.approx(1 / 3)
    assert low.error is None  # of one row in the first session
    assert merged([second])[0].error == pytest.approx(second[0].error)


def test_errors_of_sessions_together_are_those_of_the_mean():
    rng = np.random.default_rng(4)
    parts = [calibration(np.zeros(50), rng.normal(size=50)) for _ in range(4)]

    (one,) = merged(parts)

    assert one.error == pytest.approx(np.sqrt(sum(p[0].error ** 2 for p in parts)) / 4)


def test_no_rows_have_no_bins_and_no_error():
    assert calibration(np.zeros(0), np.zeros(0)) == []
    assert calibration_error([]) is None
    assert merged([[], []]) == []
