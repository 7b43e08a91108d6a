"""A small batch folder, and the API over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.sample import SampleOptions, write_sample
from tests.download.gateway import KEY, Gateway, serving
from tests.e2e.running import Result, mbo

DAYS = ("2025-06-01", "2025-06-02")


@pytest.fixture(scope="session")
def vendor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vendor") / "raw"
    return write_sample(SampleOptions(out=out, days=1, records=2_000)).folder


@pytest.fixture
def gateway(
    vendor_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    """The API; the program is pointed at it, has the key, and does not wait long."""
    monkeypatch.chdir(tmp_path)
    with serving(vendor_folder) as running:
        monkeypatch.setenv("DATABENTO_API_KEY", KEY)
        monkeypatch.setenv("MBO_DOWNLOAD__GATEWAY", running.address)
        monkeypatch.setenv("MBO_DOWNLOAD__BACKOFF", "2ms")
        monkeypatch.setenv("MBO_DOWNLOAD__POLL", "2ms")
        monkeypatch.setenv("MBO_DOWNLOAD__RETRIES", "3")
        yield running


@pytest.fixture
def download(tmp_path: Path, gateway: Gateway) -> Callable[..., Result]:
    """`mbo download` of both days; the key is in nothing it writes."""

    def run(*more: str, symbols: str = "SIM.FUT") -> Result:
        result = mbo(
            "download", "--dataset", "SIM.MDP3", "--symbols", symbols,
            "--start", DAYS[0], "--end", DAYS[1], *more,
        )  # fmt: skip
        assert KEY not in result.out + result.err
        return result

    yield run  # type: ignore[misc]
    no_key_in(tmp_path)


def no_key_in(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
