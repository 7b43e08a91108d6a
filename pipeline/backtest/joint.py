"""Several instruments in one simulation: who is next, and messages between them.

Each instrument has its own book, orders and queue of what is under way.  The one whose next thing
comes first goes on until another's comes first; at equal times the one named first.  So a
callback sees every instrument as it had been received by then.  One whose records are over has no
book any more; the run goes on until the last of them has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.leg import Leg, SessionSpec
from pipeline.backtest.options import SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.backtest.together import ENDED, ENDING, NOT_BEGUN, Tape, interleave
from pipeline.book.columns import Chunk
from pipeline.book.tape import no_records
from pipeline.stage import PlainOutputs
from strategies.running import Program


def warm() -> None:
    """Compile the loop, on an instrument without records."""
    replay = Replay(SimOptions(), timetable([], None), 3)
    sims = np.array([replay.sim.address], np.int64)
    tape = Tape(**no_records()._asdict())
    none = np.zeros(1, np.int64)
    interleave(sims, np.array([tape.address], np.int64), none, none + ENDED, none.copy(), none - 1)


def run_together(legs: Sequence[Leg], program: Program, outputs: PlainOutputs) -> None:
    """Run all readings of instruments that are traded together, one reading after the other."""
    readings = len(legs[0].replays)
    total = readings * sum(leg.records for leg in legs)
    done = 0
    for reading in range(readings):
        streams = [_Stream(leg, leg.replays[reading]) for leg in legs]
        _employ(program, streams, session_numbers([leg.sessions for leg in legs]))
        for moved in _interleave(streams):
            done += moved
            outputs.progress(done, total)
            for leg in legs:
                leg.write(reading)
        for leg in legs:
            leg.finish(reading)


class _Stream:
    """An instrument's records, a chunk at a time, and its simulation."""

    def __init__(self, leg: Leg, replay: Replay) -> None:
        self.leg = leg
        self.replay = replay
        self._chunks: Iterator[Chunk] = leg.chunks([replay])
        self.over = False

    def refill(self) -> int:
        """See to it that there is a record to go on with; returns how many were decoded."""
        moved = 0
        while not self.over and self.replay.idle:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.over = True
                break
            moved += len(chunk.publisher)
            self.replay.offer(chunk)
        return moved


def session_numbers(sessions: Sequence[Sequence[SessionSpec]]) -> list[list[int]]:
    """By instrument, the numbers of its sessions among the dates of all: one date, one number."""
    dates = sorted({session.date for own in sessions for session in own})
    return [[dates.index(session.date) for session in own] for own in sessions]


def _employ(
    program: Program, streams: Sequence[_Stream], numbers: Sequence[Sequence[int]] | None = None
) -> None:
    markets = [stream.replay.market() for stream in streams]
    running = program.run(markets)
    addresses = np.array([market.address for market in markets], np.int64)
    currencies = [stream.leg.currency for stream in streams]
    n = len(markets)
    shared = {
        "mail": np.zeros(n, np.int64),
        "purses": np.array([currencies.index(name) for name in currencies], np.int64),
        "worth": np.zeros((n, 2)),
        "stops": np.zeros(n, np.int64),
    }
    for number, stream in enumerate(streams):
        told = None if numbers is None else numbers[number]
        stream.replay.employ(running, stream.leg.sessions, number, told)
        stream.replay.join(addresses, shared)


def _interleave(streams: Sequence[_Stream]) -> Iterator[int]:
    """Let the instruments go on in the order of time; yields numbers of records taken up."""
    n = len(streams)
    sims = np.array([stream.replay.sim.address for stream in streams], np.int64)
    tapes = [Tape(**no_records()._asdict()) for _ in streams]
    addresses = np.array([tape.address for tape in tapes], np.int64)
    at, over, ends, bounds = (np.zeros(n, np.int64) for _ in range(4))

    def refill(who: int) -> int:
        stream = streams[who]
        moved = stream.refill()
        for name, column in stream.replay.at_hand._asdict().items():
            setattr(tapes[who], name, column)
        at[who] = NOT_BEGUN
        if stream.over:
            over[who], ends[who] = ENDING, stream.replay.end_time(stream.leg.until)
        return moved

    for who in range(n):
        yield refill(who)
    while (over != ENDED).any():
        status, who = (int(v) for v in interleave(sims, addresses, at, over, ends, bounds))
        replay = streams[who].replay
        if status == st.NEW_PART:
            replay.begin()
            at[who] = 0
        elif status == st.FOREIGN:
            for receiver in replay.letters():
                streams[receiver].replay.obey(replay.now)
        elif status == st.DONE and over[who] == ENDING:
            replay.leave(complete=streams[who].leg.until is not None)
            over[who] = ENDED
        elif status == st.DONE:
            replay.end()
            yield refill(who)
        else:
            replay.provide(status)
