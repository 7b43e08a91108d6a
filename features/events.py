"""From rows of book, flow and trades to the events that features see.

Of the rows of ``book`` those remain that are valid, lie in the session's trading hours and are no
snapshot.  They fall into **segments**: a new one begins after the open, after a halt, after a gap
in the data (invalid rows, another instrument id, a snapshot that shows another touch than the
row before it), always at the first row whose touch is normal.  What happened up to a segment's
first row (its flow, its prints: the auction's among them) belongs to no window.

A snapshot row (``ts_recv`` exactly at UTC midnight) is no event; the flow it carries passes to
the next row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.columns import (
    BOOK_KEYS,
    PRINT_LISTS,
    PUBLISHED,
    TOUCH,
    TRADE_COLUMNS,
    TRADE_VALUES,
)
from features.source import (
    NOTHING,
    Context,
    Source,
    queue_columns,
    split_columns,
)
from pipeline.book.queue_columns import QUEUE_FLOWS
from pipeline.errors import InputError
from pipeline.units import NS_PER_DAY

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


def trades_by_event(
    trades: pl.DataFrame, tick: int, columns: Sequence[str] = TRADE_COLUMNS
) -> pl.DataFrame:
    """Prints summed up by event: ``event`` and the columns of ``TRADE_COLUMNS`` asked for.

    ``trades`` has event, price, size, side in the order of the table; events come in theirs.
    """
    size, price = pl.col("size"), pl.col("price_ticks")
    buy, sell = pl.col("side") == "B", pl.col("side") == "A"
    summaries = {
        "trade_ct": pl.len().cast(pl.Int64),
        "trade_sz": size.sum(),
        "buy_ct": buy.cast(pl.Int64).sum(),
        "buy_sz": size.filter(buy).sum(),
        "sell_ct": sell.cast(pl.Int64).sum(),
        "sell_sz": size.filter(sell).sum(),
        "buy_orders": buy.any().cast(pl.Int64),
        "sell_orders": sell.any().cast(pl.Int64),
        "trade_px": pl.col("price").last(),
        "trade_px_sz": (price * size).sum(),
        "trade_px2_sz": (price * price * size).sum(),
        "buy_px_sz": (price * size).filter(buy).sum(),
        "sell_px_sz": (price * size).filter(sell).sum(),
        "buy_levels": pl.col("price").filter(buy).n_unique().cast(pl.Int64),
        "sell_levels": pl.col("price").filter(sell).n_unique().cast(pl.Int64),
        "print_px": pl.col("price"),
        "print_sz": size,
    }
    # A whole column of ticks: polars divides by a literal through its reciprocal.
    step = pl.Series("tick", [tick], dtype=pl.Int64).new_from_index(0, trades.height)
    return (
        trades.with_columns(step)
        .with_columns(
            pl.col("side").cast(pl.String),
            pl.col("size").cast(pl.Int64),
            (pl.col("price") / pl.col("tick")).alias("price_ticks"),
        )
        .filter(pl.col("price").is_not_null())
        .group_by("event", maintain_order=True)
        .agg(summaries[name].alias(name) for name in columns)
    )


@dataclass
class EventBuilder:
    """Turns chunks of rows into chunks of events; keeps what crosses from one to the next."""

    context: Context
    carried: tuple[str, ...]
    """Columns that are sums since the row before: they pass from a snapshot row to the next."""
    published: tuple[str, ...] = ()
    """Columns to add of what the vendor published."""
    segment: int = -1
    """Ordinal of the last segment that began."""
    inside: bool = False
    """The last row seen was an event of that segment (or one that waits for a normal touch)."""
    begun: bool = False
    """The current stretch has seen a normal touch."""
    hours: int = -1
    """Ordinal of the last row's trading hours."""
    clock: int = -(2**63)
    ended: int = 0
    """When the last segment ended, if it did; else its last possible end."""
    last: pl.DataFrame | None = None
    """The last row seen."""
    owed: dict[str, Any] = field(default_factory=dict)
    """What a snapshot row left to the next event."""
    publishers: set[int] = field(default_factory=set)

    def push(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Events of the next chunk: ts, segment, event, ok, ok_flow, first, ended, columns."""
        if not rows.height:
            return pl.DataFrame()
        self._one_publisher(rows)
        ts = np.maximum(rows["ts_recv"].cast(pl.Int64).to_numpy(), self.clock)
        np.maximum.accumulate(ts, out=ts)
        hours = self._hours(ts)
        usable = rows["valid"].to_numpy() & (hours >= 0)
        snapshot = rows["ts_recv"].cast(pl.Int64).to_numpy() % NS_PER_DAY == 0
        state = rows["state"].cast(pl.String)
        both = (rows["bid_px_00"].is_not_null() & rows["ask_px_00"].is_not_null()).to_numpy()
        ok = (state == "normal").to_numpy() & both
        ok_flow = ok | (state == "one_sided").to_numpy()
        breaks = self._breaks(rows, usable, hours, snapshot)
        events, segment, ended = self._segments(usable, snapshot, ok, breaks, ts, hours)
        self.clock = int(ts[-1])
        self.hours = int(hours[-1])
        self.last = rows.tail(1)
        first = np.diff(segment, prepend=-1) != 0
        before = self.segment if not events.size else int(segment[-1])
        if events.size:
            first[0] = segment[0] != self.segment
        self.segment = before
        return self._frame(rows, events, snapshot, ts, segment, ok, ok_flow, first, ended)

    def _hours(self, ts: I64) -> I64:
        """Ordinal of the trading hours each instant lies in, -1 outside."""
        edges = np.array([edge for span in self.context.segments for edge in span])
        at = np.searchsorted(edges, ts, side="right")
        return np.where(at % 2 == 1, at // 2, -1)

    def _one_publisher(self, rows: pl.DataFrame) -> None:
        self.publishers.update(rows["publisher_id"].unique().to_list())
        if len(self.publishers) > 1:
            raise InputError.at(
                f"{self.context.dataset} {self.context.symbol} {self.context.session}",
                f"books of {len(self.publishers)} publishers under one symbol",
                todo="features need one book; ingest one publisher's files at a time",
            )

    def _breaks(self, rows: pl.DataFrame, usable: Bool, hours: I64, snapshot: Bool) -> Bool:
        """True where a usable row does not continue what stood before it."""
        known = self.last is not None
        context = rows.select(*TOUCH, "instrument_id")
        whole = pl.concat([self.last.select(context.columns), context]) if known else context  # type: ignore[union-attr]
        changed = {
            name: (whole[name].ne_missing(whole[name].shift(1))).to_numpy()[-rows.height :]
            for name in whole.columns
        }
        moved = np.logical_or.reduce([changed[name] for name in TOUCH])
        before_usable = np.concatenate([[self.inside], usable[:-1]])
        before_hours = np.concatenate([[self.hours], hours[:-1]])
        other = changed["instrument_id"] | (before_hours != hours) | (snapshot & moved)
        if not known:
            other[0] = True
        result: Bool = usable & (other | ~before_usable)
        return result

    def _segments(
        self, usable: Bool, snapshot: Bool, ok: Bool, breaks: Bool, ts: I64, hours: I64
    ) -> tuple[I64, I64, I64]:
        """Rows that are events, their segments, and when the segment before each ended."""
        n = usable.size
        stretch = np.cumsum(breaks, dtype=np.int64)
        eligible = usable & ~snapshot
        normal = eligible & ok
        # The first normal row of each stretch; the stretch that goes on may have had its own.
        where = np.flatnonzero(normal)
        found, index = np.unique(stretch[where], return_index=True)
        begins = np.full(int(stretch[-1]) + 1, n)
        begins[found] = where[index]
        if self.begun:
            begins[0] = -1
        started = eligible & (np.arange(n) >= begins[stretch])
        events = np.flatnonzero(started)
        fresh = begins < n
        fresh[0] &= not self.begun
        ordinal = self.segment + np.cumsum(fresh)
        segment = ordinal[stretch[events]]
        ended = self._ends(usable, breaks, ts, hours, events, begins, stretch)
        self.inside = bool(usable[-1])
        self.begun = bool(self.inside and begins[stretch[-1]] < n)
        return events, segment, ended

    def _ends(
        self,
        usable: Bool,
        breaks: Bool,
        ts: I64,
        hours: I64,
        events: I64,
        begins: I64,
        stretch: I64,
    ) -> I64:
        """For each event: when the last segment before its own ended.

        A segment ends with its trading hours, or at the first row that does not continue it.
        """
        closes = np.array([span[1] for span in self.context.segments])
        before_usable = np.concatenate([[self.inside], usable[:-1]])
        before_hours = np.concatenate([[self.hours], hours[:-1]])
        before_begun = begins[np.concatenate([[0], stretch[:-1]])] < np.arange(usable.size)
        stops = before_usable & before_begun & (breaks | ~usable)
        at = np.flatnonzero(stops)
        ends = np.concatenate([[self.ended], np.minimum(ts[at], closes[before_hours[at]])])
        result: I64 = ends[np.searchsorted(at, events, side="right")]
        self.ended = int(ends[-1])
        return result

    def _frame(
        self,
        rows: pl.DataFrame,
        events: I64,
        snapshot: Bool,
        ts: I64,
        segment: I64,
        ok: Bool,
        ok_flow: Bool,
        first: Bool,
        ended: I64,
    ) -> pl.DataFrame:
        sums = [name for name in self.carried if name in rows.columns]
        if snapshot.any() or self.owed:
            rows = self._pass_on(rows, snapshot, sums)
        taken = rows if events.size == rows.height else rows[pl.Series(events)]
        keys = pl.DataFrame(
            {
                "ts": ts[events],
                "segment": segment,
                "ok": ok[events],
                "ok_flow": ok_flow[events],
                "first": first,
                "ended": ended,
                **{
                    name: self.context.published.get(name, NOTHING).known(ts[events])
                    for name in self.published
                },
            }
        )
        frame = taken.drop("ts_recv", "valid", "state", "publisher_id", "instrument_id")
        frame = pl.concat([keys, frame], how="horizontal")
        if first.any() and sums:
            frame = frame.with_columns(
                pl.when(~pl.col("first")).then(pl.col(name)).otherwise(0).alias(name)
                for name in sums
            )
        values = [name for name in TRADE_VALUES if name in frame.columns]
        if first.any() and values:
            frame = frame.with_columns(
                pl.when(~pl.col("first")).then(pl.col(name)).alias(name) for name in values
            )
        # Sizes and counts are unsigned in the tables: their differences must not wrap.
        return frame.cast({pl.UInt32: pl.Int64})

    def _pass_on(self, rows: pl.DataFrame, snapshot: Bool, sums: list[str]) -> pl.DataFrame:
        """Give the flow of snapshot rows to the row after them."""
        columns = []
        heirs = np.flatnonzero(np.concatenate([[bool(self.owed)], snapshot[:-1]]))
        for name in sums:
            values = rows[name].fill_null(0).to_numpy(writable=True)
            values = values.astype(np.float64 if rows[name].dtype.is_float() else np.int64)
            owed = self.owed.pop(name, 0)
            for i in heirs:
                values[i] += owed if i == 0 else values[i - 1]
            if snapshot[-1]:
                self.owed[name] = values[-1].item()
            columns.append(pl.Series(name, values))
        for name in PRINT_LISTS:
            if name in rows.columns:
                lists = rows[name]
                owed = self.owed.pop(name, ())
                for heir in heirs.tolist():
                    both = (owed if heir == 0 else lists[heir - 1], lists[heir])
                    joined = [x for part in both if part is not None for x in part]
                    one = pl.Series(name, [joined or None], dtype=lists.dtype)
                    lists = pl.concat([lists[:heir], one, lists[heir + 1 :]])
                if snapshot[-1]:
                    self.owed[name] = () if lists[-1] is None else lists[-1].to_list()
                columns.append(lists)
        return rows.with_columns(columns)

    def finish(self, known_until: int) -> int:
        """When the last segment ended: with its hours, or where the data stop being known."""
        if self.begun:
            close = self.context.segments[self.hours][1]
            return min(close, known_until)
        return self.ended


class Events:
    """The events of a source, chunk by chunk; ``end`` is known when they are exhausted."""

    def __init__(self, source: Source, columns: Iterable[str]) -> None:
        names = list(columns)
        book, flow, trades = split_columns(names)
        queue = queue_columns(names)
        self._source = source
        self._columns = [*book, *flow, *trades, *queue]
        sums = [name for name in trades if name not in TRADE_VALUES]
        sums += [name for name in queue if name in QUEUE_FLOWS]
        published = tuple(name for name in PUBLISHED if name in names)
        self._builder = EventBuilder(source.context, tuple(flow + sums), published)
        self.end = 0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        known = 0
        for rows in self._source.rows(self._columns):
            events = self._builder.push(rows)
            known = self._builder.clock
            if events.height:
                yield events
        self.end = self._builder.finish(known)


@dataclass(frozen=True)
class Tables:
    """A source in memory: whole frames of the tables, columns as the lake has them."""

    context: Context
    book: pl.DataFrame
    flow: pl.DataFrame | None = None
    trades: pl.DataFrame | None = None
    chunk: int = 65_536
    queue: pl.DataFrame | None = None
    peers: Mapping[str, Source] = field(default_factory=dict)
    order_life: pl.DataFrame | None = None

    def rows(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """See :class:`Source`."""
        book, flow, trades = split_columns(columns)
        names = list(dict.fromkeys([*BOOK_KEYS, *TOUCH, *book]))
        frame = self.book.select(names)
        if flow:
            assert self.flow is not None
            frame = frame.with_columns(self.flow.select(flow))
        if queue := queue_columns(columns):
            assert self.queue is not None
            frame = frame.with_columns(self.queue.select(queue))
        if trades:
            assert self.trades is not None
            prints = trades_by_event(self.trades, self.context.tick, trades)
            frame = join_trades(frame, prints, trades)
        for start in range(0, frame.height, self.chunk):
            yield frame.slice(start, self.chunk)

    def lives(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """See :class:`features.gather.PastSource`."""
        assert self.order_life is not None
        for start in range(0, self.order_life.height, self.chunk):
            yield self.order_life[start : start + self.chunk, list(columns)]


def join_trades(rows: pl.DataFrame, prints: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Rows with their prints beside them; 0 (null for prices and lists) where there are none."""
    joined = rows.join(
        prints.select("event", *columns), on="event", how="left", maintain_order="left"
    )
    sums = [name for name in columns if name not in TRADE_VALUES]
    return joined.with_columns(pl.col(sums).fill_null(0)) if sums else joined
