"""The stage ``instruments``: one file a dataset, from definitions, data seen and configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from pipeline.config import Settings
from pipeline.ingest.instruments import (
    DEFINITION_FIELDS,
    Definition,
    Seen,
    build_instruments,
    check_config,
)
from pipeline.ingest.products import PRODUCTS_FILE
from pipeline.packing import members
from pipeline.reading import read_table
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Stored, TableRef, Task
from pipeline.tables import INSTRUMENTS

_TIMES = ("ts_recv", "expiration")


@dataclass(frozen=True)
class Instruments:
    """Everything known of a dataset's instruments.

    Tick sizes inferred earlier are a hint, not a parameter: they only ever stop a result (a
    smaller tick found later is an error), or keep what was there.
    """

    name: str = "instruments"
    version: int = 2
    tables: Sequence[str] = ("instruments",)

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        check_config(settings.instruments, settings.origin)
        products = hashlib.sha256(PRODUCTS_FILE.read_bytes()).hexdigest()[:16]
        config = json.loads(json.dumps(settings.instruments, default=str))
        refs: dict[str, list[TableRef]] = {}
        for table in ("sources", "vendor_definition"):
            for stored in catalog.outputs(table):
                dataset = stored.partition["dataset"]
                refs.setdefault(dataset, []).append(TableRef(table, stored.partition))
        return [
            Task(
                Partition.of(dataset=dataset),
                tuple(refs[dataset]),
                {"config": config, "products": products},
                hints={"pinned": _pinned(catalog, dataset), "retick": settings.raw.retick},
                weight=len(refs[dataset]),
            )
            for dataset in sorted(refs)
            if selection.dataset in (None, dataset)
        ]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        rows = build_instruments(
            task.partition["dataset"],
            (item for stored in inputs.all("sources") for item in _seen(stored)),
            (row for stored in inputs.all("vendor_definition") for row in _definitions(stored)),
            task.params["config"],
            task.hints["pinned"],
            retick=task.hints["retick"],
        )
        outputs.writer(INSTRUMENTS).write(pa.Table.from_pylist(rows, schema=INSTRUMENTS.schema()))

    def warm(self) -> None:
        """Nothing to compile."""


def _pinned(catalog: Catalog, dataset: str) -> dict[str, int]:
    """Inferred tick sizes of the table as it stands."""
    stored = catalog.get("instruments", Partition.of(dataset=dataset))
    if stored is None:
        return {}
    columns = ["symbol", "tick_size", "tick_size_origin"]
    return {
        row["symbol"]: row["tick_size"]
        for row in read_table(stored, columns).to_pylist()
        if row["tick_size_origin"] == "inferred"
    }


def _seen(stored: Stored) -> Iterator[Seen]:
    """Instruments of one ``sources`` partition: its rows, and the ids noted on it."""
    instruments: dict[str, list[list[int]]] = stored.notes.get("instruments", {})
    columns = ["date", "symbol", "price_gcd", "rows", "schema"]
    for row in read_table(stored, columns).to_pylist():
        if not row["rows"] or row["schema"] == "definition":
            continue
        # Prices of settlements and of auctions' indications may be finer than the tick.
        gcd = None if row["schema"] in ("statistics", "imbalance") else row["price_gcd"]
        for publisher_id, instrument_id, first, last in instruments.get(row["symbol"], ()):
            day: date = row["date"]
            if first <= day.toordinal() <= last:
                yield Seen(row["symbol"], publisher_id, instrument_id, day, gcd)


def _definitions(stored: Stored) -> Iterator[Definition]:
    """Rows of one ``vendor_definition`` partition, or of all symbols of a packed day, in file
    order: the last of a day counts.
    """
    day = date.fromisoformat(stored.partition["date"])
    for symbol in [stored] if stored.index is None else members(stored).values():
        name = symbol.partition["symbol"]
        for row in _rows(read_table(symbol, DEFINITION_FIELDS)):
            yield Definition(name, day, row["publisher_id"], row["instrument_id"], row)


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Python rows; times stay Arrow's nanoseconds."""
    for name in _TIMES:
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, table[name].cast(pa.int64()))
    return list(table.to_pylist())


INSTRUMENTS_STAGE = Instruments()
