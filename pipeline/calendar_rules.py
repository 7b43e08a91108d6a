"""What a calendar says, read from TOML: hours, breaks, holidays, and the dates they hold for.

The shipped ``calendar.toml`` and ``[calendar.NAME]`` of a user's ``research.toml`` have one
format; every mistake in it is one line that names the place.  Clock times are minutes since
local midnight of the session's date; what lies on the evening before is negative.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.errors import RequestError

DAY = 24 * 60
"""Minutes of a day."""

_ONE_DAY = timedelta(days=1)

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_HOURS = ("open", "close", "preopen", "boundary", "breaks", "regular")
_KEYS = (
    *("dataset", "products", "zone", "weekdays", "known", "periods", *_HOURS),
    *("holidays", "halts", "early_closes", "late_opens", "early_regular_closes", "no_regular"),
)


@dataclass(frozen=True)
class Hours:
    """Hours of an ordinary session, in minutes since midnight of its date."""

    open: int
    close: int
    preopen: int
    """Where the book may first change before the open."""
    boundary: int
    """Where the session stops to claim what happens; the next one begins to."""
    breaks: tuple[tuple[int, int], ...] = ()
    regular: tuple[int, int] | None = None
    """Hours of the main (cash, pit) market."""

    def of_clock(self, clock: int) -> int:
        """A time of the day placed in the session: the evening before is negative."""
        return clock - DAY if self.open < 0 and clock >= self.open + DAY else clock


@dataclass(frozen=True)
class Rules:
    """A calendar's rules; ``periods`` (first, last, hours) go before ``hours`` on their dates."""

    name: str
    origin: str
    """``research.toml`` (or its path), ``shipped`` or ``unknown``."""
    datasets: tuple[str, ...]
    products: tuple[str, ...]
    zone: ZoneInfo
    hours: Hours
    periods: tuple[tuple[date, date, Hours], ...] = ()
    weekdays: frozenset[int] = frozenset(range(5))
    known: tuple[date, date] = (date.min, date.max)
    """Dates whose holidays are known."""
    holidays: frozenset[date] = frozenset()
    halts: Mapping[date, int] = field(default_factory=dict)
    """Holidays with trading until a time, booked on the next business day."""
    early_closes: Mapping[date, int] | None = None
    late_opens: Mapping[date, int] | None = None
    early_regular_closes: Mapping[date, int] | None = None
    no_regular: frozenset[date] = frozenset()

    def hours_on(self, day: date) -> Hours:
        for first, last, hours in self.periods:
            if first <= day <= last:
                return hours
        return self.hours

    def trades_on(self, day: date) -> bool:
        """True if a session has this date."""
        closed = day in self.holidays or day in self.halts
        return day.weekday() in self.weekdays and not closed

    def halted_before(self, day: date) -> list[date]:
        """Holidays whose trading the session of ``day`` takes in: those since the last session."""
        found: list[date] = []
        first = min(self.halts, default=date.max)
        day -= _ONE_DAY
        while day >= first and not self.trades_on(day):
            if day in self.halts and day not in self.holidays:
                found.append(day)
            day -= _ONE_DAY
        return found[::-1]

    def covers(self, dataset: str, *names: str | None) -> bool:
        """True if the dataset and one of the names (product, symbol) match its patterns."""
        return any(fnmatchcase(dataset, pattern) for pattern in self.datasets) and any(
            name is not None and fnmatchcase(name, pattern)
            for name in names
            for pattern in self.products
        )


def utc_days(name: str = "unknown") -> Rules:
    """Sessions that are UTC days, every day of the week."""
    return Rules(
        name=name,
        origin="unknown",
        datasets=("*",),
        products=("*",),
        zone=ZoneInfo("UTC"),
        hours=Hours(0, DAY, 0, DAY),
        weekdays=frozenset(range(7)),
    )


@cache
def shipped() -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, Sequence[date]]]:
    """The tables of the shipped file by name, and its named lists of dates."""
    path = Path(__file__).with_name("calendar.toml")
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    return tree["calendar"], tree["dates"]


@cache
def shipped_rules() -> tuple[Rules, ...]:
    tables, lists = shipped()
    return tuple(parse_rules(name, table, lists, "shipped") for name, table in tables.items())


