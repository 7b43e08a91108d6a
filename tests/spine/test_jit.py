"""Kernels kept on disk: several processes that want one at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.jit import nb
from pipeline.roots import ROOT

Start = Callable[..., subprocess.Popen[str]]

SOURCE = """
import sys
import numpy as np
from pipeline.jit import njit

@njit
def twice(values):
    total = values[0] * 2
    for value in values[1:]:
        total += value * 2
    return total

kinds = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for kind in kinds:
    print(twice(np.array([1, 2, 3]).astype(kind)) / 4)
stats = twice.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.fixture
def start(tmp_path: Path) -> Start:
    (tmp_path / "doubling.py").write_text(SOURCE)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def begin(*kinds: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(tmp_path / "doubling.py"), *kinds],
            env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    return begin


def results(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    """What each prints after all have been told to go on together."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    texts = [process.communicate(timeout=100)[0].split("\n")[:-1] for process in processes]
    assert not any(process.returncode for process in processes)
    return texts


def test_processes_that_compile_for_other_types_at_once_all_keep_their_own(start: Start) -> None:
    kinds = ["int64", "float64", "float32"]

    first = results([start(kind) for kind in kinds])
    again = results([start(*kinds)])[0]

    assert first == [["3.0", "0 1"]] * 3
    assert again == ["3.0", "3.0", "3.0", "3 0"]


def test_one_compiles_and_the_others_load(start: Start) -> None:
    texts = results([start("int64") for _ in range(3)])

    assert sorted(texts) == [["3.0", "0 1"], ["3.0", "1 0"], ["3.0", "1 0"]]


LINEAR = """
import sys
import numpy as np
from pipeline.jit import nb
a = np.arange(6.0).reshape(2, 3)
nb.njit(lambda x: x.sum())(a)
before = "scipy.linalg" in sys.modules
assert (nb.njit(lambda x, y: np.dot(x, y))(a, a.T) == a @ a.T).all()
print(before, "scipy.linalg" in sys.modules)
"""


@pytest.mark.skipif(bool(nb.config.DISABLE_JIT), reason="nothing is compiled")
def test_linear_algebra_is_imported_by_what_uses_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINEAR], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]
