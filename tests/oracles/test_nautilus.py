"""Levels at event ends, against the order book of nautilus_trader (PyPI).

``pip install nautilus_trader==1.221.0`` (100 MB, hence no extra of ours); skipped where it is
absent.  Only levels are compared, not the order within queues.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.book.columns import chunk_of_structs
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.layout import DEFAULT_RULE
from pipeline.book.state import closing_state
from tests.book.support import Market, read_raw, recs, structs
from tests.reference.records import LAST, SNAPSHOT, Rec

model = pytest.importorskip("nautilus_trader.model", reason="nautilus_trader is not installed")

Levels = list[tuple[int, int, int]]
RAW = 10**7
"""Their fixed point has 16 decimals."""


class Theirs:
    """Their level-3 book, fed with what changes a book: A, C, M, R."""

    def __init__(self) -> None:
        from nautilus_trader.model.book import OrderBook
        from nautilus_trader.model.enums import BookType
        from nautilus_trader.model.identifiers import InstrumentId

        self.book = OrderBook(InstrumentId.from_str("ES.GLBX"), BookType.L3_MBO)
        self.orders: dict[int, tuple[str, int, int]] = {}
        self.snapshot = False

    def order(self, oid: int, side: str, price: int, size: int) -> Any:
        from nautilus_trader.model.data import BookOrder
        from nautilus_trader.model.enums import OrderSide
        from nautilus_trader.model.objects import Price, Quantity

        where = OrderSide.BUY if side == "B" else OrderSide.SELL
        return BookOrder(where, Price.from_raw(price * RAW, 9), Quantity.from_int(size), oid)

    def apply(self, rec: Rec) -> None:
        begins = bool(rec.flags & SNAPSHOT) and not self.snapshot
        self.snapshot = bool(rec.flags & SNAPSHOT)
        if begins or rec.action == "R":
            self.book.clear(rec.ts_event, 0)
            self.orders.clear()
        old = self.orders.pop(rec.order_id, None) if rec.action in "ACM" else None
        if rec.action == "C" and old is not None and 0 < rec.size < old[2]:
            rec = rec._replace(action="M", side=old[0], price=old[1], size=old[2] - rec.size)
        if old is not None and (rec.action == "C" or old[:2] != (rec.side, rec.price)):
            self.book.delete(self.order(rec.order_id, *old), rec.ts_event)
            old = None
        if rec.action in "AM":
            new = (rec.side, rec.price, rec.size)
            change = self.book.add if old is None else self.book.update
            change(self.order(rec.order_id, *new), rec.ts_event)
            self.orders[rec.order_id] = new

    def levels(self) -> tuple[Levels, Levels]:
        bids, asks = (
            [(level.price.raw // RAW, int(level.size()), len(level.orders())) for level in side]
            for side in (self.book.bids(), self.book.asks())
        )
        return bids, asks


def our_levels(engine: BookEngine) -> tuple[Levels, Levels]:
    sides: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})
    orders = closing_state(engine).orders.select(["side", "price", "size"]).to_pylist()
    for row in orders:
        level = sides[row["side"] == "A"].setdefault(row["price"], [0, 0])
        level[0] += row["size"]
        level[1] += 1
    bids, asks = ([(price, *level) for price, level in side.items()] for side in sides)
    return bids, asks


def compare(array: npt.NDArray[Any], every: int) -> int:
    engine = BookEngine(20240102, BookOptions(materialise="none"), DEFAULT_RULE)
    theirs, records, done, compared = Theirs(), recs(array), 0, 0
    ends = np.flatnonzero(array["flags"] & LAST)
    for end in [*ends[every - 1 :: every].tolist(), int(ends[-1])]:
        if end < done:
            continue
        for rec in records[done : end + 1]:
            theirs.apply(rec)
        list(engine.feed(chunk_of_structs(array[done : end + 1], done)))
        done = end + 1
        ours = our_levels(engine)
        assert ours == theirs.levels()
        compared += len(ours[0]) + len(ours[1])
    return compared


@pytest.mark.parametrize("seed", range(4))
def test_random_markets(seed: int) -> None:
    records = Market(random.Random(seed), middle=10**12).run(800)
    assert compare(structs(records), every=1) > 1000


def test_the_real_es_day(real_data: Path) -> None:
    array = read_raw(real_data / "esh4" / "glbx-mdp3-20231225.mbo.dbn.zst")
    assert compare(array, every=2000) > 10_000
