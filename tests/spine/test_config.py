"""Settings: precedence, types, and errors that name the nearest key."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load_settings
from pipeline.errors import RequestError


def write(folder: Path, text: str) -> Path:
    path = folder / "research.toml"
    path.write_text(text)
    return path


def test_environment_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    path = write(tmp_path, '[book]\ndepth = 5\nmaterialise = "touch"\n')
    settings = load_settings(path, {"MBO_BOOK__DEPTH": "7"})
    assert settings.book.depth == 7
    assert settings.book.materialise == "touch"
    assert settings.backtest.latency == "1ms"


def test_flags_win_over_everything_and_none_is_no_flag() -> None:
    settings = load_settings(environ={"MBO_RUN__WORKERS": "3"})
    assert settings.with_values(run={"workers": 2}).run.workers == 2
    assert settings.with_values(run={"workers": None}).run.workers == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[book]\ndepht = 5", "unknown setting 'book.depht'.*did you mean 'book.depth'"),
        ("[boook]\ndepth = 5", "unknown setting 'boook'.*did you mean 'book'"),
        ("[book]\ndepth = 'ten'", "book.depth = 'ten' is not a whole number"),
        ("[book]\ndepth = true", "is not a whole number"),
        ("book = 3", r"must be a table \[book\]"),
        ("[raw]\npaths = [1]", "is not a list of texts"),
        ("[book", "no valid TOML"),
    ],
)
def test_wrong_settings_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        load_settings(write(tmp_path, text), {})
    assert "\n" not in str(caught.value)
    assert "research.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MBO_BOOK__DEPHT", "5", "in the environment; did you mean 'book.depth'"),
        ("MBO_DEPTH", "5", "write MBO_<SECTION>__<KEY>"),
        ("MBO_BOOK__DEPTH", "ten", r"environment \(MBO_BOOK__DEPTH\): book.depth = 'ten'"),
    ],
)
def test_wrong_environment_is_one_clear_line(name: str, value: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        load_settings(environ={name: value})


def test_lists_and_booleans_from_the_environment() -> None:
    settings = load_settings(
        environ={"MBO_BACKTEST__READINGS": "exact, optimistic", "MBO_BACKTEST__PARTIAL": "true"}
    )
    assert settings.backtest.readings == ("exact", "optimistic")
    assert settings.backtest.partial is True


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such file"):
        load_settings(tmp_path / "none.toml", {})
