"""From a strategy and the feature table to the decisions the simulator takes.

Rows at which neither the target nor the touch differs from the row before are left out: the
executor acts on changes, on time and on word from the venue, so that leaving them out changes
nothing but the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.backtest import state as st
from pipeline.book.layout import I64
from pipeline.errors import InputError
from pipeline.units import UNDEF_PRICE
from strategies.interface import SignalStrategy, check_causal, evaluate

KEYS = ("ts", "event", "bid_px", "ask_px", "mid_ticks")


def read_features(files: Sequence[Path], strategy: SignalStrategy) -> pl.DataFrame:
    """Key columns and what the strategy reads, of one session."""
    columns = list(dict.fromkeys([*KEYS, *strategy.features()]))
    frames = [pl.read_parquet(path, columns=columns, hive_partitioning=False) for path in files]
    return pl.concat(frames)


def decisions_of(
    strategy: SignalStrategy, frame: pl.DataFrame, *, check: bool = False, compact: bool = True
) -> I64:
    """Decisions of one session, int64[n, 5] with the columns ``D_*``.

    Raises
    ------
    InputError
        If the rows are not in the order of their events.
    RequestError
        If the strategy's expression fails, or (``check``) looks into the future.
    """
    if check and len(frame):
        check_causal(strategy, frame)
    targets = evaluate(strategy, frame)
    columns = [
        frame["ts"].cast(pl.Int64),
        frame["event"],
        targets.fill_null(st.NO_TARGET),
        frame["bid_px"].fill_null(UNDEF_PRICE),
        frame["ask_px"].fill_null(UNDEF_PRICE),
    ]
    rows = np.column_stack([column.to_numpy() for column in columns]).astype(np.int64, copy=False)
    if (np.diff(rows[:, st.D_TS]) < 0).any() or (np.diff(rows[:, st.D_EVENT]) < 0).any():
        raise InputError("rows of the feature table are not in the order of time")
    if compact and len(rows):
        same = (rows[1:, st.D_TARGET :] == rows[:-1, st.D_TARGET :]).all(axis=1)
        rows = rows[np.concatenate([[True], ~same])]
    return np.ascontiguousarray(rows)
