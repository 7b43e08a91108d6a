"""The rows a rebuilt book gives, against a plain reading of the vendor's rules."""

from __future__ import annotations

import itertools
import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.book.layout import DEFAULT_RULE
from pipeline.book.tape import NULL
from pipeline.verify.rebuild import Rebuild, level_names
from pipeline.verify.rows import expected_rows
from tests.book.support import DATE, MIDNIGHT, Market, chunk_of
from tests.reference.records import LAST, Rec

SNAPSHOT, BAD_TS, MAYBE_BAD = 32, 8, 4


class Plain:
    """One book as a dictionary of orders; no priority, only what MBP shows."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[str, int, int]] = {}
        self.in_snapshot = False

    def top(self, depth: int) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        sides = []
        for side, sign in (("B", -1), ("A", 1)):
            prices: dict[int, list[int]] = {}
            for mine, price, size in self.orders.values():
                if mine == side:
                    prices.setdefault(price, []).append(size)
            best = sorted(prices, key=lambda p: sign * p)[:depth]
            levels = [(p, sum(prices[p]), len(prices[p])) for p in best]
            sides.append(levels + [(NULL, 0, 0)] * (depth - len(levels)))
        return sides[0], sides[1]

    def apply(self, r: Rec) -> None:
        if r.flags & SNAPSHOT and not self.in_snapshot:
            self.orders.clear()
        self.in_snapshot = bool(r.flags & SNAPSHOT) and not r.flags & LAST
        if r.action == "R":
            self.orders.clear()
        elif r.action == "C" and r.order_id in self.orders:
            side, price, size = self.orders.pop(r.order_id)
            if r.size < size:
                self.orders[r.order_id] = (side, price, size - r.size)
        elif r.action in "AM" and r.size:
            self.orders[r.order_id] = (r.side, r.price, r.size)


def plain_rows(records: list[Rec], depth: int) -> list[dict[str, Any]]:
    """Rows by the rules, record by record; what a snapshot's end shows is time and levels."""
    books: dict[tuple[int, int], Plain] = {}
    seen: dict[tuple[int, int], Any] = {}
    rows = []
    for i, r in enumerate(records):
        key = (r.publisher_id, r.instrument_id)
        book = books.setdefault(key, Plain())
        if r.action == "T":
            rows.append(_row(r, r.side, 0, book.top(depth)))
        book.apply(r)
        last = r.flags & LAST
        if r.flags & SNAPSHOT and not last:
            later = (n for n in records[i + 1 :] if (n.publisher_id, n.instrument_id) == key)
            following = next(later, None)
            last = following is not None and not following.flags & SNAPSHOT
        if not last:
            continue
        top = book.top(depth)
        old = seen.get(key, ([(NULL, 0, 0)] * depth,) * 2)
        if top != old or r.flags & SNAPSHOT:
            differ = [k for k in range(depth) if (top[0][k], top[1][k]) != (old[0][k], old[1][k])]
            bids, asks = top[0] != old[0], top[1] != old[1]
            side = "N" if bids and asks else ("B" if bids else "A")
            rows.append(_row(r, side, min(differ, default=0), top))
        seen[key] = top
    return rows


def _row(r: Rec, side: str, depth: int, top: Any) -> dict[str, Any]:
    levels = {
        f"{name}_{what}_{k:02d}": top[s][k][w]
        for w, what in enumerate(("px", "sz", "ct"))
        for k in range(len(top[0]))
        for s, name in enumerate(("bid", "ask"))
    }
    made_up = bool(r.flags & SNAPSHOT) and r.action != "T"
    fields: dict[str, Any] = {
        "ts_event": r.ts_event, "sequence": r.sequence, "action": ord(r.action),
        "side": ord(side), "price": r.price, "size": r.size, "flags": r.flags, "depth": depth,
    }  # fmt: skip
    return {
        "publisher_id": r.publisher_id,
        "instrument_id": r.instrument_id,
        "ts_recv": r.ts_recv,
        "record": r.record,
        **(dict.fromkeys(fields, 0) if made_up else fields),
        **levels,
    }


