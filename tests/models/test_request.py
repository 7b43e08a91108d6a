"""What `mbo train` may be asked for, and what it says where it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import FeaturesSettings, Settings
from pipeline.errors import RequestError
from pipeline.models.request import prepare_model
from tests.models.many import shop

TWO = "class Two:\n def fit(self, X, y): ...\n def predict(self, X): ...\n"


def prepare(name: str = "m", given: tuple[str, ...] = (), changed: Any = None, **model: Any):
    return prepare_model(name, shop(**model).settings, changed or {}, given)


def test_features_are_those_that_do_not_move_with_prices() -> None:
    names = [column.name for column in prepare().features]
    assert names == ["spread", "queue_imbalance", "depth_imbalance_3", "ofi_event", "return_n5"]
    named = prepare(features=("mid", "*imbalance*")).features
    assert [c.name for c in named] == ["mid", "queue_imbalance", "depth_imbalance_3"]


def test_the_baselines_feature_is_read_where_the_set_has_it() -> None:
    request = prepare(features=("spread",))
    assert [c.name for c in request.columns_read] == ["spread", "queue_imbalance"]
    assert set(request.versions()) == {"spread", "queue_imbalance", "y_return_n5"}


def test_integer_labels_are_classes_unless_said_otherwise() -> None:
    assert not prepare().classification
    assert prepare(label="y_next_move").classification
    assert not prepare(label="y_next_move", task="regression").classification


def test_the_id_is_of_everything_that_determines_the_model(tmp_path: Path) -> None:
    own = prepare().model_id
    assert own.startswith("m-")
    assert len(own) == 10
    assert prepare().model_id == own
    others = [
        prepare(seed=2),
        prepare(train=3),
        prepare(params={"penalty": 0.5}),
        prepare(given=("penalty=0.25",)),
        prepare(label="y_return_1s"),
        prepare(changed={"label": "y_return_1s", "trials": None}, seed=2),
        prepare(features=("spread",)),
        prepare(embargo="1s"),
        prepare(rows=500),
    ]
    assert len({own, *(one.model_id for one in others)}) == 10
    file = tmp_path / "a.py"
    file.write_text(TWO)
    first = prepare(estimator=f"{file}:Two").model_id
    file.write_text(TWO + "# changed\n")
    assert prepare(estimator=f"{file}:Two").model_id != first


def test_shipped_models_need_no_section_and_a_section_changes_them() -> None:
    default = Settings(features=FeaturesSettings())
    for name in ("lightgbm", "linear"):
        assert prepare_model(name, default, {}).kind.name == name
        section = Settings(models={name: {"train": 3}})
        assert prepare_model(name, section, {}).kind.name == name


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"label": "y_return_n50"}, "does not have the label y_return_n50 .*add it to labels of"),
        ({"label": "y_retrun_n5"}, "did you mean 'y_return_n5'"),
        ({"label": "spread"}, "unknown label 'spread'"),
        ({"features": ("sprad",)}, "did you mean 'spread'"),
        ({"features": ("x_*",)}, r"unknown feature 'x_\*'"),
        ({"task": "classification"}, "is a real number and task is 'classification'"),
        ({"train": 1, "at_least": 2}, "at_least = 2 is more than train = 1"),
        ({"set": "smal"}, "did you mean 'small'"),
        ({"estimator": "lineal"}, "did you mean 'linear'"),
        ({"trials": 3, "params": {"penalty": 1.0}}, "every parameter of linear"),
    ],
)
def test_wrong_requests_are_one_line(model: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        prepare(**model)
    assert "\n" not in str(caught.value)


def test_trials_of_a_users_estimator_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(TWO)
    with pytest.raises(RequestError, match=r"a.py:Two is searched by no one"):
        prepare(estimator=f"{tmp_path}/a.py:Two", trials=3)


def test_wrong_names_and_parameters_are_one_line() -> None:
    with pytest.raises(RequestError, match="did you mean 'linear'"):
        prepare("liner")
    with pytest.raises(RequestError, match="write key=value"):
        prepare(given=("penalty",))
    with pytest.raises(RequestError, match="a name has letters"):
        prepare_model("a b", Settings(models={"a b": {}}), {})


def test_a_missing_library_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, model in (
        ("sklearn", {}), ("lightgbm", {"estimator": "lightgbm"}), ("optuna", {"trials": 2}),
    ):  # fmt: skip
        with monkeypatch.context() as patched:
            patched.setitem(__import__("sys").modules, name, None)
            with pytest.raises(RequestError, match="is not installed; run `pip install 'mbo"):
                prepare(**model)
