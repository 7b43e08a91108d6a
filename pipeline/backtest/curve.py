"""Equity over time: the curve of a currency, its drawdowns, and what each minute held and earned.

A mark is a row of ``equity``.  Money is integer, 1e-9; times are ns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.backtest.accounts import Contract
from pipeline.backtest.ledger import from_decimal
from pipeline.backtest.money import money_units
from pipeline.backtest.options import MARK_STEP
from pipeline.book.layout import I64

PLACES: Final = ("symbol", "zone", "session", "hour")
"""What a minute belongs to."""


@dataclass(frozen=True)
class SymbolRows:
    """The rows of one symbol and reading, in the order of time."""

    contract: Contract
    orders: pa.Table
    fills: pa.Table
    equity: pa.Table
    zone: str = "UTC"
    """Time zone of the exchange: hours of the day are its own."""


@dataclass(frozen=True)
class Curve:
    """All symbols of a currency together, at every mark of any; a symbol keeps its last one."""

    ts: list[int]
    equity: list[int]
    notional: list[int]
    """Sum of the absolute values of the positions."""
    sessions: list[date]
    """The session each mark belongs to."""
    clock: list[bool]
    """True where a mark is of the clock, False where a session or all trading ends."""


@dataclass(frozen=True)
class Drawdown:
    """A spell below the last peak.  Before the first mark equity is 0, and that is a peak."""

    depth: int
    """Peak minus trough."""
    peak: int
    """Time of the last mark at the peak; the first mark where the start is the peak."""
    trough: int
    recovery: int | None
    """Time of the first mark at the peak's equity again; None where there is none."""
    end: int
    """The recovery, or the last mark."""
    sessions: int
    """Sessions with a mark after the peak, up to the end."""

    @property
    def length(self) -> int:
        """From the peak to the end, ns."""
        return self.end - self.peak


def equity_curve(parts: Sequence[SymbolRows]) -> Curve:
    """Sum of the symbols at every mark of any."""
    marks: list[tuple[int, int, int, int, date, bool]] = []
    for number, part in enumerate(parts):
        rows = part.equity
        marks += zip(
            _times(rows).tolist(),
            [number] * len(rows),
            money_units(rows["equity"]),
            money_units(rows["value"]),
            rows["session"].to_pylist(),
            [kind == "clock" for kind in rows["kind"].to_pylist()],
            strict=True,
        )
    marks.sort(key=lambda mark: mark[:2])
    curve = Curve([], [], [], [], [])
    last = [(0, 0)] * len(parts)
    equity = notional = 0
    for ts, number, own, value, session, clock in marks:
        before = last[number]
        last[number] = own, abs(value)
        equity += own - before[0]
        notional += abs(value) - before[1]
        if curve.ts and curve.ts[-1] == ts:
            curve.equity[-1], curve.notional[-1] = equity, notional
            curve.sessions[-1] = max(curve.sessions[-1], session)
            curve.clock[-1] |= clock
        else:
            curve.ts.append(ts)
            curve.equity.append(equity)
            curve.notional.append(notional)
            curve.sessions.append(session)
            curve.clock.append(clock)
    return curve


def session_profits(parts: Sequence[SymbolRows]) -> dict[date, int]:
    """Net profit by session, in order: equity at its last mark minus that at the one before."""
    profits: dict[date, int] = {}
    for part in parts:
        sessions, equity = part.equity["session"].to_pylist(), money_units(part.equity["equity"])
        last = dict(zip(sessions, equity, strict=True))
        before = 0
        for session, value in last.items():
            profits[session] = profits.get(session, 0) + value - before
            before = value
    return dict(sorted(profits.items()))


def drawdowns(curve: Curve) -> list[Drawdown]:
    """Every spell below a peak, in order."""
    found: list[Drawdown] = []
    top, peak, trough = 0, -1, -1  # -1: before the first mark; no spell

    def spell(end: int, recovered: bool) -> Drawdown:
        ts = curve.ts
        return Drawdown(
            top - curve.equity[trough],
            ts[max(peak, 0)],
            ts[trough],
            ts[end] if recovered else None,
            ts[end],
            len(set(curve.sessions[peak + 1 : end + 1])),
        )

    for i, value in enumerate(curve.equity):
        if value >= top:
            if trough >= 0:
                found.append(spell(i, recovered=True))
            top, peak, trough = value, i, -1
        elif trough < 0 or value < curve.equity[trough]:
            trough = i
    if trough >= 0:
        found.append(spell(len(curve.ts) - 1, recovered=False))
    return found


