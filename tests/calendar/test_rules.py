"""Calendars of the user's own, and what is wrong with wrong ones."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from pipeline.calendar import calendar_for
from pipeline.config import Settings
from pipeline.errors import RequestError

NS = 10**9

OWN: dict[str, Any] = {
    "products": ["ABC"],
    "dataset": "X.Y",
    "zone": "Europe/London",
    "open": "08:00",
    "close": "16:30",
    "breaks": [["12:00", "12:02"]],
    "holidays": ["2025-05-05", date(2025, 5, 26)],
    "early_closes": {"2025-12-24": "12:30"},
}


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS


def test_own_calendar() -> None:
    calendar = calendar_for("X.Y", "ABCM5", {"mine": OWN})
    found = calendar.session(date(2025, 5, 1))
    assert found is not None
    assert calendar.name == "mine"
    assert calendar.origin == "research.toml"
    assert found.segments == (
        (ns("2025-05-01 07:00"), ns("2025-05-01 11:00")),
        (ns("2025-05-01 11:02"), ns("2025-05-01 15:30")),
    )
    assert found.preopen_ns == found.open_ns
    assert calendar.session(date(2025, 5, 5)) is None
    assert calendar.session(date(2025, 5, 26)) is None
    half = calendar.session(date(2025, 12, 24))
    assert half is not None
    assert half.early_close
    assert half.close_ns == ns("2025-12-24 12:30")


def test_own_calendar_goes_before_the_shipped_one() -> None:
    own = {**OWN, "products": ["ES"], "dataset": "GLBX.MDP3"}
    settings = Settings(calendar={"mine": own}, origin="my.toml")
    assert calendar_for("GLBX.MDP3", "ESH4", settings).name == "mine"
    assert calendar_for("GLBX.MDP3", "ESH4", settings).origin == "my.toml"
    assert calendar_for("GLBX.MDP3", "NQH4", settings).name == "cme_index"


def test_own_calendar_by_pattern_of_symbols() -> None:
    own = {**OWN, "products": ["BRN*"]}
    assert calendar_for("X.Y", "BRN  FMF0025!", {"mine": own}).name == "mine"


def test_shipped_name_changes_only_the_keys_given() -> None:
    changed = {"cme_index": {"holidays": [date(2025, 5, 1)]}}
    calendar = calendar_for("GLBX.MDP3", "ESM5", changed)
    assert calendar.session(date(2025, 5, 1)) is None
    assert calendar.session(date(2025, 5, 2)) is not None
    early = calendar.session(date(2024, 7, 3))
    assert early is not None
    assert early.early_close


def test_hours_the_user_gives_hold_on_all_dates() -> None:
    calendar = calendar_for("GLBX.MDP3", "ESM5", {"cme_index": {"breaks": []}})
    found = calendar.session(date(2020, 6, 1))
    assert found is not None
    assert len(found.segments) == 1


def test_periods_hold_between_their_dates() -> None:
    own = {
        **OWN,
        "periods": [{"from": "2024-01-01", "until": "2024-12-31", "close": "15:00", "breaks": []}],
    }
    calendar = calendar_for("X.Y", "ABC", {"mine": own})
    in_2024, in_2025 = calendar.session(date(2024, 1, 2)), calendar.session(date(2025, 1, 2))
    assert in_2024 is not None
    assert in_2025 is not None
    assert in_2024.close_ns == ns("2024-01-02 15:00")
    assert in_2025.close_ns == ns("2025-01-02 16:30")
    assert not in_2024.early_close


def test_named_lists_and_times_as_keys() -> None:
    own = {
        **OWN,
        "holidays": ["new_year_christmas"],
        "early_closes": {"12:30": ["christmas_eve"]},
    }
    calendar = calendar_for("X.Y", "ABC", {"mine": own})
    assert calendar.session(date(2025, 12, 25)) is None
    eve = calendar.session(date(2025, 12, 24))
    assert eve is not None
    assert eve.early_close


def test_venue_open_all_day_every_day() -> None:
    own = {
        "products": ["*"],
        "dataset": "X.Y",
        "zone": "UTC",
        "open": "00:00",
        "close": "24:00",
        "weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    }
    calendar = calendar_for("X.Y", "BTC", {"always": own})
    assert len(calendar.sessions(date(2025, 5, 1), date(2025, 5, 7))) == 7
    assert calendar.name == "always"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opens": "08:00"}, "unknown setting 'calendar.mine.opens' in research.toml; did you mea"),
        ({"zone": "Europe/Lodnon"}, "calendar.mine.zone = 'Europe/Lodnon' is not a time zone"),
        ({"zone": None}, "calendar.mine has no zone"),
        ({"open": "8"}, "calendar.mine.open = '8' is not a time of the day"),
        ({"open": "25:00"}, "calendar.mine.open = '25:00' is not a time of the day"),
        ({"close": None}, "calendar.mine has no close"),
        ({"breaks": [["12:00"]]}, "calendar.mine.breaks = ['12:00'] is not a pair"),
        ({"breaks": [["07:00", "09:00"]]}, "calendar.mine.breaks"),
        ({"breaks": [["12:00", "12:30"], ["12:10", "12:40"]]}, "within the session and in order"),
        ({"regular": ["08:00", "17:00"]}, "calendar.mine.regular"),
        ({"holidays": ["2025-13-01"]}, "calendar.mine.holidays = '2025-13-01' is not a date"),
        ({"holidays": ["christmas_ev"]}, "did you mean 'christmas_eve'"),
        ({"early_closes": ["2025-12-24"]}, "calendar.mine.early_closes"),
        ({"early_closes": {"2025-12-24": "noon"}}, "is not a time of the day"),
        ({"weekdays": ["monday"]}, "unknown day 'monday'"),
        ({"products": [1]}, "calendar.mine.products = [1] is not a list of texts"),
        ({"periods": [{"untl": "2024-01-01"}]}, "unknown setting 'calendar.mine.periods.untl'"),
        ({"known": ["2024-01-01"]}, "is not a pair"),
    ],
)
def test_wrong_calendars_are_one_clear_line(change: dict[str, Any], message: str) -> None:
    own = {k: v for k, v in {**OWN, **change}.items() if v is not None}
    with pytest.raises(RequestError) as raised:
        calendar_for("X.Y", "ABC", {"mine": own})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
