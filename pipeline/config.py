"""Settings: flag over environment (``MBO_*``) over ``research.toml`` over default.

Each section is a frozen dataclass; its fields are the known keys.  Unknown keys are errors that
name the nearest known one.  Sections whose keys are the user's own names (fees, instruments,
calendars, feature sets) stay mappings and are checked by the module they belong to.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pipeline.errors import RequestError

CONFIG_NAME = "research.toml"


@dataclass(frozen=True)
class RawSettings:
    """Where the vendor's files are and what to do when two disagree."""

    path: str = "data/raw"
    paths: tuple[str, ...] = ()
    """Files or folders instead of ``path``, as `mbo ingest PATH...` gives them."""
    prefer: str = "error"
    """``error`` or ``newest``: two different files for the same day and symbol."""
    verify_hashes: bool = True
    """Compare files with their batch folder's manifest."""
    rehash: bool = False
    """Read every file's hash anew instead of trusting path, size, mtime and inode."""
    retick: bool = False
    """Accept a smaller tick than the one pinned earlier; what depends on it is recomputed."""

    @property
    def roots(self) -> tuple[Path, ...]:
        """Where to look for raw files."""
        return tuple(Path(p) for p in (self.paths or (self.path,)))


@dataclass(frozen=True)
class LakeSettings:
    path: str = "data/lake"


@dataclass(frozen=True)
class RunSettings:
    workers: int = 0
    """Processes; 0 means one a core."""


@dataclass(frozen=True)
class SampleSettings:
    """The built-in simulated market, kept apart from real data."""

    raw: str = "data/sample/raw"
    lake: str = "data/sample/lake"
    days: int = 3
    records: int = 300_000
    """Records a session, all instruments together."""
    seed: int = 1


@dataclass(frozen=True)
class BookSettings:
    depth: int = 10
    materialise: str = "full"
    """``full``, ``touch``, ``grid`` or ``none``."""
    grid: str = "1s"
    """Step of ``materialise = "grid"``."""
    assume_valid_after: str = ""
    """Duration after which a book with an unknown start counts as valid; empty: never."""


@dataclass(frozen=True)
class FeaturesSettings:
    set: str = "default"
    sets: Mapping[str, Any] = field(default_factory=dict)
    """``[features.sets.NAME]`` with clock, features, labels."""
    files: tuple[str, ...] = ()
    """Python files with features of the user's own."""


@dataclass(frozen=True)
class BacktestSettings:
    latency: str = "1ms"
    """Entry latency: decision to venue."""
    response: str = ""
    """Response latency: venue to us; empty: the same as the entry latency."""
    readings: tuple[str, ...] = ("exact",)
    """Any of optimistic, exact, pessimistic."""
    fees: str = ""
    """Name of the fee schedule ``[fees.NAME]``; empty: the one that covers the product."""
    set: str = ""
    """Feature set to read; empty: ``features.set``."""
    capital: str = "100000"
    """Starting equity, in the ledger's currency, for ratios and drawdown in per cent."""
    partial: bool = False
    """Trade incomplete sessions too."""


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on besides its inputs."""

    raw: RawSettings = RawSettings()
    lake: LakeSettings = LakeSettings()
    run: RunSettings = RunSettings()
    sample: SampleSettings = SampleSettings()
    book: BookSettings = BookSettings()
    features: FeaturesSettings = FeaturesSettings()
    backtest: BacktestSettings = BacktestSettings()
    instruments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``[instruments."MES*"]`` tick_size, multiplier, currency, ...; first match wins."""
    calendar: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``[calendar.NAME]``: trading hours of the user's own."""
    fees: Mapping[str, Any] = field(default_factory=dict)
    """``[fees.NAME]``: money a contract by product, role and date."""
    strategies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``[strategies.NAME]``: parameters that replace the strategy's defaults."""
    origin: str = "defaults"
    """Where the settings came from, for messages."""

    def with_values(self, **sections: Mapping[str, Any]) -> Settings:
        """A copy with some values of some sections replaced, as flags do; None is skipped."""
        changed = {
            name: replace(getattr(self, name), **{k: v for k, v in values.items() if v is not None})
            for name, values in sections.items()
        }
        return replace(self, **changed)


