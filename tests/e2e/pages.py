"""Commands and code of the pages, as a reader would copy them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.roots import ROOT

DOCS = ROOT / "docs"


@dataclass(frozen=True)
class Step:
    """Something a page tells its reader to do."""

    line: int
    kind: str
    """command, python or toml."""
    text: str

    @property
    def arguments(self) -> list[str]:
        """Of a command, without ``mbo``."""
        return shlex.split(self.text, comments=True)[1:]


def steps(page: Path) -> list[Step]:
    """Commands (``mbo ...`` in indented or fenced code) and blocks of Python and TOML, in order."""
    found: list[Step] = []
    fence, block, begin = "", [""], 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if fence in ("python", "toml"):
                found.append(Step(begin, fence, "\n".join(block) + "\n"))
            fence, block, begin = (line[3:] or "text") if not fence else "", [], number
        elif fence:
            block.append(line)
            if fence == "sh" and line.startswith("mbo "):
                found.append(Step(number, "command", line))
        elif line.startswith("    mbo ") and not line.startswith("    mbo ·"):
            found.append(Step(number, "command", line.strip()))
    return found


def translated(text: str, words: Mapping[str, str]) -> str:
    """The text with the reader's folders, symbols and numbers in place of the page's examples."""
    for pattern, replacement in words.items():
        text = re.sub(pattern, replacement, text)
    return text
