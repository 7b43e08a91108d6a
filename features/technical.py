"""Technical indicators over bars: in time, of events, of contracts traded, of prints.

All are of the mid, in ticks; a bar counts once it has closed (see ``features.bars``).  Averages
over n bars are null until the segment has n of them.
"""

from __future__ import annotations

import polars as pl

from features.bars import Bar, exponential, highest, latest_sum, lowest, over_bars, wilder
from features.columns import TICK, mid_ticks, ratio
from features.registry import Bars, Numbers, feature
from features.windows import mean, previous, row_sum, session_first

BARS = Bars(("60s", "e1000", "c1000", "t100"))

FAST, SLOW, SIGNAL = 12, 26, 9
"""Bars of the averages of MACD."""

WARM_MACD = 3 * SLOW

MACD_BARS = Bars(("60s", "e1000"))

WIDTH = 2.0
"""Standard deviations of the Bollinger bands on either side."""


def _count(*values: int) -> Numbers:
    return Numbers(values, 1, 10_000)


def _centred(x: pl.Expr) -> pl.Expr:
    """Relative to the session's first mid, so that sums keep their precision."""
    return x - session_first(mid_ticks())


def _level(x: pl.Expr) -> pl.Expr:
    """A price made relative by :func:`_centred`, back in ticks."""
    return x + session_first(mid_ticks())


