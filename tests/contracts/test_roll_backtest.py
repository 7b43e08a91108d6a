"""A run on a continuous symbol: the session's contract is traded, and nothing crosses a roll."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.backtest import state
from pipeline.backtest.command import prepare
from pipeline.backtest.options import timetable
from pipeline.backtest.summary import render
from pipeline.catalog import LakeCatalog
from pipeline.config import Settings
from pipeline.lake import open_lake
from pipeline.progress import Quiet
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions
from pipeline.stage import Partition, Selection, Task
from pipeline.tables import INSTRUMENTS, MBO, ROLLS
from tests.backtest.test_stage import (
    DATASET,
    DAYS,
    FEATURES,
    feature_rows,
    hours,
    mbo_rows,
    tape_of,
)

FRONT, NEXT = "SIMM5", "SIMU5"


def rolls(why: str) -> pa.Table:
    rows = []
    for rank, contracts in enumerate(((FRONT, NEXT), (NEXT, FRONT))):
        for i, contract in enumerate(contracts):
            row = dict.fromkeys(ROLLS.schema().names)
            row |= {"rule": "v", "rank": rank, "session": date.fromisoformat(DAYS[i])}
            row |= {"contract": contract, "roll": i, "why": why if i else "start"}
            rows.append(row | {"contract_before": contracts[0] if i else None})
    return pa.Table.from_pylist(rows, schema=ROLLS.schema())


def always_long(day: int) -> pa.Table:
    """A z-score that asks for a long position to the last row."""
    table = feature_rows(day)
    z = pa.array(np.full(table.num_rows, -4.0, np.float32))
    return table.set_column(FEATURES.schema().names.index("zscore_300s"), "zscore_300s", z)


@dataclass(frozen=True)
class Market:
    """Two deliveries on two days; the front has records on the day after the roll, or has not."""

    why: str = "volume"
    front_goes_on: bool = True
    name: str = "seed"
    version: int = 1
    tables: tuple[str, ...] = ("mbo", "features", "instruments", "rolls")

    def plan(self, catalog, settings, selection):
        return [Task(Partition.of(dataset=DATASET), (), {"seed": repr(self)})]

    def run(self, task, inputs, outputs):
        for i, day in enumerate(DAYS):
            for symbol in (FRONT, NEXT):
                if symbol == FRONT and i and not self.front_goes_on:
                    continue
                keys = Partition.of(dataset=DATASET, date=day, symbol=symbol)
                writer = outputs.writer(MBO, keys)
                writer.write(mbo_rows(tape_of(i)))
                writer.note(opens_with="snapshot")
            symbol = (FRONT, NEXT)[i]
            keys = Partition.of(set="default", dataset=DATASET, session=day, symbol=symbol)
            writer = outputs.writer(FEATURES, keys)
            writer.write(always_long(i))
            writer.note(complete=True, clock="event", hours=hours(i))
        rows = [
            {c.name: None for c in INSTRUMENTS.columns} | {
                "symbol": symbol, "instrument_id": 1, "publisher_id": 1, "product": "SIM",
                "first_date": date(2025, 6, 1), "last_date": date(2025, 6, 30),
                "tick_size": 250_000_000, "multiplier": 50, "currency": "USD",
                "match_algorithm": "F",
            }
            for symbol in (FRONT, NEXT)
        ]  # fmt: skip
        outputs.writer(INSTRUMENTS).write(pa.Table.from_pylist(rows, schema=INSTRUMENTS.schema()))
        writer = outputs.writer(ROLLS, Partition.of(dataset=DATASET, root="SIM"))
        writer.write(rolls(self.why))

    def warm(self):
        pass


def run(root: Path, stage, symbols: str | None = None):
    selection = Selection(symbols=symbols)
    return run_stage(stage, LakeCatalog(root), Settings(), selection, RunOptions(), Quiet())


HOLDER = """
from dataclasses import dataclass
from strategies.event import BUY, GTC, EventStrategy, Market, feature, state

@dataclass
class Holder(EventStrategy):
    z: int = feature("zscore_300s")
    bought: bool = state(False)

    def on_session_start(self, m: Market) -> None:
        m.buy(99_000_000_000, 1, GTC)

    def on_market_event(self, m: Market) -> None:
        if m.two_sided() and not self.bought:
            m.market(BUY, 1)
            self.bought = True
