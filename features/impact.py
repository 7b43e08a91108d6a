"""Impact in money, permanent impact, and a spread from highs and lows (catalogue C07, C08, C11).

Cross-checks of the impact and spreads of ``costs``: what daily data or bars of trades would show.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import polars as pl

from features.bars import highest, lowest
from features.columns import TICK, mid_ticks
from features.components import Component, Pairs, Statistic, declare
from features.costs import MIN_INTERVALS, SIGNED, mid_before
from features.gatherers import Products
from features.registry import Numbers, Windows, feature
from features.windows import lag as lagged
from features.windows import last, mean, on_grid, previous, regression, session_cum
from pipeline.units import PRICE_SCALE


def _root_of_money(aggressor: str) -> pl.Expr:
    """Square root of what an event's prints of an aggressor were worth."""
    ticks = pl.col(f"{aggressor}_px_sz").abs()
    return (ticks * (TICK / PRICE_SCALE) * (pl.col("money") / PRICE_SCALE)).sqrt()


@feature(
    "hasbrouck_lambda_{step}_{window}",
    catalogue="C07",
    unit="bps per sqrt(1e6 of currency)",
    source="Hasbrouck 2009",
    tier=3,
    params={"step": Windows(("300s",)), "window": Windows(("4h",))},
    mirror="other",  # no logarithm of negative prices
    size_power=None,  # -1/2
    shift="other",
)
def hasbrouck_lambda(step: str, window: str) -> pl.Expr:
    """Slope of the mid's log return on the sum of D sqrt(px sz multiplier) over steps of a window.

    One order's prints of an event are one trade.  Null with fewer than 30 steps, where no
    multiplier is known, and at prices of 0 or less.
    """

    def fit(flows: pl.Expr, mids: pl.Expr) -> pl.Expr:
        price = pl.when(mids > 0).then(mids).log()
        found = regression(price - previous(price), flows - previous(flows), window)
        return pl.when(found.n >= MIN_INTERVALS).then(found.slope * 1e7)

    flow = _root_of_money("buy") - _root_of_money("sell")
    return on_grid(step, (session_cum(flow), last(mid_ticks())), fit)


# --- permanent impact (C08) --------------------------------------------------------------------

PER_COEFFICIENT = 5
"""Trades a session needs for every coefficient of one equation."""


def permanent_response(past: Sequence[Pairs], lags: int) -> float | None:
    """Cumulative response of r to a trade, from sums of (r_0, x_0, r_1, x_1, ..., r_L, x_L).

    r_t = a + b_0 x_t + sum over k of (a_k r_(t-k) + b_k x_(t-k)) and x_t = c + sum over k of
    (c_k r_(t-k) + d_k x_(t-k)), by least squares.  None with too few trades, where regressors
    are collinear, and where the system is not stable.
    """
    n = 2 * lags + 2
    sums = np.zeros(1 + n + n * n)
    for pairs in past:
        sums[pairs.keys] += pairs.values
    count = sums[0]
    if count < PER_COEFFICIENT * n:
        return None
    means = sums[1 : n + 1] / count
    covariance = sums[n + 1 :].reshape(n, n) / count - np.outer(means, means)
    earlier = list(range(2, n))
    equations = []
    for y, x in ((0, [1, *earlier]), (1, earlier)):
        known = covariance[np.ix_(x, x)]
        if np.linalg.matrix_rank(known, hermitian=True) < len(x):
            return None
        equations.append(np.linalg.solve(known, covariance[x, y]))
    moves, trades = equations
    now = moves[0]
    steps = np.stack([moves[1:] + now * trades, trades]).reshape(2, lags, 2)
    companion = np.eye(2 * lags, k=-2)
    companion[:2] = steps.reshape(2, 2 * lags)
    if np.abs(np.linalg.eigvals(companion)).max() >= 1:
        return None
    whole = np.linalg.solve(np.eye(2) - steps.sum(axis=1), np.array([now, 1.0]))
    return float(whole[0])


@cache
def _permanent(lags: int) -> Component:
    """Sums of products of moves and signs of the last trades of a session."""
    counts = (SIGNED != 0) & mid_before().is_not_null()
    before = pl.when(counts).then(mid_before())
    sign = pl.when(counts).then(SIGNED.sign())
    # A trade's move is known at the next one: from the mid before it to the mid before that.
    moved = before - previous(before)
    traded = pl.when(counts).then(previous(sign))
    inputs = [moved, traded]
    for k in range(1, lags + 1):
        inputs += [lagged(moved, k), lagged(traded, k)]
    statistic = Statistic(f"trade_products_{lags}", tuple(inputs), Products)

    def combine(past: Sequence[Pairs], _minimum: int) -> Pairs:
        found = permanent_response(past, lags)
        return Pairs.of([], []) if found is None else Pairs.of([0], [found])

    component = Component(
        f"permanent_impact_{lags}", statistic, combine, sessions=1, min_sessions=1
    )
    return declare(component)


@feature(
    "permanent_impact_{lags}",
    catalogue="C08",
    unit="ticks",
    source="Hasbrouck 1991",
    tier=3,
    params={"lags": Numbers((5,), 1, 10)},
    tags=("fitted",),
)
def permanent_impact(lags: int) -> pl.Expr:
    """What the mid moved for good after a buy, in the session before: of a vector autoregression.

    In trade time, of r_t, the change of the mid from before a trade to before the next, and x_t,
    the trade's sign: the sum of the responses of r to one x, x_t acting on r_t at once.  An
    event's prints are one trade; null with fewer than 5 trades a coefficient and where the system
    is not stable.
    """
    return _permanent(lags).at(pl.lit(0))


# --- a spread from highs and lows (C11) --------------------------------------------------------


@feature(
    "corwin_schultz_{step}_{window}",
    catalogue="C11",
    unit="bps",
    source="Corwin and Schultz 2012",
    tier=3,
    params={"step": Windows(("60s",)), "window": Windows(("30m",))},
    range=(0, 20_000),
    mirror="other",  # no logarithm of negative prices
    shift="other",
)
def corwin_schultz(step: str, window: str) -> pl.Expr:
    """Spread from highs and lows of two bars, 2 (e^a - 1) / (1 + e^a), mean over a window's bars.

    a = (sqrt 2 - 1) sqrt(b) / (3 - 2 sqrt 2) - sqrt(g / (3 - 2 sqrt 2)), b = sum over the bar and
    the one before it of ln^2(H / L), g = ln^2 of both bars' highest over their lowest trade; a < 0
    counts as 0.  Bars without a trade, or at prices of 0 or less, are left out with the next one.
    """

    def over_bars(high: pl.Expr, low: pl.Expr) -> pl.Expr:
        # Nothing to go by is 0, so that the bar before is the bar before, and not an earlier one.
        high, low = (x.fill_null(0.0) for x in (high, low))
        high_before, low_before = previous(high), previous(low)
        known = (low > 0) & (low_before > 0)
        tall, wide = pl.max_horizontal(high, high_before), pl.min_horizontal(low, low_before)
        b = (high / low).log() ** 2 + (high_before / low_before).log() ** 2
        g = (tall / wide).log() ** 2
        scale = 3 - 2 * 2**0.5
        a = (2**0.5 - 1) * b.sqrt() / scale - (g / scale).sqrt()
        a = pl.when(a > 0).then(a).otherwise(0.0)
        return mean(pl.when(known).then(2e4 * (a.exp() - 1) / (1 + a.exp())), window)

    prints = pl.col("print_px").list
    extremes = (highest(prints.max() / TICK, step), lowest(prints.min() / TICK, step))
    return on_grid(step, extremes, over_bars)
