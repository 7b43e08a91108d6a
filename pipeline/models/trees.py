"""LightGBM's gradient-boosted trees, on raw features: null is missing, and the trees learn where
it belongs.

One thread and fixed seeds: the same rows give the same bytes.  A text is LightGBM's own, cut to
the trees; before it is read again it is checked line by line, so that a file that was tampered
with is refused instead of leading LightGBM's reader out of its arrays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, RequestError
from pipeline.models.estimators import Floats, Matrix, known_params

PARAMS: Final[Mapping[str, Any]] = {
    "num_iterations": 100,
    "learning_rate": 0.05,
    "num_leaves": 8,
    "max_depth": -1,
    "min_data_in_leaf": 1000,
    "min_sum_hessian_in_leaf": 1e-3,
    "min_gain_to_split": 0.0,
    "lambda_l1": 0.0,
    "lambda_l2": 1.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "path_smooth": 0.0,
    "max_bin": 255,
}
"""LightGBM's parameters that may be given, with our defaults: few shallow trees of many rows,
because what can be learned of returns is little, noise is large, and a thousand rows with
overlapping labels are a dozen facts.
"""


@dataclass(frozen=True)
class Trees:
    """LightGBM with its parameters."""

    params: Mapping[str, Any]

    name: ClassVar[str] = "lightgbm"
    spec: ClassVar[str] = "lightgbm"
    source: ClassVar[str] = ""
    libraries: ClassVar[tuple[str, ...]] = ("lightgbm",)
    scaled: ClassVar[bool] = False
    stored: ClassVar[bool] = True

    @classmethod
    def of(cls, params: Mapping[str, Any], where: str) -> Trees:
        """With these parameters, of those in :data:`PARAMS`."""
        found = known_params(params, PARAMS, "lightgbm", where)
        for name, low in (("num_iterations", 1), ("num_leaves", 2), ("max_bin", 2)):
            if found[name] < low:
                raise RequestError(f"{where}: parameter {name} = {found[name]}; choose {low}+")
        return cls(found)

    def fit(
        self, x: Matrix, y: NDArray[Any], weight: Floats, classes: list[int] | None, seed: int
    ) -> FittedTrees:
        """Fit the trees."""
        import lightgbm

        about: dict[str, Any] = {"objective": "regression"}
        if classes is not None and len(classes) == 2:
            about = {"objective": "binary"}
        elif classes is not None:
            about = {"objective": "multiclass", "num_class": len(classes)}
        own = {name: value for name, value in self.params.items() if name != "num_iterations"}
        fixed = {
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "seed": seed,
            "verbosity": -1,
        }
        names = [f"f{j}" for j in range(x.shape[1])]
        data = lightgbm.Dataset(
            x, np.asarray(y, np.float32), weight=weight, feature_name=names,
            params={**own, **fixed},
        )  # fmt: skip
        try:
            booster = lightgbm.train(
                {**own, **about, **fixed}, data, num_boost_round=self.params["num_iterations"]
            )
        except lightgbm.basic.LightGBMError as error:
            raise InputError(f"LightGBM: {str(error).splitlines()[0]}") from error
        text = booster.model_to_string()
        text = text[: text.index(_END)] + _END
        return self.load(text, x.shape[1], classes)

    def load(self, text: str, features: int, classes: list[int] | None) -> FittedTrees:
        check_text(text, features, classes)
        return FittedTrees(text, classes=classes)

    def with_params(self, params: Mapping[str, Any]) -> Trees:
        return Trees.of({**self.params, **params}, "search")


class FittedTrees:
    """Trees that were read from their text."""

    def __init__(self, text: str, *, classes: list[int] | None) -> None:
        import lightgbm

        self._text = text
        self._classes = classes
        self._booster = lightgbm.Booster(model_str=text)

    def predict(self, x: Matrix) -> Floats:
        if not x.shape[0]:
            return np.empty(0 if self._classes is None else (0, len(self._classes)))
        found = np.asarray(self._booster.predict(x, num_threads=1), np.float64)
        if self._classes is not None and len(self._classes) == 2:
            return np.column_stack([1.0 - found, found])
        return found

    def to_text(self) -> str:
        return self._text


@dataclass(frozen=True)
class Tree:
    """A tree of a text: lists by split, and the values of the leaves.

    A child of 0 or more is a split, -1 the first leaf, -2 the second.
    """

    feature: list[int]
    threshold: list[float]
    decision: list[int]
    """LightGBM's bits: 2 for missing to the left; 4 and 8 for what is missing (8: NaN)."""
    left: list[int]
    right: list[int]
    leaf: list[float]


