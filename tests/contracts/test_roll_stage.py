"""The stage: volumes by session, rolls, gaps; nothing is computed twice; features per contract."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.calendar import calendar_for
from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.contracts import Series, legs
from pipeline.errors import RequestError
from pipeline.lake import open_lake
from pipeline.progress import Quiet
from pipeline.rolls_stage import RollStage
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Partition, Selection, Task
from pipeline.tables import INSTRUMENTS, TRADES, book_table
from tests.features.upstream import conform

DATASET = "GLBX.MDP3"
DAYS = tuple(date(2025, 3, d) for d in (3, 4, 5, 6))
TRADED = {
    "ESH5": (900, 800, 300, 100),
    "ESM5": (100, 300, 700, 900),
    "ESH5-ESM5": (5000, 5000, 5000, 5000),
}
MIDS = {"ESH5": 20_000, "ESM5": 20_044, "ESH5-ESM5": 44}
EXPIRES = {"ESH5": datetime(2025, 3, 21, 13, 30, tzinfo=UTC), "ESM5": None}
TICK = 250_000_000


@dataclass(frozen=True)
class Deliveries:
    """Trades at 15:00 UTC (and a few at 22:30, of the next session) and a book, by contract."""

    days: tuple[date, ...] = DAYS
    name: str = "upstream"
    version: int = 1
    tables: tuple[str, ...] = ("book", "trades", "instruments")

    def plan(self, catalog, settings, selection):
        tasks = [
            Task(Partition.of(dataset=DATASET, date=day, symbol=symbol))
            for day in self.days
            for symbol in TRADED
        ]
        return [*tasks, Task(Partition.of(dataset=DATASET), params={"days": len(self.days)})]

    def run(self, task, inputs, outputs):
        if task.partition.get("date") is None:
            rows = [
                {"symbol": s, "instrument_id": i, "publisher_id": 1, "tick_size": TICK,
                 "first_date": DAYS[0], "last_date": DAYS[-1], "expiration": EXPIRES.get(s)}
                for i, s in enumerate(TRADED)
            ]  # fmt: skip
            frame = pl.DataFrame(rows)
            outputs.writer(INSTRUMENTS).write(conform(frame, INSTRUMENTS))
            return
        day, symbol = date.fromisoformat(task.partition["date"]), task.partition["symbol"]
        number = DAYS.index(day) if day in DAYS else 0
        volume = TRADED[symbol][number]
        begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
        times = [begins + timedelta(hours=15), begins + timedelta(hours=22, minutes=30)]
        base = int(day.strftime("%Y%m%d")) * 10**10
        stamps = pl.Series(times).cast(pl.Datetime("ns", "UTC"))
        trades = pl.DataFrame({"size": [volume - 7, 7], "event": [base + 1, base + 2]})
        trades = trades.with_columns(stamps.alias("ts_recv"), stamps.alias("ts_event"))
        trades = trades.with_columns(pl.lit("B").alias("side"), pl.lit(1).alias("price"))
        outputs.writer(TRADES).write(conform(trades, TRADES))
        mid = MIDS[symbol] + number
        # The last row of the evening belongs to the next session, and is another price.
        book = pl.DataFrame(
            {
                "event": [base + 1, base + 2],
                "bid_px_00": [(mid - 1) * TICK, (mid + 500) * TICK],
                "ask_px_00": [(mid + 1) * TICK, (mid + 502) * TICK],
                "valid": [True, True],
                "state": ["normal", "normal"],
            }
        ).with_columns(stamps.alias("ts_recv"), stamps.alias("ts_event"))
        outputs.writer(book_table(10)).write(conform(book, book_table(10)))

    def warm(self):
        pass


def run(stage, lake: Path, settings: Settings | None = None, **selected) -> StageSummary:
    chosen = Selection(**selected)
    using = settings or Settings()
    return run_stage(stage, LakeCatalog(lake), using, chosen, RunOptions(), Quiet())


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    run(Deliveries(), tmp_path)
    assert run(RollStage(), tmp_path).exit_code == 0
    return tmp_path


def series(lake: Path, rule: str, rank: int = 0) -> list[tuple[str, str, int, str]]:
    frame = open_lake(lake).scan("rolls").collect()
    rows = frame.filter((pl.col("rule") == rule) & (pl.col("rank") == rank)).sort("session")
    return [(str(r["session"]), r["contract"], r["roll"], r["why"]) for r in rows.to_dicts()]


def test_volumes_are_those_of_sessions_and_of_outrights(lake: Path) -> None:
    frame = open_lake(lake).scan("volumes").collect().sort("session", "contract")
    calendar = calendar_for(DATASET, "ESH5")
    assert (
        calendar.session_of(int(datetime(2025, 3, 3, 22, 30, tzinfo=UTC).timestamp()) * 10**9)
        == DAYS[1]
    )
    found = {(str(r["session"]), r["contract"]): r["volume"] for r in frame.to_dicts()}
    assert found["2025-03-03", "ESH5"] == 893
    assert found["2025-03-04", "ESH5"] == 7 + 793
    assert found["2025-03-07", "ESM5"] == 7
    assert {c for _, c in found} == {"ESH5", "ESM5"}
    after = {r["contract"]: r["next_contract"] for r in frame.to_dicts()}
    assert after == {"ESH5": "ESM5", "ESM5": None}


def test_the_front_by_volume_changes_in_the_session_after(lake: Path) -> None:
    """M trades more in the session of the 5th: it is the front from the 6th on."""
    assert series(lake, "v") == [
        ("2025-03-03", "ESH5", 0, "start"),
        ("2025-03-04", "ESH5", 0, "hold"),
        ("2025-03-05", "ESH5", 0, "hold"),
        ("2025-03-06", "ESM5", 1, "volume"),
        ("2025-03-07", "ESM5", 1, "hold"),
    ]
    roll = open_lake(lake).scan("rolls").filter(pl.col("why") == "volume", pl.col("rank") == 0)
    row = roll.collect().row(0, named=True)
    assert row["contract_before"] == "ESH5"
    assert row["gap"] == 44 * TICK  # as the session of the 5th closed, not what came after
    assert row["volume_before"] == 7 + 693


def test_by_calendar_as_the_settings_say(lake: Path) -> None:
    """The 6th has 11 sessions left until the 21st; shipped for ES: 5."""
    assert {row[1] for row in series(lake, "c")} == {"ESH5"}
    settings = replace(Settings(), rolls={"ES": {"days": 12}})
    assert run(RollStage(), lake, settings).done == 1
    assert [row[1] for row in series(lake, "c")] == ["ESH5"] * 3 + ["ESM5"] * 2
    assert run(RollStage(), lake, settings).up_to_date == 1


def test_another_day_is_taken_in_and_the_past_stands(tmp_path: Path) -> None:
    run(Deliveries(days=DAYS[:2]), tmp_path)
    run(RollStage(), tmp_path)
    before = series(tmp_path, "v")
    run(Deliveries(), tmp_path)
    assert run(RollStage(), tmp_path).done == 1
    assert series(tmp_path, "v")[: len(before)] == before


def test_a_day_of_no_session_is_left_out(lake: Path, tmp_path: Path) -> None:
    saturday = date(2025, 3, 8)
    before = series(lake, "v")
    run(Deliveries(days=(*DAYS, saturday)), lake)
    assert run(RollStage(), lake).exit_code == 0
    assert series(lake, "v") == before
    alone = tmp_path / "alone"
    run(Deliveries(days=(saturday,)), alone)
    assert run(RollStage(), alone).tasks == 0


def test_roots_are_chosen_with_their_symbols(lake: Path) -> None:
    assert run(RollStage(), lake, symbols="NQ*").tasks == 0
    assert run(RollStage(), lake, symbols="ES.v.0").tasks == 1


def test_a_missing_expiration_is_said(lake: Path) -> None:
    summary = run_stage(
        RollStage(), LakeCatalog(lake), Settings(), Selection(), RunOptions(force=True), Quiet()
    )
    assert any("no expiration known of ESM5" in text for _, text in summary.warnings)


def test_tables_by_date_know_no_continuous_symbols(lake: Path) -> None:
    with pytest.raises(RequestError, match="means a contract a session"):
        open_lake(lake).scan("trades", symbols="ES.v.0")
    with pytest.raises(RequestError, match="holds no rolls yet"):
        legs(LakeCatalog(lake / "nothing"), [Series("ES", "v", 0)])
