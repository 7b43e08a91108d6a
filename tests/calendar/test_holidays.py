"""US holidays on Globex: trading until a halt belongs to the session of the next business day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.calendar import Calendar, Session, calendar_for, utc_dates
from pipeline.calendar_rules import shipped
from pipeline.errors import RequestError
from tests.calendar.test_rules import OWN, ns

NS = 10**9

SYMBOLS = ["ESH4", "ZNH4", "6EH4", "CLH4", "GCH4", "ZCH4", "LEH4", "XYZH4"]


def session(symbol: str, day: str) -> Session:
    found = calendar_for("GLBX.MDP3", symbol).session(date.fromisoformat(day))
    assert found is not None
    return found


def trades_at(found: Session, ts_ns: int) -> bool:
    return any(opens <= ts_ns < closes for opens, closes in found.segments)


def text(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns // NS, UTC):%m-%d %H:%M}"


# Times are UTC: Chicago is 6 hours behind in winter, 5 in summer.
@pytest.mark.parametrize(
    ("symbol", "holiday", "day", "segments"),
    [
        # Martin Luther King, Presidents' Day: Mondays in winter.
        ("ESH5", "2025-01-20", "2025-01-21", "01-19 23:00/01-20 18:00 01-20 23:00/01-21 22:00"),
        ("ESH8", "2018-01-15", "2018-01-16",
         "01-14 23:00/01-15 18:00 01-15 23:00/01-16 21:15 01-16 21:30/01-16 22:00"),
        ("ZNH6", "2026-01-19", "2026-01-20", "01-18 23:00/01-19 18:00 01-19 23:00/01-20 22:00"),
        ("CLH6", "2026-01-19", "2026-01-20", "01-18 23:00/01-19 19:30 01-19 23:00/01-20 22:00"),
        ("6EH6", "2026-01-19", "2026-01-20", "01-18 23:00/01-19 22:00 01-19 23:00/01-20 22:00"),
        ("GCJ3", "2023-02-20", "2023-02-21", "02-19 23:00/02-20 19:30 02-20 23:00/02-21 22:00"),
        ("NQH1", "2021-02-15", "2021-02-16",
         "02-14 23:00/02-15 18:00 02-15 23:00/02-16 21:15 02-16 21:30/02-16 22:00"),
        # Memorial Day: Mondays in summer.
        ("MESM4", "2024-05-27", "2024-05-28", "05-26 22:00/05-27 17:00 05-27 22:00/05-28 21:00"),
        ("GCQ9", "2019-05-27", "2019-05-28", "05-26 22:00/05-27 17:00 05-27 22:00/05-28 21:00"),
        ("6EM1", "2021-05-31", "2021-06-01", "05-30 22:00/05-31 17:00 05-31 22:00/06-01 21:00"),
        # Juneteenth: a Monday, a Thursday, a Friday.
        ("ESU2", "2022-06-20", "2022-06-21", "06-19 22:00/06-20 17:00 06-20 22:00/06-21 21:00"),
        ("ZBU5", "2025-06-19", "2025-06-20", "06-18 22:00/06-19 17:00 06-19 22:00/06-20 21:00"),
        ("CLQ6", "2026-06-19", "2026-06-22", "06-18 22:00/06-19 17:00 06-21 22:00/06-22 21:00"),
        # Independence Day: a Tuesday after a short Monday, a Friday, and observed on one.
        ("ESU3", "2023-07-04", "2023-07-05", "07-03 22:00/07-04 17:00 07-04 22:00/07-05 21:00"),
        ("ESU5", "2025-07-04", "2025-07-07", "07-03 22:00/07-04 17:00 07-06 22:00/07-07 21:00"),
        ("GCQ5", "2025-07-04", "2025-07-07", "07-03 22:00/07-04 18:30 07-06 22:00/07-07 21:00"),
        ("ZTU0", "2020-07-03", "2020-07-06", "07-02 22:00/07-03 17:00 07-05 22:00/07-06 21:00"),
        ("SIU6", "2026-07-03", "2026-07-06", "07-02 22:00/07-03 17:00 07-05 22:00/07-06 21:00"),
        # Labor Day.
        ("CLV1", "2021-09-06", "2021-09-07", "09-05 22:00/09-06 17:00 09-06 22:00/09-07 21:00"),
        ("NGV2", "2022-09-05", "2022-09-06", "09-04 22:00/09-05 18:30 09-05 22:00/09-06 21:00"),
        # Thanksgiving: the session of the Friday, which closes early itself.
        ("ESZ3", "2023-11-23", "2023-11-24", "11-22 23:00/11-23 18:00 11-23 23:00/11-24 18:15"),
        ("ZNZ7", "2017-11-23", "2017-11-24", "11-22 23:00/11-23 18:00 11-23 23:00/11-24 18:15"),
        ("CLF5", "2024-11-28", "2024-11-29", "11-27 23:00/11-28 19:30 11-28 23:00/11-29 18:45"),
        ("GCG1", "2020-11-26", "2020-11-27", "11-25 23:00/11-26 18:00 11-26 23:00/11-27 18:45"),
    ],
)  # fmt: skip
def test_a_holiday_and_the_next_business_day_are_one_session(
    symbol: str, holiday: str, day: str, segments: str
) -> None:
    calendar = calendar_for("GLBX.MDP3", symbol)
    found = session(symbol, day)

    assert " ".join(f"{text(a)}/{text(b)}" for a, b in found.segments) == segments
    assert calendar.session(date.fromisoformat(holiday)) is None
    assert (found.open_ns, found.close_ns) == (found.segments[0][0], found.segments[-1][1])
    assert found.preopen_ns == found.open_ns - 3600 * NS
    assert found.early_close == (day[5:7] == "11")
    # The halt is the session's as well; regular hours are those of its own date.
    halt = found.segments[0][1]
    assert calendar.session_of(np.array([found.preopen_ns, halt, halt + 3600 * NS])).tolist() == (
        [date.fromisoformat(day)] * 3
    )
    assert not trades_at(found, halt)
    assert found.rth is not None
    assert text(found.rth[0])[:5] == text(found.rth[1])[:5] == day[5:]


def test_the_boundary_before_a_holiday_is_that_of_the_last_business_day() -> None:
    calendar = calendar_for("GLBX.MDP3", "ESZ3")
    wednesday, friday = session("ESZ3", "2023-11-22"), session("ESZ3", "2023-11-24")
    assert wednesday.end_ns == friday.preopen_ns == ns("2023-11-22 22:00")
    assert friday.end_ns == ns("2023-11-24 22:00")
    assert calendar.session_of(ns("2023-11-22 22:00") - 1) == date(2023, 11, 22)
    assert calendar.session_of(ns("2023-11-22 22:00")) == date(2023, 11, 24)
    assert calendar.session_of(ns("2023-11-23 22:00")) == date(2023, 11, 24)


def test_utc_days_are_those_with_data() -> None:
    def days(symbol: str, day: str) -> list[str]:
        return [f"{found:%m-%d}" for found in utc_dates(session(symbol, day))]

    assert days("ESH5", "2025-01-21") == ["01-19", "01-20", "01-21"]
    assert days("ESZ3", "2023-11-24") == ["11-22", "11-23", "11-24"]
    # Holiday on a Friday: its Saturday has no data.
    assert days("ESU5", "2025-07-07") == ["07-03", "07-04", "07-06", "07-07"]
    assert days("ZCU5", "2025-07-07") == ["07-06", "07-07"]


def test_sessions_touching_finds_the_session_of_a_holiday() -> None:
    calendar = calendar_for("GLBX.MDP3", "ESU5")

    def touching(day: str) -> list[str]:
        return [str(s.date) for s in calendar.sessions_touching([date.fromisoformat(day)])]

    assert touching("2025-07-03") == ["2025-07-03", "2025-07-07"]
    assert touching("2025-07-04") == ["2025-07-07"]
    assert touching("2025-07-05") == []
    assert touching("2025-07-06") == ["2025-07-07"]


def test_short_business_days_stay_sessions_that_close_early() -> None:
    eve = session("ESU3", "2023-07-03")
    assert eve.early_close
    assert [f"{text(a)}/{text(b)}" for a, b in eve.segments] == ["07-02 22:00/07-03 17:15"]
    assert session("ESH5", "2024-12-24").early_close
    jobs = session("ESM3", "2023-04-07")  # Good Friday with the jobs report
    assert (text(jobs.close_ns), jobs.rth) == ("04-07 13:15", None)


def test_holidays_without_trading_have_no_part() -> None:
    for symbol, day in (
        ("ESH4", "2023-12-26"),  # after Christmas
        ("CLG4", "2024-01-02"),  # after New Year's Day
        ("GCM4", "2024-04-01"),  # after Good Friday
        ("ZCH5", "2025-01-21"),  # grains do not trade on US holidays
        ("LEH5", "2025-01-21"),
    ):
        assert len(session(symbol, day).parts) == 1
    assert calendar_for("GLBX.MDP3", "ESM4").session(date(2024, 3, 29)) is None


def test_nasdaq_is_shut_on_holidays() -> None:
    calendar = calendar_for("XNAS.ITCH", "AAPL")
    after = calendar.session(date(2025, 1, 21))
    assert calendar.session(date(2025, 1, 20)) is None
    assert after is not None
    assert len(after.segments) == 1


def test_every_holiday_of_every_year_is_booked_later() -> None:
    lists = shipped()[1]
    for name in ("us_holidays_to_2021", "us_holidays_from_2022"):
        for holiday in lists[name]:
            for symbol in ("ESH4", "ZNH4", "6EH4", "CLH4", "GCH4"):
                calendar = calendar_for("GLBX.MDP3", symbol)
                noon = ns(f"{holiday} 16:00")
                owner = calendar.session(calendar.session_of(noon))
                assert owner is not None
                assert holiday < owner.date <= holiday + timedelta(days=3)
                assert len(owner.parts) == 2
                assert trades_at(owner, noon)
                assert holiday in utc_dates(owner)
                assert owner.rth is not None


def test_halts_of_a_calendar_of_ones_own() -> None:
    own = {**OWN, "halts": {"2025-05-01": "13:00", "10:00": ["2025-05-02"]}}
    calendar = calendar_for("X.Y", "ABC", {"mine": own})
    # London, Thursday and Friday until a halt, Monday a holiday: all of it is Tuesday's.
    found = calendar.session(date(2025, 5, 6))
    assert found is not None
    assert [f"{text(a)}/{text(b)}" for a, b in found.segments] == [
        "05-01 07:00/05-01 11:00",
        "05-01 11:02/05-01 12:00",
        "05-02 07:00/05-02 09:00",
        "05-06 07:00/05-06 11:00",
        "05-06 11:02/05-06 15:30",
    ]
    assert utc_dates(found) == [date(2025, 5, 1), date(2025, 5, 2), date(2025, 5, 6)]
    assert calendar.session(date(2025, 5, 1)) is None
    assert calendar.session_of(ns("2025-05-03 12:00")) == date(2025, 5, 6)


def test_regular_hours_are_those_of_the_sessions_own_date() -> None:
    own = {
        **OWN,
        "regular": ["09:00", "16:00"],
        "halts": {"2025-05-01": "13:00"},
        "no_regular": ["2025-05-01"],
        "early_regular_closes": {"2025-05-01": "10:00", "2025-05-02": "15:00"},
    }
    found = calendar_for("X.Y", "ABC", {"mine": own}).session(date(2025, 5, 2))
    assert found is not None
    assert len(found.parts) == 2
    assert found.rth == (ns("2025-05-02 08:00"), ns("2025-05-02 14:00"))


def test_a_user_may_close_a_shipped_holiday_or_keep_its_date() -> None:
    def sessions(change: dict[str, Any]) -> list[Session]:
        calendar = calendar_for("GLBX.MDP3", "ESH5", {"cme_index": change})
        return calendar.sessions(date(2025, 1, 20), date(2025, 1, 21))

    (shut,) = sessions({"holidays": [date(2025, 1, 20)]})
    assert text(shut.open_ns) == "01-20 23:00"
    holiday, tuesday = sessions({"halts": {}, "early_closes": {"2025-01-20": "12:00"}})
    assert holiday.early_close
    assert text(tuesday.open_ns) == "01-20 23:00"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"halts": ["2025-01-20"]}, "calendar.mine.halts = ['2025-01-20'] is not a table"),
        (
            {"halts": {"2025-01-20": "noon"}},
            "calendar.mine.halts = 'noon' is not a time of the day",
        ),
        ({"halts": {"12:00": ["us_holiday"]}}, "did you mean 'us_holidays_"),
        ({"halts": {"2025-12-24": "12:00"}}, "2025-12-24 is in halts and in early_closes of calen"),
    ],
)
def test_wrong_halts_are_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as raised:
        calendar_for("X.Y", "ABC", {"mine": {**OWN, **change}})
    assert message in str(raised.value)


def assert_sessions_tile(calendar: Calendar, sessions: list[Session]) -> None:
    for last, following in pairwise(sessions):
        assert last.end_ns <= following.preopen_ns <= following.open_ns < following.close_ns
        assert following.close_ns <= following.end_ns
    for found in sessions:
        edges = [edge for span in found.segments for edge in span]
        assert edges == sorted(set(edges))
        assert (edges[0], edges[-1]) == (found.open_ns, found.close_ns)
        bounds = [edge for span in found.parts for edge in span]
        assert bounds == sorted(bounds)
        assert (bounds[0], bounds[-1]) == (found.preopen_ns, found.close_ns)
        assert all(any(a <= s and e <= b for a, b in found.parts) for s, e in found.segments)
        if found.rth:
            assert found.parts[-1][0] <= found.rth[0] < found.rth[1] <= found.close_ns
        own = {moment for span in found.segments for moment in (span[0], span[1] - 1)}
        moments = np.array(sorted({found.preopen_ns, found.end_ns - 1, *own}))
        assert (calendar.session_of(moments) == np.datetime64(found.date)).all()
        days = utc_dates(found)
        utc = {datetime.fromtimestamp(int(m) // NS, UTC).date() for m in moments[:-1]}
        assert utc <= set(days)
        assert all(found in calendar.sessions_touching([day]) for day in days)


@settings(max_examples=60, deadline=None)
@given(
    symbol=st.sampled_from(SYMBOLS),
    day=st.dates(date(2017, 1, 12), date(2027, 12, 20)),
    offset=st.integers(0, 86_400 * NS - 1),
)
@example(symbol="ESH4", day=date(2025, 7, 5), offset=0)
@example(symbol="CLH4", day=date(2024, 11, 28), offset=20 * 3600 * NS)
def test_every_instant_belongs_to_exactly_one_session(symbol: str, day: date, offset: int) -> None:
    calendar = calendar_for("GLBX.MDP3", symbol)
    moment = ns(f"{day} 00:00:00") + offset
    sessions = calendar.sessions(day - timedelta(days=9), day + timedelta(days=9))

    assert_sessions_tile(calendar, sessions)
    owner = [
        following.date
        for last, following in pairwise(sessions)
        if last.end_ns <= moment < following.end_ns
    ]
    assert owner == [calendar.session_of(moment)]
    open_in = [s.date for s in sessions if trades_at(s, moment)]
    assert open_in in ([], owner)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_sessions_of_any_halts_tile_time(data: st.DataObject) -> None:
    days = st.dates(date(2024, 2, 26), date(2024, 4, 5))  # clocks change in between
    holidays = data.draw(st.sets(days, max_size=6), label="holidays")
    halts = data.draw(st.dictionaries(days, st.sampled_from(["12:00", "18:00", "16:00"])), "halts")
    own = {
        "products": ["X"],
        "zone": "America/Chicago",
        "open": "17:00",
        "close": "16:00",
        "breaks": [["02:30", "03:15"], ["11:45", "12:30"]],
        "weekdays": data.draw(st.sampled_from([["mon", "tue", "thu", "fri"], ["wed", "sun"]])),
        "holidays": sorted(holidays),
        "halts": {str(day): time for day, time in halts.items()},
    }
    calendar = calendar_for("D", "X", {"mine": own})
    sessions = calendar.sessions(date(2024, 2, 20), date(2024, 4, 15))

    assert_sessions_tile(calendar, sessions)
    first, last = sessions[0], sessions[-1]
    hours = np.arange(first.end_ns, last.end_ns, 3600 * NS)
    ends = np.array([s.end_ns for s in sessions])
    expected = np.array([s.date for s in sessions], dtype="datetime64[D]")
    assert (calendar.session_of(hours) == expected[np.searchsorted(ends, hours, "right")]).all()
    for day in halts.keys() - holidays:
        night = ns(f"{day} 06:00")  # midnight or one o'clock in Chicago
        owner = calendar.session(calendar.session_of(night))
        assert owner is not None
        assert owner.date > day
        # 18:00 is on the evening before.
        assert trades_at(owner, night) == (halts[day] != "18:00")
