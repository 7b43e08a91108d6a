"""Where a run came from: its strategy's source, and the contents of everything it read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from pipeline.catalog import LakeCatalog
from pipeline.report.curves import Drawn
from pipeline.stage import Partition


@dataclass
class Origin:
    """What determined a run."""

    tasks: list[str] = field(default_factory=list)
    """Stage, version and fingerprint of each simulated symbol."""
    inputs: list[tuple[str, str, str]] = field(default_factory=list)
    """Table, partition, content hash; each once."""
    raw: list[tuple[str, str]] = field(default_factory=list)
    """Names and sha256 of the raw files behind them: never a path of this machine."""
    changed: list[str] = field(default_factory=list)
    """Inputs that are no longer what they were: the run is stale."""


def origin_of(drawn: Drawn) -> Origin:
    """Follow a run to what it read, and that to the raw files."""
    catalog = drawn.run.lake.catalog
    origin = Origin()
    raw: dict[tuple[str, str], None] = {}
    inputs: dict[tuple[str, str, str], None] = {}
    for symbol in sorted(drawn.symbols, key=lambda s: (s.dataset, s.name)):
        commit = catalog.producer("fills", symbol.fills.partition)
        assert commit is not None  # its partition is there
        stage = f"{commit.stage} v{commit.record['stage_version']}"
        origin.tasks.append(f"{symbol.name}: {stage}, fingerprint {commit.fingerprint}")
        for item in commit.record["inputs"]:
            if "raw" not in item:
                inputs[item["table"], item["partition"], item["content"]] = None
    for table, partition, content in inputs:
        key = Partition.parse(partition)
        origin.inputs.append((table, str(key), content))
        now = catalog.get(table, key)
        if content and (now is None or now.content != content):
            origin.changed.append(f"{table} {key}")
        raw.update(dict.fromkeys(_raw_of(catalog, table, key)))
    origin.raw = sorted(raw)
    return origin


def _raw_of(catalog: LakeCatalog, table: str, key: Partition) -> Iterator[tuple[str, str]]:
    commit = catalog.producer(table, key)
    inputs: list[Mapping[str, Any]] = commit.record["inputs"] if commit else []
    for item in inputs:
        if "raw" in item:
            yield PurePath(item["raw"]).name, item["sha256"]
