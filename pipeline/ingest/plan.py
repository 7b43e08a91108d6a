"""Which raw files are ingested together, and what determines the result.

Usually a task is one file.  Files of the same dataset, schema and symbols whose days overlap go
into one task, because they feed the same partitions; copies of the same bytes count once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import Settings
from pipeline.errors import InputError, RequestError
from pipeline.ingest.batch import DATA_SUFFIXES, Folder, find_files, read_folders
from pipeline.ingest.census import CoverageCache, coverage_of, take_census
from pipeline.ingest.columns import table_name
from pipeline.ingest.dbn import Header, read_header
from pipeline.ingest.layouts import MARKET_SCHEMAS
from pipeline.ingest.symbology import SymbolMap, day_of, from_header
from pipeline.stage import Catalog, Partition, RawRef, Selection, Task
from pipeline.storage import HashCache
from pipeline.units import NS_PER_DAY

UNKNOWN_DATASET = "unknown"

_PLAUSIBLE_NS = 20_000 * NS_PER_DAY
"""Longer than any venue's electronic history: such a range is not gone through day by day."""


@dataclass(frozen=True)
class RawFile:
    """A data file that can be ingested, and what its header and its folder say."""

    path: Path
    sha256: str
    size: int
    mtime_ns: int
    header: Header
    schemas: tuple[str, ...]
    first_day: int
    """First and last UTC day of its records, in days since the epoch."""
    last_day: int
    symbols: frozenset[str] | None
    """Raw symbols, where the header maps all its instruments; None where it does not."""

    def days(self) -> range:
        return range(self.first_day, self.last_day + 1)


@dataclass(frozen=True)
class Refused:
    """A file that cannot be used, and why."""

    path: Path
    reason: str
    dataset: str = UNKNOWN_DATASET


@dataclass
class Survey:
    """Everything below the raw roots, read as far as headers and hashes go."""

    files: list[RawFile] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)
    """(left out, its equal that is used)"""
    folders: dict[Path, Folder] = field(default_factory=dict)


def survey(
    roots: Sequence[Path],
    settings: Settings,
    hashes: HashCache,
    coverages: CoverageCache,
) -> Survey:
    """Read headers, hashes and the vendor's own files of everything below the roots.

    Raises
    ------
    RequestError
        If a root does not exist.
    """
    result = Survey()
    paths = find_files(roots)
    result.folders = read_folders(paths)
    for folder in result.folders.values():
        result.refused += [Refused(place, str(error)) for place, error in folder.faults]
    by_hash: dict[str, RawFile] = {}
    for path in paths:
        dataset = UNKNOWN_DATASET
        try:
            header = read_header(path)
            dataset = header.dataset or UNKNOWN_DATASET
            if not path.name.endswith(DATA_SUFFIXES):
                raise InputError.at(path, "is not named .dbn or .dbn.zst", todo="rename it")
            sha256 = hashes.sha256(path)
            if settings.raw.verify_hashes:
                result.folders[path.parent].check(path, sha256)
            file = _raw_file(path, sha256, header, coverages)
        except InputError as error:
            result.refused.append(Refused(path, str(error), dataset))
            continue
        if sha256 in by_hash:
            result.duplicates.append((path, by_hash[sha256].path))
            continue
        by_hash[sha256] = file
        result.files.append(file)
    return result


