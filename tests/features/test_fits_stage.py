"""Fits: of past sessions only, stored with what they rest on, made again only where they change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.registry import FEATURES
from pipeline.catalog import LakeCatalog
from pipeline.config import FeaturesSettings, FitSettings, QualitySettings, Settings
from pipeline.featurise import FeatureStage
from pipeline.fitting import FitsStage, StatisticsStage
from pipeline.lake import open_lake
from pipeline.lineage import orphans, trace
from pipeline.progress import Quiet
from pipeline.roots import ROOT
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Selection, Stage, Stored
from pipeline.storage import lake_lock
from tests.features.many_days import SESSIONS, ManyDays

SETS = {"fitted": {"features": ["mid", "large_trade_size_q95", "large_share_q95_1s"]}}
SEEDS = ManyDays().seeds
LAST = SESSIONS[-1]


def settings(min_sessions: int = 2, sessions: int = 20) -> Settings:
    fits = FitSettings(sessions=sessions, min_sessions=min_sessions)
    return Settings(features=FeaturesSettings(set="fitted", sets=SETS, fits=fits))


def run(
    stage: Stage,
    lake: Path,
    chosen: Settings | None = None,
    selection: Selection | None = None,
    *,
    workers: int = 1,
    dry_run: bool = False,
) -> StageSummary:
    with lake_lock(lake):
        return run_stage(
            stage,
            LakeCatalog(lake),
            chosen or settings(),
            selection or Selection(),
            RunOptions(workers=workers, dry_run=dry_run),
            Quiet(),
        )


def run_all(lake: Path, upstream: ManyDays, **options: Any) -> dict[str, StageSummary]:
    stages: Sequence[Stage] = (upstream, StatisticsStage(), FitsStage(), FeatureStage())
    summaries = {stage.name: run(stage, lake, **options) for stage in stages[:1]}
    summaries |= {stage.name: run(stage, lake, **options) for stage in stages[1:]}
    assert all(s.exit_code == 0 for s in summaries.values()), summaries
    return summaries


def one(lake: Path, table: str, session: date) -> Stored:
    (item,) = (
        item
        for item in LakeCatalog(lake).partitions(table)
        if item.partition["session"] == str(session)
    )
    return item


def read(lake: Path, table: str, session: date) -> pl.DataFrame:
    return pl.read_parquet(one(lake, table, session).files[0], hive_partitioning=False)


def digests(lake: Path, *tables: str) -> dict[str, str]:
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for table in tables
        for path in sorted((lake / table).rglob("*.parquet"))
    }


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    run_all(tmp_path / "lake", ManyDays())
    return tmp_path / "lake"


def test_fits_say_what_they_rest_on_and_it_was_over_before(lake: Path) -> None:
    for number, session in enumerate(SESSIONS):
        fits = read(lake, "fits", session)
        assert (fits.height > 0) == (number >= 2)
        if fits.height:
            assert fits["sessions"].unique().to_list() == [number]
            assert fits["first_session"].unique().to_list() == [SESSIONS[0]]
            assert fits["last_session"].unique().to_list() == [SESSIONS[number - 1]]


def test_features_are_null_until_there_are_sessions_enough(lake: Path) -> None:
    for number, session in enumerate(SESSIONS):
        frame = read(lake, "features", session)
        assert frame.height > 100
        known = frame["large_trade_size_q95"].is_not_null()
        assert known.all() == (number >= 2)
        assert known.any() == (number >= 2)
    assert frame["large_trade_size_q95"].n_unique() == 1


def test_the_threshold_is_that_of_the_sessions_before(lake: Path) -> None:
    """From the tables, by hand: the 95 % quantile of what aggressors traded in an event."""
    sizes: list[int] = []
    for session in SESSIONS[:-1]:
        keys = read(lake, "features", session)["event"].to_list()
        for day in sorted({key // 10**10 for key in keys}):
            assert day == int(session.strftime("%Y%m%d"))
        path = lake / "trades"
        trades = pl.concat(
            [pl.read_parquet(f, hive_partitioning=False) for f in sorted(path.rglob("*.parquet"))]
        )
        # The first row of a segment has no prints; a snapshot passes its own on: both are few.
        prints = trades.filter(pl.col("event").is_in(keys), pl.col("side").is_in(["A", "B"]))
        sizes += prints.group_by("event", "side").agg(pl.col("size").sum())["size"].to_list()
    sizes.sort()
    expected = sizes[int(0.95 * len(sizes))]
    found = read(lake, "features", LAST)["large_trade_size_q95"][0]
    assert abs(found - expected) <= 1


@pytest.mark.parametrize("changed", [LAST, SESSIONS[2]])
def test_no_fit_knows_its_own_session_or_a_later_one(tmp_path: Path, changed: date) -> None:
    """Other data from a session on: fits up to it, and features before it, are the same bytes."""
    other = {day: seed + 500 * (day >= changed) for day, seed in SEEDS.items()}
    for name, seeds in (("a", SEEDS), ("b", other)):
        run_all(tmp_path / name, ManyDays(seeds))
    for session in SESSIONS:
        for table, same in (("fits", session <= changed), ("features", session < changed)):
            ours = one(tmp_path / "a", table, session).content
            assert (ours == one(tmp_path / "b", table, session).content) == same


def test_without_the_later_sessions_the_earlier_are_the_same(lake: Path, tmp_path: Path) -> None:
    few = dict(list(SEEDS.items())[:3])
    run_all(tmp_path / "few", ManyDays(few))
    for session in list(few)[:-1]:
        for table in ("fits", "features"):
            there = one(tmp_path / "few", table, session).content
            assert one(lake, table, session).content == there
    assert (
        one(lake, "fits", SESSIONS[2]).content == one(tmp_path / "few", "fits", SESSIONS[2]).content
    )


def test_a_second_run_does_nothing_and_a_new_session_only_its_own(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run_all(lake, ManyDays(dict(list(SEEDS.items())[:3])))
    again = run_all(lake, ManyDays(dict(list(SEEDS.items())[:3])))
    assert [s.done for s in again.values()] == [0, 0, 0, 0]
    more = run_all(lake, ManyDays())
    # The day before it begins belongs to the session before, too; nothing else is touched.
    assert more["features"].done == 2
    assert more["fits"].done <= 2


def test_another_past_makes_later_sessions_stale_only_if_its_statistics_differ(
    lake: Path,
) -> None:
    first = SESSIONS[0]
    changed = run_all(lake, ManyDays(SEEDS | {first: 777}))
    assert changed["statistics"].done >= 1
    # Three sessions overlap its UTC days, two later ones are fitted on it.
    assert changed["features"].done == 5
    # Prices move, sizes do not: what is fitted on sizes stays, and so does what rests on it.
    moved = run_all(lake, ManyDays(SEEDS | {first: 777}, lifted=(first,)))
    assert moved["statistics"].done >= 1
    assert moved["fits"].done == 0
    assert moved["features"].done == 3


def test_a_refused_session_is_nobodys_past(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    gates = replace(settings(), quality=QualitySettings(max_orphan_cancel_share=0.5))
    # The UTC day of the second session's end is that of the third one's evening, too.
    run_all(lake, ManyDays(orphans=(SESSIONS[1],)), chosen=gates)
    fits = {item.partition["session"] for item in LakeCatalog(lake).partitions("fits")}
    assert not {str(SESSIONS[1]), str(SESSIONS[2])} & fits
    rows = read(lake, "fits", LAST)
    assert rows.height == 0  # one session is left of the three before it, two are asked for
    run_all(
        lake, ManyDays(orphans=(SESSIONS[1],)), chosen=replace(gates, features=settings(1).features)
    )
    rows = read(lake, "fits", LAST)
    assert rows["first_session"].unique().to_list() == [SESSIONS[0]]
    assert rows["last_session"].unique().to_list() == [SESSIONS[0]]


def test_a_missing_session_is_left_out(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    seeds = {day: seed for day, seed in SEEDS.items() if day != SESSIONS[1]}
    run_all(lake, ManyDays(seeds))
    assert read(lake, "fits", LAST)["sessions"].unique().to_list() == [2]


def test_the_look_back_is_limited(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    limited = settings(min_sessions=1, sessions=1)
    run_all(lake, ManyDays(), chosen=limited)
    # T08 has a look-back of its own: five sessions, whatever the settings say of the others.
    assert read(lake, "fits", LAST)["first_session"].unique().to_list() == [SESSIONS[0]]


def test_a_selection_brings_its_past_along(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run(ManyDays(), lake)
    last = Selection(start=LAST, end=LAST)
    assert run(StatisticsStage(), lake, selection=last).done >= 3
    assert run(FitsStage(), lake, selection=last).done == 1
    assert run(FeatureStage(), lake, selection=last).done == 1
    assert read(lake, "features", LAST)["large_trade_size_q95"].null_count() == 0


def test_one_and_two_workers_write_the_same_bytes(tmp_path: Path) -> None:
    tables = ("statistics", "fits", "features")
    for workers in (1, 2):
        run_all(tmp_path / str(workers), ManyDays(), workers=workers)
    assert digests(tmp_path / "1", *tables) == digests(tmp_path / "2", *tables)


def test_features_without_their_fits_fail_clearly(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run(ManyDays(), lake)
    summary = run(FeatureStage(), lake)
    assert summary.exit_code == 1
    assert "fits fitted GLBX.MDP3" in summary.failed[0][1]
    assert "not there" in summary.failed[0][1]


def test_a_dry_run_plans_all_of_it(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run(ManyDays(), lake)
    for stage in (StatisticsStage(), FitsStage(), FeatureStage()):
        summary = run(stage, lake, dry_run=True)
        assert summary.exit_code == 0
        assert summary.planned


def test_a_set_without_fitted_features_sums_nothing_up(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run(ManyDays(), lake)
    plain = Settings(features=FeaturesSettings(set="plain", sets={"plain": {"features": ["mid"]}}))
    assert run(StatisticsStage(), lake, plain).tasks == 0
    assert run(FitsStage(), lake, plain).tasks == 0
    assert run(FeatureStage(), lake, plain).exit_code == 0


def test_the_tables_are_those_of_the_lake(lake: Path) -> None:
    """Read by SQL and Python, traced back to the books, and no orphans."""
    frame = open_lake(lake).scan("fits", start=LAST).collect()
    assert set(frame["component"]) == {"order_size_quantiles"}
    rows = open_lake(lake).sql("SELECT count(*) AS n FROM fits WHERE session = '2025-03-07'")
    assert rows.rows()[0][0] == frame.height
    node = trace(LakeCatalog(lake), "features", one(lake, "features", LAST).partition)
    fits = next(n for n in node.inputs if n.title.startswith("fits"))
    titles = {n.title for n in fits.inputs}
    assert {f"statistics fitted GLBX.MDP3 {day} ESH5" for day in SESSIONS[:-1]} <= titles
    assert not orphans(LakeCatalog(lake))


def test_the_guides_component_of_ones_own_is_fitted_and_made_again_when_it_changes(
    tmp_path: Path,
) -> None:
    guide = (ROOT / "docs" / "features-fits.md").read_text(encoding="utf-8")
    code = guide.partition("```python\n")[2].partition("```")[0]
    path = tmp_path / "mine.py"
    path.write_text(code)
    sets = {"own": {"features": ["wide_spread"]}}
    own = Settings(features=FeaturesSettings(set="own", sets=sets, files=(str(path),)))
    lake = tmp_path / "lake"
    try:
        run_all(lake, ManyDays(), chosen=own)
        assert read(lake, "features", SESSIONS[0])["wide_spread"].null_count() > 0
        frame = read(lake, "features", SESSIONS[1])
        assert set(frame["wide_spread"].drop_nulls()) == {0, 1}
        median = read(lake, "fits", LAST)["value"].to_list()
        path.write_text(code.replace("histogram_quantiles(0.5)", "histogram_quantiles(1.0)"))
        again = run_all(lake, ManyDays(), chosen=own)
        assert again["statistics"].up_to_date == 0
        assert read(lake, "fits", LAST)["value"].to_list() > median
        assert set(read(lake, "features", SESSIONS[1])["wide_spread"].drop_nulls()) == {0}
    finally:
        FEATURES.forget(str(path.resolve()))
