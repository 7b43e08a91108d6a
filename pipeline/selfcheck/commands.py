"""The program's own commands, as people give them: each a process, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.download.vendor import KEY_VARIABLE
from pipeline.errors import OK, MboError

_KEPT: Final = ("MBO_CACHE_DIR",)
"""The other settings of the environment are the user's, not the sample's; so is the key."""


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed."""
        return json.loads(self.out)

    @property
    def why(self) -> str:
        """Its last line on stderr."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else f"exit code {self.code}"


@dataclass(frozen=True)
class Commands:
    """Runs commands in a folder, where no ``research.toml`` of the user's is read."""

    folder: Path

    def run(self, *arguments: str | Path) -> Done:
        """A command, with its exit code."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT or not (name.startswith("MBO_") or name == KEY_VARIABLE)
        }
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode < 0 or done.returncode == 130:
            raise KeyboardInterrupt
        return Done(done.returncode, done.stdout, done.stderr)

    def stages(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """What a command says of its stages.

        Raises
        ------
        MboError
            If it fails.
        """
        done = self.run(*arguments, "--json")
        if done.code != OK:
            raise MboError(f"`mbo {' '.join(map(str, arguments))}`: {done.why}")
        found: list[dict[str, Any]] = done.json["stages"]
        return found
