"""The driver: records in, orders, fills and marks of ours out; one simulation of one symbol.

Nothing here decides anything: it feeds the kernel, grows its arrays, loads decisions session by
session, and hands out the rows that are final, so that memory does not grow with the data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.backtest import state as st
from pipeline.backtest.kernel import finish, replay
from pipeline.backtest.options import SessionTimes, SimOptions
from pipeline.backtest.state import Sim, grow_sim, new_sim
from pipeline.book.columns import Chunk, check_types, take
from pipeline.book.layout import I64, Book, new_book
from pipeline.book.tape import Records, no_records
from pipeline.errors import InputError, MboError, RequestError
from pipeline.instants import format_instant
from pipeline.jit import entry_point
from pipeline.units import F_SNAPSHOT, UNDEF_PRICE, event_base
from strategies import layout as la
from strategies.layout import WAKES
from strategies.market import Market
from strategies.running import Running, reads_book


class Rows(NamedTuple):
    """Rows that became final, with the columns of :mod:`pipeline.backtest.state`."""

    orders: I64
    first_order: int
    """Number of the order in the first row."""
    fills: I64
    first_fill: int
    marks: I64


def empty_records(n: int) -> Records:
    """Records of zeros."""
    kinds = [column.dtype for column in no_records()]
    return Records._make(np.zeros(n, kind) for kind in kinds)


def _all_same(values: npt.NDArray[Any]) -> bool:
    return bool((values == values[0]).all())


@cache
def _compiled_replay() -> Callable[..., Any]:
    """The kernel's machine code: records read from Parquet and those made here are one type."""
    nothing = np.zeros((0, 3), np.int64)
    sim = new_sim(np.zeros(st.CONF_SIZE, np.int64), nothing, rule=0)
    return entry_point(replay, sim, no_records(), 0, 0)


class RowSource(Protocol):
    """Gives an event strategy its features, some decision points at a time."""

    def start(self, session: int) -> None:
        """The rows of a session are asked for from now on."""

    def more(self) -> tuple[I64, npt.NDArray[np.float64], bool]:
        """The next rows: int64[n, 5] with ``D_TS`` and ``D_EVENT`` set, their features
        float64[n, features], and whether there are more.
        """


