"""The book at any instant: every resting order, from the nearest checkpoint and what came after.

What is read: the last checkpoint before (`book_checkpoints`, or the state the day was carried
from), and the records of `mbo` from there to the instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, SupportsIndex

import numpy as np
import pyarrow as pa

from pipeline import tables
from pipeline.book import tape
from pipeline.book.checkpoints import Stop, last_before
from pipeline.book.engine import BookEngine, BookOptions, OneBook
from pipeline.book.packed import carried_from
from pipeline.book.position import ahead_columns
from pipeline.book.seek import Wanted, known_at, last_event, numbered, seek
from pipeline.book.stage import CARRY_DAYS, read_chunks, read_state
from pipeline.book.state import orders_table, resume
from pipeline.catalog import LakeCatalog
from pipeline.errors import RequestError
from pipeline.instants import format_instant, parse_instant
from pipeline.stage import Partition, Stored
from pipeline.units import EVENTS_PER_DAY

if TYPE_CHECKING:
    import polars as pl

_FOREVER: Final = 2**63 - 1


@dataclass(frozen=True)
class BookAt:
    """A book after its last event known at an instant."""

    dataset: str
    symbol: str
    publisher_id: int
    instrument_id: int
    event: int
    """Key of that event, as in `book` and `trades`."""
    ts_recv: int
    """When that event could be known: ns, the running maximum of ts_recv."""
    ts_event: int | None
    """The venue's time of its last record, ns."""
    sequence: int
    valid: bool
    """The contents are known to be complete."""
    state: str
    """normal, one_sided, locked or crossed."""
    orders: pl.DataFrame
    """One row an order: ``side`` (bids first), ``price`` (1e-9), ``order_id``, ``size``,
    ``ts_event`` (of the record that gave it its place), ``orders_ahead`` and ``size_ahead`` (at
    its price).  Best price first, then priority."""

    def levels(self, depth: int | None = None) -> pl.DataFrame:
        """Price levels, best first: ``level bid_px bid_sz bid_ct ask_px ask_sz ask_ct``.

        As in `book`, a level that is not there has no price (null) and size and count 0.

        Parameters
        ----------
        depth
            Rows; all levels of the longer side by default.
        """
        import polars as pl

        sides = [self._side("B", "bid"), self._side("A", "ask")]
        rows = max(len(side) for side in sides) if depth is None else depth
        levels = pl.DataFrame({"level": range(rows)}, schema={"level": pl.Int64})
        for side in sides:
            levels = levels.join(side, on="level", how="left", maintain_order="left")
        return levels.with_columns(pl.col("bid_sz", "bid_ct", "ask_sz", "ask_ct").fill_null(0))

    def _side(self, letter: str, name: str) -> pl.DataFrame:
        import polars as pl

        size, count = pl.col("size").cast(pl.Int64).sum(), pl.len().cast(pl.Int64)
        return (
            self.orders.filter(pl.col("side") == letter)
            .group_by(pl.col("price").alias(f"{name}_px"), maintain_order=True)
            .agg(size.alias(f"{name}_sz"), count.alias(f"{name}_ct"))
            .with_row_index("level")
            .with_columns(pl.col("level").cast(pl.Int64))
        )


def book_at(
    catalog: LakeCatalog,
    symbol: str,
    ts: str | SupportsIndex | datetime | None = None,
    *,
    event: int | None = None,
    dataset: str | None = None,
    publisher: int | None = None,
) -> BookAt:
    """See :meth:`pipeline.lake.Lake.book_at`."""
    if (ts is None) == (event is None):
        raise RequestError("book_at: give either a time or an event")
    try:
        instant = None if ts is None else parse_instant(ts)
    except ValueError as error:
        raise RequestError(f"book_at: {error}") from None
    days = _days(catalog, symbol, dataset)
    if event is not None:
        return _at_event(catalog, days, symbol, event, publisher)
    assert instant is not None
    return _at_instant(catalog, days, symbol, instant, publisher)


def _days(catalog: LakeCatalog, symbol: str, dataset: str | None) -> list[Stored]:
    """The days of a symbol in `mbo`, in order."""
    stored = [
        s
        for s in catalog.partitions("mbo")
        if dataset is None or s.partition.get("dataset") == dataset
    ]
    mine = [s for s in stored if s.partition.get("symbol") == symbol]
    if not mine:
        if not stored:
            what = f" of {dataset}" if dataset else ""
            raise RequestError(f"{catalog.root} holds no mbo{what}; `mbo ingest` makes it")
        symbols = sorted({s.partition["symbol"] for s in stored})
        raise RequestError.unknown("symbol", symbol, symbols, where=str(catalog.root))
    datasets = sorted({s.partition["dataset"] for s in mine})
    if len(datasets) > 1:
        raise RequestError(f"{symbol} is in {' and '.join(datasets)}: say which dataset")
    return sorted(mine, key=lambda s: s.partition["date"])


