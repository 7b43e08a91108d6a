"""Other instruments: strictly before now, whatever the chunks, and by the names of the set."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.checks import Recording
from features.columns import mid_ticks
from features.engine import compute
from features.events import Tables
from features.registry import FEATURES
from features.sets import feature_set
from features.windows import of_peer, on_grid, window_sum
from pipeline.errors import RequestError
from pipeline.units import NS_PER_S
from tests.features.worlds import FAST, MIDNIGHT, SLOW, make_world

NAMES = [
    *("age_of_peer", "is_stale_peer", "mid_of_peer", "return_of_peer_1s", "ofi_of_peer_5s"),
    *("lagged_ofi_of_peer_1s_1s", "correlation_with_peer_1s_20s", "spread_residual_peer_1s_20s"),
    *("price_gap_to_peer", "calendar_gap_far_listed", "volume_share_with_peer_60s"),
]


@cache
def world(seed: int = 3, rows: int = 200) -> Tables:
    return make_world(seed, rows, SLOW if seed % 2 else FAST, peers=True)


def run(tables: Tables, clock: str = "event", *columns: str) -> pl.DataFrame:
    return pl.concat(list(compute(tables, FEATURES.resolve(columns or NAMES), clock)))


def with_peers(tables: Tables, **changes: object) -> Tables:
    peers = {n: replace(p, **changes) for n, p in tables.peers.items() if isinstance(p, Tables)}
    return replace(tables, peers=peers)


def flat(times: list[int], mids: list[int]) -> Tables:
    """A book that shows these mids at these times (ns after the first second of the session)."""
    base = make_world(1, max(len(times), 4))
    base = replace(base, book=base.book.head(len(times)), flow=base.flow.head(len(times)))
    ts = pl.Series([MIDNIGHT + NS_PER_S + t for t in times]).cast(pl.Datetime("ns", "UTC"))
    tick = base.context.tick
    empty = [pl.lit(None, pl.Int64).alias(c) for c in base.book.columns if "_px_" in c]
    book = base.book.with_columns(
        *empty,
        ts.alias("ts_recv"),
        pl.lit(value=True).alias("valid"),
        pl.lit("normal").alias("state"),
        pl.lit(1, pl.UInt32).alias("instrument_id"),
    ).with_columns(
        pl.Series("bid_px_00", [(m - 1) * tick for m in mids]),
        pl.Series("ask_px_00", [(m + 1) * tick for m in mids]),
    )
    hours = ((MIDNIGHT + 1, MIDNIGHT + 3600 * NS_PER_S),)
    return replace(base, book=book, context=replace(base.context, segments=hours))


def test_an_event_of_the_same_instant_is_not_known() -> None:
    """Known is what the peer said before, were it by a nanosecond."""
    ours = flat([0, 10, 10, 11, 50], [100, 100, 101, 101, 102])
    peer = flat([0, 10, 49, 50], [500, 510, 520, 530])
    frame = run(replace(ours, peers={"peer": peer}), "event", "mid_of_peer", "age_of_peer")
    assert frame["mid_of_peer"].to_list() == [None, 500, 500, 510, 520]
    assert frame["age_of_peer"].to_list() == [None] + [
        pytest.approx(x * 1e-9) for x in (10, 10, 1, 1)
    ]


def test_a_stale_peer_says_nothing_but_that() -> None:
    s = NS_PER_S
    ours, peer = flat([0, s, 7 * s, 26 * s], [100] * 4), flat([0], [500])
    ours = replace(ours, context=replace(ours.context, peer_tolerance=7 * s))
    names = ("mid_of_peer", "is_stale_peer", "age_of_peer")
    frame = run(replace(ours, peers={"peer": peer}), "event", *names)
    assert frame["mid_of_peer"].to_list() == [None, 500, 500, None]
    assert frame["is_stale_peer"].to_list() == [None, 0, 0, 1]
    assert frame["age_of_peer"].to_list() == [None, 1, 7, 26]


def test_a_quiet_market_of_ours_reads_a_busy_peer_at_every_grid_point() -> None:
    """Many chunks of the peer lie between two rows of ours."""
    s = NS_PER_S
    ours = flat([0, 50 * s], [100, 100])
    peer = replace(flat([i * s // 4 for i in range(240)], list(range(1000, 1240))), chunk=5)
    frame = run(replace(ours, peers={"peer": peer}), "grid:1s", "mid_of_peer", "return_of_peer_5s")
    seconds = (frame["ts"].cast(pl.Int64) - MIDNIGHT - s) // s
    assert seconds.to_list() == list(range(1, 51))
    assert frame["mid_of_peer"].to_list() == [1000 + 4 * i - 1 for i in range(1, 51)]
    # As of t - 5 s the row of that very instant counts: it is in the past.
    assert frame["return_of_peer_5s"].to_list()[5:] == [19.0] * 45


@pytest.mark.parametrize("clock", ["event", "touch", "grid:1s", "volume:20"])
def test_chunks_of_both_change_nothing(clock: str) -> None:
    # One row at a time is slow: of a short market, with the most ties.
    for seed, rows, chunks in ((4, 80, ((1, 1000), (1000, 1))), (6, 200, ((7, 13),))):
        whole = run(with_peers(world(seed, rows), chunk=10_000), clock)
        assert whole.height - whole["mid_of_peer"].null_count() > 10
        for ours, theirs in chunks:
            pieces = with_peers(replace(world(seed, rows), chunk=ours), chunk=theirs)
            assert_frame_equal(run(pieces, clock), whole, check_exact=True)


@pytest.mark.parametrize("clock", ["event", "grid:1s"])
def test_the_future_of_a_peer_changes_nothing(clock: str) -> None:
    """Ours stays as it is; from some instant on, that instant included, the peer is another."""
    tables = world(4)
    whole = run(tables, clock)
    peer = tables.peers["peer"]
    assert isinstance(peer, Tables)
    changed = 0
    names = {name for column in FEATURES.resolve(NAMES) for name in column.roots}
    recorded = Recording(peer.context, pl.concat(list(peer.rows(sorted(names)))))
    for rows in (40, 90, 140):
        other = replace(tables, peers={**tables.peers, "peer": recorded.other_future(rows, 5)})
        at = int(peer.book["ts_recv"].cast(pl.Int64).cum_max()[rows])
        seen = run(other, clock)
        before = pl.col("ts").cast(pl.Int64) <= at
        assert_frame_equal(seen.filter(before), whole.filter(before), check_exact=True)
        changed += not seen.equals(whole)
    assert changed


def test_without_its_peer_a_column_is_null() -> None:
    frame = run(replace(world(), peers={}))
    assert all(frame[name].null_count() == frame.height for name in NAMES)


def test_samples_of_a_peer_are_refused() -> None:
    with pytest.raises(ValueError, match="sample what it says"):
        of_peer("peer", on_grid("1s", mid_ticks(), lambda x: window_sum(x, "5s")))


def names(**table: object) -> list[str]:
    chosen = feature_set("mine", {"mine": table})
    return [column.name for column in chosen.features]


def test_families_stand_for_every_peer_of_the_set() -> None:
    peers = {"nq": "NQ.v.0", "rty": "RTYM5"}
    assert names(features=["mid", "mid_of"], peers=peers) == ["mid", "mid_of_nq", "mid_of_rty"]
    assert names(features=["mid_of_nq"], peers=peers) == ["mid_of_nq"]
    assert names(features=["mid_of"], peers=["NQM5", "RTYM5"]) == ["mid_of_peer", "mid_of_peer2"]
    assert names(features=["mid_of"], peers="NQM5") == ["mid_of_peer"]
    two = {"far": "ESU5", "listed": "ESM5-ESU5"}
    assert names(features=["Y05", "calendar_gap_far_listed"], peers=two)[-1].startswith("calendar")
    # A tag brings along nothing that the set has no peers for.
    assert not {n for n in names(features=["tier1"]) if "peer" in n}
    assert "ofi_of_nq_10s" in names(features=["tier1"], peers=peers)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"features": ["mid_of_nq"]}, r"mid_of_nq reads the peer 'nq'; add peers = \{ nq"),
        ({"features": ["mid"], "peers": {"n_q": "NQM5"}}, "'n_q' is no name"),
        ({"features": ["mid"], "peers": 3}, "write peers by name"),
        ({"features": ["mid"], "tolerance": "soon"}, "is not a duration"),
    ],
)
def test_sets_with_wrong_peers(table: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        names(**table)
