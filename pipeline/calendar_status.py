"""Trading hours as the vendor's status records tell them.

They stand between the user's own calendar and the shipped one: delayed opens, halts and early
closes that no table knew of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeline.calendar import I64, UNKNOWN, Calendar, Session, Span

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


def segments_from_status(
    session: Session, ts_ns: Sequence[int] | I64, actions: Sequence[int | str]
) -> tuple[Span, ...]:
    """When an instrument really traded, from the vendor's status records.

    Parameters
    ----------
    ts_ns
        Times of the records of one instrument, ns, not decreasing.
    actions
        ``vendor_status.action``: Databento's numbers or their names.

    Returns
    -------
    The session's scheduled segments where no record says otherwise (before the first that opens
    or shuts the market, and all of them if there is none); else the spans of state "trading",
    clipped to the session's pre-open and boundary.
    """
    spans: list[Span] = []
    start: int | None = None
    seen = False
    for ts, action in zip(ts_ns, actions, strict=True):
        name = _status_name(action)
        opens, shuts = name in STATUS_OPEN, name in STATUS_SHUT
        at = min(max(int(ts), session.preopen_ns), session.end_ns)
        if not (opens or shuts) or int(ts) >= session.end_ns:
            continue
        if not seen:
            seen = True
            spans = [(a, min(b, at)) for a, b in session.segments if a < at]
        if opens and start is None:
            start = at
        elif shuts and start is not None:
            spans.append((start, at))
            start = None
    if not seen:
        return session.segments
    if start is not None:  # nothing said that it closed: the schedule does
        spans.append((start, max(session.close_ns, start)))
    return _joined(spans)


def with_status(
    calendar: Calendar, session: Session, ts_ns: Sequence[int] | I64, actions: Sequence[int | str]
) -> Session:
    """The session with the hours the vendor's status records tell; the user's own hours win."""
    if calendar.origin not in ("shipped", UNKNOWN) or not len(ts_ns):
        return session
    segments = segments_from_status(session, ts_ns, actions)
    if segments == session.segments or not segments:
        return session
    return replace(session, segments=segments, open_ns=segments[0][0], close_ns=segments[-1][1])


def _status_name(action: int | str) -> str:
    if isinstance(action, str) and not action.isdecimal():
        return action.lower()
    number = int(action)
    return _STATUS_NAMES[number] if 0 <= number < len(_STATUS_NAMES) else "none"


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order, empty ones dropped, touching ones made one."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return tuple(joined)
