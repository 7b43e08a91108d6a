"""Walk-forward on a small market of four sessions: nothing a model will serve can enter it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.catalog import LakeCatalog
from pipeline.models.storing import load_parts
from pipeline.models.train import needed_sessions
from pipeline.stage import Selection, Stored
from tests.features.many_days import SESSIONS, ManyDays
from tests.features.test_fits_stage import digests
from tests.models.many import shop

SEEDS = ManyDays().seeds
FIRST, SECOND, THIRD, LAST = SESSIONS
FRONT, NEXT = "ESH5", "ESM5"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The market with features and labels.  Read-only: tests that write take a copy."""
    lake = tmp_path_factory.mktemp("market") / "lake"
    shop().features_of(lake)
    return lake


@pytest.fixture
def lake(market: Path, tmp_path: Path) -> Path:
    shutil.copytree(market, tmp_path / "lake")
    return tmp_path / "lake"


def one(lake: Path, table: str, session: date, symbol: str = FRONT) -> Stored:
    (found,) = (
        item
        for item in LakeCatalog(lake).partitions(table)
        if (item.partition["session"], item.partition["symbol"]) == (str(session), symbol)
    )
    return found


def read(lake: Path, table: str, session: date, symbol: str = FRONT) -> pl.DataFrame:
    return pl.read_parquet(one(lake, table, session, symbol).files[0], hive_partitioning=False)


# --- no look-ahead -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "changed"),
    [
        ("linear", LAST),
        ("lightgbm", SECOND),
        pytest.param("linear", SECOND, marks=pytest.mark.slow),
        pytest.param("lightgbm", LAST, marks=pytest.mark.slow),
    ],
)
def test_a_model_knows_nothing_of_the_session_it_serves_or_later(
    market: Path, lake: Path, tmp_path: Path, estimator: str, changed: date
) -> None:
    """Another market from a session on: models and predictions before are the same bytes; those
    that were trained on it are others.
    """
    model = shop(estimator=estimator)
    model.train(lake)
    other = tmp_path / "other"
    seeds = {day: seed + 500 * (day >= changed) for day, seed in SEEDS.items()}
    shop().features_of(other, ManyDays(seeds))
    model.train(other)

    models, changes = digests(lake, "models"), digests(other, "models")
    assert set(models) == set(changes)
    for path in models:
        trained_before = max(day for day in SESSIONS if f"session={day}" in path) <= changed
        assert (models[path] == changes[path]) == trained_before, path
    for day in SESSIONS:
        same = read(lake, "predictions", day).equals(read(other, "predictions", day))
        assert same == (day < changed)


def test_what_is_predicted_does_not_depend_on_what_was_asked_for(
    lake: Path, tmp_path: Path
) -> None:
    shutil.copytree(lake, tmp_path / "part")
    shop().train(lake)
    shop().train(tmp_path / "part", Selection(start=LAST, end=LAST))
    assert (
        digests(tmp_path / "part", "models", "predictions").items()
        <= digests(lake, "models", "predictions").items()
    )
    (path,) = digests(tmp_path / "part", "predictions")
    assert str(LAST) in path


def test_what_has_to_be_there_for_a_selection(lake: Path) -> None:
    chosen = shop(train=2)
    wanted = needed_sessions(
        chosen.request, LakeCatalog(lake), chosen.settings, Selection(start=LAST)
    )
    assert {session for _, session, _ in wanted} == {str(SECOND), str(THIRD), str(LAST)}


# --- walk-forward ------------------------------------------------------------------------------


def trainings(lake: Path, symbol: str = FRONT) -> dict[str, tuple[str, str, int]]:
    """By first session served: first and last session trained on, and how many."""
    found = {}
    for item in LakeCatalog(lake).partitions("models"):
        if item.partition["symbol"] == symbol:
            about = load_parts(item)["model"].trained
            days = (str(about.first_session), str(about.last_session), about.sessions)
            found[item.partition["session"]] = days
    return found


def served_by(lake: Path, symbol: str = FRONT) -> list[str | None]:
    found = (read(lake, "predictions", day, symbol)["served_by"] for day in SESSIONS)
    return [None if column.null_count() else str(column.unique().item()) for column in found]


def test_every_and_train_say_when_and_on_what(lake: Path, tmp_path: Path) -> None:
    shop(every=2, train=1).train(lake)
    assert trainings(lake) == {
        str(SECOND): (str(FIRST), str(FIRST), 1),
        str(LAST): (str(THIRD), str(THIRD), 1),
    }
    assert served_by(lake) == [None, str(SECOND), str(SECOND), str(LAST)]


