"""Write the sample market: run the venue segment by segment, file its records by UTC day."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from pipeline.errors import RequestError
from pipeline.sample.day_files import DayFiles
from pipeline.sample.folder import write_json
from pipeline.sample.instruments import choose, fill_market
from pipeline.sample.options import SampleOptions, SampleSummary
from pipeline.sample.phases import (
    auction,
    close,
    draw_gap,
    new_anchor,
    publish_whole,
    run_pre_open,
    seed_orders,
)
from pipeline.sample.reference import halt_of, halt_statuses, settlements, statuses
from pipeline.sample.schedule import (
    FIRST_SESSION,
    Kind,
    Segment,
    segments,
    session_dates,
)
from pipeline.sample.snapshot import book_records, book_row
from pipeline.sample.state import (
    BASE,
    HALT_FROM,
    HALT_TO,
    MID2,
    N_MBO,
    N_MBP,
    NEXT_ID,
    NOW,
    QUOTA,
    RECV,
    SEQUENCE,
    TICK,
    WEIGHT,
    new_market,
)
from pipeline.sample.trading import run
from pipeline.units import NS_PER_S

MIN_RECORDS: Final = 1_000
_FIRST_ORDER_ID: Final = 6_413_000_000_000
_STATUS_DELAY: Final = 7_000_000
_MOST_PRE_OPEN: Final = 4_000
"""Records of a pre-open segment: the auction is one event and must stay one of some thousands."""


class _Simulation:
    """The venue and the writer, stepped through the segments."""

    def __init__(self, options: SampleOptions, folder: Path) -> None:
        self.options = options
        self.instruments = choose(options.symbols)
        self.market = new_market(len(self.instruments), options.seed)
        fill_market(self.market, self.instruments)
        self.market.clock[NEXT_ID] = _FIRST_ORDER_ID
        self.writer = DayFiles(folder, self.instruments)
        weight = self.market.params[:, WEIGHT].sum()
        # Books of small samples are small too: a snapshot should not outweigh the day.
        self.carried = [
            round(share / weight * min(max(options.records / 150, 240.0), 1_800.0)) + 40
            for share in self.market.params[:, WEIGHT]
        ]
        self.started = False

    def flush(self) -> None:
        clock = self.market.clock
        self.writer.write(self.market.mbo[: clock[N_MBO]], self.market.mbp[: clock[N_MBP]])
        clock[N_MBO] = clock[N_MBP] = 0

    def step(self, segment: Segment, quota: int) -> int:
        """Run one segment; returns what it left (or, negative, overdrew) of its records."""
        market, clock = self.market, self.market.clock
        self.writer.turn_to(segment.day)
        clock[NOW] = max(int(clock[NOW]), segment.begin)
        most = _MOST_PRE_OPEN if segment.kind in (Kind.PRE_OPEN, Kind.NO_CANCEL) else quota
        clock[QUOTA] = min(quota, most)
        kept = quota - int(clock[QUOTA])
        self.writer.write_status(statuses(segment, self.instruments, _STATUS_DELAY))
        match segment.kind:
            case Kind.START:
                self._start(segment.begin)
            case Kind.SNAPSHOT:
                for i in range(len(self.instruments)):
                    self._whole_book(i, segment.begin, snapshot=True)
            case Kind.PRE_OPEN | Kind.NO_CANCEL:
                may_cancel = segment.kind is Kind.PRE_OPEN
                while not run_pre_open(market, segment.end, may_cancel):
                    self.flush()
            case Kind.OPEN:
                for i in range(len(self.instruments)):
                    auction(market, i, segment.begin, self.options.null)
            case Kind.TRADING:
                self._halt(segment)
                while not run(market, segment.end, self.options.null):
                    self.flush()
            case Kind.CLOSE:
                self._settle(segment)
                gap = draw_gap(market)
                for i in range(len(self.instruments)):
                    new_anchor(market, i, gap)
                    close(market, i, segment.begin)
                    self.flush()
        self.flush()
        return kept + (int(clock[QUOTA]) if segment.weight else quota - kept)

    def _start(self, begin: int) -> None:
        market = self.market
        for i, count in enumerate(self.carried):
            if not self.started:
                seed_orders(market, i, count)
            self._whole_book(i, begin + (i + 1) * NS_PER_S, snapshot=False)
        self.started = True

    def _whole_book(self, i: int, at: int, *, snapshot: bool) -> None:
        market, clock = self.market, self.market.clock
        received = at
        if not snapshot:
            clock[NOW] = at
            clock[SEQUENCE] += 1
            received = max(int(clock[RECV]) + 1, at + 118_000)
            clock[RECV] = received
        records = book_records(
            market, i, received, snapshot=snapshot, ts_event=at, sequence=int(clock[SEQUENCE])
        )
        publish_whole(market, i)
        self.writer.write(records, book_row(market, i, records[-1]))

    def _settle(self, segment: Segment) -> None:
        """Publish settlement prices: the last mids, rounded down to the tick."""
        inst = self.market.inst
        prices = [
            int((row[BASE] + row[MID2] // 2) * row[TICK]) for row in inst[: len(self.instruments)]
        ]
        self.writer.write_statistics(
            settlements(segment.begin, segment.session, self.instruments, prices, _STATUS_DELAY)
        )

    def _halt(self, segment: Segment) -> None:
        if len(self.instruments) < 2:
            return
        begin, end = halt_of(segment.session, FIRST_SESSION)
        self.market.inst[1, HALT_FROM] = begin
        self.market.inst[1, HALT_TO] = end
        if segment.begin <= begin < segment.end:
            self.writer.write_status(halt_statuses(self.instruments[1], begin, end, _STATUS_DELAY))


def job_id(options: SampleOptions) -> str:
    """Name of the batch folder, in the vendor's form."""
    kind = "NULL" if options.null else "SAMPLE"
    return f"SIM-{FIRST_SESSION:%Y%m%d}-{kind}{options.seed:04d}"


