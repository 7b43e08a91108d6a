"""Stage `features`: from `book`, `flow` and `trades` to `features` and `labels`, by session.

One task a feature set, dataset, session and symbol; it reads the UTC days that overlap the
session.  A session is built from the days there are: where one is missing its tables are noted
``complete = false``, and it is computed again as soon as the day arrives.  A session that
touches a day the quality gates refuse is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

from features import registry
from features.engine import compute
from features.kernels import compile_kernels
from features.registry import Column
from features.sets import load_user_features
from pipeline.columns import TS, Codec, Encoding
from pipeline.columns import Column as TableColumn
from pipeline.config import Settings
from pipeline.contracts import VOLUMES, Volumes, resolve
from pipeline.errors import RequestError
from pipeline.fitting import chosen_set, read_fits
from pipeline.frames import LakeRows
from pipeline.peer_inputs import PeerPlanner
from pipeline.session_inputs import (
    SessionPlanner,
    check_book,
    check_tables,
    session_before,
    session_rows,
)
from pipeline.stage import Catalog, Inputs, Outputs, Selection, TableRef, Task, Writer
from pipeline.tables import DYNAMIC_VERSIONS, FEATURE_KEYS, Table

_ARROW: Final[Mapping[pl.DataType, pa.DataType]] = {
    pl.Float32(): pa.float32(),
    pl.Float64(): pa.float64(),
    pl.Int64(): pa.int64(),
    pl.Int32(): pa.int32(),
    pl.Int16(): pa.int16(),
    pl.Int8(): pa.int8(),
}

T_END: Final = TableColumn(
    "t_end",
    TS,
    "ns",
    "when the last of the row's labels is known",
    nullable=True,
    encoding="delta",
)


def features_table(columns: Sequence[Column]) -> Table:
    """The table ``features`` with these columns."""
    return _table("features", FEATURE_KEYS, columns)


def labels_table(columns: Sequence[Column]) -> Table:
    """The table ``labels`` with these columns."""
    after = [
        TableColumn(
            f"after_{column.name}",
            pa.int64(),
            "ns",
            f"how long after ts {column.name} is known",
            nullable=True,
        )
        for column in columns
    ]
    return _table("labels", (*FEATURE_KEYS, T_END, *after), columns)


def _table(name: str, keys: Sequence[TableColumn], columns: Sequence[Column]) -> Table:
    described = [_described(column) for column in columns]
    version = DYNAMIC_VERSIONS[name]
    return Table(name, "session", version, "decision point", (*keys, *described))


def _described(column: Column) -> TableColumn:
    family = column.family
    kind = _ARROW.get(family.dtype)
    if kind is None:
        raise RequestError(
            f"{family.kind} {column.name!r} has type {family.dtype}; "
            "choose Float32, Float64 or an integer"
        )
    encoding: Encoding = "dict"
    codec: Codec = "zstd"
    if family.dtype.is_float():
        encoding, codec = "plain", "lz4"
    elif family.dtype == pl.Int64():
        encoding = "delta"
    meaning = family.doc.partition("\n")[0]
    return TableColumn(column.name, kind, family.unit, meaning, True, encoding, codec)


class FeatureStage:
    """Features and labels by trading session."""

    name = "features"
    version = 5
    tables: Sequence[str] = ("features", "labels")

    # --- planning -----------------------------------------------------------------------------

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a symbol and session that the book's days overlap.

        Raises
        ------
        RequestError
            For an unknown set or column, or a book that cannot serve the set.
        """
        chosen = chosen_set(settings)
        check_book(chosen.columns, settings)
        check_tables(chosen.columns.all, catalog, chosen.columns.name)
        selection = resolve(selection, catalog)
        tables = {name for column in chosen.columns.all for name in column.tables}
        planner = SessionPlanner(catalog, settings, tables)
        read = {name for column in chosen.columns.all for name in column.roots}
        volumes = Volumes(catalog) if read.intersection(VOLUMES) else None
        others = PeerPlanner(planner, chosen.columns) if chosen.columns.peers else None
        needs_fits = bool(chosen.columns.components)
        tasks = []
        for symbol in planner.symbols(selection):
            for session in symbol.sessions:
                partition = symbol.keys(chosen.columns.name, session)
                if not selection.admits(partition):
                    continue
                facts = planner.facts(symbol, session)
                inputs = facts.inputs
                if needs_fits:
                    inputs += (TableRef("fits", partition, optional=True),)
                params = {
                    "clock": chosen.columns.clock,
                    "features": [column.name for column in chosen.columns.features],
                    "labels": [column.name for column in chosen.columns.labels],
                    "files": chosen.hashes,
                    **facts.params,
                }
                weight = facts.weight
                if others is not None:
                    peers = others.facts(symbol.dataset, session.date)
                    inputs += tuple(ref for ref in peers.inputs if ref not in inputs)
                    weight += peers.weight
                    params["peers"] = peers.params
                    params["peer_tolerance"] = chosen.columns.tolerance
                    params["complete"] = params["complete"] and peers.complete
                if volumes is not None:
                    before = session_before(symbol.calendar, session)
                    params |= volumes.before(symbol.dataset, symbol.symbol, before)
                refused = planner.refused(symbol, session)
                hints = {
                    "files": chosen.files,
                    "fits": needs_fits,
                    "memory": settings.features.memory,
                }
                tasks.append(Task(partition, inputs, params, hints, weight, refused=refused))
        return tasks

    # --- running ------------------------------------------------------------------------------

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Compute one session of one symbol."""
        fits = read_fits(task, inputs) if task.hints["fits"] else {}
        source = session_rows(task, inputs, fits)
        for file in task.hints["files"]:
            load_user_features(Path(file))
        clock = task.params["clock"]
        features = registry.FEATURES.resolve(task.params["features"])
        self._write(source, features, clock, features_table(features), task, outputs)
        if task.params["labels"]:
            labels = registry.LABELS.resolve(task.params["labels"])
            self._write(source, labels, clock, labels_table(labels), task, outputs)

    def _write(
        self,
        source: LakeRows,
        columns: Sequence[Column],
        clock: str,
        table: Table,
        task: Task,
        outputs: Outputs,
    ) -> None:
        writer: Writer = outputs.writer(table)
        schema = table.schema()
        for frame in compute(source, columns, clock, task.hints["memory"]):
            arrow = frame.select(schema.names).to_arrow()
            writer.write(arrow.cast(schema))
            outputs.progress(writer.rows)
        params = task.params
        writer.note(
            complete=params["complete"],
            clock=clock,
            calendar=params["calendar"],
            hours=params["hours"],
        )
        writer.close()

    def warm(self) -> None:
        """Compile the kernels, on a few rows."""
        compile_kernels()


FEATURES = FeatureStage()
