"""Raw symbols of instrument ids, by UTC date.

In this order: the file header's own mappings, ``symbology.json`` beside it, definitions beside
it.  Only a raw symbol counts: continuous (``ES.c.0``) and parent (``ES.FUT``) names say which
query an instrument answered, not what it is.  What nothing maps is ``#<id>``: counted, never
dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.ingest.dbn import DbnReader, Header
from pipeline.ingest.layouts import RTYPE_SYMBOL_MAPPING
from pipeline.units import NS_PER_DAY

_EPOCH = date(1970, 1, 1).toordinal()
_UNDEFINED = 2**64 - 1
_FOREVER = date.max.toordinal() - _EPOCH

_NOT_RAW = frozenset({"continuous", "smart", "instrument_id", "nasdaq_symbol", "cms_symbol"})


class Interval(NamedTuple):
    """An instrument id's symbol on UTC days [start, end), in days since the epoch."""

    start: int
    end: int
    symbol: str


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - _EPOCH


def day_of(number: int) -> date:
    return date.fromordinal(number + _EPOCH)


def unmapped(instrument_id: int) -> str:
    """The symbol of an instrument nothing maps."""
    return f"#{instrument_id}"


@dataclass(frozen=True)
class SymbolMap:
    """Intervals by instrument id; of several that cover a day, the first given wins."""

    intervals: dict[int, tuple[Interval, ...]]

    @classmethod
    def of(cls, *sources: Iterable[tuple[int, Interval]]) -> SymbolMap:
        """From (id, interval) pairs, the most trusted source first."""
        found: dict[int, list[Interval]] = {}
        for source in sources:
            # Within a source the order of a dictionary or a file must not decide.
            for instrument_id, interval in sorted(source):
                found.setdefault(instrument_id, []).append(interval)
        return cls({key: tuple(dict.fromkeys(value)) for key, value in found.items()})

    def symbol(self, instrument_id: int, day: int) -> str:
        """Raw symbol on a day (days since the epoch), or ``#<id>``."""
        for interval in self.intervals.get(instrument_id, ()):
            if interval.start <= day < interval.end:
                return interval.symbol
        return unmapped(instrument_id)

    def symbols(self) -> frozenset[str]:
        return frozenset(i.symbol for items in self.intervals.values() for i in items)

    def __bool__(self) -> bool:
        return bool(self.intervals)


def from_header(header: Header) -> Iterator[tuple[int, Interval]]:
    """Pairs from a header's mappings, whichever way round the query was.

    Symbol to id (``raw_symbol`` or ``parent`` in, ``instrument_id`` out) and id to symbol.
    """
    pairs = (
        (m.symbol_in, m.symbol_out, day_number(m.start), day_number(m.end)) for m in header.mappings
    )
    yield from _pairs(pairs, header.stype_in, header.stype_out)


def _pairs(
    items: Iterable[tuple[str, str, int, int]], stype_in: str | None, stype_out: str | None
) -> Iterator[tuple[int, Interval]]:
    for symbol_in, symbol_out, start, end in items:
        if stype_out == "instrument_id" and stype_in not in _NOT_RAW:
            symbol, number = symbol_in, symbol_out
            if stype_in == "parent" and is_parent(symbol):
                continue
        elif stype_in == "instrument_id" and stype_out == "raw_symbol":
            symbol, number = symbol_out, symbol_in
        else:
            continue
        # isdigit alone also holds for "²", which int() refuses.
        if number.isascii() and number.isdigit() and symbol and end > start:
            yield int(number), Interval(start, end, symbol)


def is_parent(symbol: str) -> bool:
    """``ES.FUT``, ``ES.OPT``, ``BTC.SPOT``: a product, not an instrument."""
    return symbol.rpartition(".")[2] in {"FUT", "OPT", "SPOT"} and "." in symbol


def _is_raw(symbol: str) -> bool:
    continuous = re.search(r"\.[cnv]\.\d+$", symbol)
    return bool(symbol) and not symbol.isdigit() and not is_parent(symbol) and not continuous


