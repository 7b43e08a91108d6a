"""How a simulation runs: latencies, limits, money, and the timetable of its sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.tables import MARKOUT_HORIZONS, READINGS
from pipeline.book.layout import I64
from pipeline.units import NS_PER_MINUTE, NS_PER_S

MARK_STEP: Final = NS_PER_MINUTE
"""Equity is marked at whole multiples of this, venue's clock."""
RETRY_AFTER: Final = NS_PER_S
"""An order that could not be done is tried again after this."""


@dataclass(frozen=True)
class Money:
    """What of the contract's money strategies and limits of risk need."""

    tick: int = 1
    """1e-9."""
    multiplier: Fraction = Fraction(1)
    """Money of one whole price unit."""
    fees: tuple[tuple[int, int, int], ...] = ()
    """By session: fee a contract as maker, taker, in an auction, in money of 1e-9."""

    def fees_in_ticks(self, session: int) -> tuple[float, float]:
        """A session's fee a contract as maker and as taker, in ticks of its price."""
        if not self.fees:
            return 0.0, 0.0
        maker, taker, _ = self.fees[session]
        a_tick = self.tick * self.multiplier
        return float(maker / a_tick), float(taker / a_tick)


@dataclass(frozen=True)
class Limits:
    """Limits of risk; None is no limit.  Money in 1e-9."""

    order_size: int | None = None
    position: int | None = None
    orders_per_second: int | None = None
    session_loss: int | None = None
    run_loss: int | None = None


def _or_none(limit: int | None) -> int:
    return -1 if limit is None else limit


@dataclass(frozen=True)
class SimOptions:
    """How a simulation runs; times in ns."""

    reading: str = "exact"
    entry_latency: int = 1_000_000
    response_latency: int = 1_000_000
    passive: bool = True
    patience: int = 10 * NS_PER_S
    assume_valid_after: int = -1
    """A book with an unknown start counts as known after this; -1 never."""
    grid: bool = False
    """Decisions are made by a timer, not on receipt of an event."""
    money: Money = Money()
    limits: Limits = Limits()
    feed_latency: int = 0
    """On top of ``ts_recv``."""
    jitter: tuple[int, int, int] = (0, 0, 0)
    """Sigma of the log of feed, entry and response latency, 1e-9; 0 is constant, else the latency
    is the median.
    """
    latencies: I64 | None = None
    """Measured latencies instead: int64[n, 4], from when, then ns to us, to the venue, from it."""
    seed: int = 1

    def conf(self) -> I64:
        """The kernel's array of settings."""
        conf = np.zeros(st.CONF_SIZE, np.int64)
        conf[st.READING] = READINGS.index(self.reading)
        given = (self.feed_latency, self.entry_latency, self.response_latency)
        for direction, (typical, sigma) in enumerate(zip(given, self.jitter, strict=True)):
            kind = st.LOGNORMAL if sigma else st.CONSTANT
            kind = st.TABLE if self.latencies is not None else kind
            place = st.LATENCY + 3 * direction
            conf[place : place + 3] = kind, typical, sigma
        conf[st.PASSIVE] = self.passive
        conf[st.PATIENCE] = self.patience
        conf[st.MARK_STEP] = MARK_STEP
        conf[st.DECISION_CLASS] = st.CLASS_TIMER if self.grid else st.CLASS_RECEIPT
        conf[st.ASSUME_AFTER] = self.assume_valid_after
        conf[st.RETRY] = RETRY_AFTER
        conf[st.TICK] = self.money.tick
        conf[st.PRODUCT_NUMERATOR] = self.money.multiplier.numerator
        conf[st.PRODUCT_DENOMINATOR] = self.money.multiplier.denominator
        limits = self.limits
        conf[st.MAX_SIZE] = _or_none(limits.order_size)
        conf[st.MAX_POSITION] = _or_none(limits.position)
        conf[st.MAX_RATE] = _or_none(limits.orders_per_second)
        conf[st.MAX_LOSS] = _or_none(limits.session_loss)
        conf[st.MAX_LOSS_RUN] = _or_none(limits.run_loss)
        for i, horizon in enumerate(MARKOUT_HORIZONS.values()):
            conf[st.CONF_HORIZON + i] = horizon
        return conf


class SessionTimes(Protocol):
    """What the timetable needs of a session of the calendar."""

    @property
    def preopen_ns(self) -> int: ...

    @property
    def close_ns(self) -> int: ...

    @property
    def announced_close_ns(self) -> int: ...

    @property
    def segments(self) -> Sequence[tuple[int, int]]: ...


def timetable(
    sessions: Sequence[SessionTimes],
    flatten_before: int | None,
    exits: Mapping[int, int | None] | None = None,
) -> I64:
    """The timetable of sessions, in order; ``flatten_before`` the announced close in ns, or None.

    ``exits``: by number of a session, how long before the close it flattens because its contract
    is left, whatever ``flatten_before`` says; None means as it opens.

    A segment is half open: an event at its opening time belongs to it, one at its closing time
    does not; segments that touch are one.  Entries happen after everything of their nanosecond,
    hence the minus one.
    """
    rows: list[tuple[int, int, int]] = []
    for number, session in enumerate(sessions):
        rows.append((session.preopen_ns - 1, st.AT_LOAD, number))
        own = []
        for opens, closes in _joined(session.segments):
            own += [(opens - 1, st.AT_OPEN, number), (closes - 1, st.AT_CLOSE, number)]
        before = (exits or {}).get(number, flatten_before)
        if before is None and number in (exits or {}):
            own.append((session.segments[0][0], st.AT_FLATTEN, number))
        elif before is not None:
            # Before the announced close: that trading would end earlier was not known.
            flatten = session.announced_close_ns - before
            if flatten < session.close_ns:
                own.append((flatten, st.AT_FLATTEN, number))
        rows += sorted(own)
        rows.append((session.close_ns - 1, st.AT_END, number))
    return np.array(rows, np.int64).reshape(-1, 3)


def _joined(segments: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Segments in order, those that touch as one: there is no break between them."""
    joined: list[tuple[int, int]] = []
    for opens, closes in segments:
        if joined and joined[-1][1] == opens:
            joined[-1] = (joined[-1][0], closes)
        else:
            joined.append((opens, closes))
    return joined