def write_sample(
    options: SampleOptions, progress: Callable[[str], None] | None = None
) -> SampleSummary:
    """Simulate and write a batch folder ``SIM-YYYYMMDD-...`` below ``options.out``.

    The folder appears when it is complete; one of the same name is replaced.

    Raises
    ------
    RequestError
        For too many sessions, too few records, or an unknown symbol.
    """
    if options.records < MIN_RECORDS:
        raise RequestError(f"--records {options.records}: a session needs at least {MIN_RECORDS:,}")
    sessions = session_dates(options.days)
    name = job_id(options)
    partial = options.out / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    began = time.perf_counter()
    try:
        summary = _write(options, sessions, name, partial, progress, began)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    final = options.out / name
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return summary


def _write(
    options: SampleOptions,
    sessions: Sequence[date],
    name: str,
    folder: Path,
    progress: Callable[[str], None] | None,
    began: float,
) -> SampleSummary:
    simulation = _Simulation(options, folder)
    plan = list(segments(options.days))
    for session in sessions:
        steps = [one for one in plan if one.session == session]
        weight = math.fsum(one.weight for one in steps)
        carry = 0
        for one in steps:
            quota = round(options.records * one.weight / weight)
            carry = simulation.step(one, quota + carry)
        if progress is not None:
            progress(f"session {session}: {simulation.writer.written:,} MBO records so far")
    simulation.writer.close()
    days = simulation.writer.days
    facts: dict[str, object] = {
        "simulated": True,
        "seed": options.seed,
        "null": options.null,
        "sessions": options.days,
        "records_per_session": options.records,
    }
    write_json(folder, name, days, simulation.instruments, facts, simulation.writer.manifest)
    return SampleSummary(
        folder=options.out / name,
        sessions=tuple(sessions),
        days=tuple(days),
        symbols=tuple(one.symbol for one in simulation.instruments),
        records=dict(simulation.writer.counts),
        bytes=sum(path.stat().st_size for path in folder.iterdir()),
        seconds=time.perf_counter() - began,
        null=options.null,
    )
