"""What must hold for every feature whatever its formula: causality, chunks, symmetries."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from features.checks import Recording
from features.engine import compute
from features.events import Tables
from features.nodes import peers_behind
from features.registry import FEATURES, LABELS, Column
from features.source import Source
from tests.features.past import BY_PAST, SCALE, SHIFT, with_past
from tests.features.worlds import (
    FAST,
    SLOW,
    make_world,
    mirrored,
    scaled,
    shifted,
)

NORMALISED = (
    *("ofi_10s__z_10s", "cvd__zpast_n5", "mid__z_h1s", "depth_bid_1__rank_n9", "mid__z_n7"),
    *("ofi_10s__z_10s__tanh_2", "ofi_1s__tanh_10s", "signed_volume_10s__slog_10"),
    *("return_1s__half_spreads", "ofi_10s__depth_5", "spread_bps__ticks"),
    *("return_1s__sigma_h1s_10s", "queue_imbalance__rank_n9__z_n5"),
)


@cache
def columns() -> list[Column]:
    """Three columns of every family: first, middle and last of the grid."""
    found: dict[str, Column] = {}
    for family in FEATURES.families():
        grid = family.grid()
        for column in (grid[0], grid[len(grid) // 2], grid[-1]):
            found[column.name] = column
    # Off the grids, but such as a small market fills.
    small = [
        "ofi_n3",
        "zscore_n7",
        "return_n3",
        *NORMALISED,
        *BY_PAST,
        "vpin_20_5",
        "roll_spread_n7",
    ]
    small += [
        "sign_autocorrelation_1_n7",
        "trade_location_ask_n7",
        "trade_size_z_n7",
        "kyle_lambda_trades_3_n5",
        "hasbrouck_lambda_10s_30m",
        "permanent_impact_1",
        "corwin_schultz_1s_20s",
        "eta_mid_n9",
        "eta_trade_n9",
        "autocorrelation_n9",
        *("macd_1s", "macd_signal_1s", "macd_histogram_1s"),
    ]
    return [*found.values(), *FEATURES.resolve(small)]


@cache
def world(seed: int) -> Tables:
    return with_past(make_world(seed, 220, SLOW if seed % 2 else FAST, peers=True))


@cache
def recorded(seed: int) -> Recording:
    """The world as one frame, with every column that any feature or label reads."""
    names = {name for column in (*columns(), *LABELS.resolve("tier1")) for name in column.roots}

    def one(tables: Source) -> Recording:
        peers = {name: one(peer) for name, peer in tables.peers.items()}
        frame = pl.concat(list(tables.rows(sorted(names))))
        return Recording(tables.context, frame, peers=peers)

    return one(world(seed))


def run(tables: Source, clock: str = "event", chosen: list[Column] | None = None) -> pl.DataFrame:
    """Values at every decision; no rows and no columns where there is no decision.

    A peer comes in small chunks, and these cut ours: columns that read none are computed apart,
    in fewer pieces.
    """
    groups: dict[bool, list[Column]] = {}
    for column in chosen or columns():
        groups.setdefault(reads_peers(column), []).append(column)
    whole = pl.DataFrame()
    for group in groups.values():
        pieces = list(compute(tables, group, clock))
        if not pieces:
            return whole
        frame = pl.concat(pieces)
        if whole.width:
            assert frame["ts", "event"].equals(whole["ts", "event"])
            frame = frame.select(column.name for column in group)
        whole = pl.concat([whole, frame], how="horizontal") if whole.width else frame
    return whole


READS_PEERS: dict[str, bool] = {}


def reads_peers(column: Column) -> bool:
    if column.name not in READS_PEERS:
        READS_PEERS[column.name] = bool(peers_behind([column.expr]))
    return READS_PEERS[column.name]


@cache
def whole(seed: int, clock: str) -> pl.DataFrame:
    return run(world(seed), clock)


NO_SHRINKING = (Phase.explicit, Phase.generate)
"""A failing cut is as good as the smallest one, and a run of all columns takes a while."""

CLOCKS = ("event", "touch", "grid:20s", "volume:20", "trades:7", "dollar:9000000")


@settings(max_examples=8, deadline=None, phases=NO_SHRINKING)
@given(rows=st.integers(30, 219), seed=st.sampled_from([1, 2]), clock=st.sampled_from(CLOCKS))
def test_no_feature_knows_more_than_the_rows_before(rows: int, seed: int, clock: str) -> None:
    """A1: cut the tables anywhere, inside ties too: what remains is the same, to the bit."""
    known = run(recorded(seed).cut(rows), clock)
    if known.height:
        assert_frame_equal(known, whole(seed, clock).head(known.height), check_exact=True)


@settings(max_examples=5, deadline=None, phases=NO_SHRINKING)
@given(rows=st.integers(30, 219), seed=st.sampled_from([1, 2]), other=st.integers(0, 1000))
def test_no_feature_changes_with_another_future(rows: int, seed: int, other: int) -> None:
    """A2: what comes after the cut is replaced; what was before it stays."""
    height = run(recorded(seed).cut(rows)).height
    future = run(recorded(seed).other_future(rows, other))
    assert_frame_equal(future.head(height), whole(seed, "event").head(height), check_exact=True)


def test_every_family_has_values_whose_causality_is_tried() -> None:
    """A feature that is null throughout passes A1 and A2 whatever its formula."""
    valued: dict[str, bool] = {}
    for column in columns():
        # The spread seldom leaves its median: its robust form is null, that of depths is not.
        normaliser = column.family.name.rpartition("__")[2]
        known = any(whole(s, "event")[column.name].count() for s in (1, 2))
        valued[normaliser] = valued.get(normaliser, False) or known
    assert not [name for name, known in valued.items() if not known]


def test_cuts_fall_inside_ties() -> None:
    times = world(2).book["ts_recv"]
    assert (times.diff().dt.total_nanoseconds() == 0).sum() > 20


@cache
def labels() -> list[Column]:
    """A column of every family."""
    return [family.grid()[0] for family in LABELS.families()]


@pytest.mark.parametrize("column", labels(), ids=lambda c: c.name)
def test_every_label_fails_the_causality_test(column: Column) -> None:
    for seed in (2, 1):  # not every label is warm in the fast one
        full = run(world(seed), chosen=[column])
        for rows in range(60, 220, 10):
            known = run(recorded(seed).cut(rows), chosen=[column])
            if not known[column.name].equals(full[column.name].head(known.height)):
                return
    pytest.fail(f"{column.name} never changed with the future")


PIECES = [
    *(("event", 29, 1), ("event", 110, 2), ("touch", 110, 1), ("grid:20s", 73, 2)),
    *(("volume:20", 110, 1), ("trades:7", 73, 2), ("dollar:9000000", 110, 2)),
]


@pytest.mark.parametrize(("clock", "chunk", "seed"), PIECES)
def test_chunks_change_nothing(chunk: int, seed: int, clock: str) -> None:
    """A3: one run in pieces of any size equals one in one piece, to the bit."""
    pieces = run(replace(world(seed), chunk=chunk), clock)
    assert_frame_equal(pieces, whole(seed, clock), check_exact=True)


def test_one_row_at_a_time_changes_nothing() -> None:
    names = ["ofi_10s", "ofi_n10", "ema_gap_h1s", "return_10s", "rv_1s_60s", "since_trade", "cvd"]
    chosen = FEATURES.resolve([*names, "ofi_normalised_10s", "vwap_z_60s", "zscore_10s"])
    small = make_world(2, 70, SLOW)
    for clock in ("event", "grid:20s"):
        pieces = run(replace(small, chunk=1), clock, chosen)
        assert_frame_equal(pieces, run(small, clock, chosen), check_exact=True)


@pytest.mark.parametrize("name", ["ofi_event", "ofi_100ms"])
def test_a_decision_between_rows_knows_the_two_before_it(name: str) -> None:
    """However little the windows look back on, and wherever chunks are cut."""
    chosen = FEATURES.resolve(name)
    for seed in (1, 2):
        pieces = run(replace(world(seed), chunk=1), "grid:1s", chosen)
        assert_frame_equal(pieces, run(world(seed), "grid:1s", chosen), check_exact=True)


def test_labels_do_not_depend_on_chunks() -> None:
    for clock in CLOCKS:
        pieces = run(replace(world(2), chunk=23), clock, labels())
        assert_frame_equal(pieces, run(world(2), clock, labels()), check_exact=True)


def test_columns_do_not_depend_on_their_company() -> None:
    alone = [run(world(2), chosen=[column])[column.name] for column in columns()[::5]]
    for series in alone:
        assert_series_equal(series, whole(2, "event")[series.name], check_exact=True)


def closely(ours: pl.Series, theirs: pl.Series) -> None:
    assert_series_equal(
        ours, theirs, check_names=False, check_dtypes=False, rel_tol=2e-5, abs_tol=2e-5
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_mirrored_market_has_the_mirrored_features(seed: int) -> None:
    """A4: swap the sides, negate prices: signed features change sign, the others do not."""
    partners = FEATURES.resolve([column.mirror_name for column in columns()])
    seen = run(with_past(mirrored(world(seed)), "mirrored"), chosen=partners)
    for column in columns():
        values = seen[column.mirror_name]
        if column.family.mirror == "other":
            continue
        if column.family.mirror == "complement":
            values = (column.family.high or 1) - values
        elif column.family.mirror.endswith("odd"):
            values = -values
        closely(values, whole(seed, "event")[column.name])


@pytest.mark.parametrize("seed", [1, 2])
def test_scaled_sizes_scale_what_is_in_contracts(seed: int) -> None:
    """A5: sizes times c leave ratios alone and multiply what counts contracts."""
    seen = run(with_past(scaled(world(seed), SCALE), "scaled"))
    for column in columns():
        power = column.family.size_power
        if power is not None:
            closely(seen[column.name], whole(seed, "event")[column.name] * SCALE**power)


@pytest.mark.parametrize("seed", [1, 2])
def test_shifted_prices_shift_what_is_a_price(seed: int) -> None:
    """A5: a shift of all prices leaves everything but price levels alone."""
    seen = run(with_past(shifted(world(seed), SHIFT), "shifted"))
    for column in columns():
        shift = column.family.shift
        if shift != "other":
            up = SHIFT if shift == "level" else 0
            closely(seen[column.name], whole(seed, "event")[column.name] + up)


@pytest.mark.parametrize("seed", [1, 2])
def test_values_lie_in_the_declared_range_and_are_never_nan(seed: int) -> None:
    frame = whole(seed, "event")
    for column in columns():
        values = frame[column.name].drop_nulls()
        assert not values.cast(pl.Float64).is_nan().any(), column.name
        assert not values.cast(pl.Float64).is_infinite().any(), column.name
        family = column.family
        if family.low is not None:
            assert (values >= family.low).all(), column.name
        if family.high is not None:
            assert (values <= family.high).all(), column.name


# --- identities (A6) ---------------------------------------------------------------------------


def test_weighted_mid_is_mid_plus_imbalance_times_half_the_spread() -> None:
    frame = whole(2, "event")
    right = frame["mid"] + frame["queue_imbalance"].cast(pl.Float64) * frame["spread"] / 2
    assert_series_equal(frame["wmid"], right, check_names=False, abs_tol=1e-6)


@pytest.mark.parametrize("tick", [250_000_000, 10_000_000, 7_812_500, 5_000_000])
def test_prices_on_the_tick_are_exact_in_ticks(tick: int) -> None:
    """Division by a literal is rounded in polars: multiples of the tick must come out whole."""
    tables = world(2)
    factor = tick / tables.context.tick
    assert tables.trades is not None
    exact = replace(
        tables,
        context=replace(tables.context, tick=tick),
        book=tables.book.with_columns(
            (pl.col(c) * factor).cast(pl.Int64) for c in tables.book.columns if "_px_" in c
        ),
        trades=tables.trades.with_columns((pl.col("price") * factor).cast(pl.Int64)),
    )
    chosen = FEATURES.resolve(["mid", "spread", "vwap_session", "return_10s", "zscore_n10"])
    for chunk in (1000, 31):
        frame = run(replace(exact, chunk=chunk), chosen=chosen)
        assert frame.drop("bid_px", "ask_px").equals(
            run(tables, chosen=chosen).drop("bid_px", "ask_px")
        )
        doubled = frame["mid"].drop_nulls() * 2
        assert (doubled == doubled.round()).all()


def test_ofi_at_constant_prices_is_the_change_of_the_queues() -> None:
    """With the touch prices still, sum e = change of (B_0 - A_0)."""
    tables = world(2)
    first = tables.book.filter(pl.col("state") == "normal")[0]
    still = tables.book.with_columns(
        pl.lit(value=True).alias("valid"),
        pl.lit("normal").alias("state"),
        *(pl.lit(first[c][0]).alias(c) for c in tables.book.columns if "_px_" in c),
    )
    frame = run(replace(tables, book=still), chosen=FEATURES.resolve(["ofi_event", "depth_*_1"]))
    change = (frame["depth_bid_1"] - frame["depth_ask_1"]).diff()
    event = frame["ofi_event"]
    assert event.is_not_null().sum() > 100
    known = event.is_not_null()
    assert event.filter(known).to_list() == change.filter(known).to_list()


def test_parts_add_up() -> None:
    names = ["ofi_10s", "ofi_ratio_10s", "signed_volume_10s", "trade_imbalance_10s", "vol_1s_60s"]
    frame = run(world(2), chosen=FEATURES.resolve([*names, "rv_1s_60s", "ofi_n10", "ofi_event"]))
    closely(frame["vol_1s_60s"] ** 2, frame["rv_1s_60s"])
    assert (frame["signed_volume_10s"].abs() >= 0).all()
    share = frame["ofi_ratio_10s"].drop_nulls()
    assert (share.abs() <= 1).all()


def test_a_grid_row_knows_the_events_before_it_and_none_at_it() -> None:
    """An event at the very time of a grid point belongs to the next one."""
    tables = world(2)
    aligned = tables.book.with_columns(pl.col("ts_recv").dt.truncate("1s"))
    frame = run(replace(tables, book=aligned), "grid:1s", FEATURES.resolve("since_touch_update"))
    events = run(replace(tables, book=aligned), "event", FEATURES.resolve("mid"))
    times, keys = events["ts"].cast(pl.Int64).to_numpy(), events["event"].to_numpy()
    for t, event in zip(frame["ts"].cast(pl.Int64), frame["event"], strict=True):
        assert event == keys[np.searchsorted(times, t, side="left") - 1]


def test_grid_rows_stop_where_the_data_stop() -> None:
    """Beyond the last row nothing is known, so nothing is decided."""
    frame = run(recorded(2).cut(120), "grid:1s", FEATURES.resolve("mid"))
    last = recorded(2).cut(120).frame["ts_recv"].cast(pl.Int64).max()
    assert frame["ts"].cast(pl.Int64).max() <= last


def test_twice_is_the_same() -> None:
    assert_frame_equal(run(world(1)), whole(1, "event"), check_exact=True)
