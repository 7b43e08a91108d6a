"""Weights against loops one can read, on overlaps made by hand and by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

from pipeline.models.weights import balanced, concurrency, scaled, uniqueness


def arrays(*lists):
    return [np.array(one, np.int64) for one in lists]


def slow_uniqueness(ts, t_end):
    """Snippets 4.1 and 4.2 of the book, row by row."""
    n = len(ts)
    under_way = [sum(ts[i] <= ts[j] <= t_end[i] for i in range(n)) for j in range(n)]
    return under_way, [
        np.mean([1 / under_way[j] for j in range(n) if ts[i] <= ts[j] <= t_end[i]])
        for i in range(n)
    ]


def test_labels_apart_are_unique():
    ts, t_end = arrays([0, 10, 20], [9, 19, 29])

    assert uniqueness(ts, t_end).tolist() == [1, 1, 1]


def test_a_label_known_at_the_next_decision_overlaps_it():
    ts, t_end = arrays([0, 10], [10, 15])

    assert concurrency(ts, t_end).tolist() == [1, 2]
    assert uniqueness(ts, t_end).tolist() == [0.75, 0.5]


def test_three_labels_side_by_side_are_one():
    ts, t_end = arrays([0, 0, 0], [5, 5, 5])

    assert uniqueness(ts, t_end).sum() == pytest.approx(1)


def test_no_rows():
    ts, t_end = arrays([], [])

    assert uniqueness(ts, t_end).shape == (0,)


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 25)), min_size=1, max_size=40)


@given(spans)
def test_as_a_loop_counts(pairs):
    pairs.sort()
    ts, t_end = arrays([a for a, _ in pairs], [a + b for a, b in pairs])

    under_way, slow = slow_uniqueness(ts, t_end)

    assert concurrency(ts, t_end).tolist() == under_way
    assert uniqueness(ts, t_end) == pytest.approx(slow)


@given(spans)
def test_labels_amount_to_at_most_their_number(pairs):
    pairs.sort()
    ts, t_end = arrays([a for a, _ in pairs], [a + b for a, b in pairs])

    own = uniqueness(ts, t_end)

    assert (own > 0).all()
    assert (own <= 1).all()


def test_a_session_of_many_rows_takes_no_square_of_time():
    ts = np.arange(300_000, dtype=np.int64)

    own = uniqueness(ts, ts + 99_999)

    assert own[150_000] == pytest.approx(1 / 100_000)


@pytest.mark.parametrize(
    ("ts", "t_end", "message"),
    [([1, 0], [2, 2], "backwards"), ([5], [4], "before its decision")],
)
def test_impossible_times_are_refused(ts, t_end, message):
    with pytest.raises(ValueError, match=message):
        uniqueness(*arrays(ts, t_end))


# --- balance -----------------------------------------------------------------------------------


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=50))
def test_balance_without_weights_is_that_of_scikit_learn(classes):
    (y,) = arrays(classes)

    assert balanced(y) == pytest.approx(compute_sample_weight("balanced", y))


@given(st.lists(st.tuples(st.integers(-1, 1), st.floats(0.01, 1)), min_size=1, max_size=50))
def test_classes_weigh_the_same_and_all_of_them_as_before(rows):
    y = np.array([a for a, _ in rows], np.int64)
    weights = np.array([b for _, b in rows])

    own = balanced(y, weights)

    sums = [own[y == k].sum() for k in np.unique(y)]
    assert sums == pytest.approx([weights.sum() / len(sums)] * len(sums))
    for k in np.unique(y):
        ratio = own[y == k] / weights[y == k]
        assert ratio == pytest.approx(ratio[0])


def test_a_class_whose_rows_weigh_nothing_takes_no_share():
    y, weights = np.array([0, 0, 1, 2]), np.array([1.0, 1.0, 0.0, 2.0])

    assert balanced(y, weights).tolist() == [1, 1, 0, 2]


def test_scaled_weights_have_mean_one():
    assert scaled(np.array([1.0, 3.0])).tolist() == [0.5, 1.5]
    with pytest.raises(ValueError, match="above 0"):
        scaled(np.zeros(3))
