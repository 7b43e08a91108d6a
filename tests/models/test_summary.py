"""A model's scores over sessions: what is beyond luck, symbols that count once, the report."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest

from pipeline.models.judging import MODEL, Answer, Outcomes, Score, judge
from pipeline.models.show import About, report
from pipeline.models.summary import summarise
from tests.models.test_judging import CONSTANT, QUEUE, SECOND, classes_of, sides

ABOUT = About(
    "linear-0123abcd", "y_return_10s", "SIM.MDP3 SIMM5", simulated=True,
    trained="anew every 5 sessions", without=1,
)  # fmt: skip


def session_scores(seed, seen=0.5, classes=False, rows=3000):
    """A session of which the model sees a part, the queue imbalance a smaller one."""
    rng = np.random.default_rng(seed)
    ts = np.arange(rows, dtype=np.int64) * SECOND
    known = rng.normal(size=rows)
    y = seen * known + rng.normal(size=rows)
    zero = np.zeros(rows)
    answers = {
        MODEL: Answer(0.5 * known), CONSTANT: Answer(zero), QUEUE: Answer(0.1 * known)
    }  # fmt: skip
    if classes:
        y = classes_of(y)
        own = {MODEL: 0.5 * known, CONSTANT: zero, QUEUE: 0.1 * known}
        answers = {part: sides(value, 1.1) for part, value in own.items()}
    scores = judge(Outcomes(ts, ts + 5 * SECOND, y), answers, 0.0)
    for name, value in (("ofi_10s", 0.2), ("queue_imbalance", 0.1), ("spread", -0.01)):
        scores.append(Score(MODEL, "importance", value, 100, feature=name))
        scores.append(Score(MODEL, "feature_rank_ic", value / 2, 100, feature=name))
    return scores


def frame(*sessions, symbol="SIMM5"):
    """Rows of the table, a list of scores a session."""
    rows = [
        {
            "session": f"2025-06-{2 + i:02}", "dataset": "SIM.MDP3", "symbol": symbol,
            "part": s.part, "what": s.what,
            "feature": s.feature, "bin": s.bin, "value": s.value, "rows": s.rows,
        }
        for i, scores in enumerate(sessions)
        for s in scores
    ]  # fmt: skip
    schema = {
        "session": pl.String, "dataset": pl.String, "symbol": pl.String,
        "part": pl.String, "what": pl.String,
        "feature": pl.String, "bin": pl.Int32, "value": pl.Float64, "rows": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


@pytest.mark.parametrize("classes", [False, True])
def test_what_the_model_sees_is_beyond_luck(classes):
    summary = summarise(frame(*(session_scores(seed, classes=classes) for seed in range(4))))

    assert [s["session"] for s in summary.sessions] == [f"2025-06-0{2 + i}" for i in range(4)]
    assert summary.parts[MODEL]["auc"].mean > 0.65
    assert summary.parts[MODEL]["auc"].units == 4
    for versus in summary.versus.values():
        assert versus.verdict == "better"
        assert versus.gain.units == 4 * 50
        assert versus.sessions.above == 1
    constant = summary.versus[CONSTANT].gain.mean
    assert 0 < summary.versus[QUEUE].gain.mean < constant
    if not classes:
        assert constant == pytest.approx(summary.parts[MODEL]["r2"].mean, abs=1e-3)
    assert set(summary.calibration) == ({"up_", "down_"} if classes else {""})
    assert all(gap < 0.06 for gap in summary.calibration_gap.values())


def test_what_it_does_not_see_is_luck_or_worse():
    summary = summarise(frame(*(session_scores(seed, seen=0.0) for seed in range(4))))

    # It claims to know a quarter of the variance.
    assert {versus.verdict for versus in summary.versus.values()} == {"worse"}
    assert abs(summary.parts[MODEL]["auc"].mean - 0.5) < 0.02


def test_symbols_of_a_session_count_once():
    one = frame(*(session_scores(seed) for seed in range(4)))
    two = pl.concat([one, one.with_columns(symbol=pl.lit("SIMU5"))])

    single, double = summarise(one), summarise(two)

    assert double.versus[CONSTANT] == single.versus[CONSTANT]
    assert double.parts == single.parts
    assert double.overlap.rows == 2 * single.overlap.rows
    assert [f.importance for f in double.features] == [f.importance for f in single.features]


def test_features_are_ordered_by_what_they_cost():
    summary = summarise(frame(*(session_scores(seed) for seed in range(3))))

    assert [f.name for f in summary.features] == ["ofi_10s", "queue_imbalance", "spread"]
    assert summary.features[0].importance.mean == pytest.approx(0.2 / 1.25, rel=0.05)
    assert not any(f.suspect for f in summary.features)


def test_a_feature_that_is_the_label_is_flagged():
    scores = session_scores(1)
    scores.append(Score(MODEL, "feature_rank_ic", -0.97, 100, feature="leaky"))

    summary = summarise(frame(scores))

    assert [f.name for f in summary.features if f.suspect] == ["leaky"]
    (line,) = [line for line in report(ABOUT, summary) if line.startswith("SUSPECT")]
    assert "leaky" in line


def test_overlap_is_told_beside_what_rows_would_boast():
    summary = summarise(frame(*(session_scores(seed) for seed in range(4))))

    own = summary.overlap
    assert own.effective == pytest.approx(own.rows / 6, rel=0.01)
    assert own.t_rows / own.t_effective == pytest.approx(np.sqrt(6), rel=0.01)


def test_the_report_says_what_must_be_said():
    text = "\n".join(report(ABOUT, summarise(frame(*(session_scores(s) for s in range(4))))))

    assert text.startswith("SIMULATED")
    assert "Few sessions (4)" in text
    assert re.search(r"  constant +better, beyond luck +20.6 % +26.1 +200 +4 of 4 sessions", text)
    assert re.search(r"queue imbalance +better, beyond luck .* 4 of 4 sessions", text)
    assert "2025-06-05" in text
    assert "Labels overlap: 12,000 rows amount to 2,0" in text
    assert "no past     1 session without predictions" in text
    assert all(len(line) <= 115 for line in text.split("\n"))


def test_the_report_of_a_model_that_only_claims():
    text = "\n".join(report(ABOUT, summarise(frame(session_scores(1, seen=0.0)))))

    assert re.search(r"constant +worse, beyond luck +-\d.* 0 of 1 session", text)


def test_without_the_queue_imbalance_that_is_said():
    scores = [s for s in session_scores(1) if s.part != QUEUE]

    text = "\n".join(report(ABOUT, summarise(frame(scores))))

    assert "Not compared with the queue imbalance" in text


def test_many_sessions_are_listed_from_the_end():
    scores = session_scores(1)
    text = "\n".join(report(ABOUT, summarise(frame(*([scores] * 25)))))

    assert "the last 20 of 25" in text
    assert "2025-06-02 " not in text.split("by session")[1]
    assert "Few sessions" not in text


@pytest.mark.parametrize("empty", [False, True])
def test_nothing_judged(empty):
    none = np.zeros(0)
    answer = Answer(none)
    outcomes = Outcomes(np.zeros(0, np.int64), np.zeros(0, np.int64), none)
    scores = [] if empty else judge(outcomes, {MODEL: answer, CONSTANT: answer}, 0.0)

    summary = summarise(frame(scores))

    assert summary.sessions == []
    assert "Nothing is judged" in report(ABOUT, summary)[-1]
    assert json.loads(json.dumps(summary.as_json()))["parts"] == {}


def test_json_has_the_same_figures():
    summary = summarise(frame(*(session_scores(s, classes=True) for s in range(3))))

    found = json.loads(json.dumps(summary.as_json()))

    assert found["versus"][CONSTANT]["verdict"] == "better"
    assert found["versus"][CONSTANT]["stretches"]["t"] == summary.versus[CONSTANT].gain.t
    assert len(found["calibration"]["up"]["bins"]) == 10
    assert found["parts"][MODEL]["auc"]["mean"] == summary.parts[MODEL]["auc"].mean
    assert found["sessions"][0][QUEUE]["auc"] == summary.sessions[0][QUEUE]["auc"]
