"""A7: F01 and windows by time, row by row on 1e5 random rows against plain loops.

The reference of ``tests/reference/features`` looks at all rows for every row; here the loops keep
what they need as they go, so that they reach as far as the streaming engine does.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from typing import Any

import polars as pl
import pytest

from features.engine import compute
from features.events import Tables
from features.registry import FEATURES
from tests.features.worlds import FAST, make_world
from tests.reference.features.session import Value, duration, prepare

ROWS = 100_000
TOUCH = [f"{side}_{what}_00" for side in ("bid", "ask") for what in ("px", "sz")]
KEYS = ["event", "ts_recv", "valid", "state", "instrument_id", *TOUCH]
WINDOWS = ("100ms", "1s", "10s", "60s")


@cache
def world() -> Tables:
    return make_world(21, ROWS, FAST, invalid=0.001, prints=False)


@cache
def frame() -> pl.DataFrame:
    names = ["ofi_event", *(f"ofi_{w}" for w in WINDOWS)]
    names += ["queue_imbalance", "queue_imbalance_mean_1s", "queue_imbalance_change_1s"]
    return pl.concat(list(compute(world(), FEATURES.resolve(names))))


@cache
def segments() -> list[list[dict[str, Any]]]:
    """Events by segment, made ready by the reference's own reading of the tables."""
    tables = world()
    nothing = pl.DataFrame({"none": [0] * ROWS})
    trades = pl.DataFrame(schema={"event": pl.Int64})
    found: list[list[dict[str, Any]]] = []
    for row in prepare(tables.context, tables.book.select(KEYS), nothing, trades).rows:
        if row["first"]:
            found.append([])
        found[-1].append(row)
    return found


def contributions(rows: list[dict[str, Any]]) -> Iterator[int | None]:
    """Equation 10 of Cont, Kukanov and Stoikov along one segment."""
    before: dict[str, Any] | None = None
    for row in rows:
        if not row["ok_flow"]:
            yield None
            continue
        if before is None:
            yield None
        else:
            e = 0
            for side, sign in (("bid", 1), ("ask", -1)):
                now, past = row[f"{side}_px_00"], before[f"{side}_px_00"]
                up = math.inf if now is None else -sign * now  # the smaller, the better
                was = math.inf if past is None else -sign * past
                if up <= was:
                    e += sign * row[f"{side}_sz_00"]
                if up >= was:
                    e -= sign * before[f"{side}_sz_00"]
            yield e
        before = row


def test_the_rows_have_everything_in_them() -> None:
    rows = [row for segment in segments() for row in segment]
    assert len(rows) > 0.8 * ROWS
    assert len(segments()) > 50
    assert sum(a["ts"] == b["ts"] for a, b in zip(rows[1:], rows, strict=False)) > 10_000
    one_sided = [row for row in rows if row["state"] == "one_sided"]
    assert any(row["bid_px_00"] is None for row in one_sided)
    assert any(row["ask_px_00"] is None for row in one_sided)
    assert {row["state"] for row in rows} == {"normal", "one_sided", "locked", "crossed"}


def test_contributions_equal_the_loop_on_every_row() -> None:
    theirs = [e for rows in segments() for e in contributions(rows)]
    assert frame()["ofi_event"].to_list() == theirs


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_by_time_equal_the_loop_on_every_row(window: str) -> None:
    length = duration(window)
    theirs: list[int | None] = []
    for rows in segments():
        parts = [e or 0 for e in contributions(rows)]
        times = [row["ts"] for row in rows]
        start = 0
        for i, row in enumerate(rows):
            while times[start] <= row["ts"] - length:
                start += 1
            warm = row["ts"] - length >= times[0]
            theirs.append(sum(parts[start : i + 1]) if warm and row["ok_flow"] else None)
    ours = frame()[f"ofi_{window}"]
    assert ours.to_list() == theirs
    assert ours.is_not_null().mean() > 0.5  # type: ignore[operator]


def imbalance(row: dict[str, Any]) -> Value:
    bid, ask = row["bid_sz_00"], row["ask_sz_00"]
    return (bid - ask) / (bid + ask) if row["ok"] else None


def close(ours: pl.Series, theirs: list[Value]) -> None:
    assert ours.len() == len(theirs)
    for i, (left, right) in enumerate(zip(ours, theirs, strict=True)):
        same = left is right if left is None or right is None else abs(left - right) < 1e-6
        assert same, (i, left, right)
    assert ours.is_not_null().mean() > 0.5  # type: ignore[operator]


def test_time_weighted_means_equal_the_loop_on_every_row() -> None:
    length = duration("1s")
    theirs: list[Value] = []
    for rows in segments():
        times, values = [row["ts"] for row in rows], [imbalance(row) for row in rows]
        for i, t in enumerate(times):
            area, time = 0.0, 0
            for j in range(i - 1, -1, -1):
                stood = times[j + 1] - max(times[j], t - length)
                if stood < 0:
                    break
                value = values[j]
                if value is not None:
                    area, time = area + value * stood, time + stood
            theirs.append(area / time if t - length >= times[0] and time else None)
    close(frame()["queue_imbalance_mean_1s"], theirs)


def test_values_some_time_ago_equal_the_loop_on_every_row() -> None:
    length = duration("1s")
    theirs: list[Value] = []
    for rows in segments():
        known = [(row["ts"], imbalance(row)) for row in rows if row["ok"]]
        times = [t for t, _ in known]
        for row in rows:
            at = bisect_right(times, row["ts"] - length) - 1
            now, past = imbalance(row), known[at][1] if at >= 0 else None
            theirs.append(None if now is None or past is None else now - past)
    close(frame()["queue_imbalance_change_1s"], theirs)
