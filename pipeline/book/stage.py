"""Stage `book`: from `mbo` to `book`, `flow`, `trades`, `quality`, one task a day and symbol.

A day that opens with a snapshot or a clear stands alone; any other starts from the previous
day's closing state (`book_state`), so that chains of days break where the data breaks them and
the segments run in parallel.  The comparison of a snapshot with the state carried up to it is a
task of its own, which nothing waits for: it writes `quality`, from the day's counts and the
previous state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

import pyarrow as pa

from pipeline import tables
from pipeline.book import consolidate, packed
from pipeline.book.checkpoints import EVERY, Checkpoints, pieces, read_state_part
from pipeline.book.columns import MBO_COLUMNS, Chunk, chunk_of_arrow
from pipeline.book.consolidate import Consolidator
from pipeline.book.engine import BookEngine, BookOptions
from pipeline.book.roll import opening_orders
from pipeline.book.state import (
    BOOK_STATE,
    METADATA_KEY,
    BookState,
    closing_state,
    mismatches,
    resume,
    warm_kernels,
)
from pipeline.book.venues import rule_of
from pipeline.config import Settings
from pipeline.errors import InputError
from pipeline.reading import part_of, parts_of, read_table
from pipeline.stage import (
    Catalog,
    Inputs,
    Outputs,
    Partition,
    Ref,
    Selection,
    Stored,
    TableRef,
    Task,
    require,
)

BATCH_ROWS: Final = 65_536
LETTERS: Final = ("action", "side")
"""Columns of `mbo` that are read as dictionaries."""
CARRY_DAYS: Final = 4
"""A state is carried over so many calendar days at most: a long weekend, not a missing week."""

BOOK_COUNTS: Final = tables.Table(
    "book_counts",
    "date",
    1,
    "day and symbol: `quality` as the book alone knows it",
    tables.QUALITY.columns,
)

_CHECK: Final = "check"
"""Key that tells the tasks that write `quality` from those that write books."""


class BookStage:
    """Reconstruction of the order book."""

    name = "book"
    version = 3
    tables: Sequence[str] = (
        "book", "flow", "trades", "consolidated", "book_checkpoints", "book_state", "book_counts",
        "quality",
    )  # fmt: skip

    # --- planning -----------------------------------------------------------------------------

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a day and symbol selected, and those of the days their state is carried from."""
        stored = require(catalog, "mbo", "mbo ingest")
        options = options_of(settings)
        days = {item.partition: item for item in stored}
        before = _previous_days(list(days))
        admitted = (partition for partition in days if selection.admits(partition))
        wanted = packed.with_earlier(admitted, days, before)
        tasks = []
        publishers = _publishers(days, before)
        for partition in sorted(wanted):
            item, earlier = days[partition], before.get(partition)
            if item.inside is None:
                several = len(publishers[partition]) > 1
                tasks.append(self._book_task(item, earlier, options, several=several))
                tasks.append(self._quality_task(item, earlier))
        together = packed.by_packed_day(days[partition] for partition in sorted(wanted))
        for day, items in sorted(together.items()):
            chain, compared = (
                packed.earlier_states(items, days, before, uses, optional=optional)
                for uses, optional in (
                    (packed.needs_state, False),
                    (packed.opens_with_snapshot, True),
                )
            )
            params = self._params(day["dataset"], options)
            crowded = [i.partition["symbol"] for i in items if len(publishers[i.partition]) > 1]
            if crowded and options.materialise != "none":
                params["consolidated"] = crowded
            tasks.append(packed.book_task(day, items, chain, params))
            tasks.append(packed.quality_task(day, items, compared))
        return tasks

    def _params(self, dataset: str, options: BookOptions) -> dict[str, Any]:
        params: dict[str, Any] = {
            "depth": options.levels,
            "materialise": options.materialise,
            "assume_valid_after": options.assume_valid_after,
            "flow": options.flow,
            "rule": rule_of(dataset).bits,
        }
        if options.materialise == "grid":
            params["grid"] = options.grid
        return params

    def _book_task(
        self, item: Stored, earlier: Partition | None, options: BookOptions, *, several: bool
    ) -> Task:
        inputs: list[Ref] = [TableRef("mbo", item.partition)]
        if earlier and packed.needs_state(item):
            inputs.append(TableRef("book_state", earlier))
        params = self._params(item.partition["dataset"], options)
        if several and options.materialise != "none":
            params["consolidated"] = True
        return Task(item.partition, tuple(inputs), params, weight=item.rows)

    def _quality_task(self, item: Stored, earlier: Partition | None) -> Task:
        inputs: list[Ref] = [TableRef("book_counts", item.partition)]
        if earlier and packed.opens_with_snapshot(item):
            inputs.append(TableRef("mbo", item.partition))
            inputs.append(TableRef("book_state", earlier, optional=True))
        partition = Partition.of(**{_CHECK: "quality"}, **dict(item.partition.keys))
        return Task(partition, tuple(inputs), {"condition": item.notes.get("condition")})

    # --- running ------------------------------------------------------------------------------

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Compute one task of either kind."""
        run = self._run_quality if task.partition.get(_CHECK) else self._run_book
        if not packed.is_packed(task):
            run(task, inputs, outputs)
        elif task.partition.get(_CHECK):
            packed.run_quality(task, inputs, outputs, run)
        else:
            packed.run_books(task, inputs, outputs, run)

    def _run_book(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        params = task.params
        options = BookOptions(
            depth=params["depth"],
            materialise=params["materialise"],
            grid=params.get("grid", "1s"),
            assume_valid_after=params["assume_valid_after"],
            flow=params["flow"],
        )
        day = date.fromisoformat(task.partition["date"])
        engine = BookEngine(int(day.strftime("%Y%m%d")), options, params["rule"])
        for carried in inputs.all("book_state"):
            resume(engine, read_state(carried))
        mbo = inputs.stored("mbo")
        assert mbo is not None  # not optional: the runner has seen to it
        together = Consolidator(engine) if params.get("consolidated") else None
        rows, checkpoints = _RowWriters(outputs, options, together), Checkpoints(outputs, EVERY)
        for chunk in pieces(read_chunks(mbo), EVERY):
            for batch in engine.feed(chunk):
                rows.write(batch)
            checkpoints.after(engine)
            outputs.progress(engine.records, mbo.rows)
        last = engine.finish()
        if last is not None:
            rows.write(last)
        state = closing_state(engine)
        writer = outputs.writer(BOOK_STATE, metadata={METADATA_KEY: state.text})
        writer.write(state.orders)
        quality = engine.quality()
        outputs.writer(BOOK_COUNTS).write(_one_row(BOOK_COUNTS, quality))
        rows.note(start=quality["start"])

    def _run_quality(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        keys = {name: value for name, value in task.partition.keys if name != _CHECK}
        partition = Partition.of(**keys)
        counts = inputs.stored("book_counts", partition)
        assert counts is not None  # not optional
        values = read_table(counts).to_pylist()[0]
        values["condition"] = task.params["condition"]
        mbo, carried = inputs.stored("mbo", partition), inputs.all("book_state")
        if mbo is not None and carried:
            rule = rule_of(partition["dataset"]).bits
            opening = opening_orders(read_chunks(mbo), rule)
            values["roll_mismatch_orders"] = mismatches(read_state(carried[0]).orders, opening)
        outputs.writer(tables.QUALITY, partition).write(_one_row(tables.QUALITY, values))

    def warm(self) -> None:
        """Compile the kernels."""
        warm_kernels()
        consolidate.warm_kernels()


class _RowWriters:
    """Writers of the tables with rows; none of them with `none`."""

    def __init__(
        self, outputs: Outputs, options: BookOptions, together: Consolidator | None
    ) -> None:
        wanted: dict[int, tables.Table] = {}
        if options.materialise != "none":
            wanted = {0: options.table, 1: tables.FLOW, 2: tables.TRADES}
        if not options.flow:
            wanted.pop(1, None)
        if together:
            wanted[3] = tables.CONSOLIDATED
        self._together = together
        self._writers = {place: outputs.writer(table) for place, table in wanted.items()}

    def write(self, batch: Sequence[pa.Table]) -> None:
        if self._together:
            batch = (*batch, self._together.feed(batch[0]))
        for place, writer in self._writers.items():
            writer.write(batch[place])

    def note(self, **facts: Any) -> None:
        for writer in self._writers.values():
            writer.note(**facts)


def options_of(settings: Settings) -> BookOptions:
    """The options in the settings.

    Raises
    ------
    RequestError
        For a depth, a choice or a duration that cannot be.
    """
    book = settings.book
    return BookOptions(
        book.depth, book.materialise, book.grid, book.assume_valid_after, flow=book.flow
    )


def read_chunks(
    mbo: Stored, first: int = 0, columns: Sequence[str] = MBO_COLUMNS
) -> Iterator[Chunk]:
    """The records of a partition of `mbo`, in file order, in bounded memory.

    Parameters
    ----------
    mbo
        The partition.
    first
        Records to leave out at its start; row groups that lie before are not read.
    columns
        What is read; see :func:`~pipeline.book.columns.chunk_of_arrow`.

    Raises
    ------
    InputError
        If a record cannot be one.
    """
    for part in parts_of(mbo, dictionary=LETTERS):
        done = first
        for batch in part.batches(columns, BATCH_ROWS, first=first, threads=True):
            try:
                yield chunk_of_arrow(batch)
            except InputError as error:
                raise InputError.at(part.path, str(error), record=done) from None
            done += batch.num_rows
        first = max(0, first - part.rows)


def read_state(stored: Stored) -> BookState:
    """A closing state from its file.

    Raises
    ------
    InputError
        If the file is not one.
    """
    with part_of(stored, 0) as part:
        return read_state_part(part)


def _previous_days(partitions: Sequence[Partition]) -> dict[Partition, Partition]:
    """For each day of a symbol the day before that a state could be carried from."""
    previous: dict[Partition, Partition] = {}
    latest: dict[tuple[str, str], Partition] = {}
    for partition in sorted(partitions, key=lambda p: p["date"]):
        key = (partition["dataset"], partition["symbol"])
        earlier = latest.get(key)
        if earlier:
            gap = date.fromisoformat(partition["date"]) - date.fromisoformat(earlier["date"])
            if gap.days <= CARRY_DAYS:
                previous[partition] = earlier
        latest[key] = partition
    return previous


def _publishers(
    days: Mapping[Partition, Stored], before: Mapping[Partition, Partition]
) -> dict[Partition, frozenset[int]]:
    """Publishers of each day's books: those of its records, and those carried into it."""
    found: dict[Partition, frozenset[int]] = {}
    for partition in sorted(days, key=lambda p: p["date"]):
        item, earlier = days[partition], before.get(partition)
        own = frozenset(int(pair[0]) for pair in item.notes.get("instruments", ()))
        carried = found[earlier] if earlier and packed.needs_state(item) else frozenset[int]()
        found[partition] = own | carried
    return found


def _one_row(table: tables.Table, values: dict[str, Any]) -> pa.Table:
    row = {column.name: [values.get(column.name)] for column in table.columns}
    return pa.Table.from_pydict(row, schema=table.schema())


BOOK: Final = BookStage()
