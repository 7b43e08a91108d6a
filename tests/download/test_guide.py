"""Every command and setting of docs/download.md runs, with the sample's names in it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from pipeline.roots import ROOT
from tests.download.gateway import Gateway
from tests.e2e.running import mbo

TEXT = (ROOT / "docs" / "download.md").read_text()
NAMES = {"GLBX.MDP3": "SIM.MDP3", "MES.FUT": "SIM.FUT", "2025-06-06": "2025-06-03"}


def of_the_sample(text: str) -> str:
    for name, ours in NAMES.items():
        text = text.replace(name, ours)
    return text


def test_the_commands_do_what_the_guide_says(gateway: Gateway) -> None:
    block = of_the_sample(TEXT.split("```sh\n")[1].split("```")[0])
    commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines()
                if line.startswith("mbo ")]  # fmt: skip
    assert [words[0] for words in commands] == ["download", "download", "ingest"]
    results = [mbo(*words, "--workers", "1").checked() for words in commands]

    assert "nothing was ordered" in results[0].out
    assert "sha256" in results[1].out
    assert list(Path("data/lake/mbo").rglob("*.parquet"))


def test_the_settings_are_enough(gateway: Gateway) -> None:
    Path("research.toml").write_text(of_the_sample(TEXT.split("```toml\n")[1].split("```")[0]))
    found = re.search(r"With these `mbo (download [^`]+)` is enough", TEXT)
    assert found

    result = mbo(*shlex.split(of_the_sample(found[1]))).checked()

    assert "total" in result.out
    assert "SIM.MDP3 SIM.FUT (parent)" in result.out
