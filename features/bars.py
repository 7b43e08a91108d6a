"""Combinators over bars and extremes, beside those of ``features.windows``.

A bar is a stretch of a segment: between points of a grid in time (``60s``), or of a number of
events (``e1000``), contracts traded (``c1000``) or prints (``t100``).  It counts once it has
closed: a decision sees the bars that the last known event, or the time, has completed.  A grid's
first bar of a segment began before the segment did: it has a close, but no open, high or low.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from features.nodes import DURATION_PATTERN, SAMPLE, Window, digest, make_node, window
from pipeline.units import parse_duration

COUNTED_PATTERN = "[ect][1-9][0-9]{0,8}"
BAR_PATTERN = f"{COUNTED_PATTERN}|{DURATION_PATTERN}"

AMOUNTS = {"e": "events", "c": "contracts", "t": "prints"}


@dataclass(frozen=True)
class Bar:
    """Expressions over bars: one row a bar, all in the units of what they are bars of."""

    open: pl.Expr
    """What stood when the bar before closed."""
    high: pl.Expr
    low: pl.Expr
    close: pl.Expr


def amount(kind: str) -> pl.Expr:
    """What an event adds to bars of events (``e``), contracts (``c``) or prints (``t``)."""
    if kind == "e":
        return pl.lit(1, pl.Int64)
    return pl.col("trade_sz" if kind == "c" else "trade_ct")


def over_bars(bar: str, x: pl.Expr, then: Callable[[Bar], pl.Expr]) -> pl.Expr:
    """``then(bars)`` as of the last closed bar, where the bars are those of ``x``.

    ``then`` may use every combinator; they see one row a bar.  Null before the segment's first
    bar has closed.

    Raises
    ------
    ValueError
        If ``bar`` is neither a duration nor a number of events, contracts or prints.
    """
    if not re.fullmatch(BAR_PATTERN, bar):
        raise ValueError(f"{bar!r} is no bar; write 60s, e1000 (events), c1000 or t100")
    counted = bar[0] in AMOUNTS
    kind, size = (AMOUNTS[bar[0]], int(bar[1:])) if counted else ("time", parse_duration(bar))
    added = amount(bar[0]) if counted else pl.col("ended")
    name = f"{SAMPLE}{digest(x, bar)}:"
    parts = Bar(*(pl.col(f"{name}{part}") for part in ("open", "high", "low", "close")))
    return make_node("bars", (x, added), (kind, size, name), inner=then(parts))


def latest_sum(x: pl.Expr, size: str) -> pl.Expr:
    """Sum of ``x`` over the last events that make up ``size`` (``e1000``, ``c1000``, ``t100``).

    Whole events: the fewest latest ones of the segment whose events, contracts or prints reach
    the size.  ``x`` counts where the event adds to it.
    """
    return make_node("latest", (x, amount(size[0])), method="sum", args=(int(size[1:]),))


def highest(x: pl.Expr, over: str | Window) -> pl.Expr:
    """Largest ``x`` of a window by time or rows; null without any in it."""
    return _extreme(x, over, 1)


def lowest(x: pl.Expr, over: str | Window) -> pl.Expr:
    """Smallest ``x`` of a window by time or rows; null without any in it."""
    return _extreme(x, over, -1)


def _extreme(x: pl.Expr, over: str | Window, sign: int) -> pl.Expr:
    parsed = window(over)
    if parsed.kind == "half_life":
        raise ValueError("an extreme needs a window by time or rows, not a half-life")
    if parsed.kind == "rows":
        return make_node("packed_extreme", (x,), method="rows", args=(parsed.size, sign))
    return make_node("extreme", (x,), method="window", args=(parsed.size, sign))


def session_highest(x: pl.Expr) -> pl.Expr:
    """The session's largest ``x`` so far; halts do not reset it."""
    return make_node("session_extreme", (x,), (1,))


def session_lowest(x: pl.Expr) -> pl.Expr:
    """The session's smallest ``x`` so far; halts do not reset it."""
    return make_node("session_extreme", (x,), (-1,))


def exponential(x: pl.Expr, span: int, warm: int | None = None) -> pl.Expr:
    """S + 2/(span + 1) (x - S) over the rows with a value, from the segment's first value.

    Null until ``warm`` values (``span``, unless said otherwise).
    """
    return make_node("recursive", (x,), (2, span + 1, 1, span if warm is None else warm))


def wilder(x: pl.Expr, length: int) -> pl.Expr:
    """S + (x - S)/length over the rows with a value, from the mean of the first ``length``."""
    return make_node("recursive", (x,), (1, length, length, length))
