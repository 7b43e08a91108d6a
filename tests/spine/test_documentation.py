"""Generated pages say what the declarations say; the rest of the project's papers agree, too."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from features.checks import check_columns, record
from features.registry import FEATURES
from features.sets import feature_set, load_user_features
from pipeline import __version__
from pipeline.backtest.fees import FeeRule
from pipeline.config import load_settings
from pipeline.documentation import PAGES
from tests.features.worlds import make_world

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_up_to_date(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    assert page == PAGES[name](), "run `python -m pipeline.documentation`"


def test_the_guides_example_is_a_feature(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "writing-features.md").read_text(encoding="utf-8")
    own, sets = (tmp_path / name for name in ("my_features.py", "research.toml"))
    own.write_text(text.split("```python\n")[1].split("```")[0])
    sets.write_text(text.split("```toml\n")[1].split("```")[0])
    try:
        load_user_features(own)
        chosen = feature_set("mine", tomllib.loads(sets.read_text())["features"]["sets"])
        names = [column.name for column in chosen.features]
        assert {"pressure_5s", "pressure_n50", "pressure_5s__z_60s"} <= set(names)
        recording = record(make_world(2, 300), chosen.features, 200)
        assert all(finding.passed for finding in check_columns(recording, chosen.features))
    finally:
        FEATURES.forget(str(own.resolve()))


def test_the_changelog_knows_the_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_lock_file_holds_names_and_versions_only() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!+-]+", line) for line in lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9_.-]+", requirement)
        assert name is not None
        assert name[0].lower() in locked, requirement


def test_every_commented_setting_of_the_example_is_a_real_one(tmp_path: Path) -> None:
    """Uncomment everything in research.toml: it must load."""
    text = (ROOT / "research.toml").read_text()
    lines = [re.sub(r"^# (?=\[|[a-z_]+ = )", "", line) for line in text.splitlines()]
    path = tmp_path / "research.toml"
    path.write_text("\n".join(lines))
    assert {"raw", "book", "features", "backtest"} <= set(tomllib.loads(path.read_text()))
    settings = load_settings(path, {})
    assert {rule["product"] for rule in settings.fees["broker"]} >= {"ES", "MES", "NQ", "CL"}
    for number, rule in enumerate(settings.fees["broker"]):
        FeeRule.parse(rule, f"fees.broker {number}")


def test_the_shipped_settings_load() -> None:
    assert load_settings(ROOT / "research.toml", {}).book.depth == 10


def test_links_in_the_papers_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
