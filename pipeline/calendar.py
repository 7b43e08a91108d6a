"""Trading sessions: which session an instant belongs to, when it opens, pauses and closes.

>>> calendar = calendar_for("GLBX.MDP3", "ESH4")
>>> calendar.name, calendar.session_of(1703543995217000000)  # 2023-12-25 22:39:55 UTC
('cme_index', datetime.date(2023, 12, 26))

A session claims everything from the last one's boundary (its pre-open, and the weekends and
holidays before it) to its own.  Trading on a holiday until a halt belongs to the session of the
next business day, which then has a part for the holiday and one of its own.  Hours come from the
user's ``[calendar.NAME]``, then from the vendor's status records (``calendar_status``), then from
the shipped ``calendar.toml``.  A product none of them knows has UTC-day sessions of a calendar
named ``unknown``: never somebody else's hours.  Times are nanoseconds since the epoch; daylight
saving follows the time zone data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from pipeline.calendar_rules import Hours, Rules, shipped_rules, user_rules, utc_days
from pipeline.units import NS_PER_DAY, NS_PER_S

if TYPE_CHECKING:
    from pipeline.config import Settings

UNKNOWN = "unknown"
"""Name of the calendar of products nothing is known about."""

I64 = npt.NDArray[np.int64]
Span = tuple[int, int]

_ONE_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Session:
    """One trading session; spans are half-open, in nanoseconds."""

    date: date
    open_ns: int
    close_ns: int
    preopen_ns: int
    """From here on the book may change before the open; the session's data begin here."""
    segments: tuple[Span, ...]
    """When trading is possible: the session without its breaks and the halts of holidays."""
    parts: tuple[Span, ...]
    """From a pre-open to the close that follows it: first one for each holiday with trading until a
    halt, last the session's own date.  A weekend may lie between two of them."""
    early_close: bool
    rth: Span | None
    """Regular trading hours (the cash market's, the pit's); None where there are none."""
    end_ns: int
    """The boundary: what happens from here on belongs to the next session."""

    def params(self) -> dict[str, Any]:
        """The session as JSON values: what of a calendar determines a result."""
        return {
            "session": str(self.date),
            "preopen": self.preopen_ns,
            "segments": [list(span) for span in self.segments],
            "rth": list(self.rth) if self.rth else None,
            "end": self.end_ns,
            "early_close": self.early_close,
        }


def hours_of(scheduled: Session, traded: Session) -> dict[str, Any]:
    """A session as JSON values: hours as they were traded, announcements as they were known.

    Nothing may know of an unscheduled halt or close before it happens: what is asked ahead of
    time, such as the time left to the close, refers to the schedule.
    """
    rth = list(scheduled.rth) if scheduled.rth else None
    return {**traded.params(), "rth": rth, "announced_close": scheduled.close_ns}


