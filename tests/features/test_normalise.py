"""Normalised columns: against the slow way, at every clock; names, units, and what is refused."""

from __future__ import annotations

import re

import polars as pl
import pytest

from features.engine import compute
from features.normalise import NORMALISERS, examples
from features.registry import FEATURES, LABELS, Column
from pipeline.errors import RequestError
from tests.features.past import BY_PAST
from tests.features.test_against_reference import same, world
from tests.reference.features.catalogue import SLOW_FEATURES
from tests.reference.features.normalise import Slow, slow_normalised
from tests.reference.features.session import decisions

STATISTICS = ("z_10s", "z_n7", "z_h1s", "zpast_10s", "zpast_n5", "zpast_h1s", "rank_n9", "rank_n2")
BASES = ("mid", "ofi_1s", "ofi_event", "depth_bid_1", "trade_imbalance_10s", "since_trade")
NAMES = (
    *(f"{base}__{form}" for base in BASES for form in STATISTICS),
    *("ofi_10s__tanh_7", "ofi_10s__tanh_10s", "ofi_10s__tanh_n6", "return_1s__tanh_0p5"),
    *("cvd__slog_1", "signed_volume_10s__slog_100", "depth_ask_1__slog_0p25"),
    *("return_1s__half_spreads", "spread__half_spreads", "spread_bps__ticks"),
    *("ofi_10s__depth_5", "depth_bid_1__depth_1", "return_1s__sigma_h1s_10s"),
    *("ofi_10s__z_10s__tanh_2", "cvd__slog_1__z_n5", "queue_imbalance__rank_n9__z_n5"),
    *BY_PAST,
    *("spread__robust__tanh_2", "depth_bid_1__diurnal__slog_1"),
    *("mid__z_h1s__rank_n5", "ofi_10s__depth_5__z_h1s", "spread_bps__ticks__half_spreads"),
)


def slow(column: Column) -> Slow:
    how = column.family.normalised
    if how is None:
        function = SLOW_FEATURES[column.family.name]
        return lambda s, i, t: function(s, i, t, **column.arguments)
    base, name, argument = how
    return slow_normalised(slow(base), name, argument, base.name)


@pytest.mark.parametrize(
    ("seed", "kind", "clock"),
    [(1, "fast", "event"), (2, "slow", "event"), (3, "fast", "grid:1s"), (4, "slow", "touch")],
)
def test_normalised_columns_equal_the_reference(seed: int, kind: str, clock: str) -> None:
    tables, session = world(seed, kind)
    columns = FEATURES.resolve(NAMES)
    frame = pl.concat(list(compute(tables, columns, clock)))
    points = decisions(session, clock)
    valued = 0
    for column in columns:
        function = slow(column)
        for (i, t), ours in list(zip(points, frame[column.name], strict=True))[::3]:
            theirs = function(session, i, t)
            assert same(ours, theirs, pl.Float32()), (column.name, i, t, ours, theirs)
            valued += theirs is not None
    assert valued > len(columns) * len(points) // 20


def test_every_normaliser_is_compared() -> None:
    compared = {how[1] for c in FEATURES.resolve(NAMES) if (how := c.family.normalised)}
    assert compared == {one.name for one in NORMALISERS}


def test_a_constant_window_has_no_score() -> None:
    columns = FEATURES.resolve(["session_date__z_n5", "session_date__z_h100ms"])
    frame = pl.concat(list(compute(world(1, "fast")[0], columns)))
    assert frame["session_date__z_n5"].null_count() == frame.height
    assert frame["session_date__z_h100ms"].null_count() == frame.height


def test_a_level_of_millions_keeps_its_hundredths() -> None:
    """Prices far up: sums in plain floats would have lost what the deviation is made of."""
    tables, _ = world(1, "fast")
    far = 2**30
    up = tables.context.tick * far
    book = tables.book.with_columns(pl.col(c) + up for c in tables.book.columns if "_px_" in c)
    high = type(tables)(tables.context, book, tables.flow, tables.trades)
    columns = FEATURES.resolve(["mid__z_n7", "mid__z_10s", "mid__rank_n9"])
    ours, plain = (pl.concat(list(compute(one, columns))) for one in (high, tables))
    for column in columns:
        for a, b in zip(ours[column.name], plain[column.name], strict=True):
            assert same(a, b, pl.Float32()), column.name


def test_groups_and_patterns_may_be_normalised() -> None:
    names = {c.name for c in FEATURES.resolve("depth_imbalance_*__z_60s")}
    assert names == {c.name + "__z_60s" for c in FEATURES.resolve("depth_imbalance_*")}
    assert len(FEATURES.resolve("F02__tanh_2")) == len(FEATURES.resolve("F02"))


def test_a_normalised_column_says_what_it_is() -> None:
    (column,) = FEATURES.resolve("ofi_10s__z_300s__tanh_2")
    assert column.family.catalogue == "N06"
    assert (column.family.low, column.family.high) == (-1, 1)
    assert column.family.mirror == "odd"
    assert "Of ofi_10s__z_300s" in column.family.doc
    assert column.warm_up == "5m"
    assert FEATURES.resolve("mid__z_60s")[0].family.shift == "none"
    assert FEATURES.resolve("depth_bid_1__slog_1")[0].mirror_name == "depth_ask_1__slog_1"
    assert FEATURES.resolve("ofi_10s__depth_5")[0].family.size_power == 0


@pytest.mark.parametrize("form", examples())
def test_every_example_is_a_name(form: str) -> None:
    assert sum(one.matches(form) is not None for one in NORMALISERS) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ofi_10s__zz_60s", "unknown normaliser 'zz_60s'.*did you mean 'z_60s'"),
        ("ofi_10s__z", "unknown normaliser"),
        ("ofi_10s__z_0s", "unknown normaliser"),
        ("ofi_10s__tanh_0", "unknown normaliser"),
        ("ofi_10s__rank_60s", "unknown normaliser"),
        ("cvd__half_spreads", "needs a feature in ticks, cvd is in contracts"),
        ("mid__depth_5", "needs a feature in contracts"),
        ("mid__z_1s__z_1s__z_1s", "at most 2 normalisers"),
        ("ofi_10w__z_60s", "unknown feature 'ofi_10w' in 'ofi_10w__z_60s'.*mean 'ofi_n10'"),
    ],
)
def test_what_cannot_be_is_one_clear_line(name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        FEATURES.resolve(name)
    assert not re.search("\n", str(caught.value))


def test_labels_are_not_normalised() -> None:
    with pytest.raises(RequestError, match="unknown label"):
        LABELS.resolve("y_return_1s__z_60s")
