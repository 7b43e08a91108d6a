"""Every odd thing MBO files hold, from DBN bytes through `mbo ingest` and `mbo book`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from pipeline import Lake, open_lake
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.layout import DEFAULT_RULE
from tests.book.support import MIDNIGHT, Ran, chunk_of, plain, run_engine, structs
from tests.e2e.running import mbo
from tests.ingest import making
from tests.reference.book import reference_day
from tests.reference.records import LAST, MAYBE_BAD, SNAPSHOT, TOB, UNDEF, Rec

DATE = 20250501
SHIFT = making.T0 - MIDNIGHT
PENNY, TICK = 10_000_000, 250_000_000
STUB_BID, STUB_ASK = PENNY, 19_999_999 * PENNY
"""0.01 and 199,999.99."""

Line = tuple[Any, ...]


def records(*lines: Line, instrument: int = 1) -> list[Rec]:
    """Lines of (action, side, price, size, order id, flags [, instrument]); a microsecond each."""
    rows = []
    for n, (action, side, price, size, oid, flags, *rest) in enumerate(lines):
        ts = making.T0 + 1000 * n
        own = rest[0] if rest else instrument
        rows.append(Rec(ts, ts, n, oid, price, size, flags, 0, action, side, n, 1, own))
    return rows


CLEAR: Line = ("R", "N", UNDEF, 0, 0, LAST)


def together(rows: list[Rec], *numbers: int) -> list[Rec]:
    """Records of one execution have one venue time."""
    at = rows[numbers[0]].ts_event
    return [row._replace(ts_event=at) if n in numbers else row for n, row in enumerate(rows)]


PARTIAL_CANCELS = together(
    records(
        CLEAR,
        ("A", "B", 100 * PENNY, 10, 1, LAST),
        ("A", "B", 100 * PENNY, 5, 2, LAST),
        ("A", "A", 101 * PENNY, 5, 3, LAST),
        ("T", "A", 100 * PENNY, 4, 0, LAST),
        ("F", "B", 100 * PENNY, 4, 1, LAST),
        ("C", "B", 100 * PENNY, 4, 1, LAST),
        ("C", "B", 100 * PENNY, 2, 2, LAST),
    ),
    4, 5, 6,
)  # fmt: skip
MAYBE_BAD_BOOK = records(
    CLEAR,
    ("A", "B", 100 * TICK, 1, 1, LAST),
    ("A", "B", 101 * TICK, 1, 2, LAST | MAYBE_BAD),
    ("A", "B", 102 * TICK, 1, 3, LAST),
    ("A", "B", 99 * TICK, 1, 4, SNAPSHOT | 8),
    ("A", "A", 105 * TICK, 1, 5, SNAPSHOT | 8 | LAST),
    ("A", "B", 100 * TICK, 1, 6, LAST),
)
CLEARS = records(
    CLEAR,
    ("A", "B", 100 * TICK, 1, 1, LAST),
    ("A", "A", 102 * TICK, 1, 2, LAST),
    CLEAR,
    ("C", "A", 102 * TICK, 1, 2, LAST),
    ("A", "A", 103 * TICK, 7, 1, LAST),
)
NONE_LAST = records(
    ("R", "N", UNDEF, 0, 0, 0),
    ("N", "N", UNDEF, 0, 0, LAST),
    ("A", "B", 100 * TICK, 1, 1, 0),
    ("A", "A", 99 * TICK, 1, 2, 0),
    ("C", "A", 99 * TICK, 1, 2, 0),
    ("N", "N", UNDEF, 0, 0, LAST),
    ("N", "N", UNDEF, 0, 0, LAST),
)
CANCEL_FIRST = records(
    ("C", "B", 100 * TICK, 3, 77, LAST),
    ("M", "B", 101 * TICK, 2, 78, LAST),
    ("A", "A", 103 * TICK, 2, 79, LAST),
    ("C", "A", 103 * TICK, 2, 79, LAST),
)
NEW_ID = records(
    CLEAR,
    ("A", "B", 100 * TICK, 1, 1, LAST),
    ("A", "B", 101 * TICK, 2, 2, 0),
    (*CLEAR, 2),
    ("A", "B", 90 * TICK, 3, 1, LAST, 2),
    ("A", "A", 91 * TICK, 4, 3, LAST, 2),
)
PRICES = records(
    CLEAR,
    ("A", "B", STUB_BID, 1, 1, LAST),
    ("A", "A", STUB_ASK, 1, 2, LAST),
    ("A", "B", -37_630_000_000, 2, 3, LAST),
    ("A", "B", 12_345_600_000, 3, 4, LAST),
    ("A", "A", 12_345_700_001, 4, 5, LAST),
    ("A", "A", -1, 1, 6, 0),
    ("C", "A", -1, 1, 6, LAST),
)
TOP_OF_BOOK = records(
    CLEAR,
    ("A", "B", 100 * PENNY, 5, 0, LAST | TOB),
    ("A", "A", 102 * PENNY, 6, 0, LAST | TOB),
    ("A", "B", 99 * PENNY, 7, 0, LAST | TOB),
    ("T", "B", 102 * PENNY, 6, 0, 0),
    ("A", "A", UNDEF, 0, 0, LAST | TOB),
    ("M", "A", 104 * PENNY, 1, 0, LAST | TOB),
)


def one_event(count: int) -> list[Rec]:
    """An event of so many records that leaves half of its orders resting."""
    draw = random.Random(5)
    lines: list[Line] = []
    for oid in range(1, count // 2 + 1):
        side = draw.choice("BA")
        away = draw.randrange(1, 5000)
        lines.append(("A", side, (6000 + (-away if side == "B" else away)) * TICK, 1, oid, 0))
    gone = draw.sample(range(1, count // 2 + 1), count // 4)
    lines += [("C", "N", UNDEF, 0, oid, 0) for oid in gone]
    more = range(count // 2 + 1, count // 2 + 1 + count - len(lines))
    lines += [("A", "B", 100 * TICK, 1, oid, 0) for oid in more]
    last = lines[-1]
    return records(*lines[:-1], (*last[:5], LAST))


CASES: dict[str, tuple[str, list[Rec]]] = {
    "PART": ("XNAS.ITCH", PARTIAL_CANCELS),
    "BAD": ("GLBX.MDP3", MAYBE_BAD_BOOK),
    "CLR": ("GLBX.MDP3", CLEARS),
    "NLAST": ("GLBX.MDP3", NONE_LAST),
    "FIRSTC": ("GLBX.MDP3", CANCEL_FIRST),
    "NEWID": ("GLBX.MDP3", NEW_ID),
    "PRICES": ("GLBX.MDP3", PRICES),
    "TOP": ("DBEQ.BASIC", TOP_OF_BOOK),
    "MANY": ("GLBX.MDP3", one_event(100_000)),
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("all")
    for symbol, (dataset, rows) in CASES.items():
        array = structs(rows)
        array["length"], array["rtype"] = 14, 160
        ids = sorted({str(row.instrument_id) for row in rows})
        making.write(
            folder / "raw" / f"{symbol}.mbo.dbn.zst",
            array,
            dataset=dataset,
            stype_in="instrument_id",
            stype_out="raw_symbol",
            symbols=dict.fromkeys(ids, symbol),
        )
    mbo("ingest", folder / "raw", "--lake", folder / "lake", "--workers", "1").checked()
    mbo("book", "--lake", folder / "lake", "--workers", "1").checked()
    return open_lake(folder / "lake")


def rows_of(lake: Lake, table: str, symbol: str) -> list[dict[str, Any]]:
    frame = lake.scan(table, symbols=symbol).drop("dataset", "date", "symbol").collect()
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(times).cast(pl.Int64)).to_dicts()


def quality(lake: Lake, symbol: str) -> dict[str, Any]:
    [row] = rows_of(lake, "quality", symbol)
    return row


def nonzero(row: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in row.items() if value and name != "event"}


@pytest.mark.parametrize("symbol", CASES)
def test_the_lake_holds_what_the_reference_says(lake: Lake, symbol: str) -> None:
    wanted = reference_day(CASES[symbol][1], DATE)
    assert rows_of(lake, "book", symbol) == wanted.book
    flow = [{**nonzero(row), "event": row["event"]} for row in rows_of(lake, "flow", symbol)]
    assert flow == [{**nonzero(row), "event": row["event"]} for row in wanted.flow]
    found = quality(lake, symbol)
    assert {name: found[name] for name in wanted.quality} == wanted.quality
    state = [
        (row["side"], row["price"], row["position"], row["order_id"], row["size"])
        for row in rows_of(lake, "book_state", symbol)
    ]
    last = max(wanted.orders)
    assert state == [order[:5] for order in wanted.orders[last]]


def test_a_partial_fill_by_partial_cancel_keeps_its_place_and_is_no_cancel(lake: Lake) -> None:
    fill, cancel = (nonzero(row) for row in rows_of(lake, "flow", "PART")[-2:])
    assert fill == {"bid_l1_fill_ct": 1, "bid_l1_fill_sz": 4}
    assert cancel == {"bid_l1_cancel_ct": 1, "bid_l1_cancel_sz": 2}
    queue = [(row["order_id"], row["size"]) for row in rows_of(lake, "book_state", "PART")]
    assert queue == [(1, 6), (2, 3), (3, 5)]
    assert quality(lake, "PART")["fifo_consistent"] == 1


def test_maybe_bad_book_is_invalid_until_the_snapshot(lake: Lake) -> None:
    rows = rows_of(lake, "book", "BAD")
    assert [row["valid"] for row in rows] == [True, True, False, False, True, True]
    assert [row["bid_px_00"] for row in rows[-2:]] == [99 * TICK, 100 * TICK]


def test_a_clear_in_mid_day_empties_the_book(lake: Lake) -> None:
    rows = rows_of(lake, "book", "CLR")
    assert (rows[3]["bid_px_00"], rows[3]["ask_px_00"], rows[3]["valid"]) == (None, None, True)
    assert quality(lake, "CLR")["clears"] == 2
    assert quality(lake, "CLR")["orphan_cancels"] == 1, "it went with the clear"


def test_a_none_record_with_f_last_ends_the_event_before_it(lake: Lake) -> None:
    rows = rows_of(lake, "book", "NLAST")
    assert [row["event"] % 10**10 for row in rows] == [1, 2], "the third changed nothing"
    assert {row["state"] for row in rows} == {"one_sided"}, "the cross was no state"
    assert quality(lake, "NLAST")["events"] == 3


def test_a_day_may_begin_with_a_cancel(lake: Lake) -> None:
    found = quality(lake, "FIRSTC")
    assert (found["start"], found["orphan_cancels"], found["orphan_modifies"]) == ("unknown", 1, 1)
    assert [row["valid"] for row in rows_of(lake, "book", "FIRSTC")] == [False] * 3


def test_a_new_id_closes_one_book_and_opens_another(lake: Lake) -> None:
    rows = rows_of(lake, "book", "NEWID")
    assert [row["instrument_id"] for row in rows] == [1, 1, 2, 2, 2]
    assert rows[-1]["bid_px_00"] == 90 * TICK
    carried = rows_of(lake, "book_state", "NEWID")
    assert {row["instrument_id"] for row in carried} == {2}
    instruments = lake.scan("instruments").filter(pl.col("symbol") == "NEWID").collect()
    assert instruments["instrument_id"].to_list() == [1, 2]


def test_any_price_is_a_price(lake: Lake) -> None:
    rows = rows_of(lake, "book", "PRICES")
    assert [row["bid_px_00"] for row in rows] == [None, *[STUB_BID] * 3, *[12_345_600_000] * 2]
    assert rows[-1]["bid_px_02"] == -37_630_000_000
    assert (rows[-1]["ask_px_00"], rows[-1]["ask_px_01"]) == (12_345_700_001, STUB_ASK)
    row = lake.instrument("PRICES")
    assert (row["tick_size"], row["tick_size_origin"]) == (1, "inferred")


def test_a_record_flagged_tob_is_all_there_is_of_its_side(lake: Lake) -> None:
    """As in the vendor's own example book: a worse price replaces the better one too, and an
    undefined price empties the side.
    """
    rows = rows_of(lake, "book", "TOP")
    assert [(row["bid_px_00"], row["bid_sz_00"]) for row in rows[1:4]] == [
        (100 * PENNY, 5),
        (100 * PENNY, 5),
        (99 * PENNY, 7),
    ]
    assert [row["bid_px_01"] for row in rows] == [None] * len(rows)
    assert [(row["ask_px_00"], row["state"]) for row in rows[-2:]] == [
        (None, "one_sided"),
        (104 * PENNY, "normal"),
    ]
    found = quality(lake, "TOP")
    assert (found["ignored"], found["duplicate_adds"], found["orphan_modifies"]) == (0, 0, 0)


def test_an_event_of_100_000_records_is_one_state(lake: Lake) -> None:
    found = quality(lake, "MANY")
    assert (found["records"], found["events"], found["book_rows"]) == (100_000, 1, 1)
    assert found["orphan_cancels"] == 0


# --- sizes, not seconds ------------------------------------------------------------------------


def allocated(ran: Ran) -> int:
    """Bytes of the arrays of all books."""
    return sum(array.nbytes for one in ran.engine.books.values() for array in one.book)


def churn(prices: Sequence[int], live: int = 40) -> list[Rec]:
    """Orders that come and go at these prices; never more than ``live`` at once."""
    lines: list[Line] = [CLEAR]
    for oid, price in enumerate(prices):
        lines.append(("A", "BA"[oid % 2], price, 1, oid, LAST))
        if oid >= live:
            lines.append(("C", "BA"[oid % 2], prices[oid - live], 1, oid - live, LAST))
    return records(*lines)


def test_prices_anywhere_take_no_more_room_than_prices_side_by_side() -> None:
    draw = random.Random(1)
    near = [6000 * TICK + TICK * draw.randrange(-20, 20) for _ in range(4000)]
    far = [draw.randrange(-(2**62), 2**62) for _ in range(4000)]
    stubs = [draw.choice((STUB_BID, STUB_ASK, -STUB_ASK, 1, -1)) for _ in range(4000)]
    sizes = [allocated(run_engine(churn(prices), depth=1)) for prices in (near, far, stubs)]
    assert sizes[0] == sizes[1] == sizes[2] < 200_000


def test_room_grows_with_orders_that_rest_in_steps_that_double() -> None:
    draw = random.Random(2)
    room = []
    for count in (1000, 10_000):
        prices = [draw.randrange(-(2**62), 2**62) for _ in range(count)]
        room.append(allocated(run_engine(churn(prices, live=count), depth=1)) / count)
    assert max(room) < 1000, "bytes an order, each at a level of its own"


def test_an_event_under_way_holds_its_records_and_nothing_more() -> None:
    rows = one_event(100_000)
    engine = BookEngine(DATE, BookOptions(), DEFAULT_RULE)
    batches = []
    for start in range(0, 99_000, 1000):
        batches += list(engine.feed(chunk_of(rows[start : start + 1000], start)))
    [one] = engine.books.values()
    waiting = sum(column.nbytes for part in one.pending for column in part)
    assert batches == []
    assert waiting < 60 * 99_000
    [batch] = engine.feed(chunk_of(rows[99_000:], 99_000))
    assert plain(batch.book) == plain(run_engine(rows, date=DATE).book)
    assert one.pending == []
