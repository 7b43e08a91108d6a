"""Write the sample market: run the venue segment by segment, file its records by UTC day."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.errors import RequestError
from pipeline.sample.folder import SCHEMAS, DbnFile, write_json
from pipeline.sample.instruments import Instrument, choose, fill_market
from pipeline.sample.phases import (
    auction,
    close,
    draw_gap,
    new_anchor,
    publish_whole,
    run_pre_open,
    seed_orders,
)
from pipeline.sample.reference import Records, definitions, halt_of, halt_statuses, statuses
from pipeline.sample.schedule import (
    FIRST_SESSION,
    Kind,
    Segment,
    segments,
    session_dates,
)
from pipeline.sample.snapshot import book_records, book_row, empty_levels
from pipeline.sample.state import (
    HALT_FROM,
    HALT_TO,
    I64,
    N_MBO,
    N_MBP,
    NEXT_ID,
    NOW,
    QUOTA,
    RECV,
    SEQUENCE,
    WEIGHT,
    new_market,
)
from pipeline.sample.trading import run
from pipeline.units import NS_PER_S

MIN_RECORDS: Final = 1_000
_T: Final = ord("T")
_TRADE_HEAD: Final = 12  # length 48 / 4, rtype 0 (MBP_0)
_FIRST_ORDER_ID: Final = 6_413_000_000_000
_STATUS_DELAY: Final = 7_000_000
_MOST_PRE_OPEN: Final = 4_000
"""Records of a pre-open segment: the auction is one event and must stay one of some thousands."""


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What to simulate.

    Attributes
    ----------
    out
        Folder that receives the batch folder.
    days
        Trading sessions, 1 to 13, from Monday 2025-06-02 on (whose session begins on Sunday
        evening).
    symbols
        Raw symbols out of SIMM5, SIMU5, SIMM5-SIMU5; None for all.
    records
        MBO records a session of all instruments together, about; snapshots come on top.
    seed
        Same options and seed, same bytes.
    null
        The null market: flow that depends on nothing.
    """

    out: Path
    days: int = 3
    symbols: Sequence[str] | None = None
    records: int = 300_000
    seed: int = 1
    null: bool = False


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What was written.  ``records`` counts the rows of all files by schema."""

    folder: Path
    sessions: tuple[date, ...]
    days: tuple[date, ...]
    symbols: tuple[str, ...]
    records: dict[str, int]
    bytes: int
    seconds: float
    null: bool

    def as_json(self) -> dict[str, object]:
        """The same for ``--json``."""
        plain = asdict(self)
        plain["folder"] = str(self.folder)
        for name in ("sessions", "days"):
            plain[name] = [day.isoformat() for day in plain[name]]
        plain["simulated"] = True
        return plain

    def __str__(self) -> str:
        kind = "SIMULATED null market" if self.null else "SIMULATED market"
        return (
            f"{kind}: {len(self.sessions)} sessions {self.sessions[0]} to {self.sessions[-1]}, "
            f"{', '.join(self.symbols)}\n"
            f"{self.records['mbo']:,} MBO records, {self.records['mbp-10']:,} MBP-10 rows, "
            f"{self.records['trades']:,} trades; {self.bytes / 1e6:.1f} MB in "
            f"{self.seconds:.1f} s\n{self.folder}"
        )


class _Writer:
    """The open files of the current UTC day, and the lines of the manifest so far."""

    def __init__(self, folder: Path, instruments: Sequence[Instrument]) -> None:
        self.folder = folder
        self.instruments = instruments
        self.days: list[date] = []
        self.manifest: list[dict[str, object]] = []
        self.counts = dict.fromkeys(SCHEMAS, 0)
        self.written = 0
        """MBO records so far."""
        self._open: dict[str, DbnFile] = {}
        self._ids = {one.symbol: one.instrument_id for one in choose(None)}

    def turn_to(self, day: date) -> None:
        """Close the files of the day before and open those of ``day``, if it is another."""
        if self.days and self.days[-1] == day:
            return
        self.close()
        self.days.append(day)
        for schema in SCHEMAS:
            self._open[schema] = DbnFile(self.folder, day, schema, self.instruments)
        self._open["definition"].write(definitions(day, self.instruments, self._ids))

    def write(self, mbo: I64, mbp: I64) -> None:
        self.written += len(mbo)
        self._open["mbo"].write(mbo)
        self._open["mbp-10"].write(mbp)
        trades = mbp[(mbp[:, 3] >> 32 & 255) == _T, :6].copy()
        # The same header but for length and rtype.
        trades[:, 0] = trades[:, 0] & ~0xFFFF | _TRADE_HEAD
        self._open["trades"].write(trades)

    def write_status(self, records: Sequence[Records]) -> None:
        for one in records:
            self._open["status"].write(one)

    def close(self) -> None:
        for schema in SCHEMAS:
            if schema in self._open:
                file = self._open.pop(schema)
                self.counts[schema] += file.records
                self.manifest.append(file.close())


class _Simulation:
    """The venue and the writer, stepped through the segments."""

    def __init__(self, options: SampleOptions, folder: Path) -> None:
        self.options = options
        self.instruments = choose(options.symbols)
        self.market = new_market(len(self.instruments), options.seed)
        fill_market(self.market, self.instruments)
        self.market.clock[NEXT_ID] = _FIRST_ORDER_ID
        self.writer = _Writer(folder, self.instruments)
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
        rows = []
        empty = empty_levels()
        if not snapshot and (market.book[1, i] != empty).any():
            rows.append(book_row(market, i, records[0], empty))
        publish_whole(market, i)
        if snapshot or len(records) > 1:
            rows.append(book_row(market, i, records[-1], market.book[0, i]))
        self.writer.write(records, np.concatenate(rows) if rows else market.mbp[:0])

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
