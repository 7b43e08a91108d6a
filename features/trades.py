"""Trades and volume (catalogue group T).

A trade is a print (T record).  Row windows count events with prints, each the work of one
aggressor, so that one large order is one trade.  A print without an aggressor (auction, implied)
has sign 0 and counts as volume.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from features.columns import TICK, if_ok, imbalance, mid_ticks, ratio
from features.grids import ALL_WINDOWS, DECAY, TIME_AND_DECAY, TIME_WINDOWS
from features.registry import Choice, Windows, feature
from features.windows import last, rate, session_cum, session_first, total, window_sum

SIGNED = pl.col("buy_sz") - pl.col("sell_sz")
TRADED = pl.col("trade_ct") > 0


def at_trades(x: pl.Expr) -> pl.Expr:
    """``x`` at events with prints, null elsewhere: row windows then count trades."""
    return pl.when(TRADED).then(x)


@feature(
    "signed_volume_{window}",
    catalogue="T01",
    unit="contracts",
    source="Cont, Kukanov and Stoikov 2014, eq 13",
    params={"window": ALL_WINDOWS},
    dtype=pl.Float64,
    mirror="odd",
    size_power=1,
)
def signed_volume(window: str) -> pl.Expr:
    """Trade imbalance: buyers' volume less sellers' over a window."""
    return total(at_trades(SIGNED), window)


@feature(
    "trade_imbalance_{window}",
    catalogue="T01",
    source="Cont, Kukanov and Stoikov 2014, eq 13, normalised",
    params={"window": ALL_WINDOWS},
    range=(-1, 1),
    mirror="odd",
)
def trade_imbalance(window: str) -> pl.Expr:
    """Trade flow imbalance: sum of signed volume over sum of volume; null without trades."""
    volume = total(at_trades(pl.col("trade_sz")), window)
    return ratio(total(at_trades(SIGNED), window), volume)


@feature(
    "trade_count_{window}",
    catalogue="T05",
    unit="prints",
    source="Jones, Kaul and Lipson 1994",
    params={"window": TIME_WINDOWS},
    dtype=pl.Int64,
    range=(0, None),
)
def trade_count(window: str) -> pl.Expr:
    """Prints in a window: to be read beside every ratio of trades."""
    return window_sum(pl.col("trade_ct"), window)


@feature(
    "trade_count_imbalance_{window}",
    catalogue="T05",
    source="Jones, Kaul and Lipson 1994",
    params={"window": TIME_AND_DECAY},
    range=(-1, 1),
    mirror="odd",
)
def trade_count_imbalance(window: str) -> pl.Expr:
    """(buy prints - sell prints) / (both) over a window; null without signed prints."""
    return imbalance(total(pl.col("buy_ct"), window), total(pl.col("sell_ct"), window))


@feature(
    "cvd",
    catalogue="T02",
    unit="contracts",
    source="practitioners",
    dtype=pl.Int64,
    mirror="odd",
    size_power=1,
)
def cvd() -> pl.Expr:
    """Cumulative volume delta: buyers' volume less sellers' since the session's start."""
    return session_cum(SIGNED)


@feature(
    "trade_intensity_{half_life}",
    catalogue="T06",
    unit="1/s",
    source="exponential kernel; see Bacry, Mastromatteo and Muzy 2015",
    params={"half_life": DECAY},
    range=(0, None),
)
def trade_intensity(half_life: str) -> pl.Expr:
    """Trades a second: ln2/h times the exponentially decayed count of prints."""
    return rate(pl.col("trade_ct"), half_life)


@feature(
    "trade_intensity_ratio_{short}_{long}",
    catalogue="T06",
    source="exponential kernel; see Bacry, Mastromatteo and Muzy 2015",
    params={
        "short": Windows(half_life=("1s",)),
        "long": Windows(half_life=("60s",)),
    },
    range=(0, None),
)
def trade_intensity_ratio(short: str, long: str) -> pl.Expr:
    """Trade intensity at a short half-life over that at a long one; null where nothing traded."""
    return ratio(rate(pl.col("trade_ct"), short), rate(pl.col("trade_ct"), long))


