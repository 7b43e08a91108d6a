"""How a run went: figures from its orders, fills and marks.

Money stays integer (1e-9); only ratios are floats.  Ratios of returns are null under 20
sessions, where they would be noise with a decimal point; a ratio whose denominator is nothing
is null, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import polars as pl
import pyarrow as pa

from pipeline.backtest.accounts import Contract
from pipeline.backtest.ledger import Ledger, RoundTrip
from pipeline.backtest.money import money_units
from pipeline.backtest.tables import MARKOUT_HORIZONS
from pipeline.units import NS_PER_S

MIN_SESSIONS: Final = 20
SESSIONS_A_YEAR: Final = 252


@dataclass
class SymbolRows:
    """The rows of one symbol and reading."""

    contract: Contract
    orders: pa.Table
    fills: pa.Table
    equity: pa.Table


@dataclass(frozen=True)
class Curve:
    """Equity of all symbols of a currency together."""

    ts: list[int]
    equity: list[int]
    sessions: dict[date, int]
    """Net profit by session, 1e-9."""
    marks: int
    marks_exposed: int


@dataclass
class Figures:
    """Columns of ``runs`` for one reading and currency; money in 1e-9."""

    money: dict[str, int | None] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)


def replay_ledger(parts: Sequence[SymbolRows], currency: str) -> Ledger:
    """The ledger once more, from the fills as stored: what the figures of trades come from."""
    ledger = Ledger(currency)
    for part in parts:
        symbol = part.contract.symbol
        ledger.open(symbol, part.contract.multiplier)
        columns = (part.fills[name].to_pylist() for name in ("side", "price", "size"))
        times = part.fills["ts"].cast(pa.int64()).to_pylist()
        fees = money_units(part.fills["fee"])
        for ts, fee, side, price, size in zip(times, fees, *columns, strict=True):
            ledger.fill(symbol, ts=ts, price=price, size=size if side == "B" else -size, fee=fee)
    return ledger


def equity_curve(parts: Sequence[SymbolRows]) -> Curve:
    """Sum of the symbols' equity at every mark of any; a symbol keeps its last one."""
    events: list[tuple[int, int, int]] = []
    sessions: dict[date, int] = {}
    marks = exposed = 0
    for number, part in enumerate(parts):
        rows = part.equity
        equity = money_units(rows["equity"])
        times = rows["ts"].cast(pa.int64()).to_pylist()
        events += zip(times, [number] * len(times), equity, strict=True)
        before = 0
        kinds, days = rows["kind"].to_pylist(), rows["session"].to_pylist()
        for kind, day, value in zip(kinds, days, equity, strict=True):
            if kind == "session_end":
                sessions[day] = sessions.get(day, 0) + value - before
                before = value
        held = [p for p, k in zip(rows["position"].to_pylist(), kinds, strict=True) if k == "clock"]
        marks += len(held)
        exposed += sum(position != 0 for position in held)
    events.sort(key=lambda item: item[:2])
    last: dict[int, int] = {}
    ts: list[int] = []
    total: list[int] = []
    running = 0
    for time, number, value in events:
        running += value - last.get(number, 0)
        last[number] = value
        if ts and ts[-1] == time:
            total[-1] = running
        else:
            ts.append(time)
            total.append(running)
    return Curve(ts, total, dict(sorted(sessions.items())), marks, exposed)


def max_drawdown(equity: Sequence[int]) -> int | None:
    """Largest fall from a peak (the start counts as one, at 0); None without marks."""
    peak = worst = 0
    for value in equity:
        peak = max(peak, value)
        worst = max(worst, peak - value)
    return worst if equity else None


def sharpe(returns: Sequence[float]) -> float | None:
    """Mean over standard deviation (n - 1) of session returns, times sqrt(252)."""
    if len(returns) < MIN_SESSIONS:
        return None
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((r - mean) ** 2 for r in returns) / (len(returns) - 1)
    return mean / math.sqrt(variance) * math.sqrt(SESSIONS_A_YEAR) if variance > 0 else None


