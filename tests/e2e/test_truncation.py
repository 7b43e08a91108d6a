"""No look-ahead, end to end: cut the raw file anywhere, or put another future there, run everything
again, and whatever was known by then is unchanged: every feature, every order, every fill, of a
signal strategy and of an event strategy that acts on all it sees.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard
from databento_dbn import MBOMsg

from pipeline.backtest.decisions import FeatureRows
from pipeline.lake import Lake, open_lake
from tests.e2e.running import ROOT, mbo

COUNTS = [pytest.param(2, id="few"), pytest.param(20, id="twenty", marks=pytest.mark.slow)]
MBO_DTYPE = np.dtype(MBOMsg._dtypes)
SIGNAL = ("mean_reversion", "-p", "entry_z=1.0", "-p", "patience=3s", "-p", "window=60s")
EVENTS = (str(ROOT / "tests" / "e2e" / "all_seen.py:AllSeen"),)
# What an order is when it is decided; the rest is known when it has ended.
DECIDED = ["symbol", "order", "session", "side", "type", "tif", "ts_decided"]
MARKOUTS = {"markout_100ms": 10**8, "markout_1s": 10**9, "markout_10s": 10**10}
LATER = [*MARKOUTS, "markout_60s"]


def decompressed(path: Path) -> bytes:
    with open(path, "rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return reader.read()


@dataclass
class Market:
    """A raw folder whose last MBO file gets cut."""

    raw: Path
    last: Path
    full: Lake

    def __post_init__(self) -> None:
        data = decompressed(self.last)
        start = 8 + int.from_bytes(data[4:8], "little")
        self.header = data[:start]
        self.records = np.frombuffer(data[start:], MBO_DTYPE)

    def cut(self, folder: Path, count: int) -> Path:
        """A copy of the folder whose last file holds the first ``count`` records."""
        shutil.copytree(self.raw, folder)
        target = folder / self.last.relative_to(self.raw)
        target.unlink()
        content = self.header + self.records[:count].tobytes()
        target.write_bytes(zstandard.ZstdCompressor().compress(content))
        return folder

    def scrambled(self, folder: Path, count: int) -> Path:
        """A copy of the folder with the same first records and another future."""
        self.cut(folder, count)
        target = folder / self.last.relative_to(self.raw)
        records = self.records.copy()
        future = records[count:]
        rng = np.random.default_rng(count)
        added = future["action"] == b"A"
        for key in np.unique(future[["instrument_id", "side"]][added]):
            places = np.flatnonzero(added & (future[["instrument_id", "side"]] == key))
            other = rng.permutation(places)
            for name in ("price", "size"):
                future[name][places] = future[name][other]
        assert (future != self.records[count:]).any()
        content = self.header + records.tobytes()
        target.write_bytes(zstandard.ZstdCompressor().compress(content))
        return folder


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
    last = max(raw.rglob("*.mbo.dbn.zst"), key=lambda p: p.name)
    return Market(raw, last, run_all(raw, folder / "lake"))


@pytest.fixture(scope="module")
def es_market(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Market:
    folder = tmp_path_factory.mktemp("cut")
    raw = folder / "raw"
    shutil.copytree(real_data / "esh4", raw)
    return Market(raw, max(raw.glob("*.mbo.dbn.zst")), run_all(raw, folder / "lake"))


def cuts(market: Market, count: int, seed: int) -> Iterator[int]:
    """Places after the opening snapshot: in the middle of an event, between two events received at
    the same time, and anywhere.
    """
    records = market.records
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


def ns(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int64)


def check(market: Market, cut: Lake, other: Lake | None, count: int) -> tuple[int, dict[str, int]]:
    """Compare lakes of ``count`` records, and of those with another future, with the full one.

    Rows of features compared, and fills by strategy.
    """
    rows = 0
    for item in cut.partitions("features"):
        keys = dict(item.partition.keys)
        symbol, session = keys["symbol"], keys["session"]
        part, whole, scrambled = (
            lake and lake.scan("features", symbols=symbol, start=session, end=session)
            for lake in (cut, market.full, other)
        )
        part = part.collect()
        if part.is_empty():
            continue
        known = pl.col("event") <= part["event"].max()
        assert part.equals(whole.filter(known).collect()), f"{symbol} {session} at {count}"
        if scrambled is not None:
            assert part.equals(scrambled.filter(known).collect()), f"{symbol} {session} at {count}"
        rows += part.height
    fills = {}
    for strategy, run_id in runs(market.full).items():
        fills[strategy] = 0
        for symbol in symbols_of(cut):
            known, venue = clocks(cut, symbol)
            for lake in filter(None, (cut, other)):
                both = Both(market.full, run_id, lake, runs(lake)[strategy], symbol)
                fills[strategy] += both.check(known, venue)
    return rows, fills


def runs(lake: Lake) -> dict[str, str]:
    """Runs by the name of their strategy."""
    frame = lake.scan("runs").select("strategy", "run_id").collect()
    return dict(frame.iter_rows())


def symbols_of(lake: Lake) -> list[str]:
    return sorted({item.partition["symbol"] for item in lake.partitions("orders")})


def clocks(lake: Lake, symbol: str) -> tuple[int, int]:
    """Our clock and the venue's at the end of the symbol's last whole event.

    A simulation whose records end stops at the venue's: what was on its way to us stays there.
    """
    records = lake.scan("mbo", symbols=symbol).sort("date", "record").collect()
    whole = records.head(int((records["flags"] & 128 != 0).arg_true()[-1]) + 1)
    live = whole.filter(pl.col("flags") & 32 == 0)
    times = live.select(ns("ts_recv").max(), ns("ts_event").max()).row(0)
    return min(times), int(times[1])


@dataclass
class Both:
    """A strategy's run in the full lake and in another, one symbol."""

    full: Lake
    full_run: str
    lake: Lake
    run: str
    symbol: str

    def rows(self, table: str, by: str, condition: pl.Expr) -> list[pl.DataFrame]:
        frames = [
            lake.scan(table, run_id=run, symbols=self.symbol).filter(condition)
            for lake, run in ((self.lake, self.run), (self.full, self.full_run))
        ]
        return [frame.drop("run_id").sort(by).collect() for frame in frames]

    def check(self, known: int, venue: int) -> int:
        """Compare what orders and fills were by our clock and the venue's; fills compared."""
        decided = self.rows("orders", "order", ns("ts_decided") < known)
        assert decided[0].select(DECIDED).equals(decided[1].select(DECIDED))
        ended = self.rows("orders", "order", ns("ts_ended") < venue)
        assert ended[0].equals(ended[1])
        fills = self.rows("fills", "fill", ns("ts") < venue)
        assert fills[0].drop(LATER).equals(fills[1].drop(LATER))
        for column, horizon in MARKOUTS.items():
            then = ns("ts") + horizon < venue
            assert fills[0].filter(then)[column].equals(fills[1].filter(then)[column])
        return fills[0].height


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ["sample_market", "es_market"])
def test_what_was_known_does_not_change(
    name: str, count: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    market: Market = request.getfixturevalue(name)
    rows, fills = 0, Counter[str]()
    for number, length in enumerate(cuts(market, count, seed=11)):
        lake = run_all(market.cut(tmp_path / f"raw{number}", length), tmp_path / f"lake{number}")
        other = None
        if number % 2 == 0:
            raw = market.scrambled(tmp_path / f"other{number}", length)
            other = run_all(raw, tmp_path / f"otherlake{number}")
        compared = check(market, lake, other, length)
        rows += compared[0]
        fills.update(compared[1])
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
    cut = run_all(es_market.cut(tmp_path / "raw", length), tmp_path / "cut")
    with pytest.raises(AssertionError):
        check(replace(es_market, full=full), cut, None, length)
