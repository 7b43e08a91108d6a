"""Finding strategies: built in by name, or ``path/to/file.py:name`` for the user's own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from pipeline.errors import RequestError
from strategies.checking import check
from strategies.event import EventStrategy
from strategies.interface import SignalStrategy, Strategy

BUILT_IN: Final = {
    "market_making": "strategies.market_making:MarketMaking",
    "mean_reversion": "strategies.mean_reversion:MeanReversion",
    "ml": "strategies.ml:Ml",
    "ofi_momentum": "strategies.ofi_momentum:OfiMomentum",
    "trend_following": "strategies.trend_following:TrendFollowing",
}
"""A built-in strategy is a line here and a module of its own."""

_DATACLASS: Final = {
    r"mutable default <class '(\w+)'> for field (\w+)": (
        "{1} starts as a {0}; state is int, float, bool, or an array: state_array(float, 64)"
    ),
    r"'(\w+)' is a field but has no type annotation": "{0} has no type; write {0}: int = ...",
    r"non-default argument '(\w+)' follows": "{0} has no first value; write {0}: int = state(0)",
    r"cannot inherit frozen dataclass from a non-frozen": (
        "an event strategy changes its state; write @dataclass without frozen"
    ),
    r"cannot inherit non-frozen dataclass from a frozen": (
        "a signal strategy does not change; write @dataclass(frozen=True)"
    ),
}
"""What dataclasses say of a class, and what to do about it."""


@dataclass(frozen=True)
class Loaded:
    """A strategy's class, the name it was asked for by, and the hash of its source."""

    name: str
    strategy: type[Strategy]
    source: str
    """sha256 of its file."""

    @property
    def summary(self) -> str:
        """First line of its documentation."""
        return (self.strategy.__doc__ or "").strip().split("\n")[0]


def names() -> list[str]:
    """The built-in strategies."""
    return sorted(BUILT_IN)


def load(name: str) -> Loaded:
    """The strategy of that name, or of a file.

    Raises
    ------
    RequestError
        For an unknown name (naming the nearest), a file that is not there or fails to load,
        a file without the class asked for, mistakes in an event strategy.
    """
    path, colon, attribute = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path), attribute)
    if name.endswith(".py"):
        found = (
            sorted(_known(user_module(Path(name), source_hash(Path(name)))))
            if _is_file(name)
            else []
        )
        example = " or ".join(f"{name}:{one}" for one in found or ["MyStrategy"])
        raise RequestError(f"{name}: say which strategy of the file, as in {example}")
    if name not in BUILT_IN:
        raise RequestError.unknown("strategy", name, BUILT_IN)
    module_name, _, attribute = BUILT_IN[name].partition(":")
    module = importlib.import_module(module_name)
    return Loaded(name, _strategy(module, attribute, name), source_hash(Path(str(module.__file__))))


def _is_file(name: str) -> bool:
    if not Path(name).is_file():
        raise RequestError.missing_path(Path(name))
    return True


def _from_file(path: Path, attribute: str) -> Loaded:
    _is_file(str(path))
    source = source_hash(path)
    return Loaded(attribute, _strategy(user_module(path, source), attribute, str(path)), source)


def user_module(path: Path, source: str) -> ModuleType:
    """A file of the user's, loaded once as long as its source is the same."""
    module_name = f"_strategy_{source[:16]}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise RequestError(f"{path}: not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # dataclasses look their module up
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise RequestError(_explain(path, error)) from error
    return module


def _explain(path: Path, error: BaseException) -> str:
    """Why a file cannot be loaded, and in which line."""
    if isinstance(error, RequestError):
        return str(error)
    line = error.lineno if isinstance(error, SyntaxError) else None
    for place in traceback.extract_tb(error.__traceback__):
        if place.filename == str(path):
            line = place.lineno
    where = f"{path}, line {line}" if line else str(path)
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    for pattern, advice in _DATACLASS.items():
        if found := re.match(pattern, said):
            return f"{where}: {advice.format(*found.groups())}"
    return f"{where}: {type(error).__name__}: {said}"


def _known(module: ModuleType) -> dict[str, type[Strategy]]:
    """The strategies of a module by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, SignalStrategy | EventStrategy)
        and value not in (SignalStrategy, EventStrategy)
    }


def _strategy(module: ModuleType, attribute: str, where: str) -> type[Strategy]:
    known = _known(module)
    if attribute not in known:
        if attribute in vars(module):
            raise RequestError(
                f"{where}: {attribute} is no strategy; write class {attribute}(EventStrategy) or "
                f"class {attribute}(SignalStrategy)"
            )
        raise RequestError.unknown("strategy", attribute, known, where=where)
    strategy = known[attribute]
    if issubclass(strategy, EventStrategy):
        check(strategy)
    return strategy


def source_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
