"""Where in a day's records an instant or an event lies, and the books brought up to it.

A book is a state where an event ends.  An event can be known at the running maximum of ts_recv
at the record that ends it; the instant's state is the one after the last event known by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.book import tape
from pipeline.book.columns import Chunk, join, take
from pipeline.book.engine import BookEngine, OneBook, triggers_of
from pipeline.book.tape import Records
from pipeline.units import F_BAD_TS_RECV, F_SNAPSHOT

I64: TypeAlias = npt.NDArray[np.int64]


class Ends(NamedTuple):
    """Event ends that a chunk brings, of all books, in their order."""

    trigger: I64
    """Twice the place in the chunk of the record that ends the event, plus one where that record
    belongs to it (a snapshot without F_LAST ends before the next record)."""
    clock: I64
    """When the event can be known."""
    book: I64
    """Index into ``keys``."""
    keys: list[tuple[int, int]]
    """Publisher and instrument of each book."""

    @property
    def publisher(self) -> I64:
        return np.array([key[0] for key in self.keys], np.int64)[self.book]


Wanted: TypeAlias = Callable[[Ends], tuple[int, bool]]
"""From a chunk's event ends to the index of the last one wanted (-1: none of these), and whether
later chunks may hold others that are."""


def clocks(records: Records, before: int) -> I64:
    """The running maximum of ts_recv after each record; the kernel's ``advance``, many at once."""
    flags = records.flags
    still = (flags & (F_BAD_TS_RECV | F_SNAPSHOT)) == F_BAD_TS_RECV
    times = np.where(still, tape.NO_TIME, records.ts_recv)
    times[0] = records.ts_recv[0] if before == tape.NO_TIME else max(times[0], before)
    result: I64 = np.maximum.accumulate(times)
    return result


def ends_of(engine: BookEngine, chunk: Chunk) -> Ends:
    """The event ends that the engine would meet in a chunk, in the order of their numbers."""
    keys: list[tuple[int, int]] = []
    triggers, times, books = [], [], []
    for one, records, places in engine.split(chunk):
        ends = one.ends_in(records)
        if not len(ends):
            continue
        whole = join([*one.pending, records])
        waiting = len(whole.flags) - len(records.flags)
        at = np.arange(len(records.flags)) if places is None else places
        triggers.append(triggers_of(whole.flags, ends, at, waiting))
        times.append(clocks(whole, int(one.run.cursor[tape.CLOCK]))[ends])
        books.append(np.full(len(ends), len(keys), np.int64))
        keys.append((one.publisher, one.instrument))
    if not keys:
        none = np.empty(0, np.int64)
        return Ends(none, none, none, keys)
    trigger = np.concatenate(triggers)
    order = np.argsort(trigger, kind="stable")
    return Ends(trigger[order], np.concatenate(times)[order], np.concatenate(books)[order], keys)


def known_at(ts: int, publisher: int | None) -> Wanted:
    """Events (of a publisher) up to the first that is known only after an instant."""

    def wanted(ends: Ends) -> tuple[int, bool]:
        mine = np.ones(len(ends.clock), np.bool_)
        if publisher is not None:
            mine = ends.publisher == publisher
        late = np.flatnonzero(mine & (ends.clock > ts))
        chosen = np.flatnonzero(mine[: late[0]] if len(late) else mine)
        return int(chosen[-1]) if len(chosen) else -1, not len(late)

    return wanted


def numbered(engine: BookEngine, number: int) -> Wanted:
    """The events of a day up to the one of a number, 1 being the first."""

    def wanted(ends: Ends) -> tuple[int, bool]:
        at = number - engine.events - 1
        return (at, False) if at < len(ends.clock) else (len(ends.clock) - 1, True)

    return wanted


def seek(engine: BookEngine, chunks: Iterable[Chunk], wanted: Wanted) -> None:
    """Feed an engine up to the last event wanted, and no further than needed to know it."""
    for chunk in chunks:
        ends = ends_of(engine, chunk)
        at, more = wanted(ends)
        if more:
            _feed(engine, chunk)
            continue
        if at >= 0:
            place, own = divmod(int(ends.trigger[at]), 2)
            if place + own:
                _feed(engine, take(chunk, slice(0, place + own)))
            if not own:
                engine.end_snapshot(ends.keys[ends.book[at]])
        return


def _feed(engine: BookEngine, chunk: Chunk) -> None:
    for _ in engine.feed(chunk):
        pass


def last_event(engine: BookEngine, publisher: int | None) -> OneBook | None:
    """The book (of a publisher) whose event was the day's last so far; None before the first."""
    books = [
        one
        for one in engine.books.values()
        if (publisher is None or one.publisher == publisher)
        and one.run.cursor[tape.END_CLOCK] != tape.NO_TIME
    ]
    return max(books, key=_number, default=None)


def _number(one: OneBook) -> Any:
    return one.run.cursor[tape.NUMBER]
