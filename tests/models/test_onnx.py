"""Models as ONNX: what onnxruntime makes of the file is what the pipeline predicts."""

from __future__ import annotations

import json
from datetime import date
from itertools import product

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, RequestError
from pipeline.models.estimators import Constant, Kind, load_kind
from pipeline.models.exporting import as_onnx, check_exportable
from pipeline.models.fitting import Outcome, Recipe, fit_parts
from pipeline.models.rows import Window
from pipeline.models.storing import Part, Trained
from pipeline.models.trees import trees_of
from pipeline.stage import Partition

RNG = np.random.default_rng(5)
N, NAMES = 900, ("queue_imbalance", "spread", "ofi_10s", "mid", "volume_1m")
X = (RNG.normal(size=(N, 5)) * [1, 3, 500, 1e-4, 1e6]).astype(np.float32)
X[:, 3] += 5000  # a float32 holds little of what varies
X[RNG.random(X.shape) < 0.1] = np.nan
X[:, 1] = np.nan_to_num(X[:, 1])  # never missing in training, but later
KEY = Partition.of(model="m-1", dataset="SIM.MDP3", session="2025-06-03", symbol="UD:1V: X/Y")
ROWS = np.concatenate(
    [
        X,
        np.full((1, 5), np.nan),
        np.array([[np.inf] * 5, [-np.inf] * 5, [0.0] * 5, [-0.0] * 5, [3e38] * 5]),
    ]
).astype(np.float32)


def window(classes: int) -> Window:
    y = np.nan_to_num(X[:, 0]) + RNG.normal(size=N)
    if classes:
        y = np.digitize(y, np.quantile(y, {1: [], 2: [0.7], 3: [0.2, 0.6]}[classes])) - 1.0
    times = np.arange(N, dtype=np.int64)
    return Window(X, y, times, times + 3, np.zeros(N, np.int64), 0)


def fitted(kind: Kind, classes: int, select: int = 0) -> Part:
    recipe = Recipe(kind, NAMES, bool(classes), select, True, True, 0, {}, 0, 1)
    return part_of(fit_parts(window(classes), NAMES, recipe, lambda _: None)["model"])


def part_of(found: Outcome) -> Part:
    return Part(
        "model",
        found.estimator,
        "regression" if found.classes is None else "classification",
        "y_return_10s",
        found.classes,
        found.prior,
        "default",
        "book",
        found.features,
        dict.fromkeys((*NAMES, "y_return_10s"), "features 9"),
        found.scaler,
        found.params,
        found.fitted.to_text(),
        Trained(date(2025, 6, 1), date(2025, 6, 2), "SIMM5", 1, N, 3, 1_748_901_600_000_000_000),
    )


def kind_of(name: str) -> Kind:
    few = {"num_iterations": 30, "min_data_in_leaf": 10}
    return load_kind(name, few if name == "lightgbm" else {}, "test")


def run(part: Part, rows: np.ndarray) -> dict[str, np.ndarray]:
    content = as_onnx(part, KEY).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"features": rows}), strict=True))


def assert_same(part: Part, raw: np.ndarray) -> None:
    rows = np.ascontiguousarray(raw[:, [NAMES.index(name) for name in part.features]])
    ours = part.open().predict(rows)
    theirs = run(part, rows)
    assert theirs.keys() == (
        {"prediction"}
        if part.classes is None
        else {"prediction", "p_up", "p_down", "probabilities"}
    )
    for name, values in theirs.items():
        expected = getattr(ours, name)
        assert values.dtype == np.float32
        assert values.shape == expected.shape
        # The last bit or two of a float32: of the values themselves, of classes of probabilities.
        size = np.abs(expected).max(initial=0) if part.classes is None else 1.0
        np.testing.assert_allclose(values, expected, rtol=2e-7, atol=1.5e-7 * size)


