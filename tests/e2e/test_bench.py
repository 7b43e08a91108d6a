"""``mbo bench``: measures what it is asked to, and says what it can measure."""

from __future__ import annotations

import json

import pytest

from tests.e2e.running import mbo, mbo_process


def test_an_unknown_benchmark_is_a_wrong_request() -> None:
    done = mbo("bench", "boook")
    assert done.code == 2
    assert "book" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("what", ["ingest", "book", "stages"])
def test_every_figure_is_measured(what: str) -> None:
    done = mbo_process("bench", what, "--records", "100000", "--json")
    assert done.returncode == 0, done.stderr
    for report in json.loads(done.stdout):
        floor, *others = report["figures"]
        assert floor["x_floor"] == 1
        assert others
        assert all(figure["records_per_s"] > 0 for figure in others)
