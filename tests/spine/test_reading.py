"""Reading a long file takes the memory of a few batches, whatever its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.backtest.feature_files import FeatureFile, batches
from pipeline.reading import BATCH_ROWS, read_batches
from pipeline.stage import Partition, Stored

GROUPS = 40


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random numbers, which do not compress: 20 MiB."""
    path = tmp_path_factory.mktemp("long") / "part-0.parquet"
    rng = np.random.default_rng(1)
    numbers = rng.integers(-(2**62), 2**62, GROUPS * BATCH_ROWS)
    table = pa.table({"event": numbers})
    pq.write_table(table, path, row_group_size=BATCH_ROWS, use_dictionary=False)
    return path


def stored(path: Path) -> Stored:
    return Stored("features", Partition(()), (path,), GROUPS * BATCH_ROWS, 0, "")


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_batches(stored(path), ["event"]),
        lambda path: batches([FeatureFile(path)], ["event"]),
    ],
    ids=["stages", "backtests"],
)
def test_what_was_read_is_let_go(
    file: Path, read: Callable[[Path], Iterator[pa.RecordBatch]]
) -> None:
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in read(file)]
    assert len(held) >= GROUPS
    assert max(held) < file.stat().st_size / 4
    assert np.mean(held[-5:]) < 2 * np.mean(held[:5]) + 2**20
