"""Settings: precedence, types, and errors that name the nearest key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config import Settings, load_settings
from pipeline.errors import RequestError
from pipeline.fitting import chosen_set

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, text: str) -> Path:
    path = folder / "research.toml"
    path.write_text(text)
    return path


def test_the_examples_of_the_settings_file_work_as_they_stand(tmp_path: Path) -> None:
    """Every commented key of the shipped file, uncommented: known, of its type, in range."""
    setting = re.compile(r"# (\[\[?[a-z]\S*\]|[a-z_]+ = )")
    lines = (ROOT / "research.toml").read_text().splitlines()
    text = [line.removeprefix("# ") if setting.match(line) else line for line in lines]
    path = write(tmp_path, "\n".join(text))
    settings = load_settings(path, {})
    for section in ("raw", "lake", "run", "book", "backtest"):
        assert getattr(settings, section) == getattr(Settings(), section), section
    assert settings.features.fits == Settings().features.fits
    assert settings.features.memory == Settings().features.memory
    for name in settings.features.sets:
        assert chosen_set(settings.with_values(features={"set": name})).columns.features, name


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
        ("[book]\ndepth = 0", "book.depth is 0; choose 1 to 50"),
        ("[book]\ndepth = 51", "book.depth is 51; choose 1 to 50"),
        ("[book]\nmaterialise = 'fulll'", "book.materialise 'fulll'; did you mean 'full'"),
        ("[book]\ngrid = '0'", "book.grid is 0; write a duration"),
        ("[book]\nassume_valid_after = '1x'", "book.assume_valid_after: '1x' is not a duration"),
        ("[raw]\nprefer = 'newer'", "raw.prefer 'newer'; did you mean 'newest'"),
        ("[lake]\nlayout = 'pakced'", "lake.layout 'pakced'; did you mean 'packed'"),
        ("[lake]\npacked_above = -1", "lake.packed_above is -1; choose 0 or more"),
        ("[run]\nworkers = -1", "run.workers is -1; choose 0 or more"),
        ("[sample]\nrecords = 3", "sample.records is 3; choose 1000 or more"),
        ("[backtest]\nlatency = 'fast'", "backtest.latency: 'fast' is not a duration"),
        ("[backtest]\nlatency = ''", "backtest.latency: '' is not a duration"),
        ("[backtest]\nreadings = []", "backtest.readings is empty; choose of"),
        ("[backtest]\nreadings = ['exakt']", "backtest.readings 'exakt'; did you mean 'exact'"),
        ("[models.m]\nestimater = 'x'", '\'models."m".estimater\'.*did you mean \'models."m".est'),
        ("[models.m]\ntrain = 0", "train is 0; choose 1 to 1000"),
        ("[models.m]\ntask = 'classifier'", "task 'classifier'; did you mean 'classification'"),
        ("[models.m]\nembargo = 'x'", "embargo: 'x' is not a duration"),
        ("[backtest]\ncapital = 'inf'", "backtest.capital = 'inf' is no positive amount"),
        (
            "[instruments.'ES*']\ntick = '0.25'",
            r"unknown setting 'tick' in .*research.toml: \[instruments.\"ES\*\"\]; did you mean",
        ),
        (
            "[instruments.'ES*']\ntick_size = 'x'",
            r"\[instruments.\"ES\*\"\]: tick_size = 'x' is un",
        ),
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


def test_a_value_out_of_range_names_the_variable_it_comes_from() -> None:
    wanted = r"^environment \(MBO_BOOK__DEPTH\): book.depth is 99; choose 1 to 50$"
    with pytest.raises(RequestError, match=wanted):
        load_settings(environ={"MBO_BOOK__DEPTH": "99"})


def test_optional_durations_may_be_empty() -> None:
    environ = {"MBO_BACKTEST__RESPONSE": "", "MBO_BOOK__ASSUME_VALID_AFTER": ""}
    assert load_settings(environ=environ).backtest.response == ""


def test_the_shipped_file_is_what_its_comments_say(tmp_path: Path) -> None:
    """Every commented line of the shipped research.toml is a setting that can be switched on."""
    shipped = (Path(__file__).resolve().parents[2] / "research.toml").read_text().splitlines()
    lines = [line[2:] for line in shipped if line.startswith("# ") and _is_toml(line[2:])]
    settings = load_settings(write(tmp_path, "\n".join(lines)), {})
    assert settings.quality.max_crossed == "45m"
    assert settings.book.depth == 10


def _is_toml(line: str) -> bool:
    return line.startswith("[") or line.partition(" = ")[0].replace("_", "").isalpha()


def test_lists_and_booleans_from_the_environment() -> None:
    settings = load_settings(
        environ={"MBO_BACKTEST__READINGS": "exact, optimistic", "MBO_BACKTEST__PARTIAL": "true"}
    )
    assert settings.backtest.readings == ("exact", "optimistic")
    assert settings.backtest.partial is True


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such file"):
        load_settings(tmp_path / "none.toml", {})
