"""What holds for every legal stream, whatever it is made of."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.book.position import queue_position
from pipeline.book.state import closing_state
from tests.book.support import (
    DATE,
    SECOND,
    Market,
    assert_same_day,
    odd,
    plain,
    queue_order,
    run_engine,
    wild,
)
from tests.reference.book import ReferenceBook, Result, reference_day
from tests.reference.records import LAST, SNAPSHOT, UNDEF, Rec, split_events

CASES: list[dict[str, Any]] = [
    {},
    {"depth": 1},
    {"depth": 3, "assume_valid_after": "2s"},
    {"materialise": "touch"},
    {"materialise": "grid", "grid": "1s", "depth": 2},
]
draws = st.randoms(use_true_random=False)


def reference_options(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "depth": 1 if options.get("materialise") == "touch" else options.get("depth", 10),
        "grid_step": SECOND if options.get("materialise") == "grid" else None,
        "assume_after": 2 * SECOND if "assume_valid_after" in options else None,
    }


# --- the reference -----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(draws, st.integers(1, 50), st.sampled_from(CASES), st.integers(1, 3))
def test_legal_streams_equal_the_reference(
    draw: random.Random, length: int, options: dict[str, Any], books: int
) -> None:
    records = odd(draw, length, books)
    cuts = draw.choices(range(len(records)), k=draw.choice((0, 1, 5, 50)))

    ran = run_engine(records, cuts=cuts, **options)

    assert_same_day(ran, reference_day(records, DATE, **reference_options(options)))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("options", CASES, ids=str)
def test_long_legal_streams_equal_the_reference(seed: int, options: dict[str, Any]) -> None:
    draw = random.Random(seed)
    records = odd(draw, 900, 1 + seed % 3)

    ran = run_engine(records, cuts=draw.choices(range(len(records)), k=7), **options)

    assert_same_day(ran, reference_day(records, DATE, **reference_options(options)))


def test_legal_streams_hold_what_is_rare() -> None:
    """Else the properties would say nothing of it."""
    records = [r for seed in range(10) for r in odd(random.Random(seed), 900)]
    seen = Counter(r.action for r in records)
    assert all(seen[action] > 5 for action in "ACMRTFN")
    ids = Counter(r.order_id for r in records if r.action == "A" and not r.flags & SNAPSHOT)
    assert max(ids) == 2**64 - 1
    assert min(n for i, n in ids.items() if i >= 2**63) > 5
    prices = {r.price for r in records if r.price != UNDEF}
    assert min(prices) < -(2**61) < 2**61 < max(prices)
    states = {
        row["state"] for s in range(3) for row in plain(run_engine(odd(random.Random(s), 900)).book)
    }
    assert states == {"normal", "locked", "crossed", "one_sided"}


# --- every event end ---------------------------------------------------------------------------


class End(NamedTuple):
    """An event, and the book after it."""

    records: list[Rec]
    orders: list[tuple[Any, ...]]
    """side, price, place, id, size, printed, entry; best first, in queue order."""
    ahead: dict[int, tuple[int, int]]
    """Orders and size ahead, by id."""
    row: dict[str, Any]
    """The newest row of ten levels."""


def event_ends(records: list[Rec]) -> list[End]:
    """The engine at each event end of a stream of one instrument."""
    ends: list[End] = []
    row: dict[str, Any] = {}
    stops = [n + 1 for n, r in enumerate(records) if r.flags & LAST]
    ran = None
    for start, stop in pairwise([0, *stops]):
        # One engine all the way: only the first has nothing behind it.
        ran = run_engine(records[start:stop], engine=ran.engine if ran else None)
        row = (plain(ran.book) or [row])[-1]
        book = ran.engine.books[1, 1].book
        orders = queue_order(book)
        ahead = {o[3]: queue_position(book, o[3]) for o in orders}
        assert None not in ahead.values()
        ends.append(End(records[start:stop], orders, ahead, row))  # type: ignore[arg-type]
    return ends


def streams(seed: int) -> list[Rec]:
    draw = random.Random(seed)
    return odd(draw, 300) if seed % 2 else Market(draw, middle=-(10**9)).run(300)


@pytest.fixture(scope="module", params=range(4))
def ends(request: pytest.FixtureRequest) -> list[End]:
    return event_ends(streams(request.param))


def test_every_order_stands_where_the_reference_has_it(ends: list[End]) -> None:
    book, out = ReferenceBook(10, None, None), Result()
    # A snapshot without F_LAST ends where the next record begins: no end is looked at there.
    looked_at = {end.records[-1].record: end for end in ends}
    events, _ = split_events([r for end in ends for r in end.records])
    for number, event in enumerate(events, 1):
        book.play(event, number, out)
        end = looked_at.pop(event[-1].record, None)
        if end is None:
            continue
        assert end.orders == book.queue_order()
        for queues in book.queues.values():
            for queue in queues.values():
                for place, order in enumerate(queue):
                    wanted = (place, sum(o.size for o in queue[:place]))
                    assert end.ahead[order.order_id] == wanted
    assert not looked_at


def test_levels_are_the_sum_of_their_orders(ends: list[End]) -> None:
    for end in ends:
        assert all(order[4] > 0 for order in end.orders)
        sizes: Counter[tuple[str, int]] = Counter()
        counts: Counter[tuple[str, int]] = Counter()
        for side, price, _, _, size, *_ in end.orders:
            sizes[side, price] += size
            counts[side, price] += 1
        for side, name in (("B", "bid"), ("A", "ask")):
            prices = sorted({p for s, p in sizes if s == side}, reverse=side == "B")[:10]
            shown = [end.row[f"{name}_px_{n:02d}"] for n in range(10)]
            assert shown == prices + [None] * (10 - len(prices))
            for n, price in enumerate(prices):
                assert end.row[f"{name}_sz_{n:02d}"] == sizes[side, price]
                assert end.row[f"{name}_ct_{n:02d}"] == counts[side, price]


def test_the_queue_ahead_never_grows_while_the_order_stands(ends: list[End]) -> None:
    stood = 0
    for before, after in pairwise(ends):
        if any(r.action == "R" or r.flags & SNAPSHOT for r in after.records):
            continue
        named = {r.order_id for r in after.records if r.action in "AM"}
        queues = [ahead_of(end.orders) for end in (before, after)]
        for oid in set(queues[0]) & set(queues[1]) - named:
            earlier, later = queues[0][oid], queues[1][oid]
            assert later.keys() <= earlier.keys()
            assert all(size <= earlier[i] for i, size in later.items())
            assert after.ahead[oid] <= before.ahead[oid]
            assert after.ahead[oid][1] <= before.ahead[oid][1]
            stood += bool(earlier)
    assert stood > 100


def ahead_of(orders: list[tuple[Any, ...]]) -> dict[int, dict[int, int]]:
    """Sizes by id of the orders ahead, by id."""
    result: dict[int, dict[int, int]] = {}
    ahead: dict[int, int] = {}
    for _, _, place, oid, size, *_ in orders:
        ahead = ahead if place else {}
        result[oid] = dict(ahead)
        ahead[oid] = size
    return result


# --- chunks and symmetry -----------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(draws, st.integers(1, 60), st.sampled_from(CASES), st.integers(1, 3))
def test_cuts_anywhere_change_nothing(
    draw: random.Random, length: int, options: dict[str, Any], books: int
) -> None:
    records = odd(draw, length, books)
    cuts = draw.choices(range(len(records)), k=draw.choice((1, 3, 30)))

    whole, cut = run_engine(records, **options), run_engine(records, cuts=cuts, **options)

    assert all(a.equals(b) for a, b in zip(whole.tables, cut.tables, strict=True))
    assert whole.engine.quality() == cut.engine.quality()
    assert closing_state(whole.engine) == closing_state(cut.engine)


SWAP = {"B": "A", "A": "B", "N": "N"}
NAMES = {"bid": "ask", "ask": "bid"}


def mirrored_row(row: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for name, value in row.items():
        side, _, rest = name.partition("_")
        is_price = name.endswith("_px") or "_px_" in name or name == "price"
        negated = -value if is_price and value is not None else value
        out[f"{NAMES[side]}_{rest}" if side in NAMES else name] = (
            SWAP[value] if name == "side" else negated
        )
    return out


def assert_mirrored(records: list[Rec]) -> None:
    """The mirrored day gives the mirrored rows, flow, trades, numbers and queues."""
    other_way = [
        r._replace(side=SWAP[r.side], price=r.price if r.price == UNDEF else -r.price)
        for r in records
    ]

    one, other = run_engine(records), run_engine(other_way)

    for left, right in zip(one.tables, other.tables, strict=True):
        assert [mirrored_row(row) for row in plain(left)] == plain(right)
    assert one.engine.quality() == other.engine.quality()
    for key, book in one.engine.books.items():
        queues = [(SWAP[o[0]], -o[1], *o[2:]) for o in queue_order(book.book)]
        assert sorted(queues, key=lambda o: o[0] == "A") == queue_order(
            other.engine.books[key].book
        )


@settings(max_examples=40, deadline=None)
@given(draws, st.integers(1, 60))
def test_swapping_sides_and_negating_prices_mirrors_legal_days(
    draw: random.Random, length: int
) -> None:
    assert_mirrored(odd(draw, length))


@pytest.mark.parametrize("seed", range(9))
def test_swapping_sides_and_negating_prices_mirrors_any_day(seed: int) -> None:
    draw = random.Random(seed)
    assert_mirrored((wild(draw, 300), Market(draw).run(300), odd(draw, 500))[seed % 3])
