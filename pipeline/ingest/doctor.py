"""``mbo doctor``: what a raw folder holds, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.config import Settings
from pipeline.errors import InputError
from pipeline.gates import refused_conditions
from pipeline.ingest.bytestream import DAMAGED, walk_frames
from pipeline.ingest.census import CoverageCache
from pipeline.ingest.dbn import DbnReader
from pipeline.ingest.plan import RawFile, Survey, group_files, survey
from pipeline.ingest.symbology import day_of
from pipeline.instants import format_count
from pipeline.storage import HashCache

COUNTED_BYTES = 4 << 20
"""Files up to this size are decoded whole; of larger ones the count is estimated."""

_SAMPLE_RECORDS = 100_000

INGEST_RECORDS_PER_SECOND = 2_000_000
"""One worker, file to Parquet, on a core of about 2.5 GHz: the assumption of the forecast."""
LAKE_BYTES_PER_RAW_BYTE = 0.75
"""Parquet of the ``mbo`` table against ``.dbn.zst``, measured on ES: the same."""
PLAIN_BYTES_PER_ZSTD_BYTE = 4.0


@dataclass
class Holding:
    """What there is of one schema of a dataset."""

    dataset: str
    schema: str
    files: int = 0
    bytes: int = 0
    records: int = 0
    records_exact: bool = True
    first_day: str = ""
    last_day: str = ""
    days: int = 0
    gaps: list[tuple[str, str, int]] = field(default_factory=list)
    """Weekdays without data: (first, last, how many)."""
    conditions: dict[str, list[str]] = field(default_factory=dict)
    """What the vendor says of the days covered -> those days; empty where it says nothing."""
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Conditions the settings refuse, of those there are -> the symbols they refuse so."""
    symbols: list[str] = field(default_factory=list)
    symbols_unknown: bool = False
    """Some file's header does not map its instruments to raw symbols."""


@dataclass
class DoctorReport:
    """Everything ``mbo doctor`` shows; JSON-able with :meth:`as_json`."""

    roots: list[str]
    holdings: list[Holding] = field(default_factory=list)
    verified: int = 0
    """Files whose hash equals their manifest's."""
    unlisted: int = 0
    """Files no manifest lists."""
    absent: list[str] = field(default_factory=list)
    """Files a manifest lists that are not there."""
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    """(left out, its equal that is used)"""
    together: list[list[str]] = field(default_factory=list)
    """Files that feed the same days and symbols: equal parts are an error unless disjoint."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(file, reason)"""
    forecast: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(paths: Sequence[Path], settings: Settings) -> DoctorReport:
    """Look at everything below the paths; writes nothing.

    Raises
    ------
    RequestError
        If a path does not exist.
    """
    hashes = HashCache(Path(settings.lake.path), rehash=settings.raw.rehash)
    found = survey(paths, settings, hashes, CoverageCache(None))
    report = DoctorReport([str(path) for path in paths])
    report.refused = [(str(item.path), item.reason) for item in found.refused]
    good, counts = _count_all(found.files, report)
    report.duplicates = [(str(a), str(b)) for a, b in found.duplicates]
    report.together = [
        [str(file.path) for file in group] for group in group_files(good) if len(group) > 1
    ]
    _checksums(found, report, settings)
    report.holdings = _holdings(good, found, counts, settings)
    report.forecast = _forecast(good, report)
    return report


def _count_all(
    files: Sequence[RawFile], report: DoctorReport
) -> tuple[list[RawFile], dict[tuple[Path, str], tuple[int, bool]]]:
    """The files that can be used, and their records by (path, schema): number, exact or not."""
    good: list[RawFile] = []
    counts: dict[tuple[Path, str], tuple[int, bool]] = {}
    for file in files:
        try:
            _check_frames(file.path)
            counts |= {(file.path, schema): count_records(file, schema) for schema in file.schemas}
        except InputError as error:
            report.refused.append((str(file.path), str(error)))
        else:
            good.append(file)
    return good, counts


