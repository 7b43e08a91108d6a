"""Pages of planted runs: whole, closed in themselves, and saying what the lake says."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline.backtest.tables import RUNS
from pipeline.errors import RequestError
from pipeline.lake import Lake
from pipeline.report.choose import MOST_RUNS, choose, newest
from pipeline.report.curves import Drawn
from pipeline.report.figures import figure_columns
from pipeline.report.fills import choose_fills
from pipeline.report.markup import duration, shown
from pipeline.report.page import Options, page_of, write_page
from pipeline.stage import Selection
from tests.report.parsed import Page
from tests.report.planted import Planted

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)> %%data%% Ünï ≥ \"'&"


def page(lake: Lake, *runs: str, options: Options | None = None) -> Page:
    chosen = choose(lake, runs, Selection())
    return Page(page_of(chosen, options or Options()))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Planted().into(tmp_path_factory.mktemp("planted") / "lake")


def test_a_page_loads_nothing(lake):
    made = page(lake)
    assert "link" not in made.tags
    assert "img" not in made.tags
    assert not made.handlers
    assert all(link.startswith("#") for link in made.links)
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", made.text) == []
    assert "@import" not in made.text
    assert not re.search(r"url\(", re.search(r"<style>(.*?)</style>", made.text, re.DOTALL)[1])
    assert made.policy.startswith("default-src 'none';")


def test_its_own_script_is_the_only_one_allowed(lake):
    made = page(lake)
    [script] = made.scripts
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in made.policy


def test_every_figure_of_every_reading_is_that_of_the_lake(lake):
    made = page(lake)
    rows = lake.run(lake.run_ids()[0]).readings.to_dicts()
    for column in figure_columns():
        own = made.figure(column.name)[-len(rows) :]
        assert own == [shown(column, row[column.name]) for row in rows], column.name
    assert len({made.figure(c.name)[-1] for c in figure_columns()}) > 40


def test_money_is_written_exactly():
    net = next(column for column in RUNS.columns if column.name == "net")
    assert shown(net, Decimal("-1234.500000000")) == "\u22121,234.50"
    assert shown(net, Decimal("0.000000001")) == "0.000000001"
    assert shown(net, None) == "-"


def test_parts_of_a_run_are_those_of_the_lake(lake):
    made = page(lake)
    run = lake.run(lake.run_ids()[0])
    nets = [cell.text for cell in made.cells if cell.figure == "net"]
    wanted = []
    net = next(column for column in RUNS.columns if column.name == "net")
    for split in ("session", "hour", "symbol", "direction", "side", "role"):
        rows = run.by(split).filter(pl.col("reading") == "exact")
        wanted += [shown(net, value) for value in rows["net"]]
    assert nets[: len(wanted)] == wanted


def test_names_and_parameters_are_text_and_never_markup(tmp_path):
    planted = Planted(strategy=NASTY, params={NASTY: NASTY}, symbols=(("A<B&C", "USD"),))
    made = page(planted.into(tmp_path / "lake"))
    plain = Page(page_of(choose(Planted().into(tmp_path / "two"), (), Selection()), Options()))
    assert made.tags.count("script") == plain.tags.count("script") == 2
    assert "img" not in made.tags
    assert not made.handlers
    assert NASTY in made.content
    assert made.data["runs"][0]["label"].startswith(NASTY)
    assert made.data["runs"][0]["symbols"][0]["name"] == "A<B&C"
    assert made.scripts == plain.scripts


def test_simulated_data_say_so(tmp_path, lake):
    assert "not real trading data" not in page(lake).content
    simulated = Planted(dataset="SIM.MDP3").into(tmp_path / "lake")
    assert "SIMULATED market: the built-in sample, not real trading data" in page(simulated).content
    assert "The rest of the market does not react to our orders." in page(simulated).content


def test_few_sessions_and_why_ratios_are_missing(lake):
    assert "need 20 sessions; 2 say little" in page(lake).content


@pytest.mark.parametrize("fills", [0, 1])
def test_hardly_any_fills(tmp_path, fills):
    made = page(Planted(fills=fills).into(tmp_path / "lake"))
    [run] = made.data["runs"]
    assert [item["of"] for item in run["fills"]] == [fills] * 3
    assert len(run["depth"]) == fills
    assert ("No order was filled" in made.content) == (fills == 0)
    if fills:
        assert run["depth"][0]["missing"] == "the lake holds no book of that time"
        assert run["depth"][0]["facts"]["times"]["filled"] == "2025-06-02 13:00:00.000000000"
        assert run["depth"][0]["why"] == "all"


def test_currencies_have_figures_of_their_own(tmp_path):
    planted = Planted(symbols=(("ESM5", "USD"), ("FDAX", "EUR")))
    made = page(planted.into(tmp_path / "lake"))
    assert "Money in EUR" in made.content
    assert "Money in USD" in made.content
    assert "never added up" in made.content
    curves = made.data["runs"][0]["curves"]
    assert [(c["reading"], c["currency"]) for c in curves[:2]] == [
        ("optimistic", "EUR"),
        ("optimistic", "USD"),
    ]


def test_the_curve_ends_where_equity_does(lake):
    [run] = page(lake).data["runs"]
    for curve in run["curves"]:
        rows = lake.run(lake.run_ids()[0]).equity.filter(pl.col("reading") == curve["reading"])
        equity = [float(value) for value in rows.collect()["equity"]]
        assert curve["equity"]["v"] == equity
        peak, deepest = 0.0, 0.0
        for value in equity:
            peak = max(peak, value)
            deepest = min(deepest, value - peak)
        assert min(curve["drawdown"]["v"]) == deepest


def test_several_runs_side_by_side(tmp_path):
    root = tmp_path / "lake"
    Planted(run_id="aa00000000000000", params={"size": "1", "window": "300s"}).into(root)
    other = Planted(run_id="bb00000000000000", params={"size": "2", "window": "300s"}, seed=2)
    made = page(other.into(root), "aa", "bb")
    assert [run["label"] for run in made.data["runs"]] == ["planted aa000000", "planted bb000000"]
    assert len({tuple(run["curves"][0]["equity"]["v"]) for run in made.data["runs"]}) == 2
    differs = made.content[
        made.content.index("What differs") : made.content.index("What is the same")
    ]
    assert "size" in differs
    assert "window" not in differs
    assert made.text.count('class="swatch"') + made.text.count("class=swatch") == 2


def test_what_is_drawn_can_be_narrowed(tmp_path):
    planted = Planted(symbols=(("ESM5", "USD"), ("NQM5", "USD")))
    narrow = Selection(symbols="NQ*", start=None, end=None)
    made = page(planted.into(tmp_path / "lake"), options=Options(selection=narrow))
    [run] = made.data["runs"]
    assert [symbol["name"] for symbol in run["symbols"]] == ["NQM5"]
    assert [item["of"] for item in run["fills"]] == [40] * 3
    assert "drawn of 1 of 2 symbols" in made.content


# --- which fills get their book shown -----------------------------------------------------------


def test_chosen_fills_are_the_best_the_worst_the_most_adverse_and_some_by_lot(tmp_path):
    lake = Planted(fills=400).into(tmp_path / "lake")
    drawn = Drawn(lake.run(lake.run_ids()[0]))
    chosen = choose_fills(drawn, 40, [7])
    fills = drawn.run.fills.filter(pl.col("reading") == "exact").collect()
    by = {why: rows["fill"].to_list() for (why,), rows in chosen.rows.group_by("why")}
    assert chosen.of == 400
    assert {why: len(numbers) for why, numbers in by.items()} == {
        "asked": 1, "best": 10, "worst": 10, "adverse": 10, "lot": 9,
    }  # fmt: skip
    assert by["asked"] == [7]
    assert chosen.rows["fill"].n_unique() == 40
    net = fills.select("fill", net=pl.col("realised") - pl.col("fee")).filter(pl.col("fill") != 7)
    closing = net.join(fills.filter(pl.col("realised") != 0), on="fill", how="semi")
    best = closing.filter(pl.col("fill").is_in(by["best"]))["net"]
    assert best.min() >= closing.filter(~pl.col("fill").is_in(by["best"]))["net"].max()
    again = choose_fills(Drawn(lake.run(lake.run_ids()[0])), 40, [7])
    assert again.rows.equals(chosen.rows)


def test_all_fills_of_a_small_run_are_chosen(lake):
    chosen = choose_fills(Drawn(lake.run(lake.run_ids()[0])), 48)
    assert chosen.rows["fill"].to_list() == list(range(40))


def test_the_page_of_a_big_run_is_small(tmp_path):
    made = page(Planted(fills=100_000, sessions=60, readings=("exact",)).into(tmp_path / "lake"))
    [run] = made.data["runs"]
    assert len(made.text.encode()) < 1_500_000
    [fills] = run["fills"]
    assert fills["of"] == 100_000
    assert 2000 <= len(fills["fill"]) <= 2048
    assert len(run["positions"][0]["v"]) <= 3200
    assert len(run["depth"]) == 48


@pytest.mark.slow
def test_a_million_fills_are_a_page_of_a_few_megabytes(tmp_path):
    made = page(Planted(fills=1_000_000, sessions=250).into(tmp_path / "lake"))
    assert len(made.text.encode()) < 4_000_000


# --- which runs, and where to -------------------------------------------------------------------


def test_without_a_name_the_newest_run_is_meant(tmp_path):
    import os

    root = tmp_path / "lake"
    for i, run_id in enumerate(["cc", "aa", "bb"]):
        made = Planted(run_id=run_id * 8, symbols=((f"S{i}", "USD"),)).into(root)
        path = root / "_commits" / "summarise" / f"run_id={run_id * 8}.json"
        os.utime(path, (1000 + i, 1000 + i))
    assert newest(made, Selection()) == "bb" * 8
    assert newest(made, Selection(symbols="S1")) == "aa" * 8
    with pytest.raises(RequestError, match="no such run"):
        newest(made, Selection(symbols="nothing"))


def test_runs_are_named_by_their_first_characters(tmp_path):
    root = tmp_path / "lake"
    Planted(run_id="abcd000000000000").into(root)
    lake = Planted(run_id="abef000000000000").into(root)
    [run] = choose(lake, ["abc", "abcd"], Selection()).runs
    assert run.run_id == "abcd000000000000"
    with pytest.raises(RequestError, match="ambiguous: abcd000000000000, abef000000000000"):
        choose(lake, ["ab"], Selection())
    with pytest.raises(RequestError, match="did you mean 'abcd000000000000'"):
        choose(lake, ["abcd000000000001"], Selection())


def test_too_many_runs_are_refused(tmp_path):
    for i in range(MOST_RUNS + 1):
        lake = Planted(run_id=f"{i:016x}", fills=0, readings=("exact",)).into(tmp_path / "lake")
    with pytest.raises(RequestError, match="25 runs are too many"):
        choose(lake, lake.run_ids(), Selection())
    four = choose(lake, lake.run_ids()[:4], Selection())
    assert four.default_path == Path("data/reports/0000000000000000-and-3-more.html")


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "page.html"
    assert write_page(path, "ä") == 2
    with pytest.raises(UnicodeEncodeError):
        write_page(path, "\udc80")
    assert path.read_text(encoding="utf-8") == "ä"
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250 ms"), (12.34, "12.3 s"), (245, "4 min 05 s"), (12_000, "3 h 20 min"),
     (187_200, "2 d 04 h"), (59.999, "60.0 s")],
)  # fmt: skip
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text
