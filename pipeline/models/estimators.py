"""What can be fitted: LightGBM's trees, a regularised linear model, a constant, a user's own.

A :class:`Kind` is an estimator with its parameters; :meth:`Kind.fit` gives a :class:`Fitted`, which
predicts and may have a text.  A fitted model is always used as its text says it, also right after
it was fitted, so that what is stored is what was judged.

Regression: ``y`` are numbers, predictions are ``float64[n]``.  Classification: ``y`` are positions
in ``classes`` (0, 1, ...), predictions are probabilities ``float64[n, classes]``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RequestError
from pipeline.models.scaling import Scaler

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32] | NDArray[np.float64]
"""Raw features, or scaled ones."""

KINDS: Final[Mapping[str, str]] = {
    "lightgbm": "pipeline.models.trees:Trees",
    "linear": "pipeline.models.linear:Linear",
}
"""Estimators by the name they are asked for; the module is imported only then."""


class Fitted(Protocol):
    """A fitted estimator."""

    def predict(self, x: Matrix) -> Floats:
        """Of ``[n, features]``: ``[n]``, or ``[n, classes]`` of a classifier."""

    def to_text(self) -> str | None:
        """All there is to know of it; None if it has no text form."""


class Kind(Protocol):
    """An estimator with its parameters, not fitted yet."""

    @property
    def name(self) -> str:
        """As stored: ``lightgbm``, ``linear``, or a user's ``file.py:Name``."""

    @property
    def spec(self) -> str:
        """How a worker asks for it: the name, or the whole path of a user's file."""

    @property
    def source(self) -> str:
        """sha256 of a user's file; empty for those shipped."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Modules of the extra `models` that it needs."""

    @property
    def params(self) -> Mapping[str, Any]:
        """All parameters, JSON values."""

    @property
    def scaled(self) -> bool:
        """It is given filled and scaled features, in float64; else raw ones, null being NaN."""

    @property
    def stored(self) -> bool:
        """It has a text form."""

    def fit(
        self, x: Matrix, y: NDArray[Any], weight: Floats, classes: list[int] | None, seed: int
    ) -> Fitted:
        """Fit it to ``x[n, features]``, with weights of mean 1."""

    def load(self, text: str, features: int, classes: list[int] | None) -> Fitted:
        """The fitted estimator of a text; ``ValueError`` says what is wrong with one."""

    def with_params(self, params: Mapping[str, Any]) -> Kind:
        """The same with some parameters replaced."""


def load_kind(name: str, params: Mapping[str, Any], where: str) -> Kind:
    """The estimator of that name, or of a file.

    Raises
    ------
    RequestError
        For an unknown name or parameter, and a file that does not run or lacks the class.
    """
    if name in KINDS:
        module, _, attribute = KINDS[name].partition(":")
        kind = getattr(import_module(module), attribute)
        return cast("Kind", kind.of(params, where))
    if ".py" in name:
        from pipeline.models.own import Own

        return Own.of(name, params, where)
    raise RequestError.unknown(
        "estimator", name, [*KINDS, "path/to/file.py:Name"], where=f"{where}.estimator"
    )


def known_params(
    given: Mapping[str, Any], known: Mapping[str, Any], kind: str, where: str
) -> dict[str, Any]:
    """The parameters, with defaults; numbers only.

    Raises
    ------
    RequestError
        For an unknown one, or a value of the wrong type.
    """
    found = dict(known)
    for name, value in given.items():
        if name not in known:
            raise RequestError.unknown(f"parameter of {kind}", name, known, where=where)
        whole = isinstance(known[name], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            wanted = "a whole number" if whole else "a number"
            raise RequestError(f"{where}: parameter {name} = {value!r} is not {wanted}")
        found[name] = value if whole else float(value)
    return found


def check_extra(libraries: Sequence[str], where: str) -> None:
    """Make sure that libraries of the extra `models` are installed.

    Raises
    ------
    RequestError
        Naming the first that is not, and what to do.
    """
    for library in libraries:
        if find_spec(library) is None:
            name = {"sklearn": "scikit-learn"}.get(library, library)
            raise RequestError(
                f"{where} needs {name}, which is not installed; "
                "run `pip install 'mbo-research[models]'`, or `make setup` in a checkout"
            )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within it, numerical libraries use one thread: sums do not depend on how many there are."""
    import threadpoolctl

    with threadpoolctl.threadpool_limits(limits=1):
        yield


def outputs(fitted: Fitted, scaler: Scaler | None, prior: Floats | None, x: Matrix) -> Floats:
    """What a fitted estimator says of raw features: numbers, or probabilities of classes that were
    balanced by hand, with the balance undone.
    """
    found = fitted.predict(x if scaler is None else scaler.apply(x))
    if prior is not None:
        found = found * prior
        found /= found.sum(axis=1, keepdims=True)
    return found


class Constant:
    """The same prediction for every row: the mean, or the shares of the classes."""

    name: ClassVar[str] = "constant"
    spec: ClassVar[str] = "constant"
    source: ClassVar[str] = ""
    libraries: ClassVar[tuple[str, ...]] = ()
    scaled: ClassVar[bool] = False
    stored: ClassVar[bool] = True
    params: Mapping[str, Any] = {}

    def fit(
        self, x: Matrix, y: NDArray[Any], weight: Floats, classes: list[int] | None, seed: int
    ) -> FittedConstant:
        del x, seed
        if classes is None:
            return FittedConstant(np.array([np.sum(y * weight) / np.sum(weight)]), single=True)
        shares = np.array([np.sum(weight[y == k]) for k in range(len(classes))])
        return FittedConstant(shares / np.sum(shares), single=False)

    def load(self, text: str, features: int, classes: list[int] | None) -> FittedConstant:
        from pipeline.models.texts import read_numbers

        size = 1 if classes is None else len(classes)
        values = read_numbers(text, "constant", {"values": (size,)})
        return FittedConstant(values["values"], single=classes is None)

    def with_params(self, params: Mapping[str, Any]) -> Constant:
        return self


class FittedConstant:
    """What :class:`Constant` gives."""

    def __init__(self, values: Floats, *, single: bool) -> None:
        self._values = values
        self._single = single

    def predict(self, x: Matrix) -> Floats:
        n = x.shape[0]
        if self._single:
            return np.full(n, self._values[0])
        return np.tile(self._values, (n, 1))

    def to_text(self) -> str:
        from pipeline.models.texts import write_numbers

        return write_numbers("constant", {"values": self._values})
