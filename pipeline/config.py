"""Settings: flag over environment (``MBO_*``) over ``research.toml`` over default.

Each section is a frozen dataclass; its fields are the known keys.  Unknown keys are errors that
name the nearest known one.  Sections whose keys are the user's own names (fees, instruments,
calendars, feature sets) stay mappings and are checked by the module they belong to.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pipeline.config_values import EnvironmentText, build, ranged, tables_of
from pipeline.errors import RequestError

CONFIG_NAME = "research.toml"


@dataclass(frozen=True)
class RawSettings:
    """Where the vendor's files are and what to do when two disagree."""

    path: str = "data/raw"
    paths: tuple[str, ...] = ()
    """Files or folders instead of ``path``, as `mbo ingest PATH...` gives them."""
    prefer: str = ranged("error", choices=("error", "newest"))
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
    layout: str = ranged("auto", choices=("auto", "symbols", "packed"))
    """Files of a day's symbols: ``symbols`` a folder each, ``packed`` one for all, ``auto``."""
    packed_above: int = ranged(500, low=0)
    """Symbols a day above which ``auto`` packs."""


@dataclass(frozen=True)
class DownloadSettings:
    """What `mbo download` asks for and how; see ``docs/download.md``.

    The key is no setting: it comes from the environment alone.
    """

    dataset: str = ""
    symbols: tuple[str, ...] = ()
    """As the vendor writes them: ``ESM5``, ``ES.FUT``, ``ES.c.0``, ``ALL_SYMBOLS``."""
    stype: str = ranged("", choices=("", "raw_symbol", "parent", "continuous", "instrument_id"))
    """Kind of the symbols; empty: told by their form."""
    schemas: tuple[str, ...] = ranged(("mbo", "definition", "status"))
    max_cost: float | None = ranged(None, low=0)
    """USD; a request that costs more is refused."""
    out: str = ""
    """Folder that receives the batch folders; empty: ``raw.path``."""
    retries: int = ranged(6, low=0, high=100)
    """Attempts after the first one that failed in a way that may pass."""
    backoff: str = ranged("1s", duration="positive")
    """Wait before the second attempt; doubled for each one after it."""
    poll: str = ranged("10s", duration="positive")
    """Between two looks at a job that is not done."""
    gateway: str = ""
    """Address of the API; empty: the vendor's."""


@dataclass(frozen=True)
class RunSettings:
    workers: int = ranged(0, low=0)
    """Processes; 0 means one a core."""


@dataclass(frozen=True)
class SampleSettings:
    """The built-in simulated market, kept apart from real data."""

    raw: str = "data/sample/raw"
    lake: str = "data/sample/lake"
    days: int = ranged(3, low=1, high=13)
    records: int = ranged(300_000, low=1000)
    """Records a session, all instruments together."""
    seed: int = 1


@dataclass(frozen=True)
class BookSettings:
    depth: int = ranged(10, low=1, high=50)
    materialise: str = ranged("full", choices=("full", "touch", "grid", "none"))
    grid: str = ranged("1s", duration="positive")
    """Step of ``materialise = "grid"``."""
    assume_valid_after: str = ranged("", duration="optional")
    """Duration after which a book with an unknown start counts as valid; empty: never."""
    flow: bool = True
    """`mbo book` writes the table `flow`; features need it."""
    order_life: bool = False
    """`mbo book` writes the table `order_life`, too."""
    queue: bool = False
    """`mbo book` writes the table `queue`, too; features of single orders need it."""


@dataclass(frozen=True)
class QualityLimits:
    """When a day of a symbol is refused by later stages.  None sets no limit.

    Nothing is refused by default: a day must not leave results because the program was
    upgraded, and rows that cannot be trusted are marked (`book.valid`) either way.
    """

    max_orphan_cancel_share: float | None = ranged(None, low=0, high=1)
    """C of orders the book does not know, of all C; not judged where ``start`` is unknown."""
    max_orphan_modify_share: float | None = ranged(None, low=0, high=1)
    """The same of M."""
    max_ignored_share: float | None = ranged(None, low=0, high=1)
    """Records that could not be applied (``quality.ignored``), of A, C and M."""
    max_sequence_regressions: int | None = ranged(None, low=0)
    max_crossed: str = ranged("", duration="optional")
    """Longest time crossed in a UTC day, auctions and pre-open included; empty: no limit."""
    max_roll_mismatch_orders: int | None = ranged(None, low=0)
    """Orders in which the carried book and the day's snapshot may differ."""
    refuse_conditions: tuple[str, ...] = ranged(
        (), choices=("degraded", "pending", "missing", "intraday")
    )
    """Words of the vendor on a day (``condition.json``) that refuse it."""
    allow_unknown_start: bool = True
    """False refuses days whose book begins without snapshot, clear or carried state."""


@dataclass(frozen=True)
class QualityOverride(QualityLimits):
    """``[quality.symbols."MES*"]``: limits of some symbols, of one dataset or of all."""

    dataset: str = ""


@dataclass(frozen=True)
class QualitySettings(QualityLimits):
    """Quality gates; see ``docs/quality.md``."""

    symbols: Mapping[str, Mapping[str, Any]] = tables_of(QualityOverride)
    """By pattern: keys that replace those of ``[quality]``; the first match wins."""


@dataclass(frozen=True)
class FitSettings:
    """What features may be fitted on; see ``docs/features-fits.md``."""

    sessions: int = ranged(20, low=1, high=1000)
    """Past sessions of a symbol that components look back on, but for those with their own."""
    min_sessions: int = ranged(0, low=0)
    """Fewer sessions with data: no fit; 0: each component's own minimum."""
    along: str = ranged("volume", choices=("volume", "calendar", "symbol"))
    """Past sessions are those of the continuous series by that rule, or of the symbol alone."""


