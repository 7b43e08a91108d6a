"""How a feature says "over the last second": combinators over events.

A feature is a polars expression evaluated at a decision point.  Columns named there are the book
as of the last known event; whatever needs history goes through the functions of this module::

    ofi_1s = window_sum(ofi_event(), "1s")

Each returns ``pl.col(key)``, where the key is a digest of what is asked for; the engine computes
what stands behind the key, once, however many features use it, and they nest freely.

Rules they all keep (the catalogue's 0.3):

- *Ties.*  A window of length w at time t holds the events in (t - w, t] that stand at or before
  the decision's last event in position: none later in position is ever seen.
- *Segments.*  Nothing crosses the start of a session, a halt, or a gap in the data.
- *Warm-up.*  Null until the window has elapsed since the segment's first row: w for time windows,
  n rows with a value for row windows, 5 half-lives for exponential ones.
- *Undefined.*  A null input adds nothing to a sum and is no row of a row window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from features.nodes import (
    LN2,
    SAMPLE,
    Window,
    digest,
    make_node,
    nanoseconds,
    reachable,
    window,
)
from pipeline.units import NS_PER_S

# --- sums ------------------------------------------------------------------------------------


def window_sum(x: pl.Expr, length: str | Window) -> pl.Expr:
    """Sum of ``x`` over the events of (t - length, t]; integers stay exact."""
    return make_node("prefix", (x,), method="window", args=(nanoseconds(length),))


def row_sum(x: pl.Expr, rows: int) -> pl.Expr:
    """Sum of ``x`` over the last ``rows`` events at which it is not null."""
    return make_node("rows", (x,), method="sum", args=(rows,))


def ew_sum(x: pl.Expr, half_life: str | Window) -> pl.Expr:
    """Sum of x_i 2^(-(t - t_i) / half_life) over the segment's events up to now."""
    return make_node("decay", (x,), (nanoseconds(half_life),))


def session_cum(x: pl.Expr) -> pl.Expr:
    """Sum of ``x`` over the session's events up to now; halts do not reset it."""
    return make_node("prefix", (x,), method="total")


def total(x: pl.Expr, over: str | Window) -> pl.Expr:
    """Sum of ``x`` over a window of any kind."""
    parsed = window(over)
    if parsed.kind == "rows":
        return row_sum(x, parsed.size)
    return window_sum(x, parsed) if parsed.kind == "time" else ew_sum(x, parsed)


def count(x: pl.Expr, over: str | Window) -> pl.Expr:
    """How many events (decayed, for half-lives) of a window have a value of ``x``."""
    parsed = window(over)
    ones = pl.when(x.is_not_null()).then(1)
    return total(ones, parsed)


def mean(x: pl.Expr, over: str | Window) -> pl.Expr:
    """Mean of ``x`` over the events of a window at which it is not null; null without any."""
    n = count(x, over)
    return pl.when(n > 0).then(total(x, over) / n)


def rate(x: pl.Expr, over: str | Window) -> pl.Expr:
    """Sum of ``x`` per second: over a time window, or ln2/h times the decayed sum."""
    parsed = window(over)
    if parsed.kind == "rows":
        raise ValueError("a rate needs a window in time, not in rows")
    if parsed.kind == "time":
        return window_sum(x, parsed) / parsed.seconds
    return ew_sum(x, parsed) * (LN2 / parsed.seconds)


def deviation(x: pl.Expr, over: str | Window) -> pl.Expr:
    """Sample standard deviation (n - 1) of ``x`` over a window by time or rows.

    Null with fewer than two values, and where they are all equal.  ``x`` is centred on the
    session's first value so that the sums keep their precision (catalogue 0.4).
    """
    centred = x - session_first(x)
    n = count(x, over)
    first, second = total(centred, over), total(centred * centred, over)
    variance = (second - first * first / n) / (n - 1)
    # Half-tick multiples never vary by less than this without being constant.
    return pl.when((n > 1) & (variance > 1e-9)).then(variance.sqrt())


@dataclass(frozen=True)
class Spread:
    """What :func:`spread_of` says."""

    mean: pl.Expr
    sigma: pl.Expr


def spread_of(x: pl.Expr, over: str | Window) -> Spread:
    """Mean and standard deviation of ``x`` over the events of a window of any kind.

    Null with fewer than two values (time and rows), and while warming up.  Over time and rows the
    deviation is the sample's (n - 1), from sums in twice the precision of a float, so that ``x``
    needs no centring; with a half-life it is the root of the weighted mean square.  A constant
    window's deviation is 0 or what rounding leaves of it: see :func:`above_rounding`.
    """
    parsed = window(over)
    if parsed.kind == "half_life":
        parts = [make_node("decayed_moments", (x,), (parsed.size,), args=(k,)) for k in (0, 1)]
    else:
        method = "rows" if parsed.kind == "rows" else "window"
        parts = [
            make_node("deviations", (x,), method=method, args=(parsed.size, k)) for k in (0, 1)
        ]
    return Spread(*parts)


