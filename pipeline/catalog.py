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
from functools import cached_property
from pathlib import Path
from typing import Any

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
        grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for item in self.record["outputs"]:
            grouped.setdefault((item["table"], item["partition"]), []).append(item)
        for (table, partition), items in grouped.items():
            notes: dict[str, Any] = {}
            for item in items:
                notes.update(item["notes"])
            yield Stored(
                table=table,
                partition=Partition.parse(partition),
                files=tuple(root / item["file"] for item in items),
                rows=sum(item["rows"] for item in items),
                bytes=sum(item["bytes"] for item in items),
                content=content_hash([item["content"] for item in items]),
                notes=notes,
                stage=self.stage,
            )

    def intact(self, root: Path) -> bool:
        """True if every file is there with the size it was committed with."""
        for item in self.record["outputs"]:
            try:
                if (root / item["file"]).stat().st_size != item["bytes"]:
                    return False
            except OSError:
                return False
        return True


class LakeCatalog:
    """The commit records of a lake, read once; :meth:`add` keeps it current."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._commits: dict[tuple[str, str], Commit] = {}
        self._tables: dict[str, dict[str, tuple[Stored, Commit]]] = {}
        for path in sorted((root / COMMITS).rglob("*.json")):
            record = read_json(path)
            if isinstance(record, dict) and "outputs" in record:
                self._insert(_parse(path, record))

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
        self.__dict__.pop("_sorted", None)
        return replaced

    def add(self, path: Path, record: Mapping[str, Any]) -> list[Commit]:
        """A task was committed; returns records of other tasks that it supersedes."""
        commit = _parse(path, record)
        self.remove(commit.stage, commit.partition)
        return self._insert(commit)

    def remove(self, stage: str, partition: Partition) -> Commit | None:
        """Forget a record and the outputs it owns."""
        commit = self._commits.pop((stage, partition.path), None)
        if commit:
            for stored in commit.outputs(self._root):
                table = self._tables.get(stored.table, {})
                entry = table.get(stored.partition.path)
                if entry and entry[1] is commit:
                    del table[stored.partition.path]
            self.__dict__.pop("_sorted", None)
        return commit

    def commit(self, stage: str, partition: Partition) -> Commit | None:
        return self._commits.get((stage, partition.path))

    def commits(self, stage: str | None = None) -> list[Commit]:
        return [c for c in self._commits.values() if stage is None or c.stage == stage]

    @cached_property
    def _sorted(self) -> dict[str, list[Stored]]:
        return {
            name: sorted((stored for stored, _ in table.values()), key=lambda s: s.partition)
            for name, table in self._tables.items()
            if table
        }

    def partitions(self, table: str) -> Sequence[Stored]:
        return self._sorted.get(table, [])

    def get(self, table: str, partition: Partition) -> Stored | None:
        entry = self._tables.get(table, {}).get(partition.path)
        return entry[0] if entry else None

    def producer(self, table: str, partition: Partition) -> Commit | None:
        """The record of the task that wrote a partition."""
        entry = self._tables.get(table, {}).get(partition.path)
        return entry[1] if entry else None

    def tables(self) -> Sequence[str]:
        return sorted(self._sorted)


def _parse(path: Path, record: Mapping[str, Any]) -> Commit:
    return Commit(
        path=path,
        stage=record["stage"],
        partition=Partition.parse(record["partition"]),
        fingerprint=record["fingerprint"],
        record=record,
    )
