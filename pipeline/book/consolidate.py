"""The consolidated touch: the best bid and offer over the books of several publishers.

Rows of `book`, of all publishers of a symbol in the order of their events, go in; a row comes out
whenever the best over all of them changes.  Only valid books take part.  A publisher has one book
at a time: where its instrument id changes under the symbol, the latest row's book is the one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import tables
from pipeline.book import orders as ob
from pipeline.book import tape
from pipeline.book.columns import column_of, text_of
from pipeline.book.engine import BookEngine, BookOptions, OneBook
from pipeline.book.tape import NULL
from pipeline.columns import PRICE, SIZE, TS
from pipeline.jit import kernel

I64 = npt.NDArray[np.int64]

BID_PX, ASK_PX, BID_SZ, ASK_SZ, VALID = range(5)
"""Columns of a publisher's touch: prices (:data:`NULL`: none), sizes, 1 where its book counts,
0 where it does not, -1 before its first row: nothing may know yet that it will come.
"""
(
    C_BID_PX, C_ASK_PX, C_BID_SZ, C_ASK_SZ, C_BID_COUNT, C_ASK_COUNT, C_BID_WHO, C_ASK_WHO,
    C_VALID, C_STATE,
) = range(10)  # fmt: skip
"""Columns of the consolidated touch; ``WHO`` is a publisher with most there, -1 none."""
LARGEST: Final = 2**32 - 1


@kernel
def _best(ids: I64, touches: I64, out: I64) -> None:
    """The consolidated touch, from the touches of the publishers.

    Parameters
    ----------
    ids, touches
        int64[publishers] and int64[publishers, 5].
    out
        int64[10], filled.
    """
    seen = valid = 0
    for k in range(touches.shape[0]):
        seen += touches[k, VALID] >= 0
        valid += touches[k, VALID] == 1
    out[C_VALID] = seen > 0 and valid == seen
    for side in range(2):
        best, total, count, most, who = NULL, 0, 0, -1, -1
        for k in range(touches.shape[0]):
            price, size = touches[k, BID_PX + side], touches[k, BID_SZ + side]
            if touches[k, VALID] != 1 or price == NULL:
                continue
            if best == NULL or (price > best if side == 0 else price < best):
                best, total, count, most, who = price, size, 1, size, ids[k]
            elif price == best:
                total += size
                count += 1
                if size > most or (size == most and ids[k] < who):
                    most, who = size, ids[k]
        out[C_BID_PX + side] = best
        out[C_BID_SZ + side] = total
        out[C_BID_COUNT + side] = count
        out[C_BID_WHO + side] = who
    if out[C_BID_COUNT] == 0 or out[C_ASK_COUNT] == 0:
        out[C_STATE] = tape.ONE_SIDED
    elif out[C_BID_PX] < out[C_ASK_PX]:
        out[C_STATE] = tape.NORMAL
    else:
        locked = out[C_BID_PX] == out[C_ASK_PX]
        out[C_STATE] = tape.LOCKED if locked else tape.CROSSED


@kernel
def _consolidate(
    places: I64, rows: I64, ids: I64, touches: I64, last: I64, out: I64, at: I64
) -> int:
    """Follow rows of `book`; returns how many changes of the consolidated touch they made.

    Parameters
    ----------
    places
        int64[rows]: the publisher's place in ``touches``.
    rows
        int64[rows, 5]: the publisher's touch after each row.
    ids, touches, last
        State: int64[publishers], int64[publishers, 5], and int64[10], the touch as it was shown
        last.
    out, at
        Room for as many changes as rows: int64[rows, 10], and the row that made each.
    """
    n = 0
    for i in range(places.shape[0]):
        for k in range(rows.shape[1]):
            touches[places[i], k] = rows[i, k]
        _best(ids, touches, out[n])
        changed = False
        for k in range(out.shape[1]):
            changed |= out[n, k] != last[k]
            last[k] = out[n, k]
        if changed:
            at[n] = i
            n += 1
    return n


class Consolidator:
    """Follows the books of one day and symbol.

    Parameters
    ----------
    engine
        The engine before its first record: its books, where they were carried over midnight,
        are those the day begins with.
    """

    def __init__(self, engine: BookEngine) -> None:
        carried = list(engine.books.values())
        touches = [_touch_of(one) for one in carried]
        self._ids = np.array([one.publisher for one in carried], np.int64)
        self._touches = np.array(touches, np.int64).reshape(len(touches), 5)
        self._last = np.empty(10, np.int64)
        self._clock = tape.NO_TIME
        # What stood at midnight was shown before it, as in `book`.
        _best(self._ids, self._touches, self._last)

    def feed(self, book: pa.Table) -> pa.Table:
        """Rows of `consolidated` that the next rows of `book` make."""
        book = book.combine_chunks()
        publishers = book["publisher_id"].to_numpy().astype(np.int64)
        self._admit(np.setdiff1d(publishers, self._ids))
        rows = np.empty((book.num_rows, 5), np.int64)
        for k, name in enumerate(("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")):
            rows[:, k] = pc.fill_null(book[name].cast(pa.int64()), NULL).to_numpy()
        rows[:, VALID] = book["valid"].to_numpy()
        order = np.argsort(self._ids)
        places = order[np.searchsorted(self._ids, publishers, sorter=order)]
        out, at = np.empty((book.num_rows, 10), np.int64), np.empty(book.num_rows, np.int64)
        n = _consolidate(places, rows, self._ids, self._touches, self._last, out, at)
        return self._table(book, out[:n], at[:n])

    def _admit(self, new: I64) -> None:
        """Make places for publishers not seen before."""
        touches = np.zeros((len(new), 5), np.int64)
        touches[:, VALID] = -1
        self._ids = np.concatenate([self._ids, new])
        self._touches = np.concatenate([self._touches, touches])

    def _table(self, book: pa.Table, out: I64, at: I64) -> pa.Table:
        # Each book has a clock of its own: what is known of all of them is known at the latest.
        clock = np.maximum.accumulate(book["ts_recv"].cast(pa.int64()).to_numpy())
        clock = np.maximum(clock, self._clock)
        self._clock = int(clock[-1]) if len(clock) else self._clock
        made = book.select(["event", "ts_event", "publisher_id"]).take(pa.array(at))
        columns = [made[name].combine_chunks() for name in made.column_names]
        columns.insert(1, column_of(clock[at], TS))
        sides = (0, 1)
        columns += [column_of(_column(out, C_BID_PX + side), PRICE) for side in sides]
        for first in (C_BID_SZ, C_BID_COUNT):
            counts = (np.minimum(out[:, first + side], LARGEST) for side in sides)
            columns += [column_of(values.astype(np.uint32), SIZE) for values in counts]
        for side in sides:
            who = out[:, C_BID_WHO + side]
            columns.append(pa.array(who.astype(np.uint16), mask=who < 0))
        columns.append(pa.array(out[:, C_VALID] != 0))
        columns.append(text_of(_column(out, C_STATE).astype(np.uint8), tables.BOOK_STATES))
        return pa.Table.from_arrays(columns, schema=tables.CONSOLIDATED.schema())


def _column(out: I64, number: int) -> I64:
    return np.ascontiguousarray(out[:, number])


def _touch_of(one: OneBook) -> list[int]:
    """The touch of a book between events, as a row of `book` would show it."""
    book = one.book
    sizes = [min(int(ob.best_size(book, side)), LARGEST) for side in (0, 1)]
    prices = [int(ob.best_price(book, side)) for side in (0, 1)]
    return [*prices, *sizes, int(one.run.cursor[tape.VALID])]


def warm_kernels() -> None:
    """Compile the kernels, on no rows."""
    options = BookOptions(depth=1)
    Consolidator(BookEngine(20000101, options, 0)).feed(options.table.schema().empty_table())
