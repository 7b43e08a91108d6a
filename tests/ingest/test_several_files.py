"""Several files for one day, and which files are chosen."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.catalog import LakeCatalog
from pipeline.errors import RequestError
from pipeline.ingest.stage import INGEST
from pipeline.stage import Selection
from tests.ingest.making import (
    D0,
    DAY,
    T0,
    ingest,
    mbo,
    partitions,
    rows_equal,
    settings,
    table,
    write,
)


def test_a_copy_of_the_same_bytes_counts_once(raw: Path, lake: Path) -> None:
    path = write(raw / "a.mbo.dbn.zst", mbo(10))
    shutil.copy(path, raw / "copy.mbo.dbn.zst")
    assert ingest(lake, raw).done == 1
    assert table(lake, "mbo").num_rows == 10


def test_disjoint_files_are_joined_in_order_of_time(raw: Path, lake: Path) -> None:
    records = mbo(100)
    write(raw / "a.mbo.dbn.zst", records[60:])
    write(raw / "b.mbo.dbn.zst", records[:60])
    summary = ingest(lake, raw)
    assert (summary.done, summary.failed) == (1, [])
    rows = table(lake, "mbo")
    rows_equal(rows, records)
    assert rows["record"].to_pylist() == [*range(60), *range(40)]
    assert len(set(rows["source"].to_pylist())) == 2
    assert [r["rows"] for r in table(lake, "sources").to_pylist()] == [60, 40]


def test_files_split_by_symbol_are_tasks_of_their_own(raw: Path, lake: Path) -> None:
    write(raw / "es.mbo.dbn", mbo(5), symbols={"ESM5": 1})
    write(raw / "nq.mbo.dbn", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    assert ingest(lake, raw).done == 2


def test_different_files_for_one_day_are_an_error_naming_both(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn", mbo(10))
    write(raw / "b.mbo.dbn", mbo(10, seed=1))
    write(raw / "nq.mbo.dbn", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    summary = ingest(lake, raw)
    assert (summary.done, len(summary.failed)) == (1, 1)
    message = summary.failed[0][1]
    assert str(raw / "a.mbo.dbn") in message
    assert str(raw / "b.mbo.dbn") in message
    assert 'raw.prefer = "newest"' in message
    assert partitions(lake, "mbo") == [f"GLBX.MDP3 {D0} NQM5"]


def test_the_newest_may_be_preferred(raw: Path, lake: Path) -> None:
    newer = mbo(10, seed=1)
    a = write(raw / "a.mbo.dbn", newer)
    b = write(raw / "b.mbo.dbn", mbo(12))
    os.utime(a, (2_000_000_000, 2_000_000_000))
    os.utime(b, (1_000_000_000, 1_000_000_000))
    summary = ingest(lake, raw, prefer="newest")
    assert summary.failed == []
    rows_equal(table(lake, "mbo"), newer)
    left = {row["file"]: row for row in table(lake, "sources").to_pylist()}
    assert left["b.mbo.dbn"]["rows"] == 0
    assert left["b.mbo.dbn"]["reject_reasons"] == '{"superseded": 12}'
    os.utime(b, (2_100_000_000, 2_100_000_000))
    assert ingest(lake, raw, prefer="newest").done == 1
    assert table(lake, "mbo").num_rows == 12


def test_a_snapshot_alone_does_not_precede_the_day_that_begins_with_it(
    raw: Path, lake: Path
) -> None:
    snapshot = mbo(5, step=0)
    write(raw / "a.mbo.dbn", snapshot)
    write(raw / "b.mbo.dbn", np.concatenate([snapshot, mbo(5, start=T0 + 10)]))
    assert len(ingest(lake, raw).failed) == 1


def test_unknown_preference_is_a_wrong_request(raw: Path, lake: Path) -> None:
    write(raw / "a.mbo.dbn", mbo(1))
    with pytest.raises(RequestError, match=r"raw.prefer 'newset'; did you mean 'newest'"):
        ingest(lake, raw, prefer="newset")


def test_the_selection_chooses_files_by_dataset_symbol_and_day(raw: Path, lake: Path) -> None:
    write(raw / "es.mbo.dbn", mbo(5), symbols={"ESM5": 1})
    write(raw / "nq.mbo.dbn", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    later = T0 + DAY
    write(raw / "es2.mbo.dbn", mbo(5, start=later), symbols={"ESM5": 1}, start=later,
          end=later + DAY)  # fmt: skip
    catalog, chosen = LakeCatalog(lake), settings(raw)

    def names(selection: Selection) -> set[str]:
        return {task.partition["raw"] for task in INGEST.plan(catalog, chosen, selection)}

    assert names(Selection(symbols="ES*")) == {"es.mbo.dbn", "es2.mbo.dbn"}
    assert names(Selection(start=dt.date(2025, 5, 2))) == {"es2.mbo.dbn"}
    assert names(Selection(end=D0)) == {"es.mbo.dbn", "nq.mbo.dbn"}
    assert names(Selection(dataset="XNAS.ITCH")) == set()


def test_files_of_the_same_name_are_told_apart(raw: Path, lake: Path) -> None:
    write(raw / "one" / "es.mbo.dbn", mbo(5))
    later = T0 + DAY
    write(raw / "two" / "es.mbo.dbn", mbo(6, start=later), start=later, end=later + DAY)
    assert ingest(lake, raw).done == 2
    assert ingest(lake, raw).up_to_date == 2
    assert table(lake, "mbo").num_rows == 11


def test_a_file_that_comes_later_joins_its_day_and_may_leave_again(raw: Path, lake: Path) -> None:
    records = mbo(100)
    write(raw / "b.mbo.dbn", records[60:])
    ingest(lake, raw)
    early = write(raw / "a.mbo.dbn", records[:60])
    assert ingest(lake, raw).failed == []
    rows_equal(table(lake, "mbo"), records)
    assert len(partitions(lake, "sources")) == 1
    assert ingest(lake, raw).up_to_date == 1
    early.unlink()
    assert ingest(lake, raw).done == 1
    rows_equal(table(lake, "mbo"), records[60:])
