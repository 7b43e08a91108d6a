"""A small stage for tests of the runner: each day's sum, carried on from the day before."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.columns import Column
from pipeline.config import Settings
from pipeline.errors import InputError
from pipeline.stage import Catalog, Inputs, Outputs, Partition, RawRef, Selection, TableRef, Task
from pipeline.storage import HashCache
from pipeline.tables import Table

TOY = Table(
    "toy",
    "date",
    1,
    "number",
    (Column("x", pa.int64(), "", "a number of the file"), Column("total", pa.int64(), "", "sum")),
)
TOY_STATE = Table("toy_state", "date", 1, "day", (Column("total", pa.int64(), "", "closing sum"),))


@dataclass(frozen=True)
class Toy:
    """Numbers of ``raw/<date>.txt``; the running total goes on from the previous date."""

    raw: Path
    factor: int = 1
    version: int = 1
    chain: bool = True
    name: str = "toy"
    tables: Sequence[str] = ("toy", "toy_state")

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        hashes = HashCache(catalog.root)
        tasks: list[Task] = []
        previous: Partition | None = None
        for path in sorted(self.raw.glob("*.txt")):
            here = Partition.of(dataset="TOY", date=path.stem)
            inputs = [RawRef(path, hashes.sha256(path))]
            if previous and self.chain:
                inputs.append(TableRef("toy_state", previous))
            if selection.admits(here):
                tasks.append(Task(here, tuple(inputs), {"factor": self.factor}, weight=1))
            previous = here
        return tasks

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        words = inputs.raw()[0].read_text().split()
        total = 0
        for stored in inputs.all("toy_state"):
            total = pa.parquet.read_table(stored.files[0])["total"][0].as_py()
        writer = outputs.writer(TOY)
        for i, word in enumerate(words):
            if word == "die":
                os._exit(1)
            if word == "sleep":
                time.sleep(30)
                continue
            if word == "boom":
                raise ZeroDivisionError("planted")
            try:
                total += task.params["factor"] * int(word)
            except ValueError:
                raise InputError.at(
                    inputs.raw()[0], f"{word!r} is no number", record=i, todo="mend it"
                ) from None
            writer.write(pa.table({"x": [int(word)], "total": [total]}, schema=TOY.schema()))
            outputs.progress(i, len(words))
        outputs.writer(TOY_STATE).write(pa.table({"total": [total]}, schema=TOY_STATE.schema()))

    def warm(self) -> None:
        import pyarrow.parquet  # noqa: F401
