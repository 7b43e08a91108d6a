"""Refusals: one clear line each, and the other files go on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RequestError
from tests.ingest.making import (
    D0,
    DAY,
    T0,
    ingest,
    mbo,
    one_line,
    partitions,
    settings,
    write,
)


def test_a_truncated_file_leaves_nothing_in_the_lake(raw: Path, lake: Path) -> None:
    path = write(raw / "a.mbo.dbn.zst", mbo(20_000))
    path.write_bytes(path.read_bytes()[:-100])
    write(raw / "b.mbo.dbn.zst", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    summary = ingest(lake, raw)
    assert summary.done == 1
    ((name, message),) = summary.failed
    assert "a.mbo.dbn.zst" in name
    assert one_line(message)
    assert "truncated" in message
    assert "record " in message
    assert not list(lake.rglob("symbol=ESM5"))


def test_a_damaged_replacement_does_not_pass_for_the_old_file(raw: Path, lake: Path) -> None:
    path = write(raw / "a.mbo.dbn.zst", mbo(20))
    ingest(lake, raw)
    path.write_bytes(path.read_bytes()[:-10])
    assert ingest(lake, raw).failed


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.dbn.zst", b"ts,price\n", "is a text file"),
        ("empty.dbn", b"", "is empty"),
        ("old.dbz", b"P*M\x18\x90\x00\x00\x00DBZ.", "DBZ"),
    ],
)
def test_files_that_are_no_dbn_fail_alone(
    raw: Path, lake: Path, name: str, content: bytes, says: str
) -> None:
    write(raw / "good.mbo.dbn", mbo(5))
    (raw / name).write_bytes(content)
    summary = ingest(lake, raw)
    assert summary.done == 1
    ((_, message),) = summary.failed
    assert one_line(message)
    assert says in message
    assert summary.exit_code == 1


def test_a_hash_that_differs_from_the_manifest(raw: Path, lake: Path) -> None:
    good = write(raw / "good.mbo.dbn", mbo(5))
    bad = write(raw / "bad.mbo.dbn", mbo(5, ids=(2,)), symbols={"NQM5": 2})
    files = [
        {"filename": p.name, "size": p.stat().st_size, "hash": "sha256:" + digest}
        for p, digest in (
            (good, hashlib.sha256(good.read_bytes()).hexdigest()),
            (bad, "0" * 64),
        )
    ]
    (raw / "manifest.json").write_text(json.dumps({"job_id": "X", "files": files}))
    summary = ingest(lake, raw)
    assert summary.done == 1
    ((_, message),) = summary.failed
    assert "its manifest says 000000000000" in message
    assert "bad.mbo.dbn" in message
    assert ingest(lake, raw, verify_hashes=False).failed == []


@pytest.mark.parametrize("name", ["manifest.json", "condition.json", "symbology.json"])
@pytest.mark.parametrize("content", ["{", '{"a": 1}', '"x"'])
def test_a_corrupt_json_is_said_once_and_stops_no_data(
    raw: Path, lake: Path, name: str, content: str
) -> None:
    write(raw / "a.mbo.dbn", mbo(5))
    (raw / name).write_text(content)
    summary = ingest(lake, raw)
    assert summary.done == 1
    ((_, message),) = summary.failed
    assert str(raw / name) in message
    assert one_line(message)


def test_records_outside_the_headers_days_are_found_and_settled(raw: Path, lake: Path) -> None:
    records = mbo(10, start=T0 + DAY - 5000)
    write(raw / "a.mbo.dbn", records)
    first = ingest(lake, raw)
    assert "its header says 2025-05-01 to 2025-05-01" in first.failed[0][1]
    assert partitions(lake, "mbo") == []
    assert ingest(lake, raw).failed == []
    assert len(partitions(lake, "mbo")) == 2


def test_time_going_far_back_across_midnight_is_an_error(raw: Path, lake: Path) -> None:
    late = mbo(100_000, start=T0 + DAY + 2 * 3600 * 10**9)
    records = np.concatenate([mbo(5), late, mbo(5)])
    write(raw / "a.mbo.dbn", records, end=T0 + 2 * DAY)
    assert "more than an hour across midnight" in ingest(lake, raw).failed[0][1]


def test_an_empty_folder_and_a_missing_one_are_wrong_requests(raw: Path, lake: Path) -> None:
    with pytest.raises(RequestError, match="no such file or folder"):
        ingest(lake, raw)
    raw.mkdir()
    with pytest.raises(RequestError, match=r"holds no .dbn or .dbn.zst file"):
        ingest(lake, raw)


def test_a_folder_emptied_later_does_not_stop_the_other_stages(raw: Path, lake: Path) -> None:
    path = write(raw / "a.mbo.dbn", mbo(5))
    ingest(lake, raw)
    path.unlink()
    standing = settings().with_values(raw={"path": str(raw)})
    assert ingest(lake, chosen=standing).done == 0


def test_a_value_no_record_may_have_is_named_with_file_and_record(raw: Path, lake: Path) -> None:
    records = mbo(50)
    records["action"][33] = b"\xff"
    path = write(raw / "a.mbo.dbn", records)
    ((_, message),) = ingest(lake, raw).failed
    assert message.startswith(f"{path}: record 33: action is the byte 255")


@pytest.mark.parametrize("end", [2**63 - 1, 2**64 - 2])
def test_a_range_of_centuries_in_the_header_is_not_believed(
    raw: Path, lake: Path, end: int
) -> None:
    write(raw / "a.mbo.dbn", mbo(5), start=1, end=end)
    assert ingest(lake, raw).failed == []
    assert partitions(lake, "mbo") == [f"GLBX.MDP3 {D0} ESM5"]


def test_a_truncation_at_any_record_leaves_nothing(raw: Path, lake: Path) -> None:
    whole = write(raw / "a.mbo.dbn.zst", mbo(3000)).read_bytes()
    rng = np.random.default_rng(7)
    for at in rng.integers(1, len(whole), 20).tolist():
        (raw / "a.mbo.dbn.zst").write_bytes(whole[:at])
        ((_, message),) = ingest(lake, raw).failed
        assert one_line(message)
        assert not list(lake.rglob("*.parquet"))
