"""Folders of the raw files and of the lake."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"
