"""Every table of the lake, declared once: its columns, its key, what a row is.

``docs/tables.md`` is generated from here; the writer takes schema and encodings from here;
readers and views ask here.  What a column is, :mod:`pipeline.columns` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import pyarrow as pa

from pipeline.book.life_columns import LIFE_COLUMNS
from pipeline.book.queue_columns import QUEUE_COLUMNS
from pipeline.columns import (
    EVENT,
    INSTRUMENT,
    MONEY,
    PRICE,
    PUBLISHER,
    SEQUENCE,
    SIZE,
    TEXT,
    TS,
    TS_EVENT,
    TS_RECV,
    Column,
    col,
)
from pipeline.errors import RequestError
from pipeline.roll_columns import ROLL_COLUMNS, VOLUME_COLUMNS

Key = Literal["date", "session", "dataset", "root", "model", "run", "sweep", "source"]

MAX_DEPTH = 50
DEFAULT_DEPTH = 10

SIDES = ("bid", "ask")
ZONES = ("l1", "l2_10", "deep")
FLOW_KINDS = ("add", "cancel", "modify_keep", "modify_lose", "modify_join", "fill")

BOOK_STATES = ("normal", "one_sided", "locked", "crossed")
"""Text of ``book.state`` by its code in kernels; one_sided covers an empty book too."""

BOOK_STARTS = ("empty", "clear", "snapshot", "carried", "unknown")
"""Text of ``quality.start`` by its code in kernels."""


@dataclass(frozen=True)
class Table:
    """One table of the lake.  ``version`` rises whenever columns or their meaning change."""

    name: str
    key: Key
    version: int
    row: str
    columns: tuple[Column, ...]

    def schema(self) -> pa.Schema:
        return self._schema

    @cached_property
    def _schema(self) -> pa.Schema:
        return pa.schema([column.field() for column in self.columns])

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise RequestError.unknown("column", name, [c.name for c in self.columns], where=self.name)


MBO = Table(
    "mbo",
    "date",
    1,
    "MBO record, in file order",
    (
        col("ts_recv", TS, "ns", "when the record could be known", "delta", "none", null=True),
        TS_EVENT,
        col(
            "ts_in_delta",
            pa.int32(),
            "ns",
            "ts_recv minus the venue's sending time",
            "delta",
            "none",
        ),
        SEQUENCE,
        col(
            "order_id",
            pa.uint64(),
            "",
            "the venue's order number; 0 on some trades",
            "delta",
            "none",
        ),
        col("price", PRICE, "1e-9", "limit or execution price", "dict", "none", null=True),
        col(
            "size",
            SIZE,
            "contracts",
            "order size, remaining size after M, executed size on T F",
            "delta",
            "none",
        ),
        col(
            "flags",
            pa.uint8(),
            "bits",
            "LAST 128 TOB 64 SNAPSHOT 32 MBP 16 BAD_TS 8 MAYBE_BAD 4",
            "plain",
            "lz4",
        ),
        col("channel_id", pa.uint8(), "", "the venue's channel", "plain", "lz4"),
        PUBLISHER,
        INSTRUMENT,
        col(
            "action",
            TEXT,
            "",
            "A add, C cancel, M modify, R clear, T trade, F fill, N none",
            "dict",
            "none",
        ),
        col(
            "side",
            TEXT,
            "",
            "B bid, A ask, N none; aggressor on T, resting order on F",
            "dict",
            "none",
        ),
        col(
            "record", pa.uint64(), "", "position of the record in its original file", "delta", "lz4"
        ),
        col("source", TEXT, "", "first 16 hex digits of the sha256 of the original file"),
    ),
)

SOURCES = Table(
    "sources",
    "source",
    1,
    "raw file, day and symbol: what ingest took from where",
    (
        col("source", TEXT, "", "first 16 hex digits of the sha256 of the original file"),
        col("file", TEXT, "", "file name as found"),
        col("sha256", TEXT, "", "sha256 of the file's bytes"),
        col("schema", TEXT, "", "Databento schema of the rows"),
        col("date", pa.date32(), "", "UTC date of the rows' index time", null=True),
        col("symbol", TEXT, "", "raw symbol, or #<id> where unmapped", null=True),
        col("records_in", pa.uint64(), "records", "records decoded from the whole file"),
        col("rows", pa.uint64(), "rows", "rows written for this date and symbol"),
        col("rejected", pa.uint64(), "records", "records of the whole file that became no row"),
        col("reject_reasons", TEXT, "", "JSON object: reason -> number of records"),
        col("first_ts", TS, "ns", "smallest index time of the rows", "delta", null=True),
        col("last_ts", TS, "ns", "largest index time of the rows", "delta", null=True),
        col("price_gcd", PRICE, "1e-9", "greatest common divisor of prices", null=True),
        col("opens_with", TEXT, "", "first MBO row: snapshot, clear or flow", null=True),
        col("condition", TEXT, "", "the vendor's word on the day", null=True),
    ),
)

INSTRUMENTS = Table(
    "instruments",
    "dataset",
    1,
    "symbol and span of validity",
    (
        col("symbol", TEXT, "", "raw symbol"),
        col("instrument_id", pa.uint32(), "", "the vendor's instrument number in the span"),
        col("publisher_id", pa.uint16(), "", "publisher of the definition or of the data"),
        col("first_date", pa.date32(), "", "first UTC date of the span"),
        col("last_date", pa.date32(), "", "last UTC date of the span seen so far"),
        col("product", TEXT, "", "the product the symbol belongs to, e.g. ES", null=True),
        col("tick_size", PRICE, "1e-9", "smallest price step", null=True),
        col("tick_size_origin", TEXT, "", "definition, config, product or inferred", null=True),
        col("multiplier", MONEY, "currency/price", "money of one whole price unit", null=True),
        col("multiplier_origin", TEXT, "", "definition, config or product", null=True),
        col("currency", TEXT, "", "ISO 4217 code of the money", null=True),
        col("currency_origin", TEXT, "", "definition, config or product", null=True),
        col("expiration", TS, "ns", "last trading moment", "delta", null=True),
        col("expiration_origin", TEXT, "", "definition or config", null=True),
        col("instrument_class", TEXT, "", "F future, S spread, K stock, ...", null=True),
        col("instrument_class_origin", TEXT, "", "definition, config or symbol", null=True),
        col("match_algorithm", TEXT, "", "F first in first out, ...", null=True),
        col("match_algorithm_origin", TEXT, "", "definition, config or product", null=True),
    ),
)


_LEVEL = (
    ("px", PRICE, "1e-9", "{} price, level {}", True),
    ("sz", SIZE, "contracts", "its displayed size; 0 where there is no level", False),
    ("ct", SIZE, "orders", "its resting orders; 0 where there is no level", False),
)


def _level_columns(depth: int) -> tuple[Column, ...]:
    return tuple(
        col(f"{side}_{name}_{n:02d}", kind, unit, text.format(side, n), "plain", "lz4", null=null)
        for n in range(depth)
        for name, kind, unit, text, null in _LEVEL
        for side in SIDES
    )


@cache
def book_table(depth: int = DEFAULT_DEPTH) -> Table:
    """The ``book`` table at a depth of 1 to 50 levels, in Databento's MBP names."""
    if not 1 <= depth <= MAX_DEPTH:
        raise RequestError(f"book.depth is {depth}; choose 1 to {MAX_DEPTH}")
    return Table(
        "book",
        "date",
        DYNAMIC_VERSIONS["book"],
        "event end whose top levels differ from the last row's, or that traded; one row at the "
        "start of validity and after a snapshot",
        (
            EVENT,
            TS_RECV,
            TS_EVENT,
            SEQUENCE,
            PUBLISHER,
            INSTRUMENT,
            col("valid", pa.bool_(), "", "the contents are known to be complete"),
            col("state", TEXT, "", "normal, one_sided, locked or crossed"),
            *_level_columns(depth),
        ),
    )


