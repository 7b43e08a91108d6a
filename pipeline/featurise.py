"""Stage `features`: from `book`, `flow` and `trades` to `features` and `labels`, by session.

One task a feature set, dataset, session and symbol; it reads the UTC days that overlap the
session.  A session is built from the days there are: where one is missing its tables are noted
``complete = false``, and it is computed again as soon as the day arrives.  A session that
touches a day the quality gates refuse is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa

from features import registry
from features.engine import check_depth, compute
from features.events import Context
from features.kernels import compile_kernels
from features.registry import Column
from features.sets import FeatureSet, feature_set, load_user_features
from pipeline.calendar import Calendar, Session, calendar_for, hours_of, utc_dates
from pipeline.calendar_status import session_with_status
from pipeline.columns import TS, Encoding
from pipeline.columns import Column as TableColumn
from pipeline.config import Settings
from pipeline.errors import InputError, RequestError
from pipeline.frames import Day, LakeRows
from pipeline.gates import Gates
from pipeline.reading import read_table
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
    Writer,
    require,
)
from pipeline.tables import DYNAMIC_VERSIONS, FEATURE_KEYS, Table
from pipeline.units import NS_PER_S

INPUT_TABLES: Final = ("book", "flow", "trades")

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
    return _table("labels", (*FEATURE_KEYS, T_END), columns)


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
    if family.dtype.is_float():
        encoding = "split"
    elif family.dtype == pl.Int64():
        encoding = "delta"
    meaning = family.doc.partition("\n")[0]
    return TableColumn(column.name, kind, family.unit, meaning, nullable=True, encoding=encoding)


class FeatureStage:
    """Features and labels by trading session."""

    name = "features"
    version = 2
    tables: Sequence[str] = ("features", "labels")

    # --- planning -----------------------------------------------------------------------------

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a symbol and session that the book's days overlap.

        Raises
        ------
        RequestError
            For an unknown set or column, or a book that cannot serve the set.
        """
        files = [Path(file) for file in settings.features.files]
        hashes = [load_user_features(file) for file in files]
        chosen = feature_set(settings.features.set, settings.features.sets, settings.origin)
        _check_book(chosen, settings)
        stored = require(catalog, "book", "mbo book")
        planner = _Planner(catalog, settings, chosen, files, hashes)
        groups: dict[tuple[str, str], list[Stored]] = {}
        for item in stored:
            key = (item.partition["dataset"], item.partition["symbol"])
            if selection.dataset in (None, key[0]) and selection.admits_symbol(key[1]):
                groups.setdefault(key, []).append(item)
        tasks: list[Task] = []
        for (dataset, symbol), items in groups.items():
            tasks += planner.tasks(dataset, symbol, items, selection)
        return tasks

    # --- running ------------------------------------------------------------------------------

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Compute one session of one symbol."""
        source = _source(task, inputs)
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
        for frame in compute(source, columns, clock):
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


def _check_book(chosen: FeatureSet, settings: Settings) -> None:
    """Make sure the book that `mbo book` writes with these settings can serve the set."""
    book = settings.book
    if book.materialise == "none":
        raise RequestError(
            "features are made from the rows of the book, and book.materialise is 'none'; "
            "set it to 'full' and run `mbo book` again"
        )
    if not book.flow:
        raise RequestError(
            "features need the table `flow`, and book.flow is false; "
            "set it to true and run `mbo book` again"
        )
    depth = 1 if book.materialise == "touch" else book.depth
    check_depth([*chosen.features, *chosen.labels], depth, chosen.name)


class _Planner:
    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        chosen: FeatureSet,
        files: Sequence[Path],
        hashes: Sequence[str],
    ) -> None:
        self.catalog = catalog
        self.settings = settings
        self.chosen = chosen
        self.files = [str(file.resolve()) for file in files]
        self.hashes = sorted(hashes)
        self.instruments = _instruments(catalog)
        self.gates = Gates(catalog, settings)

    def tasks(
        self, dataset: str, symbol: str, items: Sequence[Stored], selection: Selection
    ) -> list[Task]:
        calendar = calendar_for(dataset, symbol, self.settings)
        days = {date.fromisoformat(item.partition["date"]): item for item in items}
        found = []
        for session in calendar.sessions_touching(days):
            partition = Partition.of(
                set=self.chosen.name, dataset=dataset, session=session.date, symbol=symbol
            )
            if selection.admits(partition):
                found.append(self._task(partition, calendar, session, days))
        return found

    def _task(
        self,
        partition: Partition,
        calendar: Calendar,
        scheduled: Session,
        days: Mapping[date, Stored],
    ) -> Task:
        dataset, symbol = partition["dataset"], partition["symbol"]
        wanted = utc_dates(scheduled)
        session = self._as_traded(calendar, scheduled, dataset, symbol, wanted)
        inputs: list[Ref] = []
        for day in wanted:
            keys = Partition.of(dataset=dataset, date=day, symbol=symbol)
            missing = day not in days
            inputs += [TableRef(table, keys, optional=missing) for table in INPUT_TABLES]
        row = self._instrument(dataset, symbol, session.date)
        params = {
            "clock": self.chosen.clock,
            "features": [column.name for column in self.chosen.features],
            "labels": [column.name for column in self.chosen.labels],
            "files": self.hashes,
            "calendar": calendar.name,
            "hours": hours_of(scheduled, session),
            "complete": all(day in days for day in wanted),
            "local_offset": _local_offset(calendar, session),
            "tick": row.get("tick_size"),
            "multiplier": _fraction(row.get("multiplier")),
            "depth": 1 if self.settings.book.materialise == "touch" else self.settings.book.depth,
            **_expiry(calendar, session, row.get("expiration")),
        }
        weight = sum(days[day].rows for day in wanted if day in days)
        refused = self.gates.session(dataset, symbol, wanted)
        hints = {"files": self.files}
        return Task(partition, tuple(inputs), params, hints, weight, refused=refused)

    def _as_traded(
        self, calendar: Calendar, session: Session, dataset: str, symbol: str, days: Sequence[date]
    ) -> Session:
        """The session with the hours the vendor's status records tell, where there are any."""
        keys = (Partition.of(dataset=dataset, date=day, symbol=symbol) for day in days)
        stored = [item for key in keys if (item := self.catalog.get("vendor_status", key))]
        return session_with_status(calendar, session, stored)

    def _instrument(self, dataset: str, symbol: str, session: date) -> Mapping[str, Any]:
        rows = self.instruments.get((dataset, symbol), [])
        fitting = [row for row in rows if row["first_date"] <= session <= row["last_date"]]
        return max(fitting or rows, key=lambda row: row["last_date"], default={})


