"""A stage that writes the tables of a market over several trading sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cache

import polars as pl
import pyarrow as pa

from features.events import Tables
from pipeline.config import Settings
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Task
from pipeline.tables import FLOW, INSTRUMENTS, QUALITY, TRADES, book_table
from pipeline.units import NS_PER_DAY
from tests.features.upstream import DATASET, SYMBOL, conform
from tests.features.worlds import FAST, MIDNIGHT, TICK, make_world, shifted

SESSIONS = tuple(date(2025, 3, day) for day in (4, 5, 6, 7))
"""Tuesday to Friday; each begins on the evening before."""

BASE = date(2025, 3, 5)
"""The session whose midnight is that of the small markets."""


@cache
def market(session: date, seed: int) -> Tables:
    """A market around the midnight of a session."""
    days = (session - BASE).days
    world = make_world(seed, 200, FAST, invalid=0.002)
    assert world.trades is not None
    shift = pl.duration(nanoseconds=days * NS_PER_DAY)
    fixed = pl.lit(1, pl.UInt32)
    number = pl.col("event") + int(session.strftime("%Y%m%d")) * 10**10
    book = world.book.with_columns(
        pl.col("ts_recv") + shift,
        number,
        pl.lit(0, pl.UInt32).alias("sequence"),
        fixed.alias("instrument_id"),
    ).with_columns(pl.col("ts_recv").alias("ts_event"))
    return replace(world, book=book, trades=world.trades.with_columns(number))


@dataclass(frozen=True)
class ManyDays:
    """Tables of the sessions, each made of a seed; UTC days hold the ends of two sessions."""

    seeds: Mapping[date, int] = field(
        default_factory=lambda: {day: 40 + k for k, day in enumerate(SESSIONS)}
    )
    orphans: tuple[date, ...] = ()
    """UTC days whose quality is bad."""
    lifted: tuple[date, ...] = ()
    """Sessions whose prices are three ticks higher."""
    more: Mapping[str, Mapping[date, int]] = field(default_factory=dict)
    """Further symbols with seeds of their own."""
    name: str = "upstream"
    version: int = 1
    tables: Sequence[str] = ("book", "flow", "trades", "instruments", "quality")

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        tasks = []
        for symbol, seeds in {SYMBOL: self.seeds, **self.more}.items():
            days = sorted({d for day in seeds for d in (day - timedelta(days=1), day)})
            for day in days:
                params = {
                    "before": seeds.get(day + timedelta(days=1)),
                    "after": seeds.get(day),
                    "orphans": day in self.orphans and symbol == SYMBOL,
                    "lift_before": day + timedelta(days=1) in self.lifted,
                    "lift_after": day in self.lifted,
                }
                partition = Partition.of(dataset=DATASET, date=day, symbol=symbol)
                tasks.append(Task(partition, params=params))
        return [*tasks, Task(Partition.of(dataset=DATASET), params={"more": sorted(self.more)})]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        if task.partition.get("date") is None:
            rows = []
            for symbol in (SYMBOL, *task.params["more"]):
                row = dict.fromkeys(INSTRUMENTS.schema().names)
                row |= {"symbol": symbol, "instrument_id": 1, "publisher_id": 1}
                row |= {"first_date": date(2025, 1, 1), "last_date": date(2025, 12, 31)}
                rows.append(row | {"tick_size": TICK})
            table = pa.Table.from_pylist(rows, schema=INSTRUMENTS.schema())
            outputs.writer(INSTRUMENTS).write(table)
            return
        day = date.fromisoformat(task.partition["date"])
        halves = []
        if task.params["after"] is not None:
            lift = task.params["lift_after"]
            halves.append(_half(day, task.params["after"], late=True, lift=lift))
        if task.params["before"] is not None:
            lift = task.params["lift_before"]
            tomorrow = day + timedelta(days=1)
            halves.append(_half(tomorrow, task.params["before"], late=False, lift=lift))
        book, flow, trades = (pl.concat(parts) for parts in zip(*halves, strict=True))
        outputs.writer(book_table(10)).write(conform(book, book_table(10)))
        outputs.writer(FLOW).write(conform(flow, FLOW))
        outputs.writer(TRADES).write(conform(trades, TRADES))
        quality = pl.DataFrame({"records": [1], "cancels": [10], "start": ["clear"]})
        orphans = pl.lit(9 if task.params["orphans"] else 0).alias("orphan_cancels")
        outputs.writer(QUALITY).write(conform(quality.with_columns(orphans), QUALITY))

    def warm(self) -> None:
        """Nothing to compile."""


def _half(session: date, seed: int, *, late: bool, lift: bool) -> tuple[pl.DataFrame, ...]:
    """The rows of a session before its midnight, or from it on."""
    world = market(session, seed)
    if lift:
        world = shifted(world, 3)
    assert world.flow is not None
    assert world.trades is not None
    midnight = MIDNIGHT + (session - BASE).days * NS_PER_DAY
    after = pl.col("ts_recv").cast(pl.Int64) >= midnight
    wanted = after if late else ~after
    flow = world.flow.with_columns(world.book["event"], world.book["ts_recv"]).filter(wanted)
    stamps = world.book.select("event", "ts_recv", "ts_event")
    trades = world.trades.join(stamps, on="event", maintain_order="left").filter(wanted)
    return world.book.filter(wanted), flow, trades
