"""What ``-p`` may say in a sweep, and the trials it makes."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.sweep.axes import draws, grid, latency_axis, parse_axis
from pipeline.units import parse_duration
from strategies.interface import parameters
from strategies.mean_reversion import MeanReversion

KNOWN = parameters(MeanReversion)


def axis(text: str, *, drawn: bool = False):
    return parse_axis(text, KNOWN, drawn=drawn)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("entry_z=2,2.5, 3", ("2", "2.5", "3")),
        ("entry_z=1..2:0.25", ("1", "1.25", "1.5", "1.75", "2")),
        ("entry_z=0.1..0.35:0.1", ("0.1", "0.2", "0.3")),
        ("size=1..4", ("1", "2", "3", "4")),
        ("size=1..10:4", ("1", "5", "9")),
        ("size=1..20:log", ("1", "2", "4", "8", "16")),
        ("entry_z=0.5..4:log", ("0.5", "1", "2", "4")),
        ("patience=1s..4s:log", ("1s", "2s", "4s")),
        ("patience=500ms..2s:500ms", ("500ms", "1s", "1500ms", "2s")),
        ("window=60s,300s", ("60s", "300s")),
        ("flatten=true,false", ("true", "false")),
        ("style=passive,aggressive,passive", ("passive", "aggressive")),
    ],
)
def test_values(text, values):
    assert axis(text).values == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("entry=2,3", "did you mean 'entry_z'"),
        ("entry_z", "write key=a,b,c"),
        ("entry_z=", "write key=a,b,c"),
        ("entry_z=2,x", "a number"),
        ("entry_z=-1,2", "at least 0"),
        ("size=0..3", "at least 1"),
        ("size=1..2.5", "no whole number"),
        ("entry_z=1..3", "how far apart.*1..3:0.5"),
        ("patience=1s..9s", "how far apart.*:2s"),
        ("entry_z=3..1:0.5", "is empty"),
        ("entry_z=1..3:0", "above 0"),
        ("entry_z=0..3:log", "begins above 0"),
        ("entry_z=0..3:0.00001", "at most"),
        ("entry_z=1..nan:1", "no number"),
        ("patience=1..3:1", "not a duration"),
    ],
)
def test_what_is_refused(text, words):
    with pytest.raises(RequestError, match=words):
        axis(text)


def test_latencies_are_written_in_one_way():
    assert latency_axis("0,1ms,1000us,20ms").values == ("0", "1ms", "20ms")
    assert latency_axis("lognormal:1ms:0.50,0").values == ("lognormal:1ms:0.5", "0")
    with pytest.raises(RequestError, match="no such file"):
        latency_axis("0,table:measured.csv")
    with pytest.raises(RequestError, match=r"--latency.*fast"):
        latency_axis("fast,1ms")


def test_grid_has_every_combination_in_order():
    points = grid([axis("entry_z=2,3"), axis("size=1..3")])

    assert [tuple(point.values()) for point in points] == [
        ("2", "1"), ("2", "2"), ("2", "3"), ("3", "1"), ("3", "2"), ("3", "3"),
    ]  # fmt: skip
    with pytest.raises(RequestError, match="try --random"):
        grid([axis("size=1..1000"), axis("stop_z=1..1000:1")])


MIXED = [
    axis("entry_z=1..3", drawn=True),
    axis("stop_z=4..400:log", drawn=True),
    axis("size=1..6", drawn=True),
    axis("patience=1s..5m:log", drawn=True),
    axis("window=60s,300s", drawn=True),
    axis("exit_z=0..0.5:0.1", drawn=True),
]


@given(seed=st.integers(0, 2**32), short=st.integers(1, 10))
def test_draws_stay_in_their_ranges_and_begin_alike(seed, short):
    points = list(islice(draws(MIXED, seed), 20))

    assert points[:short] == list(islice(draws(MIXED, seed), short))
    assert len({tuple(point.values()) for point in points}) == 20
    for point in points:
        assert 1 <= float(point["entry_z"]) <= 3
        assert 4 <= float(point["stop_z"]) <= 400
        assert point["size"] in {"1", "2", "3", "4", "5", "6"}
        assert 10**9 <= parse_duration(point["patience"]) <= 300 * 10**9
        assert point["window"] in {"60s", "300s"}
        assert point["exit_z"] in {"0", "0.1", "0.2", "0.3", "0.4", "0.5"}


def test_draws_cover_their_ranges():
    points = list(islice(draws(MIXED, 1), 2000))

    low = sum(float(point["stop_z"]) < 40 for point in points)
    assert 900 < low < 1100  # the middle of 4 and 400 by logarithm
    assert 450 < sum(float(point["entry_z"]) < 1.5 for point in points) < 550
    sizes = [sum(point["size"] == str(n) for point in points) for n in range(1, 7)]
    assert min(sizes) > 250


def test_draws_end_where_nothing_is_left():
    assert len(list(draws([axis("size=1,2,3"), axis("window=60s,300s")], 0))) == 6
