"""No look-ahead, end to end: a lake made of records up to a point against one made of all of them.

Whatever was known at that point must be the same in both: every feature, every order, every fill.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import databento_dbn as dbn
import numpy as np
import polars as pl
import zstandard

from pipeline.backtest.tables import MARKOUT_HORIZONS
from pipeline.lake import Lake
from pipeline.units import F_LAST, F_SNAPSHOT

MBO_DTYPE: Final = np.dtype(dbn.MBOMsg._dtypes)  # noqa: SLF001 - the only public layout
DECIDED: Final = ["symbol", "order", "session", "side", "type", "tif", "ts_decided"]
"""What an order is when it is decided; the rest is known when it has ended."""
Records = Any
"""A structured array of the vendor's MBO records."""


@dataclass
class LastFile:
    """The newest MBO file of a raw folder, which copies of the folder hold a part of."""

    raw: Path
    path: Path = field(init=False)
    header: bytes = field(init=False)
    records: Records = field(init=False)

    def __post_init__(self) -> None:
        self.path = max(self.raw.rglob("*.mbo.dbn*"), key=lambda path: path.name)
        with open(self.path, "rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            data = reader.read()
        start = 8 + int.from_bytes(data[4:8], "little")
        self.header = data[:start]
        self.records = np.frombuffer(data[start:], MBO_DTYPE)

    def cut(self, folder: Path, count: int) -> Path:
        """A copy of the raw folder whose last file holds the first ``count`` records."""
        return self.replaced(folder, self.records[:count])

    def replaced(self, folder: Path, records: Records) -> Path:
        """A copy of the raw folder whose last file holds other records."""
        shutil.copytree(self.raw, folder)
        target = folder / self.path.relative_to(self.raw)
        target.unlink()
        content = self.header + records.tobytes()
        target.write_bytes(zstandard.ZstdCompressor().compress(content))
        # The vendor's checksums are not the copy's.
        for manifest in folder.rglob("manifest.json"):
            manifest.unlink()
        return folder


@dataclass
class Comparison:
    """Rows of features and, by strategy, fills that both lakes had to agree on."""

    rows: int = 0
    predictions: int = 0
    fills: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def same(self, where: str, one: pl.DataFrame, other: pl.DataFrame) -> None:
        """Note a difference of two frames."""
        if not one.equals(other):
            self.differences.append(f"{where}: {_first_difference(one, other)}")


def compare(full: Lake, cut: Lake) -> Comparison:
    """What a lake of the first records knew, in the lake of all of them.

    Both lakes hold features of the same set, and one run each of the same strategies.
    """
    found = Comparison()
    found.rows = _compare_sessions(full, cut, "features", found)
    if "predictions" in cut.tables():
        found.predictions = _compare_sessions(full, cut, "predictions", found)
    cut_runs = runs(cut)
    for strategy, run_id in runs(full).items():
        for symbol in sorted({item.partition["symbol"] for item in cut.partitions("orders")}):
            pair = _Runs(full, run_id, cut, cut_runs[strategy], symbol)
            found.fills[strategy] += pair.compare(f"{strategy} {symbol}", found)
    return found


def _compare_sessions(full: Lake, cut: Lake, table: str, found: Comparison) -> int:
    """A table of decision points; rows compared."""
    rows = 0
    for item in cut.partitions(table):
        keys = dict(item.partition.keys)
        symbol, session = keys["symbol"], keys["session"]
        part, whole = (
            lake.scan(table, symbols=symbol, start=session, end=session) for lake in (cut, full)
        )
        mine = part.collect()
        if mine.is_empty():
            continue
        known = whole.filter(pl.col("event") <= mine["event"].max()).collect()
        found.same(f"{table} {symbol} {session}", mine, known)
        rows += mine.height
    return rows


def runs(lake: Lake) -> dict[str, str]:
    """Runs by the name of their strategy."""
    frame = lake.scan("runs").select("strategy", "run_id").collect()
    return dict(frame.iter_rows())


def clocks(lake: Lake, symbol: str) -> tuple[int, int]:
    """Our clock and the venue's at the end of the symbol's last whole event, ns.

    A simulation whose records end stops at the venue's: what was on its way to us stays there.
    """
    records = lake.scan("mbo", symbols=symbol).sort("date", "record").collect()
    whole = records.head(int((records["flags"] & F_LAST != 0).arg_true()[-1]) + 1)
    live = whole.filter(pl.col("flags") & F_SNAPSHOT == 0)
    times = live.select(_ns("ts_recv").max(), _ns("ts_event").max()).row(0)
    return min(times), int(times[1])


def _ns(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int64)


@dataclass
class _Runs:
    """A strategy's run in the full lake and in the cut one, one symbol."""

    full: Lake
    full_run: str
    cut: Lake
    cut_run: str
    symbol: str

    def rows(self, table: str, by: str, condition: pl.Expr) -> list[pl.DataFrame]:
        frames = [
            lake.scan(table, run_id=run, symbols=self.symbol).filter(condition)
            for lake, run in ((self.cut, self.cut_run), (self.full, self.full_run))
        ]
        return [frame.drop("run_id").sort(by).collect() for frame in frames]

    def compare(self, where: str, found: Comparison) -> int:
        """What orders and fills were by our clock and the venue's; fills compared."""
        known, venue = clocks(self.cut, self.symbol)
        decided = self.rows("orders", "order", _ns("ts_decided") < known)
        found.same(f"orders of {where}", *(frame.select(DECIDED) for frame in decided))
        ended = self.rows("orders", "order", _ns("ts_ended") < venue)
        found.same(f"ended orders of {where}", *ended)
        fills = self.rows("fills", "fill", _ns("ts") < venue)
        found.same(f"fills of {where}", *(frame.drop(*MARKOUT_HORIZONS) for frame in fills))
        for column, horizon in MARKOUT_HORIZONS.items():
            then = _ns("ts") + horizon < venue
            marked = (frame.filter(then).select("fill", column) for frame in fills)
            found.same(f"{column} of {where}", *marked)
        return fills[0].height


def _first_difference(one: pl.DataFrame, other: pl.DataFrame) -> str:
    if one.height != other.height:
        return f"{one.height:,} rows, with all records {other.height:,}"
    for column in one.columns:
        unequal = ~one[column].eq_missing(other[column])
        if unequal.any():
            row = int(unequal.arg_true()[0])
            return f"row {row}, {column}: {one[column][row]}, then {other[column][row]}"
    return "other columns or types"
