"""A user's own features through the commands: listed, described, checked, computed, recomputed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from features.registry import FEATURES
from pipeline import open_lake
from tests.e2e.running import mbo

OWN = '''"""Features of my own."""

import polars as pl

from features.columns import mid_ticks
from features.registry import Windows, feature
from features.windows import value_at


@feature(
    "my_return_{window}",
    unit="ticks",
    source="me",
    params={"window": Windows(("2s", "20s"))},
    mirror="odd",
)
def my_return(window: str) -> pl.Expr:
    """Mid less the mid a window ago, FACTOR times."""
    return FACTOR * (mid_ticks() - value_at(mid_ticks(), window))


@feature("my_foresight", unit="ticks", source="me")
def my_foresight() -> pl.Expr:
    """The next row's mid."""
    return mid_ticks().shift(-1) - mid_ticks()
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a user's file and a research.toml that names it."""
    (tmp_path / "mine.py").write_text(OWN.replace("FACTOR", "1"))
    (tmp_path / "research.toml").write_text(
        '[features]\nfiles = ["mine.py"]\nset = "mine"\n'
        '[features.sets.mine]\nclock = "grid:10s"\nfeatures = ["mid", "my_return"]\n'
    )
    yield tmp_path
    FEATURES.forget(str((tmp_path / "mine.py").resolve()))


@pytest.mark.usefixtures("own")
def test_a_users_features_are_listed_and_described() -> None:
    names = {row["name"] for row in json.loads(mbo("list", "features", "--json").checked().out)}
    assert {"my_return_{window}", "ofi_{window}"} <= names
    text = mbo("describe", "my_return_20s").checked().out
    assert "Mid less the mid a window ago" in text
    assert "mine.py" in text


@pytest.mark.usefixtures("own")
def test_a_users_sound_features_pass_and_foresight_is_caught(feature_lake: Path) -> None:
    lake = ("--lake", feature_lake)
    assert "all 3 passed" in mbo("check", *lake).checked().out
    caught = mbo("check", "my_return", "my_foresight", "--rows", "2000", *lake)
    assert caught.code == 3
    assert "my_foresight at event" in caught.out
    assert "1 of 3 failed" in caught.out
    report = json.loads(mbo("check", "my_foresight", "--json", *lake).out)[0]
    assert report["passed"] is False
    assert report["findings"][0]["causal"] is False


def test_what_has_no_value_is_not_said_to_be_causal(feature_lake: Path) -> None:
    """A window longer than the rows passes, and the check says that this shows nothing."""
    arguments = ("check", "mid", "volatility_percentile", "--rows", "500", "--lake", feature_lake)
    out = mbo(*arguments).checked().out
    (line,) = [line for line in out.splitlines() if line.startswith("volatility_percentile ")]
    assert "no values" in line
    assert "all 2 passed" in out
    assert "; 1 without a value in these rows" in out
    report = json.loads(mbo(*arguments, "--json").checked().out)[0]
    assert [one["causal"] for one in report["findings"]] == [True, None]


def test_labels_fail_by_design(feature_lake: Path) -> None:
    caught = mbo("check", "y_return_1s", "mid", "--rows", "2000", "--lake", feature_lake)
    assert caught.code == 3
    assert "a label looks ahead by design: y_return_1s" in caught.out
    assert "1 of 2 failed" in caught.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ofi_10",), "did you mean 'ofi_n10'"),
        (("mid", "--all"), "not both"),
        (("mid", "--symbols", "NONE"), "no session with rows is selected"),
    ],
)
def test_wrong_requests(feature_lake: Path, arguments: tuple[str, ...], message: str) -> None:
    result = mbo("check", *arguments, "--lake", feature_lake)
    assert result.code == 2
    assert message in result.err


def test_a_changed_file_is_computed_again(own: Path, feature_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(feature_lake, lake)
    command = ("features", "--lake", lake, "--workers", "1")

    def values() -> pl.DataFrame:
        frame = open_lake(lake).scan("features", set="mine").collect()
        return frame.sort("symbol", "ts").select("my_return_2s", "my_return_20s")

    mbo(*command).checked()
    first = values()
    assert first["my_return_20s"].drop_nulls().abs().sum() > 0
    assert "up to date" in mbo(*command).checked().err + mbo(*command).checked().out
    (own / "mine.py").write_text(OWN.replace("FACTOR", "-3"))
    mbo(*command).checked()
    assert values().equals(first * -3)
