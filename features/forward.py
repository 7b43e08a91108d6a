"""Combinators that look forward, beside ``ahead`` and ``ahead_time``: for labels only.

All are null where the segment's data end before the horizon does, also where the answer came
earlier: else labels near the end would be those of quick markets alone.
"""

from __future__ import annotations

import math

import polars as pl

from features.columns import mid_ticks
from features.nodes import Window, make_node, nanoseconds
from features.windows import ahead


def rows_ahead(x: pl.Expr, rows: int) -> pl.Expr:
    """``x`` at the row ``rows`` rows with a mid later; null where it is undefined there."""
    at_mids = pl.when(mid_ticks().is_not_null()).then(x.cast(pl.Float64).fill_null(math.nan))
    return ahead(at_mids, f"n{rows}").fill_nan(None)


def ahead_highest(x: pl.Expr, horizon: str | Window) -> pl.Expr:
    """Largest ``x`` of the events after now, up to t + horizon; null without any."""
    return make_node("future", (x,), method="extreme", args=(nanoseconds(horizon), 1))


def ahead_lowest(x: pl.Expr, horizon: str | Window) -> pl.Expr:
    """Smallest ``x`` of the events after now, up to t + horizon; null without any."""
    return make_node("future", (x,), method="extreme", args=(nanoseconds(horizon), -1))


def first_touch(
    x: pl.Expr, upper: pl.Expr, lower: pl.Expr, horizon: str | Window
) -> tuple[pl.Expr, pl.Expr]:
    """What ``x`` reaches first after now: 1 for ``upper`` (or more), -1 for ``lower`` (or less),
    0 for neither by t + horizon; and when that is known (ns).
    """
    args, asked = (nanoseconds(horizon),), (upper, lower)
    side = make_node("future", (x,), method="barrier", args=args, asked=asked)
    return side, make_node("future", (x,), method="barrier_time", args=args, asked=asked)


def passive_fill(
    side: str, latency: str | Window, horizon: str | Window
) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """An order at the best price of its side, behind all that rests there, from t + latency on.

    Returns
    -------
    1 if it is filled within ``horizon`` after that, else 0; the time of the fill, or the last
    moment; its price in ticks.  What is cancelled ahead of it counts as still there, so that a
    fill is never too early.
    """
    sign, aggressor = (1, "sell") if side == "bid" else (-1, "buy")
    ok, tick = pl.col("ok"), pl.col("tick")
    joined = ahead(pl.when(ok).then(pl.col(f"{side}_px_00")), latency) / tick
    queue = ahead(pl.when(ok).then(pl.col(f"{side}_sz_00")), latency)
    inputs = sign * pl.col("trade_px") / tick, pl.col(f"{aggressor}_sz")
    args, asked = (nanoseconds(latency), nanoseconds(horizon)), (sign * joined, queue)
    parts = [
        make_node("future", inputs, ("fills",), method=method, args=args, asked=asked)
        for method in ("fill", "fill_time")
    ]
    return parts[0], parts[1], joined
