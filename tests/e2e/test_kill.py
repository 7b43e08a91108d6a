"""Kill -9 at random moments of ingest and book, then run again: the same bytes."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.running import command, digest, mbo, process_environment

COUNTS = [pytest.param(3, id="few"), pytest.param(50, id="fifty", marks=pytest.mark.slow)]


def kill_at(seconds: float, *arguments: str | Path) -> bool:
    """Start the command, kill it that long after its first output file; true if it was killed."""
    process = subprocess.Popen(
        command(*arguments),
        env=process_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lake = Path(arguments[arguments.index("--lake") + 1])
    tmp = lake / "_tmp"
    while process.poll() is None and not (tmp.is_dir() and any(tmp.iterdir())):
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    return process.wait() == -9


@pytest.mark.parametrize("count", COUNTS)
def test_killed_ingest_gives_the_same_bytes(
    sample_raw: Path, sample_lake: Path, tmp_path: Path, count: int
) -> None:
    rng = random.Random(5)
    undisturbed = tmp_path / "undisturbed"
    mbo("ingest", sample_raw, "--lake", undisturbed, "--workers", "1").checked()
    lake = tmp_path / "lake"
    killed = 0
    for round_ in range(count):
        killed += kill_at(
            rng.uniform(0, 0.4), "ingest", sample_raw, "--lake", lake, "--force",
            "--workers", str(1 + round_ % 2),
        )  # fmt: skip
    assert killed, "no run was killed in time: the moments are too late"
    mbo("ingest", sample_raw, "--lake", lake, "--workers", "1").checked()
    assert digest(lake) == digest(undisturbed)


@pytest.mark.parametrize("count", COUNTS)
def test_killed_book_gives_the_same_bytes(sample_lake: Path, tmp_path: Path, count: int) -> None:
    rng = random.Random(6)
    lake = tmp_path / "lake"
    shutil.copytree(sample_lake, lake)
    shutil.rmtree(lake / "book")
    killed = 0
    for round_ in range(count):
        killed += kill_at(
            rng.uniform(0, 0.6), "book", "--lake", lake, "--force", "--workers", str(1 + round_ % 2)
        )
    assert killed, "no run was killed in time: the moments are too late"
    mbo("book", "--lake", lake, "--workers", "1").checked()
    assert digest(lake) == digest(sample_lake)


def test_two_workers_give_the_same_bytes_as_one(
    sample_raw: Path, sample_lake: Path, tmp_path: Path
) -> None:
    lake = tmp_path / "two"
    mbo("ingest", sample_raw, "--lake", lake, "--workers", "2").checked()
    mbo("book", "--lake", lake, "--workers", "2").checked()
    assert digest(lake) == digest(sample_lake)
