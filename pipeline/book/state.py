"""The closing state of a book: what the next day starts from when it has no snapshot.

A state is a table of resting orders in queue order, and a JSON text with what else must be
known to go on (validity, clocks, the records of an unfinished event, flow since the last row).
It is canonical: books with the same orders in the same order, however they came about, have the
same table, and arrays rebuilt from it give the same rows as not having stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import tables
from pipeline.book import orders as ob
from pipeline.book import tape
from pipeline.book.columns import column_of, letters_of
from pipeline.book.emit import see_top
from pipeline.book.engine import BookEngine, BookOptions, OneBook, machine_code, run_kernel
from pipeline.book.idmap import rehash
from pipeline.book.layout import Book, new_book
from pipeline.book.tape import Records
from pipeline.columns import PRICE, SIZE, TEXT, TS, Column
from pipeline.jit import kernel

METADATA_KEY: Final = "mbo.book_state"
"""Key of the JSON text in the file's metadata."""

BOOK_STATE: Final = tables.Table(
    "book_state",
    "date",
    1,
    "order that rests at the day's end: by book, side, best price first, in queue order",
    (
        Column("publisher_id", pa.uint16(), "", "publisher"),
        Column("instrument_id", pa.uint32(), "", "the vendor's instrument number"),
        Column("side", TEXT, "", "B bid, A ask"),
        Column("price", PRICE, "1e-9", "limit price", encoding="delta"),
        Column("position", SIZE, "", "place in the queue at its price, 0 = first"),
        Column("order_id", pa.uint64(), "", "the venue's order number", encoding="split"),
        Column("size", SIZE, "contracts", "remaining size"),
        Column("printed", SIZE, "contracts", "printed by F, not yet taken away by C or M"),
        Column(
            "ts_event",
            TS,
            "ns",
            "venue's time of the record that gave it its place",
            nullable=True,
            encoding="delta",
        ),
    ),
)

_CARRIED_FIELDS: Final = ("known", "bad", "valid", "state", "clock", "begun")
"""What the next day needs, always."""
_DAY_FIELDS: Final = (
    "end_clock", "start", "number", "sequence", "first_clock", "ts_event", "action", "aggressor",
    "grid_next", "grid_events",
)  # fmt: skip
"""What the rest of the same day needs too."""
_EXECUTION_FIELDS: Final = ("action", "ts_event", "aggressor")
"""What an execution needs that goes on in the next event."""
_COLUMNS: Final = ("side", "price", "position", "order_id", "size", "printed", "ts_event")


@dataclass(frozen=True)
class BookState:
    """A stored state; equal states have equal tables and texts."""

    orders: pa.Table
    text: str


# --- arrays to table and back ------------------------------------------------------------------


@kernel
def _export(book: Book, out: npt.NDArray[np.int64]) -> None:
    """Resting orders as columns side, price, position, order id, size, printed, entry."""
    n = 0
    for side in range(2):
        for depth in range(ob.n_levels(book, side)):
            slot = ob.first_order(book, ob.level_at(book, side, depth))
            position = 0
            while slot >= 0:
                out[0, n] = side
                out[1, n] = ob.order_price(book, slot)
                out[2, n] = position
                out[3, n] = book.orders[slot, ob.ORDER_ID]
                out[4, n] = book.orders[slot, ob.SIZE]
                out[5, n] = ob.printed(book, slot)
                out[6, n] = book.orders[slot, ob.ENTRY]
                n += 1
                position += 1
                slot = ob.next_order(book, slot)


@kernel
def _restore(book: Book, rows: npt.NDArray[np.int64]) -> None:
    """The inverse of :func:`_export` into an empty book with room enough."""
    for i in range(rows.shape[1]):
        slot = ob.add(book, rows[0, i], rows[1, i], rows[4, i], rows[3, i], rows[6, i])
        if rows[5, i] > 0:
            ob.note_fill(book, slot, rows[5, i])


def orders_of(book: Book) -> npt.NDArray[np.int64]:
    """int64[7, orders]: side, price, position in queue, order id, size, printed, entry."""
    out = np.zeros((len(_COLUMNS), int(book.meta[ob.N_ORDERS])), np.int64)
    _export(book, out)
    return out


