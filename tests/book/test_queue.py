"""`queue`: what single orders tell beside the rows of the book, against plain lists."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import tables
from pipeline.book.columns import chunk_of_structs
from pipeline.book.layout import DEFAULT_RULE
from pipeline.book.queue_columns import ORDER_SIZES, QUEUE_FIELDS
from pipeline.book.queue_engine import QueueEngine
from pipeline.book.state import BookState, closing_state
from pipeline.errors import InputError
from tests.book.support import DATE, MIDNIGHT, Market, Odd, plain, run_engine, structs, wild
from tests.reference.queue_rows import reference_queue
from tests.reference.records import LAST, Rec

TICK = 250_000_000
NAMES = list(QUEUE_FIELDS)


def rows_of(
    records: Sequence[Rec] | npt.NDArray[Any], **options: Any
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """``event`` and ``ts_recv`` of the book's rows."""
    book = run_engine(records, **options).book
    return book["event"].to_numpy(), book["ts_recv"].cast(pa.int64()).to_numpy()


def run_queue(
    records: Sequence[Rec] | npt.NDArray[Any],
    rows: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    *,
    cuts: Iterable[int] = (),
    state: BookState | None = None,
    date: int = DATE,
    tick: int = TICK,
    piece: int = 50,
) -> pa.Table:
    """The table of a day, its records cut into chunks, the book's rows in pieces."""
    array = records if isinstance(records, np.ndarray) else structs(records)
    event, ts = rows
    due = [(event[i : i + piece], ts[i : i + piece]) for i in range(0, len(event), piece)]
    engine = QueueEngine(date, MIDNIGHT, DEFAULT_RULE, tick=tick, rows=due, state=state)
    parts = [tables.QUEUE.schema().empty_table()]
    places = [0, *sorted(cuts), len(array)]
    for start, stop in pairwise(places):
        if stop > start:
            parts += engine.queue(chunk_of_structs(array[start:stop], start))
    engine.finish_rows()
    return pa.concat_tables(parts)


def wanted(
    records: list[Rec],
    rows: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    *,
    date: int = DATE,
    tick: int = TICK,
    before: list[Rec] | None = None,
) -> list[dict[str, Any]]:
    due = list(zip(rows[0].tolist(), rows[1].tolist(), strict=True))
    return reference_queue(records, date, MIDNIGHT, due, NAMES, tick=tick, before=before)


def assert_same(found: pa.Table, wanted: list[dict[str, Any]]) -> None:
    rows = plain(found)
    for i, (ours, theirs) in enumerate(zip(rows, wanted, strict=True)):
        names = theirs.keys() | ours.keys()
        differ = {n: (ours.get(n), theirs.get(n)) for n in names if ours.get(n) != theirs.get(n)}
        assert not differ, (i, ours["event"], differ)


# --- against the reference ---------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 80), st.integers(1, 3), st.booleans())
def test_any_records_at_all(draw: random.Random, length: int, books: int, ticks: bool) -> None:
    records, tick = wild(draw, length, books), int(ticks)
    rows = rows_of(records)
    assert_same(run_queue(records, rows, tick=tick), wanted(records, rows, tick=tick))


@pytest.mark.parametrize("seed", range(6))
def test_long_wild_streams(seed: int) -> None:
    records = wild(random.Random(seed), 800, 1 + seed % 3)
    rows = rows_of(records)
    found = run_queue(records, rows, cuts=(100, 101, 350), tick=2)
    assert_same(found, wanted(records, rows, tick=2))


@pytest.mark.parametrize("seed", range(6))
def test_a_market_that_trades(seed: int) -> None:
    records = Market(random.Random(seed), middle=(seed - 3) * 10**9).run(1500)
    options = ({}, {"depth": 1}, {"materialise": "grid", "grid": "100ms"})[seed % 3]
    rows = rows_of(records, **options)
    found = run_queue(records, rows, cuts=(13, 500))
    assert_same(found, wanted(records, rows))


class Busy(Market):
    """A market of small sizes, whose orders follow one another: refilled, replaced, layered."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self.gone: list[tuple[str, int, int]] = []

    def trade(self) -> None:
        before = dict(self.orders)
        super().trade()
        self.gone += [tuple(o) for oid, o in before.items() if oid not in self.orders]

    def cancel(self) -> None:
        before = dict(self.orders)
        super().cancel()
        for side, price, size in (tuple(o) for i, o in before.items() if i not in self.orders):
            other = price + self.draw.choice((-2, -1, 1, 2)) * self.tick
            self.gone.append((side, self.draw.choice((price, other)), size))

    def add(self) -> None:
        self.now += self.draw.choice((0, 2 * 10**6, 2 * 10**7))
        if self.gone and self.draw.random() < 0.6:
            side, price, size = self.gone.pop(self.draw.randrange(len(self.gone)))
            best = self.best("A" if side == "B" else "B")
            if best is None or (price < best if side == "B" else price > best):
                oid = self.new_id()
                self.orders[oid] = [side, price, size]
                self.put("A", side, price, size, oid)
                return
        super().add()

    def snapshot(self) -> None:
        """They would make everybody's age unknown; they come rarely."""
        if self.draw.random() < 0.1:
            super().snapshot()
        else:
            self.put("N", "N", 2**63 - 1, 0, 0)


