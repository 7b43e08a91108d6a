"""What of a request is there already: checked files in batch folders of the same query."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipeline.download.request import DownloadRequest
from pipeline.errors import InputError
from pipeline.ingest.batch import Folder, read_folder
from pipeline.instants import parse_instant
from pipeline.storage import HashCache, commit_file, readable_os_errors
from pipeline.units import NS_PER_DAY

DATA_NAME = re.compile(r".+-(\d{4})(\d\d)(\d\d)\.([a-z0-9-]+)\.dbn(\.zst)?")
PART = ".part"


def day_and_schema(name: str) -> tuple[date, str] | None:
    """Of a data file split by day, ``glbx-mdp3-20250501.mbo.dbn.zst``; None for others."""
    found = DATA_NAME.fullmatch(name)
    try:
        return (date(*map(int, found.groups()[:3])), found[4]) if found else None
    except ValueError:
        return None


def same_query(query: Mapping[str, Any], request: DownloadRequest, schema: str) -> bool:
    """Whether a job's or a folder's query is the request's, its days apart."""
    symbols = query.get("symbols") or ()
    names = symbols.split(",") if isinstance(symbols, str) else list(map(str, symbols))
    return (
        query.get("dataset") == request.dataset
        and query.get("schema") == schema
        and query.get("stype_in") == request.stype
        and {name.strip().upper() for name in names} == {n.upper() for n in request.symbols}
        and str(query.get("encoding", "dbn")) == "dbn"
        and not query.get("limit")
        and not query.get("split_symbols")
        and query.get("split_duration", "day") == "day"
    )


def covered_days(query: Mapping[str, Any], days: Sequence[date]) -> list[date]:
    """Those of the days that lie whole between a query's start and its exclusive end."""
    try:
        start, end = parse_instant(query["start"]), parse_instant(query["end"])
    except (KeyError, ValueError):
        return []
    return [day for day in days if start <= _midnight(day) and _midnight(day) + NS_PER_DAY <= end]


def _midnight(day: date) -> int:
    return (day - date(1970, 1, 1)) // timedelta(days=1) * NS_PER_DAY


@dataclass
class Held:
    """Days of a schema that need no fetching."""

    days: set[date] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    """Files that are there and not what their manifest says; they are fetched anew."""


def held(out: Path, request: DownloadRequest, hashes: HashCache) -> dict[str, Held]:
    """By schema: the days whose files are there whole and have their manifest's sha256.

    A day inside a folder's query of which its manifest lists no file has no data.
    """
    found = {schema: Held() for schema in request.schemas}
    for folder in batch_folders(out):
        for schema in request.schemas:
            if folder.manifest and same_query(folder.query, request, schema):
                _take(folder, covered_days(folder.query, request.days), hashes, found[schema])
    return found


def _take(folder: Folder, days: Sequence[date], hashes: HashCache, have: Held) -> None:
    listed = {found[0]: name for name in folder.manifest or {} if (found := day_and_schema(name))}
    for day in days:
        if day not in listed:
            have.days.add(day)
            continue
        path = folder.path / listed[day]
        if not path.is_file():
            continue
        entry = (folder.manifest or {})[listed[day]]
        if entry.sha256 is None:
            continue
        try:
            folder.check(path, hashes.sha256(path))
        except InputError:
            have.damaged.append(path)
        else:
            have.days.add(day)
            have.files.append(path)


def batch_folders(out: Path) -> Iterator[Folder]:
    """Folders below ``out`` with a query and a manifest of the vendor's form."""
    for place, names, files in os.walk(out):
        names[:] = sorted(name for name in names if not name.startswith("."))
        if "metadata.json" in files and "manifest.json" in files:
            folder = read_folder(Path(place))
            if not folder.faults:
                yield folder


def write_manifest(folder: Path, job_id: str, files: Sequence[Mapping[str, Any]]) -> None:
    """The manifest as the vendor's archive has it; addresses of the job are not kept."""
    lines = [{k: item.get(k) for k in ("filename", "size", "hash")} | {"urls": {}}
             for item in files]  # fmt: skip
    write_whole(folder / "manifest.json", {"job_id": job_id, "files": lines})


def write_whole(path: Path, tree: Any) -> None:
    """A JSON file under its name complete or not at all."""
    with readable_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + PART)
        with open(part, "w", encoding="utf-8") as file:
            file.write(json.dumps(tree, indent=4, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        commit_file(part, path)
