"""States stored while a day's book is built: what makes the book at any instant quick to get.

A checkpoint is the whole state after so many records of the day: its orders are the rows of one
part of `book_checkpoints`, the rest is text in the file's metadata, as in `book_state`.  Where
checkpoints are depends on the records alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from pipeline.book.columns import Chunk, take
from pipeline.book.engine import BookEngine
from pipeline.book.state import BOOK_STATE, METADATA_KEY, BookState, checkpoint
from pipeline.errors import InputError
from pipeline.reading import Part, part_of
from pipeline.stage import Outputs, Stored

EVERY: Final = 1 << 20
"""Records between checkpoints at least: four row groups of `mbo`, so that none is read in vain.

Replaying so many takes a third of a second at most.  With 12,000 live orders a checkpoint is
112 KB: 1.2 % of the records it saves reading, and 0.2 % of the time of making the book."""
RECORDS_PER_ORDER: Final = 4
"""Records since the last checkpoint, for each order that rests, that a checkpoint must save: a
huge book is stored less often (400,000 orders, 3.7 MB and 0.1 s, every 2 M records)."""

MOST_WAITING: Final = 4096
"""No checkpoint within an event of more records so far: they are kept as text."""

BOOK_CHECKPOINTS: Final = replace(
    BOOK_STATE,
    name="book_checkpoints",
    row="order that rests after so many records of the day; a part a checkpoint, rows as in "
    "`book_state`",
)


def pieces(chunks: Iterable[Chunk], every: int) -> Iterator[Chunk]:
    """A day's chunks, cut where a checkpoint may be: after multiples of ``every`` records."""
    done = 0
    for chunk in chunks:
        start, total = 0, len(chunk.publisher)
        while start < total:
            stop = min(total, start + every - done % every)
            yield take(chunk, slice(start, stop)) if stop - start < total else chunk
            done += stop - start
            start = stop


class Checkpoints:
    """Writes the checkpoints of a day while its records go through an engine."""

    def __init__(self, outputs: Outputs, every: int) -> None:
        self._outputs = outputs
        self._every = every
        self._last = 0
        self._parts = 0

    def after(self, engine: BookEngine) -> None:
        """To be called after each of :func:`pieces`: stores the state where one is due."""
        done = engine.records
        if done % self._every or engine.waiting > MOST_WAITING or engine.holds_rows:
            return
        if done - self._last < RECORDS_PER_ORDER * engine.live_orders:
            return
        state = checkpoint(engine)
        writer = self._outputs.writer(
            BOOK_CHECKPOINTS, part=self._parts, metadata={METADATA_KEY: state.text}
        )
        writer.write(state.orders)
        writer.close()
        self._last = done
        self._parts += 1


@dataclass(frozen=True)
class Stop:
    """A stored checkpoint by its text alone; the orders are read when they are wanted."""

    stored: Stored
    number: int
    """Which part of `book_checkpoints` it is."""

    @cached_property
    def value(self) -> dict[str, Any]:
        """The parsed text; see :mod:`pipeline.book.state`."""
        with part_of(self.stored, self.number) as part:
            value: dict[str, Any] = json.loads(state_text(part))
        return value

    def state(self) -> BookState:
        """The whole state."""
        with part_of(self.stored, self.number) as part:
            return read_state_part(part)

    @property
    def events(self) -> int:
        """Event ends up to the checkpoint, of all books."""
        return int(self.value["events"])

    def end_clocks(self, publisher: int | None) -> list[int]:
        """When the last event of each book (of a publisher) ended, as ts_recv's running maximum;
        ``tape.NO_TIME`` where none has today.
        """
        return [
            book["cursor"]["end_clock"]
            for book in self.value["books"]
            if publisher is None or book["publisher_id"] == publisher
        ]


def last_before(stored: Stored, admitted: Callable[[Stop], bool]) -> Stop | None:
    """The last checkpoint of a day that is admitted; those before an admitted one all are."""
    stops = [Stop(stored, number) for number in range(len(stored.files))]
    low, high = 0, len(stops)
    while low < high:
        middle = (low + high) // 2
        if admitted(stops[middle]):
            low = middle + 1
        else:
            high = middle
    return stops[low - 1] if low else None


def state_text(part: Part) -> str:
    """The text of a stored state.

    Raises
    ------
    InputError
        If the file holds none.
    """
    text = part.metadata.get(METADATA_KEY)
    if text is None:
        raise InputError.at(part.path, "no state of a book", todo="run `mbo book --force`")
    return text


def read_state_part(part: Part) -> BookState:
    """A state from its file.

    Raises
    ------
    InputError
        If the file is not one.
    """
    text = state_text(part)
    return BookState(part.read().cast(BOOK_STATE.schema()), text)
