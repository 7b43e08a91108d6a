"""Names, tags, sets, files of the user's own, and their errors."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from features.engine import compute
from features.nodes import window
from features.registry import BUILT_IN, FEATURES, LABELS, Registry, Windows, feature
from features.sets import feature_set, load_user_features
from features.windows import ahead
from pipeline.errors import RequestError
from tests.features.worlds import make_world


def test_every_column_name_means_exactly_one_family() -> None:
    for registry in (FEATURES, LABELS):
        names = registry.names()
        assert len(names) == len(set(names))
        for name in names:
            assert sum(f.match(name) is not None for f in registry.families()) == 1, name


def test_the_decorated_function_stays_a_function() -> None:
    from features.prices import mid

    assert isinstance(mid(), pl.Expr)


def test_the_order_of_imports_is_not_the_order_of_families() -> None:
    """A module imported before the registry's list is read stands where the list has it."""
    registry = Registry("feature")
    for family in reversed(FEATURES.families()):
        registry.add(family)
    modules = [family.family for family in registry.families() if not family.origin]
    assert list(dict.fromkeys(modules)) == list(BUILT_IN)
    assert modules == sorted(modules, key=BUILT_IN.index)


def test_names_beside_the_grid_work_too() -> None:
    column = FEATURES.resolve("ofi_7s")[0]
    assert column.arguments == {"window": "7s"}
    assert column.name not in FEATURES.names()


def test_families_tags_tiers_ids_and_patterns_resolve() -> None:
    def names(word: str) -> set[str]:
        return {column.name for column in FEATURES.resolve(word)}

    windows = {n for n in names("ofi_*") if n.count("_") == 1} - {"ofi_event"}
    assert names("ofi") == windows
    assert names("F02") == windows | names("ofi_left_out")
    assert names("prices") >= {"mid", "wmid", "vamp_5"}
    assert "queue_imbalance_level_1" not in names("tier1")
    assert names("S") == names("clock") | names("S05")
    assert names("depth_bid_?") == {"depth_bid_1", "depth_bid_5"}


@pytest.mark.parametrize(
    "catalogue",
    [
        *("P01", "P02", "P03", "P04", "P06", "P07", "P08", "P09", "P10"),
        *(f"B{k:02d}" for k in range(1, 17)),
        *("F01", "F02", "F03", "F04", "F05", "F07", "F08", "F09", "F10", "F11"),
        *("T01", "T02", "T06", "T10", "M01", "M02", "M04", "V01", "V10", "R01", "R04", "R06"),
        *("S01", "S02", "S03", "S04", "S06", "S07", "S08"),
    ],
)
def test_the_catalogue_entries_are_there(catalogue: str) -> None:
    assert FEATURES.resolve(catalogue)


def test_everything_is_documented() -> None:
    for registry in (FEATURES, LABELS):
        for family in registry.families():
            assert family.doc.endswith("."), family.name
            assert family.source, family.name
            assert family.catalogue, family.name
            assert family.grid()[0].warm_up


@pytest.mark.parametrize("name", ["ofi_1w", "ofi_0s", "ofi_", "ofi_n0", "vamp_51", "vamp_05", "x"])
def test_unknown_names_answer_with_the_nearest(name: str) -> None:
    with pytest.raises(RequestError, match="unknown feature"):
        FEATURES.resolve(name)


def test_a_near_miss_is_named() -> None:
    with pytest.raises(RequestError, match="did you mean 'queue_imbalance'"):
        FEATURES.resolve("queue_imbalanc")


@pytest.mark.parametrize("text", ["1", "s", "n", "0s", "1.5s", "h", "n1s", "1 s"])
def test_malformed_windows_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no window"):
        window(text)


