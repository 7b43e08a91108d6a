"""Round trips, from the ledger once more: what the figures of trades come from.

A round trip lasts from flat back to flat, or through it; it belongs to the session and hour of
the fill that closed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import polars as pl
import pyarrow as pa

from pipeline.backtest.curve import SymbolRows
from pipeline.backtest.fill_figures import fill_frame, ratio
from pipeline.backtest.ledger import Ledger, RoundTrip
from pipeline.backtest.money import money_units
from pipeline.units import NS_PER_S

DIRECTIONS: Final = {1: "long", -1: "short"}
"""Text of a round trip's side."""


@dataclass(frozen=True)
class Trade:
    """A round trip that is over, and what it belongs to."""

    trip: RoundTrip
    where: Mapping[str, Any]
    """``session``, ``hour``, ``zone``, ``symbol``, ``direction``."""


@dataclass(frozen=True)
class Books:
    """What the ledger of a reading and currency says."""

    ledger: Ledger
    trades: list[Trade]
    fills: pl.DataFrame
    """All fills, see :func:`pipeline.backtest.fill_figures.fill_frame`."""
    unrealised: dict[str, int]
    """By symbol: gross profit of what is open, at the last mark; 1e-9."""

    @property
    def realised(self) -> int:
        return self.ledger.realised

    def by_direction(self) -> dict[str, tuple[int, int]]:
        """Gross profit and fees of long and short positions, what is open included; 1e-9.

        They add up to the whole: every contract and its fee belong to one position.
        """
        gross, fees = dict.fromkeys(DIRECTIONS, 0), dict.fromkeys(DIRECTIONS, 0)
        for trip in self.ledger.trips:
            gross[trip.side] += trip.gross
            fees[trip.side] += trip.fees
        for trip in self.ledger.open_trips():
            gross[trip.side] += trip.gross + self.unrealised[trip.symbol]
            fees[trip.side] += trip.fees
        return {name: (gross[side], fees[side]) for side, name in DIRECTIONS.items()}


def replay_ledger(parts: Sequence[SymbolRows], currency: str) -> Books:
    """Book the fills as stored."""
    ledger = Ledger(currency)
    trades: list[Trade] = []
    frames: list[pl.DataFrame] = []
    unrealised: dict[str, int] = {}
    for part in parts:
        symbol = part.contract.symbol
        ledger.open(symbol, part.contract.multiplier)
        amounts: list[int] = []
        ended: list[tuple[int, RoundTrip]] = []
        for i, (ts, price, size, fee) in enumerate(_fills(part)):
            turnover, trips = ledger.turnover, len(ledger.trips)
            ledger.fill(symbol, ts=ts, price=price, size=size, fee=fee)
            amounts.append(ledger.turnover - turnover)
            ended += [(i, trip) for trip in ledger.trips[trips:]]
        frame = fill_frame(part, amounts)
        sessions, hours = frame["session"].to_list(), frame["hour"].to_list()
        for i, trip in ended:
            where = {
                "session": sessions[i],
                "hour": hours[i],
                "zone": part.zone,
                "symbol": symbol,
                "direction": DIRECTIONS[trip.side],
            }
            trades.append(Trade(trip, where))
        frames.append(frame)
        unrealised[symbol] = money_units(part.equity["unrealised"])[-1] if len(part.equity) else 0
    return Books(ledger, trades, pl.concat(frames), unrealised)


def _fills(part: SymbolRows) -> Iterator[tuple[int, int, int, int]]:
    """Time, price, signed size and fee of each fill."""
    rows = part.fills
    buys = [side == "B" for side in rows["side"].to_pylist()]
    sizes = rows["size"].to_pylist()
    return zip(
        rows["ts"].cast(pa.int64()).to_pylist(),
        rows["price"].to_pylist(),
        [size if buy else -size for buy, size in zip(buys, sizes, strict=True)],
        money_units(rows["fee"]),
        strict=True,
    )


def trade_figures(trips: Sequence[RoundTrip]) -> dict[str, Any]:
    """Columns of ``runs`` and ``breakdowns`` that round trips give."""
    nets = [trip.net for trip in trips]
    won, lost = [n for n in nets if n > 0], [n for n in nets if n < 0]
    held = [trip.closed - trip.opened for trip in trips]
    return {
        "trades": len(trips),
        "trades_long": sum(trip.side > 0 for trip in trips),
        "trades_short": sum(trip.side < 0 for trip in trips),
        "hit_rate": ratio(len(won), len(nets)),
        "profit_factor": ratio(sum(won), -sum(lost)),
        "average_trade": _mean_money(nets),
        "average_win": _mean_money(won),
        "average_loss": _mean_money(lost),
        "holding_s": ratio(sum(held) / NS_PER_S, len(held)),
        "holding_median_s": median(held) / NS_PER_S if held else None,
        "holding_max_s": max(held) / NS_PER_S if held else None,
    }


def _mean_money(amounts: Sequence[int]) -> float | None:
    return ratio(sum(amounts) / 10**9, len(amounts))
