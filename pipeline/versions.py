"""Guard of stage versions: a kernel whose source changed needs a new version, or a word.

An upgrade recomputes what stage versions say, so a kernel that gives other bytes under an old
version would leave stale results behind.  ``versions.json`` remembers, for each stage, the
version and a hash of the kernels it is made of; a test compares.

    python -m pipeline.versions              after a version was raised
    python -m pipeline.versions --same-bytes after a change that cannot change any output
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import TypedDict

from pipeline.errors import RequestError
from pipeline.jit import kernel_modules, with_imports
from pipeline.roots import ROOT
from pipeline.stages import STAGES, load_stage

RECORD = Path(__file__).with_name("versions.json")


class Known(TypedDict):
    """What is remembered of a stage."""

    version: int
    kernels: str


def current() -> dict[str, Known]:
    """Version and kernel hash of every stage, as the code is now.

    The kernels of a stage are the compiling modules among all it imports; comments and
    docstrings count, which is the price of a simple rule.
    """
    # What a strategy is given is compiled with it, not in a kernel of ours.
    kernels = {*kernel_modules(), ROOT / "strategies" / "market.py"}
    found: dict[str, Known] = {}
    for name in STAGES:
        stage = load_stage(name)
        module = Path(str(importlib.import_module(STAGES[name].partition(":")[0]).__file__))
        digest = hashlib.sha256()
        for path, text in sorted(with_imports([module]).items()):
            if path in kernels:
                digest.update(str(path.relative_to(ROOT)).encode())
                digest.update(text)
        found[name] = {"version": stage.version, "kernels": digest.hexdigest()[:16]}
    return found


def stale(known: dict[str, Known], now: dict[str, Known]) -> list[str]:
    """Stages whose kernels changed while their version stood still."""
    return [
        name
        for name, entry in now.items()
        if name in known
        and known[name]["kernels"] != entry["kernels"]
        and known[name]["version"] == entry["version"]
    ]


def remember(*, same_bytes: bool) -> list[str]:
    """Write ``versions.json`` anew; returns the stages that changed.

    Raises
    ------
    RequestError
        If kernels changed under an old version and ``same_bytes`` was not said.
    """
    known: dict[str, Known] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    now = current()
    unraised = stale(known, now)
    if unraised and not same_bytes:
        raise RequestError(
            f"the kernels of {', '.join(unraised)} changed but not the version: raise it, or say "
            "--same-bytes if no output can differ"
        )
    RECORD.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    return [name for name in now if known.get(name) != now[name]]


if __name__ == "__main__":
    try:
        print("\n".join(remember(same_bytes="--same-bytes" in sys.argv[1:])) or "nothing changed")
    except RequestError as error:
        sys.exit(str(error))
