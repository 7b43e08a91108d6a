"""A fitted model as an ONNX graph, built node by node: no converter stands between.

All of it computes in float64, as the pipeline does; what goes in and comes out is float32.  The
trees are compared with their thresholds as LightGBM stores them, so a row takes the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RequestError
from pipeline.models.estimators import FittedConstant
from pipeline.models.linear import FittedLinear
from pipeline.models.scaling import FARTHEST
from pipeline.models.storing import Opened
from pipeline.models.trees import FittedTrees, Tree, trees_of

INPUT: Final = "features"
"""``float32[rows, features]``, raw, null being NaN."""
OPSET: Final = 17
OPSET_ML: Final = 3
"""Of trees: the first with float64 thresholds."""
IR_VERSION: Final = 8
"""What goes with these; newer runtimes read it, too."""
EXPORTED: Final = ("constant", "lightgbm", "linear")
CANNOT: Final = "an estimator of one's own has no ONNX form; lightgbm and linear have"

# Of LightGBM's `decision_type`.
_DEFAULT_LEFT: Final = 2
_MISSING_IS_NAN: Final = 2
_ZERO: Final = float(np.float32(1e-35))
"""LightGBM takes what is no further from 0 for 0: its ``kZeroThreshold``."""


class _Nodes:
    """Nodes and constants in order; names are numbered."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = to or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def cast(self, value: str, dtype: type[np.generic], to: str = "") -> str:
        from onnx import helper

        node = helper.make_node(
            "Cast", [value], [name := to or f"n{len(self.nodes)}"],
            to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
        )  # fmt: skip
        self.nodes.append(node)
        return name


def outputs_of(classes: Sequence[int] | None) -> tuple[str, ...]:
    """Names of what a model's graph gives."""
    if classes is None:
        return ("prediction",)
    return ("prediction", "p_up", "p_down", "probabilities")


def graph_of(opened: Opened, name: str) -> Any:
    """The ``onnx.GraphProto`` of a model: from :data:`INPUT` to :func:`outputs_of`.

    Raises
    ------
    RequestError
        If the estimator is one's own.
    """
    from onnx import TensorProto, helper

    part, nodes = opened.part, _Nodes()
    found = _fitted(nodes, opened)
    if part.classes is None:
        nodes.cast(found, np.float32, "prediction")
    else:
        _classes(nodes, found, np.sign(np.array(part.classes)), part.prior)
    width = 1 if part.classes is None else len(part.classes)
    read = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", len(part.features)])
    given = [
        helper.make_tensor_value_info(
            output, TensorProto.FLOAT, ["rows", width] if output == "probabilities" else ["rows"]
        )
        for output in outputs_of(part.classes)
    ]
    return helper.make_graph(nodes.nodes, name, [read], given, nodes.constants)


def _fitted(nodes: _Nodes, opened: Opened) -> str:
    """``float64[rows]``, or ``[rows, classes]`` before the balance is undone."""
    fitted, part = opened.fitted, opened.part
    if isinstance(fitted, FittedConstant):
        return _constant(nodes, fitted)
    x = nodes.cast(INPUT, np.float64)
    if isinstance(fitted, FittedTrees):
        tiny = nodes.add("LessOrEqual", nodes.add("Abs", x), nodes.constant(np.array(_ZERO)))
        x = nodes.add("Where", tiny, nodes.constant(np.array(0.0)), x)
        return _trees(nodes, x, trees_of(fitted.to_text()), part.classes)
    if not isinstance(fitted, FittedLinear):
        raise RequestError(f"{part.estimator}: {CANNOT}")
    if part.scaler is not None:
        # Runtimes know IsInf of float32.
        unknown = nodes.add("Or", nodes.add("IsNaN", INPUT), nodes.add("IsInf", INPUT))
        known = nodes.add("Not", unknown)
        x = nodes.add("Where", known, x, nodes.constant(part.scaler.fill))
        x = nodes.add("Sub", x, nodes.constant(part.scaler.mean))
        x = nodes.add("Div", x, nodes.constant(part.scaler.scale))
        farthest = [nodes.constant(np.array(sign * FARTHEST)) for sign in (-1, 1)]
        x = nodes.add("Clip", x, *farthest)
    return _linear(nodes, x, fitted, part.classes)


