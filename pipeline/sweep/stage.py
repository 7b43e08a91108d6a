"""Stages of a sweep: many runs in one go, and ``sweep``, which writes what became of them.

The runs are made by the stages of ``mbo backtest``, each with its own tasks and commits: a run
that is stored is up to date, whichever command made it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.backtest.plan import plan_run
from pipeline.backtest.request import Request
from pipeline.backtest.stage import Simulate
from pipeline.backtest.summarise import Summarise
from pipeline.config import Settings
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Stored, TableRef, Task
from pipeline.sweep.metrics import ranking
from pipeline.sweep.tables import SWEEPS


@dataclass
class Leg:
    """A run of a sweep: a trial on the sessions of a window, or on all."""

    trial: int
    window: int | None
    role: str
    request: Request
    """Its own copy: planning writes into it."""
    selection: Selection

    @property
    def run_id(self) -> str:
        return self.request.run_id


class SimulateMany(Simulate):
    """The simulator, over the runs of many trials."""

    def __init__(self, legs: Sequence[Leg] = ()) -> None:
        super().__init__()
        self.legs = legs

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """Tasks of all runs; a run that several want is there once."""
        del settings, selection  # each run has its own
        tasks: dict[Partition, Task] = {}
        for leg in self.legs:
            for task in plan_run(leg.request, catalog, leg.selection):
                tasks[task.partition] = task
        return list(tasks.values())


class SummariseMany(Summarise):
    """The figures of many runs."""

    def __init__(self, legs: Sequence[Leg] = ()) -> None:
        super().__init__()
        self.legs = legs

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a run."""
        tasks: dict[Partition, Task] = {}
        for leg in self.legs:
            for task in Summarise(leg.request).plan(catalog, settings, selection):
                tasks[task.partition] = task
        return list(tasks.values())


class Sweep:
    """One row a run of a sweep."""

    name = "sweep"
    version = 1
    tables: Sequence[str] = ("sweeps",)

    def __init__(self, sweep_id: str = "", params: dict[str, Any] | None = None) -> None:
        self.sweep_id = sweep_id
        self.params = params or {}

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """One task, for the sweep that ran; none where nothing was asked."""
        del catalog, settings, selection
        if not self.sweep_id:
            return []
        runs = dict.fromkeys(leg["run_id"] for leg in self.params["legs"] if not leg["failed"])
        inputs = tuple(TableRef("runs", Partition.of(run_id=run), optional=True) for run in runs)
        return [Task(Partition.of(sweep_id=self.sweep_id), inputs, self.params)]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Write the rows, with the choice in each window."""
        params = task.params
        rows: list[dict[str, Any]] = []
        for leg in params["legs"]:
            stored = inputs.stored("runs", Partition.of(run_id=leg["run_id"]))
            value = metric_value(stored, params["reading"], params["metric"])
            shared = {name: params[name] for name in ("strategy", "reading", "metric")}
            point = json.dumps(leg["point"], sort_keys=True)
            rows.append({**leg, **shared, "point": point, "value": value,
                         "chosen": leg["role"] == "test", "done": stored is not None})  # fmt: skip
        for window in dict.fromkeys(row["window"] for row in rows):
            judged = [r for r in rows if r["window"] == window and r["role"] != "test"]
            for place in ranking([row["value"] for row in judged], params["metric"])[:1]:
                judged[place]["chosen"] = True
        writer = outputs.writer(SWEEPS)
        writer.note(axes=params["axes"], walk_forward=params["walk_forward"])
        arrays = [_array(column.type, [row[column.name] for row in rows])
                  for column in SWEEPS.columns]  # fmt: skip
        writer.write(pa.Table.from_arrays(arrays, schema=SWEEPS.schema()))

    def warm(self) -> None:
        """Nothing to compile."""


def _array(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    if kind == pa.date32():
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


def metric_value(stored: Stored | None, reading: str, metric: str) -> float | None:
    """A figure of a stored run, in one reading; None where it is not defined or there is no run."""
    if stored is None:
        return None
    runs = pq.read_table(stored.files[0], partitioning=None)
    mine = runs.filter(pc.equal(runs["reading"], reading))
    value = mine[metric][0].as_py() if len(mine) else None
    return None if value is None else float(value)


SWEEP: Final = Sweep()