def above_rounding(spread: Spread) -> pl.Expr:
    """True where a standard deviation is more than rounding: above 1e-9 + 1e-10 |mean|."""
    return spread.sigma > 1e-9 + 1e-10 * spread.mean.abs()


def rank_among(x: pl.Expr, rows: int) -> pl.Expr:
    """(Values below - values above) / rows of ``x`` at the last event among the last ``rows``.

    Events at which ``x`` is null are no rows; null at those, and until there are ``rows``.
    """
    return make_node("rank", (x,), (rows,))


@dataclass(frozen=True)
class Regression:
    """What :func:`regression` says; each is null where it is not defined."""

    slope: pl.Expr
    intercept: pl.Expr
    r2: pl.Expr
    """Share of y's variance explained; null where y does not vary."""
    t: pl.Expr
    """The slope over its standard error; null where the fit is perfect."""
    n: pl.Expr
    """Events with both values."""

    @property
    def correlation(self) -> pl.Expr:
        """Correlation of x and y in [-1, 1]; null where either does not vary."""
        return self.slope.sign() * self.r2.sqrt()


def regression(y: pl.Expr, x: pl.Expr, over: str | Window) -> Regression:
    """Least squares of ``y`` on ``x`` over the events of a window (time or rows) that have both.

    Null with fewer than three such events, and where x does not vary.  The sums are kept in
    twice the precision of a float, so neither input needs centring (see
    ``features.kernels_moments``); times should still count from the session's open, not from
    the epoch: nanoseconds since then do not fit into a float.

    Raises
    ------
    ValueError
        For a window with a half-life.
    """
    parsed = window(over)
    if parsed.kind == "half_life":
        raise ValueError("a regression needs a window by time or rows, not a half-life")
    method = "rows" if parsed.kind == "rows" else "window"

    def part(which: int) -> pl.Expr:
        return make_node("moments", (x, y), method=method, args=(parsed.size, which))

    both = pl.when(x.is_not_null() & y.is_not_null()).then(1)
    return Regression(part(0), part(1), part(2), part(3), total(both, parsed))


# --- values ----------------------------------------------------------------------------------


def last(x: pl.Expr) -> pl.Expr:
    """The last value of ``x`` that was not null, at or before now, in the segment."""
    return make_node("value", (x,))


def previous(x: pl.Expr) -> pl.Expr:
    """The last value of ``x`` that was not null, at an earlier event of the segment."""
    return make_node("value", (x,), method="before")


def value_at(x: pl.Expr, ago: str | Window) -> pl.Expr:
    """The last value of ``x`` that was not null as of t - ago; null before the segment."""
    return make_node("value", (x,), method="ago", args=(nanoseconds(ago),))


def lag(x: pl.Expr, rows: int) -> pl.Expr:
    """The value of ``x`` ``rows`` events earlier, counting events at which it is not null."""
    return make_node("rows", (x,), method="lag", args=(rows,))


def ago(x: pl.Expr, back: str | Window) -> pl.Expr:
    """:func:`value_at` for a duration, :func:`lag` for a number of rows."""
    parsed = window(back)
    return lag(x, parsed.size) if parsed.kind == "rows" else value_at(x, parsed)


def session_first(x: pl.Expr) -> pl.Expr:
    """The session's first value of ``x`` that is not null."""
    return make_node("opening", (x,))


def since(condition: pl.Expr) -> pl.Expr:
    """Seconds since the last event at which the condition held, else since the segment's start."""
    when = pl.when(condition.fill_null(value=False) | pl.col("first")).then(pl.col("ts"))
    return (pl.col("t") - last(when)) / NS_PER_S


def time_mean(x: pl.Expr, length: str | Window) -> pl.Expr:
    """Mean of ``x`` over (t - length, t], each value weighted by the time it stood.

    Time at which ``x`` is undefined is left out; null if that is all of it.
    """
    return make_node("held", (x,), method="mean", args=(nanoseconds(length),))


def on_grid(step: str, x: pl.Expr | Sequence[pl.Expr], then: Callable[..., pl.Expr]) -> pl.Expr:
    """``then(*samples)``, where the samples are ``x`` (or several) on a fixed grid of ``step``.

    The sample at a grid point g (a multiple of ``step`` since the epoch) knows the events before
    g; ``then`` may use every combinator, which see one row a grid point.  At a decision point the
    result is that of the last grid point at or before it; null before the segment's first.
    """
    parts = (x,) if isinstance(x, pl.Expr) else tuple(x)
    names = tuple(f"{SAMPLE}{digest(part)}" for part in parts)
    return make_node("grid", parts, (nanoseconds(step), *names), inner=then(*map(pl.col, names)))


