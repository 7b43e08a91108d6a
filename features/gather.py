"""The pass over one session that sums it up for later ones: all statistics of a set at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import polars as pl

from features.clocks import EventClock, make_clock
from features.columns import TOUCH
from features.components import I64, LifeGatherer, PairGatherer, Pairs, Statistic
from features.engine import push, views
from features.events import Events
from features.nodes import root_columns
from features.source import Source
from features.spells import LIFE_COLUMNS, spells
from features.states_peer import paced
from features.timeline import Timeline, View


class PastSource(Source, Protocol):
    """A session that is summed up for later ones: its rows, and the lives of its orders."""

    def lives(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Chunks, in order, of these columns of `order_life`.  Rows around the session may be
        included.
        """


@dataclass(frozen=True)
class _Fed:
    """What takes in some expressions at the decision points of a clock."""

    clock: str
    inputs: tuple[pl.Expr, ...]
    push: Callable[[I64, Sequence[pl.Series]], None]


def gather(source: PastSource, statistics: Sequence[Statistic], *, whole: bool) -> dict[str, Pairs]:
    """Sum up a session; read once, in memory bounded by the longest window.

    Parameters
    ----------
    source
        The session's rows, and its lives where a statistic reads them.  Peers that statistics
        read the events of are gone through after it.
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
    gatherers = {one.name: one.gather() for one in chosen}
    _take_lives(source, [cast("LifeGatherer", gatherers[one.name]) for one in chosen if one.lives])
    _go_through(source, [_Fed(one.clock, one.inputs, gatherers[one.name].push) for one in chosen])
    for name, peer in source.peers.items():
        fed = []
        for one in chosen:
            gatherer = gatherers[one.name]
            if one.peer == name:
                assert isinstance(gatherer, PairGatherer)
                fed.append(_Fed(one.clock, one.peer_inputs, gatherer.push_peer))
        _go_through(peer, fed)
    return found | {name: gatherer.result() for name, gatherer in gatherers.items()}


def _go_through(source: Source, fed: Sequence[_Fed]) -> None:
    """Read an instrument's session once, for all that are to be fed with it."""
    if not fed:
        return
    inputs = [x for one in fed for x in one.inputs]
    timeline = Timeline(inputs, source.context.scalars(), peers=source.peers)
    clocks = {one.clock: make_clock(one.clock) for one in fed}
    by_clock = {name: [one for one in fed if one.clock == name] for name in clocks}

    def feed(clock: str, seen: Iterator[View] | list[View]) -> None:
        group = by_clock[clock]
        for view in seen:
            if view.t.size:
                _feed(view, group)

    needed = root_columns(inputs) | {*TOUCH, *(c for one in clocks.values() for c in one.columns)}
    for ticking in clocks.values():
        ticking.start(source.context)
    events = Events(source, needed)
    for frame in (piece for chunk in events for piece in paced(timeline, chunk)):
        new = push(timeline, frame)
        ended = frame["ended"].to_numpy()
        for name, clock in clocks.items():
            now, t = clock.advance(timeline, new, ended)
            feed(name, [new] if isinstance(clock, EventClock) else views(timeline, now, t))
    timeline.finish(events.end)
    for name, clock in clocks.items():
        feed(name, views(timeline, *clock.finish(events.end)))


def _feed(view: View, group: Sequence[_Fed]) -> None:
    values = iter(view.evaluate([x for one in group for x in one.inputs]))
    for one in group:
        one.push(view.t, [_no_nan(next(values)) for _ in one.inputs])


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