"""
"""Holds one contract and bids for another, with an order that outlives sessions."""


def backtest(root: Path, symbols: str = "SIM.v.0", strategy: str = "mean_reversion"):
    texts = ["flatten=false"] + ["patience=5s"] * (strategy == "mean_reversion")
    request = prepare(strategy, texts, Settings())
    summaries = [run(root, stage, symbols) for stage in request.stages()]
    assert [s.exit_code for s in summaries] == [0, 0]
    return request, open_lake(root).run(request.run_id), summaries


def ends(result) -> list[tuple[str, str, int]]:
    marks = result.equity.filter(pl.col("kind") == "session_end").sort("symbol", "ts").collect()
    return [(r["symbol"], str(r["session"]), r["position"]) for r in marks.iter_rows(named=True)]


def test_a_roll_by_volume_is_closed_at_the_next_open_in_the_contract_left(tmp_path: Path) -> None:
    """It was not known before: the position is held overnight, in the old contract only."""
    run(tmp_path, Market())
    request, result, _ = backtest(tmp_path)
    assert ends(result) == [
        (FRONT, DAYS[0], 1),
        (FRONT, DAYS[1], 0),
        (NEXT, DAYS[1], 1),
    ]
    out = result.fills.filter(pl.col("symbol") == FRONT).collect().row(-1, named=True)
    assert (str(out["session"]), out["side"], out["role"]) == (DAYS[1], "A", "taker")
    orders = result.orders.filter(pl.col("symbol") == FRONT).collect()
    assert orders.filter(pl.col("session") == date.fromisoformat(DAYS[1]))["side"].to_list() == [
        "A"
    ], "it only gets out, in the session in which another contract is the front"
    assert request.rolls == [f"{DAYS[1]} SIM.v.0: SIMM5 to SIMU5 (volume)"]
    text = render(request.run_id, result.readings.to_dicts(), tmp_path, asked="mean_reversion")
    assert "roll        2025-06-03 SIM.v.0: SIMM5 to SIMU5 (volume)" in text


def test_a_roll_known_beforehand_is_closed_before_the_last_close(tmp_path: Path) -> None:
    run(tmp_path, Market(why="calendar"))
    _, result, summaries = backtest(tmp_path)
    assert not summaries[0].warnings
    assert ends(result) == [(FRONT, DAYS[0], 0), (NEXT, DAYS[1], 1)]


def test_what_could_not_be_closed_is_said(tmp_path: Path) -> None:
    """The contract left has no record any more, an hour before it would be closed."""
    run(tmp_path, Market(front_goes_on=False))
    _, result, summaries = backtest(tmp_path)
    assert ends(result) == [(FRONT, DAYS[0], 1), (NEXT, DAYS[1], 1)]
    ((_, text),) = summaries[0].warnings
    assert text.startswith("SIMM5, exact: a position of 1 could not be closed at the roll")


def test_a_contract_named_itself_is_traded_through(tmp_path: Path) -> None:
    run(tmp_path, Market())
    request, result, _ = backtest(tmp_path, "SIM.v.0,SIMM5")
    assert request.rolls == []
    assert (FRONT, DAYS[0], 1) in ends(result)


def holder(tmp_path: Path) -> str:
    (tmp_path / "holder.py").write_text(HOLDER)
    return f"{tmp_path / 'holder.py'}:Holder"


def test_an_event_strategy_leaves_the_old_contract_too(tmp_path: Path) -> None:
    """By volume: at the next open; its GTC order ends there, and a new one is refused."""
    run(tmp_path / "lake", Market())
    _, result, _ = backtest(tmp_path / "lake", strategy=holder(tmp_path))

    assert ends(result) == [(FRONT, DAYS[0], 1), (FRONT, DAYS[1], 0), (NEXT, DAYS[1], 1)]
    assert sent(result, FRONT) == [
        (DAYS[0], "B", "limit", "cancelled", "asked"),
        (DAYS[0], "B", "market", "filled", "none"),
        (DAYS[1], "B", "limit", "rejected", "flattening"),
        (DAYS[1], "A", "market", "filled", "none"),
    ]
    first = result.fills.filter(pl.col("symbol") == NEXT).collect().row(0, named=True)
    assert (str(first["session"]), first["position"]) == (DAYS[1], 1)


def test_an_event_strategy_leaves_before_the_close_where_the_roll_is_known(tmp_path: Path) -> None:
    run(tmp_path / "lake", Market(why="calendar"))
    _, result, _ = backtest(tmp_path / "lake", strategy=holder(tmp_path))

    assert ends(result) == [(FRONT, DAYS[0], 0), (NEXT, DAYS[1], 1)]
    assert sent(result, FRONT) == [
        (DAYS[0], "B", "limit", "cancelled", "asked"),
        (DAYS[0], "B", "market", "filled", "none"),
        (DAYS[0], "A", "market", "filled", "none"),
    ]


def sent(result, symbol: str) -> list[tuple[str, ...]]:
    columns = ("session", "side", "type", "status", "reason")
    orders = result.orders.filter(pl.col("symbol") == symbol).sort("order").collect()
    return [tuple(map(str, row)) for row in orders.select(columns).rows()]


@dataclass
class Session:
    preopen_ns: int = 0
    close_ns: int = 10**12
    announced_close_ns: int = 10**12
    segments: tuple[tuple[int, int], ...] = ((1000, 10**12),)


def test_the_timetable_leaves_a_contract_at_the_open_or_before_the_close() -> None:
    def flattens(*args) -> list[int]:
        return [int(row[0]) for row in timetable([Session()], *args) if row[1] == state.AT_FLATTEN]

    assert flattens(None, {}) == []
    assert flattens(None, {0: None}) == [1000]
    assert flattens(None, {0: 10**11}) == [9 * 10**11]
    assert flattens(10**10, {0: None}) == [1000]
