"""Why an order of ours was filled, or was not: the run again, up to there, with a listener.

The simulation of one reading runs again from its first record, because positions, orders and a
strategy's memory do; it stops when the story is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from pipeline.backtest.joint import run_together
from pipeline.backtest.leg import Leg, strategy_of
from pipeline.backtest.listen import Heard, Listener, Step, Target
from pipeline.backtest.replay import Replay
from pipeline.backtest.stage import program_of, run_alone
from pipeline.backtest.tables import READINGS
from pipeline.book.columns import Chunk
from pipeline.catalog import Commit, LakeCatalog
from pipeline.checking import CatalogInputs
from pipeline.errors import RequestError
from pipeline.stage import Partition, TableRef, Task
from pipeline.tables import Table
from strategies.event import EventStrategy
from strategies.registry import BUILT_IN

if TYPE_CHECKING:
    import polars as pl

    from pipeline.lake import Lake

_AGREE: Final = (
    "ts", "ts_known", "event", "record", "price", "size", "role", "reason", "ahead_at_entry",
    "ahead", "position",
)  # fmt: skip
"""Columns of a stored fill that the replayed one is compared with."""


@dataclass(frozen=True)
class Asked:
    """What is to be explained: a fill, or an order whatever became of it."""

    run_id: str
    dataset: str
    symbol: str
    reading: str
    fill: int | None
    order: int

    @property
    def partition(self) -> Partition:
        return Partition.of(run_id=self.run_id, dataset=self.dataset, symbol=self.symbol)


@dataclass
class Story:
    """What happened to an order, and whether it agrees with what the run stored."""

    asked: Asked
    order: Mapping[str, Any]
    """Its row of ``orders``; times and prices as integers."""
    fill: Mapping[str, Any] | None
    """The row of ``fills`` the story ends with."""
    contract: Sequence[Any]
    """Product, multiplier, tick (1e-9), currency."""
    queue_model: str
    steps: list[Step]
    depth: list[tuple[int, int, int]]
    seen: tuple[int | None, int | None]
    final: dict[str, Any]
    disagreements: list[str] = field(default_factory=list)
    """How the replay differs from the stored rows; empty where they agree."""

    @property
    def shrinks(self) -> int:
        """Contracts that left the queue ahead since the order last joined one."""
        total = 0
        for step in self.steps:
            total = 0 if step.what == "joined" else total + step.left
        return total


def find(
    lake: Lake,
    run_id: str,
    reading: str | None,
    *,
    fill: int | None = None,
    order: int | None = None,
    admits: Any = None,
) -> Asked:
    """The fill or order of a number.

    Raises
    ------
    RequestError
        If there is none of it in the reading, or several symbols have one.
    """
    import polars as pl

    kind, number = ("fill", fill) if fill is not None else ("order", order)
    table = "fills" if fill is not None else "orders"
    mine = [
        item for item in lake.catalog.partitions(table) if item.partition["run_id"] == run_id
    ]  # fmt: skip
    chosen = [item for item in mine if admits is None or admits(item.partition)]
    if not chosen:
        have = ", ".join(sorted(item.partition["symbol"] for item in mine))
        raise RequestError(f"run {run_id} has no such symbol; it traded {have}")
    run = lake.run(run_id)
    readings = [name for name in READINGS if name in run.readings["reading"].to_list()]
    if reading is None:
        reading = "exact" if "exact" in readings else readings[0]
    if reading not in readings:
        raise RequestError.unknown("reading", reading, readings, where=f"run {run_id}")
    rows = getattr(run, table).filter(pl.col("reading") == reading)
    keys = [(i.partition["dataset"], i.partition["symbol"]) for i in chosen]
    rows = rows.filter(
        pl.any_horizontal((pl.col("dataset") == d) & (pl.col("symbol") == s) for d, s in keys)
    )
    numbers: pl.DataFrame = rows.select("dataset", "symbol", kind).collect()
    found = numbers.filter(pl.col(kind) == number)
    if not len(found):
        if not len(numbers):
            raise RequestError(f"run {run_id} has no {kind}s in the {reading} reading")
        known = numbers[kind].sort()
        near = min(known.to_list(), key=lambda k: (abs(k - number), k))
        raise RequestError(
            f"run {run_id} has no {kind} {number} in the {reading} reading; the nearest is {near} "
            f"({known[0]} to {known[-1]})"
        )
    if len(found) > 1:
        symbols = ", ".join(sorted(found["symbol"].to_list()))
        raise RequestError(f"{kind} {number} is there for {symbols}: say which with --symbols")
    dataset, symbol, _ = found.row(0)
    own = found.row(0)[2] if order is not None else _order_of(rows, symbol, fill)
    return Asked(run_id, dataset, symbol, reading, fill, own)


def _order_of(fills: pl.LazyFrame, symbol: str, fill: int | None) -> int:
    import polars as pl

    one = fills.filter((pl.col("symbol") == symbol) & (pl.col("fill") == fill))
    return int(one.select("order").collect().item())


def explain(lake: Lake, asked: Asked, strategy: str | None = None) -> Story:
    """Replay the run up to the fill, or to the order's end.

    Parameters
    ----------
    strategy
        Where the strategy's file is, for one that is not built in.

    Raises
    ------
    RequestError
        If what the run was made from has changed since, or is gone.
    """
    catalog = lake.catalog
    commit = catalog.producer("orders", asked.partition)
    assert commit is not None  # it was found there
    _unchanged(catalog, commit)
    order = _row(lake, "orders", asked, "order", asked.order)
    fill = None if asked.fill is None else _row(lake, "fills", asked, "fill", asked.fill)
    target = Target(
        order=asked.order,
        type=order["type"],
        replaced=order["replaced"],
        ts_decided=order["ts_decided"],
        ts_arrived=order["ts_arrived"],
        price=order["price"],
        side="BA".index(order["side"]),
        until_fill=asked.fill,
    )
    listener, params = _replay(catalog, commit, asked, target, strategy)
    story = Story(
        asked,
        order,
        fill,
        params["contract"],
        params["queue_model"],
        sorted_steps(listener.steps),
        listener.depth,
        listener.seen,
        listener.final,
    )
    story.disagreements = _disagreements(story)
    return story


def sorted_steps(steps: Sequence[Step]) -> list[Step]:
    """In the order of time as far as records say; fills come after the record that caused them."""
    ordered: list[Step] = []
    for step in steps:
        at = len(ordered)
        if step.what == "filled" and step.record is not None:
            # Noticed some records later: nothing of those concerned the queue, but may be told.
            while at and (ordered[at - 1].record or 0) > step.record:
                at -= 1
        ordered.insert(at, step)
    return ordered


def _unchanged(catalog: LakeCatalog, commit: Commit) -> None:
    for item in commit.record["inputs"]:
        stored = catalog.get(item["table"], Partition.parse(item["partition"]))
        now = stored.content if stored else ""
        if now != item["content"]:
            what = "is gone" if not now else "has changed since the run"
            place = f"{item['table']} {Partition.parse(item['partition'])}"
            raise RequestError(f"{place} {what}: nothing to explain it with; run it again")
    for leg in commit.record["params"]["legs"]:
        if leg["latency_table"]:
            path, sha256 = leg["latency_table"]
            there = Path(path).is_file()
            if not there or hashlib.sha256(Path(path).read_bytes()).hexdigest() != sha256:
                raise RequestError(f"{path} has changed since the run, or is gone; run it again")


def _row(lake: Lake, table: str, asked: Asked, key: str, number: int) -> dict[str, Any]:
    """A stored row; times in ns."""
    import polars as pl

    frame = lake.scan(
        table, run_id=asked.run_id, dataset=asked.dataset, symbols=asked.symbol
    )  # fmt: skip
    frame = frame.filter((pl.col("reading") == asked.reading) & (pl.col(key) == number))
    times = pl.col(pl.Datetime("ns", "UTC")).cast(pl.Int64)
    return frame.with_columns(times).collect().to_dicts()[0]


# --- the run again ----------------------------------------------------------------------------


class _Sink:
    """A file that is not written."""

    rows = 0

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Nothing becomes of it."""

    def note(self, **facts: Any) -> None:
        """Nothing becomes of it."""

    def close(self) -> None:
        """There is nothing to finish."""


