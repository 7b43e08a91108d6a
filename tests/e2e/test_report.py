"""`mbo report` on runs over the sample: the page says what the lake says, whole and alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline import open_lake
from pipeline.backtest.tables import RUNS
from pipeline.report.depth import COLUMNS, REACH
from pipeline.report.markup import shown
from tests.e2e.running import mbo
from tests.report.browser import browser, missing
from tests.report.parsed import Page

TICK = 250_000_000


@pytest.fixture(scope="module")
def run_lake(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with one run in three readings."""
    lake = tmp_path_factory.mktemp("report") / "lake"
    shutil.copytree(feature_lake, lake)
    readings = ("--readings", "optimistic,exact,pessimistic", "--quiet", "--workers", "1")
    mbo(
        "backtest",
        "mean_reversion",
        "-p",
        "entry_z=1.5",
        "-p",
        "cover=0",
        *readings,
        "--lake",
        lake,
    ).checked()
    return lake


@pytest.fixture(scope="module")
def page(run_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "page.html"
    result = mbo("report", "--out", path, "--lake", run_lake, "--json").checked()
    told = json.loads(result.out)
    assert told["path"] == str(path)
    assert told["bytes"] == path.stat().st_size < 2_000_000
    assert told["runs"] == open_lake(run_lake).run_ids()
    return Page(path.read_text(encoding="utf-8"))


def test_its_figures_are_those_of_the_lake(run_lake: Path, page: Page) -> None:
    lake = open_lake(run_lake)
    rows = lake.run(lake.run_ids()[0]).readings.to_dicts()
    columns = {column.name: column for column in RUNS.columns}
    for name in ("net", "gross", "fees", "max_drawdown", "fills", "markout_1s", "holding_s"):
        assert page.figure(name)[-3:] == [shown(columns[name], row[name]) for row in rows]
    for drawn, row in zip(page.data["runs"][0]["curves"], rows, strict=True):
        assert drawn["reading"] == row["reading"]
        assert drawn["equity"]["v"][-1] == float(row["net"])
        assert min(drawn["drawdown"]["v"]) == -float(row["max_drawdown"])


def test_all_fills_of_a_small_run_are_drawn(run_lake: Path, page: Page) -> None:
    lake = open_lake(run_lake)
    stored = lake.run(lake.run_ids()[0]).fills.collect()
    for drawn in page.data["runs"][0]["fills"]:
        own = stored.filter(pl.col("reading") == drawn["reading"]).sort("ts", "symbol", "fill")
        assert drawn["of"] == own.height > 20
        assert np.cumsum(drawn["t"]).tolist() == (own["ts"].cast(pl.Int64) // 10**6).to_list()
        assert drawn["fill"] == own["fill"].to_list()


def test_a_heat_map_is_the_stored_book(run_lake: Path, page: Page) -> None:
    lake = open_lake(run_lake)
    [run] = page.data["runs"]
    fills = lake.run(lake.run_ids()[0]).fills.filter(pl.col("reading") == "exact").collect()
    compared = 0
    for one in run["depth"][:12]:
        symbol = run["symbols"][one["symbol"]]["name"]
        fill = fills.row(
            by_predicate=(pl.col("fill") == one["fill"]) & (pl.col("symbol") == symbol), named=True
        )
        ts = int(fills.filter((pl.col("fill") == one["fill"]) & (pl.col("symbol") == symbol))
                 ["ts"].cast(pl.Int64)[0])  # fmt: skip
        book = lake.scan("book", symbols=symbol).sort("event").collect()
        clock = np.maximum.accumulate(book["ts_event"].cast(pl.Int64).fill_null(0).to_numpy())
        column: list[int] = []
        for k, written in enumerate(one["columns"]):
            column = column if written == 0 else written
            end = ts - 5 * 10**9 + (k + 1) * (10**10 // COLUMNS)
            at = int(np.searchsorted(clock, end, side="right")) - 1
            wanted = {}
            for level in range(10):
                for side, sign in (("bid", 1), ("ask", -1)):
                    px = book[f"{side}_px_{level:02d}"][at]
                    if px is not None and abs(offset := (px - fill["price"]) // TICK) <= REACH:
                        wanted[offset] = sign * book[f"{side}_sz_{level:02d}"][at]
            assert dict(zip(column[::2], column[1::2], strict=True)) == wanted
            compared += len(wanted)
    assert compared > 10_000


def test_the_story_of_a_fill_is_its_order(run_lake: Path, page: Page) -> None:
    lake = open_lake(run_lake)
    run = lake.run(lake.run_ids()[0])
    one = next(item for item in page.data["runs"][0]["depth"] if item["life"]["rests"])
    symbol = page.data["runs"][0]["symbols"][one["symbol"]]["name"]
    own = (pl.col("reading") == "exact") & (pl.col("symbol") == symbol)
    fill = run.fills.filter(own & (pl.col("fill") == one["fill"])).collect()
    order = run.orders.filter(own & (pl.col("order") == fill["order"][0])).collect()
    filled, arrived = (
        int(f[c].cast(pl.Int64)[0]) for f, c in ((fill, "ts"), (order, "ts_arrived"))
    )
    assert one["life"]["arrived"] == (arrived - filled) // 1000
    assert one["life"]["decided"] < one["life"]["arrived"] <= 0 <= one["life"]["known"]
    assert one["facts"]["ahead_at_entry"] == fill["ahead_at_entry"][0]
    assert one["facts"]["ahead"] == fill["ahead"][0]
    assert one["facts"]["times"]["arrived"].endswith(f"{arrived % 10**9:09d}")
    assert any(item["trades"] for item in page.data["runs"][0]["depth"])


def test_lineage_names_the_inputs_by_content_and_no_path(run_lake: Path, page: Page) -> None:
    lake = open_lake(run_lake)
    for item in lake.partitions("mbo", symbols="SIMM5"):
        assert item.content in page.content
    assert lake.run(lake.run_ids()[0]).summary["source"] in page.content
    assert ".dbn.zst" in page.content
    assert str(run_lake) not in page.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zzzz"], "unknown run 'zzzz'"),
        (["--window", "soon"], "--window: 'soon' is not a duration"),
        (["--window", "1h"], "between 1ms and 10m"),
        (["--out", "."], "is a folder"),
        (["--symbols", "NOSUCH"], "holds no such run"),
    ],
    ids=str,
)
def test_wrong_requests_are_one_line(run_lake: Path, arguments: list[str], message: str) -> None:
    result = mbo("report", *arguments, "--lake", run_lake)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_an_unknown_run_names_the_nearest(run_lake: Path) -> None:
    [run_id] = open_lake(run_lake).run_ids()
    almost = run_id[:-1] + ("0" if run_id[-1] != "0" else "1")
    assert f"did you mean '{run_id}'?" in mbo("report", almost, "--lake", run_lake).err


def test_the_page_goes_to_data_reports(run_lake: Path) -> None:
    [run_id] = open_lake(run_lake).run_ids()
    planned = mbo("report", run_id[:4], "--dry-run", "--lake", run_lake).checked()
    assert f"data/reports/{run_id}.html" in planned.out
    assert not Path("data").exists()
    mbo("report", run_id[:4], "--fills", "0", "--lake", run_lake).checked()
    [made] = Path("data/reports").iterdir()
    assert made.name == f"{run_id}.html"


@pytest.mark.slow
def test_a_browser_shows_it_without_complaint(run_lake: Path, tmp_path: Path) -> None:
    if missing():
        pytest.skip(missing())
    mbo("report", "--out", tmp_path / "page.html", "--lake", run_lake).checked()
    with browser() as window:
        for size in ((1440, 900), (390, 844)):
            window.show(tmp_path / "page.html", size)
            wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            assert window.run(f"return {wide}")
            empty = "[...document.querySelectorAll('.plot')].filter(p => !p.querySelector('svg'))"
            assert window.run(f"return {empty}.length") == 0
            title = "document.querySelector('#inspector h3').textContent"
            before = window.run(f"return {title}")
            window.run("document.querySelector('[aria-label=\"Next fill\"]').click()")
            assert window.run(f"return {title}") != before
            assert window.run("return document.querySelectorAll('#inspector canvas').length") == 1
            dark = "getComputedStyle(document.body).backgroundColor"
            light = window.run(f"return {dark}")
            window.run("document.getElementById('theme').click()")
            assert window.run(f"return {dark}") != light
        assert window.complaints() == []