def flow_column(side: str, zone: str, kind: str, measure: str) -> str:
    """Name of a flow column, e.g. ``bid_l1_cancel_sz``; measure is ``ct`` or ``sz``."""
    return f"{side}_{zone}_{kind}_{measure}"


FLOW = Table(
    "flow",
    "date",
    1,
    "the rows of `book`, in the same order: what happened since the previous row",
    (
        EVENT,
        *(
            col(
                flow_column(side, zone, kind, measure),
                SIZE,
                "orders" if measure == "ct" else "contracts",
                f"{side} side, zone {zone}: {kind}",
                "plain",
                "lz4",
            )
            for side in SIDES
            for zone in ZONES
            for kind in FLOW_KINDS
            for measure in ("ct", "sz")
        ),
    ),
)

TRADES = Table(
    "trades",
    "date",
    1,
    "trade print (T record)",
    (
        EVENT,
        TS_RECV,
        TS_EVENT,
        col("price", PRICE, "1e-9", "execution price", null=True),
        col("size", SIZE, "contracts", "executed size of the print"),
        col("side", TEXT, "", "aggressor: B buyer, A seller, N none (auction, implied)"),
        PUBLISHER,
        INSTRUMENT,
        col("bid_px", PRICE, "1e-9", "best bid just before the print", null=True),
        col("ask_px", PRICE, "1e-9", "best ask just before the print", null=True),
        col("bid_sz", SIZE, "contracts", "its size; 0 where there is no bid"),
        col("ask_sz", SIZE, "contracts", "its size; 0 where there is no ask"),
        col("aggressor_size", SIZE, "contracts", "all prints of the event with this side"),
        col("aggressor_fills", SIZE, "fills", "F of the event on the other side; all for N"),
        col("record", pa.uint64(), "", "position of the record in its original file", "delta"),
    ),
)

