"""Whatever is fitted is fitted in the window alone; windows that say little say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.models.estimators import load_kind, outputs
from pipeline.models.fitting import LEAST_ROWS, Outcome, Recipe, fit_parts
from pipeline.models.rows import Window, evenly
from pipeline.models.tables import BASELINE_CONSTANT, BASELINE_QUEUE, PARTS

N, NAMES = 400, ("queue_imbalance", "a", "b", "c")
RNG = np.random.default_rng(3)


def window(y: np.ndarray | None = None, n: int = N) -> Window:
    x = RNG.normal(size=(n, 4)).astype(np.float32)
    label = (x[:, 0] + 2 * x[:, 2] + RNG.normal(size=n)) if y is None else y
    ts = np.arange(n, dtype=np.int64) * 1000
    return Window(x, np.asarray(label, np.float64), ts, ts + 500, np.zeros(n, np.int32), 0)


def recipe(estimator: str = "linear", **more: Any) -> Recipe:
    values: dict[str, Any] = {
        "kind": load_kind(estimator, {}, "t"), "features": NAMES, "classification": False,
        "select": 0, "uniqueness": True, "balance": True, "trials": 0, "fixed": {}, "embargo": 0,
        "seed": 1,
    }  # fmt: skip
    return Recipe(**(values | more))


def fit(w: Window, r: Recipe) -> tuple[dict[str, Outcome], list[str]]:
    told: list[str] = []
    return fit_parts(w, NAMES, r, told.append), told


def test_the_model_comes_with_its_baselines() -> None:
    w = window()
    found, told = fit(w, recipe())
    assert tuple(found) == PARTS
    assert not told
    assert found[BASELINE_QUEUE].features == ("queue_imbalance",)
    constant = found[BASELINE_CONSTANT].fitted.predict(w.x[:3, :0])
    np.testing.assert_allclose(constant, w.y.mean())


def test_selection_keeps_what_goes_with_the_label() -> None:
    found, _ = fit(window(), recipe(select=2))
    assert found["model"].features == ("queue_imbalance", "b")
    x = window().x
    x[:, 2] = np.nan
    blank = Window(x, x[:, 0] * 1.0, *(getattr(window(), n) for n in ("ts", "t_end", "session")), 0)
    found, _ = fit(blank, recipe(select=1))
    assert found["model"].features == ("queue_imbalance",)


@pytest.mark.parametrize("estimator", ["linear", "lightgbm"])
def test_one_class_only_is_predicted_for_sure_and_said(estimator: str) -> None:
    w = window(np.ones(N))
    found, told = fit(w, recipe(estimator, classification=True))
    assert set(found) == {"model", BASELINE_CONSTANT}
    assert found["model"].estimator == "constant"
    np.testing.assert_array_equal(found["model"].fitted.predict(w.x[:2, :0]), [[1.0], [1.0]])
    assert told == ["the label is 1 in all 400 rows: the prediction is constant"]


def test_a_label_of_one_number_is_predicted_as_it_is() -> None:
    for estimator in ("linear", "lightgbm"):
        found, _ = fit(window(np.full(N, 2.5)), recipe(estimator))
        model = found["model"]
        x = window().x
        predicted = outputs(model.fitted, model.scaler, model.prior, x)
        np.testing.assert_allclose(predicted, 2.5, atol=1e-6)


def test_too_few_rows_give_no_model_and_too_many_classes_are_refused() -> None:
    found, told = fit(window(n=LEAST_ROWS - 1), recipe())
    assert not found
    assert "no model" in told[0]
    with pytest.raises(InputError, match=r'400 values.*task = "regression"'):
        fit(window(np.arange(N)), recipe(classification=True))


def test_shares_of_classes_are_what_the_baseline_says_and_the_balance_is_undone() -> None:
    y = np.where(RNG.random(N) < 0.15, 1.0, np.where(RNG.random(N) < 0.2, -1.0, 0.0))
    w = window(y)
    found, _ = fit(w, recipe(classification=True))
    shares = [np.mean(y == c) for c in (-1, 0, 1)]
    constant, model = found[BASELINE_CONSTANT], found["model"]
    np.testing.assert_allclose(constant.fitted.predict(w.x[:1, :0])[0], shares, rtol=1e-9)
    predicted = outputs(model.fitted, model.scaler, model.prior, w.x)
    np.testing.assert_allclose(predicted.mean(axis=0), shares, atol=0.05)
    plain = fit(w, recipe(classification=True, balance=False))[0]["model"]
    assert plain.prior is None
    again = outputs(plain.fitted, plain.scaler, None, w.x)
    np.testing.assert_allclose(predicted, again, atol=0.1)


@pytest.mark.parametrize("classification", [False, True])
def test_the_search_is_repeatable_and_leaves_alone_what_was_given(classification: bool) -> None:
    w = window()
    label = np.sign(w.y) if classification else w.y
    w = Window(w.x, label, w.ts, w.t_end, w.session, 0)
    r = recipe(
        "lightgbm", trials=3, classification=classification,
        fixed={"num_iterations": 7}, kind=load_kind("lightgbm", {"num_iterations": 7}, "t"),
    )  # fmt: skip
    first, again = (fit(w, r)[0]["model"] for _ in range(2))
    assert first.params == again.params
    assert first.fitted.to_text() == again.fitted.to_text()
    assert first.params["num_iterations"] == 7


def test_the_search_keeps_the_embargo() -> None:
    """Where the embargo leaves nothing to fit on, nothing is searched."""
    w = window()
    found, told = fit(w, recipe("linear", trials=2, embargo=10**9))
    assert len(told) == 1
    assert "to search parameters on: those given are taken" in told[0]
    assert found["model"].params == {"penalty": 1e-3}


def test_overlapping_labels_weigh_less_unless_switched_off() -> None:
    """A crowd of the same label counts as what it says once."""
    w = window()
    crowd = np.arange(N) < N // 2
    ts = np.where(crowd, np.arange(N), np.arange(N) * 10_000).astype(np.int64)
    t_end = np.where(crowd, N, ts + 1).astype(np.int64)
    y = np.where(crowd, 1.0, 0.0)
    crowded = Window(w.x, y, ts, t_end, w.session, 0)
    weighed, plain = (
        fit(crowded, recipe(uniqueness=u))[0][BASELINE_CONSTANT].fitted.predict(w.x[:1])[0]
        for u in (True, False)
    )
    assert plain == pytest.approx(0.5)
    assert weighed < 0.02


def test_rows_are_thinned_evenly() -> None:
    assert evenly(3, 5).tolist() == [0, 1, 2]
    assert evenly(10, 5).tolist() == [0, 2, 4, 6, 8]
    chosen = evenly(1_000_003, 1000)
    assert len(set(chosen.tolist())) == 1000
    assert np.ptp(np.diff(chosen)) <= 1