def _check_frames(path: Path) -> None:
    """Whether compressed data is complete, as far as its structure tells.

    Raises
    ------
    InputError
        If it is not.
    """
    with open(path, "rb") as start:
        plain = start.read(3) == b"DBN"
    fault = "" if plain else walk_frames(path).fault
    if fault:
        raise InputError.at(path, fault, todo=DAMAGED)


def _checksums(found: Survey, report: DoctorReport, settings: Settings) -> None:
    for file in found.files:
        entry = (found.folders[file.path.parent].manifest or {}).get(file.path.name)
        if entry is None or not settings.raw.verify_hashes:
            report.unlisted += 1
        else:
            report.verified += entry.sha256 is not None
    for folder in found.folders.values():
        report.absent += [str(folder.path / name) for name in folder.absent()]


def _holdings(
    files: Sequence[RawFile],
    found: Survey,
    counts: Mapping[tuple[Path, str], tuple[int, bool]],
    settings: Settings,
) -> list[Holding]:
    by_schema: dict[tuple[str, str], list[RawFile]] = {}
    for file in files:
        for schema in file.schemas:
            by_schema.setdefault((file.header.dataset, schema), []).append(file)
    return [
        _holding(dataset, schema, group, found, counts, settings)
        for (dataset, schema), group in sorted(by_schema.items())
    ]


def _holding(
    dataset: str,
    schema: str,
    group: Sequence[RawFile],
    found: Survey,
    counts: Mapping[tuple[Path, str], tuple[int, bool]],
    settings: Settings,
) -> Holding:
    holding = Holding(dataset, schema, files=len(group), bytes=sum(f.size for f in group))
    covered: dict[date, str | None] = {}
    symbols: set[str] = set()
    for file in group:
        conditions = found.folders[file.path.parent].conditions
        for number in file.days():
            day = day_of(number)
            covered[day] = conditions.get(str(day)) or covered.get(day)
        if file.symbols is None:
            holding.symbols_unknown = True
        symbols |= file.symbols or frozenset()
        records, exact = counts[file.path, schema]
        holding.records += records
        holding.records_exact &= exact
    if covered:
        days = sorted(covered)
        holding.first_day, holding.last_day, holding.days = str(days[0]), str(days[-1]), len(days)
        holding.gaps = weekday_gaps(days)
        for day in days:
            if (condition := covered[day]) is not None:
                holding.conditions.setdefault(condition, []).append(str(day))
    holding.symbols = sorted(symbols)
    if schema == "mbo":
        refused = refused_conditions(settings.quality, dataset, holding.symbols or [""])
        holding.refused = {c: who for c, who in refused.items() if c in holding.conditions}
    return holding


def weekday_gaps(days: Sequence[date]) -> list[tuple[str, str, int]]:
    """Runs of weekdays (Monday to Friday) missing between sorted days: (first, last, count)."""
    gaps = []
    for before, after in pairwise(days):
        between = range(before.toordinal() + 1, after.toordinal())
        missing = [day for day in map(date.fromordinal, between) if day.weekday() < 5]
        if missing:
            gaps.append((str(missing[0]), str(missing[-1]), len(missing)))
    return gaps


def count_records(file: RawFile, schema: str) -> tuple[int, bool]:
    """Records of a schema in a file, and whether the number is exact.

    Small files are counted.  Of large ones the first records tell bytes a record and the rate
    of compression.

    Raises
    ------
    InputError
        If the file is damaged at its start.
    """
    with DbnReader(file.path) as reader:
        if file.size <= COUNTED_BYTES:
            return sum(len(c.records) for c in reader if c.schema == schema), True
        records = 0
        start = reader.position()
        for chunk in reader:
            records += len(chunk.records) if chunk.schema == schema else 0
            if (
                reader.records_read >= _SAMPLE_RECORDS
                and reader.position() > start + COUNTED_BYTES // 2
            ):
                break
        else:
            return records, True
        return int(records * file.size / max(reader.position(), 1)), False


def _forecast(files: Sequence[RawFile], report: DoctorReport) -> dict[str, Any]:
    records = sum(holding.records for holding in report.holdings)
    compressed = sum(
        file.size if file.path.suffix == ".zst" else int(file.size / PLAIN_BYTES_PER_ZSTD_BYTE)
        for file in files
    )
    return forecast(records, compressed)


