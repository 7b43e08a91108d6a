"""``mbo train`` on the sample market, through the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
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


OWN = '''
from sklearn.linear_model import SGDRegressor


class Side:
    """The sign of the queue's imbalance, as a model of two methods."""

    def fit(self, X, y, sample_weight=None):
        self.up = 2.0

    def predict(self, X):
        return X[:, 0] * self.up
'''


def test_a_users_estimator_is_fitted_again_where_it_is_needed(
    trained: tuple[Path, str], tmp_path: Path
) -> None:
    lake, _ = trained
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "research.toml").write_text(
        '[models.own]\nestimator = "mine.py:Side"\nfeatures = ["queue_imbalance"]\n'
        '[models.some]\nestimator = "linear"\nfeatures = ["spread", "ofi_*"]\n'
        '[models.sgd]\nestimator = "mine.py:SGDRegressor"\n'
    )
    mbo("train", "some", "--lake", lake, *OPTIONS).checked()  # the baseline's is none of them
    for name in ("own", "sgd"):
        mbo("train", name, "--lake", lake, *OPTIONS).checked()
        model = open_lake(lake).model(name)
        fitted = model.models.filter(pl.col("part") == "model").collect().row(0, named=True)
        assert fitted["text"] is None
        rows = model.predictions.filter(pl.col("prediction").is_not_null()).collect()
        assert {str(day) for day in rows["session"]} == {LAST}
    assert fitted["estimator"] == "mine.py:SGDRegressor"
    own = open_lake(lake).model("own").predictions.collect()
    features = open_lake(lake).scan("features", symbols="SIMM5").collect()
    known = own["prediction"].is_not_null()
    queue = features.filter(known)["queue_imbalance"]
    assert own.filter(known).select(pl.corr("prediction", queue)).item() > 0.999


def test_a_stored_model_is_exported(trained: tuple[Path, str], tmp_path: Path) -> None:
    """What onnxruntime makes of the file and of `features` is what `predictions` holds."""
    lake, _ = trained
    out = tmp_path / "files"
    dry = mbo("export", "linear", "--onnx", out, "--lake", lake, "--dry-run").checked().out
    assert not out.exists()
    assert mbo("export", "linear", "--onnx", out, "--lake", lake).checked().out == dry
    (path,) = out.iterdir()
    assert str(path) in dry
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = json.loads(session.get_modelmeta().custom_metadata_map["features"])
    keys = {"symbols": "SIMM5", "start": LAST, "end": LAST}
    rows = open_lake(lake).scan("features", **keys).select(names).collect()
    assert rows.null_count().sum_horizontal().item() > 0
    x = rows.cast(pl.Float32).fill_null(float("nan")).to_numpy()
    (found,) = session.run(["prediction"], {"features": np.ascontiguousarray(x)})
    keys["model"] = open_lake(lake).model("linear").model_id
    stored = open_lake(lake).scan("predictions", **keys).collect()["prediction"].to_numpy()
    np.testing.assert_allclose(found, stored, rtol=2e-7, atol=1e-7 * np.abs(stored).max())
    again = tmp_path / "again"
    trained_again = mbo("train", "linear", "--onnx", again, "--lake", lake, *OPTIONS).checked()
    assert str(again / path.name) in trained_again.out
    assert (again / path.name).read_bytes() == path.read_bytes()
    none = mbo("export", "linear", "--onnx", out, "--lake", lake, "--end", FIRST)
    assert (none.code, none.err.count("\n")) == (2, 1)
    assert "has a model" in none.err


def test_what_cannot_be_exported_is_told_before_training(
    feature_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "research.toml").write_text('[models.own]\nestimator = "mine.py:Side"\n')
    lake = tmp_path / "lake"
    shutil.copytree(feature_lake, lake)
    own = mbo("train", "own", "--onnx", "files", "--lake", lake, *OPTIONS)
    monkeypatch.setattr("pipeline.models.exporting.find_spec", lambda _: None)
    without = mbo("train", "linear", "--onnx", "files", "--lake", lake, *OPTIONS)
    for done, words in ((own, "one's own has no ONNX form"), (without, "mbo-research[onnx]")):
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert words in done.err
    assert "models" not in open_lake(lake).tables()


def test_a_dry_run_says_what_would_run(feature_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(feature_lake, lake)
    before = digest(lake)
    dry = mbo("train", "linear", "--lake", lake, *OPTIONS, "--dry-run").checked().out
    assert dry.count("would run train linear-") == 1
    assert dry.count("would run predict") == 3
    assert digest(lake) == before
    assert "predictions" not in open_lake(lake).tables()


def test_json_names_the_model_and_its_stages(trained: tuple[Path, str]) -> None:
    lake, _ = trained
    out = mbo("train", "linear", "--lake", lake, *OPTIONS, "--json").checked().out
    found = json.loads(out)
    assert found["model"] in open_lake(lake).model_ids()
    assert {"train", "predict"} <= {stage["stage"] for stage in found["stages"]}


def test_wrong_requests_are_one_line(
    feature_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(feature_lake, lake)
    for words, arguments in (
        ("did you mean 'lightgbm'", ["lightgmb"]),
        ("did you mean 'y_return_10s'", ["linear", "--label", "y_retrun_10s"]),
        ("does not have the label y_next_move (it has", ["linear", "--label", "y_next_move"]),
        ("unknown feature set 'defualt'", ["linear", "--set", "defualt"]),
        ("did you mean 'num_leaves'", ["lightgbm", "-p", "num_leafs=3"]),
        ("mbo: linear: nothing to train on", ["linear", "--end", FIRST]),
    ):
        done = mbo("train", *arguments, "--lake", lake, "--workers", "1", "--quiet")
        assert done.code == 2
        assert words in done.err
        assert len(done.err.splitlines()) == 1, done.err
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    done = mbo("train", "lightgbm", "--lake", lake)
    assert done.code == 2
    assert "`mbo train` needs lightgbm, which is not installed; run `pip install" in done.err
