"""The stages on a small lake: plan, run, figures, and requests that cannot be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from pipeline.backtest.command import prepare, present
from pipeline.backtest.summary import render
from pipeline.backtest.tables import EQUITY, FILLS, ORDERS, RUNS
from pipeline.catalog import LakeCatalog
from pipeline.columns import Column
from pipeline.config import Settings
from pipeline.errors import RequestError
from pipeline.lake import open_lake
from pipeline.progress import choose_reporter
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions
from pipeline.stage import Partition, Selection, Task
from pipeline.tables import FEATURE_KEYS, INSTRUMENTS, MBO, Table
from tests.backtest.scenario import Tape

DATASET = "SIM.MDP3"
SYMBOL = "SIMM5"
DAYS = ("2025-06-02", "2025-06-03")
SETTINGS = Settings()
FEATURES = Table(
    "features",
    "session",
    1,
    "decision point",
    (
        *FEATURE_KEYS,
        Column("zscore_300s", pa.float32(), "", "", nullable=True, encoding="split"),
        Column("ema_gap_h60s", pa.float32(), "", "", nullable=True, encoding="split"),
        Column("queue_imbalance", pa.float32(), "", "", nullable=True, encoding="split"),
        Column("spread", pa.float32(), "", "", nullable=True, encoding="split"),
    ),
)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def tape_of(day: int) -> Tape:
    """A day of a small market: a snapshot, then trades that walk the touch now and then."""
    tape = Tape()
    start = at(f"{DAYS[day]}T14:00:00")
    first = 100 if day == 0 else 200
    texts = [f"A B 100 10 #{first + 1}", f"A B 99 50 #{first + 2}"]
    texts += [f"A A 101 10 #{first + 3}", f"A A 102 50 #{first + 4}"]
    tape.snapshot(at(f"{DAYS[day]}T00:00:00"), *texts)
    for i in range(200):
        ts = start + i * 10**9
        number = first * 1000 + i
        tape.add(ts, f"A B 100 2 #{number}")
        tape.event(ts + 10**6, "T A 100 1 #0", f"F B 100 1 #{number}", f"M B 100 1 #{number}")
        tape.add(ts + 2 * 10**6, f"C B 100 1 #{number}")
    return tape


def mbo_rows(tape: Tape) -> pa.Table:
    chunk, n = tape.chunk(), len(tape.rows)
    records = chunk.records
    prices = [None if p == 2**63 - 1 else int(p) for p in records.price]
    columns = {
        "ts_recv": pa.array(records.ts_recv).cast(pa.timestamp("ns", "UTC")),
        "ts_event": pa.array(records.ts_event).cast(pa.timestamp("ns", "UTC")),
        "ts_in_delta": pa.array([0] * n, pa.int32()),
        "sequence": pa.array(range(n), pa.uint32()),
        "order_id": pa.array(records.order_id.view(np.uint64)),
        "price": pa.array(prices, pa.int64()),
        "size": pa.array(records.size),
        "flags": pa.array(records.flags),
        "channel_id": pa.array([0] * n, pa.uint8()),
        "publisher_id": pa.array(chunk.publisher),
        "instrument_id": pa.array(chunk.instrument),
        "action": pa.array([chr(a) for a in records.action]),
        "side": pa.array([chr(a) for a in records.side]),
        "record": pa.array(records.record.view(np.uint64)),
        "source": pa.array(["0" * 16] * n),
    }
    return pa.Table.from_arrays([columns[c.name] for c in MBO.columns], schema=MBO.schema())


def feature_rows(day: int, peek: int = 0) -> pa.Table:
    """A row each second; the z-score is far below, then near, in turns of 20 s."""
    n = 200
    ts = at(f"{DAYS[day]}T14:00:00") + np.arange(n) * 10**9 + 5 * 10**8
    event = int(DAYS[day].replace("-", "")) * 10**10 + 1 + 3 * (np.arange(n) + 1)
    z = np.where((np.arange(n) // 20) % 2 == 0, -4.0, 0.0).astype(np.float32)
    columns = [
        pa.array(ts).cast(pa.timestamp("ns", "UTC")),
        pa.array(event),
        pa.array(np.full(n, 100 * 10**9)),
        pa.array(np.full(n, 101 * 10**9)),
        pa.array(np.full(n, 402.0)),
        pa.array(z),
        pa.array(np.full(n, 99.0, np.float32)),
        pa.array(np.zeros(n, np.float32)),
        pa.array(np.full(n, 4.0, np.float32)),
    ]
    return pa.Table.from_arrays(columns, schema=FEATURES.schema())


@dataclass(frozen=True)
class Seed:
    """Writes what the stages before would have written."""

    multiplier: Decimal | None = Decimal("50.000000000")
    match: str | None = "F"
    complete: tuple[bool, ...] = (True, True)
    name: str = "seed"
    version: int = 1
    tables: tuple[str, ...] = ("mbo", "features", "instruments")

    def plan(self, catalog, settings, selection):
        return [Task(Partition.of(dataset=DATASET), (), {"seed": repr(self)})]

    def run(self, task, inputs, outputs):
        for i, day in enumerate(DAYS):
            keys = Partition.of(dataset=DATASET, date=day, symbol=SYMBOL)
            writer = outputs.writer(MBO, keys)
            writer.write(mbo_rows(tape_of(i)))
            writer.note(opens_with="snapshot")
            keys = Partition.of(set="default", dataset=DATASET, session=day, symbol=SYMBOL)
            writer = outputs.writer(FEATURES, keys)
            writer.write(feature_rows(i))
            writer.note(complete=self.complete[i], clock="event", hours=hours(i))
        row = {c.name: None for c in INSTRUMENTS.columns} | {
            "symbol": SYMBOL, "instrument_id": 1, "publisher_id": 1, "product": "SIM",
            "first_date": date(2025, 6, 1), "last_date": date(2025, 6, 30),
            "tick_size": 250_000_000, "multiplier": self.multiplier, "currency": "USD",
            "match_algorithm": self.match,
        }  # fmt: skip
        outputs.writer(INSTRUMENTS).write(pa.Table.from_pylist([row], schema=INSTRUMENTS.schema()))

    def warm(self):
        pass


def hours(day: int) -> dict:
    opens, closes = at(f"{DAYS[day]}T13:00:00"), at(f"{DAYS[day]}T15:00:00")
    return {
        "session": DAYS[day],
        "preopen": opens - 10**9,
        "segments": [[opens, closes]],
        "rth": None,
        "end": closes,
        "early_close": False,
        "announced_close": closes,
    }


def run(root: Path, stage, settings=SETTINGS, workers=1):
    reporter = choose_reporter(quiet=True, json=False)
    catalog = LakeCatalog(root)
    return run_stage(stage, catalog, settings, Selection(), RunOptions(workers), reporter)


def backtest(root: Path, texts=(), settings=SETTINGS, strategy="mean_reversion"):
    texts = [*texts, "patience=5s"]
    request = prepare(strategy, texts, settings)
    summaries = [run(root, stage, settings) for stage in request.stages()]
    return request, summaries


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    run(root, Seed())
    return root


ALL = replace(
    SETTINGS,
    backtest=replace(SETTINGS.backtest, readings=("optimistic", "exact", "pessimistic")),
)


def test_run_fills_its_tables(lake):
    request, summaries = backtest(lake, settings=ALL)

    assert [s.exit_code for s in summaries] == [0, 0]
    found = open_lake(lake).run(request.run_id)
    for name, table in (("orders", ORDERS), ("fills", FILLS), ("equity", EQUITY)):
        files = open_lake(lake).partitions(name, run_id=request.run_id)
        stored = pa.parquet.read_schema(files[0].files[0])
        assert stored.names == [c.name for c in table.columns]
    assert set(RUNS.schema().names) <= set(found.readings.columns)
    rows = {row["reading"]: row for row in found.readings.to_dicts()}
    assert rows["optimistic"]["maker_share"] > rows["pessimistic"]["maker_share"]
    assert all(row["sessions"] == 2 and row["sharpe"] is None for row in rows.values())


def test_stored_money_balances(lake):
    request, _ = backtest(lake, settings=ALL)
    found = open_lake(lake).run(request.run_id)

    equity, fills = found.equity.collect(), found.fills.collect()
    assert len(equity) > 100
    off = equity.filter(
        (pl.col("cash") + pl.col("value") - pl.col("fees") != pl.col("equity"))
        | (pl.col("realised") + pl.col("unrealised") - pl.col("fees") != pl.col("equity"))
    )
    assert len(off) == 0
    for row in found.readings.to_dicts():
        mine = fills.filter(pl.col("reading") == row["reading"])
        ends = equity.filter(pl.col("reading") == row["reading"])
        assert row["net"] == ends["equity"][-1]
        assert row["fees"] == mine["fee"].sum() == Decimal("1.5") * int(mine["size"].sum())
        assert row["gross"] == row["net"] + row["fees"] == mine["realised"].sum()
        signed = (pl.col("size").cast(pl.Int64) * pl.when(side_b()).then(1).otherwise(-1)).cum_sum()
        assert mine.select(signed).to_series().to_list() == mine["position"].to_list()
        assert mine["position"][-1] == 0


def side_b() -> pl.Expr:
    return pl.col("side") == "B"


def test_same_request_is_up_to_date_and_other_parameters_are_another_run(lake):
    first, _ = backtest(lake)
    again, summaries = backtest(lake)
    other, _ = backtest(lake, ["size=2"])

    assert first.run_id == again.run_id != other.run_id
    assert all(not s.done for s in summaries)


def test_summary_says_what_was_assumed(lake, capsys):
    request, _ = backtest(lake, ["size=3"], settings=ALL)

    present(lake, request)

    text = capsys.readouterr().out
    for part in (
        "SIMULATED", "mean_reversion on SIM.MDP3 SIMM5", "size=3", "1ms to the venue",
        "schedule sample", "optimistic", "exact", "pessimistic", "does not react",
        "need 20 sessions", "Try next", request.run_id,
    ):  # fmt: skip
        assert part in text
    printed = []
    present(lake, request, print_json=printed.append)
    assert printed[0]["readings"][1]["params"]["size"] == "3"


def test_strategies_of_ones_own_run(lake, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "import polars as pl\n"
        "from strategies.interface import SignalStrategy\n\n"
        "@dataclass(frozen=True)\nclass Long(SignalStrategy):\n"
        '    "Always long."\n'
        '    def features(self):\n        return ("zscore_300s",)\n'
        "    def target(self):\n"
        '        return pl.when(pl.col("zscore_300s").is_not_null()).then(self.size)\n'
    )

    request, summaries = backtest(lake, ["style=aggressive"], strategy=f"{path}:Long")

    assert [s.exit_code for s in summaries] == [0, 0]
    fills = open_lake(lake).run(request.run_id).fills.collect()
    assert fills["position"].to_list() == [1, 0, 1, 0]
    assert set(fills["role"]) == {"taker"}


def test_incomplete_sessions_are_left_out_unless_partial(tmp_path):
    run(tmp_path, Seed(complete=(True, False)))

    request, _ = backtest(tmp_path)
    assert request.skipped == {SYMBOL: {DAYS[1]: "incomplete: a day it overlaps is missing"}}
    assert "left out" in render_of(tmp_path, request)
    partial = replace(SETTINGS, backtest=replace(SETTINGS.backtest, partial=True))
    request, _ = backtest(tmp_path, settings=partial)
    assert request.skipped == {}


def render_of(root: Path, request) -> str:
    rows = open_lake(root).run(request.run_id).readings.to_dicts()
    return render(request.run_id, rows, root, asked="mean_reversion")


def test_unknown_match_algorithm_is_flagged(tmp_path):
    run(tmp_path, Seed(match="K"))

    request, summaries = backtest(tmp_path)

    assert "APPROXIMATE" in render_of(tmp_path, request)
    assert any("match algorithm K" in str(w) for w in summaries[0].warnings)


def test_requests_that_cannot_be(tmp_path, lake):
    with pytest.raises(RequestError, match="holds no features"):
        backtest(tmp_path)
    with pytest.raises(RequestError, match="no features of set 'other'"):
        backtest(lake, settings=replace(SETTINGS, features=replace(SETTINGS.features, set="other")))
    with pytest.raises(RequestError, match=r"reads zscore_60s.*does not have"):
        backtest(lake, ["window=60s"])
    with pytest.raises(RequestError, match="unknown reading 'exakt'"):
        backtest(lake, settings=replace(ALL, backtest=replace(ALL.backtest, readings=("exakt",))))
    with pytest.raises(RequestError, match=r"backtest\.latency"):
        backtest(lake, settings=replace(ALL, backtest=replace(ALL.backtest, latency="fast")))
    with pytest.raises(RequestError, match="write key=value"):
        backtest(lake, ["size"])
    run(tmp_path, Seed(multiplier=None))
    with pytest.raises(RequestError, match="no multiplier known"):
        backtest(tmp_path)


def test_two_workers_give_the_same_bytes(tmp_path):
    hashes = []
    for name in ("one", "two"):
        root = tmp_path / name
        run(root, Seed())
        request = prepare("mean_reversion", ["patience=5s"], ALL)
        for stage in request.stages():
            run(root, stage, ALL, workers=1 if name == "one" else 2)
        files = sorted((root / "fills").rglob("*.parquet")) + sorted(
            (root / "runs").rglob("*.parquet")
        )
        hashes.append([file.read_bytes() for file in files])

    assert hashes[0] == hashes[1]


HELLO = """
from dataclasses import dataclass

