"""``mbo train`` on the sample market, through the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipeline.lake import open_lake
from tests.e2e.running import digest, mbo

FIRST, LAST = "2025-06-02", "2025-06-03"
OPTIONS = ("--symbols", "SIMM5", "--workers", "1")


@pytest.fixture(scope="module")
def trained(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A lake with a linear model, and what the command printed."""
    lake = tmp_path_factory.mktemp("train") / "lake"
    shutil.copytree(feature_lake, lake)
    done = mbo("train", "linear", "--lake", lake, *OPTIONS).checked()
    return lake, done.out


def test_every_row_is_predicted_by_a_model_of_earlier_sessions(trained: tuple[Path, str]) -> None:
    lake, out = trained
    model = open_lake(lake).model("linear")
    predictions = model.predictions.collect()
    features = open_lake(lake).scan("features", symbols="SIMM5").collect()

    assert predictions["event"].to_list() == features["event"].to_list()
    first = predictions.filter(pl.col("session") == pl.lit(FIRST).str.to_date())
    last = predictions.filter(pl.col("session") == pl.lit(LAST).str.to_date())
    assert first["prediction"].null_count() == first.height > 0
    assert last["prediction"].null_count() == 0 < last.height
    fitted = model.models.filter(pl.col("part") == "model").collect().row(0, named=True)
    assert str(fitted["last_session"]) == FIRST < str(fitted["session"]) == LAST
    assert fitted["known_until"] < last["ts"].min()
    assert model.model_id in out


def test_again_nothing_is_done_and_nothing_changes(trained: tuple[Path, str]) -> None:
    lake, _ = trained
    before = digest(lake)
    again = mbo("train", "linear", "--lake", lake, *OPTIONS).checked()
    assert "train: 1 up to date" in again.err
    assert "predict: 3 up to date" in again.err
    assert digest(lake) == before


def test_models_are_listed_described_and_queried(trained: tuple[Path, str]) -> None:
    lake, _ = trained
    (model_id,) = open_lake(lake).model_ids()
    (row,) = json.loads(mbo("list", "models", "--lake", lake, "--json").checked().out)
    assert (row["model"], row["trainings"], row["sessions"], row["unserved"]) == (model_id, 1, 3, 1)
    text = mbo("describe", model_id, "--lake", lake).checked().out
    assert f"{FIRST} SIMM5: no model: no past" in text
    assert "queue_imbalance" in text
    query = (
        "SELECT count(*) AS rows FROM predictions JOIN features USING "
        f"(dataset, session, symbol, event) WHERE model = '{model_id}' AND symbol = 'SIMM5'"
    )
    (counted,) = json.loads(mbo("sql", query, "--lake", lake, "--json").checked().out)
    assert counted["rows"] == open_lake(lake).model(model_id).predictions.collect().height
