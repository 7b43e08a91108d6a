"""Which session an instant belongs to, and when sessions open and close."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.calendar import Calendar, Session, calendar_for, product_of, utc_dates

NS = 10**9


def ns(text: str) -> int:
    """Nanoseconds of a UTC time written as ``2023-12-25 22:39:55``."""
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS


def session(calendar: Calendar, day: str) -> Session:
    found = calendar.session(date.fromisoformat(day))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def index() -> Calendar:
    return calendar_for("GLBX.MDP3", "ESH4")


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        # The real file: Christmas evening belongs to the next business day.
        ("2023-12-25 22:39:55", "2023-12-26"),
        ("2023-12-25 22:00:00", "2023-12-26"),
        ("2023-12-24 00:00:00", "2023-12-26"),  # Sunday before Christmas Monday
        ("2023-12-22 21:59:59", "2023-12-22"),
        ("2023-12-22 22:00:00", "2023-12-26"),
        ("2024-05-08 00:00:01", "2024-05-08"),
        # Summer and winter: the boundary is 16:00 in Chicago.
        ("2024-07-02 20:59:59", "2024-07-02"),
        ("2024-07-02 21:00:00", "2024-07-03"),
        ("2024-01-10 21:59:59", "2024-01-10"),
        ("2024-01-10 22:00:00", "2024-01-11"),
        # Friday afternoon rolls over the weekend.
        ("2024-07-12 21:00:00", "2024-07-15"),
        ("2024-07-13 12:00:00", "2024-07-15"),
        ("2024-07-14 22:30:00", "2024-07-15"),
        # New Year on a Monday, Good Friday without a jobs report.
        ("2023-12-29 22:00:00", "2024-01-02"),
        ("2024-03-28 21:30:00", "2024-04-01"),
        # A shortened day keeps what follows its close, up to the boundary.
        ("2023-11-24 19:00:00", "2023-11-24"),
        ("2023-11-24 21:59:59", "2023-11-24"),
        ("2023-11-24 22:00:00", "2023-11-27"),
    ],
)
def test_session_of_index_futures(index: Calendar, moment: str, expected: str) -> None:
    assert index.session_of(ns(moment)) == date.fromisoformat(expected)


def test_boundary_is_exact_to_the_nanosecond(index: Calendar) -> None:
    boundary = ns("2024-07-02 21:00:00")
    assert index.session_of(boundary - 1) == date(2024, 7, 2)
    assert index.session_of(boundary) == date(2024, 7, 3)


def test_session_spans_two_utc_days_and_its_preopen_belongs_to_it(index: Calendar) -> None:
    found = session(index, "2023-12-26")
    assert found.preopen_ns == ns("2023-12-25 22:00:00")
    assert found.open_ns == ns("2023-12-25 23:00:00")
    assert found.close_ns == found.end_ns == ns("2023-12-26 22:00:00")
    assert found.segments == ((found.open_ns, found.close_ns),)
    assert found.rth == (ns("2023-12-26 14:30:00"), ns("2023-12-26 21:15:00"))
    assert not found.early_close
    assert utc_dates(found) == [date(2023, 12, 25), date(2023, 12, 26)]


def test_monday_session_needs_sunday_and_monday_only(index: Calendar) -> None:
    assert utc_dates(session(index, "2024-07-15")) == [date(2024, 7, 14), date(2024, 7, 15)]


def test_daylight_saving_shifts_utc_times(index: Calendar) -> None:
    # Clocks went forward in the night to Sunday 2024-03-10, back on 2024-11-03.
    assert session(index, "2024-03-08").open_ns == ns("2024-03-07 23:00:00")
    assert session(index, "2024-03-11").open_ns == ns("2024-03-10 22:00:00")
    assert session(index, "2024-11-01").open_ns == ns("2024-10-31 22:00:00")
    assert session(index, "2024-11-04").open_ns == ns("2024-11-03 23:00:00")


def test_session_that_spans_a_clock_change_has_the_right_length() -> None:
    # A calendar open over the weekend: the night of the change has 23 or 25 hours.
    rules = {
        "c": {
            "products": ["X"],
            "zone": "America/Chicago",
            "open": "17:00",
            "close": "16:00",
            "weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        }
    }
    calendar = calendar_for("D", "X", rules)
    spring, autumn = session(calendar, "2024-03-10"), session(calendar, "2024-11-03")
    assert spring.close_ns - spring.open_ns == 22 * 3600 * NS
    assert autumn.close_ns - autumn.open_ns == 24 * 3600 * NS


def test_a_time_in_the_hour_that_clocks_skip_is_the_first_after_it() -> None:
    rules = {
        "c": {
            "products": ["X"],
            "zone": "America/Chicago",
            "open": "17:00",
            "close": "16:00",
            "breaks": [["02:30", "03:15"]],
            "weekdays": ["sun"],
        }
    }
    found = session(calendar_for("D", "X", rules), "2024-03-10")
    assert found.segments[0][1] == ns("2024-03-10 08:00:00")  # 03:00
    assert found.segments[1][0] == ns("2024-03-10 08:15:00")


def test_halt_at_the_cash_close_ended_in_june_2021(index: Calendar) -> None:
    before, after = session(index, "2021-06-25"), session(index, "2021-06-28")
    assert before.segments == (
        (ns("2021-06-24 22:00:00"), ns("2021-06-25 20:15:00")),
        (ns("2021-06-25 20:30:00"), ns("2021-06-25 21:00:00")),
    )
    assert len(after.segments) == 1


@pytest.mark.parametrize(
    ("day", "close", "rth_end"),
    [
        ("2017-07-03", "2017-07-03 17:15:00", "2017-07-03 17:15:00"),
        ("2018-12-05", "2018-12-05 14:30:00", None),  # day of mourning
        ("2019-11-29", "2019-11-29 18:15:00", "2019-11-29 18:15:00"),
        ("2020-12-24", "2020-12-24 18:15:00", "2020-12-24 18:15:00"),
        ("2021-04-02", "2021-04-02 13:15:00", None),  # Good Friday with a jobs report
        ("2023-11-24", "2023-11-24 18:15:00", "2023-11-24 18:15:00"),
        ("2024-07-03", "2024-07-03 17:15:00", "2024-07-03 17:15:00"),
        ("2025-01-09", "2025-01-09 14:30:00", None),
    ],
)
def test_early_closes_of_index_futures(
    index: Calendar, day: str, close: str, rth_end: str | None
) -> None:
    found = session(index, day)
    assert found.early_close
    assert found.close_ns == ns(close)
    assert found.segments[-1][1] == ns(close)
    assert (found.rth[1] if found.rth else None) == (ns(rth_end) if rth_end else None)


@pytest.mark.parametrize(
    "day",
    ["2017-04-14", "2021-12-24", "2022-12-26", "2023-01-02", "2023-12-25", "2024-03-29"],
)
def test_holidays_of_index_futures(index: Calendar, day: str) -> None:
    assert index.session(date.fromisoformat(day)) is None


@pytest.mark.parametrize("day", ["2021-06-18", "2021-12-31", "2022-07-01", "2025-11-28"])
def test_days_that_look_like_holidays_but_trade(index: Calendar, day: str) -> None:
    assert index.session(date.fromisoformat(day)) is not None


def test_number_of_sessions_a_year(index: Calendar) -> None:
    counts = {
        year: len(index.sessions(date(year, 1, 1), date(year, 12, 31)))
        for year in (2017, 2020, 2023, 2024)
    }
    assert counts == {2017: 251, 2020: 253, 2023: 251, 2024: 252}


def test_holidays_are_known_for_these_years_only(index: Calendar) -> None:
    assert index.knows(date(2017, 1, 1))
    assert index.knows(date(2027, 12, 31))
    assert not index.knows(date(2028, 1, 1))
    assert index.session(date(2028, 12, 25)) is not None


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("ESH4", "cme_index"),
        ("ESH4-ESM4", "cme_index"),
        ("MESM5", "cme_index"),
        ("M2KZ25", "cme_index"),
        ("ES", "cme_index"),
        ("ZNU5", "cme_rates"),
        ("SR3H5", "cme_rates"),
        ("6EM5", "cme_fx"),
        ("CLZ4", "cme_energy"),
        ("GCG5", "cme_metals"),
        ("ZCN5", "cme_grains"),
        ("LEQ5", "cme_livestock"),
        ("XYZH4", "unknown"),
        ("#12345", "unknown"),
        ("UD:1V: GN 12345", "unknown"),
    ],
)
def test_calendar_by_product(symbol: str, name: str) -> None:
    assert calendar_for("GLBX.MDP3", symbol).name == name


def test_other_datasets_never_get_cme_hours() -> None:
    for dataset in ("IFEU.IMPACT", "NDEX.IMPACT", "DBEQ.BASIC"):
        assert calendar_for(dataset, "ESH4").name == "unknown"
    assert calendar_for("IFEU.IMPACT", "BRN  FMF0025!").name == "unknown"


def test_sample_market_follows_index_futures() -> None:
    calendar = calendar_for("SIM.MDP3", "SIMM5-SIMU5")
    assert calendar.name == "cme_index"
    assert session(calendar, "2025-05-01").open_ns == ns("2025-04-30 22:00:00")


def test_unknown_products_have_utc_day_sessions() -> None:
    calendar = calendar_for("GLBX.MDP3", "XYZH4")
    saturday = session(calendar, "2024-07-13")
    assert (saturday.open_ns, saturday.close_ns) == (
        ns("2024-07-13 00:00:00"),
        ns("2024-07-14 00:00:00"),
    )
    assert saturday.rth is None
    assert utc_dates(saturday) == [date(2024, 7, 13)]
    assert calendar.session_of(ns("2024-07-13 23:59:59")) == date(2024, 7, 13)
    assert calendar.session_of(ns("2024-07-14 00:00:00")) == date(2024, 7, 14)


def test_nasdaq_extended_and_core_hours() -> None:
    calendar = calendar_for("XNAS.ITCH", "AAPL")
    found = session(calendar, "2024-07-05")
    assert calendar.name == "nasdaq"
    assert (found.open_ns, found.close_ns) == (ns("2024-07-05 08:00:00"), ns("2024-07-06 00:00:00"))
    assert found.rth == (ns("2024-07-05 13:30:00"), ns("2024-07-05 20:00:00"))
    assert utc_dates(found) == [date(2024, 7, 5)]
    half = session(calendar, "2024-07-03")
    assert half.early_close
    assert half.close_ns == ns("2024-07-03 21:00:00")
    assert half.rth == (ns("2024-07-03 13:30:00"), ns("2024-07-03 17:00:00"))
    assert calendar.session(date(2024, 7, 4)) is None
    winter = session(calendar, "2024-01-10")
    assert utc_dates(winter) == [date(2024, 1, 10), date(2024, 1, 11)]


def test_grains_break_in_the_morning_and_open_late_after_holidays() -> None:
    calendar = calendar_for("GLBX.MDP3", "ZCH4")
    found = session(calendar, "2024-02-20")
    assert found.preopen_ns == ns("2024-02-19 22:00:00")
    assert found.segments == (
        (ns("2024-02-20 01:00:00"), ns("2024-02-20 13:45:00")),
        (ns("2024-02-20 14:30:00"), ns("2024-02-20 19:20:00")),
    )
    friday = session(calendar, "2023-11-24")  # no evening session on Thanksgiving
    assert friday.segments == ((ns("2023-11-24 14:30:00"), ns("2023-11-24 18:05:00")),)
    assert utc_dates(friday) == [date(2023, 11, 24)]
    assert calendar.session(date(2024, 6, 19)) is None


@pytest.mark.parametrize(
    ("symbol", "product"),
    [
        ("ESH4", "ES"),
        ("ESH4-ESM4", "ES"),
        ("ESM25", "ES"),
        ("MESM5", "MES"),
        ("6EM5", "6E"),
        ("M2KZ5", "M2K"),
        ("SR3H25", "SR3"),
        ("10YM5", "10Y"),
        ("SIMM5", "SIM"),
        ("SIMM5-SIMU5", "SIM"),
        ("ESM5 C5000", "ES"),
        ("ES:BF M5-U5-Z5", "ES"),
        ("ES.FUT", "ES"),
        ("ES.c.0", "ES"),
        ("AAPL", None),
        ("BRK/B", None),
        ("#42", None),
        ("NULL", None),
        ("", None),
        ("UD:1V: GN 12345", None),
        ("BRN  FMF0025!", None),
    ],
)
def test_product_of(symbol: str, product: str | None) -> None:
    assert product_of(symbol) == product


def test_session_of_takes_arrays_of_any_shape_and_order(index: Calendar) -> None:
    moments = np.array([[ns("2024-07-14 22:30:00"), ns("2024-07-02 20:00:00")]])
    found = index.session_of(moments)
    assert found.dtype == np.dtype("datetime64[D]")
    assert found.tolist() == [[date(2024, 7, 15), date(2024, 7, 2)]]
    assert index.session_of(np.empty(0, np.int64)).size == 0


def test_sessions_touching_some_days(index: Calendar) -> None:
    touched = index.sessions_touching([date(2023, 12, 24), date(2023, 12, 25)])
    assert [s.date for s in touched] == [date(2023, 12, 26)]
    touched = index.sessions_touching([date(2024, 7, 2)])
    assert [s.date for s in touched] == [date(2024, 7, 2), date(2024, 7, 3)]


def test_the_segments_leave_out_the_break(index: Calendar) -> None:
    found = session(index, "2021-06-25")
    assert found.segments == (
        (found.open_ns, ns("2021-06-25 20:15:00")),
        (ns("2021-06-25 20:30:00"), found.close_ns),
    )


def test_params_tell_sessions_apart(index: Calendar) -> None:
    assert session(index, "2024-07-02").params() != session(index, "2024-07-03").params()


def test_real_christmas_evening_belongs_to_the_next_business_day(
    real_data: Path, index: Calendar
) -> None:
    import databento_dbn as dbn
    import zstandard

    (path,) = (real_data / "esh4").glob("*20231225*.dbn.zst")
    decoder = dbn.DBNDecoder()
    decoder.write(zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read())
    received = np.array([r.ts_recv for r in decoder.decode() if isinstance(r, dbn.MBOMsg)])

    found = index.session_of(received.astype(np.int64))

    assert len(received) == 68_792
    assert (found == np.datetime64("2023-12-26")).all()
    session_ = session(index, "2023-12-26")
    live = received[received >= session_.preopen_ns]
    assert len(live) == 60_067  # the rest is the midnight snapshot
    assert utc_dates(session_)[0] == date(2023, 12, 25)
