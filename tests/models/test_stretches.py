"""Stretches of time: no row is lost, none is in two, and they are long enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.stretches import parts_by_stretch, stretch_length, stretches

times = st.lists(st.integers(0, 1000), min_size=1, max_size=60).map(sorted)


@given(times, st.integers(1, 300))
def test_rows_are_together_exactly_if_their_stretch_is(values, length):
    ts = np.array(values, np.int64)

    number = stretches(ts, length)

    assert number[0] == 0
    assert set(np.diff(number)) <= {0, 1}  # none is left out
    together = (ts[:, None] - ts[0]) // length == (ts - ts[0]) // length
    assert ((number[:, None] == number) == together).all()


def test_parts_are_sums_whose_mean_is_that_of_the_rows():
    values, number = np.array([1.0, 3.0, 5.0, 1.0, 2.0]), np.array([0, 0, 1, 2, 2])

    parts = parts_by_stretch(values, number)

    assert parts / (3 / 5) == pytest.approx([4, 5, 3])
    assert parts.mean() == pytest.approx(values.mean())


def test_a_stretch_outlasts_ten_labels():
    ts = np.arange(1000, dtype=np.int64)

    assert stretch_length(ts, ts + 30) == 300  # the horizon rules
    assert stretch_length(ts, ts) == 20  # their number does
    assert stretches(ts, stretch_length(ts, ts)).max() == 49


def test_no_rows_and_impossible_ones():
    none = np.zeros(0, np.int64)

    assert stretches(none, stretch_length(none, none)).shape == (0,)
    with pytest.raises(ValueError, match="backwards"):
        stretches(np.array([2, 1]), 1)
    with pytest.raises(ValueError, match="0 ns"):
        stretches(none, 0)
