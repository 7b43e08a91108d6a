"""The runner on a toy stage: order, skipping, failures, processes, kills."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.progress import Quiet
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Inputs, Outputs, Partition, Selection, Task
from pipeline.storage import lake_lock
from tests.spine.toy import Toy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    for day in range(1, 6):
        (folder / f"2025-01-0{day}.txt").write_text(f"{day} 1 -2")
    return folder


def run(stage: Toy, lake: Path, *, workers: int = 1, force: bool = False) -> StageSummary:
    options = RunOptions(workers=workers, force=force)
    with lake_lock(lake):
        return run_stage(stage, LakeCatalog(lake), Settings(), Selection(), options, Quiet())


def totals(lake: Path) -> list[int]:
    stored = LakeCatalog(lake).partitions("toy_state")
    return [pq.read_table(s.files[0])["total"][0].as_py() for s in stored]


def digest(lake: Path) -> dict[str, str]:
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(lake.rglob("*.parquet"))
    }


def test_a_chain_runs_in_order_of_its_days(raw: Path, tmp_path: Path) -> None:
    summary = run(Toy(raw), tmp_path / "lake")
    assert summary.done == 5
    assert totals(tmp_path / "lake") == [0, 1, 3, 6, 10]


def test_a_second_run_recomputes_nothing(raw: Path, tmp_path: Path) -> None:
    run(Toy(raw), tmp_path / "lake")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*.parquet")}
    summary = run(Toy(raw), tmp_path / "lake")
    assert (summary.done, summary.up_to_date) == (0, 5)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*.parquet")}


def test_one_and_two_workers_give_the_same_bytes(raw: Path, tmp_path: Path) -> None:
    run(Toy(raw), tmp_path / "one")
    run(Toy(raw), tmp_path / "two", workers=2)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_parameters_and_versions_make_stale(raw: Path, tmp_path: Path) -> None:
    run(Toy(raw), tmp_path / "lake")
    assert run(Toy(raw, factor=2), tmp_path / "lake").done == 5
    assert totals(tmp_path / "lake") == [0, 2, 6, 12, 20]
    assert run(Toy(raw, factor=2, version=2), tmp_path / "lake").done == 5


def test_recomputation_stops_where_the_carried_state_is_the_same(raw: Path, tmp_path: Path) -> None:
    run(Toy(raw), tmp_path / "lake")
    (raw / "2025-01-02.txt").write_text("1 2 -2")  # other numbers, the same sum
    summary = run(Toy(raw), tmp_path / "lake")
    assert (summary.done, summary.up_to_date) == (1, 4)


def test_a_bad_file_fails_alone_and_blocks_what_needs_it(raw: Path, tmp_path: Path) -> None:
    run(Toy(raw), tmp_path / "lake")
    (raw / "2025-01-03.txt").write_text("1 two 3")
    summary = run(Toy(raw), tmp_path / "lake")
    assert [name for name, _ in summary.failed] == ["TOY 2025-01-03"]
    assert summary.failed[0][1].endswith("2025-01-03.txt: record 1: 'two' is no number; mend it")
    assert sorted(name for name, _ in summary.blocked) == ["TOY 2025-01-04", "TOY 2025-01-05"]
    assert summary.exit_code == 1
    # What was finished before is kept, and no temporary is left.
    assert totals(tmp_path / "lake") == [0, 1, 3, 6, 10]
    assert not list((tmp_path / "lake" / "_tmp").iterdir())


def test_a_fault_of_ours_is_reported_not_raised(raw: Path, tmp_path: Path) -> None:
    (raw / "2025-01-05.txt").write_text("boom")
    summary = run(Toy(raw), tmp_path / "lake")
    assert "internal error: ZeroDivisionError: planted" in summary.failed[0][1]
    assert "Traceback" in summary.details[0]


def test_a_dead_worker_fails_its_task_alone(raw: Path, tmp_path: Path) -> None:
    (raw / "2025-01-02.txt").write_text("die")
    summary = run(Toy(raw, chain=False), tmp_path / "lake", workers=2)
    assert summary.done == 4
    assert [name for name, _ in summary.failed] == ["TOY 2025-01-02"]
    assert "died" in summary.failed[0][1]


@dataclass(frozen=True)
class DiesAtTheStart(Toy):
    """Kills the first worker that takes the stage in, before it has any task."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        flag = self.raw / "die-once"
        if flag.exists():
            flag.unlink()
            os._exit(1)