def rebuilt_rows(
    records: list[Rec], depth: int, shown: int, cuts: list[int] | None = None
) -> list[dict[str, Any]]:
    rebuild = Rebuild(DATE, depth, DEFAULT_RULE)
    places = [0, *sorted(min(cut, len(records)) for cut in cuts or []), len(records)]
    chunks = [
        chunk_of(records[a:b], records[a].record) for a, b in itertools.pairwise(places) if a < b
    ]
    frames = [expected_rows(frame, shown) for frame in rebuild.frames(chunks)]
    names = list(plain_rows([], 1) or _row(records[0], "N", 0, ([(0, 0, 0)] * shown,) * 2))
    return pl.concat(frames).select(names).to_dicts() if frames else []


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32), st.sampled_from([1, 2, 10]), st.lists(st.integers(0, 300), max_size=5)
)
def test_rows_are_those_of_the_rules(seed: int, shown: int, cuts: list[int]) -> None:
    records = Market(random.Random(seed)).run(300)
    assert rebuilt_rows(records, 10, shown, cuts) == plain_rows(records, shown)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 400), max_size=5))
def test_books_of_several_publishers_do_not_mix(seed: int, cuts: list[int]) -> None:
    draw = random.Random(seed)
    parts = [
        [r._replace(publisher_id=p, instrument_id=p % 2) for r in Market(draw).run(120)]
        for p in (1, 2, 3)
    ]
    mixed: list[Rec] = []
    while any(parts):
        part = draw.choice([p for p in parts if p])
        mixed.append(part.pop(0)._replace(record=len(mixed)))
    assert rebuilt_rows(mixed, 5, 5, cuts) == plain_rows(mixed, 5)


def rec(action: str, side: str, price: int, size: int, oid: int, flags: int = LAST) -> Rec:
    return Rec(MIDNIGHT, MIDNIGHT, 1, oid, price, size, flags, 0, action, side, 0)


def numbered(*records: Rec) -> list[Rec]:
    return [
        r._replace(record=i, ts_recv=r.ts_recv + (0 if r.flags & SNAPSHOT else i))
        for i, r in enumerate(records)
    ]


def test_a_trade_shows_the_book_before_it_with_the_events_earlier_changes() -> None:
    records = numbered(
        rec("A", "A", 10, 5, 1),
        rec("A", "A", 9, 1, 2, 0),
        rec("T", "B", 9, 1, 0, 0),
        rec("F", "A", 9, 1, 2, 0),
        rec("C", "A", 9, 1, 2),
    )
    rows = rebuilt_rows(records, 1, 1)
    assert [(chr(r["action"]), r["ask_px_00"]) for r in rows] == [("A", 10), ("T", 9)]


def test_what_changes_below_the_shown_levels_gives_no_row() -> None:
    records = numbered(*(rec("A", "B", price, 1, price) for price in (9, 8, 7)))
    assert len(rebuilt_rows(records, 10, 3)) == 3
    assert len(rebuilt_rows(records, 10, 1)) == 1


@pytest.mark.parametrize("last", [LAST, 0])
def test_a_snapshots_end_gives_one_row_even_where_nothing_changed(last: int) -> None:
    flags = SNAPSHOT | BAD_TS
    records = numbered(
        rec("R", "N", NULL, 0, 0, flags),
        rec("A", "B", 9, 1, 1, flags),
        rec("A", "A", 11, 1, 2, flags | last),
        rec("N", "N", NULL, 0, 0),
    )
    rows = rebuilt_rows(records, 2, 2)
    assert [(r["record"], r["bid_px_00"], r["ask_px_00"]) for r in rows] == [(2, 9, 11)]


def test_a_book_is_valid_from_a_clear_to_a_doubtful_record() -> None:
    records = numbered(
        rec("A", "B", 5, 1, 1),
        rec("R", "N", NULL, 0, 0),
        rec("A", "B", 6, 1, 2),
        rec("A", "B", 7, 1, 3, LAST | MAYBE_BAD),
    )
    rebuild = Rebuild(DATE, 1, DEFAULT_RULE)
    (frame,) = rebuild.frames([chunk_of(records)])
    assert frame["valid"].to_list() == [0, 1, 1, 0]
    import numpy as np

    times = np.array([r.ts_recv for r in records])
    ones = np.ones(4, np.int64)
    assert rebuild.valid_at(ones, ones * 0 + records[0].instrument_id, times).tolist() == [
        False, True, True, False,
    ]  # fmt: skip


def test_level_names_are_the_vendors() -> None:
    assert len(set(level_names(10))) == 60
    assert level_names(2)[:4] == ["bid_px_00", "ask_px_00", "bid_px_01", "ask_px_01"]
