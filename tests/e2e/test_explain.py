"""The guide's example of `mbo explain` is what the command says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.roots import ROOT
from tests.e2e.running import mbo


@pytest.mark.slow
def test_example_of_the_guide_is_what_the_command_says(tmp_path: Path) -> None:
    lake = ("--lake", tmp_path / "lake", "--quiet", "--workers", "1")
    mbo(
        "sample", "--out", tmp_path / "raw", "--days", "2", "--records", "30000", "--quiet"
    ).checked()
    mbo("ingest", tmp_path / "raw", *lake).checked()
    mbo("features", *lake).checked()
    mbo("backtest", "mean_reversion", "-p", "entry_z=1", *lake).checked()

    said = mbo("explain", "72", "--symbols", "SIMM5", "--lake", tmp_path / "lake").checked().out

    page = (ROOT / "docs" / "explain.md").read_text()
    example = page.partition("```text\n")[2].partition("```")[0]
    assert _without_run(said) == _without_run(example)


def _without_run(text: str) -> str:
    """The id of a run changes with every strategy file."""
    return re.sub(r"run [0-9a-f]{16}", "run", text)
