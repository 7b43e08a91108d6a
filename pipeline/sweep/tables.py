"""Table of the sweeps: ``sweeps``, keyed by sweep; the runs themselves are in ``runs``."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from pipeline.columns import TEXT, col
from pipeline.tables import Table

ROLES: Final = ("all", "train", "test")
"""What a run is for: the whole selection, choosing in a window, judging what was chosen."""

SWEEPS: Final = Table(
    "sweeps",
    "sweep",
    1,
    "trial of a sweep, and window where it walks forward: the run behind it and how it did",
    (
        col("trial", pa.int32(), "", "number of the trial, from 0"),
        col("window", pa.int32(), "", "number of the walk-forward window, from 0", null=True),
        col("role", TEXT, "", "all, train (parameters are chosen) or test (they are judged)"),
        col("run_id", TEXT, "", "its run in `runs`, `orders`, `fills`, `equity`"),
        col("strategy", TEXT, "", "name of the strategy"),
        col("point", TEXT, "", "what is varied, parameter and value, JSON"),
        col("first_session", pa.date32(), "", "first session of the run"),
        col("last_session", pa.date32(), "", "last session of the run"),
        col("sessions", pa.uint32(), "sessions", "sessions of the run"),
        col("reading", TEXT, "", "the reading whose figures count"),
        col("metric", TEXT, "", "the column of `runs` that trials are chosen by"),
        col("value", pa.float64(), "", "its value in the run", null=True),
        col("chosen", pa.bool_(), "", "best of the sweep, or of its window"),
        col("done", pa.bool_(), "", "false: the run failed and left no results"),
    ),
)
