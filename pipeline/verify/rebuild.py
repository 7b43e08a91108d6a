"""MBO records of a day and symbol as frames of vendor-like rows, a slice at a time.

A frame has a row for every T and for every event end that changed the top levels, in the order
of the records, with these columns: ``publisher_id instrument_id ts_recv ts_event sequence action
side price size flags`` of the record; ``record`` (its number in its file) and ``row`` (its place
in the partition); ``clock`` (running maximum of ts_recv), ``event`` (key of the event, final for
event ends), ``trade snapshot valid carried``, ``first_bid first_ask`` (first level that differs)
and the levels under the vendor's names.  All are Int64; ``NULL`` of the kernels stands for
undefined prices and times, bytes for letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.book import tape
from pipeline.book.columns import Chunk, join, take
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.layout import Book, grow, new_book
from pipeline.book.state import BookState, resume
from pipeline.book.tape import Records, no_records
from pipeline.units import event_base
from pipeline.verify import kernel as vk

Key = tuple[int, int]
"""Publisher and instrument."""

I64 = npt.NDArray[np.int64]

SLICE = 16_384
"""Records of a frame: its rows, in several forms at once, take some 50 MB at a depth of ten."""

_FIELDS = (
    "ts_recv", "ts_event", "sequence", "action", "side", "price", "size", "flags", "record",
)  # fmt: skip
"""Fields of the record that a row shows."""


def level_names(depth: int) -> list[str]:
    """Columns of the levels: price, size, orders; bid and ask of each level."""
    return [
        f"{side}_{what}_{level:02d}"
        for what in ("px", "sz", "ct")
        for level in range(depth)
        for side in ("bid", "ask")
    ]


@dataclass
class _Tracked:
    """A book on its way."""

    book: Book
    track: vk.Tracker
    before: Records | None = None
    """The record before the next, and its place: a snapshot's end is known only after it."""
    before_row: int = -1


