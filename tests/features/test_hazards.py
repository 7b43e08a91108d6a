"""Fills and cancels of past orders: against theory, against a slow product, and by claims."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.components import Fitted, Pairs, components_of, fit
from features.engine import compute
from features.events import Tables
from features.gather import gather
from features.registry import FEATURES
from features.source import Context
from features.spells import CANCELLED, CENSORED, FILLED, spells
from features.survival import (
    AGES,
    HORIZONS,
    CancelsByAge,
    Waits,
    fill_probabilities,
    hazards_by_age,
    kaplan_meier,
)
from pipeline.units import NS_PER_S
from tests.book.support import DATE, MIDNIGHT, run_engine
from tests.book.test_life import run_lives
from tests.features.past import past_worlds
from tests.features.worlds import make_world
from tests.reference.records import LAST, UNDEF, Rec

TICK = 250_000_000
HOURS = ((100 * NS_PER_S, 200 * NS_PER_S), (300 * NS_PER_S, 400 * NS_PER_S))
STAMPS = ("entered_ts_recv", "first_fill_ts_recv", "lost_ts_recv", "known_at")


# --- spells --------------------------------------------------------------------------------------


def life(**facts: Any) -> dict[str, Any]:
    """A row of `order_life`, times in seconds: cancelled at 110 unless told otherwise."""
    row = {
        "side": "B",
        "entered": "add",
        "entered_event": 7,
        "entered_ts_recv": 105,
        "entered_distance": 0,
        "entered_opposite": TICK,
        "valid": True,
        "first_fill_ts_recv": None,
        "first_fill_ahead_orders": None,
        "lost_ts_recv": None,
        "outcome": "cancelled",
        "known_at": 110,
    } | facts
    times = {name: None if row[name] is None else row[name] * NS_PER_S for name in STAMPS}
    return row | times


def ends(*rows: dict[str, Any]) -> list[tuple[float, int]]:
    """Seconds and end of the spells of some lives."""
    kinds = dict.fromkeys(("entered_event", "entered_distance", "entered_opposite"), pl.Int64())
    kinds |= {"first_fill_ahead_orders": pl.Int64()} | dict.fromkeys(STAMPS, pl.Int64())
    frame = pl.DataFrame(rows, schema_overrides=kinds)
    frame = frame.with_columns(pl.col(name).cast(pl.Datetime("ns", "UTC")) for name in STAMPS)
    found = spells(frame, TICK, HOURS)
    return [(row["time"] / NS_PER_S, row["end"]) for row in found.to_dicts()]


def test_a_spell_ends_with_what_comes_first() -> None:
    filled = {"first_fill_ts_recv": 107, "first_fill_ahead_orders": 0}
    assert ends(
        life(),
        life(**filled),
        life(**filled, known_at=107, outcome="filled"),
        life(**filled, lost_ts_recv=106),
        life(**filled, lost_ts_recv=107),
        life(lost_ts_recv=106),
        life(outcome="resting", known_at=190),
        life(outcome="snapshot", known_at=190),
    ) == [
        (5, CANCELLED),
        (2, FILLED),
        (2, FILLED),
        (1, CENSORED),
        (2, FILLED),
        (1, CENSORED),
        (85, CENSORED),
        (85, CENSORED),
    ]


def test_a_fill_that_nobody_brought_is_out_of_sight() -> None:
    """In an auction, or of an order modified to cross: it was not met in its queue."""
    assert ends(life(first_fill_ts_recv=107)) == [(2, CENSORED)]


def test_trading_hours_end_a_spell() -> None:
    late = {"first_fill_ts_recv": 305, "first_fill_ahead_orders": 0, "known_at": 310}
    assert ends(
        life(**late),
        life(known_at=200),
        life(entered_ts_recv=199, known_at=199),
        life(entered_ts_recv=300, **late),
    ) == [(95, CENSORED), (95, CENSORED), (0, CANCELLED), (5, FILLED)]


@pytest.mark.parametrize(
    "facts",
    [
        {"entered": "snapshot", "entered_ts_recv": None, "entered_distance": None},
        {"entered": "modify"},
        {"entered_ts_recv": 99},
        {"entered_ts_recv": 200, "known_at": 201},
        {"entered_ts_recv": 400, "known_at": 401},
        {"entered_distance": None},
        {"entered_distance": TICK // 2},
        {"entered_opposite": 0},
        {"entered_opposite": None},
        {"valid": False},
    ],
)
def test_who_has_no_spell(facts: dict[str, Any]) -> None:
    assert ends(life(**facts), life()) == [(5, CANCELLED)]


# --- Kaplan and Meier ----------------------------------------------------------------------------

COUNTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_the_product_is_that_of_exact_fractions(counts: list[tuple[int, int]]) -> None:
    filled, unfilled = (np.array([x], dtype=float) for x in zip(*counts, strict=True))
    found = kaplan_meier(filled, unfilled)[0]
    share, there = Fraction(1), sum(map(sum, counts))
    for (d, c), ours in zip(counts, found, strict=True):
        if there:
            share *= 1 - Fraction(d) / (there - Fraction(c, 2)) if d else 1
        there -= d + c
        assert math.isclose(ours, share, abs_tol=1e-12)


def test_without_censoring_it_is_the_share_that_is_left() -> None:
    filled = np.array([[3.0, 0.0, 2.0, 4.0]])
    unfilled = np.array([[0.0, 0.0, 0.0, 1.0]])
    np.testing.assert_allclose(kaplan_meier(filled, unfilled)[0, :3], [0.7, 0.7, 0.5])


def random_spells(rng: np.random.Generator, n: int, fills: float, cancels: float) -> pl.DataFrame:
    """Orders that wait for a fill and for their cancel, both at constant rates (1/s)."""
    fill, cancel = (rng.exponential(1 / rate, n) * NS_PER_S for rate in (fills, cancels))
    return pl.DataFrame(
        {
            "event": np.full(n, 2),
            "ask": rng.random(n) < 0.5,
            "behind": np.zeros(n, dtype=np.int64),
            "time": np.minimum(fill, cancel).astype(np.int64),
            "end": np.where(fill < cancel, FILLED, CANCELLED),
        }
    )


def test_rates_are_recovered_from_orders_that_are_mostly_cancelled() -> None:
    fills, cancels, n = 0.2, 0.5, 40_000
    found = random_spells(np.random.default_rng(1), n, fills, cancels)
    waits, ages = Waits(cells=1), CancelsByAge()
    for start in range(0, n, 9_000):
        waits.take(found[start : start + 9_000])
        ages.take(found[start : start + 9_000])
    cell = pl.Series([None, 0])
    waits.push(np.array([0, 1]), [pl.Series([1, 2]), cell, cell, cell, cell])
    fitted = fill_probabilities(1)([waits.result()], 1)
    for key, value in zip(*fitted, strict=True):
        horizon = list(HORIZONS.values())[key] / NS_PER_S
        known = n * math.exp(-cancels * min(horizon, 8))
        assert abs(value - (1 - math.exp(-fills * horizon))) < 4 / math.sqrt(known)
    assert fitted.keys.tolist() == [0, 1, 2]  # at the touch; nobody stood behind it
    naive = found.filter(pl.col("end") == FILLED).height / n
    assert abs(naive - 0.2 / 0.7) < 0.01  # what counting fills would say of any horizon
    hazards = hazards_by_age([ages.result()], 1)
    assert hazards.keys.tolist() == list(range(6))  # hardly anyone lived longer
    np.testing.assert_allclose(hazards.values[2:5], cancels, rtol=0.05)


def test_cells_of_few_fates_are_left_out() -> None:
    waits = Waits(cells=1)
    time = [NS_PER_S // 2] * 29 + [2 * NS_PER_S] * 40
    end = [FILLED] * 29 + [CANCELLED] * 40
    column = {"event": [2] * 69, "ask": [False] * 69, "behind": [1] * 69}
    waits.take(pl.DataFrame({**column, "time": time, "end": end}))
    cell = pl.Series([None, 0])
    waits.push(np.array([0, 1]), [pl.Series([1, 2]), cell, cell, cell, cell])
    found = fill_probabilities(1)([waits.result()], 1)
    # Behind the touch: 69 are known after 1 s, 29 after 10 s.
    assert found.keys.tolist() == [3]
    np.testing.assert_allclose(found.values, [29 / 69])


def test_ages_lie_in_the_bin_they_have_reached() -> None:
    ages = CancelsByAge()
    edge = int(AGES[3])
    rows = {"event": [1, 1], "ask": [False, True], "behind": [-1, 1]}
    ages.take(pl.DataFrame({**rows, "time": [edge - 1, edge], "end": [CANCELLED, CANCELLED]}))
    sums = ages.result().values.reshape(-1, 3)
    assert sums[3:5].tolist() == [[1_799_999, 1, 2], [0, 1, 1]]
    assert sums[:, 1].sum() == 2


# --- a queue whose answer is known --------------------------------------------------------------


def fifo(seed: int, fills: int) -> list[Rec]:
    """A bid of four single contracts: one is sold at a constant rate, one joins at once."""
    draw, out, now, oid = random.Random(seed), [], MIDNIGHT + NS_PER_S, 10

    def put(action: str, side: str, price: int, order: int, flags: int = LAST) -> None:
        size = 0 if action == "R" else 1
        out.append(Rec(now, now, 0, order, price, size, flags, 0, action, side, len(out)))

    put("R", "N", UNDEF, 0)
    for k in range(4):
        put("A", "A", 101 * TICK, k + 1)
    queue = list(range(5, 9))
    for order in queue:
        put("A", "B", 100 * TICK, order)
    for _ in range(fills):
        now += int(draw.expovariate(1.0) * NS_PER_S)
        first = queue.pop(0)
        put("T", "A", 100 * TICK, 0, 0)
        put("F", "B", 100 * TICK, first, 0)
        put("C", "B", 100 * TICK, first)
        oid += 1
        queue.append(oid)
        put("A", "B", 100 * TICK, oid)
    return out


def session(records: Sequence[Rec]) -> Tables:
    """What the stages make of the records of a day."""
    book = pl.DataFrame(pl.from_arrow(run_engine(records, date=DATE).book))
    lives = pl.DataFrame(pl.from_arrow(run_lives(records)))
    hours = (MIDNIGHT, records[-1].ts_recv + 1)
    context = Context("SIM", "SIM", make_world(1, 20).context.session, TICK, (hours,))
    return Tables(context, book, order_life=lives, chunk=999)


def test_a_simulated_queue_has_the_fill_probability_of_theory() -> None:
    """Three stand before who joins: filled by h if four sales come by then."""
    columns = FEATURES.resolve("fill_probability_touch_bid_*")
    (component,) = components_of([columns[0].expr])
    days = [gather(session(fifo(k, 900)), [component.statistic], whole=True) for k in range(5)]
    found = fit(component, [day[component.statistic.name] for day in days], 5)
    assert found is not None
    today = session(fifo(99, 20))
    fits = {component.name: Fitted(found)}
    today = replace(today, context=replace(today.context, fits=fits))
    frame = pl.concat(list(compute(today, columns)))
    for column, horizon in zip(columns, (1, 10, 60), strict=True):
        theory = 1 - sum(math.exp(-horizon) * horizon**k / math.factorial(k) for k in range(4))
        values = frame[column.name].drop_nulls().unique()
        assert values.len() == 1
        assert abs(values[0] - theory) < 0.02


# --- what is known when --------------------------------------------------------------------------


def fits_of(days: Sequence[Tables]) -> dict[str, Pairs]:
    """What is fitted on some sessions, of everything that rests on lives."""
    components = components_of([column.expr for column in FEATURES.resolve("hazards")])
    statistics = [component.statistic for component in components]
    sums = [gather(day, statistics, whole=True) for day in days]
    found = {}
    for one in components:
        past = [day[one.statistic.name] for day in sums][-(one.sessions or 20) :]
        pairs = fit(one, past, one.min_sessions)
        assert pairs is not None
        found[one.name] = pairs
    return found


@pytest.mark.parametrize("chunk", [7, 200])
def test_chunks_of_lives_do_not_matter(chunk: int) -> None:
    whole = fits_of(past_worlds()[:5])
    pieces = fits_of([replace(day, chunk=chunk) for day in past_worlds()[:5]])
    for name, pairs in whole.items():
        assert pairs.keys.size, name
        np.testing.assert_array_equal(pairs.keys, pieces[name].keys)
        np.testing.assert_array_equal(pairs.values, pieces[name].values)


def test_an_order_saw_the_book_before_its_own_event() -> None:
    """What its event, and all after it, did to the book changes nothing of its cell."""
    day = past_worlds()[0]
    assert day.order_life is not None
    joined = day.order_life.filter(pl.col("entered") == "add", pl.col("valid"))
    one = joined.filter(pl.col("entered_distance") == 0, pl.col("entered_opposite") > 0)
    one = one.sort("entered_event")[one.height // 2 : one.height // 2 + 1]
    later = pl.col("event") >= one["entered_event"][0]
    sizes = [name for name in day.book.columns if "_sz_" in name]
    other = day.book.with_columns(
        pl.when(later)
        .then(pl.col(name) * 3 + 1)
        .otherwise(pl.col(name))
        .cast(pl.UInt32)
        .alias(name)
        for name in sizes
    )
    assert not other.equals(day.book)
    (component,) = components_of([FEATURES.resolve("fill_probability")[0].expr])
    statistic = component.statistic
    counts = [
        gather(replace(day, book=book, order_life=one), [statistic], whole=True)[statistic.name]
        for book in (day.book, other)
    ]
    assert counts[0].values.tolist() == [1]
    assert counts[0].keys.tolist() == counts[1].keys.tolist()