def orders_table(books: Sequence[OneBook]) -> pa.Table:
    """Rows of `book_state` of some books."""
    parts = [_orders_table(one) for one in books]
    return pa.concat_tables(parts) if parts else BOOK_STATE.schema().empty_table()


def _orders_table(one: OneBook) -> pa.Table:
    side, price, position, order_id, size, printed, entry = orders_of(one.book)
    n = len(side)
    narrow = [column_of(v.astype(np.uint32), SIZE) for v in (position, size, printed)]
    return pa.Table.from_arrays(
        [
            column_of(np.full(n, one.publisher, np.uint16), pa.uint16()),
            column_of(np.full(n, one.instrument, np.uint32), pa.uint32()),
            letters_of(np.where(side == ob.BID, ord("B"), ord("A")).astype(np.uint8)),
            column_of(price, PRICE),
            narrow[0],
            column_of(order_id.view(np.uint64), pa.uint64()),
            narrow[1],
            narrow[2],
            column_of(entry, TS),
        ],
        schema=BOOK_STATE.schema(),
    )


def _restored(table: pa.Table, rule: int) -> Book:
    """A book from the rows of one publisher and instrument."""
    rows = np.empty((len(_COLUMNS), table.num_rows), np.int64)
    rows[0] = table["side"].to_numpy() == "A"
    for i, name in enumerate(_COLUMNS[1:], 1):
        column = table[name]
        if name == "ts_event":
            column = column.cast(pa.int64()).fill_null(tape.NULL)
        values = column.to_numpy()
        rows[i] = values.view(np.int64) if values.dtype == np.uint64 else values
    # Levels are at most as many as orders.
    book = new_book(orders=table.num_rows + 64, levels=table.num_rows + 64, rule=rule)
    _restore(book, rows)
    return book


# --- engines -----------------------------------------------------------------------------------


def closing_state(engine: BookEngine) -> BookState:
    """What the next day starts from; to be taken after the engine's ``finish``.

    Of a publisher's instruments only the one seen last is carried: another one under the same
    symbol has been replaced by it.
    """
    latest: dict[int, OneBook] = {}
    for one in engine.books.values():
        if one.publisher not in latest or one.last_seen > latest[one.publisher].last_seen:
            latest[one.publisher] = one
    return _state(engine, [latest[key] for key in sorted(latest)], day=False)


def checkpoint(engine: BookEngine) -> BookState:
    """The state in mid-day, to go on with the same day later: counters and numbers included.

    Raises
    ------
    ValueError
        If the engine keeps rows back (a grid of several books): only whole days then.
    """
    if engine.holds_rows:
        raise ValueError("grid rows of several books are kept back: no checkpoint in mid-day")
    return _state(engine, [engine.books[key] for key in sorted(engine.books)], day=True)


def _state(engine: BookEngine, books: Sequence[OneBook], *, day: bool) -> BookState:
    value: dict[str, Any] = {"books": [_describe(one, day=day) for one in books]}
    if day:
        value |= {"records": engine.records, "events": engine.events}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return BookState(orders_table(books), text)


def _describe(one: OneBook, *, day: bool) -> dict[str, Any]:
    cursor = dict(zip(tape.CURSOR, one.run.cursor.tolist(), strict=True))
    fields = _CARRIED_FIELDS + (_DAY_FIELDS if day else ())
    # Only what can matter: whatever else differs must not make the next day look changed.
    if cursor["action"] in (ob.T, ob.F):
        fields += _EXECUTION_FIELDS
    if not cursor["known"]:
        fields += ("first_clock",)
    snapshot = int(one.book.meta[ob.SNAPSHOT])
    value: dict[str, Any] = {
        "publisher_id": one.publisher,
        "instrument_id": one.instrument,
        "cursor": {name: cursor[name] for name in fields},
        "snapshot": [snapshot, int(one.book.meta[ob.SNAPSHOT_TS]) if snapshot else 0],
        "sequences": {str(c): int(v) for c, v in enumerate(one.run.sequences) if v >= 0},
        "flow": {str(c): int(v) for c, v in enumerate(one.flow) if v},
        "pending": [
            [column[i].item() for column in part]
            for part in one.pending
            for i in range(len(part.flags))
        ],
    }
    if day:
        value["counters"] = one.run.counters.tolist()
        value["last_seen"] = one.last_seen
    return value


