"""Tables of models: ``models`` (what was fitted for a block of sessions), ``predictions`` and
``scores``.

Nothing in them is code: models are stored as LightGBM's text or as JSON of numbers.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from pipeline.columns import TEXT, TS, col
from pipeline.tables import Table

BASELINE_CONSTANT: Final = "baseline_constant"
BASELINE_QUEUE: Final = "baseline_queue_imbalance"

QUEUE: Final = "queue_imbalance"
"""The feature of that baseline."""

PARTS: Final = ("model", BASELINE_CONSTANT, BASELINE_QUEUE)
"""The model itself, and what it has to beat: the window's mean or class shares, and the same
label from the queue imbalance alone.
"""

PREDICTED: Final = ("prediction", "p_up", "p_down")
"""Columns of `predictions` that strategies read as they read features."""

MODELS: Final = Table(
    "models",
    "model",
    1,
    "part (the model or one of its baselines) of the model that serves a block of sessions; its "
    "session is the first one served",
    (
        col("part", TEXT, "", ", ".join(PARTS)),
        col("estimator", TEXT, "", "lightgbm, linear, constant, or the file and class"),
        col("task", TEXT, "", "regression or classification"),
        col("label", TEXT, "", "the column of `labels` it predicts"),
        col("classes", TEXT, "", "JSON list of the label's classes, ascending", null=True),
        col(
            "prior",
            TEXT,
            "",
            "JSON list, by class: what balanced probabilities are multiplied by, to sum to 1 again",
            null=True,
        ),
        col("feature_set", TEXT, "", "the feature set"),
        col("clock", TEXT, "", "the set's clock"),
        col("features", TEXT, "", "JSON list of the columns it reads, in order"),
        col("versions", TEXT, "", "JSON: feature or label -> identity of its definition"),
        col("fill", TEXT, "", "JSON list, by feature: what a null becomes", null=True),
        col("mean", TEXT, "", "JSON list, by feature: subtracted", null=True),
        col("scale", TEXT, "", "JSON list, by feature: divided by", null=True),
        col("params", TEXT, "", "JSON: parameters of the estimator, found by the search or given"),
        col("text", TEXT, "", "the fitted model; null: fitted again where needed", null=True),
        col("first_session", pa.date32(), "", "first session trained on"),
        col("last_session", pa.date32(), "", "last session trained on; before the first served"),
        col("contracts", TEXT, "", "contracts of those sessions, in order, e.g. ESH5, ESM5"),
        col("sessions", pa.int32(), "sessions", "how many it was trained on"),
        col("rows", pa.int64(), "rows", "rows trained on"),
        col("purged_rows", pa.int64(), "rows", "rows left out: label known after the embargo"),
        col("known_until", TS, "ns", "when the last label trained on was known"),
    ),
)

PREDICTIONS: Final = Table(
    "predictions",
    "model",
    1,
    "row of the session's `features`, in the same order",
    (
        col("ts", TS, "ns", "the decision point", "delta"),
        col("event", pa.int64(), "", "last event known at the decision point", "delta"),
        col(
            "prediction",
            pa.float64(),
            "the label's",
            "expected label; of classes p_up - p_down; null without a model",
            "split",
            null=True,
        ),
        col("p_up", pa.float64(), "", "probability of classes above 0", "split", null=True),
        col("p_down", pa.float64(), "", "probability of classes below 0", "split", null=True),
        col("served_by", pa.date32(), "", "session of the row of `models` used", null=True),
    ),
)

SCORES: Final = Table(
    "scores",
    "model",
    1,
    "figure of a session's predictions: of the model or a baseline, out of sample",
    (
        col("part", TEXT, "", ", ".join(PARTS)),
        col("what", TEXT, "", "auc, r2, log_loss, ic, gain, importance, ...: docs/models.md"),
        col("feature", TEXT, "", "of importance: the feature", null=True),
        col("bin", pa.int32(), "", "of calibration: number of the bin, from 1", null=True),
        col("value", pa.float64(), "", "the figure; null where undefined", null=True),
        col("rows", pa.int64(), "rows", "rows behind it; of a gain: stretches of time"),
    ),
)

TABLES: Final = (MODELS, PREDICTIONS, SCORES)