def test_every_column_has_something_to_tell() -> None:
    markets = [Busy(random.Random(seed)).run(1500) for seed in range(4)]
    told: set[str] = set()
    for records in markets:
        rows = rows_of(records)
        found = run_queue(records, rows)
        assert_same(found, wanted(records, rows))
        told |= {name for name in NAMES if any(found[name].to_pylist())}
    silent = {"filled_long_ct", "cancelled_long_ct"}
    silent |= {
        f"{side}_from_{least}_ct" for side in ("bid", "ask") for least in (20, 50, 100, 200, 500)
    }
    assert set(NAMES) - told <= silent  # of large orders: the next test


def rec(action: str, price: int, size: int, oid: int, side: str = "B") -> Rec:
    """An event of one record, a second after midnight."""
    now = MIDNIGHT + 10**9
    return Rec(now, now, 0, oid, price, size, LAST, 0, action, side, 0)


def test_orders_are_counted_from_each_size_on() -> None:
    """At the touch alone, a size included, whatever becomes of the orders."""
    sizes = [1, 2, 2, 3, 19, 20, 500, 501, 10_000]
    records = [rec("A", 100, size, oid=k) for k, size in enumerate(sizes, 1)]
    records += [rec("A", 99, 500, oid=50), rec("A", 101, 7, oid=51, side="A")]
    records += [rec("M", 100, 4, oid=5), rec("C", 100, 501, oid=8)]
    rows = rows_of(records)
    found = run_queue(records, rows)
    assert_same(found, wanted(records, rows))
    last = plain(found)[-1]
    counts = [last[f"bid_from_{least}_ct"] for least in ORDER_SIZES]
    assert counts == [7, 5, 3, 3, 3, 2, 2, 2, 2]
    assert [last[f"ask_from_{least}_ct"] for least in ORDER_SIZES] == [1, 1, 1] + [0] * 6


@pytest.mark.parametrize("seed", range(3))
def test_odd_markets(seed: int) -> None:
    records = Odd(random.Random(seed)).run(900)
    rows = rows_of(records)
    assert_same(run_queue(records, rows, tick=7), wanted(records, rows, tick=7))


# --- carried over, cut, continued --------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 120), st.booleans(), st.data())
def test_a_day_carried_over(
    draw: random.Random, length: int, legal: bool, data: st.DataObject
) -> None:
    records = Market(draw).run(length) if legal else wild(draw, length)
    cut = data.draw(st.integers(0, len(records)))
    before, after = records[:cut], records[cut:]
    state = closing_state(run_engine(before).engine)
    rows = rows_of(after, state=state, date=DATE + 1)

    found = run_queue(after, rows, state=state, date=DATE + 1)

    assert_same(found, wanted(after, rows, date=DATE + 1, before=before))


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 150), st.integers(1, 3), st.data())
def test_chunks_do_not_matter(
    draw: random.Random, length: int, books: int, data: st.DataObject
) -> None:
    records = wild(draw, length, books)
    rows = rows_of(records)
    cuts = data.draw(st.lists(st.integers(1, length), max_size=8))
    piece = data.draw(st.integers(1, 40))

    assert run_queue(records, rows, cuts=cuts, piece=piece).equals(run_queue(records, rows))


def test_rows_of_another_book_are_noticed() -> None:
    records = Market(random.Random(3)).run(300)
    event, ts = rows_of(records)
    for rows in ((event + 10**6, ts), (np.append(event, event[-1] + 10**6), np.append(ts, ts[-1]))):
        with pytest.raises(InputError, match="do not belong to these records"):
            run_queue(records, rows)


# --- claims ------------------------------------------------------------------------------------


def test_sums_agree_with_the_book_and_the_flow_beside_them() -> None:
    """What both tables tell, both tell alike."""
    records = Busy(random.Random(9)).run(2000)
    ran = run_engine(records)
    found = run_queue(records, rows_of(records))
    for ours, book in zip(plain(found), plain(ran.book), strict=True):
        for side in ("bid", "ask"):
            total, count = book[f"{side}_sz_00"], book[f"{side}_ct_00"]
            assert ours[f"{side}_known_ct"] <= count
            assert ours[f"{side}_max_sz"] <= total <= ours[f"{side}_max_sz"] * count
            assert total**2 <= (ours[f"{side}_square_sz"] or 0) * count
    flow = plain(ran.flow)
    for side in ("bid", "ask"):
        adds = sum(row[f"{side}_{zone}_add_ct"] for row in flow for zone in ("l1", "l2_10", "deep"))
        kinds = ("better", "touch", "1", "2", "3_5", "6_10", "far")
        placed = sum(row[f"{side}_add_{kind}_ct"] for row in plain(found) for kind in kinds)
        assert 0 < placed <= adds
        cancels = sum(row[f"{side}_l1_cancel_sz"] for row in flow)
        thirds = ("front", "middle", "back")
        told = sum(row[f"{side}_cancel_{third}_sz"] for row in plain(found) for third in thirds)
        assert 0 < told <= cancels