def _constant(nodes: _Nodes, fitted: FittedConstant) -> str:
    values = fitted.predict(np.empty((1, 0), np.float32))[0]
    rows = nodes.add("Shape", INPUT, end=1)
    if np.ndim(values):
        width = nodes.constant(np.array([np.size(values)], np.int64))
        rows = nodes.add("Concat", rows, width, axis=0)
    return nodes.add("Expand", nodes.constant(np.atleast_1d(values)), rows)


def _linear(nodes: _Nodes, x: str, fitted: FittedLinear, classes: Sequence[int] | None) -> str:
    product = nodes.add("MatMul", x, nodes.constant(fitted.coefficients.T))
    scores = nodes.add("Add", product, nodes.constant(fitted.intercept))
    return _linked(nodes, scores, classes)


def _linked(nodes: _Nodes, scores: str, classes: Sequence[int] | None) -> str:
    """Scores ``[rows, k]`` as numbers, or as probabilities."""
    if classes is None:
        return nodes.add("Squeeze", scores, nodes.constant(np.array([1], np.int64)))
    if len(classes) != 2:
        return nodes.add("Softmax", scores, axis=1)
    up = nodes.add("Sigmoid", scores)
    return nodes.add("Concat", nodes.add("Sub", nodes.constant(np.array(1.0)), up), up, axis=1)


def _classes(
    nodes: _Nodes, found: str, signs: NDArray[Any], prior: NDArray[np.float64] | None
) -> None:
    """Probabilities with the balance undone, and those of up and down."""
    axis = nodes.constant(np.array([1], np.int64))
    if prior is not None:
        weighted = nodes.add("Mul", found, nodes.constant(prior))
        found = nodes.add("Div", weighted, nodes.add("ReduceSum", weighted, axis))
    sides = []
    for sign, name in ((1, "p_up"), (-1, "p_down")):
        chosen = nodes.constant((signs == sign).astype(np.float64)[:, None])
        sides.append(nodes.add("Squeeze", nodes.add("MatMul", found, chosen), axis))
        nodes.cast(sides[-1], np.float32, name)
    nodes.cast(nodes.add("Sub", *sides), np.float32, "prediction")
    nodes.cast(found, np.float32, "probabilities")


# --- trees -------------------------------------------------------------------------------------


def _trees(nodes: _Nodes, x: str, trees: Sequence[Tree], classes: Sequence[int] | None) -> str:
    """The sum of the trees' leaves; of several classes the trees take turns."""
    from onnx import numpy_helper

    outputs = 1 if classes is None or len(classes) == 2 else len(classes)
    columns: dict[str, Any] = {name: [] for name in _NODES + _TARGETS}
    thresholds: list[float] = []
    weights: list[float] = []
    for number, tree in enumerate(trees):
        splits = len(tree.feature)

        def place(child: int, splits: int = splits) -> int:
            """Leaves are numbered after the splits; LightGBM says -1, -2, ..."""
            return child if child >= 0 else splits - child - 1

        for at in range(splits + len(tree.leaf)):
            leaf = at >= splits
            kind = 0 if leaf else tree.decision[at]
            missing = kind >> 2 & 3
            # Where nothing was missing in training, LightGBM takes a missing value for 0.
            left = (
                bool(kind & _DEFAULT_LEFT)
                if missing == _MISSING_IS_NAN
                else not leaf and tree.threshold[at] >= 0
            )
            row = (
                *(number, at, 0 if leaf else tree.feature[at], "LEAF" if leaf else "BRANCH_LEQ"),
                *(0 if leaf else place(tree.left[at]), 0 if leaf else place(tree.right[at])),
                int(left),
            )
            for name, value in zip(_NODES, row, strict=True):
                columns[name].append(value)
            thresholds.append(0.0 if leaf else tree.threshold[at])
        for at, value in enumerate(tree.leaf):
            for name, item in zip(_TARGETS, (number, splits + at, number % outputs), strict=True):
                columns[name].append(item)
            weights.append(value)
    scores = nodes.add(
        "TreeEnsembleRegressor", x, domain="ai.onnx.ml", n_targets=outputs,
        nodes_values_as_tensor=numpy_helper.from_array(np.array(thresholds)),
        target_weights_as_tensor=numpy_helper.from_array(np.array(weights)),
        **columns,
    )  # fmt: skip
    return _linked(nodes, nodes.cast(scores, np.float64), classes)


_NODES: Final = (
    *("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes"),
    *("nodes_truenodeids", "nodes_falsenodeids", "nodes_missing_value_tracks_true"),
)
_TARGETS: Final = ("target_treeids", "target_nodeids", "target_ids")
