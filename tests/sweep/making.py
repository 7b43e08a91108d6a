"""A lake of many short sessions that the simulator trades: what the stages before would write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.backtest.request import Request
from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.progress import choose_reporter
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Partition, Selection, Stage, Task
from pipeline.sweep.request import SweepRequest, prepare_sweep
from pipeline.sweep.run import Outcome, run_sweep
from pipeline.tables import INSTRUMENTS, MBO
from tests.backtest.scenario import Tape
from tests.backtest.test_stage import DATASET, FEATURES, SYMBOL, mbo_rows

SETTINGS = Settings()
EVERYTHING = Selection()
ROWS = 60
"""Decision points a session, one a second."""


def days(n: int) -> list[date]:
    """The first sessions of a calendar without holidays."""
    every = (date(2025, 2, 18) + timedelta(days=i) for i in range(2 * n))
    return [day for day in every if day.weekday() < 5][:n]


def at(day: date, hour: int) -> int:
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp()) * 10**9


def tape_of(day: date, seed: int) -> Tape:
    """A book whose touch walks a tick now and then, by chance."""
    rng = np.random.default_rng([seed, day.toordinal()])
    tape = Tape()
    tape.snapshot(at(day, 0), "A B 90 50 #1", "A A 110 50 #2", "A B 99 9 #3", "A A 101 9 #4")
    middle, number = 100, 4
    for i in range(ROWS):
        ts = at(day, 14) + i * 10**9
        step = int(rng.integers(-1, 2)) if 95 < middle < 105 else (1 if middle < 100 else -1)
        if step:
            texts = [f"C B {middle - 1} 9 #{number - 1}", f"C A {middle + 1} 9 #{number}"]
            middle, number = middle + step, number + 2
            texts += [f"A B {middle - 1} 9 #{number - 1}", f"A A {middle + 1} 9 #{number}"]
            tape.event(ts, *texts)
    return tape


def feature_rows(day: date, seed: int) -> pa.Table:
    """A z-score that wanders by chance, the imbalance level."""
    rng = np.random.default_rng([seed, day.toordinal(), 1])
    ts = at(day, 14) + np.arange(ROWS) * 10**9 + 5 * 10**8
    event = int(day.strftime("%Y%m%d")) * 10**10 + 1 + np.zeros(ROWS, np.int64)
    columns = [
        pa.array(ts).cast(pa.timestamp("ns", "UTC")),
        pa.array(event),
        pa.array(np.full(ROWS, 99 * 10**9)),
        pa.array(np.full(ROWS, 101 * 10**9)),
        pa.array(np.full(ROWS, 400.0)),
        pa.array(rng.normal(0, 2, ROWS).astype(np.float32)),
        pa.array(np.full(ROWS, 99.0, np.float32)),
        pa.array(np.zeros(ROWS, np.float32)),
        pa.array(np.full(ROWS, 4.0, np.float32)),
    ]
    return pa.Table.from_arrays(columns, schema=FEATURES.schema())


def hours(day: date) -> dict:
    opens, closes = at(day, 13), at(day, 15)
    return {
        "session": str(day),
        "preopen": opens - 10**9,
        "segments": [[opens, closes]],
        "rth": None,
        "end": closes,
        "early_close": False,
        "announced_close": closes,
    }


@dataclass(frozen=True)
class Seed:
    """Writes records, features and instruments of so many sessions."""

    sessions: int
    changed: tuple[date, ...] = ()
    """Sessions in which the market goes another way."""
    name: str = "seed"
    version: int = 1
    tables: tuple[str, ...] = ("mbo", "features", "instruments")

    def plan(self, catalog, settings, selection):
        return [Task(Partition.of(dataset=DATASET), (), {"seed": repr(self)})]

    def run(self, task, inputs, outputs):
        for day in days(self.sessions):
            seed = 2 if day in self.changed else 1
            writer = outputs.writer(MBO, Partition.of(dataset=DATASET, date=day, symbol=SYMBOL))
            writer.write(mbo_rows(tape_of(day, seed)))
            writer.note(opens_with="snapshot")
            keys = Partition.of(set="default", dataset=DATASET, session=day, symbol=SYMBOL)
            writer = outputs.writer(FEATURES, keys)
            writer.write(feature_rows(day, seed))
            writer.note(complete=True, clock="event", hours=hours(day))
        row = {c.name: None for c in INSTRUMENTS.columns} | {
            "symbol": SYMBOL, "instrument_id": 1, "publisher_id": 1, "product": "SIM",
            "first_date": date(2025, 1, 1), "last_date": date(2025, 12, 31),
            "tick_size": 250_000_000, "multiplier": Decimal("50.000000000"), "currency": "USD",
            "match_algorithm": "F",
        }  # fmt: skip
        outputs.writer(INSTRUMENTS).write(pa.Table.from_pylist([row], schema=INSTRUMENTS.schema()))

    def warm(self):
        pass


class Lake:
    """A lake to sweep over."""

    def __init__(self, root: Path, workers: int = 1) -> None:
        self.root = root
        self.workers = workers
        self.made: list[StageSummary] = []
        """What the stages of the last sweep did."""

    def run(self, stages: list[Stage]) -> list[StageSummary]:
        found = []
        for stage in stages:
            reporter = choose_reporter(quiet=True, json=False)
            options = RunOptions(self.workers)
            catalog = LakeCatalog(self.root)
            found.append(run_stage(stage, catalog, SETTINGS, Selection(), options, reporter))
        self.made += found
        return found

    def seed(self, sessions: int, changed: tuple[date, ...] = ()) -> Lake:
        self.run([Seed(sessions, changed)])
        return self

    def sweep(self, sweep: SweepRequest, selection: Selection = EVERYTHING) -> Outcome:
        self.made = []
        return run_sweep(sweep, self.root, selection, self.run)

    def done(self, stage: str) -> int:
        """Tasks of a stage that the last sweep ran."""
        return sum(summary.done for summary in self.made if summary.stage == stage)


def request(*texts: str, settings: Settings = SETTINGS, **options) -> SweepRequest:
    """A sweep of mean reversion that trades much."""
    fixed = ("patience=1s", "style=aggressive", "stop_z=9")
    return prepare_sweep("mean_reversion", [*fixed, *texts], settings, **options)


def with_readings(*readings: str) -> Settings:
    return replace(SETTINGS, backtest=replace(SETTINGS.backtest, readings=readings))


__all__ = ["Lake", "Request", "days", "request", "with_readings"]
