"""Every command and every piece of code in the guides does what it says, on the sample market.

Where a page names a reader's folder, symbol or run, the test puts its own: :data:`WORDS`.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline import open_lake
from pipeline.roots import ROOT
from tests.e2e.pages import DOCS, Step, steps, translated
from tests.e2e.running import mbo

WORDS = {
    r"~/downloads/GLBX-[\w-]+": "downloads",
    r"\bMESM5\b": "SIMM5",
    r"'MES\*'": "'SIM*'",
    r"'ES\*'": "'SIM*'",
    r"\bMES\.v\.0": "SIM.v.0",
    r"'2025-05-01 13:30:00\.25'": "'2025-06-03 15:00:00.25'",
    r"\b2025-05-01\b": "2025-06-03",
    r"\bGLBX\.MDP3\b": "SIM.MDP3",
    r" my_feature\b": " mid",
    r"explain 72\b": "explain 0 --symbols SIMM5",
    r" --open\b": "",
    r"--fill 148\b": "--fill 0",
    r"train=10,test=5,step=5 --purge 1": "train=1,test=1,step=1",
}
"""What the pages' examples are called here."""
OTHERS = {
    "download.md": "tests/download, against a server",
    "explain.md": "tests/e2e/test_explain.py, its story to the letter",
    "features-fits.md": "tests/features/test_fits_stage.py",
    "writing-features.md": "tests/spine/test_documentation.py",
}
"""Pages that tests of their own run."""
WHOLE = ("models.md",)
"""Pages whose blocks of code and settings belong to their commands."""
MADE_UP = {
    "contracts.md": "symbols and rolls the sample has not",
    "peers.md": "instruments the sample has not",
}
"""Pages whose examples need other markets than the sample; their tests make such."""


@pytest.fixture
def project(sample_raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, with the reader's download beside it."""
    shutil.copytree(sample_raw, tmp_path / "downloads")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def worked(feature_lake: Path, project: Path) -> Path:
    """A project whose lake holds features and two runs."""
    shutil.copytree(feature_lake, project / "data" / "lake")
    shutil.copytree(project / "downloads", project / "data" / "raw" / "batch")
    for strategy in ("mean_reversion", "market_making"):
        mbo("backtest", strategy, "--readings", "optimistic,exact,pessimistic").checked()
    mbo("sweep", "mean_reversion", "-p", "entry_z=2,3", "--symbols", "SIMM5").checked()
    Path("my.sql").write_text("SELECT count(*) FROM trades")
    return project


def numbers() -> dict[str, str]:
    """Runs, sweeps and events of the pages, and those that are here."""
    lake = open_lake("data/lake")
    one, other = (run_id[:8] for run_id in lake.run_ids()[:2])
    [sweep] = lake.sweep_ids()
    book = lake.scan("book", symbols="SIMM5", start="2025-06-03").select("event").collect()
    return {
        r"\b(b3f8|2dc5)\b": one,
        r"\bcb01\b": other,
        r"\b(de24|460172b59be4662f)\b": sweep,
        r"\b202505010000123456\b": str(book["event"][1000]),
    }


def model_numbers() -> dict[str, str]:
    """The model of the pages, once it is there."""
    lake = open_lake("data/lake")
    ids = lake.model_ids() if "predictions" in lake.tables() else []
    linear = [one for one in ids if one.startswith("linear-")]
    return {r"\blinear-f7ce5eb9\b": linear[0]} if linear else {}


def take(step: Step, page: Path, own: Mapping[str, str] | None = None) -> None:
    """Do what the page says; fail as the reader would see it fail."""
    text = translated(step.text, WORDS | dict(own or {}))
    where = f"{page.name}:{step.line}"
    if step.kind == "toml":
        Path("research.toml").write_text(text)
    elif step.kind == "python":
        exec(compile(text, where, "exec"), {"__name__": where})
    else:
        done = mbo(*Step(step.line, step.kind, text).arguments)
        assert done.code == 0, f"{where}: {text}\n{done.out[-2000:]}\n{done.err[-2000:]}"


def test_the_quick_start_from_its_first_line_to_its_last(project: Path) -> None:
    page = DOCS / "quickstart.md"
    done = steps(page)
    assert len(done) >= 14
    for step in done:
        take(step, page)
    lake = open_lake("data/lake")
    assert len(lake.run_ids()) == 2
    assert list((project / "data" / "reports").glob("*.html"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", *sorted(p.name for p in DOCS.glob("*.md"))])
def test_every_command_of_a_page(name: str, worked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / name if name == "README.md" else DOCS / name
    if name in OTHERS or name in MADE_UP:
        return
    (worked / "hello.py").write_text(
        next(s.text for s in steps(ROOT / "README.md") if s.kind == "python")
    )
    own = numbers()
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 1"))  # of a bare `mbo sql`
    for step in steps(page):
        # The self-check has a test of its own, and brings its own market.
        if (step.kind == "command" or name in WHOLE) and "verify --sample" not in step.text:
            take(step, page, own | model_numbers())


def test_the_pages_that_are_left_out_are_there() -> None:
    for name in (*OTHERS, *MADE_UP):
        assert steps(DOCS / name), name
