"""Records for the tests of the book, and the engine run over them in any chunks."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import zstandard
from databento_dbn import MBOMsg

from pipeline import tables
from pipeline.book.columns import Chunk, chunk_of_structs
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.layout import DEFAULT_RULE
from pipeline.book.state import BookState, orders_of, resume
from tests.reference.book import Result
from tests.reference.records import LAST, Rec

DATE = 20240102
MIDNIGHT = 1_704_153_600 * 10**9
DTYPE = np.dtype(MBOMsg._dtypes)
SECOND = 10**9


def structs(records: Sequence[Rec]) -> npt.NDArray[Any]:
    """The vendor's records."""
    array = np.zeros(len(records), DTYPE)
    names = ("ts_recv", "ts_event", "sequence", "order_id", "price", "size", "flags")
    for name in (*names, "channel_id", "publisher_id", "instrument_id"):
        array[name] = [getattr(r, name) for r in records]
    undefined = [r.ts_event == 2**63 - 1 for r in records]
    array["ts_event"][undefined] = 2**64 - 1
    for name in ("action", "side"):
        array[name] = [getattr(r, name).encode() for r in records]
    return array


def chunk_of(records: Sequence[Rec], first: int = 0) -> Chunk:
    return chunk_of_structs(structs(records), first)


def read_raw(path: Path) -> npt.NDArray[Any]:
    """All MBO records of a file, decoded here and not by the product."""
    with open(path, "rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        data = reader.read()
    length = struct.unpack("<I", data[4:8])[0]
    return np.frombuffer(data[8 + length :], DTYPE)


def recs(array: npt.NDArray[Any]) -> list[Rec]:
    """The reference's records."""
    names = ("ts_recv", "ts_event", "sequence", "order_id", "price", "size", "flags")
    columns = [array[name].tolist() for name in (*names, "channel_id")]
    columns += [[v.decode() for v in array[name].tolist()] for name in ("action", "side")]
    columns += [list(range(len(array)))]
    columns += [array[name].tolist() for name in ("publisher_id", "instrument_id")]
    return [Rec(*row) for row in zip(*columns, strict=True)]


class Ran:
    """What an engine made of some records."""

    def __init__(self, engine: BookEngine, batches: Sequence[Any]) -> None:
        self.engine = engine
        empty = no_rows(engine.options)
        self.book, self.flow, self.trades = (
            pa.concat_tables([first, *(batch[i] for batch in batches)])
            for i, first in enumerate(empty)
        )

    @property
    def tables(self) -> tuple[pa.Table, pa.Table, pa.Table]:
        return self.book, self.flow, self.trades


def no_rows(options: BookOptions) -> list[pa.Table]:
    return [t.schema().empty_table() for t in (options.table, tables.FLOW, tables.TRADES)]


def run_engine(
    records: Sequence[Rec] | npt.NDArray[Any],
    *,
    cuts: Iterable[int] = (),
    state: BookState | None = None,
    date: int = DATE,
    rule: int = DEFAULT_RULE,
    finish: bool = True,
    engine: BookEngine | None = None,
    **options: Any,
) -> Ran:
    """An engine over records, cut into chunks at the given places; a new one unless given."""
    array = records if isinstance(records, np.ndarray) else structs(records)
    engine = engine or BookEngine(date, BookOptions(**options), rule)
    if state is not None:
        resume(engine, state)
    places = [0, *sorted(cuts), len(array)]
    batches: list[Any] = []
    first = 0 if isinstance(records, np.ndarray) or not records else records[0].record
    for start, stop in pairwise(places):
        if stop > start:
            batches += engine.feed(chunk_of_structs(array[start:stop], first + start))
    last = engine.finish() if finish else None
    if last is not None:
        batches.append(last)
    return Ran(engine, batches)


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as dictionaries; times as integers."""
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        is_time = pa.types.is_timestamp(column.type)
        columns.append((name, (column.cast(pa.int64()) if is_time else column).to_pylist()))
    return [
        dict(zip((n for n, _ in columns), values, strict=True))
        for values in zip(*(v for _, v in columns), strict=True)
    ]


def assert_same_rows(book: pa.Table, flow: pa.Table, trades: pa.Table, wanted: Result) -> None:
    """Every row of the three tables."""
    assert plain(book) == wanted.book
    got = [{k: v for k, v in row.items() if v or k == "event"} for row in plain(flow)]
    assert got == [{k: v for k, v in row.items() if v or k == "event"} for row in wanted.flow]
    names = trades.column_names
    assert plain(trades) == [{n: row[n] for n in names} for row in wanted.trades]


def assert_same_day(ran: Ran, wanted: Result) -> None:
    """Rows, numbers and final orders, all of them."""
    assert_same_rows(*ran.tables, wanted)
    quality = ran.engine.quality()
    assert quality == {name: wanted.quality[name] for name in quality}
    assert set(wanted.quality) <= set(quality)
    for key, one in ran.engine.books.items():
        assert queue_order(one.book) == wanted.orders[key]


def queue_order(book: Any) -> list[tuple[Any, ...]]:
    """Resting orders as the reference lists them."""
    rows = orders_of(book).T.tolist()
    return [("BA"[r[0]], r[1], r[2], r[3] % 2**64, *r[4:]) for r in rows]


# --- random streams ----------------------------------------------------------------------------

FLAGS = (0, LAST, LAST, LAST, LAST | 8, LAST | 4, 8, 64, 16, 40, 40 | LAST, 32, 1 | 2 | LAST)
IDS = (0, 1, 2, 3, 4, 5, 6, 7, 2**63 - 1, 2**63, 2**64 - 1)
PRICES = (-3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 10**7, 199_999_990_000_000, -(2**62), 2**63 - 1)


def wild(draw: random.Random, length: int, books: int = 1) -> list[Rec]:
    """Records of all kinds, legal or not."""
    now = MIDNIGHT
    venue = MIDNIGHT - 10**6
    result = []
    for record in range(length):
        now += draw.choice((0, 0, 1, 1000, SECOND // 3, 2 * SECOND, -5))
        venue += draw.choice((0, 0, 0, 1000))
        result.append(
            Rec(
                ts_recv=now,
                ts_event=draw.choice((venue,) * 20 + (2**63 - 1,)),
                sequence=record + draw.choice((0, 0, 0, -3)) + 3,
                order_id=draw.choice(IDS),
                price=draw.choice(PRICES),
                size=draw.choice((0, 1, 1, 2, 3, 5, 2**32 - 1)),
                flags=draw.choice(FLAGS),
                channel_id=draw.choice((0, 0, 7)),
                action=draw.choice("AAAAACCCMMMTFFNR" if draw.random() < 0.9 else "AACMMTFFFX"),
                side=draw.choice("BBBAAAN"),
                record=record,
                publisher_id=1 + draw.randrange(books),
                instrument_id=5 if books < 3 else draw.choice((5, 5, 2**32 - 1)),
            )
        )
    return result


class Market:
    """A small market that trades legally: adds, cancels, modifies, sweeps, icebergs, snapshots."""

    def __init__(self, draw: random.Random, tick: int = 250_000_000, middle: int = 0) -> None:
        self.draw = draw
        self.tick = tick
        self.middle = middle
        self.orders: dict[int, list[Any]] = {}  # id -> [side, price, size]; dict order = age
        self.next_id = 10**12
        self.now = MIDNIGHT
        self.sequence = 1
        self.partial_cancels = False
        """XNAS: what is left of a filled order follows from a C of the filled part."""
        self.out: list[Rec] = []

    def put(self, action: str, side: str, price: int, size: int, oid: int, flags: int = 0) -> None:
        self.out.append(
            Rec(
                self.now, self.now - 7, self.sequence, oid, price, size, flags, 0, action, side,
                len(self.out),
            )
        )  # fmt: skip
        self.sequence += 1

    def last(self) -> None:
        self.out[-1] = self.out[-1]._replace(flags=self.out[-1].flags | LAST)

    def best(self, side: str) -> int | None:
        prices = [o[1] for o in self.orders.values() if o[0] == side]
        return (max(prices) if side == "B" else min(prices)) if prices else None

    def flicker(self) -> None:
        """A better level that comes and goes within one event, while others change behind it."""
        side = self.draw.choice("BA")
        if (best := self.best(side)) is None:
            self.add()
            return
        better = best + (self.tick if side == "B" else -self.tick)
        mine = self.new_id()
        self.put("A", side, better, 1, mine)
        for _ in range(self.draw.randint(1, 3)):
            self.modify()
        self.put("C", side, better, 1, mine)

    def run(self, records: int) -> list[Rec]:
        while len(self.out) < records:
            self.now += self.draw.choice((0, 10, 1000, 10**6, 3 * 10**8))
            kind = self.draw.random()
            if kind < 0.4 or len(self.orders) < 4:
                self.add()
            elif kind < 0.6:
                self.cancel()
            elif kind < 0.8:
                self.modify()
            elif kind < 0.93:
                self.trade()
            elif kind < 0.97:
                self.flicker()
            elif kind < 0.985:
                self.snapshot()
            else:
                self.put("N", "N", 2**63 - 1, 0, 0)
            self.last()
        return self.out

    def passive_price(self, side: str) -> int:
        sign = 1 if side == "B" else -1
        other = self.best("A" if side == "B" else "B")
        anchor = other if other is not None else self.middle + sign * self.tick
        return anchor - sign * self.tick * (1 + int(min(self.draw.expovariate(0.4), 30)))

    def add(self) -> None:
        side = self.draw.choice("BA")
        price, size = self.passive_price(side), self.draw.randint(1, 9)
        oid = self.new_id()
        self.orders[oid] = [side, price, size]
        self.put("A", side, price, size, oid)

    def new_id(self) -> int:
        self.next_id += self.draw.randint(1, 3)
        return self.next_id

    def cancel(self) -> None:
        oid = self.draw.choice(list(self.orders))
        side, price, size = self.orders[oid]
        if size > 1 and self.draw.random() < 0.2:  # XNAS: partial
            part = self.draw.randint(1, size - 1)
            self.orders[oid][2] -= part
            self.put("C", side, price, part, oid)
            return
        del self.orders[oid]
        self.put("C", side, price, size, oid)

    def modify(self) -> None:
        oid = self.draw.choice(list(self.orders))
        side, price, size = self.orders[oid]
        choice = self.draw.random()
        if choice < 0.4 and size > 1:
            self.orders[oid][2] = size = self.draw.randint(1, size - 1)
        else:
            del self.orders[oid]
            if choice < 0.7:
                size += self.draw.randint(1, 3)
            else:
                price = self.passive_price(side)
            self.orders[oid] = [side, price, size]
        self.put("M", side, price, size, oid)

    def trade(self) -> None:
        side = self.draw.choice("BA")  # of the resting orders
        want = self.draw.randint(1, 12)
        taker = "A" if side == "B" else "B"
        fills, later = [], []
        while want and (best := self.best(side)) is not None:
            oid = next(i for i, o in self.orders.items() if o[:2] == [side, best])
            size = self.orders[oid][2]
            done = min(size, want)
            want -= done
            fills.append((best, done, oid))
            if done == size and self.draw.random() < 0.2:  # an iceberg shows its next slice
                del self.orders[oid]
                self.orders[oid] = [side, best, size]
                later.append(("M", best, size, oid))
            elif done == size:
                del self.orders[oid]
                later.append(("C", best, size, oid))
            else:
                self.orders[oid][2] -= done
                by_cancel = self.partial_cancels
                later.append(("C", best, done, oid) if by_cancel else ("M", best, size - done, oid))
        if not fills:
            self.put("N", "N", 2**63 - 1, 0, 0)
            return
        self.put("T", taker, fills[0][0], sum(f[1] for f in fills), 0)
        for price, size, oid in fills:
            self.put("F", side, price, size, oid)
        for action, price, size, oid in later:
            self.put(action, side, price, size, oid)

    def snapshot(self) -> None:
        if self.draw.random() < 0.5:
            self.put("R", "N", 2**63 - 1, 0, 0, 40)
        for oid, (side, price, size) in self.orders.items():
            self.put("A", side, price, size, oid, 40)
        if not self.orders:
            self.put("N", "N", 2**63 - 1, 0, 0)


class Odd(Market):
    """A legal market with everything that is rare: ids near 2^64 that are dealt again, prices of
    either sign and any tick, stub quotes, crossed books, clears, auctions, events of many
    records.
    """

    IDS = (0, 1, 2, 3, 7, 2**32, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1)
    STUBS = (1, 10**9, 199_999_990_000_000, 2**62)

    def __init__(self, draw: random.Random, instrument: int = 1) -> None:
        tick = draw.choice((1, 7, 250_000_000, 10**9))
        super().__init__(draw, tick, tick * draw.choice((0, 1, -5, 20_000, -20_000)))
        self.partial_cancels = draw.random() < 0.3
        self.instrument = instrument

    def new_id(self) -> int:
        free = [oid for oid in self.IDS if oid not in self.orders]
        return self.draw.choice(free) if free else super().new_id()

    def run(self, records: int) -> list[Rec]:
        rare = (self.clear, self.stub, self.cross, self.auction, self.snapshot, self.flicker)
        common = (self.add, self.add, self.add, self.cancel, self.modify, self.modify, self.trade)
        while len(self.out) < records:
            self.now += self.draw.choice((0, 0, 10, 1000, 10**6, 3 * 10**8))
            if len(self.orders) < 3:
                self.add()
            else:
                self.draw.choice(rare if self.draw.random() < 0.15 else common)()
            if self.draw.random() < 0.85:
                self.last()
        return [r._replace(instrument_id=self.instrument) for r in self.out]

    def clear(self) -> None:
        if self.draw.random() < 0.3:
            self.orders = {}
            self.put("R", "N", 2**63 - 1, 0, 0)

    def rest(self, side: str, price: int, size: int) -> None:
        oid = self.new_id()
        self.orders[oid] = [side, price, size]
        self.put("A", side, price, size, oid)

    def stub(self) -> None:
        side, far = self.draw.choice("BA"), self.draw.choice(self.STUBS)
        self.rest(side, self.middle + (-far if side == "B" else far), 1)

    def cross(self) -> None:
        """Before the opening orders may cross."""
        side = self.draw.choice("BA")
        other = self.best("A" if side == "B" else "B")
        if other is not None:
            beyond = self.tick * self.draw.randint(0, 2)
            self.rest(side, other + (beyond if side == "B" else -beyond), self.draw.randint(1, 9))

    def auction(self) -> None:
        """One T without a side, an F for each side, then what is left."""
        bid, ask = self.best("B"), self.best("A")
        if bid is None or ask is None:
            return
        hit = [
            next(i for i, o in self.orders.items() if o[:2] == [side, best])
            for side, best in (("B", bid), ("A", ask))
        ]
        size = min(self.orders[oid][2] for oid in hit)
        self.put("T", "N", ask, size, 0)
        for oid in hit:
            self.put("F", *self.orders[oid][:2], size, oid)
        for oid in hit:
            side, price, before = self.orders[oid]
            if before == size:
                del self.orders[oid]
                self.put("C", side, price, size, oid)
            else:
                self.orders[oid][2] -= size
                self.put("M", side, price, before - size, oid)


def odd(draw: random.Random, length: int, books: int = 1) -> list[Rec]:
    """A legal stream of some instruments that come and go in each other's events."""
    streams = [Odd(draw, 1 + i).run(max(1, length // books)) for i in range(books)]
    merged: list[Rec] = []
    while any(streams):
        stream = draw.choice([s for s in streams if s])
        merged += stream[: (run := draw.choice((1, 1, 2, 5)))]
        del stream[:run]
    return [r._replace(record=n) for n, r in enumerate(merged)]
