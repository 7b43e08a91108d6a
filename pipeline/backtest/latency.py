"""Latencies as people write them: ``1ms``, ``lognormal:250us:0.4``, ``table:measured.csv``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from pipeline.book.layout import I64
from pipeline.errors import RequestError
from pipeline.units import format_duration, parse_duration

SIGMA_SCALE: Final = 10**9
_COLUMNS: Final = ("ts", "feed_ns", "entry_ns", "response_ns")


@dataclass(frozen=True)
class Latency:
    """How long messages of one direction take."""

    ns: int
    """Always, or the median."""
    sigma: int = 0
    """Standard deviation of the logarithm, 1e-9; 0 is constant."""

    def __str__(self) -> str:
        typical = format_duration(self.ns)
        return f"lognormal:{typical}:{self.sigma / SIGMA_SCALE:g}" if self.sigma else typical

    @classmethod
    def parse(cls, text: str, where: str) -> Latency:
        """Of a duration, or ``lognormal:MEDIAN:SIGMA``.

        Raises
        ------
        RequestError
            If it is neither.
        """
        kind, colon, rest = text.partition(":")
        try:
            if not colon:
                return cls(parse_duration(text))
            median, _, sigma = rest.partition(":")
            if kind == "lognormal" and 0 < float(sigma) <= 5:
                return cls(parse_duration(median), round(float(sigma) * SIGMA_SCALE))
        except ValueError as error:
            if not colon:
                raise RequestError(f"{where}: {error}") from None
        raise RequestError(
            f"{where} = {text!r}: write a duration (1ms), lognormal:MEDIAN:SIGMA "
            "(lognormal:250us:0.4) or table:FILE"
        )


@dataclass(frozen=True)
class LatencyTable:
    """Measured latencies, a row from each time on: columns ``ts feed_ns entry_ns response_ns``."""

    path: str
    sha256: str

    @classmethod
    def find(cls, path: str) -> LatencyTable:
        """The table of a file.

        Raises
        ------
        RequestError
            If there is none.
        """
        if not Path(path).is_file():
            raise RequestError.missing_path(Path(path))
        return cls(path, hashlib.sha256(Path(path).read_bytes()).hexdigest())

    def read(self) -> I64:
        """int64[n, 4].

        Raises
        ------
        RequestError
            If columns are missing, times are not in order or latencies negative.
        """
        path = Path(self.path)
        try:
            frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
            if frame.schema.get("ts") == pl.String:
                frame = frame.with_columns(pl.col("ts").str.to_datetime(time_unit="ns"))
            columns = [frame[name].cast(pl.Int64).to_numpy() for name in _COLUMNS]
        except (pl.exceptions.PolarsError, OSError) as error:
            first = str(error).splitlines()[0]
            raise RequestError(
                f"{path}: {first}; a latency table has the columns {', '.join(_COLUMNS)}"
            ) from None
        rows = np.column_stack(columns).astype(np.int64)
        if not len(rows) or (np.diff(rows[:, 0]) < 0).any() or (rows[:, 1:] < 0).any():
            raise RequestError(f"{path}: times must rise and latencies not be negative")
        return np.ascontiguousarray(rows)