def minutes(part: SymbolRows) -> pl.DataFrame:
    """A row a mark: what passed between the mark before and it.

    Columns
    -------
    symbol, zone, session, hour
        ``hour`` is 0 to 23 on the exchange's clock; a mark at the full hour ends the hour before.
    ns
        Time that passed, within the session; its first minute counts whole.
    long_ns, short_ns
        Of it with such a position, from the fills.
    long_contract_ns, short_contract_ns
        The absolute position, summed over time.
    net, fees
        Change of equity and of fees paid, Decimal(38, 9); time between sessions is counted here.
    """
    rows = part.equity.select(["session", "ts", "equity", "fees"])
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    ts = _times(part.equity)
    frame = frame.with_columns(
        pl.lit(part.contract.symbol).alias("symbol"),
        pl.lit(part.zone).alias("zone"),
        hour_of(pl.col("ts").cast(pl.Int64) - 1, part.zone).alias("hour"),
        pl.when(pl.col("session") == pl.col("session").shift(1))
        .then(pl.col("ts").shift(1).cast(pl.Int64))
        .otherwise((pl.col("ts").cast(pl.Int64) - 1) // MARK_STEP * MARK_STEP)
        .alias("since"),
        *((pl.col(name) - pl.col(name).shift(1)).fill_null(pl.col(name)).alias(new)
          for name, new in (("equity", "net"), ("fees", "fees"))),
    )  # fmt: skip
    since = frame["since"].to_numpy()
    position = part.fills["position"].to_numpy().astype(np.int64)
    changed = _times(part.fills)
    columns = {"ns": ts - since}
    for name, level in (("long", np.maximum(position, 0)), ("short", np.maximum(-position, 0))):
        held = (level > 0).astype(np.int64)
        columns[f"{name}_ns"] = _summed(changed, held, ts) - _summed(changed, held, since)
        columns[f"{name}_contract_ns"] = _summed(changed, level, ts) - _summed(
            changed, level, since
        )
    return frame.select(
        *PLACES, "net", "fees",
        *(pl.Series(name, values) for name, values in columns.items()),
    )  # fmt: skip


def time_sums(frame: pl.DataFrame, keys: Sequence[str]) -> dict[tuple[Any, ...], dict[str, int]]:
    """The columns of :func:`minutes` summed by group, without keys of all under ``()``."""
    money = pl.col("net", "fees").sum()
    times = pl.all().exclude(*PLACES, "net", "fees").cast(pl.Int128).sum()
    exact = [money, times]
    rows = frame.group_by(keys).agg(exact) if keys else frame.select(exact)
    found = {}
    for row in rows.to_dicts():
        key = tuple(row.pop(name) for name in keys)
        found[key] = {
            name: from_decimal(value) if name in ("net", "fees") else int(value)
            for name, value in row.items()
        }
    return found


def hour_of(ns: pl.Expr, zone: str) -> pl.Expr:
    """Hour of the day, 0 to 23, on the clock of a time zone."""
    return ns.cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone).dt.hour()


def _times(rows: pa.Table) -> I64:
    times: I64 = rows["ts"].cast(pa.int64()).to_numpy()
    return times


def _summed(changed: I64, level: I64, at: I64) -> I64:
    """Integral over time, up to each of the times, of a level that changes at given times.

    Modulo 2^64: differences are exact where they fit, however long the whole is.
    """
    if not len(changed):
        return np.zeros(len(at), np.int64)
    whole = np.concatenate([[0], np.cumsum(level[:-1] * np.diff(changed))])
    i = np.searchsorted(changed, at, side="right") - 1
    found: I64 = np.where(i >= 0, whole[i] + level[i] * (at - changed[i]), 0)
    return found
