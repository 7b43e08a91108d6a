"""Feature sets: which columns, at which clock; and features in files of the user's own."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from features import registry
from features.clocks import make_clock
from features.components import Component, components_of
from features.parameters import Alias
from features.registry import FEATURES, LABELS, Column
from pipeline.errors import RequestError
from pipeline.units import NS_PER_S, parse_duration

DEFAULT = "default"

DEFAULT_SET: Mapping[str, Any] = {
    "clock": "event",
    "features": [
        *("mid", "spread", "wmid", "vamp_5"),
        *("queue_imbalance", "depth_imbalance_5", "depth_imbalance_10", "count_imbalance_1"),
        *("depth_bid_1", "depth_ask_1", "log_depth_5"),
        *("ofi_event", "ofi_1s", "ofi_10s", "ofi_60s", "ofi_h10s", "ofi_n50", "ofi_normalised_10s"),
        *("ofi_level_1_10s", "ofi_level_2_10s", "ofi_cause_10s"),
        *("trade_imbalance_10s", "trade_imbalance_60s", "signed_volume_10s", "trade_count_10s"),
        *("cvd", "trade_intensity_h10s", "vwap_dev_session", "vwap_dev_60s"),
        *("add_rate_bid_l1_10s", "add_rate_ask_l1_10s"),
        *("cancel_rate_bid_l1_10s", "cancel_rate_ask_l1_10s", "net_provision_diff_10s"),
        *("vol_1s_300s", "vol_h60s"),
        *("return_1s", "return_10s", "return_60s", "return_n50"),
        *("momentum_60s", "momentum_300s", "zscore_60s", "zscore_300s"),
        *("ema_gap_h10s", "ema_gap_h60s", "ema_gap_z_h60s"),
        *("seconds_since_open", "seconds_to_close", "is_rth", "since_trade", "since_mid_move"),
    ],
    "labels": [
        *("y_return_1s", "y_return_5s", "y_return_10s", "y_return_60s"),
        *("y_return_n10", "y_return_n50"),
    ],
}
"""What `mbo features` computes where ``research.toml`` says nothing; the built-in strategies
read from it.
"""

FINDINGS_SET: Mapping[str, Any] = {
    "clock": "grid:10s",
    "features": [
        *("spread", "queue_imbalance", "return_10s", "signed_volume_10s"),
        *("ofi_10s", "ofi_level_1_10s", "ofi_level_2_10s"),
    ],
    "labels": ["y_return_10s"],
}
"""What `mbo sql findings` reads: does the market behave as the literature says?"""

SHIPPED: Mapping[str, Mapping[str, Any]] = {DEFAULT: DEFAULT_SET, "findings": FINDINGS_SET}
"""Sets there are without a ``research.toml``; sets of the same name there take their place."""

_KEYS = ("clock", "features", "labels", "peers", "tolerance")

TOLERANCE = 5 * NS_PER_S
"""Age (ns) from which on a peer is stale, where a set says nothing."""


@dataclass(frozen=True)
class FeatureSet:
    """A set, resolved: its columns exist and its clock is one."""

    name: str
    clock: str
    features: tuple[Column, ...]
    labels: tuple[Column, ...]
    peers: Mapping[str, str] = field(default_factory=dict)
    """Other instruments by the names columns give them: raw or continuous symbols."""
    tolerance: int = TOLERANCE

    @property
    def all(self) -> tuple[Column, ...]:
        """Features, then labels."""
        return (*self.features, *self.labels)

    @property
    def depth(self) -> int:
        """Levels of the book it needs."""
        return max((column.depth for column in self.all), default=1)

    @cached_property
    def components(self) -> list[Component]:
        """What of it is fitted on past sessions, by name."""
        return components_of([column.expr for column in self.all])


def set_names(sets: Mapping[str, Any]) -> list[str]:
    """Names of the sets: the user's and the shipped ones."""
    return sorted({*SHIPPED, *sets})


