"""Fits along a root: what the front was before is the past of the front, whatever its contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipeline.catalog import LakeCatalog
from pipeline.config import FeaturesSettings, FitSettings, QualitySettings, Settings, load_settings
from pipeline.errors import RequestError
from pipeline.featurise import FeatureStage
from pipeline.fitting import FitsStage, StatisticsStage
from pipeline.lake import open_lake
from pipeline.rolls_stage import RollStage
from pipeline.stage import Selection
from tests.features.many_days import SESSIONS, ManyDays
from tests.features.test_fits_stage import digests, run

FRONT, NEXT = "ESH5", "ESM5"
FIRST, SECOND, ROLL, LAST = SESSIONS
OLD = {FIRST: 42, SECOND: 41, ROLL: 44, LAST: 45}
NEW = {SECOND: 60, ROLL: 61, LAST: 62}
"""The next contract comes up in the second session and trades more in it."""

SETS = {"fitted": {"features": ["mid", "large_trade_size_q95", "prior_close_dist"]}}
SIZES, PRICES = "order_size_quantiles", "prior_session"


def settings(along: str = "volume", minimum: int = 1) -> Settings:
    fits = FitSettings(min_sessions=minimum, along=along)
    return Settings(features=FeaturesSettings(set="fitted", sets=SETS, fits=fits))


def make(
    lake: Path,
    chosen: Settings | None = None,
    *,
    old: Mapping[date, int] = OLD,
    new: Mapping[date, int] = NEW,
    selection: Selection | None = None,
    orphans: tuple[date, ...] = (),
) -> Path:
    chosen = chosen or settings()
    for stage in (ManyDays(old, more={NEXT: new}, orphans=orphans), RollStage()):
        assert run(stage, lake, chosen).exit_code == 0
    for later in (StatisticsStage(), FitsStage(), FeatureStage()):
        assert run(later, lake, chosen, selection).exit_code == 0
    return lake


def table(lake: Path, name: str, symbol: str, session: date) -> pl.DataFrame:
    (item,) = (
        item
        for item in LakeCatalog(lake).partitions(name)
        if (item.partition["symbol"], item.partition["session"]) == (symbol, str(session))
    )
    return pl.read_parquet(item.files[0], hive_partitioning=False)


def rests_on(
    lake: Path, symbol: str, session: date, component: str = SIZES
) -> tuple[int, int, str] | None:
    """Sessions, those of other contracts, and the contracts; None without a fit."""
    fits = table(lake, "fits", symbol, session).filter(pl.col("component") == component)
    about = fits.select("sessions", "other_sessions", "contracts").unique().rows()
    assert len(about) <= 1
    return about[0] if about else None


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("along") / "lake")


def test_the_front_rolls_after_the_session_in_which_the_next_traded_more(lake: Path) -> None:
    rolls = open_lake(lake).sql(
        "SELECT contract FROM rolls WHERE rule = 'v' AND rank = 0 "
        f"AND session BETWEEN '{FIRST}' AND '{LAST}' ORDER BY session"
    )
    assert rolls["contract"].to_list() == [FRONT, FRONT, NEXT, NEXT]


def test_the_new_front_knows_what_the_old_one_did(lake: Path) -> None:
    assert rests_on(lake, FRONT, FIRST) is None
    assert rests_on(lake, FRONT, SECOND) == (1, 0, FRONT)
    assert rests_on(lake, NEXT, ROLL) == (2, 2, FRONT)
    assert rests_on(lake, NEXT, LAST) == (3, 2, f"{FRONT}, {NEXT}")
    old = table(lake, "statistics", FRONT, FIRST)
    assert old.height
    assert table(lake, "features", NEXT, ROLL)["large_trade_size_q95"].null_count() == 0


def test_the_second_contract_knows_what_the_second_was(lake: Path) -> None:
    """Before it came up there was none; once the old front is second, it knows the new one."""
    assert rests_on(lake, NEXT, SECOND) is None
    assert rests_on(lake, FRONT, ROLL) == (1, 1, NEXT)
    assert rests_on(lake, FRONT, LAST) == (2, 1, f"{NEXT}, {FRONT}")


def test_prices_are_those_of_the_contract_itself(lake: Path) -> None:
    assert rests_on(lake, NEXT, ROLL, PRICES) == (1, 0, NEXT)
    assert rests_on(lake, FRONT, ROLL, PRICES) == (1, 0, FRONT)
    assert rests_on(lake, NEXT, SECOND, PRICES) is None


def test_of_the_symbol_alone(tmp_path: Path, lake: Path) -> None:
    alone = make(tmp_path / "lake", settings("symbol"))
    assert rests_on(alone, NEXT, ROLL) == (1, 0, NEXT)
    assert rests_on(alone, FRONT, LAST) == (3, 0, FRONT)
    # The two differ in nothing else.
    paths = digests(alone, "statistics")
    assert {path: paths[path] for path in digests(lake, "statistics") if path in paths} == {
        path: digest for path, digest in digests(lake, "statistics").items() if path in paths
    }


def test_by_the_calendar_nobody_leaves_a_contract_without_expiration(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake", settings("calendar"))
    assert rests_on(lake, FRONT, LAST) == (3, 0, FRONT)
    assert rests_on(lake, NEXT, LAST) == (2, 0, NEXT)


@pytest.mark.parametrize("changed", [ROLL, LAST])
def test_no_fit_knows_its_own_session_or_a_later_one_of_either_contract(
    tmp_path: Path, lake: Path, changed: date
) -> None:
    other = [
        {day: seed + 500 * (day >= changed) for day, seed in seeds.items()} for seeds in (OLD, NEW)
    ]
    seen = make(tmp_path / "lake", old=other[0], new=other[1])
    different = set()
    for symbol, days in ((FRONT, OLD), (NEXT, NEW)):
        for session in days:
            fits = table(seen, "fits", symbol, session)
            same = fits.equals(table(lake, "fits", symbol, session))
            if not same:
                different.add(session)
            assert fits.filter(pl.col("last_session") >= session).is_empty()
    assert not {day for day in different if day <= changed}
    assert changed == LAST or different


def test_a_refused_session_of_the_old_contract_is_nobodys_past(tmp_path: Path) -> None:
    gates = QualitySettings(max_orphan_cancel_share=0.5)
    base = settings()
    chosen = Settings(features=base.features, quality=gates)
    lake = make(tmp_path / "lake", chosen, orphans=(FIRST,))
    # That UTC day is also the evening of the second session.
    assert rests_on(lake, NEXT, ROLL) is None
    assert rests_on(lake, NEXT, LAST) == (1, 0, NEXT)


def test_a_selection_of_the_new_contract_brings_the_old_one_along(tmp_path: Path) -> None:
    selection = Selection(symbols=NEXT, start=ROLL, end=ROLL)
    lake = make(tmp_path / "lake", selection=selection)
    assert rests_on(lake, NEXT, ROLL) == (2, 2, FRONT)
    made = {i.partition["symbol"] for i in LakeCatalog(lake).partitions("features")}
    assert made == {NEXT}


def test_a_new_session_leaves_earlier_fits_alone(tmp_path: Path) -> None:
    """Rolls of a lake that grows say the same of the days there were."""
    short = {day: seed for day, seed in OLD.items() if day != LAST}
    few = {day: seed for day, seed in NEW.items() if day != LAST}
    lake = make(tmp_path / "lake", old=short, new=few)
    before = digests(lake, "fits")
    make(lake)
    after = digests(lake, "fits")
    assert before
    # The last day's evening began the session after it, of which there was nothing else.
    early = {path for path in before if str(LAST) not in path}
    assert {path: after[path] for path in early} == {path: before[path] for path in early}


def test_the_setting_is_one_of_three_words(tmp_path: Path) -> None:
    path = tmp_path / "research.toml"
    path.write_text('[features.fits]\nalong = "root"\n')
    with pytest.raises(RequestError, match=r"features.fits.along.*volume"):
        load_settings(path, {})
