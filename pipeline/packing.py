"""Packed days: one file for all symbols of a day instead of a folder each.

Above some hundred symbols a day a file each costs more than its rows.  A packed day lies in
``lake/<table>/dataset=D/date=YYYY-MM-DD/part-0.parquet``, sorted by a column ``symbol``, and its
index in ``lake/_index`` tells each symbol's row groups, rows, content and notes.

A symbol of many rows has row groups of its own; small ones share row groups, because a row group
of a wide table costs 4 KB of footer, 60 KB of the writer's memory and 6 ms, however few its rows.
For the same reason another part is begun after some hundred row groups.  All of it depends on the
rows alone, and so does a symbol's content hash: what other symbols of the day did, or where in
the file it lies, makes nothing that was computed from it stale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa

from pipeline.columns import TEXT, Column
from pipeline.errors import InputError
from pipeline.parquet import ParquetFile, rows_per_group
from pipeline.stage import Span, Stored
from pipeline.storage import INDEX, read_json
from pipeline.tables import Table

SYMBOL: Final = Column("symbol", TEXT, "", "raw symbol", encoding="dict")
SHARED_FRACTION: Final = 8
"""Symbols of fewer rows than this fraction of a row group share row groups."""
PART_GROUPS: Final = 256
"""A part is closed behind the symbol with which it has so many row groups."""


def packed_table(table: Table) -> Table:
    """The table as it is stored for a packed day: ``symbol`` first."""
    return replace(table, columns=(SYMBOL, *table.columns))


def shared_rows(table: Table) -> int:
    """Rows from which on a symbol has row groups of its own; shared ones have no more."""
    return rows_per_group(table) // SHARED_FRACTION


class PartFile(Protocol):
    """A part in the making: the runner's writer of one file."""

    @property
    def file(self) -> ParquetFile: ...
    def close(self) -> None: ...


@dataclass
class _Entry:
    """A symbol and what the index says of it."""

    symbol: str
    metadata: dict[str, str]
    notes: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    part: int = 0
    group: int = 0
    groups: int = 0
    skip: int = 0
    bytes: int = 0
    content: str = ""


class PackedFile:
    """Writes the parts of a packed day, symbol by symbol.

    Parameters
    ----------
    open_part
        Opens the part of a number; its file has the columns of :func:`packed_table`.
    """

    def __init__(self, table: Table, open_part: Callable[[int], PartFile]) -> None:
        self.table = table
        self._schema = table.schema()
        self._packed_schema = packed_table(table).schema()
        self._open_part = open_part
        self._group_rows = rows_per_group(table)
        self._shared_rows = shared_rows(table)
        self._parts = 0
        self._part: PartFile | None = None
        self._entries: list[_Entry] = []
        self._now: _Entry | None = None
        self._rows: list[pa.Table] = []
        """Rows of the symbol under way that are not written yet."""
        self._row_count = 0
        self._digest: Any = None
        """Hash of the symbol's own row groups, once it has any."""
        self._waiting: list[tuple[_Entry, pa.Table]] = []
        """Small symbols, complete, whose row group is not."""
        self._waiting_rows = 0
        self._closed = False

    # --- in -----------------------------------------------------------------------------------

    def start(self, symbol: str, metadata: Mapping[str, str] | None = None) -> None:
        """The rows that follow are of this symbol; symbols come in ascending order.

        The same symbol again is another part of it, as another file would be.
        """
        self._end_symbol()
        if self._entries and symbol < self._entries[-1].symbol:
            raise ValueError(f"{self.table.name}: {symbol!r} after {self._entries[-1].symbol!r}")
        self._now = _Entry(symbol, dict(metadata or {}))
        self._entries.append(self._now)

    def note(self, **facts: Any) -> None:
        """Facts about the symbol under way."""
        assert self._now is not None
        self._now.notes.update(facts)

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Append rows of the symbol under way; columns are the table's, in order and in type."""
        assert self._now is not None
        part = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
        if part.column_names != self._schema.names:
            raise TypeError(
                f"{self.table.name}: columns {part.column_names}, expected {self._schema.names}"
            )
        if not part.num_rows:
            return
        self._rows.append(_plain(part, self._schema))
        self._row_count += part.num_rows
        self._now.rows += part.num_rows
        while self._row_count >= self._group_rows:
            self._write_own(self._group_rows)

    def close(self) -> None:
        """Write what is left; the index is complete afterwards."""
        if self._closed:
            return
        self._end_symbol()
        self._write_shared()
        # A day without rows has a file too: no data differs from not done.
        self._current_part().close()
        self._closed = True

    # --- row groups ---------------------------------------------------------------------------

    def _end_symbol(self) -> None:
        entry = self._now
        if entry is None:
            return
        self._now = None
        if self._digest is not None or self._row_count >= self._shared_rows:
            while self._row_count:
                self._write_own(min(self._row_count, self._group_rows), entry)
            digest, self._digest = self._digest, None
        else:
            rows = self._take(self._row_count)
            digest = _hash_of(rows)
            if self._waiting_rows + rows.num_rows > self._shared_rows:
                self._write_shared()
            self._waiting.append((entry, rows))
            self._waiting_rows += rows.num_rows
        extra = json.dumps(entry.metadata, sort_keys=True)
        table = self.table
        digest.update(f"{table.name} {table.version} {entry.rows} {extra}".encode())
        entry.content = digest.hexdigest()

    def _take(self, rows: int) -> pa.Table:
        """The next rows of the symbol under way, in one chunk a column."""
        if not self._rows:
            return self._schema.empty_table()
        whole = pa.concat_tables(self._rows) if len(self._rows) > 1 else self._rows[0]
        self._rows = [whole.slice(rows)] if rows < whole.num_rows else []
        self._row_count = whole.num_rows - rows
        part = whole.slice(0, rows)
        return part.combine_chunks() if part.column(0).num_chunks > 1 else part

    def _write_own(self, rows: int, entry: _Entry | None = None) -> None:
        """A row group of the symbol under way alone."""
        entry = entry or self._now
        assert entry is not None
        if self._digest is None:
            self._write_shared()
            self._digest = hashlib.sha256()
            file = self._current_part().file
            entry.part, entry.group = self._parts - 1, file.groups
        file = self._current_part(may_end=False).file
        before = file.bytes
        file.write_group(self._with_symbols(self._take(rows), [(entry.symbol, rows)]), self._digest)
        entry.bytes += file.bytes - before
        entry.groups += 1

    def _write_shared(self) -> None:
        """The small symbols that wait, as one row group."""
        waiting, self._waiting, total = self._waiting, [], self._waiting_rows
        self._waiting_rows = 0
        if not total:
            return
        file = self._current_part().file
        before, group = file.bytes, file.groups
        rows = pa.concat_tables([rows for _, rows in waiting]).combine_chunks()
        names = [(entry.symbol, entry.rows) for entry, _ in waiting]
        file.write_group(self._with_symbols(rows, names))
        size, skip = file.bytes - before, 0
        for entry, _ in waiting:
            entry.part, entry.group, entry.groups = self._parts - 1, group, min(entry.rows, 1)
            entry.skip = skip
            entry.bytes = size * entry.rows // total
            skip += entry.rows

    def _with_symbols(self, rows: pa.Table, names: list[tuple[str, int]]) -> pa.Table:
        indices = pa.concat_arrays(
            [pa.repeat(pa.scalar(i, pa.int32()), count) for i, (_, count) in enumerate(names)]
        )
        dictionary = pa.array([name for name, _ in names], TEXT)
        symbols = pa.DictionaryArray.from_arrays(indices, dictionary).cast(TEXT)
        return pa.Table.from_arrays([symbols, *rows.columns], schema=self._packed_schema)

    def _current_part(self, *, may_end: bool = True) -> PartFile:
        if self._part is not None and may_end and self._part.file.groups >= PART_GROUPS:
            self._part.close()
            self._part = None
        if self._part is None:
            self._part = self._open_part(self._parts)
            self._parts += 1
        return self._part

    # --- the index ----------------------------------------------------------------------------

    def index(self) -> dict[str, Any]:
        """What :func:`members` reads, by columns; after :meth:`close`."""
        entries = self._entries
        columns = ("symbol", "part", "group", "groups", "skip", "rows", "bytes", "content")
        return {
            **{name: [getattr(entry, name) for entry in entries] for name in columns},
            "notes": [entry.notes for entry in entries],
            "metadata": {str(i): e.metadata for i, e in enumerate(entries) if e.metadata},
        }

    def content(self) -> str:
        """Hash of all symbols and their contents."""
        digest = hashlib.sha256()
        for entry in self._entries:
            digest.update(f"{entry.symbol}\n{entry.content}\n".encode())
        return digest.hexdigest()


