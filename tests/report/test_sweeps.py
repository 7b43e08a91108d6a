"""A sweep on a page: its heat map, and which of its runs are compared."""

from __future__ import annotations

import pytest

from pipeline.lake import open_lake
from pipeline.report.choose import choose
from pipeline.report.page import Options, page_of
from pipeline.report.sweeps import heat_table
from pipeline.stage import Selection
from pipeline.sweep.metrics import ranking
from pipeline.sweep.windows import WalkForward
from tests.report.parsed import Page
from tests.sweep.making import Lake, request


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return Lake(tmp_path_factory.mktemp("lake")).seed(4)


@pytest.fixture(scope="module")
def swept(lake):
    outcome = lake.sweep(request("entry_z=2,3", "exit_z=0.5,1,1.5"))
    return open_lake(lake.root).sweep(outcome.sweep_id)


def test_its_best_runs_are_compared(swept):
    choice = choose(swept.lake, [swept.sweep_id[:9]], Selection())
    rows = swept.rows
    best = [rows["run_id"][i] for i in ranking(rows["value"].to_list(), "net")]
    assert [run.run_id for run in choice.runs] == list(dict.fromkeys(best[:8]))
    assert choice.default_path.name == f"{swept.sweep_id}.html"
    made = Page(page_of(choice, Options(depths=0)))
    assert 'id="sweep"' in made.text
    assert "What luck explains needs 20 sessions; there are 4." in made.content
    assert len(made.data["runs"]) == len(choice.runs)


def test_the_heat_map_has_the_value_of_every_trial(swept):
    made = Page(f"<div>{heat_table(swept, 'exit_z', 'entry_z')}</div>")
    cells = [word for word in made.words if word.strip()]
    values = swept.trials.sort("entry_z", "exit_z")["value"].to_list()
    assert cells[1:5] == ["entry_z \\ exit_z", "0.5", "1", "1.5"]
    shown = [float(text.replace("\u2212", "-").replace(",", "")) for text in cells[5:]]
    assert [value for i, value in enumerate(shown) if i % 4] == pytest.approx(values, abs=0.51)
    strongest = "--strength:1.00"
    assert made.text.count(f'heat-cell gain" style="{strongest}') == values.count(max(values))
    assert made.text.count(f'heat-cell loss" style="{strongest}') == values.count(min(values))


def test_of_a_walk_forward_the_tests_are_compared(lake):
    walk = WalkForward(train=2, test=1, step=1, purge=0)
    outcome = lake.sweep(request("entry_z=1,2", walk=walk))
    sweep = open_lake(lake.root).sweep(outcome.sweep_id)
    choice = choose(sweep.lake, [sweep.sweep_id], Selection())
    tests = set(sweep.rows.filter(sweep.rows["role"] == "test")["run_id"])
    assert {run.run_id for run in choice.runs} == tests
    made = Page(page_of(choice, Options(depths=0)))
    assert "Out of sample: 2 sessions" in made.content


def test_of_latencies_the_decay_is_shown(lake):
    outcome = lake.sweep(request(latency="0,1s"))
    sweep = open_lake(lake.root).sweep(outcome.sweep_id)
    made = Page(page_of(choose(sweep.lake, [sweep.sweep_id], Selection()), Options(depths=0)))
    assert "latency 0 1s" in made.content
