"""Prices and fair value (catalogue group P).  Prices are in ticks; null unless the touch is ok."""

from __future__ import annotations

import math

import polars as pl

from features.book_shape import depth_upto
from features.columns import (
    TICK,
    add,
    depth,
    if_ok,
    if_ok_flow,
    imbalance,
    mid_ticks,
    px,
    ratio,
    size,
    ticks,
)
from features.grids import SIDES
from features.registry import Choice, Numbers, feature
from features.windows import last, shared

LEVELS = Numbers((3, 5, 10), 1, 50)
SWEEPS = Numbers((10, 50, 200), 1, 1_000_000)
SWEPT = {"buy": "ask", "sell": "bid"}
"""Which side's book an aggressor walks."""


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
    "wmid_disp",
    catalogue="P04",
    unit="half spreads",
    source="algebra",
    tier=2,
    range=(-1, 1),
    mirror="odd",
)
def wmid_disp() -> pl.Expr:
    """Weighted mid's place in the spread: (wmid - m) / (s / 2).  Equals the queue imbalance."""
    half_spread = (ticks("ask") - ticks("bid")) / 2
    return (wmid() - mid_ticks()) / half_spread


def _vamp(levels: int) -> pl.Expr:
    top, bottom = [], []
    for i in range(levels):
        both = px("bid", i).is_not_null() & px("ask", i).is_not_null()
        cross = ticks("bid", i) * size("ask", i) + ticks("ask", i) * size("bid", i)
        top.append(pl.when(both).then(cross).otherwise(0.0))
        bottom.append(pl.when(both).then(size("bid", i) + size("ask", i)).otherwise(0))
    return shared(if_ok(ratio(add(top), shared(add(bottom)))))


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
    return _vamp(levels)


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


def _sweep(aggressor: str, contracts: int) -> pl.Expr:
    """Average price of an order that walks the ten best levels; null where they do not fill it."""
    side = SWEPT[aggressor]
    cost = []
    for i in range(10):
        ahead = depth_upto(side, i) if i else pl.lit(0)
        fill = (contracts - ahead).clip(0, size(side, i))
        cost.append((ticks(side, i) * fill).fill_null(0.0))
    filled = depth_upto(side, 10) >= contracts
    return shared(if_ok(pl.when(filled).then(add(cost) / contracts)))


@feature(
    "sweep_price_{aggressor}_{contracts}",
    catalogue="P07",
    unit="ticks",
    source="Irvine, Benston and Kandel 2000",
    tier=2,
    params={"aggressor": Choice(("buy", "sell")), "contracts": SWEEPS},
    dtype=pl.Float64,
    mirror="swap_odd",
    size_power=None,
    shift="level",
)
def sweep_price(aggressor: str, contracts: int) -> pl.Expr:
    """Average price of buying or selling Q contracts now: sum(px_i fill_i) / Q.

    fill_i = clip(Q - sum_{j<i} sz_j, 0, sz_i); null where ten levels hold fewer than Q.
    """
    return _sweep(aggressor, contracts)


@feature(
    "impact_mid_{contracts}",
    catalogue="P07",
    unit="ticks",
    source="Irvine, Benston and Kandel 2000",
    tier=2,
    params={"contracts": SWEEPS},
    dtype=pl.Float64,
    mirror="odd",
    size_power=None,
    shift="level",
)
def impact_mid(contracts: int) -> pl.Expr:
    """Middle of the two sweep prices of Q contracts: (buy + sell) / 2; null where one is."""
    return (_sweep("buy", contracts) + _sweep("sell", contracts)) / 2


@feature(
    "thin_{contracts}",
    catalogue="P07",
    unit="0 or 1",
    source="catalogue",
    tier=2,
    params={"contracts": SWEEPS},
    range=(0, 1),
    dtype=pl.Int8,
    size_power=None,
)
def thin(contracts: int) -> pl.Expr:
    """1 while ten levels of either side hold fewer than Q contracts: sweep prices are null."""
    return if_ok_flow((depth("bid", 10) < contracts) | (depth("ask", 10) < contracts))


@feature(
    "race_probability",
    catalogue="P08",
    unit="probability",
    source="Cont and de Larrard 2013",
    range=(0, 1),
    mirror="complement",
)
def race_probability() -> pl.Expr:
    """Probability that the ask's queue empties first: (2 / pi) atan(B_0 / A_0).

    Both queues are independent random walks.
    """
    up = pl.arctan2(size("bid").cast(pl.Float64), size("ask").cast(pl.Float64)) * (2 / math.pi)
    return if_ok(pl.when(size("bid") + size("ask") > 0).then(up))


@feature(
    "race_probability_{sign}{percent}",
    catalogue="P08",
    unit="probability",
    source="Cont and de Larrard 2013",
    params={"sign": Choice(("neg", "pos")), "percent": Numbers((30, 70), 1, 99)},
    range=(0, 1),
    mirror="complement",
)
def race_probability_correlated(sign: str, percent: int) -> pl.Expr:
    """The same for queues whose changes correlate: 1/2 + atan(c QI) / (2 atan c).

    c = sqrt((1 + rho) / (1 - rho)); ``neg30`` stands for rho = -0.30.
    """
    rho = percent / 100 * (-1 if sign == "neg" else 1)
    c = math.sqrt((1 + rho) / (1 - rho))
    tilt = (c * imbalance(size("bid"), size("ask"))).arctan() / (2 * math.atan(c))
    return if_ok(0.5 + tilt)


@feature(
    "fair_gap_{levels}",
    catalogue="P09",
    unit="ticks",
    source="catalogue",
    tier=2,
    params={"levels": LEVELS},
    mirror="odd",
)
def fair_gap(levels: int) -> pl.Expr:
    """Cross-weighted depth price less the last trade's; null before the segment's first trade."""
    return _vamp(levels) - last(pl.col("trade_px")) / TICK


@feature(
    "gap_{side}_{level}",
    catalogue="P10",
    unit="ticks",
    source="Farmer, Gillemot, Lillo, Mike and Sen 2004",
    tier=2,
    params={"side": SIDES, "level": Numbers((1,), 1, 49)},
    range=(0, None),
    mirror="swap",
)
def gap(side: str, level: int) -> pl.Expr:
    """Gap between a level and the one before it: b_(i-1) - b_i, a_i - a_(i-1).

    Null where the level is missing.  Large moves come from large gaps.
    """
    return if_ok((ticks(side, level) - ticks(side, level - 1)).abs())


@feature(
    "book_span",
    catalogue="P10",
    unit="ticks",
    source="Farmer, Gillemot, Lillo, Mike and Sen 2004",
    tier=2,
    range=(0, None),
)
def book_span() -> pl.Expr:
    """Ticks that ten levels of both sides span: (a_9 - a_0) + (b_0 - b_9); null if one is short."""
    return if_ok((ticks("ask", 9) - ticks("ask")) + (ticks("bid") - ticks("bid", 9)))
