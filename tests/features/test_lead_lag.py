"""Which of two instruments moves first: known lags come out, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.components import Pairs
from features.kernels_pairs import overlapping_products
from features.lead_lag import (
    AT_LEAD,
    AT_ZERO,
    LAGS,
    LEAD,
    NOISE,
    OWN,
    PEER,
    RATIO,
    LaggedProducts,
    lead,
)
from pipeline.catalog import LakeCatalog
from pipeline.config import FeaturesSettings, FitSettings, Settings
from pipeline.units import NS_PER_MS, NS_PER_S
from tests.features.many_days import SESSIONS, ManyDays
from tests.features.test_fits_stage import LAST, SEEDS, digests, run_all

I64 = npt.NDArray[np.int64]
Interval = tuple[int, int, int]

SPAN = 900 * NS_PER_S


@st.composite
def intervals(draw: st.DrawFn) -> list[Interval]:
    """Begin, end and size; some touch, between others there is a gap."""
    edges = sorted(draw(st.sets(st.integers(0, 40), min_size=2, max_size=14)))
    kept = [pair for pair in pairwise(edges) if draw(st.booleans())]
    return [(a, b, draw(st.integers(-3, 3))) for a, b in kept]


@settings(deadline=None)  # the first example compiles
@given(xs=intervals(), ys=intervals(), lags=st.lists(st.integers(-50, 50), min_size=1, max_size=5))
def test_the_sweep_equals_all_pairs(
    xs: list[Interval], ys: list[Interval], lags: list[int]
) -> None:
    begins, ends, x = (np.array([i[k] for i in xs], dtype=np.int64) for k in range(3))
    other_begins, other_ends, y = (np.array([i[k] for i in ys], dtype=np.int64) for k in range(3))
    sums = np.concatenate([[0], np.cumsum(y)]).astype(np.float64)
    out = np.empty(len(lags))
    overlapping_products(
        begins, ends, x.astype(np.float64), other_begins, other_ends, sums, np.array(lags), out
    )
    for lag, found in zip(lags, out, strict=True):
        expected = sum(
            dx * dy for a, b, dx in xs for c, d, dy in ys if max(a, c - lag) < min(b, d - lag)
        )
        assert found == expected


Path1 = tuple[I64, I64]
"""Times of quotes and twice the mid."""


def walk(rng: np.random.Generator, lag_ms: int, *, shared: float = 1.0) -> tuple[Path1, Path1]:
    """Twenty quotes a second of two instruments; the second repeats the first later.

    ``shared`` is the share of the second's variance that is the first's.
    """
    step = NS_PER_MS
    size = SPAN // step
    moves = rng.normal(0, 1, (2, size))
    first = np.cumsum(moves[0])
    second = np.cumsum(shared**0.5 * moves[0] + (1 - shared) ** 0.5 * moves[1])

    def quoted(path: npt.NDArray[np.float64], lag: int) -> Path1:
        t = np.sort(rng.integers(2 * NS_PER_S, SPAN - 2 * NS_PER_S, 20 * SPAN // NS_PER_S))
        return t, np.rint(path[(t - lag) // step]).astype(np.int64)

    return quoted(first, 0), quoted(second, lag_ms * NS_PER_MS)


def summed(own: Path1, other: Path1, pieces: int = 1) -> Pairs:
    gatherer = LaggedProducts()
    for (t, x), push in ((own, gatherer.push), (other, gatherer.push_peer)):
        first = np.arange(t.size) == 0
        for part in np.array_split(np.arange(t.size), pieces):
            if part.size:
                push(t[part], [pl.Series(first[part]), pl.Series(x[part])])
    return gatherer.result()


def fit(*sessions: Pairs) -> dict[int, float]:
    pairs = lead(sessions, 1)
    return dict(zip(pairs.keys.tolist(), pairs.values.tolist(), strict=True))


def near(found: float, lag: int) -> bool:
    """On the grid point of the lag, or on one beside it."""
    return (
        abs(LAGS.index(int(found)) - min(range(len(LAGS)), key=lambda k: abs(LAGS[k] - lag))) <= 1
    )


@pytest.mark.parametrize("lag", [-605, -120, -40, 40, 120, 605])
def test_a_known_lag_is_found_with_its_sign(lag: int) -> None:
    own, other = walk(np.random.default_rng(abs(lag)), lag, shared=0.7)
    found = fit(summed(own, other))
    assert near(found[LEAD], lag), found
    assert (found[RATIO] > 1.2) == (lag > 0)
    assert (found[RATIO] < 1 / 1.2) == (lag < 0)
    assert found[AT_LEAD] == pytest.approx(0.7**0.5, abs=0.1)
    assert found[AT_LEAD] > found[AT_ZERO]


def test_seen_from_the_peer_the_lag_has_the_other_sign() -> None:
    own, other = walk(np.random.default_rng(7), 80)
    ours, theirs = fit(summed(own, other)), fit(summed(other, own))
    assert ours[LEAD] == -theirs[LEAD] != 0
    assert ours[RATIO] == pytest.approx(1 / theirs[RATIO])
    assert ours[AT_ZERO] == pytest.approx(theirs[AT_ZERO])


def test_an_independent_pair_gives_nothing() -> None:
    for seed in range(8):
        own, other = walk(np.random.default_rng(seed), 0, shared=0.0)
        found = fit(summed(own, other))
        assert LEAD not in found
        assert RATIO not in found
        assert abs(found[AT_ZERO]) < 0.05


def test_two_opposed_instruments_have_a_negative_correlation() -> None:
    own, (t, x) = walk(np.random.default_rng(3), 40)
    found = fit(summed(own, (t, -x)))
    assert near(found[LEAD], 40)
    assert found[AT_LEAD] < -0.8


def test_at_one_set_of_instants_it_is_the_usual_covariance() -> None:
    """Synchronous moves: U(0) is the sum of products, and of itself the correlation is 1."""
    rng = np.random.default_rng(5)
    t = np.arange(1, 400) * NS_PER_S
    # Both change at every instant.
    x, y = (np.cumsum(rng.choice([-2, -1, 1, 2], t.size)) for _ in range(2))
    sums = summed((t, x), (t, y))
    known = dict(zip(sums.keys.tolist(), sums.values.tolist(), strict=True))
    assert known[0] == (np.diff(x) * np.diff(y)).sum()
    assert (known[OWN], known[PEER]) == ((np.diff(x) ** 2).sum(), (np.diff(y) ** 2).sum())
    assert known[NOISE] == (np.diff(x) ** 2 * np.diff(y) ** 2).sum()
    same = fit(summed((t, x), (t, x)))
    assert (same[LEAD], same[AT_ZERO]) == (0, 1)


def test_only_the_last_value_of_an_instant_counts() -> None:
    t = np.array([1, 2, 2, 2, 3, 4, 4]) * NS_PER_S
    x = np.array([10, 12, 13, 10, 11, 9, 14])
    clean = np.array([1, 3, 4]) * NS_PER_S, np.array([10, 11, 14])
    for pieces in (1, 2, 7):
        ours = summed((t, x), (t, x), pieces)
        theirs = summed(clean, clean)
        assert ours.values.tolist() == theirs.values.tolist()


def test_chunks_change_nothing() -> None:
    own, other = walk(np.random.default_rng(1), 40)
    whole = summed(own, other)
    for pieces in (2, 333):
        assert summed(own, other, pieces).values.tobytes() == whole.values.tobytes()


def test_sessions_add_up() -> None:
    """Two half sessions tell what the whole does, but for the pairs across the cut."""
    own, other = walk(np.random.default_rng(2), 40)
    halves = []
    for late in (False, True):
        cut = [(t[(t > SPAN // 2) == late], x[(t > SPAN // 2) == late]) for t, x in (own, other)]
        halves.append(summed(*cut))
    both, whole = fit(*halves), fit(summed(own, other))
    assert both[LEAD] == whole[LEAD]
    assert both[AT_ZERO] == pytest.approx(whole[AT_ZERO], rel=0.01)


def test_without_moves_there_is_nothing() -> None:
    t = np.arange(1, 9) * NS_PER_S
    still, moving = (t, np.ones(8, dtype=np.int64)), (t, np.arange(8))
    assert not summed(still, moving).keys.size
    assert not summed(moving, still).keys.size
    apart = (t + 60 * NS_PER_S, np.arange(8))
    assert not summed(moving, apart).keys.size


# --- in the lake -------------------------------------------------------------------------------

NAMES = ["lead_over_nq", "hy_correlation_with_nq"]


def chosen(names: Sequence[str] = NAMES) -> Settings:
    sets = {"fitted": {"features": ["mid", *names], "peers": {"nq": "NQH5"}}}
    fits = FitSettings(min_sessions=1)
    return Settings(features=FeaturesSettings(set="fitted", sets=sets, fits=fits))


def make(lake: Path, theirs: dict[date, int], ours: dict[date, int] = SEEDS) -> Path:
    run_all(lake, ManyDays(ours, more={"NQH5": theirs}), chosen=chosen())
    return lake


def column(lake: Path, session: date, name: str) -> set[float | None]:
    stored = {
        item.partition["session"]: item
        for item in LakeCatalog(lake).partitions("features")
        if item.partition["symbol"] == "ESH5"
    }
    frame = pl.read_parquet(stored[str(session)].files[0], hive_partitioning=False)
    return set(frame[name])


def contents(lake: Path, table: str) -> dict[str, str]:
    return {
        item.partition["session"]: item.content
        for item in LakeCatalog(lake).partitions(table)
        if item.partition["symbol"] == "ESH5"
    }


def test_a_pair_is_known_from_the_second_session_on(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake", SEEDS)  # the same market twice
    for number, session in enumerate(SESSIONS):
        known = number > 0
        assert column(lake, session, "hy_correlation_with_nq") == ({1.0} if known else {None})
        assert column(lake, session, "lead_over_nq") == ({0} if known else {None})


def test_another_market_is_no_pair(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake", {day: 900 + k for k, day in enumerate(SESSIONS)})
    assert column(lake, LAST, "lead_over_nq") == {None}
    (correlation,) = column(lake, LAST, "hy_correlation_with_nq")
    assert correlation is not None
    assert abs(correlation) < 0.4


def test_a_session_without_the_peer_does_not_count(tmp_path: Path) -> None:
    only = {day: seed for day, seed in SEEDS.items() if day != SESSIONS[0]}
    lake = make(tmp_path / "lake", only)
    assert column(lake, SESSIONS[1], "hy_correlation_with_nq") == {None}
    assert column(lake, LAST, "hy_correlation_with_nq") == {1.0}


@pytest.mark.parametrize("changed", [SESSIONS[2], LAST])
def test_no_fit_knows_either_instrument_of_its_own_session_or_later(
    tmp_path: Path, changed: date
) -> None:
    """Another market of the peer, and of ours, from a session on: fits up to it are the same."""
    other = {day: seed + 500 * (day >= changed) for day, seed in SEEDS.items()}
    base = contents(make(tmp_path / "a", SEEDS), "fits")
    for name, ours, theirs in (("b", SEEDS, other), ("c", other, SEEDS)):
        seen = contents(make(tmp_path / name, theirs, ours), "fits")
        for session in SESSIONS:
            assert (seen[str(session)] == base[str(session)]) == (session <= changed)


def test_another_past_of_the_peer_makes_the_fits_stale(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake", SEEDS)
    before = digests(lake, "statistics", "fits")
    again = run_all(lake, ManyDays(more={"NQH5": SEEDS}), chosen=chosen())
    assert [summary.done for summary in again.values()] == [0, 0, 0, 0]
    changed = SEEDS | {SESSIONS[0]: 777}
    run_all(lake, ManyDays(more={"NQH5": changed}), chosen=chosen())
    after = digests(lake, "statistics", "fits")
    assert {path for path in after if after[path] != before[path]}
    make(tmp_path / "fresh", changed)
    assert digests(tmp_path / "fresh", "statistics", "fits") == after


def test_a_column_of_a_peer_can_be_compared_with_its_past(tmp_path: Path) -> None:
    """A statistic that reads a peer beside us, not its events, sees it, too."""
    lake = tmp_path / "lake"
    own = chosen(["queue_imbalance_of_nq__winsor"])
    run_all(lake, ManyDays(more={"NQH5": SEEDS}), chosen=own)
    assert len(column(lake, LAST, "queue_imbalance_of_nq__winsor") - {None}) > 5
