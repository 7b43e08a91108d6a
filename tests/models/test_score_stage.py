"""Scores on a small market of four sessions: classes, estimators of one's own, leaks, refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import threadpoolctl
from sklearn.metrics import log_loss

from pipeline.catalog import LakeCatalog
from pipeline.models.judging import MODEL, Score, judge
from pipeline.models.score import ScoreStage
from pipeline.models.summary import Summary, summarise
from pipeline.models.tables import BASELINE_CONSTANT, BASELINE_QUEUE
from pipeline.stage import Selection
from tests.features.many_days import SESSIONS
from tests.features.test_fits_stage import digests, run
from tests.models.many import Shop, shop
from tests.models.test_train_stage import FRONT, one, read, rewrite

FIRST, SECOND, THIRD, LAST = SESSIONS


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("market") / "lake"
    shop().features_of(lake)
    return lake


@pytest.fixture
def lake(market: Path, tmp_path: Path) -> Path:
    shutil.copytree(market, tmp_path / "lake")
    return tmp_path / "lake"


def score(chosen: Shop, lake: Path, workers: int = 1) -> None:
    chosen.train(lake)
    done = run(ScoreStage(chosen.request), lake, chosen.settings, workers=workers)
    assert done.exit_code == 0, done.failed


def summary(lake: Path) -> Summary:
    frames = [
        read(lake, "scores", day).with_columns(
            session=pl.lit(str(day)), dataset=pl.lit("D"), symbol=pl.lit(FRONT)
        )
        for day in SESSIONS
    ]
    return summarise(pl.concat(frames))


def value(lake: Path, what: str, part: str = MODEL, session=LAST) -> float:
    rows = read(lake, "scores", session).filter(pl.col("part") == part, pl.col("what") == what)
    return rows["value"].item()


def test_classes_are_judged_by_side(lake: Path) -> None:
    score(shop(label="y_next_move"), lake)

    predictions, labels = read(lake, "predictions", LAST), read(lake, "labels", LAST)
    known = labels["y_next_move"].is_not_null() & labels["t_end"].is_not_null()
    y = labels.filter(known)["y_next_move"].to_numpy()
    p = predictions.filter(known).select("p_down", "p_up").to_numpy()
    assert value(lake, "log_loss") == pytest.approx(log_loss(y, p, labels=[-1, 1]))
    assert value(lake, "accuracy") == pytest.approx(((p[:, 1] > p[:, 0]) == (y > 0)).mean())
    assert {"up_", "down_"} == set(summary(lake).calibration)


def test_sums_of_scores_do_not_depend_on_how_many_threads_there_are(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BLAS sums a product of more than ten thousand values by thread."""
    seen = []

    def judged(*arguments: object) -> list[Score]:
        seen.extend(pool["num_threads"] for pool in threadpoolctl.threadpool_info())
        return judge(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("pipeline.models.score.judge", judged)
    with threadpoolctl.threadpool_limits(limits=2):
        score(shop(), lake)
    assert set(seen) == {1}


def test_a_session_without_a_model_has_no_scores(lake: Path) -> None:
    score(shop(), lake)

    assert read(lake, "scores", FIRST).height == 0
    assert [s["session"] for s in summary(lake).sessions] == [str(d) for d in SESSIONS[1:]]


def test_an_estimator_without_a_text_is_judged_too(lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n"
        "class Mine:\n"
        "    def fit(self, X, y):\n"
        "        self.mean = float(np.mean(y)); return self\n"
        "    def predict(self, X):\n"
        "        return np.nan_to_num(X[:, 0]) * 0.01 + self.mean\n"
    )
    chosen = shop(estimator=f"{file}:Mine")

    score(chosen, lake)

    costs = read(lake, "scores", LAST).filter(pl.col("what") == "importance")
    used = chosen.request.features[0].name
    assert costs.filter(pl.col("feature") == used)["value"].item() != 0
    assert set(costs.filter(pl.col("feature") != used)["value"]) == {0.0}


def test_without_the_queue_imbalance_the_constant_is_the_only_baseline(tmp_path: Path) -> None:
    features = ("mid", "spread", "ofi_event", "return_n5")
    chosen = Shop({"estimator": "linear", "label": "y_return_n5", "every": 1}, features=features)
    chosen.features_of(tmp_path / "lake")

    score(chosen, tmp_path / "lake")

    assert set(summary(tmp_path / "lake").versus) == {BASELINE_CONSTANT}


@pytest.mark.slow
def test_one_and_two_workers_score_the_same_bytes(lake: Path, tmp_path: Path) -> None:
    shutil.copytree(lake, tmp_path / "two")
    score(shop(estimator="lightgbm", params={"min_data_in_leaf": 20}), lake)
    score(shop(estimator="lightgbm", params={"min_data_in_leaf": 20}), tmp_path / "two", workers=2)

    assert digests(lake, "scores") == digests(tmp_path / "two", "scores")


# --- leaks -------------------------------------------------------------------------------------


def columns(change):
    """Changes columns of a table by name, as numpy arrays."""

    def apply(table: pa.Table) -> pa.Table:
        for name, values in change(table).items():
            at = table.schema.get_field_index(name)
            array = pa.array(values, table.schema.field(at).type)
            table = table.set_column(at, table.schema.field(at), array)
        return table

    return apply


def test_shuffled_labels_teach_nothing(lake: Path) -> None:
    rng = np.random.default_rng(3)

    def shuffled(table: pa.Table) -> dict[str, list[object]]:
        values = table["y_return_n5"].to_pylist()
        known = [i for i, v in enumerate(values) if v is not None]
        moved = rng.permutation(known)
        found = list(values)
        for i, j in zip(known, moved, strict=True):
            found[i] = values[j]
        return {"y_return_n5": found}

    for day in SESSIONS:
        rewrite(one(lake, "labels", day), columns(shuffled))
    score(shop(), lake)

    for day in SESSIONS[1:]:
        y = read(lake, "labels", day)["y_return_n5"].drop_nulls().to_numpy()
        up, down = np.count_nonzero(y > 0), np.count_nonzero(y < 0)
        error = np.sqrt((up + down + 1) / (12 * up * down))  # Mann and Whitney
        assert abs(value(lake, "auc", session=day) - 0.5) < 3 * error
    assert {v.verdict for v in summary(lake).versus.values()} <= {"luck", "worse"}
    assert BASELINE_QUEUE in summary(lake).versus


def test_a_feature_that_is_the_label_is_a_suspect(lake: Path) -> None:
    for day in SESSIONS:
        label = read(lake, "labels", day)["y_return_n5"].to_list()
        rewrite(one(lake, "features", day), columns(lambda _, y=label: {"ofi_event": y}))

    score(shop(), lake)

    found = summary(lake)
    assert [f.name for f in found.features if f.suspect] == ["ofi_event"]
    assert found.features[0].name == "ofi_event"  # and the model leans on nothing as much
    assert found.parts[MODEL]["auc"].mean > 0.95  # where it is known


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("predictions", "rows are not those of labels"),
        ("labels", "rows that were committed; run `mbo features --force`"),
    ],
)
def test_tables_of_other_rows_are_refused(lake: Path, table: str, what: str) -> None:
    chosen = shop()
    chosen.train(lake)
    rewrite(one(lake, table, LAST), lambda rows: rows.slice(1).replace_schema_metadata(
        rows.schema.metadata))  # fmt: skip

    done = run(ScoreStage(chosen.request), lake, chosen.settings, Selection(start=LAST))

    ((_, message),) = done.failed
    assert "\n" not in message
    assert what in message
    assert not list(LakeCatalog(lake).partitions("scores"))
