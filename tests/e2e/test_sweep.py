"""``mbo sweep`` and ``mbo backtest --latency a,b`` on the sample market, killed halfway, too."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.lake import open_lake
from tests.e2e.running import command, digest, mbo, process_environment

GRID = ("-p", "entry_z=1,1.5", "-p", "exit_z=0.2..0.6:0.4", "-p", "patience=2s", "-p", "cover=0")
OPTIONS = ("--symbols", "SIMM5", "--workers", "1")


@pytest.fixture(scope="module")
def swept(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A lake with a sweep in it, and what the sweep printed."""
    lake = tmp_path_factory.mktemp("sweep") / "lake"
    shutil.copytree(feature_lake, lake)
    done = mbo("sweep", "mean_reversion", *GRID, "--lake", lake, *OPTIONS).checked()
    return lake, done.out


def test_summary_has_the_best_the_map_and_what_luck_explains(swept: tuple[Path, str]) -> None:
    lake, out = swept

    (sweep_id,) = open_lake(lake).sweep_ids()
    result = open_lake(lake).sweep(sweep_id[:6])
    best = result.rows.filter("chosen").row(0, named=True)
    for part in (
        "SIMULATED", "4 of entry_z, exit_z", "best by net, exact reading, USD", best["run_id"],
        "net by entry_z (down) and exit_z (across)", "needs 20 sessions", "does not react",
        sweep_id,
    ):  # fmt: skip
        assert part in out
    assert len(result.rows) == 4
    rows = [line.split() for line in out.splitlines() if line.split()[-1:] == [best["run_id"]]]
    assert rows[0][0] == str(best["trial"])


def test_again_runs_nothing_and_says_the_same(swept: tuple[Path, str]) -> None:
    lake, out = swept
    before = digest(lake)

    again = mbo("sweep", "mean_reversion", *GRID, "--lake", lake, *OPTIONS).checked()

    assert "simulate: 4 up to date" in again.err
    assert again.out == out
    assert digest(lake) == before


def test_trials_are_runs_for_every_other_command(swept: tuple[Path, str]) -> None:
    lake, _ = swept
    (sweep_id,) = open_lake(lake).sweep_ids()

    trials = mbo("sql", f"sweep_trials sweep={sweep_id}", "--lake", lake, "--json").checked()
    rows = json.loads(trials.out)
    rows = rows["rows"] if isinstance(rows, dict) else rows
    listed = mbo("list", "runs", "--lake", lake).checked().out

    assert len(rows) == 4
    assert all(row_id in listed for row_id in open_lake(lake).run_ids())
    assert len(open_lake(lake).run_ids()) == 4
    _, row = mbo("list", "sweeps", "--lake", lake).checked().out.splitlines()
    assert row.split()[:4] == [sweep_id, "mean_reversion", "entry_z,", "exit_z"]


def test_json_has_the_trials(swept: tuple[Path, str]) -> None:
    lake, _ = swept

    done = mbo("sweep", "mean_reversion", *GRID, "--lake", lake, *OPTIONS, "--json").checked()

    found = json.loads(done.out)
    assert len(found["trials"]) == 4
    assert found["luck"]["deflated"] is None
    assert found["luck"]["sessions"] == found["trials"][0]["sessions"]
    assert found["out_of_sample"] == []


def test_latencies_are_told_side_by_side(swept: tuple[Path, str]) -> None:
    lake, _ = swept

    done = mbo(
        "backtest", "mean_reversion", "-p", "entry_z=1", "-p", "cover=0",
        "--latency", "0,5ms,100ms", "--lake", lake, *OPTIONS,
    ).checked()  # fmt: skip

    lines = done.out.splitlines()
    assert ["latency", "0", "5ms", "100ms"] in [line.split() for line in lines]
    for reading in ("optimistic", "exact", "pessimistic"):
        assert sum(line.split()[:1] == [reading] for line in lines) >= 3
    runs = open_lake(lake).scan("runs").collect()
    latencies = {json.loads(text)["latency"] for text in runs["settings"]}
    assert latencies == {"0", "1ms", "5ms", "100ms"}


def test_wrong_requests_are_one_line_before_anything_runs(tmp_path: Path) -> None:
    """No lake is there: none of these gets so far as to look for it."""
    for words, options in (
        ("did you mean 'entry_z'", ("-p", "entry=1,2")),
        ("did you mean 'net'", ("-p", "entry_z=1,2", "--metric", "nett")),
        ("unknown reading", ("-p", "entry_z=1,2", "--reading", "hopeful")),
        ("belongs to --walk-forward", ("-p", "entry_z=1,2", "--purge", "1")),
        ("tested more than once", ("--walk-forward", "train=2,test=2,step=1")),
        ("zscore_77s", ("-p", "window=77s,60s")),
        ("must hold", ("-p", "exit_z=4,5")),
    ):
        done = mbo("sweep", "mean_reversion", *options, "--lake", tmp_path / "none")
        assert (done.code, done.out) == (2, "")
        assert words in done.err
        assert len(done.err.splitlines()) == 1
    done = mbo("backtest", "mean_reversion", "-p", "entry_z=1,2", "--latency", "0,1ms")
    assert done.code == 2
    assert "`mbo sweep` tries several values" in done.err


def start(lake: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("sweep", "mean_reversion", *GRID, "--lake", lake, "--symbols", "SIMM5", *options),
        env=process_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_a_run(lake: Path, process: subprocess.Popen[str]) -> None:
    """Until the first run is stored."""
    commits = lake / "_commits" / "simulate"
    while process.poll() is None and not any(commits.rglob("*.json")):
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_sweep_goes_on_to_the_same_bytes(
    feature_lake: Path, swept: tuple[Path, str], tmp_path: Path, workers: str, how: signal.Signals
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(feature_lake, lake)

    process = start(lake, "--workers", workers)
    wait_for_a_run(lake, process)
    process.send_signal(how)
    _, err = process.communicate()
    assert process.returncode == (130 if how is signal.SIGINT else -9)
    assert "Traceback" not in err
    kept = len(list((lake / "_commits" / "simulate").rglob("*.json")))
    assert 1 <= kept < 4

    done = mbo("sweep", "mean_reversion", *GRID, "--lake", lake, *OPTIONS).checked()

    assert f"simulate: {4 - kept} done, {kept} up to date" in done.err
    whole = digest(swept[0])
    for table in ("orders", "fills", "equity", "sweeps"):
        own = {name: value for name, value in digest(lake).items() if name.startswith(table)}
        assert own
        assert own.items() <= whole.items()
