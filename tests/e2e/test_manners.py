"""Ctrl-C ends what is going on; ``--dry-run``, ``--json`` and ``--quiet`` do what they say."""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli.common import interrupts_kept
from tests.e2e.running import command, mbo, process_environment

LONG = "SELECT sum(a.range * b.range % 7) FROM range(1000000) a, range(1000000) b"


def test_an_interrupt_inside_a_callback_is_not_lost() -> None:
    """LLVM calls back while it compiles; Python forgets what such a callback raises."""

    @ctypes.CFUNCTYPE(None)
    def callback() -> None:
        raise KeyboardInterrupt

    def compiling() -> None:
        with interrupts_kept():
            callback()
            for _ in range(500):  # an interrupt from within wakes no sleep
                time.sleep(0.01)

    # Shells start what runs in the background with interrupts ignored, test runs too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            compiling()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("after", [0.03, 0.06, 0.1, 0.15, 0.2, 0.3])
def test_an_interrupt_while_it_starts_is_one_line(after: float) -> None:
    """Libraries are imported meanwhile; before that the signal is Python's own."""
    code = "import sys; print('here', flush=True); from pipeline.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "doctor", "/"],
        env=process_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.startswith("mbo: interrupted")
    assert err.count("\n") == 1


def test_a_query_can_be_interrupted(sample_lake: Path) -> None:
    process = subprocess.Popen(
        command("sql", LONG, "--lake", sample_lake),
        env=process_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert out == ""


def test_a_dry_backtest_prints_json_and_stores_nothing(feature_lake: Path) -> None:
    before = sorted(feature_lake.rglob("*.parquet"))

    result = mbo("backtest", "mean_reversion", "--lake", feature_lake, "--dry-run", "--json")

    stages = json.loads(result.checked().out)["stages"]
    assert [stage["stage"] for stage in stages][-2:] == ["simulate", "summarise"]
    assert sorted(feature_lake.rglob("*.parquet")) == before


def test_a_quiet_backtest_prints_nothing(feature_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(feature_lake, lake)
    strategy = ("mean_reversion", "-p", "entry_z=1.5", "-p", "cover=0", "-p", "window=60s")

    result = mbo("backtest", *strategy, "--lake", lake, "--workers", "1", "--quiet").checked()

    assert (result.out, result.err) == ("", "")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_dry_sample_writes_nothing(tmp_path: Path, as_json: bool) -> None:
    out = tmp_path / "raw"

    result = mbo("sample", "--dry-run", "--out", out, *(["--json"] if as_json else [])).checked()

    assert not out.exists()
    assert str(out) in result.out
