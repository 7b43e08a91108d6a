"""The rows that are put side by side: of the vendor's tables, of the lake's, and what they ought
to be by the rebuilt book.

All values are Int64: bytes for letters, ``NULL`` of the kernels for undefined prices and times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline import reading
from pipeline.book.tape import NULL
from pipeline.stage import Stored
from pipeline.tables import BOOK_STATES
from pipeline.units import F_SNAPSHOT
from pipeline.verify.align import CLOCK
from pipeline.verify.rebuild import level_names

BATCH_ROWS: Final = 32_768

BOOK_KEY: Final = ("publisher_id", "instrument_id")
ROW_KEY: Final = (*BOOK_KEY, "ts_recv", "ts_event", "sequence", "trade")
"""What makes a row of the vendor's one of ours."""
RECORD_VALUES: Final = ("action", "side", "price", "size", "flags")
"""Fields of the record that a row repeats."""
SIDE_NAMED: Final = frozenset({"GLBX.MDP3", "SIM.MDP3"})
"""Datasets in whose MBP rows a side is always named: the one that changed, N if both did.
Elsewhere the vendor leaves it N."""

N_SIDE: Final = ord("N")
_BYTES: Final = {letter: ord(letter) for letter in "ABCDFMNRST"}
_PLACE: Final = ("record", "row", "valid", "snapshot")
"""Columns that say where a row of ours comes from."""


# --- the vendor's ------------------------------------------------------------------------------


