"""Fixtures all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def find_real_data() -> Path | None:
    """The folder of real market data: ``MBO_TEST_DATA_PATH``, or ``shared/data`` beside us."""
    named = os.environ.get("MBO_TEST_DATA_PATH")
    candidates = [Path(named)] if named else [ROOT.parent / "shared" / "data"]
    return next((path for path in candidates if (path / "SOURCES.md").is_file()), None)


# A shell's background job ignores interrupts, and so does all that it starts: programs that are
# interrupted here would never end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real Databento files; tests that need them skip, saying why, where there are none."""
    path = find_real_data()
    if path is None:
        message = "no real market data here (set MBO_TEST_DATA_PATH to its folder)"
        if os.environ.get("MBO_REAL_DATA") == "require":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may depend on settings of the person who runs it."""
    for name in list(os.environ):
        if name.startswith("MBO_") and name not in {
            "MBO_CACHE_DIR",
            "MBO_REAL_DATA",
            "MBO_BOUNDSCHECK",
            "MBO_TEST_DATA_PATH",
        }:
            monkeypatch.delenv(name)
    monkeypatch.delenv("DATABENTO_API_KEY", raising=False)
    monkeypatch.setenv("TZ", "UTC")
