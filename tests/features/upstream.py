"""A stage that writes `book`, `flow`, `trades` and `instruments` of a random market."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl
import pyarrow as pa

from features.events import Tables
from pipeline.config import Settings
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Task
from pipeline.tables import FLOW, INSTRUMENTS, QUEUE, TRADES, Table, book_table
from tests.features.worlds import FAST, MIDNIGHT, TICK, make_world

DATASET, SYMBOL = "GLBX.MDP3", "ESH5"
FIRST = date(2025, 3, 4)
DAYS = (FIRST, FIRST + timedelta(days=1))


def market(rows: int = 400) -> Tables:
    """A market around midnight UTC, an hour into the CME session of 2025-03-05."""
    world = make_world(7, rows, FAST, invalid=0.002)
    fixed = pl.lit(1, pl.UInt32)
    book = world.book.with_columns(
        pl.col("ts_recv").alias("ts_event"),
        pl.lit(0, pl.UInt32).alias("sequence"),
        fixed.alias("instrument_id"),
    )
    return replace(world, book=book)


def conform(frame: pl.DataFrame, table: Table) -> pa.Table:
    """The frame with the table's columns; those it lacks are 0, or null where that may be."""
    schema = table.schema()
    for column in table.columns:
        if column.name not in frame.columns:
            value = None if column.nullable else 0
            frame = frame.with_columns(pl.lit(value).alias(column.name))
    return frame.select(schema.names).to_arrow().cast(schema)


@dataclass(frozen=True)
class Upstream:
    """Tables of the market for some of its days."""

    days: tuple[date, ...] = DAYS
    tick: int | None = TICK
    name: str = "upstream"
    version: int = 1
    tables: Sequence[str] = ("book", "flow", "trades", "queue", "instruments")
    queue: bool = False
    """Write `queue`, too."""
    short: int = 0
    """So many of its rows are missing."""

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        tasks = [
            Task(
                Partition.of(dataset=DATASET, date=day, symbol=SYMBOL),
                params={"rows": 1, "queue": self.queue, "short": self.short},
            )
            for day in self.days
        ]
        about = Partition.of(dataset=DATASET)
        return [*tasks, Task(about, params={"tick": self.tick})]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        if task.partition.get("date") is None:
            row = dict.fromkeys(INSTRUMENTS.schema().names)
            row |= {"symbol": SYMBOL, "instrument_id": 1, "publisher_id": 1}
            row |= {"first_date": FIRST, "last_date": DAYS[-1], "tick_size": self.tick}
            table = pa.Table.from_pylist([row], schema=INSTRUMENTS.schema())
            outputs.writer(INSTRUMENTS).write(table)
            return
        world = market()
        assert world.flow is not None
        assert world.trades is not None
        late = pl.col("ts_recv").cast(pl.Int64) >= MIDNIGHT
        wanted = late if task.partition["date"] == str(DAYS[1]) else ~late
        flow = world.flow.with_columns(world.book["event"], world.book["ts_recv"]).filter(wanted)
        book = world.book.filter(wanted)
        stamps = world.book.select("event", "ts_recv", "ts_event")
        trades = world.trades.join(stamps, on="event", maintain_order="left").filter(wanted)
        outputs.writer(book_table(10)).write(conform(book, book_table(10)))
        outputs.writer(FLOW).write(conform(flow, FLOW))
        outputs.writer(TRADES).write(conform(trades, TRADES))
        if self.queue:
            assert world.queue is not None
            times = world.book["event"], world.book["ts_recv"]
            queue = world.queue.with_columns(*times).filter(wanted)
            outputs.writer(QUEUE).write(conform(queue.head(queue.height - self.short), QUEUE))

    def warm(self) -> None:
        """Nothing to compile."""
