"""Speed of the simulator: the kernel with a strategy in memory, then runs from Parquet.

``mbo bench backtest``.  The kernel runs the exact reading on the synthetic stream of ``mbo bench
book`` (12,000 live orders) without a strategy, with strategies that only look, and with a market
maker; making the stream and compiling are not counted, compiling a strategy is shown.  Runs are
processes of their own on one worker over a simulated day whose features are there: reading
Parquet, joining features and writing the result are in them, start-up and compiling the strategy
are shown apart.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.book import LIVE, synthetic
from benchmarks.figures import MBO, Figure, Report, decompress, run_process
from benchmarks.idle import Asleep, OnEvent, OnTouch
from benchmarks.idle_deep import OnBook
from benchmarks.mbo_files import write_file
from benchmarks.peers import hftbacktest_maker
from benchmarks.stages import ALONE, simulate, stages
from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.book.columns import Chunk
from pipeline.book.tape import Records
from pipeline.catalog import LakeCatalog
from pipeline.units import NS_PER_S, PRICE_SCALE
from strategies.event import EventStrategy
from strategies.market_making import MarketMaking
from strategies.registry import BUILT_IN
from strategies.running import Program

STREAM_START: Final = 1_700_000_000 * NS_PER_S


@dataclass(frozen=True)
class _Always:
    """A session that holds all of the stream."""

    preopen_ns: int = STREAM_START - 2 * NS_PER_S
    close_ns: int = 2**61
    announced_close_ns: int = 2**61
    segments: tuple[tuple[int, int], ...] = ((STREAM_START - NS_PER_S, 2**61),)


class _Runner:
    def __init__(self, name: str, strategy: EventStrategy | None) -> None:
        money = Money(tick=PRICE_SCALE // 4)
        options = SimOptions(money=money)
        sessions = [_Always()]
        self.replay = Replay(options, timetable(sessions, None), 3)
        self.figure = Figure(name, 0, 0.0)
        self.figure.rows = 0
        if strategy is not None:
            started = time.process_time()
            program = Program(strategy)
            taken = time.process_time() - started
            self.figure.note = f"strategy compiled in {taken:.1f} s"
            self.replay.employ(program.run([self.replay.market()]), sessions)

    def run(self, chunk: Chunk, *, counted: bool) -> None:
        started = time.thread_time()
        self.replay.feed(chunk)
        seconds = time.thread_time() - started
        orders = len(self.replay.take().orders)
        if counted:
            self.figure.seconds += seconds
            self.figure.records += len(chunk.publisher)
            self.figure.rows = (self.figure.rows or 0) + orders


def kernel_report(records: int, folder: Path) -> Report:
    """The simulator's kernel with strategies, in CPU seconds of its thread."""
    runners = [
        _Runner("no strategy", None),
        _Runner("a strategy that is never called", Asleep()),
        _Runner("called where the touch changes", OnTouch()),
        _Runner("called at every event", OnEvent()),
        _Runner("called at every event, reads the book", OnBook()),
        _Runner("market_making", MarketMaking()),
    ]
    blocks: list[tuple[Chunk, bool]] = [
        (_chunk(block), counted) for block, counted in synthetic(records, LIVE)
    ]
    file = write_file(folder / "floor", min(records, 1_000_000))
    floor = decompress(file.path)
    for chunk, counted in blocks:
        for runner in runners:
            runner.run(chunk, counted=counted)
    report = Report(
        f"simulator, exact reading, {records:,} records with the action mix of ES, {LIVE:,} live "
        "orders, in memory",
        remarks="rows: orders sent",
    )
    report.add(Figure("zstd to nothing (the floor)", file.records, floor))
    report.figures += [runner.figure for runner in runners]
    # From the first block on: it fills the book.
    whole = Records._make(
        map(np.concatenate, zip(*(c.records for c, _ in blocks[:2]), strict=True))
    )
    if (peer := hftbacktest_maker(whole)) is not None:
        report.add(peer)
    return report


def _chunk(records: Records) -> Chunk:
    n = len(records.flags)
    return Chunk(records, np.ones(n, np.uint16), np.ones(n, np.uint32))


def runs_report(records: int, folder: Path) -> Report:
    """Whole runs of the built-in strategies, as processes."""
    file, lake = simulate(folder / "raw", records), folder / "lake"
    for _, command in stages(file, lake)[:-1]:
        run_process([*MBO, *command], **ALONE)
    count = _rows(lake, "mbo")
    report = Report(
        f"mbo backtest, {count:,} records, one simulated day, one worker: Parquet to orders, fills "
        "and marks, features joined",
        remarks="s and the rates: within the simulation, without compiling the strategy; CPU s and "
        "memory: of the whole command",
    )
    report.add(Figure("zstd to nothing (the floor)", count, decompress(file)))
    for name in BUILT_IN:
        if name == "ml":  # `mbo bench train` has models
            continue
        _timed_run(name, lake, "1")  # compiles the simulator
        report.add(_timed_run(name, lake, "2"))
    return report


def _timed_run(name: str, lake: Path, fees: str) -> Figure:
    """A run that differs from others by its fees, so that it is not there already."""
    times = lake / "times.json"
    command = [sys.executable, "-m", "benchmarks.timed_run", str(times), "backtest", name]
    options = ["--partial", "--workers", "1", "--quiet", "--lake", str(lake), "--fees", fees]
    before = [_rows(lake, table) for table in ("orders", "fills")]
    wall, cpu, peak = run_process([*command, *options], **ALONE)
    orders, fills = (_rows(lake, t) - n for t, n in zip(("orders", "fills"), before, strict=True))
    taken = json.loads(times.read_text())
    rest = wall - taken["simulate"]
    note = (
        f"{orders:,} orders, {fills:,} fills; compiling {taken['compile']:.1f} s, "
        f"start, plan and summary {rest:.1f} s"
    )
    seconds = taken["simulate"] - taken["compile"]
    return Figure(name, _rows(lake, "mbo"), seconds, cpu, peak, note=note)


def _rows(lake: Path, table: str) -> int:
    return sum(item.rows for item in LakeCatalog(lake).partitions(table))


def measure(records: int, folder: Path) -> list[Report]:
    """The kernel, then the runs."""
    return [kernel_report(records, folder), runs_report(records, folder)]
