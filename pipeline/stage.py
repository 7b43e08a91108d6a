"""What a stage is: partitions in, partitions out, and the one place that says so.

A stage declares its name, version and output tables, plans its tasks from what the lake holds,
and turns the inputs of one task into batches.  Everything else (finding, ordering, skipping,
processes, temporary files, commits, lineage) belongs to the runner.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self
from urllib.parse import quote, unquote

from pipeline.contracts import series_in
from pipeline.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.catalog import Commit
    from pipeline.config import Settings
    from pipeline.tables import Table

_SAFE = "!#$()+,-.@_ "
"""Characters that stay readable in a path; ``/ % = :`` and the like are percent-encoded."""

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def encode_value(value: str) -> str:
    """A partition value as it stands in a path: ``BRK/B`` -> ``BRK%2FB``."""
    text = quote(value, safe=_SAFE)
    # Readers take these for null or for "up one folder": encode their first letter.
    if text.upper() in {"NULL", HIVE_NULL} or text in {"", ".", ".."}:
        return f"%{ord(text[0]):02X}{text[1:]}" if text else "%00"
    return text


def decode_value(text: str) -> str:
    """The inverse of :func:`encode_value`."""
    return "" if text == "%00" else unquote(text)


@dataclass(frozen=True, order=True)
class Partition:
    """Ordered keys of a partition, e.g. dataset, date, symbol; its path is hive style."""

    keys: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, **keys: str | date) -> Self:
        """``Partition.of(dataset="GLBX.MDP3", date="2025-05-01", symbol="ESM5")``."""
        return cls(tuple((name, str(value)) for name, value in keys.items()))

    @classmethod
    def parse(cls, path: str) -> Self:
        """From a path such as ``dataset=GLBX.MDP3/date=2025-05-01/symbol=ESM5``."""
        pairs = (part.partition("=") for part in path.split("/") if "=" in part)
        return cls(tuple((name, decode_value(value)) for name, _, value in pairs))

    @property
    def path(self) -> str:
        return "/".join(f"{name}={encode_value(value)}" for name, value in self.keys)

    def __getitem__(self, name: str) -> str:
        for key, value in self.keys:
            if key == name:
                return value
        raise KeyError(name)

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.keys if key == name), None)

    def without(self, name: str) -> Self:
        """The other keys."""
        return type(self)(tuple(pair for pair in self.keys if pair[0] != name))

    def replace(self, **keys: str | date) -> Self:
        """The same keys with some values changed."""
        changed = {name: str(value) for name, value in keys.items()}
        return type(self)(tuple((name, changed.get(name, value)) for name, value in self.keys))

    def __str__(self) -> str:
        return " ".join(value for _, value in self.keys)


@dataclass(frozen=True)
class TableRef:
    """A partition of a table of the lake.  An optional one may be absent: the fingerprint
    records which it was, so that the task is stale as soon as it arrives.
    """

    table: str
    partition: Partition
    optional: bool = False


@dataclass(frozen=True)
class RawRef:
    """A raw file and the sha256 of its content."""

    path: Path
    sha256: str


Ref = TableRef | RawRef


@dataclass(frozen=True)
class Task:
    """One unit of work of a stage.

    ``inputs`` and ``params`` (JSON values) determine the result and make up the fingerprint,
    together with the versions.  ``hints`` (JSON values) do not: only what cannot change a byte
    of the output may stand there.  ``weight`` orders tasks, largest first (bytes or rows).
    ``outputs`` names the partitions that will be written, where they differ from
    ``partition``; a task that reads one of them in the same stage waits for it.
    ``refused`` says why the settings ask for the task not to be run: it is reported, and is
    neither done nor failed; what it made earlier stays where it is.
    """

    partition: Partition
    inputs: tuple[Ref, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)
    weight: int = 0
    outputs: tuple[Partition, ...] = ()
    refused: str = ""


class Span(NamedTuple):
    """Where a symbol's rows are in a file that several symbols share."""

    group: int
    """Its first row group."""
    groups: int
    skip: int
    """Rows of other symbols before its own, in that row group."""
    rows: int


@dataclass(frozen=True)
class Stored:
    """A committed partition of a table: its files, size, content hash and noted facts.

    On a packed day all symbols share files: the day as a whole has an ``index``, each symbol of
    it is a partition like any other, with ``spans``.  Read either through
    :mod:`pipeline.reading`.
    """

    table: str
    partition: Partition
    files: tuple[Path, ...]
    rows: int
    bytes: int
    content: str
    """Hash of the contents of the files, in order."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Facts the stage noted on this output, e.g. ``opens_with`` or ``complete``."""
    stage: str = ""
    spans: tuple[Span, ...] = ()
    """Where in each file the rows are; empty where all rows of its files are its own."""
    inside: Partition | None = None
    """The packed day a symbol lies in."""
    index: Path | None = None
    """Of a packed day: the file that tells where each symbol is."""
    metadata: tuple[Mapping[str, str], ...] = ()
    """Of a symbol of a packed day: what its own files would have in their metadata."""
    table_version: int = 0
    """Schema version its table had: columns added later are not in it."""


