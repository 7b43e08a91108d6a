"""Stage `summarise`: the orders, fills and marks of a run in, its row of `runs` out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.backtest.accounts import Contract
from pipeline.backtest.metrics import Figures, SymbolRows, figures
from pipeline.backtest.money import money_column
from pipeline.backtest.request import Request
from pipeline.backtest.tables import RUNS
from pipeline.columns import MONEY
from pipeline.config import Settings
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, TableRef, Task

SIMULATED: Final = "SIM."
"""Datasets of the built-in sample market begin with this."""
_TABLES: Final = ("orders", "fills", "equity")


class Summarise:
    """Figures of a run, over all its symbols."""

    name = "summarise"
    version = 2
    tables: Sequence[str] = ("runs",)

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
            symbols[part.path] = dict(notes)
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
        writer = outputs.writer(RUNS)
        fills = inputs.all("fills")
        contracts = {
            item.partition.path: _contract(item.partition["symbol"], item.notes) for item in fills
        }
        currencies = sorted({contract.currency for contract in contracts.values()})
        for reading in params["readings"]:
            for currency in currencies:
                paths = [p for p, c in contracts.items() if c.currency == currency]
                parts = [
                    SymbolRows(
                        contracts[path],
                        *(_rows(inputs, table, path, reading) for table in _TABLES),
                    )
                    for path in paths
                ]
                result = figures(parts, currency, params["capital"])
                writer.write(_row(params, paths, reading, currency, result))

    def warm(self) -> None:
        """Nothing to compile."""


def _contract(symbol: str, notes: Mapping[str, Any]) -> Contract:
    product, multiplier, tick, currency = notes["contract"]
    return Contract(symbol, product, Fraction(multiplier), tick, currency)


def _rows(inputs: Inputs, table: str, path: str, reading: str) -> pa.Table:
    stored = inputs.stored(table, Partition.parse(path))
    assert stored is not None  # not optional
    tables = [pq.read_table(file, partitioning=None) for file in stored.files]
    whole = pa.concat_tables(tables)
    return whole.filter(pc.equal(whole["reading"], reading))


def _row(
    params: Mapping[str, Any], paths: Sequence[str], reading: str, currency: str, result: Figures
) -> pa.Table:
    keys = [Partition.parse(path) for path in paths]
    symbols = [params["symbols"][path] for path in paths]
    datasets = sorted({key["dataset"] for key in keys})
    fees = sorted({item["fees"] for item in symbols})
    values: dict[str, Any] = {
        "reading": reading,
        "currency": currency,
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
        **result.numbers,
    }
    arrays = []
    for column in RUNS.columns:
        if column.type == MONEY:
            units = result.money[column.name]
            arrays.append(pa.nulls(1, MONEY) if units is None else money_column([units]))
        else:
            arrays.append(pa.array([values[column.name]], column.type))
    return pa.Table.from_arrays(arrays, schema=RUNS.schema())


SUMMARISE: Final = Summarise()
