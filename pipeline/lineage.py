"""Where a file of the lake came from, and what in the lake has lost its origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.catalog import Commit, LakeCatalog
from pipeline.errors import RequestError
from pipeline.stage import Partition, Selection
from pipeline.storage import CACHE, COMMITS, TMP, HashCache


@dataclass
class Node:
    """A task and what it was made from, back to the raw files."""

    title: str
    facts: dict[str, Any]
    inputs: list[Node] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            **self.facts,
            "inputs": [node.as_json() for node in self.inputs],
        }


def lake_of(path: Path) -> Path | None:
    """The lake a path lies in, if it does."""
    return next((p for p in path.resolve().parents if (p / COMMITS).is_dir()), None)


def find_partition(catalog: LakeCatalog, path: Path) -> tuple[str, Partition]:
    """Table and partition of a file or folder of the lake.

    Raises
    ------
    RequestError
        If the path is not below the lake or nothing was committed there.
    """
    try:
        relative = path.resolve().relative_to(catalog.root.resolve())
    except ValueError:
        relative = path  # given relative to the lake already
    table, _, rest = relative.as_posix().partition("/")
    if rest.endswith(".parquet"):
        rest = rest.rpartition("/")[0]
    partition = Partition.parse(rest)
    if catalog.get(table, partition) is None:
        known = [f"{table}/{s.partition.path}" for s in catalog.partitions(table)]
        raise RequestError.unknown(
            "partition", relative.as_posix(), known or list(catalog.tables()), where="the lake"
        )
    return table, partition


def trace(catalog: LakeCatalog, table: str, partition: Partition) -> Node:
    """The chain of tasks behind a partition.  Tasks met before are named, not repeated."""
    return _trace(catalog, table, partition, set())


def _trace(
    catalog: LakeCatalog, table: str, partition: Partition, seen: set[tuple[str, str]]
) -> Node:
    commit = catalog.producer(table, partition)
    title = f"{table} {partition}"
    if commit is None:
        return Node(title, {"state": "no longer in the lake"})
    record = commit.record
    stored = catalog.get(table, partition)
    facts = {
        "stage": f"{commit.stage} v{record['stage_version']}",
        "params": record["params"],
        "rows": stored.rows if stored else 0,
        "content": stored.content[:16] if stored else "",
        "fingerprint": commit.fingerprint[:16],
    }
    node = Node(title, facts)
    key = (commit.stage, commit.partition.path)
    if key in seen:
        facts["state"] = "shown above"
        return node
    seen.add(key)
    for item in record["inputs"]:
        if "raw" in item:
            node.inputs.append(Node(item["raw"], {"sha256": item["sha256"]}))
            continue
        origin = Partition.parse(item["partition"])
        if not item["content"]:
            node.inputs.append(Node(f"{item['table']} {origin}", {"state": "absent then"}))
            continue
        child = _trace(catalog, item["table"], origin, seen)
        current = catalog.get(item["table"], origin)
        if current and current.content != item["content"]:
            child.facts["state"] = "has changed since: this is stale"
        node.inputs.append(child)
    return node


def render(node: Node, indent: str = "") -> Iterator[str]:
    """Lines of a tree."""
    shown = {k: v for k, v in node.facts.items() if v not in ({}, "", None)}
    yield f"{indent}{node.title}"
    yield f"{indent}    " + "  ".join(f"{k}={v}" for k, v in shown.items())
    for child in node.inputs:
        yield from render(child, indent + "  ")


def orphans(catalog: LakeCatalog) -> list[tuple[Commit, str]]:
    """Records that nothing is left of which they were made; with the reason.

    What lost only some of its inputs is stale, not orphaned: the next run makes it anew.
    """
    found: dict[tuple[str, str], tuple[Commit, str]] = {}
    hashes = HashCache(catalog.root)
    changed = True
    while changed:
        changed = False
        for commit in catalog.commits():
            key = (commit.stage, commit.partition.path)
            if key not in found and (reason := _orphaned(catalog, commit, found, hashes)):
                found[key] = (commit, reason)
                changed = True
    return [found[key] for key in sorted(found)]


def _orphaned(
    catalog: LakeCatalog,
    commit: Commit,
    lost: Mapping[tuple[str, str], object],
    hashes: HashCache,
) -> str:
    """Why all inputs of a task are gone; empty if one is left."""
    reason = ""
    for item in commit.record["inputs"]:
        if "raw" in item:
            if Path(item["raw"]).exists() or item["sha256"] in hashes.present:
                return ""
            reason = reason or f"raw file {item['raw']} is gone"
        elif item["content"]:
            origin = catalog.producer(item["table"], Partition.parse(item["partition"]))
            if origin and (origin.stage, origin.partition.path) not in lost:
                return ""
            reason = reason or f"{item['table']} {item['partition']} is gone"
    return reason


def raw_changes(catalog: LakeCatalog, selection: Selection) -> list[tuple[str, str]]:
    """Raw files that are no longer what was read of them, though results of theirs are here.

    Returns
    -------
    (path, what happened) of files that are gone, or whose size, time or content differ from
    what was read.  Nothing is read here: a file changed in place with its size and time kept
    is found by ``--rehash`` only.
    """
    hashes = HashCache(catalog.root)
    found: dict[str, str] = {}
    for commit in catalog.commits():
        raw = [item for item in commit.record["inputs"] if "raw" in item]
        if not raw:
            continue
        made = [stored.partition for stored in commit.outputs(catalog.root)]
        dated = [partition for partition in made if partition.get("date")]
        if any(selection.admits(partition) for partition in dated or made):
            for item in raw:
                change = _raw_change(Path(item["raw"]), item["sha256"], hashes)
                if change:
                    found[item["raw"]] = change
    return sorted(found.items())


def _raw_change(path: Path, sha256: str, hashes: HashCache) -> str:
    known = hashes.last(path)
    there = path.exists()
    if there and (known is None or known == (sha256, True)):
        return ""
    if sha256 in hashes.present:
        return ""
    return "has changed since it was read" if there else "is gone"


def strays(catalog: LakeCatalog) -> list[Path]:
    """Parquet files below the lake that no record owns."""
    owned = {catalog.root / item["file"] for c in catalog.commits() for item in c.record["outputs"]}
    internal = {TMP, COMMITS, CACHE}
    return sorted(
        path
        for folder in catalog.root.iterdir()
        if folder.is_dir() and folder.name not in internal
        for path in folder.rglob("*.parquet")
        if path not in owned
    )