class _Nowhere:
    """Outputs of a replay: nothing is stored."""

    def writer(
        self,
        table: Table,
        partition: Partition | None = None,
        *,
        part: int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> _Sink:
        del table, partition, part, metadata
        return _Sink()

    def warn(self, message: str) -> None:
        """The run said it already."""

    def progress(self, done: int, total: int | None = None) -> None:
        """It takes seconds."""


class _HeardLeg(Leg):
    """An instrument of the run, listened to if the order is one of it."""

    listener: Listener | None = None

    def chunks(self, replays: Sequence[Replay]) -> Iterator[Chunk]:
        for chunk in super().chunks(replays):
            if self.listener is None:
                yield chunk
            else:
                yield from self.listener.pieces(chunk)

    def write(self, reading: int, *, last: bool = False) -> None:
        """Drop what became final: it is stored already."""
        if self.listener is None or not self.listener.watching:
            self.replays[reading].take(last=last)


def _replay(
    catalog: LakeCatalog, commit: Commit, asked: Asked, target: Target, strategy: str | None
) -> tuple[Listener, Mapping[str, Any]]:
    record = commit.record
    legs_params = [{**leg, "readings": [asked.reading]} for leg in record["params"]["legs"]]
    parts = _parts(record)
    refs = tuple(TableRef(i["table"], Partition.parse(i["partition"])) for i in record["inputs"])
    inputs = CatalogInputs(catalog, Task(parts[0], refs, {}))
    identity = legs_params[0]["strategy"]
    built = strategy_of(identity, _strategy_name(identity, strategy))
    legs = [
        _HeardLeg(part, params, built, inputs, _Nowhere())
        for part, params in zip(parts, legs_params, strict=True)
    ]
    mine = next(leg for leg, part in zip(legs, parts, strict=True) if part == asked.partition)
    listener = mine.listener = Listener(target, mine.replays[0])
    program = program_of(built, identity) if isinstance(built, EventStrategy) else None
    try:
        if len(legs) > 1:
            assert program is not None
            run_together(legs, program, _Nowhere())
        else:
            run_alone(mine, program, _Nowhere())
        listener.watching = True
        listener.note()
    except Heard:
        pass
    return listener, mine.params


def _parts(record: Mapping[str, Any]) -> list[Partition]:
    """Partitions of the instruments of a task, in the order of its parameters."""
    paths = {item["partition"] for item in record["outputs"]}
    keys = sorted(map(Partition.parse, paths), key=lambda p: (p["dataset"], p["symbol"]))
    return list(keys)


def _strategy_name(identity: Mapping[str, Any], given: str | None) -> str:
    name = identity["name"]
    if given is not None or name in BUILT_IN:
        return given or str(name)
    raise RequestError(
        f"the run's strategy is of a file of its own, {identity['file']}: "
        f"say where it is with --strategy path/to/{identity['file']}:{name.rpartition(':')[2]}"
    )


def _disagreements(story: Story) -> list[str]:
    """Where the replay differs from what the run stored."""
    found: list[str] = []
    if story.fill is not None:
        fills = [s.fill for s in story.steps if s.fill and s.fill["fill"] == story.asked.fill]
        if not fills:
            return ["the replay has no such fill"]
        replayed, stored = fills[0], story.fill
        names: Sequence[str] = _AGREE
    else:
        if not story.final:
            return ["the replay has no such order"]
        replayed, stored = {**story.final, "ts_ended": story.final["ended"]}, story.order
        names = ("status", "reason", "filled", "ts_ended")
    found += [
        f"{name} was {stored[name]}, the replay has {replayed[name]}"
        for name in names
        if replayed[name] != stored[name]
    ]
    entry = _entry(story)
    still = story.fill["ahead"] if story.fill else story.final.get("ahead")
    if entry is not None and still is not None and entry - story.shrinks != still:
        found.append(
            f"{entry} were ahead on joining and {story.shrinks} of them left, "
            f"yet {still} were ahead at the end"
        )
    return found


def _entry(story: Story) -> int | None:
    """Contracts ahead when the order last joined a queue."""
    joined = [step for step in story.steps if step.what == "joined"]
    return joined[-1].ahead if joined else None
