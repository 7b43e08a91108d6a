"""`mbo check`: features on rows of the lake: which session to take, and its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.checks import Finding, Recording, check_columns, measure_cost, record
from features.engine import check_depth
from features.registry import FEATURES, LABELS, Column
from features.sets import load_user_features
from pipeline.config import Settings
from pipeline.errors import DIFFERENCES, OK, MboError, RequestError
from pipeline.fitting import chosen_set, read_fits
from pipeline.lake import Lake
from pipeline.session_inputs import (
    SessionPlanner,
    SymbolSessions,
    check_reads,
    check_tables,
    request_for,
    session_rows,
    without_tables,
)
from pipeline.stage import Catalog, Partition, Selection, Stored, TableRef, Task


@dataclass(frozen=True)
class CatalogInputs:
    """A task's inputs as the lake has them, outside a run."""

    catalog: Catalog
    task: Task

    def stored(self, table: str, partition: Partition | None = None) -> Stored | None:
        return self.catalog.get(table, partition or self.task.partition)

    def all(self, table: str) -> Sequence[Stored]:
        refs = (r for r in self.task.inputs if isinstance(r, TableRef) and r.table == table)
        return [item for ref in refs if (item := self.catalog.get(table, ref.partition))]

    def raw(self) -> Sequence[Path]:
        return []


