"""No look-ahead, end to end: cut the raw file anywhere, or put another future there, run everything
again, and whatever was known by then is unchanged: every feature, every order, every fill, of a
signal strategy and of an event strategy that acts on all it sees.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.backtest.decisions import FeatureRows
from pipeline.lake import Lake, open_lake
from pipeline.selfcheck.prefix import LastFile, compare
from tests.e2e.running import ROOT, mbo

COUNTS = [pytest.param(2, id="few"), pytest.param(20, id="twenty", marks=pytest.mark.slow)]
SIGNAL = (
    "mean_reversion",
    "-p",
    "entry_z=1.0",
    "-p",
    "cover=0",
    "-p",
    "patience=3s",
    "-p",
    "window=60s",
)
EVENTS = (str(ROOT / "tests" / "e2e" / "all_seen.py:AllSeen"),)


@dataclass
class Market:
    """A raw folder whose last MBO file gets cut, and the lake of all of it."""

    last: LastFile
    full: Lake

    @property
    def raw(self) -> Path:
        return self.last.raw

    def scrambled(self, folder: Path, count: int) -> Path:
        """A copy of the folder with the same first records and another future."""
        records = self.last.records.copy()
        future = records[count:]
        rng = np.random.default_rng(count)
        added = future["action"] == b"A"
        for key in np.unique(future[["instrument_id", "side"]][added]):
            places = np.flatnonzero(added & (future[["instrument_id", "side"]] == key))
            other = rng.permutation(places)
            for name in ("price", "size"):
                future[name][places] = future[name][other]
        assert (future != self.last.records[count:]).any()
        return self.last.replaced(folder, records)


def run_all(raw: Path, lake: Path) -> Lake:
    mbo("ingest", raw, "--lake", lake, "--workers", "1").checked()
    mbo("features", "--lake", lake, "--workers", "1").checked()
    arguments = ["--lake", lake, "--workers", "1", "--fees", "0.5", "--partial"]
    for strategy in (SIGNAL, EVENTS):
        mbo("backtest", *strategy, *arguments).checked()
    return open_lake(lake)


@pytest.fixture(scope="module")
def sample_market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    folder = tmp_path_factory.mktemp("cut")
    raw = folder / "raw"
    mbo("sample", "--out", raw, "--days", "1", "--records", "20000", "--quiet").checked()
    for path in raw.rglob("*.dbn.zst"):
        if ".mbo." not in path.name and ".definition." not in path.name:
            path.unlink()
    next(raw.rglob("manifest.json")).unlink()
    return Market(LastFile(raw), run_all(raw, folder / "lake"))


@pytest.fixture(scope="module")
def es_market(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Market:
    folder = tmp_path_factory.mktemp("cut")
    raw = folder / "raw"
    shutil.copytree(real_data / "esh4", raw)
    return Market(LastFile(raw), run_all(raw, folder / "lake"))


def cuts(market: Market, count: int, seed: int) -> Iterator[int]:
    """Places after the opening snapshot: in the middle of an event, between two events received at
    the same time, and anywhere.
    """
    records = market.last.records
    first = int((records["flags"] & 32 != 0).sum()) + 1
    low, high = (first + (len(records) - first) * part // 8 for part in (2, 7))
    rng = random.Random(seed)
    ended = (records["flags"][:-1] & 128) != 0
    tied = ended & (records["ts_recv"][1:] == records["ts_recv"][:-1])
    for where in (~ended, tied):
        places = np.flatnonzero(where) + 1
        yield rng.choice(places[(places >= low) & (places < high)].tolist() or [low])
    for _ in range(count - 2):
        yield rng.randrange(low, high)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ["sample_market", "es_market"])
def test_what_was_known_does_not_change(
    name: str, count: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    market: Market = request.getfixturevalue(name)
    rows, fills = 0, Counter[str]()
    for number, length in enumerate(cuts(market, count, seed=11)):
        lake = run_all(
            market.last.cut(tmp_path / f"raw{number}", length), tmp_path / f"lake{number}"
        )
        futures = [market.full]
        if number % 2 == 0:
            raw = market.scrambled(tmp_path / f"other{number}", length)
            futures.append(run_all(raw, tmp_path / f"otherlake{number}"))
        for full in futures:
            compared = compare(full, lake)
            assert compared.differences == [], f"cut at {length}"
            rows += compared.rows
            fills.update(compared.fills)
    assert rows > 1000
    assert len(fills) == 2
    assert min(fills.values()) > 0, "a strategy never traded: nothing was shown"


@pytest.mark.slow
def test_a_leak_is_noticed(
    es_market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features of fifty rows later: the event strategy trades otherwise before a cut."""
    more = FeatureRows.more

    def leak(self: FeatureRows) -> Any:
        rows, values, follow = more(self)
        return rows, np.roll(values, -50, axis=0), follow

    monkeypatch.setattr(FeatureRows, "more", leak)
    full = run_all(es_market.raw, tmp_path / "full")
    length = next(cuts(es_market, 2, seed=11))
    cut = run_all(es_market.last.cut(tmp_path / "raw", length), tmp_path / "cut")
    assert compare(full, cut).differences
