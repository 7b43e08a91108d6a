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

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from pipeline.units import NS_PER_S, parse_duration

MARK = "~"
"""First character of a node's key: no column of a table begins so."""

SAMPLE = "x:"
"""Beginning of the column that holds the samples of a grid."""

WARM_HALF_LIVES = 5
"""Half-lives after which an exponential window counts as warm (the catalogue's 0.2)."""

LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Window:
    """A window by time (``1s``), by rows (``n50``) or by exponential half-life (``h10s``)."""

    kind: Literal["time", "rows", "half_life"]
    size: int
    """Nanoseconds, or rows."""
    text: str

    @property
    def seconds(self) -> float:
        """Length of a time window or half-life in seconds."""
        return self.size / NS_PER_S


_DURATION = r"[1-9][0-9]*(?:ns|us|ms|s|m|h)"
WINDOW_PATTERN = rf"(?:n[1-9][0-9]*|h?{_DURATION})"
DURATION_PATTERN = _DURATION


def window(text: str | Window) -> Window:
    """Parse ``1s``, ``n50`` or ``h10s``.

    Raises
    ------
    ValueError
        If the text is none of these.
    """
    if isinstance(text, Window):
        return text
    if not re.fullmatch(WINDOW_PATTERN, text):
        raise ValueError(f"{text!r} is no window; write 1s, n50 (rows) or h10s (half-life)")
    if text.startswith("n"):
        return Window("rows", int(text[1:]), text)
    if text.startswith("h"):
        return Window("half_life", parse_duration(text[1:]), text)
    return Window("time", parse_duration(text), text)


@dataclass(frozen=True)
class Node:
    """What stands behind a key: a running state, and how it is read at a decision point."""

    key: str
    state: str
    """Kind of the running state, see ``features.states``."""
    inputs: tuple[pl.Expr, ...]
    """What the state is fed with at every event."""
    settings: tuple[int | str, ...]
    """Parameters of the state itself; nodes of equal state, inputs and settings share it."""
    method: str
    args: tuple[int, ...] = ()
    state_key: str = ""
    inner: pl.Expr | None = None
    """Grid nodes: the expression over the samples."""
    asked: tuple[pl.Expr, ...] = ()
    """What a decision asks with: evaluated there when the node is read."""
    input_keys: tuple[str, ...] = ()
    """Digests of the inputs: equal ones are evaluated once."""


NODES: dict[str, Node] = {}
"""All nodes asked for in this process, by key.  A key is a digest of its content."""


def _digest(*parts: object) -> str:
    digest = hashlib.blake2b(digest_size=10)
    for part in parts:
        blob = part.meta.serialize() if isinstance(part, pl.Expr) else repr(part).encode()
        digest.update(len(blob).to_bytes(4, "little") + blob)
    return digest.hexdigest()


def _node(
    state: str,
    inputs: tuple[pl.Expr, ...],
    settings: tuple[int | str, ...] = (),
    method: str = "at",
    args: tuple[int, ...] = (),
    inner: pl.Expr | None = None,
    asked: tuple[pl.Expr, ...] = (),
) -> pl.Expr:
    state_key = f"{state}:{_digest(settings, *inputs)}"
    tail = () if inner is None else (inner,)
    key = f"{MARK}{state}.{method}:{_digest(state_key, args, *tail, *asked)}"
    if key not in NODES:
        fed = tuple(_digest(x) for x in inputs)
        NODES[key] = Node(key, state, inputs, settings, method, args, state_key, inner, asked, fed)
    return pl.col(key)


def node_keys(expr: pl.Expr) -> list[str]:
    """Keys of the nodes an expression reads directly."""
    return [name for name in expr.meta.root_names() if name.startswith(MARK)]


def _ns(text: str | Window) -> int:
    parsed = window(text)
    if parsed.kind == "rows":
        raise ValueError(f"{parsed.text!r} is a number of rows; a duration is needed here")
    return parsed.size


# --- sums ------------------------------------------------------------------------------------


def window_sum(x: pl.Expr, length: str | Window) -> pl.Expr:
    """Sum of ``x`` over the events of (t - length, t]; integers stay exact."""
    return _node("prefix", (x,), method="window", args=(_ns(length),))


def row_sum(x: pl.Expr, rows: int) -> pl.Expr:
    """Sum of ``x`` over the last ``rows`` events at which it is not null."""
    return _node("rows", (x,), method="sum", args=(rows,))


def ew_sum(x: pl.Expr, half_life: str | Window) -> pl.Expr:
    """Sum of x_i 2^(-(t - t_i) / half_life) over the segment's events up to now."""
    return _node("decay", (x,), (_ns(half_life),))