def user_rules(tables: Mapping[str, Mapping[str, Any]], origin: str) -> tuple[Rules, ...]:
    """Rules from ``[calendar.NAME]`` tables; a shipped name keeps the keys that are not given.

    Raises
    ------
    RequestError
        For an unknown key (with the nearest), a missing one, or a value that makes no sense.
    """
    known, lists = shipped()
    return tuple(
        parse_rules(name, _merged(known.get(name, {}), table, name, origin), lists, origin)
        for name, table in tables.items()
    )


def _merged(
    base: Mapping[str, Any], table: Mapping[str, Any], name: str, origin: str
) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise RequestError(f"{origin}: calendar.{name} must be a table [calendar.{name}]")
    merged = {**base, **table}
    if base and "periods" not in table and any(key in table for key in _HOURS):
        merged.pop("periods", None)  # hours the user gives hold on all dates
    return merged


def parse_rules(
    name: str, table: Mapping[str, Any], lists: Mapping[str, Sequence[date]], origin: str
) -> Rules:
    """Rules from one table; ``lists`` are the dates that may be named instead of written."""
    reader = _Reader(f"calendar.{name}", origin, lists)
    for key in table:
        if key not in _KEYS:
            raise RequestError.unknown("setting", f"{reader.at}.{key}", reader.full(), where=origin)
    zone = reader.zone(table)
    hours = reader.hours(table)
    rules = Rules(
        name=name,
        origin=origin,
        datasets=reader.texts(table.get("dataset", "*"), "dataset"),
        products=reader.texts(table.get("products", "*"), "products"),
        zone=zone,
        hours=hours,
        weekdays=reader.weekdays(table.get("weekdays", WEEKDAYS[:5])),
        holidays=reader.dates(table.get("holidays", []), "holidays"),
        halts=reader.times(table, "halts", hours),
        early_closes=reader.times(table, "early_closes", hours),
        late_opens=reader.times(table, "late_opens", hours),
        early_regular_closes=reader.times(table, "early_regular_closes", hours),
        no_regular=reader.dates(table.get("no_regular", []), "no_regular"),
    )
    for day in sorted(rules.halts.keys() & (rules.early_closes or {}).keys()):
        what = f"is in halts and in early_closes of {reader.at}"
        raise RequestError(f"{origin}: {day} {what}: its trading is booked on one date only")
    if "known" in table:
        first, last = reader.pair(table["known"], "known")
        rules = replace(rules, known=(reader.day(first, "known"), reader.day(last, "known")))
    periods = tuple(reader.periods(table))
    return replace(rules, periods=periods)