def feature_set(name: str, sets: Mapping[str, Any], origin: str = "research.toml") -> FeatureSet:
    """The set ``[features.sets.NAME]``, or a shipped one.

    Raises
    ------
    RequestError
        For an unknown set, key, clock, feature or label, with the nearest names.
    """
    if name not in set_names(sets):
        raise RequestError.unknown("feature set", name, set_names(sets), where=origin)
    table = sets[name] if name in sets else SHIPPED[name]
    where = f"{origin}: features.sets.{name}"
    if not isinstance(table, Mapping):
        raise RequestError(f"{where} must be a table with {', '.join(_KEYS)}")
    for key in table:
        if key not in _KEYS:
            raise RequestError.unknown("key", key, _KEYS, where=where)
    clock = table.get("clock", "event")
    if not isinstance(clock, str):
        raise RequestError(f"{where}.clock must be text, such as 'event' or 'grid:1s'")
    make_clock(clock, f"{where}.clock")
    words = {key: _words(table.get(key, ()), f"{where}.{key}") for key in ("features", "labels")}
    if not words["features"]:
        raise RequestError(f"{where} lists no features")
    for word in words["features"]:
        if word.startswith("y_"):
            raise RequestError(f"{where}.features: {word!r} is a label; list it under labels")
    peers = _peers(table.get("peers", {}), f"{where}.peers")
    tolerance = _tolerance(table.get("tolerance"), f"{where}.tolerance")
    columns = FEATURES.resolve(words["features"], where=f"{where}.features")
    columns = _with_peers(columns, set(words["features"]), peers, where)
    registry.check_backward(columns)
    labels = LABELS.resolve(words["labels"], where=f"{where}.labels")
    return FeatureSet(name, clock, tuple(columns), tuple(labels), peers, tolerance)


def _peers(value: Any, where: str) -> Mapping[str, str]:
    """Peers by name; of a text or a list, ``peer``, ``peer2``, ``peer3`` ..."""
    symbols = [value] if isinstance(value, str) else value
    if isinstance(symbols, list | tuple):
        symbols = {f"peer{i + 1 if i else ''}": symbol for i, symbol in enumerate(symbols)}
    if not isinstance(symbols, Mapping) or not all(isinstance(s, str) for s in symbols.values()):
        raise RequestError(f'{where}: write peers by name, as {{ nq = "NQ.v.0" }}, or a list')
    for name in symbols:
        if not re.fullmatch(Alias().pattern, name):
            raise RequestError(f"{where}: {name!r} is no name; use small letters and digits")
    return dict(symbols)


def _tolerance(value: Any, where: str) -> int:
    if value is None:
        return TOLERANCE
    try:
        return parse_duration(value)
    except (ValueError, TypeError):
        raise RequestError(f"{where} = {value!r} is not a duration such as '5s'") from None


def _with_peers(
    columns: Sequence[Column], words: set[str], peers: Mapping[str, str], where: str
) -> list[Column]:
    """The columns, those of peers for each of the set's own.

    What a tag or family brings along for peers the set does not have is left out; a column that
    is named itself must have its peers.
    """
    found: dict[str, Column] = {}
    for column in columns:
        missing = column.peers - set(peers)
        if missing and column.name in words:
            name = min(missing)
            raise RequestError(
                f"{where}.features: {column.name} reads the peer {name!r}; add "
                f'peers = {{ {name} = "SYMBOL" }} to the set'
            )
        own = [column] if not missing else []
        names = [n for n, p in column.family.params.items() if isinstance(p, Alias)]
        if column.name not in words and len(names) == 1:
            own = [column.family.column({**column.arguments, names[0]: peer}) for peer in peers]
        found.update((one.name, one) for one in own)
    return list(found.values())


def _words(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise RequestError(f"{where} must be a list of names")
    return tuple(value)


def load_user_features(path: Path) -> str:
    """Run a file of features; they are registered beside the shipped ones.

    Returns
    -------
    sha256 of the file: part of the fingerprint of what is computed from it.

    Raises
    ------
    RequestError
        If the file is not there, does not run, or takes a name that exists.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise RequestError(
            f"{path}: {error.strerror}; features.files in research.toml names it"
        ) from None
    digest = hashlib.sha256(source).hexdigest()
    name = f"user_features_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if getattr(sys.modules.get(name), "__digest__", None) == digest:
        return digest
    registry.load_built_in()
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RequestError(f"{path}: no Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        with registry.declared_in(str(path.resolve())):
            spec.loader.exec_module(module)
    except RequestError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise RequestError(f"{path}: {type(error).__name__}: {error}") from error
    module.__dict__["__digest__"] = digest
    return digest
