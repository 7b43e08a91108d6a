"""Speed of models: fitting, predicting and judging, beside scikit-learn and LightGBM alone.

``mbo bench train``.  Two simulated sessions; the second is predicted by a model of the first.
Each command is a process of its own on one worker, start-up included; rows are those trained on
and those predicted.  The yardsticks fit and predict the same columns of the same sessions, read by
polars, without weights, purging, scores or storing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.figures import MBO, Figure, Report, decompress, run_process
from benchmarks.stages import ALONE
from pipeline.lake import Lake, open_lake

SYMBOL: Final = "SIMM5"
MODELS: Final = ("linear", "lightgbm")
ONE_THREAD: Final = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}

PLAIN: Final = """
import json, sys
import polars as pl
import numpy as np
kind, train, test, columns, label = json.loads(sys.argv[1])
def table(files, names):
    return pl.concat([pl.read_parquet(f, columns=names, hive_partitioning=False) for f in files])
def read(files):
    frame, labels = table(files[0], columns), table(files[1], [label])
    known = labels[label].is_not_null()
    X = frame.filter(known).fill_null(0).to_numpy().astype(np.float32)
    return X, labels.filter(known)[label].to_numpy()
X, y = read(train)
if kind == "linear":
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler
    scaler = StandardScaler().fit(X)
    fitted = Ridge().fit(scaler.transform(X), y)
    fitted.predict(scaler.transform(read(test)[0]))
else:
    import lightgbm
    params = {"objective": "regression", "num_leaves": 8, "min_data_in_leaf": 1000,
              "feature_fraction": 0.5, "num_threads": 1, "verbose": -1}
    fitted = lightgbm.train(params, lightgbm.Dataset(X, y), 100)
    fitted.predict(read(test)[0])
"""


def measure(records: int, folder: Path) -> list[Report]:
    """Both built-in models, and both libraries alone."""
    lakes = {}
    for name, size in (("small", 5000), ("large", records)):
        raw, lakes[name] = folder / name / "raw", folder / name / "lake"
        sample = ["sample", "--out", str(raw), "--days", "2", "--records", str(size)]
        run_process([*MBO, *sample, "--symbols", SYMBOL, "--quiet"])
        common = ["--lake", str(lakes[name]), "--quiet"]
        run_process([*MBO, "ingest", str(raw), *common], **ALONE)
        run_process([*MBO, "features", *common], **ALONE)
    file = max((folder / "large").rglob("*.mbo.dbn.zst"), key=lambda path: path.stat().st_size)
    for model in MODELS:
        _train(model, lakes["small"])  # compiles nothing, but warms the disk's cache
    lake = open_lake(lakes["large"])
    taken = {model: _train(model, lakes["large"]) for model in MODELS}
    rows = {model: _rows(open_lake(lakes["large"]), model) for model in MODELS}
    total = rows["linear"]
    report = Report(
        f"models: {total:,} rows trained on and predicted, default set, one worker, start-up in",
        unit="rows",
        remarks="The libraries alone neither purge, weigh, judge nor store.",
    )
    report.add(Figure("zstd to nothing (the floor)", total, decompress(file)))
    for model in MODELS:
        report.add(Figure(f"`mbo train {model}`", rows[model], *taken[model]))
        plain = [sys.executable, "-c", PLAIN, _plain(lake, model)]
        name = {"linear": "scikit-learn, ridge", "lightgbm": "LightGBM"}[model]
        report.add(Figure(f"{name} alone", rows[model], *run_process(plain, **ONE_THREAD)))
    return [report]


def _train(model: str, lake: Path) -> tuple[float, float, float]:
    command = ["train", model, "--no-backtest", "--workers", "1", "--lake", str(lake), "--quiet"]
    return run_process([*MBO, *command], **ALONE, **ONE_THREAD)


def _rows(lake: Lake, name: str) -> int:
    model = lake.model(name)
    trained = model.models.filter(pl.col("part") == "model").select("rows").sum().collect().item()
    served = model.predictions.filter(pl.col("prediction").is_not_null())
    return int(trained) + int(served.select(pl.len()).collect().item())


def _plain(lake: Lake, name: str) -> str:
    """What the yardstick reads: files of the first session and of the others."""
    model = open_lake(lake.root).model(name)
    fitted = model.models.filter(pl.col("part") == "model").collect().row(0, named=True)
    files = {
        table: [[str(f) for f in item.files] for item in lake.partitions(table)]
        for table in ("features", "labels")
    }
    train = [files[table][0] for table in ("features", "labels")]
    test = [[f for item in files[table][1:] for f in item] for table in ("features", "labels")]
    return json.dumps([name, train, test, json.loads(fitted["features"]), fitted["label"]])
