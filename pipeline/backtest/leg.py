"""One instrument of a run: its sessions and decisions in, its orders, fills and marks out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any, Final

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.accounts import Account, Contract, Fee
from pipeline.backtest.decisions import FeatureRows, decisions_of
from pipeline.backtest.feature_files import FeatureFile
from pipeline.backtest.fees import FeeRule, FeeSchedule
from pipeline.backtest.latency import LatencyTable
from pipeline.backtest.options import Limits, Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.backtest.rolling import AT_CLOSE, AT_OPEN
from pipeline.backtest.tables import EQUITY, FILLS, ORDERS, ROLES
from pipeline.book import tape
from pipeline.book.columns import REPLAY_COLUMNS, Chunk
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.layout import I64, new_book
from pipeline.book.stage import read_chunks, read_state
from pipeline.book.state import resume
from pipeline.errors import InputError
from pipeline.lanes import in_background
from pipeline.stage import Inputs, Partition, PlainOutputs, Stored, Writer
from pipeline.units import parse_duration
from strategies.event import EventStrategy
from strategies.interface import SignalStrategy, build
from strategies.registry import load

_ROWS_AT_ONCE: Final = 4096
"""Rows of ours that are booked and written at once."""


@dataclass(frozen=True)
class SessionSpec:
    """A session as a task's parameters have it."""

    date: date
    preopen_ns: int
    close_ns: int
    """When trading ended."""
    announced_close_ns: int
    """When it was to end, by the calendar."""
    segments: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> SessionSpec:
        segments = tuple((int(a), int(b)) for a, b in params["segments"])
        close = segments[-1][1]
        announced = params["announced_close"]
        day = date.fromisoformat(params["session"])
        return cls(day, params["preopen"], close, announced, segments)


class Leg:
    """One instrument of a task under way, with a simulation for each reading.

    Parameters
    ----------
    partition
        Where its rows go.
    params
        What determines it: see :mod:`pipeline.backtest.plan`.
    strategy
        With its parameters.
    """

    def __init__(
        self,
        partition: Partition,
        params: Mapping[str, Any],
        strategy: SignalStrategy | EventStrategy,
        inputs: Inputs,
        outputs: PlainOutputs,
    ) -> None:
        self.params = params
        self.inputs = inputs
        self.outputs = outputs
        self.key = {name: partition[name] for name in ("dataset", "symbol")}
        self.sessions = [SessionSpec.parse(item) for item in params["sessions"]]
        self.strategy = strategy
        decided = iter(self._feature_files())
        # A session that only closes what a roll left has no features.
        reads = params["reads_features"]
        self.features = [
            next(decided) if reads and way != AT_OPEN else None for way in params["exits"]
        ]
        self.writers: list[Writer] = [outputs.writer(t, partition) for t in (ORDERS, FILLS, EQUITY)]
        for writer in self.writers:
            writer.note(
                contract=params["contract"],
                queue_model=params["queue_model"],
                fees=params["fees"][0],
            )
        self._loaded: tuple[int, I64] | None = None
        product, multiplier, tick, currency = params["contract"]
        self.currency: str = currency
        symbol = self.key["symbol"]
        contract = Contract(symbol, product, Fraction(multiplier), tick, currency)
        dates = [session.date for session in self.sessions]
        schedule = _timetable(self.sessions, self.strategy, params["exits"])
        fee = _fee(params["fees"], contract)
        self.money = money = Money(
            tick,
            contract.multiplier,
            tuple((fee(ROLES[0], d), fee(ROLES[1], d), fee(ROLES[2], d)) for d in dates),
        )
        table = params["latency_table"]
        self.latencies = LatencyTable(*table).read() if table else None
        self.replays = [
            self._replay(self._options(reading, money), schedule) for reading in params["readings"]
        ]
        self.accounts = [Account(r, contract, fee, dates) for r in params["readings"]]

    def _replay(self, options: SimOptions, schedule: I64) -> Replay:
        rule, names = self.params["rule"], self.strategy.features()
        if isinstance(self.strategy, SignalStrategy):
            return Replay(options, schedule, rule, self._decisions)
        rows = (FeatureRows(self.features, names), len(names)) if names else None
        return Replay(options, schedule, rule, features=rows)

    def _options(self, reading: str, money: Money) -> SimOptions:
        params, after = self.params, self.params["assume_valid_after"]
        latency = params["latency"]
        strategy = self.strategy
        signal = strategy if isinstance(strategy, SignalStrategy) else None
        return SimOptions(
            reading=reading,
            entry_latency=latency["entry"][0],
            response_latency=latency["response"][0],
            feed_latency=latency["feed"][0],
            jitter=(latency["feed"][1], latency["entry"][1], latency["response"][1]),
            latencies=self.latencies,
            seed=params["seed"],
            passive=signal is not None and signal.style == "passive",
            patience=signal.patience if signal else 0,
            grid=params["grid"],
            assume_valid_after=parse_duration(after) if after else -1,
            money=money,
            limits=Limits(*params["limits"]),
        )

    def _decisions(self, session: int) -> I64:
        """Decisions of a session; the readings ask for the same one after another."""
        if self._loaded is None or self._loaded[0] != session:
            files = self.features[session]
            if files is None:
                return np.zeros((0, 5), np.int64)
            assert isinstance(self.strategy, SignalStrategy)
            self._loaded = None  # the last session's are not needed any more
            rows = decisions_of(
                self.strategy, files, self.money.fees_in_ticks(session), check=session == 0
            )
            rows[:, st.D_TS] += self.params["latency"]["feed"][0]
            self._loaded = (session, rows)
        return self._loaded[1]

    @property
    def records(self) -> int:
        """Records it will go through."""
        return sum(item.rows for item in self._all("mbo"))

    @property
    def until(self) -> int | None:
        """End of its last session; None where the records stop in the midst of it."""
        return self.sessions[-1].close_ns if self.params["complete"][-1] else None

    def chunks(self, replays: Sequence[Replay]) -> Iterator[Chunk]:
        """Its records, day by day; simulations are told of each day before its records come."""
        for day, start in self.params["days"]:
            mbo = self._stored("mbo", day)
            if mbo is None:
                raise InputError(f"{self.key['symbol']} {day}: its MBO records are gone")
            for replay in replays:
                self._start_day(replay, day, start)
            yield from in_background(read_chunks(mbo, columns=REPLAY_COLUMNS))

    def write(self, reading: int, *, last: bool = False) -> None:
        """Book and write what became final in a simulation, where that is worth it."""
        replay = self.replays[reading]
        if last or replay.waiting >= _ROWS_AT_ONCE:
            rows = self.accounts[reading].take(replay.take(last=last))
            for writer, table in zip(self.writers, rows, strict=True):
                writer.write(table)

    def finish(self, reading: int) -> None:
        """The records are over."""
        replay = self.replays[reading]
        replay.finish(self.until)
        self.write(reading, last=True)
        held = int(replay.sim.meta[st.POSITION])
        if held and self.params["exits"][-1]:
            self.outputs.warn(
                f"{self.key['symbol']}, {self.accounts[reading].reading}: a position of {held} "
                "could not be closed at the roll; its equity ends at the last mark"
            )

    def _start_day(self, replay: Replay, day: str, start: str) -> None:
        replay.start_day(int(day.replace("-", "")))
        if start == "goes_on":
            return
        replay.start_book(None, new_book(rule=self.params["rule"]), known=False)
        carried = self._carried(day) if start == "state" else None
        if carried is not None:
            resume_replay(replay, carried, self.params["rule"])

    def _carried(self, day: str) -> Stored | None:
        """The closing state of the last day before."""
        earlier = [s for s in self._all("book_state") if s.partition["date"] < day]
        return max(earlier, key=lambda s: s.partition["date"], default=None)

    def _stored(self, table: str, day: str) -> Stored | None:
        key = Partition.of(dataset=self.key["dataset"], date=day, symbol=self.key["symbol"])
        return self.inputs.stored(table, key)

    def _feature_files(self) -> list[list[FeatureFile]]:
        """By session: its features, with what the run's model predicted beside them."""
        features, predictions = self._all("features"), self._all("predictions")
        if not predictions:
            return [[FeatureFile(path) for path in item.files] for item in features]
        return [
            [FeatureFile(*pair) for pair in zip(item.files, beside.files, strict=True)]
            for item, beside in zip(features, predictions, strict=True)
        ]

    def _all(self, table: str) -> list[Stored]:
        """Its inputs of a table, in order."""
        return [
            item
            for item in self.inputs.all(table)
            if all(item.partition[name] == value for name, value in self.key.items())
        ]