class Rebuild:
    """Books of one day and symbol, rebuilt from its records.

    Parameters
    ----------
    date
        UTC date as YYYYMMDD.
    depth
        Levels of the rows.
    rule
        Bits of the venue's priority rule.
    carried
        The previous day's closing state, where the day starts from it.
    """

    def __init__(self, date: int, depth: int, rule: int, carried: BookState | None = None) -> None:
        self.depth = depth
        self.records = 0
        self._last_end: dict[Key, int] = {}
        self._base = event_base(date)
        self._events = 0
        self._rule = rule
        self._books: dict[Key, _Tracked] = {}
        self._pending: list[tuple[Key, Records]] = []
        self._validity: dict[Key, list[tuple[int, bool]]] = {}
        if carried is not None:
            self._carry(date, carried)

    def _carry(self, date: int, carried: BookState) -> None:
        engine = BookEngine(date, BookOptions(), self._rule)
        resume(engine, carried)
        for key, one in engine.books.items():
            track, cursor = vk.new_tracker(self.depth), one.run.cursor
            track.cursor[vk.KNOWN], track.cursor[vk.BAD] = cursor[tape.KNOWN], cursor[tape.BAD]
            track.cursor[vk.CLOCK] = cursor[tape.CLOCK]
            vk.look(one.book, track)
            self._books[key] = _Tracked(one.book, track)
            self._validity[key] = [(tape.NO_TIME, bool(cursor[tape.KNOWN] & ~cursor[tape.BAD]))]
            if one.pending:
                self._pending.append((key, join(one.pending)))

    def frames(self, chunks: Iterable[Chunk]) -> Iterator[pl.DataFrame]:
        """Rows of the records, in frames of bounded size."""
        for key, records in self._pending:
            columns, _ = self._emit(key, records, np.full(len(records.flags), -1, np.int64))
            yield _frame(columns, carried=True)
        for chunk in chunks:
            for start in range(0, len(chunk.publisher), SLICE):
                yield self._chunk(take(chunk, slice(start, start + SLICE)))

    def _chunk(self, chunk: Chunk) -> pl.DataFrame:
        rows = np.arange(self.records, self.records + len(chunk.publisher), dtype=np.int64)
        self.records += len(rows)
        keys = chunk.publisher.astype(np.int64) << 32 | chunk.instrument.astype(np.int64)
        parts: list[dict[str, I64]] = []
        triggers: list[I64] = []
        books = np.unique(keys)
        for value in books:
            where = slice(None) if len(books) == 1 else np.flatnonzero(keys == value)
            key = (int(value) >> 32, int(value) & 0xFFFFFFFF)
            columns, ends = self._emit(key, take(chunk, where).records, rows[where])
            parts.append(columns)
            triggers.append(ends)
        self._number(parts, triggers)
        if len(parts) == 1:
            return _frame(parts[0])
        together = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.lexsort((1 - together["trade"], together["row"]))
        return _frame({name: column[order] for name, column in together.items()})

    def _emit(self, key: Key, records: Records, rows: I64) -> tuple[dict[str, I64], I64]:
        """Columns of the rows that records of one book give; ``rows`` are their places."""
        one = self._books.get(key)
        if one is None:
            one = _Tracked(new_book(rule=self._rule), vk.new_tracker(self.depth))
            self._books[key] = one
        n = len(records.flags)
        prints = int((records.action == ord("T")).sum())
        out = vk.new_rows(self.depth, n + 1 + prints, n + 1)
        cursor = one.track.cursor
        cursor[vk.N_ROWS] = cursor[vk.N_ENDS] = 0
        done = 0
        while True:
            done = int(vk.emit(one.book, one.track, records, out, done))
            if done == n:
                break
            one.book = grow(one.book)
        count, ends = int(cursor[vk.N_ROWS]), out.ends[: int(cursor[vk.N_ENDS])]
        columns = self._columns(key, one, records, rows, out, count)
        if n:
            one.before = Records._make(column[-1:].copy() for column in records)
            one.before_row = int(rows[-1])
        self._note_validity(key, columns)
        # What ended an event, as twice its place in the partition; the order of the events.
        places = rows[ends >> 1] * 2 + (ends & 1)
        if len(places):
            self._last_end[key] = int(places[-1]) >> 1
        return columns, places

    def _columns(
        self, key: Key, one: _Tracked, records: Records, rows: I64, out: vk.Emitted, count: int
    ) -> dict[str, I64]:
        at = out.at[:count]
        if one.before is not None and count and at[0] < 0:
            records = join([one.before, records])
            rows = np.concatenate([np.array([one.before_row]), rows])
            at = at + 1
        columns: dict[str, I64] = {
            "publisher_id": np.full(count, key[0], np.int64),
            "instrument_id": np.full(count, key[1], np.int64),
        }
        for name in _FIELDS:
            columns[name] = getattr(records, name)[at].astype(np.int64)
        columns["row"] = rows[at]
        columns["event"] = out.end[:count]
        columns["clock"] = out.clock[:count]
        for name in ("trade", "snapshot", "valid"):
            columns[name] = getattr(out, name)[:count].astype(np.int64)
        columns["first_bid"], columns["first_ask"] = out.first[:, :count].astype(np.int64)
        names = level_names(self.depth)
        levels = out.level.reshape(len(names), -1)[:, :count]
        return columns | dict(zip(names, levels, strict=True))

    def _number(self, parts: list[dict[str, I64]], triggers: list[I64]) -> None:
        """Turn numbers within a call into keys: events are numbered in the order of their ends."""
        total = sum(len(ends) for ends in triggers)
        first = self._base + self._events + 1
        self._events += total
        if len(parts) == 1:
            parts[0]["event"] = parts[0]["event"] + first
            return
        ranked = np.empty(total, np.int64)
        ranked[np.argsort(np.concatenate(triggers), kind="stable")] = np.arange(total) + first
        start = 0
        for part, ends in zip(parts, triggers, strict=True):
            # T rows of an event that has not ended have no key yet.
            mine = np.append(ranked[start : start + len(ends)], 0)
            part["event"] = mine[part["event"]]
            start += len(ends)

    # --- what is known once rows have been taken ----------------------------------------------

    def _note_validity(self, key: Key, columns: dict[str, I64]) -> None:
        changes = self._validity.setdefault(key, [(tape.NO_TIME, False)])
        valid = columns["valid"]
        if not len(valid):
            return
        before = np.concatenate([np.array([changes[-1][1]], np.int64), valid[:-1]])
        for at in np.flatnonzero(valid != before):
            changes.append((int(columns["clock"][at]), bool(valid[at])))

    def valid_at(self, publisher: I64, instrument: I64, ts: I64) -> npt.NDArray[np.bool_]:
        """Whether a book was known to be complete when the last row before these times came."""
        result = np.zeros(len(ts), np.bool_)
        for (one, other), changes in self._validity.items():
            mine = (publisher == one) & (instrument == other)
            times = np.array([time for time, _ in changes])
            states = np.array([state for _, state in changes])
            result[mine] = states[np.searchsorted(times, ts[mine], side="right") - 1]
        return result

    def unfinished(self, publisher: I64, instrument: I64, row: I64) -> npt.NDArray[np.bool_]:
        """Whether records at these places belong to an event that has not ended."""
        result = np.ones(len(row), np.bool_)
        for (one, other), last in self._last_end.items():
            mine = (publisher == one) & (instrument == other)
            result[mine] = row[mine] > last
        return result

    def opening(self) -> pl.DataFrame:
        """The levels that each book starts from; to be taken before the first frame."""
        names = ["publisher_id", "instrument_id", *level_names(self.depth)]
        rows = [[*key, *one.track.seen.reshape(-1).tolist()] for key, one in self._books.items()]
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Int64), orient="row")


def _frame(columns: dict[str, I64], *, carried: bool = False) -> pl.DataFrame:
    return pl.DataFrame(columns).with_columns(carried=pl.lit(value=carried))


def warm() -> None:
    """Compile the kernels."""
    rebuild = Rebuild(20000101, 1, 0)
    key = (0, 0)
    rebuild._emit(key, no_records(), np.empty(0, np.int64))  # noqa: SLF001 - of this module
    vk.look(rebuild._books[key].book, rebuild._books[key].track)  # noqa: SLF001 - the same