def trees_of(text: str) -> list[Tree]:
    """The trees of a text that was checked.

    Raises
    ------
    ValueError
        If 0 counts as missing in one, which we never ask for.
    """
    found = []
    for number, body in enumerate(text.split("\n\nTree=")[1:]):
        values = _pairs(body.removesuffix(_END).partition("\n")[2])

        def items(name: str, kind: type, values: dict[str, str] = values) -> list[Any]:
            return [kind(item) for item in values.get(name, "").split()]

        leaf = items("leaf_value", float)
        if len(leaf) == 1:  # what else such a tree says means nothing
            found.append(Tree([], [], [], [], [], leaf))
            continue
        decision = items("decision_type", int)
        if any(kind >> 2 & 3 == 1 for kind in decision):
            raise ValueError(f"tree {number}: 0 is missing in it")
        found.append(
            Tree(
                items("split_feature", int),
                items("threshold", float),
                decision,
                items("left_child", int),
                items("right_child", int),
                leaf,
            )
        )
    return found


# --- the text ----------------------------------------------------------------------------------

_END: Final = "end of trees\n"
_NUMBER: Final = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|inf)", re.IGNORECASE)
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")

_PER_SPLIT: Final = (
    *("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child"),
    *("internal_value", "internal_weight", "internal_count"),
)
_PER_LEAF: Final = ("leaf_value", "leaf_weight", "leaf_count")
_SINGLE: Final = {"num_leaves": None, "num_cat": "0", "is_linear": "0", "shrinkage": None}
_HEADER: Final = (
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"),
    *("objective", "feature_names", "feature_infos", "tree_sizes"),
)


def check_text(text: str, features: int, classes: list[int] | None) -> None:
    """Make sure that a text is one of ours: a header that fits, and well-formed trees.

    Raises
    ------
    ValueError
        Saying what is wrong with it.
    """
    if not text.isascii():
        raise ValueError("it has characters that LightGBM does not write")
    head, *trees = text.split("\n\nTree=")
    sizes = _check_header(head, features, classes)
    if not trees or not trees[-1].endswith("\n\n\n" + _END):
        raise ValueError(f"it does not end with {_END.strip()!r}")
    trees[-1] = trees[-1].removesuffix(_END)
    # Between two trees the separator took one line of the blank ones.
    bodies = [tree if tree is trees[-1] else tree + "\n\n" for tree in trees]
    if [len("Tree=" + body) for body in bodies] != sizes:
        raise ValueError("tree_sizes are not the sizes of its trees")
    for number, body in enumerate(bodies):
        first, _, rest = body.partition("\n")
        if first != str(number):
            raise ValueError(f"tree {number} is called {first[:20]!r}")
        try:
            _check_tree(_pairs(rest), features)
        except ValueError as error:
            raise ValueError(f"tree {number}: {error}") from None


