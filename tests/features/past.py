"""Sessions before the small markets, and what is fitted on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

from features.components import Fitted, components_of, fit
from features.events import Tables
from features.gather import gather
from features.registry import FEATURES
from pipeline.units import NS_PER_S
from tests.features.worlds import make_world, mirrored, scaled, shifted

SEEDS = (101, 102, 103, 104, 105, 106)
"""Markets of six earlier days, at the same times of the day as all the others."""

GAPS = (0, 3 * NS_PER_S, 8 * NS_PER_S, 16 * NS_PER_S, 30 * NS_PER_S)
"""Long enough for half-lives of a minute, short enough for slow references."""

SCALE, SHIFT = 8, 1000

BY_PAST = tuple(
    f"{base}__{form}"
    for base in ("spread", "depth_bid_1", "depth_ask_1", "ofi_event", "wmid")
    for form in ("robust", "winsor", "diurnal")
)

CHANGES: dict[str, Callable[[Tables], Tables]] = {
    "none": lambda world: world,
    "mirrored": mirrored,
    "scaled": lambda world: scaled(world, SCALE),
    "shifted": lambda world: shifted(world, SHIFT),
}


@cache
def past_worlds(change: str = "none") -> tuple[Tables, ...]:
    """The earlier days, oldest first, as a change of the whole market shows them."""
    worlds = (make_world(seed, 120, GAPS, invalid=0.0, lives=True) for seed in SEEDS)
    return tuple(CHANGES[change](world) for world in worlds)


@cache
def fits(change: str = "none") -> Mapping[str, Fitted]:
    """All components of all features and of ``BY_PAST``, fitted on the earlier days."""
    columns = [column for family in FEATURES.families() for column in family.grid()]
    columns += FEATURES.resolve(BY_PAST)
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
