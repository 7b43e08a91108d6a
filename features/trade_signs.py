"""Signs, places and sizes of trades (catalogue T04, T07, T12, T17).

A trade is an event with prints; its price is that of its last print.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from features.columns import if_ok, mid_ticks, px, ratio
from features.registry import Choice, Numbers, Windows, feature
from features.trades import SIGNED, TRADED, at_trades
from features.windows import deviation, last, mean, previous, regression, session_cum, total
from features.windows import lag as rows_ago

_LOG_SIZE = at_trades(pl.col("trade_sz")).cast(pl.Float64).log()


@cache
def given_sign() -> pl.Expr:
    """+1 at events whose prints the buyers' volume leads, -1 the sellers', null elsewhere."""
    return pl.when(SIGNED != 0).then(SIGNED.sign())


@cache
def sign() -> pl.Expr:
    """The sign given, else by the quote, else by the tick; null at events without prints."""
    average = ratio(pl.col("trade_px_sz"), pl.col("trade_sz"))
    before = previous(mid_ticks())
    quote = (average - before).sign().cast(pl.Int64)
    price = pl.col("trade_px")
    move = price - previous(price)
    tick = last(pl.when(move != 0).then(move.sign()))
    inferred = pl.when(quote != 0).then(quote).otherwise(tick)
    return at_trades(pl.coalesce(given_sign(), inferred))


@feature(
    "trade_sign",
    catalogue="T04",
    source="Lee and Ready 1991",
    dtype=pl.Int8,
    range=(-1, 1),
    mirror="odd",
)
def trade_sign() -> pl.Expr:
    """Sign of the last trade: +1 a buyer's, -1 a seller's.

    Where no aggressor is given: average price above the mid before the event +1, below it -1; at
    it, the direction of the last change of the trade price.  Null while that does not say.
    """
    return last(sign())


@feature(
    "signed_volume_all_{window}",
    catalogue="T04",
    unit="contracts",
    source="Lee and Ready 1991",
    params={"window": Windows(("1s", "10s", "60s"), (50,), ("10s",))},
    dtype=pl.Float64,
    mirror="odd",
    size_power=1,
)
def signed_volume_all(window: str) -> pl.Expr:
    """Buyers' volume less sellers' over a window, events without an aggressor signed by quote."""
    return total(
        at_trades(pl.when(SIGNED == 0).then(pl.col("trade_sz") * sign()).otherwise(SIGNED)), window
    )


@feature(
    "trade_size_{window}",
    catalogue="T07",
    unit="contracts",
    source="catalogue",
    tier=2,
    params={"window": Windows(("10s", "60s"), (200,), ("10s", "60s"))},
    range=(0, None),
    size_power=1,
)
def trade_size(window: str) -> pl.Expr:
    """Mean size of the prints of a window; null without any."""
    volume, prints = (at_trades(pl.col(name)) for name in ("trade_sz", "trade_ct"))
    return ratio(total(volume, window), total(prints, window))


@feature(
    "trade_size_z_{window}",
    catalogue="T07",
    unit="sigma",
    source="catalogue",
    tier=2,
    params={"window": Windows(rows=(200,))},
)
def trade_size_z(window: str) -> pl.Expr:
    """Log size of the last trade, in standard deviations from the mean of the trades before it."""
    past = pl.when(TRADED).then(previous(_LOG_SIZE))
    gap = last(_LOG_SIZE) - mean(past, window)
    return ratio(gap, deviation(past, window))


@feature(
    "sign_run",
    catalogue="T12",
    unit="trades",
    source="Lillo and Farmer 2004",
    tier=2,
    dtype=pl.Int32,
    mirror="odd",
)
def sign_run() -> pl.Expr:
    """Length of the run of trades of one sign that is going on, negative for sellers' runs.

    Only signs that are given count; null before the segment's first.
    """
    now = given_sign()
    number = session_cum(now.is_not_null().cast(pl.Int64))
    before = previous(now)
    started = last(pl.when((now != before) | (now.is_not_null() & before.is_null())).then(number))
    return last(now) * (number - started + 1)


@feature(
    "sign_autocorrelation_{lag}_{window}",
    catalogue="T12",
    source="Lillo and Farmer 2004",
    tier=2,
    params={"lag": Numbers((1, 5, 20), 1, 100_000), "window": Windows(rows=(200,))},
    range=(-1, 1),
)
def sign_autocorrelation(lag: int, window: str) -> pl.Expr:
    """Correlation of the signs of trades with those of so many trades before, over trades."""
    now = given_sign()
    return regression(now, rows_ago(now, lag), window).correlation.clip(-1, 1)


@feature(
    "trade_location_{place}_{window}",
    catalogue="T17",
    source="catalogue",
    tier=2,
    params={"place": Choice(("bid", "inside", "ask")), "window": Windows(rows=(200,))},
    range=(0, 1),
    mirror="swap",
)
def trade_location(place: str, window: str) -> pl.Expr:
    """Share of a window's trades at or beyond the ask, at or beyond the bid, or between them.

    The touch is that of the last valid row before the trade.
    """
    bid, ask = (previous(if_ok(px(side))) for side in ("bid", "ask"))
    price = pl.col("trade_px")
    where = {"bid": price <= bid, "ask": price >= ask, "inside": (price > bid) & (price < ask)}
    return mean(where[place].cast(pl.Int64), window)