def test_the_default_set_serves_the_built_in_strategies() -> None:
    from pipeline.models.tables import PREDICTED
    from strategies.registry import load
    from strategies.registry import names as strategies

    names = {column.name for column in feature_set("default", {}).features} | set(PREDICTED)
    assert names >= {name for each in strategies() for name in load(each).strategy().features()}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"features": ["mid"], "clok": "event"}, "unknown key 'clok'.*did you mean 'clock'"),
        ({"features": ["mdi"]}, "unknown feature 'mdi'.*did you mean 'mid'"),
        ({"features": ["mid"], "labels": ["mid"]}, "unknown label 'mid'"),
        ({"features": ["y_return_1s"]}, "is a label; list it under labels"),
        ({"features": ["mid"], "clock": "grid"}, "unknown clock 'grid'"),
        ({"features": ["mid"], "clock": "grid:1x"}, "is not a duration"),
        ({"features": ["mid"], "clock": "grid:0"}, "longer than 0"),
        ({"features": ["mid"], "clock": "volume"}, "unknown clock 'volume'"),
        ({"features": ["mid"], "clock": "volumes:9"}, "unknown clock.*did you mean 'volume:1000'"),
        ({"features": ["mid"], "clock": "dollar:1e6"}, "write a whole number"),
        ({"features": ["mid"], "clock": "trades:0"}, "write a whole number"),
        ({"features": "mid"}, "must be a list"),
        ({"features": []}, "lists no features"),
        ("mid", "must be a table"),
    ],
)
def test_wrong_sets_are_one_clear_line(table: object, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        feature_set("mine", {"mine": table})
    assert "\n" not in str(caught.value)


def test_an_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"unknown feature set 'mien'.*did you mean 'mine'"):
        feature_set("mien", {"mine": {"features": ["mid"]}})


def test_a_shallow_book_is_refused_with_what_to_change() -> None:
    world = make_world(1, 60)
    shallow = type(world)(type(world.context)(**{**world.context.__dict__, "depth": 3}), world.book)
    with pytest.raises(RequestError, match=r"depth_imbalance_5 needs 5 levels.*book.depth = 5"):
        list(compute(shallow, FEATURES.resolve("depth_imbalance_5")))


USER_FILE = """
import polars as pl
from features.columns import mid_ticks
from features.registry import Windows, feature
from features.windows import value_at

@feature("my_return_{window}", params={"window": Windows(("2s",))}, source="me", mirror="odd")
def my_return(window: str) -> pl.Expr:
    \"\"\"Mine.\"\"\"
    return FACTOR * (mid_ticks() - value_at(mid_ticks(), window))
"""


def test_a_file_of_the_users_own_is_loaded_computed_and_reloaded(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("FACTOR = 1\n" + USER_FILE)
    first = load_user_features(path)
    try:
        world = make_world(2, 120)
        chosen = feature_set("s", {"s": {"features": ["my_return_2s", "return_2s"]}})
        frame = pl.concat(list(compute(world, chosen.features)))
        assert frame["my_return_2s"].to_list() == frame["return_2s"].to_list()
        assert FEATURES.resolve("my_return")[0].family.family == "user"
        path.write_text("FACTOR = -1\n" + USER_FILE)
        assert load_user_features(path) != first
        frame = pl.concat(list(compute(world, FEATURES.resolve(["my_return_2s", "return_2s"]))))
        assert frame["my_return_2s"].to_list() == (-frame["return_2s"]).to_list()
    finally:
        FEATURES.forget(str(path.resolve()))


DECLARED = """
from features.registry import feature
@feature("{}", source="")
def {}():
    return None
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1/0", "ZeroDivisionError"),
        (DECLARED.format("mid", "mid"), "'mid' exists already"),
        (DECLARED.format("a_{x}", "a"), "the name shows"),
    ],
)
def test_faulty_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(RequestError, match=message):
        load_user_features(path)
    FEATURES.forget(str(path.resolve()))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file"):
        load_user_features(tmp_path / "none.py")


def test_a_feature_that_looks_ahead_is_refused() -> None:
    @feature("cheat_{window}", params={"window": Windows(("1s",))}, source="nobody")
    def cheat(window: str) -> pl.Expr:
        """Tomorrow's paper."""
        return ahead(pl.col("bid_px_00"), window)

    try:
        with pytest.raises(RequestError, match="looks ahead"):
            list(compute(make_world(1, 60), FEATURES.resolve("cheat_1s")))
    finally:
        FEATURES._families.pop("cheat")