class Replay:
    """One simulation of one symbol.

    Parameters
    ----------
    options
        Reading, latencies, how signals are worked.
    schedule
        The :func:`timetable`.
    rule
        Bits of the venue's priority rule.
    load
        Gives the decisions of a session by its number: int64[n, 5], columns ``D_*``, in order.
    features
        Where an event strategy's features come from, and how many it reads.
    """

    def __init__(
        self,
        options: SimOptions,
        schedule: I64,
        rule: int,
        load: Callable[[int], I64] | None = None,
        *,
        features: tuple[RowSource, int] | None = None,
    ) -> None:
        self.options = options
        self.rule = rule
        self._load = load
        self._rows: RowSource | None = features[0] if features else None
        fees = options.money.fees
        self.sim: Sim = new_sim(
            options.conf(),
            schedule,
            rule=rule,
            rates=np.array(fees, np.int64).reshape(-1, 3) if fees else None,
            latencies=options.latencies,
            features=features[1] if features else 0,
            seed=options.seed,
        )
        self.running: Running | None = None
        self._market: Market | None = None
        self._key: tuple[int, int] | None = None
        self._parts: deque[Chunk] = deque()
        self._at = 0
        """Records of the first part that have been run."""

    def employ(
        self,
        running: Running,
        sessions: Sequence[SessionTimes],
        number: int = 0,
        numbers: Sequence[int] | None = None,
    ) -> None:
        """Let an event strategy trade here; it was given this :meth:`market`.

        ``number`` is the instrument's, ``numbers`` those of its sessions in the run.
        """
        self.running = running
        market = self.market()
        told = range(len(sessions)) if numbers is None else numbers
        hours = [
            (session.segments[0][0], session.announced_close_ns, number_told)
            for session, number_told in zip(sessions, told, strict=True)
        ]
        self.sim.hours = np.array(hours, np.int64).reshape(-1, 3)
        conf, block = self.sim.conf, self.sim.block
        conf[st.CALLBACK], conf[st.INSTANCE] = running.address, running.instance
        conf[st.MARKET_AT] = market.address
        cls = type(running.program.strategy)
        conf[st.WAKE] = WAKES.index(cls.wake)
        conf[st.FEED] = st.FEED_BOOK if reads_book(cls) else st.FEED_TOUCH
        if "on_market_event" not in running.program.callbacks:
            conf[st.WAKE] = la.WAKE_NEVER
        block[la.WORD["has_book"]] = conf[st.FEED] == st.FEED_BOOK
        block[la.WORD["instrument"]] = number

    def market(self) -> Market:
        """What a strategy sees of this simulation."""
        if self._market is None:
            sim = self.sim
            self._market = Market(
                block=sim.block,
                reals=sim.reals,
                commands=sim.commands,
                known=sim.known,
                features=sim.features,
                peers=np.zeros(1, np.int64),
                mail=sim.mail,
                seen=sim.seen,
            )
            self._market.peers = np.array([self._market.address], np.int64)
            sim.block[la.WORD["tick"]] = self.options.money.tick
            sim.reals[la.WORD["multiplier"]] = float(self.options.money.multiplier)
            sim.block[la.WORD["instruments"]] = 1
        return self._market

    def start_book(
        self,
        key: tuple[int, int] | None,
        book: Book,
        *,
        known: bool,
        bad: bool = False,
        since: int = st.NEVER,
    ) -> None:
        """Go on with another book: of (publisher, instrument), or not yet of anybody.

        ``known`` and ``bad`` say what is known of its contents, ``since`` its first record's
        ``ts_recv``.
        """
        if self.sim.meta[st.N_LIVE : st.N_LIVE + 2].any() or self.sim.meta[st.N_SPECIAL]:
            self._drop_orders()  # records are missing between: nobody knows what became of them
        self._key = key
        self.sim.book, self.sim.taken = book, np.zeros(len(book.orders), np.int64)
        meta = self.sim.meta
        meta[st.KNOWN], meta[st.BAD], meta[st.VALID] = known, bad, known and not bad
        meta[st.FIRST_RECV] = since if since > -st.NEVER else st.NEVER
        meta[[st.IN_EVENT, st.SNAPPING, st.TAKEN_ANY, st.CROSSED]] = 0
        meta[[st.LAST_BID, st.LAST_ASK]] = UNDEF_PRICE
        self._lose_feed()
        self.sim.seen = Book(*(array.copy() for array in book))
        self._see_nothing()
        self._rebind()

    def _lose_feed(self) -> None:
        """What was on its way to us is lost with the book it was of."""
        meta = self.sim.meta
        meta[[st.N_PENDING, st.AT_PENDING, st.N_ARRIVALS, st.AT_ARRIVAL]] = 0
        meta[st.NEXT_RECEIPT] = st.NEVER

    def _see_nothing(self) -> None:
        """The strategy sees no book before it receives an event of the next one."""
        block, word = self.sim.block, la.WORD
        self.sim.meta[[st.SEEN_BID, st.SEEN_ASK]] = UNDEF_PRICE
        block[[word["bid"], word["ask"]]] = UNDEF_PRICE
        for name in (
            "bid_size",
            "ask_size",
            "bid_orders",
            "ask_orders",
            "valid",
            "crossed",
            "traded",
        ):
            block[word[name]] = 0

    def start_day(self, date: int) -> None:
        """The next records are of this UTC day, YYYYMMDD; events are numbered anew."""
        self.sim.meta[st.EVENT_BASE] = event_base(date)
        self.sim.meta[st.EVENT_NUMBER] = 0

    # --- records ----------------------------------------------------------------------------------

    def feed(self, chunk: Chunk) -> None:
        """Run records through the simulation.

        Raises
        ------
        InputError
            If they are of several publishers or instruments at once, or the strategy fails.
        """
        self.offer(chunk)
        self._advance()

    def offer(self, chunk: Chunk) -> None:
        """Take up records, to be run after those that were.

        Raises
        ------
        InputError
            If they are of several publishers or instruments at once.
        """
        if not len(chunk.publisher):
            return
        check_types(chunk.records)
        if _all_same(chunk.publisher) and _all_same(chunk.instrument):
            self._parts.append(chunk)
            return
        keys = chunk.publisher.astype(np.int64) << 32 | chunk.instrument.astype(np.int64)
        starts = np.flatnonzero(np.diff(keys)) + 1
        if len(starts) and len(np.unique(keys)) <= len(starts):
            raise InputError(
                "records of several publishers or instruments alternate under one symbol; "
                "a simulation needs one book"
            )
        # The symbol may have another instrument from some record on.
        for start, stop in zip([0, *starts], [*starts, len(keys)], strict=True):
            self._parts.append(take(chunk, slice(int(start), int(stop))))

    @property
    def idle(self) -> bool:
        """All records that were offered have been run."""
        return not self._parts

    def _advance(self) -> None:
        """Run all records that were offered."""
        run = _compiled_replay()
        while not self.idle:
            records = self.begin() if self._at == 0 else self._parts[0].records
            status, self._at = (int(v) for v in run(self.sim, records, self._at, st.NEVER))
            if status != st.DONE:
                self.provide(status)
            elif self._at == len(records.flags):
                self.end()

    def begin(self) -> Records:
        """The records that come next are about to be run: those of one instrument."""
        part = self._parts[0]
        key = (int(part.publisher[0]), int(part.instrument[0]))
        if self._key is not None and key != self._key:
            self._change_instrument(part.records)
        self._key = key
        return part.records

    @property
    def at_hand(self) -> Records:
        """The records that come next; none where all that were offered have been run."""
        return self._parts[0].records if self._parts else no_records()

    def end(self) -> None:
        """The records that came next have been run."""
        self._parts.popleft()
        self._at = 0

    def _change_instrument(self, records: Records) -> None:
        """From the first of these records on the symbol has another instrument: its book is
        another, and ours are gone.  What is due before happens before.
        """
        time = int(records.ts_event[0])
        if records.flags[0] & F_SNAPSHOT:
            time = int(records.ts_recv[0])
        elif time == UNDEF_PRICE:
            time = self.clock
        self._drop_orders(time)
        self.start_book(None, new_book(rule=self.rule), known=False)

    def _drop_orders(self, time: int | None = None) -> None:
        clear = empty_records(1)
        clear.action[0] = ord("R")
        clear.ts_event[0] = self.clock if time is None else time
        clear.record[0] = self.sim.meta[st.LAST_RECORD]
        at, run = 0, _compiled_replay()
        while at < 1:
            status, at = (int(v) for v in run(self.sim, clear, at, st.NEVER))
            if status != st.DONE:
                self.provide(status)

    # --- together with others ---------------------------------------------------------------------

    def join(self, addresses: I64, shared: Mapping[str, npt.NDArray[Any]]) -> None:
        """Be one of several instruments; ``shared`` are the arrays they have in common."""
        market = self.market()
        market.peers, market.mail = addresses, shared["mail"]
        self.sim.block[la.WORD["instruments"]] = len(addresses)
        for name, array in shared.items():
            setattr(self.sim, name, array)

    def letters(self) -> list[int]:
        """Numbers of the instruments that there is something for."""
        own = int(self.sim.block[la.WORD["instrument"]])
        return [int(k) for k in np.flatnonzero(self.sim.mail) if k != own]

    def obey(self, time: int) -> None:
        """Carry out what another instrument has left here."""
        while (status := int(finish(self.sim, time, st.ONLY_OBEY))) != st.DONE:
            self.provide(status)

    def end_time(self, until: int | None) -> int:
        """When the run of its records is over, see :meth:`finish`."""
        return self.clock + 1 if until is None else max(until, self.clock + 1)

    def leave(self, *, complete: bool) -> None:
        """Its records are over while others go on: from here on it has no book and no session.

        Word that is under way is still heard; where the data stopped in the midst of a session
        (not ``complete``) what rests ends with them.
        """
        sim, meta = self.sim, self.sim.meta
        if not complete:
            while (status := int(finish(sim, self.clock + 1, st.ONLY_CUT))) != st.DONE:
                self.provide(status)
            meta[st.NEXT_SCHEDULE] = len(sim.schedule)
        meta[st.KNOWN] = meta[st.VALID] = 0
        sim.seen = new_book(rule=self.rule)
        sim.block[la.WORD["open"]] = 0
        self._lose_feed()
        self._see_nothing()
        self._rebind()

    def provide(self, status: int) -> None:
        """See to what a kernel needs before it can go on."""
        sim, meta = self.sim, self.sim.meta
        if status == st.NEED_SESSION:
            session = int(sim.schedule[meta[st.NEXT_SCHEDULE], st.S_SESSION])
            meta[st.NEXT_DECISION] = 0
            meta[st.LOADED] = 1
            if self._load is not None:
                sim.decisions = self._load(session)
            elif self._rows is not None:
                self._rows.start(session)
                sim.features[:] = np.nan
                self._more_rows()
        elif status == st.NEED_ROWS:
            self._more_rows()
        elif status == st.STRATEGY_FAILED:
            raise self._failure()
        else:
            grow_sim(sim, status)
            self._rebind()

    def _more_rows(self) -> None:
        assert self._rows is not None
        meta = self.sim.meta
        rows, values, more = self._rows.more()
        rows[:, st.D_TS] += self.options.feed_latency
        self.sim.decisions, self.sim.values = rows, values
        meta[st.NEXT_DECISION], meta[st.MORE_ROWS] = 0, more

    def _rebind(self) -> None:
        """Tables that the strategy reads, too, may have moved."""
        if self._market is not None:
            self._market.known, self._market.seen = self.sim.known, self.sim.seen

    def _failure(self) -> MboError:
        """A callback failed: which, when, and why as far as is known."""
        assert self.running is not None
        meta, name = self.sim.meta, type(self.running.program.strategy).__name__
        callback = la.CALLBACKS[int(meta[st.FAILED]) - 1]
        now = format_instant(int(self.sim.block[la.WORD["now"]]))
        where = f"{name}.{callback} at {now}"
        if self.sim.block[la.WORD["overflow"]]:
            return InputError(f"{where}: more than {la.COMMANDS} commands in one callback")
        number = int(meta[st.FAILED]) - 1
        error = self.running.error or self.running.retrace(number, self.market())
        if error is None:
            return InputError(f"{where}: it raised an error; run with --interpret to see which")
        place = self.running.place(error)
        wrong = isinstance(error, RequestError)  # interpreted: compiled it is refused at once
        said = str(error) if wrong else f"{type(error).__name__}: {error}".removesuffix(": ")
        if isinstance(error, ZeroDivisionError) and self.running.program.interpret:
            said += "; compiled it gives 0, or inf and nan: check before dividing"
        kind = RequestError if wrong else InputError
        failure = kind(f"{place.filename}, line {place.lineno}: {where}: {said}")
        failure.__cause__ = error
        return failure

    @property
    def waiting(self) -> int:
        """Rows that :meth:`take` might give."""
        return int(self.sim.meta[[st.N_FILLS, st.N_MARKS, st.N_OWN]].sum())

    @property
    def now(self) -> int:
        """Time of the last callback."""
        return int(self.sim.block[la.WORD["now"]])

    @property
    def clock(self) -> int:
        """The venue's clock."""
        return int(self.sim.meta[st.CLOCK])

    def finish(self, until: int | None = None) -> None:
        """The data are over.  ``until``: the end of the last session where it is complete;
        otherwise time stops at the last record.
        """
        complete = until is not None
        limit = self.end_time(until)
        while True:
            status = int(finish(self.sim, limit, st.AT_ITS_END if complete else st.CUT_OFF))
            if status == st.DONE:
                return
            self.provide(status)

    def take(self, *, last: bool = False) -> Rows:
        """Rows that are final; ``last`` takes all, after :meth:`finish`."""
        sim, meta = self.sim, self.sim.meta
        n_own, n_fills = int(meta[st.N_OWN]), int(meta[st.N_FILLS])
        waiting = np.flatnonzero(sim.own[:n_own, st.O_HEARD] == 0)
        done = n_own if last or not len(waiting) else int(waiting[0])
        first_order, first_fill = int(meta[st.BASE]), int(meta[st.FILL_BASE])
        marked = slice(st.MARKOUT, st.MARKOUT + st.HORIZONS)
        final = n_fills if last else int(meta[marked].min())
        n_marks = int(meta[st.N_MARKS])
        rows = Rows(
            sim.own[:done].copy(),
            first_order,
            sim.fills[:final].copy(),
            first_fill,
            sim.marks[:n_marks].copy(),
        )
        if done:
            left = n_own - done
            for array in (sim.own, sim.known):
                array[:left] = array[done:n_own].copy()
            sim.live -= done
            sim.special -= done
            meta[st.N_OWN] = left
            meta[st.BASE] += done
            sim.block[la.WORD["first_known"]] = meta[st.BASE]
        if final:
            sim.fills[: n_fills - final] = sim.fills[final:n_fills].copy()
            meta[st.N_FILLS] -= final
            meta[st.FILL_BASE] += final
            meta[marked] -= final
        meta[st.N_MARKS] = 0
        return rows