class Calendar:
    """The sessions of a product.  Cheap to make; sessions are computed when asked for."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._sessions: dict[date, Session] = {}

    @property
    def name(self) -> str:
        """``cme_index``, ..., the user's own name, or ``unknown``."""
        return self.rules.name

    @property
    def origin(self) -> str:
        """``shipped``, ``unknown``, or the settings file the calendar comes from."""
        return self.rules.origin

    def knows(self, day: date) -> bool:
        """True where holidays are known; outside, every weekday counts as a full session."""
        first, last = self.rules.known
        return first <= day <= last

    def session(self, day: date) -> Session | None:
        """The session of a date, or None on weekends and holidays."""
        if not self.rules.trades_on(day):
            return None
        if day not in self._sessions:
            self._sessions[day] = _build(self.rules, day)
        return self._sessions[day]

    def sessions(self, first: date, last: date) -> list[Session]:
        """Sessions dated ``first`` to ``last``, both inclusive."""
        days = (first + i * _ONE_DAY for i in range((last - first).days + 1))
        return [session for day in days if (session := self.session(day))]

    @overload
    def session_of(self, ts_ns: int) -> date: ...
    @overload
    def session_of(self, ts_ns: I64) -> npt.NDArray[np.datetime64]: ...
    def session_of(self, ts_ns: int | I64) -> date | npt.NDArray[np.datetime64]:
        """Date of the session that claims an instant; ``datetime64[D]`` for an array."""
        array = np.atleast_1d(np.asarray(ts_ns, dtype=np.int64))
        if not array.size:
            return np.empty(array.shape, dtype="datetime64[D]")
        around = self._around(int(array.min()), int(array.max()))
        ends = np.array([session.end_ns for session in around], dtype=np.int64)
        days = np.array([session.date for session in around], dtype="datetime64[D]")
        found = days[np.searchsorted(ends, array, side="right")]
        if isinstance(ts_ns, np.ndarray):
            return found.reshape(ts_ns.shape)
        scalar: date = found[0].item()
        return scalar

    def sessions_touching(self, dates: Iterable[date]) -> list[Session]:
        """Sessions any of whose UTC days (pre-open included) is among ``dates``, in order."""
        found: dict[date, Session] = {}
        for day in set(dates):
            midnight = (day.toordinal() - _EPOCH.toordinal()) * NS_PER_DAY
            for session in self._around(midnight, midnight + NS_PER_DAY - 1):
                if day in utc_dates(session):
                    found[session.date] = session
        return [found[day] for day in sorted(found)]

    def _around(self, first_ns: int, last_ns: int) -> list[Session]:
        """Sessions in order; the first may claim ``first_ns``, the last ends after ``last_ns``."""
        day = _utc_date(first_ns) - 2 * _ONE_DAY
        found: list[Session] = []
        while not found or found[-1].end_ns <= last_ns:
            if session := self.session(day):
                found.append(session)
            day += _ONE_DAY
        return found


def calendar_for(
    dataset: str,
    symbol: str,
    settings: Settings | Mapping[str, Mapping[str, Any]] | None = None,
) -> Calendar:
    """The calendar of a symbol or product in a dataset.

    Parameters
    ----------
    symbol
        A raw symbol (``ESH4``, ``ESH4-ESM4``, ``AAPL``) or a product (``ES``).
    settings
        The program's settings, or the ``calendar`` tables of a ``research.toml``.

    Raises
    ------
    RequestError
        If a calendar of the user's own is wrong; the message names the key.
    """
    tables: Mapping[str, Mapping[str, Any]] = {}
    origin = "research.toml"
    if isinstance(settings, Mapping):
        tables = settings
    elif settings is not None:
        tables, origin = settings.calendar, settings.origin
    names = (product_of(symbol), symbol)
    own = user_rules(tables, origin)
    replaced = {rules.name for rules in own}
    others = [rules for rules in shipped_rules() if rules.name not in replaced]
    for rules in (*own, *others):
        if rules.covers(dataset, *names):
            return Calendar(rules)
    return Calendar(utc_days(UNKNOWN))


def utc_dates(session: Session) -> list[date]:
    """UTC days that overlap a session's parts, from pre-open to close: all with data of it.

    A weekend between a holiday's part and the session's own is not among them.
    """
    found: set[date] = set()
    for opens, closes in session.parts:
        first, last = _utc_date(opens), _utc_date(closes - 1)
        found.update(first + i * _ONE_DAY for i in range((last - first).days + 1))
    return sorted(found)


_FUTURE = re.compile(r"([A-Z0-9]{1,5})[FGHJKMNQUVXZ][0-9]{1,2}")
_PARENT = re.compile(r"([A-Z0-9]{1,5})\.(?:FUT|OPT|[cnv]\.[0-9]+)")


