"""A batch folder of the vendor's form: DBN files a UTC day and schema, and its four JSON files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import numpy as np
import numpy.typing as npt
import zstandard
from databento_dbn.metadata import MappingInterval

from pipeline.sample.instruments import PRODUCT, Instrument
from pipeline.sample.schedule import utc_midnight

DATASET = "SIM.MDP3"
"""Dataset code of the sample market; it follows the rules of GLBX.MDP3."""
SCHEMAS = ("mbo", "definition", "mbp-10", "trades", "status", "statistics")
PARENT = f"{PRODUCT}.FUT"
_LEVEL = 3


@dataclass(slots=True)
class _Interval:
    """What the library reads as a mapping's interval: ``end_date`` is exclusive."""

    start_date: date
    end_date: date
    symbol: str


@dataclass(slots=True)
class _Mapping:
    """What the library reads as a symbol's mappings."""

    raw_symbol: str
    intervals: Sequence[MappingInterval]


class DbnFile:
    """One DBN v3 file, written as it comes: a zstd frame of metadata, then one of records."""

    def __init__(
        self, folder: Path, day: date, schema: str, instruments: Sequence[Instrument]
    ) -> None:
        self.name = f"{DATASET.lower().replace('.', '-')}-{day:%Y%m%d}.{schema}.dbn.zst"
        self.records = 0
        self._file = (folder / self.name).open("wb")
        self._sha = hashlib.sha256()
        self._size = 0
        metadata = dbn.Metadata(
            dataset=DATASET,
            start=utc_midnight(day),
            end=utc_midnight(day + timedelta(days=1)),
            stype_in=dbn.SType.from_str("parent"),
            stype_out=dbn.SType.from_str("instrument_id"),
            schema=dbn.Schema.from_str(schema),
            symbols=[PARENT],
            partial=[],
            not_found=[],
            mappings=[
                _Mapping(
                    raw_symbol=one.symbol,
                    intervals=[
                        _Interval(
                            start_date=day,
                            end_date=day + timedelta(days=1),
                            symbol=str(one.instrument_id),
                        )
                    ],
                )
                for one in instruments
            ],
            version=3,
        )
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._put(compressor.compress(metadata.encode()))
        self._frame = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._sha.update(data)
        self._size += len(data)

    def write(self, records: npt.NDArray[Any]) -> None:
        """Append records: one a row, in their bytes."""
        if len(records):
            self.records += len(records)
            self._put(self._frame.compress(np.ascontiguousarray(records).view(np.uint8).data))

    def close(self) -> dict[str, object]:
        """Finish the file; returns its line of the manifest."""
        self._put(self._frame.flush())
        self._file.close()
        return manifest_line(self.name, self._size, self._sha.hexdigest())


def manifest_line(name: str, size: int, digest: str) -> dict[str, object]:
    return {"filename": name, "size": size, "hash": f"sha256:{digest}", "urls": {}}


def write_json(
    folder: Path,
    job_id: str,
    days: Sequence[date],
    instruments: Sequence[Instrument],
    simulation: dict[str, object],
    files: list[dict[str, object]],
) -> None:
    """Write the query, the symbology, the days' condition, and the manifest of all files."""
    first, end = days[0], days[-1] + timedelta(days=1)
    metadata = {
        "version": 1,
        "job_id": job_id,
        "query": {
            "dataset": DATASET,
            "schema": "mbo",
            "symbols": [PARENT],
            "stype_in": "parent",
            "stype_out": "instrument_id",
            "start": utc_midnight(first),
            "end": utc_midnight(end),
            "limit": None,
            "encoding": "dbn",
            "compression": "zstd",
        },
        "customizations": {
            "pretty_px": False,
            "pretty_ts": False,
            "map_symbols": False,
            "split_symbols": False,
            "split_duration": "day",
            "split_size": None,
            "packaging": None,
            "delivery": "download",
        },
        "simulation": simulation,
    }
    symbology = {
        "result": {
            one.symbol: [
                {"d0": first.isoformat(), "d1": end.isoformat(), "s": str(one.instrument_id)}
            ]
            for one in instruments
        },
        "symbols": [PARENT],
        "stype_in": "parent",
        "stype_out": "instrument_id",
        "start_date": first.isoformat(),
        "end_date": end.isoformat(),
        "partial": [],
        "not_found": [],
        "message": "OK",
        "status": 0,
    }
    condition = [
        {
            "date": day.isoformat(),
            "condition": "available",
            "last_modified_date": (day + timedelta(days=1)).isoformat(),
        }
        for day in days
    ]
    texts = {"condition": condition, "metadata": metadata, "symbology": symbology}
    for name, content in texts.items():
        data = json.dumps(content, indent=4).encode()
        (folder / f"{name}.json").write_bytes(data)
        files.append(manifest_line(f"{name}.json", len(data), hashlib.sha256(data).hexdigest()))
    manifest = {"job_id": job_id, "files": files}
    (folder / "manifest.json").write_bytes(json.dumps(manifest, indent=4).encode())