def load_settings(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read ``research.toml`` (if there is one) and the environment.

    Raises
    ------
    RequestError
        For a file that is not there or no TOML, unknown keys, values of the wrong type.
    """
    environment = os.environ if environ is None else environ
    path = config or (Path(p) if (p := environment.get("MBO_CONFIG")) else None)
    tree: dict[str, Any] = {}
    origin = "defaults"
    if path is None and Path(CONFIG_NAME).is_file():
        path = Path(CONFIG_NAME)
    if path is not None:
        tree, origin = _read_toml(path), str(path)
    _merge_environment(tree, environment)
    built: Settings = _build(Settings, tree, origin, "")
    return replace(built, origin=origin)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError.missing_path(path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: no valid TOML: {error}") from None
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}") from None


_NOT_SETTINGS = {"MBO_CONFIG", "MBO_CACHE_DIR", "MBO_BOUNDSCHECK", "MBO_REAL_DATA"}


def _merge_environment(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """``MBO_BOOK__DEPTH=5`` sets ``book.depth``; two underscores part section and key."""
    for name in sorted(environ):
        if not name.startswith("MBO_") or name in _NOT_SETTINGS or name.startswith("MBO_TEST_"):
            continue
        section, _, key = name[4:].lower().partition("__")
        kinds = {f.name: f.type for f in fields(Settings)}
        if section not in kinds or not key:
            raise RequestError(
                f"environment variable {name} names no setting; "
                "write MBO_<SECTION>__<KEY>, for example MBO_BOOK__DEPTH=5"
            )
        target = tree.setdefault(section, {})
        target[key] = _Text(environ[name])


class _Text(str):
    """A value from the environment: text that stands for whatever type the setting has."""

    __slots__ = ()


def _build(kind: type, tree: Mapping[str, Any], origin: str, where: str) -> Any:
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind) if f.name != "origin"}
    values: dict[str, Any] = {}
    for key, value in tree.items():
        place = f"{where}.{key}" if where else key
        if key not in known:
            at = "the environment" if isinstance(value, _Text) else origin
            raise RequestError.unknown("setting", place, _full(known, where), where=at)
        hint = hints[key]
        if is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(value, Mapping):
                raise RequestError(f"{origin}: {place} must be a table [{place}]")
            values[key] = _build(hint, value, origin, place)
        else:
            values[key] = _convert(value, hint, place, origin)
    return kind(**values)


def _full(known: set[str], where: str) -> list[str]:
    return [f"{where}.{name}" if where else name for name in known]


def _convert(value: Any, hint: Any, place: str, origin: str) -> Any:
    source = f"environment (MBO_{place.upper().replace('.', '__')})"
    at = source if isinstance(value, _Text) else origin
    wrong = RequestError(f"{at}: {place} = {value!r} is not {_describe(hint)}")
    if isinstance(value, _Text):
        value = _from_text(str(value), hint, wrong)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, float, bool):
        if type(value) is not hint:
            raise wrong
        return value
    if get_args(hint) and hint.__origin__ is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise wrong
        return tuple(value)
    if not isinstance(value, Mapping):
        raise wrong
    return value


def _from_text(text: str, hint: Any, wrong: RequestError) -> Any:
    try:
        if hint is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        if hint in (int, float):
            return hint(text)
    except (KeyError, ValueError):
        raise wrong from None
    if hint is str:
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _describe(hint: Any) -> str:
    names = {int: "a whole number", str: "text", float: "a number", bool: "true or false"}
    if hint in names:
        return names[hint]
    return "a list of texts" if get_args(hint) and hint.__origin__ is tuple else "a table"