def from_symbology_json(path: Path) -> list[tuple[int, Interval]]:
    """Pairs from a batch folder's ``symbology.json``.

    Raises
    ------
    InputError
        If the file is no JSON, or not of the vendor's form.
    """
    tree = read_json_object(path)
    try:
        items = [
            (str(symbol), str(item["s"]), _day(item["d0"]), _day(item["d1"]))
            for symbol, intervals in tree["result"].items()
            for item in intervals
        ]
        stype_in, stype_out = tree.get("stype_in", "raw_symbol"), tree.get("stype_out")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError.at(
            path, f"is no symbology file ({error!r})", todo="download it again, or remove it"
        ) from None
    return list(_pairs(items, stype_in, stype_out or "instrument_id"))


def _day(text: str) -> int:
    return day_number(date.fromisoformat(text))


def read_json_object(path: Path) -> Any:
    """A JSON file of a batch folder.

    Raises
    ------
    InputError
        If it cannot be read or parsed.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError.at(path, f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError.at(
            path, f"is no valid JSON: {error}", todo="download it again, or remove it"
        ) from None


def from_definitions(path: Path) -> Iterator[tuple[int, Interval]]:
    """Pairs from a definition file: a symbol holds from its record's day on, until another
    definition of the same id or the day after its expiration.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    latest: dict[int, dict[int, tuple[str, int]]] = {}
    with DbnReader(path) as reader:
        for chunk in reader:
            if chunk.schema != "definition":
                continue
            records = chunk.records
            days = records["ts_recv"] // np.uint64(NS_PER_DAY)
            for number, day, symbol, expiration in zip(
                records["instrument_id"].tolist(),
                days.tolist(),
                records["raw_symbol"].tolist(),
                records["expiration"].tolist(),
                strict=True,
            ):
                # Where nothing expires (equities) ids are dealt anew each day.
                end = day + 1 if expiration == _UNDEFINED else expiration // NS_PER_DAY + 1
                text = symbol.decode("utf-8", "replace")
                latest.setdefault(number, {})[day] = (text, max(end, day + 1))
    for number, by_day in latest.items():
        days_known = sorted(by_day)
        following = [*days_known[1:], _FOREVER]
        for start, until in zip(days_known, following, strict=True):
            symbol, end = by_day[start]
            if symbol:
                yield number, Interval(start, min(end, until), symbol)


def from_mapping_records(path: Path) -> Iterator[tuple[int, Interval]]:
    """Pairs from the symbol mapping records of a live capture.

    A live session maps what was asked for (``stype_in_symbol``) to the raw symbol
    (``stype_out_symbol``).  Intervals without times hold for the whole capture.
    """
    with DbnReader(path) as reader:
        for chunk in reader:
            if not chunk.control or int(chunk.records["rtype"][0]) != RTYPE_SYMBOL_MAPPING:
                continue
            for record in chunk.records:
                names = (
                    bytes(record[field]).decode("utf-8", "replace")
                    for field in ("stype_out_symbol", "stype_in_symbol")
                )
                symbol = next((name for name in names if _is_raw(name)), "")
                if not symbol:
                    continue
                start, end = int(record["start_ts"]), int(record["end_ts"])
                first = 0 if start in (0, _UNDEFINED) else start // NS_PER_DAY
                last = _FOREVER if end in (0, _UNDEFINED) else -(-end // NS_PER_DAY)
                if last > first:
                    yield int(record["instrument_id"]), Interval(first, last, symbol)


def group_rows(
    index: npt.NDArray[np.int64], instrument_ids: npt.NDArray[np.uint32]
) -> list[tuple[int, int, npt.NDArray[np.int64] | None]]:
    """Rows by (UTC day of the index time, instrument id), each group in file order.

    Returns ``(day, id, rows)``; rows is None where the one group is everything.
    """
    low, high = int(index.min()) // NS_PER_DAY, int(index.max()) // NS_PER_DAY
    if low == high and (instrument_ids == instrument_ids[0]).all():
        return [(low, int(instrument_ids[0]), None)]
    import pyarrow as pa

    keys = instrument_ids.astype(np.int64)
    if low != high:
        keys |= (index // NS_PER_DAY - low) << 32
    encoded = pa.array(keys).dictionary_encode()
    codes = encoded.indices.to_numpy()
    distinct = encoded.dictionary.to_numpy()
    small = codes.astype(np.uint16) if len(distinct) < 1 << 16 else codes
    order = np.argsort(small, kind="stable")
    counts = np.bincount(codes, minlength=len(distinct))
    ends = np.cumsum(counts)
    return [
        (low + (int(key) >> 32), int(key) & 0xFFFFFFFF, order[end - count : end])
        for key, end, count in zip(distinct, ends, counts, strict=True)
    ]
