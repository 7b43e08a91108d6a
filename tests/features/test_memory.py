"""What is held at once follows the budget and the windows, and changes no value."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import polars as pl
import pytest

from features import engine
from features.engine import BATCH, compute, push, rows_at_once
from features.events import Events, Tables
from features.nodes import root_columns
from features.registry import FEATURES, LABELS
from features.states import Decay, Prefix
from features.timeline import Timeline
from tests.features.worlds import make_world

MIXED = ("ofi_h1s", "ofi_1s", "ofi_n50", "ofi_event", "zscore_10s", "vol_1s_60s", "since_trade")


@cache
def world() -> Tables:
    return make_world(11, 400)


def values(names: tuple[str, ...], clock: str, memory: int, tables: Tables) -> pl.DataFrame:
    registry = LABELS if names[0].startswith("y_") else FEATURES
    return pl.concat(list(compute(tables, registry.resolve(names), clock, memory)))


@pytest.mark.parametrize("clock", ["event", "grid:1s", "touch"])
def test_values_do_not_depend_on_the_budget(clock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = values(MIXED, clock, engine.MEMORY, world())
    monkeypatch.setattr(engine, "_LEAST", 23)

    few = values(MIXED, clock, 0, world())

    assert few.equals(usual)
    assert usual.height > 60


def test_the_more_columns_the_fewer_rows_at_once() -> None:
    few = [column.expr for column in FEATURES.resolve(["mid"])]
    many = [column.expr for column in FEATURES.resolve(["ofi_level_*", "add_rate_*"])]

    assert rows_at_once(few, 512) == BATCH
    assert 2 * rows_at_once(many, 64) <= rows_at_once(many, 128) + 1 < BATCH
    assert rows_at_once(many, 0) == engine._LEAST


def test_one_long_window_keeps_no_rows_for_the_other_columns() -> None:
    tables = replace(world(), chunk=50)
    exprs = [c.expr for c in FEATURES.resolve(["ofi_h1s", "ofi_1s", "zscore_300s"])]
    timeline = Timeline(exprs, tables.context.scalars())
    for frame in Events(tables, root_columns(exprs)):
        new = push(timeline, frame).t.size

    decays = [s for s in timeline.states.values() if isinstance(s, Decay)]
    sums = {s.back: s for s in timeline.states.values() if isinstance(s, Prefix)}

    assert decays
    assert all(s.sums.data.size <= new + 2 for s in decays)
    short, long = (sums[seconds * 10**9].sums for seconds in (1, 300))
    assert timeline.longest == 300 * 10**9
    assert long.data.size == timeline.ts.data.size + 1
    assert new < short.data.size < long.data.size


def test_a_decision_at_the_last_row_of_a_chunk_knows_the_row_before() -> None:
    name = "ofi_event"
    whole = values((name,), "grid:1s", engine.MEMORY, world())

    pieces = values((name,), "grid:1s", engine.MEMORY, replace(world(), chunk=3))

    assert pieces.equals(whole)
    assert whole[name].n_unique() > 5


def test_labels_are_the_same_from_chunks_of_any_size() -> None:
    names = ("y_return_1s", "y_return_n10")
    whole = values(names, "event", engine.MEMORY, world())

    pieces = values(names, "event", engine.MEMORY, replace(world(), chunk=37))

    assert pieces.equals(whole)