def resume(engine: BookEngine, state: BookState) -> None:
    """Put a state into a new engine: of the previous day, or a checkpoint of the same day."""
    value = json.loads(state.text)
    engine.records = value.get("records", 0)
    engine.events = value.get("events", 0)
    for item in value["books"]:
        one = _one_book(item, state.orders, engine.options, engine.rule)
        engine.books[one.publisher, one.instrument] = one


def _one_book(item: dict[str, Any], orders: pa.Table, options: BookOptions, rule: int) -> OneBook:
    key = (item["publisher_id"], item["instrument_id"])
    mine = np.logical_and(
        orders["publisher_id"].to_numpy() == key[0], orders["instrument_id"].to_numpy() == key[1]
    )
    book = _restored(orders.filter(pa.array(mine)), rule)
    run = options.new_run()
    for name, number in item["cursor"].items():
        run.cursor[tape.CURSOR.index(name)] = number
    if "counters" in item:
        run.counters[:] = item["counters"]
    elif item["cursor"]["known"]:
        run.cursor[tape.START] = tape.CARRIED_START
    book.meta[ob.SNAPSHOT], book.meta[ob.SNAPSHOT_TS] = item["snapshot"]
    for channel, sequence in item["sequences"].items():
        run.sequences[int(channel)] = sequence
    # The last row showed the top as it is: rows are written whenever it changes.
    see_top(book, run)
    one = OneBook(*key, book, run, last_seen=item.get("last_seen", -1))
    for column, number in item["flow"].items() if run.cursor[tape.WITH_FLOW] else ():
        one.flow[int(column)] = number
    counts = np.flatnonzero(one.flow[::2]) * 2
    run.flowed[0] = len(counts)
    run.flowed[1 : 1 + len(counts)] = counts
    if item["pending"]:
        kinds = [column.dtype for column in tape.no_records()]
        columns = zip(*item["pending"], strict=True)
        one.pending = [Records._make(np.array(c, k) for c, k in zip(columns, kinds, strict=True))]
    return one


def warm_kernels() -> None:
    """Compile everything the book's stages call, on a book with nothing in it."""
    options = BookOptions(materialise="grid")
    engine = BookEngine(20000101, options, ob.DEFAULT_RULE)
    one = OneBook(0, 0, new_book(), options.new_run())
    none = np.empty(0, np.int64)
    run_kernel(one, tape.no_records(), none, tape.new_rows(options.levels, 0), tape.new_prints(0))
    one.book = new_book(orders=1024)
    rehash(new_book().table, one.book.table)
    engine.books[0, 0] = one
    engine.finish()
    machine_code(touch=True)  # what sees the touch alone has a kernel of its own
    resume(BookEngine(20000102, options, ob.DEFAULT_RULE), closing_state(engine))


# --- comparing ---------------------------------------------------------------------------------


def mismatches(carried: pa.Table, opening: pa.Table) -> int:
    """Orders in which a carried state and an opening snapshot differ (rows of `book_state`).

    An order counts once if it is in one only, differs in side, price or size, or stands behind
    an order that it stood before.
    """
    names = ["publisher_id", "instrument_id", "order_id"]

    def by_id(table: pa.Table) -> dict[tuple[int, int, int], tuple[str, int, int]]:
        keys = zip(*(table[name].to_pylist() for name in names), strict=True)
        facts = zip(*(table[name].to_pylist() for name in ("side", "price", "size")), strict=True)
        return dict(zip(keys, facts, strict=True))

    old, new = by_id(carried), by_id(opening)
    both = [key for key in old if key in new]
    count = len(old) + len(new) - 2 * len(both)
    differ = {key for key in both if old[key] != new[key]}
    same = [key for key in both if key not in differ]
    # Both tables are sorted by book, side and price: the common orders must come in one order.
    rank = {key: i for i, key in enumerate(key for key in new if key in old and key not in differ)}
    highest = -1
    for key in same:
        if rank[key] < highest:
            differ.add(key)
        highest = max(highest, rank[key])
    return count + len(differ)
