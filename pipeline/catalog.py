"""What the lake holds and why: commit records, fingerprints, lineage.

Each finished task leaves one record, ``_commits/<stage>/<partition>.json``, renamed into place
after all its files: a partition without a record is not there.  The record names inputs and
outputs by content, so that the chain from a result back to the raw files can be followed and
checked, and a task whose fingerprint is unchanged need not run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.packing import members
from pipeline.stage import Partition, Stage, Stored, Task
from pipeline.storage import COMMITS, read_json


@dataclass(frozen=True)
class Resolved:
    """An input of a task with its content: a partition, a raw file, or an absent optional."""

    table: str
    """Empty for a raw file."""
    partition: Partition
    content: str
    """Hash of the content; empty where an optional input is absent."""
    stored: Stored | None = None
    path: Path | None = None

    def record(self) -> dict[str, Any]:
        if self.path is not None:
            return {"raw": str(self.path.resolve()), "sha256": self.content}
        return {"table": self.table, "partition": self.partition.path, "content": self.content}

    def identity(self) -> list[str]:
        """What enters the fingerprint: never a path of this machine."""
        return [self.table, self.partition.path, self.content]


def fingerprint(
    stage: Stage, task: Task, inputs: Sequence[Resolved], tables: Mapping[str, int]
) -> str:
    """Hash of everything that determines a task's output.

    Stage version, schema versions of the tables it declares, partition, parameters, and the
    *contents* of the inputs.  The program's version is not in it.
    """
    parts = {
        "stage": stage.name,
        "version": stage.version,
        "tables": dict(sorted(tables.items())),
        "partition": task.partition.path,
        "params": task.params,
        "inputs": [item.identity() for item in inputs],
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def content_hash(hashes: Sequence[str]) -> str:
    """Content of a partition: the hash of its only file, or of its files' hashes in order."""
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def commit_path(root: Path, stage: str, partition: Partition) -> Path:
    return root / COMMITS / stage / f"{partition.path or 'all'}.json"


def output_path(root: Path, table: str, partition: Partition, part: int) -> Path:
    folder = root / table / partition.path if partition.path else root / table
    return folder / f"part-{part}.parquet"


@dataclass(frozen=True)
class Commit:
    """A parsed commit record."""

    path: Path
    stage: str
    partition: Partition
    fingerprint: str
    record: Mapping[str, Any]

    def outputs(self, root: Path) -> Iterator[Stored]:
        """What the task wrote; packed days whole."""
        packed = {(i["table"], i["partition"]): i for i in self.record.get("packed", ())}
        grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for item in self.record["outputs"]:
            grouped.setdefault((item["table"], item["partition"]), []).append(item)
        for (table, partition), items in grouped.items():
            notes: dict[str, Any] = {}
            for item in items:
                notes.update(item["notes"])
            index = packed.get((table, partition))
            hashes = [item["content"] for item in items]
            yield Stored(
                table=table,
                partition=Partition.parse(partition),
                files=tuple(root / item["file"] for item in items),
                rows=sum(item["rows"] for item in items),
                bytes=sum(item["bytes"] for item in items),
                content=index["content"] if index else content_hash(hashes),
                notes=notes,
                stage=self.stage,
                index=root / index["file"] if index else None,
                table_version=int(items[0].get("table_version", 0)),
            )

    def files(self) -> dict[str, int]:
        """Every file of the record, relative to the lake, and its size."""
        items = [*self.record["outputs"], *self.record.get("packed", ())]
        return {item["file"]: item["bytes"] for item in items}

    def intact(self, root: Path) -> bool:
        """True if every file is there with the size it was committed with."""
        for file, size in self.files().items():
            try:
                if (root / file).stat().st_size != size:
                    return False
            except OSError:
                return False
        return True


