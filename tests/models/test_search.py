"""The search: deterministic, never worse than the defaults, never past its part of the window."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.models.search import SPACES, Span, inner_split, search, space_of


def bowl(params):
    """Least at a = 3, b = 0.01."""
    if not params:
        return 10.0
    return (params["a"] - 3) ** 2 + math.log10(params["b"] / 0.01) ** 2


SPACE = {"a": Span(-10, 10), "b": Span(1e-4, 1.0, log=True)}


def test_it_finds_the_bottom():
    found = search(bowl, SPACE, trials=60, seed=1)

    assert found.params["a"] in {2, 3, 4}
    assert found.loss < 1
    assert found.loss == bowl(found.params)
    assert (found.default, found.trials) == (10, 61)


def test_the_same_seed_finds_the_same():
    tried = []

    def loss(params):
        tried.append(dict(params))
        return bowl(params)

    search(loss, SPACE, trials=15, seed=1)
    search(loss, SPACE, trials=15, seed=1)
    search(loss, SPACE, trials=15, seed=2)

    assert tried[:16] == tried[16:32]
    assert tried[:16] != tried[32:]
    assert tried[0] == {}  # the defaults first
    for params in tried[1:16]:
        assert -10 <= params["a"] <= 10
        assert params["b"] == float(f"{params['b']:.4g}")
        assert 1e-4 <= params["b"] <= 1


def test_defaults_win_where_nothing_is_better():
    found = search(lambda p: 1.0 if p else 0.5, SPACE, trials=5, seed=1)

    assert found.params == {}
    assert found.loss == 0.5


def test_what_is_no_number_is_passed_over():
    def loss(params):
        return bowl(params) if params and params["a"] > 0 else math.nan

    found = search(loss, SPACE, trials=30, seed=1)

    assert 0 < found.trials < 30
    assert math.isfinite(found.loss)
    assert math.isnan(found.default)
    assert search(lambda _: math.inf, SPACE, trials=3, seed=1).params == {}


def test_parameters_that_are_set_are_not_searched():
    left = space_of("lightgbm", {"num_leaves": 7})

    assert "num_leaves" not in left
    assert "learning_rate" in left
    with pytest.raises(RequestError, match="is set"):
        space_of("linear", dict.fromkeys(SPACES["linear"], 1))
    with pytest.raises(RequestError, match="Model is searched by no one"):
        space_of("mine.py:Model", {})


def test_without_optuna_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(RequestError, match="needs optuna"):
        search(bowl, SPACE, trials=1, seed=1)


# --- the inner split ---------------------------------------------------------------------------


def test_the_last_fifth_judges_and_what_reaches_into_it_is_purged():
    ts = np.arange(10, dtype=np.int64) * 10
    t_end = ts + 15

    fitted, judging = inner_split(ts, t_end)

    assert judging.tolist() == [False] * 8 + [True] * 2
    assert np.flatnonzero(fitted).tolist() == [0, 1, 2, 3, 4, 5, 6]  # 60 + 15 < 80 < 70 + 15
    fitted, _ = inner_split(ts, t_end, embargo=5)
    assert np.flatnonzero(fitted)[-1] == 6  # 75 + 5 is 80, and known by then
    fitted, _ = inner_split(ts, t_end, embargo=6)
    assert np.flatnonzero(fitted)[-1] == 5


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), min_size=1, max_size=50),
    st.integers(0, 10),
)
def test_no_label_fitted_on_is_known_after_the_judging_begins(rows, embargo):
    rows.sort()
    ts = np.array([a for a, _ in rows], np.int64)
    t_end = ts + np.array([b for _, b in rows], np.int64)

    fitted, judging = inner_split(ts, t_end, embargo)

    begin = ts[judging].min()
    assert not (fitted & judging).any()
    assert (t_end[fitted] + embargo <= begin).all()
    purged = ~fitted & ~judging
    assert (t_end[purged] + embargo > begin).all()
    assert judging.sum() >= 0.2 * len(ts)  # rows of one moment are not torn apart


def test_no_rows_split_into_none():
    none = np.zeros(0, np.int64)

    assert [part.shape for part in inner_split(none, none)] == [(0,), (0,)]