def forecast(records: int, compressed: int) -> dict[str, Any]:
    """Time and disk of ingesting so many records of so many bytes of ``.dbn.zst``."""
    return {
        "records": records,
        "ingest_seconds": round(records / INGEST_RECORDS_PER_SECOND, 1),
        "lake_bytes": int(compressed * LAKE_BYTES_PER_RAW_BYTE),
        "assumes": (
            f"{INGEST_RECORDS_PER_SECOND / 1e6:g} M records/s with one worker, Parquet of "
            f"{LAKE_BYTES_PER_RAW_BYTE:g} x the .dbn.zst files; books at full depth need several "
            "times more of both"
        ),
    }


def render(report: DoctorReport) -> str:
    """The report as text for a terminal."""
    lines: list[str] = []
    for holding in report.holdings:
        lines += _holding_lines(holding)
    if not report.holdings:
        lines.append(f"no usable DBN file in {', '.join(report.roots)}")
    total = report.verified + report.unlisted
    if total:
        lines.append(
            f"checksums: {report.verified} of {total} files equal their manifest, "
            f"{report.unlisted} not listed in one"
        )
    lines += _listed("listed in a manifest, not there", report.absent)
    lines += _listed(
        "copies of the same bytes, used once", [f"{a} = {b}" for a, b in report.duplicates]
    )
    lines += _listed(
        "files for the same days and symbols, usable only if disjoint in time",
        [" + ".join(group) for group in report.together],
    )
    if report.holdings:
        lines.append(forecast_line(report.forecast))
    if report.refused:
        lines.append(f"{len(report.refused)} would be refused:")
        lines += [f"  {reason}" for _, reason in report.refused]
    return "\n".join(lines)


def forecast_line(told: dict[str, Any]) -> str:
    """A forecast as a line of text."""
    return (
        f"forecast: ingest {_duration(told['ingest_seconds'])}, "
        f"{_size(told['lake_bytes'])} in the lake (assuming {told['assumes']})"
    )


def _holding_lines(holding: Holding) -> list[str]:
    about = "" if holding.records_exact else "about "
    head = (
        f"{holding.dataset} {holding.schema}: {format_count(holding.files, 'file')}, "
        f"{_size(holding.bytes)}, {about}{format_count(holding.records, 'record')}"
    )
    lines = [head]
    if holding.days:
        span = (
            holding.first_day
            if holding.days == 1
            else f"{holding.first_day} to {holding.last_day}, {holding.days} days"
        )
        missing = [
            first if count == 1 else f"{first} to {last} ({count})"
            for first, last, count in holding.gaps
        ]
        gaps = f"; weekdays missing: {_shown(missing)}" if missing else ""
        lines.append(f"  days: {span}{gaps}")
    names = _shown(holding.symbols, 6)
    if holding.symbols_unknown:
        names = (
            f"{names}; others from symbology.json or definitions"
            if names
            else ("from symbology.json or definitions beside the files")
        )
    lines.append(
        f"  symbols: {len(holding.symbols)} ({names})" if holding.symbols else f"  symbols: {names}"
    )
    for condition, days in sorted(holding.conditions.items()):
        counted = format_count(len(days), "day")
        lines.append(
            f"  condition: {counted} {condition}"
            + ("" if condition == "available" else f": {_shown(days)}")
            + _refused_words(holding, condition)
        )
    return lines


def _refused_words(holding: Holding, condition: str) -> str:
    who = holding.refused.get(condition)
    if not who:
        return ""
    some = f" for {_shown(who, 6)}" if 0 < len(who) < len(holding.symbols) else ""
    return f" (refused by quality.refuse_conditions{some})"


def _listed(title: str, items: Sequence[str]) -> list[str]:
    return [f"{title}: {len(items)}", *(f"  {item}" for item in items)] if items else []


def _shown(items: Sequence[str], most: int = 8) -> str:
    rest = len(items) - most
    return ", ".join(items[:most]) + (f", and {rest} more" if rest > 0 else "")


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under a second"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