@dataclass(frozen=True)
class FeaturesSettings:
    set: str = "default"
    sets: Mapping[str, Any] = field(default_factory=dict)
    """``[features.sets.NAME]`` with clock, features, labels."""
    files: tuple[str, ...] = ()
    """Python files with features of the user's own."""
    fits: FitSettings = FitSettings()
    memory: int = ranged(512, low=16)
    """MiB that the values a worker computes at once may take; windows come on top."""


@dataclass(frozen=True)
class ModelSettings:
    """``[models.NAME]``: what `mbo train NAME` fits; see ``docs/models.md``."""

    estimator: str = ""
    """``lightgbm``, ``linear`` or ``path/to/file.py:Name``; empty: lightgbm, or NAME itself."""
    set: str = ""
    """Feature set; empty: ``features.set``."""
    label: str = "y_return_10s"
    task: str = ranged("auto", choices=("auto", "regression", "classification"))
    """``auto``: labels that are whole numbers are classes."""
    features: tuple[str, ...] = ()
    """Names or patterns of the set's columns; empty: all that do not move with the price level."""
    train: int = ranged(20, low=1, high=1000)
    """Past sessions trained on, at most."""
    at_least: int = ranged(1, low=1, high=1000)
    """Fewer past sessions: no model."""
    every: int = ranged(5, low=1, high=1000)
    """Sessions a model serves, before it is trained anew."""
    embargo: str = ranged("0s", duration="any")
    """Rows are left out whose label is known less than this before the first session served."""
    rows: int = ranged(200_000, low=100)
    """Rows of a session, at most; more are thinned evenly."""
    select: int = ranged(0, low=0)
    """So many features with the largest absolute rank IC in the window; 0: all."""
    weights: str = ranged("uniqueness", choices=("uniqueness", "none"))
    """Rows whose labels overlap weigh less, or all the same."""
    balance: bool = True
    """Classes weigh the same, whatever their shares."""
    trials: int = ranged(0, low=0)
    """Trials of the search on the last fifth of the training time; 0: no search."""
    seed: int = ranged(1, low=0, high=2**31 - 1)
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the estimator."""


@dataclass(frozen=True)
class RiskSettings:
    """``[backtest.risk]``: limits, per instrument; 0 and empty are no limit."""

    order_size: int = ranged(0, low=0)
    """Contracts of one order."""
    position: int = ranged(0, low=0)
    """Contracts held, long or short, as if all that works were filled."""
    orders_per_second: int = ranged(0, low=0)
    session_loss: str = ranged("", money=True, may_be_empty=True)
    """Money: a net loss beyond it flattens and ends the session's trading; of instruments traded
    together that of all in a currency."""
    run_loss: str = ranged("", money=True, may_be_empty=True)
    """Money: a net loss beyond it flattens and ends all trading; likewise."""


@dataclass(frozen=True)
class BacktestSettings:
    latency: str = ranged("1ms", duration="any latency")
    """Entry latency, decision to venue: ``1ms``, ``lognormal:250us:0.4`` or ``table:FILE``."""
    response: str = ranged("", duration="optional latency")
    """Response latency, venue to us; empty: the same as the entry latency."""
    feed: str = ranged("0", duration="any latency")
    """Latency of the feed, on top of ``ts_recv``."""
    seed: int = 1
    """Of random latencies: same seed, same run."""
    readings: tuple[str, ...] = ranged(
        ("exact",), choices=("optimistic", "exact", "pessimistic"), filled=True
    )
    fees: str = ""
    """Name of the fee schedule ``[fees.NAME]``; empty: the one that covers the product."""
    set: str = ""
    """Feature set to read; empty: ``features.set``."""
    capital: str = ranged("100000", money=True)
    """Starting equity, in the ledger's currency, for ratios and drawdown in per cent."""
    model: str = ""
    """Model whose predictions are read beside the features: its id or name."""
    partial: bool = False
    """Trade incomplete sessions too."""
    risk: RiskSettings = RiskSettings()


@dataclass(frozen=True)
class RollSettings:
    """``[rolls.ES]``: when the calendar rule leaves a contract of a root."""

    days: int = ranged(0, low=0, high=250)
    """Sessions before the last one; a contract is held while at least so many are left."""


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on besides its inputs."""

    raw: RawSettings = RawSettings()
    lake: LakeSettings = LakeSettings()
    download: DownloadSettings = DownloadSettings()
    run: RunSettings = RunSettings()
    sample: SampleSettings = SampleSettings()
    book: BookSettings = BookSettings()
    quality: QualitySettings = QualitySettings()
    features: FeaturesSettings = FeaturesSettings()
    models: Mapping[str, Mapping[str, Any]] = tables_of(ModelSettings)
    """``[models.NAME]``: models of the user's own."""
    backtest: BacktestSettings = BacktestSettings()
    instruments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``[instruments."MES*"]`` tick_size, multiplier, currency, ...; first match wins."""
    calendar: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``[calendar.NAME]``: trading hours of the user's own."""
    rolls: Mapping[str, Mapping[str, Any]] = tables_of(RollSettings)
    """``[rolls.ROOT]``: when continuous symbols by calendar roll."""
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
        For a file that is not there or no TOML, unknown keys, values of the wrong type or out
        of range.
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
    built: Settings = build(Settings, tree, origin)
    if built.instruments:
        from pipeline.ingest.instruments import check_config

        check_config(built.instruments, origin)
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
        target[key] = EnvironmentText(environ[name])
