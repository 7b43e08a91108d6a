"""Sessions before the small markets, and what is fitted on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import polars as pl

from features.components import Fitted, components_of, fit
from features.events import Tables
from features.gather import gather
from features.registry import FEATURES
from pipeline.units import NS_PER_MS, NS_PER_S
from tests.features.worlds import make_world, mirrored, scaled, shifted

SEEDS = (101, 102, 103, 104, 105, 106)
"""Markets of six earlier days, at the same times of the day as all the others."""

GAPS = (0, 3 * NS_PER_S, 8 * NS_PER_S, 16 * NS_PER_S, 30 * NS_PER_S)
"""Long enough for half-lives of a minute, short enough for slow references."""

SCALE, SHIFT = 8, 1000

ECHO = 300 * NS_PER_MS
"""How much later than a world its peer shows the same."""

BY_PAST = tuple(
    f"{base}__{form}"
    for base in ("spread", "depth_bid_1", "depth_ask_1", "ofi_event", "wmid")
    for form in ("robust", "winsor", "diurnal")
)

OFF_GRID = ("permanent_impact_1", "permanent_impact_2")
"""Off the grids, but such as a small market fills."""

CHANGES: dict[str, Callable[[Tables], Tables]] = {
    "none": lambda world: world,
    "mirrored": mirrored,
    "scaled": lambda world: scaled(world, SCALE),
    "shifted": lambda world: shifted(world, SHIFT),
}


@cache
def past_worlds(change: str = "none") -> tuple[Tables, ...]:
    """The earlier days, oldest first, as a change of the whole market shows them.

    Each has a peer that repeats it a little later, at other prices and in other chunks.
    """
    worlds = (make_world(seed, 120, GAPS, invalid=0.0, lives=True) for seed in SEEDS)
    return tuple(CHANGES[change](with_echo(world)) for world in worlds)


def with_echo(world: Tables) -> Tables:
    """The world with a peer that does the same ``ECHO`` later, but for every fifth row."""
    keep = pl.Series(range(world.book.height)) % 5 != 0
    assert world.flow is not None
    assert world.queue is not None
    book = world.book.filter(keep)
    book = book.with_columns(pl.col("ts_recv") + pl.duration(nanoseconds=ECHO))
    queue = world.queue.filter(keep)
    echo = replace(world, book=book, flow=world.flow.filter(keep), queue=queue, chunk=37)
    return replace(world, peers={"peer": echo})


@cache
def fits(change: str = "none") -> Mapping[str, Fitted]:
    """All components of all features and of ``BY_PAST``, fitted on the earlier days."""
    columns = [column for family in FEATURES.families() for column in family.grid()]
    columns += FEATURES.resolve([*BY_PAST, *OFF_GRID])
    components = components_of([column.expr for column in columns])
    statistics = list({c.statistic.name: c.statistic for c in components}.values())
    days = [gather(world, statistics, whole=True) for world in past_worlds(change)]
    found = {}
    for component in components:
        past = [day[component.statistic.name] for day in days]
        pairs = fit(component, past[-(component.sessions or 20) :], component.min_sessions)
        if pairs is not None:
            found[component.name] = Fitted(pairs)
    return found


def with_past(world: Tables, change: str = "none") -> Tables:
    """The world, knowing what was fitted on the days before it."""
    return replace(world, context=replace(world.context, fits=fits(change)))
