"""The consolidated touch of several publishers: against a reference, in any chunks, carried."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import open_lake, tables
from pipeline.book.consolidate import Consolidator
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.layout import DEFAULT_RULE
from pipeline.book.state import BookState, closing_state, resume
from tests.book.support import DATE, MIDNIGHT, SECOND, Market, chunk_of, plain, wild
from tests.e2e.running import mbo
from tests.ingest import making
from tests.reference.book import reference_day
from tests.reference.consolidated import consolidated
from tests.reference.records import LAST, MAYBE_BAD, UNDEF, Rec


def venues(seed: int, length: int = 400, publishers: int = 3) -> list[Rec]:
    """Markets of one instrument at several venues, in order of time."""
    merged = []
    for who in range(publishers):
        market = Market(random.Random(1000 * seed + who), middle=(who - 1) * 250_000_000)
        clear = Rec(MIDNIGHT, MIDNIGHT, 0, 0, UNDEF, 0, LAST, 0, "R", "N", 0)
        records = [clear, *market.run(length)]
        merged += [rec._replace(publisher_id=who + 1) for rec in records]
    merged.sort(key=lambda rec: rec.ts_recv)
    return [rec._replace(record=n) for n, rec in enumerate(merged)]


def follow(
    records: Sequence[Rec],
    *,
    cuts: Iterable[int] = (),
    state: BookState | None = None,
    **options: Any,
) -> tuple[pa.Table, BookEngine]:
    """Rows of `consolidated`, the engine fed in the given chunks."""
    engine = BookEngine(DATE, BookOptions(**options), DEFAULT_RULE)
    if state is not None:
        resume(engine, state)
    together = Consolidator(engine)
    parts = [tables.CONSOLIDATED.schema().empty_table()]
    for start, stop in pairwise([0, *sorted(cuts), len(records)]):
        if stop > start:
            chunk = chunk_of(records[start:stop], start)
            parts += [together.feed(batch.book) for batch in engine.feed(chunk)]
    last = engine.finish()
    if last is not None:
        parts.append(together.feed(last.book))
    return pa.concat_tables(parts), engine


def assert_same(got: pa.Table, wanted: list[dict[str, Any]]) -> None:
    assert plain(got) == [{name: row[name] for name in got.column_names} for row in wanted]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("publishers", [2, 3])
def test_venues_that_trade_equal_the_reference(seed: int, publishers: int) -> None:
    records = venues(seed, 250, publishers)
    got, _ = follow(records, cuts=(7, 100, 301))
    wanted = consolidated(reference_day(records, DATE).book)
    assert len(wanted) > 50
    assert_same(got, wanted)


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 80), st.integers(1, 3))
def test_any_records_at_all_equal_the_reference(
    draw: random.Random, length: int, books: int
) -> None:
    records = wild(draw, length, books)
    got, _ = follow(records, depth=1, assume_valid_after="2s")
    day = reference_day(records, DATE, depth=1, assume_after=2 * SECOND)
    assert_same(got, consolidated(day.book))


@pytest.mark.parametrize("mode", [{}, {"materialise": "grid"}], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_chunks_do_not_matter(seed: int, mode: dict[str, Any]) -> None:
    records = venues(seed, 200) if seed % 2 else wild(random.Random(seed), 500, 2)
    whole, _ = follow(records, **mode)
    assert whole.num_rows > 3
    for count in (1, 40, 400):
        cuts = random.Random(seed).sample(range(1, len(records)), count)
        assert plain(follow(records, cuts=cuts, **mode)[0]) == plain(whole)


@pytest.mark.parametrize("seed", range(5))
def test_over_midnight_it_goes_on_where_it_was(seed: int) -> None:
    """Also where a publisher is silent on the second day."""
    records = venues(seed, 150)
    cut = random.Random(seed).randrange(200, 300)
    first = records[:cut]
    second = [rec for rec in records[cut:] if rec.publisher_id != 2 and not rec.flags & 32]
    _, engine = follow(first)
    got, _ = follow(second, state=closing_state(engine))

    whole = reference_day([*first, *second], DATE).book
    before = reference_day(first, DATE).book
    number = {row["event"] for row in before}
    assert whole[: len(before)] == before
    wanted = consolidated(whole[len(before) :], before)
    assert number.isdisjoint(row["event"] for row in wanted)
    shown = [{**row, "event": 0, "ts_recv": 0} for row in plain(got)]
    assert shown == [
        {name: row[name] for name in got.column_names} | {"event": 0, "ts_recv": 0}
        for row in wanted
    ]


# --- claims ------------------------------------------------------------------------------------


class Script:
    """Records by hand, one event each, of publishers that all begin with a clear."""

    def __init__(self, *publishers: int) -> None:
        self.records: list[Rec] = []
        for who in publishers:
            self(who, "R", "N", UNDEF, 0, 0)

    def __call__(
        self, who: int, action: str, side: str, price: int, size: int, oid: int, flags: int = 0,
        at: int = 0, instrument: int = 1,
    ) -> Script:  # fmt: skip
        n = len(self.records)
        at = at or MIDNIGHT + n
        bits = flags | LAST
        rec = Rec(at, at, n, oid, price, size, bits, 0, action, side, n, who, instrument)
        self.records.append(rec)
        return self

    def last(self) -> dict[str, Any]:
        return self.rows()[-1]

    def rows(self) -> list[dict[str, Any]]:
        got, _ = follow(self.records)
        return plain(got)


def test_equal_prices_add_up_and_name_who_has_most() -> None:
    row = Script(1, 2, 3)(1, "A", "B", 100, 5, 1)(2, "A", "B", 100, 7, 1)(3, "A", "B", 99, 50, 1)
    last = row.rows()[-1]
    assert (last["bid_px"], last["bid_sz"], last["bid_publishers"]) == (100, 12, 2)
    assert last["bid_publisher_id"] == 2
    assert last["ask_px"] is None
    assert (last["ask_sz"], last["ask_publishers"], last["ask_publisher_id"]) == (0, 0, None)
    assert len(row.rows()) == 3, "valid with the last clear, then two changes; 99 is no better"


def test_of_equal_sizes_the_smallest_number_is_named() -> None:
    for first, second in ((1, 2), (2, 1)):
        script = Script(first, second)(first, "A", "A", 100, 5, 1)
        last = script(second, "A", "A", 100, 5, 1).last()
        assert (last["ask_sz"], last["ask_publishers"], last["ask_publisher_id"]) == (10, 2, 1)


def test_venues_may_cross_each_other() -> None:
    script = Script(1, 2)(1, "A", "B", 101, 1, 1)(2, "A", "A", 100, 1, 1)
    assert script.last()["state"] == "crossed"
    assert script(1, "M", "B", 100, 1, 1).last()["state"] == "locked"


def test_a_book_that_may_be_bad_takes_no_part() -> None:
    script = Script(1, 2)(1, "A", "B", 100, 1, 1)(2, "A", "B", 101, 1, 1)
    last = script(2, "N", "N", UNDEF, 0, 0, MAYBE_BAD).last()
    assert (last["bid_px"], last["valid"], last["publisher_id"]) == (100, False, 2)
    back = script(2, "R", "N", UNDEF, 0, 0).last()
    assert (back["bid_px"], back["valid"]) == (100, True)


def test_a_new_instrument_id_takes_the_place_of_the_old_one() -> None:
    script = Script(1, 2)(1, "A", "B", 105, 1, 1)(2, "A", "B", 100, 1, 1)
    last = script(1, "R", "N", UNDEF, 0, 0, instrument=9).last()
    assert (last["bid_px"], last["bid_publishers"]) == (100, 1)


def test_time_is_the_latest_of_all_books() -> None:
    script = Script(1, 2)(1, "A", "B", 100, 1, 1, at=MIDNIGHT + 900)
    rows = script(2, "A", "B", 101, 1, 1, at=MIDNIGHT + 500).rows()
    assert [row["ts_recv"] - MIDNIGHT for row in rows[-2:]] == [900, 900]


# --- through the commands ----------------------------------------------------------------------


def raw_file(folder: Path, records: Sequence[Rec], day: int, name: str) -> None:
    from tests.book.support import structs

    array = structs(records)
    shift = making.T0 + day * making.DAY - MIDNIGHT
    array["ts_recv"] += shift
    array["ts_event"] += shift
    array["length"], array["rtype"] = 14, 160
    start = making.T0 + day * making.DAY
    making.write(folder / name, array, dataset="DBEQ.BASIC", start=start, end=start + making.DAY)


@pytest.mark.parametrize("layout", ["symbols", "packed"])
def test_two_days_of_three_publishers_through_ingest_book_and_sql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("MBO_LAKE__LAYOUT", layout)
    records = [rec for rec in venues(3, 200) if not rec.flags & 32]
    records = [rec._replace(ts_recv=MIDNIGHT + n) for n, rec in enumerate(records)]
    days = [records[:300], [r for r in records[300:] if r.publisher_id == 1]]
    alone = [rec._replace(publisher_id=1) for rec in records[:50]]
    for number, rows in enumerate(days):
        raw_file(tmp_path / "raw", rows, number, f"day{number}.mbo.dbn.zst")
    raw_file(tmp_path / "raw", alone, 10, "alone.mbo.dbn.zst")
    lake = tmp_path / "lake"
    mbo("ingest", tmp_path / "raw", "--lake", lake, "--workers", "1").checked()
    mbo("book", "--lake", lake, "--workers", "1").checked()

    opened = open_lake(lake)
    stored = [item.partition["date"] for item in opened.catalog.partitions("consolidated")]
    assert stored == ["2025-05-01", "2025-05-02"], "the second day has two books carried into it"
    frame = opened.scan("consolidated", symbols="ESM5").collect()
    book = opened.scan("book", symbols="ESM5", end="2025-05-02").collect()
    parts = [day.to_dicts() for day in book.partition_by("date", maintain_order=True)]
    wanted = consolidated(parts[0]) + consolidated(parts[1], parts[0])
    names = list(tables.CONSOLIDATED.schema().names)
    assert frame.select(names).to_dicts() == [{n: row[n] for n in names} for row in wanted]
    query = (
        "select count(*), max(bid_px - ask_px) filter (where state = 'crossed') from consolidated"
    )
    [(rows, crossed)] = opened.sql(query).rows()
    assert rows == frame.height
    assert crossed > 0
    assert " done" not in mbo("book", "--lake", lake, "--workers", "1").checked().err
