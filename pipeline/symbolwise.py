"""A task of a packed day, run symbol by symbol as if each had a task of its own.

A stage that works by symbol needs no second way for packed days: it runs its function once a
symbol, with inputs and outputs that show that symbol alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import InputError
from pipeline.packing import members
from pipeline.stage import (
    Inputs,
    Outputs,
    PackedWriter,
    Partition,
    Stored,
    TableRef,
    Task,
    Writer,
)
from pipeline.tables import Table


class PackedInputs:
    """The inputs of a task of a packed day, by symbol."""

    def __init__(self, task: Task, inputs: Inputs) -> None:
        self._found: dict[str, dict[str, list[Stored]]] = {}
        for ref in task.inputs:
            stored = inputs.stored(ref.table, ref.partition) if isinstance(ref, TableRef) else None
            if stored is None:
                continue
            by_symbol = self._found.setdefault(stored.table, {})
            for item in members(stored).values() if stored.index else (stored,):
                by_symbol.setdefault(item.partition["symbol"], []).append(item)

    def symbols(self, table: str) -> list[str]:
        """All symbols of a table, in order."""
        return sorted(self._found.get(table, {}))

    def of(self, table: str, symbol: str) -> list[Stored]:
        """A symbol's partitions of a table, in the order of the task's inputs."""
        return self._found.get(table, {}).get(symbol, [])


@dataclass(frozen=True)
class SymbolInputs:
    """What one symbol of a packed day is made from."""

    partition: Partition
    chosen: Mapping[str, Sequence[Stored]]

    def stored(self, table: str, partition: Partition | None = None) -> Stored | None:
        wanted = partition or self.partition
        return next((s for s in self.chosen.get(table, ()) if s.partition == wanted), None)

    def all(self, table: str) -> Sequence[Stored]:
        return self.chosen.get(table, ())

    def raw(self) -> Sequence[Path]:
        return ()


class _SymbolWriter:
    """A writer of one symbol's rows."""

    def __init__(self, packed: PackedWriter) -> None:
        self._packed = packed
        self.rows = 0

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        self._packed.write(data)
        self.rows += data.num_rows

    def note(self, **facts: Any) -> None:
        self._packed.note(**facts)

    def close(self) -> None:
        """The file goes on with the next symbol."""


class PackedOutputs:
    """The outputs of a task of a packed day: a packed writer a table, opened with the first
    symbol that writes it.
    """

    def __init__(self, outputs: Outputs, day: Partition, total: int) -> None:
        self.outputs = outputs
        self.day = day
        self.done = 0
        """Rows of the symbols before."""
        self.total = total
        self._packed: dict[str, PackedWriter] = {}

    def packed_writer(self, table: Table) -> PackedWriter:
        if table.name not in self._packed:
            self._packed[table.name] = self.outputs.packed(table, self.day)
        return self._packed[table.name]


class SymbolOutputs:
    """Where one symbol of a packed day is written.

    The parts of a table must be written one after the other, not side by side.
    """

    def __init__(self, outputs: PackedOutputs, symbol: str) -> None:
        self._outputs = outputs
        self._symbol = symbol

    def writer(
        self,
        table: Table,
        partition: Partition | None = None,
        *,
        part: int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> Writer:
        del partition, part  # the symbol's own, in order
        packed = self._outputs.packed_writer(table)
        packed.start(self._symbol, metadata)
        return _SymbolWriter(packed)

    def packed(self, table: Table, partition: Partition | None = None) -> PackedWriter:
        raise TypeError("a symbol of a packed day is not packed again")

    def warn(self, message: str) -> None:
        self._outputs.outputs.warn(f"{self._symbol}: {message}")

    def progress(self, done: int, total: int | None = None) -> None:
        del total
        self._outputs.outputs.progress(self._outputs.done + done, self._outputs.total)


def each_symbol(
    task: Task,
    inputs: Inputs,
    outputs: Outputs,
    day: Partition,
    main: str,
    choose: Callable[[PackedInputs, str], Mapping[str, Sequence[Stored]]],
    run: Callable[[Task, Inputs, Outputs], None],
) -> None:
    """Run a task of a packed day, once a symbol of its table ``main``, in order.

    Parameters
    ----------
    day
        The partition of the packed outputs: dataset and date.
    choose
        Gives a symbol's inputs by table.
    run
        The stage's function for one symbol.
    """
    found = PackedInputs(task, inputs)
    whole = inputs.stored(main, day)
    packed = PackedOutputs(outputs, day, whole.rows if whole else 0)
    for symbol in found.symbols(main):
        stored = choose(found, symbol)
        partition = Partition((*task.partition.keys, ("symbol", symbol)))
        own = replace(task, partition=partition, inputs=(), outputs=())
        try:
            run(own, SymbolInputs(partition, stored), SymbolOutputs(packed, symbol))
        except InputError as error:
            raise InputError(f"{symbol}: {error}") from error
        packed.done += sum(item.rows for item in stored.get(main, ()))
