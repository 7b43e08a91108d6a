"""``mbo bench``: measures what it is asked to, and says what it can measure."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import pages
from benchmarks.feature_list import TIER1
from benchmarks.figures import Figure, Report, Table
from benchmarks.pages import PAGES, written
from benchmarks.profiled_run import COMMON, PARTS, Spans, resolve
from benchmarks.projection import Stage, projection, span_text
from benchmarks.scaling import efficiency
from features.registry import FEATURES
from tests.e2e.running import mbo, mbo_process


def test_an_unknown_benchmark_is_a_wrong_request() -> None:
    done = mbo("bench", "boook")
    assert done.code == 2
    assert "book" in done.err


def test_efficiency_is_what_the_machine_does_not_explain() -> None:
    perfect = (10.0, 5.0)
    assert efficiency(perfect, (4.0, 4.0)) == 1
    # Two loops side by side take a quarter longer than one: 0.8 is all that can be had.
    assert efficiency((10.0, 6.25), (4.0, 5.0)) == pytest.approx(1)
    assert efficiency((10.0, 10.0), (4.0, 4.0)) == 0.5


def test_the_list_of_features_is_fixed_and_all_of_them_exist() -> None:
    assert len(TIER1) == len(set(TIER1)) == 656
    assert [column.name for column in FEATURES.resolve(TIER1)] == list(TIER1)


def test_every_part_that_is_timed_is_there() -> None:
    for stage, parts in PARTS.items():
        for places in (COMMON | parts).values():
            for place in places:
                holder, name = resolve(place)
                assert callable(getattr(holder, name)), (stage, place)


def test_parts_within_parts_count_once() -> None:
    spans = Spans()

    def inner() -> None:
        time.sleep(0.02)

    def items() -> Iterator[int]:
        time.sleep(0.01)
        yield 1
        timed_inner()

    timed_inner = spans.timed("inner", inner)
    timed_items = spans.timed("items", items)
    for _ in timed_items():
        time.sleep(0.05)
    assert 0.02 <= spans.seconds["inner"] < 0.04
    assert 0.01 <= spans.seconds["items"] < 0.03


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "1.5 min"), (7200, "2.0 h"), (200_000, "2.3 d")],
)
def test_spans_of_time_read_well(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


def test_a_projection_counts_start_days_and_records() -> None:
    stage = Stage("book", 2.0, 0.5, 1e-6, 512.0)
    assert stage.seconds(1_000_000, 10, 1) == pytest.approx(2 + 5 + 1)
    assert stage.seconds(1_000_000, 10, 16) == pytest.approx(2 + (5 + 1) / (16 * 0.85))
    table = projection([stage, stage], 2, 120.0)
    names = ["book", "book", "in all", "disk of the lake", "memory, at most"]
    assert [row[0] for row in table.rows] == names
    month = [row[1] for row in table.rows]
    assert month == ["2.7 min", "2.7 min", "5.5 min", "32 GB", "1.0 GiB"]


def test_a_profile_is_asked_for_by_stage() -> None:
    done = mbo("bench", "scale", "--profile")
    assert done.code == 2
    assert "scale" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--profile", "ingest"], ["--profile"]])
def test_profiles_and_files(arguments: list[str], tmp_path: Path) -> None:
    done = mbo_process("bench", *arguments, "--records", "100000", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    reports = json.loads((tmp_path / "bench.json").read_text())
    assert len(reports) == (1 if len(arguments) > 1 else 4)
    assert (tmp_path / "bench.md").read_text().strip() == done.stdout.strip()
    for report in reports:
        assert report["rows"][-1][0] == "the command"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["scale", "rehearsal"])
def test_a_day_of_many_instruments(what: str) -> None:
    done = mbo_process("bench", what, "--records", "100000", "--json")
    assert done.returncode == 0, done.stderr
    *_, table = json.loads(done.stdout)
    assert len(table["rows"]) >= 4
    assert all(len(row) == len(table["header"]) for row in table["rows"])


@pytest.mark.slow
@pytest.mark.parametrize("what", ["ingest", "book", "features", "backtest", "stages", "train"])
def test_every_figure_is_measured(what: str) -> None:
    done = mbo_process("bench", what, "--records", "100000", "--json")
    assert done.returncode == 0, done.stderr
    for report in json.loads(done.stdout):
        floor, *others = report["figures"]
        assert floor["x_floor"] == 1
        assert others
        assert all(figure["records_per_s"] > 0 for figure in others)


def test_figures_of_the_pages_are_the_kept_ones() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text == written(text), f"{page.name}: run `python -m benchmarks.pages`"


def test_reports_survive_being_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "RESULTS", tmp_path / "results.json")
    report = Report("some work", kind="book")
    report.add(Figure("the floor", 1_000_000, 0.1))
    report.add(Figure("ours", 1_000_000, 0.2, cpu_seconds=0.2, peak_mib=100.0, note="a note"))
    table = Table("a table", ["a", "b"], [["1", "2"]], "below", kind="scale")
    pages.keep([report.as_dict(), table.as_dict()])
    pages.keep([table.as_dict()])
    text = (
        "<!-- bench: book 0 -->\n<!-- end -->\nbetween\n<!-- bench: scale 0 -->\nold\n<!-- end -->"
    )
    expected = text.replace("-->\n<!-- end -->\nb", f"-->\n{report.text()}\n<!-- end -->\nb")
    assert written(text) == expected.replace("old", table.text())
    assert written(written(text)) == written(text)
