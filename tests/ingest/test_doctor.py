"""What `mbo doctor` says of a raw folder."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pipeline.config import Settings
from pipeline.errors import RequestError
from pipeline.ingest import doctor
from pipeline.ingest.doctor import examine, render, weekday_gaps
from tests.ingest.making import DAY, T0, mbo, write


def day_file(raw: Path, offset: int, count: int = 10) -> Path:
    start = T0 + offset * DAY
    records = mbo(count, start=start, seed=offset)
    return write(raw / f"{offset}.mbo.dbn.zst", records, start=start, end=start + DAY)


def settings(tmp_path: Path) -> Settings:
    return Settings().with_values(lake={"path": str(tmp_path / "lake")})


def test_a_healthy_batch_folder(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    files = [day_file(raw, offset) for offset in (0, 1, 4, 6)]  # Thu, Fri, Mon, Wed
    entries = [
        {
            "filename": path.name,
            "size": path.stat().st_size,
            "hash": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
    ]
    entries.append({"filename": "lost.mbo.dbn.zst", "size": 5, "hash": "sha256:00"})
    (raw / "manifest.json").write_text(json.dumps({"files": entries}))
    conditions = [
        {"date": "2025-05-01", "condition": "available"},
        {"date": "2025-05-02", "condition": "degraded"},
    ]
    (raw / "condition.json").write_text(json.dumps(conditions))
    report = examine([raw], settings(tmp_path))
    (holding,) = report.holdings
    assert (holding.files, holding.records, holding.records_exact) == (4, 40, True)
    assert (holding.first_day, holding.last_day, holding.days) == ("2025-05-01", "2025-05-07", 4)
    assert holding.gaps == [("2025-05-06", "2025-05-06", 1)]
    assert holding.conditions == {"available": ["2025-05-01"], "degraded": ["2025-05-02"]}
    assert holding.symbols == ["ESM5"]
    assert (report.verified, report.unlisted) == (4, 0)
    assert report.absent == [str(raw / "lost.mbo.dbn.zst")]
    assert report.refused == []
    assert report.forecast["records"] == 40
    text = render(report)
    assert "4 files" in text
    assert "weekdays missing: 2025-05-06" in text
    assert "1 day degraded: 2025-05-02" in text
    json.dumps(report.as_json())
    assert not (tmp_path / "lake").exists(), "nothing is written"


def test_what_would_be_refused_and_why(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    good = day_file(raw, 0)
    shutil.copy(good, raw / "copy.mbo.dbn.zst")
    cut = day_file(raw, 1)
    cut.write_bytes(cut.read_bytes()[:-5])
    plain = write(raw / "plain.mbo.dbn", mbo(5), symbols={"NQM5": 2})
    plain.write_bytes(plain.read_bytes()[:-5])
    (raw / "text.dbn.zst").write_text("hello, this is text")
    (raw / "manifest.json").write_text("{")
    report = examine([raw], settings(tmp_path))
    reasons = {Path(path).name: reason for path, reason in report.refused}
    assert set(reasons) == {cut.name, plain.name, "text.dbn.zst", "manifest.json"}
    assert "truncated" in reasons[cut.name]
    assert "truncated" in reasons[plain.name]
    assert len(report.duplicates) == 1
    assert "4 would be refused:" in render(report)


def test_files_that_would_clash_are_shown_together(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write(raw / "a.mbo.dbn", mbo(5))
    write(raw / "b.mbo.dbn", mbo(5, seed=1))
    report = examine([raw], settings(tmp_path))
    assert report.together == [[str(raw / "a.mbo.dbn"), str(raw / "b.mbo.dbn")]]


def test_the_count_of_a_large_file_is_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "COUNTED_BYTES", 1 << 20)
    monkeypatch.setattr(doctor, "_SAMPLE_RECORDS", 10_000)
    day_file(tmp_path / "raw", 0, count=200_000)
    (holding,) = examine([tmp_path / "raw"], settings(tmp_path)).holdings
    assert not holding.records_exact
    assert holding.records == pytest.approx(200_000, rel=0.25)
    report = examine([tmp_path / "raw"], settings(tmp_path))
    assert "about 2" in render(report) or "about 1" in render(report)


def test_every_real_file_is_judged(real_data: Path, tmp_path: Path) -> None:
    report = examine([real_data], settings(tmp_path))
    refused = sorted(Path(path).name for path, _ in report.refused)
    assert refused == [
        "multi-frame.definition.v1.dbn.frag.zst",
        "test_data.definition.v1.dbn.frag",
        "test_data.mbo.dbz",
    ]
    by_key = {(h.dataset, h.schema): h for h in report.holdings}
    assert by_key["XNAS.ITCH", "mbo"].records == 4
    assert "conditions" in report.as_json()["holdings"][0]


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    assert "no usable DBN file" in render(examine([tmp_path], settings(tmp_path)))
    with pytest.raises(RequestError, match="no such file or folder"):
        examine([tmp_path / "none"], settings(tmp_path))


def test_gaps_count_weekdays_only() -> None:
    days = [dt.date(2025, 5, 2), dt.date(2025, 5, 5), dt.date(2025, 5, 9), dt.date(2025, 5, 20)]
    assert weekday_gaps(days) == [
        ("2025-05-06", "2025-05-08", 3),
        ("2025-05-12", "2025-05-19", 6),
    ]
