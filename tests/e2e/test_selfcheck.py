"""``mbo verify --sample``: everything that can be checked, checked on a small market."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipeline.errors import MboError
from pipeline.lake import Lake, Run, open_lake
from pipeline.reading import read_table
from pipeline.selfcheck.accounts import audit_run
from pipeline.selfcheck.evidence import Evidence
from pipeline.selfcheck.models import audit_model
from pipeline.selfcheck.run import SPEEDS, SelfCheck, judged_speeds
from pipeline.stage import Stored
from tests.e2e.running import mbo, mbo_process


@pytest.fixture(scope="module")
def traded(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with a run of every reading."""
    lake = tmp_path_factory.mktemp("traded") / "lake"
    shutil.copytree(feature_lake, lake)
    readings = ["--readings", "optimistic,exact,pessimistic"]
    mbo("backtest", "market_making", *readings, "--lake", lake).checked()
    return open_lake(lake)


def run_of(lake: Lake) -> str:
    return next(r for r in lake.run_ids() if lake.run(r).summary["strategy"] == "market_making")


def test_accounts_follow_from_fills(traded: Lake) -> None:
    audit = audit_run(traded, run_of(traded))
    assert audit.differences == []
    assert audit.fills > 20
    assert audit.marks > 1000


@pytest.mark.parametrize(
    ("table", "column", "value", "named"),
    [
        ("fills", "price", pl.col("price") + 250_000_000, "cash"),
        ("fills", "fee", pl.col("fee") + Decimal("0.000000001"), "fees"),
        ("fills", "position", pl.col("position") + 1, "position"),
        ("fills", "side", pl.lit("B").cast(pl.String), "position"),
        ("equity", "cash", pl.col("cash") + Decimal("0.01"), "cash"),
        ("equity", "value", pl.col("value") - Decimal("0.01"), "value"),
        ("equity", "equity", pl.col("equity") + Decimal("0.01"), "equity"),
        ("equity", "unrealised", pl.col("unrealised") + Decimal("0.01"), "realised"),
    ],
)
def test_a_wrong_account_is_found(
    traded: Lake,
    table: str,
    column: str,
    value: pl.Expr,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One row changed, in the middle."""
    run_id = run_of(traded)
    true = getattr(traded.run(run_id), table).collect()
    kind = true.schema[column]
    row = pl.int_range(pl.len()) == true.height // 2
    other = pl.when(row).then(value.cast(kind)).otherwise(pl.col(column)).alias(column)
    wrong = true.with_columns(other)
    if column == "side":
        wrong = true.with_columns(pl.lit("B").cast(kind).alias("side"))
    monkeypatch.setattr(Run, table, property(lambda _: wrong.lazy()))
    audit = audit_run(traded, run_id)
    assert any(named in line for line in audit.differences)


@pytest.fixture(scope="module")
def predicted(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a linear model."""
    lake = tmp_path_factory.mktemp("predicted") / "lake"
    shutil.copytree(feature_lake, lake)
    mbo("train", "linear", "--no-backtest", "--symbols", "SIMM5", "--lake", lake).checked()
    return lake


def test_predictions_follow_from_models_of_earlier_sessions(predicted: Path) -> None:
    audit = audit_model(open_lake(predicted).model("linear"))
    assert audit.differences == []
    assert (audit.sessions, audit.models) == (1, 1)
    predictions = open_lake(predicted).model("linear").predictions.collect()
    assert audit.rows == predictions["prediction"].count() > 5_000


def raised(table: pa.Table, name: str, value: object) -> pa.Table:
    """With another value in the last row, which has a prediction."""
    column = table[name].to_pylist()
    column[-1] = value
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(name), pa.array(column, table[name].type))


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("predictions", "prediction", 0.25, "1 of "),
        ("predictions", "prediction", None, "1 of "),
        ("predictions", "served_by", date(2025, 6, 2), "by models of "),
        ("models", "last_session", date(2025, 6, 3), "was trained on 2025-06-03"),
        ("models", "known_until", datetime(2025, 6, 3, 14, tzinfo=UTC), "was trained on"),
        ("models", "text", "another intercept", " of "),
    ],
)
def test_a_wrong_prediction_or_model_is_found(
    predicted: Path,
    tmp_path: Path,
    table: str,
    column: str,
    value: object,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake = open_lake(predicted)

    def other(stored: Stored) -> pa.Table:
        found = read_table(stored)
        if stored.table != table or not found.num_rows:
            return found
        if table == "predictions":
            return raised(found, column, value) if stored.notes["served_by"] else found
        if column == "text":
            changed = found["text"].to_pylist()
            at = found["part"].to_pylist().index("model")
            numbers = json.loads(changed[at])
            numbers["intercept"][0] += 0.001
            changed[at] = json.dumps(numbers, separators=(",", ":"))
        else:
            changed = [value] * found.num_rows
        index = found.schema.get_field_index(column)
        return found.set_column(
            index, found.schema.field(column), pa.array(changed, found[column].type)
        )

    monkeypatch.setattr("pipeline.selfcheck.models.read_table", other)
    monkeypatch.setattr("pipeline.models.storing.read_table", other)
    audit = audit_model(lake.model("linear"))
    assert audit.differences
    assert said in audit.differences[0]


def test_a_stage_three_times_as_slow_is_found() -> None:
    """From the shares that were measured, idle and under load."""
    passed, text = judged_speeds(1_000_000, 0.13, {"ingest": 0.13 / 0.158, "book": 0.13 / 0.094})
    assert passed, text
    for slow in SPEEDS:
        taken = {"ingest": 0.13 / 0.195, "book": 0.13 / 0.119}
        taken[slow] *= 3
        passed, text = judged_speeds(1_000_000, 0.13, taken)
        assert not passed, text


def test_what_cannot_be_checked_has_failed_or_says_nothing() -> None:
    evidence = Evidence("a market", simulated=True)

    def impossible() -> tuple[bool, str]:
        raise MboError("no such lake")

    evidence.look("one", lambda: (True, "seen"))
    assert evidence.exit_code == 0
    evidence.look("two", lambda: (None, "nothing to compare with"))
    assert evidence.exit_code == 0
    evidence.look("three", impossible)
    assert evidence.exit_code == 3
    assert [row[1] for row in evidence.table()[1]] == ["PASS", "-", "FAIL"]
    assert evidence.summary().startswith("1 of 2 FAILED")
    assert evidence.as_json()["passed"] is False


@pytest.mark.slow
def test_each_check_can_fail(feature_lake: Path, tmp_path: Path) -> None:
    """The same lake beside another raw folder: records are missing, and the cut is another."""
    mbo("sample", "--out", tmp_path / "other", "--days", "1", "--records", "4000").checked()
    check = SelfCheck(tmp_path, tmp_path / "other", lambda _: None)
    check.lake = feature_lake
    assert check._records()[0] is False
    assert check._again()[0] is True
    assert check._vendor()[0] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keep", "here"], "--sample"),
        (["--sample", "a", "b"], "one raw folder"),
        (["--sample", "nowhere"], "nowhere"),
        (["--sample", "--symbols", "ES*"], "selection"),
        (["--sample", "--keep", "."], "not empty"),
    ],
)
def test_wrong_requests(arguments: list[str], said: str) -> None:
    Path("something").touch()
    result = mbo("verify", *arguments)
    assert result.code == 2
    assert said in result.err


@pytest.mark.slow
def test_the_sample_passes() -> None:
    done = mbo_process("verify", "--sample", "--json")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    assert report["simulated"]
    assert len(report["checks"]) == 11
    assert all(check["passed"] for check in report["checks"])


@pytest.mark.slow
def test_a_real_folder_passes(real_data: Path, tmp_path: Path) -> None:
    done = mbo_process("verify", "--sample", str(real_data / "esh4"), "--keep", str(tmp_path / "k"))
    assert done.returncode == 0, done.stdout
    assert "SIMULATED" not in done.stdout
    assert (tmp_path / "k" / "lake" / "fills").is_dir()
