"""The settlement price of the session before, from the vendor's records to the feature."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import databento_dbn as dbn
import numpy as np
import polars as pl
import pytest

from pipeline import open_lake
from pipeline.sample.folder import DbnFile
from pipeline.sample.instruments import INSTRUMENTS
from tests.e2e.running import mbo

STATISTICS = np.dtype(dbn.StatMsg._dtypes)
[FRONT] = [one for one in INSTRUMENTS if one.symbol == "SIMM5"]
TICK, PRICE = 250_000_000, 5_900 * 10**9
SETS = '[features.sets.settled]\nfeatures = ["mid", "prior_settle_dist"]\n'
NEW, DELETE, UNKNOWN = 1, 2, 2**64 - 1


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


SESSION = at("2025-06-02")
"""The trading date whose settlement the session of the third asks for."""
Published = tuple[int, int, int, int]
"""ts_recv, price, update_action, ts_ref."""


def statistics(path: Path, day: str, rows: Sequence[Published], kind: int = 3) -> None:
    records = np.zeros(len(rows), STATISTICS)
    records["length"], records["rtype"] = STATISTICS.itemsize // 4, 24
    records["publisher_id"], records["instrument_id"] = 1, FRONT.instrument_id
    for place, (received, price, action, reference) in enumerate(rows):
        records[place]["ts_recv"] = received
        records[place]["ts_event"] = received - 1000
        records[place]["price"] = price
        records[place]["update_action"] = action
        records[place]["ts_ref"] = reference
    records["stat_type"], records["quantity"] = kind, 2**63 - 1
    file = DbnFile(path, date.fromisoformat(day), "statistics", [FRONT])
    file.write(records)
    file.close()


@pytest.fixture
def raw(sample_raw: Path, tmp_path: Path) -> Path:
    """The sample without its own statistics, as loose files of one symbol's days."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for path in sample_raw.rglob("*.dbn.zst"):
        if any(schema in path.name for schema in (".mbo.", ".definition.")):
            shutil.copy(path, folder)
    (tmp_path / "research.toml").write_text(SETS)
    return folder


def settled(raw: Path) -> pl.DataFrame:
    """The session of 2025-06-03, with the settlement that each row knows, 1e-9."""
    lake = raw.parent / "lake"
    options = ["--lake", lake, "--workers", "1"]
    mbo("ingest", raw, "--symbols", "SIMM5", *options).checked()
    mbo("features", "--set", "settled", "--symbols", "SIMM5", *options).checked()
    frame = open_lake(lake).scan("features", set="settled", start="2025-06-03").collect()
    frame = frame.filter(pl.col("session") == pl.date(2025, 6, 3), pl.col("mid").is_not_null())
    known = ((pl.col("mid_ticks") - pl.col("prior_settle_dist")) * TICK).round().cast(pl.Int64)
    return frame.select(pl.col("ts").cast(pl.Int64), known.alias("known"))


def expected(frame: pl.DataFrame, rows: Sequence[Published]) -> list[int | None]:
    """By going through all rows for each."""
    values = []
    for ts in frame["ts"]:
        before = [row for row in rows if row[0] < ts and row[3] == SESSION]
        last = before[-1] if before else None
        values.append(None if last is None or last[2] == DELETE else last[1])
    return values


def test_revisions_are_known_when_they_are_published(raw: Path) -> None:
    open_ns, evening = at("2025-06-02T22:00"), at("2025-06-02T23:30")
    tied = open_ns + 5_000 * 10**9
    rows = [
        (open_ns + 60 * 10**9, PRICE, NEW, SESSION),
        (open_ns + 120 * 10**9, PRICE + TICK, NEW, SESSION),
        (open_ns + 1800 * 10**9, PRICE + 9 * TICK, NEW, at("2025-05-30")),
        (open_ns + 1900 * 10**9, PRICE + 8 * TICK, NEW, UNKNOWN),
        (tied, PRICE + 2 * TICK, NEW, SESSION),
        (evening, 2**63 - 1, DELETE, SESSION),
    ]
    later = [(at("2025-06-03T09:00"), PRICE + 4 * TICK, NEW, SESSION)]
    statistics(raw, "2025-06-02", rows)
    statistics(raw, "2025-06-03", later)
    frame = settled(raw)
    assert frame["known"].to_list() == expected(frame, [*rows, *later])
    seen = set(frame["known"].unique())
    assert seen >= {None, PRICE, PRICE + TICK, PRICE + 2 * TICK, PRICE + 4 * TICK}
    assert frame.filter(pl.col("ts") > evening)["known"].null_count() > 100


def test_other_statistics_say_nothing(raw: Path) -> None:
    statistics(raw, "2025-06-02", [(at("2025-06-02T22:01"), PRICE, NEW, SESSION)], kind=9)
    assert settled(raw)["known"].null_count() == settled(raw).height


def test_what_comes_later_changes_nothing_before_and_is_taken_in(raw: Path) -> None:
    """A file that ends earlier, then the whole one in its place: stale, and the same until then."""
    first = (at("2025-06-02T22:30"), PRICE, NEW, SESSION)
    second = (at("2025-06-02T23:30"), PRICE + 3 * TICK, NEW, SESSION)
    none = settled(raw)
    assert none["known"].null_count() == none.height
    statistics(raw, "2025-06-02", [first])
    short = settled(raw)
    assert short["known"].to_list() == expected(short, [first])
    statistics(raw, "2025-06-02", [first, second])
    whole = settled(raw)
    assert whole["known"].to_list() == expected(whole, [first, second])
    until = pl.col("ts") <= second[0]
    assert short.filter(until).equals(whole.filter(until))
    assert not short.equals(whole)


def test_an_event_of_the_same_nanosecond_does_not_know_yet(raw: Path) -> None:
    ts = settled(raw)["ts"]
    tied = int(ts[len(ts) // 2])
    rows = [(tied, PRICE, NEW, SESSION)]
    statistics(raw, "2025-06-02" if tied < at("2025-06-03") else "2025-06-03", rows)
    frame = settled(raw)
    assert frame.filter(pl.col("ts") <= tied)["known"].null_count() == int((ts <= tied).sum())
    assert frame.filter(pl.col("ts") > tied)["known"].null_count() == 0


def test_without_statistics_a_check_says_that_it_shows_nothing(raw: Path) -> None:
    settled(raw)
    options = ["--lake", raw.parent / "lake", "--symbols", "SIMM5"]
    said = mbo("check", "prior_settle_dist", *options).checked().out
    assert "no values" in said


def test_the_sample_publishes_a_preliminary_price_and_revises_it(sample_lake: Path) -> None:
    rows = open_lake(sample_lake).scan("vendor_statistics", symbols="SIMM5").collect()
    first, last = rows.sort("ts_recv").head(2).iter_rows(named=True)
    assert last["price"] == first["price"] + FRONT.tick
    assert (first["stat_flags"], last["stat_flags"]) == (2, 3)
    assert str(first["ts_ref"])[:10] == "2025-06-02"
