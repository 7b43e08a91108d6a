"""Stages `statistics` and `fits`: what features of a session need of the sessions before it.

`statistics` sums up a session for later ones: pairs (key, value) a statistic, made in one pass.
`fits` combines, for each session, the statistics of the last sessions before it, of the contract
itself or along its root.  A session's own rows never enter its fits, and neither do later ones: its
task does not read them.

Both do nothing for sets without fitted features.  A session the quality gates refuse is nobody's
past; one that is incomplete counts, but for statistics that need whole sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from features.components import COMPONENTS, Fitted, Pairs, Statistic, fit
from features.families import tables_behind
from features.gather import gather
from features.kernels import compile_kernels
from features.registry import FEATURES, LABELS
from features.sets import FeatureSet, feature_set, load_user_features
from pipeline.config import Settings
from pipeline.contracts import resolve
from pipeline.errors import InputError
from pipeline.fit_past import Past, PastPlanner, look_back, look_backs
from pipeline.peer_inputs import PeerPlanner
from pipeline.reading import read_table
from pipeline.session_inputs import (
    SessionPlanner,
    check_book,
    check_tables,
    session_rows,
)
from pipeline.stage import (
    Catalog,
    Inputs,
    Outputs,
    Partition,
    Selection,
    Stored,
    TableRef,
    Task,
)
from pipeline.tables import FITS, STATISTICS


@dataclass(frozen=True)
class ChosenSet:
    """The feature set of the settings, and the user's files its columns may come from."""

    columns: FeatureSet
    files: list[str]
    hashes: list[str]


def chosen_set(settings: Settings) -> ChosenSet:
    """The set that the settings name, with the user's features loaded.

    Raises
    ------
    RequestError
        For a file that does not run, an unknown set or column.
    """
    files = [Path(file) for file in settings.features.files]
    hashes = sorted(load_user_features(file) for file in files)
    columns = feature_set(settings.features.set, settings.features.sets, settings.origin)
    return ChosenSet(columns, [str(file.resolve()) for file in files], hashes)


def _wanted(
    planner: SessionPlanner, chosen: ChosenSet, settings: Settings, selection: Selection
) -> Iterator[tuple[Partition, Past]]:
    """The sessions that were asked for, each with what its fits rest on."""
    fits = settings.features.fits
    past = PastPlanner(planner, fits.along, *look_backs(fits, chosen.columns.components))
    selection = resolve(selection, planner.catalog)
    for symbol in planner.symbols(selection):
        for session, before in past.sessions(symbol):
            partition = symbol.keys(chosen.columns.name, session)
            if selection.admits(partition):
                yield partition, before


def _definitions(chosen: ChosenSet) -> dict[str, object]:
    """What the definitions of components depend on, besides the stages' versions."""
    from pipeline.featurise import FeatureStage

    own = any(column.family.origin and column.components for column in chosen.columns.all)
    return {"features": FeatureStage.version, "files": chosen.hashes if own else []}


def _hints(chosen: ChosenSet) -> dict[str, object]:
    names = [column.name for column in chosen.columns.all if column.components]
    return {"columns": names, "files": chosen.files}


def _load_components(task: Task) -> None:
    """Make the components of the task's set known in this process."""
    for file in task.hints["files"]:
        load_user_features(Path(file))
    for name in task.hints["columns"]:
        registry = LABELS if name.startswith("y_") else FEATURES
        for column in registry.resolve(name):
            assert column.components  # the expression was made, which declares them


