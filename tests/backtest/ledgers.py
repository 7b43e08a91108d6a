"""Runs drawn at random for the metrics, and what plain loops over seconds and contracts say.

Times are whole seconds, every contract is a lot of its own, and nothing is done cleverly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import strategies as hyp

from pipeline.backtest.accounts import Contract
from pipeline.backtest.curve import SymbolRows
from pipeline.backtest.tables import EQUITY, FILLS, MARKOUT_HORIZONS, ORDERS
from pipeline.tables import Table

ONE = 10**9
TICK = 250_000_000
ZONE = "America/Chicago"
DAYS = (date(2025, 3, 6), date(2025, 3, 7), date(2025, 3, 10))
"""The clocks go forward between the second and the third."""
OPENS = (16, 57)
"""Local time: sessions run over the full hour."""


@dataclass(frozen=True)
class Fill:
    second: int
    """Since the epoch."""
    session: date
    size: int
    """Signed."""
    price: int
    role: str = "maker"
    ahead: int | None = None
    fee: int = 0
    markouts: tuple[int | None, ...] = (None,) * 4


@dataclass(frozen=True)
class Mark:
    second: int
    session: date
    mid_2x: int
    kind: str = "clock"


@dataclass(frozen=True)
class Order:
    size: int
    filled: int = 0
    ahead: int | None = None
    status: str = "cancelled"


@dataclass
class Drawn:
    """A symbol's part of a run."""

    symbol: str = "X"
    multiplier: int = 50
    fills: list[Fill] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    zone: str = ZONE

    # --- plain answers ------------------------------------------------------------------------

    def position(self, second: float) -> int:
        return sum(f.size for f in self.fills if f.second <= second)

    def fees(self, second: float) -> int:
        return sum(f.fee for f in self.fills if f.second <= second)

    def cash(self, second: float) -> int:
        paid = (f.size * f.price * self.multiplier for f in self.fills if f.second <= second)
        return -sum(paid)

    def value(self, mark: Mark) -> int:
        worth = Fraction(self.position(mark.second) * mark.mid_2x * self.multiplier, 2)
        return int(worth)  # mids are even

    def equity(self, mark: Mark) -> int:
        return self.cash(mark.second) + self.value(mark) - self.fees(mark.second)

    def realised(self) -> int:
        """First in, first out, contract by contract."""
        return sum(trip["gross"] for trip in self.trips())

    def trips(self) -> list[dict[str, Any]]:
        """Round trips, the last one perhaps unfinished (``closed`` None)."""
        trips: list[dict[str, Any]] = []
        lots: list[int] = []
        for fill in self.fills:
            side = 1 if fill.size > 0 else -1
            for _ in range(abs(fill.size)):
                if not lots:
                    trips.append({"opened": fill.second, "side": side, "gross": 0, "fees": 0})
                    trips[-1]["closed"] = None
                trip = trips[-1]
                trip["fees"] += fill.fee // abs(fill.size)
                if trip["side"] == side:
                    lots.append(fill.price)
                    continue
                trip["gross"] += (fill.price - lots.pop(0)) * trip["side"] * self.multiplier
                if not lots:
                    trip["closed"], trip["session"] = fill.second, fill.session
                    trip["hour"] = hour(fill.second)
        return trips

    def spans(self) -> list[tuple[int, int, Mark]]:
        """From mark to mark within a session: seconds, and the mark at the end."""
        found, last = [], None
        for mark in self.marks:
            if last and last.session == mark.session:
                found.append((last.second, mark.second, mark))
            else:  # it opened on the minute
                found.append((opening(mark.session), mark.second, mark))
            last = mark
        return found

    # --- rows ---------------------------------------------------------------------------------

    def rows(self) -> SymbolRows:
        open_lots = self.cash(1e12) - self.realised()  # minus what they cost
        fills = [
            {
                "session": f.session,
                "ts": f.second * ONE,
                "side": "B" if f.size > 0 else "A",
                "price": f.price,
                "size": abs(f.size),
                "role": f.role,
                "ahead": f.ahead,
                "position": sum(g.size for g in self.fills[: i + 1]),
                "fee": money(f.fee),
                **dict(zip(MARKOUT_HORIZONS, f.markouts, strict=True)),
            }
            for i, f in enumerate(self.fills)
        ]
        equity = [
            {
                "session": m.session,
                "ts": m.second * ONE,
                "kind": m.kind,
                "value": money(self.value(m)),
                "fees": money(self.fees(m.second)),
                "equity": money(self.equity(m)),
                # Of the last mark alone, which is what the figures read.
                "unrealised": money(self.value(m) + open_lots),
            }
            for m in self.marks
        ]
        orders = [
            {"status": o.status, "size": o.size, "filled": o.filled, "ahead_at_entry": o.ahead}
            for o in self.orders
        ]
        contract = Contract(self.symbol, self.symbol, Fraction(self.multiplier), TICK, "USD")
        tables = (some(ORDERS, orders), some(FILLS, fills), some(EQUITY, equity))
        return SymbolRows(contract, *tables, self.zone)


