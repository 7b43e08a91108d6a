"""Volume and what it meets (catalogue T03, T09, T11, T13-T16)."""

from __future__ import annotations

import math
from functools import cache

import polars as pl

from features.columns import OK_FLOW, TICK, add, if_ok, if_ok_flow, mid_ticks, px, ratio, size
from features.costs import HIT, MIN_INTERVALS
from features.grids import SIDES, ZONES
from features.messages import flow
from features.nodes import window as parse_window
from features.registry import Choice, Numbers, Windows, feature
from features.trades import SIGNED
from features.windows import (
    bucket_imbalance,
    deviation,
    last,
    on_grid,
    previous,
    regression,
    session_cum,
    total,
    volume_profile,
    window_sum,
)

STEP = "10s"
"""Grid on which changes of volume and of the mid are compared."""

_PAST = "30m"
_DIVERGENCE = {"window": Windows(("60s", "300s"))}
_SPANS = Windows(("10s", "60s", "300s"), half_life=("60s",))
_TAKER = {side: aggressor for aggressor, side in HIT.items()}
_FAR = 2**62


def _steps() -> tuple[pl.Expr, pl.Expr]:
    return session_cum(SIGNED), last(mid_ticks())


@feature(
    "cvd_divergence_{window}",
    catalogue="T03",
    unit="sigma",
    source="practitioners",
    tier=2,
    params=_DIVERGENCE,
    mirror="odd",
)
def cvd_divergence(window: str) -> pl.Expr:
    """Change of cumulative volume delta less that of the mid, each in standard deviations.

    z(x) = x over the window / (s sqrt(w / 10 s)), where s is the deviation of its ten-second
    changes over 30 minutes.  Positive: buyers pressed more than the price rose.
    """

    def divergence(volume: pl.Expr, mids: pl.Expr) -> pl.Expr:
        z = []
        for sample in (volume, mids):
            change = sample - previous(sample)
            steps = parse_window(window).size / parse_window(STEP).size
            z.append(ratio(window_sum(change, window), deviation(change, _PAST) * steps**0.5))
        return z[0] - z[1]

    return on_grid(STEP, _steps(), divergence)


@feature(
    "cvd_residual_{window}",
    catalogue="T03",
    unit="ticks",
    source="practitioners",
    tier=2,
    params=_DIVERGENCE,
    mirror="odd",
)
def cvd_residual(window: str) -> pl.Expr:
    """The mid's change over a window less what signed volume explains of it.

    The slope is that of ten-second changes of the mid on signed volume over 30 minutes; null
    with fewer than 30 of them.
    """

    def residual(volume: pl.Expr, mids: pl.Expr) -> pl.Expr:
        moved, signed = mids - previous(mids), volume - previous(volume)
        fit = regression(moved, signed, _PAST)
        unexplained = window_sum(moved, window) - fit.slope * window_sum(signed, window)
        return pl.when(fit.n >= MIN_INTERVALS).then(unexplained)

    return on_grid(STEP, _steps(), residual)


def swept(aggressor: str) -> pl.Expr:
    """True at events whose aggressor of a side traded at two prices or more."""
    return pl.col(f"{aggressor}_levels") > 1


@feature(
    "sweep",
    catalogue="T09",
    source="practitioners",
    dtype=pl.Int8,
    range=(-1, 1),
    mirror="odd",
)
def sweep() -> pl.Expr:
    """Whether the last event was a sweep, an order filled at two prices or more: +1 a buyer's.

    -1 a seller's, 0 none (or both).
    """
    return swept("buy").cast(pl.Int8) - swept("sell").cast(pl.Int8)


@feature(
    "sweep_volume_{window}",
    catalogue="T09",
    unit="contracts",
    source="practitioners",
    params={"window": _SPANS},
    dtype=pl.Float64,
    mirror="odd",
    size_power=1,
)
def sweep_volume(window: str) -> pl.Expr:
    """Contracts of buyers' sweeps less those of sellers' over a window."""
    buy, sell = (
        pl.when(swept(side)).then(pl.col(f"{side}_sz")).otherwise(0) for side in ("buy", "sell")
    )
    return total(buy - sell, window)


@feature(
    "sweep_share_{window}",
    catalogue="T09",
    source="practitioners",
    params={"window": _SPANS},
    range=(0, 1),
)
def sweep_share(window: str) -> pl.Expr:
    """Share of a window's aggressive orders that traded at two prices or more."""
    sweeps = swept("buy").cast(pl.Int64) + swept("sell").cast(pl.Int64)
    orders = pl.col("buy_orders") + pl.col("sell_orders")
    return ratio(total(sweeps, window), total(orders, window))


@feature(
    "prints_per_order_{window}",
    catalogue="T11",
    unit="prints",
    source="catalogue",
    params={"window": _SPANS},
    range=(0, None),
)
def prints_per_order(window: str) -> pl.Expr:
    """Prints (T records) an aggressive order: one order may print several times."""
    prints = pl.col("buy_ct") + pl.col("sell_ct")
    orders = pl.col("buy_orders") + pl.col("sell_orders")
    return ratio(total(prints, window), total(orders, window))


@feature(
    "fills_per_order_{window}",
    catalogue="T11",
    unit="orders",
    source="catalogue",
    params={"window": _SPANS},
    range=(0, None),
)
def fills_per_order(window: str) -> pl.Expr:
    """Resting orders filled (F records' orders) an aggressive order."""
    fills = add(flow(side, zone, "fill", "ct") for side in SIDES.values for zone in ZONES.values)
    orders = pl.col("buy_orders") + pl.col("sell_orders")
    return ratio(total(fills, window), total(orders, window))