def sortino(returns: Sequence[float]) -> float | None:
    """Mean over downside deviation (below 0, over all sessions), times sqrt(252)."""
    if len(returns) < MIN_SESSIONS:
        return None
    mean = math.fsum(returns) / len(returns)
    downside = math.fsum(min(r, 0.0) ** 2 for r in returns) / len(returns)
    return mean / math.sqrt(downside) * math.sqrt(SESSIONS_A_YEAR) if downside > 0 else None


def ratio(top: float, bottom: float) -> float | None:
    """Top over bottom; None where the bottom is 0."""
    return top / bottom if bottom else None


def figures(parts: Sequence[SymbolRows], currency: str, capital: int) -> Figures:
    """Everything ``runs`` says of one reading and currency."""
    ledger = replay_ledger(parts, currency)
    curve = equity_curve(parts)
    net = curve.equity[-1] if curve.equity else ledger.equity({}) if not parts else 0
    returns = [profit / capital for profit in curve.sessions.values()] if capital else []
    result = Figures()
    result.money = {
        "net": net,
        "gross": net + ledger.fees,
        "fees": ledger.fees,
        "capital": capital,
        "max_drawdown": max_drawdown(curve.equity),
        "turnover": ledger.turnover,
    }
    result.numbers = {
        "sharpe": sharpe(returns),
        "sortino": sortino(returns),
        "sessions": len(curve.sessions),
        "first_session": min(curve.sessions, default=None),
        "last_session": max(curve.sessions, default=None),
        "exposure": ratio(curve.marks_exposed, curve.marks),
        **_trips(ledger.trips),
        **_orders(parts),
        **_fills(parts),
    }
    return result


def _trips(trips: Sequence[RoundTrip]) -> Mapping[str, Any]:
    nets = [trip.net for trip in trips]
    won, lost = sum(n for n in nets if n > 0), -sum(n for n in nets if n < 0)
    held = sum(trip.closed - trip.opened for trip in trips)
    return {
        "trades": len(trips),
        "hit_rate": ratio(sum(n > 0 for n in nets), len(nets)),
        "profit_factor": ratio(won, lost),
        "average_trade": ratio(sum(nets) / 10**9, len(nets)),
        "holding_s": ratio(held / NS_PER_S, len(trips)),
    }


def _orders(parts: Sequence[SymbolRows]) -> Mapping[str, Any]:
    frame = _frame([part.orders for part in parts])
    limits = frame.filter(pl.col("type") == "limit")
    return {
        "orders": len(frame),
        "fill_ratio": ratio(int(limits["filled"].sum()), int(limits["size"].sum())),
        "ahead_at_entry": limits["ahead_at_entry"].mean(),
    }


def _fills(parts: Sequence[SymbolRows]) -> Mapping[str, Any]:
    contracts = maker = count = 0
    weighted = dict.fromkeys(MARKOUT_HORIZONS, 0.0)
    weights = dict.fromkeys(MARKOUT_HORIZONS, 0)
    for part in parts:
        frame = _frame([part.fills]).with_columns(pl.col("size").cast(pl.Int64))
        count += len(frame)
        contracts += int(frame["size"].sum())
        maker += int(frame.filter(pl.col("role") != "taker")["size"].sum())
        for name in MARKOUT_HORIZONS:
            known = frame.filter(pl.col(name).is_not_null())
            weighted[name] += int((known[name] * known["size"]).sum()) / part.contract.tick
            weights[name] += int(known["size"].sum())
    return {
        "fills": count,
        "contracts": contracts,
        "maker_share": ratio(maker, contracts),
        **{name: ratio(weighted[name], weights[name]) for name in MARKOUT_HORIZONS},
    }


def _frame(tables: Sequence[pa.Table]) -> pl.DataFrame:
    result = pl.from_arrow(pa.concat_tables(tables))
    assert isinstance(result, pl.DataFrame)
    return result
