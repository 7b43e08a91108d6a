"""Stage `simulate`: MBO records and features in, `orders`, `fills` and `equity` out.

One task a run, dataset and symbol; sessions follow one another in it, because positions and
books do.  A strategy that trades instruments together has one task for all of them.  All
readings see each chunk of records once it is decoded; each is a simulation of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from pipeline.backtest.joint import run_together, warm
from pipeline.backtest.leg import Leg, strategy_of
from pipeline.backtest.options import SimOptions, timetable
from pipeline.backtest.plan import FIFO, plan_run
from pipeline.backtest.replay import Replay, empty_records
from pipeline.backtest.request import Request
from pipeline.backtest.summarise import SUMMARISE
from pipeline.book.columns import Chunk
from pipeline.config import Settings
from pipeline.stage import Catalog, Inputs, Outputs, PlainOutputs, Selection, Task
from strategies.event import EventStrategy
from strategies.running import Program

__all__ = ["SIMULATE", "SUMMARISE", "Simulate"]


class Simulate:
    """The simulator as a stage."""

    name = "simulate"
    version = 15
    tables: Sequence[str] = ("orders", "fills", "equity")

    def __init__(self, request: Request | None = None) -> None:
        self.request = request

    def __getstate__(self) -> dict[str, Any]:
        # Workers rebuild the strategy from the task: a user's class cannot be pickled.
        return {"request": None}

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """Tasks of the run asked for; none where nothing was asked."""
        del settings  # those of the request hold the command's flags
        return plan_run(self.request, catalog, selection) if self.request else []

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Simulate one symbol, or several together."""
        parts = task.outputs or (task.partition,)
        params = task.params["legs"]
        for part, own in zip(parts, params, strict=True):
            _warn_of_queue(part["symbol"], own, outputs)
        strategy = strategy_of(params[0]["strategy"], task.hints["strategy"])
        legs = [
            Leg(part, own, strategy, inputs, outputs)
            for part, own in zip(parts, params, strict=True)
        ]
        program = None
        if isinstance(strategy, EventStrategy):
            identity, interpret = params[0]["strategy"], task.hints["interpret"]
            program = program_of(strategy, identity, interpret=interpret)
        if len(legs) > 1:
            assert program is not None  # signal strategies trade one instrument
            run_together(legs, program, outputs)
        else:
            run_alone(legs[0], program, outputs)

    def warm(self) -> None:
        """Compile the simulator's kernel, on nothing."""
        replay = Replay(SimOptions(), timetable([], None), 3, lambda _: np.zeros((0, 5), np.int64))
        replay.feed(empty_chunk())
        replay.finish()
        warm()


_programs: dict[str, Program] = {}
"""The last strategy that was compiled in this process: instruments follow one another."""


def program_of(
    strategy: EventStrategy, identity: Mapping[str, Any], *, interpret: bool = False
) -> Program:
    """A strategy ready to run; compiled once where it is asked for again and again."""
    key = json.dumps([identity, interpret], sort_keys=True)
    if key not in _programs:
        _programs.clear()
        _programs[key] = Program(strategy, interpret=interpret)
    return _programs[key]


def _warn_of_queue(symbol: str, params: Mapping[str, Any], outputs: Outputs) -> None:
    if params["match"] != FIFO:
        what = params["match"] or "not known"
        outputs.warn(
            f"{symbol}: match algorithm {what}, not first in first out: "
            "queue positions are approximate (queue_model = approx)"
        )


def empty_chunk() -> Chunk:
    """One record that changes nothing: enough to compile the kernel."""
    records = empty_records(1)
    records.action[0] = ord("N")
    return Chunk(records, np.zeros(1, np.uint16), np.zeros(1, np.uint32))


def run_alone(leg: Leg, program: Program | None, outputs: PlainOutputs) -> None:
    """One instrument: every reading takes each chunk once it is decoded."""
    if program is not None:
        for replay in leg.replays:
            replay.employ(program.run([replay.market()]), leg.sessions)
    done, total = 0, leg.records
    for chunk in leg.chunks(leg.replays):
        for reading, replay in enumerate(leg.replays):
            replay.feed(chunk)
            leg.write(reading)
        done += len(chunk.publisher)
        outputs.progress(done, total)
    for reading in range(len(leg.replays)):
        leg.finish(reading)


SIMULATE: Final = Simulate()