class StatisticsStage:
    """A session summed up for later ones."""

    name = "statistics"
    version = 1
    tables: Sequence[str] = ("statistics",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task for every session that one of the selected ones looks back on.

        Raises
        ------
        RequestError
            For an unknown set or column, or a book that cannot serve the set.
        """
        chosen = chosen_set(settings)
        components = chosen.columns.components
        if not components:
            return []
        check_book(chosen.columns, settings)
        check_tables(chosen.columns.all, catalog, chosen.columns.name)
        planner = SessionPlanner(catalog, settings, tables_behind(components))
        peers = {name for component in components for name in component.statistic.peers}
        others = PeerPlanner(planner, chosen.columns, peers, past=True) if peers else None
        names = sorted({component.statistic.name for component in components})
        tasks: dict[Partition, Task] = {}
        for _, past in _wanted(planner, chosen, settings, selection):
            for one in past.all:
                partition = one.keys(chosen.columns.name)
                if partition in tasks:
                    continue
                facts = planner.facts(one.symbol, one.session)
                inputs, weight = facts.inputs, facts.weight
                params = {"statistics": names, **_definitions(chosen), **facts.params}
                if others is not None:
                    about = others.facts(one.symbol.dataset, one.session.date)
                    inputs += tuple(ref for ref in about.inputs if ref not in inputs)
                    weight += about.weight
                    params |= {"peers": about.params, "peer_tolerance": chosen.columns.tolerance}
                tasks[partition] = Task(partition, inputs, params, _hints(chosen), weight)
        return list(tasks.values())

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Sum up one session of one symbol."""
        _load_components(task)
        known = {c.statistic.name: c.statistic for c in COMPONENTS.values()}
        statistics: list[Statistic] = [known[name] for name in task.params["statistics"]]
        source = session_rows(task, inputs)
        writer = outputs.writer(STATISTICS)
        found = gather(source, statistics, whole=task.params["complete"])
        for name, pairs in found.items():
            columns = {
                "statistic": pa.array([name] * pairs.keys.size, pa.string()),
                "key": pa.array(pairs.keys),
                "value": pa.array(pairs.values),
            }
            writer.write(pa.table(columns, schema=STATISTICS.schema()))
        writer.note(complete=task.params["complete"])
        writer.close()

    def warm(self) -> None:
        """Compile the kernels, on a few rows."""
        compile_kernels()


class FitsStage:
    """What is fitted for a session, from the statistics of those before it."""

    name = "fits"
    version = 1
    tables: Sequence[str] = ("fits",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a selected session; the first of a symbol has no past, and no fits.

        Raises
        ------
        RequestError
            For an unknown set or column, or a lake without books.
        """
        chosen = chosen_set(settings)
        components = chosen.columns.components
        if not components:
            return []
        limits = {c.name: list(look_back(c, settings.features.fits)) for c in components}
        alone = sorted(c.name for c in components if c.alone)
        about = {"components": limits, "alone": alone, **_definitions(chosen)}
        tasks = []
        planner = SessionPlanner(catalog, settings)
        for partition, past in _wanted(planner, chosen, settings, selection):
            keys = [one.keys(chosen.columns.name) for one in past.all]
            refs = tuple(TableRef("statistics", key, optional=True) for key in keys)
            # Which of them, by number: the contract itself, and along its root.
            pasts = {
                name: [keys.index(one.keys(chosen.columns.name)) for one in sessions]
                for name, sessions in (("own", past.own), ("along", past.along))
            }
            tasks.append(Task(partition, refs, {**about, **pasts}, _hints(chosen)))
        return tasks

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Fit all components for one session of one symbol.

        Raises
        ------
        InputError
            If a past session has not been summed up.
        """
        _load_components(task)
        past = []
        for ref in task.inputs:
            assert isinstance(ref, TableRef)
            stored = inputs.stored(ref.table, ref.partition)
            if stored is None:
                raise _missing("statistics", ref.partition)
            past.append((ref.partition, _read(stored)))
        writer = outputs.writer(FITS)
        for name, (sessions, minimum) in task.params["components"].items():
            component = COMPONENTS[name]
            which = task.params["own" if name in task.params["alone"] else "along"]
            known = [
                (partition, pairs[component.statistic.name])
                for partition, pairs in (past[number] for number in which[-sessions:])
                if component.statistic.name in pairs
            ]
            found = fit(component, [pairs for _, pairs in known], minimum)
            if found is not None:
                own = task.partition["symbol"]
                writer.write(_fit_rows(name, found, own, [partition for partition, _ in known]))
        writer.close()

    def warm(self) -> None:
        """Nothing to compile."""


def _missing(table: str, partition: Partition) -> InputError:
    return InputError.at(
        f"{table} {partition}", "not there", todo="see why its stage failed, then run again"
    )


def _read(stored: Stored) -> dict[str, Pairs]:
    """The statistics of a session, by name; those without pairs are left out."""
    table = read_table(stored)
    frame = pl.DataFrame(pl.from_arrow(table))
    groups = frame.partition_by("statistic", as_dict=True, maintain_order=True)
    return {
        str(name): Pairs(part["key"].to_numpy(), part["value"].to_numpy())
        for (name,), part in groups.items()
    }


def _fit_rows(name: str, pairs: Pairs, own: str, past: Sequence[Partition]) -> pa.Table:
    n = pairs.keys.size
    sessions = [date.fromisoformat(one["session"]) for one in past]
    contracts = [one["symbol"] for one in past]
    others = sum(contract != own for contract in contracts)
    _, starts = np.unique(pairs.keys, return_index=True)
    firsts = np.zeros(n, dtype=np.int64)
    firsts[starts] = starts
    item = np.arange(n) - np.maximum.accumulate(firsts) if n else firsts
    columns = {
        "component": pa.array([name] * n, pa.string()),
        "key": pa.array(pairs.keys),
        "item": pa.array(item.astype(np.int32)),
        "value": pa.array(pairs.values),
        "sessions": pa.array(np.full(n, len(sessions), dtype=np.int32)),
        "first_session": pa.array([sessions[0]] * n, pa.date32()),
        "last_session": pa.array([sessions[-1]] * n, pa.date32()),
        "other_sessions": pa.array(np.full(n, others, dtype=np.int32)),
        "contracts": pa.array([", ".join(dict.fromkeys(contracts))] * n, pa.string()),
    }
    return pa.table(columns, schema=FITS.schema())


def read_fits(task: Task, inputs: Inputs) -> Mapping[str, Fitted]:
    """What was fitted for the task's session, by component; without fits, not there.

    Raises
    ------
    InputError
        If the fits have not been made.
    """
    stored = inputs.stored("fits")
    if stored is None:
        raise _missing("fits", task.partition)
    frame = pl.DataFrame(pl.from_arrow(read_table(stored, ["component", "key", "value"])))
    groups = frame.partition_by("component", as_dict=True, maintain_order=True)
    return {
        str(name): Fitted(Pairs(part["key"].to_numpy(), part["value"].to_numpy()))
        for (name,), part in groups.items()
    }


STATISTICS_STAGE = StatisticsStage()
FITS_STAGE = FitsStage()
