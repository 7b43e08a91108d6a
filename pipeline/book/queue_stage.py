"""Stage `queue`, on request: from `mbo` and `book` to a row per row of `book`, day and symbol.

It follows the book's plan, like `order_life`, in a pass of its own over the records, so that the
book does not pay for it.  A day needs no other day's rows, only the state its book starts from:
what rests then, nobody has seen it enter, and the flow since the last row of the day before is
that day's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pipeline import tables
from pipeline.book import packed
from pipeline.book.queue_engine import DueRows, QueueEngine, warm_kernels
from pipeline.book.stage import BOOK, read_chunks, read_state
from pipeline.book.state import warm_kernels as warm_book
from pipeline.config import Settings
from pipeline.errors import RequestError
from pipeline.reading import BATCH_ROWS, parts_of, read_table
from pipeline.stage import Catalog, Inputs, Outputs, Selection, Stored, TableRef, Task
from pipeline.units import NS_PER_S


class QueueStage:
    """Facts of single orders beside the rows of the book."""

    name = "queue"
    version = 1
    tables: Sequence[str] = ("queue",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task for each of the book's days that are selected.

        Raises
        ------
        RequestError
            If the book has no rows.
        """
        if settings.book.materialise == "none":
            raise RequestError(
                "the table `queue` has the rows of `book`, and book.materialise is 'none'; "
                "set it to 'full' and run `mbo book --queue` again"
            )
        ticks = _tick_sizes(catalog)
        return [
            Task(
                task.partition,
                (*task.inputs, TableRef("book", task.partition)),
                {"rule": task.params["rule"], "ticks": _of_task(ticks, task)},
                weight=task.weight,
                outputs=task.outputs,
            )
            for task in BOOK.plan(catalog, settings, selection)
            if "rule" in task.params and selection.admits(task.partition)
        ]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Make the rows of a day, of one symbol or of all symbols of a packed day."""
        if packed.is_packed(task):
            packed.run_books(task, inputs, outputs, self._run)
        else:
            self._run(task, inputs, outputs)

    def _run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        day = dt.date.fromisoformat(task.partition["date"])
        midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
        mbo, book = inputs.stored("mbo"), inputs.stored("book")
        assert mbo is not None  # neither is optional: the runner has seen to it
        assert book is not None
        carried = inputs.all("book_state")
        engine = QueueEngine(
            int(day.strftime("%Y%m%d")),
            int(midnight.timestamp()) * NS_PER_S,
            task.params["rule"],
            tick=task.params["ticks"].get(task.partition["symbol"]) or 0,
            rows=_rows_of(book),
            state=read_state(carried[0]) if carried else None,
        )
        writer = outputs.writer(tables.QUEUE)
        for chunk in read_chunks(mbo):
            for rows in engine.queue(chunk):
                writer.write(rows)
            outputs.progress(engine.records, mbo.rows)
        engine.finish_rows()

    def warm(self) -> None:
        """Compile the kernels."""
        warm_book()
        warm_kernels()


def _rows_of(book: Stored) -> Iterator[DueRows]:
    """``event`` and ``ts_recv`` of the rows of a partition of `book`."""
    for part in parts_of(book):
        for batch in part.batches(["event", "ts_recv"], BATCH_ROWS):
            event, ts = (batch[name].to_numpy() for name in ("event", "ts_recv"))
            yield event, ts.astype(np.int64)


def _tick_sizes(catalog: Catalog) -> Mapping[tuple[str, str], list[dict[str, Any]]]:
    """The tick sizes known of each symbol, with their dates."""
    columns = ["symbol", "first_date", "last_date", "tick_size"]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for stored in catalog.partitions("instruments"):
        for row in read_table(stored, columns).to_pylist():
            found.setdefault((stored.partition["dataset"], row["symbol"]), []).append(row)
    return found


def _of_task(
    ticks: Mapping[tuple[str, str], list[dict[str, Any]]], task: Task
) -> dict[str, int | None]:
    """The tick sizes of a task's symbols on its day."""
    day = dt.date.fromisoformat(task.partition["date"])
    symbols = {p["symbol"] for p in (task.partition, *task.outputs) if p.get("symbol")}
    chosen: dict[str, int | None] = {}
    for symbol in sorted(symbols):
        rows = ticks.get((task.partition["dataset"], symbol), [])
        fitting = [row for row in rows if row["first_date"] <= day <= row["last_date"]]
        row = max(fitting or rows, key=lambda row: row["last_date"], default={})
        chosen[symbol] = row.get("tick_size")
    return chosen


QUEUE: Final = QueueStage()