def _pairs(lines: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines.split("\n"):
        name, equals, value = line.partition("=")
        if line and (not equals or name in found):
            raise ValueError(f"line {line[:40]!r} does not belong there")
        if line:
            found[name] = value
    return found


def _check_header(head: str, features: int, classes: list[int] | None) -> list[int]:
    """Sizes of the trees."""
    first, _, rest = head.partition("\n")
    if first != "tree":
        raise ValueError(f"it begins with {first[:20]!r}, not with LightGBM's 'tree'")
    values = _pairs(rest)
    outputs = 1 if classes is None or len(classes) == 2 else len(classes)
    objective = "regression" if classes is None else "binary sigmoid:1"
    wanted = {
        "version": "v4",
        "num_class": str(outputs),
        "num_tree_per_iteration": str(outputs),
        "label_index": "0",
        "max_feature_idx": str(features - 1),
        "objective": objective if outputs == 1 else f"multiclass num_class:{outputs}",
        "feature_names": " ".join(f"f{j}" for j in range(features)),
    }
    for name, value in wanted.items():
        if values.get(name) != value:
            raise ValueError(f"its {name} is {str(values.get(name))[:40]!r}, not {value[:40]!r}")
    unknown = set(values) - set(_HEADER)
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r}")
    for info in (infos := values.get("feature_infos", "").split(" ")):
        if info != "none" and not re.fullmatch(
            rf"\[{_NUMBER.pattern}:{_NUMBER.pattern}\]", info, re.IGNORECASE
        ):
            raise ValueError(f"feature_infos has {info[:40]!r}")
    if len(infos) != features:
        raise ValueError("feature_infos are not one a feature")
    sizes = values.get("tree_sizes", "").split(" ")
    if not all(_WHOLE.fullmatch(size) for size in sizes):
        raise ValueError("tree_sizes are not whole numbers")
    if len(sizes) % outputs:
        raise ValueError("it has not as many trees for each class")
    return [int(size) for size in sizes]


def _check_tree(values: dict[str, str], features: int) -> None:
    unknown = set(values) - {*_SINGLE, *_PER_SPLIT, *_PER_LEAF}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)[:40]!r}")
    for name, only in _SINGLE.items():
        value = values.get(name, "")
        if not _NUMBER.fullmatch(value) or (only is not None and value != only):
            raise ValueError(f"{name} is {value[:40]!r}")
    leaves = int(values["num_leaves"]) if _WHOLE.fullmatch(values["num_leaves"]) else 0
    if leaves < 1:
        raise ValueError(f"num_leaves is {values['num_leaves']!r}")
    for names, size in ((_PER_LEAF, leaves), (_PER_SPLIT, leaves - 1)):
        for name in names:
            # A tree of one leaf says little of it.
            items = values.get(name, "").split()
            may_lack = leaves == 1 and name != "leaf_value"
            if not all(_NUMBER.fullmatch(item) for item in items):
                raise ValueError(f"{name} has something that is no number")
            if len(items) != size and not (may_lack and len(items) in (0, 1)):
                raise ValueError(f"{name} has {len(items)} values for {size}")
    if leaves > 1:
        _check_links(values, leaves, features)


def _check_links(values: dict[str, str], leaves: int, features: int) -> None:
    """Every split and leaf but the root hangs below exactly one split that comes before it."""

    def whole(name: str, low: int, high: int) -> list[int]:
        found = [int(x) if _WHOLE.fullmatch(x) else high + 1 for x in values[name].split()]
        if not all(low <= x <= high for x in found):
            raise ValueError(f"{name} is out of range")
        return found

    whole("split_feature", 0, features - 1)
    kinds = whole("decision_type", 0, 255)
    if any(kind & 1 for kind in kinds):
        raise ValueError("decision_type has a split by category")
    sides = [whole(name, -leaves, leaves - 2) for name in ("left_child", "right_child")]
    seen: set[int] = set()
    for parent, pair in enumerate(zip(*sides, strict=True)):
        for child in pair:
            if child in seen or (child >= 0 and child <= parent):
                raise ValueError("its splits are no tree")
            seen.add(child)
    if len(seen) != 2 * (leaves - 1):
        raise ValueError("its splits are no tree")
