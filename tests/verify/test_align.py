"""The pairing of two streams, against plain dictionaries, however the streams are cut."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.verify.align import Aligner, Tally

Row = tuple[int, int, int]
"""clock, key, value"""


def frames(rows: list[Row], cuts: list[int]) -> Iterator[pl.DataFrame]:
    places = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, stop in pairwise(places):
        yield pl.DataFrame(
            rows[start:stop],
            schema=dict.fromkeys(("clock", "key", "value"), pl.Int64),
            orient="row",
        )


def aligned(
    ours: list[Row], theirs: list[Row], cuts: tuple[list[int], list[int]] = ([], []), keep: int = 3
) -> Tally:
    aligner = Aligner(("clock", "key"), ("value",), frames(theirs, cuts[1]), keep=keep)
    for frame in frames(ours, cuts[0]):
        aligner.feed(frame)
    return aligner.finish()


def by_dictionaries(ours: list[Row], theirs: list[Row]) -> tuple[int, int, int, int]:
    groups: defaultdict[tuple[int, int], tuple[list[int], list[int]]]
    groups = defaultdict(lambda: ([], []))
    for side, rows in enumerate((ours, theirs)):
        for clock, key, value in rows:
            groups[clock, key][side].append(value)
    equal = different = only_ours = only_theirs = 0
    for a, b in groups.values():
        same = sum(x == y for x, y in zip(a, b, strict=False))
        both = min(len(a), len(b))
        equal, different = equal + same, different + both - same
        only_ours, only_theirs = only_ours + len(a) - both, only_theirs + len(b) - both
    return equal, different, only_ours, only_theirs


streams = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 1)), max_size=30)
cut_places = st.lists(st.integers(0, 30), max_size=6)


@settings(deadline=None)
@given(streams.map(sorted), streams.map(sorted), cut_places, cut_places)
def test_pairs_are_those_of_the_keys_whatever_the_cuts(
    ours: list[Row], theirs: list[Row], cuts: list[int], their_cuts: list[int]
) -> None:
    tally = aligned(ours, theirs, (cuts, their_cuts))
    found = (tally.equal, tally.different, tally.only_ours, tally.only_theirs)
    assert found == by_dictionaries(ours, theirs)
    assert len(tally.first) == min(3, tally.differences)


@settings(deadline=None)
@given(streams.map(sorted), cut_places, cut_places)
def test_equal_streams_are_equal(rows: list[Row], cuts: list[int], others: list[int]) -> None:
    tally = aligned(rows, rows, (cuts, others))
    assert (tally.equal, tally.differences, tally.compared) == (len(rows), 0, len(rows))


def test_the_first_differences_are_kept_with_both_sides() -> None:
    ours = [(t, 0, t) for t in range(100)]
    theirs = [(t, 0, t + (t >= 40)) for t in range(100) if t != 20]
    tally = aligned(ours, theirs, ([7, 33], [50]), keep=2)
    first, second = tally.first
    assert (first.ours or {})["clock"] == 20
    assert first.theirs is None
    assert (second.ours, second.theirs) == (
        {"clock": 40, "key": 0, "value": 40},
        {"clock": 40, "key": 0, "value": 41},
    )
    assert second.columns == ("value",)


def test_excused_rows_are_counted_apart() -> None:
    def late(frame: pl.DataFrame) -> np.ndarray:
        return frame["clock"].to_numpy() >= 5

    ours = [(1, 0, 0), (2, 0, 0), (5, 0, 0), (6, 0, 0), (7, 0, 0)]
    theirs = [(1, 0, 0), (3, 0, 0), (5, 0, 0), (6, 0, 1), (8, 0, 0)]
    aligner = Aligner(
        ("clock", "key"),
        ("value",),
        frames(theirs, []),
        ours_excuses={"late": late},
        theirs_excuses={"late": late},
        pair_excuses={"late": late},
    )
    for frame in frames(ours, [2, 3]):
        aligner.feed(frame)
    tally = aligner.finish()
    assert (tally.equal, tally.different, tally.only_ours, tally.only_theirs) == (2, 0, 1, 1)
    assert tally.left_out == Counter(late=3)
    assert tally.uncertain == Counter(late=1)


def test_memory_stays_bounded() -> None:
    """Only rows whose counterpart may still come are kept."""
    rows = [(t, 0, 0) for t in range(10_000)]
    aligner = Aligner(("clock", "key"), ("value",), frames(rows[::2], list(range(0, 5000, 100))))
    most = 0
    for frame in frames(rows, list(range(0, 10_000, 100))):
        aligner.feed(frame)
        most = max(most, sum(len(part) for part in (aligner._a, aligner._b) if part is not None))
    assert aligner.finish().only_ours == 5000
    assert most <= 200
