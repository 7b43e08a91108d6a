"""The open files of a UTC day: what the venue publishes, filed by schema."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from pipeline.sample.folder import SCHEMAS, DbnFile
from pipeline.sample.instruments import Instrument, choose
from pipeline.sample.reference import Records, definitions
from pipeline.sample.state import I64

_T: Final = ord("T")
_TRADE_HEAD: Final = 12  # length 48 / 4, rtype 0 (MBP_0)


class DayFiles:
    """The open files of the current UTC day, and the lines of the manifest so far."""

    def __init__(self, folder: Path, instruments: Sequence[Instrument]) -> None:
        self.folder = folder
        self.instruments = instruments
        self.days: list[date] = []
        self.manifest: list[dict[str, object]] = []
        self.counts = dict.fromkeys(SCHEMAS, 0)
        self.written = 0
        """MBO records so far."""
        self._open: dict[str, DbnFile] = {}
        self._ids = {one.symbol: one.instrument_id for one in choose(None)}

    def turn_to(self, day: date) -> None:
        """Close the files of the day before and open those of ``day``, if it is another."""
        if self.days and self.days[-1] == day:
            return
        self.close()
        self.days.append(day)
        for schema in SCHEMAS:
            self._open[schema] = DbnFile(self.folder, day, schema, self.instruments)
        self._open["definition"].write(definitions(day, self.instruments, self._ids))

    def write(self, mbo: I64, mbp: I64) -> None:
        self.written += len(mbo)
        self._open["mbo"].write(mbo)
        self._open["mbp-10"].write(mbp)
        trades = mbp[(mbp[:, 3] >> 32 & 255) == _T, :6].copy()
        # The same header but for length and rtype.
        trades[:, 0] = trades[:, 0] & ~0xFFFF | _TRADE_HEAD
        self._open["trades"].write(trades)

    def write_status(self, records: Sequence[Records]) -> None:
        for one in records:
            self._open["status"].write(one)

    def write_statistics(self, records: Sequence[Records]) -> None:
        for one in records:
            self._open["statistics"].write(one)

    def close(self) -> None:
        for schema in SCHEMAS:
            if schema in self._open:
                file = self._open.pop(schema)
                self.counts[schema] += file.records
                self.manifest.append(file.close())