def test_sessions_with_too_little_past_are_null(lake: Path) -> None:
    shop(at_least=2).train(lake)
    assert served_by(lake) == [None, None, str(THIRD), str(LAST)]
    for day in SESSIONS:
        predictions, features = read(lake, "predictions", day), read(lake, "features", day)
        assert predictions.select("ts", "event").equals(features.select("ts", "event"))
        unknown = predictions["prediction"].null_count()
        assert unknown == (predictions.height if day < THIRD else 0)
        assert predictions["p_up"].null_count() == predictions.height  # no classes


def test_an_incomplete_session_is_predicted_but_no_past(tmp_path: Path) -> None:
    """Its first UTC day is not there."""
    lake = tmp_path / "lake"
    seeds = {day: SEEDS[day] for day in (SECOND, THIRD, LAST)}
    shop().features_of(lake, ManyDays(seeds))
    (gone,) = (
        item for item in LakeCatalog(lake).partitions("book")
        if item.partition["date"] == str(FIRST)
    )  # fmt: skip
    commit = LakeCatalog(lake).producer("book", gone.partition)
    assert commit is not None
    commit.path.unlink()
    chosen = shop()
    chosen.train(lake)
    assert not one(lake, "predictions", SECOND).notes.get("served_by")
    assert not one(lake, "predictions", THIRD).notes.get("served_by")
    assert one(lake, "predictions", LAST).notes["served_by"] == str(LAST)
    assert trainings(lake) == {str(LAST): (str(THIRD), str(THIRD), 1)}


def test_over_a_roll_the_front_learns_from_the_front(tmp_path: Path) -> None:
    """ESM5 becomes the front in the third session: a new model, of ESH5's sessions."""
    lake = tmp_path / "lake"
    old = {FIRST: 42, SECOND: 41, THIRD: 44, LAST: 45}
    upstream = ManyDays(old, more={NEXT: {SECOND: 60, THIRD: 61, LAST: 62}})
    chosen = shop(every=5)
    chosen.features_of(lake, upstream)
    own = tmp_path / "own"
    shutil.copytree(lake, own)
    chosen.train(lake)
    assert trainings(lake, NEXT) == {str(THIRD): (str(FIRST), str(SECOND), 2)}
    parts = load_parts(one(lake, "models", THIRD, NEXT))
    assert parts["model"].trained.contracts == FRONT
    # The old front, now second, starts anew on what the second was.
    assert trainings(lake, FRONT) == {
        str(SECOND): (str(FIRST), str(FIRST), 1),
        str(THIRD): (str(SECOND), str(SECOND), 1),
    }
    assert load_parts(one(lake, "models", THIRD, FRONT))["model"].trained.contracts == NEXT
    replace(chosen, along="symbol").train(own)
    assert set(trainings(own, NEXT)) == {str(THIRD)}
    assert load_parts(one(own, "models", THIRD, NEXT))["model"].trained.contracts == NEXT


# --- purge and embargo -------------------------------------------------------------------------


