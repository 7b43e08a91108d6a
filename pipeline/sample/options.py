"""What to simulate, and what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from pipeline.instants import format_count


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What to simulate.

    Attributes
    ----------
    out
        Folder that receives the batch folder.
    days
        Trading sessions, 1 to 13, from Monday 2025-06-02 on (whose session begins on Sunday
        evening).
    symbols
        Raw symbols out of SIMM5, SIMU5, SIMM5-SIMU5; None for all.
    records
        MBO records a session of all instruments together, about; snapshots come on top.
    seed
        Same options and seed, same bytes.
    null
        The null market: flow that depends on nothing.
    """

    out: Path
    days: int = 3
    symbols: Sequence[str] | None = None
    records: int = 300_000
    seed: int = 1
    null: bool = False


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What was written.  ``records`` counts the rows of all files by schema."""

    folder: Path
    sessions: tuple[date, ...]
    days: tuple[date, ...]
    symbols: tuple[str, ...]
    records: dict[str, int]
    bytes: int
    seconds: float
    null: bool

    def as_json(self) -> dict[str, object]:
        """The same for ``--json``."""
        plain = asdict(self)
        plain["folder"] = str(self.folder)
        for name in ("sessions", "days"):
            plain[name] = [day.isoformat() for day in plain[name]]
        plain["simulated"] = True
        return plain

    def __str__(self) -> str:
        kind = "SIMULATED null market" if self.null else "SIMULATED market"
        return (
            f"{kind}: {format_count(len(self.sessions), 'session')} {self.sessions[0]} to "
            f"{self.sessions[-1]}, "
            f"{', '.join(self.symbols)}\n"
            f"{self.records['mbo']:,} MBO records, {self.records['mbp-10']:,} MBP-10 rows, "
            f"{self.records['trades']:,} trades; {self.bytes / 1e6:.1f} MB in "
            f"{self.seconds:.1f} s\n{self.folder}"
        )
