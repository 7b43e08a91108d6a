"""From DBN bytes through the real stages: the tables are the reference's, however it is cut."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipeline.book import stage as book_stage
from pipeline.book.stage import BOOK
from pipeline.book.tape import COUNTERS
from pipeline.catalog import LakeCatalog
from pipeline.ingest.dbn import DbnReader
from pipeline.progress import Quiet
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions
from pipeline.stage import Selection
from pipeline.storage import lake_lock
from tests.book.support import MIDNIGHT, assert_same_rows, odd, plain, structs
from tests.ingest import making
from tests.reference.book import reference_day
from tests.reference.records import Rec

DATE = 20250501
SYMBOLS = {"ESM5": 1, "NQM5": 2, "CLM5": 3}


def write(path: Path, records: list[Rec], frames: int) -> None:
    array = structs(records)
    array["length"], array["rtype"] = array.dtype.itemsize // 4, 160
    making.write(path, array, frames=frames, symbols=SYMBOLS)


def book(lake: Path) -> None:
    with lake_lock(lake):
        summary = run_stage(
            BOOK, LakeCatalog(lake), making.settings(), Selection(), RunOptions(workers=1), Quiet()
        )
    assert summary.failed == summary.blocked == [], summary.details


@pytest.mark.parametrize("seed", range(6))
def test_any_legal_stream_in_any_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    shift = making.T0 - MIDNIGHT
    records = [
        r._replace(ts_recv=r.ts_recv + shift, ts_event=r.ts_event + shift)
        for r in odd(draw, 500, 1 + seed % 3)
    ]
    name = draw.choice(("a.mbo.dbn", "a.mbo.dbn.zst"))
    write(tmp_path / "raw" / name, records, draw.choice((1, 2, 9)))
    defaults = DbnReader.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "chunk_bytes", draw.choice((57, 560, 5000, 1 << 20)))
    monkeypatch.setattr(book_stage, "BATCH_ROWS", draw.choice((1, 13, 100, 65_536)))
    monkeypatch.setattr(book_stage, "EVERY", draw.choice((40, 111, 1 << 20)))
    lake = tmp_path / "lake"

    assert making.ingest(lake, tmp_path / "raw").failed == []
    book(lake)

    for symbol, instrument in list(SYMBOLS.items())[: 1 + seed % 3]:
        own = [r for r in records if r.instrument_id == instrument]
        wanted = reference_day(own, DATE)
        tables = (making.table(lake, table, symbol=symbol) for table in ("book", "flow", "trades"))
        assert_same_rows(*tables, wanted)
        [numbers] = plain(making.table(lake, "quality", symbol=symbol))
        names = numbers.keys() & {"records", "start", *COUNTERS}
        assert len(names) > 10
        assert {n: numbers[n] for n in names} == {n: wanted.quality[n] for n in names}
        # A legal stream has no orphans; what it names it added before.
        assert numbers["orphan_cancels"] == numbers["orphan_fills"] == 0
