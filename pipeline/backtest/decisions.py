"""From a strategy and the feature table to the decisions the simulator takes.

Rows at which neither the target nor the touch differs from the row before are left out: the
executor acts on changes, on time and on word from the venue, so that leaving them out changes
nothing but the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.backtest import state as st
from pipeline.book.layout import I64
from pipeline.errors import InputError
from pipeline.lanes import in_background
from pipeline.units import UNDEF_PRICE
from strategies.interface import SignalStrategy, check_causal, evaluate

_ROWS_AT_ONCE: Final = 1 << 16
_Batch = tuple[I64, npt.NDArray[np.float64]]
"""Decision points (int64[n, 5], columns ``D_*``) and their features."""
KEYS: Final = ("ts", "event", "bid_px", "ask_px", "mid_ticks")


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


class FeatureRows:
    """The feature table of a run's sessions as an event strategy reads it: some rows at a time.

    Parameters
    ----------
    sessions
        Files by session number; None where a session has no features.
    names
        Columns, in the order of their numbers.
    """

    def __init__(self, sessions: Sequence[Sequence[Path] | None], names: Sequence[str]) -> None:
        self._sessions = sessions
        self._names = names
        self._batches: Iterator[_Batch] = iter(())
        self._next: _Batch | None = None

    def start(self, session: int) -> None:
        """The rows of a session are asked for from now on."""
        self._batches = in_background(self._read(self._sessions[session] or ()))
        self._next = next(self._batches, None)

    def _read(self, files: Sequence[Path]) -> Iterator[_Batch]:
        columns = ["ts", "event", *self._names]
        for path in files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False):
                    yield self._convert(batch)

    def _convert(self, batch: pa.RecordBatch) -> _Batch:
        rows = np.zeros((batch.num_rows, 5), np.int64)
        values = np.empty((batch.num_rows, len(self._names)))
        rows[:, st.D_TS] = batch["ts"].view(pa.int64()).to_numpy()
        rows[:, st.D_EVENT] = batch["event"].to_numpy()
        for k, name in enumerate(self._names):
            values[:, k] = _as_floats(batch[name])
        return rows, values

    def more(self) -> tuple[I64, npt.NDArray[np.float64], bool]:
        """The next rows, their features (nan where undefined), and whether there are more."""
        batch, self._next = self._next, next(self._batches, None)
        if batch is None:
            return np.zeros((0, 5), np.int64), np.empty((0, len(self._names))), False
        return *batch, self._next is not None


def _as_floats(column: pa.Array) -> npt.NDArray[Any]:
    """Numbers of a column, nan where it is null: widened by whoever stores them as float64."""
    if not pa.types.is_floating(column.type):
        column = column.cast(pa.float64(), safe=False)
    if column.null_count:
        column = pc.fill_null(column, np.nan)
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values
