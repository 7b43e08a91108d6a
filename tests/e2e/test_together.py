"""Instruments traded together, through the commands: one account, features, models, stories."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipeline.lake import Lake, open_lake
from tests.e2e.running import mbo

BOTH = ("--symbols", "SIMM5,SIMU5", "--workers", "1")
PAIR = '''
from dataclasses import dataclass
from strategies.event import BUY, SELL, EventStrategy, Market, feature, parameter, state


@dataclass
class Pair(EventStrategy):
    """Goes with the first's {reads}, the second against it; turns at most once a minute."""

    together = True
    wake = "touch"
    every: int = parameter(60_000_000_000, "ns", "between turns", low=1)
    sign: int = feature("{reads}")
    last: int = state(0)

    def on_market_event(self, m: Market) -> None:
        if m.instrument != 0 or m.now - self.last < self.every:
            return
        other = m.of(1)
        value = m.feature(self.sign)
        if not m.two_sided() or not other.two_sided() or not abs(value) > 0:
            return
        wanted = 1 if value > 0 else -1
        if m.position != wanted and m.working == 0 and other.working == 0:
            self.last = m.now
            self.turn(m, wanted)
            self.turn(other, -wanted)

    def turn(self, m: Market, wanted: int) -> None:
        missing = wanted - m.position
        m.market(BUY if missing > 0 else SELL, abs(missing))
'''


@pytest.fixture(scope="module")
def lake(feature_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("together") / "lake"
    shutil.copytree(feature_lake, lake)
    return lake


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("pair") / "pair.py"
    file.write_text(PAIR.format(reads="queue_imbalance"))
    return f"{file}:Pair"


def traded(root: Path, *arguments: str | Path) -> tuple[Lake, str]:
    out = mbo("backtest", *arguments, "--lake", root, "--json", *BOTH).checked().out
    return open_lake(root), json.loads(out)["run_id"]


def test_two_instruments_hedge_one_another_and_interpreted_it_is_the_same(
    lake: Path, pair: str
) -> None:
    found, run_id = traded(lake, pair)
    fills = found.run(run_id).fills.collect()
    assert fills.height > 40
    # Every turn is of both, in opposite directions, and each session ends flat.
    by_symbol = fills.group_by("symbol").agg(pl.col("size").sum()).sort("symbol")
    assert by_symbol["symbol"].to_list() == ["SIMM5", "SIMU5"]
    assert by_symbol["size"].n_unique() == 1
    assert fills.group_by("symbol", "session").agg(pl.last("position"))[
        "position"
    ].unique().to_list() == [0]

    found, again = traded(lake, pair, "--interpret", "--force")
    assert again == run_id
    assert found.run(run_id).fills.collect().equals(fills)


def test_the_story_of_a_fill_is_that_of_the_run(lake: Path, pair: str) -> None:
    found, run_id = traded(lake, pair)
    fills = found.run(run_id).fills.filter(pl.col("symbol") == "SIMU5").collect()
    number = fills["fill"][fills.height // 2]
    story = mbo(
        "explain",
        str(number),
        "--run",
        run_id,
        "--strategy",
        pair,
        "--symbols",
        "SIMU5",
        "--lake",
        lake,
    ).checked()
    assert "The replay agrees with what the run stored." in story.out


def test_a_loss_of_both_stops_both_at_one_moment(lake: Path, pair: str, tmp_path: Path) -> None:
    config = tmp_path / "research.toml"
    config.write_text('[backtest.risk]\nsession_loss = "60"\n')
    found, run_id = traded(lake, pair, "--config", config)
    run = found.run(run_id)
    kills = run.equity.filter(pl.col("kind") == "kill_switch").collect()
    assert kills.height > 0
    moments = kills.group_by("session").agg(pl.col("ts").n_unique(), pl.col("symbol").n_unique())
    assert moments["ts"].to_list() == [1] * moments.height
    assert moments["symbol"].to_list() == [2] * moments.height
    assert kills.height == 2 * moments.height  # once each
    # A turn costs some 62 at market; it takes two, and the way out.
    nets = run.fills.group_by("session").agg(pl.col("realised").sum() - pl.col("fee").sum())
    for net in nets.collect()["realised"].to_list():
        assert -60 - 2 * 62 < net < -60
    late = run.orders.filter(pl.col("reason") == "risk_loss").collect()
    assert late.height > 0


def test_a_model_serves_both(lake: Path, tmp_path: Path) -> None:
    mbo("train", "linear", "--no-backtest", "--lake", lake, *BOTH).checked()
    file = tmp_path / "pair.py"
    file.write_text(PAIR.format(reads="prediction"))
    found, run_id = traded(lake, f"{file}:Pair", "--model", "linear")
    run = found.run(run_id)
    fills = run.fills.collect()
    assert fills.height > 10
    assert fills["symbol"].n_unique() == 2
    # The first session only trains: nothing is predicted of it.
    assert fills["session"].cast(pl.String).min() > "2025-06-02"
    number = fills.filter(pl.col("symbol") == "SIMM5")["fill"][0]
    story = mbo(
        "explain", str(number), "--run", run_id, "--strategy", f"{file}:Pair",
        "--symbols", "SIMM5", "--lake", lake,
    ).checked()  # fmt: skip
    assert "The replay agrees with what the run stored." in story.out
