"""`lake.book_at`: every order at any instant, against a replay from the day's first record."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from pipeline.book import checkpoints, tape
from pipeline.book.at import BookAt
from pipeline.book.seek import clocks
from pipeline.errors import RequestError
from pipeline.instants import format_instant, format_price, parse_instant
from pipeline.lake import Lake, open_lake
from tests.book.support import DATE, MIDNIGHT, Market, chunk_of, read_raw, recs, wild
from tests.book.test_stage import DAY_NS, Records, run, split
from tests.reference.book import ReferenceBook, Result
from tests.reference.records import LAST, SNAPSHOT, Rec, split_events

EVERY = 128
BASE = DATE * 10**10


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints, row groups and batches that a short day has many of."""
    monkeypatch.setattr("pipeline.book.stage.EVERY", EVERY)
    monkeypatch.setattr(checkpoints, "RECORDS_PER_ORDER", 1)
    monkeypatch.setattr("pipeline.parquet.rows_per_group", lambda _: 100)
    monkeypatch.setattr("pipeline.book.stage.BATCH_ROWS", 37)


class Known(NamedTuple):
    """A book after one event, as a replay from the beginning has it."""

    event: int
    key: tuple[int, int]
    clock: int
    valid: bool
    state: str
    last: Rec
    orders: list[tuple[Any, ...]]


def history(days: Sequence[Sequence[Rec]]) -> list[Known]:
    """The reference after every event of consecutive days, one after another as one stream."""
    books: dict[tuple[int, int], ReferenceBook] = {}
    known, out = [], Result()
    waiting: list[Rec] = []
    for n, records in enumerate(days):
        events, rest = split_events([*waiting, *records])
        waiting = [rec for event in rest for rec in event]
        for number, event in enumerate(events, 1):
            key = (event[0].publisher_id, event[0].instrument_id)
            book = books.setdefault(key, ReferenceBook(10, None, None))
            name = (DATE + n) * 10**10 + number
            book.play(event, name, out)
            assert book.clock is not None
            orders = book.queue_order()
            last = event[-1]
            known.append(Known(name, key, book.clock, book.valid, book.state, last, orders))
    return known


def at(known: Sequence[Known], ts: int, publisher: int | None = None) -> Known | None:
    """The last event before the first one that is known only after ``ts``."""
    found = None
    for item in known:
        if publisher is not None and item.key[0] != publisher:
            continue
        if item.clock > ts:
            break
        found = item
    return found


def assert_is(book: BookAt, wanted: Known) -> None:
    assert (book.publisher_id, book.instrument_id) == wanted.key
    assert (book.event, book.ts_recv) == (wanted.event, wanted.clock)
    assert (book.valid, book.state) == (wanted.valid, wanted.state)
    assert book.sequence == wanted.last.sequence
    rows = book.orders.with_columns(pl.col("ts_event").cast(pl.Int64)).to_dicts()
    ahead = 0
    for row, (side, price, position, order_id, size, _, entry) in zip(
        rows, wanted.orders, strict=True
    ):
        ahead = 0 if position == 0 else ahead
        assert row == {
            "side": side,
            "price": price,
            "order_id": order_id,
            "size": size,
            "ts_event": None if entry == 2**63 - 1 else entry,
            "orders_ahead": position,
            "size_ahead": ahead,
        }
        ahead += size


