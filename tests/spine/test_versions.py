"""A kernel does not change under an old stage version without anybody saying so."""

from __future__ import annotations

import json

import pytest

from pipeline import versions
from pipeline.errors import RequestError


def test_versions_are_remembered_as_the_code_is() -> None:
    known = json.loads(versions.RECORD.read_text())
    now = versions.current()
    changed = versions.stale(known, now)
    assert not changed, (
        f"kernels of {changed} changed: raise the stage's version, then run "
        "`python -m pipeline.versions` (or --same-bytes if no output can differ)"
    )
    assert known == now, "run `python -m pipeline.versions`"


def test_a_changed_kernel_needs_a_version_or_a_word(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = versions.current()
    old = {name: dict(entry) for name, entry in now.items()}
    old["book"]["kernels"] = "0" * 16
    monkeypatch.setattr(versions, "RECORD", tmp_path / "versions.json")
    versions.RECORD.write_text(json.dumps(old))
    with pytest.raises(RequestError, match="book"):
        versions.remember(same_bytes=False)
    assert versions.remember(same_bytes=True) == ["book"]
    assert json.loads(versions.RECORD.read_text()) == now


def test_stages_depend_on_the_kernels_they_use() -> None:
    now = versions.current()
    assert len({entry["kernels"] for entry in now.values()}) > 3
