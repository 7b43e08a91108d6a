"""Prices and fair value (catalogue group P).  Prices are in ticks; null unless the touch is ok."""

from __future__ import annotations

import polars as pl

from features.columns import add, if_ok, mid_ticks, px, ratio, size, ticks
from features.registry import Numbers, feature

LEVELS = Numbers((3, 5, 10), 1, 50)


@feature(
    "mid",
    catalogue="P01",
    unit="ticks",
    source="convention",
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def mid() -> pl.Expr:
    """Mid price: (b_0 + a_0) / 2."""
    return mid_ticks()


@feature("spread", catalogue="P02", unit="ticks", source="convention", range=(0, None))
def spread() -> pl.Expr:
    """Quoted spread: a_0 - b_0.  One tick most of the time on large-tick futures."""
    return if_ok(ticks("ask") - ticks("bid"))


@feature(
    "spread_bps",
    catalogue="P02",
    unit="bps",
    source="convention",
    range=(0, None),
    shift="other",
)
def spread_bps() -> pl.Expr:
    """Quoted spread in basis points of the mid: 1e4 (a_0 - b_0) / |m|; null where m is 0.

    The absolute value keeps it positive on spreads, whose prices may be negative.
    """
    gap = px("ask") - px("bid")
    return if_ok(ratio(20_000.0 * gap, (px("ask") + px("bid")).abs()))


@feature(
    "spread_is_1tick",
    catalogue="P02",
    unit="0 or 1",
    source="convention",
    range=(0, 1),
    dtype=pl.Int8,
)
def spread_is_1tick() -> pl.Expr:
    """1 while the spread is one tick: what is left to know on large-tick instruments."""
    return if_ok(px("ask") - px("bid") == pl.col("tick"))


@feature(
    "wmid",
    catalogue="P03",
    unit="ticks",
    source="Gatheral and Oomen 2010",
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def wmid() -> pl.Expr:
    """Weighted mid: (b_0 A_0 + a_0 B_0) / (A_0 + B_0); null where both sizes are 0."""
    bid, ask = size("bid"), size("ask")
    return if_ok(ratio(ticks("bid") * ask + ticks("ask") * bid, ask + bid))


@feature(
    "vamp_{levels}",
    catalogue="P06",
    unit="ticks",
    source="practitioners",
    params={"levels": LEVELS},
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def vamp(levels: int) -> pl.Expr:
    """Cross-weighted depth price: sum(b_i A_i + a_i B_i) / sum(A_i + B_i) over the best levels.

    A level counts where both sides have it.
    """
    top, bottom = [], []
    for i in range(levels):
        both = px("bid", i).is_not_null() & px("ask", i).is_not_null()
        cross = ticks("bid", i) * size("ask", i) + ticks("ask", i) * size("bid", i)
        top.append(pl.when(both).then(cross).otherwise(0.0))
        bottom.append(pl.when(both).then(size("bid", i) + size("ask", i)).otherwise(0))
    return if_ok(ratio(add(top), add(bottom)))


@feature(
    "vwap_mid_{levels}",
    catalogue="P06",
    unit="ticks",
    source="practitioners",
    params={"levels": LEVELS},
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def vwap_mid(levels: int) -> pl.Expr:
    """Own-weighted depth price: half of sum(b_i B_i)/sum(B_i) + sum(a_i A_i)/sum(A_i)."""
    sides = []
    for side in ("bid", "ask"):
        value = (ticks(side, i).fill_null(0.0) * size(side, i) for i in range(levels))
        sides.append(ratio(add(value), add(size(side, i) for i in range(levels))))
    return if_ok((sides[0] + sides[1]) / 2)
