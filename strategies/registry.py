"""Finding strategies: built in by name, or ``path/to/file.py:name`` for the user's own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from pipeline.errors import RequestError
from strategies.event import EventStrategy
from strategies.interface import SignalStrategy, Strategy

BUILT_IN: Final = {
    "market_making": "strategies.market_making:MarketMaking",
    "mean_reversion": "strategies.mean_reversion:MeanReversion",
    "ofi_momentum": "strategies.ofi_momentum:OfiMomentum",
    "trend_following": "strategies.trend_following:TrendFollowing",
}
"""A built-in strategy is a line here and a module of its own."""


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
        a file without the class asked for.
    """
    path, colon, attribute = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path), attribute)
    if name.endswith(".py"):
        raise RequestError(f"{name}: say which strategy of the file, as in {name}:MyStrategy")
    if name not in BUILT_IN:
        raise RequestError.unknown("strategy", name, BUILT_IN)
    module_name, _, attribute = BUILT_IN[name].partition(":")
    module = importlib.import_module(module_name)
    return Loaded(name, _strategy(module, attribute, name), _hash(Path(str(module.__file__))))


def _from_file(path: Path, attribute: str) -> Loaded:
    if not path.is_file():
        raise RequestError.missing_path(path)
    source = _hash(path)
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
        except Exception as error:
            del sys.modules[module_name]
            raise RequestError(f"{path}: {type(error).__name__}: {error}") from error
    return Loaded(attribute, _strategy(module, attribute, str(path)), source)


def _strategy(module: ModuleType, attribute: str, where: str) -> type[Strategy]:
    known = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, SignalStrategy | EventStrategy)
        and value not in (SignalStrategy, EventStrategy)
    }
    if attribute not in known:
        raise RequestError.unknown("strategy", attribute, known, where=where)
    return known[attribute]


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
