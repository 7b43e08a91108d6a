"""The same tests without the compiler, and with every index checked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "test_claims.py",
    "test_claims_of_rows.py",
    "test_chunks_and_resume.py",
    "test_against_reference.py",
    "test_properties.py",
)


@pytest.mark.slow
@pytest.mark.parametrize("switch", ["NUMBA_DISABLE_JIT", "MBO_BOUNDSCHECK"])
def test_kernels_agree_however_they_are_run(switch: str, tmp_path: Path) -> None:
    """Interpreted kernels give the same results; compiled ones never leave their arrays."""
    environment = {**os.environ, switch: "1", "MBO_CACHE_DIR": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    files = [str(Path(__file__).with_name(name)) for name in FILES]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
