"""Estimators of the user's own: a class with ``fit`` and ``predict``, in a Python file.

``path/to/file.py:Name`` names a class, or a function that returns an estimator; it is called with
the model's ``params`` and, where it takes it, ``random_state``.  scikit-learn's estimators work as
they are.  Features come filled and scaled, in float64; the labels of a classifier are its classes.

``to_text()`` and ``from_text(text)`` (of the class) let it be stored.  Without them it is fitted
again wherever it is needed; nothing is ever pickled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, MboError, RequestError
from pipeline.models.estimators import Floats, Matrix, one_thread


@dataclass(frozen=True)
class Own:
    """A user's estimator, not made yet."""

    spec: str
    """``/path/to/file.py:Name``"""
    make: Callable[..., Any]
    params: Mapping[str, Any]
    source: str

    scaled: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, spec: str, params: Mapping[str, Any], where: str) -> Own:
        """Load the file.

        Raises
        ------
        RequestError
            For a file that is not there, does not run, or has no such class; for one without
            ``fit`` and ``predict``; for parameters it does not take.
        """
        from strategies.registry import source_hash, user_module

        path, _, attribute = spec.rpartition(":")
        if not path.endswith(".py"):
            raise RequestError(f"{where}.estimator = {spec!r}; write path/to/file.py:Name")
        file = Path(path)
        if not file.is_file():
            raise RequestError.missing_path(file)
        source = source_hash(file)
        module = user_module(file, source)
        make = getattr(module, attribute, None)
        if not callable(make):
            known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            raise RequestError.unknown("estimator", attribute, known, where=path)
        if isinstance(make, type):
            for method in ("fit", "predict"):
                if not callable(getattr(make, method, None)):
                    raise RequestError(
                        f"{path}: {attribute} has no {method}; an estimator has fit(X, y) "
                        "and predict(X)"
                    )
        own = cls(f"{file.resolve()}:{attribute}", make, dict(params), source)
        own.made(0)
        return own

    @property
    def name(self) -> str:
        path, _, attribute = self.spec.rpartition(":")
        return f"{Path(path).name}:{attribute}"

    @property
    def stored(self) -> bool:
        return all(callable(getattr(self.make, n, None)) for n in ("to_text", "from_text"))

    def made(self, seed: int) -> Any:
        """A fresh estimator; ``seed`` is its ``random_state``, where it takes one.

        Raises
        ------
        RequestError
            Where it cannot be made with these parameters.
        """
        given = dict(self.params)
        if "random_state" not in given and "random_state" in _arguments(self.make):
            given["random_state"] = seed
        try:
            return self.make(**given)
        except Exception as error:
            shown = ", ".join(f"{k}={v!r}" for k, v in self.params.items())
            raise RequestError(
                f"{self.name}({shown}): {type(error).__name__}: {_line(error)}"
            ) from error

    def fit(
        self, x: Matrix, y: NDArray[Any], weight: Floats, classes: list[int] | None, seed: int
    ) -> FittedOwn:
        """Fit it; with weights where its ``fit`` takes ``sample_weight``."""
        made = self.made(seed)
        target = y if classes is None else np.array(classes, np.int64)[y]
        more = {"sample_weight": weight} if _takes_weight(made.fit) else {}
        with one_thread():
            self.call("fit", lambda: made.fit(x, target, **more))
        if not self.stored:
            return FittedOwn(self, made, None, classes)
        text = self.call("to_text", made.to_text)
        if not isinstance(text, str):
            raise InputError(f"{self.name}: to_text returns {type(text).__name__}, not text")
        return self.load(text, x.shape[1], classes)

    def load(self, text: str, features: int, classes: list[int] | None) -> FittedOwn:
        made = self.call("from_text", lambda: self.make.from_text(text))  # type: ignore[attr-defined]
        return FittedOwn(self, made, text, classes)

    def with_params(self, params: Mapping[str, Any]) -> Own:
        return replace(self, params={**self.params, **params})

    def call(self, what: str, function: Callable[[], Any]) -> Any:
        """Run the user's code; what goes wrong there is one line that says where."""
        try:
            return function()
        except MboError:
            raise
        except Exception as error:
            line = ""
            trace = error.__traceback__
            while trace is not None:
                if trace.tb_frame.f_globals.get("__file__", "").endswith(self.file_name):
                    line = f", line {trace.tb_lineno}"
                trace = trace.tb_next
            raise InputError(
                f"{self.name}: {what}{line}: {type(error).__name__}: {_line(error)}"
            ) from error

    @property
    def file_name(self) -> str:
        return self.name.partition(":")[0]


class FittedOwn:
    """A user's estimator, fitted."""

    def __init__(self, own: Own, made: Any, text: str | None, classes: list[int] | None) -> None:
        self._own, self._made, self._text, self._classes = own, made, text, classes

    def predict(self, x: Matrix) -> Floats:
        """Numbers; of classes the probabilities, or 1 for the class that it predicts."""
        if not x.shape[0]:
            return np.empty(0 if self._classes is None else (0, len(self._classes)))
        with one_thread():
            found: Floats = self._own.call("predict", lambda: self._predict(x))
        return found

    def _predict(self, x: Matrix) -> Floats:
        n = x.shape[0]
        if self._classes is None:
            return _checked(self._made.predict(x), (n,))
        if callable(getattr(self._made, "predict_proba", None)):
            given = [int(c) for c in getattr(self._made, "classes_", self._classes)]
            found = _checked(self._made.predict_proba(x), (n, len(given)))
            out = np.zeros((n, len(self._classes)))
            for j, known in enumerate(given):
                out[:, self._classes.index(known)] = found[:, j]
            return out
        named = _checked(self._made.predict(x), (n,))
        hits = named[:, None] == np.array(self._classes)[None, :]
        return np.asarray(hits, np.float64)

    def to_text(self) -> str | None:
        return self._text


def _checked(value: Any, shape: tuple[int, ...]) -> Floats:
    found = np.asarray(value, np.float64)
    if found.shape != shape and found.size == np.prod(shape) and len(shape) == 1:
        found = found.reshape(shape)
    if found.shape != shape:
        raise ValueError(f"gives an array of shape {found.shape}, not {shape}")
    if not np.isfinite(found).all():
        raise ValueError("gives values that are not finite")
    return found


def _arguments(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _takes_weight(fit: Callable[..., Any]) -> bool:
    known = _arguments(fit)
    return "sample_weight" in known


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
