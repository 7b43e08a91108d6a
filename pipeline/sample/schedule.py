"""When the sample market trades: CME index-futures hours, cut at UTC midnights.

A session runs from 17:00 to 16:00 Chicago time of its date; orders are accepted from 16:45,
cancels refused in the last thirty seconds before the opening auction.  Friday's close is
followed by Sunday's pre-open.  Before the first session and on every Sunday the venue starts
up at 07:00 and publishes the orders it carries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from pipeline.errors import RequestError
from pipeline.units import NS_PER_MS, NS_PER_S

FIRST_SESSION = date(2025, 6, 2)
"""A Monday; its session begins on Sunday evening."""
MAX_SESSIONS = 13
"""Sessions before the holiday and the front contract's expiration in June 2025."""

_CHICAGO = ZoneInfo("America/Chicago")
QUIET_NS = 50 * NS_PER_MS
"""No event this long before a UTC midnight, so that no record is received after it."""
START_UP = time(7, 0)


class Kind(Enum):
    """What happens in a segment."""

    START = "start"
    PRE_OPEN = "pre-open"
    NO_CANCEL = "no-cancel"
    OPEN = "open"
    TRADING = "trading"
    SNAPSHOT = "snapshot"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one kind: from ``begin`` to ``end`` (ns, UTC), within one UTC day."""

    kind: Kind
    day: date
    begin: int
    end: int
    session: date
    weight: float = 0.0
    """Share of the session's records, before normalising."""


_PROFILE: tuple[tuple[float, float], ...] = (
    (17.0, 0.8),
    (18.0, 0.35),
    (22.0, 0.25),
    (26.0, 0.7),  # 02:00, Europe opens
    (28.0, 0.5),
    (31.5, 1.2),  # 07:30, figures
    (32.5, 5.0),  # 08:30, the cash market opens
    (33.0, 3.5),
    (34.5, 2.0),
    (36.0, 1.4),
    (38.0, 3.0),  # 14:00
    (39.0, 0.9),  # the cash market has closed
)
"""(hour since the midnight before the session's evening, relative rate from then on)."""
_PRE_OPEN_WEIGHT = 0.9
_STEP_HOURS = 0.5


def utc_ns(day: date, clock: time, zone: ZoneInfo = _CHICAGO) -> int:
    """Nanoseconds of a local wall-clock time."""
    moment = datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)
    return int(moment.timestamp()) * NS_PER_S


def utc_midnight(day: date) -> int:
    return int(datetime.combine(day, time(), tzinfo=UTC).timestamp()) * NS_PER_S


def day_of(ns: int) -> date:
    return datetime.fromtimestamp(ns // NS_PER_S, tz=UTC).date()


def session_dates(days: int) -> list[date]:
    """The first ``days`` session dates: weekdays from :data:`FIRST_SESSION`."""
    if not 1 <= days <= MAX_SESSIONS:
        raise RequestError(
            f"the sample market has 1 to {MAX_SESSIONS} sessions, not {days}: then its front "
            "contract expires; ask for more records a session instead"
        )
    dates: list[date] = []
    day = FIRST_SESSION
    while len(dates) < days:
        if day.weekday() < 5:
            dates.append(day)
        day += timedelta(days=1)
    return dates


def _rate(hour: float) -> float:
    return [rate for begin, rate in _PROFILE if begin <= hour][-1]


def _trading(session: date) -> Iterator[Segment]:
    evening = session - timedelta(days=1)
    begin = utc_ns(evening, time(17, 0))
    close = utc_ns(session, time(16, 0))
    step = int(_STEP_HOURS * 3600) * NS_PER_S
    hour = 17.0
    while begin < close:
        end = min(begin + step, close)
        weight = _rate(hour) * _STEP_HOURS
        midnight = utc_midnight(day_of(end))
        if begin < midnight < end:
            raise AssertionError("the steps of the profile meet every UTC midnight")
        if begin == utc_midnight(day_of(begin)):
            yield Segment(Kind.SNAPSHOT, day_of(begin), begin, begin, session)
        quiet = QUIET_NS if end == midnight else 0
        yield Segment(Kind.TRADING, day_of(begin), begin, end - quiet, session, weight)
        begin, hour = end, hour + _STEP_HOURS


def segments(days: int) -> Iterator[Segment]:
    """All segments of the first ``days`` sessions, in time order."""
    for session in session_dates(days):
        evening = session - timedelta(days=1)
        if session.weekday() == 0:
            start = utc_ns(evening, START_UP)
            yield Segment(Kind.START, day_of(start), start, start, session)
        accepts = utc_ns(evening, time(16, 45))
        opens = utc_ns(evening, time(17, 0))
        no_cancel = opens - 30 * NS_PER_S
        last = opens - NS_PER_MS
        day = day_of(accepts)
        yield Segment(Kind.PRE_OPEN, day, accepts, no_cancel, session, 0.7 * _PRE_OPEN_WEIGHT)
        yield Segment(Kind.NO_CANCEL, day, no_cancel, last, session, 0.3 * _PRE_OPEN_WEIGHT)
        yield Segment(Kind.OPEN, day, opens, opens, session)
        yield from _trading(session)
        closes = utc_ns(session, time(16, 0))
        yield Segment(Kind.CLOSE, day_of(closes), closes, closes, session)
