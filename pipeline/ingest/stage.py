"""The stages ``ingest`` (raw files -> ``mbo``, ``vendor_*``, ``sources``) and ``instruments``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config import Settings
from pipeline.errors import InputError
from pipeline.ingest.census import Coverage, CoverageCache, take_census
from pipeline.ingest.dbn import Header, read_header
from pipeline.ingest.decode import DataFile, Decoder, FileCount
from pipeline.ingest.instruments_stage import INSTRUMENTS_STAGE
from pipeline.ingest.many import ManySymbols
from pipeline.ingest.overlap import claims, settle
from pipeline.ingest.plan import check_days, plan_ingest
from pipeline.ingest.sinks import PartitionWriters, Sink, SinkKey, Tally
from pipeline.ingest.symbology import (
    SymbolMap,
    day_number,
    day_of,
    from_definitions,
    from_header,
    from_mapping_records,
    from_symbology_json,
)
from pipeline.instants import format_count
from pipeline.stage import Catalog, Inputs, Outputs, Selection, Task
from pipeline.tables import SOURCES

MANY_PARTITIONS = 20
"""Up to so many partitions are written side by side: each has a row group in memory."""
SMALL_BYTES = 16 << 20
"""Files of fewer bytes fit into memory, whatever the number of their partitions."""


@dataclass(frozen=True)
class Ingest:
    """Files to partitions, row for row.  All of a task's outputs appear, or none."""

    name: str = "ingest"
    version: int = 2
    tables: Sequence[str] = ("mbo", "vendor_*", "sources")

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        return plan_ingest(catalog, settings, selection)

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        if "refused" in task.params:
            raise InputError(task.params["refused"])
        _Run(task, inputs, outputs).run()

    def warm(self) -> None:
        """Compile the copy of MBO records to columns."""
        from pipeline.ingest.gather import warm

        warm()


