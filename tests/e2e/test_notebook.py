"""The notebook, run as a script: from a folder of files to charts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.roots import ROOT
from tests.e2e.running import process_environment

RUN = """
import json, runpy, sys
app = runpy.run_path("docs/notebook.py", run_name="notebook")["app"]
_, found = app.run()
charts = {name: found[name].to_dict() for name in found if name.endswith("_chart")}
rows = {name: found[name].height for name in ("days", "touch", "deciles", "equity", "result")}
print(json.dumps({"rows": rows, "charts": charts, "simulated": found["simulated"]}))
"""


@pytest.mark.parametrize("given", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_every_cell_runs_and_every_chart_has_data(given: bool, sample_raw: Path) -> None:
    pytest.importorskip("marimo", reason="the extra `notebook` is not installed")
    arguments = [str(sample_raw)] if given else []
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=ROOT, env=process_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["simulated"] is not given
    assert found["rows"]["deciles"] == 10
    assert found["rows"]["result"] == 3
    assert min(found["rows"].values()) > 0
    assert sorted(found["charts"]) == ["decile_chart", "equity_chart", "price_chart"]
    for chart in found["charts"].values():
        [data] = chart["datasets"].values()
        assert len(data) >= 10
        assert {field["field"] for field in chart["encoding"].values()} <= data[0].keys()