def _at_event(
    catalog: LakeCatalog, days: Sequence[Stored], symbol: str, event: int, publisher: int | None
) -> BookAt:
    number, digits = event % EVENTS_PER_DAY, str(event // EVENTS_PER_DAY)
    try:
        day = datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise RequestError(f"{event} is no event key: YYYYMMDD x 10^10 + number") from None
    stored = _day(days, symbol, day)
    replayed = _replay(catalog, stored, number=number)
    one = last_event(replayed, None)
    if number < 1 or one is None or replayed.events != number:
        raise RequestError(f"{symbol} has no event {event}: {day} has {replayed.events:,} events")
    if publisher is not None and publisher != one.publisher:
        raise RequestError(f"event {event} of {symbol} is of publisher {one.publisher}")
    return _result(stored.partition, one)


def _at_instant(
    catalog: LakeCatalog, days: Sequence[Stored], symbol: str, ts: int, publisher: int | None
) -> BookAt:
    day = datetime.fromtimestamp(ts // 10**9, UTC).date()
    stored: Stored | None = _day(days, symbol, day)
    until = ts
    while stored is not None:
        replayed = _replay(catalog, stored, ts=until, publisher=publisher)
        _one_publisher(replayed, symbol, publisher)
        one = last_event(replayed, publisher)
        if one is not None:
            return _result(stored.partition, one)
        # Nothing yet today: the state that yesterday closed with stands.
        stored, until = _day_before(days, stored), _FOREVER
    whose = "" if publisher is None else f" of publisher {publisher}"
    raise RequestError(
        f"{symbol}: no event{whose} is known at {format_instant(ts)}, and no day up to "
        f"{CARRY_DAYS} days before has one"
    )


def _one_publisher(engine: BookEngine, symbol: str, publisher: int | None) -> None:
    known = sorted({one.publisher for one in engine.books.values()})
    if publisher is None and len(known) > 1:
        names = " or ".join(f"publisher={number}" for number in known)
        raise RequestError(f"{symbol} has a book at each of several publishers: say {names}")


def _day(days: Sequence[Stored], symbol: str, day: date) -> Stored:
    """The partition of a day.

    Raises
    ------
    RequestError
        If there is none: nobody knows whether nothing happened or the day was not downloaded.
    """
    for item in days:
        if item.partition["date"] == str(day):
            return item
    dates = [item.partition["date"] for item in days]
    before = [text for text in dates if text < str(day)][-1:]
    after = [text for text in dates if text > str(day)][:1]
    near = " and ".join(before + after)
    raise RequestError(f"no records of {symbol} on {day}; the days nearest to it: {near}")


def _day_before(days: Sequence[Stored], stored: Stored) -> Stored | None:
    """The day whose closing state the opening of a day may be."""
    at = days.index(stored)
    if at == 0:
        return None
    here, earlier = (date.fromisoformat(days[i].partition["date"]) for i in (at, at - 1))
    return days[at - 1] if (here - earlier).days <= CARRY_DAYS else None


def _replay(
    catalog: LakeCatalog,
    stored: Stored,
    *,
    ts: int = _FOREVER,
    publisher: int | None = None,
    number: int | None = None,
) -> BookEngine:
    """A day's books up to an instant, or up to an event of a number."""
    partition = stored.partition
    commit = catalog.producer("book_state", partition)
    if commit is None:
        raise RequestError(
            f"no book of {partition['symbol']} on {partition['date']} yet; `mbo book` makes it"
        )
    made_from = {(i.get("table"), i.get("partition")): i.get("content") for i in
                 commit.record["inputs"]}  # fmt: skip
    records = catalog.get("mbo", stored.inside) if stored.inside else stored
    assert records is not None  # the packed day that the symbol lies in
    if made_from.get(("mbo", records.partition.path), records.content) != records.content:
        raise RequestError(
            f"the book of {partition['symbol']} on {partition['date']} was made from other "
            "records than the lake holds now; run `mbo book` again"
        )
    params = commit.record["params"]
    options = BookOptions(
        depth=1, materialise="none", assume_valid_after=params["assume_valid_after"]
    )
    day = int(partition["date"].replace("-", ""))
    engine = BookEngine(day, options, params["rule"])

    def before(stop: Stop) -> bool:
        if number is not None:
            return stop.events < number
        return all(clock <= ts for clock in stop.end_clocks(publisher))

    checkpoints = catalog.get("book_checkpoints", partition)
    stop = last_before(checkpoints, before) if checkpoints else None
    if stop is not None:
        resume(engine, stop.state())
    else:
        states = [Partition.parse(path or "") for table, path in made_from if table == "book_state"]
        earlier = carried_from(catalog, stored, states)
        if earlier is not None:
            resume(engine, read_state(_carried(catalog, earlier, partition)))
    wanted: Wanted = known_at(ts, publisher) if number is None else numbered(engine, number)
    seek(engine, read_chunks(stored, engine.records), wanted)
    return engine


def _carried(catalog: LakeCatalog, earlier: Partition, partition: Partition) -> Stored:
    """The closing state that a day was carried from."""
    found = catalog.get("book_state", earlier)
    if found is None:
        raise RequestError(
            f"the state of {earlier['date']} that {partition['symbol']} was carried from is not "
            "there any more; run `mbo book` again"
        )
    return found


def _result(partition: Partition, one: OneBook) -> BookAt:
    cursor = one.run.cursor
    ts_event = int(cursor[tape.TS_EVENT])
    return BookAt(
        dataset=partition["dataset"],
        symbol=partition["symbol"],
        publisher_id=one.publisher,
        instrument_id=one.instrument,
        event=int(cursor[tape.NUMBER]),
        ts_recv=int(cursor[tape.END_CLOCK]),
        ts_event=None if ts_event == tape.NULL else ts_event,
        sequence=int(cursor[tape.SEQUENCE]),
        valid=bool(cursor[tape.VALID]),
        state=tables.BOOK_STATES[int(cursor[tape.STATE])],
        orders=_orders_frame(one),
    )


def _orders_frame(one: OneBook) -> pl.DataFrame:
    import polars as pl

    table = orders_table([one])
    orders, size = ahead_columns(table)
    table = table.select(["side", "price", "order_id", "size", "ts_event"])
    for name, values in (("orders_ahead", orders), ("size_ahead", size)):
        table = table.append_column(name, pa.array(values.astype(np.int64)))
    return pl.DataFrame(pl.from_arrow(table))
