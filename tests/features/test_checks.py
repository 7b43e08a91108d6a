"""The checks behind `mbo check` find what is planted, and pass what is sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest

from features.checks import Finding, Recording, check_columns, measure_cost, record
from features.columns import mid_ticks, px, size
from features.registry import FEATURES, LABELS, Column, Family, feature
from features.source import Publication
from features.windows import ahead, window_sum
from pipeline.errors import RequestError
from pipeline.session_inputs import check_reads
from pipeline.units import NS_PER_S
from tests.features.worlds import make_world

SOUND = (
    "mid",
    "ofi_10s",
    "ofi_n10",
    "zscore_10s",
    "since_trade",
    "cvd",
    "ofi_1s__z_10s",
    "rv_1s_60s",
)


@pytest.fixture
def declare() -> Iterator[Callable[..., Column]]:
    """Declares a feature for the length of a test."""
    names: list[str] = []

    def make(function: Callable[[], pl.Expr], **about: object) -> Column:
        name = function.__name__
        feature(name, source="a test", **about)(function)  # type: ignore[arg-type]
        names.append(name)
        return FEATURES.resolve(name)[0]

    yield make
    for name in names:
        FEATURES._families.pop(name)


def recording(*columns: Column, rows: int = 300) -> Recording:
    return record(make_world(2, 400), columns, rows)


def find(column: Column) -> Finding:
    (finding,) = check_columns(recording(column), [column])
    return finding


def test_sound_features_pass_at_every_kind_of_clock() -> None:
    columns = FEATURES.resolve(SOUND)
    for clock in ("event", "grid:1s", "volume:20"):
        rows = record(make_world(2, 400), columns, 300, clock)
        findings = check_columns(rows, columns, clock)
        assert [f.column.name for f in findings] == list(SOUND)
        assert all(f.passed for f in findings), [f.problems for f in findings]
        assert all(f.null_share is not None and f.null_share < 1 for f in findings)


def test_labels_fail() -> None:
    for label in LABELS.resolve(["y_return_1s", "y_return_n10"]):
        finding = find(label)
        assert not finding.causal, label.name


def test_the_next_row_is_the_future(declare: Callable[..., Column]) -> None:
    def peeks() -> pl.Expr:
        """The next row's size."""
        return size("bid").shift(-1)

    assert "with the rows after it" in find(declare(peeks)).problems[0]


def test_a_mean_of_all_there_is_knows_the_future(declare: Callable[..., Column]) -> None:
    def demeaned() -> pl.Expr:
        """Mid less the mean of all mids."""
        return mid_ticks() - mid_ticks().mean()

    assert not find(declare(demeaned)).causal


def test_later_rows_of_a_tie_are_the_future(declare: Callable[..., Column]) -> None:
    def tied() -> pl.Expr:
        """What happens in all rows of the same instant."""
        return pl.col("trade_sz").sum().over("ts")

    assert not find(declare(tied)).causal


def test_history_that_does_not_go_through_the_windows_is_cut_by_chunks(
    declare: Callable[..., Column],
) -> None:
    def lagged() -> pl.Expr:
        """The row before, in the chunk."""
        return size("bid").shift(1)

    assert "cut into chunks" in find(declare(lagged)).problems[0]


def test_looking_ahead_openly_is_refused(declare: Callable[..., Column]) -> None:
    def forward() -> pl.Expr:
        """The mid of the future."""
        return ahead(mid_ticks(), "1s")

    assert "only labels may" in find(declare(forward)).problems[0]


def test_values_outside_the_declared_range(declare: Callable[..., Column]) -> None:
    def outside() -> pl.Expr:
        """A size said to be a share."""
        return size("bid")

    finding = find(declare(outside, range=(0, 1)))
    assert finding.causal
    assert "declared is 0 to 1" in finding.problems[0]


def test_one_that_fails_does_not_hide_the_others(declare: Callable[..., Column]) -> None:
    def wrong() -> pl.Expr:
        """Adds a number to a text."""
        return window_sum(px("bid"), "1s").str.len_chars()

    columns = [*FEATURES.resolve(["mid", "ofi_10s"]), declare(wrong)]
    findings = check_columns(recording(*columns), columns)
    assert [f.passed for f in findings] == [True, True, False]
    assert "\n" not in findings[2].problems[0]


def test_a_column_that_does_not_exist_is_named(declare: Callable[..., Column]) -> None:
    def lost() -> pl.Expr:
        """Reads what is not there."""
        return pl.col("bid_l1_ad_sz")

    with pytest.raises(RequestError, match="did you mean 'bid_l1_add_sz'"):
        check_reads(declare(lost))


@pytest.mark.parametrize(
    ("function", "message"),
    [(lambda: None, "returns NoneType, not a polars"), (lambda: 1 / 0, "ZeroDivisionError")],
)
def test_a_function_that_fails_is_one_clear_line(
    function: Callable[[], pl.Expr], message: str
) -> None:
    family = Family("x", function, "feature", "user", "", "", "", 1, pl.Float32(), origin="me.py")
    with pytest.raises(RequestError, match=rf"me.py: feature 'x'.*{message}"):
        _ = Column("x", family, {}).expr


def test_nulls_and_the_first_value() -> None:
    (finding,) = check_columns(recording(*FEATURES.resolve("ofi_10s")), FEATURES.resolve("ofi_10s"))
    assert finding.first_value_s is not None
    assert finding.first_value_s >= 10
    assert 0 < (finding.null_share or 0) < 1


def test_cost_is_measured() -> None:
    columns = FEATURES.resolve(["mid", "ofi_10s"])
    rows = recording(*columns)
    findings = check_columns(rows, columns)
    measure_cost(rows, findings)
    assert all(f.ns_per_value is not None and f.ns_per_value >= 0 for f in findings)


def test_a_recording_starts_at_the_open_and_is_no_longer_than_asked() -> None:
    world = make_world(2, 400)
    rows = record(world, FEATURES.resolve("mid"), 50)
    assert rows.frame.height == 50
    assert rows.frame["ts_recv"].cast(pl.Int64)[0] >= world.context.segments[0][0]


def test_cuts_fall_inside_ties() -> None:
    rows = recording(*FEATURES.resolve("mid"))
    times = rows.frame["ts_recv"].to_list()
    assert sum(times[cut - 1] == times[cut] for cut in rows.cuts(10, 3)) >= 5


def test_a_settlement_known_before_it_was_published_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = FEATURES.resolve(["prior_settle_dist"])
    world = make_world(5, 400)
    assert all(finding.passed for finding in check_columns(record(world, columns, 400), columns))
    known = Publication.known

    def early(self: Publication, ts: Any) -> pl.Series:
        return known(self, ts + 60 * NS_PER_S)

    monkeypatch.setattr(Publication, "known", early)
    [finding] = check_columns(record(world, columns, 400), columns)
    assert not finding.causal
