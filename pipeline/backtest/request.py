"""A backtest as asked for: strategy, parameters and settings, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.latency import Latency, LatencyTable
from pipeline.backtest.ledger import from_decimal
from pipeline.backtest.options import Limits
from pipeline.backtest.tables import READINGS
from pipeline.config import RiskSettings, Settings
from pipeline.errors import RequestError
from pipeline.models.tables import PREDICTED
from pipeline.startup import loading
from strategies.checking import check_code
from strategies.event import EventStrategy
from strategies.interface import Strategy, build, parameters
from strategies.registry import Loaded, load

if TYPE_CHECKING:
    from pipeline.stage import Stage


@dataclass
class Request:
    """What ``mbo backtest`` was asked for.  What follows ``capital`` is known once planned."""

    asked: str
    """The strategy as named on the command line: a name or ``path/to/file.py:name``."""
    loaded: Loaded
    strategy: Strategy
    settings: Settings
    latencies: Mapping[str, Latency]
    """Of ``feed``, ``entry``, ``response``."""
    table: LatencyTable | None
    """Measured latencies instead of these."""
    limits: Limits
    readings: tuple[str, ...]
    capital: int
    """1e-9."""
    interpret: bool = False
    """Run the strategy's Python as it is, even where the result is there."""
    run_id: str = ""
    sessions: tuple[date, ...] = ()
    """Sessions that are traded, in any symbol, in order."""
    currencies: tuple[str, ...] = ()
    """Currencies it makes money in."""
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)
    """By symbol and session: why it is not traded."""
    rolls: list[str] = field(default_factory=list)
    """Rolls of continuous symbols at which a contract is left."""

    def stages(self) -> list[Stage]:
        """The stages of this run."""
        from pipeline.backtest.stage import Simulate
        from pipeline.backtest.summarise import Summarise

        return [Simulate(self), Summarise(self)]

    def compile(self) -> None:
        """Have an event strategy compiled before any work begins; tasks load what is kept.

        Raises
        ------
        RequestError
            For what only the compiler can see: file, line, and what to do.
        """
        from strategies.running import Program

        if isinstance(self.strategy, EventStrategy) and not self.interpret:
            with loading():
                Program(self.strategy)

    def feature_set(self) -> str:
        """The set of features it reads."""
        return self.settings.backtest.set or self.settings.features.set

    @property
    def model(self) -> str:
        """The model whose predictions it reads; empty where it reads none."""
        reads = any(name in PREDICTED for name in self.strategy.features())
        return self.settings.backtest.model if reads else ""

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
            **self._shown_latencies(),
            "fees": fees,
            "set": self.feature_set(),
            "partial": str(self.settings.backtest.partial).lower(),
            **({"model": self.model} if self.model else {}),
            **self._shown_limits(),
            **({"rolls": "; ".join(self.rolls)} if self.rolls else {}),
        }

    def _shown_latencies(self) -> dict[str, str]:
        section = self.settings.backtest
        if self.table:
            return {"latency": f"table:{Path(self.table.path).name}"}
        shown = {
            "latency": str(self.latencies["entry"]),
            "response": str(self.latencies["response"]),
        }
        if self.latencies["feed"] != Latency(0):
            shown["feed"] = str(self.latencies["feed"])
        if any(item.sigma for item in self.latencies.values()):
            shown["seed"] = str(section.seed)
        return shown

    def _shown_limits(self) -> dict[str, str]:
        risk = self.settings.backtest.risk
        return {
            f"risk.{name}": str(value)
            for name in ("order_size", "position", "orders_per_second", "session_loss", "run_loss")
            if (value := getattr(risk, name))
        }

    def simulated(self) -> dict[str, Any]:
        """What of latencies and limits determines the result, as JSON values."""
        limits = self.limits
        return {
            "latency": {k: [v.ns, v.sigma] for k, v in self.latencies.items()},
            "latency_table": [self.table.path, self.table.sha256] if self.table else None,
            "seed": self.settings.backtest.seed,
            "limits": [
                limits.order_size,
                limits.position,
                limits.orders_per_second,
                limits.session_loss,
                limits.run_loss,
            ],
        }


def prepare(
    strategy: str, texts: Sequence[str], settings: Settings, *, interpret: bool = False
) -> Request:
    """Check a request.

    Raises
    ------
    RequestError
        For an unknown strategy, parameter, reading, duration or amount, and for mistakes in an
        event strategy.
    """
    loaded = load(strategy)
    if issubclass(loaded.strategy, EventStrategy):
        check_code(loaded.strategy, interpret=interpret)
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
    table = None
    latency = section.latency
    if latency.startswith("table:"):
        table = LatencyTable.find(latency.removeprefix("table:"))
        table.read()
        latency = "0"
    entry = Latency.parse(latency, "backtest.latency")
    response = Latency.parse(section.response, "backtest.response") if section.response else entry
    built = build(loaded.strategy, given, own)
    if any(name in PREDICTED for name in built.features()) and not section.model:
        raise RequestError(
            f"{loaded.name} trades a model's predictions: say which with --model "
            "(`mbo list models`), or train one with `mbo train lightgbm`"
        )
    return Request(
        asked=strategy,
        loaded=loaded,
        strategy=built,
        settings=settings,
        latencies={
            "feed": Latency.parse(section.feed, "backtest.feed"),
            "entry": entry,
            "response": response,
        },
        table=table,
        limits=_limits(section.risk),
        readings=tuple(dict.fromkeys(section.readings)),
        capital=_capital(section.capital),
        interpret=interpret,
    )


def _limits(risk: RiskSettings) -> Limits:
    def money(text: str) -> int | None:
        return _capital(text) if text else None

    return Limits(
        risk.order_size or None,
        risk.position or None,
        risk.orders_per_second or None,
        money(risk.session_loss),
        money(risk.run_loss),
    )


def _capital(text: str) -> int:
    try:
        units = from_decimal(Decimal(text))
    except (InvalidOperation, ValueError):
        units = 0
    if units <= 0:
        raise RequestError(f"backtest.capital = {text!r} is no positive amount of money")
    return units