def _raw_file(path: Path, sha256: str, header: Header, coverages: CoverageCache) -> RawFile:
    stat = path.stat()
    known = coverages.get(sha256)
    if known is None and not _says_days(header):
        known = coverage_of(take_census(path))
        coverages.put(sha256, known)
    if known is not None:
        schemas, first, last = known.schemas, known.first_day, known.last_day
        if header.schema is not None:
            schemas = (header.schema,)
    else:
        assert header.schema is not None
        assert header.end is not None
        schemas = (header.schema,)
        first = header.start // NS_PER_DAY
        last = max(first, (header.end - 1) // NS_PER_DAY)
    unknown = [name for name in schemas if name not in MARKET_SCHEMAS]
    if unknown:
        what = f"holds the schema {unknown[0]}, unknown here"
        raise InputError.at(path, what, todo="update databento-dbn, or move the file elsewhere")
    return RawFile(
        path=path,
        sha256=sha256,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        header=header,
        schemas=schemas,
        first_day=first,
        last_day=last,
        symbols=_mapped_symbols(header),
    )


def _says_days(header: Header) -> bool:
    """Whether the header tells the days of the records; the range it has may be nonsense."""
    if header.schema is None or header.end is None or not header.start:
        return False
    return header.end - header.start <= _PLAUSIBLE_NS


def _mapped_symbols(header: Header) -> frozenset[str] | None:
    """The raw symbols of the file, where the header alone tells all of them."""
    if header.schema is None or header.stype_in not in ("raw_symbol", "parent", "instrument_id"):
        return None
    symbols = SymbolMap.of(from_header(header)).symbols()
    return symbols or None


def plan_ingest(catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
    """Tasks for everything below ``settings.raw.roots`` that the selection admits.

    A file is ingested whole as soon as one of its days and symbols is selected.

    Raises
    ------
    RequestError
        If a root does not exist or holds no data, and nothing was ingested before.
    """
    roots = settings.raw.roots
    if settings.raw.prefer not in ("error", "newest"):
        raise RequestError.unknown("raw.prefer", settings.raw.prefer, ["error", "newest"])
    hashes = HashCache(catalog.root, rehash=settings.raw.rehash)
    found = survey(roots, settings, hashes, CoverageCache(catalog.root))
    hashes.save()
    if not found.files and not found.refused:
        if catalog.partitions("sources") and not settings.raw.paths:
            return []
        names = ", ".join(map(str, roots))
        raise RequestError(
            f"{names}: holds no .dbn or .dbn.zst file; put Databento files there, or run "
            "`mbo sample` for a simulated market"
        )
    above = _packed_above(settings)
    together = group_files(found.files, above)
    groups = [group for group in together if any(_admits(selection, f) for f in group)]
    partitions = _names([_first_name(group) for group in groups])
    tasks = [
        _task(partition, group, found, settings, catalog)
        for partition, group in zip(partitions, groups, strict=True)
    ]
    refused = [r for r in found.refused if selection.dataset in (None, r.dataset, UNKNOWN_DATASET)]
    taken = {task.partition.path for task in tasks}
    for item in refused:
        tasks.append(_refusal(item, taken))
        taken.add(tasks[-1].partition.path)
    return tasks


def _admits(selection: Selection, file: RawFile) -> bool:
    if selection.dataset not in (None, file.header.dataset):
        return False
    if file.symbols is not None and not any(map(selection.admits_symbol, file.symbols)):
        return False
    return not file.days() or any(selection.admits_date(day_of(day)) for day in file.days())


def _packed_above(settings: Settings) -> int | None:
    """Symbols a day above which they are packed; None where they never are."""
    layouts = {"auto": settings.lake.packed_above, "packed": 0, "symbols": None}
    return layouts[settings.lake.layout]


def group_files(files: Sequence[RawFile], packed_above: int | None = None) -> list[list[RawFile]]:
    """Files that may feed the same partition, together; each group and all groups by time.

    All files of a day that may be packed feed one: that day, as a whole.
    """
    order = sorted(files, key=_by_time)
    parent = list(range(len(order)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    # Only files of a dataset with a schema and a day in common can meet.
    by_day: dict[tuple[str, str, int], list[int]] = {}
    for i, file in enumerate(order):
        for schema in file.schemas:
            for day in file.days():
                by_day.setdefault((file.header.dataset, schema, day), []).append(i)
    for members in by_day.values():
        owner: dict[str, int] = {}
        anything: int | None = None
        for i in members:
            symbols = order[i].symbols
            meets = (
                list(members)
                if symbols is None
                else [owner[s] for s in symbols if s in owner]
                + ([anything] if anything is not None else [])
            )
            for j in meets:
                parent[max(find(i), find(j))] = min(find(i), find(j))
            if symbols is None:
                anything = i
            else:
                owner.update(dict.fromkeys(symbols, i))
        if _may_exceed([order[i] for i in members], packed_above):
            for j in members[1:]:
                parent[max(find(members[0]), find(j))] = min(find(members[0]), find(j))
    groups: dict[int, list[RawFile]] = {}
    for i, file in enumerate(order):
        groups.setdefault(find(i), []).append(file)
    return list(groups.values())


def _may_exceed(files: Sequence[RawFile], packed_above: int | None) -> bool:
    """Whether files may hold more symbols than that; those without a mapping may hold any."""
    if packed_above is None:
        return False
    known: set[str] = set()
    for file in files:
        if file.symbols is None:
            return True
        known |= file.symbols
    return len(known) > packed_above


def _by_time(file: RawFile) -> tuple[Any, ...]:
    return file.header.dataset, file.first_day, file.schemas, file.header.start, str(file.path)


def _first_name(group: Sequence[RawFile]) -> tuple[str, str, str]:
    """(dataset, name, what tells it from another of the same name)"""
    file = group[0]
    schema = file.header.schema or "mixed"
    return file.header.dataset, file.path.name, f"{schema}@{day_of(file.first_day):%Y%m%d}"


def _names(items: Sequence[tuple[str, str, str]]) -> list[Partition]:
    """A partition for each task, by the name of its first file."""
    counts = Counter((dataset, name) for dataset, name, _ in items)
    taken: Counter[str] = Counter()
    result = []
    for dataset, name, rest in items:
        unique = name if counts[dataset, name] == 1 else f"{name}@{rest}"
        taken[f"{dataset}/{unique}"] += 1
        again = taken[f"{dataset}/{unique}"]
        result.append(
            Partition.of(
                dataset=dataset or UNKNOWN_DATASET,
                raw=unique if again == 1 else f"{unique}@{again}",
            )
        )
    return result


def _task(
    partition: Partition,
    group: Sequence[RawFile],
    found: Survey,
    settings: Settings,
    catalog: Catalog,
) -> Task:
    hints: dict[str, Any] = {
        "sha256": [file.sha256 for file in group],
        "lake": str(catalog.root),
    }
    inputs = [RawRef(file.path, file.sha256) for file in group]
    roles = ["data"] * len(group)
    for path, role in _helpers(group, found):
        inputs.append(RawRef(path, _sha256(path)))
        roles.append(role)
    params: dict[str, Any] = {
        "files": [
            {
                "name": file.path.name,
                "days": [str(day_of(file.first_day)), str(day_of(file.last_day))]
                if file.days()
                else [],
            }
            for file in group
        ],
        "roles": roles,
        "conditions": _conditions(group, found),
    }
    above = _packed_above(settings)
    if above is not None and _may_exceed(group, above):
        params["packed_above"] = above
        hints["packed_elsewhere"] = _packed_elsewhere(partition, group, catalog)
    if len(group) > 1:
        params["prefer"] = settings.raw.prefer
        if settings.raw.prefer == "newest":
            ages = sorted(range(len(group)), key=lambda i: (group[i].mtime_ns, group[i].path.name))
            params["oldest_first"] = ages
    return Task(
        partition,
        tuple(inputs),
        params,
        hints=hints,
        weight=sum(file.size for file in group),
    )


def _packed_elsewhere(
    partition: Partition, group: Sequence[RawFile], catalog: Catalog
) -> list[list[str]]:
    """Days that were packed from files that are not in the group: [table, date, those files].

    A packed day belongs to one task; another that packs it too would take its place.
    """
    own = {file.sha256 for file in group}
    days: dict[str, set[str]] = {}
    for file in group:
        for schema in file.schemas:
            days.setdefault(table_name(schema), set()).update(str(day_of(d)) for d in file.days())
    found = []
    for table, wanted in sorted(days.items()):
        # The days there are, not those a header may claim: these can be half a million.
        for stored in catalog.outputs(table):
            whole = stored.partition
            mine = whole["dataset"] == group[0].header.dataset and whole["date"] in wanted
            producer = catalog.producer(table, whole) if mine and stored.index else None
            if producer is None or producer.partition == partition:
                continue
            raw = {i["raw"]: i["sha256"] for i in producer.record["inputs"] if "raw" in i}
            # Where those files are gone, what takes their place may.
            others = [Path(n) for n, sha in raw.items() if sha not in own and Path(n).exists()]
            if others:
                names = ", ".join(path.name for path in others[:3])
                found.append([table, whole["date"], names])
    return found


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _helpers(group: Sequence[RawFile], found: Survey) -> list[tuple[Path, str]]:
    """Files beside the data that symbols come from, where the headers do not have them."""
    in_need = [
        file for file in group if file.symbols is None and file.header.schema != "definition"
    ]
    helpers: list[tuple[Path, str]] = []
    for folder in sorted({file.path.parent for file in in_need}):
        symbology = found.folders[folder].symbology
        if symbology is not None:
            helpers.append((symbology, "symbology"))
    datasets = {file.header.dataset for file in in_need}
    folders = {file.path.parent for file in in_need}
    helpers += [
        (file.path, "definition")
        for file in found.files
        if "definition" in file.schemas
        and file.header.dataset in datasets
        and file.path.parent in folders
        and file not in group
    ]
    return helpers


def _conditions(group: Sequence[RawFile], found: Survey) -> dict[str, str]:
    """The vendor's word on each day of the files, where a folder has it."""
    conditions: dict[str, str] = {}
    for file in group:
        known = found.folders[file.path.parent].conditions
        for day in file.days():
            text = str(day_of(day))
            if text in known:
                conditions[text] = known[text]
    return conditions


def _refusal(item: Refused, taken: set[str]) -> Task:
    """A task that fails with the reason: one bad file must not stop the others."""
    name, number = item.path.name, 1
    partition = Partition.of(dataset=item.dataset, raw=name)
    while partition.path in taken:
        number += 1
        partition = Partition.of(dataset=item.dataset, raw=f"{name}@{number}")
    stamp = item.path.stat() if item.path.exists() else None
    params = {"refused": item.reason, "size": stamp.st_size if stamp else 0}
    return Task(partition, (), params)


def check_days(path: Path, days: tuple[int, int], found: tuple[int, int]) -> None:
    """Records must lie in the days the plan gave the file: others may belong to another task.

    Raises
    ------
    InputError
        If they do not.
    """
    if found[0] < days[0] or found[1] > days[1]:
        what = (
            f"holds records of {day_of(found[0])} to {day_of(found[1])}, its header says "
            f"{day_of(days[0])} to {day_of(days[1])}"
        )
        raise InputError.at(path, what, todo="run ingest again: the true days are known now")
