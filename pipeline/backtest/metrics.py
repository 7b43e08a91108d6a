"""How a run went: figures from its orders, fills and marks; ``docs/metrics.md`` defines each.

Money stays integer (1e-9); only ratios are floats.  Ratios of returns are null under 20
sessions, where they would be noise with a decimal point; a ratio whose denominator is nothing
is null, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from pipeline.backtest.breakdown import breakdown, time_figures
from pipeline.backtest.curve import (
    Curve,
    Drawdown,
    SymbolRows,
    drawdowns,
    equity_curve,
    minutes,
    session_profits,
    time_sums,
)
from pipeline.backtest.fill_figures import grouped, ratio
from pipeline.backtest.tables import MARKOUT_HORIZONS, MIN_SESSIONS, SESSIONS_A_YEAR
from pipeline.backtest.trades import Books, replay_ledger, trade_figures
from pipeline.units import NS_PER_S


@dataclass(frozen=True)
class Figures:
    """What is known of one reading and currency; money in 1e-9, undefined is None."""

    run: dict[str, Any]
    """Columns of ``runs``."""
    parts: list[dict[str, Any]]
    """Rows of ``breakdowns``."""


def figures(parts: Sequence[SymbolRows], currency: str, capital: int) -> Figures:
    """Everything ``runs`` and ``breakdowns`` say of one reading and currency.

    Parameters
    ----------
    parts
        One a symbol, at least one; symbols differ.
    capital
        What returns refer to, 1e-9.
    """
    books, curve = replay_ledger(parts, currency), equity_curve(parts)
    time = pl.concat([minutes(part) for part in parts])
    fees, unrealised = books.ledger.fees, sum(books.unrealised.values())
    gross = books.realised + unrealised
    directions = books.by_direction()
    run = {
        "net": gross - fees,
        "gross": gross,
        "fees": fees,
        "realised": books.realised,
        "unrealised": unrealised,
        **{f"net_{name}": own - paid for name, (own, paid) in directions.items()},
        "capital": capital,
        **_returns(parts, curve, capital),
        **time_figures(time_sums(time, ())[()]),
        **_size(parts, curve),
        **_orders(parts),
        **_fills(books),
        **trade_figures(books.ledger.trips),
    }
    return Figures(run, breakdown(books, time))


def _returns(parts: Sequence[SymbolRows], curve: Curve, capital: int) -> dict[str, Any]:
    profits = session_profits(parts)
    spells = drawdowns(curve)
    deepest = max(spells, key=lambda spell: spell.depth, default=None)
    longest = max(spells, key=lambda spell: spell.length, default=None)
    returns = [profit / capital for profit in profits.values()]
    known = None if not curve.ts else deepest.depth if deepest else 0
    return {
        "first_session": min(profits, default=None),
        "last_session": max(profits, default=None),
        "sessions": len(profits),
        "max_drawdown": known,
        "drawdown_peak": deepest.peak if deepest else None,
        "drawdown_trough": deepest.trough if deepest else None,
        "drawdown_recovery": deepest.recovery if deepest else None,
        **_length("drawdown", deepest),
        **_length("underwater", longest),
        "sharpe": sharpe(returns),
        "sortino": sortino(returns),
        "calmar": calmar(returns, None if known is None else known / capital),
    }


def _length(name: str, spell: Drawdown | None) -> dict[str, float | None]:
    return {
        f"{name}_s": spell.length / NS_PER_S if spell else None,
        f"{name}_sessions": spell.sessions if spell else None,
    }


def sharpe(returns: Sequence[float]) -> float | None:
    """Mean over standard deviation (n - 1) of session returns, times sqrt(252)."""
    if len(returns) < MIN_SESSIONS or len(set(returns)) == 1:
        return None
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((r - mean) ** 2 for r in returns) / (len(returns) - 1)
    return ratio(mean * math.sqrt(SESSIONS_A_YEAR), math.sqrt(variance))


def sortino(returns: Sequence[float]) -> float | None:
    """Mean over downside deviation (below 0, over all sessions), times sqrt(252)."""
    if len(returns) < MIN_SESSIONS:
        return None
    mean = math.fsum(returns) / len(returns)
    downside = math.fsum(min(r, 0.0) ** 2 for r in returns) / len(returns)
    return ratio(mean * math.sqrt(SESSIONS_A_YEAR), math.sqrt(downside))


def calmar(returns: Sequence[float], drawdown: float | None) -> float | None:
    """252 mean session returns over the largest drawdown, as a share of the same capital."""
    if len(returns) < MIN_SESSIONS or drawdown is None:
        return None
    return ratio(math.fsum(returns) / len(returns) * SESSIONS_A_YEAR, drawdown)


def _size(parts: Sequence[SymbolRows], curve: Curve) -> dict[str, Any]:
    """How large positions were."""
    clock = [own for own, known in zip(curve.notional, curve.clock, strict=True) if known]
    return {
        "max_position": max(
            abs(p) for part in parts for p in [0, *part.fills["position"].to_pylist()]
        ),
        "mean_notional": ratio(sum(clock) / 10**9, len(clock)),
        "max_notional": max(curve.notional, default=None),
    }


def _orders(parts: Sequence[SymbolRows]) -> Mapping[str, Any]:
    """Of all types alike: an order rested if it ever joined a queue."""
    names = ["status", "size", "filled", "ahead_at_entry"]
    frame = pl.from_arrow(pa.concat_tables([part.orders.select(names) for part in parts]))
    assert isinstance(frame, pl.DataFrame)
    rested = frame.filter(pl.col("ahead_at_entry").is_not_null()).cast(
        {"size": pl.Int64, "filled": pl.Int64}
    )
    return {
        "orders": len(frame),
        "rejected": int((frame["status"] == "rejected").sum()),
        "fill_ratio": ratio(int(rested["filled"].sum()), int(rested["size"].sum())),
        "ahead_at_entry": ratio(int(rested["ahead_at_entry"].sum()), len(rested)),
    }


def _fills(books: Books) -> Mapping[str, Any]:
    """Of all fills, and markouts of makers and takers apart."""
    every = grouped(books.fills, ())[()]
    roles = grouped(books.fills, ["role"])
    by_role = {
        f"{role}_{name}": roles[role,][name] if (role,) in roles else None
        for role in ("maker", "taker")
        for name in MARKOUT_HORIZONS
    }
    return {**every, **by_role}