def test_workers_that_die_while_they_start_are_replaced(raw: Path, tmp_path: Path) -> None:
    (raw / "die-once").touch()
    summary = run(DiesAtTheStart(raw), tmp_path / "lake", workers=2)
    assert not (raw / "die-once").exists()
    assert (summary.done, summary.failed, summary.blocked) == (5, [], [])


def test_workers_have_one_thread_and_the_caller_keeps_its_own(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLARS_MAX_THREADS", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run(TellsThreads(raw), tmp_path / "lake", workers=2)
    assert {path.read_text() for path in raw.glob("*.threads")} == {"1 1"}
    assert (raw / "warm").read_text() == "1"
    assert os.environ["POLARS_MAX_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in os.environ


@dataclass(frozen=True)
class TellsThreads(Toy):
    """Writes down how many threads the libraries would take."""

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        names = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS")
        told = " ".join(os.environ.get(name, "") for name in names)
        (self.raw / f"{task.partition['date']}.threads").write_text(told)
        super().run(task, inputs, outputs)

    def warm(self) -> None:
        (self.raw / "warm").write_text(os.environ["POLARS_MAX_THREADS"])


def test_a_missing_output_file_is_made_again(raw: Path, tmp_path: Path) -> None:
    run(Toy(raw), tmp_path / "lake")
    before = digest(tmp_path / "lake")
    stored = LakeCatalog(tmp_path / "lake").partitions("toy")[2]
    stored.files[0].unlink()
    assert run(Toy(raw), tmp_path / "lake").done == 1
    assert digest(tmp_path / "lake") == before


def test_lineage_is_in_the_file_itself(raw: Path, tmp_path: Path) -> None:
    run(Toy(raw, factor=3), tmp_path / "lake")
    here = Partition.of(dataset="TOY", date="2025-01-02")
    stored = LakeCatalog(tmp_path / "lake").get("toy", here)
    assert stored is not None
    metadata = pq.read_schema(stored.files[0]).metadata
    assert metadata[b"mbo.table"] == b"toy"
    assert metadata[b"mbo.params"] == b'{"factor": 3}'
    assert len(metadata[b"mbo.fingerprint"]) == 64


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    from pipeline.errors import StorageError

    with (
        lake_lock(tmp_path),
        pytest.raises(StorageError, match=rf"process {os.getpid()}"),
        lake_lock(tmp_path),
    ):
        pass


CRASH = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.spine.test_runner import run
from tests.spine.toy import Toy
run(Toy(Path({raw!r})), Path({lake!r}), workers={workers})
"""


@pytest.mark.parametrize(
    "point", ["before-sync", "before-rename", "between-renames", "before-commit"]
)
@pytest.mark.parametrize("first", [True, False], ids=["new", "overwrite"])
def test_killed_at_a_commit_then_run_again_gives_the_same_bytes(
    raw: Path, tmp_path: Path, point: str, first: bool
) -> None:
    run(Toy(raw), tmp_path / "undisturbed")
    lake = tmp_path / "lake"
    if not first:
        run(Toy(raw, factor=7), lake)
    script = CRASH.format(root=str(ROOT), raw=str(raw), lake=str(lake), workers=1)
    environment = {**os.environ, "MBO_TEST_CRASH_AT": point}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert killed.returncode == -9
    run(Toy(raw), lake)
    assert digest(lake) == digest(tmp_path / "undisturbed")
