"""Stage `order_life`, on request: from `mbo` to a row per resting order, day and symbol.

It follows the book's plan: the same days, rules and carried states, in a pass of its own over
the records, so that the book does not pay for it.  A day needs no other day's lives, only the
state its book starts from: days run in parallel even where books are carried over.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from pipeline import tables
from pipeline.book import packed
from pipeline.book.life_engine import LifeEngine, warm_kernels
from pipeline.book.stage import BOOK, read_chunks, read_state
from pipeline.book.state import warm_kernels as warm_book
from pipeline.config import Settings
from pipeline.stage import Catalog, Inputs, Outputs, Selection, Task
from pipeline.units import NS_PER_S

_PARAMETERS: Final = ("assume_valid_after", "rule")
"""What of the book's parameters matters to lives."""


class OrderLifeStage:
    """Lives of resting orders."""

    name = "order_life"
    version = 2
    tables: Sequence[str] = ("order_life",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task for each of the book's days that are selected."""
        return [
            Task(
                task.partition,
                task.inputs,
                {name: task.params[name] for name in _PARAMETERS},
                weight=task.weight,
                outputs=task.outputs,
            )
            for task in BOOK.plan(catalog, settings, selection)
            if "rule" in task.params and selection.admits(task.partition)
        ]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Follow the orders of a day, of one symbol or of all symbols of a packed day."""
        if packed.is_packed(task):
            packed.run_books(task, inputs, outputs, self._run)
        else:
            self._run(task, inputs, outputs)

    def _run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        day = dt.date.fromisoformat(task.partition["date"])
        midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
        carried = inputs.all("book_state")
        engine = LifeEngine(
            int(day.strftime("%Y%m%d")),
            int(midnight.timestamp()) * NS_PER_S,
            task.params["rule"],
            assume_valid_after=task.params["assume_valid_after"],
            state=read_state(carried[0]) if carried else None,
        )
        mbo = inputs.stored("mbo")
        assert mbo is not None  # not optional: the runner has seen to it
        writer = outputs.writer(tables.ORDER_LIFE)
        for chunk in read_chunks(mbo):
            for rows in engine.lives(chunk):
                writer.write(rows)
            outputs.progress(engine.records, mbo.rows)
        for rows in engine.rest():
            writer.write(rows)

    def warm(self) -> None:
        """Compile the kernels."""
        warm_book()
        warm_kernels()


ORDER_LIFE: Final = OrderLifeStage()
