"""Curves of a run: equity, drawdown, position and price, thinned for drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.backtest.accounts import Contract
from pipeline.backtest.curve import SymbolRows, equity_curve
from pipeline.backtest.options import MARK_STEP
from pipeline.backtest.summarise import contract_of
from pipeline.report.thinning import Axis, curve_json
from pipeline.stage import Selection, Stored
from pipeline.units import PRICE_SCALE

if TYPE_CHECKING:
    from pipeline.lake import Run

POINTS: Final = 4000
"""Buckets of all equity curves of a page together; a curve has 100 to 800.
Prices have a budget of their own, twice as fine."""
MOST_SYMBOLS: Final = 12
"""Symbols of a run whose position and price are drawn: those with the most fills."""


@dataclass(frozen=True)
class Symbol:
    """A symbol of a run: its contract, and where its rows are."""

    dataset: str
    name: str
    contract: Contract
    equity: Stored
    fills: Stored

    @property
    def key(self) -> pl.Expr:
        """Its rows among those of a run."""
        return (pl.col("dataset") == self.dataset) & (pl.col("symbol") == self.name)


@dataclass(frozen=True)
class Drawn:
    """A run to draw, and the part of it that is selected."""

    run: Run
    selection: Selection = field(default_factory=Selection)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of ``runs``: one a reading and currency."""
        return self.run.readings.to_dicts()

    @cached_property
    def readings(self) -> list[str]:
        return list(dict.fromkeys(row["reading"] for row in self.rows))

    @property
    def primary(self) -> str:
        """The reading shown where one has to be chosen."""
        return "exact" if "exact" in self.readings else self.readings[0]

    @cached_property
    def symbols(self) -> list[Symbol]:
        """All symbols, those with most fills first."""
        catalog = self.run.lake.catalog
        found = []
        for fills in self.run.lake.partitions("fills", run_id=self.run.run_id):
            keys = fills.partition
            equity = catalog.get("equity", keys)
            assert equity is not None  # one task writes both
            contract = contract_of(keys["symbol"], fills.notes)
            found.append(Symbol(keys["dataset"], keys["symbol"], contract, equity, fills))
        return sorted(found, key=lambda symbol: (-symbol.fills.rows, symbol.dataset, symbol.name))

    @cached_property
    def shown(self) -> list[Symbol]:
        """Symbols whose position, price and fills are drawn."""
        instruments = Selection(self.selection.dataset, self.selection.symbols)
        return [s for s in self.symbols if instruments.admits(s.fills.partition)][:MOST_SYMBOLS]

    def admits(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Rows of the sessions and symbols that are shown."""
        chosen = pl.any_horizontal(pl.lit(value=False), *(symbol.key for symbol in self.shown))
        start, end = self.selection.start, self.selection.end
        if start:
            chosen &= pl.col("session") >= start
        if end:
            chosen &= pl.col("session") <= end
        return frame.filter(chosen)


def axis_of(runs: Sequence[Drawn]) -> Axis:
    """Trading time of all runs together, from their marks."""
    spans: dict[date, tuple[int, int]] = {}
    for drawn in runs:
        marks = drawn.run.equity.group_by("session").agg(
            pl.col("ts").min().cast(pl.Int64).alias("first"),
            pl.col("ts").max().cast(pl.Int64).alias("last"),
        )
        for day, first, last in marks.collect().iter_rows():
            start, end = spans.get(day, (first - MARK_STEP, last))
            spans[day] = min(start, first - MARK_STEP), max(end, last)
    return Axis.of(spans)


def equity_curves(drawn: Drawn, axis: Axis, buckets: int) -> list[dict[str, Any]]:
    """Equity and drawdown of each reading and currency."""
    found = []
    for row in drawn.rows:
        reading, currency = row["reading"], row["currency"]
        parts = [
            _marks(symbol, reading)
            for symbol in drawn.symbols
            if symbol.contract.currency == currency
        ]
        curve = equity_curve(parts)
        ts, equity = np.array(curve.ts, np.int64), np.array(curve.equity, float) / PRICE_SCALE
        peak = np.maximum.accumulate(np.maximum(equity, 0.0)) if len(equity) else equity
        found.append(
            {
                "reading": reading,
                "currency": currency,
                "equity": curve_json(ts, equity, axis, buckets),
                "drawdown": curve_json(ts, equity - peak, axis, buckets),
            }
        )
    return found


def _marks(symbol: Symbol, reading: str) -> SymbolRows:
    columns = ["session", "ts", "kind", "equity", "value"]
    rows = pa.concat_tables(
        pq.read_table(
            path, partitioning=None, columns=columns, filters=pc.field("reading") == reading
        )
        for path in symbol.equity.files
    )
    nothing = rows.slice(0, 0)
    return SymbolRows(contract=symbol.contract, orders=nothing, fills=nothing, equity=rows)


def positions(drawn: Drawn, axis: Axis, buckets: int) -> list[dict[str, Any]]:
    """Position after each fill, of each reading and symbol that is drawn."""
    found = []
    for reading, symbol in _each(drawn):
        rows = (
            drawn.run.fills.filter(symbol.key & (pl.col("reading") == reading))
            .select(pl.col("ts").cast(pl.Int64), "position")
            .collect()
        )
        ts = np.concatenate([axis.starts[:1], rows["ts"].to_numpy()])
        held = np.concatenate([np.zeros(len(axis.starts[:1])), rows["position"].to_numpy()])
        curve = curve_json(ts, held, axis, buckets)
        found.append({"reading": reading, "symbol": drawn.shown.index(symbol), **curve})
    return found


def prices(drawn: Drawn, axis: Axis, buckets: int) -> list[dict[str, Any]]:
    """The mid at each mark of each symbol that is drawn."""
    found = []
    for number, symbol in enumerate(drawn.shown):
        rows = (
            drawn.run.equity.filter(
                symbol.key & (pl.col("reading") == drawn.primary) & pl.col("mark_2x").is_not_null()
            )
            .select(pl.col("ts").cast(pl.Int64), pl.col("mark_2x") / (2 * PRICE_SCALE))
            .collect()
        )
        curve = curve_json(rows["ts"].to_numpy(), rows["mark_2x"].to_numpy(), axis, buckets)
        found.append({"symbol": number, **curve})
    return found


def buckets_for(curves: int, most: int = 800) -> int:
    """How finely each of so many curves is drawn; those one looks closely at have more."""
    return min(most, max(100, POINTS * most // 800 // max(1, curves)))


def _each(drawn: Drawn) -> Iterator[tuple[str, Symbol]]:
    return ((reading, symbol) for reading in drawn.readings for symbol in drawn.shown)


def symbols_json(drawn: Drawn) -> list[Mapping[str, Any]]:
    """What the page needs to know of the symbols that are drawn."""
    return [
        {
            "name": symbol.name,
            "tick": symbol.contract.tick / PRICE_SCALE,
            "currency": symbol.contract.currency,
        }
        for symbol in drawn.shown
    ]