CONSOLIDATED = Table(
    "consolidated",
    "date",
    1,
    "change of the best bid or offer over the books of several publishers; only where a day and "
    "symbol has them",
    (
        EVENT,
        col("ts_recv", TS, "ns", "when it could be known: latest clock of the books", "delta"),
        TS_EVENT,
        col("publisher_id", pa.uint16(), "", "publisher whose event changed it"),
        col("bid_px", PRICE, "1e-9", "best bid of all valid books", null=True),
        col("ask_px", PRICE, "1e-9", "best offer of all valid books", null=True),
        col("bid_sz", SIZE, "contracts", "displayed there by all; 0 where there is no bid"),
        col("ask_sz", SIZE, "contracts", "displayed there by all; 0 where there is no offer"),
        col("bid_publishers", SIZE, "publishers", "publishers that bid it"),
        col("ask_publishers", SIZE, "publishers", "publishers that offer it"),
        col(
            "bid_publisher_id",
            pa.uint16(),
            "",
            "the one of them with most; of equals the smallest number",
            null=True,
        ),
        col("ask_publisher_id", pa.uint16(), "", "the same of the offer", null=True),
        col("valid", pa.bool_(), "", "the books of all publishers seen so far are valid"),
        col("state", TEXT, "", "normal, one_sided, locked or crossed"),
    ),
)

_COUNT = pa.uint64()

QUALITY = Table(
    "quality",
    "date",
    1,
    "day and symbol",
    (
        *(
            col(name, _COUNT, unit, description)
            for name, unit, description in (
                ("records", "records", "MBO records of the day"),
                ("events", "events", "event ends"),
                ("book_rows", "rows", "rows written to `book`"),
                ("adds", "records", "A records outside snapshots"),
                ("cancels", "records", "C records"),
                ("modifies", "records", "M records"),
                ("clears", "records", "R records"),
                ("trades", "records", "T records"),
                ("fills", "records", "F records"),
                ("orphan_cancels", "records", "C of an order the book does not know"),
                ("orphan_modifies", "records", "M of an unknown order: taken as add"),
                ("orphan_fills", "records", "F of an order the book does not know"),
                ("duplicate_adds", "records", "A of an order that already rests: replaces it"),
                ("ignored", "records", "A C M that cannot rest, whole levels (MBP), C flagged TOB"),
                ("crossed_ns", "ns", "time crossed at event ends"),
                ("locked_ns", "ns", "time locked at event ends"),
                ("sequence_regressions", "records", "sequence smaller than before, per channel"),
                ("ts_recv_regressions", "records", "ts_recv going back outside BAD_TS rows"),
                ("snapshot_rows", "records", "records flagged SNAPSHOT"),
                ("bad_ts_rows", "records", "records flagged BAD_TS_RECV"),
                ("fifo_fills", "fills", "F of a known order in normal trading, side not N"),
                ("fifo_consistent", "fills", "those whose order was first in its queue"),
            )
        ),
        col("start", TEXT, "", "empty, clear, snapshot, carried or unknown"),
        col("condition", TEXT, "", "the vendor's word on the day", null=True),
        col(
            "roll_mismatch_orders",
            _COUNT,
            "orders",
            "orders that differ between the carried state and the day's snapshot",
            null=True,
        ),
    ),
)