@dataclass
class CheckReport:
    """Findings on one session."""

    session: str
    clock: str
    rows: int
    findings: list[Finding]
    left_out: int = 0
    """Columns that need tables made on request which are not there."""
    request: str = ""
    """What makes them."""

    @property
    def exit_code(self) -> int:
        return OK if all(finding.passed for finding in self.findings) else DIFFERENCES

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and rows for a terminal."""
        header = ["feature", "", "causal", "nulls", "first value", "warm-up", "range", "ns/value"]
        rows: list[list[Any]] = []
        for one in self.findings:
            span = None if one.low is None else f"{one.low:.4g} to {one.high:.4g}"
            rows.append(
                [
                    one.column.name,
                    "ok" if one.passed else "FAILED",
                    "no values" if one.silent else "yes" if one.causal else "NO",
                    None if one.null_share is None else f"{one.null_share:.1%}",
                    None if one.first_value_s is None else f"{one.first_value_s:.1f} s",
                    _warm_up(one),
                    span,
                    None if one.ns_per_value is None else round(one.ns_per_value),
                ]
            )
        return header, rows

    def problems(self) -> list[str]:
        """A line for each failure; of labels, that they are to fail."""
        lines = []
        for one in self.findings:
            by_design = one.column.family.kind == "label" and not one.causal
            note = "a label looks ahead by design: " if by_design else ""
            lines += [note + problem for problem in one.problems]
        return lines

    def summary(self) -> str:
        failed = sum(not finding.passed for finding in self.findings)
        count = len(self.findings)
        verdict = f"{failed:,} of {count:,} failed" if failed else f"all {count:,} passed"
        text = f"{verdict} on {self.rows:,} rows of {self.session}, clock {self.clock}"
        if silent := sum(finding.silent for finding in self.findings):
            text += (
                f"; {silent:,} without a value in these rows, which shows nothing of them: take "
                "more --rows, or a --set with the peers and fits they need"
            )
        if self.left_out:
            text += f"; {self.left_out:,} left out: they need `{self.request}`"
        return text

    def as_json(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "clock": self.clock,
            "rows": self.rows,
            "passed": self.exit_code == OK,
            "findings": [
                {
                    "name": one.column.name,
                    "kind": one.column.family.kind,
                    "passed": one.passed,
                    "causal": None if one.silent else one.causal,
                    "problems": one.problems,
                    "null_share": one.null_share,
                    "low": one.low,
                    "high": one.high,
                    "declared_range": [one.column.family.low, one.column.family.high],
                    "first_value_s": one.first_value_s,
                    "warm_up": _warm_up(one),
                    "ns_per_value": one.ns_per_value,
                }
                for one in self.findings
            ],
        }


def _warm_up(finding: Finding) -> str | None:
    try:
        return finding.column.warm_up
    except MboError:  # a faulty formula has none; the finding says what is wrong with it
        return None


def wanted_columns(words: Sequence[str], settings: Settings, *, everything: bool) -> list[Column]:
    """Columns of names of features or labels, of the set without names, of all grids.

    Raises
    ------
    RequestError
        For a name that is neither, with the nearest ones.
    """
    for file in settings.features.files:
        load_user_features(Path(file))
    if everything:
        return [column for family in FEATURES.families() for column in family.grid()]
    if not words:
        return list(chosen_set(settings).columns.features)
    found: dict[str, Column] = {}
    for word in words:
        registry = LABELS if word.startswith("y_") else FEATURES
        found.update((column.name, column) for column in registry.resolve(word))
    return list(found.values())


def check_lake(
    lake: Lake,
    settings: Settings,
    selection: Selection,
    columns: Sequence[Column],
    rows: int,
    clock: str,
) -> Iterator[CheckReport]:
    """Check columns on the first rows of the newest session of the selection.

    Of each symbol, where symbols are named; else of the one with most rows.

    Raises
    ------
    RequestError
        If nothing is selected, or the book lacks levels.
    """
    unreadable = {column.name: fault for column in columns if (fault := _fault(column))}
    readable = [column for column in columns if column.name not in unreadable]
    # What is fitted on the tables of earlier sessions needs its fits, not those tables.
    left_out = without_tables(readable, lake.catalog)
    if left_out and len(left_out) == len(columns):
        check_tables(readable, lake.catalog, past=False)
    readable = [column for column in readable if column.name not in left_out]
    columns = [column for column in columns if column.name not in left_out]
    tables = {name for column in readable for name in column.tables}
    planner = SessionPlanner(lake.catalog, settings, tables)
    symbols = list(planner.symbols(selection))
    if selection.symbols is None and symbols:
        symbols = [max(symbols, key=lambda s: sum(day.rows for day in s.days.values()))]
    nothing = True
    for symbol in symbols:
        found = _newest(lake, planner, settings, selection, symbol, readable, rows, clock)
        if found is None:
            continue
        nothing = False
        where, recording = found
        checked = {f.column.name: f for f in check_columns(recording, readable, clock)}
        findings = [checked.get(c.name) or unreadable[c.name] for c in columns]
        measure_cost(recording, [f for f in findings if f.column.family.kind == "feature"], clock)
        report = CheckReport(str(where), clock, recording.frame.height, findings)
        report.left_out = len(left_out)
        report.request = request_for(name for lacks in left_out.values() for name in lacks)
        yield report
    if nothing:
        raise RequestError("no session with rows is selected; `mbo status` shows what there is")


def _fault(column: Column) -> Finding | None:
    """A finding about a column that cannot be computed at all."""
    try:
        check_reads(column)
    except RequestError as error:
        return Finding(column, [str(error)], causal=False)
    return None


def _newest(
    lake: Lake,
    planner: SessionPlanner,
    settings: Settings,
    selection: Selection,
    symbol: SymbolSessions,
    columns: Sequence[Column],
    rows: int,
    clock: str,
) -> tuple[Partition, Recording] | None:
    """The first rows of a symbol's newest session that has any."""
    for session in reversed(symbol.sessions):
        partition = symbol.keys(settings.features.set, session)
        if not selection.admits(partition) or planner.refused(symbol, session):
            continue
        facts = planner.facts(symbol, session)
        task = Task(partition, facts.inputs, facts.params)
        check_depth(columns, task.params["depth"])
        inputs = CatalogInputs(lake.catalog, task)
        # Without fits (`mbo features` makes them for its set) fitted features are null.
        fits = read_fits(task, inputs) if inputs.stored("fits") else {}
        recording = record(session_rows(task, inputs, fits), columns, rows, clock)
        if recording.frame.height:
            return partition.without("set"), recording
    return None