def resume_replay(replay: Replay, carried: Stored, rule: int) -> None:
    """Go on from a day's closing state: its book, what is known of it, its unfinished event."""
    engine = BookEngine(20000101, BookOptions(depth=1, materialise="none"), rule)
    resume(engine, read_state(carried))
    if len(engine.books) > 1:
        raise InputError.at(carried.files[0], "books of several publishers; one is needed")
    for key, one in engine.books.items():
        cursor = one.run.cursor
        replay.start_book(
            key,
            one.book,
            known=bool(cursor[tape.KNOWN]),
            bad=bool(cursor[tape.BAD]),
            since=int(cursor[tape.FIRST_CLOCK]),
        )
        for records in one.pending:
            n = len(records.flags)
            replay.feed(
                Chunk(records, np.full(n, key[0], np.uint16), np.full(n, key[1], np.uint32))
            )


def _timetable(
    sessions: Sequence[SessionSpec], strategy: SignalStrategy | EventStrategy, exits: Sequence[str]
) -> I64:
    ways = {AT_OPEN: None, AT_CLOSE: strategy.flatten_before}
    leaving = {number: ways[way] for number, way in enumerate(exits) if way}
    return timetable(sessions, strategy.flatten_before if strategy.flatten else None, leaving)


def strategy_of(identity: Mapping[str, Any], asked: str) -> SignalStrategy | EventStrategy:
    """The strategy of a task.

    Raises
    ------
    InputError
        If its file has changed since the run was planned.
    """
    loaded = load(asked)
    if loaded.source != identity["source"]:
        raise InputError(f"{asked}: the file changed while the run was under way; run it again")
    built = build(loaded.strategy, {}, identity["params"])
    assert isinstance(built, SignalStrategy | EventStrategy)  # as the registry gives them
    return built


def _fee(fees: Sequence[Any], contract: Contract) -> Fee:
    name, rules = fees
    schedule = FeeSchedule(name, tuple(FeeRule.restore(rule) for rule in rules))
    known: dict[tuple[str, date], int] = {}

    def fee(role: str, session: date) -> int:
        key = (role, session)
        if key not in known:
            known[key] = schedule.per_contract(contract.product, role, session, contract.currency)
        return known[key]

    return fee