def product_of(symbol: str) -> str | None:
    """The product of a futures symbol, None where the form is none (equities, ``#123``).

    >>> [product_of(s) for s in ("ESH4", "ESH4-ESM4", "MESM25", "6EM5", "ES:BF M5-U5-Z5", "AAPL")]
    ['ES', 'ES', 'MES', '6E', 'ES', None]
    """
    if match := _PARENT.fullmatch(symbol):
        return match[1]
    head = re.split(r"[-: ]", symbol, maxsplit=1)[0]
    if match := _FUTURE.fullmatch(head):
        return match[1]
    # User-defined and exchange-defined strategies: "ES:BF M5-U5-Z5".
    if ":" in symbol and re.fullmatch(r"[A-Z0-9]{1,5}", head) and head != "UD":
        return head
    return None


def _build(rules: Rules, day: date) -> Session:
    """The session of a date on which there is trading."""
    hours = rules.hours_on(day)
    own = _part(rules, day, (rules.early_closes or {}).get(day))
    holidays = (_part(rules, holiday, rules.halts[holiday]) for holiday in rules.halted_before(day))
    parts = [*(part for part in holidays if part.segments), own]
    regular = _regular(rules, hours, day, own.open, own.close)
    return Session(
        date=day,
        open_ns=_instant(rules, parts[0].day, parts[0].open),
        close_ns=_instant(rules, day, own.close),
        preopen_ns=_instant(rules, parts[0].day, parts[0].preopen),
        segments=tuple(_span(rules, part.day, span) for part in parts for span in part.segments),
        parts=tuple(_span(rules, part.day, (part.preopen, part.close)) for part in parts),
        early_close=own.close < hours.close,
        rth=regular and _span(rules, day, regular),
        end_ns=_instant(rules, day, hours.boundary),
    )


class _Part(NamedTuple):
    """Trading up to the close or halt of a date; times are minutes since its midnight."""

    day: date
    preopen: int
    open: int
    close: int
    segments: list[Span]


def _part(rules: Rules, day: date, early: int | None) -> _Part:
    hours = rules.hours_on(day)
    opens, preopen = hours.open, hours.preopen
    closes = hours.close if early is None else min(hours.close, early)
    late = (rules.late_opens or {}).get(day)
    if late is not None:
        opens, preopen = late, late - (hours.open - hours.preopen)
    return _Part(day, preopen, opens, closes, _segments(hours, opens, closes))


def _segments(hours: Hours, opens: int, closes: int) -> list[Span]:
    edges = [opens]
    for start, end in hours.breaks:
        if start < closes and end > opens:
            edges += [max(start, opens), min(end, closes)]
    edges.append(closes)
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def _regular(rules: Rules, hours: Hours, day: date, opens: int, closes: int) -> Span | None:
    if hours.regular is None or day in rules.no_regular:
        return None
    end = (rules.early_regular_closes or {}).get(day, hours.regular[1])
    span = (max(hours.regular[0], opens), min(end, closes))
    return span if span[0] < span[1] else None


def _span(rules: Rules, day: date, minutes: Span) -> Span:
    return _instant(rules, day, minutes[0]), _instant(rules, day, minutes[1])


def _instant(rules: Rules, day: date, minutes: int) -> int:
    """Nanoseconds of a local wall-clock time; whole seconds, so nothing is rounded."""
    # Days are added to the date, not to the instant: clocks may change in between.
    local = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)  # noqa: DTZ001
    moment = local.replace(tzinfo=rules.zone).astimezone(UTC)
    while moment.astimezone(rules.zone).replace(tzinfo=None) != local:
        # In the hour that clocks skip: the first time that there is.
        local += timedelta(minutes=1)
        moment = local.replace(tzinfo=rules.zone).astimezone(UTC)
    since = moment - _EPOCH
    return (since.days * (NS_PER_DAY // NS_PER_S) + since.seconds) * NS_PER_S


def _utc_date(ts_ns: int) -> date:
    return date.fromordinal(_EPOCH.toordinal() + ts_ns // NS_PER_DAY)
