"""Statistics and fits on their own: chunks, look-ups, what is refused, what is widened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.combine import minute_medians, minute_values, robust, weighted_quantile
from features.components import Component, Fitted, Pairs, Statistic, components_of, declare, fit
from features.gather import gather
from features.gatherers import Histogram, MinuteMeans
from features.registry import FEATURES
from features.windows import ahead, fitted
from pipeline.errors import RequestError
from tests.features.past import BY_PAST, GAPS, past_worlds, with_echo
from tests.features.worlds import SLOW, make_world


def statistics() -> list[Statistic]:
    columns = [c for family in FEATURES.families() for c in family.grid()]
    columns += FEATURES.resolve(BY_PAST)
    components = components_of([c.expr for c in columns])
    return list({c.statistic.name: c.statistic for c in components}.values())


@pytest.mark.parametrize(("chunk", "rows", "every"), [(1, 25, 7), (23, 120, 1)])
def test_chunks_change_no_statistic(chunk: int, rows: int, every: int) -> None:
    world = with_echo(make_world(101, rows, GAPS, invalid=0.0, lives=True))
    chosen = statistics()[::every]
    whole = gather(world, chosen, whole=True)
    peers = {"peer": replace(world.peers["peer"], chunk=chunk)}  # type: ignore[type-var]
    pieces = gather(replace(world, chunk=chunk, peers=peers), chosen, whole=True)
    assert list(whole) == list(pieces)
    for name, pairs in whole.items():
        assert pairs.keys.size or rows < 120, name
        np.testing.assert_array_equal(pairs.keys, pieces[name].keys, err_msg=name)
        np.testing.assert_array_equal(pairs.values, pieces[name].values, err_msg=name)


def test_a_statistic_does_not_depend_on_its_company() -> None:
    world = past_worlds()[1]
    whole = gather(world, statistics(), whole=True)
    for one in statistics()[::5]:
        alone = gather(world, [one], whole=True)[one.name]
        np.testing.assert_array_equal(alone.values, whole[one.name].values, err_msg=one.name)


def test_half_a_session_gives_no_total_of_the_day() -> None:
    found = gather(make_world(5, 60, SLOW, lives=True), statistics(), whole=False)
    assert not found["running_volume"].keys.size
    assert found["order_size_counts"].keys.size


def pairs(**values: float) -> Pairs:
    return Pairs.of([int(key[1:]) for key in values], list(values.values()))


def test_too_few_sessions_are_no_fit_and_empty_ones_do_not_count() -> None:
    one = Component("test_median", Statistic("test", (), MinuteMeans), minute_medians)
    some, none = pairs(m5=1.0), Pairs.of([], [])
    assert fit(one, [some, none, none], 2) is None
    assert fit(one, [none], 0) is None
    found = fit(one, [some, none, pairs(m5=3.0)], 2)
    assert found is not None
    assert found.values[found.keys == 5].tolist() == [2.0]


def test_minutes_that_few_sessions_know_borrow_from_those_around() -> None:
    past = [pairs(m10=1.0, m11=5.0), pairs(m12=7.0), pairs(m10=2.0)]
    found = minute_values(past, 2)
    at = {m: found.values[found.keys == m].tolist() for m in (10, 11, 12, 13, 40)}
    assert at == {10: [1, 2], 11: [1, 2, 5, 7], 12: [5, 7], 13: [5, 7], 40: []}
    assert minute_values(past, 4).keys.size == 0
    # Round the clock: midnight is next to the day's last minute.
    assert 0 in minute_values([pairs(m1439=1.0), pairs(m1439=2.0)], 2).keys


def test_ranks_and_values_are_found_by_key() -> None:
    table = Fitted(Pairs.of([3, 1, 3, 3], [2.0, 9.0, 1.0, 2.0]))
    key = pl.Series([1, 3, 2, None, 3])
    values, there = table.value(key)
    assert there.tolist() == [True, True, False, False, True]
    assert values[there].tolist() == [9.0, 2.0, 2.0]
    shares, there = table.rank(pl.Series([3, 3, 3, 1, 2, 3]), pl.Series([0.0, 2, 5, 9, 1, None]))
    assert there.tolist() == [True, True, True, True, False, False]
    assert shares[there].tolist() == [0.0, 2 / 3, 1.0, 0.5]
    nothing = Fitted(Pairs.of([], []))
    assert not nothing.value(key)[1].any()
    assert not nothing.rank(key, key.cast(pl.Float64))[1].any()


def test_quantiles_are_the_same_from_both_sides() -> None:
    points, weights = np.arange(1.0, 11.0), np.ones(10)
    assert weighted_quantile(points, weights, 0.5) == 5.5
    assert weighted_quantile(points, weights, 0.25) == 3.0
    mirrored = weighted_quantile(-points[::-1], weights, 0.75)
    assert mirrored == -weighted_quantile(points, weights, 0.25)


def test_quantiles_of_sessions_weigh_by_their_samples() -> None:
    short = Pairs.of(np.arange(-1, 1001), [10, *np.full(1001, 5.0)])
    long = Pairs.of(np.arange(-1, 1001), [1_000_000, *np.linspace(0, 1, 1001)])
    centre, spread, low, high = robust([short, long], 1).values
    assert abs(centre - 0.5) < 2e-3
    assert abs(spread - 1.4826 * 0.25) < 2e-3
    assert abs(low - 0.01) < 2e-3
    assert abs(high - 0.99) < 2e-3


def test_a_statistic_looks_back_only_and_rests_on_no_fit() -> None:
    def component(x: pl.Expr) -> Component:
        return Component("test_refused", Statistic("test", (x,), Histogram), minute_values)

    with pytest.raises(RequestError, match="'test_refused': its statistic looks ahead"):
        declare(component(ahead(pl.col("bid_sz_00"), "1s")))
    with pytest.raises(RequestError, match="rests on a fit itself"):
        declare(component(fitted("order_size_quantiles", pl.lit(0))))
    with pytest.raises(RequestError, match="rests on a fit itself"):
        FEATURES.resolve("relative_volume__robust")[0].expr  # noqa: B018 - made when asked for
    with pytest.raises(RequestError, match="unknown component 'never_declared'"):
        components_of([fitted("never_declared", pl.lit(0))])
