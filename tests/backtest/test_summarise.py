"""Figures as the lake has them: by reading and currency, taken apart, printed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipeline.backtest.command import present
from pipeline.backtest.summary import duration, money, render
from pipeline.backtest.tables import MARKOUT_HORIZONS, RUNS, SPLITS
from pipeline.columns import MONEY as MONEY_TYPE
from pipeline.errors import RequestError
from pipeline.inventory import listing
from pipeline.lake import Run, open_lake
from pipeline.stage import Partition, Task
from pipeline.tables import INSTRUMENTS, MBO
from tests.backtest.test_stage import (
    DATASET,
    DAYS,
    FEATURES,
    SETTINGS,
    Seed,
    backtest,
    feature_rows,
    hours,
    mbo_rows,
    run,
    tape_of,
)

MONEY = {"SIMM5": ("USD", 50), "SIMU5": ("EUR", 10)}
TWO_READINGS = replace(
    SETTINGS, backtest=replace(SETTINGS.backtest, readings=("exact", "pessimistic"), fees="0.85")
)


@dataclass(frozen=True)
class TwoCurrencies(Seed):
    """The same market under two symbols, one in dollars, one in euros."""

    def run(self, task, inputs, outputs):
        rows = []
        for symbol, (currency, multiplier) in MONEY.items():
            for i, day in enumerate(DAYS):
                key = Partition.of(dataset=DATASET, date=day, symbol=symbol)
                writer = outputs.writer(MBO, key)
                writer.write(mbo_rows(tape_of(i)))
                writer.note(opens_with="snapshot")
                key = Partition.of(set="default", dataset=DATASET, session=day, symbol=symbol)
                writer = outputs.writer(FEATURES, key)
                writer.write(feature_rows(i))
                writer.note(complete=True, clock="event", hours=hours(i))
            row = {c.name: None for c in INSTRUMENTS.columns} | {
                "symbol": symbol, "instrument_id": 1, "publisher_id": 1, "product": "SIM",
                "first_date": date(2025, 6, 1), "last_date": date(2025, 6, 30),
                "tick_size": 250_000_000, "multiplier": Decimal(multiplier),
                "currency": currency, "match_algorithm": "F",
            }  # fmt: skip
            rows.append(row)
        outputs.writer(INSTRUMENTS).write(pa.Table.from_pylist(rows, schema=INSTRUMENTS.schema()))


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    run(root, TwoCurrencies())
    return root


@pytest.fixture(scope="module")
def request_(lake):
    request, summaries = backtest(lake, settings=TWO_READINGS)
    assert [s.exit_code for s in summaries] == [0, 0]
    return request


@pytest.fixture
def traded(lake, request_) -> Run:
    return open_lake(lake).run(request_.run_id)


def test_currencies_have_rows_of_their_own(traded):
    equity = traded.equity.collect()

    rows = {(row["reading"], row["currency"]): row for row in traded.readings.to_dicts()}
    assert sorted(rows) == [
        (reading, currency) for reading in ("exact", "pessimistic") for currency in ("EUR", "USD")
    ]
    for (reading, currency), row in rows.items():
        own = equity.filter((pl.col("reading") == reading) & (pl.col("currency") == currency))
        assert row["net"] == own["equity"][-1]
        assert row["net"] + row["fees"] == row["gross"] == row["realised"] + row["unrealised"]
        symbol = next(name for name, (code, _) in MONEY.items() if code == currency)
        assert row["symbols"] == symbol
        assert own["symbol"].unique().to_list() == [symbol]
    pessimistic = {c: rows["pessimistic", c]["gross"] for c in ("EUR", "USD")}
    assert pessimistic["USD"] == 5 * pessimistic["EUR"] < 0


def test_runs_come_apart_in_every_way(traded):
    rows = {(row["reading"], row["currency"]): row for row in traded.readings.to_dicts()}

    for split in SPLITS:
        parts = traded.by(split)
        for key, own in parts.group_by(["reading", "currency"], maintain_order=True):
            assert own["rank"].to_list() == list(range(len(own)))
            assert own["fees"].sum() == rows[key]["fees"]
            if split not in ("side", "role"):
                assert own["net"].sum() == rows[key]["net"]
            if split != "direction":
                assert own["contracts"].sum() == rows[key]["contracts"]
        shown = parts["part"].unique().sort().to_list()
        assert (
            shown
            == {
                "session": list(DAYS),
                "hour": ["08", "09"],
                "symbol": sorted(MONEY),
                "direction": ["long", "short"],
                "side": ["A", "B"],
                "role": ["maker", "taker"],
            }[split]
        )
    assert traded.by("hour")["zone"].unique().to_list() == ["America/Chicago"]
    with pytest.raises(RequestError, match="did you mean 'session'"):
        traded.by("sesion")


def test_breakdowns_can_be_queried(lake, traded):
    found = open_lake(lake).sql(f"pnl_by_hour run={traded.run_id[:6]}")

    assert found["hour"].to_list() == ["08", "09"] * 4
    nets = traded.readings.sort("reading", "currency")["net"].to_list()
    assert (
        found.group_by(["reading", "currency"], maintain_order=True)
        .agg(pl.col("net").sum())["net"]
        .to_list()
        == nets
    )


def test_summary_shows_currencies_apart_and_figures_people_ask_for(lake, request_, capsys):
    present(lake, request_)

    text = capsys.readouterr().out
    assert text.index("\nEUR ") < text.index("\nUSD ")
    own = text[: text.index("\nRun ")]
    assert max(len(line) for line in own.splitlines()) <= 78
    assert "SIMULATED" in own
    assert "mean_reversion on SIM.MDP3 SIMU5, SIMM5\n" in own
    for part in ("net of longs", "max drawdown", "fill ratio", "adverse after 1 s", "maker 1 s"):
        assert text.count(f"  {part}") == 2
    assert "unrealised" not in text  # everything was closed
    assert "Sortino  " not in text  # two sessions


def test_many_sessions_left_out_for_one_reason_are_counted(lake, traded, request_):
    days = [f"2025-07-{day:02d}" for day in range(1, 10)]
    skipped = {"SIMM5": dict.fromkeys(days, "too bad"), "SIMU5": {days[3]: "gone", days[1]: "gone"}}
    rows = [{**row, "skipped": json.dumps(skipped)} for row in traded.readings.to_dicts()]

    text = render(request_.run_id, rows, lake, asked="mean_reversion")

    assert "\nleft out    2025-07-02, 2025-07-04: gone\n" in text
    assert "\nleft out    9 sessions from 2025-07-01 to 2025-07-09: too bad\n" in text


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"latency": "table:colo.csv"}, ["latency     table:colo.csv"]),
        (
            {"latency": "1ms~0.3", "response": "2ms", "feed": "10us", "seed": "7"},
            ["latency     1ms~0.3 to the venue, 2ms back, 10us of the feed; seed 7"],
        ),
        (
            {"latency": "0s", "response": "0s", "risk.position": "5", "risk.run_loss": "900"},
            ["latency     0s to the venue, 0s back", "limits      position=5 run_loss=900"],
        ),
    ],
)
def test_summary_says_which_latencies_and_limits_held(lake, traded, request_, settings, lines):
    given_ = json.dumps({"fees": "sample", **settings})
    rows = [{**row, "settings": given_} for row in traded.readings.to_dicts()]

    text = render(request_.run_id, rows, lake, asked="mean_reversion")

    assert [line for line in lines if line not in text.splitlines()] == []


def test_json_holds_every_figure(lake, request_, traded):
    printed = []

    present(lake, request_, print_json=printed.append)

    (shown,) = printed
    text = json.loads(json.dumps(shown, default=str))
    assert len(text["readings"]) == 4
    assert set(text["readings"][0]) == set(traded.readings.columns)


@dataclass(frozen=True)
class Older:
    """Leaves a run as a version before would have: without some of the columns."""

    name: str = "older"
    version: int = 1
    tables: tuple[str, ...] = ("runs",)

    def plan(self, catalog, settings, selection):
        return [Task(Partition.of(run_id="01dd"), (), {})]

    def run(self, task, inputs, outputs):
        table = replace(RUNS, version=1, columns=RUNS.columns[: -len(MARKOUT_HORIZONS)])
        values = {
            pa.string(): "{}", pa.bool_(): True, MONEY_TYPE: Decimal(1), pa.date32(): None,
            pa.float64(): None,
        }  # fmt: skip
        row = {c.name: None if c.nullable else values.get(c.type, 1) for c in table.columns}
        row["reading"] = "exact"
        outputs.writer(table).write(pa.Table.from_pylist([row], schema=table.schema()))

    def warm(self):
        pass


def test_runs_of_older_versions_stay_readable(tmp_path):
    run(tmp_path, Older())
    run(tmp_path, Seed())
    request, _ = backtest(tmp_path)

    opened = open_lake(tmp_path)
    frame = opened.scan("runs").collect()
    assert set(frame["run_id"]) == {"01dd", request.run_id}
    assert set(RUNS.schema().names) <= set(frame.columns)
    assert opened.run("01dd").summary["net"] == 1
    rows = opened.sql("SELECT run_id, net, adverse_10s FROM runs ORDER BY run_id").rows()
    assert rows[0] == ("01dd", Decimal(1), None)
    assert len(rows) == 2
    assert len(listing("runs", SETTINGS, tmp_path)[1]) == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.85, "850 ms"),
        (12.5, "12.5 s"),
        (200, "3 m 20 s"),
        (3600, "1 h 0 m"),
        (86399, "23 h 59 m"),
        (86400 * 12 + 4 * 3600, "12 d 4 h"),
    ],
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text


def test_money_shows_digits_beyond_two_where_there_are_any():
    assert money(Decimal("-1234.500000000")) == "-1,234.50"
    assert money(Decimal("0.000000001")) == "0.000000001"
    assert money(None) == "-"