def money(units: int) -> Decimal:
    return Decimal(units).scaleb(-9)


def hour(second: float) -> int:
    return datetime.fromtimestamp(second, ZoneInfo(ZONE)).hour


def some(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with the columns they have; no rows: all columns."""
    names = rows[0] if rows else [c.name for c in table.columns]
    schema = pa.schema([f for f in table.schema() if f.name in names])
    return pa.Table.from_pylist(rows, schema=schema)


def opening(day: date) -> int:
    local = datetime(day.year, day.month, day.day, *OPENS, tzinfo=ZoneInfo(ZONE))
    return int(local.timestamp())


@hyp.composite
def symbols(draw: Callable[..., Any], name: str = "X") -> Drawn:
    """A symbol over some of three sessions of a few minutes."""
    drawn = Drawn(name, draw(hyp.sampled_from([1, 5, 50])))
    ticks = hyp.integers(-40, 40)
    per_contract = draw(hyp.sampled_from([0, 620_000_000, 1_250_000_001]))
    roles = hyp.sampled_from(["maker", "maker", "taker", "auction"])
    markout = hyp.none() | ticks.map(lambda n: n * TICK // 2)
    for day in DAYS:
        length = draw(hyp.integers(0, 6))
        if length == 0:
            continue
        start = opening(day)
        times = sorted(draw(hyp.lists(hyp.integers(0, length * 60 - 1), max_size=6)))
        for second in times:
            size = draw(hyp.integers(-4, 4).filter(bool))
            fill = Fill(
                start + second,
                day,
                size,
                (400 + draw(ticks)) * TICK,
                draw(roles),
                draw(hyp.none() | hyp.integers(0, 30)),
                per_contract * abs(size),
                tuple(draw(hyp.tuples(markout, markout, markout, markout))),
            )
            drawn.fills.append(fill)
        for minute in range(1, length + 1):
            kind = "session_end" if minute == length else "clock"
            mid = 2 * (400 + draw(ticks)) * TICK
            drawn.marks.append(Mark(start + 60 * minute, day, mid, kind))
        killed = draw(hyp.none() | hyp.integers(0, length * 60 - 1).filter(lambda n: n % 60))
        if killed is not None:
            mid = 2 * (400 + draw(ticks)) * TICK
            drawn.marks.append(Mark(start + killed, day, mid, "kill_switch"))
            drawn.marks.sort(key=lambda mark: mark.second)
    sizes = hyp.integers(1, 5)
    for _ in range(draw(hyp.integers(0, 4))):
        size = draw(sizes)
        status = draw(hyp.sampled_from(["filled", "cancelled", "rejected", "expired"]))
        ahead = draw(hyp.none() | hyp.integers(0, 30))
        drawn.orders.append(Order(size, draw(hyp.integers(0, size)), ahead, status))
    return drawn


@hyp.composite
def runs(draw: Callable[..., Any]) -> list[Drawn]:
    """One symbol, or two of different multipliers."""
    names = ["X", "Y"][: draw(hyp.integers(1, 2))]
    return [draw(symbols(name)) for name in names]
