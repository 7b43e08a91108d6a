"""The table ``queue`` of a small random market: orders that fit its touch, and random traces."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from pipeline.book.queue_columns import ORDER_SIZES, QUEUE_COLUMNS, QUEUE_FLOWS, QUEUE_STATES
from pipeline.units import NS_PER_MS, NS_PER_S

TYPES = {
    column.name: pl.UInt32 if column.type.bit_width == 32 else pl.Int64 for column in QUEUE_COLUMNS
}
AGES = (0, 7 * NS_PER_MS, NS_PER_S, 90 * NS_PER_S)


def make_queue(rng: np.random.Generator, book: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``queue`` beside the rows of a book; orders' sizes add up to those of its touch."""
    columns: dict[str, list[Any]] = {name: [] for name in QUEUE_STATES}
    for row in book.iter_rows(named=True):
        for side in ("bid", "ask"):
            for name, value in _touch(rng, row[f"{side}_sz_00"], row[f"{side}_ct_00"]).items():
                columns[f"{side}_{name}"].append(value)
    for name in QUEUE_FLOWS:
        choices = [-3, 0, 0, 0, 2, 40] if name.endswith("_distance") else [0, 0, 0, 0, 1, 2, 9]
        columns[name] = rng.choice(choices, book.height).tolist()
    return pl.DataFrame(columns, schema={name: TYPES[name] for name in columns})


def _touch(rng: np.random.Generator, size: int, count: int) -> dict[str, int | None]:
    """Random orders of a touch, and what the table tells of them."""
    cuts = rng.choice(np.arange(1, size), count - 1, replace=False) if count > 1 else []
    edges = [0, *sorted(int(c) for c in cuts), size]
    sizes = [after - before for before, after in pairwise(edges)] if count else []
    ages = sorted((int(rng.choice(AGES)) for _ in sizes), reverse=True)
    known = [bool(rng.random() < 0.8) for _ in sizes]
    mods = [int(rng.integers(0, 4)) for _ in sizes]
    seen = [(q, a) for q, a, k in zip(sizes, ages, known, strict=True) if k]
    middle = (count - 1) // 2
    traded = int(rng.integers(0, 30))
    return {
        "known_sz": sum(q for q, _ in seen),
        "known_ct": len(seen),
        "age_sum": sum(q * (a // 1000) for q, a in seen),
        "front_age": ages[0] if count and known[0] else None,
        "front_sz": sizes[0] if count else 0,
        "median_age": ages[middle] if count and known[middle] else None,
        "median_sz": sorted(sizes)[middle] if count else None,
        "max_sz": max(sizes, default=0),
        "square_sz": sum(q * q for q in sizes),
        "mods_ct": sum(mods),
        "mods_max": max(mods, default=0),
        "level_refill_ct": int(rng.integers(0, 3)) if count else 0,
        "level_traded_sz": traded if count else 0,
        "level_filled_sz": int(rng.integers(0, traded + 1)) if count else 0,
        "large_sz": max(sizes) + 5 * int(rng.integers(0, 3)) if count else 0,
        "large_ticks": int(rng.integers(0, 11)) if count else None,
        "large_age": int(rng.choice(AGES)) if count and rng.random() < 0.9 else None,
        **{f"from_{least}_ct": sum(1 for q in sizes if q >= least) for least in ORDER_SIZES},
    }


def scaled_queue(queue: pl.DataFrame, factor: int) -> pl.DataFrame:
    """All sizes multiplied."""
    power = {
        name: 2 if name.endswith("square_sz") else 1
        for name in queue.columns
        if name.endswith(("_sz", "_age_sum"))
    }
    return queue.with_columns(
        pl.col(name) * pl.lit(factor**p, TYPES[name]) for name, p in power.items()
    )


LIVES = 8
"""Orders that rested, by row of the book."""

SPANS = (0, NS_PER_MS, 3 * NS_PER_MS, 700 * NS_PER_MS, NS_PER_S, 9 * NS_PER_S, 61 * NS_PER_S)


def make_lives(rng: np.random.Generator, book: pl.DataFrame, tick: int) -> pl.DataFrame:
    """Rows of `order_life` of orders that entered at random events of a book."""
    events = book["event"].to_numpy()
    times = np.maximum.accumulate(book["ts_recv"].cast(pl.Int64).to_numpy())
    rows = []
    for _ in range(LIVES * book.height):
        event = int(rng.integers(events[0], events[-1] + 3))
        entry = int(times[min(np.searchsorted(events, event), times.size - 1)])
        rows.append(_life(rng, event, entry, tick))
    rows.sort(key=lambda row: row["known_at"])
    frame = pl.DataFrame(rows, schema_overrides={"first_fill_ahead_orders": pl.UInt64})
    stamps = ("entered_ts_recv", "first_fill_ts_recv", "lost_ts_recv", "known_at")
    return frame.with_columns(pl.col(name).cast(pl.Datetime("ns", "UTC")) for name in stamps)


def _life(rng: np.random.Generator, event: int, entry: int, tick: int) -> dict[str, Any]:
    def after(start: int) -> int:
        return start + int(rng.choice(SPANS)) + int(rng.integers(0, 5)) * 300 * NS_PER_MS

    entered = str(rng.choice(["add", "modify", "snapshot"], p=[0.9, 0.05, 0.05]))
    fill = after(entry) if rng.random() < 0.6 else None
    lost = after(entry) if rng.random() < 0.2 else None
    last = max(fill or entry, lost or entry)
    outcome = str(rng.choice(["cancelled", "filled" if fill else "cleared", "resting"]))
    known = last if rng.random() < 0.3 else after(last)
    there = entered != "snapshot"
    met = fill is not None and rng.random() < 0.9
    return {
        "side": str(rng.choice(["B", "A"])),
        "entered": entered,
        "entered_event": event if there else None,
        "entered_ts_recv": entry if there else None,
        "entered_distance": int(rng.choice([-2, 0, 0, 0, 0, 1, 2, 2, 2, 4])) * tick // 2
        if there and rng.random() < 0.98
        else None,
        "entered_opposite": int(rng.choice([0, 1, 1, 2, 3], p=[0.02, 0.4, 0.4, 0.1, 0.08])) * tick
        if there
        else None,
        "valid": bool(rng.random() < 0.97),
        "first_fill_ts_recv": fill,
        "first_fill_ahead_orders": int(rng.integers(0, 3)) if met else None,
        "lost_ts_recv": lost,
        "outcome": outcome,
        "known_at": known,
    }