@cache
def _moments(over: str) -> tuple[pl.Expr, pl.Expr, pl.Expr, pl.Expr]:
    """Volume, first and second moments of price, and the price they are relative to (ticks).

    Centred on the session's first print, so that the sums keep their precision.
    """
    size = pl.col("trade_sz")
    origin = session_first(pl.col("trade_px")) / TICK
    first = pl.col("trade_px_sz") - origin * size
    second = pl.col("trade_px2_sz") - 2 * origin * pl.col("trade_px_sz") + origin * origin * size

    def sum_of(x: pl.Expr) -> pl.Expr:
        return session_cum(x) if over == "session" else window_sum(x, over)

    return sum_of(size), sum_of(at_trades(first)), sum_of(at_trades(second)), origin


def _vwap(over: str) -> pl.Expr:
    volume, first, _, origin = _moments(over)
    return ratio(first, volume) + origin


def _vwap_deviation(over: str) -> pl.Expr:
    return mid_ticks() - _vwap(over)


def _vwap_z(over: str) -> pl.Expr:
    volume, first, second, _ = _moments(over)
    average = ratio(first, volume)
    variance = ratio(second, volume) - average * average
    return pl.when(variance > 1e-9).then(_vwap_deviation(over) / variance.sqrt())


@feature(
    "vwap_session",
    catalogue="T10",
    unit="ticks",
    source="convention",
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def vwap_session() -> pl.Expr:
    """Volume-weighted average price since the session's start; null before the first trade."""
    return _vwap("session")


@feature(
    "vwap_{window}",
    catalogue="T10",
    unit="ticks",
    source="convention",
    params={"window": TIME_WINDOWS},
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def vwap(window: str) -> pl.Expr:
    """Volume-weighted average price of a window: sum(px sz) / sum(sz); null without trades."""
    return _vwap(window)


@feature("vwap_dev_session", catalogue="T10", unit="ticks", source="convention", mirror="odd")
def vwap_dev_session() -> pl.Expr:
    """Mid less the session's VWAP."""
    return _vwap_deviation("session")


@feature(
    "vwap_dev_{window}",
    catalogue="T10",
    unit="ticks",
    source="convention",
    params={"window": TIME_WINDOWS},
    mirror="odd",
)
def vwap_dev(window: str) -> pl.Expr:
    """Mid less the VWAP of a window."""
    return _vwap_deviation(window)


@feature("vwap_z_session", catalogue="T10", unit="sigma", source="convention", mirror="odd")
def vwap_z_session() -> pl.Expr:
    """Mid less the session's VWAP, in its own volume-weighted standard deviations.

    sigma^2 = sum sz (px - VWAP)^2 / sum sz; null where all trades had one price.
    """
    return _vwap_z("session")


@feature(
    "vwap_z_{window}",
    catalogue="T10",
    unit="sigma",
    source="convention",
    params={"window": TIME_WINDOWS},
    mirror="odd",
)
def vwap_z(window: str) -> pl.Expr:
    """Mid less a window's VWAP, in the window's volume-weighted standard deviations.

    sigma^2 = sum sz (px - VWAP)^2 / sum sz; null where all trades had one price.
    """
    return _vwap_z(window)


@feature(
    "aggressor_size_{window}",
    catalogue="T11",
    unit="contracts",
    source="catalogue",
    params={"window": TIME_AND_DECAY},
    range=(0, None),
    size_power=1,
)
def aggressor_size(window: str) -> pl.Expr:
    """Average size of an aggressive order: volume of one event and side, over a window."""
    signed = pl.col("buy_sz") + pl.col("sell_sz")
    orders = pl.col("buy_orders") + pl.col("sell_orders")
    return ratio(total(signed, window), total(orders, window))


@feature("last_trade_dev", catalogue="P09", unit="ticks", source="catalogue", tier=2, mirror="odd")
def last_trade_dev() -> pl.Expr:
    """Last trade price less the mid; null before the segment's first trade."""
    return if_ok(last(pl.col("trade_px")) / TICK) - mid_ticks()


@feature(
    "trade_rate_{aggressor}_{half_life}",
    catalogue="M06",
    unit="1/s",
    source="Eisler, Bouchaud and Kockelkoren 2012",
    params={"aggressor": Choice(("buy", "sell")), "half_life": DECAY},
    range=(0, None),
    mirror="swap",
)
def trade_rate(aggressor: str, half_life: str) -> pl.Expr:
    """Market orders a second of one side: ln2/h times the decayed count of aggressors."""
    return rate(pl.col(f"{aggressor}_orders"), half_life)
