"""Scores of ``mbo train`` through the command: flow that carries information, and flow that does
not.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.lake import open_lake
from pipeline.models.judging import MODEL
from pipeline.models.summary import Summary, summarise
from pipeline.models.tables import BASELINE_CONSTANT, BASELINE_QUEUE
from tests.e2e.running import mbo

JUDGED = "2025-06-03"
OPTIONS = ("--symbols", "SIMM5", "--workers", "1")


@pytest.fixture(scope="module")
def scored(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small lake with a linear model, and what the command printed."""
    lake = tmp_path_factory.mktemp("scores") / "lake"
    shutil.copytree(feature_lake, lake)
    return lake, mbo("train", "linear", "--lake", lake, *OPTIONS).checked().out


def figures(lake: Path) -> pl.DataFrame:
    """Those of the one session that has a model and labels."""
    scores = open_lake(lake).model("linear").scores.collect()
    return scores.filter(pl.col("session").cast(pl.String) == JUDGED)


def test_figures_are_those_of_the_stored_predictions(scored: tuple[Path, str]) -> None:
    """Computed once more from the tables, as a reader would."""
    lake, _ = scored
    opened = open_lake(lake)
    predictions = opened.model("linear").predictions.filter(pl.col("prediction").is_not_null())
    labels = opened.scan("labels", symbols="SIMM5")
    rows = predictions.join(labels, on=["session", "symbol", "event", "ts"]).collect()
    rows = rows.filter(pl.col("y_return_10s").is_not_null(), pl.col("t_end").is_not_null())
    y, p = rows["y_return_10s"].to_numpy().astype(float), rows["prediction"].to_numpy()
    constant = opened.model("linear").models.filter(pl.col("part") == BASELINE_CONSTANT).collect()
    (mean,) = json.loads(constant["text"][0])["values"]

    own = {
        row["what"]: row["value"]
        for row in figures(lake).iter_rows(named=True)
        if row["part"] == MODEL and row["bin"] is None and row["feature"] is None
    }

    assert own["ic"] == pytest.approx(np.corrcoef(y, p)[0, 1])
    assert own["mse"] == pytest.approx(np.mean((y - p) ** 2))
    assert own["r2"] == pytest.approx(1 - np.mean((y - p) ** 2) / np.mean((y - mean) ** 2))
    up, down = p[y > 0], p[y < 0]
    pairs = (up[:, None] > down).mean() + (up[:, None] == down).mean() / 2
    assert own["auc"] == pytest.approx(pairs)


def test_baselines_and_features_are_judged_beside_it(scored: tuple[Path, str]) -> None:
    lake, out = scored
    scores = figures(lake)

    assert set(scores["part"]) == {MODEL, BASELINE_CONSTANT, BASELINE_QUEUE}
    fitted = open_lake(lake).model("linear").models.filter(pl.col("part") == MODEL).collect()
    features = json.loads(fitted["features"][0])
    for what in ("importance", "feature_rank_ic"):
        named = scores.filter(pl.col("what") == what)["feature"].to_list()
        assert named == features
    for words in ("SIMULATED", "queue imbalance", "Judge from 20 on", "Accuracy is not money"):
        assert words in out
    assert scores["value"].is_nan().sum() == 0


def test_the_same_again_as_json_and_in_sql(scored: tuple[Path, str]) -> None:
    lake, _ = scored

    found = json.loads(mbo("train", "linear", "--lake", lake, *OPTIONS, "--json").checked().out)
    rows = json.loads(
        mbo("sql", "model_scores model=linear%", "--lake", lake, "--json").checked().out
    )

    auc = found["scores"]["parts"][MODEL]["auc"]["mean"]
    (own,) = [row for row in rows if row["part"] == MODEL and row["session"] == JUDGED]
    assert own["auc"] == pytest.approx(auc)
    (other,) = [
        row for row in rows if row["part"] == BASELINE_CONSTANT and row["session"] == JUDGED
    ]
    assert other["gain"] == pytest.approx(own["r2"], rel=1e-6)  # of the same constant


def test_nothing_selected_is_judged(scored: tuple[Path, str]) -> None:
    """The last session is too short for labels; the first has no model."""
    lake, _ = scored

    done = mbo("train", "linear", "--lake", lake, *OPTIONS, "--start", "2025-06-04").checked()

    assert "Nothing is judged" in done.out


# --- does it find what is there, and nothing where nothing is? ---------------------------------


SETTINGS = """
[models.line]
estimator = "linear"
every = 1
[models.trees]
estimator = "lightgbm"
every = 1
"""


def market(folder: Path, *flags: str) -> Path:
    """A lake of six sessions, five of them with a past."""
    lake = folder / "lake"
    (folder / "research.toml").write_text(SETTINGS)
    size = ("--days", "6", "--records", "120000")
    mbo("sample", "--out", folder / "raw", *size, *flags, "--quiet").checked()
    mbo("ingest", folder / "raw", "--lake", lake, "--quiet").checked()
    return lake


def judged(lake: Path, model: str) -> Summary:
    config = lake.parent / "research.toml"
    options = ("--symbols", "SIMM5", "--config", config, "--quiet")
    mbo("train", model, "--lake", lake, *options).checked()
    return summarise(open_lake(lake).model(model).scores.collect())


@pytest.mark.slow
def test_models_beat_their_baselines_where_flow_tells_something(tmp_path: Path) -> None:
    lake = market(tmp_path)

    for model in ("line", "trees"):
        summary = judged(lake, model)
        assert len(summary.sessions) == 5
        assert {one.verdict for one in summary.versus.values()} == {"better"}
        auc = summary.parts[MODEL]["auc"]
        assert (auc.mean - 0.5) / auc.deviation * auc.units**0.5 > 5


@pytest.mark.slow
def test_no_model_beats_them_where_prices_move_by_themselves(tmp_path: Path) -> None:
    lake = market(tmp_path, "--null")

    for model in ("line", "trees"):
        summary = judged(lake, model)
        assert len(summary.sessions) == 5
        assert {one.verdict for one in summary.versus.values()} <= {"luck", "worse"}
        for name, nothing in (("auc", 0.5), ("ic", 0.0), ("rank_ic", 0.0)):
            own = summary.parts[MODEL][name]
            assert abs(own.mean - nothing) / own.deviation * own.units**0.5 < 4.6  # 1 % of t(4)