def session_cum(x: pl.Expr) -> pl.Expr:
    """Sum of ``x`` over the session's events up to now; halts do not reset it."""
    return _node("prefix", (x,), method="total")


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
        parts = [_node("decayed_moments", (x,), (parsed.size,), args=(k,)) for k in (0, 1)]
    else:
        method = "rows" if parsed.kind == "rows" else "window"
        parts = [_node("deviations", (x,), method=method, args=(parsed.size, k)) for k in (0, 1)]
    return Spread(*parts)


def above_rounding(spread: Spread) -> pl.Expr:
    """True where a standard deviation is more than rounding: above 1e-9 + 1e-10 |mean|."""
    return spread.sigma > 1e-9 + 1e-10 * spread.mean.abs()


def rank_among(x: pl.Expr, rows: int) -> pl.Expr:
    """(Values below - values above) / rows of ``x`` at the last event among the last ``rows``.

    Events at which ``x`` is null are no rows; null at those, and until there are ``rows``.
    """
    return _node("rank", (x,), (rows,))


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
        return _node("moments", (x, y), method=method, args=(parsed.size, which))

    both = pl.when(x.is_not_null() & y.is_not_null()).then(1)
    return Regression(part(0), part(1), part(2), part(3), total(both, parsed))


# --- values ----------------------------------------------------------------------------------


def last(x: pl.Expr) -> pl.Expr:
    """The last value of ``x`` that was not null, at or before now, in the segment."""
    return _node("value", (x,))


def previous(x: pl.Expr) -> pl.Expr:
    """The last value of ``x`` that was not null, at an earlier event of the segment."""
    return _node("value", (x,), method="before")


def value_at(x: pl.Expr, ago: str | Window) -> pl.Expr:
    """The last value of ``x`` that was not null as of t - ago; null before the segment."""
    return _node("value", (x,), method="ago", args=(_ns(ago),))


def lag(x: pl.Expr, rows: int) -> pl.Expr:
    """The value of ``x`` ``rows`` events earlier, counting events at which it is not null."""
    return _node("rows", (x,), method="lag", args=(rows,))


def ago(x: pl.Expr, back: str | Window) -> pl.Expr:
    """:func:`value_at` for a duration, :func:`lag` for a number of rows."""
    parsed = window(back)
    return lag(x, parsed.size) if parsed.kind == "rows" else value_at(x, parsed)


def session_first(x: pl.Expr) -> pl.Expr:
    """The session's first value of ``x`` that is not null."""
    return _node("opening", (x,))


def since(condition: pl.Expr) -> pl.Expr:
    """Seconds since the last event at which the condition held, else since the segment's start."""
    when = pl.when(condition.fill_null(value=False) | pl.col("first")).then(pl.col("ts"))
    return (pl.col("t") - last(when)) / NS_PER_S


def time_mean(x: pl.Expr, length: str | Window) -> pl.Expr:
    """Mean of ``x`` over (t - length, t], each value weighted by the time it stood.

    Time at which ``x`` is undefined is left out; null if that is all of it.
    """
    return _node("held", (x,), method="mean", args=(_ns(length),))


def on_grid(step: str, x: pl.Expr | Sequence[pl.Expr], then: Callable[..., pl.Expr]) -> pl.Expr:
    """``then(*samples)``, where the samples are ``x`` (or several) on a fixed grid of ``step``.

    The sample at a grid point g (a multiple of ``step`` since the epoch) knows the events before
    g; ``then`` may use every combinator, which see one row a grid point.  At a decision point the
    result is that of the last grid point at or before it; null before the segment's first.
    """
    parts = (x,) if isinstance(x, pl.Expr) else tuple(x)
    names = tuple(f"{SAMPLE}{_digest(part)}" for part in parts)
    return _node("grid", parts, (_ns(step), *names), inner=then(*map(pl.col, names)))


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
    names = [f"{SAMPLE}{k}:{_digest(part)}" for k, part in enumerate((*at, *later))]
    inner = then(*map(pl.col, names))
    settings: tuple[int | str, ...] = (_ns(tau), len(at), *names)
    return _node("delayed", (condition, *at, *later), settings, inner=inner)


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
    return _node("peer", (), (peer,), inner=x)


def peers_behind(exprs: Iterable[pl.Expr]) -> set[str]:
    """Names of the peers that the expressions read."""
    return {str(n.settings[0]) for n in reachable(exprs) if n.state == "peer"}


