"""Where rows come from: an instrument in a session, and the tables behind the columns of events."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from features.columns import EVENT_COLUMNS, PUBLISHED, SCALARS, TRADE_COLUMNS
from features.components import Fitted
from pipeline.book.queue_columns import QUEUE_FLOWS, QUEUE_STATES
from pipeline.units import NS_PER_S, PRICE_SCALE


@dataclass(frozen=True)
class Publication:
    """A number as it was published: one value after the other."""

    ts: tuple[int, ...]
    """When each could be known, ns; ascending."""
    values: tuple[int | None, ...]
    """None: withdrawn."""

    def known(self, ts: npt.NDArray[np.int64]) -> pl.Series:
        """The last value published before each instant; null where there is none.

        Of an event received in the same nanosecond nobody can say which came first: it does not
        know yet.
        """
        last = np.searchsorted(np.array(self.ts, dtype=np.int64), ts, side="left")
        return pl.Series([None, *self.values], dtype=pl.Int64).gather(last)

    def cut(self, end: int) -> Publication:
        """What could be known before an instant."""
        count = bisect_left(self.ts, end)
        return Publication(self.ts[:count], self.values[:count])


NOTHING: Final = Publication((), ())


@dataclass(frozen=True)
class Context:
    """One instrument in one session: what stays the same over its events.

    Times are ns since the epoch; spans are half-open.
    """

    dataset: str
    symbol: str
    session: date
    tick: int
    """Price step in 1e-9."""
    segments: tuple[tuple[int, int], ...]
    """Trading hours: the session without its breaks."""
    announced_close: int | None = None
    """The close as the calendar announces it.  Where trading ended otherwise, ``segments`` tell
    when, but nobody knew before.  None: the end of the last segment.
    """
    rth: tuple[int, int] | None = None
    local_offset: int = 0
    """What to add to UTC for the exchange's local time at the open."""
    expiration: int | None = None
    business_days_left: int | None = None
    expiry_week: int | None = None
    """1 in the week of the last session, else 0; None where that is not known."""
    peer_tolerance: int = 5 * NS_PER_S
    """Peers whose last event is older (ns) are stale."""
    volume_before: int | None = None
    """Contracts traded in the previous session."""
    next_volume_before: int | None = None
    """The same of the next delivery of the root."""
    multiplier: Fraction | None = None
    """Money of one whole price unit."""
    depth: int = 10
    fits: Mapping[str, Fitted] = field(default_factory=dict, repr=False)
    """What was fitted on past sessions, by component (``features.components``)."""
    published: Mapping[str, Publication] = field(default_factory=dict, repr=False)
    """By columns of ``PUBLISHED``."""

    def scalars(self) -> dict[str, Any]:
        """The columns that are constant over the session."""
        rth = self.rth or (None, None)
        values = {
            "tick": self.tick,
            "session_open": self.segments[0][0],
            "session_close": self.announced_close or self.segments[-1][1],
            "rth_open": rth[0],
            "rth_close": rth[1],
            "session_date": self.session.year * 10_000
            + self.session.month * 100
            + self.session.day,
            "local_offset": self.local_offset,
            "expiration": self.expiration,
            "business_days_left": self.business_days_left,
            "expiry_week": self.expiry_week,
            "peer_tolerance": self.peer_tolerance,
            "volume_before": self.volume_before,
            "next_volume_before": self.next_volume_before,
            "money": None if self.multiplier is None else int(self.multiplier * PRICE_SCALE),
        }
        assert tuple(values) == SCALARS
        return {name: pl.Series([v], dtype=pl.Int64)[0] for name, v in values.items()}


class Source(Protocol):
    """Rows of ``book`` with flow and trades beside them, as often as they are asked for."""

    @property
    def context(self) -> Context: ...

    @property
    def peers(self) -> Mapping[str, Source]:
        """Other instruments in the same session, by the names a feature set gives them."""

    def rows(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Chunks, in order, of the session's rows: all of ``BOOK_KEYS``, the touch, and the
        named columns of book, flow, trades and queue.  Rows around the session may be included.
        """


_QUEUE = frozenset((*QUEUE_STATES, *QUEUE_FLOWS))


def queue_columns(names: Iterable[str]) -> list[str]:
    """Which columns of the table ``queue`` are behind the columns of events."""
    return sorted(_QUEUE.intersection(names))


def split_columns(names: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Which columns of book, of flow and of trades are behind the columns of events."""
    wanted = set(names) - set(SCALARS) - set(EVENT_COLUMNS) - set(PUBLISHED) - _QUEUE
    trades = [name for name in TRADE_COLUMNS if name in wanted]
    wanted -= set(trades)
    book = sorted(name for name in wanted if name[4:7] in ("px_", "sz_", "ct_"))
    return book, sorted(wanted - set(book)), trades


def tables_needed(names: Iterable[str]) -> tuple[str, ...]:
    """Tables besides ``book`` that the columns need."""
    wanted = list(names)
    _, flow, trades = split_columns(wanted)
    published = [name for name in PUBLISHED if name in wanted]
    used = {
        "flow": flow,
        "trades": trades,
        "queue": queue_columns(wanted),
        "vendor_statistics": published,
    }
    return tuple(name for name, columns in used.items() if columns)


def levels_needed(names: Iterable[str]) -> int:
    """How deep a book the columns need."""
    book, _, _ = split_columns(names)
    return max((int(name[7:]) + 1 for name in book), default=1)