ORDER_LIFE = Table(
    "order_life",
    "date",
    2,
    "order that rested in the day: its life within the UTC day, in the order in which rows "
    "could be known; on request",
    LIFE_COLUMNS,
)

QUEUE = Table(
    "queue",
    "date",
    2,
    "the rows of `book`, in the same order: what single orders tell of the touch after it, and of "
    "what happened since the previous row; on request",
    QUEUE_COLUMNS,
)

VOLUMES = Table(
    "volumes", "root", 1, "trading session and outright future of a root", VOLUME_COLUMNS
)

ROLLS = Table(
    "rolls",
    "root",
    1,
    "trading session of a continuous symbol (`ROOT.rule.rank`): the contract it means",
    ROLL_COLUMNS,
)

FEATURE_KEYS: tuple[Column, ...] = (
    col("ts", TS, "ns", "the decision point", "delta"),
    col("event", pa.int64(), "", "last event known at the decision point", "delta"),
    col("bid_px", PRICE, "1e-9", "best bid then", null=True),
    col("ask_px", PRICE, "1e-9", "best ask then", null=True),
    col("mid_ticks", pa.float64(), "ticks", "mid price then", "split", null=True),
)
"""Key columns of ``features`` and ``labels``; the rest are one column a feature."""

STATISTICS = Table(
    "statistics",
    "session",
    1,
    "statistic and key: a session summed up for the fits of later ones",
    (
        col("statistic", TEXT, "", "what is summed up"),
        col("key", pa.int64(), "", "of what, e.g. the minute of the day; docs/features-fits.md"),
        col("value", pa.float64(), "", "count, sum, mean or quantile", "split"),
    ),
)

FITS = Table(
    "fits",
    "session",
    2,
    "component, key and item: what was fitted on earlier sessions for this one",
    (
        col("component", TEXT, "", "what is fitted"),
        col("key", pa.int64(), "", "of what, e.g. the minute of the day; docs/features-fits.md"),
        col("item", pa.int32(), "", "0, 1, ... where a key has several values, ascending"),
        col("value", pa.float64(), "", "the fitted value", "split"),
        col("sessions", pa.int32(), "sessions", "how many it was fitted on"),
        col("first_session", pa.date32(), "", "the first of them"),
        col("last_session", pa.date32(), "", "the last of them; before this session"),
        col("other_sessions", pa.int32(), "sessions", "how many of them are of other contracts"),
        col("contracts", TEXT, "", "the contracts of those sessions, in order, e.g. ESH5, ESM5"),
    ),
)

STATIC_TABLES: tuple[Table, ...] = (
    MBO, SOURCES, INSTRUMENTS, FLOW, TRADES, CONSOLIDATED, QUALITY, ORDER_LIFE, QUEUE,
    STATISTICS, FITS, VOLUMES, ROLLS,
)  # fmt: skip


DYNAMIC_VERSIONS = {"book": 1, "features": 1, "labels": 2}
"""Schema versions of tables whose columns depend on settings."""


def schema_versions(names: Sequence[str]) -> dict[str, int]:
    """Schema versions of the named tables that have one here; part of every fingerprint."""
    known = {table.name: table.version for table in STATIC_TABLES} | DYNAMIC_VERSIONS
    return {name: known[name] for name in names if name in known}