@dataclass
class _Run:
    """One task of :class:`Ingest` on its way."""

    task: Task
    inputs: Inputs
    outputs: Outputs
    headers: list[Header] = field(default_factory=list)

    def run(self) -> None:
        paths, helpers = self._paths()
        self.headers = [read_header(path) for path in paths]
        maps = [self._symbols(p, h, helpers) for p, h in zip(paths, self.headers, strict=True)]
        census = [take_census(path) for path in paths] if len(paths) > 1 else None
        order, lost = list(range(len(paths))), [frozenset[Any]() for _ in paths]
        if census is not None:
            claimed = [claims(c, m) for c, m in zip(census, maps, strict=True)]
            order, lost = settle(paths, claimed, self.task.params.get("oldest_first"))
        files = [
            DataFile(
                path=paths[n],
                source=self.task.hints["sha256"][n][:16],
                symbols=maps[n],
                days=self._days(n),
                superseded=lost[n],
            )
            for n in order
        ]
        counts, sinks = self._write(files)
        self._report(order, files, counts, sinks)

    def _paths(self) -> tuple[list[Path], list[tuple[Path, str]]]:
        """Data files, and (path, role) of the files symbols come from."""
        pairs = list(zip(self.inputs.raw(), self.task.params["roles"], strict=True))
        data = [path for path, role in pairs if role == "data"]
        return data, [(path, role) for path, role in pairs if role != "data"]

    def _days(self, number: int) -> tuple[int, int]:
        days = self.task.params["files"][number]["days"]
        if not days:
            return 0, -1
        first, last = (day_number(date.fromisoformat(text)) for text in days)
        return first, last

    def _symbols(self, path: Path, header: Header, helpers: list[tuple[Path, str]]) -> SymbolMap:
        """Raw symbols of a file: header, then mapping records, then the files beside it."""
        sources = [list(from_header(header))]
        if header.schema is None:
            sources.append(list(from_mapping_records(path)))
        for helper, role in helpers:
            if role == "symbology":
                sources.append(from_symbology_json(helper))
        for helper, role in helpers:
            if role == "definition":
                sources.append(list(from_definitions(helper)))
        if header.schema == "definition":
            sources.append(list(from_definitions(path)))
        return SymbolMap.of(*sources)

    def _write(self, files: list[DataFile]) -> tuple[list[FileCount], list[Sink]]:
        """Decode and write everything; returns what became of the records."""
        dataset = self.headers[0].dataset
        if self._many(files):
            params, hints = self.task.params, self.task.hints
            elsewhere = hints.get("packed_elsewhere", ())
            many = ManySymbols(files, Path(hints["lake"]), params.get("packed_above"), elsewhere)
            many.run(self.outputs, dataset, self._facts)
            self._check_days(files, many.counts)
            return many.counts, many.sinks
        writers = PartitionWriters(self.outputs, dataset)
        total = sum(file.path.stat().st_size for file in files)
        decoder = Decoder(files)
        for group in decoder:
            if group.rows is not None:
                writers.write(group.sink.key, group.sink.plan.table, group.rows)
            if group.last:
                writers.close(group.sink.key, self._facts(group.sink))
            self.outputs.progress(group.done, total)
        self._check_days(files, decoder.counts)
        return decoder.counts, list(decoder.sinks.values())

    def _many(self, files: list[DataFile]) -> bool:
        """Whether the partitions may be too many to be written side by side, or packed."""
        partitions = sum(
            max(1, len(f.symbols.symbols()) or MANY_PARTITIONS + 1) * (f.days[1] - f.days[0] + 1)
            for f in files
        )
        small = sum(f.path.stat().st_size for f in files) < SMALL_BYTES
        packed = "packed_above" in self.task.params
        return packed or (partitions > MANY_PARTITIONS and not small)

    def _check_days(self, files: list[DataFile], counts: list[FileCount]) -> None:
        for file, count in zip(files, counts, strict=True):
            if count.outside is None:
                continue
            cache = CoverageCache(Path(self.task.hints["lake"]))
            full = next(s for s in self.task.hints["sha256"] if s.startswith(file.source))
            schema = read_header(file.path).schema
            cache.put(full, Coverage((schema,) if schema else (), *count.outside))
            check_days(file.path, file.days, count.outside)

    def _facts(self, sink: Sink) -> dict[str, Any]:
        """Notes on a partition for planners."""
        tallies = [sink.tallies[n] for n in sorted(sink.tallies)]
        instruments = sorted(set().union(*(tally.instruments for tally in tallies)))
        return {
            "opens_with": tallies[0].opens_with,
            "first_ts": min(t.first for t in tallies if t.first is not None),
            "last_ts": max(t.last for t in tallies if t.last is not None),
            "condition": self.task.params["conditions"].get(str(day_of(sink.key.day))),
            "instruments": [list(pair) for pair in instruments],
        }

    def _report(
        self,
        order: list[int],
        files: list[DataFile],
        counts: list[FileCount],
        sinks: list[Sink],
    ) -> None:
        """Write ``sources`` after checking that every record became a row or a reason."""
        rows: list[dict[str, Any]] = []
        instruments: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}
        for place, (number, file, count) in enumerate(zip(order, files, counts, strict=True)):
            given = [
                (sink.key, sink.tallies[place])
                for sink in sorted(sinks, key=lambda s: s.key)
                if place in sink.tallies
            ]
            written = sum(tally.rows for _, tally in given)
            rejected = count.rejected.total()
            if count.records != written + rejected:
                raise InputError.at(
                    file.path,
                    f"{count.records:,} records in, {written:,} rows out and {rejected:,} "
                    "rejected do not add up",
                    todo="this is a fault of the program: report it",
                )
            common = {
                "source": file.source,
                "file": self.task.params["files"][number]["name"],
                "sha256": self.task.hints["sha256"][number],
                "records_in": count.records,
                "rejected": rejected,
                "reject_reasons": json.dumps(dict(sorted(count.rejected.items()))),
            }
            schema = self.headers[number].schema or "mixed"
            rows += [self._source_row(common, key, tally) for key, tally in given] or [
                {**common, "schema": schema, "rows": 0}
            ]
            for key, tally in given:
                spans = instruments.setdefault(key.symbol, {})
                for pair in tally.instruments:
                    first, last = spans.get(pair, (key.day, key.day))
                    spans[pair] = (min(first, key.day), max(last, key.day))
            if superseded := count.rejected["superseded"]:
                self.outputs.warn(
                    f"{file.path.name}: {format_count(superseded, 'record')} superseded"
                )
            self._warn_unmapped(file, given)
        writer = self.outputs.writer(SOURCES)
        writer.write(pa.Table.from_pylist(rows, schema=SOURCES.schema()))
        writer.note(
            instruments={
                symbol: [
                    [*pair, day_of(first).toordinal(), day_of(last).toordinal()]
                    for pair, (first, last) in sorted(spans.items())
                ]
                for symbol, spans in sorted(instruments.items())
            }
        )

    def _source_row(self, common: dict[str, Any], key: SinkKey, tally: Tally) -> dict[str, Any]:
        day = day_of(key.day)
        return {
            **common,
            "schema": key.schema,
            "date": day,
            "symbol": key.symbol,
            "rows": tally.rows,
            "first_ts": tally.first,
            "last_ts": tally.last,
            "price_gcd": tally.price_gcd if tally.has_price else None,
            "opens_with": tally.opens_with,
            "condition": self.task.params["conditions"].get(str(day)),
        }

    def _warn_unmapped(self, file: DataFile, given: list[tuple[SinkKey, Tally]]) -> None:
        unknown = [(key, tally) for key, tally in given if key.symbol.startswith("#")]
        if unknown:
            names = sorted({key.symbol for key, _ in unknown})
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            records = sum(tally.rows for _, tally in unknown)
            self.outputs.warn(
                f"{file.path.name}: no symbol for {format_count(len(names), 'instrument')} "
                f"({shown}), {format_count(records, 'record')}; kept under their numbers"
            )


INGEST = Ingest()
INSTRUMENTS = INSTRUMENTS_STAGE

__all__ = ["INGEST", "INSTRUMENTS", "Ingest"]
