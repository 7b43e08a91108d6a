"""Trading cost and impact (catalogue group C).

The book before a trade is that of the last valid row before its event, never one joined by time:
the row after the trade has the same time.  ``A`` stands for the sum of D px sz over an event's
prints with an aggressor, ``S`` for that of D sz, so that one order that sweeps prices is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import polars as pl

from features.columns import TICK, depth, if_ok, if_ok_flow, mid_ticks, px, ratio, seconds, size
from features.grids import SIDES
from features.nodes import window as parse_window
from features.order_flow import contribution
from features.registry import Choice, Numbers, Windows, feature
from features.windows import (
    Regression,
    delayed,
    ew_sum,
    last,
    mean,
    on_grid,
    previous,
    regression,
    session_cum,
    time_mean,
    total,
    window_sum,
)

SIGNED_VALUE = pl.col("buy_px_sz") - pl.col("sell_px_sz")
SIGNED = pl.col("buy_sz") - pl.col("sell_sz")
VOLUME = pl.col("buy_sz") + pl.col("sell_sz")

AGGRESSORS = Choice(("buy", "sell"))
HIT = {"buy": "ask", "sell": "bid"}
"""The side an aggressor takes from."""

_STANDING = Windows(("10s", "60s", "300s"))
_TRADES = Windows(("10s", "60s", "300s"), (200,), ("60s",))
_HORIZONS = Windows(("1s", "5s", "60s"))
_LAGGED = {"horizon": _HORIZONS, "window": Windows(("60s", "300s"))}
_STEPS = {"step": Windows(("10s",)), "window": Windows(("30m",))}

MIN_INTERVALS = 30
"""Intervals a regression of impact needs (the catalogue's C05)."""


@cache
def mid_before() -> pl.Expr:
    """Mid of the last valid row before the event (ticks)."""
    return previous(mid_ticks())


@feature(
    "spread_mean_{window}",
    catalogue="C01",
    unit="ticks",
    source="convention",
    params={"window": _STANDING},
    range=(0, None),
)
def spread_mean(window: str) -> pl.Expr:
    """Quoted spread a_0 - b_0 over a window, weighted by the time it stood."""
    return time_mean(if_ok((px("ask") - px("bid")) / TICK), window)


@feature(
    "one_tick_share_{window}",
    catalogue="C01",
    source="convention",
    params={"window": _STANDING},
    range=(0, 1),
)
def one_tick_share(window: str) -> pl.Expr:
    """Share of a window's time in which the spread was one tick."""
    return time_mean(if_ok((px("ask") - px("bid") == TICK).cast(pl.Int64)), window)


def _sided() -> pl.Expr:
    """True at events with an aggressor and a book before."""
    return (VOLUME > 0) & mid_before().is_not_null()


@feature(
    "effective_spread_{window}",
    catalogue="C02",
    unit="ticks",
    source="Lee 1993; Huang and Stoll 1996",
    params={"window": _TRADES},
)
def effective_spread(window: str) -> pl.Expr:
    """Effective spread 2 D (px - m_0), mean over a window's trades weighted by size.

    m_0 is the mid before the trade; prints without an aggressor do not count.  Negative values
    (trades inside the other half of the spread) do.
    """
    paid = pl.when(_sided()).then(2 * (SIGNED_VALUE - SIGNED * mid_before()))
    return ratio(total(paid, window), total(pl.when(_sided()).then(VOLUME), window))


def _lagged(
    horizon: str, window: str, cost: Callable[[pl.Expr, pl.Expr, pl.Expr, pl.Expr], pl.Expr]
) -> pl.Expr:
    """Mean by size of a cost that is known ``horizon`` after the trade: cost(A, S, m_0, m)."""

    def mean_cost(
        value: pl.Expr, signed: pl.Expr, volume: pl.Expr, before: pl.Expr, after: pl.Expr
    ) -> pl.Expr:
        known = pl.when(after.is_not_null()).then(volume)
        paid = cost(value, signed, before, after)
        return ratio(window_sum(paid, window), window_sum(known, window))

    at = (SIGNED_VALUE, SIGNED, VOLUME, mid_before())
    return delayed(horizon, _sided(), at, (last(mid_ticks()),), mean_cost)


@feature(
    "realised_spread_{horizon}_{window}",
    catalogue="C03",
    unit="ticks",
    source="Huang and Stoll 1996",
    params=_LAGGED,
)
def realised_spread(horizon: str, window: str) -> pl.Expr:
    """Realised spread 2 D (px - m_(t + tau)), mean by size over trades of (t - tau - w, t - tau).

    A trade counts from tau after it was made, when m_(t + tau), the last mid at or before then,
    is known; one whose segment ends first never does.
    """
    return _lagged(horizon, window, lambda value, signed, _, after: 2 * (value - signed * after))


@feature(
    "price_impact_{horizon}_{window}",
    catalogue="C04",
    unit="ticks",
    source="Huang and Stoll 1996",
    params=_LAGGED,
)
def price_impact(horizon: str, window: str) -> pl.Expr:
    """Price impact 2 D (m_(t + tau) - m_0), mean by size over trades of (t - tau - w, t - tau).

    Of the same trades, effective spread = realised spread + price impact.
    """
    return _lagged(horizon, window, lambda _, signed, before, after: 2 * signed * (after - before))


def _impact(
    flow: pl.Expr, step: str, window: str, part: Callable[[Regression], pl.Expr]
) -> pl.Expr:
    """A part of the regression of mid changes on a flow, both summed up over steps of a grid."""

    def fit(flows: pl.Expr, mids: pl.Expr) -> pl.Expr:
        found = regression(mids - previous(mids), flows - previous(flows), window)
        return pl.when(found.n >= MIN_INTERVALS).then(part(found))

    return on_grid(step, (session_cum(flow), last(mid_ticks())), fit)


@feature(
    "beta_ofi_{step}_{window}",
    catalogue="C05",
    unit="ticks/contract",
    source="Cont, Kukanov and Stoikov 2014, eq 7 and 14",
    params=_STEPS,
    size_power=-1,
)
def beta_ofi(step: str, window: str) -> pl.Expr:
    """Impact of order flow: slope of the mid's change on OFI over the steps of a window.

    Null with fewer than 30 steps, or where OFI does not vary.
    """
    return _impact(contribution(), step, window, lambda fit: fit.slope)


@feature(
    "beta_ofi_r2_{step}_{window}",
    catalogue="C05",
    source="Cont, Kukanov and Stoikov 2014, table 2",
    params=_STEPS,
    range=(0, 1),
)
def beta_ofi_r2(step: str, window: str) -> pl.Expr:
    """Share of the mid changes' variance that OFI explains, over the steps of a window."""
    return _impact(contribution(), step, window, lambda fit: fit.r2)


@feature(
    "implied_depth_{step}_{window}",
    catalogue="C05",
    unit="contracts",
    source="Cont, Kukanov and Stoikov 2014, eq 7",
    params=_STEPS,
    range=(0, None),
    size_power=1,
)
def implied_depth(step: str, window: str) -> pl.Expr:
    """Depth that the impact of order flow implies: 1 / (2 beta); null where beta <= 0."""
    return _impact(
        contribution(), step, window, lambda fit: pl.when(fit.slope > 0).then(0.5 / fit.slope)
    )


@feature(
    "kyle_lambda_{step}_{window}",
    catalogue="C06",
    unit="ticks/contract",
    source="Kyle 1985; Cont, Kukanov and Stoikov 2014, eq 9",
    params=_STEPS,
    size_power=-1,
)
def kyle_lambda(step: str, window: str) -> pl.Expr:
    """Kyle's lambda: slope of the mid's change on signed volume over the steps of a window.

    Steps without trades count with 0; null with fewer than 30 steps.
    """
    return _impact(SIGNED, step, window, lambda fit: fit.slope)


@feature(
    "kyle_lambda_trades_{bar}_{window}",
    catalogue="C06",
    unit="ticks/contract",
    source="Kyle 1985; Cont, Kukanov and Stoikov 2014, eq 16a",
    params={"bar": Numbers((100,), 1, 1_000_000), "window": Windows(rows=(180,))},
    size_power=-1,
)
def kyle_lambda_trades(bar: int, window: str) -> pl.Expr:
    """Kyle's lambda in trade time: slope of the mid's change on signed volume over bars of trades.

    A bar ends with every so many events with prints since the session's start; the window
    counts bars of the segment.
    """
    number = session_cum((pl.col("trade_ct") > 0).cast(pl.Int64)) // bar
    ends = pl.when((number > previous(number)) & ~pl.col("first"))
    flows, mids = ends.then(session_cum(SIGNED)), ends.then(last(mid_ticks()))
    return regression(mids - previous(mids), flows - previous(flows), window).slope


@feature(
    "amihud_{step}_{window}",
    catalogue="C09",
    unit="bps per 1e6 of price x contracts",
    source="Amihud 2002",
    tier=2,
    params={"step": Windows(("60s",)), "window": Windows(("30m",))},
    range=(0, None),
    size_power=-1,
    shift="other",
)
def amihud(step: str, window: str) -> pl.Expr:
    """Illiquidity: mean over a window's bars of abs(return) / traded value.

    The return is the mid's change over the mid before; bars without trades are left out.  The
    value lacks the contract's multiplier: divide by it for money.
    """

    def over_bars(values: pl.Expr, mids: pl.Expr) -> pl.Expr:
        before = previous(mids)
        traded = (values - previous(values)) * (TICK / 1e9)
        change = ratio((mids - before).abs(), before.abs())
        return mean(pl.when(traded > 0).then(1e10 * change / traded), window)

    value = pl.col("trade_px_sz").abs()
    return on_grid(step, (session_cum(value), last(mid_ticks())), over_bars)


@feature(
    "roll_spread_{window}",
    catalogue="C10",
    unit="ticks",
    source="Roll 1984",
    tier=2,
    params={"window": Windows(rows=(200, 1000))},
    range=(0, None),
)
def roll_spread(window: str) -> pl.Expr:
    """Roll's spread: 2 sqrt(-cov(dp_t, dp_(t-1))) of trade prices; null where cov >= 0."""
    price = pl.col("trade_px")
    change = (price - previous(price)) / TICK
    before = previous(change)
    both = pl.when(change.is_not_null() & before.is_not_null())
    now, past = both.then(change), both.then(before)
    n = parse_window(window).size
    mean_product = total(now * past, window) / n
    covariance = mean_product - total(now, window) * total(past, window) / (n * n)
    # Whole ticks: what is closer to 0 than this is 0.
    return pl.when(covariance < -1e-9).then(2 * (-covariance).sqrt())


@cache
def _trade_to_depth(aggressor: str) -> pl.Expr:
    before = previous(if_ok_flow(size(HIT[aggressor])))
    taken = pl.col(f"{aggressor}_sz")
    return pl.when(taken > 0).then(ratio(taken, before))


@feature(
    "trade_to_depth_{aggressor}",
    catalogue="C12",
    source="Farmer, Gillemot, Lillo, Mike and Sen 2004",
    params={"aggressor": AGGRESSORS},
    range=(0, None),
    mirror="swap",
)
def trade_to_depth(aggressor: str) -> pl.Expr:
    """Size of the last aggressive order of a side over the queue it met: sz / opposite best size.

    An order is all of an event's prints of one aggressor.
    """
    return last(_trade_to_depth(aggressor))


@feature(
    "trade_to_depth_{aggressor}_{window}",
    catalogue="C12",
    source="Farmer, Gillemot, Lillo, Mike and Sen 2004",
    params={"aggressor": AGGRESSORS, "window": _TRADES},
    range=(0, None),
    mirror="swap",
)
def trade_to_depth_mean(aggressor: str, window: str) -> pl.Expr:
    """Mean over a window's aggressive orders of a side of sz / opposite best size."""
    return mean(_trade_to_depth(aggressor), window)


@feature(
    "levels_eaten_{aggressor}",
    catalogue="C12",
    unit="levels",
    source="Farmer, Gillemot, Lillo, Mike and Sen 2004",
    params={"aggressor": AGGRESSORS},
    dtype=pl.Int32,
    range=(1, None),
    mirror="swap",
)
def levels_eaten(aggressor: str) -> pl.Expr:
    """At how many prices the last aggressive order of a side traded; more than 1 is a sweep."""
    levels = pl.col(f"{aggressor}_levels")
    return last(pl.when(levels > 0).then(levels))


@cache
def _sweep(side: str) -> tuple[pl.Expr, pl.Expr]:
    """True at events that swept a side and left it thinner, and its recovery since the last one."""
    aggressor = {"ask": "buy", "bid": "sell"}[side]
    standing = if_ok_flow(depth(side, 5))
    before = previous(standing)
    hit = (pl.col(f"{aggressor}_levels") > 1) & (before > standing)
    after, lost = (last(pl.when(hit).then(x)) for x in (standing, before - standing))
    return hit, (standing - after) / lost


@feature(
    "resilience_{side}",
    catalogue="C13",
    source="Large 2007; Obizhaeva and Wang 2013",
    tier=2,
    params={"side": SIDES},
    mirror="swap",
)
def resilience(side: str) -> pl.Expr:
    """How much of the depth that the last sweep took has come back: 0 none, 1 all of it.

    (depth5 - depth5 just after) / (depth5 before - depth5 just after); null before any sweep.
    """
    return _sweep(side)[1]


@feature(
    "resilience_{side}_{half_life}",
    catalogue="C13",
    source="Large 2007; Obizhaeva and Wang 2013",
    tier=2,
    params={"side": SIDES, "half_life": Windows(half_life=("10s", "60s"))},
    mirror="swap",
)
def resilience_mean(side: str, half_life: str) -> pl.Expr:
    """Exponentially weighted mean of the recovery over the events since the first sweep."""
    recovery = _sweep(side)[1]
    ones = pl.when(recovery.is_not_null()).then(1.0)
    return ratio(ew_sum(recovery, half_life), ew_sum(ones, half_life))


@feature(
    "refill_time_{side}",
    catalogue="C13",
    unit="s",
    source="Large 2007",
    tier=2,
    params={"side": SIDES},
    range=(0, None),
    mirror="swap",
)
def refill_time(side: str) -> pl.Expr:
    """How long it last took until half of what a sweep had taken was back; null before that."""
    hit, recovery = _sweep(side)
    number = session_cum(hit.cast(pl.Int64))
    refilled = pl.when(recovery >= 0.5).then(number)
    fresh = (refilled > previous(refilled).fill_null(0)) & ~hit
    swept = last(pl.when(hit).then(pl.col("ts")))
    return last(pl.when(fresh).then(seconds(pl.col("ts") - swept)))
