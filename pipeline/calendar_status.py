"""Trading hours as the vendor's status records tell them.

They stand between the user's own calendar and the shipped one: delayed opens, halts and early
closes that no table knew of.  One line gives a symbol's final session:

    session_with_status(calendar, session, stored)  # of vendor_status, on utc_dates(session)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.calendar import I64, UNKNOWN, Calendar, Session, Span
from pipeline.errors import InputError
from pipeline.reading import Part, read_table
from pipeline.stage import Stored
from pipeline.units import NS_PER_DAY

STATUS_OPEN = frozenset({"trading"})
STATUS_SHUT = frozenset(
    {"pre_open", "pre_cross", "cross", "rotation", "quoting", "halt", "pause", "suspend", "close"}
    | {"post_close", "not_available_for_trading"}
)
"""Status actions under which no continuous trading happens; the rest change nothing."""

_STATUS_NAMES = (
    *("none", "pre_open", "pre_cross", "quoting", "cross", "rotation", "new_price_indication"),
    *("trading", "halt", "pause", "suspend", "pre_close", "close", "post_close", "ssr_change"),
    "not_available_for_trading",
)


def session_with_status(
    calendar: Calendar, session: Session, sources: Iterable[Stored | Path | str]
) -> Session:
    """The final session of a symbol: its schedule with what the vendor's status files say.

    Parameters
    ----------
    sources
        The symbol's ``vendor_status`` partitions of ``utc_dates(session)``, or their files, in
        any order; those of days without a partition are left out, the schedule holds there.

    Raises
    ------
    InputError
        If a file cannot be read or is no ``vendor_status`` file.
    """
    if not _may_change(calendar):
        return session
    tables = [table for source in sources for table in _read(source)]
    if not tables:
        return session
    rows = pa.concat_tables(tables)
    known = pc.and_(pc.is_valid(rows["ts_recv"]), pc.is_valid(rows["action"]))
    rows = rows.filter(known)
    ts = rows["ts_recv"].cast(pa.int64()).to_numpy()
    order = np.argsort(ts, kind="stable")  # the records of a file are in order already
    rows = rows.take(order)
    return with_status(
        calendar, session, ts[order], rows["action"].to_pylist(), rows["is_trading"].to_pylist()
    )


def with_status(
    calendar: Calendar,
    session: Session,
    ts_ns: Sequence[int] | I64,
    actions: Sequence[int | str],
    is_trading: Sequence[str | None] | None = None,
) -> Session:
    """The session with the hours the vendor's status records tell; the user's own hours win.

    Parameters are those of :func:`segments_from_status`.  A session that never trades by its
    records keeps its schedule: rather hours without events than a session without hours.
    """
    if not _may_change(calendar) or not len(ts_ns):
        return session
    segments = segments_from_status(session, ts_ns, actions, is_trading)
    if segments == session.segments or not segments:
        return session
    opens, closes = segments[0][0], segments[-1][1]
    (*holidays, (preopen, scheduled)) = session.parts
    regular = session.rth and (max(session.rth[0], opens), min(session.rth[1], closes))
    return replace(
        session,
        segments=segments,
        parts=(*holidays, (preopen, max(closes, scheduled))),
        open_ns=opens,
        close_ns=closes,
        early_close=session.early_close or closes < session.close_ns,
        rth=regular if regular and regular[0] < regular[1] else None,
    )


def segments_from_status(
    session: Session,
    ts_ns: Sequence[int] | I64,
    actions: Sequence[int | str],
    is_trading: Sequence[str | None] | None = None,
) -> tuple[Span, ...]:
    """When an instrument really traded, from the vendor's status records.

    Parameters
    ----------
    ts_ns
        Times of the records of one instrument, ns, not decreasing.
    actions
        ``vendor_status.action``: Databento's numbers or their names.
    is_trading
        ``vendor_status.is_trading`` (``Y``, ``N``, None): decides where the action says nothing.
        CME resumes with "new price indication" and ``Y``.

    Returns
    -------
    The spans of state "trading", clipped to the session's pre-open and boundary; the schedule
    where records say nothing: before the first that opens or shuts the market, on UTC days
    without records (the vendor repeats the state at every midnight), and for a close that no
    record tells.  What the last session left open is not open before this one's own opening.
    """
    flags: Sequence[str | None] = [None] * len(actions) if is_trading is None else is_trading
    changes = list(_changes(ts_ns, actions, flags))
    spans: list[Span] = []
    state: bool | None = None
    since = session.preopen_ns
    for ts, says in changes:
        if ts >= session.end_ns:
            break
        at = max(ts, session.preopen_ns)
        spans += _traded(session, state, since, at)
        state, since = (None if says and ts < session.preopen_ns else says), at
    # An opening that no record ends: the schedule closes.
    until = session.end_ns if state is None else session.close_ns
    return _joined([*spans, *_traded(session, state, since, until)])


def _changes(
    ts_ns: Sequence[int] | I64, actions: Sequence[int | str], flags: Sequence[str | None]
) -> Iterator[tuple[int, bool | None]]:
    """Times from which the market is open, shut, or as scheduled (None)."""
    midnight: int | None = None
    for ts, action, flag in zip(ts_ns, actions, flags, strict=True):
        at = int(ts)
        if midnight is not None and at >= midnight + NS_PER_DAY:
            yield midnight, None
        midnight = (at // NS_PER_DAY + 1) * NS_PER_DAY
        name = _status_name(action)
        if name in STATUS_OPEN or name in STATUS_SHUT:
            yield at, name in STATUS_OPEN
        elif flag in ("Y", "N"):
            yield at, flag == "Y"
    if midnight is not None:
        yield midnight, None


def _traded(session: Session, state: bool | None, start: int, end: int) -> list[Span]:
    """When trading was possible from ``start`` to ``end``, in one state."""
    if state is None:
        scheduled = ((max(a, start), min(b, end)) for a, b in session.segments)
        return [(a, b) for a, b in scheduled if a < b]
    return [(start, end)] if state and start < end else []


def _may_change(calendar: Calendar) -> bool:
    return calendar.origin in ("shipped", UNKNOWN)


def _read(source: Stored | Path | str) -> Iterator[pa.Table]:
    columns = ["ts_recv", "action", "is_trading"]
    again = "ingest the status file again"
    if isinstance(source, Stored):
        yield read_table(source, columns)
        return
    path = Path(source)
    with Part(path, todo=again) as part:
        missing = [name for name in columns if name not in part.schema.names]
        if missing:
            raise InputError.at(path, f"is no vendor_status file: it has no {', '.join(missing)}")
        yield part.read(columns)


def _status_name(action: int | str) -> str:
    if isinstance(action, str) and not action.isdecimal():
        return action.lower()
    number = int(action)
    return _STATUS_NAMES[number] if 0 <= number < len(_STATUS_NAMES) else "none"


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order, those that touch made one."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)
