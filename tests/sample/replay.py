"""An independent reading of the sample's files: plain dictionaries, nothing of the simulator."""

from __future__ import annotations

import bisect
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import databento_dbn as dbn
import numpy as np
import zstandard

UNDEF = 2**63 - 1
LAST, SNAPSHOT = 128, 32
EMPTY = ((UNDEF, 0, 0) * 10, (UNDEF, 0, 0) * 10)
CLASSES = {
    "mbo": dbn.MBOMsg,
    "mbp-10": dbn.MBP10Msg,
    "trades": dbn.TradeMsg,
    "status": dbn.StatusMsg,
    "definition": dbn.InstrumentDefMsg,
}


def read(folder: Path, day: str, schema: str) -> np.ndarray:
    """All records of one file, decompressed frame by frame."""
    with (folder / f"sim-mdp3-{day}.{schema}.dbn.zst").open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        raw = io.BytesIO(reader.read())
    prefix = raw.read(8)
    assert prefix[:4] == b"DBN\x03"
    raw.read(int.from_bytes(prefix[4:], "little"))
    return np.frombuffer(raw.read(), dtype=np.dtype(CLASSES[schema]._dtypes))


def days_of(folder: Path) -> list[str]:
    return sorted(path.name[9:17] for path in folder.glob("*.mbo.dbn.zst"))


@dataclass
class Order:
    side: bytes
    price: int
    size: int


@dataclass
class Book:
    """Orders by id, and per side and price the ids in queue order."""

    orders: dict[int, Order] = field(default_factory=dict)
    queues: dict[bytes, dict[int, dict[int, None]]] = field(
        default_factory=lambda: {b"B": {}, b"A": {}}
    )
    prices: dict[bytes, list[int]] = field(default_factory=lambda: {b"B": [], b"A": []})
    """Live prices a side, lowest first."""
    _flat: dict[bytes, tuple[int, ...]] = field(default_factory=dict)
    """Sides that have not changed since they were last read."""

    def clear(self) -> None:
        self.orders.clear()
        self.queues = {b"B": {}, b"A": {}}
        self.prices = {b"B": [], b"A": []}
        self._flat.clear()

    def add(self, order_id: int, side: bytes, price: int, size: int) -> None:
        assert order_id not in self.orders
        self.orders[order_id] = Order(side, price, size)
        if price not in self.queues[side]:
            self.queues[side][price] = {}
            bisect.insort(self.prices[side], price)
        self.queues[side][price][order_id] = None
        self._flat.pop(side, None)

    def remove(self, order_id: int) -> None:
        order = self.orders.pop(order_id)
        queue = self.queues[order.side][order.price]
        self._flat.pop(order.side, None)
        del queue[order_id]
        if not queue:
            del self.queues[order.side][order.price]
            self.prices[order.side].remove(order.price)

    def apply(self, action: bytes, order_id: int, side: bytes, price: int, size: int) -> None:
        if action == b"R":
            self.clear()
        elif action == b"A":
            self.add(order_id, side, price, size)
        elif action == b"C":
            order = self.orders[order_id]
            assert (order.side, order.price, order.size) == (side, price, size)
            self.remove(order_id)
        elif action == b"M":
            order = self.orders[order_id]
            assert order.side == side
            if order.price != price or size > order.size:
                self.remove(order_id)
                self.add(order_id, side, price, size)
            else:
                order.size = size
                self._flat.pop(side, None)

    def side(self, side: bytes, depth: int = 10) -> list[tuple[int, int, int]]:
        """(price, size, orders) of the best levels."""
        prices = self.prices[side][: -depth - 1 : -1] if side == b"B" else self.prices[side][:depth]
        return [
            (
                price,
                sum(self.orders[one].size for one in self.queues[side][price]),
                len(self.queues[side][price]),
            )
            for price in prices
        ]

    def top(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ten levels a side as flat tuples, padded as the vendor pads."""
        for side in (b"B", b"A"):
            if side not in self._flat:
                levels = self.side(side)
                levels += [(UNDEF, 0, 0)] * (10 - len(levels))
                self._flat[side] = tuple(x for level in levels for x in level)
        return self._flat[b"B"], self._flat[b"A"]

    def priority(self) -> dict[tuple[bytes, int], list[tuple[int, int]]]:
        """Queues with ids and sizes, in order."""
        return {
            (side, price): [(one, self.orders[one].size) for one in queue]
            for side in (b"B", b"A")
            for price, queue in self.queues[side].items()
        }


def events(records: np.ndarray) -> Iterator[np.ndarray]:
    """Events of one instrument's records: up to and with F_LAST."""
    ends = np.flatnonzero(records["flags"] & LAST) + 1
    assert len(records) == 0 or ends[-1] == len(records)
    start = 0
    for end in ends:
        yield records[start:end]
        start = int(end)


def patterns(records: np.ndarray) -> dict[str, int]:
    """How often each sequence of actions makes an event."""
    found: dict[str, int] = {}
    for event in events(records):
        name = b"".join(event["action"].tolist()).decode()
        if len(name) < 60:
            found[name] = found.get(name, 0) + 1
    return found


def expected_rows(mbo: np.ndarray, books: dict[int, Book]) -> Iterator[tuple[object, ...]]:
    """The vendor's MBP-10 rows for the records of a day: by its rules, from replayed books.

    A day starts from an empty published book, so that a snapshot gives a row.
    Yields (ts_recv, ts_event, sequence, instrument, action, side, depth, price, size, flags,
    bids, asks).
    """
    before: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    names = ("ts_recv", "ts_event", "sequence", "instrument_id", "action", "side")
    names += ("price", "size", "flags", "order_id")
    columns = [mbo[name].tolist() for name in names]
    for recv, ts, seq, i, action, side, price, size, flags, order_id in zip(*columns, strict=True):
        book = books.setdefault(i, Book())
        old = before.setdefault(i, EMPTY)
        if action == b"T":
            yield (recv, ts, seq, i, action, side, 0, price, size, flags, *book.top())
        book.apply(action, order_id, side, price, size)
        if not flags & LAST:
            continue
        new = book.top()
        differ = [a != b for a, b in zip(new, old, strict=True)]
        if any(differ):
            shown = b"N" if all(differ) else (b"B" if differ[0] else b"A")
            depth = min(
                (
                    k
                    for k in range(10)
                    for s in (0, 1)
                    if new[s][3 * k : 3 * k + 3] != old[s][3 * k : 3 * k + 3]
                ),
                default=0,
            )
            yield (recv, ts, seq, i, action, shown, depth, price, size, flags, *new)
            before[i] = new


def actual_rows(mbp: np.ndarray) -> Iterator[tuple[object, ...]]:
    """Rows of an MBP-10 file in the same form."""
    names = ("ts_recv", "ts_event", "sequence", "instrument_id", "action", "side", "depth")
    names += ("price", "size", "flags")
    columns = [mbp[name].tolist() for name in names]
    flat = []
    for side in ("bid", "ask"):
        fields = [
            mbp[f"{side}_{what}_{k:02d}"].tolist() for k in range(10) for what in ("px", "sz", "ct")
        ]
        flat.append(list(zip(*fields, strict=True)))
    yield from zip(*columns, *flat, strict=True)
