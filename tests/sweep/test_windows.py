"""Walk-forward windows: what they may share, and what never."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.sweep.windows import WalkForward, parse_walk_forward, untested, windows


def days(n: int) -> list[date]:
    """Weekdays, as sessions are."""
    every = (date(2025, 1, 1) + timedelta(days=i) for i in range(2 * n + 7))
    return [day for day in every if day.weekday() < 5][:n]


lengths = st.integers(1, 6)


@st.composite
def walks(draw) -> WalkForward:
    test = draw(lengths)
    return WalkForward(draw(lengths), test, test + draw(st.integers(0, 3)), draw(st.integers(0, 3)))


@given(how=walks(), extra=st.integers(0, 30))
def test_no_window_shares_sessions_and_the_purge_is_kept(how, extra):
    sessions = days(how.train + how.purge + how.test + extra)
    place = {day: i for i, day in enumerate(sessions)}

    for window in windows(sessions, how):
        train = [place[day] for day in window.train]
        test = [place[day] for day in window.test]
        assert train == list(range(train[0], train[0] + how.train))
        assert test == list(range(test[0], test[0] + how.test))
        assert test[0] - train[-1] == how.purge + 1


@given(how=walks(), extra=st.integers(0, 30))
def test_sessions_are_tested_once_or_told_to_be_untested(how, extra):
    sessions = days(how.train + how.purge + how.test + extra)

    found = windows(sessions, how)

    tested = [day for window in found for day in window.test]
    assert len(tested) == len(set(tested))
    rest = sessions[how.train + how.purge :]
    assert sorted([*tested, *untested(sessions, found)]) == rest
    if how.step == how.test:
        assert len(rest) - len(tested) < how.test
        assert tested == rest[: len(tested)]


@given(how=walks(), extra=st.integers(0, 30))
def test_more_sessions_never_change_earlier_windows(how, extra):
    sessions = days(how.train + how.purge + how.test + extra)

    shorter = windows(sessions[: len(sessions) - extra], how)

    assert windows(sessions, how)[: len(shorter)] == shorter


def test_parsing():
    assert parse_walk_forward("train=10,test=5") == WalkForward(10, 5, 5)
    assert parse_walk_forward("test=5, train=10, step=7", 2) == WalkForward(10, 5, 7, 2)


@pytest.mark.parametrize(
    ("text", "purge", "words"),
    [
        ("train=10", 0, "test=SESSIONS is missing"),
        ("train=10,tset=5", 0, "did you mean 'test'"),
        ("train=0,test=5", 0, "1 or more"),
        ("train=ten,test=5", 0, "number of sessions"),
        ("train=10,test=5,step=4", 0, "tested more than once"),
        ("train=10,test=5", -1, "--purge -1"),
    ],
)
def test_what_is_no_walk_forward(text, purge, words):
    with pytest.raises(RequestError, match=words):
        parse_walk_forward(text, purge)


def test_too_few_sessions_say_how_many_are_needed():
    with pytest.raises(RequestError, match=r"needs 16 sessions .*; the selection has 15"):
        windows(days(15), WalkForward(10, 5, 5, 1))