@pytest.mark.parametrize(
    ("name", "classes", "select"), [*product(("linear", "lightgbm"), (0, 2, 3), (0, 2))]
)
def test_onnxruntime_predicts_what_we_predict(name: str, classes: int, select: int) -> None:
    part = fitted(kind_of(name), classes, select)
    assert len(part.features) == (select or 5)
    if classes:
        assert part.prior is not None, "the balance is undone in the graph, too"
    assert np.ptp(part.open().predict(X[:, : len(part.features)]).prediction) > 0.01
    assert_same(part, ROWS)
    assert_same(part, ROWS[:1])
    assert_same(part, ROWS[:0])


@pytest.mark.parametrize("classes", [0, 1, 3])
def test_a_constant_is_a_graph(classes: int) -> None:
    """Where all labels were of one class the model is a constant of no features."""
    recipe = Recipe(Constant(), (), bool(classes), 0, True, False, 0, {}, 0, 1)
    parts = fit_parts(window(classes), NAMES, recipe, lambda _: None)
    assert_same(part_of(parts["baseline_constant"]), ROWS)


FORESTS = {classes: fitted(kind_of("lightgbm"), classes) for classes in (0, 3)}
CUTS = [
    sorted({t for tree in trees_of(FORESTS[0].text or "") for f, t in
            zip(tree.feature, tree.threshold, strict=True) if f == j})
    for j in range(5)
]  # fmt: skip


@st.composite
def at_thresholds(draw: st.DrawFn) -> list[float]:
    """Values at the trees' thresholds, one float32 beside them, or missing."""
    row = []
    for cuts in CUTS:
        value = np.float32(draw(st.sampled_from([*cuts, 0.0, np.nan, np.inf])))
        aside = draw(st.sampled_from([None, -np.inf, np.inf]))
        row.append(value if aside is None else np.nextafter(value, np.float32(aside)))
    return [float(value) for value in row]


@settings(max_examples=40, deadline=None)
@given(st.lists(at_thresholds(), min_size=1, max_size=30))
def test_rows_at_a_threshold_go_the_same_way(rows: list[list[float]]) -> None:
    for part in FORESTS.values():
        assert_same(part, np.array(rows, np.float32))


def test_what_was_never_missing_may_be_later() -> None:
    """LightGBM takes a missing value for 0 where it saw none in training."""
    kinds = {kind >> 2 & 3 for t in trees_of(FORESTS[0].text or "") for kind in t.decision}
    assert kinds == {0, 2}
    rows = np.repeat(ROWS[:200], 2, axis=0)
    rows[::2, 1] = np.nan
    rows[1::2, 1] = 0.0
    found = run(FORESTS[0], rows)["prediction"]
    assert_same(FORESTS[0], rows)
    np.testing.assert_array_equal(found[::2], found[1::2])


@pytest.mark.parametrize("classes", [0, 2])
def test_the_file_says_what_it_is(classes: int) -> None:
    part = fitted(kind_of("linear"), classes, 3)
    proto = as_onnx(part, KEY)
    onnx.checker.check_model(proto, full_check=True)
    told = {item.key: item.value for item in proto.metadata_props}
    assert json.loads(told["features"]) == list(part.features)
    assert json.loads(told["versions"]).keys() == {*part.features, "y_return_10s"}
    assert (told["first_session"], told["last_session"]) == ("2025-06-01", "2025-06-02")
    assert told["known_until"] == "2025-06-02 22:00:00.000000000"
    assert (told["label"], told["symbol"]) == ("y_return_10s", KEY["symbol"])
    unit = "1" if classes else "ticks"
    assert json.loads(told["units"])["prediction"] == unit
    assert as_onnx(part, KEY).SerializeToString() == proto.SerializeToString()


def test_what_cannot_be_exported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="one's own has no ONNX form"):
        check_exportable("mine.py:Side")
    text = (FORESTS[0].text or "").replace("decision_type=8 ", "decision_type=4 ", 1)
    assert text != FORESTS[0].text
    with pytest.raises(InputError, match="0 is missing"):
        as_onnx(Part(**{**vars(FORESTS[0]), "text": text}), KEY)
    monkeypatch.setattr("pipeline.models.exporting.find_spec", lambda _: None)
    with pytest.raises(RequestError, match=r"pip install 'mbo-research\[onnx\]'"):
        check_exportable("linear")
