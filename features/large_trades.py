"""Large trades (catalogue T08): measured against the sizes of the sessions before.

An aggressive order is what one aggressor traded in one event, all prints together.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from features.columns import ratio
from features.combine import histogram_quantiles
from features.components import Component, Statistic, declare
from features.gatherers import Histogram
from features.grids import TIME_WINDOWS
from features.registry import Choice, feature
from features.windows import total

SHARES = ("95", "99")
SIDES = ("buy", "sell")


@cache
def size_quantiles() -> Component:
    """Sizes of aggressive orders that 95 % and 99 % of those of five sessions did not exceed."""
    sizes = tuple(pl.when(pl.col(f"{s}_sz") > 0).then(pl.col(f"{s}_sz")) for s in SIDES)
    statistic = Statistic("order_size_counts", sizes, Histogram)
    combine = histogram_quantiles(*(int(share) / 100 for share in SHARES))
    return declare(
        Component("order_size_quantiles", statistic, combine, sessions=5, min_sessions=3)
    )


def threshold(share: str) -> pl.Expr:
    """Contracts from which on an aggressive order counts as large."""
    return size_quantiles().at(pl.lit(SHARES.index(share)))


def _large(side: str, share: str) -> pl.Expr:
    """Volume of the event's aggressor if it is large, else 0; null without a threshold."""
    volume = pl.col(f"{side}_sz")
    return (
        pl.when(threshold(share).is_null())
        .then(None)
        .when((volume >= threshold(share)) & (volume > 0))
        .then(volume)
        .otherwise(0)
    )


@feature(
    "large_trade_size_q{share}",
    catalogue="T08",
    unit="contracts",
    source="catalogue",
    params={"share": Choice(SHARES)},
    range=(1, None),
    size_power=1,
    tags=("fitted",),
)
def large_trade_size(share: str) -> pl.Expr:
    """Size from which on an aggressive order is large: a quantile of the last five sessions."""
    return threshold(share)


@feature(
    "large_trade_q{share}",
    catalogue="T08",
    unit="-1, 0 or 1",
    source="catalogue",
    params={"share": Choice(SHARES)},
    dtype=pl.Int8,
    range=(-1, 1),
    mirror="odd",
    tags=("fitted",),
)
def large_trade(share: str) -> pl.Expr:
    """1 if the last event holds a large buy, -1 if a large sell, 0 if none or both."""
    return (_large("buy", share) > 0).cast(pl.Int8) - (_large("sell", share) > 0).cast(pl.Int8)


@feature(
    "large_share_q{share}_{window}",
    catalogue="T08",
    source="catalogue",
    params={"share": Choice(SHARES), "window": TIME_WINDOWS},
    range=(-1, 1),
    mirror="odd",
    tags=("fitted",),
)
def large_share(share: str, window: str) -> pl.Expr:
    """Signed large volume share: large buys less large sells over all volume of a window."""
    signed = total(_large("buy", share) - _large("sell", share), window)
    return pl.when(threshold(share).is_not_null()).then(
        ratio(signed, total(pl.col("trade_sz"), window))
    )