def delayed(
    tau: str,
    condition: pl.Expr,
    at: Sequence[pl.Expr],
    later: Sequence[pl.Expr],
    then: Callable[..., pl.Expr],
) -> pl.Expr:
    """``then(*at, *later)`` over marks that count from ``tau`` after they were made.

    A mark is made at every event where the condition holds.  It holds the values of ``at`` then
    and those of ``later`` as of the last event at or before ``tau`` after; windows of ``then``
    (all combinators work) see it at that time, when all of this is known.  Null where it would
    have to know what comes after the segment's end.
    """
    names = [f"{SAMPLE}{k}:{digest(part)}" for k, part in enumerate((*at, *later))]
    inner = then(*map(pl.col, names))
    settings: tuple[int | str, ...] = (nanoseconds(tau), len(at), *names)
    return make_node("delayed", (condition, *at, *later), settings, inner=inner)


# --- other instruments --------------------------------------------------------------------


def of_peer(peer: str, x: pl.Expr) -> pl.Expr:
    """``x`` of another instrument, as known strictly before the decision's time (Float64).

    ``x`` may use every combinator: they see the peer's events, and windows end at the decision's
    time.  ``pl.col("t")`` in it is that time, ``pl.col("ts")`` the peer's last event's.  Null
    before the peer's first event, and where the set names no such peer.

    Raises
    ------
    ValueError
        If ``x`` samples the peer on a grid or in bars, or reads a peer of the peer: sample
        ``of_peer(...)`` instead.
    """
    if any(node.state in ("grid", "bars", "delayed", "peer") for node in reachable([x])):
        raise ValueError(f"peer {peer!r}: sample what it says, not what it says of samples")
    return make_node("peer", (), (peer,), inner=x)


# --- volume ----------------------------------------------------------------------------------


def bucket_imbalance(buy: pl.Expr, sell: pl.Expr, size: int, buckets: int) -> pl.Expr:
    """Mean of abs(buys - sells) / size over the last ``buckets`` buckets of ``size`` contracts.

    Events are split where a bucket ends; the open bucket does not count.  Null until the segment
    has filled that many.
    """
    return make_node("volume_buckets", (buy, sell), (size, buckets))


def volume_profile(part: str, percent: int = 70) -> pl.Expr:
    """Of the volume at each price since the session's start: ``poc`` is the price with the most
    (of equals the one that had it first), ``low`` and ``high`` the ends of the value area round
    it that holds ``percent`` of all, in 1e-9; ``most`` the volume at the first, ``here`` that at
    the last print's price.  Null before the first trade.
    """
    which = ("poc", "low", "high", "most", "here").index(part)
    prints = pl.col("print_px"), pl.col("print_sz")
    return make_node("volume_profile", prints, (percent,), args=(which,))


def shared(x: pl.Expr) -> pl.Expr:
    """``x`` itself, evaluated once a decision for all features, and all terms of one, that read it.

    Worth it for what is costly or occurs often; it takes a column of memory while a batch lasts.
    """
    return make_node("shared", (x,))


# --- levels ----------------------------------------------------------------------------------


def keyed_change(
    usable: pl.Expr, prices: Sequence[pl.Expr], sizes: Sequence[pl.Expr], distance: int
) -> pl.Expr:
    """Change of one side's size since the last usable event, both on the same prices.

    The prices less than ``distance`` ticks below the better of the two touches count.  Levels
    are given best first, prices so that higher is better, far below where there is no level.
    Null on events at which ``usable`` is null, and at a segment's first.
    """
    return make_node("keyed_change", (usable, *prices, *sizes), (distance,))


def level_median(sizes: Sequence[pl.Expr]) -> pl.Expr:
    """Median of the sizes that are not 0, at the event; null where all are."""
    return make_node("level_median", tuple(sizes))


# --- fitted on past sessions -----------------------------------------------------------------


def fitted(component: str, key: pl.Expr) -> pl.Expr:
    """The value a component of ``features.components`` has at a key; null without a fit."""
    return make_node("fitted", (key,), (component,))


def fitted_rank(component: str, key: pl.Expr, x: pl.Expr) -> pl.Expr:
    """Share of a component's values at a key below ``x``, of equal ones a half; in [0, 1]."""
    return make_node("fitted", (key, x), (component,), method="rank")


# --- forward, for labels only ------------------------------------------------------------------


def ahead(x: pl.Expr, horizon: str | Window) -> pl.Expr:
    """Labels only.  ``x`` as of t + horizon, or that many rows (with a value) later.

    Null where the segment's data end before.
    """
    parsed = window(horizon)
    method = "rows" if parsed.kind == "rows" else "time"
    return make_node("future", (x,), method=method, args=(parsed.size,))


def ahead_time(x: pl.Expr, horizon: str | Window) -> pl.Expr:
    """Labels only.  The time (ns) at which :func:`ahead` is known."""
    parsed = window(horizon)
    method = "rows_time" if parsed.kind == "rows" else "time_time"
    return make_node("future", (x,), method=method, args=(parsed.size,))
