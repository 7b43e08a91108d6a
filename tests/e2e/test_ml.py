"""The strategy `ml` on a model's predictions, through the commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.backtest import feature_files
from pipeline.backtest.feature_files import FeatureFile, batches
from pipeline.errors import InputError
from pipeline.lake import Lake, open_lake
from pipeline.selfcheck.prefix import LastFile, compare
from tests.e2e.running import mbo

LAST = "2025-06-03"
OPTIONS = ("--symbols", "SIMM5", "--workers", "1")
EAGER = ("-p", "threshold=0.02", "-p", "keep=-0.02", "-p", "hold=20s", "-p", "patience=2s")
SIGNAL = '''
from dataclasses import dataclass
import polars as pl
from strategies.interface import SignalStrategy

@dataclass(frozen=True)
class Follow(SignalStrategy):
    """Hold what is predicted."""

    def features(self):
        return ("prediction", "spread")

    def target(self):
        return pl.when(pl.col("spread") > 0).then(pl.col("prediction").sign().cast(pl.Int64))
'''


@pytest.fixture(scope="module")
def trained(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("ml") / "lake"
    shutil.copytree(feature_lake, lake)
    mbo("train", "linear", "--no-backtest", "--lake", lake, *OPTIONS).checked()
    return lake


def traded(lake: Path, *arguments: str) -> tuple[Lake, str]:
    out = mbo("backtest", *arguments, "--lake", lake, "--json", *OPTIONS).checked().out
    return open_lake(lake), json.loads(out)["run_id"]


def test_it_trades_where_something_is_predicted_and_leaves_in_time(trained: Path) -> None:
    lake, run_id = traded(trained, "ml", "--model", "linear", *EAGER)
    run = lake.run(run_id)
    [model] = lake.model_ids()
    assert json.loads(run.summary["settings"])["model"] == model
    assert f"{model} predicts nothing of it" in run.summary["skipped"]
    fills = run.fills.collect()
    assert fills["session"].cast(pl.String).unique().to_list() == [LAST]
    assert fills.height > 10
    assert fills["position"].abs().max() <= 2
    # After the last fill that adds, it is out within the time to hold, to be patient, and to
    # travel; a way out at the touch may take several tries.
    held = fills.filter(pl.col("position") != 0)["ts"].len()
    assert held > 0
    assert run.summary["holding_max_s"] < 2 * (20 + 2 + 1)


def test_compiled_and_interpreted_are_the_same(trained: Path) -> None:
    lake, run_id = traded(trained, "ml", "--model", "linear", *EAGER)
    compiled = lake.run(run_id).fills.collect()
    lake, again = traded(trained, "ml", "--model", "linear", *EAGER, "--interpret")
    assert again == run_id
    assert lake.run(run_id).fills.collect().equals(compiled)


def test_a_signal_strategy_reads_predictions_too(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "follow.py").write_text(SIGNAL)
    lake, run_id = traded(trained, f"{tmp_path / 'follow.py'}:Follow", "--model", "linear")
    assert lake.run(run_id).fills.collect().height > 10


def test_a_sweep_over_thresholds(trained: Path) -> None:
    out = mbo(
        "sweep", "ml", "--model", "linear", "-p", "threshold=0.05,0.1", "--lake", trained, *OPTIONS
    ).checked().out  # fmt: skip
    assert "threshold" in out


def test_training_ends_with_what_is_left_after_costs(trained: Path) -> None:
    done = mbo("train", "linear", "--json", "--lake", trained, *OPTIONS).checked()
    money = json.loads(done.out)["backtest"]
    assert money["why_not"] is None
    assert [row["reading"] for row in money["readings"]] == ["optimistic", "exact", "pessimistic"]
    shown = mbo("train", "linear", "--lake", trained, *OPTIONS).checked().out
    assert "after costs: strategy `ml`" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--model"),
        (["--model", "lineal"], "linear-"),
        (["--model", "linear", "--set", "findings"], "was trained on feature set 'default'"),
        (["--model", "linear", "-p", "keep=1"], "keep"),
    ],
)
def test_wrong_requests(trained: Path, arguments: list[str], said: str) -> None:
    result = mbo("backtest", "ml", *arguments, "--lake", trained, *OPTIONS)
    assert result.code == 2
    assert said in result.err


def test_without_any_model_it_says_what_to_run(feature_lake: Path) -> None:
    result = mbo("backtest", "ml", "--model", "linear", "--lake", feature_lake)
    assert result.code == 2
    assert "mbo train" in result.err


@pytest.mark.slow
def test_what_was_predicted_before_a_cut_stays(sample_raw: Path, tmp_path: Path) -> None:
    """Features, predictions, and what `ml` made of them, without the end of the last file."""
    raw = tmp_path / "raw"
    shutil.copytree(sample_raw, raw)
    for path in (*raw.rglob("*.mbp-10.dbn.zst"), *raw.rglob("manifest.json")):
        path.unlink()
    last = LastFile(raw)
    lakes = []
    cut = last.cut(tmp_path / "cutraw", len(last.records) // 2)
    for name, folder in (("full", raw), ("cut", cut)):
        lake = tmp_path / name
        mbo("ingest", folder, "--lake", lake, "--workers", "1").checked()
        mbo("train", "linear", "--no-backtest", "--lake", lake, *OPTIONS).checked()
        options = ["--partial", "--model", "linear", "--lake", lake, *OPTIONS]
        mbo("backtest", "ml", *EAGER, *options).checked()
        lakes.append(open_lake(lake))
    found = compare(*lakes)
    assert found.differences == []
    assert found.predictions > 1000
    assert found.fills["ml"] > 5


# --- two files side by side --------------------------------------------------------------------


def write(path: Path, columns: dict[str, list[float]], group: int) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


@pytest.mark.parametrize("at_once", [1, 3, 7, 1000])
def test_rows_of_both_files_stand_together(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_files, "ROWS_AT_ONCE", at_once)
    events = list(range(20))
    features = {"ts": events, "event": events, "x": [v * 2.0 for v in events]}
    predicted = {"event": events, "prediction": [v * 3.0 for v in events]}
    pair = FeatureFile(
        write(tmp_path / "f.parquet", features, 6), write(tmp_path / "p.parquet", predicted, 4)
    )
    got = pa.Table.from_batches(batches([pair], ["prediction", "x", "event"]))
    assert got.column_names == ["prediction", "x", "event"]
    assert got.to_pydict() == {k: (predicted | features)[k] for k in got.column_names}


@pytest.mark.parametrize("events", [[0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 3, 2], []])
def test_other_rows_are_refused(tmp_path: Path, events: list[int]) -> None:
    features = write(tmp_path / "f.parquet", {"event": [0, 1, 2, 3], "x": [1.0] * 4}, 2)
    columns = {"event": events, "prediction": [1.0] * len(events)}
    table = pa.table(
        columns, schema=pa.schema([("event", pa.int64()), ("prediction", pa.float64())])
    )
    pq.write_table(table, tmp_path / "p.parquet")
    pair = FeatureFile(features, tmp_path / "p.parquet")
    with pytest.raises(InputError, match="not those of"):
        list(batches([pair], ["x", "prediction"]))
