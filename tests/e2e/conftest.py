"""One small sample market and one lake made from it, shared by the end-to-end tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.running import mbo


@pytest.fixture(scope="session")
def sample_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated sessions, as a batch folder."""
    folder = tmp_path_factory.mktemp("sample") / "raw"
    mbo("sample", "--out", folder, "--days", "2", "--records", "20000", "--quiet").checked()
    return folder


@pytest.fixture(scope="session")
def sample_lake(sample_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample through ingest and book.  Read-only: tests that write take a copy."""
    lake = tmp_path_factory.mktemp("lake") / "lake"
    mbo("ingest", sample_raw, "--lake", lake, "--workers", "1").checked()
    mbo("book", "--lake", lake, "--workers", "1").checked()
    return lake


@pytest.fixture(scope="session")
def feature_lake(sample_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample through features and labels."""
    lake = tmp_path_factory.mktemp("features") / "lake"
    shutil.copytree(sample_lake, lake)
    mbo("features", "--lake", lake, "--workers", "1").checked()
    return lake


@pytest.fixture(scope="session")
def es_lake(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real ES files through ingest, book and features."""
    lake = tmp_path_factory.mktemp("es") / "lake"
    folders = [real_data / "esh4", real_data / "esm4-snapshot"]
    mbo("ingest", *folders, "--lake", lake, "--workers", "1").checked()
    mbo("features", "--lake", lake, "--workers", "1").checked()
    return lake


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the checkout's own data or research.toml."""
    monkeypatch.chdir(tmp_path)
