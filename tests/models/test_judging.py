"""A session judged: figures by part, gains by stretches, calibration, sides of classes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.models.judging import MODEL, Answer, Outcomes, bins_of, gain_of, judge

SECOND = 10**9
CONSTANT, QUEUE = "baseline_constant", "baseline_queue_imbalance"


def session(rows=5000, seed=1, seen=0.5):
    """One row a second, labels known after five; of what comes the model sees a part."""
    rng = np.random.default_rng(seed)
    ts = np.arange(rows, dtype=np.int64) * SECOND
    known = rng.normal(size=rows)
    y = seen * known + rng.normal(size=rows)
    return Outcomes(ts, ts + 5 * SECOND, y), known, rng


def values(scores, part=MODEL):
    return {s.what: s.value for s in scores if s.part == part and s.bin is None}


def classes_of(y, at=0.7):
    return np.where(y > at, 1.0, np.where(y < -at, -1.0, 0.0))


def regression(seed=1, seen=0.5):
    outcomes, known, _ = session(seed=seed, seen=seen)
    zero = np.zeros(len(known))
    answers = {MODEL: Answer(0.5 * known), CONSTANT: Answer(zero), QUEUE: Answer(0.1 * known)}
    return outcomes, answers


def test_a_model_that_sees_half_of_it_is_found_better():
    outcomes, answers = regression()

    scores = judge(outcomes, answers, 0.0)

    own = values(scores)
    assert own["r2"] == pytest.approx(0.2, abs=0.03)  # 0.25 of a variance of 1.25
    assert own["ic"] == pytest.approx(0.447, abs=0.03)
    assert own["rank_ic"] == pytest.approx(0.43, abs=0.03)
    assert own["auc"] > 0.65
    assert values(scores, CONSTANT)["r2"] == 0
    assert values(scores, CONSTANT)["auc"] == 0.5
    assert values(scores, CONSTANT)["ic"] is None
    assert gain_of(scores, CONSTANT).t > 10
    assert gain_of(scores, CONSTANT).units == 50
    assert 0 < gain_of(scores, QUEUE).mean < gain_of(scores, CONSTANT).mean
    assert gain_of(scores, MODEL).units == 0


def test_gain_is_the_loss_saved():
    outcomes, answers = regression()

    scores = judge(outcomes, answers, 0.0)

    saved = values(scores, CONSTANT)["mse"] - values(scores)["mse"]
    assert gain_of(scores, CONSTANT).mean == pytest.approx(saved)


def test_one_that_sees_nothing_is_not():
    beyond = 0
    for seed in range(20):
        outcomes, answers = regression(seed, seen=0.0)
        scores = judge(outcomes, answers | {MODEL: Answer(0.02 * answers[MODEL].prediction)}, 0.0)
        beyond += gain_of(scores, CONSTANT).t > 2

    assert beyond <= 2


def test_overlapping_labels_amount_to_fewer():
    outcomes, answers = regression()

    (effective,) = [s for s in judge(outcomes, answers, 0.0) if s.what == "effective_rows"]

    assert effective.rows == 5000
    assert effective.value == pytest.approx(5000 / 6, rel=0.01)  # six under way at any time


def test_predictions_that_boast_are_seen_in_the_bins():
    outcomes, answers = regression()

    honest = bins_of(judge(outcomes, answers, 0.0))
    boasting = answers | {MODEL: Answer(3 * answers[MODEL].prediction)}
    scores = judge(outcomes, boasting, 0.0)
    bins = bins_of(scores)

    assert [one.number for one in honest] == list(range(1, 11))
    assert all(abs(one.gap) < 4 * one.error for one in honest)
    assert bins[0].gap > 5 * bins[0].error  # said far too low
    assert bins[-1].gap < -5 * bins[-1].error
    assert values(scores)["calibration_gap"] > 5 * values(judge(outcomes, answers, 0.0))[
        "calibration_gap"
    ]  # fmt: skip


def sides(score, spread=1.0):
    """Down, flat and up by a score that shifts a normal outcome."""
    from scipy.stats import norm

    up, down = norm.sf((0.7 - score) / spread), norm.cdf((-0.7 - score) / spread)
    return Answer(up - down, up, down)


def test_three_sides_are_judged_by_their_probabilities():
    outcomes, known, _ = session()
    y = classes_of(outcomes.y)
    shares = np.bincount((y + 1).astype(int)) / len(y)
    flat = np.ones(len(y))
    constant = Answer(flat * (shares[2] - shares[0]), flat * shares[2], flat * shares[0])

    outcomes = Outcomes(outcomes.ts, outcomes.t_end, y)
    scores = judge(outcomes, {MODEL: sides(0.5 * known), CONSTANT: constant}, 0.0)

    own, other = values(scores), values(scores, CONSTANT)
    assert own["log_loss"] < other["log_loss"]
    assert other["log_loss"] == pytest.approx(-np.sum(shares * np.log(shares)))  # the entropy
    assert own["accuracy"] > other["accuracy"] == pytest.approx(shares.max())
    assert "r2" not in own
    assert own["auc"] > 0.7
    assert gain_of(scores, CONSTANT).t > 5
    for side in ("up_", "down_"):
        bins = bins_of(scores, side)
        assert sum(one.rows for one in bins) == len(y)
        assert all(abs(one.gap) < 4 * one.error for one in bins)


def test_rows_that_went_no_way_do_not_count_for_the_direction():
    outcomes, known, _ = session()
    y = classes_of(outcomes.y)

    scores = judge(Outcomes(outcomes.ts, outcomes.t_end, y), {MODEL: sides(known)}, 0.0)

    (auc,) = [s for s in scores if s.what == "auc"]
    assert auc.rows == np.count_nonzero(y)


def test_of_classes_0_and_1_the_0_is_the_other_side():
    ts = np.arange(4, dtype=np.int64)
    zero = np.zeros(4)

    def auc(y, answer):
        scores = judge(Outcomes(ts, ts, np.array(y, float)), {MODEL: answer}, 0.0)
        return next((s.value, s.rows) for s in scores if s.what == "auc")

    p = np.array([0.1, 0.2, 0.8, 0.9])
    assert auc([0, 0, 1, 1], Answer(p, p, zero)) == (1, 4)
    assert auc([-1, -1, 0, 0], Answer(p - 1, zero, 1 - p)) == (1, 4)
    assert auc([0, 0, 1, 1], Answer(p)) == (None, 2)  # real labels: 0 went no way


def test_what_happened_against_all_certainty_costs_a_finite_loss():
    ts = np.arange(2, dtype=np.int64)
    certain = Answer(np.ones(2), np.ones(2), np.zeros(2))

    scores = judge(Outcomes(ts, ts, np.array([1.0, -1.0])), {MODEL: certain}, 0.0)

    assert 10 < values(scores)["log_loss"] < 40


def test_no_rows():
    none = np.zeros(0)
    empty = Outcomes(np.zeros(0, np.int64), np.zeros(0, np.int64), none)

    for answer in (Answer(none), Answer(none, none, none)):
        scores = judge(empty, {MODEL: answer, CONSTANT: answer}, 0.0)

        assert values(scores).pop("effective_rows") == 0
        assert {v for k, v in values(scores).items() if k != "effective_rows"} == {None}
        assert gain_of(scores, CONSTANT).units == 0
        assert bins_of(scores) == []
