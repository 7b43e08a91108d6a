"""A backtest as asked for: strategy, parameters and settings, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.ledger import from_decimal
from pipeline.backtest.tables import READINGS
from pipeline.config import Settings
from pipeline.errors import RequestError
from pipeline.units import format_duration, parse_duration
from strategies.interface import SignalStrategy, build, parameters
from strategies.registry import Loaded, load

if TYPE_CHECKING:
    from pipeline.stage import Stage


@dataclass
class Request:
    """What ``mbo backtest`` was asked for.  ``run_id`` and ``skipped`` are known once planned."""

    asked: str
    """The strategy as named on the command line: a name or ``path/to/file.py:name``."""
    loaded: Loaded
    strategy: SignalStrategy
    settings: Settings
    entry_latency: int
    response_latency: int
    readings: tuple[str, ...]
    capital: int
    """1e-9."""
    run_id: str = ""
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)
    """By symbol and session: why it is not traded."""
    rolls: list[str] = field(default_factory=list)
    """Rolls of continuous symbols at which a contract is left."""

    def stages(self) -> list[Stage]:
        """The stages of this run."""
        from pipeline.backtest.stage import Simulate
        from pipeline.backtest.summarise import Summarise

        return [Simulate(self), Summarise(self)]

    def feature_set(self) -> str:
        """The set of features it reads."""
        return self.settings.backtest.set or self.settings.features.set

    def strategy_identity(self) -> dict[str, Any]:
        """What of the strategy determines the result."""
        name = Path(self.asked.rpartition(":")[0]).name
        return {
            "name": self.loaded.name,
            "file": name,
            "source": self.loaded.source,
            "params": self.strategy.values(),
        }

    def shown_params(self) -> dict[str, str]:
        """Parameters as people write them."""
        known = parameters(type(self.strategy))
        return {name: known[name].show(value) for name, value in self.strategy.values().items()}

    def shown_settings(self, fees: str) -> dict[str, str]:
        """The other settings, for ``runs`` and the summary."""
        return {
            "latency": format_duration(self.entry_latency),
            "response": format_duration(self.response_latency),
            "fees": fees,
            "set": self.feature_set(),
            "partial": str(self.settings.backtest.partial).lower(),
            **({"rolls": "; ".join(self.rolls)} if self.rolls else {}),
        }


def prepare(strategy: str, texts: Sequence[str], settings: Settings) -> Request:
    """Check a request.

    Raises
    ------
    RequestError
        For an unknown strategy, parameter, reading, duration or amount.
    """
    loaded = load(strategy)
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise RequestError(f"-p {text}: write key=value, for example -p size=2")
        given[name.strip()] = value.strip()
    own = settings.strategies.get(loaded.name, {})
    if not isinstance(own, Mapping):
        raise RequestError(f"{settings.origin}: strategies.{loaded.name} must be a table")
    section = settings.backtest
    for reading in section.readings:
        if reading not in READINGS:
            raise RequestError.unknown("reading", reading, READINGS)
    if not section.readings:
        raise RequestError("backtest.readings is empty; choose of " + ", ".join(READINGS))
    entry = _latency("latency", section.latency)
    return Request(
        asked=strategy,
        loaded=loaded,
        strategy=build(loaded.strategy, given, own),
        settings=settings,
        entry_latency=entry,
        response_latency=_latency("response", section.response) if section.response else entry,
        readings=tuple(dict.fromkeys(section.readings)),
        capital=_capital(section.capital),
    )


def _latency(name: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise RequestError(f"backtest.{name}: {error}") from None


def _capital(text: str) -> int:
    try:
        units = from_decimal(Decimal(text))
    except (InvalidOperation, ValueError):
        units = 0
    if units <= 0:
        raise RequestError(f"backtest.capital = {text!r} is no positive amount of money")
    return units
