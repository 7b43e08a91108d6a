"""The pass over one session that sums it up for later ones: all statistics of a set at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, cast

import polars as pl

from features.clocks import EventClock, make_clock
from features.columns import TOUCH
from features.components import LifeGatherer, Pairs, Statistic
from features.engine import push, views
from features.events import Events, Source
from features.nodes import root_columns
from features.spells import LIFE_COLUMNS, spells
from features.timeline import Timeline, View


class PastSource(Source, Protocol):
    """A session that is summed up for later ones: its rows, and the lives of its orders."""

    def lives(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Chunks, in order, of these columns of `order_life`.  Rows around the session may be
        included.
        """


def gather(source: PastSource, statistics: Sequence[Statistic], *, whole: bool) -> dict[str, Pairs]:
    """Sum up a session; read once, in memory bounded by the longest window.

    Parameters
    ----------
    source
        The session's rows, and its lives where a statistic reads them.
    statistics
        Their names must differ.
    whole
        All days of the session are there; else statistics that need that have no pairs.

    Returns
    -------
    The pairs of each statistic, by name, in the order given.
    """
    found = {one.name: Pairs.of([], []) for one in statistics}
    chosen = [one for one in statistics if whole or not one.whole]
    if not chosen:
        return found
    gatherers = {one.name: one.gather() for one in chosen}
    _take_lives(source, [cast("LifeGatherer", gatherers[one.name]) for one in chosen if one.lives])
    inputs = [x for one in chosen for x in one.inputs]
    timeline = Timeline(inputs, source.context.scalars())
    clocks = {one.clock: make_clock(one.clock) for one in chosen}
    by_clock = {name: [one for one in chosen if one.clock == name] for name in clocks}

    def feed(clock: str, seen: Iterator[View] | list[View]) -> None:
        group = by_clock[clock]
        for view in seen:
            if view.t.size:
                _feed(view, group)

    def _feed(view: View, group: Sequence[Statistic]) -> None:
        values = iter(view.evaluate([x for one in group for x in one.inputs]))
        for one in group:
            series = [_no_nan(next(values)) for _ in one.inputs]
            gatherers[one.name].push(view.t, series)

    needed = root_columns(inputs) | {*TOUCH, *(c for one in clocks.values() for c in one.columns)}
    for ticking in clocks.values():
        ticking.start(source.context)
    events = Events(source, needed)
    for frame in events:
        new = push(timeline, frame)
        ended = frame["ended"].to_numpy()
        for name, clock in clocks.items():
            now, t = clock.advance(timeline, new, ended)
            feed(name, [new] if isinstance(clock, EventClock) else views(timeline, now, t))
    timeline.finish(events.end)
    for name, clock in clocks.items():
        feed(name, views(timeline, *clock.finish(events.end)))
    return found | {name: gatherer.result() for name, gatherer in gatherers.items()}


def _take_lives(source: PastSource, gatherers: Sequence[LifeGatherer]) -> None:
    """Feed the spells of the session's orders, read once."""
    if not gatherers:
        return
    context = source.context
    for lives in source.lives(LIFE_COLUMNS):
        found = spells(lives, context.tick, context.segments)
        for gatherer in gatherers:
            gatherer.take(found)


def _no_nan(series: pl.Series) -> pl.Series:
    return series.fill_nan(None) if series.dtype.is_float() else series