def instants(known: Sequence[Known], draw: random.Random, count: int) -> list[int]:
    """Instants of events (ties among them), just before and just after."""
    return [draw.choice(known).clock + draw.choice((-1, 0, 0, 1, 500)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_at_random_instants_it_is_a_replay_up_to_there(tmp_path: Path, seed: int) -> None:
    """Ties, snapshots with and without their last flag, times going back, junk."""
    draw = random.Random(seed)
    records = (wild(draw, 900) if seed % 2 else Market(draw).run(900))[:900]
    run(tmp_path, {("2024-01-02", "X"): records})
    known, lake = history([records]), open_lake(tmp_path)

    for ts in instants(known, draw, 40):
        wanted = at(known, ts)
        if wanted is None:
            with pytest.raises(RequestError, match="no event"):
                lake.book_at("X", ts)
        else:
            assert_is(lake.book_at("X", ts), wanted)


@pytest.mark.parametrize("seed", range(4))
def test_after_any_event(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    records = (wild(draw, 600, 1 + seed) if seed % 2 else Market(draw).run(600))[:600]
    run(tmp_path, {("2024-01-02", "X"): records})
    known, lake = history([records]), open_lake(tmp_path)
    for wanted in [known[0], known[-1], *draw.sample(known, 30)]:
        assert_is(lake.book_at("X", event=wanted.event), wanted)
    with pytest.raises(RequestError, match=f"has {len(known):,} events"):
        lake.book_at("X", event=known[-1].event + 1)
    with pytest.raises(RequestError, match="has no event"):
        lake.book_at("X", event=BASE)


def test_several_publishers_have_a_book_each(tmp_path: Path) -> None:
    draw = random.Random(5)
    records = wild(draw, 900, 2)
    run(tmp_path, {("2024-01-02", "X"): records})
    known, lake = history([records]), open_lake(tmp_path)
    for ts in instants(known, draw, 25):
        for publisher in (1, 2):
            if wanted := at(known, ts, publisher):
                assert_is(lake.book_at("X", ts, publisher=publisher), wanted)
    with pytest.raises(RequestError, match="say publisher=1 or publisher=2"):
        lake.book_at("X", known[-1].clock)
    with pytest.raises(RequestError, match="of publisher 3"):
        lake.book_at("X", known[-1].clock, publisher=3)
    one = next(item for item in known if item.key[0] == 1)
    with pytest.raises(RequestError, match="is of publisher 1"):
        lake.book_at("X", event=one.event, publisher=2)


def test_an_id_that_changes_under_the_symbol_is_a_new_book(tmp_path: Path) -> None:
    old = Rec(MIDNIGHT, MIDNIGHT, 1, 7, 100, 2, LAST, 0, "A", "B", 0, 1, 10)
    new = old._replace(instrument_id=11, price=200, ts_recv=MIDNIGHT + 5, record=1)
    run(tmp_path, {("2024-01-02", "X"): [old, new]})
    lake = open_lake(tmp_path)
    assert lake.book_at("X", MIDNIGHT + 4).instrument_id == 10
    assert lake.book_at("X", MIDNIGHT + 5).instrument_id == 11
    assert lake.book_at("X", MIDNIGHT + 5).orders["price"].to_list() == [200]


def test_over_midnight_the_closing_state_stands_until_the_first_event(tmp_path: Path) -> None:
    records = [r for r in Market(random.Random(2)).run(900) if not r.flags & SNAPSHOT]
    days = split(records, [300, 601])
    run(tmp_path, days)
    known, lake = history(list(days.values())), open_lake(tmp_path)
    for n in (1, 2):
        midnight = MIDNIGHT + n * DAY_NS
        first = next(item for item in known if item.event // 10**10 == DATE + n)
        before = [item for item in known if item.event < first.event][-1]
        assert midnight <= first.clock
        assert_is(lake.book_at("X", first.clock - 1), before)
        assert_is(lake.book_at("X", midnight - 1), before)
        assert_is(lake.book_at("X", first.clock), at(known, first.clock) or first)
    draw = random.Random(3)
    for ts in instants(known, draw, 40):
        wanted = at(known, ts)
        if wanted is None or ts < MIDNIGHT:
            continue
        assert_is(lake.book_at("X", ts), wanted)


def test_it_equals_the_rows_of_book(tmp_path: Path) -> None:
    run(tmp_path, {("2024-01-02", "X"): Market(random.Random(8)).run(1000)})
    lake = open_lake(tmp_path)
    rows = lake.scan("book").collect()
    for row in rows.sample(40, seed=1).to_dicts():
        book = lake.book_at("X", event=row["event"])
        assert (book.valid, book.state, book.event) == (row["valid"], row["state"], row["event"])
        assert parse_instant(row["ts_recv"]) == book.ts_recv // 1000 * 1000
        for level in book.levels(10).to_dicts():
            for name in ("bid_px", "ask_px", "bid_sz", "ask_sz", "bid_ct", "ask_ct"):
                assert level[name] == row[f"{name}_{level['level']:02d}"], (row["event"], name)


def test_all_levels_or_as_many_as_asked(tmp_path: Path) -> None:
    records = [
        Rec(MIDNIGHT, MIDNIGHT, i, i, 10 * (i // 2), 1 + i, LAST, 0, "A", "B", i)
        for i in range(2, 8)
    ]
    run(tmp_path, {("2024-01-02", "X"): records})
    book = open_lake(tmp_path).book_at("X", MIDNIGHT)
    assert book.levels()["bid_px"].to_list() == [30, 20, 10]
    assert book.levels()["bid_sz"].to_list() == [15, 11, 7]
    assert book.levels()["bid_ct"].to_list() == [2, 2, 2]
    assert book.levels()["ask_px"].to_list() == [None] * 3
    assert book.levels()["ask_sz"].to_list() == [0] * 3
    assert book.levels(5)["bid_px"].to_list() == [30, 20, 10, None, None]
    assert book.levels(1).rows() == [(0, 30, 15, 2, None, 0, 0)]


def test_a_trust_granted_after_a_while_is_granted_here_too(tmp_path: Path) -> None:
    adds = [
        Rec(MIDNIGHT + i * 10**9, MIDNIGHT, i, i, 100, 1, LAST, 0, "A", "B", i) for i in range(5)
    ]
    run(tmp_path, {("2024-01-02", "X"): adds}, assume_valid_after="2s")
    lake = open_lake(tmp_path)
    valid = [lake.book_at("X", MIDNIGHT + i * 10**9).valid for i in range(5)]
    assert valid == [False, False, True, True, True]


def test_only_what_is_needed_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Market(random.Random(8)).run(2000)
    run(tmp_path, {("2024-01-02", "X"): records})
    known, lake = history([records]), open_lake(tmp_path)
    from pipeline.book import seek as module

    read: list[int] = []
    whole = module.ends_of

    def counted(engine: Any, chunk: Any) -> Any:
        read.append(len(chunk.publisher))
        return whole(engine, chunk)

    monkeypatch.setattr(module, "ends_of", counted)
    for wanted in known[:: len(known) // 20]:
        read.clear()
        lake.book_at("X", event=wanted.event)
        assert sum(read) <= EVERY + 37


def test_without_checkpoints_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.book.stage.EVERY", 1 << 20)
    records = Market(random.Random(8)).run(400)
    run(tmp_path, {("2024-01-02", "X"): records})
    known, lake = history([records]), open_lake(tmp_path)
    for wanted in known[::40]:
        assert_is(lake.book_at("X", event=wanted.event), wanted)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"symbol": "Y", "ts": MIDNIGHT}, "unknown symbol 'Y'"),
        (
            {"symbol": "X", "ts": MIDNIGHT - 1},
            "of X on 2024-01-01.*nearest to it: 2024-01-02$",
        ),
        (
            {"symbol": "X", "ts": MIDNIGHT + 3 * DAY_NS},
            "2024-01-05.*it: 2024-01-04 and 2024-01-11$",
        ),
        ({"symbol": "X", "ts": MIDNIGHT}, "no event is known at 2024-01-02 00:00:00.000000000"),
        ({"symbol": "X", "ts": MIDNIGHT + 9 * DAY_NS}, "no day up to 4 days before has one"),
        ({"symbol": "X", "ts": "noon"}, "'noon' is not a time; write it as 2025"),
        ({"symbol": "X", "ts": "2024-13-01"}, "is not a time"),
        ({"symbol": "X", "ts": True}, "is not a time"),
        ({"symbol": "X"}, "either a time or an event"),
        ({"symbol": "X", "ts": 1, "event": 1}, "either a time or an event"),
        ({"symbol": "X", "event": 17}, "17 is no event key"),
        ({"symbol": "X", "event": 20240103 * 10**10}, "has no event"),
        ({"symbol": "X", "ts": 1, "dataset": "A"}, "holds no mbo of A"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_said(tmp_path: Path, ask: dict[str, Any], message: str) -> None:
    first = Rec(MIDNIGHT + 5, MIDNIGHT, 1, 7, 100, 2, LAST, 0, "A", "B", 0)
    days = {
        (f"2024-01-{day:02d}", "X"): [first._replace(ts_recv=first.ts_recv + n * DAY_NS)]
        for day, n in ((2, 0), (3, 1), (4, 2), (11, 9))
    }
    run(tmp_path, days)
    with pytest.raises(RequestError, match=message):
        open_lake(tmp_path).book_at(**ask)


def test_a_day_without_its_book_or_with_a_stale_one_is_refused(tmp_path: Path) -> None:
    from pipeline.catalog import LakeCatalog
    from pipeline.config import Settings
    from pipeline.progress import Quiet
    from pipeline.runner import run_stage
    from pipeline.schedule import RunOptions
    from pipeline.stage import Selection

    def ingest(records: list[Rec]) -> Lake:
        stage = Records({("2024-01-02", "X"): records})
        catalog = LakeCatalog(tmp_path)
        run_stage(stage, catalog, Settings(), Selection(), RunOptions(), Quiet())
        return open_lake(tmp_path)

    records = Market(random.Random(1)).run(50)
    with pytest.raises(RequestError, match="no book of X on 2024-01-02 yet; `mbo book`"):
        ingest(records).book_at("X", records[-1].ts_recv)
    run(tmp_path, {("2024-01-02", "X"): records})
    ingest(records).book_at("X", records[-1].ts_recv)
    with pytest.raises(RequestError, match="made from other records"):
        ingest(records[:40]).book_at("X", records[-1].ts_recv)


def test_a_symbol_of_two_datasets_needs_the_dataset(tmp_path: Path) -> None:
    from pipeline.lake import Lake
    from pipeline.stage import Partition, Stored

    class Two:
        root = tmp_path

        def partitions(self, _: str) -> list[Stored]:
            keys = [("A.B", "2024-01-02"), ("C.D", "2024-01-02")]
            return [
                Stored("mbo", Partition.of(dataset=d, date=day, symbol="X"), (), 0, 0, "")
                for d, day in keys
            ]

    lake = Lake(tmp_path)
    lake.__dict__["catalog"] = Two()
    with pytest.raises(RequestError, match=r"X is in A\.B and C\.D: say which dataset"):
        lake.book_at("X", MIDNIGHT)


def test_clocks_are_the_kernels() -> None:
    """The running maximum as the kernel follows it, at every record."""
    records = wild(random.Random(4), 400)
    book, out = ReferenceBook(1, None, None), []
    clock: int | None = None
    for rec in records:
        clock = book.advance(clock, rec)
        out.append(clock)
    columns = chunk_of(records).records
    assert clocks(columns, tape.NO_TIME).tolist() == out
    rest = chunk_of(records[150:]).records
    assert clocks(rest, out[149]).tolist() == out[150:]


def test_the_real_hour_at_random_instants(
    tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ES on 2023-12-25: pre-open and auction; the snapshot has no last flag."""
    monkeypatch.setattr("pipeline.book.stage.EVERY", 4096)
    monkeypatch.setattr("pipeline.parquet.rows_per_group", lambda _: 3000)
    monkeypatch.setattr("pipeline.book.stage.BATCH_ROWS", 1024)
    file = real_data / "esh4" / "glbx-mdp3-20231225.mbo.dbn.zst"
    records = recs(read_raw(file))[:16_000]
    records = [r._replace(ts_event=min(r.ts_event, 2**63 - 1)) for r in records]
    days = {("2023-12-25", "ESH4"): records}
    run(tmp_path, days)
    lake = open_lake(tmp_path)
    draw = random.Random(1)
    events = split_events(records)[0]
    chosen = sorted(draw.sample(range(len(events)), 12))
    book, out = ReferenceBook(10, None, None), Result()
    done = 0
    for index in chosen:
        for number in range(done, index + 1):
            book.play(events[number], 20231225 * 10**10 + number + 1, out)
        done = index + 1
        assert book.clock is not None
        key = (events[index][0].publisher_id, events[index][0].instrument_id)
        wanted = Known(
            20231225 * 10**10 + done, key, book.clock, book.valid, book.state,
            events[index][-1], book.queue_order(),
        )  # fmt: skip
        assert_is(lake.book_at("ESH4", event=wanted.event), wanted)
        same = lake.book_at("ESH4", book.clock)
        assert same.ts_recv == book.clock
        assert same.event >= wanted.event
        assert lake.book_at("ESH4", format_instant(book.clock)).orders.equals(same.orders)


# --- instants and prices -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        ("1970-01-01", 0),
        ("1970-01-01 00:01", 60 * 10**9),
        ("1970-01-01T00:00:00.5Z", 5 * 10**8),
        ("1970-01-01 00:00:00.123456789 UTC", 123_456_789),
        ("1970-01-01 00:00:00-06:00", 6 * 3600 * 10**9),
        ("1970-01-01 02:00:00+0200", 0),
        (dt.datetime(2023, 12, 25, 23, 10), 1_703_545_800 * 10**9),  # noqa: DTZ001
        (dt.datetime(2023, 12, 25, 23, 10, 0, 1, tzinfo=dt.UTC), 1_703_545_800 * 10**9 + 1000),
        (dt.datetime(2023, 12, 25, 17, 10, tzinfo=dt.timezone(dt.timedelta(hours=-6))),
         1_703_545_800 * 10**9),
        (17, 17),
    ],
    ids=str,
)  # fmt: skip
def test_instants(value: Any, ns: int) -> None:
    assert parse_instant(value) == ns
    assert parse_instant(format_instant(ns)) == ns


@pytest.mark.parametrize(
    ("units", "text"),
    [
        (0, "0"),
        (4_750_250_000_000, "4750.25"),
        (-250_000_000, "-0.25"),
        (1, "0.000000001"),
        (-(2**62), "-4611686018.427387904"),
    ],
)
def test_prices(units: int, text: str) -> None:
    assert format_price(units) == text


def test_ends_inside_a_tie_are_told_by_position(tmp_path: Path) -> None:
    """Three events at one time: the instant has all of them, each event key one more."""
    rows = [Rec(MIDNIGHT, MIDNIGHT, i, i, 100, 1, LAST, 0, "A", "B", i) for i in (1, 2, 3)]
    run(tmp_path, {("2024-01-02", "X"): rows})
    lake = open_lake(tmp_path)
    assert lake.book_at("X", MIDNIGHT).orders.height == 3
    assert [lake.book_at("X", event=BASE + n).orders.height for n in (1, 2, 3)] == [1, 2, 3]


def test_nanoseconds_as_numpy_gives_them(tmp_path: Path) -> None:
    row = Rec(MIDNIGHT, MIDNIGHT, 1, 1, 100, 1, LAST, 0, "A", "B", 1)
    run(tmp_path, {("2024-01-02", "X"): [row]})
    lake = open_lake(tmp_path)
    assert lake.book_at("X", np.int64(MIDNIGHT)).orders.height == 1