@dataclass(frozen=True)
class _Reader:
    """Reads values of one table; ``at`` is its place in messages."""

    at: str
    origin: str
    lists: Mapping[str, Sequence[date]]

    def full(self) -> list[str]:
        return [f"{self.at}.{key}" for key in _KEYS]

    def wrong(self, key: str, value: Any, should: str) -> RequestError:
        return RequestError(f"{self.origin}: {self.at}.{key} = {value!r} is not {should}")

    def clock(self, value: Any, key: str) -> int:
        """Minutes since midnight of ``HH:MM``; 24:00 is the end of the day."""
        text = f"{value:%H:%M}" if hasattr(value, "hour") else str(value)
        head, colon, tail = text.partition(":")
        if colon and len(tail) == 2 and head.isdecimal() and tail.isdecimal():
            minutes = int(head) * 60 + int(tail)
            if minutes <= DAY and int(tail) < 60:
                return minutes
        raise self.wrong(key, value, 'a time of the day such as "15:30"')

    def day(self, value: Any, key: str) -> date:
        if type(value) is date:
            return value
        try:
            return date.fromisoformat(value)
        except (TypeError, ValueError):
            raise self.wrong(key, value, "a date such as 2025-12-25") from None

    def dates(self, value: Any, key: str) -> frozenset[date]:
        """Dates, or names of lists of dates."""
        items = value if isinstance(value, list | tuple) else [value]
        found: set[date] = set()
        for item in items:
            if isinstance(item, str) and item in self.lists:
                found.update(self.lists[item])
            elif isinstance(item, str) and not item[:1].isdecimal():
                place = f"{self.origin}: {self.at}.{key}"
                raise RequestError.unknown("list of dates", item, self.lists, where=place)
            else:
                found.add(self.day(item, key))
        return frozenset(found)

    def times(self, table: Mapping[str, Any], key: str, hours: Hours) -> dict[date, int]:
        """``{date = "HH:MM"}`` or ``{"HH:MM" = [dates]}``, as minutes of the session; of two
        entries for a date the later one in the table holds.
        """
        value = table.get(key, {})
        if not isinstance(value, Mapping):
            raise self.wrong(key, value, 'a table such as {2025-12-24 = "12:15"}')
        found: dict[date, int] = {}
        for left, right in value.items():
            clock, days = (left, right) if ":" in left else (right, [left])
            minutes = hours.of_clock(self.clock(clock, key))
            found.update(dict.fromkeys(sorted(self.dates(days, key)), minutes))
        return found

    def texts(self, value: Any, key: str) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
            raise self.wrong(key, value, "a list of texts")
        return tuple(items)

    def pair(self, value: Any, key: str) -> tuple[Any, Any]:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise self.wrong(key, value, "a pair [from, to]")
        return value[0], value[1]

    def zone(self, table: Mapping[str, Any]) -> ZoneInfo:
        name = table.get("zone")
        if name is None:
            raise RequestError(
                f'{self.origin}: {self.at} has no zone; write zone = "America/Chicago"'
            )
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, TypeError, OSError):
            raise self.wrong("zone", name, 'a time zone such as "Europe/London"') from None

    def weekdays(self, value: Any) -> frozenset[int]:
        names = self.texts(value, "weekdays")
        for name in names:
            if name not in WEEKDAYS:
                place = f"{self.origin}: {self.at}.weekdays"
                raise RequestError.unknown("day", name, WEEKDAYS, where=place)
        return frozenset(WEEKDAYS.index(name) for name in names)

    def hours(self, table: Mapping[str, Any]) -> Hours:
        """Hours from clock times: an open later than the close lies on the day before."""
        for key in ("open", "close"):
            if key not in table:
                raise RequestError(f"{self.origin}: {self.at} has no {key}; write {key} = ...")
        opens, closes = self.clock(table["open"], "open"), self.clock(table["close"], "close")
        if opens >= closes:
            opens -= DAY
        boundary = self.clock(table.get("boundary", table["close"]), "boundary")
        boundary += DAY if boundary < closes else 0
        preopen = opens
        if "preopen" in table:
            preopen = self.clock(table["preopen"], "preopen")
        elif opens < 0:  # an overnight session: its pre-open begins where the last one ended
            preopen = boundary
        while preopen > opens:
            preopen -= DAY
        hours = Hours(opens, closes, preopen, boundary)
        breaks = sorted(
            (hours.of_clock(self.clock(a, "breaks")), hours.of_clock(self.clock(b, "breaks")))
            for a, b in (self.pair(item, "breaks") for item in table.get("breaks", []))
        )
        regular = None
        if "regular" in table:
            first, last = self.pair(table["regular"], "regular")
            regular = (
                hours.of_clock(self.clock(first, "regular")),
                hours.of_clock(self.clock(last, "regular")),
            )
        for key, spans in (("breaks", breaks), ("regular", [regular] if regular else [])):
            edges = [opens, *(edge for span in spans for edge in span), closes]
            if edges != sorted(edges) or any(start == end for start, end in spans):
                raise self.wrong(key, table[key], "within the session and in order")
        return replace(hours, breaks=tuple(breaks), regular=regular)

    def periods(self, table: Mapping[str, Any]) -> Iterator[tuple[date, date, Hours]]:
        """``[[calendar.NAME.periods]]``: other hours between two dates, inclusive."""
        known = ("from", "until", *_HOURS)
        for period in table.get("periods", []):
            for key in period:
                if key not in known:
                    place = f"{self.at}.periods.{key}"
                    raise RequestError.unknown("setting", place, known, where=self.origin)
            yield (
                self.day(period.get("from", date.min), "periods.from"),
                self.day(period.get("until", date.max), "periods.until"),
                self.hours({**table, **period}),
            )