class LakeCatalog:
    """The commit records of a lake, read once; :meth:`add` keeps it current.

    Packed days stand whole in the tables; their symbols are looked up when they are asked for.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._commits: dict[tuple[str, str], Commit] = {}
        self._tables: dict[str, dict[str, tuple[Stored, Commit]]] = {}
        self._sorted: dict[str, list[Stored]] = {}
        self._members: dict[tuple[str, str], dict[str, Stored]] = {}
        for path in sorted((root / COMMITS).rglob("*.json")):
            record = read_json(path)
            if isinstance(record, dict) and "outputs" in record:
                self._insert(_parse(path, record))
        # A run that was killed between a record and the removal of those it replaces.
        for commit in list(self._commits.values()):
            for other in self._rivals(commit) if "packed" in commit.record else ():
                older = min(commit, other, key=lambda c: c.path.stat().st_mtime_ns)
                self.remove(older.stage, older.partition)

    @property
    def root(self) -> Path:
        return self._root

    def _insert(self, commit: Commit) -> list[Commit]:
        """Take a record in; returns older records of other tasks that claimed its outputs."""
        replaced = []
        self._commits[commit.stage, commit.partition.path] = commit
        for stored in commit.outputs(self._root):
            table = self._tables.setdefault(stored.table, {})
            old = table.get(stored.partition.path)
            if old and (old[1].stage, old[1].partition) != (commit.stage, commit.partition):
                replaced.append(old[1])
            table[stored.partition.path] = (stored, commit)
            self._forget(stored)
        return replaced

    def _forget(self, stored: Stored) -> None:
        self._sorted.pop(stored.table, None)
        self._members.pop((stored.table, stored.partition.path), None)

    def _rivals(self, commit: Commit) -> list[Commit]:
        """Records of other tasks that hold symbols of this one's in the other layout."""
        found: dict[tuple[str, str], Commit] = {}
        for stored in commit.outputs(self._root):
            table = self._tables.get(stored.table, {})
            if stored.index is not None:
                prefix = f"{stored.partition.path}/symbol="
                beside = {path for path in table if path.startswith(prefix)}
                symbols = self._symbols(stored).values() if beside else ()
                paths = [path for s in symbols if (path := s.partition.path) in beside]
            else:
                day, symbol = stored.partition.without("symbol"), stored.partition.get("symbol")
                entry = table.get(day.path) if symbol is not None else None
                whole = entry is not None and entry[0].index is not None
                paths = [day.path] if whole and symbol in self._symbols(table[day.path][0]) else []
            for path in paths:
                if path in table and table[path][1] is not commit:
                    other = table[path][1]
                    found[other.stage, other.partition.path] = other
        return list(found.values())

    def add(self, path: Path, record: Mapping[str, Any]) -> list[Commit]:
        """A task was committed; returns records of other tasks that it supersedes."""
        commit = _parse(path, record)
        self.remove(commit.stage, commit.partition)
        replaced = self._insert(commit)
        return [*replaced, *(other for other in self._rivals(commit) if other not in replaced)]

    def remove(self, stage: str, partition: Partition) -> Commit | None:
        """Forget a record and the outputs it owns."""
        commit = self._commits.pop((stage, partition.path), None)
        if commit:
            for stored in commit.outputs(self._root):
                table = self._tables.get(stored.table, {})
                entry = table.get(stored.partition.path)
                if entry and entry[1] is commit:
                    del table[stored.partition.path]
                    self._forget(stored)
        return commit

    def supersede(self, old: Commit) -> None:
        """Remove a record that another one replaces, and its files that no record owns now."""
        old.path.unlink(missing_ok=True)
        self.remove(old.stage, old.partition)
        kept = {
            str(path.relative_to(self._root))
            for stored in old.outputs(self._root)
            if (now := self._tables.get(stored.table, {}).get(stored.partition.path))
            for path in (*now[0].files, *([now[0].index] if now[0].index else ()))
        }
        for file in old.files():
            if file not in kept:
                (self._root / file).unlink(missing_ok=True)

    def commit(self, stage: str, partition: Partition) -> Commit | None:
        return self._commits.get((stage, partition.path))

    def commits(self, stage: str | None = None) -> list[Commit]:
        return [c for c in self._commits.values() if stage is None or c.stage == stage]

    def _symbols(self, day: Stored) -> dict[str, Stored]:
        key = (day.table, day.partition.path)
        if key not in self._members:
            self._members[key] = members(day)
        return self._members[key]

    def partitions(self, table: str) -> Sequence[Stored]:
        if table not in self._sorted:
            found: list[Stored] = []
            for stored in self.outputs(table):
                found += [stored] if stored.index is None else self._symbols(stored).values()
            self._sorted[table] = sorted(found, key=lambda s: s.partition)
        return self._sorted[table]

    def outputs(self, table: str) -> Sequence[Stored]:
        entries = self._tables.get(table, {}).values()
        return sorted((stored for stored, _ in entries), key=lambda s: s.partition)

    def _entry(self, table: str, partition: Partition) -> tuple[Stored, Commit] | None:
        entries = self._tables.get(table, {})
        entry = entries.get(partition.path)
        symbol = partition.get("symbol")
        if entry is None and symbol is not None:
            day = entries.get(partition.without("symbol").path)
            if day is not None and day[0].index is not None:
                member = self._symbols(day[0]).get(symbol)
                return (member, day[1]) if member else None
        return entry

    def get(self, table: str, partition: Partition) -> Stored | None:
        entry = self._entry(table, partition)
        return entry[0] if entry else None

    def producer(self, table: str, partition: Partition) -> Commit | None:
        """The record of the task that wrote a partition."""
        entry = self._entry(table, partition)
        return entry[1] if entry else None

    def tables(self) -> Sequence[str]:
        return sorted(name for name, table in self._tables.items() if table)


def _parse(path: Path, record: Mapping[str, Any]) -> Commit:
    return Commit(
        path=path,
        stage=record["stage"],
        partition=Partition.parse(record["partition"]),
        fingerprint=record["fingerprint"],
        record=record,
    )
