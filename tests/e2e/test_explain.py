"""The guide's example of `mbo explain` is what the command says."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from pipeline.backtest.explain import explain, find
from pipeline.lake import open_lake
from pipeline.roots import ROOT
from pipeline.stage import Selection
from tests.e2e.running import mbo


@pytest.mark.slow
def test_example_of_the_guide_is_what_the_command_says(tmp_path: Path) -> None:
    lake = ("--lake", tmp_path / "lake", "--quiet", "--workers", "1")
    mbo(
        "sample", "--out", tmp_path / "raw", "--days", "2", "--records", "30000", "--quiet"
    ).checked()
    mbo("ingest", tmp_path / "raw", *lake).checked()
    mbo("features", *lake).checked()
    mbo("backtest", "mean_reversion", "-p", "entry_z=1", "-p", "cover=0", *lake).checked()

    said = mbo("explain", "72", "--symbols", "SIMM5", "--lake", tmp_path / "lake").checked().out

    page = (ROOT / "docs" / "explain.md").read_text()
    example = page.partition("```text\n")[2].partition("```")[0]
    assert _without_run(said) == _without_run(example)

    opened = open_lake(tmp_path / "lake")
    run_id = opened.run_ids()[0]
    fills = opened.run(run_id).fills.filter(pl.col("symbol") == "SIMM5").collect()
    only = Selection(None, "SIMM5").admits
    shrunk = 0
    for fill in fills.filter(pl.col("role") == "maker")["fill"].to_list():
        story = explain(opened, find(opened, run_id, None, fill=fill, admits=only))
        assert story.disagreements == []
        assert story.fill is not None
        last = [step for step in story.steps if step.what == "joined"][-1]
        assert last.ahead is not None
        assert last.ahead - story.shrinks == story.fill["ahead"]
        shrunk += story.shrinks
    assert shrunk > 100


def _without_run(text: str) -> str:
    """The id of a run changes with every strategy file."""
    return re.sub(r"run [0-9a-f]{16}", "run", text)
