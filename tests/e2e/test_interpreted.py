"""Each built-in event strategy, and the guide's first one, runs interpreted as it runs compiled:
orders, fills and equity are the same to the byte, on the sample and on the real hour of ES.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.lake import open_lake
from strategies.running import Running
from tests.e2e.running import ROOT, mbo

QUICK = {
    "market_making": ("-p", "k=50", "-p", "keep_ahead=1", "-p", "tolerance=0"),
    "trend_following": (
        *("-p", "bar=20s", "-p", "fast=1", "-p", "slow=2", "-p", "bars=2"),
        *("-p", "momentum=0", "-p", "cover=0"),
    ),
    "hello": (),
}
"""Parameters with which they trade often."""
READINGS = ("--readings", "optimistic,exact,pessimistic")
TABLES = ("orders", "fills", "equity", "runs", "breakdowns")


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first code of the guide, as a file."""
    path = tmp_path_factory.mktemp("guide") / "hello.py"
    guide = (ROOT / "docs" / "strategies.md").read_text()
    found = re.search(r"```python\n(.*?)```", guide, re.DOTALL)
    assert found
    path.write_text(found[1])
    return path


@pytest.fixture(scope="module")
def own_lake(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("interpreted") / "lake"
    shutil.copytree(feature_lake, lake)
    return lake


@pytest.fixture(scope="module")
def own_es_lake(es_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("interpreted-es") / "lake"
    shutil.copytree(es_lake, lake)
    return lake


def both_ways(
    lake: Path, name: str, hello: Path, monkeypatch: pytest.MonkeyPatch, *more: str
) -> dict[str, int]:
    """Files of a run, the same compiled and interpreted; its fills by reading."""
    interpreted: list[str] = []
    entry = Running.interpreted

    def spy(self: Running) -> Any:
        interpreted.append(name)
        return entry(self)

    monkeypatch.setattr(Running, "interpreted", spy)
    strategy = f"{hello}:Hello" if name == "hello" else name
    arguments = (*QUICK[name], *more, "--lake", lake, "--workers", "1", "--fees", "0.5")
    before = set(open_lake(lake).run_ids())
    results = []
    for how in ((), ("--interpret",)):
        assert not interpreted
        mbo("backtest", strategy, *arguments, *how).checked()
        (run_id,) = set(open_lake(lake).run_ids()) - before
        results.append({
            path: path.read_bytes()
            for table in TABLES
            for path in sorted((lake / table / f"run_id={run_id}").rglob("*.parquet"))
        })  # fmt: skip
    assert interpreted
    assert {path.relative_to(lake).parts[0] for path in results[0]} == set(TABLES)
    assert results[0] == results[1]
    run = open_lake(lake).run(run_id)
    assert run.orders.collect().height > 0
    return dict(run.fills.collect().group_by("reading").len().iter_rows())


@pytest.fixture(scope="module")
def evening_lake(sample_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's first two hours: its Sunday evening."""
    folder = tmp_path_factory.mktemp("evening")
    shutil.copytree(sample_raw, folder / "raw")
    for path in (folder / "raw").rglob("*.dbn.zst"):
        if "20250601" not in path.name or ".mbp-" in path.name:
            path.unlink()
    for path in (folder / "raw").rglob("manifest.json"):
        path.unlink()
    mbo("ingest", folder / "raw", "--lake", folder / "lake", "--workers", "1").checked()
    mbo("features", "--lake", folder / "lake", "--workers", "1").checked()
    return folder / "lake"


@pytest.mark.parametrize("name", QUICK)
def test_an_evening_of_the_sample(
    name: str, evening_lake: Path, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exact reading; the slow tests have all three."""
    some = ("--symbols", "SIMM5", "--partial")
    assert both_ways(evening_lake, name, hello, monkeypatch, *some)["exact"] > 2


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_whole_sample(
    name: str, own_lake: Path, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert both_ways(own_lake, name, hello, monkeypatch, *READINGS)["exact"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_real_hour(
    name: str, own_es_lake: Path, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = ("--symbols", "ESH4", "--partial", *READINGS)
    fills = both_ways(own_es_lake, name, hello, monkeypatch, *some)
    # The market of that hour never comes back to hello's one bid of the first minute.
    assert fills.get("exact", 0) > 2 or name == "hello"
