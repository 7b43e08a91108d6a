"""Every column against the slow reference, at every clock, on markets with everything in them."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engine import compute
from features.events import Tables
from features.nodes import peers_behind
from features.registry import FEATURES, LABELS, Column, Family
from pipeline.book.queue_columns import QUEUE_FLOWS, QUEUE_STATES
from pipeline.errors import InputError
from tests.features.past import past_worlds, with_past
from tests.features.worlds import FAST, SLOW, make_world
from tests.reference.features.catalogue import SLOW_FEATURES, SLOW_LABELS
from tests.reference.features.session import Session, decisions, prepare

SHORT_BARS = {"60s": "10s", "e1000": "e1", "c1000": "c4", "t100": "t1"}
SHORT_ROWS = ("n3", "n7")
"""Off the grid, but such as a small market fills."""

SMALL: dict[str, dict[str, tuple[int | str, ...]]] = {
    "vpin": {"size": (7, 30), "buckets": (3, 8)},
    "kyle_lambda_trades": {"bar": (1, 3), "window": ("n3", "n9")},
    "hasbrouck_lambda": {"step": ("1s", "10s"), "window": ("40s", "30m")},
    "permanent_impact": {"lags": (1, 2)},
    "corwin_schultz": {"step": ("1s", "60s"), "window": ("20s", "30m")},
}
"""Other values off the grid, by family."""


def chosen(family: Family) -> list[Column]:
    """Columns that use every value of every parameter at least once."""
    names = list(family.params)
    small = SMALL.get(family.name, {})
    values = [list(small.get(name, family.params[name].values)) for name in names]
    for options in values:
        if any(str(v).startswith("n") and str(v)[1:].isdigit() for v in options):
            long = ("n200", "n500", "n1000")
            options[:] = [v for v in options if v not in long] + list(SHORT_ROWS)
        if any(str(v) in SHORT_BARS and str(v)[0].isalpha() for v in options):
            options[:] = [SHORT_BARS.get(str(v), v) for v in options]
    longest = max((len(v) for v in values), default=1)
    picked = [
        family.column({name: v[k % len(v)] for name, v in zip(names, values, strict=True)})
        for k in range(longest)
    ]
    return list({column.name: column for column in picked}.values())


ROWS = 200


@cache
def world(seed: int, kind: str) -> tuple[Tables, Session]:
    gaps = FAST if kind == "fast" else SLOW
    invalid = 0.0 if kind == "long" else 0.015
    tables = with_past(make_world(seed, ROWS, gaps, invalid=invalid, peers=True))
    session = slow_with_peers(tables)
    session.past = earlier()
    return tables, session


def slow_with_peers(tables: Tables) -> Session:
    session = slow(tables)
    for name, peer in tables.peers.items():
        assert isinstance(peer, Tables)
        session.peers[name] = slow(peer)
    return session


def slow(tables: Tables) -> Session:
    assert tables.flow is not None
    assert tables.trades is not None
    assert tables.queue is not None
    # The states of `queue` stand where those of the book do; its flows pass on and begin anew
    # as those of `flow` do.
    book = tables.book.with_columns(tables.queue.select(QUEUE_STATES))
    flow = tables.flow.with_columns(tables.queue.select(QUEUE_FLOWS))
    session = prepare(tables.context, book, flow, tables.trades)
    if tables.order_life is not None:
        times = pl.col(pl.Datetime("ns", "UTC")).cast(pl.Int64)
        session.lives = tables.order_life.with_columns(times).to_dicts()
    return session


@cache
def earlier() -> list[Session]:
    return [slow_with_peers(tables) for tables in past_worlds()]


def same(ours: object, theirs: object, dtype: pl.DataType) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    if not dtype.is_float():
        return ours == theirs
    tolerance = 2e-6 if dtype == pl.Float32() else 1e-9
    return math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance)  # type: ignore[arg-type]


@cache
def computed(seed: int, kind: str, clock: str) -> pl.DataFrame:
    """All columns of all families but those that read peers: chunks of peers cut ours, too."""
    columns = [c for family in FEATURES.families() for c in chosen(family)]
    alone = [c for c in columns if not peers_behind([c.expr])]
    return pl.concat(list(compute(world(seed, kind)[0], alone, clock)))


def check(family: Family, seed: int, kind: str, clock: str, frame: pl.DataFrame) -> set[str]:
    """Compare; returns the columns that had a value at some decision point."""
    tables, session = world(seed, kind)
    columns = chosen(family)
    if not {column.name for column in columns} <= set(frame.columns):
        frame = pl.concat(list(compute(tables, columns, clock)))
    points = decisions(session, clock)
    assert frame["ts"].cast(pl.Int64).to_list() == [t for _, t in points]
    assert frame["event"].to_list() == [session.rows[i]["event"] for i, _ in points]
    function = SLOW_FEATURES[family.name]
    for column in columns:
        values = frame[column.name]
        assert values.dtype == family.dtype
        for (i, t), ours in zip(points, values, strict=True):
            theirs = function(session, i, t, **column.arguments)
            assert same(ours, theirs, family.dtype), (column.name, i, t, ours, theirs)
    return {column.name for column in columns if frame[column.name].null_count() < frame.height}


MARKETS = (
    (1, "fast", "event"),
    (2, "slow", "event"),
    (3, "fast", "grid:1s"),
    (4, "slow", "touch"),
    (5, "long", "event"),
)


@pytest.mark.parametrize("family", FEATURES.families(), ids=lambda f: f.name)
def test_every_feature_equals_the_reference(family: Family) -> None:
    assert family.name in SLOW_FEATURES, f"{family.name} has no reference implementation"
    valued: set[str] = set()
    for market in MARKETS:
        valued |= check(family, *market, computed(*market))
    never = {column.name for column in chosen(family)} - valued
    assert not never, f"never anything but null, so nothing was compared: {sorted(never)}"


@pytest.mark.parametrize(
    "clock", ["volume:1", "volume:25", "trades:3", "dollar:1", "dollar:700000", "dollar:5000001"]
)
def test_bars_end_where_the_reference_says(clock: str) -> None:
    """At the row that completes a bar; one decision however many a print completes."""
    for seed, kind in ((1, "fast"), (2, "slow"), (5, "long")):
        tables, session = world(seed, kind)
        for chunk in (7, 1000):
            pieces = replace(tables, chunk=chunk)
            frame = pl.concat(list(compute(pieces, FEATURES.resolve("cvd"), clock)))
            points = decisions(session, clock)
            assert 1 < len(points) < len(session.rows)
            assert frame["ts"].cast(pl.Int64).to_list() == [t for _, t in points]
            assert frame["event"].to_list() == [session.rows[i]["event"] for i, _ in points]


def test_dollar_bars_need_a_multiplier() -> None:
    tables, _ = world(1, "fast")
    unknown = replace(tables, context=replace(tables.context, multiplier=None))
    with pytest.raises(InputError, match=r'no multiplier known.*\[instruments."ESH5"\] multiplier'):
        list(compute(unknown, FEATURES.resolve("mid"), "dollar:1000"))


def test_the_markets_have_everything_in_them() -> None:
    """Ties, segments, empty, locked and crossed rows: or the comparison would show little."""
    for seed, kind in ((1, "fast"), (2, "slow"), (3, "fast"), (4, "slow")):
        session = world(seed, kind)[1]
        states = {row["state"] for row in session.rows}
        assert states == {"normal", "one_sided", "locked", "crossed"}
        assert session.rows[-1]["segment"] >= 2
        times = [row["ts"] for row in session.rows]
        assert len(set(times)) < len(times)


@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["fast", "slow"]),
    name=st.sampled_from(["ofi", "zscore", "vwap_z", "momentum", "since_mid_move", "ema_gap"]),
)
def test_features_equal_the_reference_on_any_market(seed: int, kind: str, name: str) -> None:
    family = next(f for f in FEATURES.families() if f.name == name)
    check(family, seed, kind, "event", pl.DataFrame())


@pytest.mark.parametrize("family", LABELS.families(), ids=lambda f: f.name)
@pytest.mark.parametrize("clock", ["event", "grid"])
def test_every_label_equals_the_reference(family: Family, clock: str) -> None:
    function = SLOW_LABELS[family.name]
    columns = chosen(family)
    for seed, kind in ((5, "fast"), (6, "slow")):
        tables, session = world(seed, kind)
        at = clock if clock == "event" else {"fast": "grid:1s", "slow": "grid:60s"}[kind]
        frame = pl.concat(list(compute(tables, columns, at)))
        points = decisions(session, at)
        assert len(points) == frame.height
        ends: list[list[int]] = [[] for _ in points]
        for column in columns:
            after = frame[f"after_{column.name}"].to_list()
            for k, ((i, t), ours) in enumerate(zip(points, frame[column.name], strict=True)):
                theirs, end = function(session, i, t, **column.arguments)
                assert same(ours, theirs, family.dtype), (column.name, i, t, ours, theirs)
                ends[k] += [end] if end is not None else []
                assert after[k] == (None if end is None else end - t)
        known = frame["t_end"].cast(pl.Int64).to_list()
        assert known == [max(e) if e else None for e in ends]


def test_long_row_windows() -> None:
    names = ["ofi_n200", "ofi_n1000", "zscore_n1000", "return_n1000", "trade_imbalance_n200"]
    tables = make_world(11, 4000, FAST)
    assert tables.flow is not None
    assert tables.trades is not None
    tables = Tables(
        tables.context,
        tables.book.with_columns(pl.lit(value=True).alias("valid")),
        tables.flow,
        tables.trades,
    )
    session = prepare(tables.context, tables.book, tables.flow, tables.trades)
    columns = FEATURES.resolve(names)
    frame = pl.concat(list(compute(tables, columns)))
    counts = {}
    for column in columns:
        function = SLOW_FEATURES[column.family.name]
        for i in itertools.chain(range(990, 1040, 7), range(1500, frame.height, 400)):
            t = session.rows[i]["ts"]
            theirs = function(session, i, t, **column.arguments)
            assert same(frame[column.name][i], theirs, column.family.dtype), (column.name, i)
            counts[column.name] = counts.get(column.name, 0) + (theirs is not None)
    assert all(counts.values())
