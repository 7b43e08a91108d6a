"""Figures of fills: markouts, adverse selection, queues; of all, or of groups.

Sums are of integers, so that no order of summing can change a digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import polars as pl

from pipeline.backtest.curve import SymbolRows, hour_of
from pipeline.backtest.ledger import from_decimal
from pipeline.backtest.money import money_column
from pipeline.backtest.tables import ADVERSE_HORIZONS, MARKOUT_HORIZONS

_STORED: Final = ("session", "ts", "side", "size", "role", "ahead", "fee", *MARKOUT_HORIZONS)


def ratio(top: float, bottom: float) -> float | None:
    """Top over bottom; None where the bottom is 0."""
    return top / bottom if bottom else None


def fill_frame(part: SymbolRows, amounts: Sequence[int]) -> pl.DataFrame:
    """The fills of a symbol with what figures need.

    ``amounts``: of each fill, price x size x multiplier, absolute, 1e-9.
    """
    rows = part.fills.select(_STORED).append_column("turnover", money_column(amounts))
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(
        pl.lit(part.contract.symbol).alias("symbol"),
        pl.lit(part.contract.tick).alias("tick"),
        pl.lit(part.zone).alias("zone"),
        hour_of(pl.col("ts").cast(pl.Int64), part.zone).alias("hour"),
        pl.col("size").cast(pl.Int64),
    )


def _sums() -> Iterator[pl.Expr]:
    size, role = pl.col("size"), pl.col("role")
    resting, maker = role != "taker", role == "maker"
    yield pl.len().alias("fills")
    yield size.sum().alias("contracts")
    yield size.filter(resting).sum().alias("resting")
    yield pl.col("fee").sum().alias("fees")
    yield pl.col("turnover").sum()
    queued = resting & pl.col("ahead").is_not_null()
    yield _product("ahead").filter(queued).sum().alias("ahead")
    yield size.filter(queued).sum().alias("queued")
    for name in MARKOUT_HORIZONS:
        known = pl.col(name).is_not_null()
        yield _product(name).sum().alias(name)
        yield size.filter(known).sum().alias(f"{name}_known")
        yield size.filter(maker & (pl.col(name) < 0)).sum().alias(f"{name}_adverse")
        yield size.filter(maker & known).sum().alias(f"{name}_made")


def _product(name: str) -> pl.Expr:
    # In 128 bits: prices in 1e-9 times many contracts exceed 64.
    return pl.col(name).cast(pl.Int128) * pl.col("size").cast(pl.Int128)


def grouped(frame: pl.DataFrame, keys: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Figures of the fills of each group; without keys, of all of them under ``()``.

    Names and units are those of the columns of ``breakdowns``; money is in 1e-9.
    """
    sums = frame.group_by({*keys, "symbol", "tick"}).agg(*_sums()).sort("symbol")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {} if keys else {(): []}
    for row in sums.to_dicts():
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return {key: _figures(rows) for key, rows in groups.items()}


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the sums of each symbol; ticks differ between them."""

    def total(name: str) -> int:
        return sum(int(row[name]) for row in rows)

    contracts = total("contracts")
    return {
        "fills": total("fills"),
        "contracts": contracts,
        "fees": sum(from_decimal(row["fees"]) for row in rows),
        "turnover": sum(from_decimal(row["turnover"]) for row in rows),
        "maker_share": ratio(total("resting"), contracts),
        "ahead_at_fill": ratio(total("ahead"), total("queued")),
        **{
            name: ratio(sum(int(row[name]) / row["tick"] for row in rows), total(f"{name}_known"))
            for name in MARKOUT_HORIZONS
        },
        **{
            name: ratio(total(f"{markout}_adverse"), total(f"{markout}_made"))
            for name, markout in ADVERSE_HORIZONS.items()
        },
    }
