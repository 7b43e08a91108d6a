"""The slow features of volatility, trends, indicators and session ranges, by family."""

from __future__ import annotations

from collections.abc import Callable

from tests.reference.features import technical, variation
from tests.reference.features.levels import mid_of
from tests.reference.features.session import Value

SLOW_VOLS: dict[str, Callable[..., Value]] = {
    "bpv": variation.bpv,
    "jump_share": variation.jump_share,
    "semivariance": variation.semivariance,
    "signed_jumps": variation.signed_jumps,
    "tsrv": variation.tsrv,
    "tsrv_floored": variation.tsrv_floored,
    "preaveraged": variation.preaveraged,
    "noise_variance": variation.noise_variance,
    "noise_to_signal": variation.noise_to_signal,
    "variance_ratio": variation.variance_ratio,
    "eta": variation.eta,
    "parkinson": technical.parkinson,
    "garman_klass": technical.garman_klass,
    "realised_skew": lambda s, i, t, **a: variation.power(s, i, t, k=3, **a),
    "realised_kurtosis": lambda s, i, t, **a: variation.power(s, i, t, k=4, **a),
    "autocorrelation": variation.autocorrelation,
    "ou_half_life": variation.ou_half_life,
    "range_position": variation.range_position,
    "efficiency": variation.efficiency,
    "trend_slope": lambda s, i, t, window: variation.trend(s, i, t, window)[0],
    "trend_t": lambda s, i, t, window: variation.trend(s, i, t, window)[1],
    "sma": technical.sma,
    "bar_ema": technical.ema,
    "macd": lambda s, i, t, bar: technical.macd_parts(s, i, t, bar)[0],
    "macd_signal": lambda s, i, t, bar: technical.macd_parts(s, i, t, bar)[1],
    "macd_histogram": technical.macd_histogram,
    "rsi": technical.rsi,
    "bollinger_b": technical.bollinger_b,
    "bollinger_width": technical.bollinger_width,
    "donchian_high": lambda s, i, t, **a: technical.channel(s, i, t, **a)[0],
    "donchian_low": lambda s, i, t, **a: technical.channel(s, i, t, **a)[1],
    "donchian_position": lambda s, i, t, **a: technical.channel(s, i, t, **a)[2],
    "atr": technical.atr,
    "vwap_latest": technical.vwap_latest,
    "vwap_dev_latest": technical.vwap_dev_latest,
    "session_high_dist": technical.session_high_dist,
    "session_low_dist": technical.session_low_dist,
    "session_range_position": technical.session_range_position,
    "opening_high_dist": lambda s, i, t, minutes: technical.less(
        mid_of(s, i), technical.opening(s, i, t, minutes)[0]
    ),
    "opening_low_dist": lambda s, i, t, minutes: technical.less(
        mid_of(s, i), technical.opening(s, i, t, minutes)[1]
    ),
    "opening_breakout": technical.opening_breakout,
    "prior_dist": technical.prior_dist,
    "prior_settle_dist": technical.prior_settle_dist,
    "overnight_gap": technical.overnight_gap,
    "round_dist": technical.round_dist,
}