@feature(
    "vpin_{size}_{buckets}",
    catalogue="T13",
    source="Easley, Lopez de Prado and O'Hara 2012",
    tier=2,
    params={
        "size": Numbers((200, 1000, 5000), 1, 10_000_000),
        "buckets": Numbers((50,), 1, 10_000),
    },
    range=(0, 1),
    size_power=None,
)
def vpin(size: int, buckets: int) -> pl.Expr:
    """VPIN by true signs: mean of abs(V_B - V_S) / V over the last buckets of V contracts.

    An event is split where a bucket ends, and the open bucket is left out.  By chance alone it
    is sqrt(2 / pi) sqrt(E[v^2] / (E[v] V)) for orders of size v; V is by custom a fiftieth of a
    day's volume.
    """
    return bucket_imbalance(pl.col("buy_sz"), pl.col("sell_sz"), size, buckets)


def _normal_cdf(x: pl.Expr) -> pl.Expr:
    """The normal distribution function, to 1e-7 (Abramowitz and Stegun 7.1.26)."""
    z = x.abs() / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * z)
    series = pl.lit(0.0)
    for a in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + a) * t
    erf = 1 - series * (-z * z).exp()
    return (1 + x.sign() * erf) / 2


@feature(
    "vpin_bvc_{window}",
    catalogue="T14",
    source="Easley, Lopez de Prado and O'Hara 2012",
    tier=3,
    params={"window": Windows(("30m",))},
    range=(0, 1),
)
def vpin_bvc(window: str) -> pl.Expr:
    """VPIN by bulk classification: sum of abs(V_B - V_S) over sum of V of one-minute bars.

    V_B = V Phi(dp / s), with the bar's price change dp and its deviation s over the window up to
    the bar.  For comparison: with true signs VPIN moves otherwise (Andersen and Bondarenko 2014).
    """

    def bulk(volumes: pl.Expr, prices: pl.Expr) -> pl.Expr:
        volume, change = volumes - previous(volumes), prices - previous(prices)
        share = _normal_cdf(change / deviation(change, window))
        known = pl.when(share.is_not_null()).then(volume)
        return ratio(window_sum((2 * share - 1).abs() * volume, window), window_sum(known, window))

    return on_grid("60s", (session_cum(pl.col("trade_sz")), last(pl.col("trade_px")) / TICK), bulk)


@feature(
    "poc",
    catalogue="T15",
    unit="ticks",
    source="practitioners",
    tier=2,
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def poc() -> pl.Expr:
    """Point of control: the price with the session's most volume so far.

    Of prices with equal volume the one that had it first; null before the first trade.
    """
    return volume_profile("poc") / TICK


@feature("poc_dev", catalogue="T15", unit="ticks", source="practitioners", tier=2, mirror="odd")
def poc_dev() -> pl.Expr:
    """Mid less the point of control."""
    return mid_ticks() - volume_profile("poc") / TICK


@feature(
    "value_area_{end}_dev",
    catalogue="T15",
    unit="ticks",
    source="practitioners",
    tier=2,
    params={"end": Choice(("low", "high"))},
    mirror="swap_odd",
)
def value_area_dev(end: str) -> pl.Expr:
    """Mid less the low or high end of the value area, the prices with 70 % of the volume.

    It grows from the point of control to the traded neighbour with more volume, to both where
    they are equal.
    """
    return mid_ticks() - volume_profile(end) / TICK


@feature(
    "profile_share",
    catalogue="T15",
    source="practitioners",
    tier=2,
    range=(0, 1),
)
def profile_share() -> pl.Expr:
    """Session's volume at the last trade's price over that at the point of control."""
    return ratio(volume_profile("here"), volume_profile("most"))


@cache
def _traded(side: str) -> pl.Expr:
    """Contracts aggressors took from a side's touch since it has its price."""
    far = {"bid": -_FAR, "ask": _FAR}[side]
    price = if_ok_flow(px(side).fill_null(far))
    volume = session_cum(pl.col(f"{_TAKER[side]}_sz"))
    before = previous(price)
    born = (price != before) | (price.is_not_null() & before.is_null())
    # What the event took that made the level was taken from the one before.
    since = volume - last(pl.when(born).then(volume))
    return pl.when(OK_FLOW & px(side).is_not_null()).then(since)


@feature(
    "touch_traded_{side}",
    catalogue="T16",
    unit="contracts",
    source="practitioners",
    params={"side": SIDES},
    dtype=pl.Int64,
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def touch_traded(side: str) -> pl.Expr:
    """Contracts traded at the best price of a side since it became the best price."""
    return _traded(side)


@feature(
    "footprint_delta",
    catalogue="T16",
    unit="contracts",
    source="practitioners",
    dtype=pl.Int64,
    mirror="odd",
    size_power=1,
)
def footprint_delta() -> pl.Expr:
    """Contracts bought at the ask less contracts sold at the bid, each since it has its price."""
    return if_ok(_traded("ask") - _traded("bid"))


@feature(
    "absorption_{side}",
    catalogue="T16",
    source="practitioners",
    params={"side": SIDES},
    range=(0, None),
    mirror="swap",
)
def absorption(side: str) -> pl.Expr:
    """Contracts traded at a side's best price while it stood, over the size displayed there."""
    return ratio(_traded(side), size(side))