def _instruments(catalog: Catalog) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What is known of each symbol; expirations in ns.

    Only what enters a task's parameters can make it stale, not every change of the table.
    """
    columns = ["symbol", "first_date", "last_date", "tick_size", "multiplier", "expiration"]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for stored in catalog.partitions("instruments"):
        table = read_table(stored, columns)
        expiration = table["expiration"].cast(pa.int64())
        table = table.set_column(columns.index("expiration"), "expiration", expiration)
        for row in table.to_pylist():
            found.setdefault((stored.partition["dataset"], row["symbol"]), []).append(row)
    return found


def _fraction(value: Decimal | None) -> str | None:
    """A number of the table as exact text: parameters are JSON."""
    return None if value is None else str(Fraction(value))


def _local_offset(calendar: Calendar, session: Session) -> int:
    """Local time less UTC at the session's open, in ns."""
    opened = datetime.fromtimestamp(session.open_ns // NS_PER_S, UTC)
    offset = opened.astimezone(calendar.rules.zone).utcoffset() or timedelta()
    return int(offset.total_seconds()) * NS_PER_S


def _expiry(calendar: Calendar, session: Session, expiration: int | None) -> dict[str, int | None]:
    """The expiration, and how many sessions come after this one until it."""
    if expiration is None:
        return {"expiration": None, "business_days_left": None}
    last = calendar.session_of(expiration)
    later = calendar.sessions(session.date + timedelta(days=1), last)
    return {"expiration": expiration, "business_days_left": len(later)}


def _source(task: Task, inputs: Inputs) -> LakeRows:
    """The session's rows, from the days there are.

    Raises
    ------
    InputError
        If the tick size is not known.
    """
    params, partition = task.params, task.partition
    if params["tick"] is None:
        symbol = partition["symbol"]
        raise InputError.at(
            f"{partition['dataset']} {symbol}",
            "no tick size known",
            todo=f'add to research.toml: [instruments."{symbol}"] tick_size = ...',
        )
    hours = params["hours"]
    stored = {
        table: {item.partition["date"]: item for item in inputs.all(table)}
        for table in INPUT_TABLES
    }
    days = [
        Day(book, stored["flow"].get(day), stored["trades"].get(day))
        for day, book in sorted(stored["book"].items())
    ]
    context = Context(
        dataset=partition["dataset"],
        symbol=partition["symbol"],
        session=date.fromisoformat(hours["session"]),
        tick=params["tick"],
        segments=tuple((a, b) for a, b in hours["segments"]),
        announced_close=hours["announced_close"],
        rth=tuple(hours["rth"]) if hours["rth"] else None,
        local_offset=params["local_offset"],
        expiration=params["expiration"],
        business_days_left=params["business_days_left"],
        multiplier=Fraction(multiplier) if (multiplier := params["multiplier"]) else None,
        depth=params["depth"],
    )
    return LakeRows(context, tuple(days), hours["preopen"], hours["end"])


FEATURES = FeatureStage()
