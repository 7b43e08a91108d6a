"""Stage `summarise`: orders, fills and marks of a run in, its `runs` and `breakdowns` out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.backtest.accounts import Contract
from pipeline.backtest.curve import SymbolRows
from pipeline.backtest.metrics import figures
from pipeline.backtest.money import money_column
from pipeline.backtest.request import Request
from pipeline.backtest.tables import BREAKDOWNS, RUNS
from pipeline.calendar import calendar_for
from pipeline.columns import MONEY
from pipeline.config import Settings
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, TableRef, Task
from pipeline.tables import Table

SIMULATED: Final = "SIM."
"""Datasets of the built-in sample market begin with this."""
_TABLES: Final = ("orders", "fills", "equity")


class Summarise:
    """Figures of a run, over all its symbols."""

    name = "summarise"
    version = 3
    tables: Sequence[str] = ("runs", "breakdowns")

    def __init__(self, request: Request | None = None) -> None:
        self.request = request

    def __getstate__(self) -> dict[str, Any]:
        return {"request": None}

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """One task, for the run that was simulated."""
        del settings, selection
        request = self.request
        if request is None or not request.run_id:
            return []
        parts = [
            item.partition
            for item in catalog.partitions("fills")
            if item.partition["run_id"] == request.run_id
        ]
        if not parts:
            return []
        inputs = tuple(TableRef(table, part) for part in parts for table in _TABLES)
        symbols = {}
        for part in parts:
            commit = catalog.get("fills", part)
            notes = commit.notes if commit else {}
            calendar = calendar_for(part["dataset"], part["symbol"], request.settings)
            symbols[part.path] = {**notes, "zone": calendar.rules.zone.key}
        params = {
            "strategy": request.loaded.name,
            "source": request.loaded.source,
            "params": request.shown_params(),
            "settings": request.shown_settings(request.settings.backtest.fees),
            "capital": request.capital,
            "readings": list(request.readings),
            "skipped": request.skipped,
            "symbols": symbols,
        }
        return [Task(Partition.of(run_id=request.run_id), inputs, params)]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Compute the figures, by reading and currency."""
        params = task.params
        runs, breakdowns = outputs.writer(RUNS), outputs.writer(BREAKDOWNS)
        keys = [item.partition for item in inputs.all("fills")]
        contracts = {
            key.path: contract_of(name, params["symbols"][key.path])
            for key, name in zip(keys, _names(keys), strict=True)
        }
        currencies = sorted({contract.currency for contract in contracts.values()})
        for reading in params["readings"]:
            for currency in currencies:
                paths = [p for p, c in contracts.items() if c.currency == currency]
                parts = [
                    SymbolRows(
                        contract=contracts[path],
                        orders=_rows(inputs, "orders", path, reading),
                        fills=_rows(inputs, "fills", path, reading),
                        equity=_rows(inputs, "equity", path, reading),
                        zone=params["symbols"][path]["zone"],
                    )
                    for path in paths
                ]
                result = figures(parts, currency, params["capital"])
                keyed = {"reading": reading, "currency": currency}
                row = {**keyed, **_origin(params, paths), **result.run}
                runs.write(_table(RUNS, [row]))
                breakdowns.write(_table(BREAKDOWNS, [{**keyed, **part} for part in result.parts]))

    def warm(self) -> None:
        """Nothing to compile."""


def _names(keys: Sequence[Partition]) -> list[str]:
    """Symbols; with the dataset where two have the same one."""
    symbols = [key["symbol"] for key in keys]
    return [
        name if symbols.count(name) == 1 else f"{name} ({key['dataset']})"
        for name, key in zip(symbols, keys, strict=True)
    ]


def contract_of(symbol: str, notes: Mapping[str, Any]) -> Contract:
    """The contract of a symbol, from the notes of its partition of ``fills``."""
    product, multiplier, tick, currency = notes["contract"]
    return Contract(symbol, product, Fraction(multiplier), tick, currency)


def _rows(inputs: Inputs, table: str, path: str, reading: str) -> pa.Table:
    stored = inputs.stored(table, Partition.parse(path))
    assert stored is not None  # not optional
    own = pc.field("reading") == reading
    return pa.concat_tables(
        pq.read_table(file, partitioning=None, filters=own) for file in stored.files
    )


def _origin(params: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Columns of ``runs`` that say what was run."""
    keys = [Partition.parse(path) for path in paths]
    symbols = [params["symbols"][path] for path in paths]
    datasets = sorted({key["dataset"] for key in keys})
    fees = sorted({item["fees"] for item in symbols})
    return {
        "strategy": params["strategy"],
        "params": json.dumps(params["params"], sort_keys=True),
        "settings": json.dumps({**params["settings"], "fees": ",".join(fees)}, sort_keys=True),
        "source": params["source"],
        "dataset": ",".join(datasets),
        "symbols": ",".join(key["symbol"] for key in keys),
        "queue_model": "exact"
        if all(item["queue_model"] == "exact" for item in symbols)
        else "approx",
        "simulated": all(name.startswith(SIMULATED) for name in datasets),
        "skipped": json.dumps(params["skipped"], sort_keys=True),
    }


def _table(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows by column name; what a row does not have is null."""
    arrays = []
    for column in table.columns:
        values = [row.get(column.name) for row in rows]
        money = column.type == MONEY
        arrays.append(money_column(values) if money else pa.array(values, column.type))
    return pa.Table.from_arrays(arrays, schema=table.schema())


SUMMARISE: Final = Summarise()
