"""Files: the same rows are the same bytes, and what was not finished is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.columns import Column
from pipeline.parquet import ParquetFile, rows_per_group
from pipeline.storage import HashCache
from pipeline.tables import TRADES, Table

NARROW = Table(
    "narrow",
    "date",
    1,
    "row",
    (
        Column("a", pa.int64(), "", "a number", encoding="delta"),
        Column("b", pa.string(), "", "a text", nullable=True),
        Column("c", pa.float64(), "", "a float", encoding="split"),
    ),
)


def rows(count: int) -> pa.Table:
    rng = np.random.default_rng(3)
    texts = np.array(["x", "y", None], dtype=object)[rng.integers(0, 3, count)]
    return pa.table(
        {
            "a": rng.integers(0, 1000, count).cumsum(),
            "b": pa.array(texts, pa.string()),
            "c": rng.normal(size=count),
        },
        schema=NARROW.schema(),
    )


def write(path: Path, data: pa.Table, step: int, **metadata: str) -> ParquetFile:
    file = ParquetFile(path, NARROW, metadata)
    for start in range(0, data.num_rows, step):
        file.write(data.slice(start, step))
    file.close()
    return file


@pytest.mark.parametrize("count", [0, 1, 262_144, 600_001])
def test_chunks_do_not_show_in_the_bytes(tmp_path: Path, count: int) -> None:
    data = rows(count)
    files = [
        write(tmp_path / f"{i}.parquet", data, step)
        for i, step in enumerate([max(count, 1), 99_991, 262_144])
    ]
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1
    assert len({file.content("") for file in files}) == 1
    assert pq.read_table(tmp_path / "0.parquet").equals(data)


def test_coded_text_is_the_same_file_as_text(tmp_path: Path) -> None:
    data = rows(1000)
    places = {"x": 2, "y": 0, None: None}
    other = pa.DictionaryArray.from_arrays(
        pa.array([places[text] for text in data["b"].to_pylist()], pa.int8()),
        pa.array(["y", "unused", "x"]),
    )
    coded = pa.Table.from_arrays([data["a"], other, data["c"]], names=["a", "b", "c"])
    assert coded["b"].cast(pa.string()).combine_chunks() == data["b"].combine_chunks()
    write(tmp_path / "text", data, 1000)
    write(tmp_path / "coded", coded, 300)
    assert (tmp_path / "text").read_bytes() == (tmp_path / "coded").read_bytes()
    assert pq.read_table(tmp_path / "coded").equals(data)


def test_row_groups_have_a_fixed_size(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", rows(600_001), 50_000)
    metadata = pq.ParquetFile(tmp_path / "x.parquet").metadata
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [rows_per_group(NARROW)] * 2 + [600_001 - 2 * rows_per_group(NARROW)]


def test_lineage_changes_the_file_but_not_the_content(tmp_path: Path) -> None:
    one = write(tmp_path / "1", rows(10), 10, origin="a")
    two = write(tmp_path / "2", rows(10), 10, origin="b")
    assert one.sha256 != two.sha256
    assert one.content("") == two.content("")
    assert one.content("x") != two.content("")


def test_one_changed_value_changes_the_content(tmp_path: Path) -> None:
    data = rows(300_000)
    changed = data.set_column(
        2, "c", pa.array(np.append(data["c"].to_numpy()[:-1], 0.5)).cast(pa.float64())
    )
    one = write(tmp_path / "1", data, 300_000)
    two = write(tmp_path / "2", changed.cast(NARROW.schema()), 300_000)
    assert one.content("") != two.content("")


def test_wrong_columns_are_refused(tmp_path: Path) -> None:
    file = ParquetFile(tmp_path / "x", TRADES, {})
    with pytest.raises(TypeError, match="trades: columns"):
        file.write(rows(3))
    file.abandon()
    assert not (tmp_path / "x").exists()


def test_a_changed_raw_file_is_hashed_again(tmp_path: Path) -> None:
    raw = tmp_path / "raw.dbn"
    raw.write_bytes(b"one")
    cache = HashCache(tmp_path / "lake")
    first = cache.sha256(raw)
    cache.save()
    raw.write_bytes(b"two")
    assert HashCache(tmp_path / "lake").sha256(raw) != first
    raw.write_bytes(b"one")
    assert HashCache(tmp_path / "lake", rehash=True).sha256(raw) == first