from strategies.event import EventStrategy, Market, parameter, state


@dataclass
class Hello(EventStrategy):
    \"\"\"Buys at the bid, sells a tick higher.\"\"\"

    size: int = parameter(1, "contracts", "of each order")
    patience: int = parameter(5, "s", "not used")
    {more}

    def on_market_event(self, m: Market) -> None:
        {first}
        if m.two_sided() and m.working == 0 and m.position == 0:
            m.buy(m.bid, self.size)

    def on_fill(self, m: Market) -> None:
        if m.position > 0:
            m.sell(m.fill_price + m.tick, m.position)
"""


def hello(folder: Path, first: str = "pass", more: str = "n: int = state(0)") -> str:
    path = folder / "hello.py"
    path.write_text(HELLO.format(first=first, more=more))
    return f"{path}:Hello"


def event_run(lake: Path, strategy: str, *texts: str, interpret: bool = False):
    request = prepare(strategy, texts, SETTINGS, interpret=interpret)
    reporter = choose_reporter(quiet=True, json=False)
    summaries = [
        run_stage(
            stage, LakeCatalog(lake), SETTINGS, Selection(), RunOptions(1, force=True), reporter
        )
        for stage in request.stages()
    ]
    return request, summaries


def test_event_strategy_of_a_file_runs_compiled_and_interpreted_alike(lake, tmp_path):
    results = []
    for interpret in (False, True):
        request, summaries = event_run(lake, hello(tmp_path), "size=2", interpret=interpret)
        assert [s.exit_code for s in summaries] == [0, 0]
        found = open_lake(lake).run(request.run_id)
        fills = found.fills.collect()
        assert len(fills) > 2
        results.append((request.run_id, fills, found.orders.collect(), found.readings))
    assert results[0][0] == results[1][0]
    for one, other in zip(results[0][1:], results[1][1:], strict=True):
        assert one.equals(other)


@pytest.mark.parametrize(
    ("first", "interpret", "says"),
    [
        ("self.n = [1][self.n + 7]", True, "IndexError"),
        ("raise ValueError('of mine')", False, "line 16: Hello.on_market_event at 2025-06-0"),
        ("raise ValueError('of mine')", False, "ValueError: of mine"),
        ("m.feature(5 + m.now - m.now)", False, "line 16: Hello.on_market_event at 2025-06-0"),
        ("market = m; market.cash = 5", True, "cash of Market cannot be assigned"),
        ("for _ in range(300): m.cancel_all()", False, "more than 256 commands"),
    ],
)
def test_callback_that_fails_is_named_with_its_time(lake, tmp_path, first, interpret, says):
    _, summaries = event_run(lake, hello(tmp_path, first), interpret=interpret)

    assert summaries[0].exit_code == 1
    (_, told), *_ = summaries[0].failed
    assert "Hello.on_market_event at 2025-06-0" in told
    assert says in told


def test_strategy_that_cannot_be_compiled_says_where(lake, tmp_path):
    _, summaries = event_run(lake, hello(tmp_path, "m.buy('x', 1)"))

    (_, told), *_ = summaries[0].failed
    assert "hello.py, line 16: Hello: `m.buy('x', 1)` cannot be compiled" in told
    with pytest.raises(RequestError, match=r"line 16: .*no 'nonsense'"):
        event_run(lake, hello(tmp_path, "m.nonsense"))
