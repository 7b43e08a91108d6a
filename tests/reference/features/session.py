"""A session for the slow features: its events, its segments, its decision points.

``prepare`` turns the tables into a list of events; ``decisions`` lists the decision points of a
clock.  Every feature is a function of ``(session, i, t, **arguments)``, where ``i`` is the last row
known and ``t`` the time: loops over rows in plain Python.  Nothing here is shared with the product
but the meaning of its words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import polars as pl

NS = 10**9
DAY = 86_400 * NS
UNITS = {"ms": 10**6, "s": NS, "m": 60 * NS, "h": 3600 * NS}
LN2 = math.log(2)

Value = float | int | None
RowValue = Callable[[int], Value]


def duration(text: str) -> int:
    digits = text.rstrip("msh")
    return int(digits) * UNITS[text[len(digits) :]]


@dataclass
class Session:
    context: Any
    rows: list[dict[str, Any]]
    ends: dict[int, int]
    """When each segment ended."""
    memo: dict[Any, Any] = field(default_factory=dict)
    peers: dict[str, Session] = field(default_factory=dict)
    past: list[Session] = field(default_factory=list)
    """The sessions before, oldest first."""
    lives: list[dict[str, Any]] = field(default_factory=list)
    """Rows of `order_life`, times in ns."""

    def segment(self, i: int) -> range:
        """Rows of i's segment, up to i: they stand together."""
        key = "segment", self.rows[i]["segment"]
        if key not in self.memo:
            numbers = [row["segment"] for row in self.rows]
            self.memo[key] = numbers.index(self.rows[i]["segment"])
        return range(self.memo[key], i + 1)

    def start(self, i: int) -> int:
        return self.rows[self.segment(i)[0]]["ts"]

    def cached(self, name: str, j: int, compute: Callable[[], Value]) -> Value:
        if (name, j) not in self.memo:
            self.memo[name, j] = compute()
        return self.memo[name, j]


def prepare(context: Any, book: pl.DataFrame, flow: pl.DataFrame, trades: pl.DataFrame) -> Session:
    """Events with their segments, from whole tables."""
    prints: dict[int, list[dict[str, Any]]] = {}
    for row in trades.iter_rows(named=True):
        prints.setdefault(row["event"], []).append(row)
    events: list[dict[str, Any]] = []
    ends: dict[int, int] = {}
    number, begun, clock = -1, False, -(2**63)
    before: dict[str, Any] | None = None
    owed: dict[str, float] = {}
    touch = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")
    received = book["ts_recv"].cast(pl.Int64).to_list()
    for k, row in enumerate(book.iter_rows(named=True)):
        clock = max(clock, received[k])
        inside = [h for h, (a, b) in enumerate(context.segments) if a <= clock < b]
        row["hours"] = inside[0] if inside else None
        row["usable"] = row["valid"] and bool(inside)
        row["snapshot"] = received[k] % DAY == 0
        both = row["bid_px_00"] is not None and row["ask_px_00"] is not None
        row["ok"] = row["state"] == "normal" and both
        row["ok_flow"] = row["ok"] or row["state"] == "one_sided"
        row["ts"] = clock
        row.update(flow.row(k, named=True))
        row.update(_prints(prints.get(row["event"], []), context.tick))
        for name, value in owed.items():
            row[name] = value + row[name]
        sums = [*flow.columns, *(n for n in _prints([], context.tick) if n != "trade_px")]
        owed = {name: row[name] for name in sums} if row["snapshot"] else {}
        goes_on = (
            before is not None
            and before["usable"]
            and before["hours"] == row["hours"]
            and before["instrument_id"] == row["instrument_id"]
            and not (row["snapshot"] and any(before[c] != row[c] for c in touch))
        )
        if begun and not (row["usable"] and goes_on):
            assert before is not None
            ends[number] = min(clock, context.segments[before["hours"]][1])
            begun = False
        if row["usable"] and not row["snapshot"]:
            row["first"] = not begun and row["ok"]
            if row["first"]:
                begun = True
                number += 1
            if begun:
                event = dict(row, segment=number)
                if row["first"]:
                    event.update(dict.fromkeys(sums, 0), trade_px=None)
                events.append(event)
        before = row
    if begun:
        assert before is not None
        ends[number] = min(clock, context.segments[before["hours"]][1])
    return Session(context, events, ends)


def _prints(rows: list[dict[str, Any]], tick: int) -> dict[str, Any]:
    buys = [r for r in rows if r["side"] == "B"]
    sells = [r for r in rows if r["side"] == "A"]
    return {
        "trade_ct": len(rows),
        "trade_sz": sum(r["size"] for r in rows),
        "buy_ct": len(buys),
        "buy_sz": sum(r["size"] for r in buys),
        "sell_ct": len(sells),
        "sell_sz": sum(r["size"] for r in sells),
        "buy_orders": int(bool(buys)),
        "sell_orders": int(bool(sells)),
        "trade_px": rows[-1]["price"] if rows else None,
        "px_sz": [(r["price"] / tick, r["size"]) for r in rows],
        "px_sz_sign": [
            (r["price"] / tick, r["size"], {"B": 1, "A": -1}.get(r["side"], 0)) for r in rows
        ],
        "trade_px_sz": sum(Fraction(r["price"], tick) * r["size"] for r in rows),
        "trade_px2_sz": 0,
    }


def decisions(s: Session, clock: str) -> list[tuple[int, int]]:
    """(last row known, time) of every decision point."""
    if clock == "event":
        return [(i, row["ts"]) for i, row in enumerate(s.rows)]
    touch = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")
    if clock == "touch":
        return [
            (i, row["ts"])
            for i, row in enumerate(s.rows)
            if row["first"] or any(row[c] != s.rows[i - 1][c] for c in touch)
        ]
    if clock.startswith(("volume:", "trades:", "dollar:")):
        return bars(s, clock)
    step = duration(clock.partition(":")[2])
    found = []
    for number, end in s.ends.items():
        rows = [i for i, row in enumerate(s.rows) if row["segment"] == number]
        first = s.rows[rows[0]]["ts"]
        found += [
            (max(i for i in rows if s.rows[i]["ts"] < g), g)
            for g in range(first // step * step + step, end + 1, step)
        ]
    return found


def bars(s: Session, clock: str) -> list[tuple[int, int]]:
    """Rows that complete a bar, in exact arithmetic."""
    kind, _, text = clock.partition(":")
    size, found, done, total = int(text), [], 0, Fraction(0)
    for i, row in enumerate(s.rows):
        if row["first"]:
            done, total = 0, Fraction(0)
        if kind == "volume":
            total += row["trade_sz"]
        elif kind == "trades":
            total += row["trade_ct"]
        else:
            money = s.context.multiplier * s.context.tick / NS
            total += abs(row["trade_px_sz"]) * money
        if not row["first"] and total >= (done + 1) * size:
            found.append((i, row["ts"]))
        done = int(total // size)
    return found
