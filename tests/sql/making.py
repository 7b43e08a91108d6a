"""Small lakes written by hand, in the layout of real ones."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.backtest.tables import BREAKDOWNS, EQUITY, FILLS, ORDERS, RUNS
from pipeline.columns import Column
from pipeline.models.tables import SCORES
from pipeline.stage import Partition
from pipeline.sweep.tables import SWEEPS
from pipeline.tables import (
    FEATURE_KEYS,
    FLOW,
    INSTRUMENTS,
    MBO,
    QUALITY,
    SOURCES,
    TRADES,
    Table,
    book_table,
)

DAY = "2025-05-01"
BASE = 202505010000000000
NS = 10**9
OPEN_NS = 1746108000 * NS  # 2025-05-01 14:00 UTC
PX = 10**9


def zero(column: Column) -> Any:
    """What a column holds where a test does not care."""
    if column.nullable:
        return None
    if pa.types.is_string(column.type):
        return ""
    if pa.types.is_timestamp(column.type):
        return OPEN_NS
    if pa.types.is_date(column.type):
        return date(2025, 5, 1)
    if pa.types.is_decimal(column.type):
        return Decimal(0)
    if pa.types.is_boolean(column.type):
        return True
    return 0


def write(root: Path, table: Table, partition: Partition, rows: list[dict[str, Any]]) -> Path:
    """One file of a table, missing columns filled in."""
    columns = {
        c.name: pa.array([row.get(c.name, zero(c)) for row in rows], c.type) for c in table.columns
    }
    for row in rows:
        assert set(row) <= set(columns), set(row) - set(columns)
    folder = root / table.name / partition.path
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "part-0.parquet"
    pq.write_table(pa.table(columns, schema=table.schema()), path)
    return path


def daily(symbol: str = "ESM5", day: str = DAY, dataset: str = "GLBX.MDP3") -> Partition:
    return Partition.of(dataset=dataset, date=day, symbol=symbol)


def session_of(symbol: str = "ESM5", day: str = DAY, set_: str = "default") -> Partition:
    return Partition.of(set=set_, dataset="GLBX.MDP3", session=day, symbol=symbol)


def book_row(n: int, seconds: float, bid: float, ask: float, bs: int, as_: int) -> dict[str, Any]:
    return {
        "event": BASE + n,
        "ts_recv": OPEN_NS + round(seconds * NS),
        "valid": True,
        "state": "normal",
        "bid_px_00": round(bid * PX),
        "ask_px_00": round(ask * PX),
        "bid_sz_00": bs,
        "ask_sz_00": as_,
    }


FEATURES = Table(
    "features",
    "session",
    1,
    "decision point",
    (*FEATURE_KEYS, Column("queue_imbalance", pa.float32(), "", "", nullable=True)),
)
LABELS = Table(
    "labels",
    "session",
    1,
    "decision point",
    (
        *FEATURE_KEYS,
        Column("y_return_1s", pa.float64(), "ticks", "", nullable=True),
        Column("t_end", pa.timestamp("ns", tz="UTC"), "ns", "", nullable=True),
    ),
)


def full_lake(root: Path) -> Path:
    """A lake with a little of every table: ESM5 on one day, one run."""
    write(
        root,
        SOURCES,
        Partition.of(source="abc"),
        [{"file": "a.mbo.dbn.zst", "schema": "mbo", "date": date(2025, 5, 1), "rows": 6}],
    )
    write(root, INSTRUMENTS, Partition.of(dataset="GLBX.MDP3"), [instrument()])
    write(root, MBO, daily(), [{"order_id": 2**64 - 1, "size": 3, "record": i} for i in range(3)])
    write(
        root,
        book_table(10),
        daily(),
        [
            book_row(1, 0, 5000, 5000.25, 9, 1),
            book_row(2, 30, 5000.25, 5000.5, 2, 2),
            book_row(3, 60, 5000.25, 5000.75, 1, 9),
            book_row(4, 61, 5000, 5000.25, 5, 5),
            {"event": BASE + 5, "ts_recv": OPEN_NS + 62 * NS, "state": "one_sided"},
        ],
    )
    write(
        root,
        FLOW,
        daily(),
        [{"event": BASE + n, "bid_l1_add_ct": n, "ask_deep_fill_ct": 1} for n in range(1, 6)],
    )
    write(
        root,
        TRADES,
        daily(),
        [
            trade(2, "B", 5000.25, 3, 5000, 5000.25, whole=5),
            trade(2, "B", 5000.25, 2, 5000, 5000.25, whole=5),
            trade(4, "A", 5000.25, 1, 5000.25, 5000.75, whole=1),
            trade(4, "N", 5000.5, 1, 5000.25, 5000.75, whole=1),
        ],
    )
    write(
        root, QUALITY, daily(), [{"records": 6, "events": 5, "start": "snapshot", "fifo_fills": 0}]
    )
    keys = [
        {"ts": OPEN_NS + n * NS, "event": BASE + n, "bid_px": 5000 * PX, "mid_ticks": 20000.5}
        for n in range(40)
    ]
    write(
        root,
        FEATURES,
        session_of(),
        [{**key, "queue_imbalance": n / 40} for n, key in enumerate(keys)],
    )
    write(
        root, LABELS, session_of(), [{**key, "y_return_1s": float(n)} for n, key in enumerate(keys)]
    )
    run = Partition.of(run_id="r1")
    of_symbol = Partition.of(run_id="r1", dataset="GLBX.MDP3", symbol="ESM5")
    write(root, RUNS, run, [{"reading": "exact", "net": Decimal("12.5"), "strategy": "mr"}])
    trial = {"run_id": "r1", "reading": "exact", "metric": "net", "role": "all", "value": 12.5}
    write(root, SWEEPS, Partition.of(sweep_id="s1"), [{**trial, "point": '{"size": "1"}'}])
    of_model = Partition.of(
        model="linear-1", dataset="GLBX.MDP3", session="2025-05-01", symbol="ESM5"
    )
    constant = "baseline_constant"
    figures = [("model", "auc", 0.6), ("model", "mse", 3.0), (constant, "auc", 0.5),
               (constant, "mse", 4.0), (constant, "gain", 1.0)]  # fmt: skip
    rows = [{"part": part, "what": what, "value": v, "rows": 9} for part, what, v in figures]
    write(root, SCORES, of_model, rows)
    write(root, ORDERS, of_symbol, [{"order": 0, "size": 1, "price": 5000 * PX}])
    write(
        root,
        FILLS,
        of_symbol,
        [
            {
                "reading": "exact",
                "event": BASE + 3,
                "side": "B",
                "size": 2,
                "price": 5000 * PX,
                "ts": OPEN_NS + 60 * NS + 123,
                "markout_1s": PX // 4,
                "fee": Decimal("2.460000000"),
            }
        ],
    )
    write(
        root,
        EQUITY,
        of_symbol,
        [
            {"reading": "exact", "ts": OPEN_NS + i * 1800 * NS, "equity": Decimal(value)}
            for i, value in enumerate(("0", "10.5", "7", "9"))
        ],
    )
    part = {"reading": "exact", "currency": "USD", "fees": Decimal(1), "contracts": 2}
    parts = (
        ("hour", "17", 0, "10.5"),
        ("hour", "09", 1, "-1.5"),
        ("session", "2025-05-01", 0, "10.5"),
        ("session", "2025-05-02", 1, "-1.5"),
        ("role", "maker", 0, None),
    )
    write(
        root,
        BREAKDOWNS,
        run,
        [
            {**part, "split": split, "part": name, "rank": rank, "net": net and Decimal(net)}
            for split, name, rank, net in parts
        ],
    )
    return root


def instrument(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "ESM5",
        "first_date": date(2025, 4, 1),
        "last_date": date(2025, 6, 20),
        "tick_size": PX // 4,
        "multiplier": Decimal(50),
        "expiration": int(datetime(2025, 6, 20, 13, 30, tzinfo=UTC).timestamp()) * NS,
        **changes,
    }


def trade(
    n: int, side: str, price: float, size: int, bid: float, ask: float, *, whole: int
) -> dict[str, Any]:
    return {
        "event": BASE + n,
        "ts_recv": OPEN_NS + n * NS,
        "price": round(price * PX),
        "size": size,
        "side": side,
        "bid_px": round(bid * PX),
        "ask_px": round(ask * PX),
        "aggressor_size": whole,
        "aggressor_fills": 1,
    }