@dataclass(frozen=True)
class Selection:
    """What a command works on; the same options in every stage."""

    dataset: str | None = None
    symbols: str | None = None
    """Shell-style pattern, or a continuous symbol (``ES.v.0``); several separated by commas."""
    start: date | None = None
    end: date | None = None
    """Inclusive."""
    contracts: frozenset[tuple[str, str, str]] | None = None
    """Dataset, session and contract of the continuous symbols, once they are resolved."""

    def admits_symbol(self, symbol: str) -> bool:
        """True for symbols that may be meant; of a continuous one, every contract of its root."""
        if not self.symbols:
            return True
        return self.names(symbol) or any(s.covers(symbol) for s in series_in(self.symbols))

    def names(self, symbol: str) -> bool:
        """True for symbols asked for themselves, not as a contract of a continuous one."""
        patterns = (p.strip() for p in (self.symbols or "").split(","))
        return any(fnmatch.fnmatchcase(symbol, pattern) for pattern in patterns if pattern)

    def _admits_symbol_of(self, partition: Partition) -> bool:
        symbol, session = partition.get("symbol"), partition.get("session")
        if symbol is None:
            return True
        if self.contracts is None or session is None:
            return self.admits_symbol(symbol)
        return (
            self.names(symbol)
            or (partition.get("dataset") or "", session, symbol) in self.contracts
        )

    def admits_date(self, day: date | str) -> bool:
        text = str(day)
        return (self.start is None or str(self.start) <= text) and (
            self.end is None or text <= str(self.end)
        )

    def admits(self, partition: Partition) -> bool:
        """True where each key the partition has agrees; ``date`` and ``session`` both count."""
        dataset = partition.get("dataset")
        day = partition.get("date") or partition.get("session")
        return (
            (self.dataset is None or dataset is None or dataset == self.dataset)
            and self._admits_symbol_of(partition)
            and (day is None or self.admits_date(day))
        )


class Catalog(Protocol):
    """What the lake holds.  Only committed partitions are visible."""

    @property
    def root(self) -> Path: ...

    def partitions(self, table: str) -> Sequence[Stored]:
        """All committed partitions of a table, sorted by partition; of packed days each symbol."""

    def outputs(self, table: str) -> Sequence[Stored]:
        """The same as they were written: packed days whole."""

    def get(self, table: str, partition: Partition) -> Stored | None:
        """A partition, a symbol of a packed day, or a packed day (dataset and date)."""

    def producer(self, table: str, partition: Partition) -> Commit | None:
        """The record of the task that wrote it."""

    def tables(self) -> Sequence[str]:
        """Names of the tables that have at least one partition."""


class Inputs(Protocol):
    """The inputs of a running task, resolved to files."""

    def stored(self, table: str, partition: Partition | None = None) -> Stored | None:
        """The committed partition of one of the task's refs; the task's own keys by default.
        None where an optional one is absent.
        """

    def all(self, table: str) -> Sequence[Stored]:
        """Every resolved ref to the table, in the order of the task's inputs."""

    def raw(self) -> Sequence[Path]:
        """The raw files, in the order of the task's inputs."""


class Writer(Protocol):
    """A Parquet file in the making; nothing is visible before the task is committed."""

    @property
    def rows(self) -> int:
        """Rows written so far."""

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Append rows; the schema must be the table's.  Chunk sizes do not matter."""

    def note(self, **facts: Any) -> None:
        """Facts about this output for planners and ``mbo status``; JSON values."""

    def close(self) -> None:
        """Finish the file early, to release its buffers.  Closed by the runner otherwise."""


class PackedWriter(Protocol):
    """A packed day in the making: its symbols one after another, in ascending order."""

    def start(self, symbol: str, metadata: Mapping[str, str] | None = None) -> None:
        """The rows that follow are of this symbol, or the next part of it."""

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Append rows of the symbol; the schema must be the table's.  Chunks do not matter."""

    def note(self, **facts: Any) -> None:
        """Facts about the symbol, as :meth:`Writer.note`."""

    def close(self) -> None:
        """Finish early, to release buffers.  Closed by the runner otherwise."""


class PlainOutputs(Protocol):
    """Where a running task writes.  All of it becomes visible at once, or none."""

    def writer(
        self,
        table: Table,
        partition: Partition | None = None,
        *,
        part: int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> Writer:
        """A writer of one file; the task's own partition by default.  A file without rows is
        still written: no data differs from not done.
        """

    def warn(self, message: str) -> None:
        """A readable line for the closing summary; the task still counts as done."""

    def progress(self, done: int, total: int | None = None) -> None:
        """Records or rows done so far, for the progress display.  Cheap; call per batch."""


class Outputs(PlainOutputs, Protocol):
    """The same for stages whose symbols may share files."""

    def packed(self, table: Table, partition: Partition | None = None) -> PackedWriter:
        """A writer of a day whose symbols share files; the task's own partition by default."""


class Stage(Protocol):
    """A stage.  Instances are small and can be pickled: they travel to the workers."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int:
        """Rises whenever the same inputs would give other bytes."""

    @property
    def tables(self) -> Sequence[str]:
        """Names (or prefixes ending in ``*``) of the tables it writes."""

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """All tasks the selection asks for, up to date or not.

        Raises
        ------
        RequestError
            If the request itself is wrong; faults of single inputs belong to the tasks.
        """

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Compute one task.  Raise an ``MboError`` for bad data: other tasks go on."""

    def warm(self) -> None:
        """Compile kernels, in the parent, before workers start.  May do nothing."""


def require(catalog: Catalog, table: str, command: str) -> Sequence[Stored]:
    """All partitions of a table, or an error that says which command makes it."""
    stored = catalog.partitions(table)
    if not stored:
        raise RequestError(f"{catalog.root} holds no {table}; run `{command}` first")
    return stored
