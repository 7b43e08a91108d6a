"""From a strategy and the feature table to the decisions the simulator takes.

Rows at which neither the target nor the touch differs from the row before are left out: the
executor acts on changes, on time and on word from the venue, so that leaving them out changes
nothing but the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.backtest import state as st
from pipeline.book.layout import I64
from pipeline.errors import InputError
from pipeline.units import UNDEF_PRICE
from strategies.interface import SignalStrategy, check_causal, evaluate

_ROWS_AT_ONCE: Final = 1 << 16
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
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._next: pa.RecordBatch | None = None

    def start(self, session: int) -> None:
        """The rows of a session are asked for from now on."""
        self._batches = self._read(self._sessions[session] or ())
        self._next = next(self._batches, None)

    def _read(self, files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
        columns = ["ts", "event", *self._names]
        for path in files:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(_ROWS_AT_ONCE, columns=columns)

    def more(self) -> tuple[I64, npt.NDArray[np.float64], bool]:
        """The next rows, their features (nan where undefined), and whether there are more."""
        batch, self._next = self._next, next(self._batches, None)
        n = batch.num_rows if batch else 0
        rows = np.zeros((n, 5), np.int64)
        values = np.full((n, len(self._names)), np.nan)
        if batch:
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            rows[:, st.D_TS] = frame["ts"].cast(pl.Int64).to_numpy()
            rows[:, st.D_EVENT] = frame["event"].to_numpy()
            for k, name in enumerate(self._names):
                values[:, k] = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return rows, values, self._next is not None
