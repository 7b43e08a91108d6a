"""A run taken apart: by session, hour of the exchange's day, symbol, direction, side and role.

Sessions, hours and symbols, and long with short, each add up to the run's profit.  Profit and time
come from the marks, trades from the round trips that closed, the rest from the fills.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from pipeline.backtest.curve import time_sums
from pipeline.backtest.fill_figures import grouped, ratio
from pipeline.backtest.ledger import RoundTrip
from pipeline.backtest.tables import ROLES
from pipeline.backtest.trades import DIRECTIONS, Books, trade_figures

Key = tuple[Any, ...]
Row = dict[str, Any]

_BY_TIME: Final = {"session": ("session",), "hour": ("zone", "hour"), "symbol": ("symbol",)}
"""Splits of time and instruments, and the columns that make them."""
_BY_FILL: Final = {"side": ("B", "A"), "role": ROLES}
"""Splits of the fills alone, and the order of their parts."""


def breakdown(books: Books, minutes: pl.DataFrame) -> list[Row]:
    """Rows of ``breakdowns`` of a reading and currency; money in 1e-9, by column name.

    Parameters
    ----------
    books
        Round trips and fills.
    minutes
        :func:`pipeline.backtest.curve.minutes` of all symbols, one after another.
    """
    rows: list[Row] = []
    for split, keys in _BY_TIME.items():
        figures = _by_time(books, minutes, keys)
        rows += _ranked(split, figures, _order(figures, minutes, split))
    directions = [(name,) for name in DIRECTIONS.values()]
    rows += _ranked("direction", _by_direction(books, minutes), directions)
    for split, parts in _BY_FILL.items():
        rows += _ranked(split, grouped(books.fills, [split]), [(part,) for part in parts])
    return rows


def _ranked(split: str, figures: Mapping[Key, Row], order: Sequence[Key]) -> Iterator[Row]:
    there = [key for key in order if key in figures]
    for rank, key in enumerate(there):
        zone = key[0] if split == "hour" else None
        part = f"{key[-1]:02d}" if split == "hour" else str(key[-1])
        yield {"split": split, "part": part, "zone": zone, "rank": rank, **figures[key]}


def _order(found: Iterable[Key], minutes: pl.DataFrame, split: str) -> list[Key]:
    """Parts in the order people expect: hours from the one in which the first session opened."""
    if split != "hour":
        return sorted(found)
    first = minutes.sort("session", maintain_order=True).group_by("zone").first()
    opens = dict(first.select(_BY_TIME["hour"]).rows())
    return sorted(found, key=lambda key: (key[0], (key[1] - opens[key[0]]) % 24))


def _by_time(books: Books, minutes: pl.DataFrame, keys: Sequence[str]) -> dict[Key, Row]:
    """What marks, fills and trades say of each part."""
    times, fills = time_sums(minutes, keys), grouped(books.fills, keys)
    no_time, no_fills = time_sums(minutes.clear(), ())[()], grouped(books.fills.clear(), ())[()]
    closed: dict[Key, list[RoundTrip]] = {}
    for trade in books.trades:
        closed.setdefault(tuple(trade.where[key] for key in keys), []).append(trade.trip)
    found: dict[Key, Row] = {}
    for key in {**times, **fills}:
        time = times.get(key, no_time)
        found[key] = {
            **fills.get(key, no_fills),
            **trade_figures(closed.get(key, [])),
            **time_figures(time),
            **_money(time["net"], time["fees"]),
        }
    return found


def _by_direction(books: Books, minutes: pl.DataFrame) -> dict[Key, Row]:
    time = time_sums(minutes, ())[()]
    found: dict[Key, Row] = {}
    for name, (gross, fees) in books.by_direction().items():
        trips = [trade.trip for trade in books.trades if trade.where["direction"] == name]
        found[name,] = {
            **trade_figures(trips),
            **time_figures(time, (name,)),
            **_money(gross - fees, fees),
        }
    return found


def time_figures(
    sums: Mapping[str, int], directions: Iterable[str] = tuple(DIRECTIONS.values())
) -> Row:
    """Share of time with a position, and the mean position."""
    return {
        "exposure": ratio(sum(sums[f"{name}_ns"] for name in directions), sums["ns"]),
        "mean_position": ratio(sum(sums[f"{name}_contract_ns"] for name in directions), sums["ns"]),
    }


def _money(net: int, fees: int) -> Row:
    return {"net": net, "gross": net + fees, "fees": fees}
