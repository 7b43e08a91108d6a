"""Thinned curves look like the whole ones, and trading time never goes back."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.thinning import Axis, curve_json, extremes, rounded, spread

DAY = 86_400 * 10**9


@given(
    st.lists(st.tuples(st.integers(0, 999), st.integers(-50, 50)), min_size=1, max_size=300),
    st.integers(1, 40),
)
def test_every_bucket_keeps_its_first_last_lowest_and_highest(points, buckets):
    points.sort(key=lambda point: point[0])
    place = np.array([p for p, _ in points])
    values = np.array([v for _, v in points], float)

    kept = extremes(place, values, 1000, buckets)

    assert kept.tolist() == sorted(set(kept.tolist()))
    width = -(-1000 // buckets)
    for bucket in set((place // width).tolist()):
        whole = np.flatnonzero(place // width == bucket)
        own = [i for i in kept.tolist() if place[i] // width == bucket]
        assert (own[0], own[-1]) == (whole[0], whole[-1])
        assert min(values[own]) == min(values[whole])
        assert max(values[own]) == max(values[whole])


def test_a_long_curve_becomes_short():
    place = np.arange(1_000_000)
    kept = extremes(place, np.sin(place / 1e4), 1_000_000, 500)
    assert 500 < len(kept) <= 2000


@given(st.integers(0, 2000), st.integers(1, 300))
def test_spread_is_even_and_has_both_ends(n, most):
    kept = spread(n, most).tolist()
    assert len(kept) <= most
    assert kept == sorted(set(kept))
    if n and most > 1:
        assert (kept[0], kept[-1]) == (0, n - 1)
        gaps = np.diff(kept)
        assert not len(gaps) or max(gaps) - min(gaps) <= 1


@given(
    st.lists(st.tuples(st.integers(0, 3 * DAY), st.integers(0, 3 * DAY)), max_size=8),
    st.lists(st.integers(-DAY, 12 * DAY), max_size=50),
)
def test_trading_time_never_goes_back_and_leaves_no_gap(spans, instants):
    days = [date(2025, 6, 2) + timedelta(days=i) for i in range(len(spans))]
    axis = Axis.of({d: (i * DAY + min(s), i * DAY + max(s)) for i, (d, s) in
                    enumerate(zip(days, spans, strict=True))})  # fmt: skip
    places = axis.place(np.array(sorted(instants), np.int64))
    assert (np.diff(places) >= 0).all()
    assert ((places >= 0) & (places <= axis.length)).all()
    if len(axis.starts):
        assert axis.place(axis.starts)[0] == 0
        assert axis.place(axis.ends)[-1] == axis.length
        assert (axis.starts[1:] >= axis.ends[:-1]).all()


def test_a_curve_is_written_in_steps_of_milliseconds():
    axis = Axis.of({date(2025, 6, 2): (0, 10**10)})
    written = curve_json(np.array([10**9, 3 * 10**9]), np.array([0.5, -2.0]), axis, 10)
    assert written == {"t": [1000, 2000], "v": [0.5, -2], "of": 2}


def test_numbers_are_short():
    assert rounded([1 / 3, 5.0, -0.0, 5899.125]) == [0.333333333, 5, 0, 5899.125]