def _plain(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns in the schema's types: text, where it came as codes.

    Only what differs is cast: casts cost as much as all the rest where symbols are small.
    """
    if part.schema.equals(schema):
        return part
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for field, column in zip(schema, part.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _hash_of(rows: pa.Table) -> Any:
    """sha256 of the values of a few rows."""
    digest = hashlib.sha256()
    for batch in rows.to_batches():
        digest.update(batch.serialize())
    return digest


def members(day: Stored) -> dict[str, Stored]:
    """The symbols of a packed day, each as a partition of its own, in order.

    Raises
    ------
    InputError
        If the index is not there or damaged.
    """
    assert day.index is not None
    tree = read_json(day.index)
    try:
        return _members(day, tree)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError.at(
            day.index,
            f"the index of {day.table} is missing or damaged",
            todo="run the command that makes this table again",
        ) from error


def _members(day: Stored, tree: Any) -> dict[str, Stored]:
    columns = ("part", "group", "groups", "skip", "rows", "bytes", "content", "notes")
    rows = zip(*(tree[name] for name in columns), strict=True)
    entries: dict[str, list[tuple[int, Any]]] = {}
    for number, (symbol, row) in enumerate(zip(tree["symbol"], rows, strict=True)):
        entries.setdefault(symbol, []).append((number, row))
    return {symbol: _member(day, tree, symbol, own) for symbol, own in entries.items()}


def _member(day: Stored, tree: Any, symbol: str, entries: list[tuple[int, Any]]) -> Stored:
    numbers = [number for number, _ in entries]
    parts, group, groups, skip, rows, sizes, contents, notes = zip(
        *(row for _, row in entries), strict=True
    )
    facts: dict[str, Any] = {}
    for some in notes:
        facts.update(some)
    joined = hashlib.sha256("\n".join(contents).encode()).hexdigest()
    return Stored(
        table=day.table,
        partition=type(day.partition)((*day.partition.keys, ("symbol", symbol))),
        files=tuple(day.files[part] for part in parts),
        rows=sum(rows),
        bytes=sum(sizes),
        content=contents[0] if len(contents) == 1 else joined,
        notes=facts,
        stage=day.stage,
        spans=tuple(map(Span, group, groups, skip, rows)),
        inside=day.partition,
        metadata=tuple(tree["metadata"].get(str(number), {}) for number in numbers),
        table_version=day.table_version,
    )


def index_path(root: Path, table: str, partition: str) -> Path:
    """The index of a packed day, apart from its files: other readers open those by folder."""
    return root / INDEX / table / f"{partition}.json"
