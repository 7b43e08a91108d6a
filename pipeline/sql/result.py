"""The rows of a query, as text for people and as JSON for programs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline.errors import RequestError
from pipeline.instants import format_count
from pipeline.units import NS_PER_DAY, NS_PER_S

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MAX_ROWS = 1_000_000
"""Rows fetched for printing; ``query_frame`` and ``connect`` know no limit."""

_MAX_CELL = 80
_SIGNIFICANT = 6


@dataclass(frozen=True)
class Result:
    """Names and rows of a query.

    Values are Python's: Decimal for prices and money, text for times (UTC, every nanosecond
    kept), None for undefined.
    """

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: bool = False
    """There were more rows than were fetched."""

    def as_json(self) -> list[dict[str, Any]]:
        """A list of objects; decimals are numbers where a double holds them exactly, else text.

        Raises
        ------
        RequestError
            If not all rows were fetched.
        """
        if self.more:
            raise RequestError(
                f"more than {len(self.rows):,} rows; add a LIMIT, or read them in Python "
                "with open_lake(...).sql(...)"
            )
        return [
            {name: _json(value) for name, value in zip(self.names, row, strict=True)}
            for row in self.rows
        ]

    def render(self, limit: int = 40) -> str:
        """An aligned table of at most ``limit`` rows, with a note of what is not shown."""
        if any("\n" in str(value) for row in self.rows for value in row if isinstance(value, str)):
            return "\n".join(str(value) for row in self.rows for value in row)  # a plan
        shown = self.rows[:limit]
        cells = [[_text(value) for value in row] for row in shown]
        right = [
            all(isinstance(row[i], int | float | Decimal | None) for row in shown)
            for i in range(len(self.names))
        ]
        widths = [
            max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(self.names)
        ]
        lines = [_line(list(self.names), widths, right), "  ".join("-" * w for w in widths)]
        lines += [_line(row, widths, right) for row in cells]
        return "\n".join([*lines, self._note(len(shown))])

    def _note(self, shown: int) -> str:
        total = f"more than {len(self.rows):,}" if self.more else f"{len(self.rows):,}"
        if shown < len(self.rows):
            return f"({shown} of {total} rows; --limit shows more)"
        return f"({total} row{'' if total == '1' else 's'})"


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    parts = (
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    )
    return "  ".join(parts).rstrip()


def read_result(relation: duckdb.DuckDBPyRelation | None, max_rows: int) -> Result:
    """Fetch up to ``max_rows`` rows, streamed: what is not fetched is not computed, mostly."""
    if relation is None:
        return Result((), [])
    reader = relation.to_arrow_reader(min(max_rows + 1, 100_000))
    names = tuple(reader.schema.names)
    rows: list[tuple[Any, ...]] = []
    while len(rows) <= max_rows:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return Result(names, rows)
        rows += zip(*(_values(column) for column in batch.columns), strict=True)
    reader.close()
    return Result(names, rows[:max_rows], more=True)


def _values(column: pa.Array) -> list[Any]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary_decode())
    if pa.types.is_timestamp(kind):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": NS_PER_S}[kind.unit]
        return _times(column.cast(pa.int64()).to_pylist(), NS_PER_S // per_second)
    if pa.types.is_decimal(kind) and kind.scale == 0:  # sums of BIGINT
        return [None if v is None else int(v) for v in column.to_pylist()]
    if pa.types.is_interval(kind):
        return [None if v is None else _interval(*v) for v in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _times(values: list[int | None], factor: int) -> list[str | None]:
    """Times as text with as many digits (0, 3, 6 or 9) as the finest of them needs."""
    times = [None if value is None else value * factor for value in values]
    digits = next(
        (n for n in (0, 3, 6) if all(t is None or t % 10 ** (9 - n) == 0 for t in times)), 9
    )
    return [None if t is None else time_text(t, digits) for t in times]


def time_text(ts_ns: int, digits: int = 9) -> str:
    """``2023-12-25 22:40:00.123456789`` of nanoseconds since the epoch."""
    days, in_day = divmod(ts_ns, NS_PER_DAY)
    seconds, fraction = divmod(in_day, NS_PER_S)
    day = date.fromordinal(719_163 + days)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    tail = f".{fraction:09d}"[: digits + 1] if digits else ""
    return f"{day} {clock}{tail}"


def _interval(months: int, days: int, nanoseconds: int) -> str:
    parts = [format_count(n, noun) for n, noun in ((months, "month"), (days, "day")) if n]
    return " ".join([*parts, f"{nanoseconds / NS_PER_S:.9f}".rstrip("0").rstrip(".") + " s"])


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    text = str(value)
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 1] + "…"


def _float(value: float) -> str:
    """Six significant digits, whole numbers in full, no exponent where it can be avoided."""
    if not math.isfinite(value):
        return str(value)
    if value == 0 or (value == int(value) and abs(value) < 10**15):
        return str(int(value))
    magnitude = math.floor(math.log10(abs(value)))
    if not -5 <= magnitude < 15:
        return f"{value:.{_SIGNIFICANT - 1}e}"
    return f"{value:.{max(1, _SIGNIFICANT - 1 - magnitude)}f}".rstrip("0").rstrip(".")


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        number = float(value)
        return number if Decimal(repr(number)) == value else f"{value:f}"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date | datetime | time | timedelta | bytes):
        return str(value)
    if isinstance(value, dict):
        return {str(name): _json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value
