"""What is asked of the vendor: dataset, symbols, schemas, whole UTC days."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pipeline.errors import RequestError

STYPES = ("raw_symbol", "parent", "continuous", "instrument_id")
ALL_SYMBOLS = "ALL_SYMBOLS"
_PARENT = re.compile(r"[^.\s]+\.(FUT|OPT|SPOT)", re.IGNORECASE)
_CONTINUOUS = re.compile(r"[^.\s]+\.[cnv]\.\d+", re.IGNORECASE)
_MOST_SYMBOLS = 2000
"""The vendor's limit for one request."""


@dataclass(frozen=True)
class DownloadRequest:
    """A request, checked as far as that is possible without the vendor.

    ``first`` and ``last`` are both inside: the vendor's exclusive end is the day after ``last``.
    """

    dataset: str
    symbols: tuple[str, ...]
    stype: str
    schemas: tuple[str, ...]
    first: date
    last: date

    @property
    def days(self) -> list[date]:
        return days_between(self.first, self.last)

    def as_json(self) -> dict[str, object]:
        return {
            "dataset": self.dataset,
            "symbols": list(self.symbols),
            "stype": self.stype,
            "schemas": list(self.schemas),
            "start": self.first.isoformat(),
            "end": self.last.isoformat(),
        }


def make_request(
    dataset: str,
    symbols: Sequence[str],
    stype: str,
    schemas: Sequence[str],
    first: date | None,
    last: date | None,
) -> DownloadRequest:
    """Check and complete what flags and settings say.

    Raises
    ------
    RequestError
        If something is missing, unknown or contradicts itself.
    """
    if not dataset:
        raise RequestError("which dataset? --dataset GLBX.MDP3, or `dataset` in [download]")
    names = tuple(sorted({part.strip() for text in symbols for part in text.split(",")} - {""}))
    if not names:
        raise RequestError("which symbols? --symbols MES.FUT, or `symbols` in [download]")
    for name in names:
        if "*" in name or "?" in name:
            raise RequestError(
                f"--symbols {name}: the vendor knows no patterns; write raw symbols (ESM5), "
                f"a parent (ES.FUT), a continuous symbol (ES.c.0) or {ALL_SYMBOLS}"
            )
    if len(names) > _MOST_SYMBOLS:
        raise RequestError(f"{len(names):,} symbols; the vendor takes {_MOST_SYMBOLS:,} at once")
    if first is None:
        raise RequestError("which days? --start 2025-06-02 --end 2025-06-06 (both included)")
    chosen = stype or _stype_of(names)
    if chosen not in STYPES:
        raise RequestError.unknown("stype", chosen, STYPES)
    if chosen == "raw_symbol":
        names = tuple(sorted({name.upper() for name in names}))
    if not schemas:
        raise RequestError("which schemas? --schema mbo,definition,status")
    return DownloadRequest(
        dataset, names, chosen, tuple(dict.fromkeys(schemas)), first, last or first
    )


def _stype_of(names: Sequence[str]) -> str:
    """Symbol type that the form of the names tells."""
    kinds = {
        "parent"
        if _PARENT.fullmatch(name)
        else "continuous"
        if _CONTINUOUS.fullmatch(name)
        else "raw_symbol"
        for name in names
    }
    if len(kinds) > 1:
        raise RequestError(
            f"--symbols {','.join(names)} mixes {' and '.join(sorted(kinds))} symbols: one kind "
            "a download, or say --stype"
        )
    return kinds.pop()


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(n) for n in range((last - first).days + 1)]


def spans(days: Sequence[date], within: Sequence[date]) -> list[tuple[date, date]]:
    """First and last of stretches of ``days`` that no other day of ``within`` interrupts."""
    found: list[tuple[date, date]] = []
    chosen, open_ = set(days), False
    for day in within:
        if day not in chosen:
            open_ = False
        elif open_:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
            open_ = True
    return found