def test_rows_whose_label_is_known_after_the_embargo_are_purged(lake: Path) -> None:
    """By hand, from the table of labels."""
    labels = read(lake, "labels", FIRST).filter(pl.col("y_return_n5").is_not_null())
    ends = labels["ts"].cast(pl.Int64) + labels["after_y_return_n5"]
    assert (labels["t_end"].cast(pl.Int64) > ends).any()  # of slower labels of the set
    ends = ends.sort()
    hours = one(lake, "features", SECOND).notes["hours"]
    opened = hours["segments"][0][0]
    middle = int(ends[ends.len() // 2])
    embargo = opened - middle
    chosen = shop(embargo=f"{embargo}ns", every=1)
    chosen.train(lake, Selection(end=SECOND))
    about = load_parts(one(lake, "models", SECOND))["model"].trained
    kept = ends.filter(ends <= middle)
    assert about.rows == kept.len()
    assert about.purged_rows == ends.len() - kept.len() > 0
    assert about.known_until == kept.max() == middle


def test_an_embargo_of_all_leaves_no_model_and_says_so(lake: Path) -> None:
    done = shop(embargo="40h").train(lake, Selection(end=SECOND))
    assert "no model" in done["train"].warnings[0][1]
    assert read(lake, "predictions", SECOND)["prediction"].null_count() > 100
    assert one(lake, "predictions", SECOND).notes["served_by"] is None


# --- running -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["linear", "lightgbm"])
@pytest.mark.parametrize("label", ["y_return_n5", "y_next_move"])
def test_one_and_two_workers_give_the_same_bytes_and_nothing_is_done_twice(
    lake: Path, tmp_path: Path, estimator: str, label: str
) -> None:
    shutil.copytree(lake, tmp_path / "two")
    chosen = shop(estimator=estimator, label=label)
    assert chosen.train(lake)["train"].done == 3
    assert chosen.train(tmp_path / "two", workers=2)["train"].done == 3
    again = chosen.train(lake)
    assert (again["train"].up_to_date, again["predict"].up_to_date) == (3, 5)
    assert digests(lake, "models", "predictions") == digests(
        tmp_path / "two", "models", "predictions"
    )


def test_a_lost_model_is_fitted_again_to_the_same_bytes(lake: Path) -> None:
    shop().train(lake)
    before = digests(lake, "models", "predictions")
    one(lake, "models", THIRD).files[0].unlink()
    again = shop().train(lake)
    assert (again["train"].done, again["predict"].done) == (1, 0)
    assert digests(lake, "models", "predictions") == before


def test_new_sessions_extend_a_model(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shop().features_of(lake, ManyDays({day: SEEDS[day] for day in (FIRST, SECOND)}))
    shop().train(lake)
    before = digests(lake, "models")
    shop().features_of(lake)
    done = shop().train(lake)
    assert (done["train"].done, done["train"].up_to_date) == (1, 2)
    assert before.items() <= digests(lake, "models").items()


# --- mismatches --------------------------------------------------------------------------------


def rewrite(stored: Stored, change: Callable[[pa.Table], pa.Table]) -> None:
    table = pq.read_table(stored.files[0], partitioning=None)
    pq.write_table(change(table), stored.files[0])


def cell(column: str, value: object) -> Callable[[pa.Table], pa.Table]:
    """Sets a column of the row of the model itself."""

    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(column)
        values = [value, *table[column].to_pylist()[1:]]
        field = table.schema.field(at)
        return table.set_column(at, field, pa.array(values, field.type))

    return change


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("versions", json.dumps({"spread": "features 1"}), "of another definition"),
        ("clock", "grid:1s", "its clock is event, the model's is grid:1s"),
        ("features", json.dumps([*"abcde"]), "has no column a"),
        ("last_session", SECOND, "which is not before"),
    ],
)
def test_features_of_another_make_are_refused_in_one_line(
    lake: Path, column: str, value: str, words: str
) -> None:
    chosen = shop()
    chosen.train(lake, Selection(end=SECOND))
    rewrite(one(lake, "models", SECOND), cell(column, value))
    one(lake, "predictions", SECOND).files[0].unlink()
    done = chosen.predict(lake, Selection(end=SECOND))
    ((_, message),) = done.failed
    assert words in message
    assert "\n" not in message
    assert "mbo train" in message


POISON = {
    "__import__('os').system('touch poisoned')": "no JSON",
    '{"kind": "pickle", "data": "gASV"}': "its kind is 'pickle'",
    '{"kind": "ridge", "intercept": [0.0]}': "coefficients is not a list",
    '{"kind": "ridge", "intercept": [NaN], "coefficients": []}': "no JSON",
    '{"kind": "ridge", "intercept": [1e999], "coefficients": [[0, 0, 0, 0, 0]]}': "not finite",
    '{"kind": "ridge", "intercept": [0], "coefficients": [[0, 0]]}': "not a list of 5",
    '{"kind": "ridge", "intercept": ["0"], "coefficients": [[0, 0, 0, 0, 0]]}': "where a number",
    '{"kind": "ridge", "intercept": [0], "coefficients": [[0, 0, 0, 0, 0]], "x": 1}': "unknown key",
    "[" * 100_000: "no JSON",
}


@pytest.mark.parametrize(("text", "words"), POISON.items(), ids=range(len(POISON)))
def test_a_poisoned_model_is_refused(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = shop()
    chosen.train(lake, Selection(end=SECOND))
    rewrite(one(lake, "models", SECOND), cell("text", text))
    one(lake, "predictions", SECOND).files[0].unlink()
    done = chosen.predict(lake, Selection(end=SECOND))
    ((_, message),) = done.failed
    assert "refused" in message
    assert words in message
    assert "\n" not in message
    assert not (tmp_path / "poisoned").exists()


def later_events(table: pa.Table) -> pa.Table:
    at = table.schema.get_field_index("event")
    field = table.schema.field(at)
    moved = pa.array([event + 1 for event in table["event"].to_pylist()], field.type)
    return table.set_column(at, field, moved)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (later_events, "its rows are not those of features"),
        (lambda table: table.slice(1), "rows that were committed"),
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "rows that were committed"),
    ],
    ids=["others", "fewer", "more"],
)
def test_labels_of_other_rows_are_refused(
    lake: Path, change: Callable[[pa.Table], pa.Table], what: str
) -> None:
    rewrite(one(lake, "labels", FIRST), change)
    done = shop().train(lake, Selection(end=SECOND))["train"]
    ((_, message),) = done.failed
    assert what in message
    assert "\n" not in message
