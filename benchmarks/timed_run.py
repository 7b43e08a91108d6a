"""A command with its simulations timed: ``python -m benchmarks.timed_run FILE backtest ...``.

Writes as JSON to the file what :mod:`benchmarks.backtest` shows apart: seconds within the
simulation stage, and those of them that compiled the strategy.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.backtest import stage
from pipeline.cli import main


class _Clock:
    """Counts the seconds of what it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - started

        return timed


if __name__ == "__main__":
    simulating, compiling = _Clock(), _Clock()
    times = Path(sys.argv.pop(1))
    stage.Simulate.run = simulating(stage.Simulate.run)  # type: ignore[method-assign]
    stage.Program = compiling(stage.Program)  # type: ignore[assignment,misc]
    try:
        main()
    finally:
        found = {"simulate": simulating.seconds, "compile": compiling.seconds}
        times.write_text(json.dumps(found))
