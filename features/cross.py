"""Other instruments (catalogue group Y): what a peer's market said, strictly before now.

A feature set names its peers (``peers = { nq = "NQ.v.0" }``), and columns carry the name:
``mid_of_nq``.  Both instruments are on the clock of receipt, and a peer's events of the very
instant of a decision are not known to it.  A peer whose last event is older than the set's
``tolerance`` (5 s) is stale: ``is_stale_nq`` is 1 and its other columns are null.
"""

from __future__ import annotations

import polars as pl

from features.columns import depth, if_ok, if_ok_flow, imbalance, mid_ticks, px, ratio, seconds
from features.grids import TIME_WINDOWS
from features.nodes import Window
from features.nodes import window as parse_window
from features.order_flow import contribution
from features.registry import Alias, Windows, feature
from features.windows import (
    Regression,
    of_peer,
    on_grid,
    previous,
    regression,
    time_mean,
    value_at,
    window_sum,
)

PEER = Alias()
LAGS = Windows(("1s", "5s", "10s", "60s"))
STEPS = Windows(("1s",))
SPANS = Windows(("300s", "1800s"))

AGE = seconds(pl.col("t") - pl.col("ts"))


def _fresh(peer: str, x: pl.Expr) -> pl.Expr:
    """``x`` where the peer's last event is no older than the tolerance."""
    return pl.when(of_peer(peer, AGE) <= seconds(pl.col("peer_tolerance"))).then(x)


def _fresh_of(peer: str, x: pl.Expr) -> pl.Expr:
    return _fresh(peer, of_peer(peer, x))


def _twice_mid(peer: str) -> pl.Expr:
    """The peer's bid + ask in our ticks: prices of both are in the same money."""
    return _fresh_of(peer, if_ok(px("bid") + px("ask"))) / pl.col("tick")


@feature("age_of_{peer}", catalogue="Y01", unit="s", source="catalogue", params={"peer": PEER},
         range=(0, None))  # fmt: skip
def age_of(peer: str) -> pl.Expr:
    """Seconds since the peer's last event that is known."""
    return of_peer(peer, AGE)


@feature("is_stale_{peer}", catalogue="Y01", unit="0 or 1", source="catalogue",
         params={"peer": PEER}, range=(0, 1), dtype=pl.Int8)  # fmt: skip
def is_stale(peer: str) -> pl.Expr:
    """1 while the peer's last event is older than the tolerance; null before its first."""
    return of_peer(peer, AGE) > seconds(pl.col("peer_tolerance"))


@feature("mid_of_{peer}", catalogue="Y01", unit="ticks of the peer", source="catalogue",
         params={"peer": PEER}, dtype=pl.Float64, mirror="odd", shift="other")  # fmt: skip
def mid_of(peer: str) -> pl.Expr:
    """The peer's mid price, in its own ticks."""
    return _fresh_of(peer, mid_ticks())


@feature("return_of_{peer}_{window}", catalogue="Y01", unit="ticks of the peer",
         source="catalogue", params={"peer": PEER, "window": TIME_WINDOWS},
         mirror="odd")  # fmt: skip
def return_of(peer: str, window: str) -> pl.Expr:
    """The peer's past return: its mid less its mid as of t - w."""
    return _fresh_of(peer, mid_ticks() - value_at(mid_ticks(), window))


@feature("queue_imbalance_of_{peer}", catalogue="Y01", source="catalogue", params={"peer": PEER},
         range=(-1, 1), mirror="odd")  # fmt: skip
def queue_imbalance_of(peer: str) -> pl.Expr:
    """The peer's queue imbalance: (B_0 - A_0) / (B_0 + A_0)."""
    return _fresh_of(peer, if_ok(imbalance(depth("bid", 1), depth("ask", 1))))


@feature("ofi_of_{peer}_{window}", catalogue="Y01", unit="contracts", source="catalogue",
         params={"peer": PEER, "window": TIME_WINDOWS}, dtype=pl.Float64, mirror="odd",
         size_power=1)  # fmt: skip
def ofi_of(peer: str, window: str) -> pl.Expr:
    """The peer's order-flow imbalance at the touch over a window up to now."""
    return _fresh_of(peer, if_ok_flow(window_sum(contribution(), window)))


@feature("lagged_ofi_of_{peer}_{window}_{lag}", catalogue="Y04",
         source="Cont, Cucuringu and Zhang 2023",
         params={"peer": PEER, "window": LAGS, "lag": LAGS}, mirror="odd")  # fmt: skip
