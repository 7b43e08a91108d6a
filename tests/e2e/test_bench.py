"""``mbo bench``: measures what it is asked to, and says what it can measure."""

from __future__ import annotations

import json

import pytest

from benchmarks.feature_list import TIER1
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


@pytest.mark.slow
@pytest.mark.parametrize("what", ["ingest", "book", "features", "backtest", "stages"])
def test_every_figure_is_measured(what: str) -> None:
    done = mbo_process("bench", what, "--records", "100000", "--json")
    assert done.returncode == 0, done.stderr
    for report in json.loads(done.stdout):
        floor, *others = report["figures"]
        assert floor["x_floor"] == 1
        assert others
        assert all(figure["records_per_s"] > 0 for figure in others)
