"""From a strategy and the feature table to the decisions the simulator takes.

Rows at which neither the target nor the touch differs from the row before are left out: the
executor acts on changes, on time and on word from the venue, so that leaving them out changes
nothing but the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.backtest import state as st
from pipeline.backtest.feature_files import FeatureFile, batches
from pipeline.book.layout import I64
from pipeline.errors import InputError
from pipeline.lanes import in_background
from pipeline.models.tables import PREDICTED
from pipeline.units import UNDEF_PRICE
from strategies.interface import FEES, SignalStrategy, check_causal, evaluate

_Batch = tuple[I64, npt.NDArray[np.float64]]
"""Decision points (int64[n, 5], columns ``D_*``) and their features."""
KEYS: Final = ("ts", "event", "bid_px", "ask_px", "mid_ticks")
_KEYS_READ: Final = KEYS[:4]


def decisions_of(
    strategy: SignalStrategy,
    files: Sequence[FeatureFile],
    fees: tuple[float, float] = (0.0, 0.0),
    *,
    check: bool = False,
) -> I64:
    """Decisions of one session, int64[n, 5] with the columns ``D_*``, in order.

    ``fees`` are the session's a contract, as maker and as taker, in ticks.

    Held whole are the columns the strategy's expression names, and the decisions; the keys of the
    rows are read some at a time.

    Raises
    ------
    InputError
        If the rows are not in the order of their events.
    RequestError
        If the strategy's expression fails, or (``check``) looks into the future.
    """
    targets = _targets(strategy, files, fees, check=check)
    kept: deque[I64] = deque()
    last: I64 | None = None
    at = 0
    for batch in batches(files, _KEYS_READ):
        rows = np.empty((batch.num_rows, 5), np.int64)
        rows[:, st.D_TS] = batch["ts"].view(pa.int64()).to_numpy()
        rows[:, st.D_EVENT] = batch["event"].to_numpy()
        rows[:, st.D_TARGET] = targets[at : at + len(rows)]
        rows[:, st.D_BID] = pc.fill_null(batch["bid_px"], UNDEF_PRICE).to_numpy()
        rows[:, st.D_ASK] = pc.fill_null(batch["ask_px"], UNDEF_PRICE).to_numpy()
        at += len(rows)
        before = np.concatenate([rows[:1] if last is None else last, rows[:-1]])
        for key in (st.D_TS, st.D_EVENT):
            if (rows[:, key] < before[:, key]).any():
                raise InputError("rows of the feature table are not in the order of time")
        changed = (rows[:, st.D_TARGET :] != before[:, st.D_TARGET :]).any(axis=1)
        if last is None:
            changed[:1] = True
        kept.append(rows[changed])
        last = rows[-1:].copy() if len(rows) else last
    return _joined(kept)


def _targets(
    strategy: SignalStrategy,
    files: Sequence[FeatureFile],
    fees: tuple[float, float],
    *,
    check: bool,
) -> I64:
    """The target of each row, ``NO_TARGET`` where nothing is said."""
    columns = _columns_read(strategy)
    paid = {name: pl.lit(fee) for name, fee in zip(FEES, fees, strict=True) if name in columns}
    stored = [name for name in columns if name not in paid] or [KEYS[0]]
    frame = _frame(files, stored).with_columns(**paid)
    targets = evaluate(strategy, frame)
    if check and len(frame):
        check_causal(strategy, frame, targets)
    numbers: I64 = targets.fill_null(st.NO_TARGET).to_numpy()
    return numbers


def _frame(files: Sequence[FeatureFile], columns: list[str]) -> pl.DataFrame:
    if any(name in PREDICTED for name in columns):
        return pl.DataFrame(pl.from_arrow(pa.Table.from_batches(batches(files, columns))))
    return pl.concat(
        pl.read_parquet(file.features, columns=columns, hive_partitioning=False) for file in files
    )


def _columns_read(strategy: SignalStrategy) -> list[str]:
    """The columns that can matter to a strategy's target: those its expression names.

    A selector (``pl.all()``) names none, so that it sees them all; an expression without columns
    still has a row for each of the table's.
    """
    known = list(dict.fromkeys([*KEYS, *strategy.features(), *FEES]))
    try:
        meta = strategy.target().meta
        if meta.has_multiple_outputs():
            return known
        named = set(meta.root_names())
    except pl.exceptions.PolarsError:  # evaluating it says what is wrong
        return known
    return [name for name in known if name in named] or known[:1]


def _joined(parts: deque[I64]) -> I64:
    """Rows of all parts, each of which is let go of once it is copied."""
    whole = np.empty((sum(len(part) for part in parts), 5), np.int64)
    at = 0
    while parts:
        part = parts.popleft()
        whole[at : at + len(part)] = part
        at += len(part)
    return whole


class FeatureRows:
    """The feature table of a run's sessions as an event strategy reads it: some rows at a time.

    Parameters
    ----------
    sessions
        Files by session number; None where a session has no features.
    names
        Columns, in the order of their numbers.
    """

    def __init__(
        self, sessions: Sequence[Sequence[FeatureFile] | None], names: Sequence[str]
    ) -> None:
        self._sessions = sessions
        self._names = names
        self._batches: Iterator[_Batch] = iter(())
        self._next: _Batch | None = None

    def start(self, session: int) -> None:
        """The rows of a session are asked for from now on."""
        self._batches = in_background(self._read(self._sessions[session] or ()))
        self._next = next(self._batches, None)

    def _read(self, files: Sequence[FeatureFile]) -> Iterator[_Batch]:
        for batch in batches(files, ["ts", "event", *self._names]):
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