def lagged_ofi_of(peer: str, window: str, lag: str) -> pl.Expr:
    """The peer's OFI over (t - lag - w, t - lag], divided by its touch's average size.

    The average is over the last 30 minutes, weighted by time, of (B_0 + A_0) / 2.
    """
    later = parse_window(lag)
    whole = Window("time", parse_window(window).size + later.size, "")
    flow = window_sum(contribution(), whole) - window_sum(contribution(), later)
    average = time_mean(if_ok_flow((depth("bid", 1) + depth("ask", 1)) / 2), "30m")
    return _fresh_of(peer, if_ok_flow(ratio(flow, average)))


def _returns(peer: str, grid: str, window: str, which: str) -> pl.Expr:
    """Our returns on the peer's over a grid, where both mids are known at both ends."""

    def fitted(own: pl.Expr, other: pl.Expr) -> pl.Expr:
        both = own.is_not_null() & other.is_not_null()
        y, x = (pl.when(both).then(one) for one in (own, other))
        line = regression(y - previous(y), x - previous(x), window)
        value: pl.Expr = getattr(line, which)
        return value

    return on_grid(grid, (mid_ticks(), _fresh_of(peer, mid_ticks())), fitted)


@feature("correlation_with_{peer}_{grid}_{window}", catalogue="Y02", source="Epps 1979", tier=2,
         params={"peer": PEER, "grid": STEPS, "window": SPANS}, range=(-1, 1))  # fmt: skip
def correlation_with(peer: str, grid: str, window: str) -> pl.Expr:
    """Correlation of both mids' returns on a grid over a window of past grid points."""
    return _returns(peer, grid, window, "correlation").clip(-1.0, 1.0)


@feature("beta_to_{peer}_{grid}_{window}", catalogue="Y02", unit="ticks per tick of the peer",
         source="Epps 1979", tier=2,
         params={"peer": PEER, "grid": STEPS, "window": SPANS})  # fmt: skip
def beta_to(peer: str, grid: str, window: str) -> pl.Expr:
    """Slope of our returns on the peer's on a grid over a window of past grid points."""
    return _returns(peer, grid, window, "slope")


def _levels(peer: str, grid: str, window: str, part: str) -> pl.Expr:
    def fitted(own: pl.Expr, other: pl.Expr) -> pl.Expr:
        line: Regression = regression(own, other, window)
        value: pl.Expr = getattr(line, part)
        return value

    return on_grid(grid, (mid_ticks(), _fresh_of(peer, mid_ticks())), fitted)


@feature("spread_residual_{peer}_{grid}_{window}", catalogue="Y05", unit="ticks",
         source="catalogue", params={"peer": PEER, "grid": STEPS, "window": SPANS},
         mirror="odd")  # fmt: skip
def spread_residual(peer: str, grid: str, window: str) -> pl.Expr:
    """m_1 - (a + b m_2): our mid less what the past line of it on the peer's mid says.

    The line is fitted to the mids at the grid points of the window before now.
    """
    slope, intercept = (_levels(peer, grid, window, part) for part in ("slope", "intercept"))
    return mid_ticks() - (intercept + slope * _fresh_of(peer, mid_ticks()))


@feature("price_gap_to_{peer}", catalogue="Y06", unit="ticks", source="catalogue", tier=2,
         params={"peer": PEER}, mirror="odd")  # fmt: skip
def price_gap_to(peer: str) -> pl.Expr:
    """Our mid less the peer's, both as prices, in our ticks: a micro less its full-size contract.

    Also the spread with a fixed beta of 1.
    """
    return mid_ticks() - _twice_mid(peer) / 2


@feature("calendar_gap_{far}_{listed}", catalogue="Y05", unit="ticks", source="catalogue",
         params={"far": Alias(("far",)), "listed": Alias(("listed",))}, mirror="odd",
         shift="other")  # fmt: skip
def calendar_gap(far: str, listed: str) -> pl.Expr:
    """Our mid less the far delivery's, less the mid of the listed spread (near less far).

    What the outrights imply for the calendar spread beyond its own book, in our ticks.
    """
    return mid_ticks() - _twice_mid(far) / 2 - _twice_mid(listed) / 2


@feature("volume_share_with_{peer}_{window}", catalogue="Y06", source="catalogue", tier=2,
         params={"peer": PEER, "window": Windows(("60s", "300s"))}, range=(0, 1))  # fmt: skip
def volume_share_with(peer: str, window: str) -> pl.Expr:
    """Our share of what both traded over a window: v_1 M_1 / (v_1 M_1 + v_2 M_2).

    M are the multipliers, so that a micro contract counts for its size; null where one of them is
    not known, or neither traded.
    """
    own = window_sum(pl.col("trade_sz"), window) * pl.col("money")
    other = of_peer(peer, window_sum(pl.col("trade_sz"), window) * pl.col("money"))
    return ratio(own, own + other)
