"""No look-ahead, end to end: cut the raw file anywhere, run everything again, and whatever was
known by then is unchanged: every feature, every order, every fill.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard
from databento_dbn import MBOMsg

from pipeline.lake import Lake, open_lake
from tests.e2e.running import mbo

COUNTS = [pytest.param(2, id="few"), pytest.param(20, id="twenty", marks=pytest.mark.slow)]
MBO_DTYPE = np.dtype(MBOMsg._dtypes)
STRATEGY = ("mean_reversion", "-p", "entry_z=1.0", "-p", "patience=3s", "-p", "window=60s")
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


def run_all(raw: Path, lake: Path) -> Lake:
    mbo("ingest", raw, "--lake", lake, "--workers", "1").checked()
    mbo("features", "--lake", lake, "--workers", "1").checked()
    arguments = ["--lake", lake, "--workers", "1", "--fees", "0.5", "--partial"]
    mbo("backtest", *STRATEGY, *arguments).checked()
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
    """Random records after the opening snapshot, some in the middle of an event."""
    first = int((market.records["flags"] & 32 != 0).sum()) + 1
    rng = random.Random(seed)
    for _ in range(count):
        yield rng.randrange(first + (len(market.records) - first) // 4, len(market.records))


def ns(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int64)


def check(market: Market, lake: Lake, count: int) -> tuple[int, int]:
    """Compare a lake of ``count`` records with the full one; rows and fills compared."""
    rows = 0
    for item in lake.partitions("features"):
        keys = dict(item.partition.keys)
        symbol, session = keys["symbol"], keys["session"]
        part = lake.scan("features", symbols=symbol, start=session, end=session).collect()
        if part.is_empty():
            continue
        last = part["event"].max()
        whole = market.full.scan("features", symbols=symbol, start=session, end=session)
        expected = whole.filter(pl.col("event") <= last).collect()
        assert part.equals(expected), f"features of {symbol} {session} at {count}"
        rows += part.height
    fills = sum(check_orders(market, lake, symbol) for symbol in symbols_of(lake))
    return rows, fills


def symbols_of(lake: Lake) -> list[str]:
    return sorted({item.partition["symbol"] for item in lake.partitions("orders")})


def clocks(lake: Lake, symbol: str) -> tuple[int, int]:
    """Our clock and the venue's at the end of the symbol's last whole event."""
    records = lake.scan("mbo", symbols=symbol).sort("date", "record").collect()
    whole = records.head(int((records["flags"] & 128 != 0).arg_true()[-1]) + 1)
    live = whole.filter(pl.col("flags") & 32 == 0)
    times = live.select(ns("ts_recv").max(), ns("ts_event").max()).row(0)
    return int(times[0]), int(times[1])


def check_orders(market: Market, lake: Lake, symbol: str) -> int:
    """Compare what a symbol's orders and fills were by the cut; fills compared."""
    known, venue = clocks(lake, symbol)

    def both(table: str, by: str, condition: pl.Expr) -> list[pl.DataFrame]:
        frames = (x.scan(table, symbols=symbol).filter(condition) for x in (lake, market.full))
        return [frame.drop("run_id").sort(by).collect() for frame in frames]

    decided = both("orders", "order", ns("ts_decided") < known)
    assert decided[0].select(DECIDED).equals(decided[1].select(DECIDED))
    ended = both("orders", "order", ns("ts_ended") < venue)
    assert ended[0].equals(ended[1])
    fills = both("fills", "fill", ns("ts") < venue)
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
    rows = fills = 0
    for number, length in enumerate(cuts(market, count, seed=11)):
        raw = market.cut(tmp_path / f"raw{number}", length)
        lake = run_all(raw, tmp_path / f"lake{number}")
        compared = check(market, lake, length)
        rows, fills = rows + compared[0], fills + compared[1]
    assert rows > 1000
    assert fills > 0, "the strategy never traded: nothing was shown"