# --- volume ----------------------------------------------------------------------------------


def bucket_imbalance(buy: pl.Expr, sell: pl.Expr, size: int, buckets: int) -> pl.Expr:
    """Mean of abs(buys - sells) / size over the last ``buckets`` buckets of ``size`` contracts.

    Events are split where a bucket ends; the open bucket does not count.  Null until the segment
    has filled that many.
    """
    return _node("volume_buckets", (buy, sell), (size, buckets))


def volume_profile(part: str, percent: int = 70) -> pl.Expr:
    """Of the volume at each price since the session's start: ``poc`` is the price with the most
    (of equals the one that had it first), ``low`` and ``high`` the ends of the value area round
    it that holds ``percent`` of all, in 1e-9; ``most`` the volume at the first, ``here`` that at
    the last print's price.  Null before the first trade.
    """
    which = ("poc", "low", "high", "most", "here").index(part)
    prints = pl.col("print_px"), pl.col("print_sz")
    return _node("volume_profile", prints, (percent,), args=(which,))


def shared(x: pl.Expr) -> pl.Expr:
    """``x`` itself, evaluated once a decision for all features, and all terms of one, that read it.

    Worth it for what is costly or occurs often; it takes a column of memory while a batch lasts.
    """
    return _node("shared", (x,))


# --- levels ----------------------------------------------------------------------------------


def keyed_change(
    usable: pl.Expr, prices: Sequence[pl.Expr], sizes: Sequence[pl.Expr], distance: int
) -> pl.Expr:
    """Change of one side's size since the last usable event, both on the same prices.

    The prices less than ``distance`` ticks below the better of the two touches count.  Levels
    are given best first, prices so that higher is better, far below where there is no level.
    Null on events at which ``usable`` is null, and at a segment's first.
    """
    return _node("keyed_change", (usable, *prices, *sizes), (distance,))


def level_median(sizes: Sequence[pl.Expr]) -> pl.Expr:
    """Median of the sizes that are not 0, at the event; null where all are."""
    return _node("level_median", tuple(sizes))


# --- fitted on past sessions -----------------------------------------------------------------


def fitted(component: str, key: pl.Expr) -> pl.Expr:
    """The value a component of ``features.components`` has at a key; null without a fit."""
    return _node("fitted", (key,), (component,))


def fitted_rank(component: str, key: pl.Expr, x: pl.Expr) -> pl.Expr:
    """Share of a component's values at a key below ``x``, of equal ones a half; in [0, 1]."""
    return _node("fitted", (key, x), (component,), method="rank")


# --- forward, for labels only ------------------------------------------------------------------


def ahead(x: pl.Expr, horizon: str | Window) -> pl.Expr:
    """Labels only.  ``x`` as of t + horizon, or that many rows (with a value) later.

    Null where the segment's data end before.
    """
    parsed = window(horizon)
    method = "rows" if parsed.kind == "rows" else "time"
    return _node("future", (x,), method=method, args=(parsed.size,))


def ahead_time(x: pl.Expr, horizon: str | Window) -> pl.Expr:
    """Labels only.  The time (ns) at which :func:`ahead` is known."""
    parsed = window(horizon)
    method = "rows_time" if parsed.kind == "rows" else "time_time"
    return _node("future", (x,), method=method, args=(parsed.size,))


def looks_ahead(expr: pl.Expr) -> bool:
    """True if anything behind the expression looks forward in time."""
    return any(node.state == "future" for node in reachable([expr]))


def reachable(exprs: Iterable[pl.Expr], *, inside_grids: bool = True) -> list[Node]:
    """All nodes behind the expressions, those that others depend on first.

    With ``inside_grids`` false, nodes that live on the samples of a grid are left out.
    """
    seen: dict[str, Node] = {}

    def visit(expr: pl.Expr) -> None:
        for key in node_keys(expr):
            if key in seen:
                continue
            node = NODES[key]
            for part in (*node.inputs, *node.asked):
                visit(part)
            if inside_grids and node.inner is not None:
                visit(node.inner)
            seen[key] = node

    for expr in exprs:
        visit(expr)
    return list(seen.values())


def root_columns(exprs: Iterable[pl.Expr]) -> set[str]:
    """Columns of events that the expressions read, directly or through nodes."""
    parts = list(exprs)
    for node in reachable(parts):
        parts += (*node.inputs, *node.asked)
        if node.inner is not None:
            parts.append(node.inner)
    names = {name for part in parts for name in part.meta.root_names()}
    return {name for name in names if not name.startswith((MARK, SAMPLE))}
