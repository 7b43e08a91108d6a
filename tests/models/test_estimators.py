"""Estimators against scikit-learn; texts that come back as they went; texts that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from pipeline.errors import InputError, RequestError
from pipeline.models.estimators import Constant, Kind, check_extra, load_kind, outputs
from pipeline.models.linear import Linear
from pipeline.models.own import Own
from pipeline.models.scaling import FARTHEST, Scaler
from pipeline.models.texts import read_numbers, write_numbers
from pipeline.models.trees import Trees, check_text

RNG = np.random.default_rng(7)
N, F = 600, 4
X = RNG.normal(size=(N, F)).astype(np.float32)
Y = X[:, 0] - 0.5 * X[:, 1] + RNG.normal(size=N)
WEIGHT = RNG.uniform(0.2, 1.8, N)
CLASSES = {2: [-1, 1], 3: [-1, 0, 1]}


def target(classes: int) -> np.ndarray:
    return np.digitize(Y, [0.0] if classes == 2 else [-0.6, 0.6])


def kind(name: str) -> Kind:
    params = {"num_iterations": 12, "min_data_in_leaf": 5} if name == "lightgbm" else {}
    return load_kind(name, params, "test")


# --- the linear model against scikit-learn -------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 0.5])
def test_ridge_is_scikit_learns(penalty: float) -> None:
    x = X.astype(np.float64)
    own = Linear.of({"penalty": penalty}, "t").fit(x, Y, WEIGHT, None, 1)
    other = Ridge(alpha=penalty * WEIGHT.sum()).fit(x, Y, sample_weight=WEIGHT)
    np.testing.assert_allclose(own.coefficients[0], other.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(own.predict(x), other.predict(x), rtol=1e-9, atol=1e-12)


def test_ridge_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = X.astype(np.float64)
    whole = Linear.of({}, "t").fit(x, Y, WEIGHT, None, 1)
    monkeypatch.setattr("pipeline.models.linear.CHUNK", 37)
    parts = Linear.of({}, "t").fit(x, Y, WEIGHT, None, 1)
    np.testing.assert_allclose(whole.coefficients, parts.coefficients, rtol=1e-10)


def test_ridge_of_columns_that_tell_the_same() -> None:
    x = np.column_stack([X, X[:, 0], np.zeros(N)]).astype(np.float64)
    found = Linear.of({"penalty": 0}, "t").fit(x, Y, WEIGHT, None, 1)
    expected = Ridge(alpha=0).fit(X.astype(np.float64), Y, sample_weight=WEIGHT)
    np.testing.assert_allclose(found.predict(x), expected.predict(X), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_probabilities_are_scikit_learns(classes: int) -> None:
    x, y = X.astype(np.float64), target(classes)
    own = Linear.of({"penalty": 0.01}, "t").fit(x, y, WEIGHT, CLASSES[classes], 1)
    strength = 1 / (0.01 * WEIGHT.sum())
    other = LogisticRegression(C=strength, max_iter=300).fit(x, y, sample_weight=WEIGHT)
    np.testing.assert_allclose(own.predict(x), other.predict_proba(x), atol=1e-9)


# --- a model is what its text says ---------------------------------------------------------------


@pytest.mark.parametrize("classes", [None, 2, 3])
@pytest.mark.parametrize("name", ["linear", "lightgbm", "constant"])
def test_the_text_predicts_the_same_bits(name: str, classes: int | None) -> None:
    own: Kind = Constant() if name == "constant" else kind(name)
    y = Y if classes is None else target(classes)
    labels = None if classes is None else CLASSES[classes]
    x = X.astype(np.float64) if own.scaled else np.where(RNG.random(X.shape) < 0.1, np.nan, X)
    fitted = own.fit(x, y, WEIGHT, labels, 3)
    text = fitted.to_text()
    assert text is not None
    again = own.load(text, F, labels)
    assert again.to_text() == text
    np.testing.assert_array_equal(fitted.predict(x), again.predict(x))
    assert fitted.predict(x).shape == ((N,) if classes is None else (N, classes))
    np.testing.assert_array_equal(own.fit(x, y, WEIGHT, labels, 3).predict(x), fitted.predict(x))
    if classes is not None:
        np.testing.assert_allclose(fitted.predict(x).sum(axis=1), 1.0)


def test_lightgbms_own_reading_of_the_whole_text_agrees() -> None:
    """What is cut from the text takes no part in predictions."""
    import lightgbm

    data = lightgbm.Dataset(X, Y, feature_name=["f0", "f1", "f2", "f3"])
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, data, num_boost_round=5)
    whole = booster.model_to_string()
    cut = whole[: whole.index("end of trees\n")] + "end of trees\n"
    own = Trees.of({}, "t").load(cut, F, None)
    np.testing.assert_array_equal(own.predict(X), booster.predict(X))


# --- poisoned trees ------------------------------------------------------------------------------

TREES = kind("lightgbm").fit(X, Y, WEIGHT, None, 1).to_text() or ""


@pytest.mark.parametrize(
    ("pattern", "instead", "words"),
    [
        (r"^tree\n", "import os\n", "it begins with 'import os'"),
        ("version=v4", "version=v9", "its version is 'v9'"),
        ("objective=regression", "objective=custom", "its objective"),
        ("max_feature_idx=3", "max_feature_idx=9", "its max_feature_idx"),
        (r"feature_names=f0", "feature_names=x0", "its feature_names"),
        ("label_index=0\n", "label_index=0\ndata=/etc/passwd\n", "unknown key 'data'"),
        (r"tree_sizes=\d+", "tree_sizes=7", "tree_sizes are not the sizes"),
        (r"split_feature=\d", "split_feature=7", "split_feature is out of range"),
        (r"left_child=\S+", "left_child=0", "its splits are no tree"),
        (r"right_child=\S+", "right_child=-9", "its splits are no tree|out of range"),
        (r"leaf_value=\S+", "leaf_value=eval", "something that is no number"),
        (r"leaf_value=\S+ ", "leaf_value=", "leaf_value has"),
        (r"num_leaves=\d+", "num_leaves=2", "has .* values for"),
        ("is_linear=0", "is_linear=1", "is_linear is '1'"),
        ("num_cat=0", "num_cat=1", "num_cat is '1'"),
        (r"decision_type=\d+", "decision_type=1", "a split by category"),
        ("shrinkage=1\n", "shrinkage=1\nexec=os.system\n", "unknown key 'exec'"),
        ("end of trees\n", "", "does not end with 'end of trees'"),
        ("end of trees\n", "end of trees\n\nparameters:\n", "does not end with 'end of trees'"),
        ("Tree=1\n", "Tree=5\n", "tree 1 is called '5'"),
        ("num_class=1", "num_class=1\u00a0", "characters that LightGBM does not write"),
    ],
)
def test_trees_that_were_tampered_with_are_refused(pattern: str, instead: str, words: str) -> None:
    text, changes = re.subn(pattern, instead, TREES, count=1, flags=re.MULTILINE)
    assert changes
    if "tree_sizes" not in pattern:
        text = with_sizes(text)
    with pytest.raises(ValueError, match=words) as caught:
        check_text(text, F, None)
    assert "\n" not in str(caught.value)


def with_sizes(text: str) -> str:
    """The sizes made right again: only what was changed is to be found."""
    _, *bodies = text.split("\n\nTree=")
    sizes = []
    for place, body in enumerate(bodies):
        own = body.removesuffix("end of trees\n") if place == len(bodies) - 1 else body + "\n\n"
        sizes.append(str(len("Tree=" + own)))
    return re.sub(r"tree_sizes=.*", "tree_sizes=" + " ".join(sizes), text)


def test_trees_of_other_features_or_classes_are_refused() -> None:
    check_text(TREES, F, None)
    with pytest.raises(ValueError, match="max_feature_idx"):
        check_text(TREES, F + 1, None)
    with pytest.raises(ValueError, match="objective"):
        check_text(TREES, F, [-1, 1])
    with pytest.raises(ValueError, match="num_class"):
        check_text(TREES, F, [-1, 0, 1])


def test_a_tree_of_one_leaf_is_fine() -> None:
    """Too few rows to split: the mean."""
    fitted = Trees.of({"min_data_in_leaf": N}, "t").fit(X, Y, WEIGHT, None, 1)
    np.testing.assert_allclose(fitted.predict(X[:3]), np.average(Y, weights=WEIGHT), rtol=1e-5)


def test_numbers_come_back_with_the_same_bits() -> None:
    values = {"a": RNG.normal(size=5) * 10.0 ** RNG.integers(-300, 300, 5), "b": np.zeros((2, 2))}
    found = read_numbers(write_numbers("k", values), "k", {"a": (5,), "b": (2, 2)})
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("lightgbm", {"num_leafs": 3}, "did you mean 'num_leaves'"),
        ("lightgbm", {"num_leaves": 3.5}, "is not a whole number"),
        ("lightgbm", {"num_leaves": 1}, "choose 2"),
        ("lightgbm", {"forcedsplits_filename": "x"}, "unknown parameter of lightgbm"),
        ("linear", {"penalty": True}, "is not a number"),
        ("linear", {"penalty": -1}, "is not 0 or more"),
        ("lightgmb", {}, "did you mean 'lightgbm'"),
        ("nothing.py:X", {}, "no such file"),
        ("nothing.py", {}, "write path/to/file.py:Name"),
    ],
)
def test_wrong_estimators_are_one_line(name: str, params: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        load_kind(name, params, "research.toml: models.m")
    assert "\n" not in str(caught.value)


def test_a_library_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(RequestError, match="needs scikit-learn, which is not installed; run `pip"):
        check_extra(["sklearn"], "`mbo train`")


# --- a user's own --------------------------------------------------------------------------------

OWN = '''
import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR


def piped():
    return make_pipeline(StandardScaler(), LinearSVR(random_state=1))


class Two:
    """Two methods."""
    def __init__(self, shift=0.0):
        self.shift = shift
    def fit(self, X, y):
        self.mean = float(y.mean()) + self.shift
    def predict(self, X):
        return np.full(len(X), self.mean)


class Told(Two):
    def to_text(self):
        return str(self.mean)
    @classmethod
    def from_text(cls, text):
        made = cls()
        made.mean = float(text)
        return made


class Broken(Two):
    def fit(self, X, y):
        raise KeyError("what")


class Wrong(Two):
    def predict(self, X):
        return np.full(len(X), np.nan)


class Sided:
    def fit(self, X, y, sample_weight=None):
        assert sample_weight is not None and set(y) <= {-1, 0, 1}
    def predict(self, X):
        return np.where(X[:, 0] > 0, 1, -1)


class Half:
    def fit(self, X, y):
        pass
'''


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(OWN)
    return str(tmp_path / "mine.py")


def test_a_class_of_two_methods(file: str) -> None:
    own = Own.of(f"{file}:Two", {"shift": 2.0}, "t")
    assert (own.name, own.stored, len(own.source)) == ("mine.py:Two", False, 64)
    fitted = own.fit(X, Y, WEIGHT, None, 1)
    assert fitted.to_text() is None
    np.testing.assert_allclose(fitted.predict(X[:2]), Y.mean() + 2)


def test_one_with_a_text_is_stored(file: str) -> None:
    own = Own.of(f"{file}:Told", {}, "t")
    fitted = own.fit(X, Y, WEIGHT, None, 1)
    text = fitted.to_text()
    assert text is not None
    np.testing.assert_array_equal(own.load(text, F, None).predict(X), fitted.predict(X))


def test_scikit_learns_estimators_work_as_they_are(file: str) -> None:
    own = Own.of(f"{file}:ExtraTreesRegressor", {"n_estimators": 5}, "t")
    first, again = (own.fit(X, Y, WEIGHT, None, 4).predict(X + 0.1) for _ in range(2))
    np.testing.assert_array_equal(first, again)  # random_state is the seed
    assert not np.array_equal(first, own.fit(X, Y, WEIGHT, None, 5).predict(X + 0.1))
    sided = Own.of(f"{file}:ExtraTreesClassifier", {"n_estimators": 5}, "t")
    found = sided.fit(X, target(3), WEIGHT, CLASSES[3], 1).predict(X)
    assert found.shape == (N, 3)
    assert (found.argmax(axis=1) == target(3)).mean() > 0.9
    piped = Own.of(f"{file}:piped", {}, "t").fit(X, Y, WEIGHT, None, 1)
    assert np.corrcoef(piped.predict(X), Y)[0, 1] > 0.5


def test_a_classifier_without_probabilities_is_sure_of_itself(file: str) -> None:
    fitted = Own.of(f"{file}:Sided", {}, "t").fit(X, target(3), WEIGHT, CLASSES[3], 1)
    found = fitted.predict(X)
    np.testing.assert_array_equal(found[:, 2], X[:, 0] > 0)
    np.testing.assert_array_equal(found[:, 1], 0)


def test_mistakes_in_a_users_file_are_one_line(file: str, tmp_path: Path) -> None:
    for name, params, words in (
        ("Tow", {}, "did you mean 'Two'"),
        ("Half", {}, "Half has no predict"),
        ("Two", {"shfit": 1}, "unexpected keyword argument 'shfit'"),
    ):
        with pytest.raises(RequestError, match=words) as caught:
            Own.of(f"{file}:{name}", params, "t")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"mine.py:Broken: fit, line \d+: KeyError: 'what'"):
        Own.of(f"{file}:Broken", {}, "t").fit(X, Y, WEIGHT, None, 1)
    with pytest.raises(InputError, match=r"predict.*values that are not finite"):
        Own.of(f"{file}:Wrong", {}, "t").fit(X, Y, WEIGHT, None, 1).predict(X)
    (tmp_path / "bad.py").write_text("import nothing_like_this\n")
    with pytest.raises(RequestError, match=r"bad.py, line 1: ModuleNotFoundError"):
        Own.of(f"{tmp_path}/bad.py:X", {}, "t")


# --- scaling -------------------------------------------------------------------------------------


def test_scaled_features_have_mean_0_and_deviation_1_and_nulls_are_the_median() -> None:
    x = (X * [1, 100, 1e-6, 3] + [0, 1e5, 0, -7]).astype(np.float32)
    x[::7, 0] = np.nan
    scaler = Scaler.fit(x)
    z = scaler.apply(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)
    assert scaler.fill[0] == np.nanmedian(x[:, 0].astype(np.float64))
    assert (z[::7, 0] == (scaler.fill[0] - scaler.mean[0]) / scaler.scale[0]).all()


def test_what_does_not_vary_or_is_never_known_becomes_0() -> None:
    x = np.column_stack([np.full(9, np.nan), np.full(9, 1e7), X[:9, 0]]).astype(np.float32)
    assert not Scaler.fit(x).apply(x)[:, :2].any()


def test_a_spike_is_held() -> None:
    scaler = Scaler.fit(X)
    spike = np.full((1, F), 1e30, np.float32)
    np.testing.assert_array_equal(scaler.apply(spike), FARTHEST)
    np.testing.assert_array_equal(scaler.apply(-spike), -FARTHEST)


def test_the_balance_is_undone() -> None:
    """Trained on classes made equal, probabilities are those of the classes as they are."""
    rare = (RNG.random(N) < 0.1).astype(np.int64)
    from pipeline.models.weights import balanced

    weight = balanced(rare)
    fitted = Linear.of({}, "t").fit(np.zeros((N, 1)), rare, weight, [0, 1], 1)
    np.testing.assert_allclose(fitted.predict(np.zeros((1, 1)))[0], 0.5, atol=1e-6)
    share = rare.mean()
    prior = np.array([(1 - share) / 0.5, share / 0.5])
    found = outputs(fitted, None, prior, np.zeros((1, 1)))
    np.testing.assert_allclose(found[0], [1 - share, share], atol=1e-6)
