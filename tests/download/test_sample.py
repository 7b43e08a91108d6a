"""`mbo verify --sample` with a key: the vendor's session, against the API on the loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.config import load_settings
from pipeline.errors import RequestError
from pipeline.selfcheck import fetching
from pipeline.selfcheck.commands import Commands
from tests.download.conftest import no_key_in
from tests.download.gateway import KEY, Gateway
from tests.e2e.running import mbo


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, gateway: Gateway) -> None:
    """The session is the server's."""
    monkeypatch.setattr(fetching, "DATASET", "SIM.MDP3")
    monkeypatch.setattr(fetching, "SYMBOLS", ("SIM.FUT",))


def test_it_is_fetched_for_less_than_the_bound(gateway: Gateway, tmp_path: Path) -> None:
    said: list[str] = []
    raw = fetching.fetch_sample(tmp_path / "s", load_settings(None), said.append, yes=False)
    schemas = {path.name.split(".")[1] for path in raw.rglob("*.dbn.zst")}
    assert schemas == {"mbo", "definition", "status", "trades"}, "those that the dataset has"
    assert any("at most 1.00 USD" in line for line in said)
    paths = [path for path, _ in gateway.asked]
    assert paths.index("metadata.get_cost") < paths.index("batch.submit_job")
    assert KEY not in "".join(said)
    no_key_in(tmp_path)
    gateway.asked.clear()
    fetching.fetch_sample(tmp_path / "again", load_settings(None), said.append, yes=False)
    assert gateway.count("submit_job") == 0, "the vendor holds the jobs still"


@pytest.mark.parametrize("keyed", [False, True])
def test_what_costs_more_is_not_ordered(
    gateway: Gateway, keyed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the bound, or, also with --yes, than the user's own."""
    if keyed:
        monkeypatch.setenv("MBO_DOWNLOAD__MAX_COST", "0.0001")
    else:
        monkeypatch.setattr(fetching, "MOST_USD", 0.0001)
    result = mbo("verify", "--sample", "--quiet", *(["--yes"] if keyed else []))
    assert result.code == 2
    assert "nothing was ordered" in result.err
    assert ("--max-cost" if keyed else "say --yes") in result.err
    assert result.err.count("\n") == 1
    assert gateway.count("submit_job") == 0
    assert KEY not in result.out + result.err
    if not keyed:
        raw = fetching.fetch_sample(tmp_path / "s", load_settings(None), lambda _: None, yes=True)
        assert list(raw.rglob("*.mbo.dbn.zst"))


def test_a_refused_key_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABENTO_API_KEY", "db-another")
    result = mbo("verify", "--sample", "--quiet")
    assert result.code == 2
    assert "db-another" not in result.err
    assert result.err.count("\n") == 1


def test_the_key_is_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that needs one finds none."""
    done = Commands(tmp_path).run("download", "--dataset", "SIM.MDP3", "--symbols", "SIM.FUT",
                                  "--start", "2025-06-01")  # fmt: skip
    assert done.code == 2
    assert "no key" in done.why


def test_an_order_needs_the_sample() -> None:
    with pytest.raises(RequestError, match="belong to --sample"):
        mbo("verify", "--yes", "--debug")


@pytest.mark.slow
def test_the_vendors_sample_passes(gateway: Gateway, tmp_path: Path) -> None:
    result = mbo("verify", "--sample", "--json", "--keep", tmp_path / "kept")
    report = json.loads(result.out)
    assert result.code == 0, report
    assert not report["simulated"]
    assert "the vendor's SIM.MDP3 SIM.FUT" in report["market"]
    assert KEY not in result.out + result.err
    no_key_in(tmp_path)