@feature(
    "sma_{count}_{bar}",
    catalogue="R06",
    unit="ticks",
    source="convention",
    tier=2,
    params={"count": _count(20), "bar": BARS},
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def sma(count: int, bar: str) -> pl.Expr:
    """Simple moving average: mean of the closes of the last bars."""
    centred = _centred(mid_ticks())
    return _level(over_bars(bar, centred, lambda b: mean(b.close, f"n{count}")))


@feature(
    "ema_{count}_{bar}",
    catalogue="R06",
    unit="ticks",
    source="convention",
    tier=2,
    params={"count": _count(12, 26), "bar": BARS},
    dtype=pl.Float64,
    mirror="odd",
    shift="level",
)
def bar_ema(count: int, bar: str) -> pl.Expr:
    """Exponential moving average of closes: E + 2/(n + 1) (C - E), from the segment's first."""
    centred = _centred(mid_ticks())
    return _level(over_bars(bar, centred, lambda b: exponential(b.close, count)))


def _macd(close: pl.Expr) -> pl.Expr:
    return exponential(close, FAST, WARM_MACD) - exponential(close, SLOW, WARM_MACD)


def _macd_signal(close: pl.Expr) -> pl.Expr:
    line = exponential(close, FAST, 1) - exponential(close, SLOW, 1)
    return exponential(line, SIGNAL, WARM_MACD)


@feature(
    "macd_{bar}",
    catalogue="R07",
    unit="ticks",
    source="Appel 1979",
    tier=2,
    params={"bar": MACD_BARS},
    mirror="odd",
)
def macd(bar: str) -> pl.Expr:
    """MACD: EMA of 12 bars less EMA of 26; null for the first 3 x 26 bars."""
    return over_bars(bar, _centred(mid_ticks()), lambda b: _macd(b.close))


@feature(
    "macd_signal_{bar}",
    catalogue="R07",
    unit="ticks",
    source="Appel 1979",
    tier=2,
    params={"bar": MACD_BARS},
    mirror="odd",
)
def macd_signal(bar: str) -> pl.Expr:
    """Signal line: EMA of 9 bars of the MACD; null for the first 3 x 26 bars."""
    return over_bars(bar, _centred(mid_ticks()), lambda b: _macd_signal(b.close))


@feature(
    "macd_histogram_{bar}",
    catalogue="R07",
    unit="ticks",
    source="Appel 1979",
    tier=2,
    params={"bar": MACD_BARS},
    mirror="odd",
)
def macd_histogram(bar: str) -> pl.Expr:
    """MACD less its signal line; null for the first 3 x 26 bars."""
    centred = _centred(mid_ticks())
    return over_bars(bar, centred, lambda b: _macd(b.close) - _macd_signal(b.close))


@feature(
    "rsi_{count}_{bar}",
    catalogue="R08",
    unit="0 to 100",
    source="Wilder 1978",
    tier=2,
    params={"count": _count(14), "bar": BARS},
    range=(0, 100),
    mirror="complement",
)
def rsi(count: int, bar: str) -> pl.Expr:
    """Relative strength: 100 U / (U + L), Wilder's averages of rises and falls of closes.

    50 where there were neither; U and L begin as means of the first changes.
    """

    def strength(b: Bar) -> pl.Expr:
        change = b.close - previous(b.close)
        rise = wilder(pl.when(change < 0).then(0.0).otherwise(change), count)
        fall = wilder(pl.when(change > 0).then(0.0).otherwise(-change), count)
        moved = rise + fall
        return pl.when(moved > 0).then(100.0 * rise / moved).when(moved == 0).then(50.0)

    return over_bars(bar, mid_ticks(), strength)


def _bands(close: pl.Expr, count: int) -> tuple[pl.Expr, pl.Expr]:
    """Mean and standard deviation (by n, as Bollinger has it) of the last closes."""
    middle = row_sum(close, count) / count
    variance = row_sum(close * close, count) / count - middle * middle
    # Half-tick multiples never vary by less than this without being constant.
    return middle, pl.when(variance > 1e-9).then(variance.sqrt()).when(variance <= 1e-9).then(0.0)


@feature(
    "bollinger_b_{count}_{bar}",
    catalogue="R09",
    source="Bollinger 2001",
    tier=2,
    params={"count": _count(20), "bar": BARS},
    mirror="complement",
)
def bollinger_b(count: int, bar: str) -> pl.Expr:
    """%b: where the last close stands between the bands, mean -+ 2 sigma (sigma by n).

    0 at the lower band, 1 at the upper; null where all closes are equal.
    """

    def position(b: Bar) -> pl.Expr:
        middle, sigma = _bands(b.close, count)
        return 0.5 + ratio(b.close - middle, 2 * WIDTH * sigma)

    return over_bars(bar, _centred(mid_ticks()), position)


@feature(
    "bollinger_width_{count}_{bar}",
    catalogue="R09",
    source="Bollinger 2001",
    tier=2,
    params={"count": _count(20), "bar": BARS},
    range=(0, None),
    shift="other",
)
def bollinger_width(count: int, bar: str) -> pl.Expr:
    """Bandwidth: 4 sigma over the absolute mean of the last closes; null where that is 0."""
    centred = _centred(mid_ticks())
    sigma = over_bars(bar, centred, lambda b: _bands(b.close, count)[1])
    middle = over_bars(bar, centred, lambda b: _bands(b.close, count)[0])
    return ratio(2 * WIDTH * sigma, _level(middle).abs())


def _channel(bar: str, count: int, part: str) -> pl.Expr:
    def bound(b: Bar) -> pl.Expr:
        return highest(b.high, f"n{count}") if part == "high" else lowest(b.low, f"n{count}")

    return over_bars(bar, mid_ticks(), bound)


@feature(
    "donchian_high_{count}_{bar}",
    catalogue="R10",
    unit="ticks",
    source="Donchian 1960",
    tier=2,
    params={"count": _count(20), "bar": BARS},
    dtype=pl.Float64,
    mirror="swap_odd",
    shift="level",
)
def donchian_high(count: int, bar: str) -> pl.Expr:
    """Highest mid of the last bars."""
    return _channel(bar, count, "high")


@feature(
    "donchian_low_{count}_{bar}",
    catalogue="R10",
    unit="ticks",
    source="Donchian 1960",
    tier=2,
    params={"count": _count(20), "bar": BARS},
    dtype=pl.Float64,
    mirror="swap_odd",
    shift="level",
)
def donchian_low(count: int, bar: str) -> pl.Expr:
    """Lowest mid of the last bars."""
    return _channel(bar, count, "low")


@feature(
    "donchian_position_{count}_{bar}",
    catalogue="R10",
    unit="0 to 1",
    source="Donchian 1960",
    tier=2,
    params={"count": _count(20), "bar": BARS},
    range=(0, 1),
    mirror="complement",
)
def donchian_position(count: int, bar: str) -> pl.Expr:
    """Where the last close stands in the range of the last bars; 0.5 in a range of 0."""

    def position(b: Bar) -> pl.Expr:
        high, low = highest(b.high, f"n{count}"), lowest(b.low, f"n{count}")
        inside = (b.close - low) / (high - low)
        return pl.when(high > low).then(inside).when(high == low).then(0.5)

    return over_bars(bar, mid_ticks(), position)


@feature(
    "atr_{count}_{bar}",
    catalogue="V09",
    unit="ticks",
    source="Wilder 1978",
    tier=2,
    params={"count": _count(14), "bar": BARS},
    range=(0, None),
)
def atr(count: int, bar: str) -> pl.Expr:
    """Average true range: Wilder's mean of max(H, C-) - min(L, C-), C- the close before."""

    def average(b: Bar) -> pl.Expr:
        before = previous(b.close)
        top = pl.when(before > b.high).then(before).otherwise(b.high)
        bottom = pl.when(before < b.low).then(before).otherwise(b.low)
        return wilder(pl.when(before.is_not_null()).then(top - bottom), count)

    return over_bars(bar, mid_ticks(), average)


LATEST = Bars(("e1000", "c1000", "t100"), "[ect][1-9][0-9]{0,8}")


def _vwap_latest(size: str) -> pl.Expr:
    origin = session_first(pl.col("trade_px")) / TICK
    volume = pl.col("trade_sz")
    value = pl.when(volume > 0).then(pl.col("trade_px_sz") - origin * volume).otherwise(0.0)
    return ratio(latest_sum(value, size), latest_sum(volume, size)) + origin


@feature(
    "vwap_{size}",
    catalogue="T10",
    unit="ticks",
    source="convention",
    params={"size": LATEST},
    dtype=pl.Float64,
    mirror="odd",
    size_power=None,
    shift="level",
)
def vwap_latest(size: str) -> pl.Expr:
    """Volume-weighted average price of the last N events, contracts or prints.

    Over the fewest latest whole events that reach N; null before the segment has as many.
    """
    return _vwap_latest(size)


@feature(
    "vwap_dev_{size}",
    catalogue="T10",
    unit="ticks",
    source="convention",
    params={"size": LATEST},
    mirror="odd",
    size_power=None,
)
def vwap_dev_latest(size: str) -> pl.Expr:
    """Mid less the VWAP of the last N events, contracts or prints."""
    return mid_ticks() - _vwap_latest(size)
