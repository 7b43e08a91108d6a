"""Runs planted in a lake: rows as a backtest leaves them, without a market behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.backtest.tables import (
    BREAKDOWNS,
    EQUITY,
    FILLS,
    MARKOUT_HORIZONS,
    ORDERS,
    RUNS,
    SPLITS,
)
from pipeline.columns import MONEY, TS
from pipeline.lake import Lake, open_lake
from pipeline.stage import Partition
from pipeline.tables import Table

TICK = 250_000_000
PRICE = 5900 * 10**9
MINUTE = 60 * 10**9
FIRST = date(2025, 6, 2)
OPEN = int(datetime(2025, 6, 2, 13, 0, tzinfo=UTC).timestamp()) * 10**9
SESSION = 60 * MINUTE
DAY = 86_400 * 10**9


@dataclass
class Planted:
    """What a run is to look like."""

    run_id: str = "00000000000000aa"
    strategy: str = "planted"
    params: Mapping[str, str] = field(default_factory=lambda: {"size": "1"})
    dataset: str = "GLBX.MDP3"
    symbols: Sequence[tuple[str, str]] = (("ESM5", "USD"),)
    readings: Sequence[str] = ("optimistic", "exact", "pessimistic")
    fills: int = 40
    """Of each symbol and reading; odd ones close what even ones opened."""
    sessions: int = 2
    seed: int = 1

    def into(self, root: Path) -> Lake:
        """Write the run's tables and their commit records."""
        root.mkdir(exist_ok=True)
        for number, (symbol, currency) in enumerate(self.symbols):
            key = Partition.of(run_id=self.run_id, dataset=self.dataset, symbol=symbol)
            rng = np.random.default_rng([self.seed, number])
            notes = {
                "contract": ["ES", "50", TICK, currency],
                "fees": "mine",
                "queue_model": "exact",
            }
            tables = {
                FILLS: concat(self._fills(reading, currency, rng) for reading in self.readings),
                ORDERS: concat(self._orders(reading) for reading in self.readings),
                EQUITY: concat(self._equity(reading, currency, rng) for reading in self.readings),
            }
            commit(root, "simulate", key, tables, notes)
        key = Partition.of(run_id=self.run_id)
        currencies = sorted({currency for _, currency in self.symbols})
        both = [(reading, currency) for reading in self.readings for currency in currencies]
        runs = [self._run(*pair, i) for i, pair in enumerate(both)]
        parts = [part for pair in both for part in self._parts(*pair)]
        tables = {RUNS: rows(RUNS, runs), BREAKDOWNS: rows(BREAKDOWNS, parts)}
        commit(root, "summarise", key, tables, {})
        return open_lake(root)

    # --- rows -------------------------------------------------------------------------------

    def times(self) -> np.ndarray:
        """When the fills are: evenly over the sessions."""
        n = self.fills
        within = (np.arange(n) * self.sessions * SESSION) // max(1, n)
        return OPEN + within // SESSION * DAY + within % SESSION

    def _days(self, ts: np.ndarray) -> pa.Array:
        return pa.array(((ts - OPEN) // DAY + (FIRST - date(1970, 1, 1)).days).astype("int32"))

    def _fills(self, reading: str, currency: str, rng: np.random.Generator) -> pa.Table:
        n, ts = self.fills, self.times()
        closes = np.arange(n) % 2 == 1
        columns: dict[str, Any] = {
            "reading": [reading] * n,
            "fill": np.arange(n),
            "order": np.arange(n),
            "session": self._days(ts).cast(pa.date32()),
            "ts": stamps(ts),
            "ts_known": stamps(ts + 10**6),
            "event": np.arange(n) + 202506020000000000,
            "record": np.arange(n, dtype=np.uint64),
            "side": np.where(closes, "A", "B"),
            "price": PRICE + rng.integers(-8, 8, n) * TICK,
            "size": np.ones(n, np.uint32),
            "role": np.where(rng.random(n) < 0.8, "maker", "taker"),
            "reason": ["behind"] * n,
            "ahead_at_entry": rng.integers(0, 50, n),
            "ahead": rng.integers(0, 9, n),
            "position": np.where(closes, 0, 1),
            "fee": money(np.full(n, 150)),
            "realised": money(np.where(closes, rng.integers(-50, 50, n) * 1250, 0)),
            "currency": [currency] * n,
            "bid_px": np.full(n, PRICE),
            "ask_px": np.full(n, PRICE + TICK),
        }
        for name in MARKOUT_HORIZONS:
            columns[name] = rng.integers(-20, 20, n) * (TICK // 2)
        return arrays(FILLS, columns)

    def _orders(self, reading: str) -> pa.Table:
        n, ts = self.fills, self.times()
        columns: dict[str, Any] = {
            "reading": [reading] * n,
            "order": np.arange(n),
            "session": self._days(ts).cast(pa.date32()),
            "side": np.where(np.arange(n) % 2 == 1, "A", "B"),
            "type": ["limit"] * n,
            "tif": ["gtc"] * n,
            "price": np.full(n, PRICE),
            "size": np.ones(n, np.uint32),
            "filled": np.ones(n, np.uint32),
            "status": ["filled"] * n,
            "reason": ["none"] * n,
            "ts_decided": stamps(ts - 2 * 10**9),
            "ts_arrived": stamps(ts - 10**9),
            "ts_ended": stamps(ts),
            "replaced": np.zeros(n, np.uint32),
        }
        return arrays(ORDERS, columns)

    def _equity(self, reading: str, currency: str, rng: np.random.Generator) -> pa.Table:
        minutes = np.arange(1, SESSION // MINUTE + 1) * MINUTE
        ts = np.concatenate([OPEN + day * DAY + minutes for day in range(self.sessions)])
        n = len(ts)
        equity = np.cumsum(rng.integers(-4, 5, n)) * 1250
        columns: dict[str, Any] = {
            "reading": [reading] * n,
            "session": self._days(ts).cast(pa.date32()),
            "ts": stamps(ts),
            "event": np.arange(n),
            "kind": np.where((ts - OPEN) % DAY == SESSION, "session_end", "clock"),
            "position": np.zeros(n, np.int64),
            "mark_2x": 2 * PRICE + rng.integers(-9, 9, n) * TICK,
            **{name: money(np.zeros(n, np.int64)) for name in ("cash", "value", "fees")},
            "equity": money(equity),
            "realised": money(equity),
            "unrealised": money(np.zeros(n, np.int64)),
            "currency": [currency] * n,
        }
        return arrays(EQUITY, columns)

    def _run(self, reading: str, currency: str, number: int) -> dict[str, Any]:
        known: dict[str, Any] = {
            "reading": reading,
            "currency": currency,
            "strategy": self.strategy,
            "params": json.dumps(dict(self.params)),
            "settings": json.dumps({"latency": "1ms", "response": "1ms", "fees": "mine"}),
            "source": hashlib.sha256(self.strategy.encode()).hexdigest(),
            "dataset": self.dataset,
            "symbols": ",".join(symbol for symbol, _ in self.symbols),
            "queue_model": "exact",
            "simulated": self.dataset.startswith("SIM."),
            "first_session": FIRST,
            "last_session": FIRST + timedelta(days=self.sessions - 1),
            "sessions": self.sessions,
            "skipped": "{}",
            "fills": self.fills * len(self.symbols),
        }
        return {**odd_values(RUNS, 1000 * number), **known}

    def _parts(self, reading: str, currency: str) -> list[dict[str, Any]]:
        names = {
            "session": [str(FIRST + timedelta(days=i)) for i in range(self.sessions)],
            "hour": ["13", "14"],
            "symbol": [symbol for symbol, own in self.symbols if own == currency],
            "direction": ["long", "short"],
            "side": ["B", "A"],
            "role": ["maker", "taker"],
        }
        return [
            {
                **odd_values(BREAKDOWNS, 7 * rank),
                "reading": reading,
                "currency": currency,
                "split": split,
                "part": part,
                "zone": "UTC" if split == "hour" else None,
                "rank": rank,
            }
            for split in SPLITS
            for rank, part in enumerate(names[split])
        ]


def odd_values(table: Table, start: int) -> dict[str, Any]:
    """A value of its own for every column, so that none can stand in for another."""
    values: dict[str, Any] = {}
    for i, column in enumerate(table.columns):
        n = start + i + 1
        if column.type == MONEY:
            values[column.name] = Decimal(n) / 4 * (-1) ** i
        elif column.type == TS:
            values[column.name] = datetime(2025, 6, 2, 13, n % 60, tzinfo=UTC)
        elif pa.types.is_floating(column.type):
            values[column.name] = n / 7
        elif pa.types.is_integer(column.type):
            values[column.name] = n
    return values


def money(cents: np.ndarray) -> pa.Array:
    """Decimal(38, 9) of hundredths."""
    return pa.array(cents).cast(pa.decimal128(38, 0)).cast(MONEY) if not len(cents) else (
        pa.compute.multiply(pa.array(cents).cast(pa.decimal128(19, 0)), pa.scalar(Decimal("0.01")))
        .cast(MONEY)
    )  # fmt: skip


def stamps(ns: np.ndarray) -> pa.Array:
    return pa.array(ns.astype(np.int64)).cast(TS)


def arrays(table: Table, columns: Mapping[str, Any]) -> pa.Table:
    n = len(columns["reading"])
    made = [
        pa.array(columns[c.name]).cast(c.type) if c.name in columns else pa.nulls(n, c.type)
        for c in table.columns
    ]
    return pa.Table.from_arrays(made, schema=table.schema())


def rows(table: Table, values: Sequence[Mapping[str, Any]]) -> pa.Table:
    made = [pa.array([row.get(c.name) for row in values], c.type) for c in table.columns]
    return pa.Table.from_arrays(made, schema=table.schema())


def concat(tables: Any) -> pa.Table:
    return pa.concat_tables(list(tables))


def commit(
    root: Path, stage: str, key: Partition, tables: Mapping[Table, pa.Table], notes: Mapping
) -> None:
    """Files of tables and the record that makes them part of the lake."""
    outputs = []
    for table, data in tables.items():
        file = Path(table.name) / key.path / "part-0.parquet"
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(data, root / file)
        outputs.append(
            {
                "bytes": (root / file).stat().st_size,
                "content": hashlib.sha256(str(file).encode()).hexdigest(),
                "file": file.as_posix(),
                "notes": dict(notes),
                "partition": key.path,
                "rows": data.num_rows,
                "sha256": "",
                "table": table.name,
                "table_version": table.version,
            }
        )
    record = {
        "stage": stage,
        "stage_version": 1,
        "partition": key.path,
        "fingerprint": "f" * 64,
        "inputs": [],
        "outputs": outputs,
        "params": {},
        "warnings": [],
    }
    path = root / "_commits" / stage / f"{key.path}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record), encoding="utf-8")
