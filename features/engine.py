"""From events to columns: one pass over a session, in bounded memory.

:func:`compute` streams the events of a source through a timeline, asks the clock for decision
points, and evaluates all columns there.  Nothing is kept but what the longest window looks back
on; labels, which look forward, take one more pass beforehand to collect what they look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from features.clocks import EventClock, make_clock
from features.columns import TOUCH, mid_ticks
from features.events import Events
from features.nodes import Node, reachable, root_columns
from features.registry import Column, check_backward, label_ends
from features.source import Source
from features.states_forward import Fills, Future, SessionIndex
from features.states_peer import paced
from features.timeline import Rows, State, Timeline, View
from pipeline.errors import RequestError

KEYS: tuple[pl.Expr, ...] = (
    pl.col("t").alias("ts"),
    pl.col("event").alias("event"),
    pl.col("bid_px_00").alias("bid_px"),
    pl.col("ask_px_00").alias("ask_px"),
    mid_ticks().alias("mid_ticks"),
)
"""The key columns of features and labels; ``ts`` still in nanoseconds."""

BATCH = 65_536
"""Rows taken in, and decision points evaluated, at most at once."""

_LEAST = 2048
"""... and at least: below, calls cost more than values do."""

MEMORY = 512
"""MiB that the values computed at once may take, where nothing else is said."""


def compute(
    source: Source, columns: Sequence[Column], clock: str = "event", memory: int = MEMORY
) -> Iterator[pl.DataFrame]:
    """Columns at the decision points of a clock, in order, in batches.

    Parameters
    ----------
    source
        The session's rows; read once, and once more if there are labels.
    columns
        Features, or labels (never both); labels get their ends
        (:func:`~features.registry.label_ends`) after the keys.
    memory
        MiB that all values of the rows computed at once may take: the more columns, the fewer
        rows.  What windows look back on, and what labels look at, comes on top.  The values do
        not depend on it.

    Yields
    ------
    Frames of ``KEYS`` (ts as datetime), the ends of labels, then the columns.

    Raises
    ------
    RequestError
        For an unknown clock, a book that is not deep enough, a feature that looks ahead.
    InputError
        If the clock needs to know more of the instrument.
    """
    ticking = make_clock(clock)
    ticking.start(source.context)
    check_depth(columns, source.context.depth)
    check_backward(columns)
    if len({column.family.kind for column in columns}) > 1:
        raise RequestError("features and labels are computed apart")
    labels = bool(columns) and columns[0].family.kind == "label"
    outputs = [*KEYS, *(label_ends(columns) if labels else []), *(c.expr for c in columns)]
    futures = _look_ahead(source, outputs)
    context = source.context
    timeline = Timeline(outputs, context.scalars(), futures, context.fits, source.peers)
    events = Events(source, root_columns(outputs) | {*TOUCH, *ticking.columns})
    rows = rows_at_once(outputs, memory)
    cut = (part for chunk in events for part in _cut(chunk, rows))
    for frame in (piece for part in cut for piece in paced(timeline, part)):
        new = push(timeline, frame)
        ended = frame["ended"].to_numpy()
        now, t = ticking.advance(timeline, new, ended)
        if isinstance(ticking, EventClock):
            yield from _evaluate([new], outputs)
        else:
            yield from _evaluate(views(timeline, now, t, rows), outputs)
    timeline.finish(events.end)
    now, t = ticking.finish(events.end)
    yield from _evaluate(views(timeline, now, t, rows), outputs)


def rows_at_once(outputs: Sequence[pl.Expr], memory: int = MEMORY) -> int:
    """How many rows' values fit into ``memory`` MiB: of the outputs and all that is behind them."""
    nodes = reachable(outputs)
    values = len(outputs) + sum(1 + len(node.inputs) for node in nodes)
    return min(BATCH, max(_LEAST, (memory << 20) // (8 * values)))


def _cut(chunk: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """A chunk in as few parts of at most so many rows as there must be, about equal."""
    parts = -(-chunk.height // rows)
    size = -(-chunk.height // parts)
    for start in range(0, chunk.height, size):
        yield chunk.slice(start, size)


def push(timeline: Timeline, frame: pl.DataFrame) -> View:
    """Feed a chunk of events to a timeline."""
    ts = frame["ts"].to_numpy(writable=True)
    return timeline.push(Rows(ts, frame["segment"].to_numpy(writable=True), frame.drop("segment")))


def views(timeline: Timeline, now: np.ndarray, t: np.ndarray, rows: int = BATCH) -> Iterator[View]:
    """Decision points in views of at most ``rows``."""
    for start in range(0, now.size, rows):
        yield View(timeline, now[start : start + rows], t[start : start + rows])


def _evaluate(
    views: Iterator[View] | list[View], outputs: Sequence[pl.Expr]
) -> Iterator[pl.DataFrame]:
    names = [output.meta.output_name() for output in outputs]
    times = [name for name in ("ts", "t_end") if name in names]
    for view in views:
        if not view.t.size:
            continue
        values = view.evaluate(outputs)
        frame = pl.DataFrame([v.alias(n) for v, n in zip(values, names, strict=True)])
        # Not a number is never stored; infinities come only from faulty formulas.
        yield frame.with_columns(
            pl.col(pl.Float32, pl.Float64).fill_nan(None),
            *(pl.col(name).cast(pl.Datetime("ns", "UTC")) for name in times),
        )


def check_depth(columns: Sequence[Column], depth: int, where: str = "") -> None:
    """Make sure the book has the levels the columns need.

    Raises
    ------
    RequestError
        Naming the columns and what to change.
    """
    short = [column for column in columns if column.depth > depth]
    if short:
        names = ", ".join(c.name for c in short[:3]) + (", ..." if len(short) > 3 else "")
        need = max(column.depth for column in short)
        at = f"feature set {where!r}: " if where else ""
        raise RequestError(
            f"{at}{names} need{'s' if len(short) == 1 else ''} {need} levels, "
            f"the book has {depth}; "
            f"set book.depth = {need} and run `mbo book` again, or leave them out of the set"
        )


def _look_ahead(source: Source, outputs: Sequence[pl.Expr]) -> dict[str, State]:
    """The states of forward nodes, filled by a pass of their own."""
    nodes: dict[str, Node] = {
        node.state_key: node for node in reachable(outputs) if node.state == "future"
    }
    if not nodes:
        return {}
    inputs = [x for node in nodes.values() for x in node.inputs]
    timeline = Timeline(inputs, source.context.scalars(), fits=source.context.fits)
    index = SessionIndex()
    states = {
        key: (Fills if "fills" in node.settings else Future)(node, timeline, index)
        for key, node in nodes.items()
    }
    for frame in Events(source, root_columns(inputs) | set(TOUCH)):
        new = push(timeline, frame)
        index.push(new)
        for state in states.values():
            state.push(new, 0)
    index.close()
    for state in states.values():
        state.close()
    return dict(states)
