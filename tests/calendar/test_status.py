"""The vendor's status records correct the schedule; the user's own hours go before them."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.calendar import Session, calendar_for
from pipeline.calendar_status import segments_from_status, with_status
from tests.calendar.test_rules import OWN, ns

PRE_OPEN, TRADING, HALT, CLOSE = 1, 7, 8, 12


@pytest.fixture
def session() -> Session:
    found = calendar_for("GLBX.MDP3", "ESM5").session(date(2025, 5, 1))
    assert found is not None
    return found


def test_a_normal_day_gives_the_schedule(session: Session) -> None:
    times = [session.preopen_ns, session.open_ns, session.close_ns]
    assert segments_from_status(session, times, [PRE_OPEN, TRADING, CLOSE]) == session.segments


def test_halt_and_resumption(session: Session) -> None:
    halt, resumed = ns("2025-05-01 14:00"), ns("2025-05-01 14:15")
    times = [session.preopen_ns, session.open_ns, halt, resumed, session.close_ns]
    found = segments_from_status(session, times, [PRE_OPEN, TRADING, HALT, TRADING, CLOSE])
    assert found == ((session.open_ns, halt), (resumed, session.close_ns))


def test_delayed_open_and_early_close(session: Session) -> None:
    opened, closed = ns("2025-04-30 23:30"), ns("2025-05-01 18:00")
    calendar = calendar_for("GLBX.MDP3", "ESM5")
    found = with_status(
        calendar, session, [session.preopen_ns, opened, closed], ["pre_open", "TRADING", "close"]
    )
    assert found.segments == ((opened, closed),)
    assert (found.open_ns, found.close_ns) == (opened, closed)
    assert (found.preopen_ns, found.end_ns) == (session.preopen_ns, session.end_ns)


def test_records_that_begin_in_mid_session_keep_the_schedule_before(session: Session) -> None:
    halt, resumed = ns("2025-05-01 14:00"), ns("2025-05-01 14:15")
    found = segments_from_status(session, [halt, resumed], [HALT, TRADING])
    assert found == ((session.open_ns, halt), (resumed, session.close_ns))


def test_records_that_say_nothing_about_trading_change_nothing(session: Session) -> None:
    ssr_change, none, pre_close = 14, 0, 11
    times = [session.open_ns, session.open_ns + 1, session.open_ns + 2]
    assert segments_from_status(session, times, [ssr_change, none, pre_close]) == session.segments
    assert segments_from_status(session, [], []) == session.segments


def test_repeated_trading_records_are_one_segment(session: Session) -> None:
    times = [session.open_ns, session.open_ns + 10, session.open_ns + 20]
    assert segments_from_status(session, times, [TRADING] * 3) == session.segments


def test_the_next_sessions_records_are_not_ours(session: Session) -> None:
    times = [session.open_ns, session.end_ns]
    assert segments_from_status(session, times, [TRADING, PRE_OPEN]) == session.segments


def test_users_hours_go_before_status_records() -> None:
    calendar = calendar_for("X.Y", "ABC", {"mine": OWN})
    session = calendar.session(date(2025, 5, 1))
    assert session is not None
    assert with_status(calendar, session, [session.open_ns + 5], [HALT]) == session


def test_a_day_that_never_opened_keeps_its_schedule(session: Session) -> None:
    calendar = calendar_for("GLBX.MDP3", "ESM5")
    times = [session.preopen_ns, ns("2025-05-01 00:00")]
    assert with_status(calendar, session, times, [CLOSE, CLOSE]) == session
