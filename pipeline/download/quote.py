"""What the missing days hold and cost, by schema and day, before anything is ordered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from pipeline.download.request import DownloadRequest, days_between
from pipeline.download.vendor import RefusedError, Vendor

MOST_DAYS = 31
"""Spans longer than this are shown by month: three requests a line."""


@dataclass(frozen=True)
class Line:
    """``first`` to ``last`` (both included) of a schema; ``bytes`` is the billed size."""

    schema: str
    first: date
    last: date
    records: int
    bytes: int
    usd: float


@dataclass
class Quote:
    lines: list[Line] = field(default_factory=list)
    usd: float = 0.0
    """What the vendor charges for the spans as a whole."""

    @property
    def records(self) -> int:
        return sum(line.records for line in self.lines)

    @property
    def bytes(self) -> int:
        return sum(line.bytes for line in self.lines)


def make_quote(
    vendor: Vendor,
    request: DownloadRequest,
    orders: Sequence[tuple[str, date, date]],
    progress: Callable[[str], None],
) -> Quote:
    """Ask the vendor; costs nothing.

    Raises
    ------
    RequestError
        If the vendor refuses the request, for a symbol it does not know, for example.
    """
    quote = Quote()
    for schema, first, last in orders:
        # The whole span first: it is what is charged, and what shows a wrong symbol.
        quote.usd += float(_ask(vendor, "cost", request, schema, first, last))
        for start, end in _pieces(first, last):
            progress(f"asking for the cost of {schema} {start}")
            try:
                records = int(_ask(vendor, "record_count", request, schema, start, end))
                if not records:
                    continue
                size = int(_ask(vendor, "billable_size", request, schema, start, end))
                usd = float(_ask(vendor, "cost", request, schema, start, end))
            except RefusedError as error:
                if error.status != 422:
                    raise
                continue  # the span has the symbol, this day of it has not
            quote.lines.append(Line(schema, start, end, records, size, usd))
    return quote


def _ask(
    vendor: Vendor, what: str, request: DownloadRequest, schema: str, first: date, last: date
) -> Any:
    return vendor.call(f"metadata.get_{what}", **query(request, schema, first, last))


def query(request: DownloadRequest, schema: str, first: date, last: date) -> dict[str, Any]:
    """Arguments of the client: its ``end`` is exclusive."""
    return {
        "dataset": request.dataset,
        "symbols": list(request.symbols),
        "schema": schema,
        "start": first.isoformat(),
        "end": (last + timedelta(days=1)).isoformat(),
        "stype_in": request.stype,
    }


def _pieces(first: date, last: date) -> list[tuple[date, date]]:
    days = days_between(first, last)
    if len(days) <= MOST_DAYS:
        return [(day, day) for day in days]
    months = [list(group) for _, group in groupby(days, key=lambda day: (day.year, day.month))]
    return [(month[0], month[-1]) for month in months]