def batches(stored: Stored, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of a partition, in order, in bounded memory; none of the batches is empty."""
    for batch in reading.read_batches(stored, columns, BATCH_ROWS):
        if batch.num_rows:
            yield batch


def vendor_rows(stored: Stored, depth: int) -> Iterator[pl.DataFrame]:
    """Rows of a ``vendor_`` table of the MBP kind; ``depth`` 0 is one without levels (trades)."""
    levels = level_names(depth)
    fields = [*BOOK_KEY, "ts_recv", "ts_event", "sequence", *RECORD_VALUES]
    fields += ["depth"] if depth else []
    clock = None
    for batch in batches(stored, [*fields, *levels, "record", "source"]):
        letters = pl.col("action", "side").replace_strict(_BYTES, default=0, return_dtype=pl.Int64)
        frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(letters)
        frame = frame.with_columns(pl.col(*fields, *levels, "record").cast(pl.Int64))
        nullable = [name for name in levels if "_px_" in name] + ["ts_recv", "ts_event", "price"]
        frame = frame.with_columns(
            pl.col(nullable).fill_null(NULL), pl.col("size").fill_null(0)
        ).with_columns(
            trade=(pl.col("action") == ord("T")).cast(pl.Int64),
            snapshot=(pl.col("flags") & F_SNAPSHOT != 0).cast(pl.Int64),
        )
        frame = with_clock(frame, "ts_recv", clock)
        clock = int(frame[CLOCK][-1])
        yield _plain_snapshots(frame)


def with_clock(frame: pl.DataFrame, name: str, before: int | None) -> pl.DataFrame:
    """Add the running maximum of a time, going on from the last frame's."""
    clock = pl.col(name).cum_max()
    if before is not None:
        clock = pl.max_horizontal(clock, pl.lit(before, pl.Int64))
    return frame.with_columns(clock.alias(CLOCK))


def _plain_snapshots(frame: pl.DataFrame) -> pl.DataFrame:
    """Snapshot rows without what the vendor makes up: only time and levels can be compared."""
    made_up = [name for name in ("ts_event", "sequence", *RECORD_VALUES, "depth")
               if name in frame.columns]  # fmt: skip
    plain = pl.when(pl.col("snapshot") != 0).then(0)
    return frame.with_columns(plain.otherwise(pl.col(name)).alias(name) for name in made_up)


# --- ours, as the vendor would write them ------------------------------------------------------


def expected_rows(rebuilt: pl.DataFrame, depth: int, *, trades_only: bool = False) -> pl.DataFrame:
    """The rows a schema of so many levels has for a rebuilt frame; 0 is trades."""
    trade = (pl.col("trade") != 0) & ~pl.col("carried")
    if depth == 0 or trades_only:
        rows = rebuilt.filter(trade)
    else:
        changed = pl.min_horizontal("first_bid", "first_ask") < depth
        due = (pl.col("trade") == 0) & (changed | (pl.col("snapshot") != 0))
        rows = rebuilt.filter(trade | due)
    # A T row of a snapshot's event is a trade like any other.
    rows = rows.with_columns(snapshot=pl.col("snapshot") * (1 - pl.col("trade")))
    if depth:
        bids, asks = pl.col("first_bid") < depth, pl.col("first_ask") < depth
        side = pl.when(bids & asks).then(N_SIDE).when(bids).then(ord("B")).otherwise(ord("A"))
        is_trade = pl.col("trade") != 0
        first = pl.min_horizontal("first_bid", "first_ask")
        rows = rows.with_columns(
            side=pl.when(is_trade).then(pl.col("side")).otherwise(side.cast(pl.Int64)),
            depth=pl.when(is_trade).then(0).otherwise(first).cast(pl.Int64),
        )
    fields = [*ROW_KEY, *RECORD_VALUES, *(["depth"] if depth else []), *level_names(depth)]
    return _plain_snapshots(rows).select(*fields, *_PLACE)


# --- the lake's own tables ---------------------------------------------------------------------


def expected_book(rebuilt: pl.DataFrame, depth: int) -> pl.DataFrame:
    """Rows of `book` that show other levels than the one before, by the rebuilt frame."""
    changed = pl.min_horizontal("first_bid", "first_ask") < depth
    rows = rebuilt.filter((pl.col("trade") == 0) & changed)
    bid, ask = pl.col("bid_px_00"), pl.col("ask_px_00")
    state = (
        pl.when((bid == NULL) | (ask == NULL))
        .then(BOOK_STATES.index("one_sided"))
        .when(bid < ask)
        .then(BOOK_STATES.index("normal"))
        .when(bid == ask)
        .then(BOOK_STATES.index("locked"))
        .otherwise(BOOK_STATES.index("crossed"))
    )
    names = ["event", *BOOK_KEY, "ts_event", "sequence", "valid", *level_names(depth)]
    return rows.select(
        *names, state.cast(pl.Int64).alias("state"), "record", "row", "snapshot",
        pl.col(CLOCK).alias("ts_recv"), pl.col("event").alias(CLOCK),
    )  # fmt: skip


def stored_book(stored: Stored, depth: int, before: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Rows of the stored `book` that show other levels than the one before.

    ``before`` has the levels that each book starts from (BOOK_KEY and levels).
    """
    levels = level_names(depth)
    prices = [name for name in levels if "_px_" in name]
    names = ["event", *BOOK_KEY, "ts_recv", "ts_event", "sequence", "valid", "state", *levels]
    codes = {state: code for code, state in enumerate(BOOK_STATES)}
    state = pl.col("state").replace_strict(codes, default=-1, return_dtype=pl.Int64)
    last = before.select(*BOOK_KEY, *levels)
    for batch in batches(stored, names):
        frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(state)
        frame = frame.with_columns(pl.col(names).cast(pl.Int64))
        frame = frame.with_columns(pl.col(*prices, "ts_event").fill_null(NULL))
        both = pl.concat([last.with_columns(_new=pl.lit(value=False)),
                          frame.with_columns(_new=pl.lit(value=True))], how="diagonal")  # fmt: skip
        nothing = {name: NULL if "_px_" in name else 0 for name in levels}
        differs = [
            pl.col(name) != pl.col(name).shift(1).over(BOOK_KEY).fill_null(nothing[name])
            for name in levels
        ]
        last = both.group_by(BOOK_KEY, maintain_order=True).last().select(last.columns)
        changed = both.filter(pl.col("_new") & pl.any_horizontal(differs))
        yield changed.select(*names, pl.col("event").alias(CLOCK))


def expected_trades(rebuilt: pl.DataFrame) -> pl.DataFrame:
    """Rows of `trades`, by the rebuilt frame."""
    rows = rebuilt.filter(pl.col("trade") != 0)
    touch = {f"{side}_{what}": f"{side}_{what}_00"
             for what in ("px", "sz") for side in ("bid", "ask")}  # fmt: skip
    return rows.select(
        *BOOK_KEY, "record", "ts_event", "price", "size", "side",
        *(pl.col(old).alias(new) for new, old in touch.items()),
        "row", "valid", "snapshot", pl.col(CLOCK).alias("ts_recv"), CLOCK,
    )  # fmt: skip


TRADE_VALUES: Final = (
    "ts_event", "price", "size", "side", "bid_px", "ask_px", "bid_sz", "ask_sz",
)  # fmt: skip


def stored_trades(stored: Stored) -> Iterator[pl.DataFrame]:
    """Rows of the stored `trades`."""
    names = [*BOOK_KEY, "record", "ts_recv", *TRADE_VALUES]
    for batch in batches(stored, names):
        side = pl.col("side").replace_strict(_BYTES, default=0, return_dtype=pl.Int64)
        frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(side)
        frame = frame.with_columns(pl.col(names).cast(pl.Int64))
        nullable = ["ts_event", "price", "bid_px", "ask_px"]
        frame = frame.with_columns(pl.col(nullable).fill_null(NULL))
        yield frame.with_columns(pl.col("ts_recv").alias(CLOCK))
