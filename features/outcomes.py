"""Labels of what came of it (catalogue L08 to L13): barriers, signals, trades, risk, orders."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from features.columns import if_ok, mid_ticks, ratio, ticks
from features.forward import (
    ahead_highest,
    ahead_lowest,
    first_touch,
    passive_fill,
    rows_ahead,
)
from features.grids import HORIZONS
from features.labels import HUNDREDTHS
from features.nodes import Window
from features.nodes import window as parse_window
from features.registry import FEATURES, Choice, Named, Numbers, Parameter, Windows, label
from features.returns import expected_size
from features.trend import trend_t
from features.volatility import squared_change
from features.windows import ahead, previous, session_cum
from pipeline.units import NS_PER_S

# --- barriers and signals (L08, L09, L10) ----------------------------------------------------

TENTHS = Numbers((10, 20), 1, 1000)

BARRIERS: Mapping[str, Parameter] = {
    "price": Choice(("mid", "long", "short")),
    "up": TENTHS,
    "down": TENTHS,
    "horizon": Windows(("10s", "60s")),
}


def _barriers(price: str, up: int, down: int, horizon: str) -> tuple[pl.Expr, pl.Expr]:
    """1 where the profit's barrier is touched first, -1 the loss's, 0 neither; and when."""
    sigma = expected_size(horizon)
    gain, loss = sigma * (up / 10), sigma * (down / 10)
    if price == "mid":
        return first_touch(mid_ticks(), mid_ticks() + gain, mid_ticks() - loss, horizon)
    bid, ask = if_ok(ticks("bid")), if_ok(ticks("ask"))
    if price == "long":
        return first_touch(bid, ask + gain, ask - loss, horizon)
    side, when = first_touch(ask, bid + loss, bid - gain, horizon)
    return -side, when


def _barrier_time(price: str, up: int, down: int, horizon: str) -> pl.Expr:
    return _barriers(price, up, down, horizon)[1]


@label(
    "y_barrier_{price}_u{up}_d{down}_{horizon}",
    catalogue="L08",
    unit="-1, 0 or 1",
    source="Lopez de Prado 2018, ch 3",
    tier=2,
    params=BARRIERS,
    dtype=pl.Int8,
    range=(-1, 1),
    known=_barrier_time,
)
def triple_barrier(price: str, up: int, down: int, horizon: str) -> pl.Expr:
    """First of a gain of up/10 sigma (1), a loss of down/10 sigma (-1), the horizon's end (0).

    Sigma is V10(60 s) sqrt(horizon), at least half a tick.  Of the mid; or of a long (short)
    position entered at the ask (bid) and closed at the other side.
    """
    return _barriers(price, up, down, horizon)[0]


@label(
    "y_barrier_seconds_{price}_u{up}_d{down}_{horizon}",
    catalogue="L08",
    unit="s",
    source="Lopez de Prado 2018, ch 3",
    tier=2,
    params=BARRIERS,
    range=(0, None),
    known=_barrier_time,
)
def triple_barrier_seconds(price: str, up: int, down: int, horizon: str) -> pl.Expr:
    """Seconds until the first barrier of ``y_barrier_...`` is touched, or the horizon ends."""
    return (_barrier_time(price, up, down, horizon) - pl.col("t")) / NS_PER_S


def _is_feature(name: str) -> bool:
    return FEATURES.find(name) is not None


@label(
    "y_meta_{signal}_{horizon}_c{cost}",
    catalogue="L09",
    unit="0 or 1",
    source="Lopez de Prado 2018, ch 3",
    tier=2,
    params={
        "signal": Named(("ofi_10s", "momentum_60s"), _is_feature),
        "horizon": Windows(("10s", "60s")),
        "cost": HUNDREDTHS,
    },
    dtype=pl.Int8,
    range=(0, 1),
)
def meta_label(signal: str, horizon: str, cost: int) -> pl.Expr:
    """1 if the mid's return in the direction of a feature's sign exceeds a cost, else 0.

    The cost is in hundredths of a tick; null where the feature is 0 or null.
    """
    column = FEATURES.find(signal)
    assert column is not None  # the parameter says so
    side = column.expr.cast(pl.Float64).sign()
    gain = side * (ahead(mid_ticks(), horizon) - mid_ticks())
    return pl.when((side != 0) & gain.is_not_null()).then(gain > cost / 100)


def _scanned(horizon: str) -> pl.Expr:
    """t-value, of four lengths up to the horizon, that is largest in absolute value."""
    most = parse_window(horizon).size
    lengths = sorted({max(3, most * part // 4) for part in (1, 2, 3, 4)})
    found = [rows_ahead(trend_t(f"n{length}"), length) for length in lengths]
    best = pl.max_horizontal(x.abs() for x in found)
    chosen = pl.coalesce(pl.when(x.abs() == best).then(x) for x in found)
    # Known together, when the longest is.
    whole = mid_ticks().is_not_null() & ahead(mid_ticks(), horizon).is_not_null()
    return pl.when(whole).then(chosen)


SCANS = {"horizon": Windows(rows=(20, 100))}


@label(
    "y_trend_scan_{horizon}",
    catalogue="L10",
    unit="-1, 0 or 1",
    source="Lopez de Prado 2020",
    tier=2,
    params=SCANS,
    dtype=pl.Int8,
    range=(-1, 1),
    mirror="odd",
)
def trend_scan(horizon: str) -> pl.Expr:
    """Sign of the forward trend with the largest |t|, over 1/4, 1/2, 3/4 and all of N rows."""
    t = _scanned(horizon)
    # A level stretch is 0 but for rounding.
    return pl.when(t.abs() > 1e-6).then(t.sign()).when(t.is_not_null()).then(0)


@label(
    "y_trend_scan_t_{horizon}",
    catalogue="L10",
    unit="t",
    source="Lopez de Prado 2020",
    tier=2,
    params=SCANS,
    mirror="odd",
)
def trend_scan_t(horizon: str) -> pl.Expr:
    """t-value of the forward trend with the largest |t|, over parts of the next N rows."""
    return _scanned(horizon)


# --- what follows a trade, and risk (L11, L12) -----------------------------------------------


def _after_trade(reference: pl.Expr, horizon: str) -> pl.Expr:
    """D (m(t + tau) - reference) at an event with more prints of one aggressor than the other."""
    signed = pl.col("buy_sz") - pl.col("sell_sz")
    side = pl.when((signed != 0) & (pl.col("ts") == pl.col("t"))).then(signed.sign())
    return side * (ahead(mid_ticks(), horizon) - reference)


MARKOUTS = {"horizon": Windows(("1s", "10s", "60s"))}


@label(
    "y_markout_{horizon}",
    catalogue="L11",
    unit="ticks",
    source="Bessembinder 2003; minus half the realised spread",
    tier=2,
    params=MARKOUTS,
)
def markout(horizon: str) -> pl.Expr:
    """Markout of the event's trade: D (m(t + tau) - px), px the average price of its prints.

    Null at events without prints, or with as much bought as sold.
    """
    price = ratio(pl.col("trade_px_sz"), pl.col("trade_sz"))
    return _after_trade(price, horizon)


@label(
    "y_impact_{horizon}",
    catalogue="L11",
    unit="ticks",
    source="Bessembinder 2003; half the price impact",
    tier=2,
    params=MARKOUTS,
)
def impact(horizon: str) -> pl.Expr:
    """Impact of the event's trade: D (m(t + tau) - m0), m0 the mid before the event.

    Null at events without prints, or with as much bought as sold.
    """
    return _after_trade(previous(mid_ticks()), horizon)


@label(
    "y_rv_{horizon}",
    catalogue="L12",
    unit="ticks^2",
    source="Andersen and Bollerslev 1998",
    tier=2,
    params={"horizon": Windows(HORIZONS)},
    range=(0, None),
)
def forward_rv(horizon: str) -> pl.Expr:
    """Forward realised variance: sum of squared changes of the mid over (t, t + tau]."""
    total = session_cum(squared_change())
    return ahead(total, horizon) - total


@label(
    "y_excursion_{direction}_{horizon}",
    catalogue="L12",
    unit="ticks",
    source="convention",
    tier=2,
    params={"direction": Choice(("up", "down")), "horizon": Windows(HORIZONS)},
    range=(0, None),
    mirror="swap",
)
def excursion(direction: str, horizon: str) -> pl.Expr:
    """How far the mid rises (falls) above (below) where it is, at most, within tau; 0 if never."""
    mid = mid_ticks()
    far = ahead_highest(mid, horizon) - mid
    if direction == "down":
        far = mid - ahead_lowest(mid, horizon)
    known = mid.is_not_null() & ahead(mid, horizon).is_not_null()
    return pl.when(known).then(pl.when(far > 0).then(far).otherwise(0.0))


# --- what can be traded (L13) ----------------------------------------------------------------

LATENCY = Windows(("10ms",))


def _after(horizon: str, latency: str) -> pl.Expr:
    return pl.col("t") + (parse_window(latency).size + parse_window(horizon).size)


def _later(horizon: str, latency: str) -> Window:
    size = parse_window(latency).size + parse_window(horizon).size
    return Window("time", size, f"{size}ns")


def _end(*, horizon: str, latency: str, **_: object) -> pl.Expr:
    return _after(horizon, latency)


@label(
    "y_executable_{side}_{horizon}_lag{latency}_c{cost}",
    catalogue="L13",
    unit="ticks",
    source="convention",
    tier=2,
    params={
        "side": Choice(("long", "short")),
        "horizon": Windows(("1s", "10s", "60s")),
        "latency": LATENCY,
        "cost": Numbers((0, 50), 0, 100_000),
    },
    mirror="swap",
    known=_end,
)
def executable_return(side: str, horizon: str, latency: str, cost: int) -> pl.Expr:
    """Return of crossing the spread twice: in at t + lag, out a horizon later, less a cost.

    Long: bid(t + lag + tau) - ask(t + lag); the cost of both trades is in hundredths of a tick.
    """
    bid, ask = if_ok(ticks("bid")), if_ok(ticks("ask"))
    later = _later(horizon, latency)
    if side == "long":
        gain = ahead(bid, later) - ahead(ask, latency)
    else:
        gain = ahead(bid, latency) - ahead(ask, later)
    return gain - cost / 100


PASSIVE: Mapping[str, Parameter] = {
    "side": Choice(("bid", "ask")),
    "horizon": Windows(("10s", "60s")),
    "latency": LATENCY,
}


def _fill_known(side: str, horizon: str, latency: str) -> pl.Expr:
    return passive_fill(side, latency, horizon)[1]


@label(
    "y_fill_{side}_{horizon}_lag{latency}",
    catalogue="L13",
    unit="0 or 1",
    source="Moallemi and Yuan 2017",
    tier=2,
    params=PASSIVE,
    dtype=pl.Int8,
    range=(0, 1),
    mirror="swap",
    known=_fill_known,
)
def fill(side: str, horizon: str, latency: str) -> pl.Expr:
    """1 if an order that joins the best price at t + lag is filled within the horizon, else 0.

    It waits for all that rested there when it came; cancellations ahead do not help it.  A print
    beyond its price fills it.
    """
    return passive_fill(side, latency, horizon)[0]


@label(
    "y_fill_return_{side}_{horizon}_lag{latency}",
    catalogue="L13",
    unit="ticks",
    source="Moallemi and Yuan 2017",
    tier=2,
    params=PASSIVE,
    mirror="swap",
    known=_end,
)
def fill_return(side: str, horizon: str, latency: str) -> pl.Expr:
    """Of an order as in ``y_fill_...`` that is filled: mid at the horizon's end less its price.

    (Its price less the mid, on the ask.)  Null where it is not filled.
    """
    filled, _, price = passive_fill(side, latency, horizon)
    gain = ahead(mid_ticks(), _later(horizon, latency)) - price
    return pl.when(filled == 1).then(gain if side == "bid" else -gain)
